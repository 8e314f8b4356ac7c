//! One segment in the place of others: many that are small made one, or one of which less is kept.
//!
//! It is done a row group at a time, so that whoever does it can do what is more urgent in between. What is written is at its place,
//! durable and indexed, before anything that it replaces goes: a crash leaves the old segments, or the new one beside them
//! ([`segment::list`](crate::segment::list) says which counts).

use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{Array as _, AsArray as _, BooleanArray, RecordBatch};
use datafusion::arrow::compute::{filter_record_batch, nullif};
use datafusion::arrow::error::ArrowError;
use world::Disk;

use crate::columns::is_content;
use crate::indexing::{IndexError, enter, keep};
use crate::merging::Merge;
use crate::segment::{Indexed, Kept, SealError, Segment, path_in};
use crate::terms::Builder;
use crate::writing::{ROW_GROUP_ROWS, SegmentWriter, check_digest};

/// Why segments stay as they are.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RewriteError {
    #[error("{0} is damaged, so it is left alone: {1}. `testimony verify` says more")]
    Damaged(String, String),
    #[error("their columns are not the same")]
    Columns,
    #[error("{found} rows came out where {wanted} went in")]
    Rows { found: u64, wanted: u64 },
    #[error(transparent)]
    Write(#[from] SealError),
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// A segment that is being made of others.
pub(crate) struct Rewrite<'d> {
    disk: &'d Arc<dyn Disk>,
    dir: &'d Path,
    /// They lie side by side, in the order of the log.
    sources: Vec<Segment>,
    kept: Kept,
    path: String,
    merge: Merge,
    writer: SegmentWriter<'d>,
    terms: Builder,
    rows: u64,
}

impl<'d> Rewrite<'d> {
    /// Begins to make one segment of some that lie side by side.
    pub(crate) fn begin(
        disk: &'d Arc<dyn Disk>,
        dir: &'d Path,
        sources: Vec<Segment>,
        kept: Kept,
    ) -> Result<Self, RewriteError> {
        for source in &sources {
            // What is wrong with them must not be made to look right by a new digest.
            check_digest(disk.as_ref(), &dir.join(&source.path))
                .map_err(|what| RewriteError::Damaged(source.path.clone(), what))?;
        }
        let records = span(&sources);
        let path = path_in(sources.first().map_or("", Segment::folder), records, kept);
        let merge = Merge::open(disk, dir, &sources)?.ok_or(RewriteError::Columns)?;
        let writer = SegmentWriter::begin(disk.as_ref(), &dir.join(&path), merge.columns().clone())?;
        let terms = Builder::of_rows(usize::try_from(records.1 - records.0).unwrap_or(usize::MAX));
        Ok(Self { disk, dir, sources, kept, path, merge, writer, terms, rows: 0 })
    }

    /// Goes on by about a row group; whether there is more.
    pub(crate) fn step(&mut self) -> Result<bool, RewriteError> {
        let until = self.rows + ROW_GROUP_ROWS as u64;
        while self.rows < until {
            let Some(rows) = self.merge.next_rows()? else { return Ok(false) };
            let rows = lessen(rows, self.kept).map_err(SealError::from)?;
            self.writer.write(&rows)?;
            enter(&mut self.terms, &rows).map_err(|what| RewriteError::Damaged(self.path.clone(), what))?;
            self.rows += rows.num_rows() as u64;
        }
        Ok(true)
    }

    /// Puts the new segment at its place, with its index; those that it replaces are still there.
    pub(crate) fn finish(self) -> Result<Segment, RewriteError> {
        let records = span(&self.sources);
        let wanted = records.1 - records.0;
        if self.kept != Kept::Control && self.rows != wanted {
            return Err(RewriteError::Rows { found: self.rows, wanted });
        }
        let bytes = self.writer.finish()?;
        let mut segment = Segment::new(self.path, records, self.kept, bytes);
        segment.indexed = Indexed::By(keep(self.disk.as_ref(), self.dir, &segment, self.terms)?);
        Ok(segment)
    }

    /// What it is made of.
    pub(crate) fn sources(&self) -> &[Segment] {
        &self.sources
    }
}

/// The records of segments that lie side by side: the first, and one past the last.
fn span(segments: &[Segment]) -> (u64, u64) {
    (segments.first().map_or(0, |first| first.first), segments.last().map_or(0, |last| last.end))
}

/// What is kept of some rows.
fn lessen(rows: RecordBatch, kept: Kept) -> Result<RecordBatch, ArrowError> {
    if kept == Kept::Everything {
        return Ok(rows);
    }
    let kinds = rows.column_by_name("kind").and_then(|kinds| kinds.as_string_view_opt());
    let kinds = kinds.ok_or_else(|| ArrowError::SchemaError("no column kind of its type".into()))?;
    let is_control = |kind: Option<&str>| kind == Some("control");
    if kept == Kept::Control {
        return filter_record_batch(&rows, &kinds.iter().map(|kind| Some(is_control(kind))).collect());
    }
    let goes: BooleanArray = kinds.iter().map(|kind| Some(!is_control(kind))).collect();
    let fields = rows.schema_ref().fields();
    let columns = rows.columns().iter().zip(fields);
    let columns = columns.map(|(column, field)| {
        if is_content(field.name()) && column.null_count() < column.len() {
            nullif(column, &goes)
        } else {
            Ok(column.clone())
        }
    });
    RecordBatch::try_new(rows.schema(), columns.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests;
