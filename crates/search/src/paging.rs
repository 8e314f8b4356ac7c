//! Searches, and the pages of what they find, which hold together while records arrive.
//!
//! The first page fixes how many records the log has and which moment is now; every further page is of the same records and goes on after the
//! last one that was given out, in the order of time and index. All that stands in a cursor, and nothing is remembered here. A cursor shows
//! nothing: the view is that of whoever gives it, and it is good for one search of one view only.

use datafusion::arrow::array::AsArray as _;
use datafusion::arrow::datatypes::{TimestampMicrosecondType, UInt64Type};
use datafusion::logical_expr::{Expr, lit};
use datafusion::prelude::col;
use datafusion::scalar::ScalarValue;
use record::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::answer::Answer;
use crate::engine::{Engine, Limits, Search};
use crate::language::{compile_stage, parse_staged};
use crate::running::{Running, collect, failed};
use crate::snippets::{self, Sought};
use crate::sql::invalid;
use crate::table::Snapshot;
use crate::view::View;

/// The form of a cursor, its first byte.
const VERSION: u8 = 1;
/// The form, four numbers of eight bytes, and the binding.
const CURSOR_BYTES: usize = 1 + 4 * 8 + BINDING_BYTES;
const BINDING_BYTES: usize = 16;

/// Which part of what a search finds is wanted, and with what.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// What the page before said is next; none: the first page.
    pub cursor: Option<String>,
    /// Whether each row comes with the passages around what matched.
    pub snippets: bool,
}

/// Why there is no such page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// It is no cursor.
    #[error("that is no cursor: give what the page before said is next, as it is")]
    Malformed,
    /// It has a form that is not known here.
    #[error("the cursor has a form that this version does not know: begin the search anew")]
    Version,
    /// It goes with something else.
    #[error(
        "the cursor belongs to another search: give it with the query, since and until of the page before, to the same log and as the same caller"
    )]
    Foreign,
    /// It is of a log that has more records.
    #[error("the cursor is of a log of {0} records, and this one has {1}")]
    Ahead(u64, u64),
    /// It is of a search with a stage.
    #[error("what a stage makes of records has no pages: leave out the cursor, and raise the limit or narrow it down")]
    StageHasNoPages,
    /// Passages were asked for of what has none.
    #[error("what a stage makes of records has no snippets: leave them out, or the stage")]
    StageHasNoSnippets,
    /// Passages were asked for of more rows than may have them.
    #[error("with snippets the limit is at most {most}: go on with the cursor", most = snippets::ROWS_MAX)]
    TooManySnippets,
}

/// Where one page ends and the next begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor {
    /// How many records of the log the search is of.
    size: u64,
    /// The moment from which relative times count.
    now: Timestamp,
    /// The time, in microseconds, and the index of the last record that was given out.
    last: (i64, u64),
}

impl Cursor {
    fn write(&self, bound: &Bound<'_>) -> String {
        let bytes = [&[VERSION], self.numbers().as_slice(), &bound.binding(self)].concat();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn read(text: &str, bound: &Bound<'_>) -> Result<Self, PageError> {
        let bytes = unhexed(text).ok_or(PageError::Malformed)?;
        let (version, rest) = bytes.split_first().ok_or(PageError::Malformed)?;
        if *version != VERSION {
            return Err(PageError::Version);
        }
        if bytes.len() != CURSOR_BYTES {
            return Err(PageError::Malformed);
        }
        let number = |nth: usize| {
            let bytes = rest.get(8 * nth..8 * nth + 8).and_then(|bytes| bytes.try_into().ok());
            bytes.ok_or(PageError::Malformed)
        };
        let cursor = Self {
            size: u64::from_be_bytes(number(0)?),
            now: Timestamp::from_micros(i64::from_be_bytes(number(1)?)),
            last: (i64::from_be_bytes(number(2)?), u64::from_be_bytes(number(3)?)),
        };
        if rest.get(4 * 8..) == Some(bound.binding(&cursor).as_slice()) { Ok(cursor) } else { Err(PageError::Foreign) }
    }

    fn numbers(&self) -> Vec<u8> {
        let (time, index) = self.last;
        let numbers =
            [self.size.to_be_bytes(), self.now.as_micros().to_be_bytes(), time.to_be_bytes(), index.to_be_bytes()];
        numbers.concat()
    }

    /// The records that were not given out yet. By their time, segments and pages are passed over that hold only what was.
    fn rest(&self) -> Expr {
        let (time, index) = self.last;
        let moment = lit(ScalarValue::TimestampMicrosecond(Some(time), Some("UTC".into())));
        let follows = col("time").lt(moment.clone()).or(col("log_index").lt(lit(index)));
        col("log_index").lt(lit(self.size)).and(col("time").lt_eq(moment)).and(follows)
    }
}

/// What a cursor is good for.
struct Bound<'s> {
    origin: &'s str,
    view: &'s View,
    search: &'s Search,
}

impl Bound<'_> {
    /// It tells a cursor of another search, or a changed one. It is no secret, since a cursor opens nothing.
    fn binding(&self, cursor: &Cursor) -> Vec<u8> {
        let view = self.view.filter().map(ToString::to_string);
        let Search { query, since, until } = self.search;
        let said = [Some(self.origin), view.as_deref(), Some(query.as_str()), since.as_deref(), until.as_deref()];
        let mut digest = Sha256::new();
        for text in said {
            // What is there and what is not, and where one ends, is part of it.
            digest.update([u8::from(text.is_some())]);
            digest.update((text.map_or(0, str::len) as u64).to_be_bytes());
            digest.update(text.unwrap_or_default());
        }
        digest.update(cursor.numbers());
        digest.finalize().iter().copied().take(BINDING_BYTES).collect()
    }
}

fn unhexed(text: &str) -> Option<Vec<u8>> {
    let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if text.len() > 2 * CURSOR_BYTES || !text.len().is_multiple_of(2) || !is_hex {
        return None;
    }
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// How many records of the log a snapshot has.
fn size(snapshot: &Snapshot) -> u64 {
    let live =
        snapshot.live.iter().filter_map(|rows| rows.column_by_name("log_index")?.as_primitive_opt::<UInt64Type>());
    let last = live.filter_map(|indexes| indexes.values().last()).map(|last| last + 1);
    last.chain(snapshot.segments.iter().map(|segment| segment.end)).max().unwrap_or(0)
}

/// The time and the index of the last row.
fn last_row(answer: &Answer) -> Option<(i64, u64)> {
    let rows = answer.batches.iter().rfind(|batch| batch.num_rows() > 0)?;
    let time = rows.column_by_name("time")?.as_primitive_opt::<TimestampMicrosecondType>()?;
    let index = rows.column_by_name("log_index")?.as_primitive_opt::<UInt64Type>()?;
    Some((*time.values().last()?, *index.values().last()?))
}

impl Engine {
    /// Finds records, newest first, or gives the rows that the query's stage makes of them.
    ///
    /// # Errors
    /// When the query is wrong or exceeds its limits.
    pub fn search(&self, view: &View, search: Search, limits: Limits) -> Running<Answer> {
        self.page(view, search, Page::default(), limits)
    }

    /// The same, a page after another: the answer says what is next.
    ///
    /// # Errors
    /// When the query is wrong or exceeds its limits, or there is no such page.
    pub fn page(&self, view: &View, search: Search, page: Page, limits: Limits) -> Running<Answer> {
        let (engine, view) = (self.clone(), view.clone());
        self.run(limits, async move {
            let (query, stage) = parse_staged(&search.query)?;
            let stage = stage.map(|stage| compile_stage(&search.query, &stage)).transpose()?;
            if stage.is_some() {
                page.check_staged()?;
            }
            let bound = Bound { origin: engine.origin(), view: &view, search: &search };
            let cursor = page.cursor.as_deref().map(|text| Cursor::read(text, &bound)).transpose()?;
            let now = cursor.map_or_else(|| engine.now(), |cursor| cursor.now);
            let filter = engine.bounded(&search, &query, now)?;
            let sought = if page.snippets { Some(Sought::of(&filter)) } else { None };
            if sought.is_some() && limits.rows_max > snippets::ROWS_MAX {
                return Err(PageError::TooManySnippets.into());
            }
            let snapshot = engine.snapshot()?;
            let here = size(&snapshot);
            let of = cursor.map_or(here, |cursor| cursor.size);
            if of > here {
                return Err(PageError::Ahead(of, here).into());
            }
            let wanted = cursor.iter().map(Cursor::rest).fold(filter, Expr::and);
            let found = engine.visible(snapshot, &view).await?.filter(wanted).map_err(invalid)?;
            let is_staged = stage.is_some();
            let newest_first = vec![col("time").sort(false, false), col("log_index").sort(false, false)];
            let frame = match stage {
                Some(stage) => stage.of(found).await.map_err(failed)?,
                None => found.sort(newest_first).map_err(invalid)?,
            };
            // One more than asked for tells whether there were more.
            let frame = frame.limit(0, Some(limits.rows_max + 1)).map_err(invalid)?;
            let mut answer = collect(frame, limits).await?;
            if answer.truncated && !is_staged {
                answer.next = last_row(&answer).map(|last| Cursor { size: of, now, last }.write(&bound));
            }
            match sought {
                Some(sought) => snippets::added(answer, &sought).await,
                None => Ok(answer),
            }
        })
    }
}

impl Page {
    /// What may be asked of a search with a stage.
    const fn check_staged(&self) -> Result<(), PageError> {
        match self {
            Self { cursor: Some(_), .. } => Err(PageError::StageHasNoPages),
            Self { snippets: true, .. } => Err(PageError::StageHasNoSnippets),
            Self { .. } => Ok(()),
        }
    }
}
#[cfg(test)]
mod tests;
