//! The JSON event format (CloudEvents 1.0.2, "JSON Event Format", sections 2 and 3).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use record::Value;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Data, Event, is_json};
use crate::records::wrong;
use crate::{Rejected, nesting};

/// The most members of one event.
const MEMBERS_MAX: usize = 256;

/// The members of an object in their order, also those that are there twice.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event, which is a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            if members.len() == MEMBERS_MAX {
                return Err(A::Error::custom(format!("an event has at most {MEMBERS_MAX} members")));
            }
            members.push(member);
        }
        Ok(Members(members))
    }
}

/// The event of a text.
pub(super) fn event(text: &str) -> Result<Event, Rejected> {
    let malformed = |error: &dyn fmt::Display| Rejected::Malformed(error.to_string());
    let members: Members<'_> = serde_json::from_str(text).map_err(|error| malformed(&error))?;
    nesting::check(text)?;
    let mut event = Event::default();
    let (mut data, mut encoded) = (None, None);
    for (name, raw) in members.0 {
        let slot = match name.as_str() {
            "data" => &mut data,
            "data_base64" => &mut encoded,
            _ => {
                if let Some(value) = attribute(&name, raw)? {
                    event.set(&name, value)?;
                }
                continue;
            }
        };
        if slot.replace(raw).is_some() {
            return Err(wrong(&name, "it is there twice"));
        }
    }
    event.media = match event.take("datacontenttype") {
        Some(Value::Text(media)) => Some(media.into_owned()),
        Some(_) => return Err(wrong("datacontenttype", "it must be a text")),
        None => None,
    };
    // An attribute that is null is not there; data that is null is null.
    let encoded = encoded.filter(|raw| raw.get() != "null");
    event.data = match (data, encoded) {
        (Some(_), Some(_)) => return Err(wrong("data_base64", "an event has either data or data_base64")),
        (Some(raw), None) => Some(plain(raw, event.media.as_deref())),
        (None, Some(raw)) => {
            let bytes = serde_json::from_str::<String>(raw.get()).ok().and_then(|text| STANDARD.decode(text).ok());
            Some(Data::Bytes(bytes.ok_or_else(|| wrong("data_base64", "it must be base64 (RFC 4648, section 4)"))?))
        }
        (None, None) => None,
    };
    Ok(event)
}

/// Section 2.2: a text, a whole number or a fact; null is not set.
fn attribute(name: &str, raw: &RawValue) -> Result<Option<Value<'static>>, Rejected> {
    let is_plain = !raw.get().starts_with(['{', '[']);
    match serde_json::from_str::<Value<'_>>(raw.get()) {
        Ok(Value::Null) => Ok(None),
        Ok(value @ (Value::Text(_) | Value::Int(_) | Value::Bool(_))) if is_plain => Ok(Some(value.into_owned())),
        _ => Err(wrong(
            &record::escaped(&name.chars().take(64).collect::<String>()),
            "an attribute is a text, a whole number, true or false",
        )),
    }
}

/// Section 3.1.2: a text of a media type that is not JSON is the data itself.
fn plain(raw: &RawValue, media: Option<&str>) -> Data {
    if media.is_some_and(|media| !is_json(media))
        && let Ok(text) = serde_json::from_str::<String>(raw.get())
    {
        return Data::Bytes(text.into_bytes());
    }
    Data::Json(raw.get().to_owned())
}
