use super::*;
use crate::mutated::source;
use proptest::prelude::*;
use serde_json::json;

fn apply(mapping: &Mapping, input: Input<'_>, from: &str) -> Mapped {
    let source = source("ingest");
    let received = Timestamp::parse("2026-11-25T04:00:00Z").unwrap();
    let arrival = Arrival { source: &source, sender: None, received, random: &|| [7; 10] };
    mapping.read(&Event { input, source: from, time: None, key: Some("lines/f/0") }, &arrival)
}

fn draft(toml: &str, input: Input<'_>, from: &str) -> Draft {
    match apply(&Mapping::compile(toml).unwrap(), input, from) {
        Mapped::Draft(draft) => *draft,
        other => panic!("{other:?}"),
    }
}

fn leaf(draft: Draft) -> String {
    let mut out = Vec::new();
    draft.seal([0; 32]).unwrap().write_leaf(Timestamp::from_micros(0), 0, &mut out);
    String::from_utf8(out).unwrap()
}

const FILE: &str = include_str!("../../testdata/mapping/example.toml");

#[test]
fn the_example_makes_these_records() {
    let chat = json!({"type": "llm.chat", "ts": 1_763_890_442_118_i64, "id": "e-1", "request_id": "r-7", "status": "finished",
        "user": {"name": "alice"}, "model": "gemma-3-270m", "usage": {"in": 24, "out": 9}, "env": "staging",
        "trace": "4BF92F35-77B34DA6A3CE929D0E0E4736", "answer": [{"role": "assistant", "content": "Hi"}],
        "headers": {"authorization": "Bearer canary", "accept": "*/*"}});
    let chat = draft(FILE, Input::Json(&chat), "/var/log/app/chat.jsonl");
    let line = r#"192.0.2.7 - bob [25/Nov/2026:05:00:00 +0100] "POST /v1/tools HTTP/1.1" 503 17 "r-7""#;
    let access = draft(FILE, Input::Text(line), "/var/log/nginx/access.log");
    assert_eq!(chat.call_id, access.call_id);
    assert_eq!(chat.id, once_id("ingest", "mapping/chat/e-1"));
    assert_eq!(access.id, once_id("ingest", "lines/f/0"));
    let content: Vec<String> =
        chat.content.iter().map(|field| format!("{}: {}", field.name, String::from_utf8_lossy(&field.bytes))).collect();
    let shown = format!("{}\n{}\n{}", leaf(chat), content.join("\n"), leaf(access));
    assert!(!shown.contains("canary"));
    insta::assert_snapshot!(shown);
    let mapping = Mapping::compile(FILE).unwrap();
    assert!(matches!(
        apply(&mapping, Input::Json(&json!({"type": "debug"})), "/var/log/app/chat.jsonl"),
        Mapped::Dropped
    ));
    assert!(matches!(apply(&mapping, Input::Text("anything"), "/var/log/app/chat.jsonl"), Mapped::Unmatched));
    assert!(matches!(apply(&mapping, Input::Text(line), "/elsewhere"), Mapped::Unmatched));
}

#[test]
fn the_documentation_has_the_example_that_is_tested() {
    assert!(include_str!("../../../../docs/ingest/mapping.md").contains(FILE));
}

#[test]
fn a_key_is_a_rule_s_own() {
    let toml = "[[mapping]]\nmatch = { source = \"a\" }\nkey = \"/id\"\n[[mapping]]\nkey = \"/id\"";
    let document = json!({"id": 1});
    let id = |from: &str| draft(toml, Input::Json(&document), from).id;
    assert_eq!(
        (id("a"), id("b"), id("c")),
        (once_id("ingest", "mapping/1/1"), once_id("ingest", "mapping/2/1"), id("b"))
    );
}

#[test]
fn what_cannot_be_read_costs_only_itself() {
    let toml = r#"
        [[mapping]]
        time = { from = "/t", format = "unix" }
        trace_id = "/trace"
        outcome = { from = "/o", values = { ok = "completed" } }
        attributes = { big = "/big", small = "/small", password = "/p" }
    "#;
    let document =
        json!({"t": "noon", "trace": "xyz", "o": "?", "big": vec!["x".repeat(9_000); 4], "small": 1, "p": "canary"});
    let draft = draft(toml, Input::Json(&document), "any");
    assert_eq!(draft.time.to_string(), "2026-11-25T04:00:00.000000Z");
    assert_eq!(draft.attributes.value("small"), Some(&Value::Int(1)));
    insta::assert_snapshot!(leaf(draft));
}

#[test]
fn conditions_compare_texts_numbers_and_facts() {
    let toml = r#"
        [[mapping]]
        match = { where = { "/a" = 5, "/b" = true, "/c/0" = "x*", "/d" = 0.5, "/e" = "*" } }
        drop = true
    "#;
    let mapping = Mapping::compile(toml).unwrap();
    let good = json!({"a": 5, "b": true, "c": ["xyz"], "d": 0.5, "e": ""});
    assert!(matches!(apply(&mapping, Input::Json(&good), ""), Mapped::Dropped));
    for (member, other) in [("a", json!(6)), ("b", json!("false")), ("c", json!("xyz")), ("e", Json::Null)] {
        let mut document = good.clone();
        document[member] = other;
        assert!(matches!(apply(&mapping, Input::Json(&document), ""), Mapped::Unmatched), "{member}");
    }
}

#[test]
fn the_table_of_outcomes_takes_what_says_most() {
    let toml = r#"
        [[mapping]]
        outcome = { from = "/s", values = { "5*" = "failed", "503" = "denied", "50*" = "aborted" }, otherwise = "completed" }
    "#;
    let outcome = |status: Json| draft(toml, Input::Json(&json!({"s": status})), "").outcome.unwrap().to_string();
    let said =
        [outcome(json!(503)), outcome(json!(502)), outcome(json!(511)), outcome(json!(200)), outcome(json!("blocked"))];
    assert_eq!(said, ["denied", "aborted", "failed", "completed", "blocked"]);
}

#[test]
fn attributes_are_made_what_the_mapping_wants() {
    let toml = r#"
        [[mapping]]
        attributes = { i = { from = "/i", as = "int" }, f = { from = "/f", as = "float" }, b = { from = "/b", as = "bool" }, t = { from = "/t", as = "text" }, x = { from = "/t", as = "int" } }
    "#;
    let draft = draft(toml, Input::Json(&json!({"i": "7", "f": 1, "b": "true", "t": [1]})), "");
    insta::assert_snapshot!(leaf(draft));
}

#[test]
fn a_call_id_is_taken_as_it_is_or_follows_from_its_text() {
    let toml = "[[mapping]]\ncall_id = \"/c\"";
    let id = "01a208f8-ef10-7cbd-8b00-d5608311e505";
    let call = |text: &str| draft(toml, Input::Json(&json!({"c": text})), "").call_id.unwrap();
    assert_eq!(call(id).to_string(), id);
    assert_eq!(call("order 7"), join_id("call_id", "order 7"));
    assert_ne!(join_id("a", "b"), join_id("b", "b"));
}

#[test]
fn a_mapping_that_is_wrong_says_where_and_what_to_do() {
    let said: Vec<String> = [
        "[[mapping]]\nkind = \"guess\"",
        "\n\n[[mapping]]\nname = \"app\"\nkey = \"id\"",
        "[[mapping]]\npattern = '(?<a>x)'\nkey = \"b\"",
        "[[mapping]]\npattern = '('",
        "[[mapping]]\ntime = { from = \"/t\", format = \"iso\" }",
        "[[mapping]]\ntime = { from = \"/t\", format = \"%d %m\", utc_offset = \"CET\" }",
        "[[mapping]]\ntime = 7",
        "[[mapping]]\nattributes = { a = { from = \"/a\", as = \"date\" } }",
        "[[mapping]]\n\nkindd = \"system\"",
        "[[mapping]]\noutcome = { from = \"/s\", values = { ok = \"good\" } }",
        "[[mapping]]\nattributes = { a = \"/x~y\" }",
        "[[mapping]]\ncontent = { \"log.record.original\" = \"\" }",
        "[[mapping]]\nactor = { type = \"\" }",
        "[[mapping]]\npattern = 'a{1000}{1000}{1000}'",
        "join = [\"\"]",
        "[[mapping]\n",
    ]
    .into_iter()
    .map(|toml| Mapping::compile(toml).unwrap_err().to_string())
    .collect();
    insta::assert_snapshot!(said.join("\n"));
    assert!(matches!(Mapping::compile(&" ".repeat(MAPPING_BYTES_MAX + 1)), Err(MappingError::TooLarge(_))));
    assert!(Mapping::compile(&"[[mapping]]\n".repeat(RULES_MAX + 1)).is_err());
}

fn any_json() -> impl Strategy<Value = Json> {
    let plain = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        "\\PC{0,12}".prop_map(Json::from),
        "[\\x00-\\x1f]{0,9000}".prop_map(Json::from),
    ];
    plain.prop_recursive(24, 64, 4, |inner| {
        let name = prop_oneof![Just("a".to_owned()), Just("__proto__".to_owned()), Just("b.c".to_owned()), "\\PC{0,8}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map(name, inner, 0..4)
                .prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_document_makes_a_record_that_cannot_be_sealed(document in any_json(), text in "\\PC{0,64}") {
        let toml = r#"
            join = ["a"]
            [[mapping]]
            time = { from = "/a", format = "unix" }
            key = "/a"
            call_id = "/b.c"
            trace_id = "/a"
            actor = "/a"
            outcome = "/a"
            source = { service = "/a", host = "", environment = "/b.c" }
            body = ""
            attributes = { a = "/a", b = "", c = "/0", d = "/__proto__", e = "/a/a", f = { from = "/a", as = "float" }, g = { from = "", as = "text" } }
            content = { x = "", y = "/a" }
            original = true
            [[mapping]]
            pattern = '(?<a>.)?(?<b>.*)'
            key = "a"
            body = ""
            attributes = { a = "a", b = "b" }
        "#;
        let mapping = Mapping::compile(toml).unwrap();
        for input in [Input::Json(&document), Input::Text(&text)] {
            let Mapped::Draft(draft) = apply(&mapping, input, &text) else { panic!("no record") };
            prop_assert!(draft.seal([0; 32]).is_ok());
        }
    }

    #[test]
    fn no_mapping_panics(text in "\\PC{0,64}", from in any::<prop::sample::Index>(), byte in any::<char>()) {
        let _ = Mapping::compile(&text);
        let _ = Mapping::compile(&format!("[[mapping]]\npattern = '{text}'"));
        let at = from.index(FILE.len());
        if FILE.is_char_boundary(at) {
            let changed = format!("{}{byte}{}", &FILE[..at], FILE[at..].chars().skip(1).collect::<String>());
            if let Ok(mapping) = Mapping::compile(&changed) {
                let _ = apply(&mapping, Input::Text(&text), "/var/log/nginx/access.log");
                let _ = apply(&mapping, Input::Json(&json!({"ts": text})), "/var/log/app/chat.jsonl");
            }
        }
    }
}
