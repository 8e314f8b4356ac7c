//! Durable appends in process, beside the physical limit: the same bytes hashed, written and synced in a plain loop.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ledger::{Ledger, Options};
use record::{Draft, Kind, Source, Timestamp, uuid_v7};
use search::{Engine, SealAt};
use sha2::{Digest as _, Sha256};
use world::World;

use crate::{Places, pace};

const RECORDS: u64 = 1_000_000;
/// Appends that wait at a time, each for its own receipt.
const WAITING: u64 = 65_536;
/// What a door that takes in many records at once appends at once, and how many such doors there are.
pub(crate) const GROUP: u64 = 128;
pub(crate) const GROUPS_WAITING: u64 = 256;

/// A record whose leaf has about 300 bytes.
pub(crate) fn draft(world: &World, source: &Arc<Source>) -> Draft {
    let time = Timestamp::from_micros(world.clock.now_micros());
    Draft::new(uuid_v7(time, &world.entropy.bytes()), time, Kind::System, source.clone())
}

pub(crate) fn source() -> Arc<Source> {
    Arc::new(Source {
        service: "bench".into(),
        environment: "bench".into(),
        host: "here".into(),
        origin: "bench.example/log".into(),
        producer: "bench".into(),
    })
}

pub(crate) fn options() -> Options {
    Options { origin: Some("bench.example/log".into()), ..Options::default() }
}

pub(crate) fn run(places: &Places) -> anyhow::Result<()> {
    println!("durable appends, {RECORDS} records, each with a receipt of its own, {WAITING} waiting at a time");
    let (rate, leaf_bytes) = appends(&places.disk.join("ledger"), WAITING, 1, false)?;
    println!(
        "  ledger                          {rate:>9.0}/s   leaves of {leaf_bytes} bytes: WAL, tree, signatures, tiles"
    );
    let (grouped, _) = appends(&places.disk.join("ledger-groups"), GROUPS_WAITING, GROUP, false)?;
    println!("  ledger, {GROUP} appended at once    {grouped:>9.0}/s   {GROUPS_WAITING} such groups waiting");
    let (with_search, _) = appends(&places.disk.join("ledger-search"), WAITING, 1, true)?;
    println!("  ledger, search following        {with_search:>9.0}/s   and sealed into Parquet segments");
    for batch in [1_024, 4_096, 16_384] {
        let limit = physical_limit(&places.disk, leaf_bytes, batch)?;
        println!(
            "  plain loop, {batch:>5} a fdatasync  {limit:>9.0}/s   the ledger reaches {:.0} % of it, in groups {:.0} %",
            100.0 * rate / limit,
            100.0 * grouped / limit
        );
    }
    pace::run(places)?;
    println!();
    Ok(())
}

/// Records a second, from the first submission to the last receipt, and the size of a leaf: `tasks` at a time each append
/// `group` records at once.
fn appends(dir: &Path, tasks: u64, group: u64, with_search: bool) -> anyhow::Result<(f64, usize)> {
    let world = World::real();
    let opened = Ledger::open(&world, dir, &options())?;
    let ledger = opened.ledger;
    let engine = if with_search { Some(Engine::follow(&world, dir, &ledger, SealAt::default())?) } else { None };
    let start = Instant::now();
    fill(&ledger, &world, RECORDS, tasks, group)?;
    let took = start.elapsed();
    let leaf = ledger.read(RECORDS / 2)?.and_then(|portion| portion.entries().next().map(|entry| entry.leaf.len()));
    if let Some(engine) = engine {
        engine.close();
    }
    ledger.close();
    Ok((RECORDS as f64 / took.as_secs_f64(), leaf.unwrap_or(0)))
}

/// Appends so many records, `group` at once in each of so many tasks.
pub(crate) fn fill(ledger: &Ledger, world: &World, records: u64, tasks: u64, group: u64) -> anyhow::Result<()> {
    let source = source();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    runtime.block_on(async {
        let tasks: Vec<_> = (0..tasks)
            .map(|task| {
                let (ledger, world, source) = (ledger.clone(), world.clone(), source.clone());
                tokio::spawn(async move {
                    for _ in (task * group..records).step_by(usize::try_from(tasks * group).unwrap_or(1)) {
                        if group == 1 {
                            ledger.append(draft(&world, &source)).await?;
                        } else {
                            ledger.append_all((0..group).map(|_| draft(&world, &source)).collect()).await?;
                        }
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        for task in tasks {
            task.await??;
        }
        anyhow::Ok(())
    })
}

/// Records a second of a loop that does nothing but hash, write and sync.
fn physical_limit(dir: &Path, record_bytes: usize, batch: usize) -> anyhow::Result<f64> {
    let mut file = std::fs::File::create(dir.join("limit"))?;
    let record = vec![7_u8; record_bytes];
    let mut buffer = Vec::with_capacity(record_bytes * batch);
    let (start, mut records) = (Instant::now(), 0_u64);
    while start.elapsed() < Duration::from_secs(2) {
        buffer.clear();
        for _ in 0..batch {
            std::hint::black_box(Sha256::digest(&record));
            buffer.extend_from_slice(&record);
        }
        file.write_all(&buffer)?;
        file.sync_data()?;
        records += batch as u64;
    }
    Ok(records as f64 / start.elapsed().as_secs_f64())
}
