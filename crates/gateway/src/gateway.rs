//! From an HTTP request to a call, or to a refusal.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use access::{
    Action, Attempt, AuthRecords, Authenticator, Facts, Glob, Identity, Method as Shown, Peer, Target, authorize,
};
use bytes::{Bytes, BytesMut};
use control::RouteName;
use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt as _;
use ledger::{AppendError, Ledger};
use policy::Input;
use record::{Draft, FingerprintKey, Source, Uuid, uuid_v7};
use tokio::sync::{oneshot, watch};
use world::World;

use crate::answer::AnswerBody;
use crate::call::{CALL_HEADER, Call, Client, Outgoing, Rulebook, UnderWay};
use crate::drafts::{Arrival, CREDENTIAL_HEADERS, CallFacts, now};
use crate::interrupted;
use crate::judging::{Judged, JudgedRequest, Occasion, judge_request, kept, withheld};
use crate::openai::refusal::Refusal;
use crate::openai::request::ChatRequest;
use crate::question::{self, Question};
use crate::routing::{RoutesInForce, Upstreams, Way, chosen_by};
use crate::rules::RulesInForce;
use crate::settings::Settings;
use crate::sightings::ModelsSeen;
use crate::spool::Spool;

/// Who may call.
#[derive(Clone)]
pub struct AccessControl {
    /// Says who is calling.
    pub authenticator: Arc<Authenticator>,
    /// Makes the records of refusals.
    pub records: AuthRecords,
    /// The key under which credentials are fingerprinted.
    pub fingerprints: FingerprintKey,
}

/// What is in force by the log: routes, and what stands behind the names of models.
#[derive(Clone)]
pub struct Control {
    /// Which version a call gets that asks for a route.
    pub routes: RoutesInForce,
    /// What answers said until now that they are from.
    pub models: ModelsSeen,
}

/// Why there is no gateway.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The files of calls under way cannot be used.
    #[error("could not use {0}")]
    Spool(PathBuf, #[source] io::Error),
    /// Calls that a stopped process left open could not be recorded.
    #[error("could not record the calls that were interrupted")]
    Interrupted(#[source] AppendError),
}

/// The gateway. Clones are the same gateway, with the same connections to the model servers.
#[derive(Clone)]
pub struct Gateway {
    pub(crate) inner: Arc<Inner>,
    pub(crate) upstreams: Upstreams,
}

pub(crate) struct Inner {
    pub(crate) world: World,
    pub(crate) ledger: Ledger,
    pub(crate) spool: Spool,
    pub(crate) settings: Settings,
    source: Arc<Source>,
    access: AccessControl,
    rules: RulesInForce,
    pub(crate) control: Control,
    /// Whether calls under way are to end now.
    pub(crate) stopping: watch::Sender<bool>,
    /// How many calls are under way.
    pub(crate) under_way: watch::Sender<usize>,
}

const CHAT_PATH: &str = "/v1/chat/completions";
const MODELS_PATH: &str = "/v1/models";

impl Gateway {
    /// A gateway in front of a model server. First, calls that a stopped process left open (`open_calls`) get their
    /// outcome; the number of these is told.
    ///
    /// # Errors
    /// When the files of calls under way cannot be used, or nothing can be recorded.
    pub async fn start(
        world: &World,
        data: &Path,
        ledger: Ledger,
        upstreams: Upstreams,
        (access, rules, control): (AccessControl, RulesInForce, Control),
        settings: Settings,
        open_calls: &[(Uuid, u64)],
    ) -> Result<(Self, usize), GatewayError> {
        let failed = |error| GatewayError::Spool(data.join("inflight"), error);
        let (spool, leftovers) = Spool::open(world.disk.clone(), data).map_err(failed)?;
        let source = Arc::new(settings.source.clone());
        interrupted::record(world, &ledger, &source, open_calls, &leftovers)
            .await
            .map_err(GatewayError::Interrupted)?;
        spool.forget_leftovers().map_err(failed)?;
        let inner = Arc::new(Inner {
            world: world.clone(),
            ledger,
            spool,
            settings,
            source,
            access,
            rules,
            control,
            stopping: watch::Sender::new(false),
            under_way: watch::Sender::new(0),
        });
        Ok((Self { inner, upstreams }, open_calls.len()))
    }

    /// The same gateway with connections of its own to the model servers, for a thread whose calls should not wake another.
    #[must_use]
    pub fn with_own_connections(&self) -> Self {
        Self { inner: self.inner.clone(), upstreams: self.upstreams.with_own_connections() }
    }

    /// Lets calls under way go on for at most `grace`, then ends them; returns when the last one has its outcome.
    pub async fn stop(&self, grace: Duration) {
        let mut under_way = self.inner.under_way.subscribe();
        let done = under_way.wait_for(|calls| *calls == 0);
        if tokio::time::timeout(grace, done).await.is_err() {
            self.inner.stopping.send_replace(true);
            // The sender lives in `self`, so this ends only when the last call has.
            let _ = under_way.wait_for(|calls| *calls == 0).await;
        }
    }

    /// Waits until calls under way are to end.
    pub(crate) async fn stopping(&self) {
        let mut stopping = self.inner.stopping.subscribe();
        // The sender lives in `self`, so the wait cannot fail.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }

    /// Answers a request.
    pub async fn handle<B>(&self, request: Request<B>, peer: &Peer) -> Response<AnswerBody>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        let (parts, body) = request.into_parts();
        let Parts { method, uri, headers, .. } = parts;
        let path = uri.path().to_owned();
        let action = if path == MODELS_PATH { Action::ListModels } else { Action::CallModel };
        let attempt = Attempt { method: method.as_str(), path: &path, peer: peer.address.ip() };
        let identity = match self.admit(action, &headers, peer.certificate.as_deref(), &attempt).await {
            Ok(identity) => identity,
            Err(refused) => return refused,
        };
        let arrival = Arrival { method, path, headers, peer: peer.address.ip(), identity };
        match (arrival.path.as_str(), &arrival.method) {
            (CHAT_PATH, &Method::POST) => self.chat(arrival, body).await,
            (MODELS_PATH, &Method::GET) => self.models(arrival).await,
            (CHAT_PATH, _) => self.wrong_method(&arrival, "POST").await,
            (MODELS_PATH, _) => self.wrong_method(&arrival, "GET").await,
            (path, _) => {
                let message = format!("there is no {path:?} here; this gateway answers {CHAT_PATH} and {MODELS_PATH}");
                self.refuse(&arrival, &Refusal::invalid(StatusCode::NOT_FOUND, "not_found", message), &[]).await
            }
        }
    }

    /// Who calls, if they may call some model or other; which one, the request says.
    async fn admit(
        &self,
        action: Action,
        headers: &HeaderMap,
        certificate: Option<&[u8]>,
        attempt: &Attempt<'_>,
    ) -> Result<Arc<Identity>, Response<AnswerBody>> {
        let inner = &self.inner;
        let now = now(&inner.world);
        let authenticator = &inner.access.authenticator;
        let found = authenticator.authenticate_call(headers, attempt.peer, certificate, now);
        if let Ok(identity) = &found
            && let Some(first) = authenticator.first_use(headers, certificate, identity)
        {
            let draft = inner.access.records.accepted(identity, &first, attempt);
            inner.ledger.append(draft).await.map_err(|error| refused(&Refusal::not_recorded(&error), None))?;
            authenticator.has_recorded(&first);
        }
        let (known, refused_as) = match found {
            Ok(identity) => match authorize(&identity, action, Target::Filtered, now) {
                Ok(()) => return Ok(identity),
                Err(refused) => (Some(identity), refused),
            },
            Err(refused) => (None, refused),
        };
        if refused_as.is_worth_a_record() {
            let draft = inner.access.records.refused(&refused_as, known.as_deref(), attempt);
            if let Err(error) = inner.ledger.append(draft).await {
                return Err(refused(&Refusal::not_recorded(&error), None));
            }
        }
        Err(refused(&Refusal::not_admitted(&refused_as), None))
    }

    async fn chat<B>(&self, arrival: Arrival, body: B) -> Response<AnswerBody>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        if let Err(refusal) = check_headers(&arrival.headers) {
            return self.refuse(&arrival, &refusal, &[]).await;
        }
        let body = match self.read_body(body).await {
            Ok(body) => body,
            Err(refusal) => return self.refuse(&arrival, &refusal, &[]).await,
        };
        let request = ChatRequest::read(body.clone()).and_then(|request| self.check_model(request));
        let request = request.and_then(|request| self.check_scope(&arrival.identity, request));
        let request = match request {
            Ok(request) => request,
            Err(refusal) => return self.refuse(&arrival, &refusal, &body).await,
        };
        let (gateway, under_way) = (self.clone(), UnderWay::begin(self));
        in_a_task(|client| gateway.judge_and_run(arrival, request, under_way, client)).await
    }

    /// Judges a call, and makes it if it may be made. Who judges may take seconds; a client that leaves meanwhile has called all the same.
    async fn judge_and_run(self, arrival: Arrival, request: ChatRequest, under_way: UnderWay, client: Client) {
        let (rules, routes, call) = (self.inner.rules.now(), self.inner.control.routes.now(), self.new_call());
        let asked = routes.named(&request.model).map(|standing| standing.change.route.clone());
        let occasion = Occasion { call, now: now(&self.inner.world) };
        let ask = |request: &ChatRequest, findings| self.question(&arrival, request, asked.as_ref(), findings);
        let seen = (&arrival.headers, routes.as_ref());
        let JudgedRequest { judged, request } = judge_request(&rules, request, seen, occasion, ask).await;
        let Judged { judgement, refusal, question, sent_to, .. } = judged;
        let way = request.as_ref().filter(|_| refusal.is_none()).map(|request| {
            let conversation = chosen_by(&arrival.headers, request, call);
            Way::of(&self.upstreams, &routes, request, sent_to.as_deref(), &conversation)
        });
        let (way, refusal) = match way {
            Some(Ok(way)) => (Some(way), refusal),
            Some(Err(nowhere)) => (None, Some(nowhere)),
            None => (None, refusal),
        };
        let mut facts = self.facts(call, &arrival, "chat", request.as_ref());
        facts.note_route(asked.as_ref(), way.as_ref());
        match (way, request) {
            (Some(way), Some(request)) => {
                let intent = facts.request(&self.inner.world, &arrival, &way, Some((&request, &judgement)));
                let question = question.filter(|_| rules.ask_about_answers());
                let rulebook = Rulebook { rules, question };
                let renamed = way.chosen.as_ref().and_then(|chosen| request.renamed(chosen.model.as_str()));
                let body = renamed.map_or_else(|| request.body().clone(), Bytes::from);
                self.call(arrival, facts, (body, way), Some(rulebook), under_way).run(intent, client).await;
            }
            (_, request) => {
                let refusal = refusal.unwrap_or_else(|| withheld(&judgement.verdicts));
                let draft = facts.judged(&self.inner.world, &arrival, &refusal, request.as_ref(), &judgement);
                let _ = client.send(self.answer_refused(&refusal, facts.call, draft).await);
            }
        }
    }

    /// What the policy is asked about a request.
    fn question(
        &self,
        arrival: &Arrival,
        request: &ChatRequest,
        route: Option<&RouteName>,
        findings: Vec<policy::Finding>,
    ) -> Input {
        let source = &self.inner.source;
        let question = Question {
            actor: question::actor(&arrival.identity, arrival.peer),
            model: Some(&request.model),
            route: route.map(RouteName::as_str),
            environment: Some(&source.environment),
            service: Some(&source.service),
            parameters: &request.parameters(),
            messages: request.messages(),
            output: None,
            findings,
            time: now(&self.inner.world),
        };
        question.input()
    }

    async fn models(&self, arrival: Arrival) -> Response<AnswerBody> {
        let way = match Way::usual(&self.upstreams) {
            Ok(way) => way,
            Err(refusal) => return self.refuse(&arrival, &refusal, &[]).await,
        };
        let facts = self.facts(self.new_call(), &arrival, "list_models", None);
        let intent = facts.request(&self.inner.world, &arrival, &way, None);
        let call = self.call(arrival, facts, (Bytes::new(), way), None, UnderWay::begin(self));
        in_a_task(|client| call.run(intent, client)).await
    }

    fn new_call(&self) -> Uuid {
        uuid_v7(now(&self.inner.world), &self.inner.world.entropy.bytes())
    }

    fn facts(
        &self,
        call: Uuid,
        arrival: &Arrival,
        operation: &'static str,
        request: Option<&ChatRequest>,
    ) -> CallFacts {
        let fingerprints = &self.inner.access.fingerprints;
        CallFacts::new(call, self.inner.source.clone(), fingerprints, arrival, operation, request)
    }

    fn call(
        &self,
        arrival: Arrival,
        facts: CallFacts,
        (body, way): (Bytes, Way),
        rulebook: Option<Rulebook>,
        under_way: UnderWay,
    ) -> Call {
        let headers = forwarded(&arrival);
        let path = arrival.path.strip_prefix("/v1").unwrap_or(&arrival.path).to_owned();
        let outgoing = Outgoing { method: arrival.method, path, headers, body };
        Call::new(self.clone(), facts, (outgoing, way), rulebook, under_way)
    }

    async fn wrong_method(&self, arrival: &Arrival, allowed: &'static str) -> Response<AnswerBody> {
        let message = format!("{} takes {allowed}, not {}", arrival.path, arrival.method);
        let refusal = Refusal::invalid(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
        let mut response = self.refuse(arrival, &refusal, &[]).await;
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        response
    }

    /// Records a refusal, then answers with it.
    async fn refuse(&self, arrival: &Arrival, refusal: &Refusal, body: &[u8]) -> Response<AnswerBody> {
        let operation = if arrival.path == MODELS_PATH { "list_models" } else { "chat" };
        let facts = self.facts(self.new_call(), arrival, operation, None);
        let body = kept(&self.inner.rules.now(), body);
        let draft = facts.denied(&self.inner.world, arrival, refusal, &body);
        self.answer_refused(refusal, facts.call, draft).await
    }

    async fn answer_refused(&self, refusal: &Refusal, call: Uuid, draft: Draft) -> Response<AnswerBody> {
        match self.inner.ledger.append(draft).await {
            Ok(_) => refused(refusal, Some(call)),
            Err(error) => refused(&Refusal::not_recorded(&error), None),
        }
    }

    fn check_model(&self, request: ChatRequest) -> Result<ChatRequest, Refusal> {
        let models = &self.inner.settings.models;
        let is_route = || self.inner.control.routes.now().named(&request.model).is_some();
        if models.is_empty() || models.iter().any(|pattern| pattern.matches(&request.model)) || is_route() {
            return Ok(request);
        }
        let shown: String = request.model.chars().take(100).collect();
        let offered: Vec<&str> = models.iter().map(Glob::as_str).collect();
        let message = format!("the model {shown:?} is not offered here; offered: {}", offered.join(", "));
        Err(Refusal::invalid(StatusCode::NOT_FOUND, "model_not_found", message).param("model"))
    }

    fn check_scope(&self, identity: &Identity, request: ChatRequest) -> Result<ChatRequest, Refusal> {
        let Source { environment, service, .. } = self.inner.source.as_ref();
        let facts = Facts { environment: Some(environment), service: Some(service), model: Some(&request.model) };
        let now = now(&self.inner.world);
        let verdict = authorize(identity, Action::CallModel, Target::One(facts), now);
        match verdict {
            Ok(()) => Ok(request),
            Err(refused) => Err(Refusal::not_admitted(&refused).param("model")),
        }
    }

    async fn read_body<B>(&self, mut body: B) -> Result<Bytes, Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        let limits = &self.inner.settings.limits;
        let mut read = BytesMut::new();
        loop {
            let frame = tokio::time::timeout(limits.request_idle, body.frame()).await.map_err(|_| {
                let message = format!("the request body paused for more than {} s", limits.request_idle.as_secs());
                Refusal::invalid(StatusCode::REQUEST_TIMEOUT, "body_timeout", message)
            })?;
            let Some(frame) = frame else { return Ok(read.freeze()) };
            let frame = frame.map_err(|error| {
                Refusal::invalid(
                    StatusCode::BAD_REQUEST,
                    "body_broke_off",
                    format!("the request body broke off: {error}"),
                )
            })?;
            if let Ok(data) = frame.into_data() {
                if read.len() + data.len() > limits.request_bytes_max {
                    let message = format!("the request body has more than {} bytes", limits.request_bytes_max);
                    return Err(Refusal::invalid(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message));
                }
                read.extend_from_slice(&data);
            }
        }
    }
}

/// Does something in a task of its own: the outcome is recorded even when the client goes away and this future with it.
async fn in_a_task<F>(run: impl FnOnce(Client) -> F) -> Response<AnswerBody>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (client, answer) = oneshot::channel();
    tokio::spawn(run(client));
    match answer.await {
        Ok(response) => response,
        // The task ended without an answer: it panicked, and the process says so on its own.
        Err(_) => {
            let message = "the call ended without an answer";
            refused(&Refusal::server(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message), None)
        }
    }
}

/// A refusal as a response.
pub(crate) fn refused(refusal: &Refusal, call: Option<Uuid>) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::from(refusal.body()));
    refusal.apply(&mut response);
    if let Some(value) = call.and_then(|call| HeaderValue::try_from(call.to_string()).ok()) {
        response.headers_mut().insert(CALL_HEADER, value);
    }
    response
}

/// The headers that go on. A credential of ours has done its work here and is nobody else's business.
fn forwarded(arrival: &Arrival) -> HeaderMap {
    let mut headers = arrival.headers.clone();
    access::without_session(&mut headers);
    if !matches!(arrival.identity.method, Shown::Anonymous | Shown::Mtls) {
        for name in CREDENTIAL_HEADERS {
            headers.remove(name);
        }
    }
    headers
}

/// A page in a browser can make a form post without asking; it cannot claim that its body is JSON.
fn check_headers(headers: &HeaderMap) -> Result<(), Refusal> {
    let unsupported = |code, message: &str| Err(Refusal::invalid(StatusCode::UNSUPPORTED_MEDIA_TYPE, code, message));
    let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if media != "application/json" && !media.ends_with("+json") {
        return unsupported("content_type", "send the header content-type: application/json");
    }
    match headers.get(CONTENT_ENCODING) {
        Some(encoding) if encoding != "identity" => {
            unsupported("content_encoding", "send the body without content-encoding")
        }
        _ => Ok(()),
    }
}
