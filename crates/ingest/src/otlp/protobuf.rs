//! OTLP in Protocol Buffers: `opentelemetry/proto/{trace,logs,common,resource}/v1`, release 1.x. Fields that are not read here are passed over.

use record::Value;

use super::model::{Budget, Event, LogRecord, Origin, Pairs, Span, Walked, bytes, float, identifier, map};
use super::wire::{Field, Malformed, Reader};
use super::{EVENTS_MAX, Rejected};

impl From<Malformed> for Rejected {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed.to_string())
    }
}

/// Walks through an `ExportTraceServiceRequest` or an `ExportLogsServiceRequest`, which have the same shape down to the spans or log records.
/// Nothing is kept of it, so that what it takes does not depend on how it was written.
pub(super) fn walk<'a>(body: &'a [u8], take: &mut dyn FnMut(Walked<'a>)) -> Result<(), Malformed> {
    let mut items = 0;
    each(body, 1, &mut |resource_spans| {
        // The fields of a message may come in any order: the resource is looked for before its spans are read.
        let resource = only(resource_spans, 1)?;
        each(resource_spans, 2, &mut |scope_spans| {
            take(Walked::From(origin(resource, only(scope_spans, 1)?)));
            each(scope_spans, 2, &mut |item| {
                items += 1;
                take(if items <= EVENTS_MAX { Walked::Item(item) } else { Walked::Beyond(1) });
                Ok(())
            })
        })
    })
}

/// Each message under a number.
fn each<'a>(
    message: &'a [u8],
    number: u32,
    take: &mut dyn FnMut(&'a [u8]) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        if field.number == number {
            take(field.bytes()?)?;
        }
    }
    Ok(())
}

/// The message under a number, or an empty one.
fn only(message: &[u8], number: u32) -> Result<&[u8], Malformed> {
    let mut found: &[u8] = &[];
    each(message, number, &mut |inner| {
        found = inner;
        Ok(())
    })?;
    Ok(found)
}

fn origin<'a>(resource: &'a [u8], scope: &'a [u8]) -> Result<Origin<'a>, Rejected> {
    let (mut origin, mut budget) = (Origin::default(), Budget::new());
    fields(resource, |field| {
        if field.number == 1 {
            origin.resource.push(pair(field.bytes()?, &mut budget, 0)?);
        }
        Ok(())
    })?;
    fields(scope, |field| {
        match field.number {
            1 => origin.scope_name = field.text()?,
            2 => origin.scope_version = field.text()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(origin)
}

/// Reads a `Span`.
pub(super) fn span(message: &[u8]) -> Result<Span<'_>, Rejected> {
    let (mut span, mut budget) = (Span::default(), Budget::new());
    fields(message, |field| {
        match field.number {
            1 => span.trace_id = identifier(field.bytes()?, 16),
            2 => span.span_id = identifier(field.bytes()?, 8),
            4 => span.parent_span_id = identifier(field.bytes()?, 8),
            5 => span.name = field.text()?,
            6 => span.kind = field.small()?,
            7 => span.start = field.fixed64()?,
            8 => span.end = field.fixed64()?,
            9 => span.attributes.push(pair(field.bytes()?, &mut budget, 0)?),
            11 => span.events.push(event(field.bytes()?, &mut budget)?),
            15 => {
                fields(field.bytes()?, |field| {
                    match field.number {
                        2 => span.status_message = field.text()?,
                        3 => span.status = field.small()?,
                        _ => {}
                    }
                    Ok(())
                })?;
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(span)
}

fn event<'a>(message: &'a [u8], budget: &mut Budget) -> Result<Event<'a>, Rejected> {
    budget.spend(0)?;
    let mut event = Event::default();
    fields(message, |field| {
        match field.number {
            1 => event.time = field.fixed64()?,
            2 => event.name = field.text()?,
            3 => event.attributes.push(pair(field.bytes()?, budget, 0)?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(event)
}

/// Reads a `LogRecord`.
pub(super) fn log_record(message: &[u8]) -> Result<LogRecord<'_>, Rejected> {
    let (mut log, mut budget) = (LogRecord::default(), Budget::new());
    fields(message, |field| {
        match field.number {
            1 => log.time = field.fixed64()?,
            2 => log.severity = field.small()?,
            3 => log.severity_text = field.text()?,
            5 => log.body = any(field.bytes()?, &mut budget, 0)?,
            6 => log.attributes.push(pair(field.bytes()?, &mut budget, 0)?),
            9 => log.trace_id = identifier(field.bytes()?, 16),
            10 => log.span_id = identifier(field.bytes()?, 8),
            11 => log.observed = field.fixed64()?,
            12 => log.event_name = field.text()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(log)
}

/// `KeyValue`.
fn pair<'a>(
    message: &'a [u8],
    budget: &mut Budget,
    depth: usize,
) -> Result<(std::borrow::Cow<'a, str>, Value<'a>), Rejected> {
    let (mut key, mut value) = (std::borrow::Cow::default(), &[][..]);
    fields(message, |field| {
        match field.number {
            1 => key = field.text()?,
            2 => value = field.bytes()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((key, any(value, budget, depth)?))
}

/// `AnyValue`, of whose fields the last one counts.
fn any<'a>(message: &'a [u8], budget: &mut Budget, depth: usize) -> Result<Value<'a>, Rejected> {
    budget.spend(depth)?;
    let mut value = Value::Null;
    fields(message, |field| {
        value = match field.number {
            1 => Value::Text(field.text()?),
            2 => Value::Bool(field.varint()? != 0),
            3 => Value::Int(field.varint()?.cast_signed()),
            4 => float(f64::from_bits(field.fixed64()?)),
            5 => {
                let mut items = Vec::new();
                fields(field.bytes()?, |field| {
                    if field.number == 1 {
                        items.push(any(field.bytes()?, budget, depth + 1)?);
                    }
                    Ok(())
                })?;
                Value::List(items)
            }
            6 => {
                let mut entries = Pairs::new();
                fields(field.bytes()?, |field| {
                    if field.number == 1 {
                        entries.push(pair(field.bytes()?, budget, depth + 1)?);
                    }
                    Ok(())
                })?;
                map(entries)
            }
            7 => bytes(field.bytes()?),
            _ => return Ok(()),
        };
        Ok(())
    })?;
    Ok(value)
}

fn fields<'a>(message: &'a [u8], mut take: impl FnMut(Field<'a>) -> Result<(), Rejected>) -> Result<(), Rejected> {
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        take(field)?;
    }
    Ok(())
}
