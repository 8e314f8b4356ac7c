//! `/metrics`: the figures of this server, for Prometheus.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::header::{ACCEPT, CONTENT_TYPE, VARY};
use http::{HeaderMap, StatusCode};
use metrics::{
    Beside, CHECKPOINT_COSIGNATURES, FORWARD_WAITING, FORWARD_WAITING_BYTES, FORWARD_WAITING_BYTES_MAX, Format,
    MetricsError, SEARCH_QUERIES, SEARCH_SEGMENTS, SEARCH_UNINDEXED, SEARCH_UNINDEXED_SEGMENTS,
};

use crate::api::{Api, Running, not_running};
use crate::problem::Problem;

pub(crate) fn routes() -> Router<Api> {
    Router::new().route("/metrics", get(figures))
}

async fn figures(State(api): State<Api>, headers: HeaderMap) -> Result<Response, Problem> {
    let running = api.running().ok_or_else(|| not_running("there is nothing to measure"))?.clone();
    // A client may send the header several times (RFC 9110, section 5.3).
    let accept: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let format = Format::wanted(&accept.join(","));
    let written = tokio::task::spawn_blocking(move || running.metrics.write(format, &beside(&api, &running))).await;
    let failed = |detail: String| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unavailable", detail);
    let text = written.map_err(|error| failed(error.to_string()))?.map_err(|error| {
        tracing::error!(%error, "the metrics cannot be written");
        failed(error.to_string())
    })?;
    Ok(([(CONTENT_TYPE, format.media_type()), (VARY, "accept")], text).into_response())
}

impl Api {
    /// The figures as a request of OTLP in JSON; nothing for a log that is not being written. Blocks.
    ///
    /// # Errors
    /// When the disk of the log cannot be looked at.
    pub fn figures_as_otlp(&self) -> Option<Result<String, MetricsError>> {
        let running = self.running()?;
        Some(running.metrics.write_otlp(&beside(self, running)))
    }
}

/// What search, delivery and the published log say of themselves.
fn beside(api: &Api, running: &Running) -> Beside {
    let (segments, unindexed_segments) = api.engine().segments();
    let unindexed = api.engine().unindexed_of(running.intake.ledger.durable().size);
    let queries = api.engine().queries().list(|_| true).len();
    let delivery = running.delivery.as_ref().map(forward::Status::now);
    Beside {
        gauges: vec![
            (&CHECKPOINT_COSIGNATURES, cosignatures(api)),
            (&SEARCH_SEGMENTS, Some(segments as u64)),
            (&SEARCH_UNINDEXED_SEGMENTS, Some(unindexed_segments as u64)),
            (&SEARCH_UNINDEXED, Some(unindexed)),
            (&SEARCH_QUERIES, Some(queries as u64)),
            (&FORWARD_WAITING, delivery.as_ref().map(|standing| standing.waiting)),
            (&FORWARD_WAITING_BYTES, delivery.as_ref().map(|standing| standing.waiting_bytes)),
            (&FORWARD_WAITING_BYTES_MAX, delivery.as_ref().map(|standing| standing.waiting_bytes_max)),
        ],
    }
}

/// How many have signed the published checkpoint beside the log itself; nothing while there is none.
fn cosignatures(api: &Api) -> Option<u64> {
    let note = api.log().checkpoint().ok().flatten()?;
    let signatures = std::str::from_utf8(&note).ok()?.lines().filter(|line| line.starts_with("— "));
    Some((signatures.count() as u64).saturating_sub(1))
}
