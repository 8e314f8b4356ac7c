//! `/witness/…`: this server as a witness of other logs (C2SP tlog-witness).

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use witness::Refusal;

use crate::api::Api;
use crate::asked::Asked;
use crate::problem::Problem;

/// C2SP tlog-witness, section "add-checkpoint".
pub(crate) async fn add_checkpoint(State(api): State<Api>, body: Bytes) -> Result<Response, Problem> {
    let witness = api.witness().ok_or_else(no_witness)?;
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
pub(crate) struct WitnessedQuery {
    origin: String,
}

/// The latest checkpoint of a log that this witness has cosigned: what its cosignatures are remembered by.
pub(crate) async fn witnessed(
    State(api): State<Api>,
    Asked(query): Asked<WitnessedQuery>,
) -> Result<Response, Problem> {
    let witness = api.witness().ok_or_else(no_witness)?;
    let note = witness.latest(&query.origin)?;
    let note = note.ok_or_else(|| Problem::not_found("this witness has cosigned no checkpoint of that log"))?;
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], note).into_response())
}

fn no_witness() -> Problem {
    Problem::not_found("this server is no witness; the setting witnessing.cosigns makes it one")
}
