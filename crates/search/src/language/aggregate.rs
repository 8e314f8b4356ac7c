//! [`Stage`] to an aggregation of DataFusion.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::Result as DataFusionResult;
use datafusion::functions::core::expr_ext::FieldAccessor as _;
use datafusion::functions_aggregate::expr_fn::{approx_percentile_cont, avg, count, count_distinct, max, min, sum};
use datafusion::logical_expr::{Expr, SortExpr, lit};
use datafusion::prelude::{DataFrame, cast, col, ident, try_cast};

use super::stage::{Bucket, Function, Measure, Name, Stage};
use super::{QueryError, Span, nearest};
use crate::columns::{Values, find, names};

/// The column of a time bucket.
const TIME: &str = "time";
/// The column of how often a value is there.
const COUNT: &str = "count()";
/// The column of how much of everything found that is.
const PERCENT: &str = "percent";
/// 1970-01-05T00:00:00Z, from which time buckets are counted: a Monday, so that weeks begin with one.
const MONDAY_MICROS: i64 = 4 * 86_400 * 1_000_000;

/// A stage, compiled.
#[derive(Debug)]
pub(crate) struct Aggregation {
    groups: Vec<Expr>,
    measures: Vec<Expr>,
    order: Vec<SortExpr>,
    /// So many rows at most, each with its share of what was found.
    top: Option<usize>,
}

impl Aggregation {
    /// The rows that it makes of what was found, in their order.
    pub(crate) async fn of(self, found: DataFrame) -> DataFusionResult<DataFrame> {
        let Some(top) = self.top else {
            return found.aggregate(self.groups, self.measures)?.sort(self.order);
        };
        // Counted apart, so that the groups need not all be kept until the last is there.
        #[expect(
            clippy::cast_precision_loss,
            reason = "a share of more than 2^53 records may be off in the last place"
        )]
        let all = found.clone().count().await? as f64;
        let share = cast(ident(COUNT), DataType::Float64) * lit(100.0) / lit(all);
        let rows = found.aggregate(self.groups, self.measures)?.sort(self.order)?.limit(0, Some(top))?;
        rows.with_column(PERCENT, cast(share, DataType::Decimal128(5, 2)))
    }
}

/// Compiles the stage of a query.
pub(crate) fn compile_stage(text: &str, stage: &Stage) -> Result<Aggregation, QueryError> {
    let mut compiler = Compiler { text, taken: Vec::new() };
    match stage {
        Stage::Stats { measures, by, bucket } => compiler.stats(measures, by, *bucket),
        Stage::Top { count, fields } => compiler.top(*count, fields),
    }
}

/// A field that is not searched but calculated with.
pub(crate) struct Operand {
    pub(crate) expr: Expr,
    /// What its column is called.
    pub(crate) name: String,
    /// None for an attribute: its values are whatever was sent.
    pub(crate) values: Option<Values>,
}

/// The field that somebody named, or what is wrong with it.
pub(crate) fn operand(name: &str) -> Result<Operand, String> {
    match find(name) {
        Some(column) if column.values() == Values::Many => {
            Err(format!("{} has no single value; attributes are named one by one: gen_ai.request.seed", column.name))
        }
        Some(column) => {
            let (expr, name) = (ident(column.name), column.name.to_owned());
            Ok(Operand { expr, name, values: Some(column.values()) })
        }
        None if name.contains('.') => {
            Ok(Operand { expr: col("attributes").field(name), name: name.to_owned(), values: None })
        }
        None => Err(match nearest(name, names()) {
            Some(known) => format!("there is no field {name:?}: did you mean {known:?}?"),
            None => format!("there is no field {name:?}; an attribute's name has a dot: gen_ai.request.seed"),
        }),
    }
}

struct Compiler<'t> {
    text: &'t str,
    /// The names of the columns so far.
    taken: Vec<String>,
}

impl Compiler<'_> {
    fn error(&self, span: Span, what: impl Into<String>) -> QueryError {
        QueryError { query: self.text.to_owned(), span, what: what.into() }
    }

    fn operand(&self, name: &Name) -> Result<Operand, QueryError> {
        operand(&name.text).map_err(|what| self.error(name.span, what))
    }

    /// Gives a column a name that no other has.
    fn named(&mut self, expr: Expr, name: String, span: Span) -> Result<Expr, QueryError> {
        if self.taken.contains(&name) {
            let what = format!("there are two columns {name:?}: leave one out, or name a function's with as");
            return Err(self.error(span, what));
        }
        self.taken.push(name.clone());
        Ok(expr.alias(name))
    }

    fn groups(&mut self, fields: &[Name]) -> Result<Vec<Expr>, QueryError> {
        let group = |field: &Name| {
            let Operand { expr, name, .. } = self.operand(field)?;
            self.named(expr, name, field.span)
        };
        fields.iter().map(group).collect()
    }

    fn stats(&mut self, measures: &[Measure], by: &[Name], bucket: Option<Bucket>) -> Result<Aggregation, QueryError> {
        let mut groups = Vec::new();
        let mut order = Vec::new();
        if let Some(bucket) = bucket {
            groups.push(self.named(start_of(bucket), TIME.to_owned(), bucket.span)?);
            order.push(ident(TIME).sort(true, false));
        }
        groups.extend(self.groups(by)?);
        let grouped = self.taken.clone();
        let measures = measures.iter().map(|measure| self.measure(measure)).collect::<Result<Vec<_>, _>>()?;
        let (values, first) = self.taken.split_at(grouped.len());
        order.extend(first.first().map(|first| ident(first).sort(false, false)));
        // Groups with the same measure come in an order of their own, the same every time.
        order.extend(values.iter().skip(usize::from(bucket.is_some())).map(|value| ident(value).sort(true, false)));
        Ok(Aggregation { groups, measures, order, top: None })
    }

    fn top(&mut self, top: usize, fields: &[Name]) -> Result<Aggregation, QueryError> {
        let groups = self.groups(fields)?;
        let values = self.taken.iter().map(|value| ident(value).sort(true, false));
        let order = std::iter::once(ident(COUNT).sort(false, false)).chain(values).collect();
        Ok(Aggregation { groups, measures: vec![count(lit(1)).alias(COUNT)], order, top: Some(top) })
    }

    fn measure(&mut self, measure: &Measure) -> Result<Expr, QueryError> {
        let function = measure.function.name();
        let Some(field) = &measure.field else {
            let called = measure.called.clone().unwrap_or_else(|| COUNT.to_owned());
            return self.named(count(lit(1)), called, measure.span);
        };
        let operand = self.operand(field)?;
        let called = measure.called.clone().unwrap_or_else(|| format!("{function}({})", operand.name));
        let number = |operand: Operand| self.number(&function, operand, field.span);
        let expr = match (measure.function, operand.values) {
            (Function::Count, _) => count(operand.expr),
            (Function::Distinct, _) => count_distinct(operand.expr),
            (Function::Least, Some(Values::Time)) => min(operand.expr),
            (Function::Greatest, Some(Values::Time)) => max(operand.expr),
            (Function::Least, _) => min(number(operand)?),
            (Function::Greatest, _) => max(number(operand)?),
            // Whatever was sent is added up without an overflow.
            (Function::Sum, Some(Values::Integer)) => sum(cast(operand.expr, DataType::Decimal128(20, 0))),
            (Function::Sum, _) => sum(number(operand)?),
            (Function::Average, _) => avg(cast(number(operand)?, DataType::Float64)),
            (Function::Percentile(percent), _) => {
                let number = cast(number(operand)?, DataType::Float64);
                approx_percentile_cont(number.sort(true, false), lit(f64::from(percent) / 100.0), None)
            }
        };
        self.named(expr, called, measure.span)
    }

    /// A field as a number. An attribute counts where it is one.
    fn number(&self, function: &str, operand: Operand, span: Span) -> Result<Expr, QueryError> {
        match operand.values {
            Some(Values::Integer | Values::Number) => Ok(operand.expr),
            None => Ok(try_cast(operand.expr, DataType::Float64)),
            Some(values) => {
                let (name, word) = (operand.name, values.word());
                let takes = if matches!(function, "min" | "max") { "numbers and times" } else { "numbers" };
                let what = format!(
                    "{function} is of {takes}, and the type of {name} is {word}: count({name}) and dc({name}) count it"
                );
                Err(self.error(span, what))
            }
        }
    }
}

/// The moment at which the bucket of a record's time begins. In whole microseconds, since `date_bin` goes by
/// nanoseconds and has none for the years before 1677 and after 2262.
fn start_of(bucket: Bucket) -> Expr {
    let time = cast(col(TIME), DataType::Int64);
    let length = lit(bucket.micros);
    let into = (time.clone() - lit(MONDAY_MICROS)) % length.clone();
    let start = time - (into + length.clone()) % length;
    cast(start, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::parse_staged;

    fn compiled(query: &str) -> String {
        let staged = parse_staged(query).and_then(|(_, stage)| compile_stage(query, &stage.unwrap()));
        let list = |exprs: &[Expr]| exprs.iter().map(|expr| format!("\n    {expr}")).collect::<String>();
        match staged {
            Ok(Aggregation { groups, measures, order, top }) => {
                let order: Vec<String> = order.iter().map(ToString::to_string).collect();
                format!(
                    "  groups{}\n  measures{}\n  order {}\n  top {top:?}",
                    list(&groups),
                    list(&measures),
                    order.join(", ")
                )
            }
            Err(error) => format!("  {}", error.to_string().replace('\n', "\n  ")),
        }
    }

    #[test]
    fn stages_compile_to_these_expressions() {
        let queries = [
            "| stats count()",
            "| stats count(), p95(duration_ms) by model, 1h",
            "| stats dc(user) as users, sum(input_tokens), avg(temperature), min(time), max(status) by env, type",
            "| stats avg(gen_ai.usage.cached), count(gen_ai.usage.cached) by gen_ai.request.seed",
            "| stats p50(status) by 1w",
            "| top 3 user, testimony.rule",
            "| stats count() by modle",
            "| stats count() by xyzzy",
            "| stats avg(model)",
            "| stats sum(stream)",
            "| stats sum(time)",
            "| stats min(output)",
            "| stats dc(attributes)",
            "| stats count() by other_content",
            "| stats count() by content_seed",
            "| stats count(), count()",
            "| stats count() as model by model",
            "| stats count() by time, 1h",
            "| stats count() by user, actor_id",
            "| top attributes",
        ];
        let lines: Vec<String> = queries.iter().map(|query| format!("{query}\n{}", compiled(query))).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
