//! What a caller may see: a row filter that stands inside the table, below everything that a query can say.
//!
//! A filter of the query is never evaluated on a row that the caller may not see, not even where that would only let it be passed
//! over sooner: an expression that fails (`CAST(input AS INT)`) says in its error what it failed on. So the scan of a
//! restricted caller is one opaque leaf of the plan ([`ViewExec`]), into which the optimizer pushes nothing.

use std::fmt;
use std::sync::Arc;

use access::{Action, Glob, Identity, Role, Scope, allows};
use datafusion::arrow::array::AsArray as _;
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, lit};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, ReplaceChildrenOptions};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties as _, PlanProperties,
};
use datafusion::prelude::{col, in_list};
use futures_util::StreamExt as _;

use crate::language::like;

/// The kinds of records that those may see who may not see how the system itself is run.
const KINDS_OF_CALLS: [&str; 5] = ["inference.request", "inference.response", "tool.call", "evaluation", "system"];

/// What a caller may see of the records.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct View(Option<Expr>);

impl View {
    /// All of them: for whoever has the directory, and for ourselves.
    #[must_use]
    pub const fn everything() -> Self {
        Self(None)
    }

    /// What the grants of an identity let it search: the records within any of them.
    #[must_use]
    pub fn of(identity: &Identity) -> Self {
        let mut seen: Option<Expr> = None;
        for grant in identity.grants.iter().filter(|grant| allows(grant.role, Action::Search)) {
            match granted(grant.role, &grant.scope) {
                None => return Self::everything(),
                Some(expr) => seen = Some(seen.map_or(expr.clone(), |seen| seen.or(expr))),
            }
        }
        Self(Some(seen.unwrap_or_else(|| lit(false))))
    }

    /// The rows that are seen; none: all.
    pub(crate) const fn filter(&self) -> Option<&Expr> {
        self.0.as_ref()
    }

    /// Whether there are records that it leaves out.
    #[must_use]
    pub const fn is_restricted(&self) -> bool {
        self.0.is_some()
    }
}

/// What one grant shows; none: everything.
fn granted(role: Role, scope: &Scope) -> Option<Expr> {
    let kinds = in_list(col("kind"), KINDS_OF_CALLS.map(lit).to_vec(), false);
    let kinds = (!allows(role, Action::ReadEverything)).then_some(kinds);
    let columns = [("environment", scope.environments()), ("service", scope.services()), ("model", scope.models())];
    let patterns = columns.into_iter().filter_map(|(column, globs)| any_of(column, globs));
    patterns.chain(kinds).reduce(Expr::and)
}

/// A row without a value meets no pattern: `LIKE` of nothing is not true.
fn any_of(column: &str, globs: &[Glob]) -> Option<Expr> {
    globs.iter().map(|glob| like(col(column), glob.as_str(), false)).reduce(Expr::or)
}

/// The scan of a restricted caller: rows that are not seen go no further, and nothing is asked of them but whether they are.
#[derive(Debug)]
pub(crate) struct ViewExec {
    /// Hidden from the optimizer, which would push filters into it.
    scan: Arc<dyn ExecutionPlan>,
    filter: Arc<dyn PhysicalExpr>,
    /// The first so many columns of the scan are those that are asked for; the filter needs the others.
    columns: usize,
    properties: Arc<PlanProperties>,
}

impl ViewExec {
    /// Shows the first `columns` columns of the rows of `scan` that `filter` lets through.
    pub(crate) fn new(scan: Arc<dyn ExecutionPlan>, filter: Arc<dyn PhysicalExpr>, columns: usize) -> Result<Self> {
        let schema: SchemaRef = Arc::new(scan.schema().project(&(0..columns).collect::<Vec<_>>())?);
        let partitions = Partitioning::UnknownPartitioning(scan.output_partitioning().partition_count());
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            partitions,
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Self { scan, filter, columns, properties: Arc::new(properties) })
    }
}

impl DisplayAs for ViewExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ViewExec: the records that you may see")
    }
}

impl ExecutionPlan for ViewExec {
    fn name(&self) -> &'static str {
        "ViewExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (filter, columns) = (self.filter.clone(), self.columns);
        let seen = self.scan.execute(partition, context)?.map(move |batch| {
            let batch = batch?;
            let verdicts = filter.evaluate(&batch)?.into_array(batch.num_rows())?;
            let kept = filter_record_batch(&batch, verdicts.as_boolean());
            let kept = kept.and_then(|kept| kept.project(&(0..columns).collect::<Vec<_>>()));
            kept.map_err(DataFusionError::from)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), seen)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use access::Grant;

    fn view(grants: &[(Role, &str)]) -> String {
        let grant = |(role, scope): &(Role, &str)| Grant { role: *role, scope: scope.parse().unwrap() };
        let view = View::of(&Identity::anonymous(grants.iter().map(grant).collect()));
        view.filter().map_or("everything".to_owned(), ToString::to_string)
    }

    #[test]
    fn grants_show_these_rows() {
        let lines = [
            view(&[]),
            view(&[(Role::Caller, "*"), (Role::Ingest, "*")]),
            view(&[(Role::Admin, "*")]),
            view(&[(Role::Reader, "*")]),
            view(&[(Role::Auditor, "env=staging")]),
            view(&[(Role::Reader, "env=staging,env=test,model=gemma*,service=100%_a")]),
            view(&[(Role::Reader, "env=staging"), (Role::Auditor, "env=production")]),
            view(&[(Role::Reader, "env=staging"), (Role::Auditor, "*")]),
        ];
        insta::assert_snapshot!(lines.join("\n"));
    }
}
