//! The one table: sealed segments and the live tail, as they were at one moment.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, Result};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::union::UnionExec;

use crate::columns::{SCHEMA, VISIBLE, VISIBLE_SCHEMA};
use crate::segment::Segment;
use crate::view::{View, ViewExec};

/// The object store under which the folder `segments/` is known to DataFusion.
pub(crate) const STORE_URL: &str = "testimony://segments";

/// What was searchable at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) segments: Vec<Segment>,
    pub(crate) live: Vec<RecordBatch>,
}

/// A snapshot as a table.
#[derive(Debug)]
pub(crate) struct RecordsTable {
    snapshot: Snapshot,
    schema: SchemaRef,
    view: View,
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
        let mut source = ParquetSource::new(SCHEMA.clone())
            .with_table_parquet_options(state.table_options().parquet.clone())
            .with_enable_page_index(true)
            .with_bloom_filter_on_read(true);
        if let Some(filter) = conjunction(filters.iter().cloned()) {
            let schema = DFSchema::try_from(SCHEMA.clone())?;
            source = source.with_predicate(state.create_physical_expr(filter, &schema)?);
        }
        let threads = state.config().target_partitions().max(1);
        let mut groups = vec![Vec::new(); threads.min(self.snapshot.segments.len())];
        let count = groups.len().max(1);
        for (nth, segment) in self.snapshot.segments.iter().enumerate() {
            if let Some(group) = groups.get_mut(nth % count) {
                group.push(PartitionedFile::new(segment.path.clone(), segment.bytes));
            }
        }
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::parse(STORE_URL)?, Arc::new(source))
            .with_file_groups(groups.into_iter().map(FileGroup::new).collect())
            .with_projection_indices(Some(columns.to_vec()))?
            .build();
        Ok(DataSourceExec::from_data_source(config))
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
