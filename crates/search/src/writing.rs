//! The file of a segment, from its first row to its place: rows come in, in the segment's order, and go to the disk a row group at a time.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::{EnabledStatistics, WriterProperties};
use datafusion::parquet::schema::types::ColumnPath;
use sha2::{Digest as _, Sha256};
use world::{AppendFile, Disk};

use crate::pruning::KEY_COLUMNS;
use crate::segment::SealError;
use crate::terms::BLOCK_ROWS;

/// Text is looked through a row group at a time, counts cost more the more of them there are.
pub(crate) const ROW_GROUP_ROWS: usize = 16_384;
/// As many as a block of terms has: what a word leads to is one page of each column.
const PAGE_ROWS: usize = BLOCK_ROWS;
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

/// A segment that is being written. It is at its place once it is finished, and leaves nothing when it is dropped before.
pub(crate) struct SegmentWriter<'d> {
    disk: &'d dyn Disk,
    file: PathBuf,
    /// None once it is finished.
    rows: Option<ArrowWriter<Hashing>>,
}

impl<'d> SegmentWriter<'d> {
    /// Begins the file of a segment whose rows have these columns.
    pub(crate) fn begin(disk: &'d dyn Disk, file: &Path, columns: SchemaRef) -> Result<Self, SealError> {
        let failed = |error| SealError::Io(file.to_owned(), error);
        disk.create_dirs(file.parent().unwrap_or(Path::new("."))).map_err(failed)?;
        let hashing = Hashing { file: disk.begin(file).map_err(failed)?, digest: Sha256::new(), bytes: 0 };
        let rows = ArrowWriter::try_new(hashing, columns, Some(properties()))?;
        Ok(Self { disk, file: file.to_owned(), rows: Some(rows) })
    }

    /// Takes in the next rows.
    pub(crate) fn write(&mut self, rows: &RecordBatch) -> Result<(), SealError> {
        Ok(self.rows.as_mut().map_or(Ok(()), |writer| writer.write(rows))?)
    }

    /// Puts the file at its place, durably, with its SHA-256 beside it; how many bytes it has.
    pub(crate) fn finish(mut self) -> Result<u64, SealError> {
        let Some(rows) = self.rows.take() else { return Ok(0) };
        let finished = rows.into_inner().map_err(SealError::from).and_then(|hashed| self.put_in_place(hashed));
        if finished.is_err() {
            let _ = self.disk.abandon(&self.file);
        }
        finished
    }

    fn put_in_place(&self, mut hashed: Hashing) -> Result<u64, SealError> {
        let failed = |error| SealError::Io(self.file.clone(), error);
        hashed.file.sync().map_err(failed)?;
        // The digest first: a segment that is there has one.
        let stated = stated_digest(&self.file, &hex(hashed.digest));
        self.disk.replace_durably(&digest_path(&self.file), stated.as_bytes()).map_err(failed)?;
        self.disk.finish(&self.file).map_err(failed)?;
        Ok(hashed.bytes)
    }
}

impl Drop for SegmentWriter<'_> {
    fn drop(&mut self) {
        if self.rows.is_some() {
            let _ = self.disk.abandon(&self.file);
        }
    }
}

/// A file whose SHA-256 is known when its last byte is.
struct Hashing {
    file: Box<dyn AppendFile>,
    digest: Sha256,
    bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.append(bytes)?;
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes of a file that are hashed at a time.
const HASHED_BYTES: usize = 1 << 20;

/// Whether the bytes of a segment have the SHA-256 that stands beside them.
///
/// # Errors
/// A sentence that says what is wrong.
pub(crate) fn check_digest(disk: &dyn Disk, file: &Path) -> Result<(), String> {
    let stated = disk.read(&digest_path(file)).map_err(|error| format!("its .sha256 cannot be read: {error}"))?;
    let (mut digest, mut offset) = (Sha256::new(), 0);
    loop {
        let bytes = disk.read_part(file, offset, HASHED_BYTES).map_err(|error| error.to_string())?;
        if bytes.is_empty() {
            break;
        }
        digest.update(&bytes);
        offset += bytes.len() as u64;
    }
    if stated != stated_digest(file, &hex(digest)).into_bytes() {
        return Err("its bytes do not have the SHA-256 beside it: one of the two was changed".into());
    }
    Ok(())
}

fn hex(digest: Sha256) -> String {
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As `sha256sum` writes it.
fn stated_digest(file: &Path, hex: &str) -> String {
    format!("{hex}  {}\n", file.file_name().unwrap_or_default().to_string_lossy())
}

/// Where the SHA-256 of a segment stands.
pub(crate) fn digest_path(file: &Path) -> PathBuf {
    file.with_extension("parquet.sha256")
}
