//! What a policy is asked about: the document `input` of Rego, published as `schema/input.json`.

use serde::{Deserialize, Serialize};

/// One question. What does not apply at a point is absent, not null.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Who asks.
    pub actor: Actor,
    /// The model asked for, as the caller named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The route that matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The deployment stage, such as `staging`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The service on whose behalf the call is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The parameters of the call as the caller sent them, without messages.
    #[serde(default)]
    pub parameters: serde_json::Map<String, serde_json::Value>,
    /// The conversation.
    #[serde(default)]
    pub messages: Vec<Message>,
    /// The names of the tools that the model may call.
    #[serde(default)]
    pub tools: Vec<String>,
    /// When the question is asked.
    pub time: Time,
    /// What the guardrails found.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// The answer of the model, at the response point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
    /// What is to be changed, at the admin point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<Administration>,
}

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    /// `user`, `service` or `anonymous`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Who it is within that type.
    pub id: String,
    /// The groups that the identity provider or the key says.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The role, such as `caller` or `operator`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// How the actor proved who it is: `api_key`, `jwt`, `mtls`, `session` or `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<String>,
    /// The address that the call came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
}

/// One message of a conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// Its text parts, joined.
    pub text: String,
}

/// A point in time, twice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Time {
    /// RFC 3339 in UTC.
    pub rfc3339: String,
    /// Nanoseconds since 1970, what `time.now_ns()` returns in a decision.
    pub unix_ns: i64,
}

/// What a guardrail found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// The guardrail, such as `secrets`.
    pub check: String,
    /// Its rule, such as `aws-access-key`.
    pub rule: String,
    /// What it would do: `pass`, `flag`, `redact` or `block`.
    pub action: String,
    /// How sure it is, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
}

/// The answer of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// Its text.
    pub text: String,
    /// Why it ended, one a choice, such as `stop` or `length`.
    #[serde(default)]
    pub finish_reasons: Vec<String>,
}

/// What an administrator wants to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Administration {
    /// The act, such as `route.change` or `content.erase`.
    pub action: String,
    /// What it is done to.
    pub target: String,
}

impl Input {
    /// The document as Rego sees it.
    pub(crate) fn to_value(&self) -> Result<regorus::Value, String> {
        let text = serde_json::to_string(self).map_err(|error| format!("the input is not JSON: {error}"))?;
        regorus::Value::from_json_str(&text).map_err(|error| format!("the input is not JSON: {error}"))
    }
}
