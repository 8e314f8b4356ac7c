//! The rows of several segments in the order of one.

use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::interleave_record_batch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use world::Disk;

use crate::parts::FileInParts;
use crate::segment::{PICKED_ROWS, SealError, Segment, row_keys};

/// Segments of the same columns, read side by side, the newest row first.
pub(crate) struct Merge {
    columns: SchemaRef,
    /// Those that are not at their end.
    sources: Vec<Source>,
}

/// One of them: the rows that were read last, and how many of these have been taken.
struct Source {
    reader: ParquetRecordBatchReader,
    rows: RecordBatch,
    /// What each row is ordered by.
    keys: Vec<(i64, u64)>,
    taken: usize,
}

impl Source {
    /// Nothing when there is no row in it.
    fn open(disk: &Arc<dyn Disk>, file: &Path) -> Result<(SchemaRef, Option<Self>), SealError> {
        let parts = FileInParts::open(disk, file).map_err(|error| SealError::Io(file.to_owned(), error))?;
        let reader = parts.rows()?.with_batch_size(PICKED_ROWS).build()?;
        let columns = datafusion::arrow::array::RecordBatchReader::schema(&reader);
        let rows = RecordBatch::new_empty(columns.clone());
        let mut source = Self { reader, rows, keys: Vec::new(), taken: 0 };
        Ok((columns, source.read_on()?.then_some(source)))
    }

    /// Goes on to the next rows, if there are any.
    fn read_on(&mut self) -> Result<bool, SealError> {
        let Some(rows) = self.reader.next().transpose()? else { return Ok(false) };
        self.keys = row_keys(&rows)?.collect();
        self.taken = 0;
        self.rows = rows;
        Ok(true)
    }

    /// What the next row is ordered by; nothing where more have to be read first.
    fn key(&self) -> Option<(i64, u64)> {
        self.keys.get(self.taken).copied()
    }
}

impl Merge {
    /// Opens segments; none is returned of those whose columns are not the same.
    pub(crate) fn open(disk: &Arc<dyn Disk>, dir: &Path, segments: &[Segment]) -> Result<Option<Self>, SealError> {
        let (mut sources, mut schema) = (Vec::new(), None);
        for segment in segments {
            let (columns, source) = Source::open(disk, &dir.join(&segment.path))?;
            if schema.get_or_insert_with(|| columns.clone()) != &columns {
                return Ok(None);
            }
            sources.extend(source);
        }
        Ok(schema.map(|columns| Self { columns, sources }))
    }

    pub(crate) fn columns(&self) -> &SchemaRef {
        &self.columns
    }

    /// The next rows in order; nothing when all have been given out.
    pub(crate) fn next_rows(&mut self) -> Result<Option<RecordBatch>, SealError> {
        let mut places = Vec::with_capacity(PICKED_ROWS);
        // Only rows that are in memory can be put together, so it ends where more have to be read, too.
        while places.len() < PICKED_ROWS {
            let Some(at) = self.newest() else { break };
            let Some(source) = self.sources.get_mut(at) else { break };
            places.push((at, source.taken));
            source.taken += 1;
            if source.key().is_none() {
                break;
            }
        }
        if places.is_empty() {
            return Ok(None);
        }
        let batches: Vec<&RecordBatch> = self.sources.iter().map(|source| &source.rows).collect();
        let rows = interleave_record_batch(&batches, &places)?;
        let mut left = Vec::with_capacity(self.sources.len());
        for mut source in std::mem::take(&mut self.sources) {
            if source.key().is_some() || source.read_on()? {
                left.push(source);
            }
        }
        self.sources = left;
        Ok(Some(rows))
    }

    /// The source whose next row comes next.
    fn newest(&self) -> Option<usize> {
        let keys = self.sources.iter().enumerate().filter_map(|(at, source)| Some((source.key()?, at)));
        keys.max().map(|(_, at)| at)
    }
}
