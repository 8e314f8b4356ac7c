use std::sync::LazyLock;

use super::*;
use crate::mutated::{arriving, mutated, received, shown, source as a_source};
use proptest::prelude::*;
use record::{Field, Invalid, Timestamp, Unsequenced, uuid_v7};

const ORIGIN_NAME: &str = "example.com/node";

fn original() -> Draft {
    let time = Timestamp::parse("2026-11-23T09:14:02.118231Z").unwrap();
    let mut draft = Draft::new(uuid_v7(time, &[7; 10]), time, Kind::InferenceResponse, Arc::new(a_source("gateway")));
    draft.actor = Some(Actor {
        kind: "user".into(),
        id: Some("alice".into()),
        groups: vec!["support".into()],
        auth: Some("api_key".into()),
        ..Actor::default()
    });
    draft.call_id = Some(uuid_v7(time, &[9; 10]));
    draft.trace.trace_id = Some("4bf92f3577b34da6a3ce929d0e0e4736".into());
    draft.outcome = Some(Outcome::Completed);
    draft.attributes.set("gen_ai.request.temperature", 0.7);
    draft.attributes.set("n", Value::List(vec![Value::Null, Value::Bool(true)]));
    for (name, text) in [("gen_ai.output.messages", "hello"), ("testimony.request.parameters", "{}")] {
        draft.content.push(Field { name: name.into(), media: "text/plain".into(), bytes: text.into() });
    }
    draft
}

fn sealed(draft: Draft) -> (Vec<u8>, Vec<u8>) {
    let sealed: Unsequenced = draft.seal([3; 32]).unwrap();
    let mut leaf = Vec::new();
    sealed.write_leaf(received(), 41_822, &mut leaf);
    (leaf, sealed.content().to_vec())
}

fn body(entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for part in entries.iter().flat_map(|(leaf, content)| [leaf, content]) {
        body.extend_from_slice(&u32::try_from(part.len()).unwrap().to_be_bytes());
        body.extend_from_slice(part);
    }
    body
}

static SAMPLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let bare = Draft { content: Vec::new(), actor: None, call_id: None, ..original() };
    body(&[sealed(original()), sealed(bare), sealed(original())])
});

fn marked(entry: &Entry<'_>) -> Result<Draft, Unfit> {
    let mut draft = read(entry, ORIGIN_NAME)?;
    Place::of(&ORIGIN_NAME.into(), 41, entry).mark(&mut draft);
    Ok(draft)
}

#[test]
fn a_forwarded_record_says_what_it_said_and_where_it_comes_from() {
    let (leaf, content) = sealed(original());
    let body = body(&[(leaf, content)]);
    let entries = split(&body).unwrap();
    let draft = marked(&entries[0]).unwrap();
    let first = original();
    assert_eq!((draft.id, draft.time, draft.kind, draft.outcome), (first.id, first.time, first.kind, first.outcome));
    assert_eq!((draft.call_id, &draft.trace, &draft.actor), (first.call_id, &first.trace, &first.actor));
    assert_eq!(draft.content, first.content);
    let producer = producer(ORIGIN_NAME);
    assert_eq!(*draft.source, Source { producer, ..a_source("gateway") });
    for (name, value) in first.attributes.iter() {
        assert_eq!(draft.attributes.value(name), Some(value), "{name}");
    }
    let shown = shown(draft);
    for said in [
        r#""testimony.forwarded.index":41"#,
        r#""testimony.forwarded.origin":"example.com/node""#,
        r#"forwarded.received":"2025-11-23T"#,
    ] {
        assert!(shown.contains(said), "{said} is not in {shown}");
    }
}

#[test]
fn content_that_is_not_what_the_leaf_commits_to_is_not_taken() {
    let (leaf, content) = sealed(original());
    let mut other = content.clone();
    *other.last_mut().unwrap() ^= 1;
    assert!(matches!(read(&Entry { leaf: &leaf, content: &other }, ORIGIN_NAME), Err(Unfit::Content(_))));
    assert!(matches!(read(&Entry { leaf: &leaf, content: &content[..40] }, ORIGIN_NAME), Err(Unfit::Content(_))));
    // What was let go is another thing than what is wrong: the record is here, and says what it lacks.
    let draft = read(&Entry { leaf: &leaf, content: &[] }, ORIGIN_NAME).unwrap();
    let missing = draft.attributes.value("testimony.forwarded.missing_content").unwrap().to_json();
    assert_eq!(missing, r#"["gen_ai.output.messages","testimony.request.parameters"]"#);
}

#[test]
fn what_cannot_become_a_record_says_why() {
    let (leaf, content) = sealed(original());
    let text = String::from_utf8(leaf).unwrap();
    let mut wide = original();
    (0..ATTRIBUTES_MAX - 4).for_each(|n| wide.attributes.set(format!("n{n}"), true));
    let mut long = original();
    (0..7).for_each(|n| long.attributes.set(format!("n{n}"), "x".repeat(8_192)));
    let padded = |bytes: usize| {
        let mut padded = long.clone();
        padded.attributes.set("n7", "x".repeat(bytes));
        padded
    };
    let largest = (0..8_192).rev().step_by(50).find(|bytes| padded(*bytes).seal([3; 32]).is_ok()).unwrap();
    let said = [
        b"{}".to_vec(),
        text.replace("inference.response", "inference.thought").into_bytes(),
        text.replace("\"completed\"", "\"done\"").into_bytes(),
        text.replace("4bf92f3577b34da6a3ce929d0e0e4736", "4BF9").into_bytes(),
        text.replace("\"id\":\"0", "\"id\":\"x").into_bytes(),
        sealed(wide).0,
        sealed(padded(largest)).0,
    ]
    .map(|leaf| read(&Entry { leaf: &leaf, content: &content }, ORIGIN_NAME).unwrap_err().to_string());
    assert!(said[0].starts_with("the leaf is not a record"), "{said:?}");
    assert!(said[1].contains("inference.thought") && said[2].contains("done"), "{said:?}");
    assert_eq!(said[3], "trace_id is not an identifier");
    assert_eq!(said[4], "id is not an identifier");
    assert!(said[5] == said[6] && said[6].contains("larger than a record may be"), "{said:?}");

    let place = Place { origin: ORIGIN_NAME.into(), index: 3, leaf_hash: Hash([1; 32]) };
    let draft = arriving("reads", |arrival| stand_in(&place, &said[6], arrival));
    assert_eq!((draft.kind, draft.source.producer.as_str()), (Kind::System, "forward/example.com/node"));
    assert!(draft.attributes.value("testimony.forwarded.problem").is_some());
    draft.seal([0; 32]).unwrap();
}

#[test]
fn a_body_whose_lengths_do_not_fit_is_none() {
    assert_eq!(split(b""), Ok(Vec::new()));
    let whole = body(&[(b"leaf".to_vec(), b"content".to_vec())]);
    assert_eq!(split(&whole), Ok(vec![Entry { leaf: b"leaf", content: b"content" }]));
    for end in 1..whole.len() {
        assert!(matches!(split(&whole[..end]), Err(Rejected::Malformed(_))), "cut at {end}");
    }
    let many = body(&vec![(Vec::new(), Vec::new()); RECORDS_MAX + 1]);
    assert_eq!(split(&many), Err(Rejected::TooMany));
}

fn all_seal(body: &[u8]) -> Result<(), TestCaseError> {
    for entry in split(body).unwrap_or_default() {
        // A leaf that no log has written may break a rule of ours (a name of no letters); that is said when it is sealed.
        if let Ok(draft) = marked(&entry) {
            let refused = draft.seal([0; 32]).err();
            prop_assert!(!matches!(refused, Some(Invalid::TooManyAttributes(_))), "{:?}", refused);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_bytes_make_reading_panic(bytes in any::<Vec<u8>>(), leaf in any::<Vec<u8>>(), content in any::<Vec<u8>>()) {
        all_seal(&bytes)?;
        all_seal(&body(&[(leaf, content)]))?;
    }

    #[test]
    fn spoiled_samples_are_read_or_rejected(spoiled in mutated(&SAMPLE)) {
        all_seal(&spoiled)?;
    }

    #[test]
    fn a_body_comes_apart_as_it_was_put_together(entries in prop::collection::vec(any::<(Vec<u8>, Vec<u8>)>(), 0..6)) {
        let body = body(&entries);
        let back: Vec<(Vec<u8>, Vec<u8>)> =
            split(&body).unwrap().iter().map(|entry| (entry.leaf.to_vec(), entry.content.to_vec())).collect();
        prop_assert_eq!(back, entries);
    }
}
