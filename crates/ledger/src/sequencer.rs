//! The thread that writes what others have queued: it takes what queued while the last batch was being made durable,
//! has it written as one batch, and answers whoever waits.

use record::{Unsequenced, Uuid};
use tlog::Hash;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::ledger::AppendError;
use crate::once::Spot;
use crate::wal::Durable;
use crate::writer::{AbortOnPanic, WriterSlot, Written};

/// A batch takes no more submissions once it holds this many bytes.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// A batch takes no more submissions once it holds this many records.
const BATCH_RECORDS_MAX: usize = 16_384;

/// Records that are to be appended together, and who waits for them.
pub(crate) struct Submission {
    pub(crate) records: Vec<Unsequenced>,
    pub(crate) reply: oneshot::Sender<Result<Durable<Vec<Place>>, AppendError>>,
    /// Their share of the queue's bytes, given back when they are dropped.
    pub(crate) _room: OwnedSemaphorePermit,
}

/// Where a record stands.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) id: Uuid,
    pub(crate) index: u64,
    pub(crate) is_repeat: bool,
    /// The hash of its leaf; nothing when an earlier batch holds it.
    pub(crate) leaf_hash: Option<Hash>,
}

/// Writes what is queued until every handle to the log is gone, or the device fails.
pub(crate) fn run(mut queue: mpsc::Receiver<Submission>, writer: &WriterSlot) {
    let _guard = AbortOnPanic;
    while let Some(first) = queue.blocking_recv() {
        let batch = take(&mut queue, first);
        let records: Vec<&Unsequenced> = batch.iter().flat_map(|submission| &submission.records).collect();
        match writer.write(&records) {
            Ok(written) => answer(batch, &written),
            Err(error) => {
                let is_the_end = !matches!(error, AppendError::Full);
                refuse(batch, &error);
                if is_the_end {
                    return;
                }
            }
        }
    }
}

fn take(queue: &mut mpsc::Receiver<Submission>, first: Submission) -> Vec<Submission> {
    // Whoever is about to submit goes first when the cores are busy, so that one fdatasync carries more. On an idle
    // machine this returns at once.
    std::thread::yield_now();
    let weight = |submission: &Submission| {
        (submission.records.len(), submission.records.iter().map(Unsequenced::size).sum::<usize>())
    };
    let (mut records, mut bytes) = weight(&first);
    let mut batch = vec![first];
    while records < BATCH_RECORDS_MAX && bytes < BATCH_BYTES_MAX {
        let Ok(next) = queue.try_recv() else { break };
        let (more_records, more_bytes) = weight(&next);
        records += more_records;
        bytes += more_bytes;
        batch.push(next);
    }
    batch
}

fn answer(submissions: Vec<Submission>, written: &Durable<Written>) {
    let mut from = 0;
    for submission in submissions {
        let places = places(&submission.records, written, from);
        from += places.len();
        // Whoever went away has still been recorded.
        let _ = submission.reply.send(Ok(places));
    }
}

/// The places of records that were written together, the first of them as the `from`th.
pub(crate) fn places(records: &[Unsequenced], written: &Durable<Written>, from: usize) -> Durable<Vec<Place>> {
    written.clone().map(|Written { batch, spots }| {
        let hash = |index| {
            let batch = batch.as_ref().filter(|batch| batch.first() <= index)?;
            batch.entries_from(index).next().map(|entry| entry.hash)
        };
        let spots = spots.get(from..).unwrap_or_default();
        let place = |(record, spot): (&Unsequenced, &Spot)| {
            let Spot { index, is_repeat } = *spot;
            Place { id: record.id(), index, is_repeat, leaf_hash: hash(index) }
        };
        records.iter().zip(spots).map(place).collect()
    })
}

fn refuse(submissions: Vec<Submission>, why: &AppendError) {
    for submission in submissions {
        let _ = submission.reply.send(Err(why.clone()));
    }
}
