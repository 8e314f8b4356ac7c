//! Langfuse: observations, traces and scores, as its API (v1 and v2), its interface and its exports to object storage write them.
//!
//! Names are those of the API (`startTime`) or of the exports (`start_time`). Sources: langfuse.com/docs, "Blob Storage Export Field
//! Reference" and the API reference of `Observation`, `ObservationV2`, `TraceWithFullDetails` and `Score`.

use std::collections::HashMap;

use record::{Attributes, Draft, Field, Kind, Outcome, Value as Attribute, content_names};
use serde_json::{Map, Value, json};

use super::call::{Call, METADATA, Part, Times, Told, call_id, claimed_user, operation, provider};
use super::members::{
    NAME_BYTES_MAX, count, cut, field, float, json, member, milliseconds, moment, name, names, number, set, text, whole,
};
use super::{Origin, openai, wrong};
use crate::credentials::removed_from_value;
use crate::{Arrival, Rejected};

/// The most traces that are remembered for the observations that follow them (about 300 bytes each).
const TRACES_MAX: usize = 1_000_000;
/// The most documents that one may hold (pages, traces with their observations).
const DOCUMENTS_MAX: usize = 100_000;
/// How deep documents may lie in one another: a session, its traces, their observations.
const NESTING_MAX: usize = 4;

/// The traces that were told of so far. Older exports keep user and session with them alone.
#[derive(Default)]
pub(super) struct Traces {
    known: HashMap<String, Trace>,
}

#[derive(Clone, Default)]
struct Trace {
    user: Option<String>,
    session: Option<String>,
    name: Option<String>,
    environment: Option<String>,
}

/// What documents came to.
type Found = Vec<Result<Draft, Rejected>>;

impl Traces {
    /// Reads one document: an observation, a trace, a score, or a page, session or list of them.
    pub(super) fn read(&mut self, document: Value, arrival: &Arrival<'_>) -> Found {
        let mut found = Vec::new();
        self.unfold(&document, 0, arrival, &mut found);
        found
    }

    fn unfold(&mut self, document: &Value, depth: usize, arrival: &Arrival<'_>, found: &mut Found) {
        let parts = Parts::of(document);
        if depth > NESTING_MAX || parts.within.len() > DOCUMENTS_MAX {
            let what = format!(
                "it holds more than {DOCUMENTS_MAX} others, or is nested deeper than {NESTING_MAX}; export one a line"
            );
            return found.push(Err(wrong("document", what)));
        }
        if let Some(trace) = parts.trace {
            found.extend(self.remember(trace).err().map(Err));
        }
        for one in parts.within {
            self.unfold(one, depth + 1, arrival, found);
        }
        match parts.itself {
            Itself::Observation => found.extend(self.observation(document, arrival).into_iter().map(Ok)),
            Itself::Score => found.push(Ok(score(document, arrival))),
            Itself::Others => {}
            Itself::Unknown => found.push(Err(wrong(
                "document",
                "it is neither an observation (id, type, startTime), nor a trace (id, timestamp), nor a score (id, name, value)",
            ))),
        }
    }

    fn remember(&mut self, trace: &Value) -> Result<(), Rejected> {
        let id = text(trace, &["id"]).filter(|id| id.len() <= NAME_BYTES_MAX);
        let Some(id) = id else { return Ok(()) };
        if self.known.len() >= TRACES_MAX && !self.known.contains_key(&id) {
            let what =
                format!("more than {TRACES_MAX} traces came in one import; import their files one after the other");
            return Err(wrong("trace", what));
        }
        let facts = Trace {
            user: name(trace, &["userId", "user_id"]),
            session: name(trace, &["sessionId", "session_id"]),
            name: name(trace, &["name"]),
            environment: name(trace, &["environment"]),
        };
        self.known.insert(id, facts);
        Ok(())
    }

    fn observation(&self, observation: &Value, arrival: &Arrival<'_>) -> Vec<Draft> {
        let kind = text(observation, &["type"]).unwrap_or_default().to_ascii_uppercase();
        let times = Times {
            started: moment(observation, &["startTime", "start_time"]),
            first_chunk: moment(observation, &["completionStartTime", "completion_start_time"]),
            ended: moment(observation, &["endTime", "end_time"]),
        };
        let told = self.told(observation, &kind);
        match kind.as_str() {
            "GENERATION" | "EMBEDDING" => call(observation, told, times).drafts(arrival),
            "TOOL" | "RETRIEVER" => {
                let fields = [content_names::ARGUMENTS, content_names::RESULT];
                vec![event(observation, &told, times, (Kind::ToolCall, "tool", "gen_ai.tool.name"), fields, arrival)]
            }
            "GUARDRAIL" | "EVALUATOR" => {
                let fields = [content_names::INPUT, content_names::OUTPUT];
                let evaluation = (Kind::Evaluation, "evaluation", "gen_ai.evaluation.name");
                vec![event(observation, &told, times, evaluation, fields, arrival)]
            }
            // What only holds others together (spans, agents, chains, events) is no call.
            _ => Vec::new(),
        }
    }

    /// Who, where and in which conversation: of the observation itself, or of its trace.
    fn told(&self, observation: &Value, kind: &str) -> Told {
        let (id, trace_id) =
            (text(observation, &["id"]).unwrap_or_default(), text(observation, &["traceId", "trace_id"]));
        let trace = trace_id.as_ref().and_then(|id| self.known.get(id)).cloned().unwrap_or_default();
        let metadata = json(observation, &["metadata"]).unwrap_or_default();
        let mut told = Told::new(Origin::Langfuse, key(trace_id.as_deref(), &id));
        told.environment = environment(observation).or(trace.environment);
        told.actor = claimed_user(name(observation, &["userId", "user_id"]).or(trace.user));
        let id = cut(&id);
        told.set_trace(
            trace_id.as_deref().map(cut),
            Some(id.clone()),
            name(observation, &["parentObservationId", "parent_observation_id"]),
        );
        let attributes = &mut told.attributes;
        attributes.set("testimony.imported.id", id);
        set(attributes, "testimony.imported.type", (!kind.is_empty()).then(|| cut(kind)));
        set(attributes, "gen_ai.operation.name", (!kind.is_empty()).then(|| operation(kind)));
        let session = name(observation, &["sessionId", "session_id"]).or(trace.session);
        set(attributes, "gen_ai.conversation.id", session);
        let called = ["model", "providedModelName", "provided_model_name"];
        set(attributes, "gen_ai.request.model", name(observation, &called));
        set(attributes, "gen_ai.provider.name", text(&metadata, &["ls_provider"]).map(|called| provider(&called)));
        set_origin(attributes, observation);
        let trace_name = name(observation, &["traceName", "trace_name"]).or(trace.name);
        set(attributes, "testimony.imported.trace_name", trace_name);
        told
    }
}

/// A document taken apart.
struct Parts<'d> {
    itself: Itself,
    /// The trace that is told of.
    trace: Option<&'d Value>,
    /// Documents that lie in it.
    within: Vec<&'d Value>,
}

enum Itself {
    Observation,
    Score,
    /// Nothing but what holds others.
    Others,
    Unknown,
}

impl<'d> Parts<'d> {
    fn of(document: &'d Value) -> Self {
        let listed = |of: &'d Value, name: &str| of.get(name).and_then(Value::as_array);
        let holder = document.as_array().or_else(|| listed(document, "data")).or_else(|| listed(document, "traces"));
        if let Some(held) = holder {
            return Self { itself: Itself::Others, trace: None, within: held.iter().collect() };
        }
        let has = |names: &[&str]| member(document, names).is_some();
        // A score of the API has parts of its trace with it; what only holds a trace has no name of its own.
        let inner = document.get("trace").filter(|trace| trace.is_object() && !has(&["id"]));
        let is_holder = inner.is_some() || listed(document, "observations").is_some();
        let itself = match () {
            () if is_holder => Itself::Others,
            () if !has(&["id"]) => Itself::Unknown,
            () if has(&["type"]) && has(&["startTime", "start_time"]) => Itself::Observation,
            () if has(&["name"]) && has(&["value", "stringValue", "string_value"]) => Itself::Score,
            () if has(&["timestamp"]) => Itself::Others,
            () => Itself::Unknown,
        };
        let trace = matches!(itself, Itself::Others).then(|| inner.unwrap_or(document));
        // Lists of traces name their observations and scores by identifiers alone.
        let held = trace.into_iter().flat_map(|trace| {
            let lists = [listed(document, "observations"), listed(document, "scores")];
            let inner = inner.is_some().then(|| [listed(trace, "observations"), listed(trace, "scores")]);
            lists.into_iter().chain(inner.into_iter().flatten()).flatten().flatten()
        });
        Self { itself, trace, within: held.filter(|one| one.is_object()).collect() }
    }
}

/// What an observation is called wherever it is told of. Identifiers may be a caller's own, and mean something in their trace only.
fn key(trace_id: Option<&str>, id: &str) -> String {
    format!("{}/{id}", trace_id.unwrap_or_default())
}

/// The environment, unless nobody has named one.
fn environment(of: &Value) -> Option<String> {
    name(of, &["environment"]).filter(|environment| environment != "default")
}

fn set_origin(attributes: &mut Attributes<'static>, of: &Value) {
    for (called, named) in [
        ("testimony.imported.name", ["name"].as_slice()),
        ("testimony.imported.project", &["projectId", "project_id"]),
        ("testimony.imported.release", &["release"]),
        ("testimony.imported.version", &["version"]),
        ("gen_ai.prompt.name", &["promptName", "prompt_name"]),
    ] {
        set(attributes, called, name(of, named));
    }
    set(attributes, "testimony.imported.prompt_version", count(of, &["promptVersion", "prompt_version"]));
    set(attributes, "testimony.imported.tags", names(of, &["tags"]));
}

fn call(observation: &Value, told: Told, times: Times) -> Call {
    let mut asked = Part::default();
    let parameters = json(observation, &["modelParameters", "model_parameters"]);
    if let Some(parameters) = &parameters {
        openai::set_parameters(&mut asked.attributes, parameters);
    }
    asked.content.extend(parameters.and_then(openai::parameters));
    match json(observation, &["input"]) {
        Some(Value::Object(body)) if body.get("messages").is_some_and(Value::is_array) => {
            let request = openai::request(body);
            request.part.attributes.into_iter().for_each(|(name, value)| asked.attributes.set(name, value));
            asked.content.extend(request.part.content);
        }
        input @ Some(Value::Object(_)) => {
            let kept = input.map(removed_from_value);
            asked.content.extend(kept.map(|input| field(content_names::INPUT, &input)));
        }
        input => asked.content.extend(input.map(|input| field(content_names::INPUT, &input))),
    }
    asked.content.extend(metadata(observation));
    let said = said(observation, times);
    Call { told, times, asked: Some(asked), said }
}

/// How a generation ended; nothing where it had not when it was exported.
fn said(observation: &Value, times: Times) -> Option<(Outcome, Part)> {
    let output = json(observation, &["output"]).or_else(|| tool_calls(observation));
    let is_failed = is_error(observation);
    if output.is_none() && times.ended.is_none() && !is_failed {
        return None;
    }
    let mut part = match output {
        Some(body) if body.get("choices").or_else(|| body.get("output")).is_some_and(Value::is_array) => {
            openai::response(&body)
        }
        Some(Value::Object(message))
            if ["role", "content", "tool_calls"].iter().any(|one| message.contains_key(*one)) =>
        {
            Part { content: vec![field(content_names::OUTPUT, &json!([message]))], ..Part::default() }
        }
        output => {
            let content = output.map(|output| field(content_names::OUTPUT, &output));
            Part { content: content.into_iter().collect(), ..Part::default() }
        }
    };
    let model = ["model", "providedModelName", "provided_model_name"];
    if part.attributes.value("gen_ai.response.model").is_none() {
        set(&mut part.attributes, "gen_ai.response.model", name(observation, &model));
    }
    set_usage(&mut part.attributes, observation);
    set(&mut part.attributes, "testimony.cost_usd", cost(observation));
    set_error(&mut part, observation);
    Some((if is_failed { Outcome::Failed } else { Outcome::Completed }, part))
}

/// Tool calls that an export keeps apart from the output.
fn tool_calls(observation: &Value) -> Option<Value> {
    let Value::Array(calls) = json(observation, &["toolCalls", "tool_calls"])? else { return None };
    let calls: Vec<Value> = calls
        .into_iter()
        .map(|call| call.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or(call))
        .collect();
    Some(json!({"role": "assistant", "tool_calls": calls}))
}

/// Tokens by kind (`input`, `input_cached_tokens`, `output_reasoning_tokens`, …), which do not overlap: all of input are those with
/// `input` in their names, as Langfuse itself adds them up.
fn set_usage(attributes: &mut Attributes<'static>, observation: &Value) {
    let empty = Map::new();
    let details = json(observation, &["usageDetails", "usage_details"]).unwrap_or_default();
    let details = details.as_object().unwrap_or(&empty);
    let sum = |kind: &str| {
        let counts = details.iter().filter(|(name, _)| name.contains(kind)).filter_map(|(_, value)| whole(value));
        counts.reduce(i64::saturating_add)
    };
    let usage = json(observation, &["usage"]).unwrap_or_default();
    let is_tokens = text(&usage, &["unit"]).is_none_or(|unit| unit == "TOKENS");
    let usage = if is_tokens { usage } else { Value::Null };
    let input = sum("input").or_else(|| count(&usage, &["input", "promptTokens"]));
    let output = sum("output").or_else(|| count(&usage, &["output", "completionTokens"]));
    let cached = ["input_cached_tokens", "input_cache_read", "cache_read_input_tokens", "input_cached"];
    let reasoning = ["output_reasoning_tokens", "output_reasoning", "reasoning_tokens"];
    let any = |names: &[&str]| names.iter().find_map(|name| details.get(*name).and_then(whole));
    for (called, tokens) in [
        ("gen_ai.usage.input_tokens", input.or_else(|| count(observation, &["promptTokens", "inputUsage"]))),
        ("gen_ai.usage.output_tokens", output.or_else(|| count(observation, &["completionTokens", "outputUsage"]))),
        ("gen_ai.usage.cache_read.input_tokens", any(&cached)),
        ("gen_ai.usage.reasoning.output_tokens", any(&reasoning)),
    ] {
        set(attributes, called, tokens);
    }
}

/// The cost in US dollars.
fn cost(observation: &Value) -> Option<f64> {
    let total = number(observation, &["totalCost", "total_cost", "calculatedTotalCost"]);
    total.or_else(|| {
        let details = json(observation, &["costDetails", "cost_details"])?;
        let parts = details.as_object()?;
        let sum = || parts.values().filter_map(float).reduce(|sum, part| sum + part);
        parts.get("total").and_then(float).or_else(sum)
    })
}

fn is_error(observation: &Value) -> bool {
    text(observation, &["level"]).is_some_and(|level| level == "ERROR")
}

/// Langfuse knows of an error's message only, which is for content: it may hold anything.
fn set_error(part: &mut Part, observation: &Value) {
    if is_error(observation) {
        part.attributes.set("error.type", "_OTHER");
    }
    let message = text(observation, &["statusMessage", "status_message"]);
    part.content.extend(message.map(|message| field(content_names::RESPONSE_BODY, &Value::from(message))));
}

fn metadata(of: &Value) -> Option<Field> {
    json(of, &["metadata"]).map(|metadata| field(METADATA, &removed_from_value(metadata)))
}

/// A tool, a guardrail or an evaluator: one record, with what went in and what came out.
fn event(
    observation: &Value,
    told: &Told,
    times: Times,
    (kind, what, called): (Kind, &str, &'static str),
    [went_in, came_out]: [&str; 2],
    arrival: &Arrival<'_>,
) -> Draft {
    let mut draft = told.draft(arrival, kind, what, times.started.or(times.ended));
    draft.outcome = Some(if is_error(observation) { Outcome::Failed } else { Outcome::Completed });
    let mut part = Part::default();
    set(&mut part.attributes, called, name(observation, &["name"]));
    set(&mut part.attributes, "testimony.duration_ms", milliseconds(times.started, times.ended));
    part.content.extend(json(observation, &["input"]).map(|input| field(went_in, &removed_from_value(input))));
    part.content.extend(json(observation, &["output"]).map(|output| field(came_out, &output)));
    part.content.extend(metadata(observation));
    set_error(&mut part, observation);
    part.added_to(draft, told.call_id(arrival))
}

/// A score, as an evaluation of the call or the trace that it is about. What somebody wrote is content.
fn score(score: &Value, arrival: &Arrival<'_>) -> Draft {
    let id = text(score, &["id"]).unwrap_or_default();
    let (trace, observation) =
        (text(score, &["traceId", "trace_id"]), text(score, &["observationId", "observation_id"]));
    let mut told = Told::new(Origin::Langfuse, format!("score/{id}"));
    let call = observation.as_ref().map(|about| call_id(Origin::Langfuse, &key(trace.as_deref(), about), arrival));
    told.environment = environment(score);
    told.actor = claimed_user(name(score, &["authorUserId", "author_user_id"]));
    told.set_trace(trace.as_deref().map(cut), None, observation.as_deref().map(cut));
    told.attributes.set("testimony.imported.id", cut(&id));
    let session = name(score, &["sessionId", "session_id"]);
    set(&mut told.attributes, "gen_ai.conversation.id", session);
    set(&mut told.attributes, "gen_ai.evaluation.name", name(score, &["name"]));
    set(&mut told.attributes, "testimony.evaluation.source", name(score, &["source"]));
    set(&mut told.attributes, "testimony.imported.project", name(score, &["projectId", "project_id"]));
    let time = moment(score, &["timestamp", "createdAt", "created_at"]);
    let mut draft = told.draft(arrival, Kind::Evaluation, "evaluation", time);
    draft.outcome = Some(Outcome::Completed);
    draft.call_id = call;
    let is_text = text(score, &["dataType", "data_type"]).is_some_and(|kind| kind == "TEXT");
    let said = text(score, &["stringValue", "string_value"]);
    // Some write a category where a number stands otherwise.
    let label =
        said.or_else(|| score.get("value")?.as_str().filter(|value| value.parse::<f64>().is_err()).map(str::to_owned));
    if is_text {
        draft.content.extend(label.map(|text| field("testimony.evaluation.text", &Value::from(text))));
    } else {
        set(&mut draft.attributes, "gen_ai.evaluation.score.value", number(score, &["value"]));
        let label: Option<Attribute<'static>> = label.map(|label| cut(&label).into());
        set(&mut draft.attributes, "gen_ai.evaluation.score.label", label);
    }
    let comment = text(score, &["comment"]);
    draft.content.extend(comment.map(|comment| field("gen_ai.evaluation.explanation", &Value::from(comment))));
    draft.content.extend(metadata(score));
    draft
}
