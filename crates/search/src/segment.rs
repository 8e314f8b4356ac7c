//! Parquet segments: immutable, each with its SHA-256 beside it.
//!
//! `segments/<origin>/<yyyy-mm-dd>/<first>-<last>.parquet` and the same name with `.sha256`, as `sha256sum` writes it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::{ArrowPrimitiveType, AsArray as _, RecordBatch};
use datafusion::arrow::compute::interleave_record_batch;
use datafusion::arrow::datatypes::{TimestampMicrosecondType, UInt64Type};
use datafusion::arrow::error::ArrowError;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::properties::{EnabledStatistics, WriterProperties};
use datafusion::parquet::schema::types::ColumnPath;
use sha2::{Digest as _, Sha256};
use world::Disk;

use crate::columns::SCHEMA;
use crate::live::Chunk;
use crate::pruning::KEY_COLUMNS;
use crate::terms::{BLOCK_ROWS, Terms, TermsError, path_beside};

/// Text is looked through a row group at a time, counts cost more the more of them there are.
const ROW_GROUP_ROWS: usize = 16_384;
/// As many as a block of terms has: what a word leads to is one page of each column.
const PAGE_ROWS: usize = BLOCK_ROWS;
/// Rows that are brought into order and written at a time.
const PICKED_ROWS: usize = 1_024;
/// Columns whose values go, by and large, with the order of rows, so that most pages can be told not to have one.
const ORDERED_COLUMNS: [&str; 5] = ["time", "received", "log_index", "id", "call_id"];
/// Columns whose values hardly repeat: a dictionary would only be built to be thrown away.
const PLAIN_COLUMNS: [&str; 9] =
    ["id", "call_id", "span_id", "log_index", "seq", "content_seed", "other_content", "input", "output"];

/// Columns of few values, whose pages hold hardly more than how often each follows: to compress them saves a byte a record, and counts by
/// them take a tenth longer.
const FEW_VALUES: [&str; 24] = [
    "kind",
    "outcome",
    "actor_type",
    "actor_groups",
    "actor_auth",
    "service",
    "environment",
    "host",
    "origin",
    "producer",
    "operation",
    "provider",
    "model",
    "response_model",
    "stream",
    "temperature",
    "top_p",
    "max_tokens",
    "decision",
    "reasons",
    "finish_reasons",
    "status",
    "error_type",
    "upstream",
];

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
    pub(crate) indexed: Indexed,
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
    /// Reads of the terms beside it what stays in memory, if they are there and whole.
    pub(crate) fn open_terms(&mut self, disk: &dyn Disk, dir: &Path) {
        match Terms::open(disk, &path_beside(&dir.join(&self.path))) {
            Ok(terms) if terms.rows as u64 == self.end - self.first => self.indexed = Indexed::By(terms),
            Ok(_) => tracing::warn!(segment = self.path, "its terms are of other rows; it is indexed anew"),
            Err(TermsError::Io(_, error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, "a segment is indexed anew"),
        }
    }
}

/// Why a segment could not be written. The records stay in the live buffer and in the write-ahead log.
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

fn properties() -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_created_by(concat!("testimony ", env!("CARGO_PKG_VERSION")).to_owned());
    for column in KEY_COLUMNS {
        properties = properties.set_column_bloom_filter_enabled(ColumnPath::from(column), true);
    }
    for column in ORDERED_COLUMNS {
        properties = properties.set_column_statistics_enabled(ColumnPath::from(column), EnabledStatistics::Page);
    }
    for column in FEW_VALUES {
        properties = properties.set_column_compression(ColumnPath::from(column), Compression::UNCOMPRESSED);
    }
    for column in PLAIN_COLUMNS {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(column), false);
    }
    properties.build()
}

/// Where the rows of a segment lie, chunk and row, in its order: by time, then by index, the newest first, since what is asked for is
/// mostly what is newest, and reading ends once it is found.
fn order(chunks: &[Chunk]) -> Result<Vec<(usize, usize)>, ArrowError> {
    let mut keys = Vec::new();
    for (nth, chunk) in chunks.iter().enumerate() {
        let times = numbers::<TimestampMicrosecondType>(&chunk.rows, "time")?;
        let indexes = numbers::<UInt64Type>(&chunk.rows, "log_index")?;
        let places = times.iter().zip(indexes).enumerate();
        keys.extend(places.map(|(row, (time, index))| (*time, *index, nth, row)));
    }
    keys.sort_unstable_by(|a, b| b.cmp(a));
    Ok(keys.into_iter().map(|(_, _, chunk, row)| (chunk, row)).collect())
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

/// Writes a segment durably.
pub(crate) fn seal(
    disk: &dyn Disk,
    dir: &Path,
    origin: &str,
    first: u64,
    chunks: &[Chunk],
) -> Result<Segment, SealError> {
    let end = chunks.last().map_or(first, |chunk| chunk.end);
    let day = received_day(chunks)?;
    let mut writer = ArrowWriter::try_new(Vec::new(), SCHEMA.clone(), Some(properties()))?;
    // A few rows at a time: what is written then still lies in a core's cache, and no second copy of all rows is made.
    for places in order(chunks)?.chunks(PICKED_ROWS) {
        writer.write(&pick(chunks, places)?)?;
    }
    let bytes = writer.into_inner()?;
    let name = format!("{first:012}-{:012}.parquet", end.saturating_sub(1));
    let path = format!("{}/{day}/{name}", origin_folder(origin));
    let file = dir.join(&path);
    let failed = |error| SealError::Io(file.clone(), error);
    disk.create_dirs(file.parent().unwrap_or(dir)).map_err(failed)?;
    // The digest first: a segment that is there has one.
    disk.replace_durably(&digest_path(&file), format!("{}  {name}\n", digest(&bytes)).as_bytes()).map_err(failed)?;
    disk.replace_durably(&file, &bytes).map_err(failed)?;
    Ok(Segment { path, first, end, bytes: bytes.len() as u64, indexed: Indexed::NotYet })
}

/// The day on which the first row was received, in UTC.
fn received_day(chunks: &[Chunk]) -> Result<String, ArrowError> {
    let received =
        chunks.first().map(|chunk| numbers::<TimestampMicrosecondType>(&chunk.rows, "received")).transpose()?;
    let micros = received.and_then(|times| times.first().copied());
    let text = record::Timestamp::from_micros(micros.unwrap_or(0)).to_string();
    Ok(text.split('T').next().unwrap_or_default().to_owned())
}

/// The SHA-256 of a file's bytes in hex.
pub(crate) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn digest_path(file: &Path) -> PathBuf {
    file.with_extension("parquet.sha256")
}

/// The segments below a directory, in the order of the log.
pub(crate) fn list(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for origin in disk.list(dir)? {
        for day in list_folder(disk, &dir.join(&origin))? {
            let folder = dir.join(&origin).join(&day);
            for name in list_folder(disk, &folder)? {
                let Some((first, end)) = parse_name(&name) else { continue };
                let bytes = disk.length(&folder.join(&name))?;
                let path = format!("{origin}/{day}/{name}");
                segments.push(Segment { path, first, end, bytes, indexed: Indexed::NotYet });
            }
        }
    }
    segments.sort_by_key(|segment| segment.first);
    Ok(segments)
}

/// The names in a folder; none when it is a file, which somebody else has put there.
fn list_folder(disk: &dyn Disk, folder: &Path) -> io::Result<Vec<String>> {
    match disk.list(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(Vec::new()),
        names => names,
    }
}

/// The indexes that a segment's name says: its first, and one past its last.
fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (first, last) = name.strip_suffix(".parquet")?.split_once('-')?;
    Some((first.parse().ok()?, last.parse::<u64>().ok()?.saturating_add(1)))
}
