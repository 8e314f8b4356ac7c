//! Counters and histograms: a table of series for each family.

use std::collections::BTreeMap;

use record::Uuid;

use crate::families::{Family, LABELS_MAX};
use crate::words::{ABSENT, OTHER, Word};

/// The most series of a family; what comes after them is counted under `other` in every label.
pub(crate) const SERIES_MAX: usize = 512;

/// The labels of a series, in the order of its family's.
pub(crate) type Labels = [Word; LABELS_MAX];

/// One of those that were counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Exemplar {
    pub(crate) call: Uuid,
    pub(crate) value: f64,
    /// When the log received it, in microseconds since 1970.
    pub(crate) micros: i64,
}

/// A count, and the last of those that were counted.
#[derive(Debug, Default)]
pub(crate) struct Count {
    pub(crate) total: u64,
    pub(crate) exemplar: Option<Exemplar>,
}

/// Values in classes, each with the last that fell into it.
#[derive(Debug)]
pub(crate) struct Spread {
    /// The last class has no upper bound.
    pub(crate) classes: Vec<(u64, Option<Exemplar>)>,
    pub(crate) sum: f64,
}

/// The series of one family.
pub(crate) struct Table<T> {
    pub(crate) family: &'static Family,
    pub(crate) series: BTreeMap<Labels, T>,
}

impl<T> Table<T> {
    pub(crate) const fn of(family: &'static Family) -> Self {
        Self { family, series: BTreeMap::new() }
    }

    fn entry(&mut self, labels: Labels, make: impl FnOnce() -> T) -> &mut T {
        let has_room = self.series.len() < SERIES_MAX || self.series.contains_key(&labels);
        let many = self.family.labels.len();
        let rest = || std::array::from_fn(|at| if at < many { OTHER } else { ABSENT });
        let labels = if has_room { labels } else { rest() };
        self.series.entry(labels).or_insert_with(make)
    }
}

impl Table<Count> {
    pub(crate) fn add(&mut self, labels: Labels, exemplar: Option<Exemplar>) {
        let count = self.entry(labels, Count::default);
        count.total += 1;
        count.exemplar = exemplar.or(count.exemplar);
    }
}

impl Table<Spread> {
    /// Counts a value. What is no number, or negative, did not happen.
    pub(crate) fn add(&mut self, labels: Labels, value: f64, exemplar: Option<Exemplar>) {
        if !value.is_finite() || value < 0.0 {
            return;
        }
        let bounds = self.family.classes;
        let spread = self.entry(labels, || Spread { classes: vec![(0, None); bounds.len() + 1], sum: 0.0 });
        if let Some((count, last)) = spread.classes.get_mut(bounds.partition_point(|bound| *bound < value)) {
            *count += 1;
            *last = exemplar.or(*last);
        }
        spread.sum += value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::{DECISION_DURATION, RECORDS};

    #[test]
    fn a_family_has_so_many_series_and_counts_the_rest_together() {
        let mut table: Table<Count> = Table::of(&RECORDS);
        for nth in 0..2_000 {
            table.add([ABSENT, 2 + nth % 50, 2 + nth / 50, 0, 0, 0, 0, 0], None);
        }
        assert_eq!(table.series.len(), SERIES_MAX + 1);
        let other = &table.series[&[OTHER, OTHER, OTHER, OTHER, OTHER, 0, 0, 0]];
        assert_eq!(other.total, 2_000 - SERIES_MAX as u64);
        assert_eq!(table.series.values().map(|count| count.total).sum::<u64>(), 2_000);
    }

    #[test]
    fn a_value_on_a_bound_is_in_its_class_and_nonsense_in_none() {
        let mut table: Table<Spread> = Table::of(&DECISION_DURATION);
        for value in [0.000_05, 0.000_051, 7.0, f64::NAN, f64::INFINITY, -1.0] {
            table.add([0; LABELS_MAX], value, None);
        }
        let spread = &table.series[&[0; LABELS_MAX]];
        let counts: Vec<u64> = spread.classes.iter().map(|(count, _)| *count).collect();
        assert_eq!(counts, [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert!((spread.sum - 7.000_101).abs() < 1e-12);
    }
}
