//! Single records with all their content, for reading.

use datafusion::arrow::array::{Array as _, AsArray as _};
use datafusion::logical_expr::{Expr, lit};
use datafusion::prelude::col;
use record::{Content, Seed};
use serde_json::{Map, Value};

use crate::answer::{Answer, json_lines};
use crate::columns::VISIBLE;
use crate::engine::{Engine, EngineError, Limits};
use crate::running::{Running, collect};
use crate::segment::{Kept, Segment};
use crate::sql::invalid;
use crate::view::View;

impl Engine {
    /// Every record that says this in a column (`id`, `call_id`), with all content, in the order of the log, each as a JSON object. Where what
    /// was said is kept no longer, `content_removed` is true.
    ///
    /// # Errors
    /// When it exceeds its limits.
    pub fn story(&self, view: &View, column: &'static str, said: String, limits: Limits) -> Running<Vec<Value>> {
        let (engine, view) = (self.clone(), view.clone());
        self.run(limits, async move {
            let mut records = write(&engine.told(&view, col(column).eq(lit(said)), true, limits).await?)?;
            let (segments, _) = engine.kept();
            records.iter_mut().filter_map(Value::as_object_mut).for_each(|record| note_removed(record, &segments));
            Ok(records)
        })
    }

    /// The records that are seen and for which something holds, but for their seeds, in the order of the log or against it.
    pub(crate) async fn told(
        &self,
        view: &View,
        wanted: Expr,
        is_oldest_first: bool,
        limits: Limits,
    ) -> Result<Answer, EngineError> {
        let found = self.whole(view, wanted).await?;
        let found = found.sort(vec![col("log_index").sort(is_oldest_first, false)]).map_err(invalid)?;
        // One more than asked for tells whether there were more.
        let found = found.limit(0, Some(limits.rows_max + 1)).map_err(invalid)?;
        collect(found.drop_columns(&["content_seed"]).map_err(invalid)?, limits).await
    }
}

/// Says of a record whose content is kept no longer that this is why there is none.
fn note_removed(record: &mut Map<String, Value>, segments: &[Segment]) {
    let Some(index) = record.get("log_index").and_then(Value::as_u64) else { return };
    let at = segments.partition_point(|segment| segment.end <= index);
    let is_removed = segments.get(at).is_some_and(|segment| segment.first <= index && segment.kept == Kept::Records);
    if is_removed && record.get("kind").and_then(Value::as_str) != Some("control") {
        record.insert("content_removed".into(), true.into());
    }
}

/// Every row as a JSON object: its columns, and under `content` the fields of content that no column shows.
pub(crate) fn write(answer: &Answer) -> Result<Vec<Value>, EngineError> {
    let failed = |error: &dyn std::fmt::Display| EngineError::Failed(error.to_string());
    let mut records = Vec::new();
    for batch in &answer.batches {
        let visible = batch.project(&(0..VISIBLE).collect::<Vec<_>>()).map_err(|error| failed(&error))?;
        let lines = json_lines(&[visible]).map_err(|error| failed(&error))?;
        let others = batch.column_by_name("other_content").and_then(|column| column.as_binary_view_opt());
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        for (row, line) in lines.enumerate() {
            let mut record: Map<String, Value> = serde_json::from_slice(line).map_err(|error| failed(&error))?;
            let stored = others.filter(|others| others.is_valid(row)).map(|others| others.value(row));
            if let Some(content) = stored.and_then(other_content) {
                record.insert("content".into(), Value::Object(content));
            }
            records.push(Value::Object(record));
        }
    }
    Ok(records)
}

/// Fields by name. Bytes that are no text are shown with replacement characters; the bytes themselves stay in the segment.
fn other_content(stored: &[u8]) -> Option<Map<String, Value>> {
    let no_seed: Seed = [0; 32];
    let content = Content::decode(&[no_seed.as_slice(), stored].concat()).ok()??;
    let text = |bytes: &[u8]| Value::String(String::from_utf8_lossy(bytes).into_owned());
    Some(content.fields.iter().map(|field| (field.name.clone(), text(&field.bytes))).collect())
}
