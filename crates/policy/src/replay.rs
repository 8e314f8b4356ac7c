//! A candidate policy over decisions that were made: what would it have decided differently?

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::decision::Decision;
use crate::engine::Policy;
use crate::input::Input;
use crate::point::Point;

/// How many records are named for each kind of change.
const NAMED_MAX: usize = 100;
/// How many rules, reasons and actors are counted apart, each; what comes after is counted under [`OTHERS`].
const COUNTED_MAX: usize = 10_000;
/// The name under which what is not counted apart is counted.
const OTHERS: &str = "(others)";

/// A decision that was made, and what it was made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// The record.
    pub id: String,
    /// Where it was made.
    pub point: Point,
    /// What was asked.
    pub input: Input,
    /// What was decided.
    pub decision: Decision,
}

/// Decisions that would be others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// Allowed then, denied by the candidate.
    pub denied: u64,
    /// Denied then, allowed by the candidate.
    pub allowed: u64,
    /// Allowed by both, under other obligations.
    pub obligations: u64,
}

/// What a candidate policy would have decided.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Replay {
    /// Decisions looked at.
    pub decisions: u64,
    /// Decisions that the candidate could not make; they count as denials too.
    pub errors: u64,
    /// All changes.
    pub changes: Changes,
    /// Changes by rule: those that held in one of the two decisions and not in the other.
    pub by_rule: BTreeMap<String, Changes>,
    /// Changes by the reasons that the denying decision gave; for obligations, none.
    pub by_reason: BTreeMap<String, Changes>,
    /// Changes by actor, as `type:id`.
    pub by_actor: BTreeMap<String, Changes>,
    /// The first records that would be denied.
    pub denied_ids: Vec<String>,
    /// The first records that would be allowed.
    pub allowed_ids: Vec<String>,
    /// The first records with other obligations.
    pub obligation_ids: Vec<String>,
}

#[derive(Clone, Copy)]
enum Change {
    Denied,
    Allowed,
    Obligations,
}

impl Replay {
    /// Decides everything again by the candidate. Several threads can do a part each and merge.
    pub fn run(candidate: &Policy, recorded: impl IntoIterator<Item = Recorded>) -> Self {
        let mut replay = Self::default();
        for old in recorded {
            let new = candidate.decide(old.point, &old.input);
            replay.count(&old, &new);
        }
        replay
    }

    fn count(&mut self, old: &Recorded, new: &Decision) {
        self.decisions += 1;
        self.errors += u64::from(new.error.is_some());
        let change = match (old.decision.allow, new.allow) {
            (true, false) => Change::Denied,
            (false, true) => Change::Allowed,
            (true, true) if old.decision.obligations != new.obligations => Change::Obligations,
            _ => return,
        };
        self.changes.add(change);
        let (ids, reasons): (_, &[String]) = match change {
            Change::Denied => (&mut self.denied_ids, &new.reasons),
            Change::Allowed => (&mut self.allowed_ids, &old.decision.reasons),
            Change::Obligations => (&mut self.obligation_ids, &[]),
        };
        if ids.len() < NAMED_MAX {
            ids.push(old.id.clone());
        }
        let rules = |decision: &Decision| decision.rules.iter().cloned().collect::<BTreeSet<_>>();
        for rule in rules(&old.decision).symmetric_difference(&rules(new)) {
            add_to(&mut self.by_rule, rule, change);
        }
        for reason in reasons {
            add_to(&mut self.by_reason, reason, change);
        }
        add_to(&mut self.by_actor, &format!("{}:{}", old.input.actor.kind, old.input.actor.id), change);
    }

    /// Both parts together; records of `self` are named first.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.decisions += other.decisions;
        self.errors += other.errors;
        self.changes.merge(other.changes);
        let maps = [
            (&mut self.by_rule, other.by_rule),
            (&mut self.by_reason, other.by_reason),
            (&mut self.by_actor, other.by_actor),
        ];
        for (into, from) in maps {
            for (name, changes) in from {
                entry(into, &name).merge(changes);
            }
        }
        let lists = [
            (&mut self.denied_ids, other.denied_ids),
            (&mut self.allowed_ids, other.allowed_ids),
            (&mut self.obligation_ids, other.obligation_ids),
        ];
        for (into, from) in lists {
            let room = NAMED_MAX.saturating_sub(into.len());
            into.extend(from.into_iter().take(room));
        }
        self
    }
}

impl Changes {
    fn add(&mut self, change: Change) {
        match change {
            Change::Denied => self.denied += 1,
            Change::Allowed => self.allowed += 1,
            Change::Obligations => self.obligations += 1,
        }
    }

    fn merge(&mut self, other: Self) {
        self.denied += other.denied;
        self.allowed += other.allowed;
        self.obligations += other.obligations;
    }
}

fn entry<'a>(counts: &'a mut BTreeMap<String, Changes>, name: &str) -> &'a mut Changes {
    let name = if counts.len() < COUNTED_MAX || counts.contains_key(name) { name } else { OTHERS };
    counts.entry(name.to_owned()).or_default()
}

fn add_to(counts: &mut BTreeMap<String, Changes>, name: &str, change: Change) {
    entry(counts, name).add(change);
}

#[cfg(test)]
mod tests;
