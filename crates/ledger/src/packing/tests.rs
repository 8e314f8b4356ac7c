use std::path::Path;

use tlog::push_entry;
use world::{Disk as _, SeededEntropy, SimulatedDisk};

use super::*;
use crate::follow::DurablePoint;

const DATA: &str = "data";
const BUNDLES: u64 = 12;
const AT: PackAt = PackAt { plain: 3, group: 4 };

fn bytes(number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    (0..TILE_WIDTH).for_each(|n| push_entry(&mut bytes, format!("entry {n} of {number}").as_bytes()).unwrap());
    bytes
}

fn log() -> PathBuf {
    Path::new(DATA).join("log")
}

/// A log of full bundles.
fn disk() -> SimulatedDisk {
    let disk = SimulatedDisk::default();
    (0..BUNDLES).for_each(|number| disk.replace_durably(&bundle(&log(), number), &bytes(number)).unwrap());
    disk
}

fn packer_of(disk: &SimulatedDisk) -> Packer {
    let point = DurablePoint { size: BUNDLES * TILE_WIDTH, checkpoint: "".into() };
    let shared = Arc::new(Shared::new(Arc::new(disk.clone()), DATA.into(), point, 1));
    shared.hold(tiles::NAME, BUNDLES * TILE_WIDTH);
    Packer::resume(shared, AT)
}

fn plain(disk: &SimulatedDisk) -> Vec<u64> {
    (0..BUNDLES).filter(|number| disk.length(&bundle(&log(), *number)).is_ok()).collect()
}

#[track_caller]
fn check_all_are_there(disk: &SimulatedDisk, case: &str) {
    for number in 0..BUNDLES {
        let read = read(disk, &bundle(&log(), number));
        assert_eq!(read.as_ref().ok(), Some(&bytes(number)), "{case}: bundle {number}: {read:?}");
    }
}

#[tokio::test]
async fn old_bundles_are_packed_and_new_ones_stay_plain() {
    let disk = disk();
    let mut packer = packer_of(&disk);
    packer.pack_due().await.unwrap();
    assert_eq!(plain(&disk), [8, 9, 10, 11]);
    check_all_are_there(&disk, "packed");
    // Nothing more is due.
    packer.pack_due().await.unwrap();
    assert_eq!((plain(&disk).len(), packer_of(&disk).next), (4, 8));
}

#[tokio::test]
async fn a_bundle_that_is_not_there_is_not_found_and_a_bomb_is_not_unpacked() {
    let disk = disk();
    let file = bundle(&log(), 99);
    assert_eq!(read(&disk, &file).unwrap_err().kind(), io::ErrorKind::NotFound);
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    let zeros = vec![0; 1 << 20];
    (0..20).for_each(|_| packed.write_all(&zeros).unwrap());
    disk.replace(&packed_path(&file), &packed.finish().unwrap()).unwrap();
    assert_eq!(read(&disk, &file).unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn a_crash_at_any_step_loses_no_entry_and_packing_goes_on_after_it() {
    for moment in 0.. {
        let disk = disk();
        let mut packer = packer_of(&disk);
        let mut passed = 0;
        disk.kill_when(move |_, _| {
            passed += 1;
            passed > moment
        });
        let _ = packer.pack_due().await;
        let is_over = !disk.is_dead();
        let lost = (0..3).map(|seed| disk.after_power_loss(&SeededEntropy::new(moment << 8 | seed)));
        for left in std::iter::once(disk.after_kill()).chain(lost) {
            check_all_are_there(&left, &format!("moment {moment}"));
            packer_of(&left).pack_due().await.unwrap();
            check_all_are_there(&left, &format!("moment {moment}, gone on"));
        }
        let left = disk.after_kill();
        packer_of(&left).pack_due().await.unwrap();
        assert!((plain(&left).len() as u64) < AT.plain + AT.group, "moment {moment}: {:?} are plain", plain(&left));
        if is_over {
            assert!(moment > 30, "{moment}");
            return;
        }
    }
}
