//! What a model said, from a whole answer or put together from the chunks of a stream.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::question;

/// The most choices, and the most tool calls in a choice, that are put together from a stream.
const PARTS_MAX: u64 = 1_024;

/// An answer, or as much of one as has come.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Completion {
    pub(crate) id: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) system_fingerprint: Option<String>,
    pub(crate) input_tokens: Option<i64>,
    pub(crate) output_tokens: Option<i64>,
    choices: BTreeMap<u64, Choice>,
}

#[derive(Debug, Default, Clone, PartialEq)]
struct Choice {
    message: Map<String, Value>,
    tool_calls: BTreeMap<u64, Map<String, Value>>,
    finish_reason: Option<String>,
}

impl Completion {
    /// Reads a whole answer; nothing when it is not one.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let answer: Value = serde_json::from_slice(body).ok()?;
        let mut completion = Self::default();
        completion.take_head(&answer);
        for (nth, choice) in answer.get("choices")?.as_array()?.iter().enumerate() {
            let part = completion.choice(choice, nth as u64)?;
            part.finish_reason = text(choice, "finish_reason");
            part.message = choice.get("message")?.as_object()?.clone();
        }
        Some(completion)
    }

    /// Takes in one chunk of a stream; false when it is not one.
    pub(crate) fn push_chunk(&mut self, chunk: &[u8]) -> bool {
        let Ok(chunk) = serde_json::from_slice::<Value>(chunk) else { return false };
        let Some(choices) = chunk.get("choices").and_then(Value::as_array) else { return false };
        self.take_head(&chunk);
        for (nth, choice) in choices.iter().enumerate() {
            let Some(part) = self.choice(choice, nth as u64) else { continue };
            if let Some(reason) = text(choice, "finish_reason") {
                part.finish_reason = Some(reason);
            }
            for (name, value) in choice.get("delta").and_then(Value::as_object).into_iter().flatten() {
                match (name.as_str(), value) {
                    (_, Value::Null) => {}
                    ("tool_calls", Value::Array(calls)) => calls.iter().for_each(|call| merge_call(part, call)),
                    _ => merge_text(&mut part.message, name, value),
                }
            }
        }
        true
    }

    fn take_head(&mut self, answer: &Value) {
        let keep = |to: &mut Option<String>, name: &str| *to = to.take().or_else(|| text(answer, name));
        keep(&mut self.id, "id");
        keep(&mut self.model, "model");
        keep(&mut self.system_fingerprint, "system_fingerprint");
        let usage = |name: &str| answer.get("usage")?.get(name)?.as_i64();
        self.input_tokens = usage("prompt_tokens").or(self.input_tokens);
        self.output_tokens = usage("completion_tokens").or(self.output_tokens);
    }

    fn choice(&mut self, choice: &Value, nth: u64) -> Option<&mut Choice> {
        let index = choice.get("index").and_then(Value::as_u64).unwrap_or(nth);
        (index < PARTS_MAX).then(|| self.choices.entry(index).or_default())
    }

    /// Whether the model said anything at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.choices.is_empty()
    }

    /// Why each choice ended.
    pub(crate) fn finish_reasons(&self) -> Vec<String> {
        self.choices.values().filter_map(|choice| choice.finish_reason.clone()).collect()
    }

    /// What was said, as a policy reads it.
    pub(crate) fn output(&self) -> policy::Output {
        let texts = self.choices.values().filter_map(|choice| choice.message.get("content")).map(question::text);
        policy::Output { text: texts.collect::<Vec<_>>().join("\n"), finish_reasons: self.finish_reasons() }
    }

    /// The messages as a JSON list: each as the model wrote it, with its `finish_reason`.
    pub(crate) fn messages(&self) -> String {
        let messages: Vec<Value> = self
            .choices
            .values()
            .map(|choice| {
                let mut message = choice.message.clone();
                if !choice.tool_calls.is_empty() {
                    let calls: Vec<Value> = choice.tool_calls.values().cloned().map(Value::Object).collect();
                    message.insert("tool_calls".into(), Value::Array(calls));
                }
                if let Some(reason) = &choice.finish_reason {
                    message.insert("finish_reason".into(), json!(reason));
                }
                Value::Object(message)
            })
            .collect();
        Value::Array(messages).to_string()
    }
}

fn text(value: &Value, name: &str) -> Option<String> {
    value.get(name)?.as_str().map(str::to_owned)
}

/// Texts of a delta are pieces of one text; anything else replaces what was there.
fn merge_text(message: &mut Map<String, Value>, name: &str, value: &Value) {
    match (message.get_mut(name), value) {
        (Some(Value::String(so_far)), Value::String(more)) if name != "role" => so_far.push_str(more),
        _ => {
            message.insert(name.to_owned(), value.clone());
        }
    }
}

/// A tool call comes in pieces under its index; only its arguments are put together.
fn merge_call(choice: &mut Choice, call: &Value) {
    let index = call.get("index").and_then(Value::as_u64).unwrap_or(choice.tool_calls.len() as u64);
    let Some(piece) = call.as_object().filter(|_| index < PARTS_MAX) else { return };
    let so_far = choice.tool_calls.entry(index).or_default();
    for (name, value) in piece.iter().filter(|(name, _)| name.as_str() != "index") {
        match (so_far.get_mut(name), value) {
            (Some(Value::Object(function)), Value::Object(more)) => {
                more.iter().for_each(|(name, value)| merge_text(function, name, value));
            }
            (Some(_), Value::Null) => {}
            _ => {
                so_far.insert(name.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_gives_the_same_messages_as_a_whole_answer() {
        let whole = br#"{"id":"c1","model":"m","choices":[{"index":0,"finish_reason":"tool_calls","message":{"role":"assistant","content":"Hello","tool_calls":[{"id":"t1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]}}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
        let mut streamed = Completion::default();
        for chunk in [
            r#"{"id":"c1","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"Hel"}}]}"#,
            r#"{"id":"c1","choices":[{"index":0,"delta":{"content":"lo"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"t1","type":"function","function":{"name":"f","arguments":"{\"a\""}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#,
        ] {
            assert!(streamed.push_chunk(chunk.as_bytes()));
        }
        let whole = Completion::read(whole).unwrap();
        assert_eq!(streamed.messages(), whole.messages());
        assert_eq!((streamed.finish_reasons(), streamed.input_tokens), (whole.finish_reasons(), whole.input_tokens));
        insta::assert_snapshot!(streamed.messages(), @r#"[{"content":"Hello","finish_reason":"tool_calls","role":"assistant","tool_calls":[{"function":{"arguments":"{\"a\":1}","name":"f"},"id":"t1","type":"function"}]}]"#);
    }

    #[test]
    fn what_is_no_answer_is_none() {
        for body in ["", "{}", "garbage", r#"{"choices":1}"#, r#"{"choices":[{}]}"#, r#"{"error":{}}"#] {
            assert_eq!(Completion::read(body.as_bytes()), None, "{body}");
        }
    }
}
