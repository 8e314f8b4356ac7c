//! What of a record counts where.

use std::collections::HashSet;

use record::{CALLS_PRODUCER, Uuid, Value};

use crate::families::{
    AUTH, DECISION_DURATION, DECISIONS, DENIED, DURATION, FIRST_CHUNK, Family, LABELS_MAX, Label, POLICY_FAILURES,
    RECORDS, TOKEN_USAGE, VERDICTS,
};
use crate::tables::{Count, Exemplar, Labels, Spread, Table};
use crate::told::{Told, number, text};
use crate::words::{ABSENT, Newcomer, Word, Words};

/// Streamed calls under way that are remembered; of those beyond, the time to the first chunk is not counted.
const STREAMS_MAX: usize = 65_536;

/// Everything that is counted.
pub(crate) struct Counts {
    pub(crate) words: Words,
    pub(crate) duration: Table<Spread>,
    pub(crate) first_chunk: Table<Spread>,
    pub(crate) token_usage: Table<Spread>,
    pub(crate) decision_duration: Table<Spread>,
    pub(crate) records: Table<Count>,
    pub(crate) denied: Table<Count>,
    pub(crate) verdicts: Table<Count>,
    pub(crate) decisions: Table<Count>,
    pub(crate) policy_failures: Table<Count>,
    pub(crate) auth: Table<Count>,
    /// Records that could not be read.
    pub(crate) unread: u64,
    /// Calls of the gateway that asked for a stream and have not ended: only the request says so.
    streams: HashSet<Uuid>,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            words: Words::default(),
            duration: Table::of(&DURATION),
            first_chunk: Table::of(&FIRST_CHUNK),
            token_usage: Table::of(&TOKEN_USAGE),
            decision_duration: Table::of(&DECISION_DURATION),
            records: Table::of(&RECORDS),
            denied: Table::of(&DENIED),
            verdicts: Table::of(&VERDICTS),
            decisions: Table::of(&DECISIONS),
            policy_failures: Table::of(&POLICY_FAILURES),
            auth: Table::of(&AUTH),
            unread: 0,
            streams: HashSet::new(),
        }
    }
}

/// Which call a record tells of, for exemplars.
#[derive(Clone, Copy)]
struct OfCall {
    call: Option<Uuid>,
    micros: i64,
}

impl OfCall {
    fn with(self, value: f64) -> Option<Exemplar> {
        Some(Exemplar { call: self.call?, value, micros: self.micros })
    }
}

impl Counts {
    /// Counts a record by its leaf.
    pub(crate) fn take_in(&mut self, leaf: &[u8]) {
        let Some(told) = Told::read(leaf) else {
            self.unread += 1;
            return;
        };
        let labels = self.labels(&RECORDS, &told, &[]);
        self.records.add(labels, None);
        match told.kind.as_ref() {
            "inference.request" => self.request(&told),
            "inference.response" | "tool.call" => self.ending(&told),
            "policy.decision" => self.judged(&told, "elsewhere", OfCall::of(&told)),
            "auth" => {
                let labels = self.labels(&AUTH, &told, &[]);
                self.auth.add(labels, None);
            }
            _ => {}
        }
    }

    fn request(&mut self, told: &Told<'_>) {
        let of = OfCall::of(told);
        if told.outcome() == "denied" {
            let labels = self.labels(&DENIED, told, &[]);
            self.denied.add(labels, of.with(1.0));
        } else if told.source.producer == CALLS_PRODUCER
            && told.attributes.stream == Some(Value::Bool(true))
            && self.streams.len() < STREAMS_MAX
        {
            self.streams.extend(of.call);
        }
        self.judged(told, "request", of);
    }

    /// A call or a tool has ended, however it did.
    fn ending(&mut self, told: &Told<'_>) {
        let (of, facts) = (OfCall::of(told), &told.attributes);
        // The other two families have these labels and one more: looked up once, since this is most of the work.
        let call = self.labels(&FIRST_CHUNK, told, &[]);
        if let Some(seconds) = seconds(facts.duration_ms.as_ref()) {
            let error = self.words.number(Label::ErrorType, error(told), Newcomer::Welcome);
            self.duration.add(and_last(call, error), seconds, of.with(seconds));
        }
        // Others tell of a first chunk where there is a stream; the gateway does of every answer.
        let is_stream = match of.call.filter(|_| told.source.producer == CALLS_PRODUCER) {
            Some(call) => self.streams.remove(&call),
            None => told.source.producer != CALLS_PRODUCER,
        };
        if let Some(seconds) = seconds(facts.first_chunk_ms.as_ref()).filter(|_| is_stream) {
            self.first_chunk.add(call, seconds, of.with(seconds));
        }
        for (word, tokens) in [("input", &facts.input_tokens), ("output", &facts.output_tokens)] {
            if let Some(tokens) = number(tokens.as_ref()) {
                let word = self.words.number(Label::TokenType, word, Newcomer::Welcome);
                self.token_usage.add(and_last(call, word), tokens, of.with(tokens));
            }
        }
        self.judged(told, "response", of);
    }

    /// What guardrails and policy said, `point` being what they said it of.
    fn judged(&mut self, told: &Told<'_>, point: &'static str, of: OfCall) {
        let facts = &told.attributes;
        for (check, action) in verdicts(facts.verdicts.as_ref(), facts.passed.as_ref()) {
            let more = [(Label::Point, point), (Label::Check, check), (Label::Action, action)];
            let labels = self.labels(&VERDICTS, told, &more);
            self.verdicts.add(labels, of.with(1.0));
        }
        let took = number(facts.policy_us.as_ref()).map(|micros| micros / 1e6);
        if took.is_some() || told.kind == "policy.decision" {
            let labels = self.labels(&DECISIONS, told, &[(Label::Point, point)]);
            self.decisions.add(labels, of.with(1.0));
        }
        if let Some(seconds) = took {
            let labels = self.labels(&DECISION_DURATION, told, &[(Label::Point, point)]);
            self.decision_duration.add(labels, seconds, of.with(seconds));
        }
        if facts.policy_error.is_some() {
            let labels = self.labels(&POLICY_FAILURES, told, &[(Label::Point, point)]);
            self.policy_failures.add(labels, of.with(1.0));
        }
    }

    /// The labels of a record in a family; those that it does not say itself stand in `more`.
    fn labels(&mut self, family: &Family, told: &Told<'_>, more: &[(Label, &str)]) -> Labels {
        let facts = &told.attributes;
        // Anybody may ask for a model that does not exist: only one that has answered gets a name of its own.
        let proven =
            if told.outcome() == "completed" || told.kind == "auth" { Newcomer::Welcome } else { Newcomer::Unproven };
        let mut labels = [ABSENT; LABELS_MAX];
        for (slot, label) in labels.iter_mut().zip(family.labels) {
            let (said, newcomer) = match label {
                Label::Environment => (told.source.environment.as_ref(), Newcomer::Welcome),
                Label::Service => (told.source.service.as_ref(), Newcomer::Welcome),
                Label::Producer => (told.source.producer.as_ref(), Newcomer::Welcome),
                Label::Kind => (told.kind.as_ref(), Newcomer::Welcome),
                Label::Outcome => (told.outcome(), Newcomer::Welcome),
                Label::Operation => (text(facts.operation.as_ref()), Newcomer::Welcome),
                Label::Provider => (text(facts.provider.as_ref()), Newcomer::Welcome),
                Label::RequestModel => (text(facts.request_model.as_ref()), proven),
                Label::ResponseModel => (text(facts.response_model.as_ref()), proven),
                Label::ErrorType => (error(told), Newcomer::Welcome),
                Label::Event => (text(facts.event.as_ref()), Newcomer::Welcome),
                Label::Decision => (text(facts.decision.as_ref()), Newcomer::Welcome),
                Label::TokenType | Label::Point | Label::Check | Label::Action | Label::Version => {
                    let said = more.iter().find(|(of, _)| of == label).map_or("", |(_, text)| *text);
                    (said, Newcomer::Welcome)
                }
            };
            *slot = self.words.number(*label, said, newcomer);
        }
        labels
    }
}

impl OfCall {
    fn of(told: &Told<'_>) -> Self {
        Self { call: told.call(), micros: told.received().unwrap_or(0) }
    }
}

/// Labels with one more in the last place.
const fn and_last(mut labels: Labels, word: Word) -> Labels {
    let [.., last] = &mut labels;
    *last = word;
    labels
}

/// What went wrong; where nobody says what, how it ended.
fn error<'t>(told: &'t Told<'_>) -> &'t str {
    match (text(told.attributes.error_type.as_ref()), told.outcome()) {
        ("", outcome @ ("blocked" | "failed" | "aborted" | "interrupted")) => outcome,
        (said, _) => said,
    }
}

fn seconds(milliseconds: Option<&Value<'_>>) -> Option<f64> {
    number(milliseconds).map(|milliseconds| milliseconds / 1e3)
}

/// The checks and what they said.
fn verdicts<'v>(
    said: Option<&'v Value<'_>>,
    passed: Option<&'v Value<'_>>,
) -> impl Iterator<Item = (&'v str, &'v str)> {
    let said = items(said).filter_map(|verdict| match verdict {
        Value::Map(members) => {
            let member = |name: &str| text(members.iter().find(|(key, _)| key == name).map(|(_, value)| value));
            Some((member("check"), member("action")))
        }
        _ => None,
    });
    said.chain(items(passed).map(|check| (text(Some(check)), "pass")))
}

fn items<'v, 'a>(list: Option<&'v Value<'a>>) -> impl Iterator<Item = &'v Value<'a>> {
    let items = match list {
        Some(Value::List(items)) => items.as_slice(),
        _ => &[],
    };
    items.iter()
}

#[cfg(test)]
mod tests;
