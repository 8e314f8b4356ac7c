//! That a query ends once nobody waits for it.
//!
//! A task is ended where it gives way to others, and `DataFusion` gives way where rows are read. A join makes many rows of few and would hold a
//! thread for as long as that takes, so it gives way after each batch of them ([`GivesWay`]); and where it looks through pairs of rows of which
//! none is wanted, and no batch comes out, its condition asks whether anybody still waits ([`AsksInJoins`]).

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;

tokio::task_local! {
    static QUERY: GivenUp;
}

/// Whether nobody waits any more for a query.
#[derive(Debug, Clone, Default)]
pub(crate) struct GivenUp(Arc<AtomicBool>);

impl GivenUp {
    /// That of the query which this is a part of.
    fn of_this_query() -> Self {
        QUERY.try_with(Clone::clone).unwrap_or_default()
    }

    /// The work of a query.
    pub(crate) fn during<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        QUERY.scope(self, work)
    }

    /// Nobody waits.
    pub(crate) fn give_up(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A session whose queries end.
pub(crate) fn ends(session: SessionStateBuilder) -> SessionStateBuilder {
    let asks = ScalarUDF::from(Awaited {
        given_up: GivenUp::of_this_query(),
        signature: Signature::exact(vec![DataType::Boolean], Volatility::Volatile),
    });
    session.with_optimizer_rule(Arc::new(AsksInJoins(Arc::new(asks)))).with_physical_optimizer_rule(Arc::new(GivesWay))
}

/// The condition that it is given, as long as anybody waits.
#[derive(Debug)]
struct Awaited {
    given_up: GivenUp,
    signature: Signature,
}

impl PartialEq for Awaited {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.given_up.0, &other.given_up.0)
    }
}

impl Eq for Awaited {}

impl Hash for Awaited {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.given_up.0).hash(state);
    }
}

impl ScalarUDFImpl for Awaited {
    fn name(&self) -> &'static str {
        "awaited"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.pop() {
            Some(condition) if !self.given_up.0.load(Ordering::Relaxed) => Ok(condition),
            _ => Err(DataFusionError::Execution("nobody waits for this query any more".into())),
        }
    }
}

/// Asks in the condition of every join that has one besides equal columns.
#[derive(Debug)]
struct AsksInJoins(Arc<ScalarUDF>);

impl OptimizerRule for AsksInJoins {
    fn name(&self) -> &'static str {
        "asks_in_joins"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Join(mut join) = plan else { return Ok(Transformed::no(plan)) };
        let asks = |condition: &Expr| matches!(condition, Expr::ScalarFunction(call) if call.func == self.0);
        Ok(match join.filter.take() {
            Some(condition) if !asks(&condition) => {
                join.filter = Some(self.0.call(vec![condition]));
                Transformed::yes(LogicalPlan::Join(join))
            }
            condition => {
                join.filter = condition;
                Transformed::no(LogicalPlan::Join(join))
            }
        })
    }
}

/// Gives way after each batch of what makes many rows of few.
#[derive(Debug)]
struct GivesWay;

impl PhysicalOptimizerRule for GivesWay {
    fn name(&self) -> &'static str {
        "gives_way"
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let wrapped = plan.transform_up(|plan| {
            let makes_many = plan.children().len() > 1 || plan.name() == "UnnestExec";
            if !makes_many || plan.name() == "UnionExec" {
                return Ok(Transformed::no(plan));
            }
            Ok(Transformed::yes(Arc::new(CooperativeExec::new(plan)) as Arc<dyn ExecutionPlan>))
        });
        Ok(wrapped?.data)
    }

    fn schema_check(&self) -> bool {
        true
    }
}
