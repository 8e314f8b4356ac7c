//! Passages of what was found, with what matched marked: `"…a full refund within 30 days…"`.
//!
//! The words are those by which a record was found ([`crate::words`]), and only rows that are given out are looked at, so that a passage never
//! says what its row does not. It is cut out of what was said, which in content that is JSON is a text before it was written as JSON.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use datafusion::arrow::array::{
    Array as _, ArrayRef, AsArray as _, BooleanArray, ListArray, RecordBatch, StringArray, StructArray, UInt32Array,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use crate::answer::Answer;
use crate::columns::CONTENT_COLUMNS;
use crate::engine::EngineError;
use crate::matching::column_and_phrase;
use crate::words::{Finder, Locating, PHRASE_WORDS_MAX, Progress, is_between_words, locate_content, locate_plain};

/// The column of an answer that they are in.
pub(crate) const COLUMN: &str = "snippets";
/// The most rows that are given out with passages.
pub(crate) const ROWS_MAX: usize = 10_000;
/// The most passages of a row.
const SNIPPETS_MAX: usize = 3;
/// The longest passage, in characters.
const PASSAGE_CHARS: usize = 160;
/// How much of it may stand before what matched.
const BEFORE_CHARS: usize = 60;
/// How much shorter a passage becomes so that it does not begin or end within a word.
const TRIM_CHARS: usize = 20;

/// A passage around something that was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snippet {
    /// The column that says it.
    pub(crate) field: &'static str,
    pub(crate) text: String,
    /// What matched, from a character of `text` to one, in its order. They do not overlap.
    pub(crate) marks: Vec<(u32, u32)>,
    /// Whether more was said before it, and after it.
    pub(crate) is_cut: (bool, bool),
}

/// What is looked for in each column of content.
#[derive(Debug, Default)]
pub(crate) struct Sought(Vec<(&'static str, Vec<Finder>)>);

impl Sought {
    /// The words that a filter wants to be there. What it wants to be absent is in no row.
    pub(crate) fn of(filter: &Expr) -> Self {
        let mut sought = Self::default();
        sought.collect(filter, true);
        sought.0.sort_by_key(|(field, _)| CONTENT_COLUMNS.iter().position(|(_, name)| name == field));
        sought
    }

    fn collect(&mut self, filter: &Expr, is_wanted: bool) {
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, right }) => {
                self.collect(left, is_wanted);
                self.collect(right, is_wanted);
            }
            Expr::IsNotTrue(inner) => self.collect(inner, !is_wanted),
            _ if is_wanted => self.take(filter),
            _ => {}
        }
    }

    fn take(&mut self, condition: &Expr) {
        let Some((column, phrase)) = column_and_phrase(condition) else { return };
        let Some((_, field)) = CONTENT_COLUMNS.iter().find(|(_, name)| *name == column) else { return };
        match self.0.iter_mut().find(|(name, _)| name == field) {
            Some((_, finders)) if finders.iter().any(|finder| *finder.phrase() == phrase) => {}
            Some((_, finders)) => finders.push(Finder::new(phrase)),
            None => self.0.push((field, vec![Finder::new(phrase)])),
        }
    }

    /// The passages of a row whose columns say this, in the order of the columns.
    pub(crate) fn snippets<'t>(&self, said: impl Fn(&'static str) -> Option<&'t str>) -> Vec<Snippet> {
        let mut snippets = Vec::new();
        for (field, finders) in &self.0 {
            let Some(text) = said(field) else { continue };
            let finders: Vec<&Finder> = finders.iter().filter(|finder| !finder.is_shaped_otherwise(text)).collect();
            if finders.is_empty() || snippets.len() >= SNIPPETS_MAX {
                continue;
            }
            let mut cutting = Cutting {
                field,
                matching: Matching::new(&finders),
                shown: vec![false; finders.len()],
                snippets: &mut snippets,
            };
            locate_content(text, &mut cutting);
        }
        snippets
    }
}

/// The answer with a last column that has the passages of each row; nothing where a row has none.
pub(crate) async fn added(answer: Answer, sought: &Sought) -> Result<Answer, EngineError> {
    let schema = with_column(&answer.schema);
    let mut batches = Vec::with_capacity(answer.batches.len());
    for batch in &answer.batches {
        let texts = |name: &str| batch.column_by_name(name).and_then(|column| column.as_string_view_opt());
        let mut of_rows = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let said = |name| texts(name).filter(|texts| texts.is_valid(row)).map(|texts| texts.value(row));
            of_rows.push(sought.snippets(said));
            // A query ends where it gives way, and what was said may be long.
            tokio::task::yield_now().await;
        }
        let with_them = array(&of_rows).and_then(|column| {
            RecordBatch::try_new(schema.clone(), batch.columns().iter().cloned().chain([column]).collect())
        });
        batches.push(with_them.map_err(|error| EngineError::Failed(error.to_string()))?);
    }
    Ok(Answer { schema, batches, ..answer })
}

/// Which phrases end with the next word of a text.
struct Matching<'f> {
    finders: &'f [&'f Finder],
    progress: Vec<Progress>,
    /// Where the last words begin, by the remainder of their places.
    starts: [usize; PHRASE_WORDS_MAX],
}

impl<'f> Matching<'f> {
    fn new(finders: &'f [&'f Finder]) -> Self {
        Self { finders, progress: vec![Progress::default(); finders.len()], starts: [0; PHRASE_WORDS_MAX] }
    }

    /// Takes in the next word. The phrases that end with it, by their number, and where they begin.
    fn ended(&mut self, word: &str, place: usize, start: usize) -> impl Iterator<Item = (usize, usize)> {
        if let Some(slot) = self.starts.get_mut(place % PHRASE_WORDS_MAX) {
            *slot = start;
        }
        let starts = &self.starts;
        self.finders.iter().zip(&mut self.progress).enumerate().filter_map(move |(nth, (finder, progress))| {
            let phrase = finder.phrase();
            let first = (place + 1).checked_sub(phrase.words().len());
            let is_done = progress.is_done_by(phrase, word, place);
            first.filter(|_| is_done).and_then(|first| Some((nth, *starts.get(first % PHRASE_WORDS_MAX)?)))
        })
    }
}

/// Cuts a passage around the first place of each phrase that no passage shows yet.
struct Cutting<'f, 's> {
    field: &'static str,
    matching: Matching<'f>,
    shown: Vec<bool>,
    snippets: &'s mut Vec<Snippet>,
}

impl Locating for &mut Cutting<'_, '_> {
    fn word(&mut self, word: &str, place: usize, text: &str, at: Range<usize>) -> ControlFlow<()> {
        let ended: Vec<(usize, usize)> = self
            .matching
            .ended(word, place, at.start)
            .filter(|(nth, _)| self.shown.get(*nth) == Some(&false))
            .collect();
        for (nth, start) in ended {
            if self.snippets.len() >= SNIPPETS_MAX {
                return ControlFlow::Break(());
            }
            // Another that ends with the same word may have been cut out with this one.
            if self.shown.get(nth) == Some(&false) {
                let cut = cut_out(self.field, text, start..at.end, self.matching.finders, &mut self.shown);
                self.snippets.push(cut);
                self.shown.get_mut(nth).into_iter().for_each(|shown| *shown = true);
            }
        }
        if self.shown.contains(&false) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// The passage around what was found, with everything marked that was looked for and stands in it.
fn cut_out(field: &'static str, text: &str, found: Range<usize>, finders: &[&Finder], shown: &mut [bool]) -> Snippet {
    let passage = around(text, &found);
    let inside = text.get(passage.clone()).unwrap_or_default();
    let within = |at: usize| at.clamp(passage.start, passage.end) - passage.start;
    let mut marking =
        Marking { matching: Matching::new(finders), found: vec![(None, within(found.start)..within(found.end))] };
    locate_plain(inside, &mut marking);
    // Half a word is not the word that it looks like.
    let begins_within = !is_between_words(text, passage.start);
    let ends_within = !is_between_words(text, passage.end);
    let mut marks = marking.found;
    marks.retain(|(nth, mark)| {
        nth.is_none() || !(begins_within && mark.start == 0 || ends_within && mark.end == inside.len())
    });
    for (nth, _) in &marks {
        nth.and_then(|nth| shown.get_mut(nth)).into_iter().for_each(|shown| *shown = true);
    }
    let marks = joined(marks.into_iter().map(|(_, mark)| mark).collect());
    let chars = |at: usize| {
        let count = inside.get(..at).map_or(0, |before| before.chars().count());
        u32::try_from(count).unwrap_or(u32::MAX)
    };
    let is_more = |part: Option<&str>| part.is_some_and(|part| !part.trim_matches(is_blank).is_empty());
    Snippet {
        field,
        marks: marks.iter().map(|mark| (chars(mark.start), chars(mark.end))).collect(),
        is_cut: (is_more(text.get(..passage.start)), is_more(text.get(passage.end..))),
        text: inside.to_owned(),
    }
}

/// Where a passage around a part of a text begins and ends: between two words, where there is such a place near by.
fn around(text: &str, found: &Range<usize>) -> Range<usize> {
    let (before, behind) = text.split_at(found.start);
    // Where little comes behind it, more of what comes before has room.
    let spare = PASSAGE_CHARS - behind.chars().take(PASSAGE_CHARS - 1).count();
    let earliest = before.char_indices().nth_back(spare.max(BEFORE_CHARS) - 1).map_or(0, |(at, _)| at);
    let lead = text.get(earliest..found.start).unwrap_or_default();
    let mut places = lead.char_indices().take(TRIM_CHARS).map(|(at, _)| earliest + at);
    let begin = places.find(|at| is_between_words(text, *at)).unwrap_or(earliest);
    let lead = text.get(begin..found.start).unwrap_or_default();
    let begin = begin + lead.len() - lead.trim_start_matches(is_blank).len();

    let room = PASSAGE_CHARS - text.get(begin..found.start).map_or(0, |lead| lead.chars().count());
    let latest = behind.char_indices().nth(room).map_or(text.len(), |(at, _)| found.start + at);
    let tail = text.get(found.end.min(latest)..latest).unwrap_or_default();
    let mut places = tail.char_indices().rev().take(TRIM_CHARS).map(|(at, _)| latest - tail.len() + at);
    let is_end = latest == text.len() || is_between_words(text, latest);
    let end = if is_end { latest } else { places.find(|at| is_between_words(text, *at)).unwrap_or(latest) };
    let tail = text.get(found.end.min(end)..end).unwrap_or_default();
    begin..end - (tail.len() - tail.trim_end().len())
}

/// What a passage need not begin with. What stands without quotes in JSON comes with the colon before it.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || c == ':'
}

/// Everything that is found in a passage; by which phrase, but for what it was cut out for.
struct Marking<'f> {
    matching: Matching<'f>,
    found: Vec<(Option<usize>, Range<usize>)>,
}

impl Locating for &mut Marking<'_> {
    fn word(&mut self, word: &str, place: usize, _: &str, at: Range<usize>) -> ControlFlow<()> {
        let ended = self.matching.ended(word, place, at.start);
        self.found.extend(ended.map(|(nth, start)| (Some(nth), start..at.end)));
        ControlFlow::Continue(())
    }
}

/// Marks in their order, those that overlap as one.
fn joined(mut marks: Vec<Range<usize>>) -> Vec<Range<usize>> {
    marks.sort_unstable_by_key(|mark| (mark.start, mark.end));
    let mut joined: Vec<Range<usize>> = Vec::with_capacity(marks.len());
    for mark in marks.into_iter().filter(|mark| !mark.is_empty()) {
        match joined.last_mut() {
            Some(last) if mark.start < last.end => last.end = last.end.max(mark.end),
            _ => joined.push(mark),
        }
    }
    joined
}

fn item(data_type: DataType) -> FieldRef {
    Arc::new(Field::new("item", data_type, false))
}

fn members() -> Fields {
    let mark = item(DataType::List(item(DataType::UInt32)));
    Fields::from(vec![
        Field::new("field", DataType::Utf8, false),
        Field::new("text", DataType::Utf8, false),
        Field::new("marks", DataType::List(mark), false),
        Field::new("cut_start", DataType::Boolean, false),
        Field::new("cut_end", DataType::Boolean, false),
    ])
}

fn with_column(schema: &SchemaRef) -> SchemaRef {
    let column = Field::new(COLUMN, DataType::List(item(DataType::Struct(members()))), true);
    Arc::new(Schema::new(schema.fields().iter().cloned().chain([Arc::new(column)]).collect::<Vec<_>>()))
}

/// The passages of rows as a column.
fn array(of_rows: &[Vec<Snippet>]) -> Result<ArrayRef, ArrowError> {
    let all: Vec<&Snippet> = of_rows.iter().flatten().collect();
    let marks: Vec<(u32, u32)> = all.iter().flat_map(|snippet| snippet.marks.iter().copied()).collect();
    let ends = UInt32Array::from_iter_values(marks.iter().flat_map(|(start, end)| [*start, *end]));
    let pairs = OffsetBuffer::from_lengths(marks.iter().map(|_| 2));
    let marks = ListArray::try_new(item(DataType::UInt32), pairs, Arc::new(ends), None)?;
    let lengths = OffsetBuffer::from_lengths(all.iter().map(|snippet| snippet.marks.len()));
    let marks = ListArray::try_new(item(marks.data_type().clone()), lengths, Arc::new(marks), None)?;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(all.iter().map(|snippet| snippet.field))),
        Arc::new(StringArray::from_iter_values(all.iter().map(|snippet| &snippet.text))),
        Arc::new(marks),
        Arc::new(all.iter().map(|snippet| Some(snippet.is_cut.0)).collect::<BooleanArray>()),
        Arc::new(all.iter().map(|snippet| Some(snippet.is_cut.1)).collect::<BooleanArray>()),
    ];
    let snippets = StructArray::try_new(members(), columns, None)?;
    let lengths = OffsetBuffer::from_lengths(of_rows.iter().map(Vec::len));
    let has_some = NullBuffer::from_iter(of_rows.iter().map(|snippets| !snippets.is_empty()));
    let list = ListArray::try_new(item(snippets.data_type().clone()), lengths, Arc::new(snippets), Some(has_some))?;
    Ok(Arc::new(list))
}
#[cfg(test)]
mod tests;
