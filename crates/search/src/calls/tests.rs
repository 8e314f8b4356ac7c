use std::iter;
use std::sync::Arc;

use access::{Grant, Identity, Role};
use record::{Actor, Draft, Field, Kind, Outcome, Source, Timestamp, Uuid, uuid_v7};
use serde_json::Value;
use world::World;

use crate::tests::Log;
use crate::{Format, Limits, Search, View};

const START_MICROS: i64 = 1_700_000_000_000_000;
/// Records that are so far from each other lie in different segments.
const APART: usize = 1_100;

/// A record of a call, so many seconds after the start.
fn draft(producer: &str, kind: Kind, call: u128, second: i64) -> Draft {
    let time = Timestamp::from_micros(START_MICROS + second * 1_000_000);
    let source = Source {
        service: "bot".into(),
        environment: if producer == "import" { "production" } else { "staging" }.into(),
        host: "here".into(),
        origin: "example.com/log".into(),
        producer: producer.into(),
    };
    let mut draft = Draft::new(uuid_v7(time, &World::real().entropy.bytes()), time, kind, Arc::new(source));
    draft.call_id = (call > 0).then(|| Uuid::from_u128(call));
    draft.attributes.set("gen_ai.request.model", format!("model of {producer}"));
    draft
}

async fn asked(log: &Log, view: &View, statement: &str) -> Vec<Value> {
    let answer = log.engine.sql(view, statement.into(), Search::default(), Limits::default()).await.unwrap();
    let lines = String::from_utf8(answer.write(Format::JsonLines).unwrap()).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn all(log: &Log, statement: &str) -> Vec<Value> {
    asked(log, &View::everything(), statement).await
}

fn said(mut draft: Draft, name: &str, text: &str) -> Draft {
    draft.content.push(Field { name: name.into(), media: "text/plain".into(), bytes: text.as_bytes().to_vec() });
    draft
}

fn ended(mut draft: Draft, outcome: Outcome, tokens: Option<i64>) -> Draft {
    draft.outcome = Some(outcome);
    if let Some(tokens) = tokens {
        draft.attributes.set("gen_ai.usage.output_tokens", tokens);
    }
    draft
}

/// Call 1 by the gateway, an import and spans; call 2 by a span and log records; call 3 by an import alone, of which only the end; call 4
/// by the gateway alone, under way; and a request that names no call. Every record is the first of so many.
async fn told(every: usize) -> Log {
    let (request, response) = (Kind::InferenceRequest, Kind::InferenceResponse);
    let mut of_span = draft("otlp", request, 1, 9);
    of_span.attributes.set("gen_ai.conversation.id", "c-7".to_owned());
    let mut named = draft("otlp", response, 2, 21);
    named.actor = Some(Actor {
        kind: "user".into(),
        id: Some("alice".into()),
        groups: Vec::new(),
        auth: Some("claimed".into()),
        ip: None,
        fingerprint: None,
    });
    let drafts = vec![
        // The span came before the gateway's own records.
        said(of_span, "gen_ai.input.messages", "input of the span"),
        ended(draft("otlp", response, 1, 9), Outcome::Failed, Some(7)),
        ended(draft("gateway", request, 1, 10), Outcome::Allowed, None),
        said(ended(draft("gateway", response, 1, 11), Outcome::Completed, None), "gen_ai.output.messages", "own"),
        said(draft("import", response, 1, 12), "gen_ai.output.messages", "imported"),
        // Numbers in a span, texts in log records, an end before its beginning.
        ended(named, Outcome::Completed, Some(5)),
        draft("otlp", request, 2, 20),
        said(draft("otlp", request, 2, 22), "gen_ai.input.messages", "asked"),
        said(draft("otlp", response, 2, 22), "gen_ai.output.messages", "answered"),
        ended(draft("import", response, 3, 30), Outcome::Completed, Some(3)),
        ended(draft("gateway", request, 4, 40), Outcome::Allowed, None),
        draft("records", request, 0, 50),
    ];
    let others = || (1..every).map(|_| draft("records", Kind::System, 0, 0));
    Log::of(drafts.into_iter().flat_map(|draft| iter::once(draft).chain(others())).collect()).await
}

const SHORT: &str = "SELECT request_index, response_index, model, outcome, output_tokens, input, output, actor_id, conversation_id, producers \
    FROM calls ORDER BY time";

const EXPECTED: &str = r#"{"request_index":2,"response_index":3,"model":"model of gateway","outcome":"completed","output_tokens":7,"input":"input of the span","output":"own","conversation_id":"c-7","producers":"gateway,import,otlp"}
{"request_index":6,"response_index":5,"model":"model of otlp","outcome":"completed","output_tokens":5,"input":"asked","output":"answered","actor_id":"alice","producers":"otlp"}
{"response_index":9,"model":"model of import","outcome":"completed","output_tokens":3,"producers":"import"}
{"request_index":10,"model":"model of gateway","producers":"gateway"}
{"request_index":11,"model":"model of records","producers":"records"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_one_row_whoever_told_of_it_and_how_often() {
    for every in [1, APART] {
        let log = told(every).await;
        let mut expected: Vec<Value> = EXPECTED.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for row in &mut expected {
            for name in ["request_index", "response_index"] {
                if let Some(index) = row.get_mut(name) {
                    *index = (index.as_u64().unwrap() * every as u64).into();
                }
            }
        }
        assert_eq!(all(&log, SHORT).await, expected, "a record in {every}");
        assert_eq!(log.engine.segments().0 > 6, every == APART, "{} segments", log.engine.segments().0);
        let everything = all(&log, "SELECT * FROM calls ORDER BY time").await;
        assert_eq!(everything.len(), 5);
        assert_eq!(everything[0]["response_attributes"]["gen_ai.request.model"], "model of gateway");
        assert_eq!(everything[1]["request_attributes"]["gen_ai.request.model"], "model of otlp");
        assert_eq!(all(&log, "SELECT count(*) AS n FROM calls").await, [serde_json::json!({"n": 5})]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_found_by_what_any_of_its_records_says() {
    let log = told(1).await;
    let second = |second: i64| Timestamp::from_micros(START_MICROS + second * 1_000_000).to_string();
    for (filter, expected) in [
        (format!("call_id = '{}'", Uuid::from_u128(1)), vec![2]),
        (format!("call_id = '{}'", Uuid::from_u128(2)), vec![6]),
        (format!("time >= '{}' AND time < '{}'", second(10), second(21)), vec![2, 6]),
        // When a call was is what the record says that goes first.
        (format!("time < '{}'", second(10)), vec![]),
        ("conversation_id = 'c-7'".to_owned(), vec![2]),
        ("actor_id = 'alice'".to_owned(), vec![6]),
        ("output_tokens > 4 AND environment = 'staging'".to_owned(), vec![2, 6]),
    ] {
        let rows = all(&log, &format!("SELECT request_index FROM calls WHERE {filter} ORDER BY time")).await;
        let found: Vec<u64> = rows.iter().map(|row| row["request_index"].as_u64().unwrap()).collect();
        assert_eq!(found, expected, "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_on_keys_reach_the_scans() {
    let log = told(1).await;
    let plan = |filter: &str| format!("EXPLAIN SELECT * FROM calls WHERE {filter}");
    let logical = |rows: Vec<Value>| rows[0]["plan"].as_str().unwrap().to_owned();
    let by_call = logical(all(&log, &plan("call_id = 'x'")).await);
    let scans = by_call.lines().filter(|line| line.contains("TableScan: records")).collect::<Vec<_>>();
    assert!(scans.len() >= 7 && scans.iter().all(|scan| scan.contains("call_id = Utf8View(\"x\")")), "{by_call}");
    // The record that goes first: for the row and for what is put together beside it, and of the calls of others.
    let by_time = logical(all(&log, &plan("time >= '2026-01-01T00:00:00Z'")).await);
    let scans = by_time.lines().filter(|line| line.contains("TableScan: records"));
    let pruned = scans.filter(|scan| scan.contains("records.time >=")).count();
    assert_eq!(pruned, 3, "{by_time}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_reader_may_not_see_is_put_into_no_call() {
    let log = told(1).await;
    let grant = Grant { role: Role::Reader, scope: "env=staging".parse().unwrap() };
    let view = View::of(&Identity::anonymous(vec![grant]));
    let rows = asked(&log, &view, SHORT).await;
    assert_eq!(rows.len(), 4, "{rows:?}");
    assert_eq!(rows[0]["producers"], "gateway,otlp");
    assert!(rows.iter().all(|row| !row.to_string().contains("import")), "{rows:?}");
}
