use super::*;
use proptest::prelude::*;

fn some_text() -> impl Strategy<Value = String> {
    ".{0,20}"
}

fn maybe() -> impl Strategy<Value = Option<String>> {
    proptest::option::of(some_text())
}

fn parameter() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<u64>().prop_map(serde_json::Value::from),
        any::<f64>().prop_map(serde_json::Value::from),
        some_text().prop_map(serde_json::Value::from),
        proptest::collection::vec(any::<f32>().prop_map(serde_json::Value::from), 0..3)
            .prop_map(serde_json::Value::from),
    ]
}

prop_compose! {
    fn actor()(
        kind in some_text(), id in some_text(), groups in proptest::collection::vec(some_text(), 0..3),
        (role, auth, ip) in (maybe(), maybe(), maybe()),
    ) -> Actor {
        Actor { kind, id, groups, role, auth, ip }
    }
}

prop_compose! {
    fn finding()(check in some_text(), rule in some_text(), action in some_text(), score in proptest::option::of(0.0..=1.0))
        -> Finding {
        Finding { check, rule, action, score }
    }
}

prop_compose! {
    fn input()(
        actor in actor(),
        (model, route, environment, service) in (maybe(), maybe(), maybe(), maybe()),
        parameters in proptest::collection::btree_map(some_text(), parameter(), 0..4),
        messages in proptest::collection::vec((some_text(), some_text()), 0..4),
        tools in proptest::collection::vec(some_text(), 0..3),
        time in (some_text(), any::<i64>()),
        findings in proptest::collection::vec(finding(), 0..3),
        output in proptest::option::of((some_text(), proptest::collection::vec(some_text(), 0..3))),
        admin in proptest::option::of((some_text(), some_text())),
    ) -> Input {
        Input {
            actor, model, route, environment, service,
            parameters: parameters.into_iter().collect(),
            messages: messages.into_iter().map(|(role, text)| Message { role, text }).collect(),
            tools,
            time: Time { rfc3339: time.0, unix_ns: time.1 },
            findings,
            output: output.map(|(text, finish_reasons)| Output { text, finish_reasons }),
            admin: admin.map(|(action, target)| Administration { action, target }),
        }
    }
}

proptest! {
    #[test]
    fn the_document_is_what_its_json_is_read_as(input in input()) {
        let json = serde_json::to_string(&input).unwrap();
        prop_assert_eq!(input.to_value(), Value::from_json_str(&json).unwrap());
    }
}
