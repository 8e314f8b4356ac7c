//! What each clause of a rule calls and refers to.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{AssignOp, Expr, Literal, Module, Query, Rule, RuleAssign, RuleHead, Span, WithModifier};

use crate::check::{Path, Pattern, Place};

/// One clause of a rule.
pub(super) struct Clause {
    pub(super) path: Path,
    /// The whole head, of which `path` is the known beginning.
    pub(super) head: Pattern,
    /// Whether it adds to a set (`contains`).
    pub(super) is_set: bool,
    pub(super) place: Place,
    /// How many arguments it takes, when it is a function.
    pub(super) arity: Option<usize>,
    pub(super) calls: Vec<Call>,
    /// What it refers to.
    pub(super) references: Vec<Pattern>,
    /// How deep its expressions are nested.
    pub(super) depth: usize,
}

/// A function called, or replaced by `with`.
pub(super) struct Call {
    written: Vec<String>,
    /// The paths of a rule that the name may stand for.
    pub(super) candidates: Vec<Path>,
    pub(super) place: Place,
    /// How many arguments are given; unknown for a function that is replaced.
    pub(super) arguments: Option<usize>,
    /// Whether it is a statement of its own, not within another expression and not negated.
    pub(super) is_statement: bool,
}

impl Call {
    /// The name as it is written.
    pub(super) fn name(&self) -> String {
        self.written.join(".")
    }
}

/// All clauses of a module.
pub(super) fn clauses(module: &Module) -> Vec<Clause> {
    let mut package = vec!["data".to_owned()];
    package.extend(static_path(&module.package.refr));
    let mut imports = BTreeMap::new();
    for import in &module.imports {
        let path = static_path(&import.refr);
        let name = import.r#as.as_ref().map(|span| span.text().to_owned()).or_else(|| path.last().cloned());
        if let (Some(name), Some("data")) = (name, path.first().map(String::as_str)) {
            imports.insert(name, path);
        }
    }
    module.policy.iter().map(|rule| Walk::over(&package, &imports, rule)).collect()
}

/// The whole path of a rule, as far as it is known before evaluation.
pub(super) fn path_of(module: &Module, rule: &Rule) -> Path {
    let refr = match rule {
        Rule::Spec {
            head: RuleHead::Func { refr, .. } | RuleHead::Compr { refr, .. } | RuleHead::Set { refr, .. },
            ..
        }
        | Rule::Default { refr, .. } => refr,
    };
    std::iter::once("data".to_owned()).chain(static_path(&module.package.refr)).chain(static_path(refr)).collect()
}

fn place(span: &Span) -> Place {
    Place { path: span.source.get_path().clone(), line: span.line }
}

/// The parts of a reference up to the first that is only known in evaluation.
pub(super) fn static_path(expression: &Expr) -> Path {
    pattern(expression).into_iter().map_while(|part| part).collect()
}

/// All parts of a reference.
fn pattern(expression: &Expr) -> Pattern {
    let mut parts = Vec::new();
    let mut next = Some(expression);
    while let Some(expression) = next {
        next = None;
        match expression {
            Expr::Var { span, .. } => parts.push(Some(span.text().to_owned())),
            Expr::RefDot { refr, field, .. } => {
                parts.push(Some(field.0.text().to_owned()));
                next = Some(refr);
            }
            Expr::RefBrack { refr, index, .. } => {
                parts.push(match index.as_ref() {
                    Expr::String { value, .. } => value.as_string().ok().map(|text| text.to_string()),
                    _ => None,
                });
                next = Some(refr);
            }
            _ => parts.push(None),
        }
    }
    parts.reverse();
    parts
}

enum Item<'a> {
    Expression(&'a Expr),
    Query(&'a Query),
    With(&'a WithModifier),
}

struct Walk<'a> {
    package: &'a Path,
    imports: &'a BTreeMap<String, Path>,
    /// What is still to be looked at, and how deep it is.
    pending: Vec<(Item<'a>, usize)>,
    /// Names that the clause declares anywhere: these are not rules. Functions are looked up regardless.
    locals: BTreeSet<String>,
    mentioned: Vec<Pattern>,
    clause: Clause,
}

impl<'a> Walk<'a> {
    fn over(package: &'a Path, imports: &'a BTreeMap<String, Path>, rule: &'a Rule) -> Clause {
        let (refr, arguments, function) = match rule {
            Rule::Spec { head: RuleHead::Func { refr, args, .. }, .. } => (refr, args.as_slice(), true),
            Rule::Spec { head: RuleHead::Compr { refr, .. } | RuleHead::Set { refr, .. }, .. } => {
                (refr, &[][..], false)
            }
            Rule::Default { refr, args, .. } => (refr, args.as_slice(), !args.is_empty()),
        };
        let clause = Clause {
            path: package.iter().cloned().chain(static_path(refr)).collect(),
            head: package.iter().cloned().map(Some).chain(pattern(refr)).collect(),
            is_set: matches!(rule, Rule::Spec { head: RuleHead::Set { .. }, .. }),
            place: place(refr.span()),
            arity: function.then_some(arguments.len()),
            calls: Vec::new(),
            references: Vec::new(),
            depth: 0,
        };
        let (pending, locals, mentioned) = (Vec::new(), BTreeSet::new(), Vec::new());
        let mut walk = Self { package, imports, pending, locals, mentioned, clause };
        for argument in arguments {
            walk.declare(argument);
        }
        // A head such as `limits[name]` has an expression in it.
        walk.brackets(refr, 0);
        match rule {
            Rule::Default { value, .. } => walk.pending.push((Item::Expression(value), 0)),
            Rule::Spec { head, bodies, .. } => {
                match head {
                    RuleHead::Set { key, .. } => {
                        walk.pending.extend(key.iter().map(|key| (Item::Expression(key), 0)));
                    }
                    RuleHead::Compr { assign, .. } | RuleHead::Func { assign, .. } => walk.assigned(assign.as_ref()),
                }
                for body in bodies {
                    walk.assigned(body.assign.as_ref());
                    walk.pending.push((Item::Query(&body.query), 0));
                }
            }
        }
        walk.run()
    }

    fn assigned(&mut self, assign: Option<&'a RuleAssign>) {
        self.pending.extend(assign.map(|assign| (Item::Expression(assign.value.as_ref()), 0)));
    }

    fn run(mut self) -> Clause {
        while let Some((item, depth)) = self.pending.pop() {
            self.clause.depth = self.clause.depth.max(depth);
            match item {
                Item::Expression(expression) => self.expression(expression, depth + 1),
                Item::Query(query) => self.query(query, depth + 1),
                Item::With(with) => self.with(with, depth + 1),
            }
        }
        let mentioned = std::mem::take(&mut self.mentioned);
        for pattern in mentioned {
            let known: Path = pattern.iter().map_while(Clone::clone).collect();
            if known.first().is_some_and(|root| !self.locals.contains(root)) {
                for candidate in self.candidates(&known) {
                    let rest = pattern[known.len()..].iter().cloned();
                    self.clause.references.push(candidate.into_iter().map(Some).chain(rest).collect());
                }
            }
        }
        for candidate in self.clause.calls.iter().flat_map(|call| &call.candidates) {
            self.clause.references.push(candidate.iter().cloned().map(Some).collect());
        }
        self.clause
    }

    /// What a written path may stand for among rules.
    fn candidates(&self, path: &[String]) -> Vec<Path> {
        let Some((root, rest)) = path.split_first() else { return Vec::new() };
        match self.imports.get(root) {
            Some(target) => vec![target.iter().chain(rest).cloned().collect()],
            None if root == "data" => vec![path.to_vec()],
            None => vec![self.package.iter().chain(path).cloned().collect()],
        }
    }

    fn call(&mut self, name: &Expr, span: &Span, arguments: Option<usize>) {
        let written = static_path(name);
        let candidates = self.candidates(&written);
        self.clause.calls.push(Call { written, candidates, place: place(span), arguments, is_statement: false });
    }

    fn query(&mut self, query: &'a Query, depth: usize) {
        for statement in &query.stmts {
            self.pending.extend(statement.with_mods.iter().map(|with| (Item::With(with), depth)));
            match &statement.literal {
                Literal::SomeVars { vars, .. } => self.locals.extend(vars.iter().map(|name| name.text().to_owned())),
                Literal::SomeIn { key, value, collection, .. } => {
                    key.iter().chain([value]).for_each(|pattern| self.declare(pattern));
                    self.pending.push((Item::Expression(collection), depth));
                }
                Literal::Expr { expr, .. } => match expr.as_ref() {
                    Expr::Call { span, fcn, params, .. } => {
                        self.pending.extend(params.iter().map(|param| (Item::Expression(param.as_ref()), depth + 1)));
                        self.call(fcn, span, Some(params.len()));
                        self.clause.calls.last_mut().iter_mut().for_each(|call| call.is_statement = true);
                    }
                    other => self.pending.push((Item::Expression(other), depth)),
                },
                Literal::NotExpr { expr, .. } => self.pending.push((Item::Expression(expr), depth)),
                Literal::Every { key, value, domain, query, .. } => {
                    self.locals.extend(key.iter().chain([value]).map(|name| name.text().to_owned()));
                    self.pending.push((Item::Expression(domain), depth));
                    self.pending.push((Item::Query(query), depth));
                }
            }
        }
    }

    /// `with f as g` calls `g` where `f` is called; both must exist. What is not a function is a reference.
    fn with(&mut self, with: &'a WithModifier, depth: usize) {
        self.pending.push((Item::Expression(&with.r#as), depth));
        let target = static_path(&with.refr);
        let dotted = target.join(".");
        let document = matches!(target.first().map(String::as_str), Some("input" | "data"));
        let imported = target.first().is_some_and(|root| self.imports.contains_key(root));
        if !document && !imported || crate::functions::arity(&dotted).is_some() {
            self.call(&with.refr, &with.span, None);
        }
    }

    /// The variables of a pattern are the clause's own.
    fn declare(&mut self, pattern: &'a Expr) {
        let mut pending = vec![pattern];
        while let Some(expression) = pending.pop() {
            match expression {
                Expr::Var { span, .. } => {
                    self.locals.insert(span.text().to_owned());
                }
                Expr::Array { items, .. } => pending.extend(items.iter().map(AsRef::as_ref)),
                Expr::Object { fields, .. } => pending.extend(fields.iter().map(|(_, _, value)| value.as_ref())),
                other => self.pending.push((Item::Expression(other), 0)),
            }
        }
    }

    fn expression(&mut self, expression: &'a Expr, depth: usize) {
        let mut push = |expression: &'a Expr| self.pending.push((Item::Expression(expression), depth));
        match expression {
            Expr::String { .. }
            | Expr::RawString { .. }
            | Expr::Number { .. }
            | Expr::Bool { .. }
            | Expr::Null { .. } => {}
            Expr::Var { .. } => self.mentioned.push(pattern(expression)),
            Expr::RefDot { .. } | Expr::RefBrack { .. } => self.reference(expression, depth),
            Expr::Array { items, .. } | Expr::Set { items, .. } => items.iter().for_each(|item| push(item)),
            Expr::Object { fields, .. } => fields.iter().for_each(|(_, key, value)| {
                push(key);
                push(value);
            }),
            Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
                push(term);
                self.pending.push((Item::Query(query), depth));
            }
            Expr::ObjectCompr { key, value, query, .. } => {
                push(key);
                push(value);
                self.pending.push((Item::Query(query), depth));
            }
            Expr::Call { span, fcn, params, .. } => {
                params.iter().for_each(|parameter| push(parameter));
                self.call(fcn, span, Some(params.len()));
            }
            Expr::UnaryExpr { expr, .. } => push(expr),
            Expr::AssignExpr { op: AssignOp::ColEq, lhs, rhs, .. } => {
                push(rhs);
                self.declare(lhs);
            }
            Expr::BinExpr { lhs, rhs, .. }
            | Expr::BoolExpr { lhs, rhs, .. }
            | Expr::ArithExpr { lhs, rhs, .. }
            | Expr::AssignExpr { lhs, rhs, .. } => {
                push(lhs);
                push(rhs);
            }
            Expr::Membership { key, value, collection, .. } => {
                key.iter().for_each(|key| push(key));
                push(value);
                push(collection);
            }
        }
    }

    /// A reference, and whatever is in its brackets.
    fn reference(&mut self, expression: &'a Expr, depth: usize) {
        self.mentioned.push(pattern(expression));
        self.brackets(expression, depth);
    }

    fn brackets(&mut self, expression: &'a Expr, depth: usize) {
        let mut next = expression;
        loop {
            match next {
                Expr::RefDot { refr, .. } => next = refr,
                Expr::RefBrack { refr, index, .. } => {
                    self.pending.push((Item::Expression(index), depth));
                    next = refr;
                }
                Expr::Var { .. } => return,
                // A reference into a call or a literal.
                other => return self.pending.push((Item::Expression(other), depth)),
            }
        }
    }
}
