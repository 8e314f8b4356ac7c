//! The unsealed tail in memory.

use std::sync::Arc;

use datafusion::arrow::array::{AsArray as _, RecordBatch};
use datafusion::arrow::datatypes::TimestampMicrosecondType;
use ledger::Batch;
use record::Timestamp;

use crate::rows;

/// Entries wait as they are until there are this many: then they become an Arrow chunk for good. A query turns what
/// still waits into rows for itself, which is bounded by the same number.
const CHUNK_ROWS: usize = 1_024;
/// Or so many bytes: records can have megabytes.
const CHUNK_BYTES: usize = 8 << 20;

/// Rows that lie together, up to an index.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    pub(crate) end: u64,
    pub(crate) rows: RecordBatch,
    bytes: usize,
}

impl Chunk {
    pub(crate) const fn new(end: u64, rows: RecordBatch) -> Self {
        Self { end, rows, bytes: 0 }
    }
}

/// Everything durable that is in no segment yet.
#[derive(Debug, Default)]
pub(crate) struct Live {
    first: u64,
    next: u64,
    chunks: Vec<Chunk>,
    /// Batches that are not rows yet, each with the index it begins at for us.
    waiting: Vec<(Arc<Batch>, u64)>,
    waiting_rows: usize,
    waiting_bytes: usize,
    /// What the last query made of `waiting`.
    made: Option<RecordBatch>,
    /// The index of the first record here, and when it was received; another first record is looked at anew.
    first_received: Option<(u64, Timestamp)>,
}

impl Live {
    /// An empty tail that begins at an index.
    pub(crate) fn from(first: u64) -> Self {
        Self { first, next: first, ..Self::default() }
    }

    /// The index of its first record.
    pub(crate) const fn first(&self) -> u64 {
        self.first
    }

    /// One past the index of its last record.
    pub(crate) const fn end(&self) -> u64 {
        self.next
    }

    /// Takes in the entries of a batch from an index on.
    pub(crate) fn push(&mut self, batch: Arc<Batch>, from: u64) {
        self.next = batch.end();
        self.waiting_rows += usize::try_from(batch.end() - from).unwrap_or(usize::MAX);
        self.waiting_bytes += batch.memory_bytes();
        self.waiting.push((batch, from));
        self.made = None;
        if self.waiting_rows >= CHUNK_ROWS || self.waiting_bytes >= CHUNK_BYTES {
            self.close_chunk();
        }
    }

    /// Makes a chunk of what waits.
    fn close_chunk(&mut self) {
        let rows = self.made.take().unwrap_or_else(|| self.make_rows());
        self.waiting.clear();
        self.chunks.push(Chunk { end: self.next, rows, bytes: std::mem::take(&mut self.waiting_bytes) });
        self.waiting_rows = 0;
    }

    /// When the first record here was received; nothing where there is none.
    pub(crate) fn first_received(&mut self) -> Option<Timestamp> {
        if let Some((_, received)) = self.first_received.filter(|(index, _)| *index == self.first) {
            return Some(received);
        }
        let received = match (self.chunks.first(), self.waiting.first()) {
            (Some(chunk), _) => first_received(&chunk.rows)?,
            (None, Some((batch, from))) => {
                let leaf = batch.entries_from(*from).next()?.leaf;
                record::Envelope::parse(leaf).ok()?.received
            }
            (None, None) => return None,
        };
        self.first_received = Some((self.first, received));
        Some(received)
    }

    /// Everything, to be sealed.
    pub(crate) fn all(&mut self) -> Vec<Chunk> {
        if self.waiting_rows > 0 {
            self.close_chunk();
        }
        self.chunks.clone()
    }

    fn make_rows(&self) -> RecordBatch {
        let mut read = Vec::with_capacity(self.waiting_rows);
        for (batch, from) in &self.waiting {
            for entry in batch.entries_from(*from) {
                match rows::read_row(entry.index, entry.leaf, entry.content) {
                    Ok(row) => read.push(row),
                    Err(error) => tracing::error!(%error, "a record cannot be searched"),
                }
            }
        }
        rows::build(&read).unwrap_or_else(|error| {
            tracing::error!(%error, first = self.first, "records cannot be searched");
            RecordBatch::new_empty(crate::columns::SCHEMA.clone())
        })
    }

    /// All rows, up to the last record pushed.
    pub(crate) fn rows(&mut self) -> Vec<RecordBatch> {
        let mut all: Vec<RecordBatch> = self.chunks.iter().map(|chunk| chunk.rows.clone()).collect();
        if self.waiting_rows > 0 {
            let made = self.made.take().unwrap_or_else(|| self.make_rows());
            all.push(made.clone());
            self.made = Some(made);
        }
        all
    }

    /// Whether there are as many rows or bytes in chunks.
    pub(crate) fn has(&self, rows_max: usize, bytes_max: usize) -> bool {
        self.filled(rows_max, bytes_max).is_some()
    }

    /// The chunks to seal, once they have as many rows or bytes as a segment should; else none.
    pub(crate) fn due(&self, rows_max: usize, bytes_max: usize) -> Vec<Chunk> {
        self.chunks.iter().take(self.filled(rows_max, bytes_max).unwrap_or(0)).cloned().collect()
    }

    /// How many of the first chunks have as many rows or bytes together.
    fn filled(&self, rows_max: usize, bytes_max: usize) -> Option<usize> {
        let (mut rows, mut bytes) = (0, 0);
        let is_full = |chunk: &Chunk| {
            rows += chunk.rows.num_rows();
            bytes += chunk.bytes;
            rows >= rows_max || bytes >= bytes_max
        };
        self.chunks.iter().position(is_full).map(|last| last + 1)
    }

    /// Lets go of everything before an index: it is in a segment now.
    pub(crate) fn forget_before(&mut self, end: u64) {
        self.chunks.retain(|chunk| chunk.end > end);
        self.first = end;
    }
}

/// When the first of some rows was received.
fn first_received(rows: &RecordBatch) -> Option<Timestamp> {
    let times = rows.column_by_name("received")?.as_primitive_opt::<TimestampMicrosecondType>()?;
    times.values().first().copied().map(Timestamp::from_micros)
}
