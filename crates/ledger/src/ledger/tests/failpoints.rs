//! A process that is killed right before and right after everything it does to the disk, and loses power there.
//!
//! A failpoint is an operation on a kind of file: `Sync wal`, `Replace log/checkpoint`. Signing is one too: a frame is signed
//! before it is appended and a checkpoint before it is put in place, so `Before(Append wal)` and
//! `Before(Replace log/checkpoint)` are the moments right after it. `FAILPOINT_ROUNDS` sets how often each is visited, `SEED`
//! repeats a run.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use world::{Entropy, Moment};

use super::power::{Told, bench, draft, number};
use super::*;

/// States after a loss of power that are drawn where the process was killed.
const STATES_OF_A_KILL: u64 = 3;
/// Batches in each of the two lives of a log.
const BATCHES: usize = 10;

/// An operation on a kind of file, before or after.
type Failpoint = (Moment, String);

/// The path without the numbers in it: files that differ only by their place in the log are of one kind.
fn kind_of(path: &Path) -> String {
    let path = path.strip_prefix(DATA).unwrap_or(path);
    let named = path.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
    let kinds: Vec<String> =
        named.filter(|part| !part.trim_start_matches('x').starts_with(|first: char| first.is_ascii_digit())).collect();
    kinds.join("/")
}

/// A first start, batches, a stop, a new key, a second start, more batches, a stop; as far as the process gets.
async fn live(disk: &SimulatedDisk, seed: u64) -> Told {
    let mut told = Told::default();
    for life in 0..2 {
        let bench = bench(disk.clone(), seed ^ (life << 10));
        let Ok(opened) = Ledger::open(&bench.world, Path::new(DATA), &bench.options) else { break };
        for _ in 0..BATCHES {
            let Ok(receipts) = opened.ledger.append_all(vec![draft(&bench), draft(&bench)]).await else { break };
            told.receipts.extend(receipts.into_inner());
            told.note(disk);
        }
        opened.ledger.close();
        told.note(disk);
        if life == 0 {
            // It waits for its record on a runtime of its own, which wants a thread of its own.
            let rotate = || crate::rotate_key(&bench.world, Path::new(DATA), rotation_draft(&bench));
            let rotated = std::thread::scope(|scope| scope.spawn(rotate).join().unwrap());
            let Ok((_, receipt)) = rotated else { break };
            told.receipts.push(receipt);
        }
    }
    told
}

/// Every failpoint of a life that nothing disturbs, and how often it comes.
async fn failpoints(seed: u64) -> BTreeMap<Failpoint, u64> {
    let disk = SimulatedDisk::default();
    let met: Arc<Mutex<BTreeMap<Failpoint, u64>>> = Arc::default();
    let counts = met.clone();
    disk.kill_when(move |moment, path| {
        *counts.lock().unwrap().entry((moment, kind_of(path))).or_default() += 1;
        false
    });
    let told = live(&disk, seed).await;
    assert_eq!(told.receipts.len(), 2 * 2 * BATCHES + 1);
    let met = met.lock().unwrap();
    met.clone()
}

/// Lives until the failpoint is met for the nth time; whether it was.
async fn die_at(failpoint: &Failpoint, nth: u64, seed: u64, dice: &dyn Entropy) -> bool {
    let disk = SimulatedDisk::default();
    let (wanted, mut left) = (failpoint.clone(), nth);
    disk.kill_when(move |moment, path: &Path| {
        left -= u64::from(left > 0 && (moment, kind_of(path)) == wanted);
        left == 0
    });
    let told = live(&disk, seed).await;
    let case = format!("{failpoint:?}, time {nth}, seed {seed}");
    told.check(disk.after_kill(), seed, &format!("{case}, killed")).await;
    for state in 0..STATES_OF_A_KILL {
        told.check(disk.after_power_loss(dice), seed, &format!("{case}, loss of power {state}")).await;
    }
    disk.is_dead()
}

#[tokio::test]
async fn a_kill_at_any_failpoint_loses_nothing_that_was_acknowledged() {
    let seed = number("SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let rounds = number("FAILPOINT_ROUNDS").unwrap_or(3);
    let dice: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(seed));
    let failpoints = failpoints(seed).await;
    println!("SEED={seed} FAILPOINT_ROUNDS={rounds}, {} failpoints: {failpoints:?}", failpoints.len());
    for (failpoint, times) in &failpoints {
        let mut visits = 0;
        for round in 0..rounds {
            // The first time is the one that differs most from all others. Which thread comes first is not fixed, so
            // that a late time may not come at all in this life.
            let nth = if round == 0 { 1 } else { 1 + u64::from_be_bytes(dice.bytes()) % times };
            visits += u64::from(die_at(failpoint, nth, seed.wrapping_add(round), dice.as_ref()).await);
        }
        assert!(visits > 0, "{failpoint:?} was never met");
    }
}

#[test]
fn files_of_one_kind_have_one_name() {
    let name = |path: &str| kind_of(&PathBuf::from(path));
    assert_eq!(name("data/wal/00000000000000000007.wal"), "wal");
    assert_eq!(name("data/log/tile/entries/x001/234.p/7"), "log/tile/entries");
    assert_eq!(name("data/log/tile/1/000"), "log/tile");
    assert_eq!(name("data/log/checkpoint"), "log/checkpoint");
    assert_eq!(name("data/identity/log.key"), "identity/log.key");
}
