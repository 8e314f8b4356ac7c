use super::*;
use crate::mutated::{all_seal, arriving, mutated, received, shown};
use proptest::prelude::*;

const WEBHOOK: &[u8] = include_bytes!("../../testdata/kubernetes/webhook.json");
const FILE: &[u8] = include_bytes!("../../testdata/kubernetes/audit.log");

fn reading(body: &[u8], form: Form) -> Vec<Result<Draft, Rejected>> {
    arriving("kubernetes", |arrival| read(body, form, arrival))
}

fn all(body: &[u8], form: Form) -> String {
    reading(body, form).into_iter().map(|draft| shown(draft.unwrap())).collect::<Vec<_>>().join("\n\n")
}

fn one(event: &str) -> Result<Draft, Rejected> {
    let body = format!(r#"{{"apiVersion":"audit.k8s.io/v1","kind":"EventList","items":[{event}]}}"#);
    reading(body.as_bytes(), Form::Json).remove(0)
}

#[test]
fn what_a_webhook_sends_becomes_records() {
    let records = all(WEBHOOK, Form::Json);
    assert!(!records.contains("sk-canary") && !records.contains("token=canary"));
    insta::assert_snapshot!(records);
}

#[test]
fn no_secret_and_no_token_is_kept() {
    let records = all(FILE, Form::Lines);
    assert!(!records.contains("canary"), "{records}");
    insta::assert_snapshot!(records);
}

#[test]
fn an_event_is_the_same_record_by_its_audit_id_and_stage() {
    let id = |audit: &str, stage: &str| {
        one(&format!(r#"{{"level":"Metadata","auditID":"{audit}","stage":"{stage}"}}"#)).unwrap().id
    };
    assert_eq!(id("a", "Panic"), id("a", "Panic"));
    assert_ne!(id("a", "Panic"), id("a", "ResponseComplete"));
    assert_ne!(id("a", "Panic"), id("b", "Panic"));
    let line = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a","stage":"Panic"}"#;
    assert_eq!(reading(line.as_bytes(), Form::Lines).remove(0).unwrap().id, id("a", "Panic"));
}

#[test]
fn every_level_and_stage_is_read_and_ends_as_its_code_says() {
    let outcome = |stage: &str, code: i64| {
        let event = |level| {
            format!(
                r#"{{"level":"{level}","auditID":"a","stage":"{stage}","responseStatus":{{"code":{code}}},"user":null}}"#
            )
        };
        let outcomes = ["Metadata", "Request", "RequestResponse"].map(|level| one(&event(level)).unwrap().outcome);
        assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]));
        outcomes[0]
    };
    assert_eq!(outcome("RequestReceived", 0), None);
    assert_eq!(outcome("ResponseStarted", 200), None);
    assert_eq!(outcome("ResponseStarted", 403), Some(Outcome::Denied));
    assert_eq!(outcome("ResponseComplete", 200), Some(Outcome::Completed));
    assert_eq!(outcome("ResponseComplete", 403), Some(Outcome::Denied));
    assert_eq!(outcome("ResponseComplete", 401), Some(Outcome::Failed));
    assert_eq!(outcome("ResponseComplete", 500), Some(Outcome::Failed));
    assert_eq!(outcome("Panic", 0), Some(Outcome::Failed));
}

#[test]
fn what_is_no_event_says_which_member_and_costs_no_other() {
    let good = r#"{"level":"Metadata","auditID":"a","stage":"Panic"}"#;
    let bad = [
        r#"{"level":"None","auditID":"a","stage":"Panic"}"#,
        r#"{"level":"Metadata","auditID":"a","stage":"Later"}"#,
        r#"{"level":"Metadata","auditID":"","stage":"Panic"}"#,
        r#"{"level":"Metadata","stage":"Panic"}"#,
        r#"{"level":"Metadata","auditID":"a","stage":"Panic","kind":"Pod"}"#,
        r#"{"level":"Metadata","auditID":"a","stage":"Panic","apiVersion":"audit.k8s.io/v1alpha1"}"#,
        r#"{"level":"Metadata","auditID":7,"stage":"Panic"}"#,
        r#"{"level":"Metadata","auditID":"a","auditID":"b","stage":"Panic"}"#,
        "[]",
        "null",
    ];
    let items = bad.map(|bad| format!("{good},{bad}")).join(",");
    let body = format!(r#"{{"apiVersion":"audit.k8s.io/v1","kind":"EventList","items":[{items}]}}"#);
    let (good, bad): (Vec<_>, Vec<_>) = reading(body.as_bytes(), Form::Json).into_iter().partition(Result::is_ok);
    assert_eq!(good.len(), bad.len());
    let said: Vec<String> = bad.into_iter().map(|bad| bad.unwrap_err().to_string()).collect();
    insta::assert_snapshot!(said.join("\n"));
    assert!(reading(b"{\"kind\":\"EventList\",\"apiVersion\":\"audit.k8s.io/v1\"}", Form::Json).is_empty());
    let many = "{}\n".repeat(RECORDS_MAX + 1);
    assert_eq!(reading(many.as_bytes(), Form::Lines).remove(0).err(), Some(Rejected::TooMany));
}

#[test]
fn clocks_that_are_years_off_are_believed_and_what_is_no_time_is_kept_as_said() {
    let time = |text: &str| {
        let draft = one(&format!(
            r#"{{"level":"Metadata","auditID":"a","stage":"ResponseComplete","stageTimestamp":"{text}","requestReceivedTimestamp":"2026-01-01T00:00:00.000000Z"}}"#
        ))
        .unwrap();
        (draft.time.to_string(), draft.attributes.value("testimony.duration_ms").is_some())
    };
    assert_eq!(time("1970-01-01T00:00:00.000001Z"), ("1970-01-01T00:00:00.000001Z".into(), false));
    assert_eq!(time("9999-12-31T23:59:59.999999Z"), ("9999-12-31T23:59:59.999999Z".into(), false));
    assert_eq!(time("1969-12-31T23:59:59.999999Z").0, received().to_string());
    assert_eq!(time("2026-01-01T00:00:00.001500Z"), ("2026-01-01T00:00:00.001500Z".into(), true));
}

#[test]
fn hostile_names_and_sizes_do_no_harm() {
    let long = "k".repeat(1_000_000);
    let event = serde_json::json!({
        "level": "Metadata", "auditID": "a", "stage": "ResponseComplete", "__proto__": {"constructor": 1},
        "requestURI": format!("/{long}?{long}"), "verb": long, "userAgent": "\u{0}".repeat(100_000),
        "user": {"username": long, "groups": vec!["\u{1}"; 10_000], "extra": {"__proto__": [long]}},
        "sourceIPs": vec!["not an address"; 100],
        "objectRef": {"resource": "pods", "name": "a\u{0}.b", "namespace": long},
        "annotations": {(long.as_str()): long, "__proto__": "x", "a.b\u{0}": "\u{1}".repeat(9_000), "": ""},
    });
    let draft = one(&event.to_string()).unwrap();
    let cut = draft.attributes.value("testimony.ingest.cut").unwrap().to_json();
    for name in ["url.path", "user.name", "k8s.namespace.name", "testimony.kubernetes.annotations"] {
        assert!(cut.contains(name), "{name} in {cut}");
    }
    assert_eq!(draft.actor.as_ref().unwrap().id.as_ref().unwrap().len(), NAME_BYTES_MAX);
    draft.seal([0; 32]).unwrap();
}

#[test]
fn a_secret_that_cannot_be_read_is_not_kept() {
    for value in [r#""canary\ud800""#, r#"[1e999,"canary"]"#] {
        for resource in ["secrets", "bundles"] {
            let draft = one(&format!(
                r#"{{"level":"Request","auditID":"a","stage":"Panic","objectRef":{{"resource":"{resource}"}},"requestObject":{{"kind":"Secret","data":{{"a":{value}}}}}}}"#
            ))
            .unwrap();
            assert!(draft.content.is_empty());
            assert_eq!(
                draft.attributes.value("testimony.kubernetes.removed").unwrap().to_json(),
                r#"["requestObject"]"#
            );
        }
    }
    let deep = format!(
        r#"{{"level":"Request","auditID":"a","stage":"Panic","requestObject":{}{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert!(matches!(one(&deep), Err(Rejected::Malformed(_))));
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
    fn spoiled_samples_are_read_or_rejected(webhook in mutated(WEBHOOK), file in mutated(FILE)) {
        all_seal(reading(&webhook, Form::Json))?;
        all_seal(reading(&file, Form::Lines))?;
    }
}
