//! `kill -9` under load, three hundred times, thirty times each of ten logs: everything that was acknowledged is there afterwards, every call has an outcome,
//! every checkpoint that was ever published is a prefix of the tree, and the log verifies.
//!
//! The seed is printed; `SEED=… cargo test -p testimony --test crash` repeats a run. `ROUNDS` sets the number of kills.

#![allow(missing_docs, reason = "a test has no callers")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test stops at what it did not expect"
)]

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ledger::Archive;
use serde_json::{Value, json};
use tlog::{Checkpoint, Frontier, Hash};
use world::{Entropy, SeededEntropy, World};

const WORKERS: usize = 8;
/// A log that is killed again and again grows, and so does what each start and check has to read.
const KILLS_OF_ONE_LOG: u64 = 30;
const READY_WITHIN: Duration = Duration::from_secs(30);

struct Process {
    child: Child,
    _output: BufReader<ChildStdout>,
    said: String,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the binary and reads what it says until a line contains `mark`.
fn start(arguments: &[&str], mark: &str) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_testimony"));
    let mut child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    let begun = Instant::now();
    while !said.lines().any(|line| line.contains(mark)) {
        assert!(begun.elapsed() < READY_WITHIN && output.read_line(&mut said).unwrap() > 0, "it did not start: {said}");
    }
    Process { child, _output: output, said }
}

fn address(said: &str, mark: &str) -> String {
    let (_, rest) = said.split_once(mark).unwrap();
    rest.split(['/', ' ', '\n']).next().unwrap().to_owned()
}

/// What a caller was told of a call.
#[derive(Debug, Clone)]
struct Acknowledged {
    call: String,
    index: u64,
    leaf: Hash,
}

/// One request and its whole answer, or nothing when the connection broke.
fn exchange(address: &str, method: &str, path: &str, body: &str) -> Option<(String, Vec<u8>)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let at = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..at]).to_ascii_lowercase();
    let body = answer.split_off(at + 4);
    // An answer is whole when its length is right, or its last chunk has come.
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    let whole = length.map_or(body.ends_with(b"0\r\n\r\n"), |length| length == body.len());
    whole.then_some((String::from_utf8_lossy(&answer).into_owned(), body))
}

fn call(address: &str, number: usize) -> Option<Acknowledged> {
    let body = json!({"model": "scripted-demo", "stream": number.is_multiple_of(2),
        "messages": [{"role": "user", "content": format!("call {number} [[words 20]]")}]});
    let (head, _) = exchange(address, "POST", "/v1/chat/completions", &body.to_string())?;
    if !head.starts_with("HTTP/1.1 200") {
        return None;
    }
    let header = |name: &str| head.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
    let receipt = header("testimony-receipt:")?;
    let (_, index) = receipt.split_once("index=")?;
    let (index, leaf) = index.split_once(", leaf=:")?;
    Some(Acknowledged {
        call: header("testimony-call:")?,
        index: index.parse().ok()?,
        leaf: Hash::parse(leaf.trim_end_matches(':'))?,
    })
}

fn sql(api: &str, query: &str) -> Vec<Value> {
    let body = json!({"query": query, "limit": 100_000}).to_string();
    let (head, body) = exchange(api, "POST", "/api/v1/sql?format=jsonl", &body).unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}{}", String::from_utf8_lossy(&body));
    // Taken apart loosely: a body may come in chunks, whose sizes are lines that are no JSON objects.
    String::from_utf8_lossy(&body)
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(Value::is_object)
        .collect()
}

/// Loads the server until it is killed; gives what was acknowledged and a checkpoint that was published meanwhile.
fn load_and_kill(mut server: Process, after: Duration, first: usize) -> (Vec<Acknowledged>, Option<Checkpoint>) {
    let models = address(&server.said, "models     http://");
    let api = address(&server.said, "search     http://");
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let workers: Vec<_> = (0..WORKERS)
        .map(|worker| {
            let (acknowledged, models) = (acknowledged.clone(), models.clone());
            std::thread::spawn(move || {
                let mut number = first + worker;
                while let Some(receipt) = call(&models, number) {
                    acknowledged.lock().unwrap().push(receipt);
                    number += WORKERS;
                }
            })
        })
        .collect();
    std::thread::sleep(after);
    let note = exchange(&api, "GET", "/log/checkpoint", "").map(|(_, body)| body);
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    let checkpoint = note.and_then(|note| Checkpoint::parse_unverified(&note).ok());
    (Arc::try_unwrap(acknowledged).unwrap().into_inner().unwrap(), checkpoint)
}

fn serve(data: &Path, model: &str) -> Process {
    let data = data.to_str().unwrap();
    start(
        &["serve", "--data", data, "--upstream", model, "--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0"],
        "Try:",
    )
}

/// The hash of every leaf, and the root of the tree at each size that is asked for.
fn tree(data: &Path, sizes: &[u64]) -> (Vec<Hash>, HashMap<u64, Hash>) {
    let archive = Archive::open(&World::real(), data, |_| {}).unwrap();
    let (mut hashes, mut roots, mut frontier) = (Vec::new(), HashMap::new(), Frontier::default());
    while (hashes.len() as u64) < archive.size() {
        let from = hashes.len() as u64;
        for entry in archive.batch_with(from).unwrap().entries_from(from) {
            frontier.push(entry.hash);
            hashes.push(entry.hash);
            if sizes.contains(&frontier.size()) {
                roots.insert(frontier.size(), frontier.root());
            }
        }
    }
    (hashes, roots)
}

#[test]
fn nothing_that_was_acknowledged_is_lost_when_the_process_is_killed() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let rounds = number("ROUNDS").unwrap_or(300);
    println!("SEED={seed} ROUNDS={rounds}");
    let dice: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(seed));
    let model = start(&["scripted-model"], "http://");
    let address = model.said.trim();

    let mut rest = rounds;
    let mut total = Survived::default();
    while rest > 0 {
        let kills = rest.min(KILLS_OF_ONE_LOG);
        let survived = kill_one_log(dice.as_ref(), address, kills);
        total.calls += survived.calls;
        total.checkpoints += survived.checkpoints;
        total.records += survived.records;
        rest -= kills;
    }
    println!("{rounds} kills: {total:?}");
    assert!(total.calls as u64 > rounds, "only {} calls were answered", total.calls);
}

/// What was acknowledged or published, and found again.
#[derive(Debug, Default)]
struct Survived {
    calls: usize,
    checkpoints: usize,
    records: usize,
}

/// Kills the server of a new log so many times and checks the log after each kill and in the end.
fn kill_one_log(dice: &dyn Entropy, model: &str, kills: u64) -> Survived {
    let directory = tempfile::tempdir().unwrap();
    let data: PathBuf = directory.path().join("data");
    let (mut acknowledged, mut checkpoints) = (Vec::new(), Vec::new());
    for round in 0..kills {
        let server = serve(&data, model);
        let after = Duration::from_millis(20 + u64::from(dice.bytes::<1>()[0]));
        let (told, checkpoint) = load_and_kill(server, after, acknowledged.len());
        checkpoints.extend(checkpoint.filter(|checkpoint| checkpoint.size > 0));
        let server = serve(&data, model);
        let api = address(&server.said, "search     http://");
        check_round(&api, &told, round);
        acknowledged.extend(told);
    }
    let sizes: Vec<u64> = checkpoints.iter().map(|checkpoint| checkpoint.size).collect();
    let (hashes, roots) = tree(&data, &sizes);
    for told in &acknowledged {
        assert_eq!(hashes.get(usize::try_from(told.index).unwrap()), Some(&told.leaf), "{told:?}");
    }
    for checkpoint in &checkpoints {
        assert_eq!(
            roots.get(&checkpoint.size),
            Some(&checkpoint.root),
            "a published checkpoint is no prefix of the log"
        );
    }
    let verified =
        Command::new(env!("CARGO_BIN_EXE_testimony")).arg("verify").arg("--data").arg(&data).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    Survived { calls: acknowledged.len(), checkpoints: checkpoints.len(), records: hashes.len() }
}

fn check_round(api: &str, told: &[Acknowledged], round: u64) {
    let from = told.iter().map(|told| told.index).min().unwrap_or(0);
    let query = format!("SELECT call_id, request_index, outcome FROM calls WHERE request_index >= {from}");
    let rows: HashMap<String, Value> =
        sql(api, &query).into_iter().map(|row| (row["call_id"].as_str().unwrap_or_default().to_owned(), row)).collect();
    for told in told {
        let row = rows.get(&told.call).unwrap_or_else(|| panic!("round {round}: {told:?} is not there"));
        assert_eq!(row["outcome"], "completed", "round {round}: {told:?}");
        assert_eq!(row["request_index"], told.index, "round {round}: {told:?}");
    }
    for (call, row) in rows {
        assert!(row["outcome"].is_string(), "round {round}: call {call} has no outcome");
    }
}
