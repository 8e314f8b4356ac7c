//! Of a leaf, no more than is counted. Everything else is passed over without being kept: actors, commitments, and all attributes
//! but these.

use std::borrow::Cow;

use record::{Timestamp, Uuid, Value};
use serde::Deserialize;

/// What a leaf tells.
#[derive(Deserialize)]
pub(crate) struct Told<'a> {
    #[serde(borrow)]
    pub(crate) kind: Cow<'a, str>,
    #[serde(borrow)]
    received: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) source: Source<'a>,
    #[serde(borrow, default)]
    outcome: Option<Value<'a>>,
    #[serde(borrow, default)]
    call_id: Option<Value<'a>>,
    #[serde(borrow, default)]
    pub(crate) attributes: Facts<'a>,
}

/// Where it comes from.
#[derive(Deserialize)]
pub(crate) struct Source<'a> {
    #[serde(borrow)]
    pub(crate) service: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) environment: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) producer: Cow<'a, str>,
}

/// The attributes that count. What others tell may have any type.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Facts<'a> {
    #[serde(borrow, rename = "gen_ai.operation.name")]
    pub(crate) operation: Option<Value<'a>>,
    #[serde(borrow, rename = "gen_ai.provider.name")]
    pub(crate) provider: Option<Value<'a>>,
    #[serde(borrow, rename = "gen_ai.request.model")]
    pub(crate) request_model: Option<Value<'a>>,
    #[serde(borrow, rename = "gen_ai.response.model")]
    pub(crate) response_model: Option<Value<'a>>,
    #[serde(borrow, rename = "gen_ai.request.stream")]
    pub(crate) stream: Option<Value<'a>>,
    #[serde(borrow, rename = "gen_ai.usage.input_tokens")]
    pub(crate) input_tokens: Option<Value<'a>>,
    #[serde(borrow, rename = "gen_ai.usage.output_tokens")]
    pub(crate) output_tokens: Option<Value<'a>>,
    #[serde(borrow, rename = "testimony.duration_ms")]
    pub(crate) duration_ms: Option<Value<'a>>,
    #[serde(borrow, rename = "testimony.first_chunk_ms")]
    pub(crate) first_chunk_ms: Option<Value<'a>>,
    #[serde(borrow, rename = "error.type")]
    pub(crate) error_type: Option<Value<'a>>,
    #[serde(borrow, rename = "testimony.decision")]
    pub(crate) decision: Option<Value<'a>>,
    #[serde(borrow, rename = "testimony.policy.duration_us")]
    pub(crate) policy_us: Option<Value<'a>>,
    #[serde(borrow, rename = "testimony.policy.error")]
    pub(crate) policy_error: Option<Value<'a>>,
    #[serde(borrow, rename = "testimony.guardrails")]
    pub(crate) verdicts: Option<Value<'a>>,
    #[serde(borrow, rename = "testimony.guardrails.passed")]
    pub(crate) passed: Option<Value<'a>>,
    #[serde(borrow, rename = "testimony.auth.event")]
    pub(crate) event: Option<Value<'a>>,
}

impl<'a> Told<'a> {
    /// Reads a leaf; nothing when it is not one.
    pub(crate) fn read(leaf: &'a [u8]) -> Option<Self> {
        // Looked at once as a whole, which is faster than text by text.
        serde_json::from_str(std::str::from_utf8(leaf).ok()?).ok()
    }

    pub(crate) fn outcome(&self) -> &str {
        text(self.outcome.as_ref())
    }

    pub(crate) fn call(&self) -> Option<Uuid> {
        text(self.call_id.as_ref()).parse().ok()
    }

    /// When the log received it, in microseconds since 1970.
    pub(crate) fn received(&self) -> Option<i64> {
        Timestamp::parse(&self.received).ok().map(Timestamp::as_micros)
    }
}

/// A text; empty where there is none.
pub(crate) fn text<'v>(value: Option<&'v Value<'_>>) -> &'v str {
    match value {
        Some(Value::Text(text)) => text,
        _ => "",
    }
}

/// A number, where there is one.
#[expect(clippy::cast_precision_loss, reason = "nothing that is counted comes near 2^53")]
pub(crate) fn number(value: Option<&Value<'_>>) -> Option<f64> {
    match value? {
        Value::Int(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    }
}
