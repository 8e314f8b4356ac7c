//! The whole story of a call on one screen, or of a trace or conversation.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::output::message_text;
use crate::terminal::escaped;

/// Lines of one message that are shown; `-o json` has all of them.
const LINES_MAX: usize = 30;

/// What a story may be of, by the column that says it.
const TIES: [(&str, &str); 3] = [("call_id", "Call"), ("trace_id", "Trace"), ("conversation_id", "Conversation")];
/// Whose records are not told as somebody else's.
const GATEWAY: &str = "gateway";

/// What was said so far, with the first record that said it: several producers may tell of one call.
#[derive(Default)]
struct Told(HashMap<Vec<Line>, String>);

/// Something that was said: by whom, and what.
#[derive(PartialEq, Eq, Hash)]
struct Line {
    who: String,
    said: String,
    /// The whole message, where more was said than text.
    whole: Option<String>,
}

/// Tells the story from the records of a call, trace or conversation, in their order.
pub(crate) fn tell(id: &str, records: &[Value], raw: bool) -> String {
    let mut out = String::new();
    let first = records.first().cloned().unwrap_or_default();
    let place = [text(&first, "service"), text(&first, "environment"), text(&first, "host")].into_iter().flatten();
    let tie = TIES.into_iter().find(|(column, _)| text(&first, column).as_deref() == Some(id));
    let tie = tie.map_or("Call", |(_, tie)| tie);
    let _ = writeln!(out, "{tie} {id}   {}", place.collect::<Vec<_>>().join(" · "));
    if let Some(trace) = text(&first, "trace_id").filter(|_| tie == "Call") {
        let _ = writeln!(out, "Trace {trace}");
    }
    let mut told = Told::default();
    let mut call: Option<String> = None;
    for record in records {
        let _ = writeln!(out);
        let of = text(record, "call_id").filter(|_| tie != "Call");
        if let Some(of) = of.as_ref().filter(|of| call.as_ref() != Some(*of)) {
            let _ = writeln!(out, "Call {of}");
        }
        call = of;
        match text(record, "kind").as_deref() {
            Some("inference.request") => tell_request(&mut out, record, &mut told),
            Some("inference.response") => tell_response(&mut out, record, &mut told),
            _ => tell_other(&mut out, record),
        }
    }
    if tie == "Call"
        && !records.iter().any(|record| text(record, "kind").as_deref() == Some("inference.response"))
        && text(&first, "outcome").as_deref() != Some("denied")
    {
        let _ = writeln!(out, "\nThe call is under way: there is no outcome yet.");
    }
    if raw { out } else { escaped(&out).into_owned() }
}

fn tell_request(out: &mut String, record: &Value, told: &mut Told) {
    head(out, record, "request");
    let who = text(record, "actor_id").or_else(|| text(record, "actor_type")).unwrap_or_default();
    let how = text(record, "actor_auth").map_or(String::new(), |auth| format!(" ({auth})"));
    let from = text(record, "actor_ip").map_or(String::new(), |ip| format!(" from {ip}"));
    fact(out, "who", &format!("{who}{how}{from}"));
    if let Some(decision) = text(record, "decision") {
        fact(out, "decision", &format!("{decision}: {}", text(record, "reasons").unwrap_or_default()));
    }
    why(out, record);
    let parameters: Vec<String> = ["stream", "temperature", "top_p", "max_tokens"]
        .iter()
        .filter_map(|name| Some(format!("{name} {}", text(record, name)?)))
        .collect();
    fact(out, "asked for", &[text(record, "model").unwrap_or_default(), parameters.join("  ")].join("  "));
    if let Some(upstream) = text(record, "upstream") {
        let port = record.pointer("/attributes/server.port").and_then(Value::as_str).unwrap_or_default();
        fact(out, "sent to", &format!("{upstream}:{port}"));
    }
    told.write(out, record, "input", messages(record, "input"));
    let parameters = text(record, "parameters").map(|said| Line { who: "parameters".into(), said, whole: None });
    told.write(out, record, "parameters", parameters.into_iter().collect());
    others(out, record);
}

fn tell_response(out: &mut String, record: &Value, told: &mut Told) {
    head(out, record, "response");
    let number = |name: &str, unit: &str| Some(format!("{}{unit}", text(record, name)?));
    let facts = [
        number("status", "").map(|status| format!("status {status}")),
        text(record, "error_type").map(|error| format!("error {error}")),
        text(record, "finish_reasons").map(|reasons| format!("finished by {reasons}")),
        number("duration_ms", " ms"),
        number("first_chunk_ms", " ms to the first chunk"),
    ];
    fact(out, "ended", &facts.into_iter().flatten().collect::<Vec<_>>().join("  "));
    if let (Some(input), Some(output)) = (text(record, "input_tokens"), text(record, "output_tokens")) {
        fact(out, "tokens", &format!("{input} in, {output} out"));
    }
    if let Some(model) = text(record, "response_model") {
        fact(out, "answered by", &model);
    }
    if let (Some(decision), Some(reasons)) = (text(record, "decision"), text(record, "reasons")) {
        fact(out, "decision", &format!("{decision}: {reasons}"));
    }
    why(out, record);
    told.write(out, record, "output", messages(record, "output"));
    others(out, record);
}

/// By which policy it was decided, and what the guardrails said.
fn why(out: &mut String, record: &Value) {
    let attribute = |name: &str| record.get("attributes")?.get(name).map(plain);
    let list = |name: &str| -> Vec<Value> {
        attribute(name).and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    };
    if let Some(digest) = attribute("testimony.policy.digest") {
        let digest: String = digest.chars().take(12).collect();
        let revision = attribute("testimony.policy.revision").map_or(String::new(), |revision| format!(" {revision}"));
        let rules = list("testimony.policy.rules").iter().map(plain).collect::<Vec<_>>().join(", ");
        fact(out, "policy", &format!("{digest}{revision}  {rules}"));
    }
    list("testimony.policy.obligations").iter().for_each(|obligation| fact(out, "obligation", &plain(obligation)));
    for check in list("testimony.guardrails.passed") {
        fact(out, "guardrail", &format!("{}: pass", plain(&check)));
    }
    for verdict in list("testimony.guardrails") {
        let [check, action] = ["check", "action"].map(|name| text(&verdict, name).unwrap_or_default());
        let rules = verdict.get("rules").and_then(Value::as_array).into_iter().flatten();
        let rules = rules.map(plain).collect::<Vec<_>>().join(", ");
        fact(out, "guardrail", &format!("{check}: {action}  {rules}"));
    }
}

fn tell_other(out: &mut String, record: &Value) {
    head(out, record, &text(record, "kind").unwrap_or_default());
    for (name, value) in record.get("attributes").and_then(Value::as_object).into_iter().flatten() {
        fact(out, name, &plain(value));
    }
    others(out, record);
}

/// The line that begins a record: when, what, how it ended, where it stands in the log, and who told of it if not the gateway.
fn head(out: &mut String, record: &Value, what: &str) {
    let time = text(record, "time").unwrap_or_default();
    let clock = time.get(11..23).unwrap_or(&time).to_owned();
    let outcome = text(record, "outcome").unwrap_or_default();
    let index = text(record, "log_index").unwrap_or_default();
    let day = time.get(..10).unwrap_or_default();
    let teller = text(record, "producer").filter(|producer| producer != GATEWAY);
    let teller = teller.map_or(String::new(), |producer| format!(", told by {producer}"));
    let _ = writeln!(out, "{clock}  {what:<9} {outcome:<11} record {index}, {day}{teller}");
}

fn fact(out: &mut String, name: &str, value: &str) {
    if !value.trim().is_empty() {
        let _ = writeln!(out, "    {name:<12} {}", value.trim());
    }
}

impl Told {
    /// Writes what a record says; in one line where another has said the same.
    fn write(&mut self, out: &mut String, record: &Value, name: &str, lines: Vec<Line>) {
        if lines.is_empty() {
            return;
        }
        if let Some(before) = self.0.get(&lines) {
            let producer = text(record, "producer").unwrap_or_default();
            return fact(out, name, &format!("told by {producer} as in record {before}"));
        }
        lines.iter().for_each(|line| spoken(out, &line.who, &line.said));
        self.0.insert(lines, text(record, "log_index").unwrap_or_default());
    }
}

/// The messages in a column of a record.
fn messages(record: &Value, column: &str) -> Vec<Line> {
    let Some(content) = text(record, column) else { return Vec::new() };
    let Ok(Value::Array(messages)) = serde_json::from_str(&content) else {
        return vec![Line { who: column.into(), said: content, whole: None }];
    };
    let line = |message: &Value| {
        let who = message.get("role").and_then(Value::as_str).unwrap_or(column).to_owned();
        let whole = (!is_text_alone(message)).then(|| message.to_string());
        Line { who, said: message_text(message), whole }
    };
    messages.iter().map(line).collect()
}

/// Whether the text of a message is all that it says: no pictures, no calls of tools.
fn is_text_alone(message: &Value) -> bool {
    let is_text = |part: &Value| part.get("text").or_else(|| part.get("content")).is_some_and(Value::is_string);
    let has_tools = message.get("tool_calls").is_some_and(|calls| !calls.is_null());
    match message.get("content").or_else(|| message.get("parts")) {
        Some(Value::Array(parts)) => !has_tools && parts.iter().all(is_text),
        Some(Value::String(_)) => !has_tools,
        _ => false,
    }
}

fn spoken(out: &mut String, who: &str, said: &str) {
    for (nth, line) in said.lines().take(LINES_MAX).enumerate() {
        let who = if nth == 0 { who } else { "" };
        let _ = writeln!(out, "    {who:<12} │ {line}");
    }
    if said.lines().count() > LINES_MAX {
        let _ = writeln!(out, "    {:<12} │ … (all of it: -o json)", "");
    }
}

/// Content that is no message: bodies that could not be read, parameters.
fn others(out: &mut String, record: &Value) {
    if record.get("content_removed").and_then(Value::as_bool) == Some(true) {
        fact(
            out,
            "said",
            "kept no longer; `testimony search testimony.retention.removed:content` says since when and why",
        );
    }
    for (name, value) in record.get("content").and_then(Value::as_object).into_iter().flatten() {
        let name = name.trim_start_matches("testimony.").trim_start_matches("request.").trim_start_matches("response.");
        spoken(out, name, &plain(value));
    }
}

fn text(record: &Value, name: &str) -> Option<String> {
    match record.get(name)? {
        Value::Null => None,
        value => Some(plain(value)),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_story_is_told_like_this() {
        let request = json!({"kind": "inference.request", "outcome": "allowed", "time": "2026-11-23T09:14:02.118231Z",
            "log_index": 41, "service": "support-bot", "environment": "staging", "host": "edge-7", "model": "gemma-3-270m",
            "stream": true, "temperature": 0.7, "max_tokens": 64, "actor_id": "alice", "actor_auth": "claimed", "actor_ip": "127.0.0.1",
            "decision": "allow", "reasons": "the model is known", "upstream": "127.0.0.1", "parameters": "{\"max_tokens\":64}", "attributes": {"server.port": "8081",
                "testimony.policy.digest": "8c709b7a0d8f491bbd1a", "testimony.policy.revision": "7", "testimony.policy.rules": "[\"data.testimony.request.allow\"]",
                "testimony.policy.obligations": "[\"{\\\"type\\\":\\\"flag\\\",\\\"label\\\":\\\"x\\\"}\"]",
                "testimony.guardrails": "[{\"action\":\"redact\",\"check\":\"secrets\",\"findings\":1,\"rules\":[\"github-token\"],\"score\":1.0},{\"action\":\"pass\",\"check\":\"length\",\"score\":0.0}]"},
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
            "input": "[{\"role\":\"system\",\"content\":\"Be kind.\"},{\"role\":\"user\",\"content\":\"Refund?\\nPlease.\\u001b[2J\"}]"});
        let response = json!({"kind": "inference.response", "outcome": "completed", "time": "2026-11-23T09:14:02.540231Z",
            "log_index": 42, "status": 200, "finish_reasons": "stop", "duration_ms": 421.5, "first_chunk_ms": 40.25, "input_tokens": 24,
            "output_tokens": 57, "response_model": "gemma-3-270m", "output": "[{\"role\":\"assistant\",\"content\":\"Within 30 days.\"}]"});
        insta::assert_snapshot!(tell("01JD", &[request.clone(), response], false));
        insta::assert_snapshot!(tell("01JD", &[request], false).lines().last().unwrap(), @"The call is under way: there is no outcome yet.");
    }

    #[test]
    fn what_a_second_producer_tells_again_is_one_line() {
        let messages = r#"[{"role":"user","content":"Refund?"}]"#;
        let parts = r#"[{"role":"user","parts":[{"type":"text","content":"Refund?"}]}]"#;
        let told = |producer: &str, index: u64, input: &str| {
            json!({"kind": "inference.request", "time": "2026-11-23T09:14:02.118231Z", "log_index": index, "call_id": "01JD",
                "trace_id": "4bf9", "producer": producer, "input": input})
        };
        let records = [told("gateway", 1, messages), told("otlp", 3, parts), told("otlp", 4, "Refund!")];
        let story = tell("01JD", &records, false);
        assert_eq!(story.matches("Refund?").count(), 1, "{story}");
        assert!(story.contains("input        told by otlp as in record 1\n"), "{story}");
        assert!(story.contains("record 4, 2026-11-23, told by otlp") && story.contains("Refund!"), "{story}");
        let trace = tell("4bf9", &records, false);
        assert!(trace.starts_with("Trace 4bf9 ") && trace.matches("Call 01JD\n").count() == 1, "{trace}");
        assert!(!trace.contains("under way"), "{trace}");
    }

    #[test]
    fn a_refusal_shows_its_reason_and_the_body() {
        let denied = json!({"kind": "inference.request", "outcome": "denied", "time": "2026-11-23T09:14:02.118231Z", "log_index": 1,
            "actor_type": "anonymous", "decision": "deny", "reasons": "the body is not a JSON object",
            "content": {"testimony.request.body": "{\"model\":"}});
        insta::assert_snapshot!(tell("01JD", &[denied], false));
    }
}
