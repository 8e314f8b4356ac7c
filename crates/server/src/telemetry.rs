//! OTLP: spans and log records by HTTP (`/v1/traces`, `/v1/logs`) and by gRPC (`…/Export`), acknowledged when they are durable.

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use ingest::otlp::{self, Batch, Code, Encoding, Signal, Status, grpc};
use ledger::AppendError;

use crate::admission::Caller;
use crate::api::Api;
use crate::decoding::{decoded, decoded_from};
use crate::intake::{Intake, RETRY_AFTER_S};
use crate::problem::Problem;

/// How a message of gRPC is compressed.
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// `POST /v1/traces`.
pub(crate) async fn traces(api: State<Api>, caller: Extension<Caller>, headers: HeaderMap, body: Bytes) -> Response {
    by_http(api, caller, Signal::Traces, headers, body).await
}

/// `POST /v1/logs`.
pub(crate) async fn logs(api: State<Api>, caller: Extension<Caller>, headers: HeaderMap, body: Bytes) -> Response {
    by_http(api, caller, Signal::Logs, headers, body).await
}

/// OTLP/HTTP, "OTLP Response": 200 with what was refused for good, or a `google.rpc.Status`.
async fn by_http(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    signal: Signal,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(encoding) = encoding(&headers) else {
        let detail = "send the header content-type: application/x-protobuf or application/json";
        return Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type", detail).into_response();
    };
    let body = match decoded(&headers, body) {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    let (status, retry, body) = match take(&api, &caller, &body, signal, encoding).await {
        Ok((refused, message)) => (StatusCode::OK, None, otlp::response(signal, encoding, refused, &message)),
        Err(failed) => {
            let status = StatusCode::from_u16(failed.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, failed.retry_seconds, failed.body(encoding))
        }
    };
    let mut response = (status, [(CONTENT_TYPE, encoding.media())], body).into_response();
    if let Some(seconds) = retry {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// A unary call of gRPC. The status of the answer is always 200; what became of the call is in the trailers.
pub(crate) async fn by_grpc(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let taken = async {
        let signal = grpc::method(uri.path())?;
        let message = message(&headers, &body)?;
        let (refused, told) = take(&api, &caller, &message, signal, Encoding::Protobuf).await?;
        Ok::<_, Status>(grpc::frame(&otlp::response(signal, Encoding::Protobuf, refused, &told)))
    };
    let (answer, trailers) = match taken.await {
        Ok(answer) => (answer, vec![("grpc-status", "0".to_owned())]),
        Err(status) => (Vec::new(), grpc::trailers(&status)),
    };
    let trailers: HeaderMap = trailers
        .into_iter()
        .filter_map(|(name, value)| Some((HeaderName::from_static(name), HeaderValue::try_from(value).ok()?)))
        .collect();
    let body = Full::new(Bytes::from(answer)).with_trailers(async move { Some(Ok(trailers)) });
    ([(CONTENT_TYPE, "application/grpc")], Body::new(body)).into_response()
}

/// The one message of a call, no longer compressed.
fn message(headers: &HeaderMap, body: &Bytes) -> Result<Bytes, Status> {
    let encoding = headers.get(GRPC_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("identity");
    let frame = grpc::unframe(body, encoding != "identity")?;
    let message = body.slice_ref(frame.message);
    if !frame.is_compressed {
        return Ok(message);
    }
    decoded_from(encoding, message).map_err(|problem| {
        let code = match problem.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Code::ResourceExhausted,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::Unimplemented,
            _ => Code::InvalidArgument,
        };
        Status::new(code, problem.detail())
    })
}

/// Stores what a request carries: how many of its events were refused for good, and why.
async fn take(
    api: &Api,
    caller: &Caller,
    body: &[u8],
    signal: Signal,
    encoding: Encoding,
) -> Result<(u64, String), Status> {
    let intake = api.intake().ok_or_else(|| Status::new(Code::Unimplemented, "a stopped log takes nothing in"))?;
    let batch =
        intake.arrived(caller, "otlp", |arrival| otlp::read(body, signal, encoding, arrival, intake.telemetry))?;
    let (mut refused, mut told) = (batch.refused(), batch.message());
    // A call is two records. Where one of them may not be stored, the span counts as refused; what is stored stays.
    for why in store(intake, caller, batch).await.map_err(|error| unavailable(&error))? {
        if told.is_empty() {
            told = why;
        }
        refused += 1;
    }
    Ok((refused, told))
}

/// Why events could not be stored, one reason for each.
async fn store(intake: &Intake, caller: &Caller, batch: Batch) -> Result<Vec<String>, AppendError> {
    let (mut drafts, mut events) = (Vec::new(), Vec::new());
    for (nth, event) in batch.events.into_iter().enumerate() {
        for draft in event.into_iter().flatten() {
            drafts.push(Ok::<_, String>(draft));
            events.push(nth);
        }
    }
    let fates = intake.store(caller, drafts).await?;
    let mut reasons: Vec<(usize, String)> =
        events.into_iter().zip(fates).filter_map(|(nth, fate)| Some((nth, fate.err()?))).collect();
    reasons.dedup_by_key(|(nth, _)| *nth);
    Ok(reasons.into_iter().map(|(nth, why)| format!("number {nth}: {why}")).collect())
}

fn unavailable(error: &AppendError) -> Status {
    match error {
        AppendError::TooMuch(_) => Status::new(Code::ResourceExhausted, error.to_string()),
        _ => Status::unavailable(format!("the records cannot be stored: {error}"), RETRY_AFTER_S),
    }
}

fn encoding(headers: &HeaderMap) -> Option<Encoding> {
    Encoding::of_media(headers.get(CONTENT_TYPE)?.to_str().ok()?)
}
