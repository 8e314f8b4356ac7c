//! The handle to a log.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use record::{Draft, Invalid, Timestamp, Unsequenced, Uuid};
use tlog::{Checkpoint, SignerKey};
use tokio::sync::{Semaphore, mpsc, oneshot};
use world::{DirectoryLock, LockError, World};

use crate::backlog::{Backlog, Waiting};
use crate::figures::Figures;
use crate::follow::{DurablePoint, FollowError, Follower, Portion, Shared};
use crate::identity::{Identity, IdentityError};
use crate::once::Once;
use crate::packing::{PackAt, Packer};
use crate::receipt::{Receipt, receipts, the_one};
use crate::recovery::{Damage, Recovered, Torn, recover};
use crate::sequencer::{self, Place, Submission};
use crate::threads::{spawn, spawn_follower};
use crate::tiles::TileWriter;
use crate::wal::{Durable, Wal};
use crate::writer::{Writer, WriterSlot};

/// How a log is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The name that a new log gets; an existing one must already have it.
    pub origin: Option<String>,
    /// A segment of the write-ahead log ends once it has this many bytes.
    pub wal_segment_bytes: u64,
    /// Appending stops while fewer bytes than this are free, so that reading and verifying still work.
    pub reserve_bytes: u64,
    /// Recent batches that stay in memory for followers.
    pub recent_bytes_max: usize,
    /// Records that may wait to be written, in bytes; whoever brings more waits.
    pub queue_bytes_max: u32,
    /// Whether somebody takes the checkpoints to witnesses: each is then published when it comes back
    /// ([`Ledger::next_candidate`], [`Ledger::publish_cosigned`]), or after some seconds without.
    pub is_witnessed: bool,
    /// How much of the write-ahead log may wait to be delivered elsewhere ([`Ledger::delivered`]); none: nothing is delivered, and
    /// nothing kept for it. At the bound appending finds no space.
    pub backlog_bytes_max: Option<u64>,
    /// Whether old entry bundles are kept as gzip.
    pub pack_entries: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            origin: None,
            wal_segment_bytes: 16 << 20,
            reserve_bytes: 64 << 20,
            recent_bytes_max: 64 << 20,
            queue_bytes_max: 128 << 20,
            is_witnessed: false,
            backlog_bytes_max: None,
            pack_entries: true,
        }
    }
}

/// Submissions that may wait; each holds at least one record.
const QUEUE_SUBMISSIONS_MAX: usize = 65_536;

/// After the device was full, this much beyond the reserve must be free before it counts as having room.
const ROOM_AGAIN_BYTES: u64 = 1 << 20;
/// With less than this beyond the reserve, space is tight: more than the records of all calls under way may take at once.
const TIGHT_BYTES: u64 = 256 << 20;

/// Why records were not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// A draft breaks a rule. Nothing was written.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// There is no space. Nothing was written; it may be tried again.
    #[error("there is no space left to record on")]
    Full,
    /// More at once than may ever wait. Nothing was written.
    #[error("{0} bytes at once are more than the queue may hold")]
    TooMuch(usize),
    /// The log is being closed. Nothing was written.
    #[error("the log is being closed")]
    Closed,
    /// All are recorded, but the leaf of one that had been sent before cannot be read back.
    #[error("record {0} had been sent before and is there, but it cannot be read back: {1}")]
    Unread(u64, String),
    /// The device failed while these were being written: whether they will be found again is unknown.
    #[error("the device under the log failed")]
    Stopped,
}

/// Why a log cannot be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Its keys.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// What is on disk is not what was written.
    #[error(transparent)]
    Damage(#[from] Damage),
    /// The published log cannot be gone on with.
    #[error("the published log cannot be gone on with")]
    Tiles(#[source] FollowError),
    /// A file or thread could not be made.
    #[error("could not prepare {0}")]
    Io(PathBuf, #[source] io::Error),
}

/// A log that has been opened, and what was found.
pub struct Opened {
    /// The log.
    pub ledger: Ledger,
    /// Its keys.
    pub identity: Identity,
    /// The end of a frame that never became durable and has been cut away.
    pub torn: Option<Torn>,
    /// Calls that had begun and not ended: call id and index of the request's record.
    pub open_calls: Vec<(Uuid, u64)>,
}

type Places = oneshot::Receiver<Result<Durable<Vec<Place>>, AppendError>>;

/// A record that is on its way.
pub struct Submitted {
    id: Uuid,
    places: Places,
    ledger: Ledger,
}

impl Submitted {
    /// Waits until the record is durable.
    ///
    /// # Errors
    /// See [`AppendError`]: only [`AppendError::Stopped`] leaves the outcome open.
    pub async fn durable(self) -> Result<Durable<Receipt>, AppendError> {
        let places = self.places.await.map_err(|_| self.ledger.why_closed())??;
        Ok(the_one(receipts(&self.ledger, places)?, self.id))
    }
}

/// The log. Clones are the same log; it closes when [`Ledger::close`] is called or the last clone goes.
#[derive(Clone)]
pub struct Ledger(Arc<Inner>);

struct Inner {
    world: World,
    origin: Arc<str>,
    queue: Mutex<Option<mpsc::Sender<Submission>>>,
    writer: WriterSlot,
    room: Arc<Semaphore>,
    queue_bytes_max: u32,
    reserve_bytes: u64,
    shared: Arc<Shared>,
    is_full: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    lock: Mutex<Option<DirectoryLock>>,
}

impl Ledger {
    /// Opens the log in a data directory, or begins one there.
    ///
    /// # Errors
    /// When another process has it, when it is damaged, or when files cannot be made.
    pub fn open(world: &World, data: &Path, options: &Options) -> Result<Opened, OpenError> {
        let io = |error| OpenError::Io(data.to_owned(), error);
        for dir in [data.to_owned(), data.join("wal"), data.join("log")] {
            world.disk.create_dirs(&dir).map_err(io)?;
        }
        let lock = world.disk.lock(data)?;
        let identity = Identity::open_or_create(world, data, options.origin.as_deref())?;
        let mut last_received = Timestamp::from_micros(i64::MIN);
        let mut waiting: Option<Waiting> = None;
        let found = recover(world.disk.as_ref(), data, &identity, &mut |batch| {
            if let Some(bytes_max) = options.backlog_bytes_max {
                let waiting = waiting.get_or_insert_with(|| Waiting::new(bytes_max, batch.first()));
                waiting.take_in(batch.end(), batch.buffer().len() as u64);
            }
            let last =
                batch.entries().last().and_then(|entry| Some(record::Envelope::parse(entry.leaf).ok()?.received));
            last_received = last.map_or(last_received, |received| received.max(last_received));
        })?;
        let wal = open_wal(world, data, &identity.signer, &found, options).map_err(io)?;
        let open_calls = found.tally.open_calls().collect();
        let (torn, size) = (found.torn.clone(), found.tally.size());
        let ledger = Self::start(world, data, options, lock, identity.signer.clone(), found, wal, last_received)?;
        // Nothing is released before something is appended, and nobody can append yet.
        if let Some(bytes_max) = options.backlog_bytes_max {
            ledger.0.shared.keep_for_delivery(waiting.unwrap_or_else(|| Waiting::new(bytes_max, size)));
        }
        Ok(Opened { ledger, identity, torn, open_calls })
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one thing, put together once")]
    fn start(
        world: &World,
        data: &Path,
        options: &Options,
        lock: DirectoryLock,
        signer: SignerKey,
        mut found: Recovered,
        wal: Wal,
        last_received: Timestamp,
    ) -> Result<Self, OpenError> {
        let origin: Arc<str> = signer.verifier().name().into();
        let size = found.tally.size();
        // After a rotation the last frame is signed by a former key; what is published from now on is signed by this one.
        let is_ours = |note: &String| Checkpoint::verify(note.as_bytes(), signer.verifier()).is_ok();
        let checkpoint = found.checkpoint.filter(is_ours).unwrap_or_else(|| {
            Checkpoint { origin: origin.to_string(), size, root: found.tally.frontier.root() }.sign(&signer)
        });
        let point = DurablePoint { size, checkpoint: checkpoint.into() };
        let shared = Arc::new(Shared::new(world.disk.clone(), data.to_owned(), point, options.recent_bytes_max));
        shared.set_wanted_durable(wal.wanted_durable());
        shared.pulse.open_calls.store(found.tally.calls_under_way(), Ordering::Relaxed);
        let wal_first = found.segments.first().copied().unwrap_or(size);
        let published = found.published.unwrap_or(0);
        let recent = std::mem::take(&mut found.once);
        let once = Once::read_back(world.disk.as_ref(), data, size, found.tally.once_end(), wal_first, recent);
        let once = once.map_err(OpenError::Tiles)?;
        let tiles =
            TileWriter::resume(shared.clone(), wal_first, published, options.is_witnessed).map_err(OpenError::Tiles)?;
        let follower = Follower::new(shared.clone(), tiles.position());
        let (sender, queue) = mpsc::channel(QUEUE_SUBMISSIONS_MAX);
        let is_full = Arc::new(AtomicBool::new(false));
        let writer = WriterSlot::new(Writer {
            world: world.clone(),
            wal,
            tally: found.tally,
            once,
            signer,
            origin: origin.clone(),
            last_received,
            reserve_bytes: options.reserve_bytes,
            shared: shared.clone(),
            is_full: is_full.clone(),
        });
        let io = |error| OpenError::Io(data.to_owned(), error);
        let (closing, writing) = (shared.clone(), writer.clone());
        let packer = options.pack_entries.then(|| Packer::resume(shared.clone(), PackAt::default()));
        let mut threads = vec![
            spawn("ledger", move || {
                sequencer::run(queue, &writing);
                writing.close();
                closing.close();
            })
            .map_err(io)?,
            spawn_follower("tiles", move || tiles.run(follower)).map_err(io)?,
        ];
        threads.extend(packer.map(|packer| spawn_follower("packing", || packer.run()).map_err(io)).transpose()?);
        Ok(Self(Arc::new(Inner {
            world: world.clone(),
            origin,
            queue: Mutex::new(Some(sender)),
            writer,
            room: Arc::new(Semaphore::new(options.queue_bytes_max as usize)),
            queue_bytes_max: options.queue_bytes_max,
            reserve_bytes: options.reserve_bytes,
            shared,
            is_full,
            threads: Mutex::new(threads),
            lock: Mutex::new(Some(lock)),
        })))
    }

    /// Appends one record. Returns once it is durable.
    ///
    /// # Errors
    /// See [`AppendError`]: only [`AppendError::Stopped`] leaves the outcome open.
    pub async fn append(&self, draft: Draft) -> Result<Durable<Receipt>, AppendError> {
        self.submit(draft).await?.durable().await
    }

    /// Appends one record on the calling thread if nobody is writing just now, and as [`Ledger::append`] does
    /// otherwise. That blocks the thread for one `fdatasync` and spares it two switches to another: it is for a caller
    /// whose thread has nothing else to do meanwhile.
    ///
    /// # Errors
    /// See [`AppendError`]: only [`AppendError::Stopped`] leaves the outcome open.
    pub async fn append_here(&self, draft: Draft) -> Result<Durable<Receipt>, AppendError> {
        let (id, record) = (draft.id, draft.seal(self.0.world.entropy.bytes())?);
        match self.0.writer.try_write(&[&record]) {
            Some(Ok(written)) => Ok(the_one(receipts(self, sequencer::places(&[record], &written, 0))?, id)),
            Some(Err(AppendError::Stopped)) => Err(self.why_closed()),
            Some(Err(error)) => Err(error),
            None => {
                let places = self.enqueue(vec![record]).await?;
                Submitted { id, places, ledger: self.clone() }.durable().await
            }
        }
    }

    /// Puts one record into the queue, waiting only for room there. The receipt can be waited for later; the record is
    /// appended whether or not anybody does.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was written.
    pub async fn submit(&self, draft: Draft) -> Result<Submitted, AppendError> {
        Ok(Submitted { id: draft.id, places: self.enqueue(self.seal(vec![draft])?).await?, ledger: self.clone() })
    }

    /// Appends records that stand together in the log. Returns once all are durable.
    ///
    /// # Errors
    /// See [`AppendError`]; either all are appended or none is.
    pub async fn append_all(&self, drafts: Vec<Draft>) -> Result<Durable<Vec<Receipt>>, AppendError> {
        let places = self.enqueue(self.seal(drafts)?).await?;
        receipts(self, places.await.map_err(|_| self.why_closed())??)
    }

    /// Appends those of some drafts that break no rule, as [`Ledger::append_all`] does; for each draft its receipt, or the rule
    /// that it breaks.
    ///
    /// # Errors
    /// See [`AppendError`]; then none is appended.
    pub async fn append_each(&self, drafts: Vec<Draft>) -> Result<Vec<Result<Receipt, Invalid>>, AppendError> {
        let (mut records, mut verdicts) = (Vec::with_capacity(drafts.len()), Vec::with_capacity(drafts.len()));
        for draft in drafts {
            verdicts.push(draft.seal(self.0.world.entropy.bytes()).map(|record| records.push(record)));
        }
        if records.is_empty() {
            return Ok(verdicts.into_iter().filter_map(Result::err).map(Err).collect());
        }
        let places = self.enqueue(records).await?;
        let receipts = receipts(self, places.await.map_err(|_| self.why_closed())??)?.into_inner();
        let mut receipts = receipts.into_iter();
        Ok(verdicts.into_iter().filter_map(|verdict| verdict.map(|()| receipts.next()).transpose()).collect())
    }

    fn seal(&self, drafts: Vec<Draft>) -> Result<Vec<Unsequenced>, Invalid> {
        drafts.into_iter().map(|draft| draft.seal(self.0.world.entropy.bytes())).collect()
    }

    async fn enqueue(&self, records: Vec<Unsequenced>) -> Result<Places, AppendError> {
        let bytes: usize = records.iter().map(Unsequenced::size).sum();
        let share = u32::try_from(bytes).ok().filter(|bytes| *bytes <= self.0.queue_bytes_max);
        let share = share.ok_or(AppendError::TooMuch(bytes))?;
        let room = self.0.room.clone().acquire_many_owned(share).await.map_err(|_| AppendError::Closed)?;
        let queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (reply, places) = oneshot::channel();
        let submission = Submission { records, reply, _room: room };
        queue.ok_or(AppendError::Closed)?.send(submission).await.map_err(|_| self.why_closed())?;
        Ok(places)
    }

    fn why_closed(&self) -> AppendError {
        if self.0.shared.is_stopped() { AppendError::Stopped } else { AppendError::Closed }
    }

    /// Whether there is no space to record on: the last attempt found none, and there has been none since.
    #[must_use]
    pub fn is_full(&self) -> bool {
        if !self.0.is_full.load(Ordering::Relaxed) {
            return false;
        }
        let free = self.0.world.disk.free_bytes(&self.0.shared.data).unwrap_or(0);
        let may_wait = self.0.shared.with_waiting(|waiting| waiting.has_room_again()).unwrap_or(true);
        let has_room = may_wait && free >= self.0.reserve_bytes.saturating_add(ROOM_AGAIN_BYTES);
        if has_room {
            self.0.is_full.store(false, Ordering::Relaxed);
        }
        !has_room
    }

    /// Whether space is so short that the next records may find none. Whoever must not begin what cannot be recorded
    /// then waits for the receipt first.
    #[must_use]
    pub fn is_tight(&self) -> bool {
        let free = self.0.world.disk.free_bytes(&self.0.shared.data).unwrap_or(0);
        let is_backlog_tight =
            self.backlog().is_some_and(|backlog| backlog.bytes.saturating_add(TIGHT_BYTES) > backlog.bytes_max);
        is_backlog_tight || free < self.0.reserve_bytes.saturating_add(TIGHT_BYTES)
    }

    /// Waits until the device under the log fails, and says how. For ever, on a good day.
    pub async fn stopped(&self) -> String {
        let mut stopped = self.0.shared.stopped();
        loop {
            if let Some(why) = stopped.borrow_and_update().clone() {
                return why;
            }
            if stopped.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// The log's name.
    #[must_use]
    pub fn origin(&self) -> &Arc<str> {
        &self.0.origin
    }

    /// How far the log is durable.
    #[must_use]
    pub fn durable(&self) -> DurablePoint {
        self.0.shared.point()
    }

    /// Waits until a published checkpoint covers the record with an index. It does within a second, unless the log is closed or
    /// there is no space to publish.
    pub async fn published_over(&self, index: u64) {
        let mut published = self.0.shared.published();
        // The sender lives as long as the log.
        let _ = published.wait_for(|size| *size > index).await;
    }

    /// Each checkpoint that is about to be published, newest first come; its tiles are on disk. `seen` is moved on.
    pub async fn next_candidate(&self, seen: &mut Arc<str>) -> Arc<str> {
        let mut candidates = self.0.shared.candidates();
        let before = seen.clone();
        // The sender lives as long as the log.
        if let Ok(next) = candidates.wait_for(|candidate| **candidate != *before).await {
            seen.clone_from(&next);
        }
        seen.clone()
    }

    /// Publishes a checkpoint that has come back from witnesses with their signatures. One that is out of date is dropped.
    pub fn publish_cosigned(&self, note: &str) {
        self.0.shared.set_cosigned(note);
    }

    /// What the log is doing, in numbers. Looks at the files of the write-ahead log.
    ///
    /// # Errors
    /// When its folder cannot be read.
    pub fn figures(&self) -> io::Result<Figures> {
        Figures::of(&self.0.shared, self.0.queue_bytes_max, &self.0.room, self.is_full())
    }

    /// A follower that begins at an index.
    #[must_use]
    pub fn follow(&self, from: u64) -> Follower {
        Follower::new(self.0.shared.clone(), from)
    }

    /// Keeps the write-ahead log from this index on until the named follower calls again with a higher one.
    pub fn hold(&self, follower: &'static str, from: u64) {
        self.0.shared.hold(follower, from);
    }

    /// Everything before this index is durable where it is delivered to, so that the write-ahead log need not keep it any longer. It
    /// does keep all of it until this is called, from the start of the log on ([`Options::backlog_bytes_max`]).
    pub fn delivered(&self, before: u64) {
        self.0.shared.deliver(before);
    }

    /// What waits to be delivered; nothing for a log that is not delivered anywhere.
    #[must_use]
    pub fn backlog(&self) -> Option<Backlog> {
        self.0.shared.backlog()
    }

    /// The batch with a durable record; without content once the write-ahead log has let it go.
    ///
    /// # Errors
    /// When it cannot be read back from disk.
    pub fn read(&self, index: u64) -> Result<Option<Portion>, FollowError> {
        self.follow(index).try_next()
    }

    /// Takes no more records, waits until those that were taken are durable and published, ends the threads
    /// and lets the directory go. Blocks; call it where that is allowed.
    pub fn close(&self) {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let threads = std::mem::take(&mut *self.0.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the ledger panicked");
            }
        }
        self.0.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

fn open_wal(world: &World, data: &Path, signer: &SignerKey, found: &Recovered, options: &Options) -> io::Result<Wal> {
    let (disk, dir) = (world.disk.clone(), data.join("wal"));
    let (origin, limit) = (signer.verifier().name(), options.wal_segment_bytes);
    if let Some(torn) = found.torn.as_ref().filter(|torn| torn.offset == 0) {
        disk.remove(&torn.file)?;
    }
    if found.segments.is_empty() {
        return Wal::create(disk, dir, origin, &found.tally, limit);
    }
    let mut wal = Wal::resume(disk, dir, origin, found.segments.clone(), found.length, found.tally.size(), limit)?;
    if found.torn.as_ref().is_some_and(|torn| torn.offset > 0) {
        wal.cut_torn_tail()?;
    }
    Ok(wal)
}

#[cfg(test)]
mod tests;
