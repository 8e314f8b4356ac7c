//! OpenTelemetry: `ExportTraceServiceRequest` and `ExportLogsServiceRequest` (OTLP 1.x), in Protocol Buffers and in JSON, as
//! `docs/ingest/otlp.md` tells.
//!
//! ```text
//! body ──unframe (gRPC)──▶ decompressed elsewhere ──▶ read ──▶ Batch ──▶ appended elsewhere ──▶ response, or Status
//! ```
//!
//! | file | what is in it |
//! |---|---|
//! | `grpc` | frames, methods and trailers |
//! | `answer` | [`response`] and [`Status`], in both encodings |
//! | `wire`, `protobuf`, `json` | the encodings: both give the same `model` |
//! | `model` | spans, log records and where they are from |
//! | `genai` | what they say of calls of models and tools, under whichever names, as drafts |

mod answer;
mod genai;
pub mod grpc;
mod json;
mod model;
mod protobuf;
mod wire;

pub use answer::{Code, Status, response};
pub use genai::call_id;

use genai::Reading;
use model::Walked;
use record::Draft;

use crate::Arrival;

/// The most bytes that a body may have, after decompression: whoever decompresses stops there and answers `RESOURCE_EXHAUSTED`.
pub const BODY_BYTES_MAX: usize = 16 * 1_024 * 1_024;
/// The most spans or log records that are taken of one request; those after them are refused.
pub const EVENTS_MAX: usize = 100_000;
/// The most values (attributes, items of lists, entries of maps, events) in one span, log record or resource.
pub const VALUES_MAX: usize = 65_536;
/// The deepest nesting of lists and maps in an attribute or a body.
pub const DEPTH_MAX: usize = 24;
/// The most bytes that the drafts of one request may take: attributes of a resource are repeated in the records of all its spans.
pub const DRAFTS_BYTES_MAX: usize = 128 * 1_024 * 1_024;

/// What a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Spans: `/v1/traces`.
    Traces,
    /// Log records, and events, which are log records with a name: `/v1/logs`.
    Logs,
}

/// How a request is written, and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `application/x-protobuf`, and gRPC.
    Protobuf,
    /// `application/json`.
    Json,
}

impl Encoding {
    /// The encoding of a `Content-Type`; nothing for any other, which is answered with 415.
    #[must_use]
    pub fn of_media(content_type: &str) -> Option<Self> {
        let media = content_type.split(';').next().unwrap_or_default().trim();
        [Self::Protobuf, Self::Json].into_iter().find(|encoding| media.eq_ignore_ascii_case(encoding.media()))
    }

    /// The `Content-Type` of an answer, which is that of its request.
    #[must_use]
    pub const fn media(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}

/// What is stored beside calls, tools and evaluations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Spans of anything else, as `system`.
    pub other_spans: bool,
    /// Log records of anything else, as `system`.
    pub other_logs: bool,
}

/// Why a span or a log record was refused. It was not stored, and is not to be sent again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// It is not what OTLP says it is.
    #[error("it cannot be read: {0}")]
    Malformed(String),
    /// A span without a valid identifier.
    #[error("its {0} is missing or not valid")]
    Identifier(&'static str),
    /// It has more values than anybody needs.
    #[error("it has more than {VALUES_MAX} values")]
    TooManyValues,
    /// Its values are nested too deeply.
    #[error("its values are nested more than {DEPTH_MAX} deep")]
    TooDeep,
    /// The request would become too much.
    #[error("the records of one request would take more than {DRAFTS_BYTES_MAX} bytes; send smaller batches")]
    TooMuch,
}

/// What became of a request.
#[derive(Debug, Default)]
pub struct Batch {
    /// For each span or log record, in order, its drafts (none, where it is about nothing that is stored), or why it was refused.
    pub events: Vec<Result<Vec<Draft>, Rejected>>,
    /// How many more there were than [`EVENTS_MAX`]; they are refused.
    pub beyond: u64,
}

impl Batch {
    /// How many spans or log records are refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.events.iter().filter(|event| event.is_err()).count() as u64 + self.beyond
    }

    /// Why, in one line for the sender: the first of each reason, with its place. Empty where nothing is refused.
    #[must_use]
    pub fn message(&self) -> String {
        let mut said: Vec<(std::mem::Discriminant<Rejected>, String)> = Vec::new();
        for (nth, rejected) in
            self.events.iter().enumerate().filter_map(|(nth, event)| Some((nth, event.as_ref().err()?)))
        {
            let reason = std::mem::discriminant(rejected);
            if !said.iter().any(|(known, _)| *known == reason) {
                said.push((reason, format!("number {nth}: {rejected}")));
            }
        }
        let mut lines: Vec<String> = said.into_iter().map(|(_, line)| line).collect();
        if self.beyond > 0 {
            lines.push(format!("one request takes at most {EVENTS_MAX}; send the rest in another"));
        }
        lines.join("; ")
    }
}

/// Reads a request that is no longer compressed.
///
/// # Errors
/// The status to answer where nothing of it can be read.
pub fn read(
    body: &[u8],
    signal: Signal,
    encoding: Encoding,
    arrival: &Arrival<'_>,
    options: Options,
) -> Result<Batch, Status> {
    if body.len() > BODY_BYTES_MAX {
        let message = format!("the request has {} bytes, more than {BODY_BYTES_MAX}; send smaller batches", body.len());
        return Err(Status::new(Code::ResourceExhausted, message));
    }
    let (mut reading, mut beyond) = (Reading::new(arrival, options), 0);
    let mut take = |walked: Walked<'_>| match walked {
        Walked::From(origin) => reading.comes_from(origin),
        Walked::Beyond(more) => beyond += more,
        Walked::Item(item) => match (signal, encoding) {
            (Signal::Traces, Encoding::Protobuf) => reading.span(protobuf::span(item)),
            (Signal::Traces, Encoding::Json) => reading.span(json::span(item)),
            (Signal::Logs, Encoding::Protobuf) => reading.log_record(protobuf::log_record(item)),
            (Signal::Logs, Encoding::Json) => reading.log_record(json::log_record(item)),
        },
    };
    let walked = match encoding {
        Encoding::Protobuf => protobuf::walk(body, &mut take).map_err(|error| error.to_string()),
        Encoding::Json => json::walk(body, signal, &mut take).map_err(|error| error.to_string()),
    };
    walked.map_err(|error| Status::new(Code::InvalidArgument, format!("the request cannot be read: {error}")))?;
    Ok(Batch { events: reading.finish(), beyond })
}

#[cfg(test)]
mod tests;
