use std::sync::Arc;

use proptest::prelude::*;
use record::{Actor, Attributes, Draft, Field, Kind, Outcome, Source, Timestamp};

use super::*;
use crate::format::Format;
use crate::tables::SERIES_MAX;
use crate::text::Text;

const CALL: u128 = 0x01a2_08f8_ef10_7cbd_8b00_d560_8311_e505;

fn draft(producer: &str, kind: Kind, outcome: Outcome, call: u128) -> Draft {
    let source = Source {
        service: "bot".into(),
        environment: "staging".into(),
        host: "here".into(),
        origin: "example.com/log".into(),
        producer: producer.into(),
    };
    let time = Timestamp::parse("2026-11-25T10:00:00Z").unwrap();
    let mut draft = Draft::new(Uuid::from_u128(7), time, kind, Arc::new(source));
    (draft.outcome, draft.call_id) = (Some(outcome), Some(Uuid::from_u128(call)));
    draft.actor = Some(Actor {
        kind: "user".into(),
        id: Some("alice@example.com".into()),
        groups: vec!["support".into()],
        auth: None,
        ip: Some("10.0.0.8".into()),
        fingerprint: None,
    });
    draft.attributes.set("gen_ai.conversation.id", "conversation-9");
    draft.attributes.set("user.id", "alice");
    draft.content.push(Field {
        name: "gen_ai.input.messages".into(),
        media: "text/plain".into(),
        bytes: b"a secret".into(),
    });
    draft
}

/// The leaf of a draft, received at a time of its own.
fn leaf(draft: Draft) -> Vec<u8> {
    let mut leaf = Vec::new();
    let received = Timestamp::parse("2026-11-25T10:00:01.5Z").unwrap();
    draft.seal([3; 32]).unwrap().write_leaf(received, 0, &mut leaf);
    leaf
}

fn ending(producer: &str, outcome: Outcome, call: u128, set: impl FnOnce(&mut Attributes<'static>)) -> Vec<u8> {
    let mut draft = draft(producer, Kind::InferenceResponse, outcome, call);
    draft.attributes.set("gen_ai.operation.name", "chat");
    draft.attributes.set("gen_ai.request.model", "gemma");
    set(&mut draft.attributes);
    leaf(draft)
}

fn written(counts: &Counts) -> String {
    let mut text = Text::new(Format::OpenMetrics);
    crate::follower::write_counts(&mut text, counts);
    let text = text.finish();
    // Classes in which there is nothing say nothing here.
    let says = |line: &&str| !line.contains("_bucket") || line.contains("call_id");
    text.lines().filter(says).filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()
}

#[test]
fn what_a_call_tells_is_counted_and_nothing_of_who_and_what() {
    let mut counts = Counts::default();
    let mut request = draft("gateway", Kind::InferenceRequest, Outcome::Allowed, CALL);
    request.attributes.set("gen_ai.request.stream", true);
    request.attributes.set("testimony.decision", "allow");
    request.attributes.set("testimony.policy.duration_us", 75.0);
    request.attributes.set("testimony.guardrails.passed", Value::List(vec!["length".into()]));
    let verdict = Value::Map(vec![("action".into(), "redact".into()), ("check".into(), "secrets".into())]);
    request.attributes.set("testimony.guardrails", Value::List(vec![verdict, Value::Int(7)]));
    counts.take_in(&leaf(request));
    counts.take_in(&ending("gateway", Outcome::Completed, CALL, |attributes| {
        attributes.set("gen_ai.response.model", "gemma-3-270m");
        attributes.set("testimony.duration_ms", 1_500.0);
        attributes.set("testimony.first_chunk_ms", 80.5);
        attributes.set("gen_ai.usage.input_tokens", 24_i64);
        attributes.set("gen_ai.usage.output_tokens", 5_i64);
    }));
    let mut refused = draft("gateway", Kind::InferenceRequest, Outcome::Denied, CALL + 1);
    refused.attributes.set("error.type", "policy_denied");
    counts.take_in(&leaf(refused));
    let mut auth = draft("access", Kind::Auth, Outcome::Denied, CALL + 2);
    auth.attributes.set("testimony.auth.event", "refused");
    auth.attributes.set("error.type", "unknown_key");
    counts.take_in(&leaf(auth));
    counts.take_in(b"{}");
    let text = written(&counts);
    for secret in ["alice", "10.0.0.8", "conversation", "secret\"", "a secret", "support"] {
        assert!(!text.contains(secret), "{secret}");
    }
    insta::assert_snapshot!(text);
}

#[test]
fn a_first_chunk_counts_where_there_was_a_stream() {
    let mut counts = Counts::default();
    let first = |attributes: &mut Attributes<'static>| attributes.set("testimony.first_chunk_ms", 80.5);
    for (call, stream) in [(1, true), (2, false)] {
        let mut request = draft("gateway", Kind::InferenceRequest, Outcome::Allowed, call);
        request.attributes.set("gen_ai.request.stream", stream);
        counts.take_in(&leaf(request));
        counts.take_in(&ending("gateway", Outcome::Completed, call, first));
    }
    counts.take_in(&ending("otlp", Outcome::Completed, 3, first));
    let totals =
        counts.first_chunk.series.values().map(|spread| spread.classes.iter().map(|class| class.0).sum::<u64>());
    assert_eq!(totals.collect::<Vec<_>>(), [1, 1], "one of the gateway's two, and what another door told");
    assert!(counts.streams.is_empty());
}

#[test]
fn a_model_that_never_answered_gets_no_name() {
    let mut counts = Counts::default();
    let asked = |model: String, outcome| {
        ending("gateway", outcome, CALL, |attributes| {
            attributes.set("gen_ai.request.model", model);
            attributes.set("testimony.duration_ms", 1.0);
        })
    };
    for nth in 0..1_000 {
        counts.take_in(&asked(format!("made-up-{nth}"), Outcome::Failed));
    }
    counts.take_in(&asked("real".into(), Outcome::Completed));
    counts.take_in(&asked("real".into(), Outcome::Failed));
    let text = written(&counts);
    assert!(!text.contains("made-up"), "{text}");
    let failed = "gen_ai_request_model=\"real\",error_type=\"failed\"} 1\n";
    assert!(
        text.contains(failed) && text.contains("gen_ai_request_model=\"other\",error_type=\"failed\"} 1000\n"),
        "{text}"
    );
}

#[test]
fn what_others_tell_may_have_any_type() {
    let mut counts = Counts::default();
    counts.take_in(&ending("records", Outcome::Completed, CALL, |attributes| {
        for name in ["testimony.duration_ms", "gen_ai.usage.input_tokens", "error.type", "testimony.guardrails"] {
            attributes.set(name, "Alice said: \"no\"");
        }
        attributes.set("gen_ai.request.model", Value::List(vec![Value::Null]));
        attributes.set("testimony.guardrails.passed", Value::Map(Vec::new()));
        attributes.set("testimony.first_chunk_ms", f64::MAX);
    }));
    assert_eq!(counts.unread, 0);
    let text = written(&counts);
    assert!(text.contains("testimony_records_total{") && !text.contains("Alice"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_told_the_metrics_stay_bounded(values in prop::collection::vec((any::<String>(), any::<String>(), 0..24_u8), 1..60)) {
        let mut counts = Counts::default();
        for (service, word, many) in values {
            for nth in 0..many {
                let mut told = draft("records", Kind::InferenceResponse, Outcome::Completed, CALL);
                told.source = Arc::new(Source { service: format!("{service}{nth}"), ..told.source.as_ref().clone() });
                told.attributes.set_text("gen_ai.request.model", &format!("{word}{}", nth % 7));
                told.attributes.set_text("error.type", &word);
                told.attributes.set("testimony.duration_ms", f64::from(nth));
                counts.take_in(&leaf(told));
            }
        }
        prop_assert!(counts.records.series.len() <= SERIES_MAX + 1 && counts.duration.series.len() <= SERIES_MAX + 1);
        prop_assert_eq!(counts.unread, 0);
        for line in written(&counts).lines() {
            prop_assert!(!line.chars().any(char::is_control), "{:?}", line);
        }
    }
}
