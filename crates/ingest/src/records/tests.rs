use super::*;
use crate::mutated::source;
use proptest::prelude::*;
use record::once_id;

fn read_of(
    sender: Option<&str>,
    body: &[u8],
    form: Form,
    key: Option<&str>,
    received: Timestamp,
) -> Vec<Result<Draft, Rejected>> {
    let source = source("records");
    super::read(body, form, key, &Arrival { source: &source, sender, received, random: &|| [7; 10] })
}

fn read(body: &str, form: Form, key: Option<&str>) -> Vec<Result<Draft, Rejected>> {
    read_of(None, body.as_bytes(), form, key, Timestamp::from_micros(1_763_890_442_000_000))
}

#[test]
fn everything_that_is_said_stands_in_the_draft() {
    let body = r#"{"kind":"tool.call","outcome":"completed","time":"2026-11-23T09:14:02Z",
        "call_id":"01a208f8-ef10-7cbd-8b00-d5608311e505","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736",
        "source":{"service":"bot","environment":"staging"},"actor":{"type":"user","id":"alice"},
        "attributes":{"gen_ai.tool.name":"weather","n":[1,{"b":2,"a":1}]},
        "content":{"gen_ai.tool.call.arguments":{"city": "Bonn"},"gen_ai.tool.call.result":"12 °C"}}"#;
    let draft = read(body, Form::Json, None).remove(0).unwrap();
    let actor = draft.actor.as_ref().unwrap();
    assert_eq!((actor.id.as_deref(), actor.auth.as_deref()), (Some("alice"), Some("claimed")));
    assert_eq!((draft.source.service.as_str(), draft.source.host.as_str()), ("bot", "here"));
    let fields: Vec<(&str, &[u8])> = draft.content.iter().map(|f| (f.media.as_str(), f.bytes.as_slice())).collect();
    assert_eq!(fields, [("application/json", br#"{"city": "Bonn"}"#.as_slice()), ("text/plain", "12 °C".as_bytes())]);
    let sealed = draft.seal([0; 32]).unwrap();
    let mut leaf = Vec::new();
    sealed.write_leaf(Timestamp::from_micros(0), 0, &mut leaf);
    insta::assert_snapshot!(String::from_utf8(leaf).unwrap());
}

#[test]
fn a_key_makes_the_same_record_and_a_request_s_key_counts_its_records() {
    let id = |body: &str, key| read(body, Form::Lines, key).remove(0).unwrap().id;
    let own = id(r#"{"kind":"system","key":"a"}"#, None);
    assert_eq!(own, once_id("records", "a"));
    assert_eq!(id(r#"{"kind":"system","key":"a"}"#, Some("request")), own);
    assert_eq!(id(r#"{"kind":"system"}"#, Some("a")), own);
    let of_alice =
        read_of(Some("alice"), br#"{"kind":"system","key":"a"}"#, Form::Json, None, Timestamp::from_micros(0));
    assert_eq!(of_alice[0].as_ref().unwrap().id, once_id("records/alice", "a"));
    let lines = read("{\"kind\":\"system\"}\n\n{\"kind\":\"system\"}\n", Form::Lines, Some("r"));
    let ids: Vec<Uuid> = lines.into_iter().map(|draft| draft.unwrap().id).collect();
    assert_eq!(ids, [once_id("records", "r/0"), once_id("records", "r/1")]);
}

#[test]
fn what_is_no_record_says_which_member_and_why() {
    let said: Vec<String> = [
        r#"{"kind":"guess"}"#,
        r#"{"kind":"system","time":"yesterday"}"#,
        r#"{"kind":"system","trace_id":"XYZ"}"#,
        r#"{"kind":"system","span_id":"0000000000000000"}"#,
        r#"{"kind":"system","key":""}"#,
        r#"{"kind":"system","actor":{"type":""}}"#,
        r#"{"kind":"system","colour":"blue"}"#,
        r#"{"kind":"system","attributes":[]}"#,
        r#"{"time":"2026-11-23T09:14:02Z"}"#,
        "[{\"kind\":\"system\"}",
        "",
    ]
    .into_iter()
    .map(|body| read(body, Form::Json, None).remove(0).unwrap_err().to_string())
    .collect();
    insta::assert_snapshot!(said.join("\n"));
    let many = "{}\n".repeat(RECORDS_MAX + 1);
    assert_eq!(read(&many, Form::Lines, None).remove(0).err(), Some(Rejected::TooMany));
}

#[test]
fn one_bad_line_leaves_the_others_good() {
    let read = read("{\"kind\":\"system\"}\nnot json\n{\"kind\":\"system\"}", Form::Lines, None);
    assert_eq!(read.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
}

proptest! {
    #[test]
    fn no_bytes_make_reading_panic(bytes in any::<Vec<u8>>(), text in ".*") {
        for body in [bytes.as_slice(), text.as_bytes(), format!("[{text}]").as_bytes()] {
            for form in [Form::Json, Form::Lines] {
                let _ = read_of(None, body, form, None, Timestamp::from_micros(0));
            }
        }
    }
}
