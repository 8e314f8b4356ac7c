//! The thread that writes what others have queued: it takes what queued while the last batch was being made durable,
//! has it written as one batch, and answers whoever waits.

use std::sync::Arc;

use record::Unsequenced;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::batch::Batch;
use crate::ledger::{AppendError, Receipt};
use crate::wal::Durable;
use crate::writer::{AbortOnPanic, WriterSlot};

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

fn answer(submissions: Vec<Submission>, batch: &Durable<Arc<Batch>>) {
    let mut next = batch.first();
    for submission in submissions {
        let receipts = receipts(&submission.records, batch, next);
        next += receipts.len() as u64;
        // Whoever went away has still been recorded.
        let _ = submission.reply.send(Ok(receipts));
    }
}

/// The receipts of records that stand in a durable batch from an index on.
pub(crate) fn receipts(records: &[Unsequenced], batch: &Durable<Arc<Batch>>, from: u64) -> Durable<Vec<Receipt>> {
    batch.clone().map(|batch| {
        records
            .iter()
            .zip(batch.entries_from(from))
            .map(|(record, entry)| Receipt { id: record.id(), index: entry.index, leaf_hash: entry.hash })
            .collect()
    })
}

fn refuse(submissions: Vec<Submission>, why: &AppendError) {
    for submission in submissions {
        let _ = submission.reply.send(Err(why.clone()));
    }
}
