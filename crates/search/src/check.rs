//! Segments against the leaves they were made from: nothing missing, nothing added, nothing changed.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::arrow::array::{Array as _, AsArray as _, RecordBatch};
use datafusion::arrow::datatypes::UInt64Type;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use record::{Content, Envelope, Field};
use tlog::{Bundle, TILE_WIDTH};
use world::{Disk, World};

use crate::columns::{COLUMNS, CONTENT_COLUMNS, From, Row};
use crate::rows;
use crate::segment::{self, Segment};

/// Rows that are compared at a time.
const BATCH_ROWS: usize = 8_192;

/// A segment that is not what was sealed, or is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct SegmentFinding {
    /// The segment's path below the data directory.
    pub place: String,
    /// What is wrong with it.
    pub what: String,
}

/// Gives the entry bundle with a number, or says why it cannot.
pub type BundleReader<'a> = dyn Fn(u64) -> Result<Vec<u8>, String> + Sync + 'a;

/// Checks every segment below a data directory on `threads` threads, and that they cover the log from its start to
/// where the write-ahead log holds it. `progress` is told how many rows have been checked since it was last called.
/// Gives everything that was found, and one past the last record that lies in a segment.
#[must_use]
pub fn check_segments(
    world: &World,
    data: &Path,
    wal_first: u64,
    threads: usize,
    bundles: &BundleReader<'_>,
    progress: &(dyn Fn(u64) + Sync),
) -> (Vec<SegmentFinding>, u64) {
    let dir = data.join("segments");
    let segments = match segment::list(world.disk.as_ref(), &dir) {
        Ok(segments) => segments,
        Err(error) => return (vec![SegmentFinding { place: "segments".into(), what: error.to_string() }], 0),
    };
    let (mut findings, end) = check_cover(&segments, wal_first);
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut found = Vec::new();
        while let Some(segment) = segments.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(what) = check_segment(world.disk.as_ref(), &dir, segment, bundles, progress) {
                found.push(SegmentFinding { place: format!("segments/{}", segment.path), what });
            }
        }
        found
    };
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(worker)).collect();
        for handle in handles {
            findings.extend(handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
    });
    (findings, end)
}

/// Segments must lie side by side from record 0 on, up to the write-ahead log.
fn check_cover(segments: &[Segment], wal_first: u64) -> (Vec<SegmentFinding>, u64) {
    let mut findings = Vec::new();
    let mut end = 0;
    for segment in segments {
        if segment.first != end {
            let what = format!(
                "it begins at record {} where {end} belongs: a segment is missing or there twice",
                segment.first
            );
            findings.push(SegmentFinding { place: format!("segments/{}", segment.path), what });
        }
        end = segment.end;
    }
    if end < wal_first {
        let what =
            format!("the records {end} to {} are in no segment and no longer in the write-ahead log", wal_first - 1);
        findings.push(SegmentFinding { place: "segments".into(), what });
    }
    (findings, end)
}

fn check_segment(
    disk: &dyn Disk,
    dir: &Path,
    segment: &Segment,
    bundles: &BundleReader<'_>,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(), String> {
    let file = dir.join(&segment.path);
    let bytes = disk.read(&file).map_err(|error| error.to_string())?;
    let stated =
        disk.read(&segment::digest_path(&file)).map_err(|error| format!("its .sha256 cannot be read: {error}"))?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    if stated != format!("{}  {name}\n", segment::digest(&bytes)).into_bytes() {
        return Err("its bytes do not have the SHA-256 beside it: one of the two was changed".into());
    }
    let leaves = Leaves::read(segment.first..segment.end, bundles)?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes))
        .and_then(|builder| builder.with_batch_size(BATCH_ROWS).build())
        .map_err(|error| error.to_string())?;
    let mut seen = vec![false; leaves.spans.len()];
    for batch in reader {
        let batch = batch.map_err(|error| error.to_string())?;
        check_batch(&batch, segment.first, &leaves, &mut seen)?;
        progress(batch.num_rows() as u64);
    }
    match seen.iter().position(|seen| !seen) {
        Some(missing) => Err(format!("record {} is missing", segment.first + missing as u64)),
        None => Ok(()),
    }
}

fn check_batch(batch: &RecordBatch, first: u64, leaves: &Leaves, seen: &mut [bool]) -> Result<(), String> {
    let indexes = batch.column_by_name("log_index").and_then(|column| column.as_primitive_opt::<UInt64Type>());
    let indexes = indexes.ok_or("it has no column log_index")?;
    let stored = StoredContent::of(batch)?;
    let mut rows = Vec::with_capacity(batch.num_rows());
    for (at, index) in indexes.values().iter().enumerate() {
        let position = usize::try_from(index.wrapping_sub(first)).unwrap_or(usize::MAX);
        let (Some(leaf), Some(seen)) = (leaves.leaf(position), seen.get_mut(position)) else {
            return Err(format!("record {index} does not belong here"));
        };
        if std::mem::replace(seen, true) {
            return Err(format!("record {index} is there twice"));
        }
        let envelope = Envelope::parse(leaf).map_err(|error| format!("record {index}: {error}"))?;
        stored.check(at, &envelope).map_err(|what| format!("record {index}: {what}"))?;
        rows.push(Row { index: *index, envelope, content: None });
    }
    for (column, found) in COLUMNS.iter().zip(batch.columns()) {
        // Content has been held against its commitments.
        if matches!(column.from, From::Content(_) | From::OtherContent | From::Seed) {
            continue;
        }
        // A column that is null throughout, as most attributes are in most batches, needs no building.
        if found.null_count() == rows.len() && rows::is_absent(&column.from, &rows) {
            continue;
        }
        let expected = rows::build_column(&column.from, &rows).map_err(|error| error.to_string())?;
        if &expected != found {
            let row = (0..rows.len()).find(|row| expected.slice(*row, 1) != found.slice(*row, 1)).unwrap_or(0);
            let index = indexes.values().get(row).copied().unwrap_or(first);
            return Err(format!("record {index}: column {} is not what the leaf says", column.name));
        }
    }
    Ok(())
}

/// The leaves of a range of records, in the bundles they lie in.
struct Leaves {
    bundles: Vec<Vec<u8>>,
    /// For each record, its bundle and where its leaf is in it.
    spans: Vec<(usize, Range<usize>)>,
}

impl Leaves {
    fn read(range: Range<u64>, read: &BundleReader<'_>) -> Result<Self, String> {
        let mut leaves = Self { bundles: Vec::new(), spans: Vec::new() };
        for number in range.start / TILE_WIDTH..range.end.div_ceil(TILE_WIDTH) {
            let bytes = read(number)?;
            let mut end = 0;
            for (entry, index) in Bundle::new(&bytes).zip(number * TILE_WIDTH..) {
                let entry = entry.map_err(|error| format!("entries of record {index}: {error}"))?;
                let start = end + 2;
                end = start + entry.len();
                if range.contains(&index) {
                    leaves.spans.push((leaves.bundles.len(), start..end));
                }
            }
            leaves.bundles.push(bytes);
        }
        if leaves.spans.len() as u64 == range.end - range.start {
            Ok(leaves)
        } else {
            Err(format!("the log has {} of the {} records that it covers", leaves.spans.len(), range.end - range.start))
        }
    }

    fn leaf(&self, position: usize) -> Option<&[u8]> {
        let (bundle, span) = self.spans.get(position)?;
        self.bundles.get(*bundle)?.get(span.clone())
    }
}

/// The columns in which a segment holds content.
struct StoredContent<'b> {
    texts: Vec<(&'static str, &'b datafusion::arrow::array::StringViewArray)>,
    other: &'b datafusion::arrow::array::BinaryViewArray,
    seeds: &'b datafusion::arrow::array::FixedSizeBinaryArray,
}

impl<'b> StoredContent<'b> {
    fn of(batch: &'b RecordBatch) -> Result<Self, String> {
        let column = |name: &str| batch.column_by_name(name).ok_or_else(|| format!("it has no column {name}"));
        let mut texts = Vec::new();
        for (field, name) in CONTENT_COLUMNS {
            texts.push((field, column(name)?.as_string_view_opt().ok_or_else(|| format!("column {name} is no text"))?));
        }
        let other = column("other_content")?.as_binary_view_opt().ok_or("column other_content is not binary")?;
        let seeds = column("content_seed")?.as_fixed_size_binary_opt().ok_or("column content_seed is not binary")?;
        Ok(Self { texts, other, seeds })
    }

    /// Holds the content of one row against what its leaf commits to.
    fn check(&self, row: usize, envelope: &Envelope<'_>) -> Result<(), String> {
        let committed = envelope.commitments();
        if self.seeds.is_null(row) {
            return if committed.len() == 0 { Ok(()) } else { Err("its content is missing".into()) };
        }
        let mut stored = self.seeds.value(row).to_vec();
        if self.other.is_valid(row) {
            stored.extend_from_slice(self.other.value(row));
        }
        let content = Content::decode(&stored).map_err(|error| error.to_string())?;
        let mut content = content.ok_or("its content is missing")?;
        for (name, texts) in self.texts.iter().filter(|(_, texts)| texts.is_valid(row)) {
            let media =
                committed.clone().find(|(field, _)| field == name).map(|(_, commitment)| commitment.media.clone());
            let bytes = texts.value(row).as_bytes().to_vec();
            content.fields.push(Field { name: (*name).to_owned(), media: media.unwrap_or_default(), bytes });
        }
        content.fields.sort_by(|a, b| a.name.cmp(&b.name));
        content.check(committed).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests;
