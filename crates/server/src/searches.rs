//! `/api/v1/searches`: searches under a name, for all who search. What is in force is a fold over `control` records.

mod saved;

use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use policy::Administration;
use search::{Limits, Search};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::admission::Caller;
use crate::api::{Api, bad_request, not_running};
use crate::asked::Asked;
use crate::asked::check_json;
use crate::problem::Problem;
use crate::reading::Reading;
pub(crate) use saved::SavedSearches;
use saved::{Change, Saved, SearchName, version_told};

/// Versions of one name that are told.
const HISTORY_MAX: usize = 1_000;

pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/v1/searches", get(list))
        .route("/api/v1/searches/{name}", get(one).put(save).delete(remove))
        .route("/api/v1/searches/{name}/history", get(history))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VersionQuery {
    /// The version that this takes the place of; none: there is none of this name.
    version: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    query: String,
}

async fn list(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    let all = api.searches().all(api.engine()).await?;
    Ok(Json(json!({"searches": all.iter().map(Saved::shown).collect::<Vec<_>>()})))
}

async fn one(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    let saved = api.searches().named(api.engine(), &named(name)?).await?;
    Ok(Json(saved.shown()))
}

async fn save(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Asked(VersionQuery { version }): Asked<VersionQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    check_json(&headers)?;
    let name = named(name)?;
    let Wanted { query } = serde_json::from_slice(&body).map_err(|error| bad_request(error.to_string()))?;
    let intake = api.intake().ok_or_else(|| not_running("no search can be saved in it"))?;
    Search { query: query.clone(), ..Search::default() }.check(intake.now()).map_err(search::EngineError::from)?;
    changed(api, caller, "PUT", Change { name, query: Some(query), replaces: version }).await
}

async fn remove(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Asked(VersionQuery { version }): Asked<VersionQuery>,
) -> Result<Response, Problem> {
    changed(api, caller, "DELETE", Change { name: named(name)?, query: None, replaces: version }).await
}

async fn changed(api: Api, caller: Caller, method: &'static str, change: Change) -> Result<Response, Problem> {
    let (Some(admission), Some(intake)) = (api.admission().cloned(), api.intake().cloned()) else {
        return Err(not_running("its saved searches cannot be changed"));
    };
    let action = if change.query.is_some() { "search.save" } else { "search.delete" };
    let administration = Administration { action: action.into(), target: change.name.as_str().to_owned() };
    let path = format!("/api/v1/searches/{}", change.name.as_str());
    if let Err(refused) = admission.may_change(&caller, method, &path, administration).await {
        return Ok(refused);
    }
    let is_new = change.query.is_some() && change.replaces.is_none();
    // To its end even when the client leaves: what is in the log is to be in force.
    let done = tokio::spawn(async move { api.searches().change(api.engine(), &intake, &caller, change).await }).await;
    let broken = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unavailable", "the search could not be changed");
    let saved = done.map_err(broken)??;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(saved.shown())).into_response())
}

async fn history(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    let name = named(name)?;
    let limits = Limits { rows_max: HISTORY_MAX, ..Limits::default() };
    let (records, is_truncated) = saved::history(api.engine(), &name, limits).await?;
    if records.is_empty() {
        return Err(saved::unknown(&name));
    }
    api.note(&caller, Reading::rows("searches", name.as_str(), records.len(), is_truncated)).await;
    let versions: Vec<Value> = records.iter().map(version_told).collect();
    Ok(Json(json!({"name": name.as_str(), "versions": versions, "truncated": is_truncated})))
}

fn named(name: String) -> Result<SearchName, Problem> {
    SearchName::parse(name)
        .ok_or_else(|| bad_request("the name of a saved search is 1 to 64 of a-z, 0-9 and -".to_owned()))
}
