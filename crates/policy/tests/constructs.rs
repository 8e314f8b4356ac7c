//! The constructs of Rego that policies use give what the Rego reference says, through our own loader.
#![expect(clippy::unwrap_used, reason = "in tests, also in what they share")]

use std::time::Duration;

use policy::{Input, Limits, Outcome, Point, Policy, TestReport};

/// The usual limits, but for time: what a test decides does not depend on how busy the machine is.
fn patient() -> Limits {
    Limits { decision_time_max: Duration::from_secs(600), ..Limits::default() }
}

fn report(files: &[(&str, &[u8])]) -> TestReport {
    let files: Vec<_> = files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec())).collect();
    Policy::from_files(&files, &patient()).unwrap().test().unwrap()
}

#[test]
fn every_construct_gives_what_the_reference_says() {
    let vectors: serde_json::Value = serde_json::from_str(include_str!("data/tokens.json")).unwrap();
    let data = serde_json::json!({"token": vectors["hs256"]}).to_string();
    let report = report(&[
        ("empty.rego", b"package empty\nnothing := true"),
        ("language_test.rego", include_bytes!("constructs/language_test.rego")),
        ("functions_test.rego", include_bytes!("constructs/functions_test.rego")),
        ("crypto_test.rego", include_bytes!("constructs/crypto_test.rego")),
        ("constructs/data.json", data.as_bytes()),
    ]);
    let failed: Vec<_> = report.results.iter().filter(|result| result.outcome != Outcome::Pass).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(report.results.len() > 55, "{}", report.results.len());
}

#[test]
fn the_example_passes_its_tests_and_has_fifty_rules() {
    let rules = include_str!("../examples/fifty.rego");
    let report =
        report(&[("fifty.rego", rules.as_bytes()), ("fifty_test.rego", include_bytes!("../examples/fifty_test.rego"))]);
    assert!(report.passed(), "{:#?}", report.results);
    let (covered, lines) = report.lines();
    assert!(covered * 10 > lines * 8, "{covered} of {lines}");
    let heads = |line: &&str| !line.is_empty() && !line.starts_with(['#', '\t', '}', ' ']);
    assert!(rules.lines().filter(heads).count() > 50);
}

#[test]
fn policies_that_are_shown_in_the_documentation_are_loaded_and_pass() {
    let text = include_str!("../../../docs/policy.md");
    let blocks: Vec<&str> = text.split("```rego\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() >= 3, "{}", blocks.len());
    for block in blocks {
        let name = if block.contains("_test\n") { "shown_test.rego" } else { "shown.rego" };
        let rules: &[u8] = include_bytes!("../examples/fifty.rego");
        let files: Vec<(&str, &[u8])> = if name == "shown.rego" {
            vec![(name, block.as_bytes())]
        } else {
            vec![("fifty.rego", rules), (name, block.as_bytes())]
        };
        let report = report(&files);
        assert!(report.passed(), "{block}\n{:#?}", report.results);
    }
}

#[test]
fn decisions_are_the_same_whoever_asks_and_when() {
    let files = [("fifty.rego".to_owned(), include_bytes!("../examples/fifty.rego").to_vec())];
    let policy = Policy::from_files(&files, &patient()).unwrap();
    let input = Input::default();
    let first = policy.decide(Point::Request, &input);
    assert!(!first.allow);
    for _ in 0..10 {
        assert_eq!(policy.decide(Point::Request, &input), first);
    }
}
