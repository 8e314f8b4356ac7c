use super::*;
use std::path::Path;
use std::sync::Arc;

use clap::Parser;
use ledger::{Ledger, Options};
use record::{Actor, Draft, Field, Kind, Source, Timestamp, uuid_v7};
use world::World;

use crate::client::{Target, runtime};
use crate::output::Answer;

/// More than one bundle, so that there is a tile above them.
const RECORDS: u32 = 600;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    trust: Trust,
}

/// A stopped log, and what it answers.
struct Bench {
    dir: tempfile::TempDir,
    runtime: Runtime,
    rows: Vec<Value>,
}

fn draft(world: &World, origin: &str, nth: u32) -> Draft {
    let time = Timestamp::from_micros(1_763_890_442_000_000 + i64::from(nth));
    let text = |text: &str| text.to_owned();
    let source = Source {
        service: text("shop"),
        environment: text("staging"),
        host: text("here"),
        origin: text(origin),
        producer: text("test"),
    };
    let mut draft = Draft::new(uuid_v7(time, &world.entropy.bytes()), time, Kind::ToolCall, Arc::new(source));
    draft.actor = Some(Actor { kind: text("user"), id: Some(format!("user-{}", nth % 7)), ..Actor::default() });
    draft.attributes.set("testimony.duration_ms", f64::from(nth) / 2.0);
    draft.content.push(Field {
        name: text("gen_ai.tool.call.result"),
        media: text("text/plain"),
        bytes: b"ok".to_vec(),
    });
    draft
}

impl Bench {
    fn new() -> Self {
        let (dir, runtime, world) = (tempfile::tempdir().unwrap(), runtime().unwrap(), World::real());
        let ledger = Ledger::open(&world, &dir.path().join("data"), &Options::default()).unwrap().ledger;
        let drafts = (0..RECORDS).map(|nth| draft(&world, ledger.origin(), nth)).collect();
        runtime.block_on(ledger.append_all(drafts)).unwrap();
        ledger.close();
        let mut bench = Self { dir, runtime, rows: Vec::new() };
        let (client, _) = bench.open(&[]);
        let sent = bench.runtime.block_on(client.get("/api/v1/search?limit=10000")).unwrap().unwrap();
        bench.rows = serde_json::from_slice::<Answer>(&sent).unwrap().rows;
        assert_eq!(bench.rows.len(), usize::try_from(RECORDS).unwrap());
        bench
    }

    fn data(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }

    fn open(&self, more: &[&str]) -> (Client, Trust) {
        let data = self.data();
        let given = ["test", "--data", data.to_str().unwrap()];
        let command = Command::try_parse_from(given.iter().chain(more)).unwrap();
        (command.target.open().unwrap(), command.trust)
    }

    fn prove(&self, rows: &[Value], more: &[&str]) -> Result<Proven, Findings> {
        let (client, trust) = self.open(more);
        prove(&Asked { client: &client, runtime: &self.runtime }, &trust, rows).unwrap()
    }

    fn wrong(&self, rows: &[Value], more: &[&str]) -> String {
        self.prove(rows, more).unwrap_err().join("\n")
    }

    /// The rows with one of them changed.
    fn with(&self, nth: usize, name: &str, value: impl Into<Value>) -> Vec<Value> {
        let mut rows = self.rows.clone();
        rows[nth][name] = value.into();
        rows
    }
}

#[test]
fn every_row_of_an_answer_is_proven_against_one_checkpoint() {
    let bench = Bench::new();
    let proven = bench.prove(&bench.rows, &[]).unwrap();
    assert_eq!(proven.proofs.len(), bench.rows.len());
    let root = proven.vouched.checkpoint.root;
    for (proof, row) in proven.proofs.iter().zip(&bench.rows) {
        assert_eq!(row["log_index"], proof.index);
        check_inclusion(proof.index, proof.size, proof.leaf_hash, &proof.hashes, root).unwrap();
        assert_eq!(proof.to_json()["hashes"].as_array().unwrap().len(), proof.hashes.len());
    }
    let said = proven.verdict();
    assert!(said.starts_with(&format!("verified against checkpoint {RECORDS}, signed by testimony.local/")), "{said}");
    assert!(said.ends_with("cosigned by no witness that is known here"), "{said}");
    assert!(proven.reservations().contains("the key is that of the data directory"));
    let key = bench.data().join("identity/log.vkey");
    let named = bench.prove(&bench.rows[..1], &["--key", key.to_str().unwrap()]).unwrap();
    assert_eq!(named.believed, Believed::Said);
    assert!(!named.reservations().contains("key") && named.reservations().contains("--disclose"));
}

#[test]
fn a_row_that_was_changed_is_found_by_its_record() {
    let bench = Bench::new();
    let named =
        |nth: usize| format!("record {} ({})", bench.rows[nth]["log_index"], bench.rows[nth]["id"].as_str().unwrap());
    let wrong = |nth: usize, name: &str, value: Value| bench.wrong(&bench.with(nth, name, value), &[]);
    assert_eq!(
        wrong(7, "actor_id", "mallory".into()),
        format!("{}: the answer says actor_id \"mallory\", its leaf says {}", named(7), bench.rows[7]["actor_id"])
    );
    assert!(wrong(300, "result", "no, never".into()).contains("9 bytes of result, its leaf commits to 2"));
    // A record under another index, and under one that there is not.
    let other = &bench.rows[9]["log_index"];
    assert!(wrong(8, "log_index", other.clone()).contains("the answer says id"));
    let (client, trust) = bench.open(&[]);
    let beyond = bench.with(8, "log_index", RECORDS);
    let said = prove(&Asked { client: &client, runtime: &bench.runtime }, &trust, &beyond).unwrap_err().to_string();
    assert!(said.contains("no published checkpoint covers record 600 yet, only the first 600"), "{said}");
    assert!(bench.wrong(&[serde_json::json!({"id": "x"})], &[]).contains("where in the log"));
    let all: Vec<Value> = bench
        .rows
        .iter()
        .cloned()
        .map(|mut row| {
            row["kind"] = "auth".into();
            row
        })
        .collect();
    assert_eq!(bench.prove(&all, &[]).unwrap_err().len(), all.len());
}

/// Changes a byte of a file of the published log, where some text stands.
#[expect(clippy::disallowed_methods, reason = "a forger does not go through the log")]
fn tamper(data: &Path, path: &str, text: &[u8]) {
    let file = data.join("log").join(path);
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(text.len()).position(|window| window == text).unwrap();
    bytes[at + 1] ^= 1;
    std::fs::write(&file, bytes).unwrap();
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a forger does not go through the log")]
fn a_leaf_a_tile_or_a_signature_that_was_changed_is_found() {
    let bench = Bench::new();
    let first = bench.rows.iter().position(|row| row["log_index"] == 3).unwrap();
    let of_first = &bench.rows[first..=first];
    bench.prove(of_first, &[]).unwrap();
    let signed = std::fs::read(bench.data().join("log/checkpoint")).unwrap();
    // Opened before: a directory with such a checkpoint is not.
    let (client, trust) = bench.open(&[]);
    tamper(&bench.data(), "checkpoint", b"\n600\n");
    let said = prove(&Asked { client: &client, runtime: &bench.runtime }, &trust, of_first).unwrap().unwrap_err();
    assert!(said[0].contains("does not fit"), "{said:?}");
    std::fs::write(bench.data().join("log/checkpoint"), signed).unwrap();
    let level_one = std::fs::read(bench.data().join("log/tile/1/000.p/2")).unwrap();
    tamper(&bench.data(), "tile/1/000.p/2", &level_one[32..]);
    assert!(bench.wrong(of_first, &[]).contains("the proof leads to the root"));
    std::fs::write(bench.data().join("log/tile/1/000.p/2"), level_one).unwrap();
    // The leaf's own tile, which would still prove it, is not asked.
    tamper(&bench.data(), "tile/entries/000", b"user-3");
    let said = bench.wrong(of_first, &[]);
    assert!(said.starts_with("record 3 (") && said.contains("the proof leads to the root"), "{said}");
    let elsewhere = bench.rows.iter().find(|row| row["log_index"] == 599).unwrap();
    bench.prove(std::slice::from_ref(elsewhere), &[]).unwrap();
    let key = bench.data().join("identity/log.vkey");
    let other = std::fs::read_to_string(key).unwrap().replace("testimony.local/", "testimony.local/x");
    let (client, trust) = bench.open(&["--key", other.trim()]);
    prove(&Asked { client: &client, runtime: &bench.runtime }, &trust, of_first).unwrap_err();
}
