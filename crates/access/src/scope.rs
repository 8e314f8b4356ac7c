//! Which records and calls a role is granted for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Glob, GlobError};

/// The most patterns that one key of a scope may have.
pub const PATTERNS_MAX: usize = 32;
/// How everything is written.
const EVERYTHING: &str = "*";

/// Patterns for environment, service and model. Those of one key are alternatives; each key that has any must be met. Without any,
/// it is everything.
///
/// Written `env=staging,service=support-*,model=gemma*`, and `*` for everything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Scope {
    environments: Vec<Glob>,
    services: Vec<Glob>,
    models: Vec<Glob>,
}

/// What is known of a record or a call that a scope is held against. What is not known meets no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts<'a> {
    /// Its environment.
    pub environment: Option<&'a str>,
    /// Its service.
    pub service: Option<&'a str>,
    /// The model that was asked for.
    pub model: Option<&'a str>,
}

/// A text that is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// Not `key=pattern`.
    #[error("{0:?} is not of the form env=…, service=… or model=…; everything is written *")]
    Form(String),
    /// The pattern is none.
    #[error(transparent)]
    Pattern(#[from] GlobError),
    /// Too many patterns.
    #[error("a scope has at most {PATTERNS_MAX} patterns for one key")]
    TooMany,
}

impl Scope {
    /// No restriction.
    #[must_use]
    pub const fn everything() -> Self {
        Self { environments: Vec::new(), services: Vec::new(), models: Vec::new() }
    }

    /// Reads rules such as the values of a repeated `--scope`, each with one or more `key=pattern` with commas between; no rule at
    /// all is everything. A rule that is there and empty is an error: a variable that was not set must not grant everything.
    ///
    /// # Errors
    /// See [`ScopeError`].
    pub fn parse_rules<T: AsRef<str>>(rules: impl IntoIterator<Item = T>) -> Result<Self, ScopeError> {
        let mut scope = Self::default();
        for rule in rules {
            if rule.as_ref() == EVERYTHING {
                continue;
            }
            for part in rule.as_ref().split(',') {
                scope.add(part)?;
            }
        }
        Ok(scope)
    }

    fn add(&mut self, part: &str) -> Result<(), ScopeError> {
        let form = || ScopeError::Form(part.chars().take(128).collect());
        let (key, pattern) = part.split_once('=').ok_or_else(form)?;
        let patterns = match key.trim_start() {
            "env" | "environment" => &mut self.environments,
            "service" => &mut self.services,
            "model" => &mut self.models,
            _ => return Err(form()),
        };
        let pattern = Glob::parse(pattern)?;
        if !patterns.contains(&pattern) {
            patterns.push(pattern);
        }
        if patterns.len() > PATTERNS_MAX { Err(ScopeError::TooMany) } else { Ok(()) }
    }

    /// Whether nothing is left out.
    #[must_use]
    pub const fn is_everything(&self) -> bool {
        self.environments.is_empty() && self.services.is_empty() && self.models.is_empty()
    }

    /// Whether a record or call is within.
    #[must_use]
    pub fn matches(&self, facts: &Facts<'_>) -> bool {
        let meets = |patterns: &[Glob], fact: Option<&str>| {
            patterns.is_empty() || fact.is_some_and(|fact| patterns.iter().any(|pattern| pattern.matches(fact)))
        };
        meets(&self.environments, facts.environment)
            && meets(&self.services, facts.service)
            && meets(&self.models, facts.model)
    }

    /// The alternatives for the environment; none: any.
    #[must_use]
    pub fn environments(&self) -> &[Glob] {
        &self.environments
    }

    /// The alternatives for the service; none: any.
    #[must_use]
    pub fn services(&self) -> &[Glob] {
        &self.services
    }

    /// The alternatives for the model; none: any.
    #[must_use]
    pub fn models(&self) -> &[Glob] {
        &self.models
    }

    /// Each pattern with its key.
    fn rules(&self) -> impl Iterator<Item = (&'static str, &Glob)> {
        let keys = [("env", &self.environments), ("service", &self.services), ("model", &self.models)];
        keys.into_iter().flat_map(|(key, patterns)| patterns.iter().map(move |pattern| (key, pattern)))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_everything() {
            return f.write_str(EVERYTHING);
        }
        self.rules().enumerate().try_for_each(|(at, (key, pattern))| {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{key}={pattern}")
        })
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        Self::parse_rules([text])
    }
}

impl TryFrom<Vec<String>> for Scope {
    type Error = ScopeError;

    fn try_from(rules: Vec<String>) -> Result<Self, ScopeError> {
        Self::parse_rules(rules)
    }
}

impl From<Scope> for Vec<String> {
    fn from(scope: Scope) -> Self {
        scope.rules().map(|(key, pattern)| format!("{key}={pattern}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn facts<'a>(environment: &'a str, service: &'a str, model: &'a str) -> Facts<'a> {
        Facts { environment: Some(environment), service: Some(service), model: Some(model) }
    }

    #[test]
    fn one_key_is_alternatives_and_two_keys_must_both_be_met() {
        let scope = Scope::parse_rules(["env=staging", "env=test", "service=support-*"]).unwrap();
        assert!(scope.matches(&facts("staging", "support-bot", "gemma")));
        assert!(scope.matches(&facts("test", "support-", "")));
        assert!(!scope.matches(&facts("production", "support-bot", "gemma")));
        assert!(!scope.matches(&facts("staging", "billing", "gemma")));
    }

    #[test]
    fn what_is_not_known_is_out_of_scope() {
        let scope: Scope = "model=*".parse().unwrap();
        assert!(!scope.matches(&Facts { model: None, ..facts("a", "b", "") }));
        assert!(scope.matches(&facts("a", "b", "c")));
        assert!(Scope::everything().matches(&Facts::default()));
    }

    #[test]
    fn an_empty_rule_does_not_grant_everything() {
        for bad in ["", "env", "env=", "region=eu", "env=a,,service=b", "env=a,", "=a", "env=a b", "*,env=a", "env=a,*"]
        {
            bad.parse::<Scope>().unwrap_err();
        }
        assert_eq!(Scope::parse_rules(Vec::<String>::new()), Ok(Scope::everything()));
        assert_eq!("*".parse(), Ok(Scope::everything()));
        let many = (0..=PATTERNS_MAX).map(|number| format!("env=e{number}"));
        assert_eq!(Scope::parse_rules(many), Err(ScopeError::TooMany));
    }

    prop_compose! {
        fn rule()(key in "env|service|model", pattern in "[a-zA-Z0-9*/:._=-]{1,12}") -> String {
            format!("{key}={pattern}")
        }
    }

    proptest! {
        #[test]
        fn scopes_read_back(rules in prop::collection::vec(rule(), 0..20)) {
            let scope = Scope::parse_rules(&rules).unwrap();
            prop_assert_eq!(scope.to_string().parse::<Scope>().unwrap(), scope.clone());
            let stored = serde_json::to_string(&scope).unwrap();
            prop_assert_eq!(serde_json::from_str::<Scope>(&stored).unwrap(), scope);
        }

        #[test]
        fn no_text_makes_reading_panic(text in "\\PC*") {
            let _ = text.parse::<Scope>();
        }

        /// More patterns of one key let in more, a further key lets in less.
        #[test]
        fn a_further_alternative_never_takes_away(rules in prop::collection::vec("env=[ab*]{1,3}", 1..4), more in "env=[ab*]{1,3}", text in "[ab]{0,4}") {
            let (narrow, wide) = (Scope::parse_rules(&rules).unwrap(), Scope::parse_rules(rules.iter().chain([&more])).unwrap());
            let facts = Facts { environment: Some(&text), ..Facts::default() };
            prop_assert!(!narrow.matches(&facts) || wide.matches(&facts));
        }
    }
}
