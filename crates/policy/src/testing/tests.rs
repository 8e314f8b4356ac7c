use super::*;
use crate::Limits;

fn policy(tests: &str) -> Policy {
    let rules = "package testimony.request\nallow if input.actor.id == \"alice\"\ndeny contains \"late\" if {\n\ttime.now_ns() > 5\n\tinput.never\n}\n";
    let tests = format!("package testimony.request_test\nimport data.testimony.request\n{tests}\n");
    let files = [("r.rego".to_owned(), rules.as_bytes().to_vec()), ("r_test.rego".to_owned(), tests.into_bytes())];
    Policy::from_files(&files, &Limits::patient()).unwrap()
}

fn outcome(test: &str) -> Outcome {
    let mut report = policy(test).test().unwrap();
    assert_eq!(report.results.len(), 1);
    report.results.remove(0).outcome
}

#[test]
fn a_test_passes_fails_errs_or_is_skipped() {
    assert_eq!(outcome("test_a if request.allow with input as {\"actor\": {\"id\": \"alice\"}}"), Outcome::Pass);
    assert_eq!(outcome("test_a if request.allow with input as {\"actor\": {\"id\": \"bob\"}}"), Outcome::Fail);
    assert_eq!(outcome("test_a := false"), Outcome::Fail);
    assert!(matches!(outcome("test_a if to_number(\"x\")"), Outcome::Error(_)));
    assert!(matches!(outcome("test_a if sprintf(\"%²d\", [1])"), Outcome::Error(_)));
    assert_eq!(outcome("todo_test_a := false"), Outcome::Skip);
}

#[test]
fn time_in_tests_is_what_they_say() {
    assert_eq!(outcome("test_a if time.now_ns() == 0"), Outcome::Pass);
    let late = "test_a if \"late\" in request.deny with time.now_ns as 6 with input as {\"never\": true}";
    assert_eq!(outcome(late), Outcome::Pass);
}

#[test]
fn the_report_says_where_what_and_which_lines() {
    let report =
        policy("test_a if { print(\"seen\", 1)\nnot request.allow with input as {} }\ntest_b := false").test().unwrap();
    assert!(!report.passed());
    let first = &report.results[0];
    assert_eq!(
        (first.rule.as_str(), first.file.as_str(), first.line),
        ("data.testimony.request_test.test_a", "r_test.rego", 3)
    );
    assert_eq!(first.prints, ["r_test.rego:3: seen 1"]);
    assert_eq!(report.coverage.len(), 1);
    let file = &report.coverage[0];
    assert_eq!(file.file, "r.rego");
    assert!(file.covered.contains(&2), "{file:?}");
    assert!(file.covered.contains(&4) && file.not_covered.contains(&5), "{file:?}");
    let (covered, all) = report.lines();
    assert!(0 < covered && covered < all);
}

#[test]
fn tests_are_not_asked_in_decisions() {
    let policy = policy("test_a := true");
    assert!(policy.decide(crate::Point::Response, &crate::Input::default()).reasons[0].contains("says nothing"));
}
