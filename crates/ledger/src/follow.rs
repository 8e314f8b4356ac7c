//! The door out: the durable point, and followers that read up to it.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tlog::{Bundle, EntriesPath, TILE_WIDTH};
use tokio::sync::{Notify, watch};
use world::Disk;

use crate::backlog::{self, Backlog, Waiting};
use crate::batch::{Batch, Entry};
use crate::figures::Pulse;
use crate::frame;
use crate::packing;
use crate::wal::{Durable, decode_head, list_segments, segment_path};

/// How far the log is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DurablePoint {
    /// How many records are.
    pub size: u64,
    /// The signed checkpoint over them.
    pub checkpoint: Arc<str>,
}

/// Why a follower cannot go on. The log itself goes on.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// A file could not be read.
    #[error("could not read {0}")]
    Io(PathBuf, #[source] io::Error),
    /// A file does not hold what it should.
    #[error("{0} does not hold record {1}")]
    Missing(PathBuf, u64),
}

/// What the writer shows and followers see.
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) data: PathBuf,
    point: watch::Sender<DurablePoint>,
    recent: Mutex<Recent>,
    /// What each follower still needs of the write-ahead log: everything from this index on.
    holds: Mutex<BTreeMap<&'static str, u64>>,
    /// What waits to be delivered elsewhere; none: nothing is delivered.
    waiting: Mutex<Option<Waiting>>,
    wanted_durable: AtomicU64,
    segment_waits: Notify,
    /// The size of the checkpoint in `log/checkpoint`.
    published: watch::Sender<u64>,
    /// The checkpoint that is to be published next, for witnesses to cosign.
    candidate: watch::Sender<Arc<str>>,
    /// The latest checkpoint that came back from them.
    cosigned: watch::Sender<Arc<str>>,
    is_closed: watch::Sender<bool>,
    /// How the device failed, if it did.
    stopped: watch::Sender<Option<String>>,
    pub(crate) pulse: Pulse,
}

struct Recent {
    batches: VecDeque<Arc<Batch>>,
    bytes: usize,
    bytes_max: usize,
}

impl Shared {
    pub(crate) fn new(disk: Arc<dyn Disk>, data: PathBuf, point: DurablePoint, recent_bytes_max: usize) -> Self {
        Self {
            disk,
            data,
            point: watch::Sender::new(point),
            recent: Mutex::new(Recent { batches: VecDeque::new(), bytes: 0, bytes_max: recent_bytes_max }),
            holds: Mutex::new(BTreeMap::new()),
            waiting: Mutex::new(None),
            wanted_durable: AtomicU64::new(0),
            segment_waits: Notify::new(),
            published: watch::Sender::new(0),
            candidate: watch::Sender::new("".into()),
            cosigned: watch::Sender::new("".into()),
            is_closed: watch::Sender::new(false),
            stopped: watch::Sender::new(None),
            pulse: Pulse::default(),
        }
    }

    pub(crate) fn point(&self) -> DurablePoint {
        self.point.borrow().clone()
    }

    /// Shows a durable batch to all followers. Its type is the proof that it is.
    pub(crate) fn publish(&self, batch: Durable<Arc<Batch>>) {
        let batch = batch.into_inner();
        let point = DurablePoint { size: batch.end(), checkpoint: batch.checkpoint().into() };
        self.with_waiting(|waiting| waiting.take_in(batch.end(), batch.buffer().len() as u64));
        {
            let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            recent.bytes += batch.memory_bytes();
            recent.batches.push_back(batch);
            while recent.bytes > recent.bytes_max && recent.batches.len() > 1 {
                let dropped = recent.batches.pop_front().map_or(0, |batch| batch.memory_bytes());
                recent.bytes -= dropped;
            }
        }
        self.point.send_replace(point);
    }

    fn recent_with(&self, index: u64) -> Option<Arc<Batch>> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let at = recent.batches.partition_point(|batch| batch.end() <= index);
        recent.batches.get(at).filter(|batch| batch.first() <= index).cloned()
    }

    pub(crate) fn set_published(&self, size: u64) {
        self.published.send_replace(size);
        self.pulse.has_published();
    }

    pub(crate) fn published(&self) -> watch::Receiver<u64> {
        self.published.subscribe()
    }

    pub(crate) fn propose(&self, checkpoint: &str) {
        self.candidate.send_replace(checkpoint.into());
    }

    pub(crate) fn candidates(&self) -> watch::Receiver<Arc<str>> {
        self.candidate.subscribe()
    }

    pub(crate) fn set_cosigned(&self, note: &str) {
        self.cosigned.send_replace(note.into());
    }

    pub(crate) fn cosigned(&self) -> watch::Receiver<Arc<str>> {
        self.cosigned.subscribe()
    }

    pub(crate) fn hold(&self, follower: &'static str, from: u64) {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner).insert(follower, from);
    }

    /// From here on what is not delivered is counted, and the write-ahead log keeps it.
    pub(crate) fn keep_for_delivery(&self, waiting: Waiting) {
        self.hold(backlog::NAME, 0);
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(waiting);
    }

    /// Everything before this index has been delivered.
    pub(crate) fn deliver(&self, before: u64) {
        if self.with_waiting(|waiting| waiting.deliver(before)).is_some() {
            self.hold(backlog::NAME, before);
        }
    }

    /// What waits; nothing where nothing is delivered.
    pub(crate) fn backlog(&self) -> Option<Backlog> {
        self.with_waiting(|waiting| waiting.backlog())
    }

    pub(crate) fn with_waiting<T>(&self, with: impl FnOnce(&mut Waiting) -> T) -> Option<T> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(with)
    }

    /// Everything before this index is durable with a follower.
    pub(crate) fn held_by(&self, follower: &'static str) -> u64 {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner).get(follower).copied().unwrap_or(0)
    }

    /// Everything before this index is durable with all followers.
    pub(crate) fn held_from(&self) -> u64 {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner).values().copied().min().unwrap_or(0)
    }

    /// No more batches will come.
    pub(crate) fn close(&self) {
        self.is_closed.send_replace(true);
    }

    /// Waits until no more batches will come.
    pub(crate) async fn closed(&self) {
        // The sender is this: it lives as long as we wait.
        let _ = self.is_closed.subscribe().wait_for(|is_closed| *is_closed).await;
    }

    pub(crate) fn is_closed(&self) -> bool {
        *self.is_closed.borrow()
    }

    /// The device has failed: nothing is written or acknowledged from here on.
    pub(crate) fn stop(&self, why: String) {
        tracing::error!("{why}; nothing is written any more");
        self.stopped.send_replace(Some(why));
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.borrow().is_some()
    }

    pub(crate) fn stopped(&self) -> watch::Receiver<Option<String>> {
        self.stopped.subscribe()
    }

    pub(crate) fn set_wanted_durable(&self, index: u64) {
        if self.wanted_durable.swap(index, Ordering::Relaxed) != index {
            self.segment_waits.notify_one();
        }
    }

    /// Waits until another finished segment could be let go of.
    pub(crate) async fn segment_waits(&self) {
        self.segment_waits.notified().await;
    }

    /// Once everything before this index is durable elsewhere, the oldest finished segment can go.
    pub(crate) fn wanted_durable(&self) -> u64 {
        self.wanted_durable.load(Ordering::Relaxed)
    }
}

/// A cursor over the durable log. Cheap; as many as one likes.
pub struct Follower {
    shared: Arc<Shared>,
    point: watch::Receiver<DurablePoint>,
    closed: watch::Receiver<bool>,
    next: u64,
    /// The segment of the write-ahead log that is being read back, for a follower that lags.
    segment: Option<SegmentReader>,
}

/// A batch, or the part of it that a follower has not yet seen.
pub struct Portion {
    batch: Arc<Batch>,
    from: u64,
}

impl Portion {
    /// The entries that are new to this follower.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.batch.entries_from(self.from)
    }

    /// The index of the first of them.
    #[must_use]
    pub const fn from(&self) -> u64 {
        self.from
    }

    /// The whole batch.
    #[must_use]
    pub const fn batch(&self) -> &Arc<Batch> {
        &self.batch
    }
}

impl Follower {
    pub(crate) fn new(shared: Arc<Shared>, from: u64) -> Self {
        let point = shared.point.subscribe();
        let closed = shared.is_closed.subscribe();
        Self { shared, point, closed, next: from, segment: None }
    }

    /// Tells whether more batches may come.
    pub(crate) fn closed(&self) -> watch::Receiver<bool> {
        self.closed.clone()
    }

    /// The index that it reads next.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.next
    }

    /// Waits for records and gives them in order; nothing once the log is closed and all has been read.
    /// May be dropped while it waits.
    ///
    /// # Errors
    /// When older records cannot be read back from disk.
    pub async fn next(&mut self) -> Result<Option<Portion>, FollowError> {
        loop {
            if let Some(portion) = self.try_next()? {
                return Ok(Some(portion));
            }
            if *self.closed.borrow_and_update() {
                return self.try_next();
            }
            tokio::select! {
                _ = self.point.changed() => {}
                _ = self.closed.changed() => {}
            }
        }
    }

    /// Gives what is durable now, without waiting.
    ///
    /// # Errors
    /// When older records cannot be read back from disk.
    pub fn try_next(&mut self) -> Result<Option<Portion>, FollowError> {
        if self.next >= self.point.borrow_and_update().size {
            return Ok(None);
        }
        let batch = match self.shared.recent_with(self.next) {
            Some(batch) => {
                self.segment = None;
                batch
            }
            None => Arc::new(self.read_back()?),
        };
        let from = std::mem::replace(&mut self.next, batch.end());
        Ok(Some(Portion { batch, from }))
    }

    /// From the write-ahead log where it still is, else from the published bundles, which have no content.
    fn read_back(&mut self) -> Result<Batch, FollowError> {
        let (disk, data) = (self.shared.disk.as_ref(), &self.shared.data);
        if let Some(batch) = self.segment.as_mut().and_then(|segment| segment.find(self.next)) {
            return Ok(batch);
        }
        self.segment = SegmentReader::open(disk, data, self.next)?;
        match self.segment.as_mut().and_then(|segment| segment.find(self.next)) {
            Some(batch) => Ok(batch),
            None => read_bundle(disk, data, self.next),
        }
    }
}

/// One segment of the write-ahead log, read into memory.
pub(crate) struct SegmentReader {
    bytes: Vec<u8>,
    offset: usize,
}

impl SegmentReader {
    /// The segment that may hold an index, or nothing when it has been released.
    pub(crate) fn open(disk: &dyn Disk, data: &std::path::Path, index: u64) -> Result<Option<Self>, FollowError> {
        let dir = data.join("wal");
        let segments = list_segments(disk, &dir).map_err(|error| FollowError::Io(dir.clone(), error))?;
        let Some(first) = segments.into_iter().rev().find(|first| *first <= index) else { return Ok(None) };
        let path = segment_path(&dir, first);
        match disk.read(&path) {
            Ok(bytes) => {
                let offset = decode_head(&bytes).map_or(bytes.len(), |(_, _, length)| length);
                Ok(Some(Self { bytes, offset }))
            }
            // Released between the listing and the reading.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FollowError::Io(path, error)),
        }
    }

    /// The batch with an index, at or after where the reader stands.
    pub(crate) fn find(&mut self, index: u64) -> Option<Batch> {
        loop {
            let (batch, length) = frame::read(self.bytes.get(self.offset..)?).ok()?;
            if batch.first() > index {
                return None;
            }
            self.offset += length;
            if index < batch.end() {
                return Some(batch);
            }
        }
    }
}

/// The published bundle with an index.
pub(crate) fn read_bundle(disk: &dyn Disk, data: &std::path::Path, index: u64) -> Result<Batch, FollowError> {
    let number = index / TILE_WIDTH;
    let path = data.join("log").join(EntriesPath { number, width: 256 }.to_string());
    let bytes = packing::read(disk, &path).map_err(|error| FollowError::Io(path.clone(), error))?;
    let leaves: Result<Vec<&[u8]>, _> = Bundle::new(&bytes).collect();
    match leaves {
        Ok(leaves) if leaves.len() as u64 == TILE_WIDTH => {
            Ok(Batch::of_leaves(number * TILE_WIDTH, leaves.into_iter()))
        }
        _ => Err(FollowError::Missing(path, index)),
    }
}
