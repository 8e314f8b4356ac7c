use std::fmt::Write as _;

use proptest::prelude::*;
use prost::Message as _;
use record::{Envelope, Kind, Outcome, Timestamp, Value};

use super::*;
use crate::mutated::source;

mod foreign;
use foreign::{Any, AnyValue, ArrayValue, KeyValue, KeyValueList, Span};

const CURRENT: &str = include_str!("../../testdata/otlp/current.json");
const OPEN_LLMETRY: &str = include_str!("../../testdata/otlp/openllmetry.json");
const OPEN_INFERENCE: &str = include_str!("../../testdata/otlp/openinference.json");
const EVENTS: &str = include_str!("../../testdata/otlp/events.json");
const LOGS: &str = include_str!("../../testdata/otlp/logs.json");
const EVERYTHING: Options = Options { other_spans: true, other_logs: true };

fn try_read(body: &[u8], signal: Signal, encoding: Encoding, options: Options) -> Result<Batch, Status> {
    let source = source("otlp");
    let received = Timestamp::from_micros(1_763_900_000_000_000);
    read(body, signal, encoding, &Arrival { source: &source, sender: None, received, random: &|| [7; 10] }, options)
}

fn spans(body: &str) -> Batch {
    try_read(body.as_bytes(), Signal::Traces, Encoding::Json, Options::default()).unwrap()
}

fn drafts(batch: Batch) -> Vec<Draft> {
    batch.events.into_iter().flat_map(Result::unwrap).collect()
}

/// Leaf and content of each draft, as they would be stored.
fn shown(batch: Batch) -> String {
    let mut out = String::new();
    for (nth, event) in batch.events.into_iter().enumerate() {
        match event {
            Ok(drafts) if drafts.is_empty() => writeln!(out, "{nth}: nothing\n").unwrap(),
            Ok(drafts) => drafts.into_iter().for_each(|draft| writeln!(out, "{nth}: {}", stored(draft)).unwrap()),
            Err(rejected) => writeln!(out, "{nth}: refused: {rejected}\n").unwrap(),
        }
    }
    out
}

fn stored(draft: Draft) -> String {
    let content = draft.content.clone();
    let mut leaf = Vec::new();
    draft.seal([0; 32]).unwrap().write_leaf(Timestamp::from_micros(0), 0, &mut leaf);
    Envelope::parse(&leaf).unwrap();
    let mut leaf: serde_json::Value = serde_json::from_slice(&leaf).unwrap();
    for boring in ["content", "received", "seq", "v"] {
        leaf.as_object_mut().unwrap().remove(boring);
    }
    let mut out = format!("{leaf}\n");
    for field in content {
        writeln!(out, "   {} ({}): {}", field.name, field.media, String::from_utf8(field.bytes).unwrap()).unwrap();
    }
    out
}

/// The same requests, as the classes that OpenTelemetry generates write them (`testdata/otlp/make.py`).
#[test]
fn what_others_write_is_read_as_its_json_is() {
    for (json, protobuf, signal) in [
        (CURRENT, &include_bytes!("../../testdata/otlp/current.binpb")[..], Signal::Traces),
        (OPEN_LLMETRY, include_bytes!("../../testdata/otlp/openllmetry.binpb"), Signal::Traces),
        (OPEN_INFERENCE, include_bytes!("../../testdata/otlp/openinference.binpb"), Signal::Traces),
        (EVENTS, include_bytes!("../../testdata/otlp/events.binpb"), Signal::Traces),
        (LOGS, include_bytes!("../../testdata/otlp/logs.binpb"), Signal::Logs),
    ] {
        let of_json = try_read(json.as_bytes(), signal, Encoding::Json, EVERYTHING).unwrap();
        let of_protobuf = try_read(protobuf, signal, Encoding::Protobuf, EVERYTHING).unwrap();
        assert!(!of_json.events.is_empty());
        assert_eq!(shown(of_json), shown(of_protobuf));
    }
}

/// What real instrumentations sent of one and the same call (`testdata/otlp/senders.py`).
#[test]
fn the_same_call_is_the_same_whichever_instrumentation_watched_it() {
    let sent = |body: &[u8], signal| try_read(body, signal, Encoding::Protobuf, EVERYTHING).unwrap();
    let mut all = String::new();
    for (name, body, signal) in [
        ("openai_v2", &include_bytes!("../../testdata/otlp/sent-openai-v2.traces.binpb")[..], Signal::Traces),
        ("openai_v2", include_bytes!("../../testdata/otlp/sent-openai-v2.logs.binpb"), Signal::Logs),
        ("openinference", include_bytes!("../../testdata/otlp/sent-openinference.traces.binpb"), Signal::Traces),
        ("openllmetry", include_bytes!("../../testdata/otlp/sent-openllmetry.traces.binpb"), Signal::Traces),
    ] {
        writeln!(all, "{name} {signal:?}\n{}", shown(sent(body, signal))).unwrap();
        let drafts = drafts(sent(body, signal));
        let said = |nth: usize, name: &str| drafts[nth].attributes.value(name).map(Value::to_json).unwrap_or_default();
        assert_eq!(
            drafts.iter().map(|draft| draft.kind).collect::<Vec<_>>(),
            [Kind::InferenceRequest, Kind::InferenceResponse]
        );
        assert_eq!(
            (drafts[0].source.service.as_str(), drafts[0].source.environment.as_str()),
            ("support-bot", "staging")
        );
        if signal == Signal::Traces {
            assert_eq!(
                (said(0, "gen_ai.request.model"), said(1, "gen_ai.response.model")),
                ("\"support-bot\"".into(), "\"gemma-3-270m\"".into())
            );
            assert_eq!(
                (said(1, "gen_ai.usage.input_tokens"), said(1, "gen_ai.usage.output_tokens")),
                ("24".into(), "7".into())
            );
            assert_eq!(
                (said(0, "gen_ai.request.temperature"), said(0, "gen_ai.request.max_tokens")),
                ("0.5".into(), "50".into())
            );
        }
        if name != "openai_v2" || signal == Signal::Logs {
            let content = |nth: usize, name: &str| drafts[nth].content.iter().any(|field| field.name == name);
            assert!(content(0, "gen_ai.input.messages") && content(1, "gen_ai.output.messages"));
        }
    }
    assert!(!all.contains("CANARY"));
    insta::assert_snapshot!(all);
}

#[test]
fn current_conventions_become_records_of_calls_tools_and_evaluations() {
    insta::assert_snapshot!(shown(spans(CURRENT)));
}

#[test]
fn openllmetry_becomes_the_same_records_under_current_names() {
    insta::assert_snapshot!(shown(spans(OPEN_LLMETRY)));
}

#[test]
fn openinference_becomes_the_same_records_under_current_names() {
    insta::assert_snapshot!(shown(spans(OPEN_INFERENCE)));
}

#[test]
fn messages_in_events_of_a_span_are_those_of_its_call() {
    insta::assert_snapshot!(shown(spans(EVENTS)));
}

#[test]
fn events_meet_the_span_that_they_belong_to() {
    let logs = |options| try_read(LOGS.as_bytes(), Signal::Logs, Encoding::Json, options).unwrap();
    insta::assert_snapshot!(shown(logs(EVERYTHING)));
    let of_span = drafts(spans(CURRENT)).into_iter().find(|draft| draft.kind == Kind::InferenceRequest).unwrap();
    assert_eq!(of_span.call_id, Some(call_id("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")));
    let of_events: Vec<Draft> = drafts(logs(Options::default()));
    let same_call = of_events.iter().filter(|draft| draft.call_id == of_span.call_id).map(|draft| draft.kind.as_str());
    let kinds: Vec<&str> = same_call.collect();
    assert_eq!(kinds, ["inference.request", "inference.response", "evaluation", "system"]);
    assert_eq!(drafts(logs(EVERYTHING)).len(), of_events.len() + 1);
}

#[test]
fn other_spans_are_stored_only_where_they_are_asked_for() {
    let all = try_read(CURRENT.as_bytes(), Signal::Traces, Encoding::Json, EVERYTHING).unwrap();
    let others: Vec<Draft> = drafts(all).into_iter().filter(|draft| draft.kind == Kind::System).collect();
    assert_eq!(others.len(), 1);
    insta::assert_snapshot!(stored(others.into_iter().next().unwrap()));
}

#[test]
fn what_is_sent_again_has_the_same_identifiers_and_nothing_else_has() {
    for (body, signal) in [(CURRENT, Signal::Traces), (EVENTS, Signal::Traces), (LOGS, Signal::Logs)] {
        let ids = || -> Vec<record::Uuid> {
            let batch = try_read(body.as_bytes(), signal, Encoding::Json, EVERYTHING).unwrap();
            drafts(batch).iter().map(|draft| draft.id).collect()
        };
        let mut first = ids();
        assert_eq!(first, ids());
        assert!(first.iter().all(|id| record::is_once(*id)));
        first.sort();
        first.dedup();
        assert_eq!(first.len(), ids().len());
    }
}

#[test]
fn the_same_line_twice_in_one_request_happened_twice() {
    let line = r#"{"timeUnixNano":"1763890443700000000","body":{"stringValue":"refused"}}"#;
    let body = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{line},{line}]}}]}}]}}"#);
    let drafts = drafts(try_read(body.as_bytes(), Signal::Logs, Encoding::Json, EVERYTHING).unwrap());
    assert_ne!(drafts[0].id, drafts[1].id);
}

#[test]
fn no_credential_is_stored_wherever_it_stands() {
    for (body, signal) in [
        (CURRENT, Signal::Traces),
        (OPEN_LLMETRY, Signal::Traces),
        (OPEN_INFERENCE, Signal::Traces),
        (LOGS, Signal::Logs),
    ] {
        assert!(body.contains("CANARY"));
        let batch = try_read(body.as_bytes(), signal, Encoding::Json, EVERYTHING).unwrap();
        let all = shown(batch);
        assert!(!all.contains("CANARY"), "{all}");
    }
}

/// OTLP specification, "JSON Protobuf Encoding".
#[test]
fn json_is_read_as_the_specification_wants() {
    let span = |members: &str| {
        let body = format!(
            r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174",{members}}}]}}]}}]}}"#
        );
        let batch = try_read(body.as_bytes(), Signal::Traces, Encoding::Json, EVERYTHING).unwrap();
        batch.events.into_iter().next().unwrap().map(|mut drafts| drafts.remove(0))
    };
    let attribute = |value: &str| {
        let draft = span(&format!(r#""attributes":[{{"key":"a","value":{value}}}]"#));
        draft.map(|draft| draft.attributes.value("a").cloned())
    };
    let plain = span(r#""name":"n""#).unwrap();
    assert_eq!(plain.trace.trace_id.as_deref(), Some("5b8efff798038103d269b633813fc60c"));
    assert_eq!(plain.trace.span_id.as_deref(), Some("eee19b7ec3c1b174"));
    for (value, read) in [
        (r#"{"intValue":"9007199254740993"}"#, Some(Value::Int(9_007_199_254_740_993))),
        (r#"{"intValue":-5}"#, Some(Value::Int(-5))),
        (r#"{"intValue":1e3}"#, Some(Value::Int(1_000))),
        (r#"{"doubleValue":3}"#, Some(Value::Float(3.0))),
        (r#"{"doubleValue":"-Infinity"}"#, Some(Value::Text("-Infinity".into()))),
        (r#"{"doubleValue":"1.5"}"#, Some(Value::Float(1.5))),
        (r#"{"bytesValue":"_-8="}"#, Some(Value::Text("/+8=".into()))),
        (r#"{"bytesValue":"aGk"}"#, Some(Value::Text("aGk=".into()))),
        (r#"{"laterValue":1}"#, None),
        ("{}", None),
        ("null", None),
    ] {
        assert_eq!(attribute(value), Ok(read), "{value}");
    }
    for value in [r#"{"intValue":1.5}"#, r#"{"intValue":"x"}"#, r#"{"stringValue":1}"#, r#"{"bytesValue":"!"}"#, "5"] {
        assert!(attribute(value).is_err(), "{value}");
    }
    for kind in [r#""kind":3"#, r#""kind":"SPAN_KIND_CLIENT""#] {
        let draft = span(kind).unwrap();
        assert_eq!(draft.attributes.value("testimony.otlp.span_kind"), Some(&Value::Text("client".into())));
    }
    for unknown in
        [r#""kind":99"#, r#""kind":"SPAN_KIND_LATER""#, r#""new_member":{"a":[]}"#, r#""name":null,"events":null"#]
    {
        assert!(span(unknown).is_ok(), "{unknown}");
    }
    // The original names of the fields are not names in JSON.
    let snake = span(r#""start_time_unix_nano":"1000000","startTimeUnixNano":2000000"#).unwrap();
    assert_eq!(snake.time, Timestamp::from_micros(2_000));
    assert_eq!(span(r#""status":{"code":"STATUS_CODE_ERROR"}"#).unwrap().outcome, Some(Outcome::Failed));
    assert_eq!(span(r#""status":{"code":2}"#).unwrap().outcome, Some(Outcome::Failed));
}

fn of(attributes: &[(&str, &str)]) -> Vec<Draft> {
    let attributes = attributes.iter().map(|(key, value)| text(key, value)).collect();
    let span = Span { trace_id: vec![1; 16], span_id: vec![2; 8], attributes, ..Span::default() };
    let body = request(vec![span]).encode_to_vec();
    drafts(try_read(&body, Signal::Traces, Encoding::Protobuf, Options::default()).unwrap())
}

#[test]
fn what_a_span_is_follows_from_whichever_convention_it_keeps() {
    let call = vec![Kind::InferenceRequest, Kind::InferenceResponse];
    for (attributes, kinds) in [
        (&[("gen_ai.operation.name", "embeddings")][..], call.clone()),
        (&[("gen_ai.operation.name", "generate_content")], call.clone()),
        (&[("gen_ai.operation.name", "image_generation"), ("gen_ai.request.model", "m")], call.clone()),
        (&[("gen_ai.system", "openai"), ("gen_ai.request.model", "m")], call.clone()),
        (&[("llm.request.type", "completion")], call.clone()),
        (&[("llm.vendor", "OpenAI"), ("llm.request.model", "m"), ("llm.prompts.0.content", "p")], call.clone()),
        (&[("openinference.span.kind", "EMBEDDING")], call.clone()),
        (&[("openinference.span.kind", "CHAIN"), ("gen_ai.operation.name", "chat")], vec![]),
        (&[("gen_ai.operation.name", "invoke_agent"), ("gen_ai.system", "a"), ("gen_ai.request.model", "m")], vec![]),
        (&[("gen_ai.operation.name", "search_memory"), ("gen_ai.request.model", "m")], vec![]),
        (&[("traceloop.span.kind", "workflow")], vec![]),
        (&[("traceloop.span.kind", "tool")], vec![Kind::ToolCall]),
        (&[("mcp.method.name", "tools/call"), ("gen_ai.tool.name", "t")], vec![Kind::ToolCall]),
        (&[("openinference.span.kind", "GUARDRAIL")], vec![Kind::Evaluation]),
        (&[("http.request.method", "GET")], vec![]),
        (&[], vec![]),
    ] {
        let found: Vec<Kind> = of(attributes).iter().map(|draft| draft.kind).collect();
        assert_eq!(found, kinds, "{attributes:?}");
    }
}

#[test]
fn values_come_in_the_types_of_their_columns_and_current_names_come_first() {
    let drafts = of(&[
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.system", "xai"),
        ("llm.usage.prompt_tokens", "7"),
        ("gen_ai.usage.prompt_tokens", "8"),
        ("gen_ai.usage.input_tokens", "9"),
        ("llm.is_streaming", "True"),
        ("llm.temperature", "0.5"),
        ("llm.response.finish_reason", "stop"),
        ("gen_ai.usage.output_tokens", "many"),
    ]);
    let said = |nth: usize, name: &str| drafts[nth].attributes.value(name).map(Value::to_json).unwrap_or_default();
    assert_eq!(said(0, "gen_ai.provider.name"), "\"x_ai\"");
    assert_eq!(
        (said(0, "gen_ai.request.stream"), said(0, "gen_ai.request.temperature")),
        ("true".into(), "0.5".into())
    );
    assert_eq!(said(1, "gen_ai.usage.input_tokens"), "9");
    assert_eq!(
        (said(1, "gen_ai.usage.output_tokens"), said(1, "gen_ai.response.finish_reasons")),
        ("\"many\"".into(), "[\"stop\"]".into())
    );
    assert!(drafts.iter().all(|draft| draft.attributes.iter().all(|(name, _)| !name.starts_with("llm."))));
}

#[test]
fn an_answer_is_written_as_its_request_was() {
    assert_eq!(Encoding::of_media("application/json; charset=utf-8"), Some(Encoding::Json));
    assert_eq!(Encoding::of_media("Application/X-Protobuf"), Some(Encoding::Protobuf));
    assert_eq!(Encoding::of_media("text/plain"), None);
}

fn tiny(nth: u64) -> Span {
    let attributes = vec![text("gen_ai.operation.name", "chat"), text("gen_ai.request.model", "m")];
    let span_id = (nth + 1).to_be_bytes().to_vec();
    Span { trace_id: vec![1; 16], span_id, start: 1_763_890_442_000_000_000, attributes, ..Span::default() }
}

fn text(key: &str, text: &str) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(Any::Text(text.into())) }) }
}

fn request(spans: Vec<Span>) -> foreign::Request {
    let scopes = vec![foreign::OfScope { scope: None, spans }];
    foreign::Request { resources: vec![foreign::OfResource { resource: None, scopes, schema_url: String::new() }] }
}

fn protobuf(request: &foreign::Request) -> Batch {
    try_read(&request.encode_to_vec(), Signal::Traces, Encoding::Protobuf, EVERYTHING).unwrap()
}

#[test]
fn a_hundred_thousand_tiny_spans_are_taken_and_those_after_them_are_counted() {
    let all = request((0..EVENTS_MAX as u64 + 2).map(tiny).collect());
    let batch = protobuf(&all);
    assert_eq!((batch.events.len(), batch.beyond, batch.refused()), (EVENTS_MAX, 2, 2));
    assert_eq!(batch.message(), "one request takes at most 100000; send the rest in another");
    assert!(batch.events.iter().all(|event| event.as_ref().is_ok_and(|drafts| drafts.len() == 2)));
    let items = "{},".repeat(EVENTS_MAX + 2);
    let body = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}]}}]}}]}}"#, items.trim_end_matches(','));
    let batch = spans(&body);
    assert_eq!((batch.events.len(), batch.beyond, batch.refused()), (EVENTS_MAX, 2, EVENTS_MAX as u64 + 2));
}

#[test]
fn a_resource_that_is_repeated_in_every_record_does_not_take_all_memory() {
    let mut all = request((0..8_000).map(tiny).collect());
    let attributes = (0..100).map(|nth| text(&format!("k8s.label.{nth}"), &"x".repeat(500))).collect();
    all.resources[0].resource = Some(foreign::Resource { attributes });
    let batch = protobuf(&all);
    let taken = batch.events.iter().filter(|event| event.is_ok()).count();
    assert!((1_000..8_000).contains(&taken), "{taken}");
    assert!(batch.message().contains("send smaller batches"));
}

#[test]
fn one_bad_span_costs_only_itself() {
    let mut broken = request(vec![tiny(1), tiny(2), tiny(3), tiny(4)]);
    broken.resources[0].scopes[0].spans[1].name = "ok\u{7}\u{7}\u{7}".into();
    broken.resources[0].scopes[0].spans[2].trace_id = vec![0; 16];
    let mut body = broken.encode_to_vec();
    // The second span's name becomes bytes that are no UTF-8, the fourth's first field a number.
    let name = body.windows(3).position(|bytes| bytes == [7, 7, 7]).unwrap();
    body[name] = 0xFF;
    let last = body.windows(18).rposition(|bytes| bytes[..2] == [0x0A, 16] && bytes[2..] == [1; 16]).unwrap();
    body[last] = 0x08;
    let batch = try_read(&body, Signal::Traces, Encoding::Protobuf, EVERYTHING).unwrap();
    insta::assert_snapshot!(batch.message(), @"number 2: its trace id is missing or not valid; number 3: it cannot be read: field 1 has another type than its message says");
    let kinds: Vec<bool> = batch.events.iter().map(Result::is_ok).collect();
    assert_eq!(kinds, [true, true, false, false]);
    let second = batch.events.into_iter().nth(1).unwrap().unwrap().remove(0);
    assert_eq!(second.attributes.value("testimony.otlp.span_name"), Some(&Value::Text("ok\u{FFFD}\u{7}\u{7}".into())));
    let good = r#"{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"n"}"#;
    let body = format!(
        r#"{{"resourceSpans":[{{"resource":5,"scopeSpans":[{{"spans":[{good}]}}]}},{{"scopeSpans":[{{"spans":[{good},7,{{"name":5}},{{}},{good}]}}]}}]}}"#
    );
    let batch = spans(&body);
    assert_eq!(batch.events.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true, false, false, false, true]);
    insta::assert_snapshot!(batch.message(), @"number 0: it cannot be read: an object is wanted; number 4: its trace id is missing or not valid");
}

#[test]
fn what_cannot_be_read_at_all_is_an_invalid_argument() {
    for (body, encoding) in [
        (&b"{"[..], Encoding::Json),
        (b"", Encoding::Json),
        (b"[]x", Encoding::Json),
        (br#"{"resourceSpans":5}"#, Encoding::Json),
        (&[0x0A, 9], Encoding::Protobuf),
        (&[0x08, 1, 0x0B], Encoding::Protobuf),
    ] {
        let status = try_read(body, Signal::Traces, encoding, EVERYTHING).unwrap_err();
        assert_eq!((status.code, status.http_status()), (Code::InvalidArgument, 400));
    }
    for (body, encoding) in
        [(&b"{}"[..], Encoding::Json), (br#"{"resourceSpans":null}"#, Encoding::Json), (b"", Encoding::Protobuf)]
    {
        assert!(try_read(body, Signal::Traces, encoding, EVERYTHING).unwrap().events.is_empty());
    }
    let large = vec![0; BODY_BYTES_MAX + 1];
    let status = try_read(&large, Signal::Traces, Encoding::Protobuf, EVERYTHING).unwrap_err();
    assert_eq!((status.code, status.http_status()), (Code::ResourceExhausted, 413));
}

fn nested(depth: usize) -> AnyValue {
    (0..depth).fold(AnyValue { value: Some(Any::Int(1)) }, |inner, nth| AnyValue {
        value: Some(if nth % 2 == 0 {
            Any::Array(ArrayValue { values: vec![inner] })
        } else {
            Any::Map(KeyValueList { values: vec![KeyValue { key: "k".into(), value: Some(inner) }] })
        }),
    })
}

#[test]
fn hostile_attributes_do_no_harm_and_are_not_lost() {
    let mut span = tiny(1);
    span.attributes.extend((0..3_000).map(|nth| text(&format!("many.{nth}"), "x")));
    for name in [
        "__proto__",
        "",
        "a\0b",
        "..",
        "\"quoted\\\"",
        "constructor",
        "gen_ai.prompt.4294967295.content",
        "gen_ai.prompt.0.",
        "gen_ai.prompt.99999999999.role",
    ] {
        span.attributes.push(text(name, "value"));
    }
    span.attributes.push(text(&"k".repeat(1_000_000), "of a long key"));
    span.attributes.push(text("long", &"é".repeat(1_000_000)));
    span.attributes.push(text(&format!("gen_ai.prompt.0.{}", "a.".repeat(5_000)), "deep name"));
    span.attributes.push(KeyValue { key: "deep".into(), value: Some(nested(DEPTH_MAX)) });
    let all = request(vec![span.clone()]);
    for batch in [
        protobuf(&all),
        try_read(all.json().to_string().as_bytes(), Signal::Traces, Encoding::Json, EVERYTHING).unwrap(),
    ] {
        let all: String = drafts(batch).into_iter().map(stored).collect();
        for kept in ["__proto__", "constructor", "of a long key", "deep name", "many.2999", "éééé"] {
            assert!(all.contains(kept), "{kept}");
        }
    }
    span.attributes.push(KeyValue { key: "deeper".into(), value: Some(nested(DEPTH_MAX + 1)) });
    let many = AnyValue { value: Some(Any::Array(ArrayValue { values: vec![AnyValue::default(); VALUES_MAX] })) };
    let mut wide = tiny(2);
    wide.attributes.push(KeyValue { key: "wide".into(), value: Some(many) });
    let both = request(vec![span, wide]);
    for batch in [
        protobuf(&both),
        try_read(both.json().to_string().as_bytes(), Signal::Traces, Encoding::Json, EVERYTHING).unwrap(),
    ] {
        let refused: Vec<Rejected> = batch.events.into_iter().map(Result::unwrap_err).collect();
        assert_eq!(refused, [Rejected::TooDeep, Rejected::TooManyValues]);
    }
}

#[test]
fn a_time_is_one_of_this_calendar_whatever_a_clock_says() {
    for (start, end, time) in [
        (0, 0, "2025-11-23T12:13:20.000000Z"),
        (u64::MAX, 1, "2554-07-21T23:34:33.709551Z"),
        (0, 5_000, "1970-01-01T00:00:00.000005Z"),
    ] {
        let drafts = drafts(protobuf(&request(vec![Span { start, end, ..tiny(1) }])));
        assert_eq!(drafts[0].time.to_string(), time);
        assert_eq!(drafts[1].attributes.value("testimony.duration_ms"), None, "no clock runs backwards");
    }
}

#[test]
fn answers_are_read_by_others_as_they_are_meant() {
    assert!(response(Signal::Traces, Encoding::Protobuf, 0, "").is_empty());
    assert_eq!(response(Signal::Logs, Encoding::Json, 0, ""), b"{}");
    let partial = foreign::Response::decode(&response(Signal::Logs, Encoding::Protobuf, 3, "why")[..]).unwrap();
    assert_eq!(partial.partial_success, Some(foreign::PartialSuccess { rejected: 3, error_message: "why".into() }));
    let status = Status::unavailable("the log cannot be written: the disk is full", 30);
    let read = foreign::RpcStatus::decode(&status.body(Encoding::Protobuf)[..]).unwrap();
    assert_eq!((read.code, read.message.as_str()), (14, status.message.as_str()));
    assert_eq!(read.details[0].type_url, "type.googleapis.com/google.rpc.RetryInfo");
    let retry = foreign::RetryInfo::decode(&read.details[0].value[..]).unwrap();
    assert_eq!(retry.retry_delay, Some(foreign::Duration { seconds: 30, nanos: 0 }));
    let json = [
        response(Signal::Traces, Encoding::Json, 3, "why"),
        response(Signal::Logs, Encoding::Json, 0, "a hint"),
        status.body(Encoding::Json),
    ];
    insta::assert_snapshot!(json.map(|body| String::from_utf8(body).unwrap()).join("\n"), @r#"
    {"partialSuccess":{"errorMessage":"why","rejectedSpans":"3"}}
    {"partialSuccess":{"errorMessage":"a hint","rejectedLogRecords":"0"}}
    {"code":14,"details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"30s"}],"message":"the log cannot be written: the disk is full"}
    "#);
    assert_eq!(Status::new(Code::Internal, "é".repeat(4_000)).message.len(), 1_024);
}

fn any_value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        Just(None),
        "\\PC{0,12}".prop_map(|text| Some(Any::Text(text))),
        "[\\[{](\\PC|\"|authorization|:|https://u:p@h/){0,6}".prop_map(|text| Some(Any::Text(text))),
        any::<bool>().prop_map(|fact| Some(Any::Bool(fact))),
        any::<i64>().prop_map(|number| Some(Any::Int(number))),
        any::<f64>().prop_map(|number| Some(Any::Double(number))),
        any::<Vec<u8>>().prop_map(|bytes| Some(Any::Bytes(bytes))),
    ]
    .prop_map(|value| AnyValue { value });
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|values| AnyValue { value: Some(Any::Array(ArrayValue { values })) }),
            prop::collection::vec(("[a-c]|role|content|authorization", inner), 0..4).prop_map(|entries| {
                let values = entries.into_iter().map(|(key, value)| KeyValue { key, value: Some(value) }).collect();
                AnyValue { value: Some(Any::Map(KeyValueList { values })) }
            }),
        ]
    })
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let key = prop_oneof![
        "gen_ai.(operation.name|system|request.model|usage.prompt_tokens|input.messages|response.finish_reasons|tool.name)",
        "(gen_ai.prompt|gen_ai.completion|llm.prompts).[0-2].(role|content|tool_calls.[01].(name|arguments)|finish_reason)",
        "llm.(input|output)_messages.[01].message.(role|content|contents.[01].message_content.(type|text))",
        "openinference.span.kind|traceloop.span.kind|llm.request.type|user.id|session.id|input.value|llm.invocation_parameters",
        "service.name|host.name|deployment.environment|error.type|event.name|url.query|content|message|tool_calls|log.record.uid",
        "\\PC{0,8}",
    ];
    let word = prop_oneof![
        Just("chat"),
        Just("execute_tool"),
        Just("LLM"),
        Just("TOOL"),
        Just("EVALUATOR"),
        Just("tool"),
        Just("{\"stop\":1}")
    ];
    let value = prop_oneof![
        2 => any_value(),
        1 => word.prop_map(|word| AnyValue { value: Some(Any::Text(word.into())) }),
    ];
    prop::collection::vec((key, prop::option::weighted(0.95, value)), 0..12)
        .prop_map(|pairs| pairs.into_iter().map(|(key, value)| KeyValue { key, value }).collect())
}

const EVENT_NAMES: &str = "gen_ai.(evaluation.result|choice|user.message|tool.message|content.prompt|client.inference.operation.details|x)|exception|\\PC{0,4}";

fn any_span() -> impl Strategy<Value = Span> {
    let identifiers = (prop::collection::vec(0_u8..3, 15..17), prop::collection::vec(0_u8..3, 7..9), any::<Vec<u8>>());
    let event = (any::<u64>(), EVENT_NAMES, attributes()).prop_map(|(time, name, attributes)| foreign::Event {
        time,
        name,
        attributes,
    });
    let status = ("\\PC{0,6}", 0..3).prop_map(|(message, code)| foreign::SpanStatus { message, code });
    let rest = ("\\PC{0,8}", 0..6, any::<u64>(), any::<u64>(), any::<u32>());
    (identifiers, attributes(), prop::collection::vec(event, 0..4), prop::option::of(status), rest).prop_map(
        |((trace_id, span_id, parent_span_id), attributes, events, status, (name, kind, start, end, flags))| Span {
            trace_id,
            span_id,
            trace_state: name.clone(),
            parent_span_id,
            name,
            kind,
            start,
            end,
            attributes,
            dropped: flags,
            events,
            status,
            flags,
        },
    )
}

fn any_request() -> impl Strategy<Value = foreign::Request> {
    let scope = (prop::option::of(("\\PC{0,4}", "[0-9.]*")), prop::collection::vec(any_span(), 0..4)).prop_map(
        |(scope, spans)| foreign::OfScope {
            scope: scope.map(|(name, version)| foreign::Scope { name, version }),
            spans,
        },
    );
    let resource =
        (prop::option::of(attributes()), prop::collection::vec(scope, 0..3)).prop_map(|(attributes, scopes)| {
            let resource = attributes.map(|attributes| foreign::Resource { attributes });
            foreign::OfResource { resource, scopes, schema_url: "https://opentelemetry.io/schemas/1.38.0".into() }
        });
    prop::collection::vec(resource, 0..3).prop_map(|resources| foreign::Request { resources })
}

fn any_logs() -> impl Strategy<Value = foreign::LogRequest> {
    let identifiers = (prop::collection::vec(0_u8..3, 15..17), prop::collection::vec(0_u8..3, 7..9));
    let log = (identifiers, prop::option::of(any_value()), attributes(), EVENT_NAMES, (any::<u64>(), 0..30, 0_u64..2))
        .prop_map(|((trace_id, span_id), body, attributes, event_name, (observed, severity, time))| {
            let severity_text = if severity > 20 { "FATAL".to_owned() } else { String::new() };
            let flags = 1;
            foreign::LogRecord {
                time,
                severity,
                severity_text,
                body,
                attributes,
                flags,
                trace_id,
                span_id,
                observed,
                event_name,
            }
        });
    prop::collection::vec(log, 0..6).prop_map(|logs| foreign::LogRequest {
        resources: vec![foreign::LogOfResource { scopes: vec![foreign::LogOfScope { logs }] }],
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Our two readers, held against each other and against a foreign writer; and what comes of it is always a record.
    #[test]
    fn both_encodings_of_spans_are_read_the_same(request in any_request()) {
        let json = request.json().to_string();
        let of_json = try_read(json.as_bytes(), Signal::Traces, Encoding::Json, EVERYTHING).unwrap();
        let of_protobuf = protobuf(&request);
        prop_assert_eq!(format!("{of_json:?}"), format!("{of_protobuf:?}"));
        let spans: usize = request.resources.iter().flat_map(|of| &of.scopes).map(|of| of.spans.len()).sum();
        prop_assert_eq!(of_json.events.len(), spans);
        shown(of_json);
    }

    #[test]
    fn both_encodings_of_log_records_are_read_the_same(request in any_logs()) {
        let json = request.json().to_string();
        let of_json = try_read(json.as_bytes(), Signal::Logs, Encoding::Json, EVERYTHING).unwrap();
        let of_protobuf = try_read(&request.encode_to_vec(), Signal::Logs, Encoding::Protobuf, EVERYTHING).unwrap();
        prop_assert_eq!(format!("{of_json:?}"), format!("{of_protobuf:?}"));
        shown(of_json);
    }

    #[test]
    fn no_bytes_make_reading_panic(bytes in any::<Vec<u8>>()) {
        for signal in [Signal::Traces, Signal::Logs] {
            for encoding in [Encoding::Protobuf, Encoding::Json] {
                let _ = try_read(&bytes, signal, encoding, EVERYTHING);
            }
        }
    }

    #[test]
    fn no_damaged_request_makes_reading_panic(
        request in any_request(), sample in 0..4_usize, damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3), 1..6),
    ) {
        let samples = [CURRENT, OPEN_LLMETRY, OPEN_INFERENCE, EVENTS];
        for (mut body, encoding) in [
            (request.encode_to_vec(), Encoding::Protobuf),
            (request.json().to_string().into_bytes(), Encoding::Json),
            (samples[sample].as_bytes().to_vec(), Encoding::Json),
        ] {
            for (at, byte, how) in &damage {
                if body.is_empty() {
                    continue;
                }
                let at = at.index(body.len());
                match how {
                    0 => body[at] = *byte,
                    1 => body.insert(at, *byte),
                    _ => { body.remove(at); }
                }
            }
            for signal in [Signal::Traces, Signal::Logs] {
                if let Ok(batch) = try_read(&body, signal, encoding, EVERYTHING) {
                    shown(batch);
                }
            }
        }
    }
}
