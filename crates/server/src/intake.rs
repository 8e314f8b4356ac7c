//! `POST /api/v1/records`: records that others send, acknowledged when they are durable.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use access::{Action, Facts, Target, authorize};
use axum::Json;
use axum::body::Bytes;
use axum::response::{IntoResponse as _, Response};
use gateway::{Rules, RulesInForce};
use http::header::{CONTENT_TYPE, HeaderMap};
use http::{HeaderName, StatusCode};
use ingest::cloudevents::Kinds;
use ingest::{Arrival, Form, Rejected, otlp, records};
use ledger::{AppendError, Ledger, Receipt};
use record::{Draft, Kind, Source, Timestamp, Value as Attribute, uuid_v7};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use world::World;

use crate::admission::Caller;
use crate::decoding::decoded;
use crate::problem::Problem;

/// The largest body of a request.
pub(crate) const BODY_BYTES_MAX: usize = 16 << 20;
/// After how many seconds a sender should try again.
pub(crate) const RETRY_AFTER_S: u32 = 5;
/// After this long a log that was full is tried again, for what waits here.
const PAUSE: Duration = Duration::from_secs(1);
/// The IETF draft "The Idempotency-Key HTTP Header Field": the same request sent again is done once.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What takes records in.
#[derive(Clone)]
pub struct Intake {
    /// The log that they go to.
    pub ledger: Ledger,
    /// Where records of readings come from, and, but for the name of its door, what comes in.
    pub reads: Arc<Source>,
    /// What CloudEvents of which types become.
    pub event_kinds: Kinds,
    /// What of telemetry is stored beside calls, tools and evaluations.
    pub telemetry: otlp::Options,
    /// What masks before anything is written.
    pub rules: RulesInForce,
    /// Times and identifiers for records that come without.
    pub world: World,
}

/// What became of each of the things that were sent, in their order: a receipt, or why it was not stored.
pub(crate) type Fates = Vec<Result<Receipt, String>>;

impl Intake {
    /// Takes records in our own format.
    pub(crate) async fn take(&self, caller: &Caller, headers: &HeaderMap, body: Bytes) -> Result<Response, Problem> {
        let (form, body) = (form(headers)?, decoded(headers, body)?);
        let key = headers.get(IDEMPOTENCY_KEY).map(|key| key.to_str().map_err(|_| unreadable_key())).transpose()?;
        let read = self.arrived(caller, "records", |arrival| records::read(&body, form, key, arrival));
        if let [Err(many @ Rejected::TooMany)] = read.as_slice() {
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_many_records", many.to_string()));
        }
        let fates = self.store(caller, read).await.map_err(|error| not_recorded(&error))?;
        let (mut receipts, mut rejected) = (Vec::with_capacity(fates.len()), Vec::new());
        for (nth, fate) in fates.into_iter().enumerate() {
            match fate {
                Ok(receipt) => receipts.push(Told::of(nth, &receipt)),
                Err(why) => rejected.push((nth, why)),
            }
        }
        if let (true, Some((nth, why))) = (receipts.is_empty(), rejected.first()) {
            let detail = format!("record {nth}: {why}; none of the {} was stored", rejected.len());
            return Err(Problem::new(StatusCode::BAD_REQUEST, "invalid_record", detail));
        }
        let rejected: Vec<Value> =
            rejected.into_iter().map(|(nth, why)| json!({"record": nth, "error": why})).collect();
        let origin = self.ledger.origin().as_ref();
        Ok(Json(Stored { origin, receipts, rejected }).into_response())
    }

    /// Stores what a door has read, as far as the sender may add it and nothing in it has to be withheld.
    ///
    /// # Errors
    /// When the log cannot be written: then nothing was acknowledged.
    pub(crate) async fn store<E: std::fmt::Display>(
        &self,
        caller: &Caller,
        read: Vec<Result<Draft, E>>,
    ) -> Result<Fates, AppendError> {
        let (rules, now) = (self.rules.now(), self.now());
        let mut drafts = Vec::with_capacity(read.len());
        let mut fates: Vec<Result<(), String>> = Vec::with_capacity(read.len());
        for read in read {
            let taken = read.map_err(|why| why.to_string()).and_then(|mut draft| {
                self.refused(caller, &draft, now).map_or(Ok(()), Err)?;
                mask(&rules, &mut draft)?;
                drafts.push(draft);
                Ok(())
            });
            fates.push(taken);
        }
        let mut verdicts = self.ledger.append_each(drafts).await?.into_iter();
        let mut receipt = || match verdicts.next() {
            Some(Ok(receipt)) => Ok(receipt),
            Some(Err(why)) => Err(why.to_string()),
            None => Err("it was not stored".to_owned()),
        };
        Ok(fates.into_iter().map(|fate| fate.and_then(|()| receipt())).collect())
    }

    /// Stores what nobody will send again, however long the log is full. Whether it is stored: not where the log cannot be written any more, or
    /// where the server is stopped first.
    pub(crate) async fn store_in_the_end(
        &self,
        caller: &Caller,
        from: &str,
        drafts: &[Draft],
        stop: &mut watch::Receiver<bool>,
    ) -> bool {
        let mut is_told = false;
        loop {
            let read = drafts.iter().cloned().map(Ok::<_, String>).collect();
            match self.store(caller, read).await {
                Ok(fates) => {
                    for why in fates.iter().filter_map(|fate| fate.as_ref().err()) {
                        tracing::warn!(from, why, "what came in was not stored");
                    }
                    return true;
                }
                Err(AppendError::Full) => {
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::warn!(from, "no space is left to record on; what comes in waits");
                    }
                }
                Err(error) => {
                    tracing::error!(from, %error, "what came in could not be stored");
                    return false;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                _ = stop.wait_for(|stop| *stop) => return false,
            }
        }
    }

    /// Reads what came in through a door, which is the producer of its records.
    pub(crate) fn arrived<T>(&self, caller: &Caller, door: &'static str, read: impl FnOnce(&Arrival<'_>) -> T) -> T {
        let source = self.source_of(door);
        let random = || self.world.entropy.bytes();
        read(&Arrival { source: &source, sender: sender(caller), received: self.now(), random: &random })
    }

    /// A `control` record of what a caller has done here, which comes through a door that nobody else has.
    pub(crate) fn control(&self, caller: &Caller, door: &'static str) -> Draft {
        let time = self.now();
        let id = uuid_v7(time, &self.world.entropy.bytes());
        let mut draft = Draft::new(id, time, Kind::Control, self.source_of(door).into());
        draft.actor = caller.actor();
        draft
    }

    fn source_of(&self, door: &'static str) -> Source {
        Source { producer: door.to_owned(), ..self.reads.as_ref().clone() }
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.world.clock.now_micros())
    }

    /// Why the sender may not add this record: it says that it is from where they have nothing to say.
    pub(crate) fn refused(&self, caller: &Caller, draft: &Draft, now: Timestamp) -> Option<String> {
        let identity = caller.identity.as_ref()?;
        let model = match draft.attributes.value("gen_ai.request.model") {
            Some(Attribute::Text(model)) => Some(model.as_ref()),
            _ => None,
        };
        let facts = Facts { environment: Some(&draft.source.environment), service: Some(&draft.source.service), model };
        authorize(identity, Action::Ingest, Target::One(facts), now).err().map(|refused| refused.sentence())
    }
}

/// Whose keys they are: two senders may call different things the same.
fn sender(caller: &Caller) -> Option<&str> {
    Some(caller.shown()?.id.as_str())
}

/// What a sender is told.
#[derive(Serialize)]
struct Stored<'a> {
    origin: &'a str,
    receipts: Vec<Told>,
    rejected: Vec<Value>,
}

/// Where a record stands.
#[derive(Serialize)]
struct Told {
    record: usize,
    id: String,
    index: u64,
    leaf_hash: String,
    repeat: bool,
}

impl Told {
    fn of(record: usize, receipt: &Receipt) -> Self {
        let (id, leaf_hash) = (receipt.id.to_string(), receipt.leaf_hash.to_string());
        Self { record, id, index: receipt.index, leaf_hash, repeat: receipt.is_repeat }
    }
}

/// Masks what the guardrails of prompts mask, in content and in attributes; or says why the record may not be kept.
pub(crate) fn mask(rules: &Rules, draft: &mut Draft) -> Result<(), String> {
    for field in &mut draft.content {
        if let Some(masked) = masked(rules, std::str::from_utf8(&field.bytes).unwrap_or_default())? {
            field.bytes = masked.into_bytes();
        }
    }
    let mut changed = Vec::new();
    for (name, value) in draft.attributes.iter() {
        if let Attribute::Text(text) = value {
            changed.extend(masked(rules, text)?.map(|text| (name.to_owned(), text)));
        }
    }
    changed.into_iter().for_each(|(name, text)| draft.attributes.set_text(name, &text));
    Ok(())
}

fn masked(rules: &Rules, text: &str) -> Result<Option<String>, String> {
    Ok(match rules.keep(text)? {
        Cow::Owned(masked) => Some(masked),
        Cow::Borrowed(_) => None,
    })
}

fn form(headers: &HeaderMap) -> Result<Form, Problem> {
    let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    Form::of_media(media).ok_or_else(|| {
        let detail = "send the header content-type: application/json, or application/jsonl for a record a line";
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type", detail)
    })
}

fn unreadable_key() -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid_request", "the header idempotency-key must be plain ASCII")
}

/// Nothing was acknowledged: the sender keeps what it has and sends it again.
pub(crate) fn not_recorded(error: &AppendError) -> Problem {
    if matches!(error, AppendError::TooMuch(_)) {
        return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", error.to_string());
    }
    let detail = format!("the records cannot be stored: {error}; send them again later");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_recorded", detail).retry_after(RETRY_AFTER_S)
}
