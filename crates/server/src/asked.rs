//! What a request asks for in the query of its URL, and in which form it does in its body.

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use crate::api::bad_request;
use crate::problem::Problem;

/// The query of the URL, or a problem that says what is wrong with it.
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let asked = Query::<T>::from_request_parts(parts, state).await;
        let Query(asked) = asked.map_err(|error: QueryRejection| bad_request(error.body_text()))?;
        Ok(Self(asked))
    }
}

/// A form in a browser cannot claim this media type without asking first.
pub(crate) fn check_json(headers: &HeaderMap) -> Result<(), Problem> {
    let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if media.starts_with("application/json") {
        return Ok(());
    }
    let detail = "send the header content-type: application/json";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type", detail))
}
