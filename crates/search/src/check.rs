//! Segments against the leaves they were made from: nothing missing, nothing added, nothing changed.

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
use world::{Disk, World};

use crate::columns::{COLUMNS, From, Row, is_content, plain};
use crate::leaves::{BundleReader, Leaves};
use crate::parts::FileInParts;
use crate::retention::Removal;
use crate::rows;
use crate::segment::{self, Kept, Segment};
use crate::stored::StoredContent;
use crate::writing::check_digest;

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
    pub(crate) fn of(segment: &Segment, what: String) -> Self {
        Self { place: format!("segments/{}", segment.path), what }
    }
}

/// Checks every segment below a data directory on `threads` threads, and that they cover the log from its start to
/// where the write-ahead log holds it. What they lack must have been removed by a record, which lies in a segment or was `told` of. `progress` is
/// told how many rows have been checked since it was last called.
/// Gives everything that was found, and one past the last record that lies in a segment.
#[must_use]
pub fn check_segments(
    world: &World,
    data: &Path,
    wal_first: u64,
    told: Removal,
    threads: usize,
    bundles: &BundleReader<'_>,
    progress: &(dyn Fn(u64) + Sync),
) -> (Vec<SegmentFinding>, u64) {
    let dir = data.join("segments");
    let segments = match segment::list(world.disk.as_ref(), &dir) {
        Ok(listed) => listed.segments,
        Err(error) => return (vec![SegmentFinding { place: "segments".into(), what: error.to_string() }], 0),
    };
    let (mut findings, end) = check_cover(&segments, wal_first);
    let queue = Mutex::new(Queue { disk: &world.disk, dir: &dir, segments: segments.iter(), open: None });
    let removal = Mutex::new(told);
    let worker = || {
        let (mut found, mut leaves, mut learned) = (Vec::new(), Leaves::default(), Removal::default());
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            match next {
                None => {
                    let mut removal = removal.lock().unwrap_or_else(PoisonError::into_inner);
                    *removal = removal.and(learned);
                    return found;
                }
                Some(Err(finding)) => found.push(finding),
                Some(Ok((segment, group))) => {
                    let checked = check_row_group(&segment, group, &mut leaves, bundles, progress);
                    let checked = checked.map(|removal| learned = learned.and(removal));
                    if let Err(what) = checked.and_then(|()| segment.group_is_done(&mut leaves, bundles)) {
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
    findings.extend(check_kept(&segments, removal.into_inner().unwrap_or_else(PoisonError::into_inner)));
    (findings, end)
}

/// What segments lack must have been removed by a record that says so.
fn check_kept(segments: &[Segment], removal: Removal) -> impl Iterator<Item = SegmentFinding> + '_ {
    let lacking = segments.iter().filter(move |segment| segment.kept > removal.leaves(segment.end));
    lacking.map(|segment| {
        let gone = if segment.kept == Kept::Records { "content is" } else { "records are" };
        SegmentFinding::of(segment, format!("its {gone} gone, and no record of the log says that this was removed"))
    })
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
    disk: &'s Arc<dyn Disk>,
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
                    // One at least: that of no rows, after which what is missing is looked for.
                    let groups = 0..open.metadata.metadata().num_row_groups().max(1);
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
    file: FileInParts,
    metadata: ArrowReaderMetadata,
    /// Which of its records have been met.
    seen: Vec<AtomicBool>,
    groups_left: AtomicUsize,
}

impl OpenSegment {
    fn open(disk: &Arc<dyn Disk>, dir: &Path, segment: &Segment) -> Result<Self, String> {
        let file = dir.join(&segment.path);
        check_digest(disk.as_ref(), &file)?;
        let file = FileInParts::open(disk, &file).map_err(|error| error.to_string())?;
        let metadata =
            ArrowReaderMetadata::load(&file, ArrowReaderOptions::default()).map_err(|error| error.to_string())?;
        let records = segment.end.checked_sub(segment.first).ok_or("its name ends before it begins")?;
        let records = usize::try_from(records).map_err(|error| error.to_string())?;
        let rows = metadata.metadata().file_metadata().num_rows();
        if segment.kept != Kept::Control && usize::try_from(rows) != Ok(records) {
            return Err(format!("it has {rows} rows where {records} belong"));
        }
        let groups = metadata.metadata().num_row_groups().max(1);
        Ok(Self {
            segment: segment.clone(),
            seen: (0..records).map(|_| AtomicBool::new(false)).collect(),
            groups_left: AtomicUsize::new(groups),
            file,
            metadata,
        })
    }

    /// Once the last group is done, every record must have been met that is to be there.
    fn group_is_done(&self, leaves: &mut Leaves, bundles: &BundleReader<'_>) -> Result<(), String> {
        if self.groups_left.fetch_sub(1, Ordering::AcqRel) > 1 {
            return Ok(());
        }
        let missing = self.seen.iter().zip(self.segment.first..).filter(|(seen, _)| !seen.load(Ordering::Relaxed));
        for (nth, (_, index)) in missing.enumerate() {
            if self.segment.kept != Kept::Control || leaves.is_control(index, nth, bundles)? {
                return Err(format!("record {index} is missing"));
            }
        }
        Ok(())
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

/// What leaves say was removed, when everything is as they say.
fn check_row_group(
    segment: &OpenSegment,
    group: usize,
    leaves: &mut Leaves,
    bundles: &BundleReader<'_>,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Removal, String> {
    let mut removal = Removal::default();
    if segment.metadata.metadata().num_row_groups() == 0 {
        return Ok(removal);
    }
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(segment.file.clone(), segment.metadata.clone())
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
        removal = removal.and(check_batch(&batch, segment.segment.kept, indexes.values(), leaves)?);
        progress(batch.num_rows() as u64);
    }
    Ok(removal)
}

/// What leaves say was removed, when everything is as they say.
fn check_batch(batch: &RecordBatch, kept: Kept, indexes: &[u64], leaves: &Leaves) -> Result<Removal, String> {
    let stored = StoredContent::of(batch)?;
    let (mut rows, mut removal) = (Vec::with_capacity(batch.num_rows()), Removal::default());
    for (at, index) in indexes.iter().enumerate() {
        let leaf = leaves.leaf(*index).ok_or_else(|| format!("the log does not have record {index}"))?;
        let envelope = Envelope::parse(leaf).map_err(|error| format!("record {index}: {error}"))?;
        let is_erasable = kept == Kept::Records && envelope.kind != "control";
        stored.check(at, &envelope, is_erasable).map_err(|what| format!("record {index}: {what}"))?;
        removal.learn_from(&envelope);
        rows.push(Row { index: *index, envelope, content: None });
    }
    for (field, found) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        // A column that this version does not know was told of by another; one that is not there is null in every row.
        let Some(column) = COLUMNS.iter().find(|column| column.name == field.name()) else { continue };
        // Content has been held against its commitments.
        if is_content(column.name) {
            continue;
        }
        if let Some(row) = first_difference(&column.from, &rows, found).map_err(|error| error.to_string())? {
            let index = indexes.get(row).copied().unwrap_or_default();
            return Err(format!("record {index}: column {} is not what the leaf says", column.name));
        }
    }
    Ok(removal)
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

#[cfg(test)]
mod tests;
