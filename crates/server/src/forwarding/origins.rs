//! How far other logs have been delivered here, and who may deliver them.
//!
//! All of it follows from this log: a forwarded record says from which place of which log it is, and a `control` record says which
//! sender delivers a log. So it is read back from the log, when the first node asks. A file keeps what was read, so that the next
//! start need not read all; without the file, or with one of another log, all is read again.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use ingest::forwarded::{INDEX, LEAF_HASH, PRODUCER_PREFIX};
use ledger::{AppendError, FollowError, Ledger};
use record::{Draft, Envelope, Value};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex as AsyncMutex, watch};
use world::World;

use crate::problem::Problem;

/// The producer of the records that say who delivers a log.
pub(crate) const BINDING_PRODUCER: &str = "forward";
/// In such a record: the log …
pub(crate) const BOUND_ORIGIN: &str = "testimony.forward.origin";
/// … and who delivers it.
pub(crate) const BOUND_SENDER: &str = "testimony.forward.sender";
/// The file below the data directory.
const FILE: &str = "forwarded.json";
/// How every record that matters here says so: what does not have this in its leaf is passed over unread.
const SIGN: &str = "\"producer\":\"forward";
/// The file is written anew after so many records, which is what a start reads at most of those that were forwarded.
const KEEP_EVERY_RECORDS: u64 = 65_536;
/// The most logs that are delivered to one centre.
const ORIGINS_MAX: usize = 10_000;
/// A node waits this long for the log to be read back, then it is told to come again.
const PATIENCE: Duration = Duration::from_secs(10);

/// What this log holds of others. Clones are the same.
#[derive(Clone)]
pub struct Forwarded(Arc<Inner>);

struct Inner {
    world: World,
    file: PathBuf,
    ledger: Ledger,
    phase: watch::Sender<Phase>,
    /// The size of this log that the file covers.
    kept: AtomicU64,
}

enum Phase {
    Unread,
    Reading,
    Read(Arc<Origins>),
}

/// Every log that is delivered here.
#[derive(Default)]
pub(crate) struct Origins(Mutex<Book>);

#[derive(Default)]
struct Book {
    slots: BTreeMap<String, Slot>,
    /// Which log a sender delivers: each delivers one.
    by_sender: HashMap<String, String>,
}

#[derive(Default, Clone)]
struct Slot {
    delivered: Arc<AsyncMutex<Delivered>>,
    sender: Option<String>,
}

/// How far one log has been delivered. Whoever stores records of it holds this until they are durable.
#[derive(Default)]
pub(crate) struct Delivered {
    /// The index of the first record that is not here.
    pub(crate) next: u64,
    /// The leaf hash of the record before it.
    pub(crate) last: Option<String>,
    /// What still has to be said of records that are passed by. Until it is durable, nothing further is acknowledged.
    pub(crate) owed: Vec<Draft>,
}

impl Delivered {
    /// Makes durable what is owed.
    pub(crate) async fn settle(&mut self, ledger: &Ledger) -> Result<(), AppendError> {
        if self.owed.is_empty() {
            return Ok(());
        }
        for verdict in ledger.append_each(self.owed.clone()).await? {
            if let Err(invalid) = verdict {
                tracing::error!(%invalid, "what stands for a forwarded record could not be recorded");
            }
        }
        self.owed.clear();
        Ok(())
    }
}

/// The file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    /// Everything before this index of our own log has been read.
    read: u64,
    /// The hash of the leaf before it, by which a file of another log is told.
    leaf: Option<String>,
    origins: BTreeMap<String, KeptOrigin>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct KeptOrigin {
    next: u64,
    last: Option<String>,
    sender: Option<String>,
}

impl Forwarded {
    /// What a log holds of others; nothing is read before somebody asks.
    #[must_use]
    pub fn new(world: &World, data: &Path, ledger: &Ledger) -> Self {
        Self(Arc::new(Inner {
            world: world.clone(),
            file: data.join(FILE),
            ledger: ledger.clone(),
            phase: watch::Sender::new(Phase::Unread),
            kept: AtomicU64::new(0),
        }))
    }

    /// Everything that there is, once the log has been read back.
    pub(crate) async fn origins(&self) -> Result<Arc<Origins>, Problem> {
        let begins = self.0.phase.send_if_modified(|phase| {
            let is_unread = matches!(phase, Phase::Unread);
            if is_unread {
                *phase = Phase::Reading;
            }
            is_unread
        });
        if begins {
            let this = self.clone();
            tokio::task::spawn_blocking(move || this.read_back());
        }
        let mut phase = self.0.phase.subscribe();
        let waited = tokio::time::timeout(PATIENCE, phase.wait_for(|phase| !matches!(phase, Phase::Reading))).await;
        if let Ok(Ok(phase)) = waited
            && let Phase::Read(origins) = &*phase
        {
            return Ok(origins.clone());
        }
        let detail = "it is still being read back from the log what other logs have delivered; come again in a moment";
        Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "reading", detail).retry_after(5))
    }

    fn read_back(&self) {
        let phase = match self.collect() {
            Ok(kept) => Phase::Read(Arc::new(Origins::of(kept))),
            Err(error) => {
                tracing::error!(%error, "what other logs have delivered could not be read back");
                Phase::Unread
            }
        };
        self.0.phase.send_replace(phase);
    }

    /// From the file, and from the log after it. Blocks.
    fn collect(&self) -> Result<Kept, FollowError> {
        let mut kept = self.file_of_this_log()?;
        self.0.kept.store(kept.read, Ordering::Relaxed);
        let mut follower = self.0.ledger.follow(kept.read);
        while let Some(portion) = follower.try_next()? {
            portion.entries().for_each(|entry| kept.see(entry.leaf));
        }
        kept.read = follower.position();
        Ok(kept)
    }

    /// The file, if it is one of this log.
    fn file_of_this_log(&self) -> Result<Kept, FollowError> {
        let Ok(bytes) = self.0.world.disk.read(&self.0.file) else { return Ok(Kept::default()) };
        let Ok(kept) = serde_json::from_slice::<Kept>(&bytes) else { return Ok(Kept::default()) };
        let is_ours = kept.read <= self.0.ledger.durable().size && self.leaf_before(kept.read)? == kept.leaf;
        Ok(if is_ours { kept } else { Kept::default() })
    }

    fn leaf_before(&self, index: u64) -> Result<Option<String>, FollowError> {
        let Some(before) = index.checked_sub(1) else { return Ok(None) };
        let portion = self.0.ledger.read(before)?;
        Ok(portion.and_then(|portion| portion.entries().next().map(|entry| entry.hash.to_string())))
    }

    /// Writes the file anew when much has come since, without holding anybody up.
    pub(crate) fn keep(&self, origins: &Arc<Origins>) {
        let size = self.0.ledger.durable().size;
        let kept = self.0.kept.load(Ordering::Relaxed);
        let is_due = size.saturating_sub(kept) >= KEEP_EVERY_RECORDS;
        if is_due && self.0.kept.compare_exchange(kept, size, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let (this, origins) = (self.clone(), origins.clone());
            tokio::spawn(async move { this.write(&origins).await });
        }
    }

    /// Writes the file.
    pub(crate) async fn write(&self, origins: &Origins) {
        // The size first: whatever of these logs was durable by now is then counted below, under the lock of its log.
        let read = self.0.ledger.durable().size;
        let mut kept = Kept { read, ..Kept::default() };
        for (origin, slot) in origins.slots() {
            let delivered = slot.delivered.lock().await;
            let (next, last) = (delivered.next, delivered.last.clone());
            kept.origins.insert(origin, KeptOrigin { next, last, sender: slot.sender });
        }
        let this = self.clone();
        let written = tokio::task::spawn_blocking(move || {
            kept.leaf = this.leaf_before(read).map_err(|error| error.to_string())?;
            let bytes = serde_json::to_vec(&kept).map_err(|error| error.to_string())?;
            this.0.world.disk.replace_durably(&this.0.file, &bytes).map_err(|error| error.to_string())
        });
        if let Ok(Err(why)) = written.await {
            tracing::warn!(
                why,
                "how far other logs have been delivered could not be noted; a start will read more of the log"
            );
        }
    }
}

impl Kept {
    /// Takes in what a record of our own log says of another.
    fn see(&mut self, leaf: &[u8]) {
        if !std::str::from_utf8(leaf).is_ok_and(|text| text.contains(SIGN)) {
            return;
        }
        let Ok(envelope) = Envelope::parse(leaf) else { return };
        let text = |name: &str| match envelope.attributes.value(name) {
            Some(Value::Text(text)) => Some(text.to_string()),
            _ => None,
        };
        let producer = envelope.source.producer.as_ref();
        if producer == BINDING_PRODUCER {
            if let (Some(origin), Some(sender)) = (text(BOUND_ORIGIN), text(BOUND_SENDER)) {
                self.origins.entry(origin).or_default().sender = Some(sender);
            }
            return;
        }
        let Some(origin) = producer.strip_prefix(PRODUCER_PREFIX) else { return };
        let index = match envelope.attributes.value(INDEX) {
            Some(Value::Int(index)) => u64::try_from(*index).ok(),
            _ => None,
        };
        let known = self.origins.entry(origin.to_owned()).or_default();
        if let Some(index) = index.filter(|index| *index >= known.next) {
            (known.next, known.last) = (index + 1, text(LEAF_HASH));
        }
    }
}

impl Origins {
    fn of(kept: Kept) -> Self {
        let mut book = Book::default();
        for (origin, KeptOrigin { next, last, sender }) in kept.origins {
            if let Some(sender) = &sender {
                book.by_sender.insert(sender.clone(), origin.clone());
            }
            let delivered = Arc::new(AsyncMutex::new(Delivered { next, last, owed: Vec::new() }));
            book.slots.insert(origin, Slot { delivered, sender });
        }
        Self(Mutex::new(book))
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slots(&self) -> Vec<(String, Slot)> {
        self.lock().slots.iter().map(|(origin, slot)| (origin.clone(), slot.clone())).collect()
    }

    /// How far a log is, for whoever asks; none where nothing has come of it yet.
    pub(crate) fn known(&self, origin: &str) -> Option<Arc<AsyncMutex<Delivered>>> {
        self.lock().slots.get(origin).map(|slot| slot.delivered.clone())
    }

    /// How far a log is, for whoever delivers it.
    pub(crate) fn of_sender(&self, origin: &str) -> Result<Arc<AsyncMutex<Delivered>>, String> {
        let mut book = self.lock();
        if book.slots.len() >= ORIGINS_MAX && !book.slots.contains_key(origin) {
            return Err(format!("{ORIGINS_MAX} logs are delivered here already, the most that may be"));
        }
        Ok(book.slots.entry(origin.to_owned()).or_default().delivered.clone())
    }

    /// Why a sender may not deliver a log: another one does, or it delivers another one.
    pub(crate) fn check(&self, origin: &str, sender: &str) -> Result<(), String> {
        self.lock().check(origin, sender)
    }

    /// Lets a log be delivered by this sender alone from now on; whether that is new, and has to be recorded.
    pub(crate) fn bind(&self, origin: &str, sender: &str) -> Result<bool, String> {
        let mut book = self.lock();
        book.check(origin, sender)?;
        let slot = book.slots.entry(origin.to_owned()).or_default();
        let is_new = slot.sender.is_none();
        slot.sender = Some(sender.to_owned());
        book.by_sender.insert(sender.to_owned(), origin.to_owned());
        Ok(is_new)
    }

    /// What [`Origins::bind`] did could not be recorded.
    pub(crate) fn unbind(&self, origin: &str, sender: &str) {
        let mut book = self.lock();
        if let Some(slot) = book.slots.get_mut(origin) {
            slot.sender = None;
        }
        book.by_sender.remove(sender);
    }
}

impl Book {
    fn check(&self, origin: &str, sender: &str) -> Result<(), String> {
        let bound = self.slots.get(origin).and_then(|slot| slot.sender.as_deref());
        if let Some(other) = bound.filter(|other| *other != sender) {
            return Err(format!("the log {origin:?} is delivered by {other:?}, and this is {sender:?}"));
        }
        match self.by_sender.get(sender).filter(|other| *other != origin) {
            Some(other) => Err(format!(
                "{sender:?} delivers the log {other:?}, and this is {origin:?}: make a key of another name for it"
            )),
            None => Ok(()),
        }
    }
}
