use std::path::Path;
use std::sync::Arc;

use record::{Envelope, Field, Kind, Outcome, Source, uuid_v7};
use tlog::Hash;
use world::{Disk, Fault, ManualClock, SeededEntropy, SimulatedDisk};

use super::*;
use crate::Archive;

mod delivery;
mod failpoints;
mod once;
mod power;

const DATA: &str = "data";

struct Bench {
    world: World,
    disk: SimulatedDisk,
    options: Options,
}

impl Bench {
    fn new() -> Self {
        Self::over(SimulatedDisk::default(), 1)
    }

    fn over(disk: SimulatedDisk, seed: u64) -> Self {
        let world = World {
            disk: Arc::new(disk.clone()),
            clock: Arc::new(ManualClock::at(1_763_890_442_000_000)),
            entropy: Arc::new(SeededEntropy::new(seed)),
        };
        Self { world, disk, options: Options { origin: Some("example.com/log".into()), ..Options::default() } }
    }

    fn open(&self) -> Opened {
        Ledger::open(&self.world, Path::new(DATA), &self.options).unwrap()
    }

    fn draft(&self, kind: Kind, call: u128) -> Draft {
        let time = Timestamp::from_micros(self.world.clock.now_micros());
        let source = Source {
            service: "bot".into(),
            environment: "test".into(),
            host: "here".into(),
            origin: "example.com/log".into(),
            producer: "gateway".into(),
        };
        let mut draft = Draft::new(uuid_v7(time, &self.world.entropy.bytes()), time, kind, Arc::new(source));
        draft.call_id = Some(Uuid::from_u128(call));
        draft.outcome = Some(if kind == Kind::InferenceRequest { Outcome::Allowed } else { Outcome::Completed });
        draft.content.push(Field {
            name: "gen_ai.input.messages".into(),
            media: "text/plain".into(),
            bytes: b"hello".to_vec(),
        });
        draft
    }

    /// The hash of every leaf of the stopped log; each leaf is one that can be read.
    fn leaf_hashes(&self) -> Result<Vec<Hash>, OpenError> {
        let mut hashes = Vec::new();
        let archive = Archive::open(&self.world, Path::new(DATA), |_| {})?;
        while (hashes.len() as u64) < archive.size() {
            for entry in archive.batch_with(hashes.len() as u64).unwrap().entries_from(hashes.len() as u64) {
                Envelope::parse(entry.leaf).unwrap();
                hashes.push(entry.hash);
            }
        }
        Ok(hashes)
    }

    /// Everything that must hold of a directory after anything that may have happened to it (I1 to I4).
    fn check(&self, acknowledged: &[Receipt]) {
        let hashes = self.leaf_hashes().unwrap();
        for receipt in acknowledged {
            let at = usize::try_from(receipt.index).unwrap();
            assert_eq!(hashes.get(at), Some(&receipt.leaf_hash), "record {at} was acknowledged");
        }
    }
}

fn wal_file(first: u64) -> std::path::PathBuf {
    crate::wal::segment_path(&Path::new(DATA).join("wal"), first)
}

async fn append(ledger: &Ledger, drafts: Vec<Draft>) -> Vec<Receipt> {
    ledger.append_all(drafts).await.unwrap().into_inner()
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_loss_of_power() {
    let bench = Bench::new();
    let mut acknowledged = Vec::new();
    for round in 0..4_u128 {
        let opened = bench.open();
        for n in 0..50 {
            let draft = bench.draft(Kind::InferenceRequest, round * 100 + n);
            acknowledged.push(*opened.ledger.append(draft).await.unwrap());
        }
        bench.disk.lose_power();
        opened.ledger.close();
        bench.disk.lose_power();
        bench.check(&acknowledged);
    }
    assert_eq!(acknowledged.len(), 200);
}

#[tokio::test]
async fn sequences_and_open_calls_go_on_after_a_restart() {
    let bench = Bench::new();
    let opened = bench.open();
    append(&opened.ledger, vec![bench.draft(Kind::InferenceRequest, 1), bench.draft(Kind::InferenceRequest, 2)]).await;
    append(&opened.ledger, vec![bench.draft(Kind::InferenceResponse, 1)]).await;
    opened.ledger.close();

    let opened = bench.open();
    assert_eq!(opened.open_calls, [(Uuid::from_u128(2), 1)]);
    append(&opened.ledger, vec![bench.draft(Kind::InferenceResponse, 2)]).await;
    let portion = opened.ledger.read(3).unwrap().unwrap();
    let entry = portion.entries().next().unwrap();
    assert_eq!(Envelope::parse(entry.leaf).unwrap().seq, 3);
    opened.ledger.close();
    assert!(bench.open().open_calls.is_empty());
}

#[tokio::test]
async fn on_a_full_disk_nothing_is_taken_and_with_space_it_goes_on() {
    let bench = Bench::new();
    let opened = bench.open();
    let before = append(&opened.ledger, vec![bench.draft(Kind::InferenceRequest, 1)]).await;
    for fault in ["write", "reserve"] {
        match fault {
            "write" => bench.disk.break_(Fault::AppendFull),
            _ => bench.disk.set_free_bytes(bench.options.reserve_bytes),
        }
        let refused = opened.ledger.append(bench.draft(Kind::InferenceRequest, 2)).await;
        assert_eq!(refused.err(), Some(AppendError::Full), "{fault}");
        bench.disk.mend(Fault::AppendFull);
        assert!(fault == "write" || opened.ledger.is_full());
        bench.disk.set_free_bytes(u64::MAX);
        assert!(!opened.ledger.is_full(), "with space again it is ready, before anybody has tried");
    }
    let after = append(&opened.ledger, vec![bench.draft(Kind::InferenceRequest, 3)]).await;
    assert_eq!(after[0].index, 1);
    opened.ledger.close();
    bench.check(&[before, after].concat());
}

#[tokio::test]
async fn a_failed_fsync_ends_the_log_and_acknowledges_nothing() {
    let bench = Bench::new();
    let opened = bench.open();
    let before = append(&opened.ledger, vec![bench.draft(Kind::InferenceRequest, 1)]).await;
    bench.disk.break_(Fault::Sync);
    let lost = opened.ledger.append(bench.draft(Kind::InferenceRequest, 2)).await;
    assert_eq!(lost.err(), Some(AppendError::Stopped));
    bench.disk.mend(Fault::Sync);
    let after = opened.ledger.append(bench.draft(Kind::InferenceRequest, 3)).await;
    assert_eq!(after.err(), Some(AppendError::Stopped));
    assert!(opened.ledger.stopped().await.contains("device"));
    opened.ledger.close();
    bench.disk.lose_power();
    bench.check(&before);
}

#[tokio::test]
async fn a_caller_that_writes_itself_keeps_the_same_promises() {
    let bench = Bench::new();
    let opened = bench.open();
    let mut acknowledged = append(&opened.ledger, vec![bench.draft(Kind::InferenceRequest, 1)]).await;
    let here = opened.ledger.append_here(bench.draft(Kind::InferenceResponse, 1)).await.unwrap();
    assert_eq!((here.index, opened.ledger.durable().size), (1, 2));
    acknowledged.push(*here);
    bench.disk.break_(Fault::Sync);
    let lost = opened.ledger.append_here(bench.draft(Kind::InferenceRequest, 2)).await;
    assert_eq!(lost.err(), Some(AppendError::Stopped));
    bench.disk.mend(Fault::Sync);
    let queued = opened.ledger.append(bench.draft(Kind::InferenceRequest, 3)).await;
    assert_eq!(queued.err(), Some(AppendError::Stopped), "the queue went on after a failed fsync");
    let again = opened.ledger.append_here(bench.draft(Kind::InferenceRequest, 4)).await;
    assert_eq!(again.err(), Some(AppendError::Stopped));
    assert_eq!(opened.ledger.durable().size, 2);
    opened.ledger.close();
    bench.disk.lose_power();
    bench.check(&acknowledged);

    let opened = bench.open();
    opened.ledger.close();
    let late = opened.ledger.append_here(bench.draft(Kind::InferenceRequest, 5)).await;
    assert_eq!(late.err(), Some(AppendError::Closed));
}

#[tokio::test]
async fn nobody_sees_a_record_before_it_is_durable() {
    let bench = Bench::new();
    let opened = bench.open();
    bench.disk.break_(Fault::Sync);
    opened.ledger.append(bench.draft(Kind::InferenceRequest, 1)).await.unwrap_err();
    assert_eq!(opened.ledger.durable().size, 0);
    assert!(opened.ledger.follow(0).try_next().unwrap().is_none());
}

#[tokio::test]
async fn a_torn_tail_is_cut_and_counted() {
    let bench = Bench::new();
    let opened = bench.open();
    let receipts = append(&opened.ledger, vec![bench.draft(Kind::InferenceRequest, 1)]).await;
    opened.ledger.close();
    bench.disk.tamper(&wal_file(0), |bytes| bytes.extend_from_slice(b"TFRM\0\0\xff\xff half a frame"));
    bench.check(&receipts);
    let opened = bench.open();
    assert_eq!(opened.torn.as_ref().map(|torn| torn.bytes), Some(21));
    let more = append(&opened.ledger, vec![bench.draft(Kind::InferenceRequest, 2)]).await;
    opened.ledger.close();
    bench.check(&[receipts, more].concat());
    assert!(bench.open().torn.is_none());
}

#[tokio::test]
async fn damage_before_the_tail_stops_the_start_and_is_named() {
    let bench = Bench::new();
    let opened = bench.open();
    for call in 0..3 {
        append(&opened.ledger, vec![bench.draft(Kind::InferenceRequest, call)]).await;
    }
    opened.ledger.close();
    bench.disk.tamper(&wal_file(0), |bytes| {
        let second = bytes.windows(4).enumerate().filter(|(_, w)| w == b"TFRM").nth(1).unwrap().0;
        bytes[second + 40] ^= 1;
    });
    let Err(OpenError::Damage(Damage::Bytes { file, offset, .. })) =
        Ledger::open(&bench.world, Path::new(DATA), &bench.options)
    else {
        panic!("damage was not noticed")
    };
    assert_eq!(file, wal_file(0));
    assert!(offset > 0);
}

#[tokio::test]
async fn a_lost_tail_that_was_published_stops_the_start() {
    let bench = Bench::new();
    let opened = bench.open();
    append(&opened.ledger, vec![bench.draft(Kind::InferenceRequest, 1)]).await;
    append(&opened.ledger, vec![bench.draft(Kind::InferenceRequest, 2)]).await;
    opened.ledger.close();
    let whole = bench.disk.read(&wal_file(0)).unwrap();
    bench.disk.tamper(&wal_file(0), |bytes| bytes.truncate(bytes.len() - 9));
    let cut = Ledger::open(&bench.world, Path::new(DATA), &bench.options);
    assert!(matches!(cut, Err(OpenError::Damage(Damage::Bytes { file, .. })) if file == wal_file(0)));
    let second = whole.windows(4).enumerate().filter(|(_, window)| window == b"TFRM").nth(1).unwrap().0;
    bench.disk.tamper(&wal_file(0), |bytes| bytes.truncate(second));
    let missing = Ledger::open(&bench.world, Path::new(DATA), &bench.options);
    assert!(matches!(missing, Err(OpenError::Damage(Damage::Missing { published: 2, found: 1, .. }))));
}

#[tokio::test]
async fn released_segments_go_and_their_records_stay_readable() {
    let mut bench = Bench::new();
    bench.options.wal_segment_bytes = 40_000;
    bench.options.recent_bytes_max = 1;
    let opened = bench.open();
    opened.ledger.hold("search", u64::MAX);
    let mut receipts = Vec::new();
    // Releasing a segment takes the thread that writes tiles, and another batch after it.
    let first_segment = || crate::wal::list_segments(&bench.disk, &Path::new(DATA).join("wal")).unwrap()[0];
    while receipts.len() < 2_000 || first_segment() == 0 {
        receipts
            .extend(append(&opened.ledger, vec![bench.draft(Kind::InferenceRequest, receipts.len() as u128)]).await);
    }
    let mut follower = opened.ledger.follow(0);
    let mut read = 0;
    while let Some(portion) = follower.try_next().unwrap() {
        for entry in portion.entries() {
            assert_eq!(entry.hash, receipts[read].leaf_hash);
            read += 1;
        }
    }
    assert_eq!(read, receipts.len());
    opened.ledger.close();
    bench.check(&receipts);

    // The tiles on disk go on from where the write-ahead log now begins.
    let opened = bench.open();
    receipts.extend(append(&opened.ledger, vec![bench.draft(Kind::InferenceRequest, receipts.len() as u128)]).await);
    opened.ledger.close();
    bench.check(&receipts);
    let key = opened.identity.signer.verifier().clone();
    let published = bench.disk.read(&Path::new(DATA).join("log/checkpoint")).unwrap();
    assert_eq!(Checkpoint::verify(&published, &key).unwrap().size, receipts.len() as u64);

    // What is left must not begin in a bundle that only the write-ahead log holds.
    let segments = crate::wal::list_segments(&bench.disk, &Path::new(DATA).join("wal")).unwrap();
    let (last, gone) = segments.split_last().unwrap();
    assert!(last.next_multiple_of(tlog::TILE_WIDTH) > receipts.len() as u64 && !gone.is_empty());
    gone.iter().for_each(|first| bench.disk.remove(&wal_file(*first)).unwrap());
    let missing = Ledger::open(&bench.world, Path::new(DATA), &bench.options);
    assert!(matches!(missing, Err(OpenError::Damage(Damage::Bytes { file, .. })) if file == wal_file(*last)));
}

#[tokio::test]
async fn a_follower_waits_and_ends_with_the_log() {
    let bench = Bench::new();
    let opened = bench.open();
    let mut follower = opened.ledger.follow(0);
    let waiting = tokio::spawn(async move {
        let first = follower.next().await.unwrap().map(|portion| portion.from());
        let second = follower.next().await.unwrap().map(|portion| portion.from());
        (first, second)
    });
    append(&opened.ledger, vec![bench.draft(Kind::InferenceRequest, 1)]).await;
    tokio::task::spawn_blocking(move || opened.ledger.close()).await.unwrap();
    assert_eq!(waiting.await.unwrap(), (Some(0), None));
}

/// What a rotation puts into the log.
fn rotation_draft(bench: &Bench) -> impl Fn(&crate::Rotation) -> Draft {
    |rotation| {
        let mut draft = bench.draft(Kind::Control, 0);
        draft.call_id = None;
        draft.content[0].bytes = rotation.last_checkpoint.as_bytes().to_vec();
        draft
    }
}

#[test]
fn a_rotated_key_signs_what_comes_and_the_former_one_what_was() {
    let bench = Bench::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let published = || bench.disk.read(&Path::new(DATA).join("log/checkpoint")).unwrap();
    let opened = bench.open();
    let first = opened.identity.signer.verifier().clone();
    let mut receipts = runtime.block_on(append(&opened.ledger, vec![bench.draft(Kind::InferenceRequest, 1)]));
    opened.ledger.close();
    for size in 2..5 {
        let before = Checkpoint::parse_unverified(&published()).unwrap();
        let (rotation, receipt) = crate::rotate_key(&bench.world, Path::new(DATA), rotation_draft(&bench)).unwrap();
        assert_ne!(rotation.former, rotation.next);
        assert_eq!(Checkpoint::verify(rotation.last_checkpoint.as_bytes(), &rotation.former), Ok(before));
        assert_eq!(Checkpoint::verify(&published(), &rotation.next).unwrap().size, size);
        receipts.push(receipt);
        bench.check(&receipts);
    }
    bench.disk.lose_power();
    bench.check(&receipts);
    let opened = bench.open();
    assert!(opened.identity.former.contains(&first) && opened.identity.former.len() == 3);
    receipts.extend(runtime.block_on(append(&opened.ledger, vec![bench.draft(Kind::InferenceRequest, 2)])));
    opened.ledger.close();
    assert_eq!(Checkpoint::verify(&published(), opened.identity.signer.verifier()).unwrap().size, 5);
    bench.check(&receipts);
}

#[test]
fn a_rotation_that_is_cut_short_is_gone_on_with() {
    let bench = Bench::new();
    let opened = bench.open();
    opened.ledger.close();
    let data = Path::new(DATA);
    let next = opened.identity.prepare_next(&bench.world, data).unwrap();
    // The key is in place, its public key and everything after that is not.
    let vkey = bench.disk.read(&data.join("identity/log.vkey")).unwrap();
    opened.identity.hand_over(&bench.world, data, &next).unwrap();
    bench.disk.replace_durably(&data.join("identity/log.vkey"), &vkey).unwrap();
    let secret = format!("{}\n", next.to_secret_text());
    bench.disk.replace_durably(&data.join("identity/next.key"), secret.as_bytes()).unwrap();
    Archive::open(&bench.world, data, |_| {}).unwrap();
    let opened = bench.open();
    opened.ledger.close();
    assert_eq!(opened.identity.signer.verifier(), next.verifier());
    assert_eq!(&Identity::published_key(&bench.world, data).unwrap(), next.verifier());
    assert!(bench.disk.read(&data.join("identity/next.key")).is_err());
    // Without a rotation under way, a former key in the place of the present one is damage.
    bench.disk.replace_durably(&data.join("identity/log.vkey"), &vkey).unwrap();
    let swapped = Ledger::open(&bench.world, data, &bench.options);
    assert!(matches!(swapped, Err(OpenError::Identity(IdentityError::Differs(_)))));
}

#[test]
fn another_origin_is_refused() {
    let mut bench = Bench::new();
    bench.open().ledger.close();
    bench.options.origin = Some("example.com/other".into());
    let other = Ledger::open(&bench.world, Path::new(DATA), &bench.options);
    assert!(matches!(other, Err(OpenError::Identity(IdentityError::Origin { .. }))));
}
