//! The follower that writes the published log: entry bundles, tiles and the checkpoint (tlog-tiles).
//!
//! Everything here is derived from the write-ahead log, so it is written without fsync and made durable in one
//! sweep before a segment of the write-ahead log may go. The checkpoint is always written after the tiles
//! that it needs, and the partial tiles of the checkpoint before it are removed after that.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tlog::{Checkpoint, EntriesPath, FullTile, Hash, TILE_WIDTH, TileLevels, TilePath, push_entry};
use world::Disk;

use crate::follow::{DurablePoint, FollowError, Follower, Portion, Shared};
use crate::recovery::checkpoint_path;

/// The name under which this follower holds the write-ahead log.
pub(crate) const NAME: &str = "tiles";
/// A checkpoint is published at most this often while the log grows.
const PUBLISH_EVERY: Duration = Duration::from_millis(250);
/// The same for a log whose checkpoints are cosigned.
const PROPOSE_EVERY: Duration = Duration::from_secs(1);
/// A checkpoint that no witness has cosigned is published without them after this long.
const COSIGNING_PATIENCE: Duration = Duration::from_secs(5);
/// After a failed write (a full disk) the same files are tried again after this long.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// Where the published log stands.
pub(crate) struct TileWriter {
    shared: Arc<Shared>,
    log: PathBuf,
    levels: TileLevels,
    /// The entries since the last full bundle.
    bundle: Vec<u8>,
    size: u64,
    checkpoint: Arc<str>,
    /// The log as it was opened. Its last frame may be signed by a former key; this checkpoint is not.
    opened: DurablePoint,
    /// The size of the checkpoint that is on disk.
    published: u64,
    /// Whether a loss of power may have taken what the published checkpoint needs: until this process has written it.
    is_unsure: bool,
    /// The checkpoint that witnesses are asked to cosign now; its tiles are on disk.
    candidate: Option<Candidate>,
    /// Whether there are witnesses to ask.
    is_witnessed: bool,
    /// Full tiles and bundles that are not on disk yet.
    pending: Vec<(PathBuf, Vec<u8>)>,
    /// Everything before this index is durable here.
    durable: u64,
}

/// A checkpoint on its way to being published.
struct Candidate {
    checkpoint: Arc<str>,
    size: u64,
    since: Instant,
}

impl TileWriter {
    /// Goes on where the write-ahead log begins (`wal_first`): what lies before it is durable as full tiles.
    pub(crate) fn resume(
        shared: Arc<Shared>,
        wal_first: u64,
        published: u64,
        is_witnessed: bool,
    ) -> Result<Self, FollowError> {
        let log = shared.data.join("log");
        let size = wal_first.next_multiple_of(TILE_WIDTH);
        let levels = TileLevels::resume(size, |path| read_tile(shared.disk.as_ref(), &log, path))?;
        let opened = shared.point();
        shared.hold(NAME, size);
        shared.set_published(published);
        Ok(Self {
            shared,
            log,
            levels,
            bundle: Vec::new(),
            size,
            checkpoint: opened.checkpoint.clone(),
            opened,
            published,
            is_unsure: size > 0 || wal_first < published,
            candidate: None,
            is_witnessed,
            pending: Vec::new(),
            durable: size,
        })
    }

    /// Where it wants to read on.
    pub(crate) const fn position(&self) -> u64 {
        self.size
    }

    /// Follows the log until it is closed, then publishes the last checkpoint. It looks at the log once in a while
    /// instead of waiting for every batch: waking up for each would take time from whoever waits for an answer.
    pub(crate) async fn run(mut self, mut follower: Follower) {
        let (mut closed, shared) = (follower.closed(), self.shared.clone());
        let mut cosigned = shared.cosigned();
        // Witnesses are asked about the log as it was found before anything is appended.
        let mut is_first = self.is_witnessed;
        let mut tick = tokio::time::interval(if self.is_witnessed { PROPOSE_EVERY } else { PUBLISH_EVERY });
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let is_last = tokio::select! {
                _ = tick.tick() => false,
                () = shared.segment_waits() => false,
                _ = cosigned.changed() => {
                    let note = cosigned.borrow_and_update().clone();
                    self.attempt(|writer| writer.publish_cosigned(&note)).await;
                    continue;
                }
                // An error is the end of everything that could still append.
                _ = closed.wait_for(|is_closed| *is_closed) => true,
            };
            loop {
                match follower.try_next() {
                    Ok(Some(portion)) => {
                        self.take(&portion);
                        self.attempt(Self::write_pending).await;
                        self.attempt(Self::make_durable).await;
                    }
                    Ok(None) => break,
                    Err(error) => {
                        tracing::error!(%error, "the published log cannot go on; restart to write it anew");
                        return;
                    }
                }
            }
            if is_last {
                break;
            }
            self.attempt(Self::propose).await;
            if std::mem::take(&mut is_first) && self.candidate.is_none() {
                shared.propose(&shared.point().checkpoint);
            }
        }
        let last = self.write_pending().and_then(|()| self.publish_last());
        if let Err(error) = last {
            tracing::warn!(%error, "could not publish the last checkpoint; it is written at the next start");
        }
    }

    /// Tries until it works: nothing is lost meanwhile, since the write-ahead log is held.
    async fn attempt(&mut self, mut step: impl FnMut(&mut Self) -> io::Result<()>) {
        while let Err(error) = step(self) {
            if self.shared.is_closed() {
                return;
            }
            tracing::warn!(%error, "could not write the published log; trying again");
            let _ = tokio::time::timeout(RETRY_EVERY, self.shared.closed()).await;
        }
    }

    fn take(&mut self, portion: &Portion) {
        for entry in portion.entries() {
            // A leaf is at most 65,535 bytes: sealing its draft has made sure.
            let pushed = push_entry(&mut self.bundle, entry.leaf);
            debug_assert!(pushed.is_ok());
            self.size += 1;
            if self.size.is_multiple_of(TILE_WIDTH) {
                let path = EntriesPath { number: self.size / TILE_WIDTH - 1, width: 256 };
                self.pending.push((self.log.join(path.to_string()), std::mem::take(&mut self.bundle)));
            }
            for FullTile { path, hashes } in self.levels.push(entry.hash) {
                self.pending.push((self.log.join(path.to_string()), hash_bytes(&hashes)));
            }
        }
        self.checkpoint = if self.size == self.opened.size {
            self.opened.checkpoint.clone()
        } else {
            portion.batch().checkpoint().into()
        };
    }

    fn write_pending(&mut self) -> io::Result<()> {
        let disk = self.shared.disk.as_ref();
        while let Some((path, bytes)) = self.pending.last() {
            put(disk, path, bytes)?;
            self.pending.pop();
        }
        Ok(())
    }

    /// Writes the partial tiles of the log as it stands; its checkpoint follows at once, or when witnesses have seen it.
    fn propose(&mut self) -> io::Result<()> {
        if let Some(candidate) = &self.candidate {
            // Without witnesses one is left only when it could not be written.
            if self.is_witnessed {
                if candidate.since.elapsed() < COSIGNING_PATIENCE {
                    return Ok(());
                }
                tracing::warn!("no witness has cosigned for {} s; publishing without", COSIGNING_PATIENCE.as_secs());
            }
            return self.publish_candidate();
        }
        if self.size == 0 || (self.published == self.size && !self.is_unsure) {
            return Ok(());
        }
        self.write_partial()?;
        self.candidate =
            Some(Candidate { checkpoint: self.checkpoint.clone(), size: self.size, since: Instant::now() });
        if self.is_witnessed {
            self.shared.propose(&self.checkpoint);
            return Ok(());
        }
        self.publish_candidate()
    }

    /// On the way out there is no waiting for witnesses: they are asked about the last checkpoint at the next start.
    fn publish_last(&mut self) -> io::Result<()> {
        self.publish_candidate()?;
        self.is_witnessed = false;
        self.propose()
    }

    /// Publishes a checkpoint with the signatures of witnesses: the candidate, or once more the one that is published.
    fn publish_cosigned(&mut self, note: &str) -> io::Result<()> {
        let Ok(Checkpoint { size, .. }) = Checkpoint::parse_unverified(note.as_bytes()) else { return Ok(()) };
        if self.candidate.as_ref().is_some_and(|candidate| note.starts_with(&*candidate.checkpoint)) {
            return self.put_checkpoint(note, size);
        }
        if self.candidate.is_none() && size == self.published {
            self.shared.disk.replace(&checkpoint_path(&self.shared.data), note.as_bytes())?;
        }
        Ok(())
    }

    fn publish_candidate(&mut self) -> io::Result<()> {
        match self.candidate.as_ref().map(|candidate| (candidate.checkpoint.clone(), candidate.size)) {
            Some((checkpoint, size)) => self.put_checkpoint(&checkpoint, size),
            None => Ok(()),
        }
    }

    fn write_partial(&self) -> io::Result<()> {
        let disk = self.shared.disk.as_ref();
        for (path, hashes) in self.levels.partial() {
            put(disk, &self.log.join(path.to_string()), &hash_bytes(hashes))?;
        }
        match EntriesPath::all(self.size).last().filter(|path| path.width < 256) {
            Some(path) => put(disk, &self.log.join(path.to_string()), &self.bundle),
            None => Ok(()),
        }
    }

    /// Puts the checkpoint in place after its tiles; last, removes the partial tiles that none needs now.
    fn put_checkpoint(&mut self, checkpoint: &str, size: u64) -> io::Result<()> {
        let disk = self.shared.disk.as_ref();
        disk.replace(&checkpoint_path(&self.shared.data), checkpoint.as_bytes())?;
        self.candidate = None;
        self.is_unsure = false;
        let before = std::mem::replace(&mut self.published, size);
        self.shared.set_published(size);
        let needed: Vec<String> = partial_paths(size).collect();
        for path in partial_paths(before).filter(|path| !needed.contains(path)) {
            disk.remove(&self.log.join(path))?;
        }
        Ok(())
    }

    /// When a segment of the write-ahead log waits for it, makes all full tiles durable and lets the segment go.
    fn make_durable(&mut self) -> io::Result<()> {
        let full = self.size - self.size % TILE_WIDTH;
        let wanted = self.shared.wanted_durable();
        if self.durable < wanted && wanted <= full && !self.shared.is_stopped() {
            if let Err(error) = self.shared.disk.sync_everything(&self.log) {
                // As for the write-ahead log: the kernel may have dropped what could not be written, and a second try would
                // call that durable. What is in the write-ahead log stays, and the next start writes it anew.
                self.shared.stop(format!("the device under the published log failed: {error}"));
                return Ok(());
            }
            self.durable = full;
            self.shared.hold(NAME, full);
        }
        Ok(())
    }
}

pub(crate) fn put(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    match disk.replace(path, bytes) {
        // The first tile of a directory makes it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            disk.create_dirs(path.parent().unwrap_or(Path::new(".")))?;
            disk.replace(path, bytes)
        }
        result => result,
    }
}

pub(crate) fn hash_bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// The paths of all partial files of a log of this size.
fn partial_paths(size: u64) -> impl Iterator<Item = String> {
    let tiles = (0..8).filter_map(move |level| TilePath::of_level(level, size).last());
    let tiles = tiles.filter(|path| path.width < 256).map(|path| path.to_string());
    let bundle = EntriesPath::all(size).last().filter(|path| path.width < 256);
    tiles.chain(bundle.map(|path| path.to_string()))
}

fn read_tile(disk: &dyn Disk, log: &Path, path: TilePath) -> Result<Vec<Hash>, FollowError> {
    let file = log.join(path.to_string());
    let bytes = disk.read(&file).map_err(|error| FollowError::Io(file.clone(), error))?;
    let hashes: Vec<Hash> = bytes.chunks_exact(32).filter_map(|chunk| chunk.try_into().ok().map(Hash)).collect();
    if bytes.len() == 32 * 256 { Ok(hashes) } else { Err(FollowError::Missing(file, path.number * TILE_WIDTH)) }
}
