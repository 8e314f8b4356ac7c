//! The routes that take in what others send, each answered as its senders expect, when what it brought is durable.

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap};
use ingest::{Arrival, Form, Rejected, cloudevents, kubernetes, opa};
use record::Draft;
use serde_json::{Value, json};

use crate::admission::Caller;
use crate::api::{Api, not_running};
use crate::decoding::decoded;
use crate::intake::{BODY_BYTES_MAX, Intake, not_recorded};
use crate::problem::Problem;
use crate::telemetry;

/// Rejections that an answer names; more are only counted.
const NAMED_MAX: usize = 100;

/// The routes that take in what others send, in bodies larger than elsewhere.
pub(crate) fn routes() -> Router<Api> {
    // The audit webhook of a Kubernetes API server, or lines of its audit log.
    let audit = |api, caller, headers, body| documents(api, caller, headers, body, ("kubernetes", kubernetes::read));
    // The decision log service of OPA; a partition in the path changes nothing.
    let decisions = |api, caller, headers, body| documents(api, caller, headers, body, ("opa", opa::read));
    Router::new()
        .route("/api/v1/records", post(records))
        .route("/v1/traces", post(telemetry::traces))
        .route("/v1/logs", post(telemetry::logs))
        .route("/opentelemetry.proto.collector.trace.v1.TraceService/Export", post(telemetry::by_grpc))
        .route("/opentelemetry.proto.collector.logs.v1.LogsService/Export", post(telemetry::by_grpc))
        .route("/ingest/kubernetes", post(audit))
        .route("/ingest/opa/logs", post(decisions))
        .route("/ingest/opa/logs/{partition}", post(decisions))
        .route("/ingest/cloudevents", post(cloud_events))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

/// Reads events that come as a document, or one a line where the sender says so.
type Read = fn(&[u8], Form, &Arrival<'_>) -> Vec<Result<Draft, Rejected>>;

async fn documents(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Bytes,
    (door, read): (&'static str, Read),
) -> Result<Response, Problem> {
    let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let form = media.and_then(Form::of_media).unwrap_or(Form::Json);
    take(&api, &caller, &headers, body, door, |_, body, arrival| read(body, form, arrival)).await
}

/// CloudEvents 1.0: structured, batched or binary.
async fn cloud_events(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let named: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let taken = take(&api, &caller, &headers, body, "cloudevents", |intake, body, arrival| {
        cloudevents::read(body, &named, &intake.event_kinds, arrival)
    });
    taken.await
}

async fn records(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    opened(&api)?.take(&caller, &headers, body).await
}

async fn take(
    api: &Api,
    caller: &Caller,
    headers: &HeaderMap,
    body: Bytes,
    door: &'static str,
    read: impl FnOnce(&Intake, &[u8], &Arrival<'_>) -> Vec<Result<Draft, Rejected>>,
) -> Result<Response, Problem> {
    let intake = opened(api)?;
    let body = decoded(headers, body)?;
    let read = intake.arrived(caller, door, |arrival| read(intake, &body, arrival));
    // An event that can never be taken is told of in a good answer: whoever is refused sends all of them again. Only of a body that is
    // nothing as a whole there is nothing else to tell.
    if let [Err(rejected @ (Rejected::Malformed(_) | Rejected::TooMany))] = read.as_slice() {
        let status =
            if *rejected == Rejected::TooMany { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
        return Err(Problem::new(status, "invalid_event", rejected.to_string()));
    }
    let fates = intake.store(caller, read).await.map_err(|error| not_recorded(&error))?;
    let repeats = fates.iter().flatten().filter(|receipt| receipt.is_repeat).count();
    let stored = fates.iter().flatten().count() - repeats;
    let rejected = fates.iter().enumerate().filter_map(|(nth, fate)| Some((nth, fate.as_ref().err()?)));
    let named: Vec<Value> = rejected.take(NAMED_MAX).map(|(nth, why)| json!({"event": nth, "error": why})).collect();
    let count = fates.len() - stored - repeats;
    Ok(Json(json!({"stored": stored, "repeated": repeats, "rejected": count, "errors": named})).into_response())
}

/// What takes records in; a log that is not being written has nothing of the kind.
fn opened(api: &Api) -> Result<&Intake, Problem> {
    api.intake().ok_or_else(|| not_running("it takes no records"))
}
