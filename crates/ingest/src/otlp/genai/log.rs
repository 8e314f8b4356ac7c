//! What becomes of a log record. An event is a log record with a name.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use record::{Draft, Kind, Trace, Uuid, Value, once_id};

use super::super::Options;
use super::super::model::{LogRecord, Pairs, map};
use super::facts::Facts;
use super::messages::{self, Said};
use super::place::Place;
use super::span::{self, Ending};
use super::{Subject, Times, call_id};
use crate::{Arrival, credentials};

/// What a log record is.
pub(super) enum Read {
    Drafts(Vec<Draft>),
    /// An event of one message: those of one call become one request and one response.
    Message(Box<Message>),
}

/// One message of a call.
pub(super) struct Message {
    trace: Trace,
    key: String,
    time: u64,
    said: Said<'static>,
    attributes: Pairs<'static>,
}

/// Events of one message each, by their call.
#[derive(Default)]
pub(super) struct Gathered {
    calls: Vec<GatheredCall>,
    places: HashMap<Uuid, usize>,
}

struct GatheredCall {
    /// The first of the log records.
    nth: usize,
    place: Place,
    call: Uuid,
    trace: Trace,
    keys: Vec<String>,
    times: (u64, u64),
    facts: Facts<'static>,
    input: Vec<Value<'static>>,
    output: Vec<Value<'static>>,
}

/// Reads a log record.
pub(super) fn read(
    log: LogRecord<'_>,
    arrival: &Arrival<'_>,
    place: &Place,
    options: Options,
    seen: &mut HashMap<Uuid, u32>,
) -> Read {
    let time = if log.time > 0 { log.time } else { log.observed };
    let named = log.attributes.iter().find(|(name, _)| name == "event.name").map(|(_, value)| value);
    let name = match named {
        Some(Value::Text(name)) if log.event_name.is_empty() => name.clone().into_owned(),
        _ => log.event_name.clone().into_owned(),
    };
    let is_genai = name.starts_with("gen_ai.");
    if !is_genai && !options.other_logs {
        return Read::Drafts(Vec::new());
    }
    let key = key(&log, &name, time, seen);
    // A span identifier without a trace belongs nowhere.
    let span_id = log.span_id.filter(|_| log.trace_id.is_some());
    let trace = Trace { trace_id: log.trace_id, span_id, parent_span_id: None };
    let call = trace.trace_id.as_ref().zip(trace.span_id.as_ref()).map(|(trace, span)| call_id(trace, span));
    if is_genai
        && call.is_some()
        && let Some(key) = &key
        && let Some(said) = messages::of_event(&name, body_of(&log.body, &log.attributes))
    {
        let said = match said {
            Said::Input(value) => Said::Input(value.into_owned()),
            Said::Output(value) => Said::Output(value.into_owned()),
        };
        let key = key.clone();
        let mut attributes: Pairs<'static> = owned(log.attributes);
        attributes.push(("testimony.otlp.event".into(), Value::Text(name.into())));
        return Read::Message(Box::new(Message { trace, key, time, said, attributes }));
    }
    let subject = Subject { arrival, place, trace, call_id: call.filter(|_| is_genai), key };
    let times = Times::new(time, time, arrival);
    let times = Times { duration_ms: None, ..times };
    let mut facts = Facts::of(log.attributes);
    facts.take("event.name");
    let drafts = match name.as_str() {
        "gen_ai.evaluation.result" => vec![span::evaluation(&subject, facts, times, Ending::default())],
        "gen_ai.client.inference.operation.details" => {
            if let Value::Map(members) = log.body {
                facts.add(members);
            }
            facts.set_if_absent("testimony.otlp.event", Value::Text(name.into()));
            span::inference(&subject, facts, times, Ending::default()).into()
        }
        _ => {
            for (attribute, text) in [("otel.event.name", name.into()), ("testimony.log.severity", log.severity_text)] {
                if !text.is_empty() {
                    facts.set_if_absent(attribute, Value::Text(text));
                }
            }
            if log.severity > 0 {
                facts.set_if_absent("testimony.log.severity_number", Value::Int(i64::from(log.severity)));
            }
            facts.add(vec![("testimony.log.body".into(), log.body)]);
            let mut draft = span::single(&subject, Kind::System, "log", facts, times, Ending::default());
            // That somebody logged something does not say how it ended.
            draft.outcome = None;
            vec![draft]
        }
    };
    Read::Drafts(drafts)
}

/// What makes a log record the one that it is: its own identifier (`log.record.uid`), or else what it says and when, and how often that has
/// come in this request. One without a time has no key.
fn key(log: &LogRecord<'_>, name: &str, time: u64, seen: &mut HashMap<Uuid, u32>) -> Option<String> {
    let of_its_own = log.attributes.iter().find(|(name, _)| name == "log.record.uid").map(|(_, value)| value);
    if let Some(Value::Text(uid)) = of_its_own {
        return Some(format!("otlp/log/{uid}"));
    }
    if time == 0 {
        return None;
    }
    let attributes = map(log.attributes.clone()).to_json();
    let (trace, span) = (log.trace_id.as_deref().unwrap_or_default(), log.span_id.as_deref().unwrap_or_default());
    let severity = log.severity;
    let said = format!("otlp/{trace}/{span}/{name}/{time}/{severity}/{attributes}/{}", log.body.to_json());
    let times = match seen.entry(once_id("otlp", &said)) {
        Entry::Occupied(mut entry) => {
            *entry.get_mut() += 1;
            *entry.get()
        }
        Entry::Vacant(entry) => *entry.insert(0),
    };
    Some(format!("{said}/{times}"))
}

/// The body of an event: its own, or its attributes where it has none.
fn body_of<'a>(body: &Value<'a>, attributes: &Pairs<'a>) -> Value<'a> {
    match body {
        Value::Null => Value::Map(Facts::of_event(attributes.clone())),
        body => credentials::cleaned("body", body.clone()).unwrap_or(Value::Null),
    }
}

fn owned(pairs: Pairs<'_>) -> Pairs<'static> {
    let is_body = |name: &str| {
        matches!(name, "content" | "role" | "message" | "tool_calls" | "index" | "finish_reason" | "id" | "event.name")
    };
    let attributes = pairs.into_iter().filter(|(name, _)| !is_body(name) && name != "gen_ai.event.content");
    attributes.map(|(name, value)| (name.into_owned().into(), value.into_owned())).collect()
}

impl Gathered {
    pub(super) fn push(&mut self, nth: usize, message: Message, place: &Place) {
        let (Some(trace), Some(span)) = (&message.trace.trace_id, &message.trace.span_id) else { return };
        let call = call_id(trace, span);
        let at = *self.places.entry(call).or_insert_with(|| {
            self.calls.push(GatheredCall {
                nth,
                place: place.clone(),
                call,
                trace: message.trace.clone(),
                keys: Vec::new(),
                times: (message.time, message.time),
                facts: Facts::default(),
                input: Vec::new(),
                output: Vec::new(),
            });
            self.calls.len() - 1
        });
        let Some(call) = self.calls.get_mut(at) else { return };
        call.times = (call.times.0.min(message.time), call.times.1.max(message.time));
        call.keys.push(message.key);
        call.facts.add(message.attributes);
        match message.said {
            Said::Input(value) => call.input.push(value),
            Said::Output(value) => call.output.push(value),
        }
    }

    /// The drafts of each call, with the place of the first of its log records.
    pub(super) fn finish(self, arrival: &Arrival<'_>) -> Vec<(usize, Vec<Draft>)> {
        self.calls.into_iter().map(|call| (call.nth, call.finish(arrival))).collect()
    }
}

impl GatheredCall {
    /// A request, where something was said to the model, and a response, where it said something.
    fn finish(mut self, arrival: &Arrival<'_>) -> Vec<Draft> {
        let (has_input, has_output) = (!self.input.is_empty(), !self.output.is_empty());
        if let Some(reasons) = messages::finish_reasons(&Value::List(self.output.clone())) {
            self.facts.set_if_absent("gen_ai.response.finish_reasons", reasons);
        }
        span::put_messages(&mut self.facts, self.input, self.output);
        let subject = Subject {
            arrival,
            place: &self.place,
            trace: self.trace,
            call_id: Some(self.call),
            key: Some(self.keys.join("\n")),
        };
        let times = Times { duration_ms: None, ..Times::new(self.times.0, self.times.1, arrival) };
        let [request, response] = span::inference(&subject, self.facts, times, Ending::default());
        let wanted = [(has_input, request), (has_output, response)];
        wanted.into_iter().filter_map(|(is_wanted, draft)| is_wanted.then_some(draft)).collect()
    }
}
