//! Parquet segments: immutable, each with its SHA-256 beside it.
//!
//! `segments/<origin>/<yyyy-mm-dd>/<first>-<last>.parquet`, and the same name with `.sha256`, as `sha256sum` writes it. What
//! retention has left of a segment is another file: `<first>-<last>.records.parquet` has no content any more,
//! `<first>-<last>.control.parquet` only `control` records. A file that takes the place of others has all their records; they go once
//! nobody reads them, and until then, as after a crash, the wider file counts, and of two that are as wide the one that keeps less.

use std::cmp::Reverse;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::{ArrowPrimitiveType, AsArray as _, RecordBatch};
use datafusion::arrow::compute::interleave_record_batch;
use datafusion::arrow::datatypes::{TimestampMicrosecondType, UInt64Type};
use datafusion::arrow::error::ArrowError;
use datafusion::parquet::errors::ParquetError;
use world::Disk;

use crate::columns::SCHEMA;
use crate::live::Chunk;
use crate::terms::{Terms, TermsError, path_beside};
use crate::writing::{SegmentWriter, digest_path};

/// Rows that are brought into order and written at a time.
pub(crate) const PICKED_ROWS: usize = 1_024;

/// What is kept of the records of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kept {
    Everything,
    /// Their columns without content, but for `control` records, which keep it.
    Records,
    /// `control` records alone: what this log is run by is a fold over them.
    Control,
}

impl Kept {
    /// What stands before `.parquet` in the name of a segment.
    const fn mark(self) -> &'static str {
        match self {
            Self::Everything => "",
            Self::Records => ".records",
            Self::Control => ".control",
        }
    }
}

/// A sealed segment.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    /// Its path below `segments/`.
    pub(crate) path: String,
    pub(crate) first: u64,
    /// One past the index of its last record.
    pub(crate) end: u64,
    /// Its size in bytes.
    pub(crate) bytes: u64,
    pub(crate) kept: Kept,
    pub(crate) indexed: Indexed,
    /// Held by everybody who may still read it.
    readers: Arc<()>,
}

/// Whether the terms of a segment are known.
#[derive(Debug, Clone)]
pub(crate) enum Indexed {
    NotYet,
    By(Arc<Terms>),
    /// It cannot be read, which `verify` says more about.
    Never,
}

impl Segment {
    pub(crate) fn new(path: String, (first, end): (u64, u64), kept: Kept, bytes: u64) -> Self {
        Self { path, first, end, bytes, kept, indexed: Indexed::NotYet, readers: Arc::default() }
    }

    /// The records that it is of, whether or not they are kept.
    pub(crate) const fn records(&self) -> u64 {
        self.end.saturating_sub(self.first)
    }

    /// The folder that it lies in, below `segments/`: its log, and the day on which its first record was received.
    pub(crate) fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// Whether nobody but the one who asks can read it any more.
    pub(crate) fn is_unread(&self) -> bool {
        Arc::strong_count(&self.readers) == 1
    }

    /// Reads of the terms beside it what stays in memory, if they are there and whole.
    pub(crate) fn open_terms(&mut self, disk: &dyn Disk, dir: &Path) {
        match Terms::open(disk, &path_beside(&dir.join(&self.path))) {
            Ok(terms) if terms.rows as u64 == self.records() || self.kept == Kept::Control => {
                self.indexed = Indexed::By(terms);
            }
            Ok(_) => tracing::warn!(segment = self.path, "its terms are of other rows; it is indexed anew"),
            Err(TermsError::Io(_, error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, "a segment is indexed anew"),
        }
    }

    /// Removes its file and what lies beside it. The file goes last: while it is there the next start removes it again.
    pub(crate) fn remove(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        let file = dir.join(&self.path);
        disk.remove(&path_beside(&file))?;
        disk.remove(&digest_path(&file))?;
        disk.remove(&file)?;
        disk.sync_names(file.parent().unwrap_or(dir))
    }
}

/// Why a segment could not be written. What it would have been made of is still where it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    #[error("the rows could not be put together: {0}")]
    Arrow(#[from] ArrowError),
    #[error("the rows could not be encoded: {0}")]
    Parquet(#[from] ParquetError),
    #[error("could not write {0}: {1}")]
    Io(PathBuf, #[source] io::Error),
}

/// The folder of a log's segments: everything that is not fit for a file name everywhere becomes `_`.
fn origin_folder(origin: &str) -> String {
    origin.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c } else { '_' }).collect()
}

/// Where the rows of a segment lie, chunk and row, in its order: by time, then by index, the newest first, since what is asked for is
/// mostly what is newest, and reading ends once it is found.
fn order(chunks: &[Chunk]) -> Result<Vec<(usize, usize)>, ArrowError> {
    let mut keys = Vec::new();
    for (nth, chunk) in chunks.iter().enumerate() {
        let places = row_keys(&chunk.rows)?.enumerate();
        keys.extend(places.map(|(row, (time, index))| (time, index, nth, row)));
    }
    keys.sort_unstable_by(|a, b| b.cmp(a));
    Ok(keys.into_iter().map(|(_, _, chunk, row)| (chunk, row)).collect())
}

/// What rows are ordered by: time and index.
pub(crate) fn row_keys(rows: &RecordBatch) -> Result<impl Iterator<Item = (i64, u64)> + '_, ArrowError> {
    let times = numbers::<TimestampMicrosecondType>(rows, "time")?;
    let indexes = numbers::<UInt64Type>(rows, "log_index")?;
    Ok(times.iter().copied().zip(indexes.iter().copied()))
}

fn numbers<'r, T: ArrowPrimitiveType>(rows: &'r RecordBatch, name: &str) -> Result<&'r [T::Native], ArrowError> {
    let column = rows.column_by_name(name).and_then(|column| column.as_primitive_opt::<T>());
    let column = column.ok_or_else(|| ArrowError::SchemaError(format!("no column {name} of its type")))?;
    Ok(column.values())
}

/// Some rows of a segment in its order. Rows come nearly in order, so that few chunks are looked at.
fn pick(chunks: &[Chunk], places: &[(usize, usize)]) -> Result<RecordBatch, ArrowError> {
    let touched = places.iter().map(|(chunk, _)| *chunk);
    let (first, last) = (touched.clone().min().unwrap_or(0), touched.max().unwrap_or(0));
    let batches: Vec<&RecordBatch> = chunks.iter().take(last + 1).skip(first).map(|chunk| &chunk.rows).collect();
    let places: Vec<_> = places.iter().map(|(chunk, row)| (chunk - first, *row)).collect();
    interleave_record_batch(&batches, &places)
}

/// Writes a segment durably, of rows of which so much is there.
pub(crate) fn seal(
    disk: &dyn Disk,
    dir: &Path,
    origin: &str,
    (first, kept): (u64, Kept),
    chunks: &[Chunk],
) -> Result<Segment, SealError> {
    let end = chunks.last().map_or(first, |chunk| chunk.end);
    let folder = format!("{}/{}", origin_folder(origin), received_day(chunks)?);
    let path = path_in(&folder, (first, end), kept);
    let mut writer = SegmentWriter::begin(disk, &dir.join(&path), SCHEMA.clone())?;
    // A few rows at a time: what is written then still lies in a core's cache, and no second copy of all rows is made.
    for places in order(chunks)?.chunks(PICKED_ROWS) {
        writer.write(&pick(chunks, places)?)?;
    }
    let bytes = writer.finish()?;
    Ok(Segment::new(path, (first, end), kept, bytes))
}

/// The path of a segment of some records in a folder.
pub(crate) fn path_in(folder: &str, (first, end): (u64, u64), kept: Kept) -> String {
    format!("{folder}/{first:012}-{:012}{}.parquet", end.saturating_sub(1), kept.mark())
}

/// The day on which the first row was received, in UTC.
fn received_day(chunks: &[Chunk]) -> Result<String, ArrowError> {
    let received =
        chunks.first().map(|chunk| numbers::<TimestampMicrosecondType>(&chunk.rows, "received")).transpose()?;
    Ok(day_of(received.and_then(|times| times.first().copied()).unwrap_or(0)))
}

/// The day of a moment in microseconds, in UTC.
pub(crate) fn day_of(micros: i64) -> String {
    let text = record::Timestamp::from_micros(micros).to_string();
    text.split('T').next().unwrap_or_default().to_owned()
}

/// What lies in the folder of segments.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    /// Those that count, in the order of the log.
    pub(crate) segments: Vec<Segment>,
    /// Those in whose place one of these has come.
    pub(crate) replaced: Vec<Segment>,
    /// Files that were begun and never finished, as paths without the end that says so.
    pub(crate) unfinished: Vec<PathBuf>,
    /// What lay beside segments that are gone.
    pub(crate) orphaned: Vec<PathBuf>,
}

impl Listed {
    /// Removes what does not count. What cannot be removed is tried again at the next start.
    pub(crate) fn clear(self, disk: &dyn Disk, dir: &Path) {
        let replaced = self.replaced.iter().map(|segment| segment.remove(disk, dir));
        let unfinished = self.unfinished.iter().map(|file| disk.abandon(file));
        let removed = replaced.chain(unfinished).chain(self.orphaned.iter().map(|file| disk.remove(file)));
        for error in removed.filter_map(Result::err) {
            tracing::warn!(%error, folder = %dir.display(), "could not remove what is left of segments that were replaced");
        }
    }
}

/// What lies below the folder of segments.
pub(crate) fn list(disk: &dyn Disk, dir: &Path) -> io::Result<Listed> {
    let (mut found, mut listed) = (Vec::new(), Listed::default());
    for origin in disk.list(dir)? {
        for day in list_folder(disk, &dir.join(&origin))? {
            let folder = dir.join(&origin).join(&day);
            let names = list_folder(disk, &folder)?;
            for name in &names {
                if let Some(begun) = name.strip_suffix(".tmp") {
                    listed.unfinished.push(folder.join(begun));
                }
                let whose = name.strip_suffix(".sha256").map(str::to_owned);
                let whose = whose.or_else(|| name.strip_suffix(".terms").map(|name| format!("{name}.parquet")));
                if whose.is_some_and(|segment| names.binary_search(&segment).is_err()) {
                    listed.orphaned.push(folder.join(name));
                }
                let Some((records, kept)) = parse_name(name) else { continue };
                let bytes = disk.length(&folder.join(name))?;
                found.push(Segment::new(format!("{origin}/{day}/{name}"), records, kept, bytes));
            }
        }
    }
    found.sort_by_key(|segment| (segment.first, Reverse((segment.end, segment.kept))));
    for segment in found {
        let is_replaced = listed.segments.last().is_some_and(|before: &Segment| segment.end <= before.end);
        if is_replaced { &mut listed.replaced } else { &mut listed.segments }.push(segment);
    }
    Ok(listed)
}

/// The names in a folder; none when it is a file, which somebody else has put there.
fn list_folder(disk: &dyn Disk, folder: &Path) -> io::Result<Vec<String>> {
    match disk.list(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(Vec::new()),
        names => names,
    }
}

/// What a segment's name says: the index of its first record and the one past its last, and what is kept of them.
fn parse_name(name: &str) -> Option<((u64, u64), Kept)> {
    let name = name.strip_suffix(".parquet")?;
    let (numbers, kept) = match name.rsplit_once('.') {
        None => (name, Kept::Everything),
        Some((numbers, "records")) => (numbers, Kept::Records),
        Some((numbers, "control")) => (numbers, Kept::Control),
        Some(_) => return None,
    };
    let (first, last) = numbers.split_once('-')?;
    Some(((first.parse().ok()?, last.parse::<u64>().ok()?.saturating_add(1)), kept))
}
