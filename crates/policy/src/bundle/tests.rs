use super::*;
use crate::{Input, Point, Policy};
use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use std::io::Write;

/// An archive as OPA writes them.
pub(crate) fn bundle(files: &[(&str, &[u8])]) -> Vec<u8> {
    compress(&archive(files, tar::EntryType::Regular))
}

fn archive(files: &[(&str, &[u8])], kind: tar::EntryType) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        // Written as bytes, since the builder refuses the paths that are to be refused here.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

const RULES: &[u8] = b"package testimony.request\nallow := true";

fn load(files: &[(&str, &[u8])]) -> Result<Policy, LoadError> {
    Policy::from_bundle(&bundle(files), None, &Limits::patient())
}

#[test]
fn a_bundle_is_read_with_its_revision() {
    let manifest = br#"{"revision": "abc", "roots": ["testimony", "roles"], "rego_version": 1}"#;
    let files: [(&str, &[u8]); 4] = [
        ("/.manifest", manifest),
        ("/testimony/request.rego", RULES),
        ("roles/data.json", b"{\"a\": 1}"),
        ("./policy.wasm", b"x"),
    ];
    let policy = load(&files).unwrap();
    assert_eq!(policy.revision(), "abc");
    assert!(policy.decide(Point::Request, &Input::default()).allow);
}

#[test]
fn what_lies_outside_the_roots_is_refused() {
    let refusal = |path: &str, content: &[u8]| {
        let manifest: &[u8] = br#"{"roots": ["testimony/request", "roles"]}"#;
        load(&[(".manifest", manifest), ("a.rego", RULES), (path, content)]).unwrap_err().to_string()
    };
    assert!(refusal("b.rego", b"package testimony.admin\nallow := true").contains("outside the roots"));
    assert!(refusal("x/data.json", b"{\"a\": 1}").contains("outside what the bundle may define"));
    assert!(refusal("data.json", b"{\"rolesx\": {\"a\": 1}}").contains("outside what the bundle may define"));
    load(&[(".manifest", br#"{"roots": ["testimony/request"]}"#), ("a.rego", RULES)]).unwrap();
}

#[test]
fn only_regular_files_with_plain_paths_are_taken() {
    for path in ["../a.rego", "a/../../b.rego", "//a.rego", "a\\b.rego"] {
        assert!(load(&[(path, RULES)]).unwrap_err().to_string().contains("is not a path below"), "{path}");
    }
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Char] {
        let bytes = compress(&archive(&[("a.rego", b"")], kind));
        assert!(unpack(&bytes, &Limits::default()).unwrap_err().to_string().contains("not a regular file"), "{kind:?}");
    }
    let sparse = compress(&archive(&[("a.rego", b"")], tar::EntryType::GNUSparse));
    unpack(&sparse, &Limits::default()).unwrap_err();
}

#[test]
fn a_bomb_is_refused_at_its_limit() {
    let zeros = vec![b' '; 8 * 1024 * 1024];
    let error = unpack(&bundle(&[("a.rego", &zeros)]), &Limits::default()).unwrap_err();
    assert!(error.to_string().starts_with("the size of the unpacked bundle in bytes is over the limit"), "{error}");
    let limits = Limits { ratio_max: 1_000_000, ..Limits::default() };
    let error = unpack(&bundle(&[("a.rego", &zeros)]), &limits).unwrap_err();
    assert_eq!(error.to_string(), "the size of a.rego in bytes is over the limit of 1048576");
    let limits = Limits { files_max: 2, ..Limits::default() };
    assert!(unpack(&bundle(&[("a", b""), ("b", b""), ("c", b"")]), &limits).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_unpacking_panic(bytes in any::<Vec<u8>>(), at in 0_usize..2000, value in any::<u8>()) {
        let _ = unpack(&bytes, &Limits::default());
        let _ = unpack(&compress(&bytes), &Limits::default());
        let mut damaged = archive(&[("a.rego", RULES), ("data.json", b"{}")], tar::EntryType::Regular);
        damaged[at] = value;
        let _ = unpack(&compress(&damaged), &Limits::default());
    }
}
