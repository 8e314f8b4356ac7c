//! Reading a leaf.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};

use crate::value::Text;
use crate::{Attributes, CallPhase, Commitment, Timestamp, Uuid, Value};

/// A leaf, read and borrowed from its bytes. Words that a later version may add (kinds, outcomes)
/// stay texts, so that an old reader still shows them.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope<'a> {
    /// The record's identifier.
    pub id: Cow<'a, str>,
    /// Its number in its producer's sequence.
    pub seq: u64,
    /// When it happened, as its source says.
    pub time: Timestamp,
    /// When this log received it.
    pub received: Timestamp,
    /// What sort of event it is.
    pub kind: Cow<'a, str>,
    /// Where it comes from.
    pub source: SourceRef<'a>,
    /// Who did it.
    pub actor: Option<ActorRef<'a>>,
    /// The call it belongs to.
    pub call_id: Option<Cow<'a, str>>,
    /// The trace it belongs to.
    pub trace_id: Option<Cow<'a, str>>,
    /// Its span.
    pub span_id: Option<Cow<'a, str>>,
    /// The span above it.
    pub parent_span_id: Option<Cow<'a, str>>,
    /// How it ended.
    pub outcome: Option<Cow<'a, str>>,
    /// Everything else that stands in the open.
    pub attributes: Attributes<'a>,
    content: Vec<(Cow<'a, str>, Commitment<'a>)>,
}

/// Where a record comes from, see [`crate::Source`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of Source, documented there")]
pub struct SourceRef<'a> {
    #[serde(borrow)]
    pub service: Cow<'a, str>,
    #[serde(borrow)]
    pub environment: Cow<'a, str>,
    #[serde(borrow)]
    pub host: Cow<'a, str>,
    #[serde(borrow)]
    pub origin: Cow<'a, str>,
    #[serde(borrow)]
    pub producer: Cow<'a, str>,
}

/// Who did it, see [`crate::Actor`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of Actor, documented there")]
pub struct ActorRef<'a> {
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub groups: Vec<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub auth: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub ip: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub fingerprint: Option<Cow<'a, str>>,
}

/// A leaf that is not a record of this format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not the JSON that a leaf is.
    #[error("the leaf is not a record: {0}")]
    Malformed(String),
    /// A version that this program does not know.
    #[error("the leaf has version {0}; this program reads version 1")]
    Version(u64),
}

/// The leaf as it stands on disk. Members that this version does not know are passed over.
#[derive(Deserialize)]
struct Stored<'a> {
    v: u64,
    #[serde(borrow)]
    id: Cow<'a, str>,
    seq: u64,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    received: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    source: SourceRef<'a>,
    #[serde(borrow, default)]
    actor: Option<ActorRef<'a>>,
    #[serde(borrow, default, deserialize_with = "optional_text")]
    call_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "optional_text")]
    trace_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "optional_text")]
    span_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "optional_text")]
    parent_span_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "optional_text")]
    outcome: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    attributes: Attributes<'a>,
    #[serde(borrow, default)]
    content: Attributes<'a>,
}

fn optional_text<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'a, str>>, D::Error> {
    Ok(Option::<Text<'a>>::deserialize(deserializer)?.map(|text| text.0))
}

impl<'a> Envelope<'a> {
    /// Reads a leaf.
    ///
    /// # Errors
    /// When the bytes are not a record of version 1.
    pub fn parse(leaf: &'a [u8]) -> Result<Self, EnvelopeError> {
        let malformed = |error: &dyn std::fmt::Display| EnvelopeError::Malformed(error.to_string());
        // Looked at once as a whole, which is faster than text by text.
        let leaf = std::str::from_utf8(leaf).map_err(|error| malformed(&error))?;
        let stored: Stored<'a> = serde_json::from_str(leaf).map_err(|error| malformed(&error))?;
        if stored.v != 1 {
            return Err(EnvelopeError::Version(stored.v));
        }
        let moment = |text: &str| Timestamp::parse(text).map_err(|error| malformed(&error));
        Ok(Self {
            time: moment(&stored.time)?,
            received: moment(&stored.received)?,
            id: stored.id,
            seq: stored.seq,
            kind: stored.kind,
            source: stored.source,
            actor: stored.actor,
            call_id: stored.call_id,
            trace_id: stored.trace_id,
            span_id: stored.span_id,
            parent_span_id: stored.parent_span_id,
            outcome: stored.outcome,
            attributes: stored.attributes,
            content: commitments(stored.content)?,
        })
    }

    /// What the leaf says of the record's content, sorted by field name.
    pub fn commitments(&self) -> impl ExactSizeIterator<Item = (&str, &Commitment<'_>)> + Clone {
        self.content.iter().map(|(name, commitment)| (name.as_ref(), commitment))
    }

    /// What the record does to the set of calls under way.
    #[must_use]
    pub fn phase(&self) -> Option<CallPhase> {
        let kind = self.kind.parse().ok()?;
        let outcome = self.outcome.as_deref().and_then(|word| word.parse().ok());
        let call_id = self.call_id.as_deref().and_then(|text| text.parse().ok());
        CallPhase::of(&self.source.producer, kind, outcome, call_id)
    }
}

/// The identifier of a record alone, for whoever passes over many leaves.
#[must_use]
pub fn id_of(leaf: &[u8]) -> Option<Uuid> {
    #[derive(Deserialize)]
    struct Identified<'a> {
        #[serde(borrow)]
        id: Cow<'a, str>,
    }
    serde_json::from_slice::<Identified<'_>>(leaf).ok()?.id.parse().ok()
}

fn commitments<'a>(content: Attributes<'a>) -> Result<Vec<(Cow<'a, str>, Commitment<'a>)>, EnvelopeError> {
    content
        .into_iter()
        .map(|(name, value)| match read_commitment(value) {
            Some(commitment) => Ok((name, commitment)),
            None => Err(EnvelopeError::Malformed(format!("the commitment to {name:?}"))),
        })
        .collect()
}

fn read_commitment(value: Value<'_>) -> Option<Commitment<'_>> {
    let Value::Map(members) = value else { return None };
    let (mut commitment, mut bytes, mut media) = (None, None, None);
    for (key, value) in members {
        match (key.as_ref(), value) {
            ("commitment", Value::Text(text)) => commitment = Some(text),
            ("bytes", Value::Int(number)) => bytes = u64::try_from(number).ok(),
            ("media", Value::Text(text)) => media = Some(text),
            _ => {}
        }
    }
    Some(Commitment { commitment: commitment?, bytes: bytes?, media: media? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_leaf_says_why() {
        assert!(matches!(Envelope::parse(b"{}"), Err(EnvelopeError::Malformed(_))));
        let later = br#"{"v":2,"id":"","seq":0,"time":"","received":"","kind":"","source":{"service":"","environment":"","host":"","origin":"","producer":""}}"#;
        assert_eq!(Envelope::parse(later), Err(EnvelopeError::Version(2)));
    }
}
