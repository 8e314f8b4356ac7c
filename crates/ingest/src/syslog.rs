//! Syslog: RFC 5424, and RFC 3164 as it is met, as `docs/ingest/syslog.md` tells.
//!
//! | file | what is in it |
//! |---|---|
//! | `frames` | [`Frames`]: chunks of a stream to messages (RFC 6587) |
//! | `message` | what is common to both formats; which of them it is |
//! | `structured` | structured data (RFC 5424, section 6.3) |
//! | `legacy` | RFC 3164: the time without a year, host and tag |

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use record::{ATTRIBUTE_KEY_BYTES_MAX, ATTRIBUTE_TEXT_BYTES_MAX, Attributes, Draft, Field, Kind, Timestamp, Value};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::drafting::{BodyPlace, LOST_BYTES, NAME_BYTES_MAX, ORIGINAL, Problems, cut, set_body};
use crate::mapping::{Event, Input, Mapped, Mapping};
use crate::{Arrival, credentials};
use message::Message;
use structured::Element;

mod frames;
mod legacy;
mod message;
mod structured;

pub use frames::{Frame, Frames, MESSAGE_BYTES_MAX};

/// The most parameters of structured data that become attributes; with more of them it is content as a whole.
const PARAMETERS_MAX: usize = 100;
/// The most bytes that structured data may have as attributes in a leaf; beyond it is content as a whole.
const STRUCTURED_BYTES_MAX: usize = 12 * 1_024;
/// The name under which structured data is content.
const STRUCTURED_DATA: &str = "syslog.structured_data";
/// What some senders put before JSON (the CEE log syntax).
const CEE_COOKIE: &str = "@cee:";

/// How the door for syslog reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SyslogSettings {
    /// How far clocks of senders that do not say so (RFC 3164) are ahead of UTC, in minutes.
    pub utc_offset_minutes: i16,
    /// Where what a message says is kept.
    pub body: BodyPlace,
}

/// One message as it came in.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// A datagram, or one frame of a stream.
    pub bytes: &'a [u8],
    /// How many bytes at its end are missing, see [`Frame`].
    pub lost_bytes: u64,
    /// The address it came from.
    pub peer: Option<IpAddr>,
}

/// The door for syslog.
#[derive(Debug, Clone, Default)]
pub struct Syslog {
    settings: SyslogSettings,
    mapping: Option<Arc<Mapping>>,
}

impl Syslog {
    /// A door. What a message says is given to the mapping, as JSON where it is that, under the source `syslog/<app name>`.
    #[must_use]
    pub const fn new(settings: SyslogSettings, mapping: Option<Arc<Mapping>>) -> Self {
        Self { settings, mapping }
    }

    /// The record of a message; none of an empty one and of one that the mapping drops. There is nothing that cannot be read:
    /// what is not syslog is taken as RFC 3164 (section 4.3.3) says, as the text that it is.
    #[must_use]
    pub fn draft(&self, packet: &Packet<'_>, arrival: &Arrival<'_>) -> Option<Draft> {
        let decoded = String::from_utf8_lossy(packet.bytes);
        let trimmed = decoded.trim_end_matches(['\n', '\r', '\0']);
        if trimmed.trim().is_empty() {
            return None;
        }
        let message = Message::parse(trimmed, arrival.received, self.settings.utc_offset_minutes);
        let mut draft = self.read(&message, arrival)?;
        set_structured(&mut draft, &message);
        // After it: no element named `facility` says what the priority says.
        set_header(&mut draft.attributes, &message);
        if let Some(peer) = packet.peer {
            draft.attributes.set("network.peer.address", peer.to_canonical().to_string());
        }
        if packet.lost_bytes > 0 {
            draft.attributes.set(LOST_BYTES, i64::try_from(packet.lost_bytes).unwrap_or(i64::MAX));
        }
        if let Cow::Owned(_) = decoded {
            let (media, bytes) = ("application/octet-stream".to_owned(), packet.bytes.to_vec());
            draft.content.retain(|field| field.name != ORIGINAL);
            draft.content.push(Field { name: ORIGINAL.into(), media, bytes });
        }
        let mut problems = Problems::default();
        message.problem.iter().for_each(|problem| problems.add(problem));
        problems.tell(&mut draft);
        Some(draft)
    }

    /// What the mapping makes of the message, or the record of a message that it says nothing of.
    fn read(&self, message: &Message<'_>, arrival: &Arrival<'_>) -> Option<Draft> {
        let mut source = arrival.source.clone();
        for (said, slot) in [(message.host, &mut source.host), (message.app, &mut source.service)] {
            if let Some(said) = said {
                cut(said, NAME_BYTES_MAX).clone_into(slot);
            }
        }
        let time = message.time.filter(|time| *time >= Timestamp::from_micros(0));
        if let Some(mapping) = &self.mapping {
            let from = format!("syslog/{}", message.app.unwrap_or("-"));
            let json = json_of(message.text);
            let input = json.as_ref().map_or(Input::Text(message.text), Input::Json);
            let arrival = Arrival { source: &source, ..*arrival };
            match mapping.read(&Event { input, source: &from, time, key: None }, &arrival) {
                Mapped::Draft(draft) => return Some(*draft),
                Mapped::Dropped => return None,
                Mapped::Unmatched => {}
            }
        }
        let mut draft = Draft::new(arrival.id(None), time.unwrap_or(arrival.received), Kind::System, Arc::new(source));
        set_body(&mut draft, message.text, self.settings.body);
        Some(draft)
    }
}

/// The JSON object that a message says, if it does.
fn json_of(text: &str) -> Option<Json> {
    let text = text.trim();
    let text = text.strip_prefix(CEE_COOKIE).map_or(text, str::trim_start);
    text.starts_with('{').then(|| serde_json::from_str(text).ok()).flatten()
}

/// Names as OpenTelemetry has them (Logs Data Model, appendix A, "RFC5424 Syslog" and "systemd-journald").
fn set_header(attributes: &mut Attributes<'static>, message: &Message<'_>) {
    attributes.set("syslog.facility.code", i64::from(message.facility));
    attributes.set("syslog.severity.code", i64::from(message.severity));
    if let Some(version) = message.version {
        attributes.set("syslog.version", version);
    }
    for (name, said) in [("syslog.procid", message.process), ("syslog.msgid", message.message_id)] {
        if let Some(said) = said {
            attributes.set_text(name, cut(said, NAME_BYTES_MAX));
        }
    }
}

/// `syslog.<SD-ID>.<PARAM-NAME>`; a parameter that is there more than once (section 6.3.3) is a list.
fn set_structured(draft: &mut Draft, message: &Message<'_>) {
    let elements = &message.structured;
    let attributes = if elements.iter().map(|element| element.parameters.len()).sum::<usize>() > PARAMETERS_MAX {
        None
    } else {
        attributes_of(elements)
    };
    match attributes {
        Some(attributes) => attributes.into_iter().for_each(|(name, value)| draft.attributes.set(name, value)),
        None => {
            let bytes = content_of(elements).to_string().into_bytes();
            draft.content.retain(|field| field.name != STRUCTURED_DATA);
            draft.content.push(Field { name: STRUCTURED_DATA.into(), media: "application/json".into(), bytes });
        }
    }
}

/// The attributes, if they are small enough for a leaf.
fn attributes_of(elements: &[Element<'_>]) -> Option<Vec<(String, Value<'static>)>> {
    let mut parameters: BTreeMap<String, Vec<Value<'static>>> = BTreeMap::new();
    for (id, name, value) in parameters_of(elements) {
        let name = format!("syslog.{id}.{name}");
        if name.len() > ATTRIBUTE_KEY_BYTES_MAX || value.len() > ATTRIBUTE_TEXT_BYTES_MAX {
            return None;
        }
        parameters.entry(name).or_default().push(Value::cut(value));
    }
    let value = |mut values: Vec<Value<'static>>| match values.len() {
        1 => values.remove(0),
        _ => Value::List(values),
    };
    let attributes: Vec<_> = parameters.into_iter().map(|(name, values)| (name, value(values))).collect();
    let bytes: usize = attributes.iter().map(|(name, value)| name.len() + value.to_json().len()).sum();
    (bytes <= STRUCTURED_BYTES_MAX).then_some(attributes)
}

/// The same as content: a list of what stands under each identifier, in the order of the message.
fn content_of(elements: &[Element<'_>]) -> Json {
    parameters_of(elements).map(|(id, name, value)| json!([id, name, value])).collect()
}

fn parameters_of<'e>(elements: &'e [Element<'_>]) -> impl Iterator<Item = (&'e str, &'e str, &'e str)> {
    let parameters =
        |element: &'e Element<'_>| element.parameters.iter().map(|(name, value)| (element.id, *name, value.as_ref()));
    elements.iter().flat_map(parameters).filter(|(_, name, _)| !credentials::is_credential(name))
}

#[cfg(test)]
mod tests;
