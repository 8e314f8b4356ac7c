//! Loss of power at any moment: what was not synced is dropped, reordered, torn, and names come and go.
//!
//! `POWER_LOSSES` sets the number of states, `SEED` repeats a run.

use tlog::Frontier;
use world::Entropy;

use super::*;
use crate::recovery::checkpoint_path;

/// States that are drawn at one moment.
const STATES_OF_A_MOMENT: u64 = 20;
/// Batches in one life of a log.
const BATCHES: usize = 12;

fn bench(disk: SimulatedDisk, seed: u64) -> Bench {
    let mut bench = Bench::over(disk, seed);
    // Segments end after a few batches, so that they are begun, made durable elsewhere and let go all the time.
    bench.options.wal_segment_bytes = 6_000;
    bench
}

fn draft(bench: &Bench) -> Draft {
    let mut draft = bench.draft(Kind::InferenceRequest, 0);
    draft.outcome = Some(Outcome::Denied);
    let length = usize::from(bench.world.entropy.bytes::<1>()[0]) * 4;
    draft.content[0].bytes = vec![b'x'; length];
    draft
}

/// What must be found again.
#[derive(Default)]
struct Told {
    receipts: Vec<Receipt>,
    checkpoints: Vec<Checkpoint>,
}

impl Told {
    fn note(&mut self, disk: &SimulatedDisk) {
        let note = disk.read(&checkpoint_path(Path::new(DATA))).ok();
        let published = note.and_then(|note| Checkpoint::parse_unverified(&note).ok());
        self.checkpoints.extend(published.filter(|published| self.checkpoints.last() != Some(published)));
    }

    /// I1 to I4, after a start on what was left and one more record.
    async fn check(&self, left: SimulatedDisk, seed: u64, case: &str) {
        let bench = bench(left, seed ^ 0xFACE);
        let opened = Ledger::open(&bench.world, Path::new(DATA), &bench.options);
        let opened = opened.unwrap_or_else(|error| panic!("{case}: {error:?}"));
        let next = opened.ledger.append(draft(&bench)).await.unwrap_or_else(|error| panic!("{case}: {error}"));
        assert!(next.index >= self.receipts.len() as u64, "{case}: {next:?}");
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

#[tokio::test]
async fn nothing_that_was_acknowledged_is_lost_with_the_power() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let states = number("POWER_LOSSES").unwrap_or(2_000);
    println!("SEED={seed} POWER_LOSSES={states}");
    let (mut drawn, mut log) = (0, seed << 20);
    while drawn < states {
        log += 1;
        let dice: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(log));
        let disk = SimulatedDisk::default();
        let mut told = Told::default();
        for life in 0..2 {
            let bench = bench(disk.clone(), log ^ (life << 10));
            let ledger = bench.open().ledger;
            for batch in 0..BATCHES {
                let drafts = (0..=dice.bytes::<1>()[0] % 30).map(|_| draft(&bench)).collect();
                told.receipts.extend(ledger.append_all(drafts).await.unwrap().into_inner());
                if dice.bytes::<1>()[0] % 4 == 0 {
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
    }
    println!("{drawn} states after a loss of power");
}
