//! The one table: sealed segments and the live tail, as they were at one moment.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{DFSchema, Result, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::parquet::{CachedParquetFileReaderFactory, ParquetRowSelection};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, FileSource as _, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder};
use datafusion::physical_plan::union::UnionExec;
use world::Disk;

use crate::columns::{SCHEMA, VISIBLE, VISIBLE_SCHEMA};
use crate::pruning::{Need, Rows, selection};
use crate::reading::SegmentReaders;
use crate::segment::{Indexed, Segment};
use crate::terms::Terms;
use crate::view::{View, ViewExec};

/// The object store under which the folder `segments/` is known to DataFusion.
pub(crate) const STORE_URL: &str = "testimony://segments";

/// What was searchable at one moment.
#[derive(Clone)]
pub(crate) struct Snapshot {
    /// In the order of the log.
    pub(crate) segments: Vec<Segment>,
    pub(crate) live: Vec<RecordBatch>,
    /// Where segments and their terms are read from.
    pub(crate) disk: Arc<dyn Disk>,
    /// The folder of segments.
    pub(crate) dir: PathBuf,
}

/// What is known of a segment before it is opened.
fn statistics(terms: &Terms) -> Statistics {
    let mut statistics = Statistics::new_unknown(&SCHEMA);
    let time = |micros| ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into()));
    if let Some(column) =
        SCHEMA.index_of("time").ok().and_then(|position| statistics.column_statistics.get_mut(position))
    {
        column.min_value = Precision::Exact(time(terms.times.0));
        column.max_value = Precision::Exact(time(terms.times.1));
        column.null_count = Precision::Exact(0);
    }
    statistics
}

/// Has `EXPLAIN ANALYZE` tell of the segments that their terms have spared: they are not in the plan.
fn tell_pruned(metrics: &ExecutionPlanMetricsSet, all: usize, matched: usize) {
    let segments = MetricBuilder::new(metrics).pruning_metrics("segments_pruned_index", 0);
    segments.add_pruned(all.saturating_sub(matched));
    segments.add_matched(matched);
}

/// A snapshot as a table.
pub(crate) struct RecordsTable {
    snapshot: Snapshot,
    schema: SchemaRef,
    view: View,
}

impl fmt::Debug for RecordsTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordsTable").field("segments", &self.snapshot.segments).finish_non_exhaustive()
    }
}

impl RecordsTable {
    /// With the columns that SQL may see.
    pub(crate) fn visible(snapshot: Snapshot, view: &View) -> Self {
        Self { snapshot, schema: VISIBLE_SCHEMA.clone(), view: view.clone() }
    }

    /// With all columns.
    pub(crate) fn whole(snapshot: Snapshot, view: &View) -> Self {
        Self { snapshot, schema: SCHEMA.clone(), view: view.clone() }
    }

    fn scan_rows(&self, state: &dyn Session, columns: &[usize], filters: &[Expr]) -> Result<Arc<dyn ExecutionPlan>> {
        let live = self.scan_live(columns)?;
        if self.snapshot.segments.is_empty() {
            return Ok(live);
        }
        UnionExec::try_new(vec![self.scan_segments(state, columns, filters)?, live])
    }

    /// The rows of a restricted view. Only its own filter is used to pass over segments.
    fn scan_view(&self, state: &dyn Session, asked: &[usize], filter: &Expr) -> Result<Arc<dyn ExecutionPlan>> {
        let mut columns = asked.to_vec();
        for column in filter.column_refs() {
            let position = SCHEMA.index_of(&column.name)?;
            if !columns.contains(&position) {
                columns.push(position);
            }
        }
        let schema = DFSchema::try_from(SCHEMA.project(&columns)?)?;
        let scan = self.scan_rows(state, &columns, std::slice::from_ref(filter))?;
        Ok(Arc::new(ViewExec::new(scan, state.create_physical_expr(filter.clone(), &schema)?, asked.len())?))
    }

    fn scan_segments(
        &self,
        state: &dyn Session,
        columns: &[usize],
        filters: &[Expr],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let url = ObjectStoreUrl::parse(STORE_URL)?;
        let runtime = state.runtime_env();
        let footers = CachedParquetFileReaderFactory::new(
            runtime.object_store(&url)?,
            runtime.cache_manager.get_file_metadata_cache(),
        );
        let Snapshot { disk, dir, .. } = &self.snapshot;
        let readers = SegmentReaders::new(footers, disk.clone(), dir.clone(), self.snapshot.segments.clone());
        let mut source = ParquetSource::new(SCHEMA.clone())
            .with_parquet_file_reader_factory(Arc::new(readers))
            .with_table_parquet_options(state.table_options().parquet.clone())
            .with_enable_page_index(true)
            // Those in the file are for others: the terms of a segment say the same without opening it.
            .with_bloom_filter_on_read(false);
        if let Some(filter) = conjunction(filters.iter().cloned()) {
            let schema = DFSchema::try_from(SCHEMA.clone())?;
            source = source.with_predicate(state.create_physical_expr(filter, &schema)?);
        }
        let threads = state.config().target_partitions().max(1);
        // The newest first: most want what is new, and once that is found, what is older is passed over.
        let files: Vec<PartitionedFile> = self.files(&Need::of(filters));
        tell_pruned(source.metrics(), self.snapshot.segments.len(), files.len());
        // One at least: a scan of no partition at all cannot be planned.
        let count = threads.min(files.len()).max(1);
        let mut groups = vec![Vec::new(); count];
        for (nth, file) in files.into_iter().enumerate() {
            if let Some(group) = groups.get_mut(nth % count) {
                group.push(file);
            }
        }
        let config = FileScanConfigBuilder::new(url, Arc::new(source))
            .with_file_groups(groups.into_iter().map(FileGroup::new).collect())
            .with_projection_indices(Some(columns.to_vec()))?
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// The segments that can have what is needed, the newest first, with the rows that can.
    fn files(&self, need: &Need) -> Vec<PartitionedFile> {
        let Snapshot { segments, disk, .. } = &self.snapshot;
        let file = |segment: &Segment| {
            let file = PartitionedFile::new(segment.path.clone(), segment.bytes);
            let Indexed::By(terms) = &segment.indexed else { return Some(file) };
            let rows = need.rows(terms, disk.as_ref()).unwrap_or_else(|error| {
                tracing::warn!(%error, "a segment is looked through as a whole");
                Rows::All
            });
            let file = file.with_statistics(Arc::new(statistics(terms)));
            match rows {
                Rows::None => None,
                Rows::All => Some(file),
                Rows::Blocks(blocks) => {
                    Some(file.with_extension(ParquetRowSelection::new(selection(&blocks, terms.rows))))
                }
            }
        };
        segments.iter().rev().filter_map(file).collect()
    }

    fn scan_live(&self, columns: &[usize]) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(MemorySourceConfig::try_new_exec(
            std::slice::from_ref(&self.snapshot.live),
            SCHEMA.clone(),
            Some(columns.to_vec()),
        )?)
    }
}

#[async_trait::async_trait]
impl TableProvider for RecordsTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // Segments are pruned by them; every row that is left is still looked at.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        // Hidden columns stand last, so that the positions of visible ones are the same in both schemas.
        debug_assert!(self.schema.fields().len() >= VISIBLE);
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let columns = projection.unwrap_or(&all);
        match self.view.filter() {
            Some(filter) => self.scan_view(state, columns, filter),
            None => self.scan_rows(state, columns, filters),
        }
    }
}
