//! From a draft to the bytes of a leaf.

use std::sync::Arc;

use uuid::Uuid;

use crate::content::{Content, Field, Seed, commit, encode_base64};
use crate::json::{write_int, write_key, write_map, write_text};
use crate::{
    ATTRIBUTE_KEY_BYTES_MAX, ATTRIBUTE_TEXT_BYTES_MAX, ATTRIBUTES_MAX, Attributes, Kind, LEAF_BYTES_MAX, Outcome,
    Timestamp, VALUE_DEPTH_MAX,
};

/// Where a record comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The service whose calls these are.
    pub service: String,
    /// Its environment: `production`, `staging`.
    pub environment: String,
    /// The machine.
    pub host: String,
    /// The log that took it in.
    pub origin: String,
    /// The door of that log it came through (`gateway`). `seq` counts per producer.
    pub producer: String,
}

/// The most groups of an actor in a record.
const GROUPS_MAX: usize = 64;
/// The most of a group's name, in bytes.
const GROUP_BYTES_MAX: usize = 256;

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Actor {
    /// `user`, `credential`, `anonymous`, `system`.
    pub kind: String,
    /// Who, where known.
    pub id: Option<String>,
    /// The groups that they are said to be in by whoever knows them; the first 64, and 256 bytes of each, are kept.
    pub groups: Vec<String>,
    /// How we know: `claimed` (the caller says so), `unverified` (a credential we cannot check), …
    pub auth: Option<String>,
    /// The address the call came from.
    pub ip: Option<String>,
    /// The keyed fingerprint of the credential that was presented.
    pub fingerprint: Option<String>,
}

/// W3C trace context and conversation of a record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trace {
    /// 32 hex digits.
    pub trace_id: Option<String>,
    /// 16 hex digits.
    pub span_id: Option<String>,
    /// 16 hex digits.
    pub parent_span_id: Option<String>,
}

/// A record that is still being written.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Its identifier: a version 7 UUID of ours, or [`crate::once_id`] of what its producer calls it.
    pub id: Uuid,
    /// When it happened, as its source says.
    pub time: Timestamp,
    /// What sort of event it is.
    pub kind: Kind,
    /// Where it comes from.
    pub source: Arc<Source>,
    /// Who did it.
    pub actor: Option<Actor>,
    /// The call it belongs to.
    pub call_id: Option<Uuid>,
    /// The trace it belongs to.
    pub trace: Trace,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Everything else that may stand in the open.
    pub attributes: Attributes<'static>,
    /// What may not.
    pub content: Vec<Field>,
}

/// The producer whose records tell of calls that are under way here. What others send of calls elsewhere begins and ends
/// nothing.
pub const CALLS_PRODUCER: &str = "gateway";

/// What a record does to the set of calls that are under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallPhase {
    /// The call has begun: an outcome must follow.
    Begins(Uuid),
    /// The outcome of the call.
    Ends(Uuid),
}

impl CallPhase {
    /// The phase that a record of this producer, kind, outcome and call stands for.
    #[must_use]
    pub fn of(producer: &str, kind: Kind, outcome: Option<Outcome>, call_id: Option<Uuid>) -> Option<Self> {
        if producer != CALLS_PRODUCER {
            return None;
        }
        match (kind, outcome, call_id?) {
            (Kind::InferenceRequest, Some(Outcome::Denied), _) => None,
            (Kind::InferenceRequest, _, call) => Some(Self::Begins(call)),
            (Kind::InferenceResponse, _, call) => Some(Self::Ends(call)),
            _ => None,
        }
    }
}

/// Why a draft cannot become a record. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The leaf would not fit an entry bundle.
    #[error("the record would have {0} bytes, more than the {LEAF_BYTES_MAX} that a leaf may have")]
    TooLarge(usize),
    /// Too many attributes.
    #[error("{0} attributes are more than the {ATTRIBUTES_MAX} that a record may have")]
    TooManyAttributes(usize),
    /// An attribute's name is empty or too long.
    #[error("an attribute's name has {0} bytes; 1 to {ATTRIBUTE_KEY_BYTES_MAX} are allowed")]
    AttributeKey(usize),
    /// An attribute's value is too large or too deep.
    #[error("the value of attribute {0:?} is too large or nested too deeply")]
    AttributeValue(String),
    /// One field of content is there twice.
    #[error("content field {0:?} is there twice")]
    RepeatedField(String),
}

/// A checked record that lacks only what the log's writer knows: when it was received and its number
/// in its producer's sequence.
#[derive(Debug, Clone)]
pub struct Unsequenced {
    id: Uuid,
    producer: String,
    phase: Option<CallPhase>,
    /// Leaf bytes up to and with `"received":"`.
    head: Vec<u8>,
    /// Leaf bytes from the comma after `seq` on.
    tail: Vec<u8>,
    /// The stored form of the content, or nothing.
    content: Vec<u8>,
}

impl Draft {
    /// A draft with only the facts that every record has.
    #[must_use]
    pub fn new(id: Uuid, time: Timestamp, kind: Kind, source: Arc<Source>) -> Self {
        Self {
            id,
            time,
            kind,
            source,
            actor: None,
            call_id: None,
            trace: Trace::default(),
            outcome: None,
            attributes: Attributes::default(),
            content: Vec::new(),
        }
    }

    /// Checks the draft, commits to its content under `seed` and encodes all that is known of its leaf.
    ///
    /// # Errors
    /// The first rule that the draft breaks.
    pub fn seal(mut self, seed: Seed) -> Result<Unsequenced, Invalid> {
        self.check_attributes()?;
        self.content.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(pair) = self.content.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(Invalid::RepeatedField(pair[0].name.clone()));
        }
        let (head, tail) = (self.encode_head(&seed), self.encode_tail());
        /// `received` (27 bytes), `","seq":` and a 64-bit number.
        const SPLICED_BYTES: usize = 27 + 8 + 20;
        let size = head.len() + SPLICED_BYTES + tail.len();
        if size > LEAF_BYTES_MAX {
            return Err(Invalid::TooLarge(size));
        }
        let content = match self.content.is_empty() {
            true => Vec::new(),
            false => Content { seed, fields: self.content }.encode(),
        };
        Ok(Unsequenced {
            id: self.id,
            producer: self.source.producer.clone(),
            phase: CallPhase::of(&self.source.producer, self.kind, self.outcome, self.call_id),
            head,
            tail,
            content,
        })
    }

    fn check_attributes(&self) -> Result<(), Invalid> {
        if self.attributes.len() > ATTRIBUTES_MAX {
            return Err(Invalid::TooManyAttributes(self.attributes.len()));
        }
        for (key, value) in self.attributes.iter() {
            if key.is_empty() || key.len() > ATTRIBUTE_KEY_BYTES_MAX {
                return Err(Invalid::AttributeKey(key.len()));
            }
            if value.depth() > VALUE_DEPTH_MAX || value.text_bytes() > ATTRIBUTE_TEXT_BYTES_MAX {
                return Err(Invalid::AttributeValue(key.to_owned()));
            }
        }
        Ok(())
    }

    /// Keys in the order of RFC 8785: `actor` … `parent_span_id`, then `received` is open.
    fn encode_head(&self, seed: &Seed) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        out.push(b'{');
        if let Some(actor) = &self.actor {
            write_key(&mut out, "actor");
            actor.encode(&mut out);
            out.push(b',');
        }
        if !self.attributes.is_empty() {
            write_key(&mut out, "attributes");
            write_map(&mut out, self.attributes.iter());
            out.push(b',');
        }
        if let Some(call_id) = self.call_id {
            member(&mut out, "call_id", call_id.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
        }
        if !self.content.is_empty() {
            self.encode_commitments(&mut out, seed);
        }
        member(&mut out, "id", self.id.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
        member(&mut out, "kind", self.kind.as_str());
        optional(&mut out, "outcome", self.outcome.map(Outcome::as_str));
        optional(&mut out, "parent_span_id", self.trace.parent_span_id.as_deref());
        out.extend_from_slice(b"\"received\":\"");
        out
    }

    fn encode_commitments(&self, out: &mut Vec<u8>, seed: &Seed) {
        write_key(out, "content");
        out.push(b'{');
        for (nth, field) in self.content.iter().enumerate() {
            if nth > 0 {
                out.push(b',');
            }
            write_key(out, &field.name);
            out.extend_from_slice(b"{\"bytes\":");
            write_int(out, i64::try_from(field.bytes.len()).unwrap_or(i64::MAX));
            out.push(b',');
            member(out, "commitment", &encode_base64(&commit(seed, &field.name, &field.bytes)));
            write_key(out, "media");
            write_text(out, &field.media);
            out.push(b'}');
        }
        out.extend_from_slice(b"},");
    }

    /// `source` … `v`, after `seq`.
    fn encode_tail(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        out.push(b',');
        write_key(&mut out, "source");
        self.source.encode(&mut out);
        out.push(b',');
        optional(&mut out, "span_id", self.trace.span_id.as_deref());
        out.extend_from_slice(b"\"time\":\"");
        self.time.write_to(&mut out);
        out.extend_from_slice(b"\",");
        optional(&mut out, "trace_id", self.trace.trace_id.as_deref());
        out.extend_from_slice(b"\"v\":1}");
        out
    }
}

impl Actor {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        optional(out, "auth", self.auth.as_deref());
        optional(out, "fingerprint", self.fingerprint.as_deref());
        if !self.groups.is_empty() {
            write_key(out, "groups");
            for (nth, group) in self.groups.iter().take(GROUPS_MAX).enumerate() {
                out.push(if nth == 0 { b'[' } else { b',' });
                write_text(out, &group[..group.floor_char_boundary(GROUP_BYTES_MAX)]);
            }
            out.extend_from_slice(b"],");
        }
        optional(out, "id", self.id.as_deref());
        optional(out, "ip", self.ip.as_deref());
        write_key(out, "type");
        write_text(out, &self.kind);
        out.push(b'}');
    }
}

impl Source {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        member(out, "environment", &self.environment);
        member(out, "host", &self.host);
        member(out, "origin", &self.origin);
        member(out, "producer", &self.producer);
        write_key(out, "service");
        write_text(out, &self.service);
        out.push(b'}');
    }
}

/// Writes `"key":"text",`.
fn member(out: &mut Vec<u8>, key: &str, text: &str) {
    write_key(out, key);
    write_text(out, text);
    out.push(b',');
}

fn optional(out: &mut Vec<u8>, key: &str, text: Option<&str>) {
    if let Some(text) = text {
        member(out, key, text);
    }
}

impl Unsequenced {
    /// The record's identifier.
    #[must_use]
    pub const fn id(&self) -> Uuid {
        self.id
    }

    /// Whose sequence it is numbered in.
    #[must_use]
    pub fn producer(&self) -> &str {
        &self.producer
    }

    /// What it does to the set of calls under way.
    #[must_use]
    pub const fn phase(&self) -> Option<CallPhase> {
        self.phase
    }

    /// The stored form of its content.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// How many bytes it takes while it waits.
    #[must_use]
    pub fn size(&self) -> usize {
        self.head.len() + self.tail.len() + self.content.len()
    }

    /// Appends the leaf's bytes to `out`.
    pub fn write_leaf(&self, received: Timestamp, seq: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        received.write_to(out);
        out.extend_from_slice(b"\",\"seq\":");
        out.extend_from_slice(seq.to_string().as_bytes());
        out.extend_from_slice(&self.tail);
    }
}

#[cfg(test)]
mod tests;
