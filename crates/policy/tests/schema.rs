//! The published schemas and the code say the same.
#![expect(clippy::unwrap_used, reason = "in tests, also in what they share")]

use jsonschema::Validator;
use std::time::Duration;

use policy::{Input, Limits, Obligation, Point, Policy};
use proptest::prelude::*;
use serde_json::{Value, json};

/// The usual limits, but for time: what a test decides does not depend on how busy the machine is.
fn patient() -> Limits {
    Limits { decision_time_max: Duration::from_secs(600), ..Limits::default() }
}

fn validator(text: &str) -> Validator {
    let schema: Value = serde_json::from_str(text).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    jsonschema::validator_for(&schema).unwrap()
}

fn input() -> Validator {
    validator(include_str!("../schema/input.json"))
}

fn result() -> Validator {
    validator(include_str!("../schema/result.json"))
}

/// A document of strings, numbers and lists under the names of an input, some of them missing or wrong.
fn document() -> impl Strategy<Value = Value> {
    let text = prop_oneof!["[a-z]{0,5}".prop_map(Value::from), any::<i32>().prop_map(Value::from), Just(Value::Null)];
    let good = "[a-z]{0,5}".prop_map(Value::from);
    let texts = prop::collection::vec(prop_oneof![9 => good.clone(), 1 => text.clone()], 0..3).prop_map(Value::from);
    let actor = (good.clone(), texts.clone(), prop::option::of(text.clone())).prop_map(|(id, groups, role)| {
        let mut actor = json!({"type": "user", "id": id, "groups": groups});
        if let Some(role) = role {
            actor["role"] = role;
        }
        actor
    });
    let finding = (good.clone(), prop::option::of(-1.0..2.0))
        .prop_map(|(check, score)| json!({"check": check, "rule": "r", "action": "flag", "score": score}));
    let parts = (actor, texts, prop::collection::vec(finding, 0..3), prop::option::of(text), any::<i64>());
    parts.prop_map(|(actor, tools, findings, model, unix_ns)| {
        let mut input = json!({
            "actor": actor, "parameters": {"n": 1, "x": {"y": [null]}}, "messages": [{"role": "user", "text": "t"}],
            "tools": tools, "time": {"rfc3339": "", "unix_ns": unix_ns}, "findings": findings,
        });
        if let Some(model) = model {
            input["model"] = model;
        }
        input
    })
}

proptest! {
    #[test]
    fn what_is_built_validates_and_what_validates_is_read(document in document()) {
        match serde_json::from_value::<Input>(document.clone()) {
            Ok(read) => prop_assert!(input().is_valid(&serde_json::to_value(&read).unwrap())),
            Err(error) => prop_assert!(!input().is_valid(&document), "{error}: {document}"),
        }
    }
}

#[test]
fn a_full_input_validates_and_has_every_documented_field() {
    let full = json!({
        "actor": {"type": "user", "id": "alice", "groups": ["support"], "role": "caller", "auth": "jwt", "ip": "10.0.0.8"},
        "model": "m", "route": "r", "environment": "staging", "service": "s", "parameters": {"temperature": 0.2},
        "messages": [{"role": "user", "text": "hello"}], "tools": ["search"],
        "time": {"rfc3339": "2026-11-23T09:14:02Z", "unix_ns": 1},
        "findings": [{"check": "secrets", "rule": "aws", "action": "block", "score": 0.9}],
        "output": {"text": "hi", "finish_reasons": ["stop"]}, "admin": {"action": "route.change", "target": "r"},
    });
    let read: Input = serde_json::from_value(full.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), full);
    assert!(input().is_valid(&full));
    let schema: Value = serde_json::from_str(include_str!("../schema/input.json")).unwrap();
    let documented: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
    let built: Vec<&String> = full.as_object().unwrap().keys().collect();
    assert_eq!(documented, built);
    assert!(input().is_valid(&serde_json::to_value(Input::default()).unwrap()));
}

/// What the policy itself accepts as an obligation.
fn accepted(obligation: &Value) -> Option<Vec<Obligation>> {
    let files = [
        ("a.rego".to_owned(), b"package testimony.request\nallow := true\nobligations := data.wanted".to_vec()),
        ("data.json".to_owned(), json!({"wanted": [obligation]}).to_string().into_bytes()),
    ];
    let decision = Policy::from_files(&files, &patient()).unwrap().decide(Point::Request, &Input::default());
    assert_eq!(decision.allow, decision.error.is_none());
    decision.allow.then_some(decision.obligations)
}

#[test]
fn an_obligation_is_accepted_exactly_when_it_validates() {
    let long = "x".repeat(1025);
    let candidates = [
        json!({"type": "redact", "check": "secrets"}),
        json!({"type": "redact", "pattern": "a+"}),
        json!({"type": "cap", "max_tokens": 256}),
        json!({"type": "route", "to": "eu"}),
        json!({"type": "flag", "label": "late"}),
        json!({"type": "require_header", "name": "x-ticket"}),
        json!({"type": "redact"}),
        json!({"type": "redact", "check": "a", "pattern": "b"}),
        json!({"type": "redact", "check": 1}),
        json!({"type": "redact", "check": ""}),
        json!({"type": "cap"}),
        json!({"type": "cap", "max_tokens": 0}),
        json!({"type": "cap", "max_tokens": -1}),
        json!({"type": "cap", "max_tokens": 1.5}),
        json!({"type": "cap", "max_tokens": "1"}),
        json!({"type": "route", "to": ""}),
        json!({"type": "route", "to": long}),
        json!({"type": "route", "to": ["eu"]}),
        json!({"type": "flag", "label": "a", "more": 1}),
        json!({"type": "explode"}),
        json!({"label": "a"}),
        json!("flag"),
        json!(null),
        json!({"type": "flag", "label": null}),
        json!([]),
    ];
    let (mut good, validator) = (0, result());
    for candidate in candidates {
        let valid = validator.is_valid(&json!({"allow": true, "obligations": [candidate]}));
        let accepted = accepted(&candidate);
        assert_eq!(accepted.is_some(), valid, "{candidate}");
        if let Some(read) = accepted {
            good += 1;
            assert_eq!(serde_json::to_value(&read[0]).unwrap(), candidate);
        }
    }
    assert_eq!(good, 6);
}
