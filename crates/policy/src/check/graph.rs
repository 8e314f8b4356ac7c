//! Which rule depends on which.

use std::collections::BTreeMap;
use std::fmt;

use crate::check::walk::Clause;
use crate::check::{Path, Pattern, Rules};
use crate::engine::LoadError;

/// How deep expressions may be nested along a chain of rules: evaluating each level takes some of the thread's stack.
/// A chain of rules, each of one comparison, adds about four a rule.
const NESTING_MAX: usize = 160;

/// A file and a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file.
    pub(crate) path: String,
    /// The line, from 1.
    pub(crate) line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path, self.line)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    New,
    Open,
    /// How deep the chain below is.
    Done(usize),
}

struct Graph<'a> {
    rules: &'a Rules,
    paths: Vec<&'a Path>,
    /// Of each rule, how deep it is itself.
    depths: Vec<usize>,
    edges: Vec<Vec<usize>>,
}

/// Refuses a rule that depends on itself, and a chain that is too deep. Tells how deep the deepest is.
pub(super) fn check_dependencies(rules: &Rules, clauses: &[Clause]) -> Result<usize, LoadError> {
    let paths: Vec<&Path> = rules.places.keys().collect();
    let numbers: BTreeMap<&Path, usize> = paths.iter().enumerate().map(|(number, path)| (*path, number)).collect();
    let (mut depths, mut edges) = (vec![0; paths.len()], vec![Vec::new(); paths.len()]);
    for clause in clauses {
        let Some(&number) = numbers.get(&clause.path) else { continue };
        // One for the rule, as it is a call of its own.
        depths[number] = depths[number].max(clause.depth + 1);
        for reference in &clause.references {
            edges[number].extend(referred(&paths, reference));
        }
    }
    for targets in &mut edges {
        targets.sort_unstable();
        targets.dedup();
    }
    Graph { rules, paths, depths, edges }.check()
}

/// The rules that a reference may lead to: those below it, and those above it, into whose value it leads.
fn referred(paths: &[&Path], reference: &Pattern) -> Vec<usize> {
    let known: Path = reference.iter().map_while(Clone::clone).collect();
    // The keys are sorted, so that all below a path stand together.
    let first = paths.partition_point(|path| **path < known);
    let below = paths[first..].iter().take_while(|path| path.starts_with(&known)).enumerate();
    let below = below.filter(|(_, path)| leads(reference, path)).map(|(at, _)| first + at);
    let above =
        (1..known.len()).filter_map(|length| paths.binary_search_by(|path| path[..].cmp(&known[..length])).ok());
    below.chain(above).collect()
}

/// Whether a reference and a path are the same as far as both go.
pub(super) fn leads(reference: &Pattern, path: &Path) -> bool {
    reference.iter().zip(path).all(|(part, name)| part.as_ref().is_none_or(|part| part == name))
}

impl Graph<'_> {
    /// Depth first, with a list for a stack.
    fn check(&self) -> Result<usize, LoadError> {
        let (mut marks, mut deepest) = (vec![Mark::New; self.paths.len()], 0);
        for start in 0..self.paths.len() {
            let mut chain: Vec<(usize, usize)> = vec![(start, 0)];
            while let Some((rule, next)) = chain.last_mut() {
                let rule = *rule;
                if *next == 0 && marks[rule] == Mark::New {
                    marks[rule] = Mark::Open;
                } else if *next == 0 {
                    chain.pop();
                    continue;
                }
                let Some(&target) = self.edges[rule].get(*next) else {
                    let depth = self.depth(rule, &marks)?;
                    marks[rule] = Mark::Done(depth);
                    deepest = deepest.max(depth);
                    chain.pop();
                    continue;
                };
                *next += 1;
                match marks[target] {
                    Mark::Done(_) => {}
                    Mark::New => chain.push((target, 0)),
                    Mark::Open => return Err(self.recursion(&chain, target)),
                }
            }
        }
        Ok(deepest)
    }

    fn depth(&self, rule: usize, marks: &[Mark]) -> Result<usize, LoadError> {
        let below =
            self.edges[rule].iter().map(|target| if let Mark::Done(depth) = marks[*target] { depth } else { 0 }).max();
        let depth = self.depths[rule] + below.unwrap_or(0);
        if depth > NESTING_MAX {
            let what =
                format!("{} is nested {depth} deep with the rules it uses, more than {NESTING_MAX}", self.name(rule));
            return Err(LoadError::Rule { place: self.place(rule), what });
        }
        Ok(depth)
    }

    fn recursion(&self, chain: &[(usize, usize)], target: usize) -> LoadError {
        let from = chain.iter().position(|(rule, _)| *rule == target).unwrap_or(0);
        let names: Vec<String> =
            chain[from..].iter().map(|(rule, _)| self.name(*rule)).chain([self.name(target)]).collect();
        LoadError::Rule {
            place: self.place(target), what: format!("a rule depends on itself: {}", names.join(" → "))
        }
    }

    fn name(&self, rule: usize) -> String {
        self.paths[rule].join(".")
    }

    fn place(&self, rule: usize) -> String {
        self.rules.places.get(self.paths[rule]).map_or_else(String::new, |(place, _)| place.to_string())
    }
}
