//! What is saved: the records that say so, and the fold over them.

use std::collections::BTreeMap;
use std::time::Duration;

use http::StatusCode;
use record::{Draft, Outcome, Timestamp};
use search::{Engine, Limits};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use crate::admission::{Caller, record};
use crate::intake::Intake;
use crate::problem::Problem;
use crate::reading::text_field;

/// The door of these records. They are believed by it: no sender can say that theirs came through it.
const PRODUCER: &str = "searches";
/// Which search a record is about.
const NAME: &str = "testimony.search.name";
/// Counts the records about a name, from 1.
const VERSION: &str = "testimony.search.version";
/// `saved` or `deleted`.
const STATE: &str = "testimony.search.state";
/// The field of content that has the query: what people search for names other people.
const QUERY: &str = "testimony.search.query";
/// The most names.
const SEARCHES_MAX: usize = 1_000;
/// The longest name.
const NAME_BYTES_MAX: usize = 64;
/// What reading the state back may take: a deleted name is one record, and queries have at most 16 KiB.
const RESTORING: Limits = Limits { rows_max: 100_000, bytes_max: 1 << 30, deadline: Duration::from_secs(300) };

/// A name of `a-z`, `0-9` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SearchName(String);

impl SearchName {
    pub(crate) fn parse(name: String) -> Option<Self> {
        let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        ((1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_good)).then_some(Self(name))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A search that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Saved {
    name: SearchName,
    query: String,
    version: u64,
    at: Timestamp,
    by: Option<String>,
}

/// What somebody wants.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) name: SearchName,
    /// None: it goes.
    pub(crate) query: Option<String>,
    /// The version that they have seen; none: they know of none.
    pub(crate) replaces: Option<u64>,
}

type State = BTreeMap<SearchName, Saved>;

/// All that is saved. It is read from the log when it is first asked for, and kept; whoever changes it holds the lock from
/// looking at the version until the record is durable.
#[derive(Debug, Default)]
pub(crate) struct SavedSearches(Mutex<Option<State>>);

impl Saved {
    /// As the interface shows it.
    pub(crate) fn shown(&self) -> Value {
        json!({
            "name": self.name.0,
            "query": self.query,
            "version": self.version,
            "saved_at": self.at.to_string(),
            "saved_by": self.by,
        })
    }

    /// What a record says, if it says that a search is saved.
    fn of(record: &Value) -> Option<Self> {
        if attribute(record, STATE) != Some("saved") {
            return None;
        }
        Some(Self {
            name: SearchName::parse(attribute(record, NAME)?.to_owned())?,
            query: query_of(record)?.to_owned(),
            version: attribute(record, VERSION)?.parse().ok()?,
            at: Timestamp::parse(record.get("time")?.as_str()?).ok()?,
            by: by(record),
        })
    }
}

fn attribute<'r>(record: &'r Value, name: &str) -> Option<&'r str> {
    record.get("attributes")?.get(name)?.as_str()
}

/// None where it is erased.
fn query_of(record: &Value) -> Option<&str> {
    record.get("content")?.get(QUERY)?.as_str()
}

fn by(record: &Value) -> Option<String> {
    let said = record.get("actor_id").or_else(|| record.get("actor_type"))?;
    said.as_str().map(str::to_owned)
}

/// The state after the last record about each name.
fn fold(last: &[Value]) -> State {
    last.iter().filter_map(Saved::of).map(|saved| (saved.name.clone(), saved)).collect()
}

/// A record about a name as a version of it.
pub(crate) fn version_told(record: &Value) -> Value {
    json!({
        "version": attribute(record, VERSION).and_then(|version| version.parse::<u64>().ok()),
        "state": attribute(record, STATE),
        "query": query_of(record),
        "at": record.get("time"),
        "by": by(record),
        "record": record.get("id"),
        "log_index": record.get("log_index"),
    })
}

/// The records about a name, newest first, and whether there are more.
pub(crate) async fn history(engine: &Engine, name: &SearchName, limits: Limits) -> Result<(Vec<Value>, bool), Problem> {
    Ok(engine.earlier(PRODUCER, vec![(NAME, name.0.clone())], limits).await?)
}

pub(crate) fn unknown(name: &SearchName) -> Problem {
    Problem::not_found(format!("there is no saved search {:?}; GET /api/v1/searches lists them", name.0))
}

impl SavedSearches {
    async fn state(&self, engine: &Engine) -> Result<MutexGuard<'_, Option<State>>, Problem> {
        let mut held = self.0.lock().await;
        if held.is_none() {
            *held = Some(fold(&engine.latest(PRODUCER, NAME, None, RESTORING).await?));
        }
        Ok(held)
    }

    /// All of them, by name.
    pub(crate) async fn all(&self, engine: &Engine) -> Result<Vec<Saved>, Problem> {
        let held = self.state(engine).await?;
        Ok(held.iter().flat_map(State::values).cloned().collect())
    }

    /// The one of a name.
    pub(crate) async fn named(&self, engine: &Engine, name: &SearchName) -> Result<Saved, Problem> {
        let held = self.state(engine).await?;
        held.as_ref().and_then(|state| state.get(name)).cloned().ok_or_else(|| unknown(name))
    }

    /// Changes one once that is recorded, if its version is still the one that was seen. Gives it as it is now, or as it was.
    pub(crate) async fn change(
        &self,
        engine: &Engine,
        intake: &Intake,
        caller: &Caller,
        change: Change,
    ) -> Result<Saved, Problem> {
        let mut held = self.state(engine).await?;
        let state = held.get_or_insert_default();
        let current = state.get(&change.name);
        is_seen(&change, current.map(|saved| saved.version))?;
        let before = match current {
            Some(saved) => saved.version,
            None if change.query.is_none() => return Err(unknown(&change.name)),
            None if state.len() >= SEARCHES_MAX => return Err(too_many()),
            // A name that was deleted goes on counting, so that a version is never two things.
            None => {
                let (last, _) = history(engine, &change.name, Limits { rows_max: 1, ..Limits::default() }).await?;
                last.first().and_then(|record| attribute(record, VERSION)?.parse().ok()).unwrap_or(0)
            }
        };
        let draft = draft(intake, caller, &change, before + 1);
        let (at, actor) = (draft.time, draft.actor.clone());
        record(&intake.ledger, draft).await?;
        match change.query {
            Some(query) => {
                let by = actor.map(|actor| actor.id.unwrap_or(actor.kind));
                let saved = Saved { name: change.name.clone(), query, version: before + 1, at, by };
                state.insert(change.name, saved.clone());
                Ok(saved)
            }
            None => state.remove(&change.name).ok_or_else(|| unknown(&change.name)),
        }
    }
}

/// Nobody writes over what they have not seen.
fn is_seen(change: &Change, current: Option<u64>) -> Result<(), Problem> {
    let name = &change.name.0;
    let detail = match (change.replaces, current) {
        (seen, current) if seen == current => return Ok(()),
        (None, Some(current)) => {
            format!(
                "there is a saved search {name:?} already, at version {current}: say version={current} to change it"
            )
        }
        (Some(seen), Some(current)) => {
            format!("the saved search {name:?} is at version {current} and no longer at {seen}: look at it again")
        }
        (_, None) => return Err(unknown(&change.name)),
    };
    Err(Problem::new(StatusCode::CONFLICT, "version", detail).with("version", current))
}

fn too_many() -> Problem {
    let detail = format!("there are {SEARCHES_MAX} saved searches, which is the most: delete one first");
    Problem::new(StatusCode::CONFLICT, "too_many_searches", detail)
}

fn draft(intake: &Intake, caller: &Caller, change: &Change, version: u64) -> Draft {
    let mut draft = intake.control(caller, PRODUCER);
    draft.outcome = Some(Outcome::Completed);
    let attributes = &mut draft.attributes;
    attributes.set("testimony.control.change", "saved_search");
    attributes.set(NAME, change.name.0.clone());
    attributes.set(VERSION, i64::try_from(version).unwrap_or(i64::MAX));
    attributes.set(STATE, if change.query.is_some() { "saved" } else { "deleted" });
    if let Some(query) = &change.query {
        draft.content.push(text_field(QUERY, query));
    }
    draft
}

#[cfg(test)]
mod tests;
