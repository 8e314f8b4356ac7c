//! A query on its way, to its rows or its end.

use std::pin::Pin;
use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::prelude::DataFrame;
use futures_util::StreamExt as _;

use crate::answer::Answer;
use crate::ending::GivenUp;
use crate::engine::{EngineError, Limits};
use crate::sql::invalid;

/// A query on its way. Boxed, so that what it is made of (most of DataFusion's generic code) is compiled in this crate
/// once and not again in each that waits for it.
pub type Running<T> = Pin<Box<dyn Future<Output = Result<T, EngineError>> + Send>>;

pub(crate) struct AbortOnDrop(pub(crate) tokio::task::AbortHandle, pub(crate) GivenUp);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
        self.1.give_up();
    }
}

/// A query that did not come to its end.
pub(crate) fn failed(error: DataFusionError) -> EngineError {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => EngineError::Memory,
        // What wraps it says only which part of a plan it happened in.
        root => EngineError::Failed(invalid(root).to_string()),
    }
}

/// Collects rows until the query ends or a limit is reached.
pub(crate) async fn collect(frame: DataFrame, limits: Limits) -> Result<Answer, EngineError> {
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let mut stream = frame.execute_stream().await.map_err(failed)?;
    let (mut batches, mut rows, mut bytes, mut truncated) = (Vec::new(), 0, 0, false);
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(failed)?;
        let room = limits.rows_max - rows;
        truncated = batch.num_rows() > room;
        let batch = batch.slice(0, batch.num_rows().min(room));
        rows += batch.num_rows();
        bytes += batch.get_array_memory_size();
        truncated |= bytes > limits.bytes_max;
        batches.push(batch);
        if truncated {
            break;
        }
    }
    Ok(Answer { schema, batches, truncated })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_that_wants_too_much_memory_is_told_what_to_do() {
        let exhausted = DataFusionError::ResourcesExhausted("Failed to allocate 12 MB for GroupedHashAggregate".into());
        let shared = DataFusionError::Shared(Arc::new(exhausted.context("while grouping")));
        assert!(failed(shared).to_string().ends_with("narrow it down by time, or group by fewer values"));
    }
}
