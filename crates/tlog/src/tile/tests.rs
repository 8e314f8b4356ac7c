use std::collections::HashMap;
use std::convert::Infallible;

use super::*;
use crate::leaf_hash;
use proptest::prelude::*;

fn check_path(path: TilePath, text: &str) {
    assert_eq!(path.to_string(), text);
    assert_eq!(TilePath::parse(text), Ok(path));
}

#[test]
fn paths_are_those_of_the_specification() {
    check_path(TilePath { level: 0, number: 1_234_067, width: 256 }, "tile/0/x001/x234/067");
    check_path(TilePath { level: 63, number: 0, width: 112 }, "tile/63/000.p/112");
    assert_eq!(EntriesPath { number: 273, width: 112 }.to_string(), "tile/entries/273.p/112");
}

#[test]
fn a_path_that_is_written_otherwise_is_refused() {
    for bad in [
        "tile/64/000",
        "tile/00/000",
        "tile/0/0",
        "tile/0/x000/001",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/../000",
        "tile/0/001/002",
        "tile/0/x001/x002",
        "tile/0/",
        "tile//000",
        "tile/0/000/",
        "/tile/0/000",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        "tile/-1/000",
    ] {
        assert!(TilePath::parse(bad).is_err(), "{bad:?} was taken");
    }
}

/// The layout that the specification gives for size 70,000.
#[test]
fn seventy_thousand_leaves_have_the_published_layout() {
    let last = |level| TilePath::of_level(level, 70_000).last().map(|path| path.to_string());
    assert_eq!(last(0).as_deref(), Some("tile/0/273.p/112"));
    assert_eq!(last(1).as_deref(), Some("tile/1/001.p/17"));
    assert_eq!(last(2).as_deref(), Some("tile/2/000.p/1"));
    assert_eq!(last(3), None);
    assert_eq!(EntriesPath::all(70_000).count(), 274);
}

/// Grows a log and keeps every tile that it writes, as a directory would.
fn grow(size: u64) -> (TileLevels, HashMap<TilePath, Vec<Hash>>, Frontier) {
    let (mut levels, mut tiles, mut frontier) = (TileLevels::default(), HashMap::new(), Frontier::default());
    for n in 0..size {
        let hash = leaf_hash(&n.to_be_bytes());
        frontier.push(hash);
        for tile in levels.push(hash) {
            tiles.insert(tile.path, tile.hashes);
        }
    }
    (levels, tiles, frontier)
}

struct TheirReader(HashMap<String, Vec<u8>>);

impl tlog_tiles::TileReader for TheirReader {
    fn height(&self) -> u8 {
        8
    }
    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        Ok(tiles.iter().map(|tile| self.0.get(&tile.path()).cloned().unwrap_or_default()).collect())
    }
    fn save_tiles(&self, _tiles: &[tlog_tiles::Tile], _data: &[Vec<u8>]) {}
}

/// A foreign oracle: `tlog_tiles` reads our tiles and authenticates a leaf of each log against our root.
#[test]
fn tlog_tiles_authenticates_our_tiles() {
    use tlog_tiles::HashReader as _;
    for size in [1, 255, 256, 257, 65_536, 70_000] {
        let (levels, mut tiles, frontier) = grow(size);
        tiles.extend(levels.partial().map(|(path, hashes)| (path, hashes.to_vec())));
        let files = tiles.iter().map(|(path, hashes)| {
            let bytes = hashes.iter().flat_map(|hash| hash.0).collect();
            let width = u32::from(path.width);
            (tlog_tiles::Tile::new(8, path.level, path.number, width, false).path(), bytes)
        });
        let reader = TheirReader(files.collect());
        let theirs = tlog_tiles::TileHashReader::new(size, tlog_tiles::Hash(frontier.root().0), &reader);
        let index = tlog_tiles::stored_hash_index(0, size / 2);
        let read = theirs.read_hashes(&[index]).unwrap();
        assert_eq!(read[0].0, leaf_hash(&(size / 2).to_be_bytes()).0, "size {size}");
    }
}

#[test]
fn growing_goes_on_from_the_tiles_on_disk() {
    for size in [0, 256, 65_536, 65_792, 70_144] {
        let (levels, tiles, _) = grow(size);
        let resumed = TileLevels::resume(size, |path| Ok::<_, Infallible>(tiles[&path].clone())).unwrap();
        let (mut a, mut b) = (levels, resumed);
        for n in 0..600_u64 {
            let hash = leaf_hash(&n.to_le_bytes());
            assert_eq!(a.push(hash), b.push(hash), "size {size}");
        }
    }
}

proptest! {
    #[test]
    fn every_path_reads_back(level in 0..64_u8, number in any::<u64>(), width in 1..=256_u16) {
        let path = TilePath { level, number, width };
        prop_assert_eq!(TilePath::parse(&path.to_string()), Ok(path));
    }

    #[test]
    fn bundles_read_back(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..99), 0..20)) {
        let mut bundle = Vec::new();
        for entry in &entries {
            push_entry(&mut bundle, entry).unwrap();
        }
        let read: Result<Vec<_>, _> = Bundle::new(&bundle).collect();
        prop_assert_eq!(read.unwrap(), entries);
    }

    #[test]
    fn a_cut_bundle_is_an_error_or_a_prefix(bytes in any::<Vec<u8>>()) {
        let _ = Bundle::new(&bytes).collect::<Vec<_>>();
    }
}
