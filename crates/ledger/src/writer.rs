//! The life of a batch, top to bottom, for whoever holds the writer: the sequencer's thread, or a caller that found
//! it free.
//!
//! 1. **place**: a record that its producer has sent before keeps the place that it has;
//!    **room**: is there space on the device, beyond the reserve, for the others?
//! 2. **stamp**: receive time and sequence number complete each leaf; its hash goes into the tree;
//! 3. **sign**: the checkpoint of the tree with the batch;
//! 4. **write**: one frame, one `fdatasync`;
//! 5. **remember**: the new tally; begin or release segments;
//! 6. **tell** followers. Receipts are given out by whoever asked for the batch.
//!
//! Nothing that 3 signed leaves before 4 has returned. A batch that fails at 1 or at 4 for want of space has
//! changed nothing; one that fails at 4 otherwise ends the log.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use record::{Timestamp, Unsequenced};
use tlog::{Checkpoint, SignerKey};
use world::World;

use crate::backlog::OWN_PRODUCER;
use crate::batch::Batch;
use crate::follow::Shared;
use crate::frame::{Frame, FrameWriter};
use crate::ledger::AppendError;
use crate::once::{Once, Placement, Spot};
use crate::tally::{Admitted, Tally};
use crate::wal::{Durable, Wal, WriteError};

/// What writing takes. There is one for a log.
pub(crate) struct Writer {
    pub(crate) world: World,
    pub(crate) wal: Wal,
    pub(crate) tally: Tally,
    pub(crate) once: Once,
    pub(crate) signer: SignerKey,
    pub(crate) origin: Arc<str>,
    pub(crate) last_received: Timestamp,
    pub(crate) reserve_bytes: u64,
    pub(crate) shared: Arc<Shared>,
    pub(crate) is_full: Arc<AtomicBool>,
}

/// Records that are durable.
#[derive(Clone)]
pub(crate) struct Written {
    /// Those that were new; nothing when all of them were there already.
    pub(crate) batch: Option<Arc<Batch>>,
    /// One for each record.
    pub(crate) spots: Arc<[Spot]>,
}

/// Where the writer lies while nobody writes; empty once the device has failed or the log is closed.
#[derive(Clone)]
pub(crate) struct WriterSlot(Arc<Mutex<Option<Writer>>>);

/// Ends the process when whoever holds it panics: what the writer holds in memory can no longer be trusted to match the disk.
pub(crate) struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("the ledger's writer panicked; the process ends so that nothing more is acknowledged");
            std::process::abort();
        }
    }
}

impl WriterSlot {
    pub(crate) fn new(writer: Writer) -> Self {
        Self(Arc::new(Mutex::new(Some(writer))))
    }

    /// Writes records as one batch, after whoever writes now.
    pub(crate) fn write(&self, records: &[&Unsequenced]) -> Result<Durable<Written>, AppendError> {
        write(self.0.lock().unwrap_or_else(PoisonError::into_inner), records)
    }

    /// Writes records as one batch if nobody writes now.
    pub(crate) fn try_write(&self, records: &[&Unsequenced]) -> Option<Result<Durable<Written>, AppendError>> {
        match self.0.try_lock() {
            Ok(slot) => Some(write(slot, records)),
            Err(TryLockError::Poisoned(slot)) => Some(write(slot.into_inner(), records)),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Nothing is written from here on.
    pub(crate) fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

fn write(mut slot: MutexGuard<'_, Option<Writer>>, records: &[&Unsequenced]) -> Result<Durable<Written>, AppendError> {
    let _guard = AbortOnPanic;
    // Empty after a failure, which whoever wrote then has told; or closed, when only a late caller comes here.
    let writer = slot.as_mut().filter(|writer| !writer.shared.is_stopped()).ok_or(AppendError::Stopped)?;
    match writer.commit(records) {
        Ok(written) => Ok(written),
        Err(WriteError::Full(cause)) => {
            writer.is_full.store(true, Ordering::Relaxed);
            tracing::warn!(%cause, "no space to record on; calls are refused until there is");
            Err(AppendError::Full)
        }
        Err(WriteError::Fatal(cause)) => {
            writer.shared.stop(format!("the device under the log failed: {cause}"));
            slot.take();
            Err(AppendError::Stopped)
        }
    }
}

/// There is no room: nothing was written, and it may be tried again.
fn full(cause: String) -> WriteError {
    WriteError::Full(std::io::Error::new(std::io::ErrorKind::StorageFull, cause))
}

impl Writer {
    fn commit(&mut self, records: &[&Unsequenced]) -> Result<Durable<Written>, WriteError> {
        let Placement { new, spots } = self.once.place(records, self.tally.size());
        let last = spots.iter().map(|spot| spot.index).max().unwrap_or(0);
        if let (true, Some(there)) = (new.is_empty(), self.wal.already_durable(last)) {
            return Ok(there.map(|_| Written { batch: None, spots: spots.into() }));
        }
        self.check_room(&new)?;
        let mut tally = self.tally.clone();
        let received = self.stamp_time();
        let frame = self.stamp(&new, received, &mut tally);
        let began = Instant::now();
        let batch = self.wal.append_durably(frame)?.map(Arc::new);
        self.shared.pulse.has_written(began.elapsed());
        self.shared.pulse.open_calls.store(tally.calls_under_way(), Ordering::Relaxed);
        self.once.take_in(&new, self.tally.size());
        self.tally = tally;
        let before = std::mem::replace(&mut self.last_received, received);
        // Before the first record there was no day.
        let is_another_day = before > Timestamp::from_micros(i64::MIN) && before.day() != received.day();
        self.is_full.store(false, Ordering::Relaxed);
        let released = self.wal.release(self.shared.held_from());
        let gone_on = released.and_then(|()| self.wal.roll_when_due(&self.tally, is_another_day));
        self.shared.set_wanted_durable(self.wal.wanted_durable());
        let written = batch.clone().map(|batch| Written { batch: Some(batch), spots: spots.into() });
        self.shared.publish(batch);
        // This batch is durable and is acknowledged; it is the last one.
        if let Err(cause) = gone_on {
            self.shared.stop(format!("the device under the log failed: {cause}"));
        }
        Ok(written)
    }

    fn check_room(&self, records: &[&Unsequenced]) -> Result<(), WriteError> {
        let wanted: usize = records.iter().map(|record| record.size()).sum();
        let free = self.world.disk.free_bytes(&self.shared.data).map_err(WriteError::Fatal)?;
        if free < self.reserve_bytes.saturating_add(wanted as u64) {
            let cause = format!("{free} bytes are free, {} are kept in reserve", self.reserve_bytes);
            return Err(full(cause));
        }
        let is_over = self.shared.with_waiting(|waiting| waiting.is_over_with(wanted as u64)).unwrap_or(false);
        if is_over && records.iter().any(|record| record.producer() != OWN_PRODUCER) {
            return Err(full("as many bytes wait to be delivered as may".to_owned()));
        }
        Ok(())
    }

    /// The time of receipt never goes back within a log, even when the machine's clock does.
    fn stamp_time(&self) -> Timestamp {
        Timestamp::from_micros(self.world.clock.now_micros()).max(self.last_received)
    }

    fn stamp(&self, records: &[&Unsequenced], received: Timestamp, tally: &mut Tally) -> Frame {
        // 80 bytes cover what is spliced into a leaf and the lengths around it.
        let capacity = records.iter().map(|record| record.size() + 80).sum::<usize>() + 512;
        let mut frame = FrameWriter::new(tally.size(), capacity);
        for record in records {
            let seq = tally.next_seq(record.producer());
            let hash = frame.push(|out| record.write_leaf(received, seq, out), record.content());
            let (producer, phase, is_once) = (record.producer(), record.phase(), record::is_once(record.id()));
            tally.admit(hash, &Admitted { producer, seq, phase, is_once });
        }
        let checkpoint =
            Checkpoint { origin: self.origin.to_string(), size: tally.size(), root: tally.frontier.root() };
        frame.finish(checkpoint.sign(&self.signer))
    }
}
