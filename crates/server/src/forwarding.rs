//! `POST /api/v1/forward/{origin}`: the records of another log, delivered by the node that has them. Each place of that log is
//! taken once, in order; what is acknowledged is durable.
//!
//! What decides is the position. A request that begins beyond what is here is told where to begin (409), what it repeats is passed
//! over, and an empty one asks. One lock for each log keeps this from happening twice at once.

mod origins;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use gateway::Rules;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap};
use ingest::forwarded::{self, Entry, ORIGIN_BYTES_MAX, Place};
use ingest::{Arrival, Rejected};
use ledger::{AppendError, Receipt};
use record::{Draft, Invalid, Timestamp};
use serde::Deserialize;
use serde_json::json;

pub use self::origins::Forwarded;
use self::origins::{BINDING_PRODUCER, BOUND_ORIGIN, BOUND_SENDER, Delivered, Origins};
use crate::admission::Caller;
use crate::api::{Api, bad_request, not_running};
use crate::asked::Asked;
use crate::decoding::{DECODED_BYTES_MAX, decoded};
use crate::intake::{Intake, mask, not_recorded};
use crate::problem::Problem;

/// What a form in a browser cannot claim without asking first.
const MEDIA: &str = "application/octet-stream";
/// So many records are worth a thread of their own: reading, checking and masking them takes some milliseconds.
const CHUNK_RECORDS: usize = 512;

/// The route. A node sends 16 MiB at most, but one record may be larger.
pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/v1/forward/{*origin}", post(forward))
        .layer(DefaultBodyLimit::max(DECODED_BYTES_MAX + (1 << 20)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ForwardQuery {
    /// The index of the first record in the body.
    #[serde(default)]
    from: u64,
    /// The hash of the leaf before it.
    after: Option<String>,
}

async fn forward(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(origin): Path<String>,
    Asked(asked): Asked<ForwardQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    if headers.get(CONTENT_TYPE).is_none_or(|media| media != MEDIA) {
        let detail = format!("send the header content-type: {MEDIA}");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type", detail));
    }
    let stopped = || not_running("it takes no records");
    let (intake, forwarded) = (api.intake().ok_or_else(stopped)?, api.forwarded().ok_or_else(stopped)?);
    let origin = named(&origin, intake)?;
    let delivery = Delivery {
        intake: intake.clone(),
        forwarded: forwarded.clone(),
        caller,
        origin,
        from: asked.from,
        after: asked.after,
        body: decoded(&headers, body)?,
    };
    // On a task of its own: a node that goes away must not break this off between what is durable and what is noted of it.
    match tokio::spawn(delivery.take()).await {
        Ok(taken) => taken,
        Err(_) => {
            let detail = "the records were not taken; ask where to go on";
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unavailable", detail))
        }
    }
}

/// The name of another log.
fn named(origin: &str, intake: &Intake) -> Result<Arc<str>, Problem> {
    if origin.is_empty()
        || origin.len() > ORIGIN_BYTES_MAX
        || origin.chars().any(|c| c.is_whitespace() || c.is_control())
    {
        return Err(bad_request(format!("a log's name has 1 to {ORIGIN_BYTES_MAX} bytes and no spaces")));
    }
    if origin == intake.ledger.origin().as_ref() {
        return Err(bad_request(format!("{origin:?} is this log itself: it would forward its own records for ever")));
    }
    Ok(origin.into())
}

/// One request.
struct Delivery {
    intake: Intake,
    forwarded: Forwarded,
    caller: Caller,
    origin: Arc<str>,
    from: u64,
    after: Option<String>,
    body: Bytes,
}

/// A record on its way into this log, and where it stands in the other.
type Placed = (Draft, Place);

impl Delivery {
    async fn take(self) -> Result<Response, Problem> {
        let origins = self.forwarded.origins().await?;
        let sender = sender(&self.caller);
        let foreign = |why: String| Problem::new(StatusCode::FORBIDDEN, "foreign_log", why);
        if let Some(sender) = &sender {
            origins.check(&self.origin, sender).map_err(foreign)?;
        }
        if self.body.is_empty() {
            return self.answer(&origins).await;
        }
        let slot =
            origins.of_sender(&self.origin).map_err(|why| Problem::new(StatusCode::CONFLICT, "too_many", why))?;
        let mut delivered = slot.lock_owned().await;
        self.settle(&mut delivered).await?;
        if self.from > delivered.next {
            return Err(ahead(delivered.next, &self.origin));
        }
        let placed = self.prepare(delivered.next, delivered.last.clone()).await?;
        if let Some(sender) = &sender
            && origins.bind(&self.origin, sender).map_err(foreign)?
        {
            self.record_binding(&origins, sender).await?;
        }
        self.store(&mut delivered, placed).await?;
        let next = delivered.next;
        drop(delivered);
        self.forwarded.keep(&origins);
        Ok(told(next))
    }

    /// Where to go on, after whatever is under way for the same log.
    async fn answer(&self, origins: &Origins) -> Result<Response, Problem> {
        let Some(slot) = origins.known(&self.origin) else { return Ok(told(0)) };
        let mut delivered = slot.lock_owned().await;
        self.settle(&mut delivered).await?;
        Ok(told(delivered.next))
    }

    async fn settle(&self, delivered: &mut Delivered) -> Result<(), Problem> {
        delivered.settle(&self.intake.ledger).await.map_err(|error| not_recorded(&error))
    }

    /// The records from `next` on, read and checked where blocking is allowed.
    async fn prepare(&self, next: u64, last: Option<String>) -> Result<Vec<Placed>, Problem> {
        let reading = Reading {
            intake: self.intake.clone(),
            rules: self.intake.rules.now(),
            caller: self.caller.clone(),
            origin: self.origin.clone(),
            now: Timestamp::from_micros(self.intake.world.clock.now_micros()),
        };
        let (body, from, after) = (self.body.clone(), self.from, self.after.clone());
        let read = tokio::task::spawn_blocking(move || {
            let entries = forwarded::split(&body).map_err(rejected)?;
            let known = usize::try_from(next - from).unwrap_or(usize::MAX);
            check_same_log(&entries, known, after, last.as_deref(), &reading.origin)?;
            reading.all(entries.get(known..).unwrap_or_default(), next)
        });
        read.await.unwrap_or_else(|_| Err(broken()))
    }

    /// Makes the records durable, and only then counts them as delivered.
    async fn store(&self, delivered: &mut Delivered, placed: Vec<Placed>) -> Result<(), Problem> {
        let (drafts, places): (Vec<Draft>, Vec<Place>) = placed.into_iter().unzip();
        let Some(last) = places.last() else { return Ok(()) };
        let (next, hash) = (last.index + 1, last.leaf_hash.to_string());
        let verdicts = match self.intake.ledger.append_each(drafts).await {
            Ok(verdicts) => verdicts,
            // All are durable, which is what counts here.
            Err(AppendError::Unread(..)) => Vec::new(),
            Err(error) => return Err(not_recorded(&error)),
        };
        delivered.owed.extend(self.passed_by(&verdicts, &places));
        (delivered.next, delivered.last) = (next, Some(hash));
        self.settle(delivered).await
    }

    /// What there is to say of the places whose record is not here under them.
    fn passed_by(&self, verdicts: &[Result<Receipt, Invalid>], places: &[Place]) -> Vec<Draft> {
        let why = |verdict: &Result<Receipt, Invalid>| match verdict {
            Ok(receipt) if receipt.is_repeat => {
                Some(format!("it came by another way before and is record {} here", receipt.index))
            }
            Ok(_) => None,
            Err(invalid) => Some(invalid.to_string()),
        };
        let now = self.intake.now();
        let said = verdicts.iter().zip(places).filter_map(|(verdict, place)| Some((why(verdict)?, place)));
        said.map(|(why, place)| stand_in(&self.intake, place, &why, now)).collect()
    }

    /// From now on this sender alone delivers this log, and it delivers no other.
    async fn record_binding(&self, origins: &Origins, sender: &str) -> Result<(), Problem> {
        let mut draft = self.intake.control(&self.caller, BINDING_PRODUCER);
        draft.attributes.set(BOUND_ORIGIN, self.origin.to_string());
        draft.attributes.set(BOUND_SENDER, sender.to_owned());
        match self.intake.ledger.append(draft).await {
            Ok(_) => Ok(()),
            Err(error) => {
                origins.unbind(&self.origin, sender);
                Err(not_recorded(&error))
            }
        }
    }
}

/// What it takes to read the records of a request.
struct Reading {
    intake: Intake,
    rules: Arc<Rules>,
    caller: Caller,
    origin: Arc<str>,
    now: Timestamp,
}

impl Reading {
    /// Reads entries, the first of which has this index, on all cores where there are many.
    fn all(&self, entries: &[Entry<'_>], first: u64) -> Result<Vec<Placed>, Problem> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let size = entries.len().div_ceil(cores).max(CHUNK_RECORDS);
        let chunks: Vec<(u64, &[Entry<'_>])> =
            entries.chunks(size).zip((first..).step_by(size)).map(|(chunk, from)| (from, chunk)).collect();
        let read = |(from, chunk): (u64, &[Entry<'_>])| -> Result<Vec<Placed>, Problem> {
            chunk.iter().zip(from..).map(|(entry, index)| self.one(entry, index)).collect()
        };
        let (Some((last, others)), read) = (chunks.split_last(), &read) else { return Ok(Vec::new()) };
        std::thread::scope(|scope| {
            let threads: Vec<_> = others.iter().map(|chunk| scope.spawn(move || read(*chunk))).collect();
            let last = read(*last);
            let mut all = Vec::with_capacity(entries.len());
            for thread in threads {
                all.extend(thread.join().unwrap_or_else(|_| Err(broken()))?);
            }
            all.extend(last?);
            Ok(all)
        })
    }

    fn one(&self, entry: &Entry<'_>, index: u64) -> Result<Placed, Problem> {
        let place = Place::of(&self.origin, index, entry);
        let fit = match forwarded::read(entry, &self.origin) {
            Ok(draft) => {
                // Here the whole request ends: a scope can be mended, and until then the node keeps what it has.
                if let Some(why) = self.intake.refused(&self.caller, &draft, self.now) {
                    let detail = format!("record {index} of {}: {why}", self.origin);
                    return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", detail));
                }
                masked(&self.rules, draft)
            }
            Err(unfit) => Err(unfit.to_string()),
        };
        let mut draft = fit.unwrap_or_else(|why| stand_in(&self.intake, &place, &why, self.now));
        place.mark(&mut draft);
        Ok((draft, place))
    }
}

fn masked(rules: &Rules, mut draft: Draft) -> Result<Draft, String> {
    mask(rules, &mut draft)?;
    Ok(draft)
}

fn stand_in(intake: &Intake, place: &Place, why: &str, now: Timestamp) -> Draft {
    let random = || intake.world.entropy.bytes();
    forwarded::stand_in(place, why, &Arrival { source: &intake.reads, sender: None, received: now, random: &random })
}

/// Holds what a request says against the last record that is here: two logs of one name must not fill each other's gaps.
fn check_same_log(
    entries: &[Entry<'_>],
    known: usize,
    after: Option<String>,
    last: Option<&str>,
    origin: &str,
) -> Result<(), Problem> {
    let said = match known.checked_sub(1) {
        Some(nth) => entries.get(nth).map(|entry| tlog::leaf_hash(entry.leaf).to_string()),
        None => after,
    };
    if let (Some(said), Some(last)) = (said, last)
        && said != last
    {
        let detail = format!(
            "another log named {origin:?} has been delivered here: its last record is not the one before these. Give this log a name of its \
             own with forward.origin"
        );
        return Err(Problem::new(StatusCode::CONFLICT, "other_log", detail));
    }
    Ok(())
}

/// Who delivers. Whoever is on this machine and presents nothing is nobody in particular.
fn sender(caller: &Caller) -> Option<String> {
    let identity = caller.shown()?;
    Some(format!("{}/{}", identity.method.as_str(), identity.id))
}

fn told(next: u64) -> Response {
    Json(json!({"next": next})).into_response()
}

/// What would come between is missing.
fn ahead(next: u64, origin: &str) -> Problem {
    let detail = format!("here are {next} records of {origin:?}: go on with record {next}");
    Problem::new(StatusCode::CONFLICT, "ahead", detail).with("next", next)
}

fn rejected(why: Rejected) -> Problem {
    match why {
        Rejected::TooMany => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_many_records", why.to_string()),
        _ => bad_request(why.to_string()),
    }
}

fn broken() -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unavailable", "the records could not be read")
}

#[cfg(test)]
mod tests;
