//! What whoever shows an answer, or records that it was shown, must know of the search that it answers.

use record::Timestamp;

use super::aggregate::compile_stage;
use super::compile::{compile, moment};
use super::parse::parse_filter;
use super::stage::{Stage, parse_staged};
use super::{Condition, Query, QueryError};
use crate::engine::Search;

impl Search {
    /// The query with its bounds, as one would type it.
    #[must_use]
    pub fn said(&self) -> String {
        let bounds = [("since", &self.since), ("until", &self.until)];
        let bounds = bounds.into_iter().filter_map(|(name, value)| Some(format!(" {name}:{}", value.as_ref()?)));
        let bounds: String = bounds.collect();
        let parsed = parse_filter(&self.query).ok();
        let stage_at = parsed.as_ref().and_then(|(_, stage)| Some(stage.as_ref()?.at - 1));
        let (filter, stage) = self.query.split_at(stage_at.unwrap_or(self.query.len()));
        // A bound holds for all of it, and binds tighter than an OR.
        let is_either = !bounds.is_empty() && matches!(parsed, Some((Query::Or(_), _)));
        let filter = if is_either { format!("({})", filter.trim()) } else { filter.trim_end().to_owned() };
        format!("{filter}{bounds} {stage}").trim().to_owned()
    }
}

impl Search {
    /// Whether the query can be run, without running it.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn check(&self, now: Timestamp) -> Result<(), QueryError> {
        let (query, stage) = parse_staged(&self.query)?;
        compile(&self.query, &query, now)?;
        stage.map_or(Ok(()), |stage| compile_stage(&self.query, &stage).map(drop))
    }
}

/// A search from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outline {
    /// Its stage.
    pub stage: Option<Staged>,
    /// No record that it finds is older.
    pub since: Option<Timestamp>,
    /// Every record that it finds is older.
    pub until: Option<Timestamp>,
}

/// The rows that a stage makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Staged {
    /// How many of the first columns are what is grouped by; the first of the others is the first measure.
    pub groups: usize,
    /// The length of the time bucket in microseconds, if there is one: then it is the first column.
    pub bucket_micros: Option<i64>,
}

impl Outline {
    /// The outline of a search as of a moment.
    ///
    /// # Errors
    /// When its query cannot be read.
    pub fn of(search: &Search, now: Timestamp) -> Result<Self, QueryError> {
        let (query, stage) = parse_staged(&search.query)?;
        let stage = stage.map(|stage| match stage {
            Stage::Stats { by, bucket, .. } => Staged {
                groups: by.len() + usize::from(bucket.is_some()),
                bucket_micros: bucket.map(|bucket| bucket.micros),
            },
            Stage::Top { fields, .. } => Staged { groups: fields.len(), bucket_micros: None },
        });
        let told = |text: &Option<String>| text.as_deref().and_then(|text| moment(text, now));
        let mut outline = Self { stage, since: told(&search.since), until: told(&search.until) };
        outline.bound(&query, now);
        Ok(outline)
    }

    /// Takes in the bounds that hold for everything found: those that are not under an OR or a NOT.
    fn bound(&mut self, query: &Query, now: Timestamp) {
        match query {
            Query::And(terms) => terms.iter().for_each(|term| self.bound(term, now)),
            Query::Field { name, condition: Condition::Is(value), .. } => {
                let told = moment(value, now);
                match name.as_str() {
                    "since" => self.since = self.since.max(told),
                    "until" => self.until = [self.until, told].into_iter().flatten().min(),
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_and_columns_are_known_before_the_answer() {
        let now = Timestamp::parse("2026-11-25T12:00:00Z").unwrap();
        let outline = |query: &str, since: Option<&str>| {
            let search = Search { query: query.into(), since: since.map(str::to_owned), until: None };
            Outline::of(&search, now).unwrap()
        };
        let at = |text: &str| Some(Timestamp::parse(text).unwrap());
        let none = Outline { stage: None, since: None, until: None };
        assert_eq!(outline("a OR since:7d", None), none);
        assert_eq!(outline("a since:1d until:1h", Some("2d")).since, at("2026-11-24T12:00:00Z"));
        assert_eq!(outline("a since:1d until:1h until:now", None).until, at("2026-11-25T11:00:00Z"));
        let staged = |groups, bucket_micros| Some(Staged { groups, bucket_micros });
        assert_eq!(outline("| stats count() by model, 1m", None).stage, staged(2, Some(60_000_000)));
        assert_eq!(outline("| top model, env", None).stage, staged(2, None));
    }

    #[test]
    fn what_cannot_be_run_is_known_before() {
        let checked = |query: &str| {
            let search = Search { query: query.into(), ..Search::default() };
            search.check(Timestamp::from_micros(0)).map_err(|error| error.what)
        };
        assert_eq!(checked(""), Ok(()));
        assert_eq!(checked("model:x since:7d | stats count() by env, 1h"), Ok(()));
        for wrong in ["modle:x", "(a", "| stats avg(model)", "| top model | top env", &"a ".repeat(9_000)] {
            checked(wrong).unwrap_err();
        }
    }

    #[test]
    fn a_search_is_told_as_one_would_type_it() {
        let said = |query: &str, since: Option<&str>| {
            let until = since.map(|_| "1d".to_owned());
            Search { query: query.into(), since: since.map(str::to_owned), until }.said()
        };
        assert_eq!(said(" a ", None), "a");
        assert_eq!(said("", Some("7d")), "since:7d until:1d");
        assert_eq!(said("\"a | b\" c|top model", Some("7d")), "\"a | b\" c since:7d until:1d |top model");
        assert_eq!(said("a OR b | top model", Some("7d")), "(a OR b) since:7d until:1d | top model");
        assert_eq!(said("a OR b", None), "a OR b");
    }
}
