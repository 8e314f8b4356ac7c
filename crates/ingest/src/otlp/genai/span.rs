//! What becomes of a span.

use record::{Draft, Kind, Outcome, Trace, Value, content_names};

use super::super::model::{self, Event, Pairs, Span, map};
use super::super::{Options, Rejected};
use super::facts::Facts;
use super::messages::{self, Said};
use super::place::Place;
use super::sheet::Sheet;
use super::{Subject, Times, call_id, names};
use crate::nesting::json_in;
use crate::{Arrival, credentials};

/// Attributes of both records of a call, so that either is found by them.
const OF_BOTH: [&str; 8] = [
    "gen_ai.operation.name",
    "gen_ai.provider.name",
    "gen_ai.request.model",
    "gen_ai.conversation.id",
    "gen_ai.agent.name",
    "gen_ai.agent.id",
    "gen_ai.workflow.name",
    "testimony.otlp.event",
];
const KINDS: [&str; 6] = ["unspecified", "internal", "server", "client", "producer", "consumer"];

/// What a span tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Inference,
    Tool,
    Evaluation,
    Other,
}

/// How a span or an event ended, as far as it is not in its attributes.
#[derive(Default)]
pub(super) struct Ending<'a> {
    pub(super) is_error: bool,
    pub(super) said: Option<Value<'a>>,
}

/// The drafts of one span, and of the evaluations among its events.
pub(super) fn drafts(
    span: Span<'_>,
    arrival: &Arrival<'_>,
    place: &Place,
    options: Options,
) -> Result<Vec<Draft>, Rejected> {
    let trace_id = span.trace_id.ok_or(Rejected::Identifier("trace id"))?;
    let span_id = span.span_id.ok_or(Rejected::Identifier("span id"))?;
    let key = format!("otlp/{trace_id}/{span_id}");
    let call = Some(call_id(&trace_id, &span_id));
    let trace = Trace { trace_id: Some(trace_id), span_id: Some(span_id), parent_span_id: span.parent_span_id };
    let subject = Subject { arrival, place, trace, call_id: call, key: Some(key) };
    let times = Times::new(span.start, span.end, arrival);
    let mut facts = Facts::of(span.attributes);
    let mut drafts = Vec::new();
    let mut input = Vec::new();
    let mut output = Vec::new();
    let mut others = Vec::new();
    for event in span.events {
        match event.name.as_ref() {
            "gen_ai.evaluation.result" => {
                let (time, key) = (Times::new(event.time, event.time, arrival), event_key(&subject, &event));
                let of_event = Subject { key, trace: subject.trace.clone(), ..subject };
                drafts.push(evaluation(&of_event, Facts::of(event.attributes), time, Ending::default()));
            }
            "gen_ai.client.inference.operation.details" | "exception" => facts.add(event.attributes),
            _ => match messages::of_event(&event.name, Value::Map(Facts::of_event(event.attributes.clone()))) {
                Some(Said::Input(message)) => input.push(message),
                Some(Said::Output(message)) => output.push(message),
                None => others.push(event_value(event)),
            },
        }
    }
    put_messages(&mut facts, input, output);
    if !others.is_empty() {
        facts.set_if_absent("testimony.otlp.events", Value::List(others));
    }
    let said = Some(Value::Text(span.status_message)).filter(|said| *said != Value::Text("".into()));
    let ending = Ending { is_error: span.status == 2, said };
    let sort = sort(&mut facts);
    if !span.name.is_empty() && (sort != Sort::Other || options.other_spans) {
        let name = credentials::cleaned("name", Value::Text(span.name)).unwrap_or(Value::Text("".into()));
        facts.set_if_absent("testimony.otlp.span_name", name);
    }
    match sort {
        Sort::Inference => drafts.extend(inference(&subject, facts, times, ending)),
        Sort::Tool => drafts.push(tool(&subject, facts, times, ending)),
        Sort::Evaluation => drafts.push(evaluation(&subject, facts, times, ending)),
        Sort::Other if options.other_spans => {
            let kind = usize::try_from(span.kind).ok().and_then(|kind| KINDS.get(kind)).copied().unwrap_or(KINDS[0]);
            facts.set_if_absent("testimony.otlp.span_kind", Value::Text(kind.into()));
            drafts.push(single(&subject, Kind::System, "span", facts, times, ending));
        }
        Sort::Other => {}
    }
    Ok(drafts)
}

/// Which of the conventions says what a span is: OpenInference, the current ones, OpenLLMetry, MCP, in this order.
fn sort(facts: &mut Facts<'_>) -> Sort {
    let open_inference = facts.text("openinference.span.kind").map(str::to_ascii_uppercase);
    let traceloop = facts.text("traceloop.span.kind").map(str::to_owned);
    let request_type = facts.text("llm.request.type").map(str::to_owned);
    let operation = facts.text("gen_ai.operation.name").map(str::to_owned);
    let has_model = facts.value("gen_ai.request.model").or(facts.value("gen_ai.response.model")).is_some();
    let (sort, implied) = match (open_inference.as_deref(), operation.as_deref()) {
        (Some("LLM"), _) => (Sort::Inference, "chat"),
        (Some("EMBEDDING"), _) => (Sort::Inference, "embeddings"),
        (Some("TOOL"), _) => (Sort::Tool, "execute_tool"),
        (Some("EVALUATOR" | "GUARDRAIL"), _) => (Sort::Evaluation, ""),
        (Some(_), _) => (Sort::Other, ""),
        (None, Some("chat" | "text_completion" | "generate_content" | "embeddings")) => (Sort::Inference, ""),
        (None, Some("execute_tool")) => (Sort::Tool, ""),
        (None, Some("invoke_agent" | "create_agent" | "invoke_workflow" | "plan" | "retrieval")) => (Sort::Other, ""),
        (None, operation) => match (request_type.as_deref(), traceloop.as_deref()) {
            (Some("chat"), _) => (Sort::Inference, "chat"),
            (Some("completion"), _) => (Sort::Inference, "text_completion"),
            (Some("embedding"), _) => (Sort::Inference, "embeddings"),
            (Some("rerank"), _) => (Sort::Inference, "rerank"),
            (_, Some("tool")) => (Sort::Tool, "execute_tool"),
            (_, Some(_)) => (Sort::Other, ""),
            _ if facts.text("mcp.method.name") == Some("tools/call") => (Sort::Tool, "execute_tool"),
            // An operation of somebody's own, or a convention from before there were operations.
            _ if operation.is_some_and(|name| name.contains("memory")) => (Sort::Other, ""),
            _ if has_model && (operation.is_some() || facts.value("gen_ai.provider.name").is_some()) => {
                (Sort::Inference, "chat")
            }
            _ => (Sort::Other, ""),
        },
    };
    if !implied.is_empty() {
        facts.set_if_absent("gen_ai.operation.name", Value::Text(implied.into()));
    }
    sort
}

/// Messages from events, where there are none in the attributes.
pub(super) fn put_messages<'a>(facts: &mut Facts<'a>, input: Vec<Value<'a>>, output: Vec<Value<'a>>) {
    for (name, mut said) in [(content_names::INPUT, input), (content_names::OUTPUT, output)] {
        match said.len() {
            0 => {}
            // An event of all messages is not one of a message.
            1 if !matches!(said.first(), Some(Value::Map(_))) => facts.set_if_absent(name, said.swap_remove(0)),
            _ => facts.set_if_absent(name, Value::List(said)),
        }
    }
}

/// The two records of a call of a model.
pub(super) fn inference<'a>(
    subject: &Subject<'_>,
    mut facts: Facts<'a>,
    times: Times,
    ending: Ending<'a>,
) -> [Draft; 2] {
    take_said(&mut facts);
    let actor = super::take_actor(&mut facts);
    let mut request = subject.sheet(Kind::InferenceRequest, "request", times.start);
    let mut response = subject.sheet(Kind::InferenceResponse, "response", times.end);
    for sheet in [&mut request, &mut response] {
        if actor.is_some() {
            sheet.draft.actor.clone_from(&actor);
        }
        for name in OF_BOTH {
            if let Some(value) = facts.value(name) {
                sheet.put(name, value.clone());
            }
        }
    }
    end(&mut response, &mut facts, times, ending);
    for (name, value) in facts.into_rest() {
        if names::is_of_response(&name) {
            response.put(&name, value);
        } else if !OF_BOTH.contains(&name.as_ref()) {
            request.put(&name, value);
        }
    }
    [request.finish(), response.finish()]
}

/// Puts what was said under its current names, wherever it is: the messages, the tools, the parameters.
fn take_said(facts: &mut Facts<'_>) {
    for (name, places) in [
        (content_names::INPUT, ["gen_ai.prompt.", "llm.prompts.", "llm.input_messages."]),
        (content_names::OUTPUT, ["gen_ai.completion.", "llm.completions.", "llm.output_messages."]),
    ] {
        for beginning in places {
            if let Some(messages) = messages::indexed(facts, beginning) {
                if name == content_names::OUTPUT
                    && let Some(reasons) = messages::finish_reasons(&messages)
                {
                    facts.set_if_absent("gen_ai.response.finish_reasons", reasons);
                }
                facts.set_if_absent(name, messages);
            }
        }
    }
    if let Some(tools) = messages::tools(facts) {
        facts.set_if_absent("gen_ai.tool.definitions", tools);
    }
    if let Some(Value::Text(text)) =
        facts.take("llm.invocation_parameters").or(facts.take("embedding.invocation_parameters"))
    {
        if let Some(Value::Map(members)) = json_in(&text) {
            let named =
                members.into_iter().map(|(name, value)| (format!("parameters.{name}").into(), value.into_owned()));
            facts.add(
                named.filter(|(name, _): &(std::borrow::Cow<'_, str>, _)| names::current(name).is_some()).collect(),
            );
        }
        facts.set_if_absent(content_names::PARAMETERS, Value::Text(text));
    }
    // What OpenInference calls the model is the one that was asked for, until an answer names another.
    if let Some(model) = facts.take("llm.model_name") {
        match facts.value("gen_ai.request.model") {
            Some(asked) if *asked != model => facts.set_if_absent("gen_ai.response.model", model),
            _ => facts.set_if_absent("gen_ai.request.model", model),
        }
    }
    // What OpenInference calls a span's input is the messages, where there are no others, and else the whole body.
    for (value, media, messages, body) in [
        ("input.value", "input.mime_type", content_names::INPUT, content_names::REQUEST_BODY),
        ("output.value", "output.mime_type", content_names::OUTPUT, content_names::RESPONSE_BODY),
    ] {
        facts.take(media);
        if let Some(said) = facts.take(value) {
            let name = if facts.value(messages).is_some() { body } else { messages };
            facts.set_if_absent(name, said);
        }
    }
}

/// A call of a tool.
fn tool<'a>(subject: &Subject<'_>, mut facts: Facts<'a>, times: Times, ending: Ending<'a>) -> Draft {
    for (names, current) in [
        (["input.value", "traceloop.entity.input"], content_names::ARGUMENTS),
        (["output.value", "traceloop.entity.output"], content_names::RESULT),
        (["traceloop.entity.name", "gen_ai.prompt.name"], "gen_ai.tool.name"),
    ] {
        for name in names {
            if facts.value(current).is_none()
                && let Some(value) = facts.take(name)
            {
                facts.set_if_absent(current, value);
            }
        }
    }
    single(subject, Kind::ToolCall, "tool", facts, times, ending)
}

/// What an evaluator or a guardrail said of something.
pub(super) fn evaluation<'a>(subject: &Subject<'_>, facts: Facts<'a>, times: Times, ending: Ending<'a>) -> Draft {
    single(subject, Kind::Evaluation, "evaluation", facts, times, ending)
}

/// One record of everything that a span or an event says.
pub(super) fn single<'a>(
    subject: &Subject<'_>,
    kind: Kind,
    part: &str,
    mut facts: Facts<'a>,
    times: Times,
    ending: Ending<'a>,
) -> Draft {
    let mut sheet = subject.sheet(kind, part, times.start);
    if let Some(actor) = super::take_actor(&mut facts) {
        sheet.draft.actor = Some(actor);
    }
    end(&mut sheet, &mut facts, times, ending);
    for (name, value) in facts.into_rest() {
        sheet.put(&name, value);
    }
    sheet.finish()
}

/// How it ended and how long it took.
fn end<'a>(sheet: &mut Sheet, facts: &mut Facts<'a>, times: Times, ending: Ending<'a>) {
    if let Some(kind) = facts.take("exception.type") {
        facts.set_if_absent("error.type", kind);
    }
    let has_reason = |wanted: &str| match facts.value("gen_ai.response.finish_reasons") {
        Some(Value::List(reasons)) => {
            reasons.iter().any(|reason| matches!(reason, Value::Text(text) if text == wanted))
        }
        _ => false,
    };
    let error = facts.text("error.type").map(str::to_ascii_lowercase);
    let outcome = match error {
        Some(error) if error.contains("cancel") => Outcome::Aborted,
        Some(_) => Outcome::Failed,
        None if ending.is_error || has_reason("error") => Outcome::Failed,
        None if has_reason("content_filter") => Outcome::Blocked,
        None => Outcome::Completed,
    };
    sheet.draft.outcome = Some(outcome);
    if let Some(said) = ending.said {
        facts.add(vec![("otel.status_description".into(), said)]);
    }
    if let Some(milliseconds) = times.duration_ms {
        sheet.attribute("testimony.duration_ms", Value::Float(milliseconds));
    }
    if sheet.draft.kind == Kind::InferenceResponse {
        let seconds = match facts.value("gen_ai.response.time_to_first_chunk") {
            Some(Value::Float(seconds)) => Some(*seconds),
            Some(Value::Int(seconds)) => i32::try_from(*seconds).ok().map(f64::from),
            _ => None,
        };
        if let Some(seconds) = seconds {
            sheet.attribute("testimony.first_chunk_ms", Value::Float(seconds * 1_000.0));
        }
    }
}

/// A key for an event of a span, which has no identifier: what it says, and when.
fn event_key(subject: &Subject<'_>, event: &Event<'_>) -> Option<String> {
    let said = model::map(event.attributes.clone()).to_json();
    subject.key.as_ref().map(|key| format!("{key}/{}/{}/{said}", event.name, event.time))
}

fn event_value(event: Event<'_>) -> Value<'_> {
    let attributes: Pairs<'_> = Facts::of(event.attributes).into_rest().collect();
    let time = Value::Text(event.time.to_string().into());
    map(vec![
        ("name".into(), Value::Text(event.name)),
        ("time_unix_nano".into(), time),
        ("attributes".into(), map(attributes)),
    ])
}
