//! LiteLLM: rows of `LiteLLM_SpendLogs` (as CSV or JSON) and the standard logging payload. Both name most things alike.
//!
//! Sources: `schema.prisma` of `litellm-proxy-extras`; docs.litellm.ai, "StandardLoggingPayload Specification".

use record::{Actor, Attributes, Draft, Field, Kind, Outcome, content_names};
use serde_json::Value;

use super::call::{Call, METADATA, Part, Times, Told, claimed_user, ip, operation, provider, set_server};
use super::members::{count, cut, field, json, member, milliseconds, moment, name, names, number, set, text};
use super::{Origin, openai, wrong};
use crate::credentials::removed_from_value;
use crate::{Arrival, Rejected};

/// The most documents that one may hold (a list, or the rows under `data`).
const DOCUMENTS_MAX: usize = 10_000;

/// Reads one document: a row, or a list of them.
pub(super) fn read(document: &Value, arrival: &Arrival<'_>) -> Vec<Result<Draft, Rejected>> {
    let rows = document.as_array().or_else(|| document.get("data")?.as_array());
    let Some(rows) = rows else { return row(document, arrival) };
    if rows.len() > DOCUMENTS_MAX {
        return vec![Err(wrong("document", format!("it holds more than {DOCUMENTS_MAX} rows; write one a line")))];
    }
    rows.iter().flat_map(|one| row(one, arrival)).collect()
}

fn row(row: &Value, arrival: &Arrival<'_>) -> Vec<Result<Draft, Rejected>> {
    let Some(id) = text(row, &["request_id", "id"]) else {
        return vec![Err(wrong(
            "request_id",
            "it is missing: a row of LiteLLM_SpendLogs has one, a logging payload has id",
        ))];
    };
    if member(row, &["call_type", "startTime"]).is_none() {
        return vec![Err(wrong("call_type", "neither it nor startTime is there: this is no row of LiteLLM_SpendLogs"))];
    }
    let metadata = json(row, &["metadata"]).unwrap_or_default();
    let told = told(row, &metadata, id);
    let times = Times {
        started: moment(row, &["startTime", "start_time"]),
        first_chunk: moment(row, &["completionStartTime"]),
        ended: moment(row, &["endTime", "end_time"]),
    };
    if text(row, &["call_type"]).is_some_and(|call_type| call_type == "call_mcp_tool") {
        return vec![Ok(tool_call(row, &metadata, &told, times, arrival))];
    }
    let asked = asked(row, &metadata);
    let said = said(row, &metadata);
    Call { told, times, asked: Some(asked), said: Some(said) }.drafts(arrival).into_iter().map(Ok).collect()
}

/// Who called what, when: what both records of a call say.
fn told(row: &Value, metadata: &Value, id: String) -> Told {
    let shown = cut(&id);
    let mut told = Told::new(Origin::Litellm, id);
    told.actor = actor(row, metadata);
    told.set_trace(name(row, &["trace_id"]), None, None);
    let attributes = &mut told.attributes;
    attributes.set("testimony.imported.id", shown);
    set(attributes, "gen_ai.operation.name", text(row, &["call_type"]).map(|called| operation(&called)));
    set(attributes, "gen_ai.request.model", name(row, &["model_group", "model"]));
    set(attributes, "gen_ai.provider.name", text(row, &["custom_llm_provider"]).map(|called| provider(&called)));
    set(attributes, "gen_ai.conversation.id", name(row, &["session_id"]));
    set(attributes, "user.id", name(row, &["end_user"]));
    told
}

/// Whose key it was; failing that, on whose behalf it was used. Of the key a beginning of its hash is kept, and nothing of what is no hash.
fn actor(row: &Value, metadata: &Value) -> Option<Actor> {
    let owner = name(row, &["user"]).or_else(|| name(metadata, &["user_api_key_user_id"]));
    let hash = text(row, &["api_key"]).or_else(|| text(metadata, &["user_api_key_hash", "user_api_key"]));
    let is_hash = |hash: &String| hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    let fingerprint = hash.filter(is_hash).and_then(|hash| Some(format!("litellm_{}", hash.get(..16)?)));
    let address = text(row, &["requester_ip_address"]).or_else(|| text(metadata, &["requester_ip_address"]));
    let address = address.and_then(|address| ip(&address));
    let mut actor = match (claimed_user(owner.or_else(|| name(row, &["end_user"]))), &fingerprint, &address) {
        (Some(user), ..) => user,
        (None, Some(fingerprint), _) => Actor {
            kind: "credential".into(),
            id: Some(fingerprint.clone()),
            auth: Some("unverified".into()),
            ..Actor::default()
        },
        (None, None, Some(_)) => Actor { kind: "anonymous".into(), ..Actor::default() },
        (None, None, None) => return None,
    };
    (actor.fingerprint, actor.ip) = (fingerprint, address);
    Some(actor)
}

fn asked(row: &Value, metadata: &Value) -> Part {
    let mut part = Part::default();
    let mut content = Vec::new();
    let parameters = json(row, &["model_parameters", "optional_params"]);
    if let Some(parameters) = &parameters {
        openai::set_parameters(&mut part.attributes, parameters);
    }
    content.extend(json(row, &["messages"]).map(|messages| field(content_names::INPUT, &messages)));
    // Versions that keep prompts put the whole request here, and nothing into `messages`.
    if let Some(Value::Object(body)) = request_body(row) {
        let request = openai::request(body);
        part.attributes = merged(request.part.attributes, part.attributes);
        content.extend(request.part.content);
    }
    content.extend(parameters.and_then(openai::parameters));
    set(&mut part.attributes, "user_agent.original", text(metadata, &["user_agent"]).map(|agent| cut(&agent)));
    set_place(&mut part.attributes, row);
    content.extend(kept_metadata(metadata));
    part.content = content;
    part
}

/// The body of the request that came to the proxy; its headers stay behind.
fn request_body(row: &Value) -> Option<Value> {
    let request = json(row, &["proxy_server_request"])?;
    Some(json(&request, &["body"]).unwrap_or(request))
}

fn merged(mut first: Attributes<'static>, then: Attributes<'static>) -> Attributes<'static> {
    then.into_iter().for_each(|(name, value)| first.set(name, value));
    first
}

/// Where the call went, and what it is counted under.
fn set_place(attributes: &mut Attributes<'static>, row: &Value) {
    if let Some(base) = text(row, &["api_base"]) {
        set_server(attributes, &base);
    }
    set(attributes, "testimony.imported.deployment", name(row, &["model_id"]));
    set(attributes, "testimony.imported.team", name(row, &["team_id"]));
    set(attributes, "testimony.imported.tags", names(row, &["request_tags"]));
}

fn kept_metadata(metadata: &Value) -> Option<Field> {
    let kept = removed_from_value(metadata.clone());
    kept.as_object().is_some_and(|members| !members.is_empty()).then(|| field(METADATA, &kept))
}

fn said(row: &Value, metadata: &Value) -> (Outcome, Part) {
    let response = json(row, &["response"]);
    let mut part = response.as_ref().map(openai::response).unwrap_or_default();
    let attributes = &mut part.attributes;
    if attributes.value("gen_ai.response.model").is_none() {
        set(attributes, "gen_ai.response.model", name(row, &["model"]));
    }
    if let Some(usage) = json(metadata, &["usage_object"]) {
        openai::set_usage(attributes, &usage);
    }
    // What the proxy counted, and charged for, stands above what the answer said.
    for (called, column) in
        [("gen_ai.usage.input_tokens", "prompt_tokens"), ("gen_ai.usage.output_tokens", "completion_tokens")]
    {
        set(attributes, called, count(row, &[column]).filter(|tokens| *tokens > 0));
    }
    set(attributes, "testimony.cost_usd", number(row, &["spend", "response_cost"]));
    set(attributes, "testimony.imported.cache_hit", cache_hit(row));
    let outcome = outcome(row);
    if outcome == Outcome::Failed {
        set_error(&mut part, row, metadata);
    }
    (outcome, part)
}

fn cache_hit(row: &Value) -> Option<bool> {
    match member(row, &["cache_hit"])? {
        Value::Bool(hit) => Some(*hit),
        // The column holds Python's words.
        Value::String(word) => word.to_ascii_lowercase().parse().ok(),
        _ => None,
    }
}

fn outcome(row: &Value) -> Outcome {
    let guardrail = json(row, &["status_fields"]).and_then(|fields| text(&fields, &["guardrail_status"]));
    if guardrail.is_some_and(|status| status == "guardrail_intervened") {
        return Outcome::Blocked;
    }
    match text(row, &["status"]).as_deref() {
        Some("failure") => Outcome::Failed,
        _ => Outcome::Completed,
    }
}

fn set_error(part: &mut Part, row: &Value, metadata: &Value) {
    let error =
        json(row, &["error_information"]).or_else(|| json(metadata, &["error_information"])).unwrap_or_default();
    let class = name(&error, &["error_class"]).or_else(|| name(&error, &["error_code"]));
    part.attributes.set("error.type", class.unwrap_or("_OTHER".into()));
    let status = count(&error, &["error_code"]).filter(|code| (100..600).contains(code));
    set(&mut part.attributes, "http.response.status_code", status);
    let message = text(&error, &["error_message"]).or_else(|| text(row, &["error_str"]));
    part.content.extend(message.map(|message| field(content_names::RESPONSE_BODY, &Value::from(message))));
}

/// A tool of a Model Context Protocol server that was called through the proxy.
fn tool_call(row: &Value, metadata: &Value, told: &Told, times: Times, arrival: &Arrival<'_>) -> Draft {
    let called = json(metadata, &["mcp_tool_call_metadata"]).unwrap_or_default();
    let mut draft = told.draft(arrival, Kind::ToolCall, "tool", times.started.or(times.ended));
    let (outcome, ending) = said(row, metadata);
    draft.outcome = Some(outcome);
    let mut part = Part::default();
    let tool = name(&called, &["name"]).or_else(|| name(row, &["mcp_namespaced_tool_name", "model"]));
    set(&mut part.attributes, "gen_ai.tool.name", tool);
    set(&mut part.attributes, "testimony.imported.mcp_server", name(&called, &["mcp_server_name"]));
    set(&mut part.attributes, "testimony.duration_ms", milliseconds(times.started, times.ended));
    for copied in ["error.type", "testimony.cost_usd"] {
        if let Some(value) = ending.attributes.value(copied) {
            part.attributes.set(copied, value.clone());
        }
    }
    let arguments = json(&called, &["arguments"]).or_else(|| json(row, &["messages"]));
    part.content.extend(arguments.map(|arguments| field(content_names::ARGUMENTS, &removed_from_value(arguments))));
    let result = json(&called, &["result"]).or_else(|| json(row, &["response"]));
    part.content.extend(result.map(|result| field(content_names::RESULT, &result)));
    part.added_to(draft, told.call_id(arrival))
}
