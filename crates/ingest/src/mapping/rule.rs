//! What one rule makes of one event.

use std::borrow::Cow;
use std::sync::Arc;

use record::{Actor, Draft, Field, Kind, Outcome, Source, Timestamp, Trace, Uuid, Value, is_hex_id};
use regex::{Captures, Regex};
use serde_json::Value as Json;

use super::moment::TimeFormat;
use super::settings::Shape;
use super::{Event, Input, join_id};
use crate::drafting::{BodyPlace, NAME_BYTES_MAX, ORIGINAL, Problems, cut, fits, set_body, value_of};
use crate::{Arrival, credentials};

/// The most bytes that a rule's attributes take in a leaf; those over it are left out, and the record says so.
const ATTRIBUTES_BYTES_MAX: usize = 24 * 1_024;

/// One rule.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    /// Or its place in the file. Its keys are its own.
    pub(super) name: String,
    pub(super) is_drop: bool,
    /// Whether it has pointers to follow, so that texts are nothing to it.
    pub(super) is_json_only: bool,
    pub(super) is_original_kept: bool,
    pub(super) source_pattern: Option<String>,
    pub(super) conditions: Vec<(Reference, String)>,
    pub(super) pattern: Option<Regex>,
    pub(super) kind: Kind,
    pub(super) time: Option<TimeRule>,
    pub(super) slots: Vec<(Slot, Reference)>,
    pub(super) actor: Option<ActorRule>,
    pub(super) outcome: Option<OutcomeRule>,
    pub(super) source: SourceRule,
    pub(super) attributes: Vec<AttributeRule>,
    pub(super) content: Vec<(String, Reference)>,
}

/// Where a value is found in an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reference {
    /// All of it.
    Whole,
    /// By a JSON pointer (RFC 6901).
    Pointer(String),
    /// What a group of the pattern holds.
    Group(usize),
    /// Nowhere: this text.
    Constant(String),
}

/// A member that is one text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    Key,
    CallId,
    TraceId,
    SpanId,
    ParentSpanId,
    Body,
}

#[derive(Debug, Clone)]
pub(super) struct TimeRule {
    pub(super) from: Reference,
    pub(super) format: TimeFormat,
    /// How far a clock that does not say so is ahead of UTC.
    pub(super) offset_minutes: i64,
}

#[derive(Debug, Clone)]
pub(super) struct AttributeRule {
    pub(super) name: String,
    pub(super) from: Reference,
    pub(super) shape: Option<Shape>,
}

#[derive(Debug, Clone)]
pub(super) struct ActorRule {
    pub(super) kind: String,
    pub(super) id: Option<Reference>,
}

#[derive(Debug, Clone)]
pub(super) struct OutcomeRule {
    pub(super) from: Reference,
    /// Patterns, those that say most first.
    pub(super) values: Vec<(String, Outcome)>,
    pub(super) otherwise: Option<Outcome>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct SourceRule {
    pub(super) service: Option<Reference>,
    pub(super) environment: Option<Reference>,
    pub(super) host: Option<Reference>,
}

/// An event in which a rule's references can be followed.
pub(super) enum Found<'e> {
    Json(&'e Json),
    Text(&'e str, Option<Captures<'e>>),
}

/// What stands at a reference.
enum At<'f> {
    /// Anything but a string.
    Json(&'f Json),
    Text(&'f str),
}

impl<'f> At<'f> {
    const fn of(json: &'f Json) -> Self {
        match json {
            Json::String(text) => Self::Text(text.as_str()),
            other => Self::Json(other),
        }
    }

    fn text(&self) -> Cow<'f, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Json(json) => Cow::Owned(json.to_string()),
        }
    }

    /// As an attribute's value; whether anything was cut stands beside it.
    fn value(&self) -> (Value<'static>, bool) {
        match self {
            Self::Text(text) => value_of(&Json::String((*text).to_owned())),
            Self::Json(json) => value_of(json),
        }
    }

    fn shaped(&self, shape: Shape) -> Option<Value<'static>> {
        let text = self.text();
        let text = text.trim();
        match shape {
            Shape::Int => text.parse().ok().map(Value::Int),
            Shape::Float => text.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Float),
            Shape::Bool => text.parse().ok().map(Value::Bool),
            Shape::Text => Some(value_of(&Json::String(text.to_owned())).0),
        }
    }
}

impl Rule {
    /// The same rule, knowing which inputs it is for: texts with a pattern, JSON with pointers, both with neither.
    pub(super) fn with_inputs(mut self) -> Self {
        let source = [&self.source.service, &self.source.environment, &self.source.host].into_iter().flatten();
        let single = self.slots.iter().map(|(_, reference)| reference);
        let attributes = self.attributes.iter().map(|attribute| &attribute.from);
        let named = attributes.chain(self.content.iter().map(|(_, reference)| reference));
        let conditions = self.conditions.iter().map(|(reference, _)| reference);
        let others = [
            self.time.as_ref().map(|time| &time.from),
            self.actor.as_ref().and_then(|actor| actor.id.as_ref()),
            self.outcome.as_ref().map(|outcome| &outcome.from),
        ];
        let all = source.chain(single).chain(named).chain(conditions).chain(others.into_iter().flatten());
        let pointers = all.filter(|reference| matches!(reference, Reference::Pointer(_))).count();
        self.is_json_only = pointers > 0;
        self
    }

    /// The event, if it is one for this rule.
    pub(super) fn find<'e>(&self, event: &Event<'e>) -> Option<Found<'e>> {
        if self.source_pattern.as_ref().is_some_and(|pattern| !fits(pattern, event.source)) {
            return None;
        }
        let found = match (event.input, &self.pattern) {
            (Input::Json(_), Some(_)) => return None,
            (Input::Json(json), None) => Found::Json(json),
            (Input::Text(text), Some(pattern)) => Found::Text(text, Some(pattern.captures(text)?)),
            (Input::Text(_), None) if self.is_json_only => return None,
            (Input::Text(text), None) => Found::Text(text, None),
        };
        let holds =
            |(reference, wanted): &(Reference, String)| found.text(reference).is_some_and(|text| fits(wanted, &text));
        self.conditions.iter().all(holds).then_some(found)
    }

    /// The record of an event.
    pub(super) fn draft(&self, found: &Found<'_>, event: &Event<'_>, arrival: &Arrival<'_>) -> Draft {
        let mut problems = Problems::default();
        let time = self.time(found, arrival, &mut problems).or(event.time).unwrap_or(arrival.received);
        let source = self.source.of(found, arrival.source);
        let slot = |wanted: Slot| {
            let reference = self.slots.iter().find(|(slot, _)| *slot == wanted).map(|(_, reference)| reference);
            reference.and_then(|reference| found.text(reference)).filter(|text| !text.is_empty())
        };
        // An event's own identifier is the same whatever file or message brings it to this rule. Another rule's `1` is another event.
        let key = slot(Slot::Key)
            .map(|key| Cow::Owned(format!("mapping/{}/{key}", self.name)))
            .or(event.key.map(Cow::Borrowed));
        let mut draft = Draft::new(arrival.id(key.as_deref()), time, self.kind, Arc::new(source));
        draft.call_id = slot(Slot::CallId).map(|id| id.parse::<Uuid>().unwrap_or_else(|_| join_id("call_id", &id)));
        let mut hex = |name: &str, text: Option<Cow<'_, str>>, digits: usize| {
            let id = text?.replace('-', "").to_ascii_lowercase();
            if !is_hex_id(&id, digits) {
                problems.add(&format!("{name}: {id:?} has not {digits} hexadecimal digits"));
                return None;
            }
            Some(id)
        };
        draft.trace = Trace {
            trace_id: hex("trace_id", slot(Slot::TraceId), 32),
            span_id: hex("span_id", slot(Slot::SpanId), 16),
            parent_span_id: hex("parent_span_id", slot(Slot::ParentSpanId), 16),
        };
        draft.actor = self.actor.as_ref().and_then(|actor| actor.of(found));
        draft.outcome = self.outcome.as_ref().and_then(|outcome| outcome.of(found, &mut problems));
        self.set_attributes(found, &mut draft, &mut problems);
        if let Some(body) = slot(Slot::Body) {
            set_body(&mut draft, &body, BodyPlace::Attribute);
        }
        let original = self.is_original_kept.then_some((ORIGINAL, &Reference::Whole));
        let content = self.content.iter().map(|(name, reference)| (name.as_str(), reference));
        draft.content.extend(content.chain(original).filter_map(|(name, reference)| field(found, name, reference)));
        problems.tell(&mut draft);
        draft
    }

    fn time(&self, found: &Found<'_>, arrival: &Arrival<'_>, problems: &mut Problems) -> Option<Timestamp> {
        let rule = self.time.as_ref()?;
        let text = found.text(&rule.from)?;
        let time = rule.format.read(&text, rule.offset_minutes, arrival.received);
        if time.is_none() {
            problems.add(&format!("time: {:?} is not as {}", cut(&text, 64), rule.format.name()));
        }
        time
    }

    fn set_attributes(&self, found: &Found<'_>, draft: &mut Draft, problems: &mut Problems) {
        let mut bytes = 0;
        for AttributeRule { name, from, shape } in &self.attributes {
            if credentials::is_credential(name) {
                continue;
            }
            let Some(at) = found.at(from) else { continue };
            let (value, was_cut) = match shape {
                Some(shape) => match at.shaped(*shape) {
                    Some(value) => (value, false),
                    None => {
                        problems.add(&format!("{}: it is not of the form that the mapping wants", cut(name, 64)));
                        at.value()
                    }
                },
                None => at.value(),
            };
            let size = name.len() + value.to_json().len();
            if bytes + size > ATTRIBUTES_BYTES_MAX {
                problems
                    .add(&format!("{}: left out, attributes have at most {ATTRIBUTES_BYTES_MAX} bytes", cut(name, 64)));
                continue;
            }
            bytes += size;
            if was_cut {
                problems.add(&format!("{}: cut", cut(name, 64)));
            }
            draft.attributes.set(name.clone(), value);
        }
    }
}

/// A text is kept as it reads, anything else as JSON, without credentials.
fn field(found: &Found<'_>, name: &str, reference: &Reference) -> Option<Field> {
    let (media, bytes) = match found.at(reference)? {
        At::Text("") => return None,
        At::Text(text) => ("text/plain", text.as_bytes().to_vec()),
        At::Json(json) => {
            let json = credentials::removed_from_value(json.clone());
            ("application/json", json.to_string().into_bytes())
        }
    };
    Some(Field { name: name.to_owned(), media: media.to_owned(), bytes })
}

impl Found<'_> {
    /// What stands at a reference; a null is nothing.
    fn at<'f>(&'f self, reference: &'f Reference) -> Option<At<'f>> {
        match (self, reference) {
            (_, Reference::Constant(text)) => Some(At::Text(text)),
            (Self::Json(json), Reference::Whole) => Some(At::of(json)),
            (Self::Json(json), Reference::Pointer(pointer)) => {
                json.pointer(pointer).filter(|json| !json.is_null()).map(At::of)
            }
            (Self::Text(text, _), Reference::Whole) => Some(At::Text(text)),
            (Self::Text(_, Some(captures)), Reference::Group(group)) => {
                captures.get(*group).map(|group| At::Text(group.as_str()))
            }
            (Self::Json(_), Reference::Group(_)) | (Self::Text(..), _) => None,
        }
    }

    /// What stands at a reference, as a text: strings as they read, everything else as its JSON.
    fn text<'f>(&'f self, reference: &'f Reference) -> Option<Cow<'f, str>> {
        self.at(reference).map(|at| at.text())
    }
}

impl ActorRule {
    /// What others say of an actor is taken down as a claim.
    fn of(&self, found: &Found<'_>) -> Option<Actor> {
        let id = match &self.id {
            Some(reference) => {
                let id = found.text(reference).filter(|id| !id.is_empty())?;
                Some(cut(&id, NAME_BYTES_MAX).to_owned())
            }
            None => None,
        };
        Some(Actor { kind: self.kind.clone(), id, auth: Some("claimed".into()), ..Actor::default() })
    }
}

impl OutcomeRule {
    fn of(&self, found: &Found<'_>, problems: &mut Problems) -> Option<Outcome> {
        let said = found.text(&self.from);
        let known = |text: &str| {
            let listed = self.values.iter().find(|(pattern, _)| fits(pattern, text)).map(|(_, outcome)| *outcome);
            listed.or_else(|| text.parse().ok())
        };
        let outcome = said.as_deref().and_then(known).or(self.otherwise);
        if let (None, Some(said)) = (outcome, said) {
            problems.add(&format!("outcome: {:?} is not in the table", cut(&said, 64)));
        }
        outcome
    }
}

impl SourceRule {
    fn of(&self, found: &Found<'_>, unsaid: &Source) -> Source {
        let mut source = unsaid.clone();
        for (reference, slot) in [
            (&self.service, &mut source.service),
            (&self.environment, &mut source.environment),
            (&self.host, &mut source.host),
        ] {
            let said = reference.as_ref().and_then(|reference| found.text(reference)).filter(|said| !said.is_empty());
            if let Some(said) = said {
                cut(&said, NAME_BYTES_MAX).clone_into(slot);
            }
        }
        source
    }
}
