//! The whole story of a call on one screen.

use std::fmt::Write as _;

use serde_json::Value;

use crate::output::message_text;
use crate::terminal::escaped;

/// Lines of one message that are shown; `-o json` has all of them.
const LINES_MAX: usize = 30;

/// Tells the story from the records of the call, in their order.
pub(crate) fn tell(call_id: &str, records: &[Value], raw: bool) -> String {
    let mut out = String::new();
    let first = records.first().cloned().unwrap_or_default();
    let place = [text(&first, "service"), text(&first, "environment"), text(&first, "host")].into_iter().flatten();
    let _ = writeln!(out, "Call {call_id}   {}", place.collect::<Vec<_>>().join(" · "));
    if let Some(trace) = text(&first, "trace_id") {
        let _ = writeln!(out, "Trace {trace}");
    }
    for record in records {
        let _ = writeln!(out);
        match text(record, "kind").as_deref() {
            Some("inference.request") => tell_request(&mut out, record),
            Some("inference.response") => tell_response(&mut out, record),
            _ => tell_other(&mut out, record),
        }
    }
    if !records.iter().any(|record| text(record, "kind").as_deref() == Some("inference.response"))
        && text(&first, "outcome").as_deref() != Some("denied")
    {
        let _ = writeln!(out, "\nThe call is under way: there is no outcome yet.");
    }
    if raw { out } else { escaped(&out).into_owned() }
}

fn tell_request(out: &mut String, record: &Value) {
    head(out, record, "request");
    let who = text(record, "actor_id").or_else(|| text(record, "actor_type")).unwrap_or_default();
    let how = text(record, "actor_auth").map_or(String::new(), |auth| format!(" ({auth})"));
    let from = text(record, "actor_ip").map_or(String::new(), |ip| format!(" from {ip}"));
    fact(out, "who", &format!("{who}{how}{from}"));
    let decision = text(record, "decision").unwrap_or_default();
    fact(out, "decision", &format!("{decision}: {}", text(record, "reasons").unwrap_or_default()));
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
    messages(out, record, "input");
    if let Some(parameters) = text(record, "parameters") {
        spoken(out, "parameters", &parameters);
    }
    others(out, record);
}

fn tell_response(out: &mut String, record: &Value) {
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
    messages(out, record, "output");
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

/// The line that begins a record: when, what, how it ended, and where it stands in the log.
fn head(out: &mut String, record: &Value, what: &str) {
    let time = text(record, "time").unwrap_or_default();
    let clock = time.get(11..23).unwrap_or(&time).to_owned();
    let outcome = text(record, "outcome").unwrap_or_default();
    let index = text(record, "log_index").unwrap_or_default();
    let day = time.get(..10).unwrap_or_default();
    let _ = writeln!(out, "{clock}  {what:<9} {outcome:<11} record {index}, {day}");
}

fn fact(out: &mut String, name: &str, value: &str) {
    if !value.trim().is_empty() {
        let _ = writeln!(out, "    {name:<12} {}", value.trim());
    }
}

fn messages(out: &mut String, record: &Value, column: &str) {
    let Some(content) = text(record, column) else { return };
    let Ok(Value::Array(messages)) = serde_json::from_str(&content) else {
        return spoken(out, column, &content);
    };
    for message in &messages {
        let role = message.get("role").and_then(Value::as_str).unwrap_or(column);
        spoken(out, role, &message_text(message));
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
    fn a_refusal_shows_its_reason_and_the_body() {
        let denied = json!({"kind": "inference.request", "outcome": "denied", "time": "2026-11-23T09:14:02.118231Z", "log_index": 1,
            "actor_type": "anonymous", "decision": "deny", "reasons": "the body is not a JSON object",
            "content": {"testimony.request.body": "{\"model\":"}});
        insta::assert_snapshot!(tell("01JD", &[denied], false));
    }
}
