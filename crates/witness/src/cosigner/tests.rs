use std::collections::BTreeMap;

use tlog::{Frontier, FullTile, SignerKey, TileLevels, TilePath, prove_consistency};
use world::{Fault, ManualClock, SeededEntropy, SimulatedDisk};

use super::*;

const ORIGIN: &str = "audit.example/edge-7";

fn log_key() -> SignerKey {
    SignerKey::from_seed(ORIGIN, [5; 32]).unwrap()
}

fn world(disk: &SimulatedDisk) -> World {
    World {
        disk: Arc::new(disk.clone()),
        clock: Arc::new(ManualClock::at(1_780_000_000_000_000)),
        entropy: Arc::new(SeededEntropy::new(1)),
    }
}

fn witness(disk: &SimulatedDisk) -> Cosigner {
    let logs = vec![log_key().verifier().clone()];
    Cosigner::open_or_create(&world(disk), Path::new("data"), "witness.example/w", logs).unwrap()
}

/// A log of numbers; `salt` makes other histories.
struct Log {
    levels: TileLevels,
    full: BTreeMap<(u8, u64), Vec<Hash>>,
    frontier: Frontier,
}

impl Log {
    fn of(size: u64, salt: &str) -> Self {
        let mut log = Self { levels: TileLevels::default(), full: BTreeMap::new(), frontier: Frontier::default() };
        for n in 0..size {
            for FullTile { path, hashes } in log.levels.push(log.frontier.push_entry(format!("{salt}{n}").as_bytes())) {
                log.full.insert((path.level, path.number), hashes);
            }
        }
        log
    }

    fn tile(&self, path: TilePath) -> Result<Vec<u8>, io::Error> {
        let partial = || self.levels.partial().find(|(at, _)| (at.level, at.number) == (path.level, path.number));
        let full = self.full.get(&(path.level, path.number)).map(Vec::as_slice);
        let hashes = full.or_else(|| partial().map(|(_, hashes)| hashes)).unwrap_or_default();
        Ok(hashes.iter().take(path.width.into()).flat_map(|hash| hash.0).collect())
    }

    fn checkpoint(&self) -> Checkpoint {
        Checkpoint { origin: ORIGIN.into(), size: self.frontier.size(), root: self.frontier.root() }
    }

    fn request(&self, old: u64) -> AddCheckpoint {
        let proof = prove_consistency(old, self.frontier.size(), |path| self.tile(path)).unwrap_or_default();
        AddCheckpoint { old, proof, note: self.checkpoint().sign(&log_key()) }
    }
}

fn ask(witness: &Cosigner, request: &AddCheckpoint) -> Result<String, Refusal> {
    witness.add_checkpoint(request.to_string().as_bytes())
}

#[test]
fn a_log_that_grows_is_cosigned() {
    let disk = SimulatedDisk::default();
    let mut latest = 0;
    for size in [0, 1, 5, 5, 256, 300] {
        // Each time another process: what was seen is remembered on disk.
        let witness = witness(&disk);
        let request = Log::of(size, "").request(latest);
        let cosigned = request.note.clone() + &ask(&witness, &request).unwrap();
        assert_eq!(Note::parse(cosigned.as_bytes()).unwrap().cosigned(witness.key()), Ok(1_780_000_000));
        latest = size;
    }
}

#[test]
fn every_refusal_of_the_specification() {
    let witness = witness(&SimulatedDisk::default());
    let (small, grown, other) = (Log::of(5, ""), Log::of(9, ""), Log::of(9, "x"));
    ask(&witness, &small.request(0)).unwrap();
    assert!(matches!(witness.add_checkpoint(b"hello"), Err(Refusal::Malformed(_))));
    assert!(matches!(
        ask(&witness, &AddCheckpoint { old: 10, ..grown.request(5) }),
        Err(Refusal::OldSize { old: 10, size: 9 })
    ));
    assert!(matches!(ask(&witness, &grown.request(3)), Err(Refusal::Conflict { latest: 5 })));
    assert!(matches!(ask(&witness, &grown.request(0)), Err(Refusal::Conflict { latest: 5 })));
    assert!(matches!(ask(&witness, &AddCheckpoint { proof: Vec::new(), ..grown.request(5) }), Err(Refusal::Proof(_))));
    assert!(matches!(ask(&witness, &other.request(5)), Err(Refusal::Proof(_))));
    assert!(matches!(ask(&witness, &Log::of(5, "x").request(5)), Err(Refusal::Proof(_))));
    let stranger = SignerKey::from_seed(ORIGIN, [6; 32]).unwrap();
    let forged = AddCheckpoint { note: grown.checkpoint().sign(&stranger), ..grown.request(5) };
    assert!(matches!(ask(&witness, &forged), Err(Refusal::Signature(_))));
    let unknown = SignerKey::from_seed("other.example", [5; 32]).unwrap();
    let foreign = Checkpoint { origin: "other.example".into(), ..grown.checkpoint() }.sign(&unknown);
    assert!(matches!(ask(&witness, &AddCheckpoint { note: foreign, ..grown.request(5) }), Err(Refusal::UnknownLog(_))));
    // After all that the log can still go on.
    ask(&witness, &grown.request(5)).unwrap();
    assert!(witness.latest(ORIGIN).unwrap().unwrap().starts_with(&format!("{ORIGIN}\n9\n")));
}

#[test]
fn nothing_is_cosigned_that_could_not_be_stored() {
    let disk = SimulatedDisk::default();
    let witness = witness(&disk);
    ask(&witness, &Log::of(5, "").request(0)).unwrap();
    disk.break_(Fault::Replace);
    assert!(matches!(ask(&witness, &Log::of(9, "").request(5)), Err(Refusal::State(_))));
    assert!(matches!(ask(&witness, &Log::of(9, "").request(9)), Err(Refusal::Conflict { latest: 5 })));
}
