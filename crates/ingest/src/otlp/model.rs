//! Spans and log records as both encodings give them. Their attributes are our values: what both encodings can say and JSON cannot (bytes,
//! numbers that are none) is text.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use record::Value;

use super::{DEPTH_MAX, Rejected, VALUES_MAX};

/// Named values, as they came.
pub(super) type Pairs<'a> = Vec<(Cow<'a, str>, Value<'a>)>;

/// What a request yields, in its order: where what follows is from, and spans or log records in their encoding.
pub(super) enum Walked<'a> {
    From(Result<Origin<'a>, Rejected>),
    Item(&'a [u8]),
    /// So many more items than a request may have; they were not read.
    Beyond(u64),
}

/// The resource and the scope of what follows.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Origin<'a> {
    pub(super) resource: Pairs<'a>,
    pub(super) scope_name: Cow<'a, str>,
    pub(super) scope_version: Cow<'a, str>,
}

#[derive(Debug, Default, PartialEq)]
pub(super) struct Span<'a> {
    /// Lower-case hexadecimal digits, where it is a valid identifier; the same for the other two.
    pub(super) trace_id: Option<String>,
    pub(super) span_id: Option<String>,
    pub(super) parent_span_id: Option<String>,
    pub(super) name: Cow<'a, str>,
    /// `SpanKind`: 1 internal, 2 server, 3 client, 4 producer, 5 consumer.
    pub(super) kind: u32,
    /// Nanoseconds since the Unix epoch; 0 is unknown.
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) attributes: Pairs<'a>,
    pub(super) events: Vec<Event<'a>>,
    /// `StatusCode`: 1 ok, 2 error.
    pub(super) status: u32,
    pub(super) status_message: Cow<'a, str>,
}

#[derive(Debug, Default, PartialEq)]
pub(super) struct Event<'a> {
    pub(super) time: u64,
    pub(super) name: Cow<'a, str>,
    pub(super) attributes: Pairs<'a>,
}

#[derive(Debug, PartialEq)]
pub(super) struct LogRecord<'a> {
    pub(super) time: u64,
    pub(super) observed: u64,
    /// `SeverityNumber`: 1 to 24.
    pub(super) severity: u32,
    pub(super) severity_text: Cow<'a, str>,
    pub(super) event_name: Cow<'a, str>,
    pub(super) body: Value<'a>,
    pub(super) attributes: Pairs<'a>,
    pub(super) trace_id: Option<String>,
    pub(super) span_id: Option<String>,
}

impl Default for LogRecord<'_> {
    fn default() -> Self {
        Self {
            time: 0,
            observed: 0,
            severity: 0,
            severity_text: Cow::default(),
            event_name: Cow::default(),
            body: Value::Null,
            attributes: Pairs::new(),
            trace_id: None,
            span_id: None,
        }
    }
}

/// Counts the values of one span, log record or resource, in all its depth.
pub(super) struct Budget(usize);

impl Budget {
    pub(super) const fn new() -> Self {
        Self(VALUES_MAX)
    }

    pub(super) fn spend(&mut self, depth: usize) -> Result<(), Rejected> {
        if depth > DEPTH_MAX {
            return Err(Rejected::TooDeep);
        }
        self.0 = self.0.checked_sub(1).ok_or(Rejected::TooManyValues)?;
        Ok(())
    }
}

/// A map with each name once, the last value of it.
pub(super) fn map(mut entries: Pairs<'_>) -> Value<'_> {
    entries.reverse();
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    entries.dedup_by(|(later, _), (kept, _)| later == kept);
    Value::Map(entries)
}

/// A number; what JSON has no number for is text.
pub(super) fn float(number: f64) -> Value<'static> {
    match number {
        _ if number.is_nan() => Value::Text("NaN".into()),
        f64::INFINITY => Value::Text("Infinity".into()),
        f64::NEG_INFINITY => Value::Text("-Infinity".into()),
        _ => Value::Float(number),
    }
}

/// Bytes, as the JSON encoding writes them.
pub(super) fn bytes(bytes: &[u8]) -> Value<'static> {
    Value::Text(STANDARD.encode(bytes).into())
}

/// Reads base64 in either alphabet, padded or not, as the JSON mapping of Protocol Buffers wants.
pub(super) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    LENIENT.decode(text.replace('-', "+").replace('_', "/")).ok()
}

/// An identifier of so many bytes that are not all 0, in hexadecimal digits.
pub(super) fn identifier(bytes: &[u8], length: usize) -> Option<String> {
    use std::fmt::Write as _;
    let is_valid = bytes.len() == length && bytes.iter().any(|byte| *byte != 0);
    is_valid.then(|| {
        bytes.iter().fold(String::with_capacity(2 * length), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    })
}
