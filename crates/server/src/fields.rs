//! `/api/v1/fields`: what can be asked for, and with which values, for whoever completes what somebody types.

use axum::extract::{Extension, Path, State};
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use search::{Format, KnownField, Limits};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::admission::Caller;
use crate::api::{Api, bad_request, written};
use crate::asked::Asked;
use crate::problem::Problem;
use crate::reading::Reading;

/// Values when nothing is said.
const VALUES: usize = 20;
/// The most values that can be asked for.
const VALUES_MAX: usize = 1_000;

pub(crate) fn routes() -> Router<Api> {
    Router::new().route("/api/v1/fields", get(fields)).route("/api/v1/fields/{field}/values", get(values))
}

async fn fields(State(api): State<Api>, Extension(caller): Extension<Caller>) -> Result<Json<Value>, Problem> {
    let fields = api.engine().fields(&caller.view, Limits::default()).await?;
    api.note(&caller, Reading::rows("fields", "", fields.len(), false)).await;
    Ok(Json(json!({"fields": fields.iter().map(shown).collect::<Vec<_>>()})))
}

fn shown(field: &KnownField) -> Value {
    let mut shown = json!({"name": field.name, "type": field.values, "aliases": field.aliases});
    if let Some(description) = field.description {
        shown["description"] = description.into();
    }
    shown
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ValuesQuery {
    #[serde(default)]
    prefix: String,
    limit: Option<usize>,
}

async fn values(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(field): Path<String>,
    Asked(ValuesQuery { prefix, limit }): Asked<ValuesQuery>,
) -> Result<Response, Problem> {
    let rows_max = limit.unwrap_or(VALUES);
    if rows_max > VALUES_MAX {
        return Err(bad_request(format!("limit is at most {VALUES_MAX}")));
    }
    let said = format!("{field}:{prefix}*");
    let limits = Limits { rows_max, ..Limits::default() };
    let answer = api.engine().values(&caller.view, field, prefix, limits).await?;
    api.note(&caller, Reading::rows("values", &said, answer.rows(), answer.is_truncated())).await;
    written(&answer, Format::Json)
}
