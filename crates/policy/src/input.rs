//! What a policy is asked about: the document `input` of Rego, published as `schema/input.json`.

use regorus::Value;
use regorus::value::Object;
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
    /// The document as Rego sees it: what its JSON would be read as.
    pub(crate) fn to_value(&self) -> Value {
        let mut fields = vec![
            ("actor", self.actor.to_value()),
            ("parameters", members(&self.parameters)),
            ("messages", list(&self.messages, Message::to_value)),
            ("tools", list(&self.tools, |name| text(name))),
            ("time", object([("rfc3339", text(&self.time.rfc3339)), ("unix_ns", Value::from(self.time.unix_ns))])),
            ("findings", list(&self.findings, Finding::to_value)),
        ];
        let named = [
            ("model", &self.model),
            ("route", &self.route),
            ("environment", &self.environment),
            ("service", &self.service),
        ];
        fields.extend(given(named));
        fields.extend(self.output.iter().map(|output| ("output", output.to_value())));
        fields.extend(
            self.admin
                .iter()
                .map(|admin| ("admin", object([("action", text(&admin.action)), ("target", text(&admin.target))]))),
        );
        object(fields)
    }
}

impl Actor {
    fn to_value(&self) -> Value {
        let mut fields =
            vec![("type", text(&self.kind)), ("id", text(&self.id)), ("groups", list(&self.groups, |name| text(name)))];
        fields.extend(given([("role", &self.role), ("auth", &self.auth), ("ip", &self.ip)]));
        object(fields)
    }
}

impl Message {
    fn to_value(&self) -> Value {
        object([("role", text(&self.role)), ("text", text(&self.text))])
    }
}

impl Finding {
    fn to_value(&self) -> Value {
        let mut fields = vec![("check", text(&self.check)), ("rule", text(&self.rule)), ("action", text(&self.action))];
        fields.extend(self.score.map(|score| ("score", Value::from(score))));
        object(fields)
    }
}

impl Output {
    fn to_value(&self) -> Value {
        let reasons = list(&self.finish_reasons, |reason| text(reason));
        object([("text", text(&self.text)), ("finish_reasons", reasons)])
    }
}

fn text(text: &str) -> Value {
    Value::from(text)
}

fn list<T>(items: &[T], value: impl Fn(&T) -> Value) -> Value {
    Value::from(items.iter().map(value).collect::<Vec<_>>())
}

/// A value of JSON as Rego sees it, without a copy of the whole in between.
fn json(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::String(said) => text(said),
        serde_json::Value::Array(items) => list(items, json),
        serde_json::Value::Object(fields) => members(fields),
        plain => Value::from(plain.clone()),
    }
}

fn members(fields: &serde_json::Map<String, serde_json::Value>) -> Value {
    let mut object = Object::new();
    for (name, value) in fields {
        object.insert(text(name), json(value));
    }
    Value::from(object)
}

fn given<'a, const N: usize>(
    fields: [(&'static str, &'a Option<String>); N],
) -> impl Iterator<Item = (&'static str, Value)> + 'a {
    fields.into_iter().filter_map(|(name, value)| Some((name, text(value.as_deref()?))))
}

fn object(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let mut object = Object::new();
    for (name, value) in fields {
        object.insert(Value::from(name), value);
    }
    Value::from(object)
}

#[cfg(test)]
mod tests;
