//! `/api/v1/queries`: the queries that are running, and the way to end one.

use access::{Action, Identity, Target, authorize};
use axum::extract::{Extension, Path, State};
use axum::routing::{delete, get};
use axum::{Json, Router};
use record::{Draft, Outcome, Timestamp, Uuid};
use search::{Query, QueryKind, Running};
use serde_json::{Value, json};

use crate::admission::Caller;
use crate::api::{Api, not_running};
use crate::intake::Intake;
use crate::problem::Problem;
use crate::reading::{QUERY, Reading, text_field};

/// The door of this log that such records come through.
const PRODUCER: &str = "control";

pub(crate) fn routes() -> Router<Api> {
    Router::new().route("/api/v1/queries", get(list)).route("/api/v1/queries/{id}", delete(cancel))
}

/// A query of somebody, in the list for as long as it runs.
pub(crate) fn listed<T: 'static>(
    api: &Api,
    caller: &Caller,
    kind: QueryKind,
    text: &str,
    query: Running<T>,
) -> Running<T> {
    api.engine().queries().listed(kind, text, caller.identity.clone(), query)
}

/// Those that the caller may end.
async fn list(State(api): State<Api>, Extension(caller): Extension<Caller>) -> Result<Json<Value>, Problem> {
    let admission = api.admission().ok_or_else(|| not_running("no query runs in it"))?;
    let running = api.engine().queries().list(|query| may_end(&caller, query, admission.now()));
    api.note(&caller, Reading::rows("queries", "", running.len(), false)).await;
    let shown = running.iter().map(|query| shown(query, &caller, admission.now()));
    Ok(Json(json!({"queries": shown.collect::<Vec<_>>()})))
}

/// Ends one. It is over from here on, whatever becomes of the record.
async fn cancel(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let (Some(admission), Some(intake)) = (api.admission(), api.intake()) else {
        return Err(not_running("no query runs in it"));
    };
    let now = admission.now();
    let ended =
        id.parse().ok().and_then(|id: Uuid| api.engine().queries().cancel(id, |query| may_end(&caller, query, now)));
    let ended = ended.ok_or_else(|| {
        Problem::not_found(format!("no query {id:?} is running that you may cancel; GET /api/v1/queries lists them"))
    })?;
    admission.record(draft(&ended, &caller, intake)).await?;
    Ok(Json(shown(&ended, &caller, now)))
}

/// One's own, or all of them.
fn may_end(caller: &Caller, query: &Query, now: Timestamp) -> bool {
    is_own(caller, query) || may_everywhere(caller, Action::Operate, now)
}

fn is_own(caller: &Caller, query: &Query) -> bool {
    let who = |identity: &Identity| (identity.kind.as_str(), identity.id.clone());
    caller.identity.as_deref().map(who) == query.by.as_deref().map(who)
}

/// A query may name what is outside of any scope, so a role within one is not enough.
fn may_everywhere(caller: &Caller, action: Action, now: Timestamp) -> bool {
    caller.identity.as_deref().is_none_or(|identity| authorize(identity, action, Target::Everything, now).is_ok())
}

/// A query as the interface shows it. What others ask names other people: it is for those who may read `read` records.
fn shown(query: &Query, caller: &Caller, now: Timestamp) -> Value {
    let micros = now.as_micros().saturating_sub(query.since.as_micros());
    let mut shown = json!({
        "id": query.id.to_string(),
        "kind": query.kind.as_str(),
        "started_at": query.since.to_string(),
        "duration_ms": micros / 1_000,
    });
    if let Some(by) = query.by.as_deref() {
        shown["actor_type"] = by.kind.as_str().into();
        shown["actor_id"] = by.id.as_str().into();
    }
    if is_own(caller, query) || may_everywhere(caller, Action::ReadEverything, now) {
        shown["query"] = query.text.as_str().into();
    }
    shown
}

/// The record of a query that was ended: by whom, and whose.
fn draft(query: &Query, caller: &Caller, intake: &Intake) -> Draft {
    let mut draft = intake.control(caller, PRODUCER);
    draft.outcome = Some(Outcome::Completed);
    draft.attributes.set("testimony.control.change", "query_cancelled");
    draft.attributes.set("testimony.query.id", query.id.to_string());
    draft.attributes.set("testimony.query.kind", query.kind.as_str());
    if let Some(by) = query.by.as_deref() {
        draft.attributes.set_text("testimony.query.actor_id", &by.id);
    }
    draft.content.push(text_field(QUERY, &query.text));
    draft
}
