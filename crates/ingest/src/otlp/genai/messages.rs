//! Messages of a model, put together in the form of the current conventions (`gen-ai-input-messages.json`) from attributes with numbers in
//! their names and from events of one message each.

use std::collections::BTreeMap;

use record::Value;

use super::super::model::{Pairs, map};
use super::facts::Facts;
use crate::nesting::json_in;

/// The most parts of an attribute's name that are told apart.
const SEGMENTS_MAX: usize = 12;

/// What an event of one message says.
pub(super) enum Said<'a> {
    Input(Value<'a>),
    Output(Value<'a>),
}

/// One message as it is gathered.
#[derive(Default)]
struct Message<'a> {
    role: Option<Value<'a>>,
    content: Option<Value<'a>>,
    reasoning: Option<Value<'a>>,
    finish_reason: Option<Value<'a>>,
    /// The tool call that a message answers.
    answers: Option<Value<'a>>,
    contents: BTreeMap<u32, Pairs<'a>>,
    calls: BTreeMap<u32, Pairs<'a>>,
    /// Whatever else it has.
    rest: Pairs<'a>,
}

/// The messages under `gen_ai.prompt.0.content`, `llm.input_messages.0.message.content` and the like; none where there are none.
pub(super) fn indexed<'a>(facts: &mut Facts<'a>, beginning: &str) -> Option<Value<'a>> {
    let mut messages: BTreeMap<u32, Message<'a>> = BTreeMap::new();
    for (path, value) in facts.take_numbered(beginning) {
        // OpenInference names the object at each level as well.
        let is_wrapper = |part: &&str| matches!(*part, "message" | "message_content" | "tool_call" | "function");
        let parts: Vec<&str> = path.splitn(SEGMENTS_MAX, '.').filter(|part| !is_wrapper(part)).collect();
        let numbered = parts.split_first().and_then(|(number, rest)| Some((number.parse::<u32>().ok()?, rest)));
        match numbered {
            Some((number, rest)) => messages.entry(number).or_default().take(rest, value),
            None => messages.entry(u32::MAX).or_default().rest.push((path.into(), value)),
        }
    }
    let messages: Vec<Value<'a>> = messages.into_values().map(Message::finish).collect();
    (!messages.is_empty()).then_some(Value::List(messages))
}

/// The finish reasons that messages have with them.
pub(super) fn finish_reasons<'a>(messages: &Value<'a>) -> Option<Value<'a>> {
    let Value::List(messages) = messages else { return None };
    let reasons: Vec<Value<'a>> =
        messages.iter().filter_map(|message| member(message, "finish_reason").cloned()).collect();
    (!reasons.is_empty()).then_some(Value::List(reasons))
}

/// Tools under `llm.tools.0.tool.json_schema` (OpenInference) and `llm.request.functions.0.name` (OpenLLMetry).
pub(super) fn tools<'a>(facts: &mut Facts<'a>) -> Option<Value<'a>> {
    let mut tools: BTreeMap<u32, Pairs<'a>> = BTreeMap::new();
    for beginning in ["llm.tools.", "llm.request.functions."] {
        for (path, value) in facts.take_numbered(beginning) {
            let (number, name) = path.split_once('.').unwrap_or(("", &path));
            let name = name.strip_prefix("tool.").unwrap_or(name).to_owned();
            tools.entry(number.parse().unwrap_or(u32::MAX)).or_default().push((name.into(), value));
        }
    }
    let tool = |members: Pairs<'a>| match members.as_slice() {
        [(name, Value::Text(schema))] if name == "json_schema" => {
            json_in(schema).map(Value::into_owned).unwrap_or_else(|| map(members))
        }
        _ => map(members),
    };
    let tools: Vec<Value<'a>> = tools.into_values().map(tool).collect();
    (!tools.is_empty()).then_some(Value::List(tools))
}

/// The message of an event under the names that were current until semantic conventions 1.37: `gen_ai.user.message`, `gen_ai.choice`, …
/// `body` is the body of a log record, or the attributes of a span's event.
pub(super) fn of_event<'a>(name: &str, body: Value<'a>) -> Option<Said<'a>> {
    let role = match name {
        "gen_ai.system.message" => "system",
        "gen_ai.user.message" => "user",
        "gen_ai.assistant.message" | "gen_ai.choice" => "assistant",
        "gen_ai.tool.message" => "tool",
        "gen_ai.content.prompt" | "gen_ai.content.completion" => "",
        _ => return None,
    };
    let body = unfolded(body);
    if role.is_empty() {
        let (old, is_input) = match name {
            "gen_ai.content.prompt" => ("gen_ai.prompt", true),
            _ => ("gen_ai.completion", false),
        };
        let Value::Map(entries) = body else { return None };
        let value = entries.into_iter().find(|(name, _)| name == old)?.1;
        return Some(if is_input { Said::Input(value) } else { Said::Output(value) });
    }
    let mut message = Message { role: Some(Value::Text(role.into())), ..Message::default() };
    message.take_body(body);
    let message = message.finish();
    Some(if name == "gen_ai.choice" { Said::Output(message) } else { Said::Input(message) })
}

/// An event's attributes may hold its body as JSON in one of them.
fn unfolded(body: Value<'_>) -> Value<'_> {
    if let Some(Value::Text(text)) = member(&body, "gen_ai.event.content")
        && let Some(inner) = json_in(text)
    {
        return inner.into_owned();
    }
    body
}

fn member<'v, 'a>(value: &'v Value<'a>, name: &str) -> Option<&'v Value<'a>> {
    let Value::Map(entries) = value else { return None };
    entries.iter().find(|(member, _)| member == name).map(|(_, value)| value)
}

impl<'a> Message<'a> {
    /// Takes one attribute by the parts of its name after the message's number.
    fn take(&mut self, path: &[&str], value: Value<'a>) {
        match path {
            ["role"] => self.role = Some(value),
            ["content"] => self.content = Some(value),
            ["reasoning" | "reasoning_content"] => self.reasoning = Some(value),
            ["finish_reason"] => self.finish_reason = Some(value),
            ["tool_call_id"] => self.answers = Some(value),
            ["function_call_name"] => self.calls.entry(0).or_default().push(("name".into(), value)),
            ["function_call_arguments_json"] => self.calls.entry(0).or_default().push(("arguments".into(), value)),
            ["tool_calls", number, rest @ ..] if number.parse::<u32>().is_ok() => {
                let call = self.calls.entry(number.parse().unwrap_or(u32::MAX)).or_default();
                call.push((rest.join(".").into(), value));
            }
            ["contents", number, rest @ ..] if number.parse::<u32>().is_ok() => {
                let part = self.contents.entry(number.parse().unwrap_or(u32::MAX)).or_default();
                part.push((rest.join(".").into(), value));
            }
            _ => self.rest.push((path.join(".").into(), value)),
        }
    }

    /// Takes the body of an event. That of a choice has its message inside.
    fn take_body(&mut self, body: Value<'a>) {
        let Value::Map(entries) = body else {
            self.content = Some(body);
            return;
        };
        for (name, value) in entries {
            match (name.as_ref(), value) {
                ("message", inner @ Value::Map(_)) => self.take_body(inner),
                ("message", inner) => self.content = Some(inner),
                ("id", value) => self.answers = Some(value),
                ("tool_calls", Value::List(calls)) => {
                    for (nth, call) in (0_u32..).zip(calls) {
                        self.calls.insert(nth, flat(call));
                    }
                }
                // Attributes of the event beside its body.
                ("index" | "event.name" | "gen_ai.system" | "gen_ai.provider.name", _) => {}
                (name, value) => self.take(&[name], value),
            }
        }
    }

    fn finish(self) -> Value<'a> {
        let mut parts: Vec<Value<'a>> = Vec::new();
        let part = |kind: &'static str, members: Pairs<'a>| {
            let mut members = members;
            members.retain(|(name, _)| name != "type");
            members.push(("type".into(), Value::Text(kind.into())));
            map(members)
        };
        if let Some(reasoning) = self.reasoning {
            parts.push(part("reasoning", vec![("content".into(), reasoning)]));
        }
        match (self.content, self.answers) {
            (content, Some(id)) => {
                let response = content.unwrap_or(Value::Null);
                parts.push(part("tool_call_response", vec![("id".into(), id), ("response".into(), response)]));
            }
            (Some(content), None) => parts.push(part("text", vec![("content".into(), content)])),
            (None, None) => {}
        }
        for (_, mut members) in self.contents {
            let text = members.iter().position(|(name, _)| name == "text");
            parts.push(match text {
                Some(at) => part("text", vec![("content".into(), members.swap_remove(at).1)]),
                None => map(members),
            });
        }
        parts.extend(self.calls.into_values().map(|members| part("tool_call", members)));
        let mut message = self.rest;
        message.push(("role".into(), self.role.unwrap_or(Value::Text("user".into()))));
        message.push(("parts".into(), Value::List(parts)));
        message.extend(self.finish_reason.map(|reason| ("finish_reason".into(), reason)));
        map(message)
    }
}

/// A tool call as the body of an event has it, `{id, type, function: {name, arguments}}`, in one level.
fn flat(call: Value<'_>) -> Pairs<'_> {
    let Value::Map(entries) = call else { return vec![("arguments".into(), call)] };
    let mut members = Pairs::new();
    for (name, value) in entries {
        match (name.as_ref(), value) {
            ("function", Value::Map(inner)) => members.extend(inner),
            (_, value) => members.push((name, value)),
        }
    }
    members
}
