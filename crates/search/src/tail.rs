//! Rows as they become durable.

use datafusion::arrow::array::AsArray as _;
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::UInt64Type;
use datafusion::common::DFSchema;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::SessionContext;
use ledger::{Follower, Portion};
use std::sync::Arc;

use crate::answer::json_lines;
use crate::columns::{SCHEMA, VISIBLE};
use crate::engine::{Engine, EngineError, Search};
use crate::rows;
use crate::sql::invalid;
use crate::view::View;

/// A follower of the ledger that passes on what matches.
pub struct Tail {
    follower: Follower,
    filters: Vec<Arc<dyn PhysicalExpr>>,
}

/// One record that matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailRow {
    /// Its index in the log.
    pub index: u64,
    /// Its columns as a JSON object.
    pub json: String,
}

impl Tail {
    /// A tail that begins where the follower stands.
    ///
    /// # Errors
    /// When the query is wrong.
    pub fn new(engine: &Engine, view: &View, query: &str, follower: Follower) -> Result<Self, EngineError> {
        let search = Search { query: query.to_owned(), ..Search::default() };
        let schema = DFSchema::try_from(SCHEMA.clone()).map_err(invalid)?;
        let physical = |expr| SessionContext::new().create_physical_expr(expr, &schema).map_err(invalid);
        // Rows that may not be seen go first, so that no condition of the query is evaluated on them.
        let filters = view.filter().cloned().into_iter().chain([engine.filter(&search)?]);
        let filters = filters.map(physical).collect::<Result<_, _>>()?;
        Ok(Self { follower, filters })
    }

    /// Waits for records that match; nothing once the log is closed. May be dropped while it waits.
    ///
    /// # Errors
    /// When older records cannot be read back, or a row cannot be made.
    pub async fn next(&mut self) -> Result<Option<Vec<TailRow>>, EngineError> {
        while let Some(portion) = self.follower.next().await? {
            let matching = self.matching(&portion)?;
            if !matching.is_empty() {
                return Ok(Some(matching));
            }
        }
        Ok(None)
    }

    fn matching(&self, portion: &Portion) -> Result<Vec<TailRow>, EngineError> {
        let failed = |error: &dyn std::fmt::Display| EngineError::Failed(error.to_string());
        let read = portion.entries().map(|entry| rows::read_row(entry.index, entry.leaf, entry.content));
        let read = read.collect::<Result<Vec<_>, _>>().map_err(|error| failed(&error))?;
        let mut kept = rows::build(&read).map_err(|error| failed(&error))?;
        for filter in &self.filters {
            let verdicts = filter.evaluate(&kept).and_then(|value| value.into_array(kept.num_rows()));
            let verdicts = verdicts.map_err(|error| failed(&error))?;
            kept = filter_record_batch(&kept, verdicts.as_boolean()).map_err(|error| failed(&error))?;
        }
        let visible = kept.project(&(0..VISIBLE).collect::<Vec<_>>()).map_err(|error| failed(&error))?;
        let indexes = visible.column(0).as_primitive::<UInt64Type>().values().to_vec();
        let lines = json_lines(&[visible]).map_err(|error| failed(&error))?;
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        Ok(indexes
            .into_iter()
            .zip(lines)
            .map(|(index, line)| TailRow { index, json: String::from_utf8_lossy(line).into_owned() })
            .collect())
    }
}
