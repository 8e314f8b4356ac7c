//! Proofs for single records, and the published log on one core: what whoever audits waits for.

use std::path::Path;
use std::time::Instant;

use ledger::PublishedLog;
use tlog::{Checkpoint, Prover, TilePath, VerifierKey, check_inclusion, leaf_hash};
use verify::{LogDirectory, check_log};
use world::World;

/// How many proofs are made, spread over the log by a number that has no common factor with its size.
const PROOFS: u64 = 50_000;
const STRIDE: u64 = 7_919;

/// Proofs from tiles on disk (in the page cache), and the tree of the whole published log, each on one thread.
pub(crate) fn run(data: &Path) -> anyhow::Result<()> {
    let log = PublishedLog::of(World::real().disk, data);
    let note = log.checkpoint()?.unwrap_or_default();
    let size = Checkpoint::parse_unverified(&note)?.size;
    let tile = |path: TilePath| log.tile(path)?.ok_or_else(|| anyhow::anyhow!("{path} is not there"));
    on_all_cores(&log, size)?;
    let mut prover = Prover::new(tile);
    let start = Instant::now();
    for n in 0..PROOFS {
        prover.inclusion(n * STRIDE % size, size).map_err(|error| anyhow::anyhow!("{error}"))?;
    }
    tell("inclusion proofs", PROOFS, start);
    let start = Instant::now();
    for n in 0..PROOFS {
        prover.consistency(n * STRIDE % size, size).map_err(|error| anyhow::anyhow!("{error}"))?;
    }
    tell("consistency proofs", PROOFS, start);
    let index = STRIDE % size;
    let proof = prover.inclusion(index, size).map_err(|error| anyhow::anyhow!("{error}"))?;
    let (leaf, root) = (leaf_hash(b"another"), Checkpoint::parse_unverified(&note)?.root);
    let start = Instant::now();
    // Any leaf takes as long as the right one.
    let taken = (0..PROOFS).filter(|_| check_inclusion(index, size, leaf, &proof, root).is_ok()).count();
    anyhow::ensure!(taken == 0, "a wrong leaf was taken");
    tell("inclusion proofs checked", PROOFS, start);
    let key = VerifierKey::parse(std::str::from_utf8(&std::fs::read(data.join("identity/log.vkey"))?)?)?;
    let start = Instant::now();
    let checked = check_log(&LogDirectory(data.join("log")), &key, 1, &|_, _| Ok(()), &|_| ());
    checked.map_err(|findings| anyhow::anyhow!("{findings:?}"))?;
    tell("published log: leaves, tiles, root", size, start);
    Ok(())
}

/// As a server makes them: a prover a thread.
fn on_all_cores(log: &PublishedLog, size: u64) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism()?.get() as u64;
    let start = Instant::now();
    std::thread::scope(|scope| {
        let prove = |core: u64| {
            let mut prover = Prover::new(|path| log.tile(path)?.ok_or_else(|| anyhow::anyhow!("{path} is not there")));
            let mut indices = (0..PROOFS).map(|n| (n * STRIDE + core * size / cores) % size);
            indices.try_for_each(|index| prover.inclusion(index, size).map(drop).map_err(|e| anyhow::anyhow!("{e}")))
        };
        let provers: Vec<_> = (0..cores).map(|core| scope.spawn(move || prove(core))).collect();
        provers.into_iter().try_for_each(|prover| prover.join().unwrap_or_else(|_| Err(anyhow::anyhow!("panicked"))))
    })?;
    println!(
        "  {cores} cores, {:<35} {:>9.0}/s",
        "inclusion proofs",
        (cores * PROOFS) as f64 / start.elapsed().as_secs_f64()
    );
    Ok(())
}

fn tell(what: &str, count: u64, start: Instant) {
    println!("  one core, {what:<36} {:>9.0}/s", count as f64 / start.elapsed().as_secs_f64());
}
