//! What can be asked for: the fields of records, the attributes that are there, and the values that a field has.
//!
//! Attributes and values are those of the newest records, so that asking costs the same however long the log is.

use std::collections::BTreeMap;

use datafusion::arrow::array::AsArray as _;
use datafusion::arrow::datatypes::DataType;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, lit};
use datafusion::prelude::{DataFrame, cast, col, ident};

use crate::answer::Answer;
use crate::columns::{ALIASES, COLUMNS, VISIBLE, Values};
use crate::engine::{Engine, EngineError, Limits};
use crate::language::{QueryError, Span, like, operand};
use crate::running::{Running, collect};
use crate::sql::invalid;
use crate::table::Snapshot;
use crate::view::View;

/// How many of the newest records are looked at.
const RECORDS_MAX: usize = 10_000;
/// The most names of attributes that are told.
const ATTRIBUTES_MAX: usize = 500;

/// A field that a query can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownField {
    /// Its name.
    pub name: String,
    /// `text`, `content`, `integer`, `number`, `boolean`, `time`, `many` (all attributes at once), or `attribute`.
    pub values: &'static str,
    /// What people call it besides.
    pub aliases: Vec<&'static str>,
    /// What it says; none for an attribute.
    pub description: Option<&'static str>,
}

/// What the columns say.
const DESCRIPTIONS: [(&str, &str); VISIBLE] = [
    ("log_index", "where the record stands in the log"),
    ("time", "when it happened, as its source says"),
    ("received", "when this log took it"),
    ("id", "identifier of the record"),
    ("kind", "inference.request, inference.response, tool.call, read, auth and so on"),
    ("outcome", "allowed, denied, completed, failed and so on"),
    ("actor_type", "user, credential, anonymous or system"),
    ("actor_id", "who did it"),
    ("actor_groups", "the actor's groups, a JSON list"),
    ("actor_auth", "how the actor was known"),
    ("actor_ip", "from which address"),
    ("actor_fingerprint", "keyed fingerprint of the credential that was shown"),
    ("service", "which service the record is of"),
    ("environment", "staging, production and so on"),
    ("host", "on which machine"),
    ("origin", "in which log the record was first"),
    ("producer", "through which door of this log it came"),
    ("seq", "its number within the producer"),
    ("call_id", "what ties the records of a call"),
    ("trace_id", "what ties the records of a trace"),
    ("span_id", "the span within the trace"),
    ("parent_span_id", "the span above it"),
    ("conversation_id", "what ties the records of a conversation"),
    ("operation", "chat, embeddings and so on"),
    ("provider", "who runs the model"),
    ("model", "the model that was asked for"),
    ("response_model", "the model that answered"),
    ("stream", "whether the answer was a stream"),
    ("temperature", "a parameter of the call"),
    ("top_p", "a parameter of the call"),
    ("max_tokens", "a parameter of the call"),
    ("decision", "what the policy decided: allow or deny"),
    ("reasons", "why, separated by commas"),
    ("finish_reasons", "why the model stopped, separated by commas"),
    ("input_tokens", "tokens of the prompt"),
    ("output_tokens", "tokens of the answer"),
    ("duration_ms", "from the request to the end of the answer"),
    ("first_chunk_ms", "from the request to the first piece of the answer"),
    ("status", "HTTP status"),
    ("error_type", "what went wrong"),
    ("upstream", "the model server"),
    ("attributes", "all attributes by name"),
    ("input", "the messages that the model was asked with"),
    ("output", "the messages that it answered with"),
    ("arguments", "what a tool was called with"),
    ("result", "what the tool gave"),
    ("parameters", "the call's other parameters"),
];

impl Engine {
    /// The columns that SQL sees in their order, and then the attributes of the newest records that are seen, by name.
    ///
    /// # Errors
    /// When it exceeds its limits.
    pub fn fields(&self, view: &View, limits: Limits) -> Running<Vec<KnownField>> {
        let (engine, view) = (self.clone(), view.clone());
        self.run(limits, async move {
            let newest = engine.newest(&view, col("attributes")).await?;
            let limits = Limits { rows_max: RECORDS_MAX, ..limits };
            let attributes = attribute_names(&collect(newest, limits).await?);
            let attribute = |name| KnownField { name, values: "attribute", aliases: Vec::new(), description: None };
            Ok(columns().chain(attributes.into_iter().map(attribute)).collect())
        })
    }

    /// The values that a field has most often in the newest records that are seen, with how often: the columns `value` and
    /// `count`. Only those that begin with `prefix`, in capitals or not; `*` stands for anything.
    ///
    /// # Errors
    /// When there is no such field, its values are not to be listed, or it exceeds its limits.
    pub fn values(&self, view: &View, field: String, prefix: String, limits: Limits) -> Running<Answer> {
        let (engine, view) = (self.clone(), view.clone());
        self.run(limits, async move {
            let value = listed(&field)?;
            let begins = like(col("value"), &format!("{prefix}*"), true);
            let newest = engine.newest(&view, value.alias("value")).await?;
            let found = newest.filter(col("value").is_not_null().and(begins)).map_err(invalid)?;
            let counted = found.aggregate(vec![col("value")], vec![count(lit(1)).alias("count")]).map_err(invalid)?;
            let most_first = vec![ident("count").sort(false, false), ident("value").sort(true, false)];
            let sorted = counted.sort(most_first).and_then(|all| all.limit(0, Some(limits.rows_max + 1)));
            collect(sorted.map_err(invalid)?, limits).await
        })
    }

    /// An expression of the newest records that are seen.
    async fn newest(&self, view: &View, expr: Expr) -> Result<DataFrame, EngineError> {
        let records = self.visible(newest_of(self.snapshot()?), view).await?;
        let newest_first = vec![col("log_index").sort(false, false)];
        let newest = records.sort(newest_first).and_then(|all| all.limit(0, Some(RECORDS_MAX)));
        Ok(newest.and_then(|newest| newest.select(vec![expr])).map_err(invalid)?)
    }
}

/// The columns that SQL sees.
fn columns() -> impl Iterator<Item = KnownField> {
    COLUMNS.iter().take(VISIBLE).map(|column| KnownField {
        name: column.name.to_owned(),
        values: column.values().word(),
        aliases: ALIASES.iter().filter(|(_, name)| *name == column.name).map(|(alias, _)| *alias).collect(),
        description: DESCRIPTIONS.iter().find(|(name, _)| *name == column.name).map(|(_, says)| *says),
    })
}

/// As few of the newest segments as have enough records together with what is not sealed.
fn newest_of(mut snapshot: Snapshot) -> Snapshot {
    let mut rows: u64 = snapshot.live.iter().map(|batch| batch.num_rows() as u64).sum();
    let is_wanted = |segment: &&crate::segment::Segment| {
        let wanted = rows < RECORDS_MAX as u64;
        rows += segment.end - segment.first;
        wanted
    };
    let kept = snapshot.segments.iter().rev().take_while(is_wanted).count();
    snapshot.segments.drain(..snapshot.segments.len() - kept);
    snapshot
}

/// The most frequent names that a query can say, in their order.
fn attribute_names(answer: &Answer) -> Vec<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for maps in answer.batches.iter().filter_map(|batch| batch.columns().first()?.as_map_opt()) {
        for map in maps.iter().flatten() {
            for name in map.column(0).as_string::<i32>().iter().flatten() {
                match counts.get_mut(name) {
                    Some(count) => *count += 1,
                    None => drop(counts.insert(name.to_owned(), 1)),
                }
            }
        }
    }
    // A name without a dot is taken for a column's.
    let mut names: Vec<(String, usize)> = counts.into_iter().filter(|(name, _)| name.contains('.')).collect();
    names.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    names.truncate(ATTRIBUTES_MAX);
    let mut names: Vec<String> = names.into_iter().map(|(name, _)| name).collect();
    names.sort();
    names
}

/// A field whose values can be listed, as text.
fn listed(field: &str) -> Result<Expr, EngineError> {
    let wrong = |what| QueryError { query: field.to_owned(), span: Span { start: 0, end: field.len() }, what };
    let operand = operand(field).map_err(wrong)?;
    match operand.values {
        Some(Values::Content) => {
            Err(wrong(format!("{} is content and has no values to list: look for its words", operand.name)).into())
        }
        Some(Values::Time) => {
            Err(wrong(format!("{} is a time and has no values to list: since:7d bounds it", operand.name)).into())
        }
        _ => Ok(cast(operand.expr, DataType::Utf8View)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_that_is_seen_is_described_here_and_in_the_document() {
        let document = include_str!("../../../docs/search.md");
        for field in columns() {
            let names = field.aliases.iter().map(|alias| format!("`{alias}`")).collect::<Vec<_>>().join(", ");
            let names = if names.is_empty() { names } else { format!("{names} ") };
            let row = format!("| `{}` | {} | {names}| {} |", field.name, field.values, field.description.unwrap());
            assert!(document.contains(&row), "docs/search.md has no line {row}");
        }
    }
}
