//! What metrics are written into, family by family.

use std::fmt;

use ledger::Durations;
use serde_json::{Value, json};

use crate::families::{Family, Label};
use crate::tables::{Count, Spread, Table};
use crate::words::Words;

/// A value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    Whole(u64),
    Real(f64),
}

impl Number {
    /// As a member of a data point.
    pub(crate) fn to_otlp(self) -> Value {
        match self {
            Self::Whole(number) => json!({"asInt": number.to_string()}),
            Self::Real(number) => json!({"asDouble": number}),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => number.fmt(f),
            Self::Real(number) => number.fmt(f),
        }
    }
}

/// Takes in one family after the other.
pub(crate) trait Sink {
    /// A family with one series that has no labels; without a value there is none.
    fn single(&mut self, family: &Family, value: Option<Number>);
    /// A family that says one thing in words.
    fn info(&mut self, family: &Family, label: Label, text: &str);
    /// Counters.
    fn counts(&mut self, words: &Words, table: &Table<Count>);
    /// Histograms.
    fn spreads(&mut self, words: &Words, table: &Table<Spread>);
    /// A histogram that the ledger has counted.
    fn durations(&mut self, family: &Family, durations: &Durations);
}
