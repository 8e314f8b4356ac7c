//! From spans and log records to drafts: what they say of calls of models and of tools, and of evaluations, under whichever names.
//!
//! ```text
//! attributes ──credentials left out, current names──▶ Facts ──▶ sheets ──▶ drafts
//! ```
//!
//! | file | what is in it |
//! |---|---|
//! | `names` | older and other names, and what is content |
//! | `facts` | attributes under their current names |
//! | `messages` | messages from numbered attributes and from events |
//! | `place` | where records are from and who did it |
//! | `span`, `log` | what becomes of one of them |
//! | `sheet` | a draft that is being filled in, within a leaf's limits |

mod facts;
mod log;
mod messages;
mod names;
mod place;
mod sheet;
mod span;

use std::collections::HashMap;

use record::{Draft, Timestamp, Trace, Uuid, Value, once_id};

use super::model::Origin;
use super::{DRAFTS_BYTES_MAX, Options, Rejected};
use crate::Arrival;
use facts::Facts;
use log::Gathered;
use place::Place;
use sheet::Sheet;

/// What a draft takes beside its texts, in bytes.
const DRAFT_BYTES: usize = 256;

/// The call that a span is, from its identifiers alone, so that its span and its events meet whichever comes first and whoever sends them.
#[must_use]
pub fn call_id(trace_id: &str, span_id: &str) -> Uuid {
    once_id("otlp/call", &format!("{trace_id}/{span_id}"))
}

/// A request that is being read.
pub(super) struct Reading<'r> {
    arrival: &'r Arrival<'r>,
    options: Options,
    place: Result<Place, Rejected>,
    events: Vec<Result<Vec<Draft>, Rejected>>,
    /// What all drafts take so far.
    bytes: usize,
    /// Events of one message each, by the call they belong to.
    gathered: Gathered,
    /// How often something without an identity of its own has come in this request: what is said twice happened twice.
    seen: HashMap<Uuid, u32>,
}

/// When something happened.
#[derive(Clone, Copy)]
struct Times {
    start: Timestamp,
    end: Timestamp,
    duration_ms: Option<f64>,
}

/// What all records of one span or event have in common.
struct Subject<'s> {
    arrival: &'s Arrival<'s>,
    place: &'s Place,
    trace: Trace,
    call_id: Option<Uuid>,
    /// What its keys begin with; without it a record has no key.
    key: Option<String>,
}

impl<'r> Reading<'r> {
    pub(super) fn new(arrival: &'r Arrival<'r>, options: Options) -> Self {
        let place = Place::of(Origin::default(), arrival);
        let (events, gathered, seen) = (Vec::new(), Gathered::default(), HashMap::new());
        Self { arrival, options, place: Ok(place), events, bytes: 0, gathered, seen }
    }

    /// Says where what follows is from.
    pub(super) fn comes_from(&mut self, origin: Result<Origin<'_>, Rejected>) {
        self.place = origin.map(|origin| Place::of(origin, self.arrival));
    }

    pub(super) fn span(&mut self, span: Result<super::model::Span<'_>, Rejected>) {
        let drafts = span.and_then(|span| {
            let place = self.place.as_ref().map_err(Clone::clone)?;
            span::drafts(span, self.arrival, place, self.options)
        });
        self.keep(drafts);
    }

    pub(super) fn log_record(&mut self, log: Result<super::model::LogRecord<'_>, Rejected>) {
        let nth = self.events.len();
        let drafts = log.and_then(|log| {
            let place = self.place.as_ref().map_err(Clone::clone)?;
            match log::read(log, self.arrival, place, self.options, &mut self.seen) {
                log::Read::Drafts(drafts) => Ok(drafts),
                log::Read::Message(message) => {
                    self.gathered.push(nth, *message, place);
                    Ok(Vec::new())
                }
            }
        });
        self.keep(drafts);
    }

    /// The answer for each span or log record.
    pub(super) fn finish(mut self) -> Vec<Result<Vec<Draft>, Rejected>> {
        for (nth, drafts) in std::mem::take(&mut self.gathered).finish(self.arrival) {
            let drafts = self.weighed(drafts);
            if let Some(event) = self.events.get_mut(nth) {
                *event = drafts;
            }
        }
        self.events
    }

    fn keep(&mut self, drafts: Result<Vec<Draft>, Rejected>) {
        let drafts = drafts.and_then(|drafts| self.weighed(drafts));
        self.events.push(drafts);
    }

    fn weighed(&mut self, drafts: Vec<Draft>) -> Result<Vec<Draft>, Rejected> {
        let bytes: usize = drafts.iter().map(weight).sum();
        if self.bytes + bytes > DRAFTS_BYTES_MAX {
            return Err(Rejected::TooMuch);
        }
        self.bytes += bytes;
        Ok(drafts)
    }
}

impl Subject<'_> {
    /// A record of this kind. `part` tells the records of one span or event apart.
    fn sheet(&self, kind: record::Kind, part: &str, time: Timestamp) -> Sheet {
        let key = self.key.as_ref().map(|key| format!("{key}/{part}"));
        let id = self.arrival.id(key.as_deref());
        let mut draft = Draft::new(id, time, kind, self.place.source.clone());
        draft.trace = self.trace.clone();
        draft.call_id = self.call_id;
        draft.actor = self.place.actor.clone();
        let mut sheet = Sheet::new(draft);
        for (name, value) in self.place.attributes.iter() {
            sheet.attribute(name, value.clone());
        }
        sheet
    }
}

impl Times {
    /// `start` and `end` in nanoseconds since the Unix epoch. What is not known is when it came in, or the other of the two.
    fn new(start: u64, end: u64, arrival: &Arrival<'_>) -> Self {
        let moment = |nanos: u64| Timestamp::from_micros(i64::try_from(nanos / 1_000).unwrap_or(i64::MAX));
        let known = |nanos: u64, other: u64| match (nanos, other) {
            (0, 0) => arrival.received,
            (0, other) => moment(other),
            (nanos, _) => moment(nanos),
        };
        let nanos = end.checked_sub(start).filter(|_| start > 0);
        Self { start: known(start, end), end: known(end, start), duration_ms: nanos.map(milliseconds) }
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a century fit")]
fn milliseconds(nanos: u64) -> f64 {
    (nanos / 1_000) as f64 / 1_000.0
}

/// What a draft takes, in bytes.
fn weight(draft: &Draft) -> usize {
    let attributes: usize = draft.attributes.iter().map(|(name, value)| name.len() + size(value)).sum();
    let content: usize = draft.content.iter().map(|field| field.name.len() + field.bytes.len()).sum();
    DRAFT_BYTES + attributes + content
}

fn size(value: &Value<'_>) -> usize {
    let inner: usize = match value {
        Value::Text(text) => text.len(),
        Value::List(items) => items.iter().map(size).sum(),
        Value::Map(entries) => entries.iter().map(|(name, value)| name.len() + size(value)).sum(),
        _ => 0,
    };
    inner + size_of::<Value<'_>>()
}

/// Whoever did something, as the sender says, where it does.
fn take_actor(facts: &mut Facts<'_>) -> Option<record::Actor> {
    facts.take_text("user.id").filter(|user| !user.is_empty()).map(|user| place::user(&user))
}
