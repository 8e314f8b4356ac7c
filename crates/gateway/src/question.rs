//! What a policy is asked about a call. Made from what the record of the call holds and from nothing else, so that the same question can
//! be put to another policy later.

use access::{Identity, Method as Shown};
use policy::{Actor, Finding, Input, Message, Output, Time};
use record::Timestamp;
use serde_json::{Map, Value};

/// Tools that a policy is told of.
const TOOLS_MAX: usize = 1_024;

/// The parts of a question, as they stand in the record of a request.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// Who asks.
    pub actor: Actor,
    /// The model asked for.
    pub model: Option<&'a str>,
    /// The route, where the model asked for is one.
    pub route: Option<&'a str>,
    /// The environment and the service of the call.
    pub environment: Option<&'a str>,
    /// See above.
    pub service: Option<&'a str>,
    /// The content field `testimony.request.parameters`: a JSON object.
    pub parameters: &'a str,
    /// The content field `gen_ai.input.messages`: a JSON list.
    pub messages: &'a str,
    /// The content field `gen_ai.output.messages`: a JSON list; only where it is asked whether an answer may be released.
    pub output: Option<&'a str>,
    /// What the guardrails found in what is asked about.
    pub findings: Vec<Finding>,
    /// When it was asked.
    pub time: Timestamp,
}

impl Question<'_> {
    /// The question as a policy reads it.
    #[must_use]
    pub fn input(self) -> Input {
        let parameters: Map<String, Value> = serde_json::from_str(self.parameters).unwrap_or_default();
        let messages: Vec<Value> = serde_json::from_str(self.messages).unwrap_or_default();
        let tools = parameters.get("tools").and_then(Value::as_array).into_iter().flatten();
        let tool = |tool: &Value| Some(tool.get("function")?.get("name")?.as_str()?.to_owned());
        Input {
            actor: self.actor,
            model: self.model.map(str::to_owned),
            route: self.route.map(str::to_owned),
            environment: self.environment.map(str::to_owned),
            service: self.service.map(str::to_owned),
            tools: tools.take(TOOLS_MAX).filter_map(tool).collect(),
            messages: messages.iter().map(message).collect(),
            parameters,
            time: Time { rfc3339: self.time.to_string(), unix_ns: self.time.as_micros().saturating_mul(1_000) },
            findings: self.findings,
            output: self.output.map(output),
            admin: None,
        }
    }
}

/// Who asks, as a policy is told. Whoever has not shown who they are is nobody, whatever they claim.
pub(crate) fn actor(identity: &Identity, ip: std::net::IpAddr) -> Actor {
    let auth = if identity.method == Shown::Anonymous { "none" } else { identity.method.as_str() };
    Actor {
        kind: identity.kind.as_str().to_owned(),
        id: identity.id.clone(),
        groups: identity.groups.clone(),
        role: identity.grants.first().map(|grant| grant.role.as_str().to_owned()),
        auth: Some(auth.to_owned()),
        ip: Some(ip.to_canonical().to_string()),
    }
}

fn message(message: &Value) -> Message {
    let role = message.get("role").and_then(Value::as_str).unwrap_or_default().to_owned();
    Message { role, text: text(message.get("content").unwrap_or(&Value::Null)) }
}

/// An answer from its messages, each with why it ended.
fn output(messages: &str) -> Output {
    let messages: Vec<Value> = serde_json::from_str(messages).unwrap_or_default();
    let texts = messages.iter().filter_map(|message| message.get("content")).map(text);
    let reasons = messages.iter().filter_map(|message| message.get("finish_reason")?.as_str());
    Output { text: texts.collect::<Vec<_>>().join("\n"), finish_reasons: reasons.map(str::to_owned).collect() }
}

/// The text of a message: as it is, or its parts a line each.
pub(crate) fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let parts: Vec<&str> = parts.iter().filter_map(|part| part.get("text")?.as_str()).collect();
            parts.join("\n")
        }
        _ => String::new(),
    }
}
