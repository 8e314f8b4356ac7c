use super::*;
use record::Kind;

use crate::mutated::{all_seal, arriving, mutated, received, shown};
use proptest::prelude::*;

const BATCH: &[u8] = include_bytes!("../../testdata/cloudevents/batch.json");
const BATCHED: [(&str, &[u8]); 1] = [("Content-Type", b"application/cloudevents-batch+json; charset=UTF-8")];
const STRUCTURED: [(&str, &[u8]); 1] = [("content-type", b"Application/CloudEvents+JSON")];
/// The attributes that every event must have, as headers.
const REQUIRED: [(&str, &[u8]); 4] =
    [("ce-specversion", b"1.0"), ("ce-type", b"com.example.note"), ("CE-Source", b"/notes"), ("ce-id", b"A234-4")];

fn reading(body: &[u8], headers: &[(&str, &[u8])]) -> Vec<Result<Draft, Rejected>> {
    let kinds = Kinds::new([("com.example.tool.*", Kind::ToolCall)]).unwrap();
    arriving("cloudevents", |arrival| read(body, headers, &kinds, arrival))
}

fn one(more: &str) -> Result<Draft, Rejected> {
    let body = format!(r#"{{"specversion":"1.0","type":"com.example.note","source":"/notes","id":"A234-4"{more}}}"#);
    reading(body.as_bytes(), &STRUCTURED).remove(0)
}

fn binary(body: &[u8], more: &[(&str, &[u8])]) -> Result<Draft, Rejected> {
    reading(body, &[&REQUIRED, more].concat()).remove(0)
}

#[test]
fn what_a_batch_holds_becomes_records_without_credentials() {
    let records = reading(BATCH, &BATCHED).into_iter().map(|draft| shown(draft.unwrap())).collect::<Vec<_>>();
    let records = records.join("\n\n");
    assert!(!records.contains("canary"), "{records}");
    insta::assert_snapshot!(records);
    assert!(reading(b"[]", &BATCHED).is_empty());
}

#[test]
fn an_event_is_the_same_record_in_every_mode() {
    let batched = reading(BATCH, &BATCHED).remove(3).unwrap();
    let structured = one(r#","data":"I'm just a string""#).unwrap();
    let binary = binary(b"\"I'm just a string\"", &[("Content-Type", b"application/json"), ("Host", b"x")]).unwrap();
    assert_eq!(shown(structured), shown(binary));
    assert_eq!(batched.id, one("").unwrap().id);
}

#[test]
fn source_and_id_are_not_taken_for_each_other() {
    let id = |source: &str, id: &str| {
        let body = format!(r#"{{"specversion":"1.0","type":"t","source":"{source}","id":"{id}"}}"#);
        reading(body.as_bytes(), &STRUCTURED).remove(0).unwrap().id
    };
    assert_ne!(id("/a/b", "c"), id("/a", "b/c"));
    assert_ne!(id("/a", "b"), id("/b", "a"));
}

#[test]
fn headers_of_the_binary_mode_are_decoded_and_the_body_is_the_data() {
    let more: [(&str, &[u8]); 5] = [
        ("ce-subject", b"Euro%20%E2%82%AC"),
        ("ce-Time", b"2026-11-23T09:14:02Z"),
        ("ce-comexamplecount", b"5"),
        ("Authorization", b"Bearer canary"),
        ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ];
    let draft = binary(b"\x00\xff", &more).unwrap();
    assert_eq!(draft.trace, Trace::default());
    insta::assert_snapshot!(shown(draft));
    assert!(binary(b"", &[]).unwrap().content.is_empty());
}

#[test]
fn what_is_no_event_says_which_member_and_costs_no_other() {
    let good = r#"{"specversion":"1.0","type":"t","source":"/s","id":"i"}"#;
    let bad = [
        r#"{"type":"t","source":"/s","id":"i"}"#,
        r#"{"specversion":"0.3","type":"t","source":"/s","id":"i"}"#,
        r#"{"specversion":"1.0","source":"/s","id":"i"}"#,
        r#"{"specversion":"1.0","type":"t","source":"","id":"i"}"#,
        r#"{"specversion":"1.0","type":"t","source":"a b","id":"i"}"#,
        r#"{"specversion":"1.0","type":"t","source":"/s","id":7}"#,
        r#"{"specversion":"1.0","type":"t","source":"/s","id":"a\nb"}"#,
        r#"{"specversion":"1.0","type":"t","source":"/s","id":null}"#,
        r#"{"specversion":"1.0","type":"t","source":"/s","id":"i","id":"j"}"#,
        r#"{"specversion":"1.0","type":"t","source":"/s","id":"i","data":1,"data_base64":"AA=="}"#,
        r#"{"specversion":"1.0","type":"t","source":"/s","id":"i","data":1,"data":2}"#,
        r#"{"specversion":"1.0","type":"t","source":"/s","id":"i","data_base64":"?"}"#,
        r#"{"specversion":"1.0","type":"t","source":"/s","id":"i","a.b":"c"}"#,
        r#"{"specversion":"1.0","type":"t","source":"/s","id":"i","a\u0000":"c"}"#,
        r#"{"specversion":"1.0","type":"t","source":"/s","id":"i","":"c"}"#,
        r#"{"specversion":"1.0","type":"t","source":"/s","id":"i","a":{"b":1}}"#,
        r#"{"specversion":"1.0","type":"t","source":"/s","id":"i","a":1.5}"#,
        r#"{"specversion":"1.0","type":"t","source":"/s","id":"i","datacontenttype":7}"#,
        "[]",
    ];
    let body = format!("[{}]", bad.map(|bad| format!("{bad},{good}")).join(","));
    let (good, bad): (Vec<_>, Vec<_>) = reading(body.as_bytes(), &BATCHED).into_iter().partition(Result::is_ok);
    assert_eq!(good.len(), bad.len());
    let mut said: Vec<String> = bad.into_iter().map(|bad| bad.unwrap_err().to_string()).collect();
    for more in [
        [("ce-datacontenttype", b"a/b".as_slice())],
        [("ce-id", b"again".as_slice())],
        [("ce-a", b"%ff".as_slice())],
        [("content-type", b"application/cloudevents+avro".as_slice())],
    ] {
        said.push(binary(b"", &more).unwrap_err().to_string());
    }
    said.push(reading(b"", &[]).remove(0).unwrap_err().to_string());
    said.push(reading(b"{", &STRUCTURED).remove(0).unwrap_err().to_string());
    insta::assert_snapshot!(said.join("\n"));
    let many = format!("[{}1]", "1,".repeat(RECORDS_MAX));
    assert_eq!(reading(many.as_bytes(), &BATCHED).remove(0).err(), Some(Rejected::TooMany));
}

#[test]
fn hostile_names_and_sizes_do_no_harm() {
    let long = "k".repeat(1_000_000);
    let mut more: String = (0..200).map(|nth| format!(r#","n{nth}":"{}""#, "\\u0001".repeat(2_000))).collect();
    more += &format!(r#","__proto__":"x","subject":"{long}","authtype":"{long}","authid":"{long}","time":"{long}""#);
    more += &format!(r#","datacontenttype":"{long}","data":{}1{}"#, "[".repeat(100), "]".repeat(100));
    let draft = one(&more).unwrap();
    assert_eq!(draft.time, received());
    assert!(draft.attributes.value("testimony.ingest.cut").is_some());
    draft.seal([0; 32]).unwrap();
    let many: String = (0..300).map(|nth| format!(r#","n{nth}":1"#)).collect();
    assert!(one(&many).unwrap_err().to_string().contains("at most 256 members"));
    let name = one(&format!(r#","{long}":"x""#)).unwrap_err().to_string();
    assert!(name.len() < 200, "{name}");
    assert!(one(&format!(r#","data":{}1{}"#, "[".repeat(100_000), "]".repeat(100_000))).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_reading_panic(bytes in any::<Vec<u8>>(), text in ".*", name in ".*") {
        for body in [bytes.as_slice(), text.as_bytes(), format!("[{text}]").as_bytes()] {
            all_seal(reading(body, &STRUCTURED))?;
            all_seal(reading(body, &BATCHED))?;
            all_seal(reading(body, &[(name.as_str(), bytes.as_slice()), ("content-type", bytes.as_slice())]))?;
            let header = format!("ce-{name}");
            all_seal(reading(body, &[&REQUIRED[..], &[(header.as_str(), text.as_bytes())]].concat()))?;
        }
    }

    #[test]
    fn spoiled_samples_are_read_or_rejected(batch in mutated(BATCH)) {
        all_seal(reading(&batch, &BATCHED))?;
    }
}
