//! CloudEvents 1.0 by HTTP: structured (`application/cloudevents+json`), batched (`application/cloudevents-batch+json`), and
//! binary (headers `ce-*`, the body is the data).
//!
//! The specifications: CloudEvents 1.0.2, its JSON event format, its HTTP protocol binding, and the extensions for distributed
//! tracing and authentication context.

mod headers;
mod json;
mod kinds;

use std::sync::Arc;

use record::{Actor, Draft, Field, Trace, Value};
use serde_json::value::RawValue;

pub use kinds::{Kinds, KindsError, PATTERN_BYTES_MAX, RULES_MAX};

use crate::fitting::{Fitting, NAME_BYTES_MAX, TEXT_BYTES_MAX};
use crate::records::wrong;
use crate::{Arrival, RECORDS_MAX, Rejected, credentials};

/// The longest `id`, `source` or `type`, in bytes.
const IDENTITY_BYTES_MAX: usize = 1_024;
/// The longest name of an attribute, in bytes. The specification wants 20 or fewer.
const ATTRIBUTE_NAME_BYTES_MAX: usize = 64;
/// The longest media type, in bytes.
const MEDIA_BYTES_MAX: usize = 128;
/// What data is of which nothing else is known.
const BYTES: &str = "application/octet-stream";

/// An event, in whichever mode it came.
#[derive(Default)]
struct Event {
    /// Every attribute that is set, each once, but for `datacontenttype`.
    attributes: Vec<(String, Value<'static>)>,
    media: Option<String>,
    data: Option<Data>,
}

/// The data of an event.
enum Data {
    /// JSON within JSON, as it was written.
    Json(String),
    /// Bytes of the event's media type.
    Bytes(Vec<u8>),
}

/// Reads what was posted: for each event a draft, or why it is none. `headers` are those of the request, with names in any case;
/// they say in which of the three modes it is. An event is known by its `source` and `id`, so that one that is sent again is
/// the same record.
#[must_use]
pub fn read(
    body: &[u8],
    headers: &[(&str, &[u8])],
    kinds: &Kinds,
    arrival: &Arrival<'_>,
) -> Vec<Result<Draft, Rejected>> {
    let draft = |event: Event| draft(event, kinds, arrival);
    let malformed = |error: &dyn std::fmt::Display| vec![Err(Rejected::Malformed(error.to_string()))];
    let media = match headers::content_type(headers) {
        Ok(media) => media.unwrap_or_default(),
        Err(rejected) => return vec![Err(rejected)],
    };
    match essence(&media).as_str() {
        "application/cloudevents+json" => match std::str::from_utf8(body) {
            Ok(text) => vec![json::event(text).and_then(draft)],
            Err(error) => malformed(&error),
        },
        "application/cloudevents-batch+json" => match serde_json::from_slice::<Vec<&RawValue>>(body) {
            Ok(events) if events.len() > RECORDS_MAX => vec![Err(Rejected::TooMany)],
            Ok(events) => events.into_iter().map(|event| json::event(event.get()).and_then(draft)).collect(),
            Err(error) => malformed(&error),
        },
        other if other.starts_with("application/cloudevents") => {
            vec![Err(wrong("content-type", "of the event formats only JSON is read; use application/cloudevents+json"))]
        }
        _ => vec![headers::event(headers, media, body).and_then(draft)],
    }
}

fn draft(mut event: Event, kinds: &Kinds, arrival: &Arrival<'_>) -> Result<Draft, Rejected> {
    let version = event.text("specversion")?;
    if version != "1.0" {
        return Err(wrong("specversion", "it must be 1.0"));
    }
    let (id, source, kind) = (event.identity("id")?, event.identity("source")?, event.identity("type")?);
    if source.contains(char::is_whitespace) {
        return Err(wrong("source", "it must be a URI reference, which has no white space"));
    }
    let mut fitting = Fitting::new();
    for (name, text) in [
        ("cloudevents.event_id", id.as_str()),
        ("cloudevents.event_source", &credentials::removed_from_address(&source)),
        ("cloudevents.event_spec_version", &version),
        ("cloudevents.event_type", &kind),
    ] {
        fitting.text(name, text, NAME_BYTES_MAX);
    }
    let time = event.take("time").map(|time| written(&time));
    let time = fitting.time(time.as_deref(), arrival.received);
    // Neither of the two has control characters.
    let id = arrival.id(Some(&format!("cloudevents/{source}\n{id}")));
    let mut draft = Draft::new(id, time, kinds.of(&kind), Arc::new(arrival.source.clone()));
    draft.trace = trace(&event);
    draft.actor = actor(&mut fitting, &mut event);
    draft.content.extend(event.take("authclaims").map(|claims| claims_field(&written(&claims))));
    draft.content.extend(data(&mut fitting, &mut event));
    if let Some(subject) = event.take("subject") {
        let subject = written(&subject);
        fitting.text("cloudevents.event_subject", &credentials::removed_from_text(&subject), TEXT_BYTES_MAX);
    }
    for (name, value) in event.attributes {
        set_extension(&mut fitting, &name, value);
    }
    draft.attributes = fitting.done();
    Ok(draft)
}

impl Event {
    /// Sets an attribute.
    fn set(&mut self, name: &str, value: Value<'static>) -> Result<(), Rejected> {
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if name.is_empty() || name.len() > ATTRIBUTE_NAME_BYTES_MAX || !name.bytes().all(is_good) {
            let shown: String = name.chars().take(ATTRIBUTE_NAME_BYTES_MAX).collect();
            return Err(wrong(
                &record::escaped(&shown),
                format!("an attribute's name has 1 to {ATTRIBUTE_NAME_BYTES_MAX} letters and digits"),
            ));
        }
        if self.attributes.iter().any(|(other, _)| other == name) {
            return Err(wrong(name, "it is there twice"));
        }
        self.attributes.push((name.to_owned(), value));
        Ok(())
    }

    fn value(&self, name: &str) -> Option<&Value<'static>> {
        self.attributes.iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    fn take(&mut self, name: &str) -> Option<Value<'static>> {
        let at = self.attributes.iter().position(|(other, _)| other == name)?;
        Some(self.attributes.swap_remove(at).1)
    }

    /// Takes a text that every event must have.
    fn text(&mut self, name: &str) -> Result<String, Rejected> {
        match self.take(name) {
            Some(Value::Text(text)) => Ok(text.into_owned()),
            Some(_) => Err(wrong(name, "it must be a text")),
            None => Err(wrong(name, "every event must have it")),
        }
    }

    /// Takes a text that says which event it is. It is never cut, since what is cut may be the same as another.
    fn identity(&mut self, name: &str) -> Result<String, Rejected> {
        let text = self.text(name)?;
        if text.is_empty() || text.len() > IDENTITY_BYTES_MAX || text.contains(char::is_control) {
            return Err(wrong(
                name,
                format!("it must have 1 to {IDENTITY_BYTES_MAX} bytes without control characters"),
            ));
        }
        Ok(text)
    }
}

/// The extension for distributed tracing: where the event happened, not how it was delivered.
fn trace(event: &Event) -> Trace {
    match event.value("traceparent") {
        Some(Value::Text(text)) => Trace::of_traceparent(text).unwrap_or_default(),
        _ => Trace::default(),
    }
}

/// The extension for authentication context. It secures nothing: it is what the sender says.
fn actor(fitting: &mut Fitting, event: &mut Event) -> Option<Actor> {
    let authentication = event.take("authtype").map(|value| written(&value))?;
    let kind = match authentication.as_str() {
        "user" | "app_user" => "user",
        "service_account" => "service",
        "api_key" => "credential",
        "unauthenticated" => "anonymous",
        "system" => "system",
        _ => "unknown",
    };
    fitting.name("testimony.cloudevents.authtype", Some(&authentication));
    let id = event.take("authid").map(|id| fitting.cut("testimony.cloudevents.authid", &written(&id), NAME_BYTES_MAX));
    Some(Actor { kind: kind.into(), id, auth: Some("claimed".into()), ..Actor::default() })
}

fn claims_field(claims: &str) -> Field {
    let bytes = credentials::removed_from_text(claims).into_owned().into_bytes();
    Field { name: "testimony.cloudevents.authclaims".into(), media: "application/json".into(), bytes }
}

fn data(fitting: &mut Fitting, event: &mut Event) -> Option<Field> {
    let data = event.data.take()?;
    let media = event.media.take().unwrap_or_default();
    let is_media =
        media.len() <= MEDIA_BYTES_MAX && media.contains('/') && media.bytes().all(|b| (b' '..=b'~').contains(&b));
    if !is_media && !media.is_empty() {
        fitting.text("testimony.cloudevents.datacontenttype", &media, MEDIA_BYTES_MAX);
    }
    let (media, bytes) = match data {
        Data::Json(json) => {
            let media = if is_media && is_json(&media) { media } else { "application/json".to_owned() };
            (media, credentials::removed(&json).into_owned().into_bytes())
        }
        Data::Bytes(bytes) => {
            let json = std::str::from_utf8(&bytes).ok().filter(|_| is_json(&media));
            let json = json.filter(|json| serde_json::from_str::<&RawValue>(json).is_ok());
            let bytes = json.map(|json| credentials::removed(json).into_owned().into_bytes()).unwrap_or(bytes);
            (if is_media { media } else { BYTES.to_owned() }, bytes)
        }
    };
    Some(Field { name: "testimony.cloudevents.data".into(), media, bytes })
}

fn set_extension(fitting: &mut Fitting, name: &str, value: Value<'static>) {
    let attribute = format!("testimony.cloudevents.{name}");
    match value {
        Value::Text(_) | Value::Int(_) if credentials::is_credential(name) => fitting.set(&attribute, "removed"),
        Value::Text(text) => fitting.text(&attribute, &credentials::removed_from_text(&text), NAME_BYTES_MAX),
        other => fitting.set(&attribute, other),
    }
}

/// An attribute's canonical string.
fn written(value: &Value<'_>) -> String {
    match value {
        Value::Text(text) => text.clone().into_owned(),
        other => other.to_json(),
    }
}

/// A media type without its parameters.
fn essence(media: &str) -> String {
    media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether data of this media type is JSON (JSON event format, section 3.1.1).
fn is_json(media: &str) -> bool {
    essence(media).split_once('/').is_some_and(|(_, subtype)| subtype == "json" || subtype.ends_with("+json"))
}

#[cfg(test)]
mod tests;
