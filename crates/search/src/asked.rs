//! Statements of clients that have prepared them: what comes of one is told before it is run.

use std::collections::HashMap;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan, lit};
use postgres::{Column, Type};

use crate::answer::Answer;
use crate::catalog::Catalog;
use crate::engine::{Engine, EngineError, Limits};
use crate::running::{Running, collect};
use crate::sql::invalid;
use crate::statements::Statement;
use crate::typed::{said_as, typed};
use crate::view::View;

/// What is known of a statement before it is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// The columns of its rows.
    pub columns: Vec<Column>,
    /// Of each parameter what it is compared with; none where that does not follow.
    pub parameters: Vec<Option<Type>>,
}

impl Engine {
    /// Runs a SELECT or EXPLAIN as [`Engine::sql`] does, for a client of a database, who finds a catalogue of it.
    ///
    /// # Errors
    /// When the statement is wrong, not a query, or exceeds its limits.
    pub fn sql_of(&self, view: &View, statement: String, catalog: &Catalog, limits: Limits) -> Running<Answer> {
        let (engine, view, catalog) = (self.clone(), view.clone(), catalog.clone());
        self.run(limits, async move {
            let snapshot = engine.snapshot()?;
            let planned = engine.sessions().plan(&statement, snapshot, &view, lit(true), Some(&catalog));
            collect(planned.await?, limits).await
        })
    }

    /// Says what would come of a statement. `samples` are values of its parameters that stand for any of them where nothing else says what
    /// they are.
    ///
    /// # Errors
    /// As [`Engine::sql_of`].
    pub fn describe(
        &self,
        view: &View,
        statement: Statement,
        samples: Vec<String>,
        catalog: &Catalog,
        limits: Limits,
    ) -> Running<Described> {
        let (engine, view, catalog) = (self.clone(), view.clone(), catalog.clone());
        self.run(limits, async move {
            let count = statement.parameters();
            let planned = |text: String| {
                let (engine, view, catalog) = (&engine, &view, &catalog);
                async move {
                    let snapshot = engine.snapshot()?;
                    let planned = engine.sessions().planned(&text, snapshot, view, lit(true), Some(catalog)).await?;
                    Ok::<LogicalPlan, EngineError>(planned.1)
                }
            };
            let columns = |plan: &LogicalPlan| typed(plan.schema().as_arrow());
            match planned(statement.text().to_owned()).await {
                Ok(plan) => {
                    Ok(Described { columns: columns(&plan), parameters: parameters(&plan, count).map_err(invalid)? })
                }
                Err(error) if count == 0 => Err(error),
                Err(_) => {
                    let plan = planned(statement.with(&samples)).await?;
                    Ok(Described { columns: columns(&plan), parameters: vec![None; count] })
                }
            }
        })
    }
}

/// What each parameter of a plan is.
fn parameters(plan: &LogicalPlan, count: usize) -> datafusion::common::Result<Vec<Option<Type>>> {
    let mut known: HashMap<String, Option<DataType>> = plan.get_parameter_types()?;
    plan.apply_with_subqueries(|plan| {
        if let LogicalPlan::Limit(limit) = plan {
            for expression in [&limit.skip, &limit.fetch].into_iter().flatten() {
                expression.apply(|part| {
                    if let Expr::Placeholder(placeholder) = part {
                        known.insert(placeholder.id.clone(), Some(DataType::Int64));
                    }
                    Ok(TreeNodeRecursion::Continue)
                })?;
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    let kind = |number: usize| known.get(&format!("${number}"))?.as_ref().map(said_as);
    Ok((1..=count).map(kind).collect())
}

#[cfg(test)]
mod tests;
