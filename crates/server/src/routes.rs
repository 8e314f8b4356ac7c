//! `/api/v1/routes`: routes and their versions, for all who search; changed by operators. `/api/v1/control` undoes a change.

mod book;

use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use control::{ModelName, Promotion, RouteName, Routes, Share, Standing, Target, UpstreamName};
use http::{HeaderMap, StatusCode};
use search::Limits;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::admission::Caller;
use crate::api::{Api, bad_request, not_running};
use crate::asked::{Asked, check_json};
use crate::problem::Problem;
use crate::reading::Reading;
pub use book::RouteBook;
use book::{Changed, Wish};

/// Changes of one route that are told.
const HISTORY_MAX: usize = 1_000;
/// The longest reason.
const REASON_BYTES_MAX: usize = 4 << 10;

pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/v1/routes", get(list))
        .route("/api/v1/routes/{route}", get(one))
        .route("/api/v1/routes/{route}/history", get(history))
        .route("/api/v1/routes/{route}/promote", post(promote))
        .route("/api/v1/routes/{route}/rollback", post(roll_back))
        .route("/api/v1/control/{record}/revert", post(revert))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AtQuery {
    /// As it was then; none: as it is.
    at: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Promoted {
    version: String,
    upstream: Option<UpstreamName>,
    model: Option<ModelName>,
    #[serde(default = "whole")]
    percent: Share,
    revision: Option<u64>,
    #[serde(default)]
    reason: String,
}

fn whole() -> Share {
    Share::WHOLE
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Undone {
    revision: Option<u64>,
    reason: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Reverted {
    reason: String,
}

async fn list(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Asked(AtQuery { at }): Asked<AtQuery>,
) -> Result<Json<Value>, Problem> {
    let routes = stood(&api, &caller, at.as_deref(), "").await?;
    Ok(Json(json!({"routes": routes.all().map(shown).collect::<Vec<_>>()})))
}

async fn one(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(route): Path<String>,
    Asked(AtQuery { at }): Asked<AtQuery>,
) -> Result<Json<Value>, Problem> {
    let name = named(&route)?;
    let routes = stood(&api, &caller, at.as_deref(), name.as_str()).await?;
    let standing = routes.named(name.as_str()).ok_or_else(|| {
        let then = at.map_or_else(String::new, |at| format!(" at {at}"));
        Problem::not_found(format!("there is no route {name}{then}; GET /api/v1/routes lists them"))
    })?;
    Ok(Json(shown(standing)))
}

/// The routes as they are, or as they were. What was is read from the log, and that is recorded.
async fn stood(api: &Api, caller: &Caller, at: Option<&str>, which: &str) -> Result<Routes, Problem> {
    match (at, api.routes()) {
        (None, Some(book)) => Ok(book.in_force().as_ref().clone()),
        (None, None) => book::read(api.engine(), None).await,
        (Some(at), book) => {
            let until = api.engine().moment(at).ok_or_else(|| {
                bad_request(format!(
                    "{at:?} is no moment: write 2026-11-20T14:00Z, 2026-11-20, or 7d for seven days ago"
                ))
            })?;
            let routes = book::read(api.engine(), Some(until)).await?;
            if book.is_some() {
                api.note(caller, Reading::rows("routes", which, routes.all().count(), false)).await;
            }
            Ok(routes)
        }
    }
}

async fn history(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(route): Path<String>,
) -> Result<Json<Value>, Problem> {
    let name = named(&route)?;
    let limits = Limits { rows_max: HISTORY_MAX, ..Limits::default() };
    let (records, is_truncated) = book::history(api.engine(), &name, limits).await?;
    if records.is_empty() {
        return Err(Problem::not_found(format!("there was never a route {name}")));
    }
    api.note(&caller, Reading::rows("routes", name.as_str(), records.len(), is_truncated)).await;
    let changes: Vec<Value> = records.iter().filter_map(told).collect();
    Ok(Json(json!({"name": name.as_str(), "changes": changes, "truncated": is_truncated})))
}

async fn promote(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(route): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let route = named(&route)?;
    let Promoted { version, upstream, model, percent, revision, reason } = asked(&headers, &body)?;
    let target = match (model, upstream) {
        (Some(model), upstream) => Some(Target { model, upstream: upstream.unwrap_or_else(UpstreamName::usual) }),
        (None, None) => None,
        (None, Some(_)) => return Err(bad_request("\"upstream\" needs \"model\": what it is called there".to_owned())),
    };
    let path = format!("/api/v1/routes/{route}/promote");
    let promotion = Promotion { route, version, target, share: percent, seen: revision };
    changed(api, caller, path, Wish::Promote(promotion), reason).await
}

async fn roll_back(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(route): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let route = named(&route)?;
    let Undone { revision, reason } = asked(&headers, &body)?;
    let path = format!("/api/v1/routes/{route}/rollback");
    changed(api, caller, path, Wish::RollBack { route, seen: revision }, reason).await
}

async fn revert(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(record): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let Reverted { reason } = asked(&headers, &body)?;
    if !record.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(Problem::not_found(format!("there is no record {record:?}")));
    }
    let path = format!("/api/v1/control/{record}/revert");
    changed(api, caller, path, Wish::Revert { record }, reason).await
}

async fn changed(api: Api, caller: Caller, path: String, wish: Wish, reason: String) -> Result<Response, Problem> {
    if reason.len() > REASON_BYTES_MAX {
        return Err(bad_request(format!("the reason has more than {REASON_BYTES_MAX} bytes")));
    }
    let (Some(book), Some(admission), Some(intake)) =
        (api.routes().cloned(), api.admission().cloned(), api.intake().cloned())
    else {
        return Err(not_running("its routes cannot be changed"));
    };
    // To its end even when the client leaves: what is in the log is to be in force.
    let done = tokio::spawn(async move {
        let engine = api.engine().clone();
        book.change(&engine, &intake, (&admission, &caller, &path), wish, &reason).await
    });
    let broken = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unavailable", "the route could not be changed");
    Ok(match done.await.map_err(broken)?? {
        Changed::Refused(response) => response,
        Changed::Now(standing) => Json(shown(&standing)).into_response(),
    })
}

/// A body that may be left out where all of it may.
fn asked<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Problem> {
    check_json(headers)?;
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| bad_request(error.to_string()))
}

fn named(route: &str) -> Result<RouteName, Problem> {
    RouteName::parse(route).ok_or_else(|| bad_request(format!("the name of a route is {}", RouteName::RULE)))
}

/// A route as the interface shows it: its versions, and the change that made it so.
fn shown(standing: &Standing) -> Value {
    let change = &standing.change;
    json!({
        "name": change.route,
        "revision": change.revision,
        "versions": change.after,
        "act": change.act.word(),
        "version": change.version,
        "restores": change.restores,
        "undoes": change.undoes,
        "at": standing.at.to_string(),
        "by": standing.by,
        "record": standing.record,
    })
}

/// A record of a route's history: how it was from then on, how it was before, and why.
fn told(record: &Value) -> Option<Value> {
    let standing = Standing::of(record)?;
    let mut told = shown(&standing);
    told["before"] = json!(standing.change.before);
    told["reason"] = json!(record.get("content").and_then(|content| content.get(book::REASON)));
    told["log_index"] = json!(record.get("log_index"));
    Some(told)
}
