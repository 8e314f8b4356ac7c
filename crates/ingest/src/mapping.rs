//! JSON and text of any form to records, by a file: `docs/ingest/mapping.md`.
//!
//! | file | what is in it |
//! |---|---|
//! | `settings` | the file as it is written |
//! | `compile` | from there to rules, or the line that is wrong |
//! | `rule` | what one rule makes of one event |
//! | `moment` | times in other forms than RFC 3339 |

use record::{Attributes, Draft, Timestamp, Uuid, Value, once_id};
use serde_json::Value as Json;

use crate::Arrival;
use rule::Rule;

mod compile;
mod moment;
mod rule;
mod settings;

/// The largest mapping file, in bytes.
pub const MAPPING_BYTES_MAX: usize = 1_024 * 1_024;
/// The most rules in one file.
pub const RULES_MAX: usize = 256;

/// A mapping file, ready to be applied. Rules are tried in the order of the file, and the first that matches decides.
#[derive(Debug, Clone)]
pub struct Mapping {
    rules: Vec<Rule>,
    join: Vec<String>,
}

/// One event from outside.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// What it says.
    pub input: Input<'a>,
    /// Where it is from, as `match.source` sees it: the path of a file, `syslog/<app name>`.
    pub source: &'a str,
    /// When it happened, as far as what it came in says so. The event's own word goes before.
    pub time: Option<Timestamp>,
    /// What it is known by where it came from, for rules without a `key`: the file and the place in it.
    pub key: Option<&'a str>,
}

/// What an event says.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// A document.
    Json(&'a Json),
    /// A text that is none.
    Text(&'a str),
}

/// What became of an event.
#[derive(Debug, Clone)]
pub enum Mapped {
    /// A record.
    Draft(Box<Draft>),
    /// Nothing: the rule that matches says `drop = true`.
    Dropped,
    /// No rule matches.
    Unmatched,
}

/// Why a mapping file cannot be used. Nothing of it is in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// It is not TOML, or has members that no mapping has.
    #[error("line {line} of the mapping: {what}")]
    Malformed {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong there.
        what: String,
    },
    /// A member of a rule does not say what it must.
    #[error("line {line} of the mapping: {member} of {rule}: {what}")]
    Member {
        /// The line, counted from 1.
        line: usize,
        /// The rule's name, or its place in the file.
        rule: String,
        /// The member's name, dotted.
        member: String,
        /// What it must be.
        what: String,
    },
    /// It is larger than a mapping may be.
    #[error("the mapping has {0} bytes, at most {MAPPING_BYTES_MAX} are read; divide it by source")]
    TooLarge(usize),
}

impl Mapping {
    /// Reads a mapping file.
    ///
    /// # Errors
    /// The first thing in it that is wrong, with its line.
    pub fn compile(toml: &str) -> Result<Self, MappingError> {
        if toml.len() > MAPPING_BYTES_MAX {
            return Err(MappingError::TooLarge(toml.len()));
        }
        let (rules, join) = compile::compile(toml)?;
        Ok(Self { rules, join })
    }

    /// How many rules it has.
    #[must_use]
    pub const fn rules(&self) -> usize {
        self.rules.len()
    }

    /// What becomes of an event. A part of it that cannot be read never costs the rest: the record says so under
    /// `testimony.ingest.problems`.
    #[must_use]
    pub fn read(&self, event: &Event<'_>, arrival: &Arrival<'_>) -> Mapped {
        for rule in &self.rules {
            let Some(found) = rule.find(event) else { continue };
            if rule.is_drop {
                return Mapped::Dropped;
            }
            let mut draft = rule.draft(&found, event, arrival);
            if draft.call_id.is_none() {
                draft.call_id = self.joined(&draft.attributes);
            }
            return Mapped::Draft(Box::new(draft));
        }
        Mapped::Unmatched
    }

    /// The call that attributes belong to by this file's join keys: the first of them that is there decides. For records of any door.
    #[must_use]
    pub fn joined(&self, attributes: &Attributes<'_>) -> Option<Uuid> {
        self.join.iter().find_map(|name| match attributes.value(name)? {
            Value::Null | Value::List(_) | Value::Map(_) => None,
            Value::Text(text) if text.is_empty() => None,
            Value::Text(text) => Some(join_id(name, text)),
            plain => Some(join_id(name, &plain.to_json())),
        })
    }
}

/// The call that all records belong to that have this value under this join key, whatever door they came through.
#[must_use]
pub fn join_id(key: &str, value: &str) -> Uuid {
    once_id(&format!("join/{key}"), value)
}

#[cfg(test)]
mod tests;
