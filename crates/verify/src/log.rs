//! The published log, from its checkpoint down to every entry and back up to the root.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::GzDecoder;
use tlog::{
    BUNDLE_BYTES_MAX, Bundle, Checkpoint, CheckpointError, EntriesPath, Frontier, FullTile, Hash, TILE_WIDTH,
    TileLevels, TilePath, VerifierKey, leaf_hash,
};

/// Where a published log is read from: the paths are those of tlog-tiles (`checkpoint`, `tile/…`).
pub trait LogSource: Sync {
    /// Appends the bytes at a path to `onto`, or says why there are none.
    ///
    /// # Errors
    /// A sentence that says what went wrong.
    fn read(&self, path: &str, onto: &mut Vec<u8>) -> Result<(), String>;
}

/// A published log in a directory: `log/` of a data directory, whose older entries are packed (`tile/entries/<N>.gz`), or a copy of what
/// `/log/` serves.
#[derive(Debug, Clone)]
pub struct LogDirectory(pub PathBuf);

impl LogSource for LogDirectory {
    #[expect(
        clippy::disallowed_methods,
        reason = "a checker reads what is there, without going through the program that wrote it"
    )]
    fn read(&self, path: &str, onto: &mut Vec<u8>) -> Result<(), String> {
        let read = match File::open(self.0.join(path)) {
            Ok(mut file) => file.read_to_end(onto),
            // Old entries are kept packed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match File::open(self.0.join(format!("{path}.gz"))) {
                    Ok(file) => unpack(file, onto),
                    Err(_) => Err(error),
                }
            }
            Err(error) => Err(error),
        };
        read.map(drop).map_err(|error| error.to_string())
    }
}

/// More than a bundle can have is not taken out of it, whatever it says.
fn unpack(packed: File, onto: &mut Vec<u8>) -> io::Result<usize> {
    let bytes = GzDecoder::new(packed).take(BUNDLE_BYTES_MAX + 1).read_to_end(onto)?;
    if bytes as u64 > BUNDLE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "more bytes come out of it than a bundle can have"));
    }
    Ok(bytes)
}

/// Looks at an entry by its index, and says what is wrong with it.
pub type EntryCheck<'a> = dyn Fn(u64, &[u8]) -> Result<(), String> + Sync + 'a;

/// A place where the log is not what was signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// Something that the checkpoint needs is not there.
    #[error("{path} cannot be read: {why}")]
    Unreadable {
        /// Its path in the log.
        path: String,
        /// What went wrong.
        why: String,
    },
    /// The checkpoint is malformed, of another log, or not signed by the key.
    #[error("checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// A bundle does not hold the entries that it should.
    #[error("{path}: {what}")]
    Bundle {
        /// Its path in the log.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// A tile's hash is not that of the entry or of the tile below it.
    #[error("{path}: hash {position} is not that of {of}: the {of} or the tile was changed")]
    Hash {
        /// The tile's path in the log.
        path: String,
        /// Which of its hashes.
        position: usize,
        /// What it should be the hash of: `record 4711`, `tile/0/003`.
        of: String,
    },
    /// A tile has too few or too many bytes.
    #[error("{path}: {found} bytes stand where {expected} belong")]
    TileSize {
        /// The tile's path in the log.
        path: String,
        /// How many bytes it has.
        found: usize,
        /// How many it should have.
        expected: usize,
    },
    /// Every tile is as it should be, and yet the root is not the one that was signed.
    #[error("the tree over all {size} records has the root {computed}, but {signed} was signed: the log was rewritten")]
    Root {
        /// The checkpoint's size.
        size: u64,
        /// The root of what is there.
        computed: Hash,
        /// The root that was signed.
        signed: Hash,
    },
}

/// A log that was found to be what was signed.
#[derive(Debug, Clone)]
pub struct CheckedLog {
    /// The checkpoint that it was checked against.
    pub checkpoint: Checkpoint,
    /// The right edge of its tree, for whoever has more records to add.
    pub frontier: Frontier,
}

/// What one bundle adds to the tree.
enum Checked {
    /// The root of a full bundle: one hash of level 1. A log of a billion records fits in memory this way.
    Full(Hash),
    /// The leaf hashes of the last, partial one.
    Partial(Vec<Hash>),
}

/// Checks a whole published log on `threads` threads. `entry` sees every entry with its index, in no particular order between
/// bundles; `progress` is told how many records have been checked since it was last called.
///
/// # Errors
/// Everything that was found, at most a hundred places.
pub fn check_log(
    source: &dyn LogSource,
    key: &VerifierKey,
    threads: usize,
    entry: &EntryCheck<'_>,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<CheckedLog, Vec<Finding>> {
    let mut note = Vec::new();
    let checkpoint = read(source, "checkpoint", &mut note)
        .and_then(|()| Ok(Checkpoint::verify(&note, key)?))
        .map_err(|finding| vec![finding])?;
    let bundles: Vec<EntriesPath> = EntriesPath::all(checkpoint.size).collect();
    let checked = in_parallel(&bundles, threads, &|path, buffer| {
        let checked = check_bundle(source, *path, entry, buffer);
        progress(u64::from(path.width));
        checked
    });
    let (mut roots, mut last, mut findings) = (Vec::new(), Vec::new(), Vec::new());
    for bundle in checked {
        match bundle {
            Ok(Checked::Full(root)) => roots.push(root),
            Ok(Checked::Partial(hashes)) => last = hashes,
            Err(finding) => findings.push(finding),
        }
    }
    findings.truncate(FINDINGS_MAX);
    if !findings.is_empty() {
        return Err(findings);
    }
    let findings = check_upper_tiles(source, &roots);
    if !findings.is_empty() {
        return Err(findings);
    }
    let frontier = frontier_over(&roots, &last);
    if frontier.root() != checkpoint.root {
        let computed = frontier.root();
        return Err(vec![Finding::Root { size: checkpoint.size, computed, signed: checkpoint.root }]);
    }
    Ok(CheckedLog { checkpoint, frontier })
}

/// Compares every tile above level 0 with what the bundles' roots make of it.
fn check_upper_tiles(source: &dyn LogSource, roots: &[Hash]) -> Vec<Finding> {
    let mut levels = TileLevels::default();
    let full: Vec<_> = roots.iter().flat_map(|root| levels.push(*root)).collect();
    let full = full.iter().map(|tile| (tile.path, tile.hashes.as_slice()));
    // The roots of full bundles are the hashes of level 1, so everything lies one level higher.
    full.chain(levels.partial())
        .map(|(path, hashes)| (TilePath { level: path.level + 1, ..path }, hashes))
        .filter_map(|(path, hashes)| check_tile(source, path, hashes, &mut Vec::new()).err())
        .take(FINDINGS_MAX)
        .collect()
}

/// The right edge of a tree of full bundles and a last, partial one.
fn frontier_over(roots: &[Hash], last: &[Hash]) -> Frontier {
    let mut upper = Frontier::default();
    roots.iter().for_each(|root| upper.push(*root));
    // 256 times as many leaves have the same bits set, eight places up.
    let size = upper.size() * TILE_WIDTH;
    let mut frontier = Frontier::from_parts(size, upper.roots().to_vec()).unwrap_or_default();
    last.iter().for_each(|hash| frontier.push(*hash));
    frontier
}

const FINDINGS_MAX: usize = 100;

/// Reads a file into a buffer that is used again and again: a log has thousands of them.
fn read(source: &dyn LogSource, path: &str, buffer: &mut Vec<u8>) -> Result<(), Finding> {
    buffer.clear();
    source.read(path, buffer).map_err(|why| Finding::Unreadable { path: path.to_owned(), why })
}

/// Hashes the entries of a bundle and compares them with the level 0 tile beside it.
fn check_bundle(
    source: &dyn LogSource,
    path: EntriesPath,
    entry: &EntryCheck<'_>,
    buffer: &mut Vec<u8>,
) -> Result<Checked, Finding> {
    let name = path.to_string();
    let wrong = |what: String| Finding::Bundle { path: name.clone(), what };
    read(source, &name, buffer)?;
    let mut hashes = Vec::with_capacity(usize::from(path.width));
    let first = path.number * TILE_WIDTH;
    for (leaf, index) in Bundle::new(buffer).zip(first..) {
        let leaf = leaf.map_err(|error| wrong(error.to_string()))?;
        hashes.push(leaf_hash(leaf));
        entry(index, leaf).map_err(|what| wrong(format!("record {index}: {what}")))?;
    }
    if hashes.len() != usize::from(path.width) {
        return Err(wrong(format!("it has {} entries where {} belong", hashes.len(), path.width)));
    }
    let tile = TilePath { level: 0, number: path.number, width: path.width };
    check_tile(source, tile, &hashes, buffer)?;
    match hashes.len() as u64 {
        TILE_WIDTH => Ok(Checked::Full(FullTile { path: tile, hashes }.root())),
        _ => Ok(Checked::Partial(hashes)),
    }
}

/// Compares a published tile with the hashes that it should have.
fn check_tile(source: &dyn LogSource, path: TilePath, hashes: &[Hash], bytes: &mut Vec<u8>) -> Result<(), Finding> {
    let name = path.to_string();
    read(source, &name, bytes)?;
    if bytes.len() != hashes.len() * 32 {
        return Err(Finding::TileSize { path: name, found: bytes.len(), expected: hashes.len() * 32 });
    }
    let differs = bytes.chunks_exact(32).zip(hashes).position(|(published, computed)| published != computed.0);
    match differs {
        None => Ok(()),
        Some(position) => {
            let number = path.number * TILE_WIDTH + position as u64;
            let of = match path.level.checked_sub(1) {
                None => format!("record {number}"),
                Some(level) => TilePath { level, number, width: 256 }.to_string(),
            };
            Err(Finding::Hash { path: name, position, of })
        }
    }
}

/// Applies `work` to every item on some threads, each with a buffer of its own; the results are in the items' order.
fn in_parallel<T: Sync, R: Send>(items: &[T], threads: usize, work: &(dyn Fn(&T, &mut Vec<u8>) -> R + Sync)) -> Vec<R> {
    /// Neighbouring items go to one thread: they lie together on disk.
    const STRIDE: u64 = 16;
    let next = AtomicU64::new(0);
    let worker = || {
        let (mut done, mut buffer) = (Vec::new(), Vec::new());
        loop {
            let start = usize::try_from(next.fetch_add(STRIDE, Ordering::Relaxed)).unwrap_or(usize::MAX);
            let Some(rest) = items.get(start..).filter(|rest| !rest.is_empty()) else { return done };
            for (nth, item) in rest.iter().take(16).enumerate() {
                done.push((start + nth, work(item, &mut buffer)));
            }
        }
    };
    let mut results = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(worker)).collect();
        handles
            .into_iter()
            .flat_map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect::<Vec<_>>()
    });
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests;
