//! How segments are read: where their pages lie is remembered, and of their bytes only what is asked for is read.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::Result;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::parquet::arrow::arrow_reader::ArrowReaderOptions;
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::errors::{ParquetError, Result as ParquetResult};
use datafusion::parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use world::Disk;

use crate::segment::Segment;

/// Makes the readers of segments.
pub(crate) struct SegmentReaders {
    /// Reads footers, and remembers them within bounds.
    footers: CachedParquetFileReaderFactory,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Those that are read: their files stay for as long as the plan does.
    _segments: Vec<Segment>,
}

impl SegmentReaders {
    /// Readers of some segments below a folder.
    pub(crate) fn new(
        footers: CachedParquetFileReaderFactory,
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        segments: Vec<Segment>,
    ) -> Self {
        Self { footers, disk, dir, _segments: segments }
    }
}

impl fmt::Debug for SegmentReaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentReaders").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl ParquetFileReaderFactory for SegmentReaders {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let path = self.dir.join(file.path().as_ref());
        let footer = self.footers.create_reader(partition, file, metadata_size_hint, metrics)?;
        Ok(Box::new(SegmentReader { footer, disk: self.disk.clone(), path }))
    }
}

struct SegmentReader {
    footer: Box<dyn AsyncFileReader + Send>,
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl AsyncFileReader for SegmentReader {
    /// Reads in the query's own thread, of which nothing else is asked: to hand over each few pages costs more than to read them.
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        let bytes = self.disk.read_part(&self.path, range.start, length);
        let bytes = bytes.map(Bytes::from).map_err(|error| ParquetError::External(Box::new(error)));
        ready(bytes).boxed()
    }

    /// With where its pages lie, whoever asks: without that whole columns of a row group are read for a few rows.
    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move {
            let options = options.cloned().unwrap_or_default().with_page_index_policy(PageIndexPolicy::Optional);
            self.footer.get_metadata(Some(&options)).await
        }
        .boxed()
    }
}
