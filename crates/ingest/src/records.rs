//! Our own format: one JSON object a record, as `docs/ingest/records.md` tells.

use std::collections::BTreeMap;
use std::sync::Arc;

use record::{Actor, Draft, Field, Kind, Outcome, Source, Timestamp, Trace, Uuid, Value, is_hex_id};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::Arrival;

/// The most records in one request.
pub const RECORDS_MAX: usize = 10_000;
/// The longest name (of a service, an actor, a key), in bytes.
const NAME_BYTES_MAX: usize = 256;
/// The most fields of content in one record.
const FIELDS_MAX: usize = 64;

/// How the records of a request are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One object, or a list of objects.
    Json,
    /// One object a line; empty lines are passed over.
    Lines,
}

impl Form {
    /// The form that a media type says, parameters aside.
    #[must_use]
    pub fn of_media(media: &str) -> Option<Self> {
        match media.split(';').next().unwrap_or_default().trim() {
            "application/json" => Some(Self::Json),
            "application/jsonl" | "application/x-ndjson" | "application/x-jsonlines" => Some(Self::Lines),
            _ => None,
        }
    }
}

/// Why something that was sent is not a record. It was not stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// It is not the JSON of a record.
    #[error("not a record: {0}")]
    Malformed(String),
    /// A member does not say what it must.
    #[error("{member}: {what}")]
    Member {
        /// The member's name, dotted.
        member: String,
        /// What it must be.
        what: String,
    },
    /// There are more of them than one request may have.
    #[error("one request takes at most {RECORDS_MAX} records; send the rest in another")]
    TooMany,
}

/// One record as it is sent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent<'a> {
    kind: String,
    key: Option<String>,
    time: Option<String>,
    outcome: Option<String>,
    call_id: Option<String>,
    trace_id: Option<String>,
    span_id: Option<String>,
    parent_span_id: Option<String>,
    #[serde(default)]
    source: SentSource,
    actor: Option<SentActor>,
    #[serde(borrow, default)]
    attributes: BTreeMap<String, Value<'a>>,
    #[serde(borrow, default)]
    content: BTreeMap<String, &'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct SentSource {
    service: Option<String>,
    environment: Option<String>,
    host: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SentActor {
    #[serde(rename = "type")]
    kind: String,
    id: Option<String>,
}

/// Reads the body of a request: for each record in it a draft, or why it is none. `key` is the request's idempotency key, for records
/// without a key of their own.
pub fn read(body: &[u8], form: Form, key: Option<&str>, arrival: &Arrival<'_>) -> Vec<Result<Draft, Rejected>> {
    let texts = match split(body, form) {
        Ok(texts) if texts.len() > RECORDS_MAX => return vec![Err(Rejected::TooMany)],
        Ok(texts) => texts,
        Err(rejected) => return vec![Err(rejected)],
    };
    let many = texts.len() > 1;
    let read = |(nth, text): (usize, &str)| {
        // The same request sent again has the same records in the same order.
        let key = key.map(|key| if many { format!("{key}/{nth}") } else { key.to_owned() });
        draft(text, key, arrival)
    };
    texts.into_iter().enumerate().map(read).collect()
}

fn draft(text: &str, key: Option<String>, arrival: &Arrival<'_>) -> Result<Draft, Rejected> {
    let sent: Sent<'_> = serde_json::from_str(text).map_err(|error| Rejected::Malformed(error.to_string()))?;
    let kind = member("kind", &sent.kind, str::parse::<Kind>)?;
    let time = sent.time.as_deref().map(|time| member("time", time, Timestamp::parse)).transpose()?;
    let source = source_of(&sent.source, arrival.source)?;
    let key = sent.key.or(key);
    let key = key.as_deref().map(|key| name("key", key)).transpose()?;
    let mut draft = Draft::new(arrival.id(key), time.unwrap_or(arrival.received), kind, Arc::new(source));
    draft.outcome = sent.outcome.as_deref().map(|word| member("outcome", word, str::parse::<Outcome>)).transpose()?;
    draft.call_id = sent.call_id.as_deref().map(|id| member("call_id", id, str::parse::<Uuid>)).transpose()?;
    draft.trace = Trace {
        trace_id: hex("trace_id", sent.trace_id, 32)?,
        span_id: hex("span_id", sent.span_id, 16)?,
        parent_span_id: hex("parent_span_id", sent.parent_span_id, 16)?,
    };
    draft.actor = sent.actor.map(actor).transpose()?;
    for (key, value) in sent.attributes {
        draft.attributes.set(key, value.into_owned());
    }
    draft.content = content(sent.content)?;
    Ok(draft)
}

fn source_of(sent: &SentSource, source: &Source) -> Result<Source, Rejected> {
    let mut source = source.clone();
    for (member, said, slot) in [
        ("source.service", &sent.service, &mut source.service),
        ("source.environment", &sent.environment, &mut source.environment),
        ("source.host", &sent.host, &mut source.host),
    ] {
        if let Some(said) = said {
            name(member, said)?.clone_into(slot);
        }
    }
    Ok(source)
}

/// What a sender says of an actor is taken down as a claim.
fn actor(sent: SentActor) -> Result<Actor, Rejected> {
    name("actor.type", &sent.kind)?;
    if let Some(id) = &sent.id {
        name("actor.id", id)?;
    }
    Ok(Actor { kind: sent.kind, id: sent.id, auth: Some("claimed".into()), ..Actor::default() })
}

/// A text is kept as it reads, anything else as the JSON that it is, byte for byte.
fn content(sent: BTreeMap<String, &RawValue>) -> Result<Vec<Field>, Rejected> {
    if sent.len() > FIELDS_MAX {
        return Err(wrong("content", format!("a record has at most {FIELDS_MAX} fields of content")));
    }
    let field = |(field, raw): (String, &RawValue)| {
        name("content", &field)?;
        Ok(match serde_json::from_str::<String>(raw.get()) {
            Ok(text) => Field { name: field, media: "text/plain".into(), bytes: text.into_bytes() },
            Err(_) => Field { name: field, media: "application/json".into(), bytes: raw.get().as_bytes().to_vec() },
        })
    };
    sent.into_iter().map(field).collect()
}

/// The texts of a body, each of which is to be one JSON document.
pub(crate) fn split(body: &[u8], form: Form) -> Result<Vec<&str>, Rejected> {
    let body = std::str::from_utf8(body).map_err(|error| Rejected::Malformed(error.to_string()))?;
    Ok(match form {
        Form::Lines => body.lines().filter(|line| !line.trim().is_empty()).collect(),
        Form::Json if body.trim_start().starts_with('[') => {
            let items: Vec<&RawValue> =
                serde_json::from_str(body).map_err(|error| Rejected::Malformed(error.to_string()))?;
            items.into_iter().map(RawValue::get).collect()
        }
        Form::Json => vec![body],
    })
}

pub(crate) fn wrong(member: &str, what: impl Into<String>) -> Rejected {
    Rejected::Member { member: member.to_owned(), what: what.into() }
}

fn member<T, E: std::fmt::Display>(
    name: &str,
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, Rejected> {
    parse(text).map_err(|error| wrong(name, error.to_string()))
}

fn name<'t>(member: &str, text: &'t str) -> Result<&'t str, Rejected> {
    if text.is_empty() || text.len() > NAME_BYTES_MAX {
        return Err(wrong(member, format!("it has {} bytes; 1 to {NAME_BYTES_MAX} are allowed", text.len())));
    }
    Ok(text)
}

fn hex(member: &str, text: Option<String>, digits: usize) -> Result<Option<String>, Rejected> {
    match text {
        Some(text) if !is_hex_id(&text, digits) => {
            Err(wrong(member, format!("it must be {digits} lower-case hexadecimal digits that are not all 0")))
        }
        text => Ok(text),
    }
}

#[cfg(test)]
mod tests;
