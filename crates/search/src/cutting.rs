//! Rows without what their texts were cut out of.
//!
//! A text that is read out of a page refers to the whole page. Where few rows of a page are wanted, each would keep it in memory until the
//! query has ended: a hundred rows from all over a log, hundreds of megabytes. So such rows get texts of their own.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray as _, RecordBatch};
use datafusion::arrow::error::ArrowError;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
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

/// Cuts out the rows of every scan, whatever the scan is. It comes last: nothing is pushed into a scan after it.
#[derive(Debug)]
pub(crate) struct CutsOut;

impl PhysicalOptimizerRule for CutsOut {
    fn name(&self) -> &'static str {
        "cuts_out"
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let wrapped = plan.transform_up(|plan| {
            if !plan.children().is_empty() {
                return Ok(Transformed::no(plan));
            }
            Ok(Transformed::yes(Arc::new(CutOutExec(plan)) as Arc<dyn ExecutionPlan>))
        });
        Ok(wrapped?.data)
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Passes on the rows of a scan; where they are only some of a page, with texts of their own.
#[derive(Debug)]
struct CutOutExec(Arc<dyn ExecutionPlan>);

impl CutOutExec {
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
        let rows = self.0.execute(partition, context)?.map(|batch| {
            let batch = batch?;
            if batch.num_rows() >= BLOCK_ROWS || batch.num_columns() == 0 { Ok(batch) } else { Ok(cut_out(&batch)?) }
        });
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
        let rows = collect(Arc::new(CutOutExec(scan)), Arc::new(TaskContext::default())).await.unwrap();
        assert_eq!(rows, [few]);
        assert!(rows[0].get_array_memory_size() < 20_000, "{}", rows[0].get_array_memory_size());
        assert_eq!(rows[0].column(0).len(), 3);
    }
}
