//! The rules of the house that a compiler does not know.

#![allow(missing_docs, reason = "a test has no callers")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test stops at what it did not expect"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// A crate may use only crates above it.
const ORDER: [&str; 21] = [
    "record",
    "tlog",
    "verify",
    "world",
    "dial",
    "access",
    "ledger",
    "witness",
    "forward",
    "ingest",
    "metrics",
    "postgres",
    "search",
    "guardrails",
    "judges",
    "policy",
    "control",
    "gateway",
    "server",
    "scripted",
    "testimony",
];
const LINES_MAX: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn data_flows_one_way() {
    for (at, name) in ORDER.iter().enumerate() {
        let manifest = fs::read_to_string(root().join("crates").join(name).join("Cargo.toml")).unwrap();
        let dependencies = manifest.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
        for other in &ORDER[at..] {
            assert!(!dependencies.contains(&format!("\n{other}.workspace")), "{name} may not use {other}");
        }
    }
    let rooms = fs::read_dir(root().join("crates")).unwrap().count();
    assert_eq!(rooms, ORDER.len(), "a crate is missing from the order");
}

#[test]
fn the_map_names_every_crate_and_every_place_it_points_to_exists() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for name in ORDER {
        assert!(map.contains(&format!("| `{name}` |")), "ARCHITECTURE.md does not tell of {name}");
    }
    let pointers: Vec<&str> = map.split('`').filter(|text| text.contains(".rs::")).collect();
    assert!(pointers.len() >= 8);
    for pointer in pointers {
        let (file, function) = pointer.split_once("::").unwrap();
        let text =
            fs::read_to_string(root().join("crates").join(file)).unwrap_or_else(|_| panic!("{file} is not there"));
        assert!(text.contains(&format!("fn {function}")), "{pointer} is not there");
    }
}

#[test]
fn no_file_outgrows_its_room() {
    let mut files = Vec::new();
    rust_files(&root().join("crates"), &mut files);
    rust_files(&root().join("bench"), &mut files);
    assert!(files.len() > 50);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let lines = if file.ends_with("tests.rs") { 0 } else { code.lines().count() };
        assert!(lines <= LINES_MAX, "{} has {lines} lines without its tests", file.display());
    }
}
