//! # ingest: what others have to say, as drafts
//!
//! One file a door. A door reads a format from outside and makes drafts; it decides nothing and stores nothing. Whoever
//! holds the ledger appends what it gives, and answers the sender when that is durable.
//!
//! | file | what is in it |
//! |---|---|
//! | `arrival` | [`Arrival`]: how something came in; identifiers of what is sent again |
//! | [`history`] | what Langfuse, LiteLLM and files of OpenAI's API have kept until now (`testimony import`) |
//! | `records` | our own format: JSON, or JSON lines (`POST /api/v1/records`) |
//! | [`otlp`] | OpenTelemetry: spans and log records (`/v1/traces`, `/v1/logs`, gRPC) |
//! | [`kubernetes`] | audit events of a Kubernetes API server: its webhook's body, its log files |
//! | [`opa`] | decision logs of an OPA |
//! | [`cloudevents`] | CloudEvents 1.0 by HTTP: structured, batched, binary |
//! | [`forwarded`] | records of another log, as its node delivers them (`POST /api/v1/forward/…`) |
//! | `fitting` | attributes that fit a leaf, whatever came in |
//! | `credentials` | what comes in without the credentials in it: names, texts, JSON, attributes; every door goes through it |
//! | `nesting` | how deep and how large the JSON of an event may be |
//! | `cursor` | [`Following`]: what to read next of files that others write, rotate, truncate and delete |
//! | `drafting` | what doors for lines and texts have in common |
//! | `lines` | [`Lines`]: JSON lines, plain text, container logs |
//! | `mapping` | [`Mapping`]: JSON and text of any form to records, by a file |
//! | `syslog` | [`Syslog`]: RFC 5424 and RFC 3164, by datagrams and by streams |
//!
//! The doors for formats of others are functions of one form: `read(body, …, arrival)` gives, for each event in the body and in
//! its order, a draft or why there is none.

mod arrival;
pub mod cloudevents;
mod credentials;
mod cursor;
mod drafting;
mod fitting;
pub mod forwarded;
pub mod history;
pub mod kubernetes;
mod lines;
mod mapping;
#[cfg(test)]
mod mutated;
mod nesting;
pub mod opa;
pub mod otlp;
pub mod records;
mod syslog;

pub use arrival::Arrival;
pub use cursor::{
    Copied, Cursor, Cursors, FILES_MAX, Following, HEAD_BYTES_MAX, Look, MARK_BYTES_MAX, MISSING_LOOKS_MAX, Mark, News,
    Peek, Place, Seen, Step,
};
pub use drafting::BodyPlace;
pub use lines::{
    ENTRY_BYTES_MAX, ENTRY_LINES_MAX, Entry, EntryFormat, LineReader, Lines, LinesError, LinesSettings, Wrapping,
};
pub use mapping::{Event, Input, MAPPING_BYTES_MAX, Mapped, Mapping, MappingError, RULES_MAX, join_id};
pub use records::{Form, RECORDS_MAX, Rejected};
pub use syslog::{Frame, Frames, MESSAGE_BYTES_MAX, Packet, Syslog, SyslogSettings};
