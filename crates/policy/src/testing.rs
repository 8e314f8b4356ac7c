//! Tests of a policy: rules called `test_…` in `_test.rego` files or `_test` packages, as `opa test` has them.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use regorus::{Engine, Value};
use serde::Serialize;

use crate::check::Place;
use crate::engine::{LoadError, Policy, sentence};
use crate::functions;

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its rule has a value other than false.
    Pass,
    /// Its rule is false or undefined.
    Fail,
    /// It could not be evaluated, and why.
    Error(String),
    /// It is called `todo_test_…` and was not run.
    Skip,
}

/// One test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TestResult {
    /// The rule, such as `data.testimony.request_test.test_support_may_ask`.
    pub rule: String,
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// What it printed, with file and line.
    pub prints: Vec<String>,
}

/// Which lines of a file the tests have evaluated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// The file.
    pub file: String,
    /// Lines with an expression that was evaluated, from 1.
    pub covered: BTreeSet<u32>,
    /// Lines with none that was.
    pub not_covered: BTreeSet<u32>,
}

/// What the tests of a policy say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TestReport {
    /// Every test, by path.
    pub results: Vec<TestResult>,
    /// Every file of rules that is not a test, by path.
    pub coverage: Vec<Coverage>,
}

impl TestReport {
    /// Whether no test failed; a policy without tests passes.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.results.iter().all(|result| matches!(result.outcome, Outcome::Pass | Outcome::Skip))
    }

    /// Lines covered, and lines in all.
    #[must_use]
    pub fn lines(&self) -> (usize, usize) {
        let covered: usize = self.coverage.iter().map(|file| file.covered.len()).sum();
        let missed: usize = self.coverage.iter().map(|file| file.not_covered.len()).sum();
        (covered, covered + missed)
    }
}

impl Policy {
    /// Runs the tests, each within the limits of one decision. There is no clock: `time.now_ns()` is 0 unless a test replaces
    /// it (`with time.now_ns as …`).
    ///
    /// # Errors
    /// When the rules and the tests together cannot be analysed.
    pub fn test(&self) -> Result<TestReport, LoadError> {
        let mut engine = self.with_tests()?;
        engine.set_enable_coverage(true);
        let mut results = Vec::new();
        for (path, (place, _)) in &self.rules.places {
            let Some(name) = path.last() else { continue };
            let package = path.get(path.len().saturating_sub(2));
            let tests = place.path.ends_with("_test.rego") || package.is_some_and(|package| package.ends_with("_test"));
            if tests && (name.starts_with("test_") || name.starts_with("todo_test_")) {
                results.push(self.run(&mut engine, path, place)?);
            }
        }
        let report = engine.get_coverage_report().map(|report| report.files).unwrap_or_default();
        let of_rules = |file: &regorus::coverage::File| {
            self.files.modules.iter().any(|module| module.path == file.path && !module.is_test())
        };
        let coverage = report.into_iter().filter(of_rules).map(|file| Coverage {
            file: file.path,
            not_covered: file.not_covered.difference(&file.covered).copied().collect(),
            covered: file.covered,
        });
        Ok(TestReport { results, coverage: coverage.collect() })
    }

    fn run(&self, engine: &mut Engine, path: &[String], place: &Place) -> Result<TestResult, LoadError> {
        let rule = path.join(".");
        let mut result =
            TestResult { rule, file: place.path.clone(), line: place.line, outcome: Outcome::Skip, prints: Vec::new() };
        if path.last().is_some_and(|name| name.starts_with("todo_")) {
            return Ok(result);
        }
        // As in a decision: what has panicked is not used again, though what it had covered is lost with it.
        let evaluated = catch_unwind(AssertUnwindSafe(|| {
            functions::open_account(self.limits.built_bytes_max, 0);
            (engine.eval_rule(quoted(path)), engine.take_prints().unwrap_or_default())
        }));
        let Ok((value, prints)) = evaluated else {
            *engine = self.with_tests()?;
            engine.set_enable_coverage(true);
            result.outcome = Outcome::Error("the evaluator failed".to_owned());
            return Ok(result);
        };
        result.prints = prints;
        result.outcome = match value {
            Ok(Value::Undefined | Value::Bool(false)) => Outcome::Fail,
            Ok(_) => Outcome::Pass,
            Err(error) => Outcome::Error(sentence(&error).to_string()),
        };
        Ok(result)
    }
}

/// A path as the evaluator reads it.
fn quoted(path: &[String]) -> String {
    let plain = |part: &String| {
        !part.is_empty()
            && !part.starts_with(|c: char| c.is_ascii_digit())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let mut text = String::new();
    for part in path {
        match (text.is_empty(), plain(part)) {
            (true, _) => text.push_str(part),
            (false, true) => text.extend([".", part.as_str()]),
            (false, false) => text.extend(["[", serde_json::Value::from(part.as_str()).to_string().as_str(), "]"]),
        }
    }
    text
}

#[cfg(test)]
mod tests;
