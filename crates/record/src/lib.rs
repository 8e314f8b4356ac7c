//! # record: what one event is
//!
//! A **record** says who did what, when, with which outcome, and why. It is born as a [`Draft`],
//! which a capture (gateway, ingest, control) fills in. [`Draft::seal`] checks it, commits to its
//! content and leaves an [`Unsequenced`] record, in which only two things are still open: when the
//! log received it and its number in its producer's sequence. The log's one writer fills those in,
//! and the result is the **leaf**: the exact bytes that are hashed, signed and never serialised again.
//!
//! ```text
//! Draft ──seal(seed)──▶ Unsequenced ──leaf(received, seq)──▶ leaf bytes ──▶ Envelope (reading)
//!    └── content ─────▶ Content { seed, fields }   beside the leaf, erasable
//! ```
//!
//! Reading goes the other way: [`Envelope::parse`] borrows from leaf bytes. Whoever holds the
//! [`Content`] of a record can show that it is what the leaf commits to ([`Content::check`]).
//!
//! This crate does no I/O, has no clock and no randomness: identifiers, times and seeds are given to it.

mod content;
mod credential;
mod draft;
mod envelope;
mod identifier;
mod json;
mod kind;
mod shown;
mod time;
mod traceparent;
mod value;

pub use content::{
    Commitment, Content, ContentError, Field, FieldRef, Salt, Seed, check_disclosed, check_fields, decode_fields,
    names as content_names, salt,
};
pub use credential::{FingerprintKey, without_credentials};
pub use draft::{Actor, CALLS_PRODUCER, CallPhase, Draft, Invalid, Source, Trace, Unsequenced};
pub use envelope::{ActorRef, Envelope, EnvelopeError, SourceRef, id_of};
pub use identifier::{is_hex_id, is_once, once_id, uuid_v7};
pub use kind::{Kind, Outcome, UnknownName};
pub use shown::escaped;
pub use time::{Timestamp, TimestampError, civil_from_days};
pub use uuid::Uuid;
pub use value::{Attributes, Value};

/// The most bytes that one leaf may have: an entry bundle gives its length in 16 bits (tlog-tiles,
/// section "Log entries").
pub const LEAF_BYTES_MAX: usize = 65_535;
/// The most bytes that an attribute's name may have.
pub const ATTRIBUTE_KEY_BYTES_MAX: usize = 256;
/// The most bytes that one text inside an attribute's value may have.
pub const ATTRIBUTE_TEXT_BYTES_MAX: usize = 8_192;
/// The most attributes that one record may have.
pub const ATTRIBUTES_MAX: usize = 256;
/// The deepest nesting of lists and maps in an attribute's value.
pub const VALUE_DEPTH_MAX: usize = 16;
