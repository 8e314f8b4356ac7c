//! The query language: what people know from Datadog, Kibana and Grafana.
//!
//! ```text
//! model:gemma* env:staging (outcome:failed OR status:>=500) -user:alice since:7d "refund policy"
//! ```
//!
//! `field:value` with the columns of the table, their aliases, or any attribute's name; `*` in a value stands for anything, and
//! `field:*` for "is there"; `>=`, `>`, `<=`, `<` and `[a TO b]`; `since:` and `until:`; `AND`, `OR`, `NOT`, `-`, parentheses,
//! and `AND` where nothing is written. Text without a field is looked for in the content.
//!
//! A search may end in a stage, which makes rows of its own out of what was found:
//!
//! ```text
//! outcome:failed since:7d | stats count(), p95(duration_ms) by model, 1h
//! outcome:failed since:7d | top 10 actor_id
//! ```

mod aggregate;
mod compile;
#[cfg(test)]
mod oracle;
mod outline;
mod parse;
mod stage;

use std::fmt;

pub(crate) use aggregate::{compile_stage, operand};
pub use compile::span_micros;
pub(crate) use compile::{compile, like, moment, time_literal};
pub use outline::{Outline, Staged};
pub(crate) use parse::parse;
pub(crate) use stage::parse_staged;

/// Where in a query something is: byte offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// What is wrong with a query, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryError {
    /// The query.
    pub query: String,
    /// Where in it.
    pub span: Span,
    /// What is wrong there.
    pub what: String,
}

impl std::error::Error for QueryError {}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = self.query.get(..self.span.start).unwrap_or_default().chars().count();
        let marked = self.query.get(self.span.start..self.span.end).unwrap_or_default().chars().count();
        write!(f, "{}\n  {}\n  {}{}", self.what, self.query, " ".repeat(before), "^".repeat(marked.max(1)))
    }
}

/// A query, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Query {
    /// Everything.
    All,
    And(Vec<Query>),
    Or(Vec<Query>),
    Not(Box<Query>),
    /// A condition on a field.
    Field {
        name: String,
        name_span: Span,
        condition: Condition,
        span: Span,
    },
    /// Words that the content has in a row.
    Text(String, Span),
}

/// What a field is held against.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Condition {
    /// It is there.
    Exists,
    /// It is this.
    Is(String),
    /// It is like this, `*` standing for anything; each part between stars.
    Like(Vec<String>),
    /// It compares like this.
    Compare(Comparison, String),
    /// It lies between two bounds, both included.
    Between(String, String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The known name that is most like what somebody wrote, if one is like it.
fn nearest<'k>(written: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    known
        .map(|known| (strsim::jaro_winkler(written, known), known))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .filter(|(likeness, _)| *likeness > 0.75)
        .map(|(_, known)| known)
}
