//! Segments made anew from the leaves and the content: their columns as this version has them, their digests, their indexes.
//!
//! Content has no other copy than the segments, so a segment that cannot be read is left where it is and told of; where one is not there
//! at all, its columns are made from the leaves, without content.

use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{AsArray as _, RecordBatch};
use datafusion::arrow::datatypes::UInt64Type;
use record::Envelope;
use world::{Disk, World};

use crate::check::SegmentFinding;
use crate::columns::{Row, SCHEMA};
use crate::indexing::index;
use crate::leaves::{BundleReader, Leaves};
use crate::live::Chunk;
use crate::parts::FileInParts;
use crate::rows;
use crate::segment::{self, Kept, PICKED_ROWS, SealError, Segment};
use crate::stored::{StoredContent, content};
use crate::writing::SegmentWriter;

/// Records of a segment that is made where there was none.
const GAP_RECORDS: u64 = 131_072;
/// Rows for which leaves are held at a time.
const HELD_ROWS: usize = 16_384;

/// What was made anew.
#[derive(Debug, Default)]
pub struct Rebuilt {
    /// Segments.
    pub segments: usize,
    /// Their rows.
    pub rows: u64,
    /// Records whose columns were made where no segment was: the first, and one past the last.
    pub gaps: Vec<(u64, u64)>,
    /// What was left as it is, and why.
    pub findings: Vec<SegmentFinding>,
}

/// Makes all segments below a data directory anew, up to the record that the write-ahead log begins with. Nobody else may have the
/// directory. `progress` is told how many rows have been written since it was last called.
#[must_use]
pub fn rebuild_segments(
    world: &World,
    data: &Path,
    origin: &str,
    wal_first: u64,
    bundles: &BundleReader<'_>,
    progress: &dyn Fn(u64),
) -> Rebuilt {
    let dir = data.join("segments");
    let mut rebuilt = Rebuilt::default();
    let mut listed = match segment::list(world.disk.as_ref(), &dir) {
        Ok(listed) => listed,
        Err(error) => {
            rebuilt.findings.push(SegmentFinding { place: "segments".into(), what: error.to_string() });
            return rebuilt;
        }
    };
    let segments = std::mem::take(&mut listed.segments);
    listed.clear(world.disk.as_ref(), &dir);
    let (mut bench, mut end) = (Bench { disk: &world.disk, dir: &dir, origin, bundles, progress }, 0);
    for segment in &segments {
        bench.fill(end, segment.first, &mut rebuilt);
        match bench.remake(segment) {
            Ok(rows) => {
                rebuilt.segments += 1;
                rebuilt.rows += rows;
            }
            Err(what) => rebuilt.findings.push(SegmentFinding::of(segment, what)),
        }
        end = end.max(segment.end);
    }
    bench.fill(end, wal_first, &mut rebuilt);
    rebuilt
}

/// What it takes.
struct Bench<'b> {
    disk: &'b Arc<dyn Disk>,
    dir: &'b Path,
    origin: &'b str,
    bundles: &'b BundleReader<'b>,
    progress: &'b dyn Fn(u64),
}

impl Bench<'_> {
    /// Makes a segment anew in its own order; how many rows it has.
    fn remake(&mut self, segment: &Segment) -> Result<u64, String> {
        let file = self.dir.join(&segment.path);
        let parts = FileInParts::open(self.disk, &file).map_err(|error| error.to_string())?;
        let old = parts.rows().and_then(|rows| rows.with_batch_size(PICKED_ROWS).build());
        let mut writer = SegmentWriter::begin(self.disk.as_ref(), &file, SCHEMA.clone()).map_err(said)?;
        let (mut leaves, mut rows) = (Leaves::default(), 0_usize);
        for batch in old.map_err(|error| error.to_string())? {
            let batch = batch.map_err(|error| error.to_string())?;
            if rows.is_multiple_of(HELD_ROWS) {
                leaves.clear();
            }
            writer.write(&made_anew(&batch, segment, &mut leaves, self.bundles)?).map_err(said)?;
            rows += batch.num_rows();
            (self.progress)(batch.num_rows() as u64);
        }
        if segment.kept != Kept::Control && rows as u64 != segment.records() {
            return Err(format!("it has {rows} rows where {} belong", segment.records()));
        }
        writer.finish().map_err(said)?;
        index(self.disk, self.dir, segment).map_err(|error| error.to_string())?;
        Ok(rows as u64)
    }

    /// Makes the columns of records that no segment has.
    fn fill(&mut self, first: u64, end: u64, rebuilt: &mut Rebuilt) {
        let mut at = first;
        while at < end {
            let until = end.min(at.saturating_add(GAP_RECORDS));
            match self.make(at, until) {
                Ok(segment) => {
                    rebuilt.segments += 1;
                    rebuilt.rows += segment.records();
                    rebuilt.gaps.push((at, until));
                }
                Err(what) => rebuilt.findings.push(SegmentFinding {
                    place: "segments".into(),
                    what: format!("the records {at} to {} could not be made anew: {what}", until - 1),
                }),
            }
            at = until;
        }
    }

    fn make(&mut self, first: u64, end: u64) -> Result<Segment, String> {
        let (mut leaves, mut chunks, mut at) = (Leaves::default(), Vec::new(), first);
        while at < end {
            let until = end.min(at + PICKED_ROWS as u64);
            leaves.clear();
            (at..until).try_for_each(|index| leaves.fetch(index, self.bundles))?;
            let read = (at..until).map(|index| Ok(Row { index, envelope: envelope(&leaves, index)?, content: None }));
            let rows = rows::build(&read.collect::<Result<Vec<_>, String>>()?).map_err(|error| error.to_string())?;
            (self.progress)(until - at);
            chunks.push(Chunk::new(until, rows));
            at = until;
        }
        let segment = segment::seal(self.disk.as_ref(), self.dir, self.origin, (first, Kept::Records), &chunks);
        let segment = segment.map_err(said)?;
        index(self.disk, self.dir, &segment).map_err(|error| error.to_string())?;
        Ok(segment)
    }
}

fn said(error: SealError) -> String {
    error.to_string()
}

fn envelope<'l>(leaves: &'l Leaves, index: u64) -> Result<Envelope<'l>, String> {
    let leaf = leaves.leaf(index).ok_or_else(|| format!("the log does not have record {index}"))?;
    Envelope::parse(leaf).map_err(|error| format!("record {index}: {error}"))
}

/// Rows from the leaves, with the content that the old rows have, which must be what the leaves commit to.
fn made_anew(
    old: &RecordBatch,
    segment: &Segment,
    leaves: &mut Leaves,
    bundles: &BundleReader<'_>,
) -> Result<RecordBatch, String> {
    let indexes = old.column_by_name("log_index").and_then(|column| column.as_primitive_opt::<UInt64Type>());
    let indexes = indexes.ok_or("it has no column log_index")?.values();
    indexes.iter().try_for_each(|index| leaves.fetch(*index, bundles))?;
    let stored = StoredContent::of(old)?;
    let mut read = Vec::with_capacity(old.num_rows());
    for (at, index) in indexes.iter().enumerate() {
        let envelope = envelope(leaves, *index)?;
        let is_erasable = segment.kept == Kept::Records;
        stored.check(at, &envelope, is_erasable).map_err(|what| format!("record {index}: {what}"))?;
        let content = stored.fields(at, &envelope)?.map(|(seed, fields)| content(seed, fields));
        read.push(Row { index: *index, envelope, content });
    }
    rows::build(&read).map_err(|error| error.to_string())
}
