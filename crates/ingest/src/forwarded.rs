//! Records of another log, as the node that has them delivers them (`POST /api/v1/forward/…`).
//!
//! ```text
//! ( u32 leaf length, leaf, u32 content length, stored content )*
//! ```
//! Numbers are big-endian. A leaf says who did what under the key of its own log, so its actor is taken over and not taken for a
//! claim. What a leaf commits to is held against the content that comes with it. A draft keeps what the record said of itself; that it
//! was forwarded, from which log and from which place there, it says under `testimony.forwarded.…`.

use std::borrow::Cow;
use std::sync::Arc;

use record::{
    ATTRIBUTES_MAX, Actor, ActorRef, Content, ContentError, Draft, Envelope, EnvelopeError, Kind, LEAF_BYTES_MAX,
    Outcome, Source, SourceRef, Trace, UnknownName, Uuid, Value, is_hex_id,
};
use tlog::{Hash, leaf_hash};

use crate::{Arrival, RECORDS_MAX, Rejected};

/// The log that it comes from.
pub const ORIGIN: &str = "testimony.forwarded.origin";
/// Its index there. Together with the origin it is there once, whatever became of the record.
pub const INDEX: &str = "testimony.forwarded.index";
/// The hash of its leaf there, in base64.
pub const LEAF_HASH: &str = "testimony.forwarded.leaf_hash";
/// When that log received it.
const RECEIVED: &str = "testimony.forwarded.received";
/// Fields of content that the leaf commits to and that did not come with it.
const MISSING: &str = "testimony.forwarded.missing_content";
/// Why the record itself is not here.
const PROBLEM: &str = "testimony.forwarded.problem";
/// How many attributes are added to those of the record.
const ATTRIBUTES_ADDED: usize = 5;
/// How many bytes their names, numbers and hashes take in a leaf, and some more.
const BYTES_ADDED: usize = 512;
/// The doors of forwarded records are called this and the name of the log, so that none is taken for a record of this log's own.
pub const PRODUCER_PREFIX: &str = "forward/";
/// The longest name of a log, in bytes.
pub const ORIGIN_BYTES_MAX: usize = 256;

/// One record of the other log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'b> {
    /// Its leaf there.
    pub leaf: &'b [u8],
    /// The stored form of its content; empty when it has none, or none any more.
    pub content: &'b [u8],
}

/// Where a record stands in the other log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The log.
    pub origin: Arc<str>,
    /// The index.
    pub index: u64,
    /// The hash of the leaf.
    pub leaf_hash: Hash,
}

/// Why an entry cannot become the record that it was. Its place is still told of ([`stand_in`]).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is no leaf, or one of a later version.
    #[error(transparent)]
    Leaf(#[from] EnvelopeError),
    /// It has a word that this version does not know.
    #[error(transparent)]
    Word(#[from] UnknownName),
    /// A member is not what it must be.
    #[error("{0} is not an identifier")]
    Identifier(&'static str),
    /// Its content is not what it commits to.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// There is no room in it to say where it comes from.
    #[error("with where it comes from, it would be larger than a record may be")]
    Room,
}

/// Takes a body apart.
///
/// # Errors
/// [`Rejected::Malformed`] when a length does not fit what is there, and [`Rejected::TooMany`].
pub fn split(body: &[u8]) -> Result<Vec<Entry<'_>>, Rejected> {
    let mut rest = body;
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let at = body.len() - rest.len();
        let entry = part(&mut rest).and_then(|leaf| Some(Entry { leaf, content: part(&mut rest)? }));
        entries.push(entry.ok_or_else(|| Rejected::Malformed(format!("the entry at byte {at} ends early")))?);
        if entries.len() > RECORDS_MAX {
            return Err(Rejected::TooMany);
        }
    }
    Ok(entries)
}

fn part<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let (part, after) = after.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    *rest = after;
    Some(part)
}

impl Place {
    /// The place of an entry.
    #[must_use]
    pub fn of(origin: &Arc<str>, index: u64, entry: &Entry<'_>) -> Self {
        Self { origin: origin.clone(), index, leaf_hash: leaf_hash(entry.leaf) }
    }

    /// Says in a draft where it comes from. After whatever masks: this is ours, and what the log is read back by.
    pub fn mark(&self, draft: &mut Draft) {
        let attributes = &mut draft.attributes;
        attributes.set(ORIGIN, self.origin.to_string());
        attributes.set(INDEX, i64::try_from(self.index).unwrap_or(i64::MAX));
        attributes.set(LEAF_HASH, self.leaf_hash.to_string());
    }
}

/// The door through which records of a log come in.
#[must_use]
pub fn producer(origin: &str) -> String {
    format!("{PRODUCER_PREFIX}{origin}")
}

/// Reads an entry. Where it comes from is not in the draft yet ([`Place::mark`]).
///
/// # Errors
/// See [`Unfit`].
pub fn read(entry: &Entry<'_>, origin: &str) -> Result<Draft, Unfit> {
    let leaf = Envelope::parse(entry.leaf)?;
    // The name stands in the producer and in an attribute, and each byte of it may be escaped.
    let room = LEAF_BYTES_MAX.saturating_sub(BYTES_ADDED + 12 * origin.len());
    if leaf.attributes.len() + ATTRIBUTES_ADDED > ATTRIBUTES_MAX || entry.leaf.len() > room {
        return Err(Unfit::Room);
    }
    let content = content(entry, &leaf)?;
    let id = uuid("id", &leaf.id)?;
    let mut draft = Draft::new(id, leaf.time, leaf.kind.parse::<Kind>()?, Arc::new(source(&leaf.source, origin)));
    draft.outcome = leaf.outcome.as_deref().map(str::parse::<Outcome>).transpose()?;
    draft.call_id = leaf.call_id.as_deref().map(|id| uuid("call_id", id)).transpose()?;
    draft.trace = Trace {
        trace_id: hex("trace_id", leaf.trace_id.as_deref(), 32)?,
        span_id: hex("span_id", leaf.span_id.as_deref(), 16)?,
        parent_span_id: hex("parent_span_id", leaf.parent_span_id.as_deref(), 16)?,
    };
    draft.actor = leaf.actor.as_ref().map(actor);
    let missing: Vec<Value<'static>> = match &content {
        Some(_) => Vec::new(),
        None => leaf.commitments().map(|(name, _)| Value::cut(name)).take(8).collect(),
    };
    let received = leaf.received;
    for (name, value) in leaf.attributes {
        draft.attributes.set(name.into_owned(), value.into_owned());
    }
    draft.attributes.set(RECEIVED, received.to_string());
    if !missing.is_empty() {
        draft.attributes.set(MISSING, Value::List(missing));
    }
    draft.content = content.map(|content| content.fields).unwrap_or_default();
    Ok(draft)
}

/// What stands in the place of a record that cannot be here: that it cannot, and why.
#[must_use]
pub fn stand_in(place: &Place, why: &str, arrival: &Arrival<'_>) -> Draft {
    let source = Source { producer: producer(&place.origin), ..arrival.source.clone() };
    let mut draft = Draft::new(arrival.id(None), arrival.received, Kind::System, Arc::new(source));
    draft.attributes.set_text(PROBLEM, crate::drafting::cut(why, 1_024));
    place.mark(&mut draft);
    draft
}

/// The content of an entry, held against the leaf. None where the log had let it go before it could be delivered.
fn content(entry: &Entry<'_>, leaf: &Envelope<'_>) -> Result<Option<Content>, Unfit> {
    let content = Content::decode(entry.content)?;
    if let Some(content) = &content {
        content.check(leaf.commitments())?;
    }
    Ok(content)
}

fn source(said: &SourceRef<'_>, origin: &str) -> Source {
    Source {
        service: said.service.to_string(),
        environment: said.environment.to_string(),
        host: said.host.to_string(),
        origin: said.origin.to_string(),
        producer: producer(origin),
    }
}

fn actor(said: &ActorRef<'_>) -> Actor {
    let owned = |text: &Option<Cow<'_, str>>| text.as_deref().map(str::to_owned);
    Actor {
        kind: said.kind.to_string(),
        id: owned(&said.id),
        groups: said.groups.iter().map(ToString::to_string).collect(),
        auth: owned(&said.auth),
        ip: owned(&said.ip),
        fingerprint: owned(&said.fingerprint),
    }
}

fn uuid(member: &'static str, text: &str) -> Result<Uuid, Unfit> {
    text.parse().map_err(|_| Unfit::Identifier(member))
}

fn hex(member: &'static str, text: Option<&str>, digits: usize) -> Result<Option<String>, Unfit> {
    match text {
        Some(text) if !is_hex_id(text, digits) => Err(Unfit::Identifier(member)),
        text => Ok(text.map(str::to_owned)),
    }
}

#[cfg(test)]
mod tests;
