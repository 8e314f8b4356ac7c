//! What is refused when a policy is loaded, since it would fail, never end or end the process when a decision is made.
//!
//! The evaluator looks functions up when it calls them, and it calls them recursively on the thread's stack. So before it sees
//! a module: every function called must exist and take as many arguments, no rule may depend on itself, and nesting along
//! any chain of rules is bounded. What it would evaluate otherwise than OPA without a word is refused too (`heads`). The syntax tree is walked with lists, not by recursion.

mod compilable;
mod graph;
mod heads;
mod tokens;
mod walk;

use std::collections::BTreeMap;

use regorus::unstable::{Module, Ref};

use crate::engine::LoadError;
use crate::functions;

pub(crate) use graph::Place;
pub(crate) use tokens::{check_tokens, is_oversized_number};

/// A rule's path in parts (`["data", "testimony", "request", "allow"]`).
pub(crate) type Path = Vec<String>;

/// The parts of a reference or a head; those that are only known in evaluation are nothing.
pub(crate) type Pattern = Vec<Option<String>>;

/// All rules of a policy by path, as far as other files need to know them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    /// The file and line of a rule's first clause, and how many arguments it takes when it is a function.
    pub(crate) places: BTreeMap<Path, (Place, Option<usize>)>,
    /// Whether the evaluator's machine means by them what its interpreter means.
    pub(crate) are_compilable: bool,
    /// How deep expressions are nested along the deepest chain of rules.
    pub(crate) depth: usize,
}

impl Rules {
    /// The rule under a dotted path.
    pub(crate) fn named(&self, path: &str) -> Option<&(Place, Option<usize>)> {
        self.places.get(&path.split('.').map(str::to_owned).collect::<Path>())
    }
}

/// Checks all modules together.
pub(crate) fn check_modules(modules: &[Ref<Module>]) -> Result<Rules, LoadError> {
    let clauses: Vec<walk::Clause> = modules.iter().flat_map(|module| walk::clauses(module)).collect();
    let mut rules = Rules::default();
    for clause in &clauses {
        let entry = rules.places.entry(clause.path.clone()).or_insert_with(|| (clause.place.clone(), clause.arity));
        if entry.1 != clause.arity {
            let what = format!("{} is defined with another number of arguments in {}", clause.path.join("."), entry.0);
            return Err(LoadError::Rule { place: clause.place.to_string(), what });
        }
    }
    let mut shadows = false;
    for clause in &clauses {
        for call in &clause.calls {
            check_call(&rules, call)?;
            let is_rule = call.candidates.iter().any(|path| rules.places.contains_key(path));
            shadows |= is_rule && functions::arity(&call.name()).is_some();
        }
    }
    // The machine would prefer the function to a rule that is called by its name.
    rules.are_compilable = !shadows && compilable::is_compilable(modules, &clauses);
    rules.depth = graph::check_dependencies(&rules, &clauses)?;
    heads::check_heads(&clauses)?;
    Ok(rules)
}

/// A function must exist, and take the arguments given: one more is a pattern for the result, as in `split(x, ",", parts)`. Of
/// the functions that are ours the evaluator does not know that.
fn check_call(rules: &Rules, call: &walk::Call) -> Result<(), LoadError> {
    let name = call.name();
    let (arity, binds) = match call.candidates.iter().find_map(|path| rules.places.get(path)) {
        Some((_, arity)) => (*arity, true),
        None => (functions::arity(&name), functions::binds_result(&name)),
    };
    let place = call.place.to_string();
    let Some(arity) = arity else {
        return Err(LoadError::UnknownFunction { place, name });
    };
    let refuse = |what: &str| {
        let given = call.arguments.unwrap_or(0);
        Err(LoadError::Rule {
            place: place.clone(),
            what: format!("{name} takes {arity} arguments and is given {given}{what}"),
        })
    };
    // The evaluator goes through what it finds with a statement only; anywhere else it would be undefined without a word.
    if name == "walk" && !(call.is_statement && call.arguments == Some(arity + 1)) {
        let what = "walk is a statement of its own: walk(x, [path, value])".to_owned();
        return Err(LoadError::Rule { place, what });
    }
    match call.arguments {
        Some(given) if given == arity || name == "print" => Ok(()),
        Some(given) if given == arity + 1 && binds => Ok(()),
        Some(given) if given == arity + 1 => refuse("; assign its result with := instead"),
        Some(_) => refuse(""),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
