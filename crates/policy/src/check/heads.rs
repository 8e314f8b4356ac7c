//! Heads with a variable beside heads without.
//!
//! A reference `limits.gpt.day` beside a rule `limits.gpt.hour` is evaluated from rules that begin with `limits.gpt` alone: what a
//! rule `limits[model].day` says of `gpt` is left out without a word. Such a reference is refused.

use std::collections::BTreeMap;

use crate::check::graph::leads;
use crate::check::walk::Clause;
use crate::check::{Path, Pattern};
use crate::engine::LoadError;

/// Refuses references that would be evaluated from a part of what they stand for.
pub(super) fn check_heads(clauses: &[Clause]) -> Result<(), LoadError> {
    let mut variable: BTreeMap<&[String], Vec<&Clause>> = BTreeMap::new();
    let mut known: Vec<&Clause> = Vec::new();
    for clause in clauses.iter().filter(|clause| clause.arity.is_none()) {
        if clause.path.len() == clause.head.len() {
            known.push(clause);
        } else {
            variable.entry(&clause.path).or_default().push(clause);
        }
    }
    known.sort_by_key(|clause| &clause.path);
    for clause in clauses {
        for reference in &clause.references {
            let path: Path = reference.iter().map_while(Clone::clone).collect();
            let others = (1..path.len()).filter_map(|length| variable.get(&path[..length])).flatten();
            for other in others.filter(|other| leads(&other.head, &path)) {
                if let Some(one) = hiding(&known, other, &path[..=other.path.len()]) {
                    let what = format!(
                        "{} is defined by {} and by {} ({}), which would be left out: give both rules heads of one form",
                        path.join("."),
                        written(&one.head),
                        written(&other.head),
                        other.place
                    );
                    return Err(LoadError::Rule { place: clause.place.to_string(), what });
                }
            }
        }
    }
    Ok(())
}

/// A rule without a variable that goes the same way where another has one, so that the other is not looked at. Two heads that
/// are the same but for the variable and have one value each say the same or contradict each other.
fn hiding<'a>(known: &[&'a Clause], other: &Clause, way: &[String]) -> Option<&'a Clause> {
    let first = known.partition_point(|one| one.path[..] < *way);
    let met = known[first..].iter().take_while(|one| one.path.starts_with(way)).copied();
    let is_same = |one: &Clause| one.head.len() == other.head.len() && leads(&other.head, &one.path);
    met.into_iter().find(|one| one.is_set || other.is_set || !is_same(one))
}

fn written(head: &Pattern) -> String {
    let mut text = String::new();
    for (at, part) in head.iter().enumerate() {
        match part {
            Some(name) if at == 0 => text.push_str(name),
            Some(name) => text.push_str(&format!(".{name}")),
            None => text.push_str("[…]"),
        }
    }
    text
}
