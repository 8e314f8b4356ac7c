//! What the records of a call say.

use std::net::IpAddr;
use std::sync::Arc;

use access::{Identity, Method as Shown};
use control::RouteName;
use guardrails::Verdict;
use http::header::USER_AGENT;
use http::{HeaderMap, Method};
use record::{
    Actor, Attributes, Draft, Field, FingerprintKey, Kind, Outcome, Source, Timestamp, Trace, Uuid, Value,
    content_names, uuid_v7,
};
use world::World;

use crate::judging::Judgement;
use crate::openai::completion::Completion;
use crate::openai::events::EventReader;
use crate::openai::refusal::Refusal;
use crate::openai::request::ChatRequest;
use crate::routing::{Chosen, Way, conversation};
use crate::rules::outcome;

/// The reason of every decision where nobody has set up a policy.
const NO_POLICY: &str = "no policy is configured: every call is allowed";

/// The longest claimed user name that is taken over.
const USER_BYTES_MAX: usize = 256;

/// Headers in which credentials come.
pub(crate) const CREDENTIAL_HEADERS: [&str; 5] =
    ["authorization", "api-key", "x-api-key", "x-goog-api-key", "x-auth-token"];

/// What stays the same for all records of one call.
pub(crate) struct CallFacts {
    pub(crate) call: Uuid,
    source: Arc<Source>,
    actor: Actor,
    trace: Trace,
    /// The operation and the model, which stand in both records so that either can be searched by them.
    common: Attributes<'static>,
}

/// Where and how a call came in.
pub(crate) struct Arrival {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) peer: IpAddr,
    /// Who calls.
    pub(crate) identity: Arc<Identity>,
}

/// How a call ended.
pub(crate) struct Ending {
    pub(crate) outcome: Outcome,
    pub(crate) status: Option<u16>,
    pub(crate) error: Option<String>,
    pub(crate) duration_ms: f64,
    pub(crate) first_chunk_ms: Option<f64>,
    pub(crate) said: Said,
    /// What guardrails and policy said of the answer.
    pub(crate) judgement: Judgement,
}

/// What the model server said.
pub(crate) enum Said {
    /// An answer of the protocol, or a part of one.
    Answer(Completion),
    /// Something else, byte for byte: an error, a list of models, garbage.
    Other { media: String, bytes: Vec<u8> },
}

impl Said {
    /// What a stream has held so far.
    pub(crate) fn of_stream(reader: EventReader) -> Self {
        if reader.completion.is_empty() {
            return Self::Other { media: "text/event-stream".into(), bytes: reader.garbage().to_vec() };
        }
        Self::Answer(reader.completion)
    }
}

impl CallFacts {
    pub(crate) fn new(
        call: Uuid,
        source: Arc<Source>,
        key: &FingerprintKey,
        arrival: &Arrival,
        operation: &'static str,
        request: Option<&ChatRequest>,
    ) -> Self {
        let mut common = Attributes::default();
        common.set("gen_ai.operation.name", operation);
        if let Some(request) = request {
            common.set_text("gen_ai.request.model", &request.model);
            if let Some(conversation) = conversation(&arrival.headers, request) {
                common.set_text("gen_ai.conversation.id", &conversation);
            }
            if let (true, Some(user)) = (arrival.identity.method != Shown::Anonymous, claimed_user(request)) {
                common.set_text("user.id", &user);
            }
        }
        Self { call, source, actor: actor(key, arrival, request), trace: trace(&arrival.headers), common }
    }

    /// The model that was asked for.
    pub(crate) fn model(&self) -> Option<&str> {
        match self.common.value("gen_ai.request.model") {
            Some(Value::Text(model)) => Some(model),
            _ => None,
        }
    }

    /// Notes the route that the call asks for, and, once it is chosen, the version that it gets.
    pub(crate) fn note_route(&mut self, asked: Option<&RouteName>, way: Option<&Way>) {
        if let Some(asked) = asked {
            self.common.set("testimony.route", asked.as_str().to_owned());
        }
        let Some(way) = way else { return };
        let Some(Chosen { route, version, model, is_by_policy }) = &way.chosen else { return };
        for (name, text) in [
            ("testimony.route", route.as_str()),
            ("testimony.route.version", version.as_str()),
            ("testimony.route.model", model.as_str()),
            ("testimony.upstream", way.name().as_str()),
        ] {
            self.common.set(name, text.to_owned());
        }
        if *is_by_policy {
            self.common.set("testimony.route.by", "policy");
            self.common.set("testimony.route.asked", asked.map_or("", RouteName::as_str).to_owned());
        }
    }

    fn draft(&self, world: &World, kind: Kind, outcome: Outcome) -> Draft {
        let time = now(world);
        let mut draft = Draft::new(uuid_v7(time, &world.entropy.bytes()), time, kind, self.source.clone());
        draft.actor = Some(self.actor.clone());
        draft.trace = self.trace.clone();
        draft.call_id = Some(self.call);
        draft.outcome = Some(outcome);
        draft.attributes = self.common.clone();
        draft
    }

    /// The record of a call that is about to go to the model server.
    pub(crate) fn request(
        &self,
        world: &World,
        arrival: &Arrival,
        way: &Way,
        request: Option<(&ChatRequest, &Judgement)>,
    ) -> Draft {
        let mut draft = self.draft(world, Kind::InferenceRequest, Outcome::Allowed);
        set_arrival(&mut draft.attributes, arrival);
        draft.attributes.set("server.address", way.upstream.host().to_owned());
        draft.attributes.set("server.port", way.upstream.port());
        match request {
            Some((request, judgement)) => {
                set_request(&mut draft, request);
                set_judgement(&mut draft.attributes, judgement);
                if judgement.ruling.is_none() {
                    set_decision(&mut draft.attributes, "allow", NO_POLICY);
                }
            }
            None => set_decision(&mut draft.attributes, "allow", NO_POLICY),
        }
        set_standing(&mut draft.attributes, &arrival.identity);
        draft
    }

    /// The record of a call that guardrails or a policy did not let pass. What a guardrail withheld is not in it.
    pub(crate) fn judged(
        &self,
        world: &World,
        arrival: &Arrival,
        refusal: &Refusal,
        request: Option<&ChatRequest>,
        judgement: &Judgement,
    ) -> Draft {
        let mut draft = self.denied(world, arrival, refusal, &[]);
        if let Some(request) = request {
            set_request(&mut draft, request);
        }
        set_judgement(&mut draft.attributes, judgement);
        set_standing(&mut draft.attributes, &arrival.identity);
        draft
    }

    /// The record of a call that goes nowhere.
    pub(crate) fn denied(&self, world: &World, arrival: &Arrival, refusal: &Refusal, body: &[u8]) -> Draft {
        let mut draft = self.draft(world, Kind::InferenceRequest, Outcome::Denied);
        set_arrival(&mut draft.attributes, arrival);
        set_decision(&mut draft.attributes, "deny", &refusal.message);
        draft.attributes.set("error.type", refusal.code);
        draft.attributes.set("http.response.status_code", refusal.status.as_u16());
        if !body.is_empty() {
            let media = arrival.headers.get("content-type").and_then(|value| value.to_str().ok());
            draft.content.push(field(
                content_names::REQUEST_BODY,
                media.unwrap_or("application/octet-stream"),
                body.to_vec(),
            ));
        }
        draft
    }

    /// The record of how a call ended.
    pub(crate) fn response(&self, world: &World, ending: &Ending) -> Draft {
        let mut draft = self.draft(world, Kind::InferenceResponse, ending.outcome);
        let attributes = &mut draft.attributes;
        attributes.set("testimony.duration_ms", ending.duration_ms);
        if let Some(milliseconds) = ending.first_chunk_ms {
            attributes.set("testimony.first_chunk_ms", milliseconds);
        }
        if let Some(status) = ending.status {
            attributes.set("http.response.status_code", status);
        }
        if let Some(error) = &ending.error {
            attributes.set_text("error.type", error);
        }
        set_judgement(&mut draft.attributes, &ending.judgement);
        set_said(&mut draft, &ending.said);
        draft
    }
}

/// Adds what was said to the record of how a call ended.
pub(crate) fn set_said(draft: &mut Draft, said: &Said) {
    match said {
        Said::Answer(completion) => {
            set_completion(&mut draft.attributes, completion);
            if !completion.is_empty() {
                draft.content.push(json_field(content_names::OUTPUT, completion.messages().into_bytes()));
            }
        }
        Said::Other { media, bytes } if !bytes.is_empty() => {
            draft.content.push(field(content_names::RESPONSE_BODY, media, bytes.clone()));
        }
        Said::Other { .. } => {}
    }
}

pub(crate) fn now(world: &World) -> Timestamp {
    Timestamp::from_micros(world.clock.now_micros())
}

fn field(name: &str, media: &str, bytes: Vec<u8>) -> Field {
    let media = media.chars().take(128).collect();
    Field { name: name.to_owned(), media, bytes }
}

fn json_field(name: &str, bytes: Vec<u8>) -> Field {
    field(name, "application/json", bytes)
}

/// Whoever has shown who they are is that. Of anybody else, what they say of themselves is taken down as a claim, and a credential
/// that is none of ours as a fingerprint.
fn actor(key: &FingerprintKey, arrival: &Arrival, request: Option<&ChatRequest>) -> Actor {
    let credential = CREDENTIAL_HEADERS.iter().find_map(|name| arrival.headers.get(*name));
    let fingerprint = credential.map(|value| {
        let bytes = value.as_bytes();
        let token = if bytes.len() > 7 && bytes[..7].eq_ignore_ascii_case(b"bearer ") { &bytes[7..] } else { bytes };
        key.fingerprint(token)
    });
    if arrival.identity.method != Shown::Anonymous {
        return arrival.identity.actor(Some(arrival.peer), fingerprint);
    }
    let claimed = request.and_then(claimed_user);
    let (kind, id, auth) = match (claimed, &fingerprint) {
        (Some(user), _) => ("user", Some(user), Some("claimed")),
        (None, Some(fingerprint)) => ("credential", Some(fingerprint.clone()), Some("unverified")),
        (None, None) => ("anonymous", None, None),
    };
    Actor {
        kind: kind.to_owned(),
        id,
        groups: Vec::new(),
        auth: auth.map(str::to_owned),
        ip: Some(arrival.peer.to_canonical().to_string()),
        fingerprint,
    }
}

/// On whose behalf a caller says that it calls.
fn claimed_user(request: &ChatRequest) -> Option<String> {
    let claimed = request.member::<String>("user");
    claimed.filter(|user| !user.is_empty() && user.len() <= USER_BYTES_MAX)
}

/// The trace that a caller names.
fn trace(headers: &HeaderMap) -> Trace {
    let named = headers.get("traceparent").and_then(|value| value.to_str().ok());
    named.and_then(Trace::of_traceparent).unwrap_or_default()
}

fn set_arrival(attributes: &mut Attributes<'static>, arrival: &Arrival) {
    attributes.set_text("http.request.method", arrival.method.as_str());
    attributes.set_text("url.path", &arrival.path);
    if let Some(agent) = arrival.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()) {
        attributes.set_text("user_agent.original", agent);
    }
}

/// What a request holds, for its record.
fn set_request(draft: &mut Draft, request: &ChatRequest) {
    set_parameters(&mut draft.attributes, request);
    draft.content.push(json_field(content_names::INPUT, request.messages().as_bytes().to_vec()));
    draft.content.push(json_field(content_names::PARAMETERS, request.parameters().into_bytes()));
}

/// The role that a policy was told of.
fn set_standing(attributes: &mut Attributes<'static>, identity: &Identity) {
    if let Some(grant) = identity.grants.first() {
        attributes.set("testimony.actor.role", grant.role.as_str());
    }
}

/// What was decided, by which policy, and what the guardrails said.
fn set_judgement(attributes: &mut Attributes<'static>, judgement: &Judgement) {
    let (passed, others): (Vec<&Verdict>, Vec<&Verdict>) = judgement.verdicts.iter().partition(|one| says_nothing(one));
    if !passed.is_empty() {
        let checks = passed.iter().map(|verdict| Value::from(verdict.check));
        attributes.set("testimony.guardrails.passed", Value::List(checks.collect()));
    }
    if !others.is_empty() {
        attributes.set("testimony.guardrails", Value::List(others.into_iter().map(verdict).collect()));
    }
    let Some(ruling) = &judgement.ruling else { return };
    let decision = &ruling.decision;
    attributes.set("testimony.decision", if decision.allow { "allow" } else { "deny" });
    attributes.set("testimony.decision.reasons", texts(&decision.reasons));
    for (name, text) in [
        ("testimony.policy.digest", &ruling.digest),
        ("testimony.policy.revision", &ruling.revision),
        ("testimony.policy.decision_id", &ruling.decision_id),
    ] {
        if !text.is_empty() {
            attributes.set_text(name, text);
        }
    }
    attributes.set("testimony.policy.rules", texts(&decision.rules));
    attributes.set("testimony.policy.duration_us", ruling.duration_us);
    let obligations = decision.obligations.iter().filter_map(|one| serde_json::to_string(one).ok());
    let obligations: Vec<String> = obligations.collect();
    if !obligations.is_empty() {
        attributes.set("testimony.policy.obligations", texts(&obligations));
    }
    if let Some(error) = &decision.error {
        attributes.set_text("testimony.policy.error", error);
        attributes.set("testimony.policy.let_pass", ruling.is_let_pass);
    }
}

/// Whether there is no more to a verdict than that its check let the text pass.
fn says_nothing(verdict: &Verdict) -> bool {
    verdict.action == guardrails::Outcome::Pass && verdict.findings == 0 && verdict.score <= 0.0
}

fn verdict(verdict: &Verdict) -> Value<'static> {
    let named = |name: &'static str, value: Value<'static>| (name.into(), value);
    let mut members = vec![
        named("action", outcome(verdict).into()),
        named("check", verdict.check.into()),
        named("score", f64::from(verdict.score).into()),
    ];
    if verdict.findings > 0 {
        members.push(named("explanation", Value::cut(&verdict.explanation)));
        members.push(named("findings", Value::Int(i64::try_from(verdict.findings).unwrap_or(i64::MAX))));
        members.push(named("rules", texts(&verdict.rules)));
    }
    Value::Map(members)
}

fn texts(texts: &[impl AsRef<str>]) -> Value<'static> {
    Value::List(texts.iter().take(64).map(|text| Value::cut(text.as_ref())).collect())
}

fn set_decision(attributes: &mut Attributes<'static>, decision: &'static str, reason: &str) {
    attributes.set("testimony.decision", decision);
    attributes.set("testimony.decision.reasons", Value::List(vec![Value::cut(reason)]));
}

fn set_parameters(attributes: &mut Attributes<'static>, request: &ChatRequest) {
    attributes.set("gen_ai.request.stream", request.stream());
    for (member, name) in [
        ("temperature", "gen_ai.request.temperature"),
        ("top_p", "gen_ai.request.top_p"),
        ("frequency_penalty", "gen_ai.request.frequency_penalty"),
        ("presence_penalty", "gen_ai.request.presence_penalty"),
    ] {
        if let Some(number) = request.member::<f64>(member) {
            attributes.set(name, number);
        }
    }
    for (member, name) in [
        ("max_tokens", "gen_ai.request.max_tokens"),
        ("max_completion_tokens", "gen_ai.request.max_tokens"),
        ("seed", "gen_ai.request.seed"),
        ("n", "gen_ai.request.choice.count"),
    ] {
        if let Some(number) = request.member::<i64>(member) {
            attributes.set(name, number);
        }
    }
}

fn set_completion(attributes: &mut Attributes<'static>, completion: &Completion) {
    for (name, text) in [
        ("gen_ai.response.id", &completion.id),
        ("gen_ai.response.model", &completion.model),
        ("openai.response.system_fingerprint", &completion.system_fingerprint),
    ] {
        if let Some(text) = text {
            attributes.set_text(name, text);
        }
    }
    for (name, tokens) in [
        ("gen_ai.usage.input_tokens", completion.input_tokens),
        ("gen_ai.usage.output_tokens", completion.output_tokens),
    ] {
        if let Some(tokens) = tokens {
            attributes.set(name, tokens);
        }
    }
    let reasons: Vec<Value<'static>> = completion
        .finish_reasons()
        .into_iter()
        .take(16)
        .map(|reason| Value::Text(reason.chars().take(64).collect::<String>().into()))
        .collect();
    if !reasons.is_empty() {
        attributes.set("gen_ai.response.finish_reasons", Value::List(reasons));
    }
}
