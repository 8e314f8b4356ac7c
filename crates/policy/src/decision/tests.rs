use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn asked(pairs: &[(&str, serde_json::Value)]) -> Value {
    let pairs = pairs.iter().map(|(name, value)| Value::from(vec![Value::from(*name), Value::from(value.clone())]));
    Value::from(pairs.collect::<BTreeSet<_>>())
}

#[test]
fn an_answer_without_rules_is_a_denial() {
    assert!(!Decision::read(Point::Request, &asked(&[])).allow);
    assert!(Decision::read(Point::Request, &Value::Undefined).error.is_some());
}

#[test]
fn what_is_asked_twice_is_done_once() {
    let flag = serde_json::json!({"type": "flag", "label": "a"});
    let decision = Decision::read(
        Point::Admin,
        &asked(&[("allow", true.into()), ("obligations", vec![flag.clone(), flag].into())]),
    );
    assert_eq!(decision.obligations.len(), 1);
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        prop::sample::select(vec!["redact", "cap", "route", "flag", "x", ""]).prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let key = prop::sample::select(vec!["type", "check", "pattern", "max_tokens", "to", "label", "name"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map(key, inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

proptest! {
    #[test]
    fn an_error_never_allows(allow in json(), deny in json(), obligations in json(), reasons in json()) {
        let pairs = [("allow", allow.clone()), ("deny", deny), ("obligations", obligations), ("reasons", reasons)];
        let decision = Decision::read(Point::Request, &asked(&pairs));
        prop_assert!(!(decision.allow && decision.error.is_some()));
        prop_assert!(!decision.allow || allow == true);
        prop_assert!(decision.allow || !decision.reasons.is_empty());
        prop_assert!(decision.error.is_none() || decision.obligations.is_empty());
    }

    #[test]
    fn a_whole_package_as_json_is_read_as_its_rules_are(
        allow in json(), deny in json(), obligations in json(), reasons in json(), present in 0_u8..16,
    ) {
        let pairs = [("allow", allow), ("deny", deny), ("obligations", obligations), ("reasons", reasons)];
        let pairs: Vec<_> = pairs.into_iter().enumerate().filter(|(at, _)| present >> at & 1 == 1).map(|(_, pair)| pair).collect();
        let helper = ("helper".to_owned(), serde_json::json!([1]));
        let package = pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).chain([helper]).collect();
        let decision = Decision::read_package(Point::Response, serde_json::Value::Object(package));
        prop_assert_eq!(decision, Decision::read(Point::Response, &asked(&pairs)));
    }
}
