//! Segments against the leaves they were made from: nothing missing, nothing added, nothing changed.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch, StructArray};
use datafusion::arrow::datatypes::UInt64Type;
use datafusion::arrow::error::ArrowError;
use datafusion::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use record::Envelope;
use tlog::{Bundle, TILE_WIDTH};
use world::{Disk, World};

use crate::columns::{COLUMNS, From, Row, plain};
use crate::rows;
use crate::segment::{self, Segment};
use crate::stored::StoredContent;

/// Rows that are compared at a time: few enough that what is read of them stays in a core's cache.
const BATCH_ROWS: usize = 1_024;

/// A segment that is not what was sealed, or is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct SegmentFinding {
    /// The segment's path below the data directory.
    pub place: String,
    /// What is wrong with it.
    pub what: String,
}

impl SegmentFinding {
    fn of(segment: &Segment, what: String) -> Self {
        Self { place: format!("segments/{}", segment.path), what }
    }
}

/// Appends the entry bundle with a number to a buffer, or says why it cannot.
pub type BundleReader<'a> = dyn Fn(u64, &mut Vec<u8>) -> Result<(), String> + Sync + 'a;

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
    let queue = Mutex::new(Queue { disk: world.disk.as_ref(), dir: &dir, segments: segments.iter(), open: None });
    let worker = || {
        let (mut found, mut leaves) = (Vec::new(), Leaves::default());
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            match next {
                None => return found,
                Some(Err(finding)) => found.push(finding),
                Some(Ok((segment, group))) => {
                    let checked = check_row_group(&segment, group, &mut leaves, bundles, progress);
                    if let Err(what) = checked.and_then(|()| segment.group_is_done()) {
                        found.push(SegmentFinding::of(&segment.segment, what));
                    }
                }
            }
        }
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
            findings.push(SegmentFinding::of(segment, what));
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

/// Row groups that wait to be checked. Segments are opened one after the other, and shared by the threads.
struct Queue<'s> {
    disk: &'s dyn Disk,
    dir: &'s Path,
    segments: std::slice::Iter<'s, Segment>,
    open: Option<(Arc<OpenSegment>, Range<usize>)>,
}

impl Iterator for Queue<'_> {
    type Item = Result<(Arc<OpenSegment>, usize), SegmentFinding>;
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((segment, groups)) = &mut self.open
                && let Some(group) = groups.next()
            {
                return Some(Ok((segment.clone(), group)));
            }
            let segment = self.segments.next()?;
            match OpenSegment::open(self.disk, self.dir, segment) {
                Ok(open) => {
                    let groups = 0..open.metadata.metadata().num_row_groups();
                    self.open = Some((Arc::new(open), groups));
                }
                Err(what) => {
                    return Some(Err(SegmentFinding::of(segment, what)));
                }
            }
        }
    }
}

/// A segment whose bytes are those that were sealed.
struct OpenSegment {
    segment: Segment,
    bytes: bytes::Bytes,
    metadata: ArrowReaderMetadata,
    /// Which of its records have been met.
    seen: Vec<AtomicBool>,
    groups_left: AtomicUsize,
}

impl OpenSegment {
    fn open(disk: &dyn Disk, dir: &Path, segment: &Segment) -> Result<Self, String> {
        let file = dir.join(&segment.path);
        let bytes = bytes::Bytes::from(disk.read(&file).map_err(|error| error.to_string())?);
        let stated =
            disk.read(&segment::digest_path(&file)).map_err(|error| format!("its .sha256 cannot be read: {error}"))?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if stated != format!("{}  {name}\n", segment::digest(&bytes)).into_bytes() {
            return Err("its bytes do not have the SHA-256 beside it: one of the two was changed".into());
        }
        let metadata =
            ArrowReaderMetadata::load(&bytes, ArrowReaderOptions::default()).map_err(|error| error.to_string())?;
        let records = segment.end.checked_sub(segment.first).ok_or("its name ends before it begins")?;
        let records = usize::try_from(records).map_err(|error| error.to_string())?;
        let rows = metadata.metadata().file_metadata().num_rows();
        if usize::try_from(rows) != Ok(records) {
            return Err(format!("it has {rows} rows where {records} belong"));
        }
        Ok(Self {
            segment: segment.clone(),
            seen: (0..records).map(|_| AtomicBool::new(false)).collect(),
            groups_left: AtomicUsize::new(metadata.metadata().num_row_groups()),
            bytes,
            metadata,
        })
    }

    /// Once the last group is done, every record must have been met.
    fn group_is_done(&self) -> Result<(), String> {
        if self.groups_left.fetch_sub(1, Ordering::AcqRel) > 1 {
            return Ok(());
        }
        match self.seen.iter().position(|seen| !seen.load(Ordering::Relaxed)) {
            Some(missing) => Err(format!("record {} is missing", self.segment.first + missing as u64)),
            None => Ok(()),
        }
    }

    fn meet(&self, index: u64) -> Result<(), String> {
        let position = usize::try_from(index.wrapping_sub(self.segment.first)).unwrap_or(usize::MAX);
        match self.seen.get(position).map(|seen| seen.swap(true, Ordering::Relaxed)) {
            None => Err(format!("record {index} does not belong here")),
            Some(true) => Err(format!("record {index} is there twice")),
            Some(false) => Ok(()),
        }
    }
}

fn check_row_group(
    segment: &OpenSegment,
    group: usize,
    leaves: &mut Leaves,
    bundles: &BundleReader<'_>,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(), String> {
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(segment.bytes.clone(), segment.metadata.clone())
        .with_row_groups(vec![group])
        .with_batch_size(BATCH_ROWS)
        .build()
        .map_err(|error| error.to_string())?;
    leaves.clear();
    for batch in reader {
        let batch = batch.map_err(|error| error.to_string())?;
        let indexes = batch.column_by_name("log_index").and_then(|column| column.as_primitive_opt::<UInt64Type>());
        let indexes = indexes.ok_or("it has no column log_index")?;
        for index in indexes.values() {
            segment.meet(*index)?;
            leaves.fetch(*index, bundles)?;
        }
        check_batch(&batch, indexes.values(), leaves)?;
        progress(batch.num_rows() as u64);
    }
    Ok(())
}

fn check_batch(batch: &RecordBatch, indexes: &[u64], leaves: &Leaves) -> Result<(), String> {
    let stored = StoredContent::of(batch)?;
    let mut rows = Vec::with_capacity(batch.num_rows());
    for (at, index) in indexes.iter().enumerate() {
        let leaf = leaves.leaf(*index).ok_or_else(|| format!("the log does not have record {index}"))?;
        let envelope = Envelope::parse(leaf).map_err(|error| format!("record {index}: {error}"))?;
        stored.check(at, &envelope).map_err(|what| format!("record {index}: {what}"))?;
        rows.push(Row { index: *index, envelope, content: None });
    }
    for (column, found) in COLUMNS.iter().zip(batch.columns()) {
        // Content has been held against its commitments.
        if matches!(column.from, From::Content(_) | From::OtherContent | From::Seed) {
            continue;
        }
        if let Some(row) = first_difference(&column.from, &rows, found).map_err(|error| error.to_string())? {
            let index = indexes.get(row).copied().unwrap_or_default();
            return Err(format!("record {index}: column {} is not what the leaf says", column.name));
        }
    }
    Ok(())
}

/// The first row in which a column is not what it would be if it were made anew. Texts, which most columns are, are compared
/// where they lie.
fn first_difference(from: &From, rows: &[Row<'_>], found: &ArrayRef) -> Result<Option<usize>, ArrowError> {
    if let (From::Text(text), Some(found)) = (from, found.as_string_view_opt()) {
        return Ok(rows.iter().zip(found).position(|(row, found)| text(row).as_deref() != found));
    }
    if let (From::TextAttribute(key), Some(found)) = (from, found.as_string_view_opt()) {
        return Ok(rows.iter().zip(found).position(|(row, found)| row.text_attribute(key).as_deref() != found));
    }
    if let (From::Attributes, Some(found)) = (from, found.as_map_opt()) {
        return Ok(rows.iter().enumerate().position(|(at, row)| !same_attributes(row, &found.value(at))));
    }
    // A column that is null throughout, as most attributes are in most batches, needs no making.
    if found.null_count() == rows.len() && rows::is_absent(from, rows) {
        return Ok(None);
    }
    let expected = rows::build_column(from, rows)?;
    if &expected == found {
        return Ok(None);
    }
    Ok(Some((0..rows.len()).find(|row| expected.slice(*row, 1) != found.slice(*row, 1)).unwrap_or(0)))
}

fn same_attributes(row: &Row<'_>, found: &StructArray) -> bool {
    let [keys, values] = found.columns() else { return false };
    let (Some(keys), Some(values)) = (keys.as_string_opt::<i32>(), values.as_string_opt::<i32>()) else { return false };
    let expected = row.envelope.attributes.iter().map(|(key, value)| (Some(key), Some(plain(value))));
    let found = keys.iter().zip(values.iter());
    expected.len() == found.len()
        && expected
            .zip(found)
            .all(|((key, value), (found_key, found_value))| key == found_key && value.as_deref() == found_value)
}

/// The leaves that one row group needs, in the bundles they lie in. Its memory is used again for the next group.
#[derive(Default)]
struct Leaves {
    bundles: Vec<u8>,
    /// For each bundle that has been read, where the leaves in it are.
    spans: HashMap<u64, Vec<Range<usize>>>,
}

impl Leaves {
    fn clear(&mut self) {
        self.bundles.clear();
        self.spans.clear();
    }

    /// Reads the bundle that a record lies in, unless it is here.
    fn fetch(&mut self, index: u64, read: &BundleReader<'_>) -> Result<(), String> {
        let number = index / TILE_WIDTH;
        if self.spans.contains_key(&number) {
            return Ok(());
        }
        let mut end = self.bundles.len();
        read(number, &mut self.bundles)?;
        let mut spans = Vec::new();
        for entry in Bundle::new(self.bundles.get(end..).unwrap_or_default()) {
            let entry = entry.map_err(|error| format!("entries of bundle {number}: {error}"))?;
            spans.push(end + 2..end + 2 + entry.len());
            end += 2 + entry.len();
        }
        self.spans.insert(number, spans);
        Ok(())
    }

    fn leaf(&self, index: u64) -> Option<&[u8]> {
        let at = usize::try_from(index % TILE_WIDTH).ok()?;
        self.bundles.get(self.spans.get(&(index / TILE_WIDTH))?.get(at)?.clone())
    }
}

#[cfg(test)]
mod tests;
