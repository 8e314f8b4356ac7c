//! How fast a log of many recorded calls answers, and what it takes on disk and in memory.
//!
//! `TESTIMONY_BENCH_RECORDS` says how many records (20 million else), `TESTIMONY_BENCH_LOG` names a folder where the log is kept and found
//! again; else it is made anew and deleted. `TESTIMONY_BENCH_ASK` is one query to ask alone. Calls are those of [`Traffic`].

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ledger::Ledger;
use record::Draft;
use search::{Engine, EngineError, Format, Limits, SealAt, Search, View};
use world::World;

use crate::Places;
use crate::appends::options;
use crate::device::own_cpu;
use crate::freshness;
use crate::growth::resident_mib;
use crate::traffic::Traffic;

const RECORDS: u64 = 20_000_000;
/// Records a second that a log that was found can be taken to write.
const CAPACITY: u64 = 50_000;
/// Records that are appended at once.
const TOGETHER: u64 = 1_024;
const ROUNDS: usize = 7;
const SQL_ROUNDS: usize = 3;
/// Past this a question is asked once only.
const SLOW: Duration = Duration::from_secs(2);

pub(crate) fn run(places: &Places) -> anyhow::Result<()> {
    let records = std::env::var("TESTIMONY_BENCH_RECORDS").ok().map_or(Ok(RECORDS), |number| number.parse())?;
    let dir = std::env::var_os("TESTIMONY_BENCH_LOG").map_or_else(|| places.disk.join("questions"), PathBuf::from);
    let world = World::real();
    println!("a log of {records} records: requests and responses of calls over 90 days, some 1 kB of text a call");
    let traffic = Arc::new(Traffic::new(records / 2, "bench.example/log"));
    let ledger = Ledger::open(&world, &dir, &options())?.ledger;
    let engine = Engine::follow(&world, &dir, &ledger, SealAt::default())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let mut capacity = CAPACITY;
        if ledger.durable().size < records {
            capacity = write(&ledger, &engine, &traffic, records).await?;
        }
        settle().await?;
        ask(&engine, &traffic, records).await?;
        if std::env::var_os("TESTIMONY_BENCH_ASK").is_none() {
            let question = format!("user:{} env:production since:2026-11-18", user_of(&traffic, records));
            freshness::run(&engine, &ledger, &traffic, (capacity, &question, records / 2)).await?;
        }
        anyhow::Ok(())
    })?;
    println!("  memory                               {:>9.0} MiB", resident_mib("self")?);
    engine.close();
    let written = ledger.durable().size;
    ledger.close();
    on_disk(&dir, &traffic, written)?;
    println!();
    Ok(())
}

/// How many records a second were durable.
async fn write(ledger: &Ledger, engine: &Engine, traffic: &Traffic, records: u64) -> anyhow::Result<u64> {
    let start = Instant::now();
    let (mut written, mut records_written) = (ledger.durable().size, 0);
    while written < records {
        let calls = written / 2..(written + TOGETHER).min(records) / 2;
        let drafts: Vec<Draft> = calls.flat_map(|nth| traffic.call(nth)).collect();
        written += drafts.len() as u64;
        records_written += drafts.len();
        ledger.append_all(drafts).await?;
    }
    let durable = start.elapsed().as_secs_f64();
    one(engine, "type:nothing").await?;
    let sealed = start.elapsed().as_secs_f64();
    while engine.segments().1 > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let indexed = start.elapsed().as_secs_f64();
    while !engine.is_at_rest() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!(
        "  {records_written} written at {:.0}/s, sealed {:.1} s later, indexed {:.1} s after that, {} segments when compacted {:.1} s after that",
        records_written as f64 / durable,
        sealed - durable,
        indexed - sealed,
        engine.segments().0,
        start.elapsed().as_secs_f64() - indexed
    );
    Ok(records_written as u64 * 1_000
        / Duration::from_secs_f64(durable).as_millis().max(1).try_into().unwrap_or(u64::MAX))
}

/// Somebody who asked for one of the calls.
fn user_of(traffic: &Traffic, records: u64) -> String {
    let [request, _] = traffic.call(records / 2 / 3);
    request.actor.and_then(|actor| actor.id).unwrap_or_default()
}

async fn ask(engine: &Engine, traffic: &Traffic, records: u64) -> anyhow::Result<()> {
    if let Ok(query) = std::env::var("TESTIMONY_BENCH_ASK") {
        return ask_often("asked alone", ROUNDS, async || one(engine, &query).await).await;
    }
    let [request, _] = traffic.call(records / 2 / 3);
    let call = request.call_id.map(|call| call.to_string()).unwrap_or_default();
    let trace = request.trace.trace_id.unwrap_or_default();
    let user = user_of(traffic, records);
    for (name, query) in [
        ("one call by id, cold", format!("call_id:{call}")),
        ("one call by id", format!("call_id:{call}")),
        ("one trace", format!("trace:{trace}")),
        ("user, environment, last 7 days", format!("user:{user} env:production since:2026-11-18")),
        ("everything, newest 100", String::new()),
        ("failed, newest 100", "outcome:failed".to_owned()),
        ("rare word, all time", "solitary0".to_owned()),
        ("a word of a call in 10,000", "seldom5".to_owned()),
        ("a word of no call", "nowhere".to_owned()),
        ("common phrase", "\"of the\"".to_owned()),
        ("phrase of two common words", "\"refund policy\"".to_owned()),
    ] {
        if name.ends_with("cold") {
            forget_pages();
        }
        let rounds = if name.ends_with("cold") { 1 } else { ROUNDS };
        ask_often(name, rounds, async || one(engine, &query).await).await?;
    }
    ask_in_sql(engine, &call).await
}

async fn ask_in_sql(engine: &Engine, call: &str) -> anyhow::Result<()> {
    for (name, statement) in [
        (
            "count by model, environment, hour",
            "SELECT model, environment, date_trunc('hour', time) AS hour, count(*) AS n FROM records GROUP BY 1, 2, 3",
        ),
        ("one call of the view calls", &format!("SELECT * FROM calls WHERE call_id = '{call}'")),
        (
            "calls of an hour",
            "SELECT count(*), avg(duration_ms) FROM calls WHERE time >= '2026-11-20T12:00:00Z' AND time < '2026-11-20T13:00:00Z'",
        ),
        (
            "calls by model, a week",
            "SELECT model, count(*), avg(duration_ms) FROM calls WHERE time >= '2026-11-18T00:00:00Z' GROUP BY model",
        ),
        ("calls by model, all time", "SELECT model, count(*), avg(duration_ms) FROM calls GROUP BY model"),
    ] {
        ask_often(name, SQL_ROUNDS, async || {
            let limits = Limits { rows_max: 100_000, deadline: Duration::from_secs(120), ..Limits::default() };
            let answer = engine.sql(&View::everything(), statement.to_owned(), Search::default(), limits).await?;
            Ok(answer.rows())
        })
        .await?;
    }
    Ok(())
}

/// Asks so often, or until it takes too long or fails, and prints what that took.
async fn ask_often(
    name: &str,
    rounds: usize,
    question: impl AsyncFn() -> Result<usize, EngineError>,
) -> anyhow::Result<()> {
    let mut times = Vec::new();
    let mut rows = 0;
    let cpu = own_cpu()?;
    for _ in 0..rounds {
        let start = Instant::now();
        match question().await {
            Ok(found) => rows = found,
            Err(error) => {
                println!("  {name:<54} {error}");
                return Ok(());
            }
        }
        times.push(start.elapsed());
        if start.elapsed() > SLOW {
            break;
        }
    }
    let cpu = (own_cpu()? - cpu) * 1_000.0 / times.len() as f64;
    report(&format!("{name} ({cpu:.0} ms of cores)"), rows, &mut times);
    Ok(())
}

async fn one(engine: &Engine, query: &str) -> Result<usize, EngineError> {
    let limits = Limits { rows_max: 100, deadline: Duration::from_secs(600), ..Limits::default() };
    let search = Search { query: query.to_owned(), ..Search::default() };
    let answer = engine.search(&View::everything(), search, limits).await?;
    // What somebody would be shown.
    let _ = std::hint::black_box(answer.write(Format::JsonLines));
    Ok(answer.rows())
}

fn report(name: &str, rows: usize, times: &mut [Duration]) {
    times.sort_unstable();
    let milliseconds = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1_000.0);
    println!(
        "  {name:<54} {:>9.1} ms   at most {:.1}, {rows} rows, asked {} times",
        milliseconds(times.get(times.len() / 2)),
        milliseconds(times.last()),
        times.len()
    );
}

/// Waits until this process has nothing left to do for what was written: tiles, segments, indexes.
async fn settle() -> anyhow::Result<()> {
    loop {
        let before = own_cpu()?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        if own_cpu()? - before < 0.05 {
            return Ok(());
        }
    }
}

/// Lets the system forget what it has read of files, where this process may.
fn forget_pages() {
    if std::fs::write("/proc/sys/vm/drop_caches", "1").is_err() {
        println!("  (the next is not cold: only root can have the system forget what it has read)");
    }
}

fn on_disk(dir: &Path, traffic: &Traffic, records: u64) -> anyhow::Result<()> {
    let sample: usize = (0..1_000)
        .flat_map(|nth| traffic.call(nth * (records / 2 / 1_000).max(1)))
        .map(|draft| raw_bytes(&draft))
        .sum();
    let raw = sample as f64 / 2_000.0;
    let mut whole = 0.0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let bytes = folder_bytes(&entry.path())? as f64 / records as f64;
        whole += bytes;
        if bytes >= 1.0 {
            println!("  {:<36} {bytes:>9.0} bytes a record", entry.file_name().to_string_lossy());
        }
    }
    println!(
        "  together                             {whole:>9.0} bytes a record: {:.0} % of {raw:.0} as JSON",
        100.0 * whole / raw
    );
    Ok(())
}

/// A record as JSON, with what was said in it.
fn raw_bytes(draft: &Draft) -> usize {
    let mut leaf = Vec::new();
    let sealed = draft.clone().seal([7; 32]);
    if let Ok(sealed) = &sealed {
        sealed.write_leaf(draft.time, 1_000_000, &mut leaf);
    }
    leaf.len() + draft.content.iter().map(|field| field.bytes.len() + field.name.len() + 6).sum::<usize>()
}

fn folder_bytes(path: &Path) -> std::io::Result<u64> {
    let about = path.metadata()?;
    if about.is_file() {
        return Ok(about.len());
    }
    std::fs::read_dir(path)?.map(|entry| folder_bytes(&entry?.path())).sum()
}
