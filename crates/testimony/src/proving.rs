//! Rows of an answer, proven: each is held against its own leaf, and all leaves against one checkpoint of the log. Nothing that
//! the server says is believed but what is signed by a key that is trusted.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use access::{Action, Role, Scope, allows};
use anyhow::Context as _;
use bytes::Bytes;
use search::{check_row, content_name};
use serde_json::{Value, json};
use tlog::{
    Bundle, Checkpoint, EntriesPath, Hash, PolicyError, ProveError, Prover, TILE_WIDTH, TilePath, TrustPolicy,
    VerifierKey, Vouched, check_inclusion, leaf_hash,
};
use tokio::runtime::Runtime;
use verify::Evidence;

use crate::client::Client;
use crate::terminal::escaped;
use crate::trust::Trust;

/// A checkpoint that covers a durable record is published within a second or so.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Bundles that are fetched at once: at most 16 MiB each.
const BUNDLES_AT_ONCE: usize = 8;
/// The most rows that are proven one by one, each of which leaves a `read` record.
const SINGLE_PROOFS_MAX: usize = 1_000;

/// The log that is asked, and on what.
pub(crate) struct Asked<'a> {
    pub(crate) client: &'a Client,
    pub(crate) runtime: &'a Runtime,
}

/// That a record is in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proof {
    index: u64,
    leaf_hash: Hash,
    /// Of the checkpoint.
    size: u64,
    /// From the leaf to the root.
    hashes: Vec<Hash>,
}

/// Rows that hold.
#[derive(Debug)]
pub(crate) struct Proven {
    /// In the order of the rows.
    pub(crate) proofs: Vec<Proof>,
    vouched: Vouched,
    believed: Believed,
    has_content: bool,
}

/// What does not hold, a sentence each.
pub(crate) type Findings = Vec<String>;

/// What does not hold, for a terminal.
pub(crate) fn a_line_each(findings: &Findings) -> String {
    findings.iter().map(|finding| format!("✗ {}\n", escaped(finding))).collect()
}

/// Why the key is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Believed {
    /// Somebody said so.
    Said,
    /// It is the one in the data directory.
    Directory,
    /// The server told it.
    FirstSight(String),
}

impl Proof {
    /// As a member of a row.
    pub(crate) fn to_json(&self) -> Value {
        let hashes: Vec<String> = self.hashes.iter().map(Hash::to_string).collect();
        json!({"index": self.index, "leaf_hash": self.leaf_hash.to_string(), "size": self.size, "hashes": hashes})
    }
}

impl Proven {
    /// `verified against checkpoint 12, signed by …`
    pub(crate) fn verdict(&self) -> String {
        let sizes = || self.proofs.iter().map(|proof| proof.size);
        let checkpoint = match (sizes().min(), sizes().max()) {
            (Some(least), Some(greatest)) if least < greatest => format!("checkpoints {least} to {greatest}"),
            _ => format!("checkpoint {}", self.vouched.checkpoint.size),
        };
        let names: Vec<&str> = self.vouched.cosigned.iter().map(|(name, _)| name.as_str()).collect();
        let cosigned = if names.is_empty() { "no witness that is known here".to_owned() } else { names.join(", ") };
        format!("verified against {checkpoint}, signed by {}, cosigned by {cosigned}", self.vouched.log.name())
    }

    /// What that rests on, and what it does not say, a line each.
    pub(crate) fn reservations(&self) -> String {
        let key = match &self.believed {
            Believed::Said => String::new(),
            Believed::Directory => "· the key is that of the data directory; --key says which one you keep\n".into(),
            Believed::FirstSight(vkey) => format!(
                "· the key was told by the server itself and is trusted on first sight: keep it, and say --key\n  {vkey}\n"
            ),
        };
        let content = if self.has_content {
            "· content has as many bytes as its record commits to; `testimony prove RECORD --disclose FIELD` proves each of them\n"
        } else {
            ""
        };
        format!("{key}{content}")
    }
}

/// Proves rows of an answer, each with all columns of a record.
///
/// # Errors
/// When it cannot be found out whether they hold; the findings are of those that do not.
pub(crate) fn prove(asked: &Asked<'_>, trust: &Trust, rows: &[Value]) -> anyhow::Result<Result<Proven, Findings>> {
    let mut indexes = Vec::with_capacity(rows.len());
    for row in rows {
        let Some(index) = row.get("log_index").and_then(Value::as_u64) else {
            return Ok(Err(vec!["a row of the answer does not say where in the log its record stands".into()]));
        };
        indexes.push(index);
    }
    let (policy, believed) = asked.policy(trust)?;
    let proven = if asked.may_read_the_log() {
        let note = asked.checkpoint_over(indexes.iter().copied().max().unwrap_or(0), &policy)?;
        match policy.vouch(&note) {
            Ok(vouched) => {
                let proofs = asked.by_tiles(&vouched.checkpoint, rows, &indexes)?;
                proofs.map(|proofs| (vouched, proofs))
            }
            Err(error) => Err(vec![error.to_string()]),
        }
    } else {
        asked.one_by_one(&policy, rows, &indexes)?
    };
    let members = rows.iter().filter_map(Value::as_object).flatten();
    let has_content = members.into_iter().any(|(name, said)| is_content(name) && !said.is_null());
    Ok(proven.map(|(vouched, proofs)| Proven { proofs, vouched, believed, has_content }))
}

/// Whether a member of a row is content: a field that has a column, or all others.
fn is_content(name: &str) -> bool {
    name == "content" || content_name(name) != name
}

impl Asked<'_> {
    /// Whom to believe: who was named, or else the log's own key.
    fn policy(&self, trust: &Trust) -> anyhow::Result<(TrustPolicy, Believed)> {
        if let Some(policy) = trust.policy()? {
            return Ok((policy, Believed::Said));
        }
        let key = self.runtime.block_on(key_of(self.client))?;
        let believed = match self.client {
            Client::Local(_) => Believed::Directory,
            Client::Remote(_) => Believed::FirstSight(key.to_string()),
        };
        Ok((TrustPolicy::of_log(key), believed))
    }

    /// Whether the published log is for this caller: some role of theirs has no scope. To try would leave a refusal in the log.
    fn may_read_the_log(&self) -> bool {
        if let Client::Local(_) = self.client {
            return true;
        }
        let Ok(Some(sent)) = self.runtime.block_on(self.client.get("/api/v1/sessions/current")) else { return true };
        let known: Value = serde_json::from_slice(&sent).unwrap_or_default();
        let text = |grant: &Value, name: &str| grant.get(name).and_then(Value::as_str).map(str::to_owned);
        known.get("grants").and_then(Value::as_array).is_none_or(|grants| {
            grants.iter().any(|grant| {
                let role = text(grant, "role").and_then(|role| role.parse::<Role>().ok());
                let scope = text(grant, "scope").and_then(|scope| scope.parse::<Scope>().ok());
                role.is_some_and(|role| allows(role, Action::ReadLog))
                    && scope.is_some_and(|scope| scope.is_everything())
            })
        })
    }

    /// The published checkpoint, once it covers the record with an index and enough witnesses have seen it; of a running server that
    /// does not come to it, the last.
    fn checkpoint_over(&self, index: u64, policy: &TrustPolicy) -> anyhow::Result<Bytes> {
        let began = Instant::now();
        loop {
            // A log that has just begun has none for a moment.
            let note = self.runtime.block_on(self.client.get("/log/checkpoint"))?;
            let size =
                note.as_deref().and_then(|note| Some(Checkpoint::parse_unverified(note).ok()?.size)).unwrap_or(0);
            let is_seen = |note: &Bytes| !matches!(policy.vouch(note), Err(PolicyError::Quorum { .. }));
            let is_last = matches!(self.client, Client::Local(_)) || began.elapsed() > PATIENCE;
            match note {
                Some(note) if size > index && (is_last || is_seen(&note)) => return Ok(note),
                None if is_last => anyhow::bail!("nothing of this log has been published yet; start the server once"),
                Some(note) if is_last => match self.client {
                    Client::Remote(_) => return Ok(note),
                    Client::Local(_) => anyhow::bail!(
                        "no published checkpoint covers record {index} yet, only the first {size}; start the server once"
                    ),
                },
                _ => self.runtime.block_on(async { tokio::time::sleep(LOOK_EVERY).await }),
            }
        }
    }

    /// Proves rows by entry bundles and tiles, all against one checkpoint.
    fn by_tiles(
        &self,
        checkpoint: &Checkpoint,
        rows: &[Value],
        indexes: &[u64],
    ) -> anyhow::Result<Result<Vec<Proof>, Findings>> {
        let (size, mut findings) = (checkpoint.size, Findings::new());
        let mut bundles: BTreeMap<u64, Vec<(u64, usize)>> = BTreeMap::new();
        for (nth, index) in indexes.iter().enumerate() {
            if *index < size {
                bundles.entry(index / TILE_WIDTH).or_default().push((*index, nth));
            } else {
                findings.push(format!("{}: the log has only {size} records", named(&rows[nth], *index)));
            }
        }
        let mut proofs: Vec<(usize, Proof)> = Vec::with_capacity(rows.len());
        // The level 0 tile over the bundle at hand follows from it, and the one at the tree's right edge is needed again and again.
        let (at_hand, edge) = (RefCell::new(None::<(TilePath, Vec<u8>)>), RefCell::new(None::<(TilePath, Vec<u8>)>));
        let mut prover = Prover::new(|path: TilePath| -> anyhow::Result<Vec<u8>> {
            let known = |tile: &RefCell<Option<(TilePath, Vec<u8>)>>| {
                tile.borrow().as_ref().filter(|(of, _)| *of == path).map(|(_, hashes)| hashes.clone())
            };
            if let Some(hashes) = known(&at_hand).or_else(|| known(&edge)) {
                return Ok(hashes);
            }
            let tile = self.files(vec![path.to_string()])?.pop().unwrap_or_default().to_vec();
            if path.level == 0 {
                *edge.borrow_mut() = Some((path, tile.clone()));
            }
            Ok(tile)
        });
        let numbers: Vec<u64> = bundles.keys().copied().collect();
        for numbers in numbers.chunks(BUNDLES_AT_ONCE) {
            let paths: Vec<TilePath> = numbers.iter().map(|number| leaves_at(*number, size)).collect();
            let files = self.files(paths.iter().map(|path| entries(*path).to_string()).collect())?;
            for (path, file) in paths.into_iter().zip(files) {
                let leaves: Vec<&[u8]> = Bundle::new(&file).filter_map(Result::ok).collect();
                let hashes: Vec<Hash> = leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
                *at_hand.borrow_mut() = Some((path, hashes.iter().flat_map(|hash| hash.0).collect()));
                for (index, nth) in bundles.remove(&path.number).unwrap_or_default() {
                    let at = usize::try_from(index % TILE_WIDTH).unwrap_or(usize::MAX);
                    let way = match prover.inclusion(index, size) {
                        Ok(way) => Ok(way),
                        Err(ProveError::Tile { path, why }) => {
                            return Err(why.context(format!("{path} could not be had")));
                        }
                        Err(error) => Err(error.to_string()),
                    };
                    let leaf = leaves.get(at).zip(hashes.get(at));
                    let leaf = leaf.ok_or_else(|| format!("{} does not hold it", entries(path)));
                    let checked =
                        leaf.and_then(|(leaf, hash)| check(checkpoint, &rows[nth], (index, leaf, *hash), way?));
                    match checked {
                        Ok(proof) => proofs.push((nth, proof)),
                        Err(what) => findings.push(format!("{}: {what}", named(&rows[nth], index))),
                    }
                }
            }
        }
        proofs.sort_by_key(|(nth, _)| *nth);
        Ok(if findings.is_empty() { Ok(proofs.into_iter().map(|(_, proof)| proof).collect()) } else { Err(findings) })
    }

    /// Proves rows by evidence for each, which is for those too whose role has a scope.
    fn one_by_one(
        &self,
        policy: &TrustPolicy,
        rows: &[Value],
        indexes: &[u64],
    ) -> anyhow::Result<Result<(Vouched, Vec<Proof>), Findings>> {
        anyhow::ensure!(
            rows.len() <= SINGLE_PROOFS_MAX,
            "with a scope, records are proven one by one, and {SINGLE_PROOFS_MAX} at most: lower --limit, or ask with a role \
             without a scope (reader, auditor, operator, admin), which may read the log"
        );
        let (mut last, mut proofs, mut findings) = (None, Vec::with_capacity(rows.len()), Findings::new());
        for (row, index) in rows.iter().zip(indexes) {
            let sent = self.runtime.block_on(self.client.get(&format!("/api/v1/records/{index}/proof")))?;
            let checked = match sent {
                Some(sent) => check_evidence(policy, row, *index, &sent),
                None => Err("the server has no such record".into()),
            };
            match checked {
                Ok((vouched, proof)) => {
                    last = Some(vouched);
                    proofs.push(proof);
                }
                Err(what) => findings.push(format!("{}: {what}", named(row, *index))),
            }
        }
        Ok(last.filter(|_| findings.is_empty()).map(|vouched| (vouched, proofs)).ok_or(findings))
    }

    /// Files of the published log, by their paths in it.
    fn files(&self, paths: Vec<String>) -> anyhow::Result<Vec<Bytes>> {
        let fetches: Vec<_> = paths
            .into_iter()
            .map(|path| {
                let client = self.client.clone();
                self.runtime.spawn(async move {
                    let file = client.get(&format!("/log/{path}")).await?;
                    file.with_context(|| {
                        format!("the published log does not have {path}, as its checkpoint says it must")
                    })
                })
            })
            .collect();
        self.runtime.block_on(async {
            let mut files = Vec::with_capacity(fetches.len());
            for fetch in fetches {
                files.push(fetch.await??);
            }
            Ok(files)
        })
    }
}

/// The key that a log tells of itself.
pub(crate) async fn key_of(client: &Client) -> anyhow::Result<VerifierKey> {
    let sent = client.get("/api/v1/log").await?.context("the server tells of no log: is it Testimony?")?;
    let log: Value = serde_json::from_slice(&sent)?;
    let vkey = log.get("vkey").and_then(Value::as_str).context("the server tells no key; give --key")?;
    Ok(VerifierKey::parse(vkey)?)
}

/// The tile of leaf hashes with a number, in a tree of a size that it is in.
fn leaves_at(number: u64, size: u64) -> TilePath {
    let width = size.saturating_sub(number * TILE_WIDTH).min(TILE_WIDTH);
    TilePath { level: 0, number, width: u16::try_from(width).unwrap_or(256) }
}

/// The entries that a tile of leaf hashes is of.
const fn entries(tile: TilePath) -> EntriesPath {
    EntriesPath { number: tile.number, width: tile.width }
}

/// Holds a row against its leaf, and the leaf against the checkpoint.
fn check(
    checkpoint: &Checkpoint,
    row: &Value,
    (index, leaf, leaf_hash): (u64, &[u8], Hash),
    hashes: Vec<Hash>,
) -> Result<Proof, String> {
    let size = checkpoint.size;
    check_inclusion(index, size, leaf_hash, &hashes, checkpoint.root).map_err(|error| error.to_string())?;
    check_row(row.as_object().ok_or("it is no object")?, index, leaf)?;
    Ok(Proof { index, leaf_hash, size, hashes })
}

fn check_evidence(policy: &TrustPolicy, row: &Value, index: u64, sent: &[u8]) -> Result<(Vouched, Proof), String> {
    let evidence = Evidence::parse(sent).map_err(|error| error.to_string())?;
    let hashes = evidence.proof.hashes.clone();
    let checked = evidence.check(policy).map_err(|error| error.to_string())?;
    if checked.index != index {
        return Err(format!("the evidence is of record {}", checked.index));
    }
    check_row(row.as_object().ok_or("it is no object")?, index, checked.leaf.as_bytes())?;
    let size = checked.vouched.checkpoint.size;
    Ok((checked.vouched, Proof { index, leaf_hash: checked.leaf_hash, size, hashes }))
}

/// `record 41 (0190…)`
fn named(row: &Value, index: u64) -> String {
    let id = row.get("id").and_then(Value::as_str).unwrap_or("no id");
    format!("record {index} ({id})")
}

#[cfg(test)]
mod tests;
