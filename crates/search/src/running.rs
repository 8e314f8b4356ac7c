//! A query on its way, to its rows or its end.

use std::pin::Pin;
use std::sync::Arc;

use datafusion::arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch};
use datafusion::error::DataFusionError;
use datafusion::prelude::DataFrame;
use futures_util::StreamExt as _;

use crate::answer::Answer;
use crate::cutting::cut_out;
use crate::ending::GivenUp;
use crate::engine::{EngineError, Limits};
use crate::sql::invalid;

/// What a text of a column takes besides its letters, in bytes.
const VIEW_BYTES: usize = 16;

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
        let batch = cut_out(&batch.slice(0, batch.num_rows().min(room))).map_err(|error| failed(error.into()))?;
        rows += batch.num_rows();
        bytes += own_bytes(&batch);
        truncated |= bytes > limits.bytes_max;
        batches.push(batch);
        if truncated {
            break;
        }
    }
    Ok(Answer { schema, batches, truncated, next: None })
}

/// The bytes of a batch's own rows. What it shares with other batches, as slices of sorted rows share all of them, counts once a row.
fn own_bytes(batch: &RecordBatch) -> usize {
    let of_column = |column: &ArrayRef| match column.as_string_view_opt() {
        Some(texts) => texts.iter().map(|text| VIEW_BYTES + text.map_or(0, str::len)).sum(),
        None => column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size()),
    };
    batch.columns().iter().map(of_column).sum()
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{StringViewArray, UInt64Array};

    use super::*;

    #[test]
    fn slices_count_for_their_own_rows_together() {
        let numbers: ArrayRef = Arc::new(UInt64Array::from_iter_values(0..10_000));
        let texts: ArrayRef = Arc::new(StringViewArray::from_iter_values((0..10_000).map(|n| format!("{n:>100}"))));
        let batch = RecordBatch::try_from_iter([("number", numbers), ("text", texts)]).unwrap();
        let slices: usize = (0..10_000).step_by(100).map(|from| own_bytes(&batch.slice(from, 100))).sum();
        assert_eq!(slices, own_bytes(&batch));
        let few = cut_out(&batch.slice(0, 10)).unwrap();
        assert_eq!(few, batch.slice(0, 10));
        assert!(few.column(1).get_array_memory_size() < 4_096, "{}", few.column(1).get_array_memory_size());
        assert_eq!(slices, 10_000 * (8 + VIEW_BYTES + 100));
    }

    #[test]
    fn a_query_that_wants_too_much_memory_is_told_what_to_do() {
        let exhausted = DataFusionError::ResourcesExhausted("Failed to allocate 12 MB for GroupedHashAggregate".into());
        let shared = DataFusionError::Shared(Arc::new(exhausted.context("while grouping")));
        assert!(failed(shared).to_string().ends_with("narrow it down by time, or group by fewer values"));
    }
}
