//! Which policies the evaluator's machine can be given, as far as their text tells.
//!
//! Version 0.14.1 of it differs from the interpreter, and from Rego, in some things: a rule that comes to two values is undefined
//! rather than an error; a comprehension within an iteration, or without one of its own, may never end; a reference to several rules at once
//! finds nothing; and so does a call for which only the function's default is left. Policies in which that can happen are interpreted.

use std::collections::BTreeMap;

use regorus::unstable::{Expr, Literal, Module, Query, Ref, Rule, RuleAssign, RuleHead};

use crate::check::walk::Clause;
use crate::check::{Path, Pattern, walk};

/// What one body of a rule gives.
enum Given<'a> {
    /// Always this, by its text.
    Constant(&'a str),
    /// Something else, perhaps one for each round of an iteration.
    Computed { iterates: bool },
}

/// Whether the machine means by the rules of these modules what the interpreter means.
pub(super) fn is_compilable(modules: &[Ref<Module>], clauses: &[Clause]) -> bool {
    let mut rules: BTreeMap<Path, Vec<&Rule>> = BTreeMap::new();
    for module in modules {
        for rule in &module.policy {
            rules.entry(walk::path_of(module, rule)).or_default().push(rule);
        }
    }
    let paths: Vec<&Path> = rules.keys().collect();
    // The paths are sorted: what a reference is the beginning of stands behind it.
    let is_several = |reference: &Path| {
        let behind = paths.partition_point(|path| *path <= reference);
        paths.get(behind).is_some_and(|path| path.starts_with(reference))
    };
    !(paths.iter().any(|path| is_several(path))
        || clauses.iter().flat_map(|clause| &clause.references).any(|reference| is_several(&known(reference)))
        || rules.values().any(|clauses| is_ambiguous(clauses))
        || rules.values().flatten().any(|rule| has_endless_comprehension(rule)))
}

/// A reference up to its first variable.
fn known(reference: &Pattern) -> Path {
    reference.iter().map_while(Clone::clone).collect()
}

fn is_ambiguous(clauses: &[&Rule]) -> bool {
    let mut given = Vec::new();
    let mut heads = 0;
    for clause in clauses {
        let (head, bodies) = match clause {
            Rule::Spec { head, bodies, .. } => (head, bodies),
            // The default of a function, which the machine does not know.
            Rule::Default { args, .. } if !args.is_empty() => return true,
            Rule::Default { .. } => continue,
        };
        let (refr, assign) = match head {
            RuleHead::Set { .. } => return false,
            RuleHead::Compr { refr, assign, .. } | RuleHead::Func { refr, assign, .. } => (refr, assign),
        };
        if has_open_bracket(refr) {
            return true;
        }
        heads += 1;
        if bodies.is_empty() {
            given.push(value(assign.as_ref(), None));
        }
        for (at, body) in bodies.iter().enumerate() {
            let assign = if at == 0 { assign.as_ref() } else { body.assign.as_ref() };
            given.push(value(assign, Some(&body.query)));
        }
    }
    let constant = |given: &Given<'_>| match given {
        Given::Constant(text) => Some((*text).to_owned()),
        Given::Computed { .. } => None,
    };
    let first = given.first().and_then(constant);
    let all_equal = first.is_some() && given.iter().all(|other| constant(other) == first);
    let none_iterates = given.iter().all(|given| !matches!(given, Given::Computed { iterates: true }));
    !(given.is_empty() || all_equal || heads == 1 && none_iterates)
}

fn value<'a>(assign: Option<&'a RuleAssign>, query: Option<&'a Query>) -> Given<'a> {
    let Some(assign) = assign else { return Given::Constant("true") };
    match assign.value.as_ref() {
        Expr::Bool { span, .. } | Expr::Number { span, .. } | Expr::String { span, .. } | Expr::Null { span, .. } => {
            Given::Constant(span.text())
        }
        computed => {
            let iterates = iterates(&mut vec![computed], query);
            Given::Computed { iterates }
        }
    }
}

/// Whether an expression and a query may be true in several ways. What is within a comprehension, `every` or `not` has no ways.
fn iterates<'a>(pending: &mut Vec<&'a Expr>, query: Option<&'a Query>) -> bool {
    for statement in query.iter().flat_map(|query| &query.stmts) {
        match &statement.literal {
            Literal::SomeVars { .. } | Literal::SomeIn { .. } => return true,
            Literal::Expr { expr, .. } => pending.push(expr),
            Literal::NotExpr { .. } | Literal::Every { .. } => {}
        }
    }
    while let Some(expression) = pending.pop() {
        match expression {
            Expr::ArrayCompr { .. } | Expr::SetCompr { .. } | Expr::ObjectCompr { .. } => {}
            Expr::RefBrack { index, .. } if is_open(index) => return true,
            Expr::Call { fcn, .. } if walk::static_path(fcn) == ["walk"] => return true,
            other => parts(other, pending),
        }
    }
    false
}

/// Whether an index is known only in evaluation.
fn is_open(index: &Expr) -> bool {
    !matches!(index, Expr::String { .. } | Expr::RawString { .. } | Expr::Number { .. })
}

fn has_open_bracket(head: &Expr) -> bool {
    let mut next = Some(head);
    while let Some(expression) = next {
        next = match expression {
            Expr::RefBrack { index, .. } if is_open(index) => return true,
            Expr::RefBrack { refr, .. } | Expr::RefDot { refr, .. } => Some(refr),
            _ => None,
        };
    }
    false
}

/// What an expression consists of; a comprehension is not looked into.
fn parts<'a>(expression: &'a Expr, pending: &mut Vec<&'a Expr>) {
    match expression {
        Expr::Array { items, .. } | Expr::Set { items, .. } => pending.extend(items.iter().map(AsRef::as_ref)),
        Expr::Object { fields, .. } => {
            pending.extend(fields.iter().flat_map(|(_, key, value)| [key.as_ref(), value.as_ref()]));
        }
        Expr::Call { params, .. } => pending.extend(params.iter().map(AsRef::as_ref)),
        Expr::UnaryExpr { expr, .. } => pending.push(expr),
        Expr::RefDot { refr, .. } => pending.push(refr),
        Expr::RefBrack { refr, index, .. } => pending.extend([refr.as_ref(), index.as_ref()]),
        Expr::BinExpr { lhs, rhs, .. }
        | Expr::BoolExpr { lhs, rhs, .. }
        | Expr::ArithExpr { lhs, rhs, .. }
        | Expr::AssignExpr { lhs, rhs, .. } => pending.extend([lhs.as_ref(), rhs.as_ref()]),
        Expr::Membership { key, value, collection, .. } => {
            pending.extend(key.iter().chain([value, collection]).map(AsRef::as_ref));
        }
        _ => {}
    }
}

/// Whether a comprehension stands within an iteration or has none of its own, or makes an object, whose keys may come twice.
fn has_endless_comprehension(rule: &Rule) -> bool {
    let mut pending: Vec<(Item<'_>, bool)> = Vec::new();
    match rule {
        Rule::Default { value, .. } => pending.push((Item::Expression(value), false)),
        Rule::Spec { head, bodies, .. } => {
            let within = bodies.iter().any(|body| iterates(&mut Vec::new(), Some(&body.query)));
            let head = match head {
                RuleHead::Set { key, .. } => key.as_deref(),
                RuleHead::Compr { assign, .. } | RuleHead::Func { assign, .. } => {
                    assign.as_ref().map(|assign| assign.value.as_ref())
                }
            };
            pending.extend(head.map(|value| (Item::Expression(value), within)));
            for body in bodies {
                pending.extend(body.assign.iter().map(|assign| (Item::Expression(assign.value.as_ref()), within)));
                pending.push((Item::Query(&body.query), within));
            }
        }
    }
    while let Some((item, within)) = pending.pop() {
        let mut inner = Vec::new();
        match item {
            Item::Query(query) => {
                for statement in &query.stmts {
                    match &statement.literal {
                        Literal::SomeVars { .. } => {}
                        Literal::SomeIn { collection, .. } => inner.push(collection.as_ref()),
                        Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => inner.push(expr.as_ref()),
                        Literal::Every { domain, query, .. } => {
                            inner.push(domain.as_ref());
                            pending.push((Item::Query(query), true));
                        }
                    }
                }
            }
            Item::Expression(Expr::ObjectCompr { .. }) => return true,
            Item::Expression(Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. }) => {
                let begins = query.stmts.first().map(|statement| &statement.literal);
                if within || !matches!(begins, Some(Literal::SomeIn { .. })) {
                    return true;
                }
                pending.extend([(Item::Expression(term), true), (Item::Query(query), true)]);
            }
            Item::Expression(expression) => parts(expression, &mut inner),
        }
        pending.extend(inner.into_iter().map(|expression| (Item::Expression(expression), within)));
    }
    false
}

enum Item<'a> {
    Expression(&'a Expr),
    Query(&'a Query),
}
