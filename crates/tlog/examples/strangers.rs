//! A published log checked with crates that are not ours, for `tests/interop`: `strangers DIR VKEY`.
//!
//! `signed_note` verifies the checkpoint's signature, `tlog_tiles` reads it, names the tiles and hashes them, and `ct-merkle`
//! makes the tree of all entries once more.

#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr, reason = "a program for tests")]

use std::path::Path;
use std::process::ExitCode;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{Checkpoint, Tile, record_hash};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, vkey] = arguments.as_slice() else {
        eprintln!("usage: strangers DIR VKEY");
        return ExitCode::from(2);
    };
    match check(Path::new(dir), vkey) {
        Ok(size) => {
            println!("signed_note, tlog_tiles, ct-merkle: good: {size} records");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("rejected: {why}");
            ExitCode::FAILURE
        }
    }
}

fn check(dir: &Path, vkey: &str) -> Result<u64, String> {
    let checkpoint = verified_checkpoint(dir, vkey)?;
    let (size, mut tree, mut hashes) =
        (checkpoint.size(), MemoryBackedTree::<sha2::Sha256, Vec<u8>>::new(), Vec::new());
    for number in 0..size.div_ceil(256) {
        for entry in entries(&read(dir, &path("entries", number, size))?)? {
            hashes.push(record_hash(&entry).0);
            tree.push(entry);
        }
    }
    if hashes.len() as u64 != size {
        return Err(format!("{} entries where {size} belong", hashes.len()));
    }
    check_tiles(dir, hashes)?;
    if tree.root().as_bytes().as_slice() != checkpoint.hash().0 {
        return Err("ct-merkle comes to another root".into());
    }
    Ok(size)
}

fn verified_checkpoint(dir: &Path, vkey: &str) -> Result<Checkpoint, String> {
    let bytes = read(dir, "checkpoint")?;
    let note = Note::from_bytes(&bytes).map_err(|error| format!("checkpoint: {error:?}"))?;
    let verifier = StandardVerifier::new(vkey).map_err(|error| format!("vkey: {error:?}"))?;
    let verified = note.verify(&VerifierList::new(vec![Box::new(verifier)]));
    verified.map_err(|error| format!("checkpoint: {error:?}"))?;
    Checkpoint::from_bytes(note.text()).map_err(|error| format!("checkpoint: {error:?}"))
}

/// Every tile of every level, from the hashes of the entries up.
fn check_tiles(dir: &Path, entries: Vec<[u8; 32]>) -> Result<(), String> {
    let (mut level, mut hashes) = (0, entries);
    while !hashes.is_empty() {
        for (number, tile) in (0..).zip(hashes.chunks(256)) {
            let path = path(&level.to_string(), number, hashes.len() as u64);
            if read(dir, &path)? != tile.concat() {
                return Err(format!("{path} has other hashes"));
            }
        }
        hashes = hashes.chunks_exact(256).map(|tile| Tile::subtree_hash(&tile.concat()).0).collect();
        level += 1;
    }
    Ok(())
}

fn path(kind: &str, number: u64, count: u64) -> String {
    let width = (count - number * 256).min(256);
    let tile = Tile::new(8, 0, number, u32::try_from(width).unwrap_or(256), false);
    // Theirs has the tile's height and level in it, as the Go checksum database does.
    tile.path().replacen("tile/8/0/", &format!("tile/{kind}/"), 1)
}

fn entries(bundle: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let (mut rest, mut entries) = (bundle, Vec::new());
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let entry = after.split_at_checked(usize::from(u16::from_be_bytes(*length)));
        let (entry, after) = entry.ok_or("a bundle is cut short")?;
        entries.push(entry.to_vec());
        rest = after;
    }
    if rest.is_empty() { Ok(entries) } else { Err("a bundle is cut short".into()) }
}

fn read(dir: &Path, path: &str) -> Result<Vec<u8>, String> {
    std::fs::read(dir.join(path)).map_err(|error| format!("{path}: {error}"))
}
