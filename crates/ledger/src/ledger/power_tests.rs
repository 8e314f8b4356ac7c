//! Loss of power at any moment: what was not synced is dropped, reordered, torn, and names come and go.
//!
//! `POWER_LOSSES` sets the number of states, `SEED` repeats a run.

use std::path::Path;
use std::sync::Arc;

use record::{Field, Kind, Outcome, Source, uuid_v7};
use tlog::Frontier;
use world::{Disk, Entropy, ManualClock, SeededEntropy, SimulatedDisk};

use super::*;
use crate::Archive;
use crate::recovery::checkpoint_path;

const DATA: &str = "data";
/// States that are drawn at one moment.
const STATES_OF_A_MOMENT: u64 = 20;
/// Batches in one life of a log.
const BATCHES: usize = 12;

fn world(disk: &SimulatedDisk, seed: u64) -> World {
    World {
        disk: Arc::new(disk.clone()),
        clock: Arc::new(ManualClock::at(1_763_890_442_000_000)),
        entropy: Arc::new(SeededEntropy::new(seed)),
    }
}

fn options() -> Options {
    // Segments end after a few batches, so that they are begun, made durable elsewhere and let go all the time.
    Options { origin: Some("example.com/log".into()), wal_segment_bytes: 6_000, ..Options::default() }
}

fn draft(world: &World) -> Draft {
    let time = Timestamp::from_micros(world.clock.now_micros());
    let source = Source {
        service: "bot".into(),
        environment: "test".into(),
        host: "here".into(),
        origin: "example.com/log".into(),
        producer: "gateway".into(),
    };
    let mut draft = Draft::new(uuid_v7(time, &world.entropy.bytes()), time, Kind::InferenceRequest, Arc::new(source));
    draft.outcome = Some(Outcome::Denied);
    let length = usize::from(world.entropy.bytes::<1>()[0]) * 4;
    draft.content.push(Field { name: "input".into(), media: "text/plain".into(), bytes: vec![b'x'; length] });
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
    async fn check(&self, left: &SimulatedDisk, seed: u64, case: &str) {
        let world = world(left, seed ^ 0xFACE);
        let opened = Ledger::open(&world, Path::new(DATA), &options());
        let opened = opened.unwrap_or_else(|error| panic!("{case}: {error:?}"));
        let next = opened.ledger.append(draft(&world)).await.unwrap_or_else(|error| panic!("{case}: {error}"));
        assert!(next.index >= self.receipts.len() as u64, "{case}: {next:?}");
        opened.ledger.close();
        let archive = Archive::open(&world, Path::new(DATA), |_| {});
        let archive = archive.unwrap_or_else(|error| panic!("{case}: {error:?}"));
        let (mut hashes, mut frontier) = (Vec::new(), Frontier::default());
        let mut published = self.checkpoints.iter().peekable();
        while (hashes.len() as u64) < archive.size() {
            let from = hashes.len() as u64;
            for entry in archive.batch_with(from).unwrap().entries_from(from) {
                frontier.push(entry.hash);
                hashes.push(entry.hash);
                while let Some(checkpoint) = published.next_if(|next| next.size == frontier.size()) {
                    assert_eq!(checkpoint.root, frontier.root(), "{case}: {checkpoint:?} was published");
                }
            }
        }
        assert_eq!(archive.size(), next.index + 1, "{case}");
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
            let world = world(&disk, log ^ (life << 10));
            let ledger = Ledger::open(&world, Path::new(DATA), &options()).unwrap().ledger;
            for batch in 0..BATCHES {
                let drafts = (0..=dice.bytes::<1>()[0] % 30).map(|_| draft(&world)).collect();
                told.receipts.extend(ledger.append_all(drafts).await.unwrap().into_inner());
                if dice.bytes::<1>()[0] % 4 == 0 {
                    told.note(&disk);
                    for nth in 0..STATES_OF_A_MOMENT {
                        let case = format!("log {log}, life {life}, batch {batch}, state {nth}");
                        told.check(&disk.after_power_loss(dice.as_ref()), log, &case).await;
                        drawn += 1;
                    }
                }
            }
            ledger.close();
        }
    }
    println!("{drawn} states after a loss of power");
}
