//! The write-ahead log: files that grow by one frame a batch, each begun with the tally at its start.
//!
//! ```text
//! wal/<first index, 20 digits>.wal
//! "TSTMWAL1"  u32 length  u32 CRC-32C  ( u16 origin length, origin, tally )  frame*
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use world::{AppendFile, Disk};

use crate::batch::Batch;
use crate::frame::{Frame, Reader};
use crate::tally::Tally;

/// Something that a loss of power can no longer take away. [`Wal::append_durably`] makes one, and
/// [`Wal::already_durable`] tells of what an earlier one made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Durable<T>(T);

impl<T> Durable<T> {
    /// What is durable.
    pub fn into_inner(self) -> T {
        self.0
    }

    /// Something that follows from what is durable, and so is as safe.
    pub fn map<U>(self, from: impl FnOnce(T) -> U) -> Durable<U> {
        Durable(from(self.0))
    }
}

impl<T> std::ops::Deref for Durable<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

const MAGIC: &[u8; 8] = b"TSTMWAL1";
const PREFIX_BYTES: usize = 16;
const HEAD_BYTES_MAX: usize = 64 << 20;

/// Why a batch did not become durable.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// The device is full. Nothing was written, and the next batch may try again.
    Full(io::Error),
    /// The device failed. What it holds is unknown, and nothing may be written any more.
    Fatal(io::Error),
}

/// The writing end. The writer owns it.
pub(crate) struct Wal {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    origin: String,
    segment_bytes_max: u64,
    /// The first index of every segment that is on disk; the last one is being written.
    segments: Vec<u64>,
    file: Box<dyn AppendFile>,
    length: u64,
    /// How many of these bytes stand before the first frame: with many open calls they are more than a segment may have.
    head: u64,
    /// How many records are durable.
    size: u64,
}

pub(crate) fn segment_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.wal"))
}

/// The first index of every segment in the directory, in order.
pub(crate) fn list_segments(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<u64>> {
    let names = disk.list(dir)?;
    Ok(names.iter().filter_map(|name| name.strip_suffix(".wal")?.parse().ok()).collect())
}

/// The head of a segment: the bytes before its first frame.
pub(crate) fn encode_head(origin: &str, tally: &Tally) -> Vec<u8> {
    let mut body = u16::try_from(origin.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec();
    body.extend_from_slice(origin.as_bytes());
    body.extend(tally.encode());
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
    head.extend_from_slice(&crc32c::crc32c(&body).to_be_bytes());
    head.extend(body);
    head
}

/// Reads the head of a segment: origin, tally and the length of the head.
pub(crate) fn decode_head(bytes: &[u8]) -> Option<(String, Tally, usize)> {
    let mut reader = Reader(bytes);
    let magic = reader.take(MAGIC.len())?;
    let length = reader.u32()? as usize;
    let checksum = reader.u32()?;
    if magic != MAGIC || length > HEAD_BYTES_MAX {
        return None;
    }
    let body = reader.take(length)?;
    if crc32c::crc32c(body) != checksum {
        return None;
    }
    let mut body = Reader(body);
    let length_of_origin = usize::from(body.u16()?);
    let origin = String::from_utf8(body.take(length_of_origin)?.to_vec()).ok()?;
    Some((origin, Tally::decode(body.0)?, PREFIX_BYTES + length))
}

impl Wal {
    /// Begins the write-ahead log of an empty or wholly released log.
    pub(crate) fn create(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        origin: &str,
        tally: &Tally,
        segment_bytes_max: u64,
    ) -> io::Result<Self> {
        let (file, length) = new_segment(disk.as_ref(), &dir, origin, tally)?;
        Ok(Self {
            disk,
            dir,
            origin: origin.to_owned(),
            segment_bytes_max,
            segments: vec![tally.size()],
            file,
            length,
            head: length,
            size: tally.size(),
        })
    }

    /// Goes on with the segments on disk, which hold records up to `size`; the last one has `length` good bytes.
    pub(crate) fn resume(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        origin: &str,
        segments: Vec<u64>,
        length: u64,
        size: u64,
        segment_bytes_max: u64,
    ) -> io::Result<Self> {
        let first = segments.last().copied().unwrap_or(0);
        let mut file = disk.open_append(&segment_path(&dir, first))?;
        // What was read back may be in the kernel's memory only, if the process was killed; from here on it counts as durable.
        file.sync()?;
        Ok(Self { disk, dir, origin: origin.to_owned(), segment_bytes_max, segments, file, length, head: 0, size })
    }

    /// Cuts away a torn tail: everything after the good bytes of the last segment.
    pub(crate) fn cut_torn_tail(&mut self) -> io::Result<()> {
        self.file.cut(self.length)
    }

    /// One write, one `fdatasync`: after this the batch cannot be lost.
    pub(crate) fn append_durably(&mut self, frame: Frame) -> Result<Durable<Batch>, WriteError> {
        if let Err(error) = self.file.append(frame.bytes()) {
            // Half a frame may be there. It must go before another frame can follow.
            self.file.cut(self.length).map_err(WriteError::Fatal)?;
            return Err(if is_full(&error) { WriteError::Full(error) } else { WriteError::Fatal(error) });
        }
        // After a failed fsync the kernel may have dropped the pages and call the next one good
        // (PostgreSQL's "fsyncgate", 2018): there is no second try.
        self.file.sync().map_err(WriteError::Fatal)?;
        self.length += frame.bytes().len() as u64;
        let batch = frame.into_batch();
        self.size = batch.end();
        Ok(Durable(batch))
    }

    /// The place of a record that an earlier append, or one before this start, made durable.
    pub(crate) fn already_durable(&self, index: u64) -> Option<Durable<u64>> {
        (index < self.size).then_some(Durable(index))
    }

    /// Begins a new segment when the present one is long enough, or of another day: what a segment holds goes with it, and retention
    /// counts in days. On a full disk the present one just grows
    /// on; whether there is room for frames is decided where they are written.
    ///
    /// # Errors
    /// When the device fails otherwise: a head that may or may not be there must not be gone on beside.
    pub(crate) fn roll_when_due(&mut self, tally: &Tally, is_another_day: bool) -> io::Result<()> {
        let is_due = is_another_day || self.length - self.head >= self.segment_bytes_max;
        if !is_due || self.segments.last() == Some(&tally.size()) {
            return Ok(());
        }
        match new_segment(self.disk.as_ref(), &self.dir, &self.origin, tally) {
            Ok((file, length)) => {
                self.file = file;
                self.length = length;
                self.head = length;
                self.segments.push(tally.size());
                Ok(())
            }
            Err(error) if is_full(&error) => {
                tracing::warn!(%error, "could not begin a new segment of the write-ahead log; the present one grows on");
                self.disk.remove(&segment_path(&self.dir, tally.size()))?;
                self.disk.sync_names(&self.dir)
            }
            Err(error) => Err(error),
        }
    }

    /// The oldest finished segment can go once all followers have made durable what lies before this index; the segment that
    /// is being written begins there when none is finished.
    pub(crate) fn wanted_durable(&self) -> u64 {
        self.segments.get(1).or(self.segments.first()).copied().unwrap_or(0)
    }

    /// Removes every segment whose records all followers have made durable elsewhere, one after the other: if a loss of power
    /// brought back an older one alone, the gap after it could not be told from a segment that was lost.
    ///
    /// # Errors
    /// When the device fails to say that one is gone.
    pub(crate) fn release(&mut self, held_from: u64) -> io::Result<()> {
        while let [first, next, ..] = self.segments.as_slice() {
            if *next > held_from {
                break;
            }
            if let Err(error) = self.disk.remove(&segment_path(&self.dir, *first)) {
                tracing::warn!(%error, first, "could not remove a segment of the write-ahead log");
                break;
            }
            self.disk.sync_names(&self.dir)?;
            self.segments.remove(0);
        }
        Ok(())
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn new_segment(disk: &dyn Disk, dir: &Path, origin: &str, tally: &Tally) -> io::Result<(Box<dyn AppendFile>, u64)> {
    let mut file = disk.create(&segment_path(dir, tally.size()))?;
    let head = encode_head(origin, tally);
    file.append(&head)?;
    file.sync()?;
    Ok((file, head.len() as u64))
}
