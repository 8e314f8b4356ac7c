//! The latest of the `control` records of a door: for whoever keeps a state that is a fold over them.

use datafusion::arrow::array::AsArray as _;
use datafusion::arrow::datatypes::UInt64Type;
use datafusion::functions::core::expr_ext::FieldAccessor as _;
use datafusion::functions_aggregate::expr_fn::max;
use datafusion::logical_expr::{Expr, lit};
use datafusion::prelude::{col, in_list};
use record::Timestamp;
use serde_json::Value;

use crate::answer::Answer;
use crate::engine::{Engine, EngineError, Limits};
use crate::language::time_literal;
use crate::running::{Running, collect};
use crate::sql::invalid;
use crate::story;
use crate::view::View;

/// The `control` records that came through a door. Nobody but this log makes these: the door of a record is not the sender's to say.
fn controls(door: &'static str) -> Expr {
    col("producer").eq(lit(door)).and(col("kind").eq(lit("control")))
}

impl Engine {
    /// For each value of an attribute the last `control` record of a door that has it, of all or of those until a moment, with all
    /// content, in the order of the log.
    ///
    /// # Errors
    /// When it exceeds its limits.
    pub fn latest(
        &self,
        door: &'static str,
        attribute: &'static str,
        until: Option<Timestamp>,
        limits: Limits,
    ) -> Running<Vec<Value>> {
        let engine = self.clone();
        self.run(limits, async move {
            let wanted = until
                .into_iter()
                .fold(controls(door), |wanted, until| wanted.and(col("time").lt_eq(time_literal(until))));
            let all = engine.whole(&View::everything(), wanted).await?;
            let values = vec![col("attributes").field(attribute).alias("value")];
            let last = all.aggregate(values, vec![max(col("log_index")).alias("last")]).map_err(invalid)?;
            let last = whole(collect(last, limits).await?)?;
            let columns = last.batches.iter().filter_map(|batch| batch.column_by_name("last"));
            let indexes = columns.filter_map(|column| column.as_primitive_opt::<UInt64Type>());
            let indexes: Vec<Expr> = indexes.flat_map(|column| column.iter().flatten()).map(lit).collect();
            if indexes.is_empty() {
                return Ok(Vec::new());
            }
            let wanted = controls(door).and(in_list(col("log_index"), indexes, false));
            story::write(&whole(engine.told(&View::everything(), wanted, true, limits).await?)?)
        })
    }

    /// The `control` records of a door that have these values of attributes, with all content, newest first, and whether there are more.
    ///
    /// # Errors
    /// When it exceeds its limits.
    pub fn earlier(
        &self,
        door: &'static str,
        values: Vec<(&'static str, String)>,
        limits: Limits,
    ) -> Running<(Vec<Value>, bool)> {
        let engine = self.clone();
        self.run(limits, async move {
            let has = |(attribute, value): (&'static str, String)| col("attributes").field(attribute).eq(lit(value));
            let wanted = values.into_iter().map(has).fold(controls(door), Expr::and);
            let answer = engine.told(&View::everything(), wanted, false, limits).await?;
            Ok((story::write(&answer)?, answer.is_truncated()))
        })
    }
}

/// A fold over a part would be another state.
fn whole(answer: Answer) -> Result<Answer, EngineError> {
    if answer.is_truncated() {
        return Err(EngineError::Failed("there are more of these records than can be read".into()));
    }
    Ok(answer)
}
