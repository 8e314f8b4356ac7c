//! The life of a call, top to bottom.
//!
//! 1. the request goes to the model server, at once, or after 3 where that is asked for or space is tight;
//! 2. the request's record goes to the ledger;
//! 3. it is durable: from here on bytes may be released;
//! 4. the answer comes: whole, or as a stream whose chunks flow on as they come, all but the end;
//! 5. the response's record goes to the ledger and becomes durable;
//! 6. the end is released.
//!
//! Whatever cuts this short (the client, the model server, a limit, this process being stopped) leads to 5 as well.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use control::{Alias, Sighting};
use dial::root_cause;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use ledger::{AppendError, Durable, Receipt};
use policy::Input;
use record::{Draft, Outcome};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::answer::{AnswerBody, End, Piece};
use crate::cut_short::{CutShort, not_spooled, paused};
use crate::drafts::{CallFacts, Ending, Said, now};
use crate::gateway::{Gateway, Inner, refused};
use crate::judging::{Judged, Judgement, Occasion, judge_answer, judge_end};
use crate::openai::completion::Completion;
use crate::openai::events::EventReader;
use crate::openai::refusal::Refusal;
use crate::relay::Relay;
use crate::routing::{ROUTE_HEADER, Way};
use crate::rules::Rules;
use crate::settings::RecordWhen;
use crate::upstream::{SendError, passed_on};

/// The response header with the call's id.
pub(crate) const CALL_HEADER: HeaderName = HeaderName::from_static("testimony-call");
/// The response header with the receipt of the request's record: a dictionary of RFC 8941.
pub(crate) const RECEIPT_HEADER: HeaderName = HeaderName::from_static("testimony-receipt");

/// Chunks that may wait for a slow client; the model server waits beyond that.
const CHUNKS_WAITING_MAX: usize = 16;
/// How long a stream may stay open after its end mark.
const AFTER_DONE: Duration = Duration::from_secs(2);

/// One call.
pub(crate) struct Call {
    gateway: Gateway,
    facts: CallFacts,
    outgoing: Outgoing,
    way: Way,
    /// The name that the model has where the call goes; none for what is no answer of a model.
    alias: Option<Alias>,
    /// What the answer is judged by; none for what is no answer of a model.
    rulebook: Option<Rulebook>,
    began: Instant,
    first_chunk: Option<Duration>,
    status: Option<StatusCode>,
    _under_way: UnderWay,
}

/// What goes to the model server.
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    /// Below the model server's base URL.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The rules that a call is judged by to its end, and what was asked about its request, where its answer is asked about too.
pub(crate) struct Rulebook {
    pub(crate) rules: Arc<Rules>,
    pub(crate) question: Option<Input>,
}

/// The way to the client: its other end is gone when the client is.
pub(crate) type Client = oneshot::Sender<Response<AnswerBody>>;

/// One of the calls under way, for as long as this is there.
pub(crate) struct UnderWay(Arc<Inner>);

impl UnderWay {
    pub(crate) fn begin(gateway: &Gateway) -> Self {
        gateway.inner.under_way.send_modify(|calls| *calls += 1);
        Self(gateway.inner.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.send_modify(|calls| *calls -= 1);
    }
}

/// What both halves of a call's beginning led to: the record of its request, and the model server's answer or none.
type Begun = (Durable<Receipt>, Result<Response<Incoming>, CutShort>);

impl Call {
    pub(crate) fn new(
        gateway: Gateway,
        facts: CallFacts,
        (outgoing, way): (Outgoing, Way),
        rulebook: Option<Rulebook>,
        under_way: UnderWay,
    ) -> Self {
        let alias = facts.model().and_then(|model| way.alias(model));
        Self {
            gateway,
            facts,
            outgoing,
            alias,
            way,
            rulebook,
            began: Instant::now(),
            first_chunk: None,
            status: None,
            _under_way: under_way,
        }
    }

    /// Runs it to its end, with the record of its request already drafted.
    pub(crate) async fn run(self, intent: Draft, mut client: Client) {
        let first = self.gateway.inner.settings.record == RecordWhen::BeforeForward;
        let begun = if first || self.gateway.inner.ledger.is_tight() {
            self.record_then_forward(intent, &mut client).await
        } else {
            self.forward_and_record(intent, &mut client).await
        };
        match begun {
            Err(error) => drop(client.send(refused(&Refusal::not_recorded(&error), None))),
            Ok((_, Err(cut))) => self.end_without_answer(client, &cut, Vec::new()).await,
            Ok((receipt, Ok(response))) => self.answer(client, response, receipt).await,
        }
    }

    async fn record_then_forward(&self, intent: Draft, client: &mut Client) -> Result<Begun, AppendError> {
        let receipt = self.gateway.inner.ledger.append(intent).await?;
        Ok((receipt, self.forward(client).await))
    }

    /// The request is on its way to the model server before its record is sealed and queued; both then go on together.
    async fn forward_and_record(&self, intent: Draft, client: &mut Client) -> Result<Begun, AppendError> {
        let mut sending = pin!(self.forward(client));
        let early = tokio::select! {
            biased;
            sent = &mut sending => Some(sent),
            // Lets the connection's task write.
            () = tokio::task::yield_now() => None,
        };
        let submitted = self.gateway.inner.ledger.submit(intent).await?;
        let sent = match early {
            Some(sent) => sent,
            None => sending.await,
        };
        Ok((submitted.durable().await?, sent))
    }

    async fn forward(&self, client: &mut Client) -> Result<Response<Incoming>, CutShort> {
        let upstream = &self.way.upstream;
        let idle = self.gateway.inner.settings.limits.upstream_idle;
        let Outgoing { method, path, headers, body } = &self.outgoing;
        let send = upstream.send(method.clone(), path, headers, body.clone());
        tokio::select! {
            sent = tokio::time::timeout(idle, send) => match sent {
                Ok(Ok(response)) => Ok(response),
                Ok(Err(SendError(why))) => {
                    let message = format!("the model server at {}:{} gave no answer: {why}", upstream.host(), upstream.port());
                    Err(CutShort::upstream(StatusCode::BAD_GATEWAY, "upstream_unreachable", message))
                }
                Err(_) => Err(paused(idle)),
            },
            () = client.closed() => Err(CutShort::ClientGone),
            () = self.gateway.stopping() => Err(CutShort::Stopping),
        }
    }

    async fn answer(mut self, client: Client, response: Response<Incoming>, receipt: Durable<Receipt>) {
        let (head, body) = response.into_parts();
        self.status = Some(head.status);
        let media = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let mut released = Response::new(());
        *released.status_mut() = head.status;
        *released.headers_mut() = self.released_headers(&head.headers, &receipt);
        if head.status.is_success() && media.trim_start().starts_with("text/event-stream") {
            self.relay(client, released, body).await;
        } else {
            self.answer_whole(client, released, body, media).await;
        }
    }

    fn released_headers(&self, headers: &HeaderMap, receipt: &Receipt) -> HeaderMap {
        let mut released = passed_on(headers);
        released.remove(CONTENT_LENGTH);
        let origin = self.gateway.inner.ledger.origin();
        let receipt = format!("origin=\"{origin}\", index={}, leaf=:{}:", receipt.index, receipt.leaf_hash);
        for (name, value) in [(CALL_HEADER, self.facts.call.to_string()), (RECEIPT_HEADER, receipt)] {
            if let Ok(value) = HeaderValue::try_from(value) {
                released.insert(name, value);
            }
        }
        if let Some(value) = self.way.header() {
            released.insert(ROUTE_HEADER, value);
        }
        released
    }

    /// An answer that is no stream is held until its record is durable, so that it can still be withheld whole.
    async fn answer_whole(mut self, mut client: Client, released: Response<()>, mut body: Incoming, media: String) {
        let gateway = self.gateway.clone();
        let mut bytes = Vec::new();
        let ended = loop {
            let next = tokio::select! {
                next = self.next_chunk(&mut body) => next,
                () = client.closed() => Err(CutShort::ClientGone),
                () = gateway.stopping() => Err(CutShort::Stopping),
            };
            match next {
                Ok(Some(chunk))
                    if bytes.len() + chunk.len() > self.gateway.inner.settings.limits.response_bytes_max =>
                {
                    break Err(self.too_large());
                }
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => break Ok(()),
                Err(cut) => break Err(cut),
            }
        };
        if let Err(cut) = ended {
            return self.end_without_answer(client, &cut, bytes).await;
        }
        let status = released.status();
        let (bytes, judgement, refusal) = self.judge_whole(status, bytes.into()).await;
        let is_chat = self.rulebook.is_some();
        let completion = if is_chat && status.is_success() { Completion::read(&bytes) } else { None };
        let (outcome, error) = match (&refusal, &completion) {
            (Some(refusal), _) => (Outcome::Blocked, Some(refusal.code.to_owned())),
            _ if !status.is_success() => (Outcome::Failed, Some(status.as_u16().to_string())),
            (_, None) if is_chat => (Outcome::Failed, Some("not_an_answer".to_owned())),
            _ => (Outcome::Completed, None),
        };
        let said = match completion {
            _ if judgement.is_withheld => Said::Other { media, bytes: Vec::new() },
            Some(completion) => Said::Answer(completion),
            None => Said::Other { media, bytes: bytes.to_vec() },
        };
        let response = match (self.record_ending(outcome, error, said, judgement).await, refusal) {
            (Ok(_), None) => released.map(|()| AnswerBody::from(bytes)),
            (Ok(_), Some(refusal)) => self.refused(&refusal),
            (Err(error), _) => self.refused(&Refusal::not_recorded(&error)),
        };
        let _ = client.send(response);
    }

    /// What of a whole answer may be released, and why not all of it.
    async fn judge_whole(&self, status: StatusCode, bytes: Bytes) -> (Bytes, Judgement, Option<Refusal>) {
        match &self.rulebook {
            Some(Rulebook { rules, question }) if status.is_success() => {
                let occasion = self.occasion();
                let judged = judge_answer(rules, bytes, question.as_ref(), occasion).await;
                let Judged { body, judgement, refusal, .. } = judged;
                (body, judgement, refusal)
            }
            _ => (bytes, Judgement::default(), None),
        }
    }

    /// Passes a stream on as it comes, as far as guardrails and judges let it. Its end mark and its end wait for the record.
    async fn relay(mut self, client: Client, released: Response<()>, mut body: Incoming) {
        let gateway = self.gateway.clone();
        let (chunks, relayed) = mpsc::channel(CHUNKS_WAITING_MAX);
        let (spooled, mut ended) = match self.gateway.inner.spool.begin(self.facts.call) {
            Ok(spooled) => (Some(spooled), Ok(())),
            Err(error) => (None, Err(not_spooled(&error))),
        };
        if client.send(released.map(|()| AnswerBody::Relayed(relayed, End::Open))).is_err() {
            ended = Err(CutShort::ClientGone);
        }
        let rules = self.rulebook.as_ref().map(|rulebook| rulebook.rules.clone());
        let mut relay = Relay::new(rules.as_deref(), spooled, chunks);
        let bytes_max = self.gateway.inner.settings.limits.response_bytes_max as u64;
        let mut read = 0;
        while ended.is_ok() {
            let next = tokio::select! {
                next = self.next_chunk(&mut body) => next,
                () = relay.chunks.closed() => Err(CutShort::ClientGone),
                () = gateway.stopping() => Err(CutShort::Stopping),
                () = tokio::time::sleep(AFTER_DONE), if relay.is_done() => Ok(None),
            };
            ended = match next {
                Ok(None) => break,
                Ok(Some(chunk)) => {
                    read += chunk.len() as u64;
                    if read > bytes_max { Err(self.too_large()) } else { relay.take(chunk, &gateway).await }
                }
                Err(cut) => Err(cut),
            };
        }
        let (verdicts, is_withheld, mut ended) = relay.finish_guard(ended, &gateway).await;
        let mut judgement = Judgement { verdicts, ruling: None, is_withheld };
        if ended.is_ok() {
            ended = self.judge_stream(&relay.reader, &mut judgement).await;
        }
        if ended.is_ok() {
            ended = relay.let_go(&gateway).await;
        }
        let (outcome, error) = relay.outcome(&ended);
        let (end, chunks, said) = relay.into_parts();
        let last = match (self.record_ending(outcome, error, said, judgement).await, ended) {
            (Ok(_), Ok(())) => Bytes::from(end),
            (Ok(_), Err(CutShort::Withheld(refusal))) => refusal.event(),
            _ => return,
        };
        tokio::select! {
            _ = chunks.send(Piece::Last(last)) => {}
            () = gateway.stopping() => {}
        }
    }

    fn occasion(&self) -> Occasion {
        Occasion { call: self.facts.call, now: now(&self.gateway.inner.world) }
    }

    /// Asks judges and the policy about a stream that has come to its end: what flowed has flowed, but it is not whole without its end.
    async fn judge_stream(&self, reader: &EventReader, judgement: &mut Judgement) -> Result<(), CutShort> {
        let Some(Rulebook { rules, question: Some(question) }) = &self.rulebook else { return Ok(()) };
        let occasion = self.occasion();
        let output = reader.completion.output();
        let (ruling, refusal) = judge_end(rules, question, output, &mut judgement.verdicts, occasion).await;
        judgement.ruling = ruling;
        refusal.map_or(Ok(()), |refusal| Err(CutShort::Withheld(refusal)))
    }

    async fn next_chunk(&mut self, body: &mut Incoming) -> Result<Option<Bytes>, CutShort> {
        let idle = self.gateway.inner.settings.limits.upstream_idle;
        loop {
            let frame = tokio::time::timeout(idle, body.frame()).await.map_err(|_| paused(idle))?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| {
                let message = format!("the model server broke off its answer: {}", root_cause(&error));
                CutShort::upstream(StatusCode::BAD_GATEWAY, "upstream_broke_off", message)
            })?;
            if let Ok(data) = frame.into_data() {
                self.first_chunk.get_or_insert(self.began.elapsed());
                return Ok(Some(data));
            }
        }
    }

    /// A refusal of what was under way: which version it was under way to is told all the same.
    fn refused(&self, refusal: &Refusal) -> Response<AnswerBody> {
        let mut response = refused(refusal, Some(self.facts.call));
        if let Some(value) = self.way.header() {
            response.headers_mut().insert(ROUTE_HEADER, value);
        }
        response
    }

    fn too_large(&self) -> CutShort {
        let limit = self.gateway.inner.settings.limits.response_bytes_max;
        let message = format!("the model server's answer has more than {limit} bytes");
        CutShort::upstream(StatusCode::BAD_GATEWAY, "answer_too_large", message)
    }

    async fn end_without_answer(mut self, client: Client, cut: &CutShort, bytes: Vec<u8>) {
        let (outcome, error) = cut.outcome();
        let said = Said::Other { media: "application/octet-stream".into(), bytes };
        let ending = self.record_ending(outcome, Some(error.to_owned()), said, Judgement::default());
        let refusal = match ending.await {
            Ok(_) => cut.refusal(),
            Err(error) => Refusal::not_recorded(&error),
        };
        let _ = client.send(self.refused(&refusal));
    }

    async fn record_ending(
        &mut self,
        outcome: Outcome,
        error: Option<String>,
        said: Said,
        judgement: Judgement,
    ) -> Result<Durable<Receipt>, AppendError> {
        let ending = Ending {
            outcome,
            error,
            said,
            judgement,
            status: self.status.map(|status| status.as_u16()),
            duration_ms: milliseconds(self.began.elapsed()),
            first_chunk_ms: self.first_chunk.map(milliseconds),
        };
        let draft = self.facts.response(&self.gateway.inner.world, &ending);
        let (ledger, calls) = (&self.gateway.inner.ledger, *self.gateway.inner.under_way.borrow());
        // The only call that is under way has its thread to itself: waiting there for the disk holds up nobody.
        let recorded = if calls == 1 { ledger.append_here(draft).await } else { ledger.append(draft).await };
        match &recorded {
            Ok(_) => self.see(&ending.said),
            Err(error) => {
                tracing::error!(%error, call = %self.facts.call, "the outcome of a call could not be recorded; its answer is withheld")
            }
        }
        recorded
    }

    /// Looks whether the answer is from another model than this name had before.
    fn see(&self, said: &Said) {
        if let Said::Answer(Completion { model, system_fingerprint, .. }) = said
            && let Some(alias) = &self.alias
        {
            let sighting = Sighting::of(model.as_deref(), system_fingerprint.as_deref());
            self.gateway.inner.control.models.see(alias, sighting, self.facts.call);
        }
    }
}

/// Milliseconds with microseconds behind the point.
fn milliseconds(time: Duration) -> f64 {
    f64::from(u32::try_from(time.as_micros()).unwrap_or(u32::MAX)) / 1_000.0
}
