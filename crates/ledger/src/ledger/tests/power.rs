//! Loss of power at any moment: what was not synced is dropped, reordered, torn, and names come and go.
//!
//! `POWER_LOSSES` sets the number of states, `SEED` repeats a run.

use std::sync::atomic::{AtomicU64, Ordering};

use tlog::Frontier;
use world::Entropy;

use super::*;
use crate::recovery::checkpoint_path;

/// States that are drawn at one moment.
const STATES_OF_A_MOMENT: u64 = 20;
/// Batches in one life of a log.
const BATCHES: usize = 12;

pub(super) fn bench(disk: SimulatedDisk, seed: u64) -> Bench {
    let mut bench = Bench::over(disk, seed);
    // Segments end after a few batches, so that they are begun, made durable elsewhere and let go all the time.
    bench.options.wal_segment_bytes = 6_000;
    bench
}

pub(super) fn draft(bench: &Bench) -> Draft {
    let mut draft = bench.draft(Kind::InferenceRequest, 0);
    draft.id = record::once_id("power", &format!("{:x}", u128::from_be_bytes(bench.world.entropy.bytes())));
    draft.outcome = Some(Outcome::Denied);
    let length = usize::from(bench.world.entropy.bytes::<1>()[0]) * 4;
    draft.content[0].bytes = vec![b'x'; length];
    draft
}

/// What must be found again.
#[derive(Default)]
pub(super) struct Told {
    pub(super) receipts: Vec<Receipt>,
    checkpoints: Vec<Checkpoint>,
}

impl Told {
    pub(super) fn note(&mut self, disk: &SimulatedDisk) {
        let note = disk.read(&checkpoint_path(Path::new(DATA))).ok();
        let published = note.and_then(|note| Checkpoint::parse_unverified(&note).ok());
        self.checkpoints.extend(published.filter(|published| self.checkpoints.last() != Some(published)));
    }

    /// I1 to I5, after a start on what was left, one more record, and some of the acknowledged ones sent again.
    pub(super) async fn check(&self, left: SimulatedDisk, seed: u64, case: &str) {
        let bench = bench(left, seed ^ 0xFACE);
        let opened = Ledger::open(&bench.world, Path::new(DATA), &bench.options);
        let opened = opened.unwrap_or_else(|error| panic!("{case}: {error:?}"));
        let next = opened.ledger.append(draft(&bench)).await.unwrap_or_else(|error| panic!("{case}: {error}"));
        assert!(next.index >= self.receipts.len() as u64, "{case}: {next:?}");
        for receipt in self.receipts.iter().take(1).chain(self.receipts.iter().rev().take(2)) {
            if record::is_once(receipt.id) {
                let again = opened.ledger.append(Draft { id: receipt.id, ..draft(&bench) }).await;
                assert_eq!(again.as_deref(), Ok(&Receipt { is_repeat: true, ..*receipt }), "{case}");
            }
        }
        opened.ledger.close();
        let hashes = bench.leaf_hashes().unwrap_or_else(|error| panic!("{case}: {error:?}"));
        let mut published = self.checkpoints.iter().peekable();
        let mut frontier = Frontier::default();
        for hash in &hashes {
            frontier.push(*hash);
            while let Some(checkpoint) = published.next_if(|next| next.size == frontier.size()) {
                assert_eq!(checkpoint.root, frontier.root(), "{case}: {checkpoint:?} was published");
            }
        }
        assert_eq!(hashes.len() as u64, next.index + 1, "{case}");
        for receipt in &self.receipts {
            let at = usize::try_from(receipt.index).unwrap();
            assert_eq!(hashes.get(at), Some(&receipt.leaf_hash), "{case}: record {at} was acknowledged");
        }
        assert_eq!(published.next(), None, "{case}: this was published");
    }
}

/// A number that the environment may set.
pub(super) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Two lives of a log, with losses of power drawn at some of their moments; how many were drawn.
async fn live_and_lose_power(log: u64) -> u64 {
    let dice: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(log));
    let die = || dice.bytes::<1>()[0];
    let disk = SimulatedDisk::default();
    let (mut told, mut drawn) = (Told::default(), 0);
    for life in 0..2 {
        let bench = bench(disk.clone(), log ^ (life << 10));
        let ledger = bench.open().ledger;
        for batch in 0..BATCHES {
            // Most are small, so that many states can be looked at; a large one covers several blocks.
            let records_max = if die() % 8 == 0 { 30 } else { 4 };
            let drafts = (0..=die() % records_max).map(|_| draft(&bench)).collect();
            told.receipts.extend(ledger.append_all(drafts).await.unwrap().into_inner());
            if die() % 3 == 0 {
                told.note(&disk);
                for nth in 0..STATES_OF_A_MOMENT {
                    let case = format!("log {log}, life {life}, batch {batch}, state {nth}");
                    told.check(disk.after_power_loss(dice.as_ref()), log, &case).await;
                    drawn += 1;
                }
            }
        }
        ledger.close();
    }
    drawn
}

#[test]
fn nothing_that_was_acknowledged_is_lost_with_the_power() {
    let seed = number("SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let states = number("POWER_LOSSES").unwrap_or(100_000);
    println!("SEED={seed} POWER_LOSSES={states}");
    let (drawn, next) = (AtomicU64::new(0), AtomicU64::new(seed << 20));
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        while drawn.load(Ordering::Relaxed) < states {
            let log = next.fetch_add(1, Ordering::Relaxed);
            drawn.fetch_add(runtime.block_on(live_and_lose_power(log)), Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    println!("{} states after a loss of power", drawn.into_inner());
}
