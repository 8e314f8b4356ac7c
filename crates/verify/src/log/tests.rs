use std::collections::BTreeMap;

use super::*;
use tlog::{SignerKey, push_entry};

#[derive(Clone)]
struct Files(BTreeMap<String, Vec<u8>>);

impl LogSource for Files {
    fn read(&self, path: &str, onto: &mut Vec<u8>) -> Result<(), String> {
        onto.extend_from_slice(self.0.get(path).ok_or("no such file")?);
        Ok(())
    }
}

fn key() -> SignerKey {
    SignerKey::from_seed("example.com/log", [5; 32]).unwrap()
}

fn log_of(size: u64) -> Files {
    let (mut levels, mut frontier, mut files) = (TileLevels::default(), Frontier::default(), BTreeMap::new());
    let bytes = |hashes: &[Hash]| hashes.iter().flat_map(|hash| hash.0).collect::<Vec<u8>>();
    for n in 0..size {
        for tile in levels.push(frontier.push_entry(&n.to_be_bytes())) {
            files.insert(tile.path.to_string(), bytes(&tile.hashes));
        }
    }
    files.extend(levels.partial().map(|(path, hashes)| (path.to_string(), bytes(hashes))));
    for path in EntriesPath::all(size) {
        let mut bundle = Vec::new();
        for n in (path.number * 256..).take(path.width.into()) {
            push_entry(&mut bundle, &n.to_be_bytes()).unwrap();
        }
        files.insert(path.to_string(), bundle);
    }
    let checkpoint = Checkpoint { origin: "example.com/log".into(), size, root: frontier.root() };
    files.insert("checkpoint".into(), checkpoint.sign(&key()).into_bytes());
    Files(files)
}

fn check(files: &Files) -> Result<CheckedLog, Vec<Finding>> {
    check_log(files, key().verifier(), 2, &|_, _| Ok(()), &|_| {})
}

#[test]
fn a_log_that_is_as_it_was_signed_passes_at_every_kind_of_size() {
    for size in [0, 1, 255, 256, 257, 66_000] {
        assert_eq!(check(&log_of(size)).unwrap().checkpoint.size, size);
    }
}

#[test]
fn a_changed_byte_in_any_file_is_found_and_the_file_named() {
    let whole = log_of(66_000);
    let kinds = ["checkpoint", "tile/0/000", "tile/0/257.p/208", "tile/1/000", "tile/1/001.p/1", "tile/2/000.p/1"];
    for name in kinds.into_iter().chain(["tile/entries/000", "tile/entries/128", "tile/entries/257.p/208"]) {
        let mut files = whole.clone();
        let bytes = files.0.get_mut(name).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let findings = check(&files).unwrap_err();
        // A changed entry shows in its bundle's tile; both are named.
        let said = findings[0].to_string();
        let number = name.rsplit("entries/").next().unwrap();
        assert!(said.contains(name) || said.contains(number) || name == "checkpoint", "{name}: {said}");
    }
}

#[test]
fn a_missing_file_is_found_and_named() {
    let whole = log_of(600);
    for name in whole.0.keys() {
        let mut files = whole.clone();
        files.0.remove(name);
        let said = check(&files).unwrap_err()[0].to_string();
        assert!(said.contains(name.as_str()), "{name}: {said}");
    }
}

#[test]
fn a_consistent_rewrite_is_caught_by_the_signature() {
    let mut files = log_of(600);
    let signed = files.0["checkpoint"].clone();
    files = log_of(601);
    files.0.insert("checkpoint".into(), signed);
    // The last bundle has one entry more than was signed for, and lies under another name.
    check(&files).unwrap_err();
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test writes what the checker reads")]
fn old_entries_are_read_packed_and_what_is_wrong_with_them_is_found() {
    use std::io::Write as _;
    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in &log_of(600).0 {
        let file = dir.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    }
    let first = dir.path().join("tile/entries/000");
    let pack = |bytes: &[u8]| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(bytes).unwrap();
        std::fs::write(first.with_extension("gz"), packed.finish().unwrap()).unwrap();
    };
    let whole = std::fs::read(&first).unwrap();
    std::fs::remove_file(&first).unwrap();
    pack(&whole);
    let check = || check_log(&LogDirectory(dir.path().into()), key().verifier(), 2, &|_, _| Ok(()), &|_| {});
    assert_eq!(check().unwrap().checkpoint.size, 600);

    let mut changed = whole;
    changed[7] ^= 1;
    pack(&changed);
    assert!(check().unwrap_err()[0].to_string().contains("000"));
    pack(&vec![0; 20 << 20]);
    assert!(check().unwrap_err()[0].to_string().contains("more bytes come out of it"), "{:?}", check());
    std::fs::write(first.with_extension("gz"), b"\x1f\x8b\x08cut").unwrap();
    assert!(check().unwrap_err()[0].to_string().starts_with("tile/entries/000 cannot be read"), "{:?}", check());
}
