//! Heads with a variable beside heads without.
//!
//! A reference `limits.gpt.day` beside a rule `limits.gpt.hour` is evaluated from rules that begin with `limits.gpt` alone: what a
//! rule `limits[model].day` says of `gpt` is left out without a word. Such a reference is refused.

use crate::check::graph::leads;
use crate::check::walk::Clause;
use crate::check::{Path, Pattern};
use crate::engine::LoadError;

/// Refuses references that would be evaluated from a part of what they stand for.
pub(super) fn check_heads(clauses: &[Clause]) -> Result<(), LoadError> {
    let is_known = |clause: &&Clause| clause.path.len() == clause.head.len();
    let variable: Vec<&Clause> = clauses.iter().filter(|clause| !is_known(clause) && clause.arity.is_none()).collect();
    if variable.is_empty() {
        return Ok(());
    }
    let known: Vec<&Clause> = clauses.iter().filter(is_known).collect();
    for clause in clauses {
        for reference in &clause.references {
            let path: Path = reference.iter().map_while(Clone::clone).collect();
            for other in variable.iter().filter(|other| path.len() > other.path.len() && leads(&other.head, &path)) {
                if let Some(one) = known.iter().find(|one| hides(one, other, &path)) {
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

/// Whether a path goes the same way below a variable as a rule without one, so that the other is not looked at. Two heads that
/// are the same but for the variable and have one value each say the same or contradict each other.
fn hides(one: &Clause, other: &Clause, path: &Path) -> bool {
    let to_variable = other.path.len() + 1;
    let is_met = one.path.get(..to_variable).is_some_and(|way| path.starts_with(way));
    let is_same = one.head.len() == other.head.len() && leads(&other.head, &one.path);
    is_met && !(is_same && !one.is_set && !other.is_set)
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
