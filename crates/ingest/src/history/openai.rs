//! Bodies of OpenAI's API (chat completions, completions, responses, embeddings), which every system of this history holds.

use record::{Attributes, Value as Attribute, content_names};
use serde_json::{Map, Value};

use super::call::Part;
use super::members::{count, cut, field, member, name, number, removed, set, text};
use crate::credentials::removed_from_value;

/// The most reasons for an end that are taken down.
const REASONS_MAX: usize = 16;

/// What was asked.
pub(super) struct Request {
    pub(super) model: Option<String>,
    /// On whose behalf.
    pub(super) user: Option<String>,
    pub(super) part: Part,
}

/// Reads the body of a request.
pub(super) fn request(body: Map<String, Value>) -> Request {
    let mut body = Value::Object(body);
    let (model, user) = (name(&body, &["model"]), name(&body, &["user"]));
    let mut part = Part::default();
    set_parameters(&mut part.attributes, &body);
    if let Value::Object(members) = &mut body {
        let asked = ["messages", "input", "prompt"].into_iter().find_map(|name| removed(members, name));
        part.content.extend(asked.map(|asked| field(content_names::INPUT, &asked)));
    }
    part.content.extend(parameters(body));
    Request { model, user, part }
}

/// Parameters of a call as content, if there are any.
pub(super) fn parameters(parameters: Value) -> Option<record::Field> {
    let kept = removed_from_value(parameters);
    let is_empty = kept.as_object().is_none_or(Map::is_empty);
    (!is_empty).then(|| field(content_names::PARAMETERS, &kept))
}

/// The parameters that have names of their own.
pub(super) fn set_parameters(attributes: &mut Attributes<'static>, of: &Value) {
    let stream = match member(of, &["stream"]) {
        Some(Value::Bool(stream)) => Some(*stream),
        Some(Value::String(word)) => word.parse().ok(),
        _ => None,
    };
    set(attributes, "gen_ai.request.stream", stream);
    for (member, called) in [
        ("temperature", "gen_ai.request.temperature"),
        ("top_p", "gen_ai.request.top_p"),
        ("top_k", "gen_ai.request.top_k"),
        ("frequency_penalty", "gen_ai.request.frequency_penalty"),
        ("presence_penalty", "gen_ai.request.presence_penalty"),
    ] {
        set(attributes, called, number(of, &[member]));
    }
    let tokens = ["max_tokens", "max_completion_tokens", "max_output_tokens", "maxTokens"];
    set(attributes, "gen_ai.request.max_tokens", count(of, &tokens));
    set(attributes, "gen_ai.request.choice.count", count(of, &["n"]));
    set(attributes, "gen_ai.request.seed", member(of, &["seed"]).and_then(Value::as_i64));
}

/// Reads the body of a response: an answer, or what came in its place.
pub(super) fn response(body: &Value) -> Part {
    let mut part = Part::default();
    let attributes = &mut part.attributes;
    set(attributes, "gen_ai.response.id", name(body, &["id"]));
    set(attributes, "gen_ai.response.model", name(body, &["model"]));
    set(attributes, "openai.response.system_fingerprint", name(body, &["system_fingerprint"]));
    if let Some(usage) = member(body, &["usage"]) {
        set_usage(attributes, usage);
    }
    let reasons = finish_reasons(body);
    if !reasons.is_empty() {
        attributes.set("gen_ai.response.finish_reasons", Attribute::List(reasons));
    }
    let said = messages(body);
    part.content.push(match &said {
        Some(messages) => field(content_names::OUTPUT, messages),
        None => field(content_names::RESPONSE_BODY, body),
    });
    part
}

/// The tokens that a call took; those from a cache and those of reasoning are among them.
pub(super) fn set_usage(attributes: &mut Attributes<'static>, usage: &Value) {
    let within = |details: [&str; 2], called: &str| {
        details.into_iter().find_map(|details| count(usage.get(details)?, &[called]))
    };
    let cached = within(["prompt_tokens_details", "input_tokens_details"], "cached_tokens");
    let reasoning = within(["completion_tokens_details", "output_tokens_details"], "reasoning_tokens");
    for (called, tokens) in [
        ("gen_ai.usage.input_tokens", count(usage, &["prompt_tokens", "input_tokens"])),
        ("gen_ai.usage.output_tokens", count(usage, &["completion_tokens", "output_tokens"])),
        ("gen_ai.usage.cache_read.input_tokens", cached),
        ("gen_ai.usage.reasoning.output_tokens", reasoning),
    ] {
        set(attributes, called, tokens);
    }
}

/// What kind of error a body tells of: its code, or its type.
pub(super) fn error_type(body: &Value) -> Option<String> {
    let error = member(body, &["error"])?;
    name(error, &["code", "type"]).or_else(|| error.as_str().map(|_| "_OTHER".to_owned()))
}

fn finish_reasons(body: &Value) -> Vec<Attribute<'static>> {
    let reason = |choice: &Value| text(choice, &["finish_reason"]).map(|reason| cut(&reason).into());
    match body.get("choices").and_then(Value::as_array) {
        Some(choices) => choices.iter().filter_map(reason).take(REASONS_MAX).collect(),
        // The API of responses has one state for all of it.
        None => name(body, &["status"]).filter(|_| body.get("output").is_some()).map(Into::into).into_iter().collect(),
    }
}

/// The messages that were answered, each with why it ended, as the gateway's own records have them.
fn messages(body: &Value) -> Option<Value> {
    if let Some(choices) = body.get("choices").and_then(Value::as_array) {
        return Some(Value::Array(choices.iter().filter_map(message).collect()));
    }
    body.get("output").filter(|output| output.is_array()).cloned()
}

fn message(choice: &Value) -> Option<Value> {
    let mut message = match (choice.get("message").and_then(Value::as_object), choice.get("text")) {
        (Some(message), _) => message.clone(),
        (None, Some(text)) => Map::from_iter([("content".to_owned(), text.clone())]),
        (None, None) => return None,
    };
    if let Some(reason) = member(choice, &["finish_reason"]) {
        message.insert("finish_reason".into(), reason.clone());
    }
    Some(Value::Object(message))
}
