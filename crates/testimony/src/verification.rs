//! Checking a whole log: the published part, the write-ahead log after it, content, segments.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ledger::{Archive, Batch, IdentityError, OpenError};
use record::{Content, Envelope};
use tlog::{Checkpoint, EntriesPath, TILE_WIDTH, VerifierKey, push_entry};
use verify::{CheckedLog, Finding, LogDirectory, LogSource, check_log};
use world::World;

use search::Removal;

use crate::client::Client;

/// What a check found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// What was checked and is good, a line each.
    pub(crate) good: Vec<String>,
    /// What is wrong, each with its place.
    pub(crate) wrong: Vec<String>,
    /// What was not checked, and why.
    pub(crate) unchecked: Vec<String>,
}

/// A published log on a server.
struct Server {
    client: Client,
    runtime: tokio::runtime::Handle,
}

impl LogSource for Server {
    fn read(&self, path: &str, onto: &mut Vec<u8>) -> Result<(), String> {
        match self.runtime.block_on(self.client.get(&format!("/log/{path}"))) {
            Ok(Some(bytes)) => {
                onto.extend_from_slice(&bytes);
                Ok(())
            }
            Ok(None) => Err("the server does not have it".into()),
            Err(error) => Err(format!("{error:#}")),
        }
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Checks the published log of a server: what anybody can check who has the key.
pub(crate) fn check_server(client: Client, runtime: &tokio::runtime::Runtime, key: &VerifierKey) -> Report {
    let source = Server { client, runtime: runtime.handle().clone() };
    let mut report = Report::default();
    let bar = progress_bar();
    let checked = check_log(&source, key, threads(), &|_, _| Ok(()), &|records| bar.inc(records));
    bar.finish_and_clear();
    note_log(&mut report, checked);
    report.unchecked.push("content and segments: they are not served; verify the data directory on its machine".into());
    report
}

/// Checks everything in a data directory.
///
/// # Errors
/// When it is in use, or no log at all.
pub(crate) fn check_directory(data: &Path, key: Option<&VerifierKey>) -> anyhow::Result<Report> {
    let world = World::real();
    let mut report = Report::default();
    let mut batches = Vec::new();
    let archive = match Archive::open(&world, data, |batch| batches.push(batch)) {
        Ok(archive) => archive,
        Err(
            error @ (OpenError::Damage(_)
            | OpenError::Identity(IdentityError::Key(..) | IdentityError::Differs(_) | IdentityError::Gone(_))),
        ) => {
            report.wrong.push(error.to_string());
            return Ok(report);
        }
        Err(error) => return Err(error.into()),
    };
    let key = key.unwrap_or(archive.key());
    let bar = progress_bar();
    bar.set_length(archive.size() + archive.wal_first());
    let tail = Tail::new(&batches, archive.wal_first());
    if archive.has_checkpoint() || archive.wal_first() > 0 {
        let source = LogDirectory(data.join("log"));
        let checked =
            check_log(&source, key, threads(), &|index, leaf| tail.agrees(index, leaf), &|records| bar.inc(records));
        let frontier = checked.as_ref().ok().map(|checked| checked.frontier.clone());
        note_log(&mut report, checked);
        if let Some(frontier) = frontier {
            tail.check_growth(frontier, key, &mut report);
        }
    } else {
        report.unchecked.push("the published log: nothing has been published yet".into());
    }
    tail.check_content(&mut report);
    check_segments(&world, data, &archive, &tail, &bar, &mut report);
    bar.finish_and_clear();
    if let Some(torn) = archive.torn() {
        report.good.push(format!(
            "{} ends in {} bytes of a record that was never acknowledged; the next start cuts them",
            torn.file.display(),
            torn.bytes
        ));
    }
    Ok(report)
}

fn note_log(report: &mut Report, checked: Result<CheckedLog, Vec<Finding>>) {
    match checked {
        Ok(CheckedLog { checkpoint, .. }) => report.good.push(format!(
            "published log: {} records of {}, every entry, every tile, root {} as signed",
            checkpoint.size, checkpoint.origin, checkpoint.root
        )),
        Err(findings) => report.wrong.extend(findings.iter().map(|finding| format!("log/{finding}"))),
    }
}

/// The part of the log that the write-ahead log holds.
pub(crate) struct Tail<'b> {
    batches: &'b [Batch],
    first: u64,
}

impl<'b> Tail<'b> {
    pub(crate) const fn new(batches: &'b [Batch], first: u64) -> Self {
        Self { batches, first }
    }

    fn end(&self) -> u64 {
        self.batches.last().map_or(self.first, Batch::end)
    }

    fn leaf(&self, index: u64) -> Option<&'b [u8]> {
        let at = self.batches.partition_point(|batch| batch.end() <= index);
        let entry = self.batches.get(at)?.entries_from(index).next();
        entry.filter(|entry| entry.index == index).map(|entry| entry.leaf)
    }

    /// A record that is both published and in the write-ahead log must be the same in both.
    fn agrees(&self, index: u64, leaf: &[u8]) -> Result<(), String> {
        match self.leaf(index) {
            Some(ours) if ours != leaf => Err("it is another one in the write-ahead log".into()),
            _ => Ok(()),
        }
    }

    /// The published tree, grown by the rest of the write-ahead log, must come to the root that was signed last.
    fn check_growth(&self, mut frontier: tlog::Frontier, key: &VerifierKey, report: &mut Report) {
        let published = frontier.size();
        for entry in self.batches.iter().flat_map(|batch| batch.entries_from(published)) {
            if entry.index == frontier.size() {
                frontier.push(entry.hash);
            }
        }
        let Some(last) = self.batches.last().filter(|last| last.end() > published) else { return };
        match Checkpoint::verify(last.checkpoint().as_bytes(), key) {
            Ok(signed) if signed.size == frontier.size() && signed.root == frontier.root() => {
                report.good.push(format!(
                    "write-ahead log: {} records after the published ones, root {} as signed",
                    signed.size - published,
                    signed.root
                ))
            }
            Ok(_) => report
                .wrong
                .push("wal: its records do not go on from the published log: one of the two was changed".into()),
            Err(error) => report.wrong.push(format!("wal: the last checkpoint: {error}")),
        }
    }

    fn check_content(&self, report: &mut Report) {
        let share = self.batches.len().div_ceil(threads()).max(1);
        let shares = std::thread::scope(|scope| {
            let workers: Vec<_> =
                self.batches.chunks(share).map(|batches| scope.spawn(|| check_contents(batches))).collect();
            let done = workers.into_iter().map(|worker| worker.join());
            done.map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect::<Vec<_>>()
        });
        let mut checked = 0_u64;
        for (fields, wrong) in shares {
            checked += fields;
            report.wrong.extend(wrong);
        }
        report.good.push(format!("content in the write-ahead log: {checked} fields as committed to in their leaves"));
    }

    /// Appends the entry bundle with a number, from the published log where it is whole there.
    pub(crate) fn bundle_of(&self, data: &Path, number: u64, onto: &mut Vec<u8>) -> Result<(), String> {
        let (path, before) = (EntriesPath { number, width: 256 }.to_string(), onto.len());
        LogDirectory(data.join("log")).read(&path, onto).or_else(|_| {
            onto.truncate(before);
            self.bundle(number, onto)
        })
    }

    /// What records here say was removed.
    fn removal(&self) -> Removal {
        let mut removal = Removal::default();
        self.batches.iter().flat_map(Batch::entries).for_each(|entry| removal.learn(entry.leaf));
        removal
    }

    /// Appends the entry bundle with a number, made from the records here.
    fn bundle(&self, number: u64, bundle: &mut Vec<u8>) -> Result<(), String> {
        for index in (number * TILE_WIDTH..(number + 1) * TILE_WIDTH).take_while(|index| *index < self.end()) {
            let leaf = self.leaf(index).ok_or_else(|| format!("record {index} is nowhere"))?;
            push_entry(bundle, leaf).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// How many fields were checked, and what is wrong.
fn check_contents(batches: &[Batch]) -> (u64, Vec<String>) {
    let (mut checked, mut wrong) = (0, Vec::new());
    for entry in batches.iter().flat_map(Batch::entries) {
        match check_content(entry.leaf, entry.content) {
            Ok(fields) => checked += fields,
            Err(what) => wrong.push(format!("wal: record {}: {what}", entry.index)),
        }
    }
    (checked, wrong)
}

fn check_content(leaf: &[u8], stored: &[u8]) -> Result<u64, String> {
    let envelope = Envelope::parse(leaf).map_err(|error| error.to_string())?;
    let committed = envelope.commitments();
    let fields = committed.len() as u64;
    match Content::decode(stored).map_err(|error| error.to_string())? {
        Some(content) => content.check(committed).map_err(|error| error.to_string())?,
        None if fields > 0 => return Err("its content is missing".into()),
        None => {}
    }
    Ok(fields)
}

fn check_segments(
    world: &World,
    data: &Path,
    archive: &Archive,
    tail: &Tail<'_>,
    bar: &ProgressBar,
    report: &mut Report,
) {
    let bundles = |number: u64, onto: &mut Vec<u8>| tail.bundle_of(data, number, onto);
    let rows = AtomicU64::new(0);
    let progress = |more: u64| {
        rows.fetch_add(more, Ordering::Relaxed);
        bar.inc(more);
    };
    let (first, told) = (archive.wal_first(), tail.removal());
    let (findings, end) = search::check_segments(world, data, first, told, threads(), &bundles, &progress);
    if findings.is_empty() && end > 0 {
        report.good.push(format!(
            "segments: {} records, every column as in its leaf, all content that is kept as committed to, files as their SHA-256",
            rows.into_inner()
        ));
    }
    let mut places: BTreeMap<String, String> = BTreeMap::new();
    places.extend(findings.into_iter().map(|finding| (finding.place, finding.what)));
    report.wrong.extend(places.into_iter().map(|(place, what)| format!("{place}: {what}")));
}

/// A bar on a terminal, nothing in a pipe.
pub(crate) fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{wide_bar} {human_pos} of {human_len} records, {per_sec}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
