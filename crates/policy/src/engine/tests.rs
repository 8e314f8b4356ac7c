use super::*;
use crate::decision::Obligation;
use crate::input::{Actor, Message, Time};
use std::time::Duration;

fn load(rego: &str) -> Result<Policy, LoadError> {
    Policy::from_files(&[("request.rego".to_owned(), rego.as_bytes().to_vec())], &Limits::patient())
}

/// The rules of the package of requests.
fn request(rules: &str) -> String {
    format!("package testimony.request\n{rules}\n")
}

fn input() -> Input {
    Input {
        actor: Actor { kind: "user".to_owned(), id: "alice".to_owned(), ..Actor::default() },
        messages: vec![Message { role: "user".to_owned(), text: "hello".to_owned() }],
        time: Time { rfc3339: "2026-11-23T09:14:02Z".to_owned(), unix_ns: 1_795_425_242_000_000_000 },
        ..Input::default()
    }
}

fn decide(rules: &str) -> Decision {
    load(&request(rules)).unwrap().decide(Point::Request, &input())
}

/// A failed decision's error.
fn error(rules: &str) -> String {
    let decision = decide(rules);
    assert!(!decision.allow, "{decision:?}");
    assert!(decision.obligations.is_empty(), "{decision:?}");
    decision.error.unwrap_or_else(|| panic!("no error: {:?}", decision.reasons))
}

fn refusal(rego: &str) -> String {
    load(rego).unwrap_err().to_string()
}

#[test]
fn a_rule_that_holds_allows_with_its_reasons_and_obligations() {
    let decision = decide(
        r#"
        allow if input.actor.id == "alice"
        reasons contains "alice may"
        obligations contains {"type": "cap", "max_tokens": 256}
        obligations contains {"type": "redact", "check": "secrets"}
        "#,
    );
    assert!(decision.allow);
    assert_eq!(decision.reasons, ["alice may"]);
    let redact = Obligation::Redact { check: Some("secrets".to_owned()), pattern: None };
    assert_eq!(decision.obligations, [redact, Obligation::Cap { max_tokens: 256 }]);
    let rules = ["allow", "obligations", "reasons"].map(|rule| format!("data.testimony.request.{rule}"));
    assert_eq!(decision.rules, rules);
    assert_eq!(decision.error, None);
}

#[test]
fn one_denial_outweighs_what_allows() {
    let decision = decide("allow := true\ndeny contains \"not today\"\nreasons contains \"because\"");
    assert!(!decision.allow);
    assert_eq!(decision.reasons, ["not today", "because"]);
    assert_eq!(decision.error, None);
}

#[test]
fn a_policy_that_says_nothing_of_a_point_denies() {
    let policy = load(&request("allow := true")).unwrap();
    for point in [Point::Response, Point::Admin] {
        let decision = policy.decide(point, &input());
        assert!(!decision.allow);
        assert!(decision.reasons[0].starts_with("the policy says nothing of a"), "{decision:?}");
    }
}

#[test]
fn nothing_that_allows_is_a_denial_with_a_reason() {
    let decision = decide("allow if input.actor.id == \"bob\"");
    assert!(!decision.allow);
    assert_eq!(decision.reasons, ["data.testimony.request.allow is not true"]);
    assert_eq!(decision.error, None);
}

#[test]
fn a_function_that_fails_is_a_denial_that_names_the_line() {
    let error = error("allow if to_number(input.actor.id) > 0");
    assert!(error.starts_with("request.rego:2: "), "{error}");
}

#[test]
fn a_glob_that_would_be_read_otherwise_is_a_denial() {
    for pattern in ["{www.,}a.b", "{,www.}a.b", "{x,,y}", "a{}b", "{a,{b,}}"] {
        let error = error(&format!("allow if glob.match(`{pattern}`, null, input.actor.id)"));
        assert!(error.ends_with("glob.match: an empty alternative is not read"), "{pattern}: {error}");
    }
    for pattern in ["{al,bo}ice", "al[{,}i]ce", "{a,b}l{i,o}ce", "al{[,],i}ce"] {
        assert!(decide(&format!("allow if glob.match(`{pattern}`, null, input.actor.id)")).allow, "{pattern}");
    }
    assert!(decide("allow if glob.match(`a,,i`, null, `a,,i`)").allow);
    assert!(decide("allow if glob.match(`a\\{,b`, null, `a{,b`)").allow);
}

#[test]
fn a_failure_within_a_negation_does_not_allow() {
    error("allow if not time.parse_rfc3339_ns(input.actor.id)");
    error("allow if not to_number(input.actor.id)");
}

#[test]
fn two_values_of_one_rule_are_a_denial() {
    error(
        "allow if input.actor.id == \"alice\"\nallow := false if input.actor.kind != \"x\"\nallow := false if input.actor.id == \"alice\"",
    );
}

#[test]
fn results_that_are_not_as_documented_are_a_denial() {
    for rules in [
        "allow := \"yes\"",
        "allow := true\nreasons := \"because\"",
        "allow := true\nreasons contains 1",
        "allow := true\ndeny contains {\"a\": 1}",
        "allow := true\nobligations contains \"redact\"",
        "allow := true\nobligations contains {\"type\": \"explode\"}",
        "allow := true\nobligations contains {\"type\": \"cap\"}",
        "allow := true\nobligations contains {\"type\": \"cap\", \"max_tokens\": 0}",
        "allow := true\nobligations contains {\"type\": \"cap\", \"max_tokens\": -1}",
        "allow := true\nobligations contains {\"type\": \"cap\", \"max_tokens\": 1.5}",
        "allow := true\nobligations contains {\"type\": \"cap\", \"max_tokens\": 1, \"more\": 1}",
        "allow := true\nobligations contains {\"type\": \"redact\"}",
        "allow := true\nobligations contains {\"type\": \"redact\", \"check\": \"a\", \"pattern\": \"b\"}",
        "allow := true\nobligations contains {\"type\": \"route\", \"to\": \"\"}",
        "allow := true\nobligations contains {\"type\": \"route\", \"to\": [\"a\"]}",
        "allow := true\nobligations := {\"type\": \"flag\", \"label\": \"a\"}",
        "allow := true\nreasons := [x | some n in numbers.range(1, 65); x := sprintf(\"%d\", [n])]",
    ] {
        let error = error(rules);
        assert!(error.starts_with("data.testimony.request."), "{rules}: {error}");
    }
}

#[test]
fn loops_end_at_the_time_limit() {
    let limits = Limits { decision_time_max: Duration::from_millis(20), ..Limits::default() };
    let rules =
        request("r := numbers.range(1, 2000)\nallow if { some a in r; some b in r; some c in r; a + b + c < 0 }");
    let policy = Policy::from_files(&[("a.rego".to_owned(), rules.into_bytes())], &limits).unwrap();
    let decision = policy.decide(Point::Request, &input());
    assert!(!decision.allow);
    assert!(decision.error.unwrap().contains("time limit"));
}

#[test]
fn what_is_too_large_is_never_built() {
    let doubled: String = (1..40).map(|n| format!("s{n} := concat(\"\", [s{0}, s{0}])\n", n - 1)).collect();
    let arrays: String = (1..40).map(|n| format!("s{n} := array.concat(s{0}, s{0})\n", n - 1)).collect();
    let nested: String =
        (1..12).map(|n| format!("s{n} := [s{0}, s{0}, s{0}, s{0}, s{0}, s{0}, s{0}]\n", n - 1)).collect();
    for rules in [
        "allow if count(numbers.range(1, 1000000000000)) > 1",
        "allow if count(numbers.range(-9223372036854775808, 9223372036854775807)) > 1",
        "allow if count(numbers.range_step(1, 1000000000000, 2)) > 1",
        "allow if bits.lsh(1, 10000000000) > 1",
        "allow if to_number(\"1e2000000000\") > 1",
        "allow if json.unmarshal(\"[1e2000000000]\")[0] > 1",
        "allow if units.parse(\"1e2000000000\") > 1",
        "allow if count(net.cidr_expand(\"10.0.0.0/4\")) > 1",
        "allow if count(net.cidr_expand(\"fe80::/1\")) > 1",
        "allow if sprintf(\"%900000000d\", [1]) != \"\"",
        "big := concat(\"\", [\"aaaaaaaaaa\" | some _ in numbers.range(1, 20000)])\nallow if replace(big, \"a\", big) != \"\"",
        "big := concat(\"\", [\"aaaaaaaaaa\" | some _ in numbers.range(1, 20000)])\nallow if regex.replace(big, \"a\", big) != \"\"",
        "big := concat(\"\", [\"aaaaaaaaaa\" | some _ in numbers.range(1, 20000)])\nallow if strings.replace_n({\"a\": big}, big) != \"\"",
        &format!("s0 := \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"\n{doubled}allow if s39 != \"\""),
        &format!("s0 := [1, 2]\n{arrays}allow if count(s39) > 0"),
        &format!("s0 := [1, 2]\n{nested}allow if json.marshal(s11) != \"\""),
        &format!("s0 := [1, 2]\n{nested}allow if sprintf(\"%v\", [s11]) != \"\""),
    ] {
        let error = error(rules);
        assert!(error.contains("would build more than one decision may"), "{rules}: {error}");
    }
}

#[test]
fn a_panic_of_the_evaluator_is_a_denial_and_the_policy_goes_on() {
    // A superscript two is numeric and no digit, which the evaluator's sprintf does not expect.
    let rules =
        "allow if { input.actor.id == \"bob\"; sprintf(\"%²d\", [1]) != \"\" }\nallow if input.actor.id == \"alice\"";
    let policy = load(&request(rules)).unwrap();
    let mut bob = input();
    bob.actor.id = "bob".to_owned();
    let decision = policy.decide(Point::Request, &bob);
    assert_eq!(decision.error.as_deref(), Some("the policy could not be evaluated: the evaluator failed"));
    assert!(policy.decide(Point::Request, &input()).allow);
}

#[test]
fn the_deepest_chain_that_is_let_in_can_be_evaluated() {
    let chain = |length: usize| -> String {
        let rules: String =
            (1..=length).map(|n| format!("r{n} if {{ [x | some x in [1]; r{}]; true }}\n", n - 1)).collect();
        request(&format!("r0 := true\n{rules}allow if r{length}"))
    };
    let let_in = (1..200).take_while(|length| load(&chain(*length)).is_ok()).last().unwrap();
    assert!((10..190).contains(&let_in), "{let_in}");
    // The thread of a test has 2 MiB of stack, as those of a server.
    let decision = load(&chain(let_in)).unwrap().decide(Point::Request, &input());
    assert!(decision.allow, "{decision:?}");
    assert!(refusal(&chain(let_in + 1)).contains("nested"));
}

#[test]
fn a_chain_of_functions_of_the_deepest_kind_can_be_evaluated() {
    let chain = |length: usize| -> String {
        let rules: String = (1..=length).map(|n| format!("f{n}(x) := f{}(x) + 1\n", n - 1)).collect();
        request(&format!("f0(x) := x\n{rules}allow if f{length}(1) > 0"))
    };
    let let_in = (1..200).take_while(|length| load(&chain(*length)).is_ok()).last().unwrap();
    let decision = load(&chain(let_in)).unwrap().decide(Point::Request, &input());
    assert!(decision.allow, "{decision:?}");
}

#[test]
fn the_time_is_that_of_the_input() {
    assert!(decide("allow if time.now_ns() == input.time.unix_ns").allow);
    assert!(decide("allow if time.clock(time.now_ns()) == [9, 14, 2]").allow);
}

#[test]
fn many_threads_ask_at_once() {
    let policy = load(&request("allow if input.actor.id == \"alice\"")).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let policy = &policy;
            scope.spawn(move || {
                for round in 0..50 {
                    let mut input = input();
                    let alice = (thread + round) % 2 == 0;
                    input.actor.id = if alice { "alice" } else { "bob" }.to_owned();
                    assert_eq!(policy.decide(Point::Request, &input).allow, alice);
                }
            });
        }
    });
}

#[test]
fn nothing_of_a_question_is_left_for_the_next() {
    let policy = load(&request("allow if input.model == \"secret\"")).unwrap();
    let mut secret = input();
    secret.model = Some("secret".to_owned());
    assert!(policy.decide(Point::Request, &secret).allow);
    assert!(!policy.decide(Point::Request, &input()).allow);
}

#[test]
fn data_is_where_its_folder_says() {
    let files = [
        ("request.rego".to_owned(), request("allow if input.actor.id in data.teams.support.members").into_bytes()),
        ("teams/support/data.json".to_owned(), br#"{"members": ["alice"]}"#.to_vec()),
    ];
    assert!(Policy::from_files(&files, &Limits::patient()).unwrap().decide(Point::Request, &input()).allow);
}

#[test]
fn data_cannot_answer_in_place_of_rules() {
    let files = [
        ("request.rego".to_owned(), request("deny contains \"x\" if false").into_bytes()),
        ("testimony/data.json".to_owned(), br#"{"request": {"allow": true}}"#.to_vec()),
    ];
    let error = Policy::from_files(&files, &Limits::patient()).unwrap_err();
    assert_eq!(error.to_string(), "the file data.json defines data.testimony.request, which only rules may");
}

#[test]
fn prints_of_rules_go_nowhere() {
    assert!(decide("allow if print(\"secret\", input.actor.id)").allow);
}

#[test]
fn rules_may_not_lean_on_tests() {
    let files = [
        ("a.rego".to_owned(), request("allow if data.helpers.f(1)").into_bytes()),
        ("h_test.rego".to_owned(), b"package helpers\nf(x) := true".to_vec()),
    ];
    let error = Policy::from_files(&files, &Limits::patient()).unwrap_err();
    assert_eq!(error.to_string(), "a.rego:2: the function data.helpers.f is not known here");
}

#[test]
fn what_cannot_be_parsed_is_named_with_its_place() {
    assert!(refusal("package testimony.request\nallow if {").starts_with("request.rego:2: "));
    assert!(refusal("package testimony.request\nallow { true }").starts_with("request.rego:2: "));
    assert!(refusal("package testimony.request\nallow if x > 1").starts_with("request.rego:2: "));
    assert_eq!(
        refusal("package __testimony__\nready := false"),
        "request.rego:2: the package __testimony__ cannot be used"
    );
    assert!(refusal("package testimony.request\nallow(x) := true").contains("must be a rule, not a function"));
}
