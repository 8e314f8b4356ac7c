//! Rows without what their texts were cut out of.
//!
//! A text that is read out of a page refers to the whole page. Where few rows of a page are wanted, each would keep it in memory until the
//! query has ended: a hundred rows from all over a log, hundreds of megabytes. So such rows get texts of their own.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray as _, RecordBatch};
use datafusion::arrow::error::ArrowError;
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions, SendableRecordBatchStream,
};
use futures_util::StreamExt as _;

use crate::terms::BLOCK_ROWS;

/// The batch with texts of its own.
pub(crate) fn cut_out(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().map(|column| match column.as_string_view_opt() {
        Some(texts) => Arc::new(texts.gc()) as ArrayRef,
        None => column.clone(),
    });
    RecordBatch::try_new(batch.schema(), columns.collect())
}

/// The same of a batch that has only some of the rows of a page.
pub(crate) fn cut_out_if_few(batch: RecordBatch) -> Result<RecordBatch> {
    if batch.num_rows() >= BLOCK_ROWS || batch.num_columns() == 0 {
        return Ok(batch);
    }
    Ok(cut_out(&batch)?)
}

/// Passes on the rows of a scan, few ones with texts of their own.
#[derive(Debug)]
pub(crate) struct CutOutExec(Arc<dyn ExecutionPlan>);

impl CutOutExec {
    /// The rows of a scan.
    pub(crate) fn new(scan: Arc<dyn ExecutionPlan>) -> Self {
        Self(scan)
    }

    fn over(children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let scan = children.into_iter().next();
        let scan = scan.ok_or_else(|| DataFusionError::Internal("CutOutExec has one child".into()))?;
        Ok(Arc::new(Self(scan)))
    }
}

impl DisplayAs for CutOutExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CutOutExec")
    }
}

impl ExecutionPlan for CutOutExec {
    fn name(&self) -> &'static str {
        "CutOutExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.0.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.0]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Self::over(children)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Self::over(children)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.0.execute(partition, context)?.map(|batch| cut_out_if_few(batch?));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Array as _, StringViewArray};
    use datafusion::datasource::memory::MemorySourceConfig;
    use datafusion::physical_plan::collect;

    use super::*;

    #[tokio::test]
    async fn few_rows_keep_no_page() {
        let texts = StringViewArray::from_iter_values((0..10_000).map(|n| format!("{n:>1000}")));
        let page = RecordBatch::try_from_iter([("text", Arc::new(texts) as ArrayRef)]).unwrap();
        let few = page.slice(7, 3);
        assert!(few.get_array_memory_size() > 1_000_000);
        let scan = MemorySourceConfig::try_new_exec(&[vec![few.clone()]], page.schema(), None).unwrap();
        let rows = collect(Arc::new(CutOutExec::new(scan)), Arc::new(TaskContext::default())).await.unwrap();
        assert_eq!(rows, [few]);
        assert!(rows[0].get_array_memory_size() < 20_000, "{}", rows[0].get_array_memory_size());
        assert_eq!(rows[0].column(0).len(), 3);
    }
}
