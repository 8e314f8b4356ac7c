//! OTLP in JSON (OTLP specification, "JSON Protobuf Encoding"): names in lowerCamelCase, identifiers in hexadecimal digits of either case,
//! 64-bit numbers as texts or numbers, enums as numbers (their names are understood too), unknown members passed over.
//!
//! Lists are taken apart as raw text, level by level, so that one span that says nonsense costs only itself.

use std::borrow::Cow;
use std::fmt;

use record::Value;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::model::{Budget, Event, LogRecord, Origin, Pairs, Span, Walked, bytes, decode_base64, float, map};
use super::{EVENTS_MAX, Rejected, Signal};
use crate::nesting::has_too_many_values;

#[derive(Deserialize, Default)]
struct Request<'a> {
    #[serde(borrow, default, rename = "resourceSpans")]
    traces: List<'a>,
    #[serde(borrow, default, rename = "resourceLogs")]
    logs: List<'a>,
}

#[derive(Deserialize, Default)]
struct OfResource<'a> {
    #[serde(borrow, default)]
    resource: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "scopeSpans")]
    traces: List<'a>,
    #[serde(borrow, default, rename = "scopeLogs")]
    logs: List<'a>,
}

#[derive(Deserialize, Default)]
struct OfScope<'a> {
    #[serde(borrow, default)]
    scope: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "spans")]
    traces: List<'a>,
    #[serde(borrow, default, rename = "logRecords")]
    logs: List<'a>,
}

/// The items of a list as text, up to a limit.
#[derive(Default)]
struct List<'a> {
    items: Vec<&'a RawValue>,
    beyond: u64,
}

impl<'de: 'a, 'a> Deserialize<'de> for List<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Listed;
        impl<'de> Visitor<'de> for Listed {
            type Value = List<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_unit<E>(self) -> Result<List<'de>, E> {
                Ok(List::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<List<'de>, A::Error> {
                let mut list = List::default();
                while list.items.len() < EVENTS_MAX {
                    let Some(item) = seq.next_element()? else { return Ok(list) };
                    list.items.push(item);
                }
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    list.beyond += 1;
                }
                Ok(list)
            }
        }
        deserializer.deserialize_any(Listed)
    }
}

/// Walks through a request, as [`super::protobuf::walk`] does.
pub(super) fn walk<'a>(
    body: &'a [u8],
    signal: Signal,
    take: &mut dyn FnMut(Walked<'a>),
) -> Result<(), serde_json::Error> {
    let of = |traces, logs| if signal == Signal::Traces { traces } else { logs };
    let request: Request<'a> = serde_json::from_slice(body)?;
    let resources = of(request.traces, request.logs);
    let mut items = 0_usize;
    for resource in resources.items {
        let inner: OfResource<'a> = serde_json::from_str(resource.get())?;
        let scopes = of(inner.traces, inner.logs);
        for scope in scopes.items {
            let innermost: OfScope<'a> = serde_json::from_str(scope.get())?;
            let list = of(innermost.traces, innermost.logs);
            take(Walked::From(origin(inner.resource, innermost.scope)));
            for item in list.items {
                items += 1;
                take(if items <= EVENTS_MAX { Walked::Item(item.get().as_bytes()) } else { Walked::Beyond(1) });
            }
            take(Walked::Beyond(list.beyond));
        }
        take(Walked::Beyond(scopes.beyond));
    }
    take(Walked::Beyond(resources.beyond));
    Ok(())
}

/// The members of an object that is being read; of a name that is there twice the last counts, and null is as if it were not there.
struct Object<'a>(Pairs<'a>);

impl<'a> Object<'a> {
    fn parse(text: &'a [u8]) -> Result<Self, Rejected> {
        if has_too_many_values(text) {
            return Err(Rejected::TooManyValues);
        }
        let value: Value<'a> = serde_json::from_slice(text).map_err(|error| Rejected::Malformed(error.to_string()))?;
        Self::of(value)
    }

    fn of(value: Value<'a>) -> Result<Self, Rejected> {
        match value {
            Value::Map(members) => Ok(Self(members)),
            Value::Null => Ok(Self(Pairs::new())),
            _ => Err(Rejected::Malformed("an object is wanted".into())),
        }
    }

    fn member(&mut self, name: &str) -> Value<'a> {
        let found = self.0.iter_mut().rev().find(|(member, _)| member == name);
        found.map_or(Value::Null, |(_, value)| std::mem::replace(value, Value::Null))
    }

    fn text(&mut self, name: &str) -> Result<Cow<'a, str>, Rejected> {
        match self.member(name) {
            Value::Text(text) => Ok(text),
            Value::Null => Ok(Cow::default()),
            _ => Err(wrong(name, "a text")),
        }
    }

    fn identifier(&mut self, name: &str, length: usize) -> Result<Option<String>, Rejected> {
        let text = self.text(name)?;
        let is_hex = text.len() == 2 * length && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_zero = text.bytes().all(|byte| byte == b'0');
        Ok((is_hex && !is_zero).then(|| text.to_ascii_lowercase()))
    }

    fn unsigned(&mut self, name: &str) -> Result<u64, Rejected> {
        let number = self.member(name);
        let read = match &number {
            Value::Null => Some(0),
            Value::Int(number) => u64::try_from(*number).ok(),
            Value::Text(digits) => digits.parse().ok(),
            Value::Float(number) => whole(*number).and_then(|number| u64::try_from(number).ok()),
            _ => None,
        };
        read.ok_or_else(|| wrong(name, "a whole number that is not negative"))
    }

    /// An enum, by number or by one of its names, whose place in the list is their number.
    fn word(&mut self, name: &str, names: &[&str]) -> Result<u32, Rejected> {
        match self.member(name) {
            Value::Text(word) => {
                let place = names.iter().position(|known| *known == word);
                // A name of a later release is as unknown as its number would be.
                Ok(place.and_then(|place| u32::try_from(place).ok()).or_else(|| word.parse().ok()).unwrap_or(0))
            }
            Value::Null => Ok(0),
            Value::Int(number) => u32::try_from(number).map_err(|_| wrong(name, "the number of an enum")),
            _ => Err(wrong(name, "the number of an enum")),
        }
    }

    fn list(&mut self, name: &str) -> Result<Vec<Value<'a>>, Rejected> {
        match self.member(name) {
            Value::List(items) => Ok(items),
            Value::Null => Ok(Vec::new()),
            _ => Err(wrong(name, "a list")),
        }
    }

    fn attributes(&mut self, budget: &mut Budget) -> Result<Pairs<'a>, Rejected> {
        self.list("attributes")?.into_iter().map(|item| pair(item, budget, 0)).collect()
    }
}

fn origin<'a>(resource: Option<&'a RawValue>, scope: Option<&'a RawValue>) -> Result<Origin<'a>, Rejected> {
    let read = |raw: Option<&'a RawValue>| Object::parse(raw.map_or("{}", RawValue::get).as_bytes());
    let (mut resource, mut scope) = (read(resource)?, read(scope)?);
    Ok(Origin {
        resource: resource.attributes(&mut Budget::new())?,
        scope_name: scope.text("name")?,
        scope_version: scope.text("version")?,
    })
}

/// Reads a span.
pub(super) fn span(text: &[u8]) -> Result<Span<'_>, Rejected> {
    const KINDS: [&str; 6] = [
        "SPAN_KIND_UNSPECIFIED",
        "SPAN_KIND_INTERNAL",
        "SPAN_KIND_SERVER",
        "SPAN_KIND_CLIENT",
        "SPAN_KIND_PRODUCER",
        "SPAN_KIND_CONSUMER",
    ];
    const CODES: [&str; 3] = ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];
    let (mut object, mut budget) = (Object::parse(text)?, Budget::new());
    let mut status = Object::of(object.member("status"))?;
    Ok(Span {
        trace_id: object.identifier("traceId", 16)?,
        span_id: object.identifier("spanId", 8)?,
        parent_span_id: object.identifier("parentSpanId", 8)?,
        name: object.text("name")?,
        kind: object.word("kind", &KINDS)?,
        start: object.unsigned("startTimeUnixNano")?,
        end: object.unsigned("endTimeUnixNano")?,
        attributes: object.attributes(&mut budget)?,
        events: object.list("events")?.into_iter().map(|item| event(item, &mut budget)).collect::<Result<_, _>>()?,
        status: status.word("code", &CODES)?,
        status_message: status.text("message")?,
    })
}

fn event<'a>(value: Value<'a>, budget: &mut Budget) -> Result<Event<'a>, Rejected> {
    budget.spend(0)?;
    let mut object = Object::of(value)?;
    Ok(Event {
        time: object.unsigned("timeUnixNano")?,
        name: object.text("name")?,
        attributes: object.attributes(budget)?,
    })
}

/// Reads a log record.
pub(super) fn log_record(text: &[u8]) -> Result<LogRecord<'_>, Rejected> {
    let (mut object, mut budget) = (Object::parse(text)?, Budget::new());
    let body = match object.member("body") {
        Value::Null => Value::Null,
        body => any(body, &mut budget, 0)?,
    };
    Ok(LogRecord {
        time: object.unsigned("timeUnixNano")?,
        observed: object.unsigned("observedTimeUnixNano")?,
        severity: severity(&mut object)?,
        severity_text: object.text("severityText")?,
        event_name: object.text("eventName")?,
        body,
        attributes: object.attributes(&mut budget)?,
        trace_id: object.identifier("traceId", 16)?,
        span_id: object.identifier("spanId", 8)?,
    })
}

/// `SEVERITY_NUMBER_TRACE` is 1, `…_TRACE2` is 2, … `…_FATAL4` is 24.
fn severity(object: &mut Object<'_>) -> Result<u32, Rejected> {
    let names: Vec<String> = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]
        .iter()
        .flat_map(|level| ["", "2", "3", "4"].map(|step| format!("SEVERITY_NUMBER_{level}{step}")))
        .collect();
    let names: Vec<&str> = std::iter::once("").chain(names.iter().map(String::as_str)).collect();
    object.word("severityNumber", &names)
}

fn pair<'a>(value: Value<'a>, budget: &mut Budget, depth: usize) -> Result<(Cow<'a, str>, Value<'a>), Rejected> {
    let mut object = Object::of(value)?;
    Ok((object.text("key")?, any(object.member("value"), budget, depth)?))
}

fn any<'a>(value: Value<'a>, budget: &mut Budget, depth: usize) -> Result<Value<'a>, Rejected> {
    budget.spend(depth)?;
    let Some((name, value)) = Object::of(value)?.0.into_iter().rev().find(|(_, value)| *value != Value::Null) else {
        return Ok(Value::Null);
    };
    Ok(match (name.as_ref(), value) {
        ("stringValue", value @ Value::Text(_)) | ("boolValue", value @ Value::Bool(_)) => value,
        ("intValue", value) => Value::Int(signed(&value).ok_or_else(|| wrong("intValue", "a whole number"))?),
        ("doubleValue", value) => float(double(&value).ok_or_else(|| wrong("doubleValue", "a number"))?),
        ("arrayValue", value) => {
            let items = Object::of(value)?.list("values")?.into_iter();
            Value::List(items.map(|item| any(item, budget, depth + 1)).collect::<Result<_, _>>()?)
        }
        ("kvlistValue", value) => {
            let items = Object::of(value)?.list("values")?.into_iter();
            map(items.map(|item| pair(item, budget, depth + 1)).collect::<Result<_, _>>()?)
        }
        ("bytesValue", Value::Text(text)) => bytes(&decode_base64(&text).ok_or_else(|| wrong("bytesValue", "base64"))?),
        ("stringValue" | "boolValue" | "bytesValue", _) => return Err(wrong(&name, "what its name says")),
        // A kind of value of a later release.
        _ => Value::Null,
    })
}

fn signed(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        Value::Text(digits) => digits.parse().ok(),
        Value::Float(number) => whole(*number),
        _ => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a double was meant, whose sender left out the point")]
fn double(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Int(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        // Also `NaN`, `Infinity` and `-Infinity`.
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

/// A number such as `1e3` that stands for a whole one which a double holds exactly.
#[expect(clippy::cast_possible_truncation, reason = "within 2^53 nothing is cut off")]
fn whole(number: f64) -> Option<i64> {
    let is_exact = number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0;
    is_exact.then_some(number as i64)
}

fn wrong(member: &str, what: &str) -> Rejected {
    Rejected::Malformed(format!("{member} must be {what}"))
}
