//! Which rows of a segment can have what a filter asks for, by the segment's terms alone.
//!
//! What cannot be said from terms is left open: rows that are kept are looked at all the same, so this decides how fast an answer comes and
//! never what it is.

use std::collections::BTreeSet;

use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use world::Disk;

use crate::matching::phrase_wanted;
use crate::terms::{BLOCK_ROWS, Blocks, Terms, TermsError, cut};
use crate::words::{Phrase, Wanted, stands_alone};

/// Columns whose values are among a segment's terms: looked up by exact value, and many different ones.
pub(crate) const KEY_COLUMNS: [&str; 5] = ["id", "call_id", "trace_id", "actor_id", "conversation_id"];

/// What a row must have.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Need {
    /// Nothing that terms know of.
    Open,
    /// A value in one of [`KEY_COLUMNS`].
    Key(String),
    /// Terms, all in one block.
    Terms(Vec<Term>),
    All(Vec<Need>),
    Any(Vec<Need>),
}

/// What stands for a word in the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Term {
    Word(String),
    Prefix(String),
}

/// The rows of a segment that can have it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Rows {
    All,
    None,
    /// Some blocks, in order.
    Blocks(Blocks),
}

impl Need {
    /// What rows need for which all these filters hold.
    pub(crate) fn of(filters: &[Expr]) -> Self {
        Self::all(filters.iter().map(Self::of_one))
    }

    fn of_one(filter: &Expr) -> Self {
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                Self::all([left, right].map(|side| Self::of_one(side)).into_iter())
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
                Self::any([left, right].map(|side| Self::of_one(side)).into_iter())
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
                key(left, right).or_else(|| key(right, left)).unwrap_or(Self::Open)
            }
            Expr::InList(list) if !list.negated => {
                Self::any(list.list.iter().map(|value| key(&list.expr, value).unwrap_or(Self::Open)))
            }
            _ => phrase_wanted(filter).map_or(Self::Open, |phrase| Self::Terms(terms(&phrase))),
        }
    }

    fn all(needs: impl Iterator<Item = Self>) -> Self {
        let mut needs: Vec<Self> = needs.filter(|need| *need != Self::Open).collect();
        if needs.len() > 1 { Self::All(needs) } else { needs.pop().unwrap_or(Self::Open) }
    }

    fn any(needs: impl Iterator<Item = Self>) -> Self {
        let mut distinct: Vec<Self> = Vec::new();
        // A word is looked for in several columns, which terms do not tell apart.
        for need in needs {
            if !distinct.contains(&need) {
                distinct.push(need);
            }
        }
        match distinct.len() {
            0 | 1 => distinct.pop().unwrap_or(Self::Open),
            _ if distinct.contains(&Self::Open) => Self::Open,
            _ => Self::Any(distinct),
        }
    }

    /// Which rows of a segment can have it.
    pub(crate) fn rows(&self, terms: &Terms, disk: &dyn Disk) -> Result<Rows, TermsError> {
        match self {
            Self::Open => Ok(Rows::All),
            Self::Key(key) => Ok(if terms.may_have(key) { Rows::All } else { Rows::None }),
            Self::Terms(wanted) => rows_of_terms(wanted, terms, disk),
            Self::All(needs) => {
                let mut rows = Rows::All;
                for need in needs {
                    rows = rows.and(need.rows(terms, disk)?);
                    if rows == Rows::None {
                        break;
                    }
                }
                Ok(rows)
            }
            Self::Any(needs) => needs.iter().try_fold(Rows::None, |rows, need| Ok(rows.or(need.rows(terms, disk)?))),
        }
    }
}

fn key(column: &Expr, value: &Expr) -> Option<Need> {
    match (column, value) {
        (Expr::Column(column), Expr::Literal(value, _)) if KEY_COLUMNS.contains(&column.name.as_str()) => {
            Some(Need::Key(value.try_as_str()??.to_owned()))
        }
        _ => None,
    }
}

/// The terms that a text with a phrase has. A star in the midst of a word says nothing.
fn terms(phrase: &Phrase) -> Vec<Term> {
    let words = phrase.words();
    let alone = |wanted: &Wanted| match wanted {
        Wanted::Word(word) if word.starts_with(stands_alone) => Some(word.clone()),
        _ => None,
    };
    let pairs: Vec<Term> =
        words.windows(2).filter_map(|pair| Some(Term::Word(alone(&pair[0])? + &alone(&pair[1])?))).collect();
    let of_word = |(nth, wanted): (usize, &Wanted)| match wanted {
        // Those that stand in pairs say less than the pairs.
        Wanted::Word(_)
            if alone(wanted).is_some()
                && [nth.wrapping_sub(1), nth + 1].iter().any(|at| words.get(*at).and_then(alone).is_some()) =>
        {
            None
        }
        Wanted::Word(word) => Some(Term::Word(cut(word).to_owned())),
        Wanted::Like(parts) => {
            parts.first().filter(|first| !first.is_empty()).map(|first| Term::Prefix(cut(first).to_owned()))
        }
    };
    words.iter().enumerate().filter_map(of_word).chain(pairs).collect()
}

fn rows_of_terms(wanted: &[Term], terms: &Terms, disk: &dyn Disk) -> Result<Rows, TermsError> {
    let is_missing = |term: &Term| matches!(term, Term::Word(word) if !terms.may_have(word));
    if wanted.iter().any(is_missing) {
        return Ok(Rows::None);
    }
    let mut rows = Rows::All;
    for term in wanted {
        rows = rows.and(match term {
            Term::Word(word) => Rows::of(terms.blocks(disk, word)?),
            Term::Prefix(prefix) => terms.blocks_of_prefix(disk, prefix)?.map_or(Rows::All, Rows::of),
        });
    }
    Ok(rows)
}

impl Rows {
    fn of(blocks: Blocks) -> Self {
        if blocks.is_empty() { Self::None } else { Self::Blocks(blocks) }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, rows) | (rows, Self::All) => rows,
            (Self::None, _) | (_, Self::None) => Self::None,
            (Self::Blocks(a), Self::Blocks(b)) => {
                let b: BTreeSet<usize> = b.into_iter().collect();
                Self::of(a.into_iter().filter(|block| b.contains(block)).collect())
            }
        }
    }

    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => Self::All,
            (Self::None, rows) | (rows, Self::None) => rows,
            (Self::Blocks(a), Self::Blocks(b)) => {
                Self::of(a.into_iter().chain(b).collect::<BTreeSet<usize>>().into_iter().collect())
            }
        }
    }
}

/// Blocks as rows of a segment to read and to pass over.
pub(crate) fn selection(blocks: &[usize], rows: usize) -> RowSelection {
    let mut selectors = Vec::new();
    let mut at = 0;
    for block in blocks {
        let start = (block * BLOCK_ROWS).min(rows);
        let end = (start + BLOCK_ROWS).min(rows);
        if start > at {
            selectors.push(RowSelector::skip(start - at));
        }
        if end > start {
            selectors.push(RowSelector::select(end - start));
        }
        at = end;
    }
    if at < rows {
        selectors.push(RowSelector::skip(rows - at));
    }
    selectors.into()
}

#[cfg(test)]
mod tests;
