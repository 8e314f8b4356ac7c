//! What others send, as much as the doors take in: records as JSON lines beside `COPY` of PostgreSQL on the same disk, spans by
//! gRPC, audit events of Kubernetes.
//!
//! Everything that is sent is made before the clock starts, and nothing of it is sent twice. Each door has a server with a new
//! log, whose answers say that each item is stored; afterwards the records are counted by SQL.
//!
//! | file | what is in it |
//! |---|---|
//! | `door` | [`Door`]: a server, what it took in and what memory it held |
//! | `bulk`, `grpc` | who sends: HTTP/1.1, and HTTP/2 |
//! | `records`, `spans`, `audit` | what is sent |
//! | `chance` | numbers, names and texts for it |
//! | `postgres` | the peer |

mod audit;
mod bulk;
mod door;
mod grpc;
mod postgres;
mod records;
mod spans;

use std::sync::Arc;

use anyhow::Context as _;
use memchr::memmem;
use serde::Deserialize;
use tokio::runtime::Runtime;
use world::World;

use self::bulk::Bulk;
use self::door::{CONNECTIONS, Door, FLAT, TIME, Taken};
use self::grpc::{Calls, STREAMS};
use self::postgres::Copied;
use crate::Places;

/// How many bodies are made for each door: about a million items.
const RECORD_BODIES: usize = 1_000;
const SPAN_MESSAGES: usize = 1_950;
const AUDIT_BODIES: usize = 2_500;
/// How many bodies of records make a request, to choose from, and how many are sent to choose.
const TOGETHER: [usize; 3] = [1, 2, 5];
const TRIED_BODIES: usize = 100;

/// What is wanted, a second.
const SPANS_WANTED: f64 = 40_000.0;
const EVENTS_WANTED: f64 = 30_000.0;
const TIMES_INDEXED_WANTED: f64 = 2.0;

/// What was measured beside its bar; no verdict where there was nothing to compare with.
struct Figure {
    what: &'static str,
    measured: String,
    bar: String,
    is_reached: Option<bool>,
}

/// When the nth of many things began, in microseconds: the first an hour ago, and one so long after the other.
fn began(nth: usize, now_micros: i64) -> i64 {
    const AGO_MICROS: i64 = 3_600_000_000;
    const APART_MICROS: i64 = 2_000;
    now_micros - AGO_MICROS + i64::try_from(nth).unwrap_or_default() * APART_MICROS
}

pub(crate) fn run(places: &Places) -> anyhow::Result<()> {
    println!(
        "what others send, {CONNECTIONS} connections, at most {} s, each door with a new log on disk",
        TIME.as_secs()
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let now = World::real().clock.now_micros();
    let mut figures = json_lines(places, &runtime, now)?;
    figures.extend(spans_by_grpc(places, &runtime, now)?);
    figures.extend(audit_events(places, &runtime, now)?);
    println!();
    for Figure { what, measured, bar, is_reached } in figures {
        let verdict = match is_reached {
            Some(true) => "reached",
            Some(false) => "missed",
            None => "not compared",
        };
        println!("  {what:<36} {measured:>32}   {bar:<52} {verdict}");
    }
    println!();
    Ok(())
}

/// Records in our own format, and the same bytes copied by PostgreSQL.
fn json_lines(places: &Places, runtime: &Runtime, now: i64) -> anyhow::Result<Vec<Figure>> {
    let bodies = Arc::new(records::bodies(RECORD_BODIES, now));
    let bytes: usize = bodies.iter().map(Vec::len).sum();
    println!("  records of {:.1} bytes (mean), a line each", mean(bytes, RECORD_BODIES * records::RECORDS_EACH) - 1.0);
    let send = |name: &str, together: usize, count: usize| {
        let door = Door::open(&places.disk.join(name))?;
        let bulk = Bulk {
            path: "/api/v1/records",
            media: "application/jsonl",
            bodies: bodies.clone(),
            items_each: records::RECORDS_EACH,
            together,
            stored: |answer| Ok(memmem::find_iter(answer, br#""repeat":false"#).count()),
        };
        let taken = bulk.send(&door, runtime, count)?;
        taken.show(&format!("JSON lines, {} records a request", together * records::RECORDS_EACH));
        door.finds(taken.items, "records")?;
        anyhow::Ok(taken)
    };
    let (mut chosen, mut fastest) = (1, 0.0);
    for together in TOGETHER {
        let rate = send(&format!("ingest-records-{together}"), together, TRIED_BODIES)?.per_second();
        if rate > fastest {
            (chosen, fastest) = (together, rate);
        }
    }
    println!("  the fastest of these, for all of them:");
    let taken = send("ingest-records", chosen, RECORD_BODIES)?;
    let mut bodies = Arc::into_inner(bodies).context("the bodies are still being sent")?;
    bodies.truncate(taken.items / records::RECORDS_EACH);
    let copied = postgres::copy(places, bodies, chosen, taken.items)?;
    let [unindexed, indexed] = beside(taken.per_second(), copied.as_ref());
    Ok(vec![unindexed, indexed, memory("memory, JSON lines", &taken)])
}

/// Beside PostgreSQL, without indexes and with those that searching needs.
fn beside(rate: f64, copied: Option<&Copied>) -> [Figure; 2] {
    let figure = |what, bar: &str, times: f64, peer: Option<f64>| Figure {
        what,
        measured: peer.map_or(format!("{rate:.0}/s"), |peer| format!("{rate:.0}/s = {:.2} × COPY", rate / peer)),
        bar: peer.map_or(bar.to_owned(), |peer| format!("{bar} ({peer:.0}/s)")),
        is_reached: peer.map(|peer| rate >= times * peer),
    };
    [
        figure("JSON lines", "1 × COPY without an index", 1.0, copied.map(|copied| copied.unindexed)),
        figure("JSON lines", "2 × COPY with four indexes", TIMES_INDEXED_WANTED, copied.map(|copied| copied.indexed)),
    ]
}

/// Spans about calls of models, of which each is two records.
fn spans_by_grpc(places: &Places, runtime: &Runtime, now: i64) -> anyhow::Result<[Figure; 2]> {
    let messages = spans::messages(SPAN_MESSAGES, now)?;
    let bytes: usize = messages.iter().map(|message| message.len()).sum();
    let each = mean(bytes, SPAN_MESSAGES * spans::SPANS_EACH);
    println!("  spans of {each:.1} bytes (mean), {STREAMS} streams on each connection");
    let door = Door::open(&places.disk.join("ingest-spans"))?;
    let taken = Calls { path: spans::EXPORT, messages, items_each: spans::SPANS_EACH }.send(&door, runtime)?;
    taken.show(&format!("OTLP by gRPC, {} spans a request", spans::SPANS_EACH));
    door.finds(taken.items * spans::RECORDS_OF_SPAN, "otlp")?;
    Ok([wanted("spans by OTLP and gRPC", &taken, SPANS_WANTED), memory("memory, spans", &taken)])
}

/// What the webhook of an API server sends.
fn audit_events(places: &Places, runtime: &Runtime, now: i64) -> anyhow::Result<[Figure; 2]> {
    #[derive(Deserialize)]
    struct Told {
        stored: usize,
    }
    let bodies = audit::bodies(AUDIT_BODIES, now);
    let bytes: usize = bodies.iter().map(Vec::len).sum();
    println!("  audit events of {:.1} bytes (mean)", mean(bytes, AUDIT_BODIES * audit::EVENTS_EACH));
    let door = Door::open(&places.disk.join("ingest-audit"))?;
    let bulk = Bulk {
        path: "/ingest/kubernetes",
        media: "application/json",
        bodies: Arc::new(bodies),
        items_each: audit::EVENTS_EACH,
        together: 1,
        stored: |answer| Ok(serde_json::from_slice::<Told>(answer)?.stored),
    };
    let taken = bulk.send(&door, runtime, AUDIT_BODIES)?;
    taken.show(&format!("audit events of Kubernetes, {} a request", audit::EVENTS_EACH));
    door.finds(taken.items, "kubernetes")?;
    Ok([wanted("audit events of Kubernetes", &taken, EVENTS_WANTED), memory("memory, audit events", &taken)])
}

fn mean(bytes: usize, items: usize) -> f64 {
    bytes as f64 / items as f64
}

fn wanted(what: &'static str, taken: &Taken, wanted: f64) -> Figure {
    let rate = taken.per_second();
    Figure { what, measured: format!("{rate:.0}/s"), bar: format!("{wanted:.0}/s"), is_reached: Some(rate >= wanted) }
}

fn memory(what: &'static str, taken: &Taken) -> Figure {
    let (early, late) = (taken.resident_mib(20), taken.resident_mib(100));
    Figure {
        what,
        measured: format!("{early:.0} MiB at 20 %, {late:.0} at 100 %"),
        bar: format!("flat: at most {FLAT} ×"),
        is_reached: Some(late <= FLAT * early),
    }
}
