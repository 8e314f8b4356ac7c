//! The life of a batch, top to bottom, on the one thread that writes.
//!
//! 1. **take**: what queued while the last batch was being made durable, up to a limit;
//! 2. **room**: is there space on the device, beyond the reserve?
//! 3. **stamp**: receive time and sequence number complete each leaf; its hash goes into the tree;
//! 4. **sign**: the checkpoint of the tree with the batch;
//! 5. **write**: one frame, one `fdatasync`;
//! 6. **remember**: the new tally; begin or release segments;
//! 7. **tell**: followers, then whoever is waiting for a receipt.
//!
//! Nothing that 4 signed leaves before 5 has returned. A batch that fails at 2 or at 5 for want of space has
//! changed nothing; one that fails at 5 otherwise ends the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use record::{Timestamp, Unsequenced};
use tlog::{Checkpoint, SignerKey};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use world::World;

use crate::batch::Batch;
use crate::follow::Shared;
use crate::frame::{Frame, FrameWriter};
use crate::ledger::{AppendError, Receipt};
use crate::tally::Tally;
use crate::wal::{Durable, Wal, WriteError};

/// A batch takes no more submissions once it holds this many bytes.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// A batch takes no more submissions once it holds this many records.
const BATCH_RECORDS_MAX: usize = 16_384;

/// Records that are to be appended together, and who waits for them.
pub(crate) struct Submission {
    pub(crate) records: Vec<Unsequenced>,
    pub(crate) reply: oneshot::Sender<Result<Durable<Vec<Receipt>>, AppendError>>,
    /// Their share of the queue's bytes, given back when they are dropped.
    pub(crate) _room: OwnedSemaphorePermit,
}

/// What the sequencer owns.
pub(crate) struct Sequencer {
    pub(crate) world: World,
    pub(crate) queue: mpsc::Receiver<Submission>,
    pub(crate) wal: Wal,
    pub(crate) tally: Tally,
    pub(crate) signer: SignerKey,
    pub(crate) origin: Arc<str>,
    pub(crate) last_received: Timestamp,
    pub(crate) reserve_bytes: u64,
    pub(crate) shared: Arc<Shared>,
    pub(crate) is_full: Arc<AtomicBool>,
    pub(crate) stopped: watch::Sender<Option<String>>,
}

/// Ends the process when the writer panics: what it holds in memory can no longer be trusted to match the disk.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("the ledger's writer panicked; the process ends so that nothing more is acknowledged");
            std::process::abort();
        }
    }
}

impl Sequencer {
    /// Runs until every handle to the log is gone, or the device fails.
    pub(crate) fn run(mut self) {
        let _guard = AbortOnPanic;
        while let Some(first) = self.queue.blocking_recv() {
            let batch = self.take(first);
            match self.commit(&batch) {
                Ok(receipts) => answer(batch, receipts),
                Err(WriteError::Full(cause)) => {
                    self.is_full.store(true, Ordering::Relaxed);
                    tracing::warn!(%cause, "no space to record on; calls are refused until there is");
                    refuse(batch, || AppendError::Full);
                }
                Err(WriteError::Fatal(cause)) => {
                    let why = format!("the device under the log failed: {cause}");
                    tracing::error!("{why}; nothing is written any more");
                    self.stopped.send_replace(Some(why));
                    refuse(batch, || AppendError::Stopped);
                    return;
                }
            }
        }
    }

    fn take(&mut self, first: Submission) -> Vec<Submission> {
        // Whoever is about to submit goes first when the cores are busy, so that one fdatasync carries more. On an idle
        // machine this returns at once.
        std::thread::yield_now();
        let weight = |submission: &Submission| {
            (submission.records.len(), submission.records.iter().map(Unsequenced::size).sum::<usize>())
        };
        let (mut records, mut bytes) = weight(&first);
        let mut batch = vec![first];
        while records < BATCH_RECORDS_MAX && bytes < BATCH_BYTES_MAX {
            let Ok(next) = self.queue.try_recv() else { break };
            let (more_records, more_bytes) = weight(&next);
            records += more_records;
            bytes += more_bytes;
            batch.push(next);
        }
        batch
    }

    fn commit(&mut self, submissions: &[Submission]) -> Result<Durable<Arc<Batch>>, WriteError> {
        self.check_room(submissions)?;
        let mut tally = self.tally.clone();
        let received = self.stamp_time();
        let frame = self.stamp(submissions, received, &mut tally);
        let batch = self.wal.append_durably(frame)?.map(Arc::new);
        self.tally = tally;
        self.last_received = received;
        self.is_full.store(false, Ordering::Relaxed);
        self.wal.release(self.shared.held_from());
        self.wal.roll_when_full(&self.tally);
        self.shared.set_active_segment(self.wal.active_first());
        let told = batch.clone();
        self.shared.publish(batch);
        Ok(told)
    }

    fn check_room(&self, submissions: &[Submission]) -> Result<(), WriteError> {
        let wanted: usize = submissions.iter().flat_map(|s| &s.records).map(Unsequenced::size).sum();
        let free = self.world.disk.free_bytes(&self.shared.data).map_err(WriteError::Fatal)?;
        if free < self.reserve_bytes.saturating_add(wanted as u64) {
            let cause = format!("{free} bytes are free, {} are kept in reserve", self.reserve_bytes);
            return Err(WriteError::Full(std::io::Error::new(std::io::ErrorKind::StorageFull, cause)));
        }
        Ok(())
    }

    /// The time of receipt never goes back within a log, even when the machine's clock does.
    fn stamp_time(&self) -> Timestamp {
        Timestamp::from_micros(self.world.clock.now_micros()).max(self.last_received)
    }

    fn stamp(&self, submissions: &[Submission], received: Timestamp, tally: &mut Tally) -> Frame {
        let records = || submissions.iter().flat_map(|submission| &submission.records);
        // 80 bytes cover what is spliced into a leaf and the lengths around it.
        let capacity = records().map(|record| record.size() + 80).sum::<usize>() + 512;
        let mut frame = FrameWriter::new(tally.size(), capacity);
        for record in records() {
            let seq = tally.next_seq(record.producer());
            let hash = frame.push(|out| record.write_leaf(received, seq, out), record.content());
            tally.admit(hash, record.producer(), seq, record.phase());
        }
        let checkpoint =
            Checkpoint { origin: self.origin.to_string(), size: tally.size(), root: tally.frontier.root() };
        frame.finish(checkpoint.sign(&self.signer))
    }
}

fn answer(submissions: Vec<Submission>, batch: Durable<Arc<Batch>>) {
    let mut next = batch.first();
    for submission in submissions {
        let ids: Vec<_> = submission.records.iter().map(Unsequenced::id).collect();
        let receipts = batch.clone().map(|batch| {
            ids.into_iter()
                .zip(batch.entries_from(next))
                .map(|(id, entry)| Receipt { id, index: entry.index, leaf_hash: entry.hash })
                .collect::<Vec<_>>()
        });
        next += receipts.len() as u64;
        // Whoever went away has still been recorded.
        let _ = submission.reply.send(Ok(receipts));
    }
}

fn refuse(submissions: Vec<Submission>, why: impl Fn() -> AppendError) {
    for submission in submissions {
        let _ = submission.reply.send(Err(why()));
    }
}
