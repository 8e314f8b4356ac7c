//! A call that another system tells of, as the drafts of its records: named like the gateway's own, so that the same columns find them.

use std::net::IpAddr;
use std::sync::Arc;

use record::{Actor, Attributes, Draft, Field, Kind, Outcome, Source, Timestamp, Trace, Uuid, is_hex_id};

use super::Origin;
use super::members::{cut, milliseconds, set};
use crate::Arrival;

/// What the other system kept beside a call, under no name that we know.
pub(super) const METADATA: &str = "testimony.imported.metadata";

/// What all records of one call or event have in common.
pub(super) struct Told {
    origin: Origin,
    /// What the other system calls it; the same whenever it is told.
    key: String,
    /// Its environment, if it has one of its own.
    pub(super) environment: Option<String>,
    pub(super) actor: Option<Actor>,
    pub(super) trace: Trace,
    pub(super) attributes: Attributes<'static>,
}

/// A call of a model.
pub(super) struct Call {
    pub(super) told: Told,
    pub(super) times: Times,
    /// What was asked; nothing where only the answer is known.
    pub(super) asked: Option<Part>,
    /// How it ended; nothing where that is not known.
    pub(super) said: Option<(Outcome, Part)>,
}

/// When a call was what.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Times {
    pub(super) started: Option<Timestamp>,
    pub(super) first_chunk: Option<Timestamp>,
    pub(super) ended: Option<Timestamp>,
}

/// What one record of a call has for itself.
#[derive(Default)]
pub(super) struct Part {
    pub(super) attributes: Attributes<'static>,
    pub(super) content: Vec<Field>,
}

impl Told {
    /// Something told of by `origin`, which calls it `key`.
    pub(super) fn new(origin: Origin, key: String) -> Self {
        let mut attributes = Attributes::default();
        attributes.set("testimony.imported.from", origin.as_str());
        Self { origin, key, environment: None, actor: None, trace: Trace::default(), attributes }
    }

    /// The call that its records belong to.
    pub(super) fn call_id(&self, arrival: &Arrival<'_>) -> Uuid {
        call_id(self.origin, &self.key, arrival)
    }

    /// A record of it. Where no time is told, that of the import stands, and is marked.
    pub(super) fn draft(&self, arrival: &Arrival<'_>, kind: Kind, what: &str, time: Option<Timestamp>) -> Draft {
        let id = arrival.id(Some(&format!("{}/{}/{what}", self.origin.as_str(), self.key)));
        let mut source = arrival.source.clone();
        if let Some(environment) = &self.environment {
            source.environment.clone_from(environment);
        }
        let mut draft = Draft::new(id, time.unwrap_or(arrival.received), kind, Arc::<Source>::new(source));
        draft.actor.clone_from(&self.actor);
        draft.trace = self.trace.clone();
        draft.attributes = self.attributes.clone();
        if time.is_none() {
            draft.attributes.set("testimony.imported.time_missing", true);
        }
        draft
    }

    /// Puts it into a trace: as one of W3C Trace Context where the identifiers are, or are UUIDs, and by attributes otherwise.
    pub(super) fn set_trace(&mut self, trace: Option<String>, span: Option<String>, parent: Option<String>) {
        let hex = |id: &str, digits| is_hex_id(id, digits).then(|| id.to_owned());
        if let Some(trace) = trace {
            self.trace.trace_id = hex(&trace, 32).or_else(|| hex(&of_uuid(&trace)?, 32));
            if self.trace.trace_id.as_deref() != Some(&trace) {
                self.attributes.set("testimony.imported.trace_id", trace);
            }
        }
        self.trace.span_id = span.and_then(|span| hex(&span, 16));
        if let Some(parent) = parent {
            self.trace.parent_span_id = hex(&parent, 16);
            if self.trace.parent_span_id.is_none() {
                self.attributes.set("testimony.imported.parent_id", parent);
            }
        }
    }
}

/// The 32 digits of a UUID.
fn of_uuid(text: &str) -> Option<String> {
    let uuid: Uuid = text.parse().ok()?;
    Some(uuid.as_simple().to_string())
}

/// The call of which `origin` tells under `key`.
pub(super) fn call_id(origin: Origin, key: &str, arrival: &Arrival<'_>) -> Uuid {
    arrival.id(Some(&format!("{}/{key}", origin.as_str())))
}

impl Call {
    /// Its records: what was asked, and how it ended, as far as either is known.
    pub(super) fn drafts(self, arrival: &Arrival<'_>) -> Vec<Draft> {
        let Self { told, times, asked, said } = self;
        let call = told.call_id(arrival);
        let mut drafts = Vec::with_capacity(2);
        if let Some(part) = asked {
            let time = times.started.or(times.ended);
            let mut draft = told.draft(arrival, Kind::InferenceRequest, "request", time);
            draft.outcome = Some(Outcome::Allowed);
            if times.started.is_none() && time.is_some() {
                draft.attributes.set("testimony.imported.time_of", "response");
            }
            drafts.push(part.added_to(draft, call));
        }
        if let Some((outcome, mut part)) = said {
            set(&mut part.attributes, "testimony.duration_ms", milliseconds(times.started, times.ended));
            // Systems that saw no stream write the end here.
            let first_chunk = times.first_chunk.filter(|first| times.ended.is_none_or(|ended| *first < ended));
            set(&mut part.attributes, "testimony.first_chunk_ms", milliseconds(times.started, first_chunk));
            let time = times.ended.or(times.started);
            let mut draft = told.draft(arrival, Kind::InferenceResponse, "response", time);
            draft.outcome = Some(outcome);
            drafts.push(part.added_to(draft, call));
        }
        drafts
    }
}

impl Part {
    /// The draft with these attributes and this content, as one of the records of a call.
    pub(super) fn added_to(self, mut draft: Draft, call: Uuid) -> Draft {
        draft.call_id = Some(call);
        for (name, value) in self.attributes {
            draft.attributes.set(name, value);
        }
        for field in self.content {
            // A record has each field once; the first is the one that was looked for first.
            if draft.content.iter().all(|other| other.name != field.name) {
                draft.content.push(field);
            }
        }
        draft
    }
}

/// A user whom the other system names: a claim, as far as we can tell.
pub(super) fn claimed_user(id: Option<String>) -> Option<Actor> {
    let id = id?;
    Some(Actor { kind: "user".into(), id: Some(id), auth: Some("claimed".into()), ..Actor::default() })
}

/// The host and the port of a URL; credentials in it stay behind.
pub(super) fn set_server(attributes: &mut Attributes<'static>, url: &str) {
    let address = record::without_credentials(url);
    let Some((scheme, rest)) = address.split_once("://") else { return };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let is_v6 = |host: &str| host.starts_with('[') && host.ends_with(']');
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if is_v6(host) || !host.contains(':') => (host, port.parse::<u16>().ok()),
        _ => (authority, None),
    };
    if host.is_empty() || host.contains('@') {
        return;
    }
    let default = match scheme {
        "https" => Some(443_u16),
        "http" => Some(80),
        _ => None,
    };
    attributes.set("server.address", cut(host));
    set(attributes, "server.port", port.or(default));
}

/// An address of the internet, if it is one.
pub(super) fn ip(text: &str) -> Option<String> {
    text.trim().parse::<IpAddr>().ok().map(|ip| ip.to_canonical().to_string())
}

/// The operation as OpenTelemetry's GenAI conventions name it.
pub(super) fn operation(called: &str) -> String {
    // LiteLLM's asynchronous calls have an `a` before the name.
    let called = called.to_ascii_lowercase();
    let known = |name: &str| match name {
        "completion" | "chat" | "generation" | "responses" | "anthropic_messages" | "generate_content" => Some("chat"),
        "text_completion" => Some("text_completion"),
        "embedding" | "embeddings" => Some("embeddings"),
        "call_mcp_tool" | "tool" => Some("execute_tool"),
        "retriever" | "vector_store_search" | "search" => Some("retrieval"),
        _ => None,
    };
    let found = known(&called).or_else(|| known(called.strip_prefix('a')?));
    found.map_or_else(|| cut(&called), str::to_owned)
}

/// The provider as OpenTelemetry's GenAI conventions name it.
pub(super) fn provider(called: &str) -> String {
    match called {
        "azure" | "azure_text" => "azure.ai.openai".into(),
        "azure_ai" => "azure.ai.inference".into(),
        "bedrock" | "bedrock_converse" => "aws.bedrock".into(),
        "vertex_ai" | "vertex_ai_beta" => "gcp.vertex_ai".into(),
        "gemini" => "gcp.gemini".into(),
        "mistral" => "mistral_ai".into(),
        "xai" => "x_ai".into(),
        "watsonx" => "ibm.watsonx.ai".into(),
        "text-completion-openai" => "openai".into(),
        other => cut(other),
    }
}
