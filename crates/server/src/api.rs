//! The routes of the main listener.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, http};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderName, HeaderValue, ORIGIN};
use http::{HeaderMap, Request, StatusCode};
use hyper::body::Incoming;
use ledger::{Ledger, PublishedLog};
use search::{Answer, Engine, Format, Limits, Search, Tail};
use serde::Deserialize;
use serde_json::{Value, json};
use tlog::VerifierKey;
use tower::ServiceExt as _;
use witness::{Cosigner, Refusal};

use crate::evidence::evidence_for;
use crate::intake::{self, Intake};
use crate::listen::Surface;
use crate::log_files;
use crate::problem::Problem;
use crate::tail;

/// Every route, with the methods that it takes. `openapi.json` is tested against this list.
pub const ROUTES: [(&str, &str); 16] = [
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("GET", "/version"),
    ("GET", "/openapi.json"),
    ("GET", "/api/v1/log"),
    ("GET", "/api/v1/search"),
    ("POST", "/api/v1/sql"),
    ("GET", "/api/v1/calls/{id}"),
    ("POST", "/api/v1/records"),
    ("GET", "/api/v1/records/{id}"),
    ("GET", "/api/v1/records/{id}/proof"),
    ("GET", "/api/v1/tail"),
    ("GET", "/log/checkpoint"),
    ("GET", "/log/tile/{path}"),
    ("POST", "/witness/add-checkpoint"),
    ("GET", "/witness/checkpoint"),
];

const OPENAPI: &str = include_str!("../openapi.json");
/// The largest body of a request: a statement of 64 KiB and its wrapping.
const BODY_BYTES_MAX: usize = 256 << 10;
/// Rows of a search when nothing is said.
const SEARCH_ROWS: usize = 100;
/// The most rows that can be asked for.
const ROWS_MAX: usize = 100_000;
/// Records of one call that are shown.
const STORY_ROWS_MAX: usize = 1_000;

/// What this program is.
#[derive(Debug, Clone, Copy)]
pub struct Build {
    /// Its version.
    pub version: &'static str,
}

/// The main listener's routes over one log.
#[derive(Clone)]
pub struct Api(Arc<Inner>);

struct Inner {
    log: PublishedLog,
    engine: Engine,
    /// What takes records in, while the log is being written; none when a stopped one is read.
    intake: Option<Intake>,
    key: VerifierKey,
    build: Build,
    /// Cosigns the checkpoints of other logs; none when this server is no witness.
    witness: Option<Cosigner>,
}

impl Api {
    /// The routes over a log that is being written, or over a stopped one when `intake` is none.
    #[must_use]
    pub fn new(
        log: PublishedLog,
        engine: Engine,
        intake: Option<Intake>,
        key: VerifierKey,
        build: Build,
        witness: Option<Cosigner>,
    ) -> Self {
        Self(Arc::new(Inner { log, engine, intake, key, build, witness }))
    }

    /// The log, while it is being written.
    fn ledger(&self) -> Option<&Ledger> {
        self.0.intake.as_ref().map(|intake| &intake.ledger)
    }

    /// The routes.
    pub fn router(self) -> Router {
        Router::new()
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .route("/version", get(version))
            .route("/openapi.json", get(|| async { ([(CONTENT_TYPE, "application/json")], OPENAPI) }))
            .route("/api/v1/log", get(log))
            .route("/api/v1/search", get(search))
            .route("/api/v1/sql", post(sql))
            .route("/api/v1/calls/{id}", get(call))
            .route("/api/v1/records", post(take_in).layer(DefaultBodyLimit::max(intake::BODY_BYTES_MAX)))
            .route("/api/v1/records/{id}", get(record))
            .route("/api/v1/records/{id}/proof", get(proof))
            .route("/api/v1/tail", get(follow))
            .route("/log/{*path}", get(log_file))
            .route("/witness/add-checkpoint", post(add_checkpoint))
            .route("/witness/checkpoint", get(witnessed))
            .fallback(|| async { Problem::not_found("there is nothing here; /openapi.json lists what there is") })
            .method_not_allowed_fallback(|| async {
                Problem::new(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "method_not_allowed",
                    "this path does not take that method",
                )
            })
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .layer(axum::middleware::map_response(set_headers))
            .with_state(self)
    }
}

/// Headers that every answer has.
async fn set_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The routes as what answers the main listener.
#[derive(Clone)]
pub struct ApiSurface(pub Router);

impl Surface for ApiSurface {
    type Body = Body;

    async fn answer(&self, request: Request<Incoming>, _peer: SocketAddr) -> Response {
        self.0.clone().oneshot(request.map(Body::new)).await.unwrap_or_else(|never| match never {})
    }

    fn wrong_host(&self) -> Response {
        let detail = "this server does not answer to that name: add it to allowed_hosts";
        Problem::new(StatusCode::MISDIRECTED_REQUEST, "wrong_host", detail).into_response()
    }
}

async fn readyz(State(api): State<Api>) -> Result<&'static str, Problem> {
    match api.ledger() {
        Some(ledger) if ledger.is_full() => {
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "full", "there is no space left to record on"))
        }
        _ => Ok("ok\n"),
    }
}

async fn version(State(api): State<Api>) -> Json<Value> {
    Json(json!({"name": "testimony", "version": api.0.build.version}))
}

async fn log(State(api): State<Api>) -> Json<Value> {
    let durable = api.ledger().map(Ledger::durable);
    Json(json!({
        "origin": api.0.key.name(),
        "vkey": api.0.key.to_string(),
        "size": durable.as_ref().map(|point| point.size),
        "checkpoint": durable.as_ref().map(|point| point.checkpoint.as_ref()),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SearchQuery {
    #[serde(default)]
    q: String,
    since: Option<String>,
    until: Option<String>,
    limit: Option<usize>,
    format: Option<String>,
}

async fn search(
    State(api): State<Api>,
    query: Result<Query<SearchQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|error| bad_request(error.body_text()))?;
    let format = format(query.format.as_deref())?;
    let limits = limits(query.limit, SEARCH_ROWS)?;
    let search = Search { query: query.q, since: query.since, until: query.until };
    written(&api.0.engine.search(search, limits).await?, format)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SqlBody {
    query: String,
    limit: Option<usize>,
    timeout_s: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FormatQuery {
    format: Option<String>,
}

async fn sql(
    State(api): State<Api>,
    query: Result<Query<FormatQuery>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let Query(FormatQuery { format: asked }) = query.map_err(|error| bad_request(error.body_text()))?;
    let format = format(asked.as_deref())?;
    // A form in a browser cannot claim this media type without asking first.
    let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !media.starts_with("application/json") {
        let detail = "send the header content-type: application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type", detail));
    }
    let body: SqlBody = serde_json::from_slice(&body).map_err(|error| bad_request(error.to_string()))?;
    let mut limits = limits(body.limit, Limits::default().rows_max)?;
    if let Some(seconds) = body.timeout_s {
        limits.deadline = limits.deadline.min(Duration::from_secs(seconds));
    }
    written(&api.0.engine.sql(body.query, limits).await?, format)
}

async fn call(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let records = story(&api, &id).await?;
    let of_call = |record: &Value| record.get("call_id").and_then(Value::as_str) == Some(id.as_str());
    if !records.iter().any(of_call) {
        return Err(Problem::not_found(format!("there is no call {id:?}")));
    }
    Ok(Json(json!({"call_id": id, "records": records})))
}

async fn record(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let is_it = |record: &Value| record.get("id").and_then(Value::as_str) == Some(id.as_str());
    match story(&api, &id).await?.into_iter().find(is_it) {
        Some(record) => Ok(Json(record)),
        None => Err(Problem::not_found(format!("there is no record {id:?}"))),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProofQuery {
    /// Names of content fields, with commas.
    #[serde(default)]
    disclose: String,
}

async fn proof(
    State(api): State<Api>,
    Path(id): Path<String>,
    query: Result<Query<ProofQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|error| bad_request(error.body_text()))?;
    let names = query.disclose.split(',').map(str::trim).filter(|name| !name.is_empty());
    let disclose = names.map(str::to_owned).collect();
    let Inner { log, engine, .. } = api.0.as_ref();
    let evidence = evidence_for(log.clone(), engine, api.ledger(), &id, disclose).await?;
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], evidence.to_string()).into_response())
}

async fn take_in(State(api): State<Api>, headers: HeaderMap, body: Bytes) -> Result<Response, Problem> {
    let Some(intake) = &api.0.intake else {
        return Err(not_running("it takes no records"));
    };
    intake.take(&headers, body).await
}

fn not_running(so: &str) -> Problem {
    let detail = format!("the log is not being written, so {so}; start it with `testimony serve`");
    Problem::new(StatusCode::CONFLICT, "not_running", detail)
}

async fn story(api: &Api, id: &str) -> Result<Vec<Value>, Problem> {
    Ok(api.0.engine.story(id.to_owned(), limits(None, STORY_ROWS_MAX)?).await?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TailQuery {
    #[serde(default)]
    q: String,
    from: Option<u64>,
}

async fn follow(
    State(api): State<Api>,
    query: Result<Query<TailQuery>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|error| bad_request(error.body_text()))?;
    check_origin(&headers)?;
    let Some(ledger) = api.ledger() else {
        return Err(not_running("there is nothing to follow"));
    };
    // A client that was cut off goes on after the last record it has seen.
    let last_seen = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let from = last_seen.map(|index| index.saturating_add(1)).or(query.from).unwrap_or_else(|| ledger.durable().size);
    let tail = Tail::new(&api.0.engine, &query.q, ledger.follow(from))?;
    Ok(tail::response(tail))
}

/// A live stream is for pages of this server only: a browser says where a page comes from.
fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    if authority.is_some() && authority == host {
        return Ok(());
    }
    Err(Problem::new(StatusCode::FORBIDDEN, "foreign_origin", "pages of another origin may not follow this log"))
}

async fn log_file(State(api): State<Api>, Path(path): Path<String>) -> Result<Response, Problem> {
    let log = api.0.log.clone();
    let file = tokio::task::spawn_blocking(move || log_files::read(&log, &path)).await;
    let file = file
        .map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unavailable", "the file could not be read"))??;
    Ok(([(CONTENT_TYPE, file.media), (CACHE_CONTROL, file.cache)], file.bytes).into_response())
}

/// C2SP tlog-witness, section "add-checkpoint".
async fn add_checkpoint(State(api): State<Api>, body: Bytes) -> Result<Response, Problem> {
    let witness = api.0.witness.clone().ok_or_else(no_witness)?;
    let cosigned = tokio::task::spawn_blocking(move || witness.add_checkpoint(&body)).await;
    let cosigned = cosigned.map_err(|_| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unavailable", "the checkpoint was not looked at")
    })?;
    Ok(match cosigned {
        Ok(lines) => ([(CONTENT_TYPE, "text/plain; charset=utf-8")], lines).into_response(),
        Err(Refusal::Conflict { latest }) => {
            (StatusCode::CONFLICT, [(CONTENT_TYPE, "text/x.tlog.size")], format!("{latest}\n")).into_response()
        }
        Err(refusal) => Problem::from(refusal).into_response(),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WitnessedQuery {
    origin: String,
}

/// The latest checkpoint of a log that this witness has cosigned: what its cosignatures are remembered by.
async fn witnessed(
    State(api): State<Api>,
    query: Result<Query<WitnessedQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|error| bad_request(error.body_text()))?;
    let witness = api.0.witness.clone().ok_or_else(no_witness)?;
    let note = witness.latest(&query.origin)?;
    let note = note.ok_or_else(|| Problem::not_found("this witness has cosigned no checkpoint of that log"))?;
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], note).into_response())
}

fn no_witness() -> Problem {
    Problem::not_found("this server is no witness; the setting witnessing.cosigns makes it one")
}

fn bad_request(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid_request", detail)
}

fn format(word: Option<&str>) -> Result<Format, Problem> {
    word.map_or(Ok(Format::Json), str::parse).map_err(|error: search::UnknownFormat| bad_request(error.to_string()))
}

fn limits(asked: Option<usize>, otherwise: usize) -> Result<Limits, Problem> {
    let rows_max = asked.unwrap_or(otherwise);
    if rows_max > ROWS_MAX {
        return Err(bad_request(format!("limit is at most {ROWS_MAX}")));
    }
    Ok(Limits { rows_max, ..Limits::default() })
}

fn written(answer: &Answer, format: Format) -> Result<Response, Problem> {
    let failed = |error| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "format", format!("the rows cannot be written: {error}"))
    };
    let truncated = if answer.is_truncated() { "true" } else { "false" };
    let headers = [(CONTENT_TYPE, format.media_type()), (HeaderName::from_static("testimony-truncated"), truncated)];
    Ok((headers, answer.write(format).map_err(failed)?).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openapi_names_every_route_and_no_other() {
        let document: Value = serde_json::from_str(OPENAPI).unwrap();
        let mut described: Vec<(String, String)> = Vec::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            described.extend(methods.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone())));
        }
        let mut routes: Vec<(String, String)> =
            ROUTES.iter().map(|(method, path)| ((*method).into(), (*path).into())).collect();
        described.sort();
        routes.sort();
        assert_eq!(described, routes);
    }

    #[test]
    fn only_our_own_pages_may_follow() {
        let headers = |origin: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static("127.0.0.1:4140"));
            headers.insert(ORIGIN, origin.parse().unwrap());
            headers
        };
        assert!(check_origin(&headers("http://127.0.0.1:4140")).is_ok());
        assert!(check_origin(&headers("http://evil.example")).is_err());
        assert!(check_origin(&headers("null")).is_err());
        assert!(check_origin(&HeaderMap::new()).is_ok());
    }
}
