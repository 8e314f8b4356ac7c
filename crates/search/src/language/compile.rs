//! [`Query`] to one DataFusion expression, the same for search, tail and whatever filters records.

use datafusion::functions::core::expr_ext::FieldAccessor as _;
use datafusion::logical_expr::{Expr, Like, lit};
use datafusion::prelude::{col, ident};
use datafusion::scalar::ScalarValue;
use record::Timestamp;

use super::{Comparison, Condition, Query, QueryError, Span, nearest};
use crate::columns::{Column, From, SAID_COLUMNS, find, names};
use crate::matching::has_words;
use crate::words::Phrase;

/// Compiles a query as of a moment, from which relative times count.
pub(crate) fn compile(text: &str, query: &Query, now: Timestamp) -> Result<Expr, QueryError> {
    Compiler { text, now }.query(query)
}

/// The moment that a text of the query language names, as of `now`: `7d`, `now`, a date, an RFC 3339 moment with or without seconds.
pub(crate) fn moment(text: &str, now: Timestamp) -> Option<Timestamp> {
    Compiler { text, now }.moment(text)
}

struct Compiler<'t> {
    text: &'t str,
    now: Timestamp,
}

impl Compiler<'_> {
    fn error(&self, span: Span, what: impl Into<String>) -> QueryError {
        QueryError { query: self.text.to_owned(), span, what: what.into() }
    }

    fn query(&self, query: &Query) -> Result<Expr, QueryError> {
        let join = |terms: &[Query], with: fn(Expr, Expr) -> Expr| {
            Ok(joined(terms.iter().map(|term| self.query(term)).collect::<Result<_, _>>()?, with))
        };
        match query {
            Query::All => Ok(lit(true)),
            Query::And(terms) => join(terms, Expr::and),
            Query::Or(terms) => join(terms, Expr::or),
            // A field that is not there does not have the value: `-user:alice` finds records without a user.
            Query::Not(inner) => Ok(self.query(inner)?.is_not_true()),
            Query::Text(text, span) => self.content_has(text, *span),
            Query::Field { name, name_span, condition, span } => self.field(name, *name_span, condition, *span),
        }
    }

    fn field(&self, name: &str, name_span: Span, condition: &Condition, span: Span) -> Result<Expr, QueryError> {
        if let "since" | "until" = name {
            let moment = if let Condition::Is(value) = condition { self.moment(value) } else { None };
            let moment = moment.ok_or_else(|| self.error(span, TIME_HINT))?;
            let time = col("time");
            return Ok(if name == "since" { time.gt_eq(time_literal(moment)) } else { time.lt(time_literal(moment)) });
        }
        match find(name) {
            Some(column) => self.column(column, condition, span),
            // A dotted name is an attribute's: gen_ai.request.seed, testimony.call.stream.
            None if name.contains('.') => {
                text_condition(col("attributes").field(name), condition).ok_or_else(|| self.error(span, TEXT_HINT))
            }
            None => Err(self.error(name_span, unknown_field(name))),
        }
    }

    fn column(&self, column: &Column, condition: &Condition, span: Span) -> Result<Expr, QueryError> {
        let field = ident(column.name);
        if matches!(condition, Condition::Exists) {
            return Ok(field.is_not_null());
        }
        let literal: &dyn Fn(&str) -> Result<Expr, QueryError> = match column.from {
            From::Number(_) | From::IntAttribute(_) => &|text| {
                let number =
                    text.parse::<i64>().map_err(|_| self.error(span, format!("{} is a whole number", column.name)))?;
                Ok(lit(number))
            },
            From::FloatAttribute(_) => &|text| {
                let number =
                    text.parse::<f64>().map_err(|_| self.error(span, format!("{} is a number", column.name)))?;
                Ok(lit(number))
            },
            From::BoolAttribute(_) => &|text| {
                let fact =
                    text.parse::<bool>().map_err(|_| self.error(span, format!("{} is true or false", column.name)))?;
                Ok(lit(fact))
            },
            From::Time(_) => &|text| self.moment(text).map(time_literal).ok_or_else(|| self.error(span, TIME_HINT)),
            From::Attributes | From::OtherContent | From::Seed => {
                return Err(self.error(span, "attributes are searched by their own names: gen_ai.request.seed:7"));
            }
            From::Content(_) => return self.content_condition(&field, condition, span),
            From::Text(_) | From::TextAttribute(_) => {
                return text_condition(field, condition).ok_or_else(|| self.error(span, TEXT_HINT));
            }
        };
        match condition {
            Condition::Is(value) => Ok(field.eq(literal(value)?)),
            Condition::Compare(comparison, value) => Ok(compare(field, *comparison, literal(value)?)),
            Condition::Between(from, to) => Ok(field.between(literal(from)?, literal(to)?)),
            Condition::Like(_) | Condition::Exists => {
                Err(self.error(span, format!("{} is no text: a * cannot stand for a part of it", column.name)))
            }
        }
    }

    /// Content: it has the words in a row somewhere, in capitals or not.
    fn content_condition(&self, field: &Expr, condition: &Condition, span: Span) -> Result<Expr, QueryError> {
        match condition {
            Condition::Is(text) => self.has(field.clone(), text, span),
            Condition::Like(parts) => self.has(field.clone(), &parts.join("*"), span),
            _ => Err(self.error(span, TEXT_HINT)),
        }
    }

    fn content_has(&self, text: &str, span: Span) -> Result<Expr, QueryError> {
        let mut columns = SAID_COLUMNS.iter().map(|column| self.has(col(*column), text, span));
        let first = columns.next().unwrap_or_else(|| Ok(lit(false)))?;
        columns.try_fold(first, |any, column| Ok(any.or(column?)))
    }

    fn has(&self, field: Expr, text: &str, span: Span) -> Result<Expr, QueryError> {
        match Phrase::of(text) {
            Some(_) => Ok(has_words(field, text)),
            None => Err(self.error(span, WORDS_HINT)),
        }
    }

    /// `7d`, `90m`, `now`, a date or an RFC 3339 moment.
    fn moment(&self, text: &str) -> Option<Timestamp> {
        if text == "now" {
            return Some(self.now);
        }
        if let Some(span) = span_micros(text) {
            return Some(Timestamp::from_micros(self.now.as_micros().saturating_sub(span)));
        }
        let to_the_minute = || {
            let (minute, offset) = text.split_at_checked("2026-11-23T09:00".len())?;
            Timestamp::parse(&format!("{minute}:00{offset}")).ok()
        };
        let parsed = Timestamp::parse(text).or_else(|_| Timestamp::parse(&format!("{text}T00:00:00Z")));
        parsed.ok().or_else(to_the_minute)
    }
}

/// Conditions as one. Many are put together by halves, so that they are not nested as deep as there are many of them.
fn joined(mut terms: Vec<Expr>, with: fn(Expr, Expr) -> Expr) -> Expr {
    if terms.len() > 16 {
        let second = terms.split_off(terms.len() / 2);
        return with(joined(terms, with), joined(second, with));
    }
    terms.into_iter().reduce(with).unwrap_or_else(|| lit(true))
}

const TIME_HINT: &str = "a time is written 7d, 24h, 30m, 2026-11-23 or 2026-11-23T09:00:00Z";
const WORDS_HINT: &str = "what is looked for in a text is one to 64 words, and this has none, or more";
const TEXT_HINT: &str = "a text cannot be compared with <, > or a range";

/// How long, as people write it: `90s`, `30m`, `24h`, `7d`, `2w`; in microseconds.
#[must_use]
pub fn span_micros(text: &str) -> Option<i64> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(split)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(seconds)?.checked_mul(1_000_000)
}

pub(crate) fn time_literal(moment: Timestamp) -> Expr {
    Expr::Literal(ScalarValue::TimestampMicrosecond(Some(moment.as_micros()), Some("UTC".into())), None)
}

fn compare(field: Expr, comparison: Comparison, value: Expr) -> Expr {
    match comparison {
        Comparison::Less => field.lt(value),
        Comparison::LessOrEqual => field.lt_eq(value),
        Comparison::Greater => field.gt(value),
        Comparison::GreaterOrEqual => field.gt_eq(value),
    }
}

/// A name or identifier: equal to the letter, or like a pattern.
fn text_condition(field: Expr, condition: &Condition) -> Option<Expr> {
    match condition {
        Condition::Exists => Some(field.is_not_null()),
        Condition::Is(value) => Some(field.eq(lit(value.as_str()))),
        Condition::Like(parts) => Some(like_parts(field, parts.iter().map(String::as_str), false)),
        Condition::Compare(..) | Condition::Between(..) => None,
    }
}

/// A text that is like a pattern in which `*` stands for anything.
pub(crate) fn like(field: Expr, starred: &str, case_insensitive: bool) -> Expr {
    like_parts(field, starred.split('*'), case_insensitive)
}

/// A text that has these parts in their order, with anything between each two.
fn like_parts<'p>(field: Expr, parts: impl Iterator<Item = &'p str>, case_insensitive: bool) -> Expr {
    let mut pattern = String::new();
    for (nth, part) in parts.enumerate() {
        pattern.extend((nth > 0).then_some('%'));
        for c in part.chars() {
            pattern.extend(matches!(c, '%' | '_' | '\\').then_some('\\').into_iter().chain([c]));
        }
    }
    Expr::Like(Like::new(false, Box::new(field), Box::new(lit(pattern)), None, case_insensitive))
}

fn unknown_field(name: &str) -> String {
    match nearest(name, names().chain(["since", "until"])) {
        Some(known) => format!("there is no field {name:?}: did you mean {known:?}?"),
        None => format!("there is no field {name:?}; to look for the text, put it in quotes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::parse;

    fn compiled(query: &str) -> String {
        let now = Timestamp::parse("2026-11-23T12:00:00Z").unwrap();
        match parse(query).and_then(|parsed| compile(query, &parsed, now)) {
            Ok(expr) => expr.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn queries_compile_to_these_expressions() {
        let queries = [
            "model:gemma*",
            "env:staging",
            "status:>=500",
            "since:7d",
            "until:2026-11-20",
            "until:2026-11-20T14:00Z",
            "-user:alice",
            "stream:true",
            "temperature:[0 TO 0.5]",
            "gen_ai.request.seed:7",
            "100%_",
            "input:refund",
            "input:\"refund pol*\"",
            "user:alice \"...\"",
            "duration_ms:*",
            "modle:x",
            "status:abc",
            "user:>a",
            "time:yesterday",
            "status:4*",
        ];
        let lines: Vec<String> =
            queries.iter().map(|query| format!("{query}\n    {}", compiled(query).replace('\n', "\n    "))).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
