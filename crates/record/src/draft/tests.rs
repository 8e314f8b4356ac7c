use super::*;
use crate::{Content, Envelope, Value, content_names};
use proptest::prelude::*;

fn source() -> Arc<Source> {
    Arc::new(Source {
        service: "support-bot".into(),
        environment: "staging".into(),
        host: "edge-7".into(),
        origin: "audit.example/edge-7".into(),
        producer: "gateway".into(),
    })
}

fn draft() -> Draft {
    let time = Timestamp::parse("2026-11-23T09:14:02.118231Z").unwrap();
    let id = crate::uuid_v7(time, &[7; 10]);
    let mut draft = Draft::new(id, time, Kind::InferenceResponse, source());
    draft.actor = Some(Actor { kind: "user".into(), id: Some("alice".into()), ..Actor::default() });
    draft.call_id = Some(crate::uuid_v7(time, &[9; 10]));
    draft.trace.trace_id = Some("4bf92f3577b34da6a3ce929d0e0e4736".into());
    draft.outcome = Some(Outcome::Completed);
    draft.attributes.set("gen_ai.request.model", "support-bot");
    draft.attributes.set("gen_ai.request.temperature", 0.7);
    draft.attributes.set("gen_ai.usage.input_tokens", 24_i64);
    draft.content.push(Field {
        name: content_names::OUTPUT.into(),
        media: "application/json".into(),
        bytes: b"[{\"content\":\"hello\"}]".to_vec(),
    });
    draft
}

fn leaf_of(draft: Draft) -> (Vec<u8>, Vec<u8>) {
    let unsequenced = draft.seal([3; 32]).unwrap();
    let mut leaf = Vec::new();
    unsequenced.write_leaf(Timestamp::from_micros(1_763_890_442_200_000), 41_822, &mut leaf);
    (leaf, unsequenced.content().to_vec())
}

/// The golden leaf: append-only, since its bytes are what was signed.
#[test]
fn a_leaf_has_exactly_these_bytes() {
    let (leaf, _) = leaf_of(draft());
    insta::assert_snapshot!(String::from_utf8(leaf).unwrap());
}

#[test]
fn a_leaf_is_canonical_json() {
    let (leaf, _) = leaf_of(draft());
    let read: serde_json::Value = serde_json::from_slice(&leaf).unwrap();
    // serde_json's map is sorted and its writer compact: for ASCII keys that is RFC 8785.
    assert_eq!(serde_json::to_vec(&read).unwrap(), leaf);
}

#[test]
fn the_content_of_a_leaf_checks_and_a_changed_one_does_not() {
    let (leaf, stored) = leaf_of(draft());
    let envelope = Envelope::parse(&leaf).unwrap();
    let mut content = Content::decode(&stored).unwrap().unwrap();
    content.check(envelope.commitments()).unwrap();
    content.fields[0].bytes[3] ^= 1;
    content.check(envelope.commitments()).unwrap_err();
    content.fields.clear();
    content.check(envelope.commitments()).unwrap_err();
}

#[test]
fn a_draft_beyond_a_limit_is_refused_by_name() {
    let mut large = draft();
    large.attributes.set("x", "y".repeat(ATTRIBUTE_TEXT_BYTES_MAX + 1));
    assert_eq!(large.seal([0; 32]).unwrap_err(), Invalid::AttributeValue("x".into()));

    let mut wide = draft();
    for n in 0..9 {
        wide.attributes.set(format!("x{n}"), "y".repeat(ATTRIBUTE_TEXT_BYTES_MAX));
    }
    assert!(matches!(wide.seal([0; 32]), Err(Invalid::TooLarge(size)) if size > LEAF_BYTES_MAX));

    let mut twice = draft();
    twice.content.push(twice.content[0].clone());
    assert!(matches!(twice.seal([0; 32]), Err(Invalid::RepeatedField(_))));
}

#[test]
fn a_denied_request_begins_no_call() {
    let call = Uuid::nil();
    assert_eq!(CallPhase::of(CALLS_PRODUCER, Kind::InferenceRequest, Some(Outcome::Denied), Some(call)), None);
    assert_eq!(
        CallPhase::of(CALLS_PRODUCER, Kind::InferenceRequest, Some(Outcome::Allowed), Some(call)),
        Some(CallPhase::Begins(call))
    );
}

fn value() -> impl Strategy<Value = Value<'static>> {
    let plain = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-(1_i64 << 53)..=(1_i64 << 53)).prop_map(Value::Int),
        any::<String>().prop_map(|text| Value::Text(text.into())),
    ];
    plain.prop_recursive(3, 16, 4, |inner| prop::collection::vec(inner, 0..4).prop_map(Value::List))
}

proptest! {
    #[test]
    fn what_is_sealed_reads_back(attributes in prop::collection::btree_map(any::<String>(), value(), 0..6)) {
        let mut draft = draft();
        let mut kept = Vec::new();
        for (key, value) in attributes {
            if !key.is_empty() && key.len() <= ATTRIBUTE_KEY_BYTES_MAX {
                draft.attributes.set(key.clone(), value.clone());
                kept.push((key, value));
            }
        }
        let (leaf, _) = leaf_of(draft);
        let envelope = Envelope::parse(&leaf).unwrap();
        for (key, value) in kept {
            prop_assert_eq!(envelope.attributes.value(&key), Some(&value));
        }
        prop_assert_eq!(envelope.seq, 41_822);
    }
}
