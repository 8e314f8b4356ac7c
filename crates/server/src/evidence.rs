//! `GET /api/v1/records/{id}/proof`: evidence for one record.

use std::time::Duration;

use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use ledger::{Ledger, PublishedLog};
use record::{Content, Envelope};
use search::{Engine, Limits, StoredRecord, View, content_name};
use serde::Deserialize;
use tlog::{Bundle, Checkpoint, EntriesPath, Hash, ProveError, TILE_WIDTH, prove_inclusion};
use verify::{Disclosed, Evidence, Stamp};
use witness::{STAMP_TOKEN, STAMPED_CHECKPOINT, STAMPING_PRODUCER};

use crate::admission::Caller;
use crate::api::Api;
use crate::asked::Asked;
use crate::problem::Problem;
use crate::reading::Reading;

/// A checkpoint that covers a record is published within a second or so; after this long there is something wrong.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProofQuery {
    /// Names of content fields, with commas.
    #[serde(default)]
    disclose: String,
}

pub(crate) async fn proof(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Asked(query): Asked<ProofQuery>,
) -> Result<Response, Problem> {
    let names = query.disclose.split(',').map(str::trim).filter(|name| !name.is_empty());
    let disclose: Vec<String> = names.map(str::to_owned).collect();
    let reading = Reading::rows("prove", &id, 1, false).disclosing(disclose.clone());
    let evidence = evidence_for(api.log().clone(), api.engine(), &caller.view, api.ledger(), &id, disclose).await?;
    api.note(&caller, reading).await;
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], evidence.to_string()).into_response())
}

/// Makes evidence for the record with an identifier, disclosing the fields of content that are named. Waits for a published
/// checkpoint that covers it.
pub(crate) async fn evidence_for(
    log: PublishedLog,
    engine: &Engine,
    view: &View,
    ledger: Option<&Ledger>,
    id: &str,
    disclose: Vec<String>,
) -> Result<Evidence, Problem> {
    let stored = engine.stored(view, id.to_owned(), Limits::default()).await?;
    let stored = stored.ok_or_else(|| Problem::not_found(format!("there is no record {id:?}")))?;
    if let Some(ledger) = ledger {
        let covered = tokio::time::timeout(PATIENCE, ledger.published_over(stored.index)).await;
        covered.map_err(|_| not_covered(stored.index))?;
    }
    // The first stamp after a record may be of a checkpoint before it; the second is not: it is made after the first was published.
    let two = Limits { rows_max: 2, ..Limits::default() };
    let stamps = engine.stored_after(stored.index, STAMPING_PRODUCER, two).await?;
    let made = tokio::task::spawn_blocking(move || make(&log, &stored, &disclose, &stamps)).await;
    made.map_err(|_| broken("the proof could not be made".into()))?
}

fn make(
    log: &PublishedLog,
    stored: &StoredRecord,
    disclose: &[String],
    stamps: &[StoredRecord],
) -> Result<Evidence, Problem> {
    let index = stored.index;
    let note = log.checkpoint()?.and_then(|bytes| String::from_utf8(bytes).ok());
    let note = note.ok_or_else(|| not_covered(index))?;
    let size = Checkpoint::parse_unverified(note.as_bytes()).map_err(|error| broken(error.to_string()))?.size;
    if size <= index {
        return Err(not_covered(index));
    }
    let hashes = prove(log, index, size)?;
    let leaf = read_leaf(log, index, size)?;
    let envelope = Envelope::parse(leaf.as_bytes()).map_err(|error| broken(error.to_string()))?;
    let content = if disclose.is_empty() { None } else { stored.content(&envelope).map_err(broken)? };
    let disclosed = disclose.iter().map(|name| disclosed(&envelope, content.as_ref(), content_name(name)));
    let disclosed = disclosed.collect::<Result<_, _>>()?;
    let published = stamps.iter().filter(|stamp| stamp.index < size);
    let covering =
        published.map(|stamp| stamp_over(log, index, stamp, size)).find_map(Result::transpose).transpose()?;
    Ok(Evidence::new(index, hashes, note, leaf, disclosed, covering.into_iter().collect()))
}

fn prove(log: &PublishedLog, index: u64, size: u64) -> Result<Vec<Hash>, Problem> {
    let tile = |path| log.tile(path)?.ok_or_else(|| broken(format!("{path} is not there")));
    prove_inclusion(index, size, tile).map_err(|error| match error {
        ProveError::Tile { why, .. } => why,
        ProveError::Proof(error) => broken(error.to_string()),
        ProveError::Short { path, found } => broken(format!("{path} has only {found} bytes")),
    })
}

/// What a record of a time-stamp holds, if the checkpoint that was stamped covers the record with this index.
fn stamp_over(log: &PublishedLog, index: u64, stamp: &StoredRecord, size: u64) -> Result<Option<Stamp>, Problem> {
    let leaf = read_leaf(log, stamp.index, size)?;
    let envelope = Envelope::parse(leaf.as_bytes()).map_err(|error| broken(error.to_string()))?;
    let Some(content) = stamp.content(&envelope).map_err(broken)? else { return Ok(None) };
    let field = |name: &str| content.field(name).map(|field| field.bytes.clone());
    let (Some(note), Some(token)) = (field(STAMPED_CHECKPOINT), field(STAMP_TOKEN)) else { return Ok(None) };
    let stamped = Checkpoint::parse_unverified(&note).map_err(|error| broken(error.to_string()))?;
    match String::from_utf8(note) {
        Ok(checkpoint) if stamped.size > index => {
            Ok(Some(Stamp { checkpoint, hashes: prove(log, index, stamped.size)?, token }))
        }
        _ => Ok(None),
    }
}

fn read_leaf(log: &PublishedLog, index: u64, size: u64) -> Result<String, Problem> {
    let number = index / TILE_WIDTH;
    let width = (size - number * TILE_WIDTH).min(TILE_WIDTH);
    let path = EntriesPath { number, width: u16::try_from(width).unwrap_or(256) };
    let missing = || broken(format!("{path} does not hold record {index}"));
    let bundle = log.bundle(path)?.ok_or_else(missing)?;
    let at = usize::try_from(index % TILE_WIDTH).unwrap_or(usize::MAX);
    let leaf = Bundle::new(&bundle).nth(at).and_then(Result::ok).ok_or_else(missing)?;
    String::from_utf8(leaf.to_vec()).map_err(|_| missing())
}

fn disclosed(leaf: &Envelope<'_>, content: Option<&Content>, name: &str) -> Result<Disclosed, Problem> {
    if let Some(field) = content.and_then(|content| Disclosed::of(content, name)) {
        return Ok(field);
    }
    let names: Vec<&str> = leaf.commitments().map(|(name, _)| name).collect();
    let detail = if names.contains(&name) {
        format!("the content {name:?} of this record is not stored any more")
    } else {
        format!("the record has no content {name:?}; it has: {}", names.join(", "))
    };
    Err(Problem::new(StatusCode::BAD_REQUEST, "no_such_content", detail))
}

fn not_covered(index: u64) -> Problem {
    let detail = format!("no published checkpoint covers record {index} yet; try again, or start the server once");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_published", detail)
}

fn broken(what: String) -> Problem {
    tracing::error!("evidence cannot be made: {what}");
    let detail = format!("the published log cannot be read as it should: {what}; run `testimony verify`");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unavailable", detail)
}
