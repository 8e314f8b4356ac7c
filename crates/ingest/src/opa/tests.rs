use super::*;
use crate::mutated::{all_seal, arriving, mutated, received, shown};
use proptest::prelude::*;

const LOGS: &[u8] = include_bytes!("../../testdata/opa/decisions.json");

fn reading(body: &[u8], form: Form) -> Vec<Result<Draft, Rejected>> {
    arriving("opa", |arrival| read(body, form, arrival))
}

fn one(decision: &str) -> Draft {
    reading(decision.as_bytes(), Form::Json).remove(0).unwrap()
}

#[test]
fn what_an_opa_posts_becomes_records_without_credentials() {
    let records = reading(LOGS, Form::Json).into_iter().map(|draft| shown(draft.unwrap()));
    let records = records.collect::<Vec<_>>().join("\n\n");
    assert!(!records.contains("canary"), "{records}");
    insta::assert_snapshot!(records);
}

#[test]
fn a_decision_is_the_same_record_by_its_id_in_whatever_form_it_comes() {
    let posted = one(r#"[{"decision_id":"a","path":"b"}]"#);
    let line = br#"{"decision_id":"a","level":"info","msg":"Decision Log","type":"openpolicyagent.org/decision_logs"}"#;
    assert_eq!(reading(line, Form::Lines).remove(0).unwrap().id, posted.id);
    assert_ne!(one(r#"[{"decision_id":"b"}]"#).id, posted.id);
    assert_eq!(posted.time, received());
}

#[test]
fn an_error_that_is_a_sentence_is_taken_as_one() {
    let draft = one(r#"{"decision_id":"a","error":"it broke","result":true}"#);
    assert_eq!(draft.outcome, Some(Outcome::Failed));
    let said = draft.attributes.value("testimony.policy.error").unwrap();
    assert_eq!(said.to_json(), "\"it broke\"");
}

#[test]
fn identifiers_that_are_no_trace_name_none() {
    let trace =
        |trace: &str| one(&format!(r#"{{"decision_id":"a","trace_id":"{trace}","span_id":"00f067aa0ba902b7"}}"#)).trace;
    assert_eq!(trace("4BF9"), Trace::default());
    assert_eq!(trace(&"1".repeat(32)).span_id.as_deref(), Some("00f067aa0ba902b7"));
}

#[test]
fn what_is_no_decision_says_which_member_and_costs_no_other() {
    let good = r#"{"decision_id":"a"}"#;
    let long = format!(r#"{{"decision_id":"{}"}}"#, "a".repeat(DECISION_ID_BYTES_MAX + 1));
    let bad = [&long, "{}", r#"{"decision_id":null}"#, r#"{"decision_id":"a","bundles":[]}"#, "7"];
    let body = format!("[{}]", bad.map(|bad| format!("{bad},{good}")).join(","));
    let (good, bad): (Vec<_>, Vec<_>) = reading(body.as_bytes(), Form::Json).into_iter().partition(Result::is_ok);
    assert_eq!(good.len(), bad.len());
    let said: Vec<String> = bad.into_iter().map(|bad| bad.unwrap_err().to_string()).collect();
    insta::assert_snapshot!(said.join("\n"));
    let many = format!("[{}1]", "1,".repeat(RECORDS_MAX));
    assert_eq!(reading(many.as_bytes(), Form::Json).remove(0).err(), Some(Rejected::TooMany));
    assert!(reading(b"[]", Form::Json).is_empty());
}

#[test]
fn hostile_names_and_sizes_do_no_harm() {
    let long = "k".repeat(1_000_000);
    let many: BTreeMap<String, String> = (0..5_000).map(|nth| (format!("{nth}\u{0}."), "\u{1}".repeat(999))).collect();
    let decision = serde_json::json!({
        "decision_id": "a", "__proto__": {}, "labels": many, "path": long, "requested_by": long, "timestamp": long,
        "bundles": {(long.as_str()): {"revision": long}}, "erased": vec![long.as_str(); 100], "req_id": u64::MAX,
        "metrics": {(long.as_str()): 1, "n": "text", "timer_server_handler_ns": u64::MAX},
        "request_context": {"http": {"headers": {"a.b": ["x"], "": ["x"], (long.as_str()): ["x"], "x-ok": [long]}}},
        "result": {"allow": true, "reasons": vec![long.as_str(); 100]},
    });
    let draft = one(&decision.to_string());
    assert_eq!(draft.outcome, Some(Outcome::Allowed));
    let headers = draft.attributes.iter().filter(|(name, _)| name.starts_with("http.request.header."));
    assert!(headers.count() <= 1);
    assert!(draft.attributes.value("testimony.ingest.cut").is_some());
    draft.seal([0; 32]).unwrap();
}

proptest! {
    #[test]
    fn no_bytes_make_reading_panic(bytes in any::<Vec<u8>>(), text in ".*") {
        for body in [bytes.as_slice(), text.as_bytes(), format!("[{text}]").as_bytes()] {
            for form in [Form::Json, Form::Lines] {
                all_seal(reading(body, form))?;
            }
        }
    }

    #[test]
    fn spoiled_samples_are_read_or_rejected(logs in mutated(LOGS)) {
        all_seal(reading(&logs, Form::Json))?;
    }
}
