//! The routes of the main listener.

use std::sync::Arc;
use std::time::Duration;

use access::{Action, Peer, is_from_elsewhere};
use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Extension, Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use axum::{Json, http};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::{HeaderMap, Request, StatusCode};
use hyper::body::Incoming;
use ledger::{Ledger, PublishedLog};
use search::{Answer, Engine, Format, Limits, QueryKind, Search, Tail};
use serde::Deserialize;
use serde_json::{Value, json};
use tlog::VerifierKey;
use tower::ServiceExt as _;
use witness::Cosigner;

use crate::admission::{Access, Admission, Caller, admit};
use crate::asked::{Asked, check_json};
use crate::doors;
use crate::evidence;
use crate::fields;
use crate::figures;
use crate::forwarding::{self, Forwarded};
use crate::intake::Intake;
use crate::keys;
use crate::listen::Surface;
use crate::log_files;
use crate::oidc;
use crate::pages;
use crate::problem::Problem;
use crate::queries;
use crate::reading::Reading;
use crate::routes::{self, RouteBook};
use crate::searches::{self, SavedSearches};
use crate::sessions;
use crate::tail;
use crate::witness_routes::{add_checkpoint, witnessed};

/// Every route, with its method and what it asks of whoever uses it. `openapi.json` is tested against this list, and a request
/// whose route is not in it is refused.
pub const ROUTES: [(&str, &str, Access); 51] = [
    ("GET", "/livez", Access::Open),
    ("GET", "/readyz", Access::Open),
    ("GET", "/version", Access::Open),
    ("GET", "/openapi.json", Access::Open),
    ("GET", "/metrics", Access::Everywhere(Action::ReadMetrics)),
    ("GET", "/api/v1/log", Access::Within(Action::Search)),
    ("GET", "/api/v1/search", Access::Within(Action::Search)),
    ("GET", "/api/v1/fields", Access::Within(Action::Search)),
    ("GET", "/api/v1/fields/{field}/values", Access::Within(Action::Search)),
    ("GET", "/api/v1/searches", Access::Within(Action::Search)),
    ("GET", "/api/v1/searches/{name}", Access::Within(Action::Search)),
    // They are everybody's.
    ("PUT", "/api/v1/searches/{name}", Access::Everywhere(Action::Operate)),
    ("DELETE", "/api/v1/searches/{name}", Access::Everywhere(Action::Operate)),
    ("GET", "/api/v1/searches/{name}/history", Access::Within(Action::Search)),
    ("GET", "/api/v1/routes", Access::Within(Action::Search)),
    ("GET", "/api/v1/routes/{route}", Access::Within(Action::Search)),
    ("GET", "/api/v1/routes/{route}/history", Access::Within(Action::Search)),
    ("POST", "/api/v1/routes/{route}/promote", Access::Everywhere(Action::Operate)),
    ("POST", "/api/v1/routes/{route}/rollback", Access::Everywhere(Action::Operate)),
    ("POST", "/api/v1/control/{record}/revert", Access::Everywhere(Action::Operate)),
    ("POST", "/api/v1/sql", Access::Within(Action::Search)),
    // Of others only where the caller may operate everything.
    ("GET", "/api/v1/queries", Access::Within(Action::Search)),
    ("DELETE", "/api/v1/queries/{id}", Access::Within(Action::Search)),
    ("GET", "/api/v1/calls/{id}", Access::Within(Action::Search)),
    ("POST", "/api/v1/records", Access::Within(Action::Ingest)),
    ("POST", "/api/v1/forward/{*origin}", Access::Within(Action::Ingest)),
    ("GET", "/api/v1/records/{id}", Access::Within(Action::Search)),
    ("GET", "/api/v1/records/{id}/proof", Access::Within(Action::Prove)),
    ("GET", "/api/v1/tail", Access::Within(Action::Search)),
    ("POST", "/v1/traces", Access::Within(Action::Ingest)),
    ("POST", "/v1/logs", Access::Within(Action::Ingest)),
    ("POST", "/opentelemetry.proto.collector.trace.v1.TraceService/Export", Access::Within(Action::Ingest)),
    ("POST", "/opentelemetry.proto.collector.logs.v1.LogsService/Export", Access::Within(Action::Ingest)),
    ("POST", "/ingest/kubernetes", Access::Within(Action::Ingest)),
    ("POST", "/ingest/opa/logs", Access::Within(Action::Ingest)),
    ("POST", "/ingest/opa/logs/{partition}", Access::Within(Action::Ingest)),
    ("POST", "/ingest/cloudevents", Access::Within(Action::Ingest)),
    ("GET", "/api/v1/keys", Access::Everywhere(Action::ManageKeys)),
    ("POST", "/api/v1/keys", Access::Everywhere(Action::ManageKeys)),
    ("DELETE", "/api/v1/keys/{key}", Access::Everywhere(Action::ManageKeys)),
    ("GET", "/login", Access::Open),
    ("GET", "/login/oidc", Access::Open),
    ("GET", "/login/callback", Access::Open),
    // What stands in the link is the credential.
    ("POST", "/api/v1/sessions", Access::Open),
    ("POST", "/api/v1/sessions/links", Access::Known),
    ("GET", "/api/v1/sessions/current", Access::Known),
    ("DELETE", "/api/v1/sessions/current", Access::Known),
    ("GET", "/log/checkpoint", Access::Everywhere(Action::ReadLog)),
    ("GET", "/log/tile/{*path}", Access::Everywhere(Action::ReadLog)),
    // A signature of a log that this witness knows is the credential.
    ("POST", "/witness/add-checkpoint", Access::Open),
    ("GET", "/witness/checkpoint", Access::Open),
];

const OPENAPI: &str = include_str!("../openapi.json");
/// The largest body of a request: a statement of 64 KiB and its wrapping.
const BODY_BYTES_MAX: usize = 256 << 10;
/// The most rows that can be asked for.
const ROWS_MAX: usize = 100_000;
/// Records of one call that are shown.
const STORY_ROWS_MAX: usize = 1_000;
/// What ties records into one story, by the column that says it, in the order in which it is looked for.
const TIES: [&str; 3] = ["call_id", "trace_id", "conversation_id"];

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
    /// What only a log that is being written has; none when a stopped one is read.
    running: Option<Running>,
    key: VerifierKey,
    build: Build,
    /// Cosigns the checkpoints of other logs; none when this server is no witness.
    witness: Option<Cosigner>,
    searches: SavedSearches,
}

/// What only a log that is being written has.
#[derive(Clone)]
pub struct Running {
    /// What takes records in.
    pub intake: Intake,
    /// Who may pass.
    pub admission: Admission,
    /// What other logs have delivered.
    pub forwarded: Forwarded,
    /// How far this log is delivered elsewhere, where it is.
    pub delivery: Option<forward::Status>,
    /// What it has counted.
    pub metrics: metrics::Metrics,
    /// Routes and their versions.
    pub routes: RouteBook,
}

impl Api {
    /// The routes over a log that is being written, or over a stopped one when `running` is none.
    #[must_use]
    pub fn new(
        log: PublishedLog,
        engine: Engine,
        running: Option<Running>,
        key: VerifierKey,
        build: Build,
        witness: Option<Cosigner>,
    ) -> Self {
        Self(Arc::new(Inner { log, engine, running, key, build, witness, searches: SavedSearches::default() }))
    }

    /// The log, while it is being written.
    pub(crate) fn ledger(&self) -> Option<&Ledger> {
        self.0.running.as_ref().map(|running| &running.intake.ledger)
    }

    pub(crate) fn running(&self) -> Option<&Running> {
        self.0.running.as_ref()
    }

    pub(crate) fn intake(&self) -> Option<&Intake> {
        self.0.running.as_ref().map(|running| &running.intake)
    }

    pub(crate) fn forwarded(&self) -> Option<&Forwarded> {
        self.0.running.as_ref().map(|running| &running.forwarded)
    }

    pub(crate) fn witness(&self) -> Option<Cosigner> {
        self.0.witness.clone()
    }

    pub(crate) fn admission(&self) -> Option<&Admission> {
        self.0.running.as_ref().map(|running| &running.admission)
    }

    pub(crate) fn log(&self) -> &PublishedLog {
        &self.0.log
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// The routes, while they can be changed.
    pub(crate) fn routes(&self) -> Option<&RouteBook> {
        self.0.running.as_ref().map(|running| &running.routes)
    }

    pub(crate) fn searches(&self) -> &SavedSearches {
        &self.0.searches
    }

    /// Records what somebody is about to be shown.
    pub(crate) async fn note(&self, caller: &Caller, reading: Reading<'_>) {
        if let Some(Running { intake, .. }) = &self.0.running {
            reading.record(intake, caller).await;
        }
    }

    /// The routes.
    pub fn router(self) -> Router {
        Router::new()
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .route("/version", get(version))
            .route("/openapi.json", get(|| async { ([(CONTENT_TYPE, "application/json")], OPENAPI) }))
            .route("/api/v1/log", get(log))
            .route("/api/v1/sql", post(sql))
            .route("/api/v1/calls/{id}", get(call))
            .merge(pages::routes())
            .merge(fields::routes())
            .merge(figures::routes())
            .merge(queries::routes())
            .merge(searches::routes())
            .merge(routes::routes())
            .merge(doors::routes())
            .merge(forwarding::routes())
            .route("/api/v1/records/{id}", get(record))
            .route("/api/v1/records/{id}/proof", get(evidence::proof))
            .route("/api/v1/tail", get(follow))
            .route("/api/v1/keys", get(keys::list).post(keys::make))
            .route("/api/v1/keys/{key}", delete(keys::revoke))
            .route("/login", get(sessions::page))
            .route("/login/oidc", get(oidc::begin))
            .route("/login/callback", get(oidc::callback))
            .route("/api/v1/sessions", post(sessions::open))
            .route("/api/v1/sessions/links", post(sessions::make_link))
            .route("/api/v1/sessions/current", get(sessions::current).delete(sessions::end))
            .merge(log_files::routes())
            .route("/witness/add-checkpoint", post(add_checkpoint))
            .route("/witness/checkpoint", get(witnessed))
            .route_layer(axum::middleware::from_fn_with_state(self.clone(), admit))
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

    async fn answer(&self, mut request: Request<Incoming>, peer: Peer) -> Response {
        request.extensions_mut().insert(peer);
        // HTTP/2 has the name in the URI (RFC 9113 §8.3.1); whoever asks by which name we were addressed looks here.
        let authority = request.uri().authority().and_then(|name| HeaderValue::try_from(name.as_str()).ok());
        if let Some(authority) = authority {
            request.headers_mut().entry(HOST).or_insert(authority);
        }
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
    let mut log = json!({
        "origin": api.0.key.name(),
        "vkey": api.0.key.to_string(),
        "size": durable.as_ref().map(|point| point.size),
        "checkpoint": durable.as_ref().map(|point| point.checkpoint.as_ref()),
    });
    if let Some(delivery) = api.0.running.as_ref().and_then(|running| running.delivery.as_ref()) {
        log["forward"] = json!(delivery.now());
    }
    Json(log)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SqlBody {
    query: String,
    limit: Option<usize>,
    timeout_s: Option<u64>,
    /// A query of the query language that the rows of `records` must meet, and a bound of their time.
    #[serde(default)]
    r#where: String,
    since: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FormatQuery {
    format: Option<String>,
}

async fn sql(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Asked(FormatQuery { format: asked }): Asked<FormatQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let format = format(asked.as_deref())?;
    check_json(&headers)?;
    let body: SqlBody = serde_json::from_slice(&body).map_err(|error| bad_request(error.to_string()))?;
    let mut limits = limits(body.limit, Limits::default().rows_max)?;
    if let Some(seconds) = body.timeout_s {
        limits.deadline = limits.deadline.min(Duration::from_secs(seconds));
    }
    let among = Search { query: body.r#where, since: body.since, until: None };
    let asked = api.0.engine.sql(&caller.view, body.query.clone(), among, limits);
    let answer = queries::listed(&api, &caller, QueryKind::Sql, &body.query, asked).await?;
    api.note(&caller, Reading::rows("sql", &body.query, answer.rows(), answer.is_truncated())).await;
    written(&answer, format)
}

async fn call(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    for tie in TIES {
        let records = story(&api, &caller, tie, &id).await?;
        if !records.is_empty() {
            let is_truncated = records.len() >= STORY_ROWS_MAX;
            api.note(&caller, Reading::rows("show", &id, records.len(), is_truncated)).await;
            return Ok(Json(json!({tie: id, "records": records, "truncated": is_truncated})));
        }
    }
    Err(Problem::not_found(format!("there is no call {id:?}, and no trace or conversation of that name")))
}

async fn record(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    match story(&api, &caller, "id", &id).await?.into_iter().next() {
        Some(record) => {
            api.note(&caller, Reading::rows("show", &id, 1, false)).await;
            Ok(Json(record))
        }
        None => Err(Problem::not_found(format!("there is no record {id:?}"))),
    }
}

pub(crate) fn not_running(so: &str) -> Problem {
    let detail = format!("the log is not being written, so {so}; start it with `testimony serve`");
    Problem::new(StatusCode::CONFLICT, "not_running", detail)
}

async fn story(api: &Api, caller: &Caller, column: &'static str, said: &str) -> Result<Vec<Value>, Problem> {
    Ok(api.0.engine.story(&caller.view, column, said.to_owned(), limits(None, STORY_ROWS_MAX)?).await?)
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
    Extension(caller): Extension<Caller>,
    Asked(query): Asked<TailQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if is_from_elsewhere(&headers) {
        let detail = "pages of another origin may not follow this log";
        return Err(Problem::new(StatusCode::FORBIDDEN, "foreign_origin", detail));
    }
    let Some(ledger) = api.ledger() else {
        return Err(not_running("there is nothing to follow"));
    };
    // A client that was cut off goes on after the last record it has seen.
    let last_seen = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let from = last_seen.map(|index| index.saturating_add(1)).or(query.from).unwrap_or_else(|| ledger.durable().size);
    let tail = Tail::new(&api.0.engine, &caller.view, &query.q, ledger.follow(from))?;
    api.note(&caller, Reading::begins("tail", &query.q)).await;
    let (api, query) = (api.clone(), query.q);
    let ended = move |rows| async move { api.note(&caller, Reading::rows("tail", &query, rows, false)).await };
    Ok(tail::response(tail, ended))
}

pub(crate) fn bad_request(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid_request", detail)
}

pub(crate) fn format(word: Option<&str>) -> Result<Format, Problem> {
    word.map_or(Ok(Format::Json), str::parse).map_err(|error: search::UnknownFormat| bad_request(error.to_string()))
}

pub(crate) fn limits(asked: Option<usize>, otherwise: usize) -> Result<Limits, Problem> {
    let rows_max = asked.unwrap_or(otherwise);
    if rows_max > ROWS_MAX {
        return Err(bad_request(format!("limit is at most {ROWS_MAX}")));
    }
    Ok(Limits { rows_max, ..Limits::default() })
}

pub(crate) fn written(answer: &Answer, format: Format) -> Result<Response, Problem> {
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
            ROUTES.iter().map(|(method, path, _)| ((*method).into(), path.replace("{*", "{"))).collect();
        described.sort();
        routes.sort();
        assert_eq!(described, routes);
    }
}
