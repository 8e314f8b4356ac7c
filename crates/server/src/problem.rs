//! Errors of the main listener (RFC 9457, problem details).

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use search::{EngineError, PageError, SqlError, Stopped};
use serde_json::{Value, json};
use witness::Refusal;

use crate::intake::RETRY_AFTER_S;

/// An error as a client gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    /// After how many seconds it is worth trying again.
    retry_after: Option<u32>,
    /// A member of its own (section 3.2), for programs.
    member: Option<(&'static str, Value)>,
}

impl Problem {
    /// A status, a word for programs and a sentence for people.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), retry_after: None, member: None }
    }

    /// Its status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// What it says to people.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// Says after how many seconds it is worth trying again.
    #[must_use]
    pub const fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Says something more to programs.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.member = Some((name, value.into()));
        self
    }

    /// There is no such thing.
    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason(),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        if let Some((name, value)) = self.member {
            body[name] = value;
        }
        let mut response = (self.status, Json(body)).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The statuses of C2SP tlog-witness.
impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (status, code) = match &refusal {
            Refusal::Malformed(_) | Refusal::OldSize { .. } => (StatusCode::BAD_REQUEST, "malformed"),
            Refusal::UnknownLog(_) => (StatusCode::NOT_FOUND, "unknown_log"),
            Refusal::Signature(_) => (StatusCode::FORBIDDEN, "signature"),
            Refusal::Conflict { .. } => (StatusCode::CONFLICT, "conflict"),
            Refusal::Proof(_) => (StatusCode::UNPROCESSABLE_ENTITY, "inconsistent"),
            Refusal::State(_) => (StatusCode::INTERNAL_SERVER_ERROR, "unavailable"),
        };
        if status.is_server_error() {
            tracing::error!(%refusal, "a checkpoint could not be cosigned");
        }
        Self::new(status, code, refusal.to_string())
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        let (status, code) = match &error {
            EngineError::Query(_) => (StatusCode::BAD_REQUEST, "query"),
            EngineError::Page(PageError::StageHasNoSnippets | PageError::TooManySnippets) => {
                (StatusCode::BAD_REQUEST, "invalid_request")
            }
            EngineError::Page(_) => (StatusCode::BAD_REQUEST, "cursor"),
            EngineError::Sql(SqlError::NotAQuery) => (StatusCode::FORBIDDEN, "not_a_query"),
            EngineError::Sql(_) => (StatusCode::BAD_REQUEST, "sql"),
            EngineError::Deadline(_) => (StatusCode::REQUEST_TIMEOUT, "deadline"),
            EngineError::Memory => (StatusCode::UNPROCESSABLE_ENTITY, "memory"),
            EngineError::Stopped(Stopped::Cancelled) => (StatusCode::CONFLICT, "cancelled"),
            EngineError::Stopped(Stopped::TooMany) => (StatusCode::SERVICE_UNAVAILABLE, "too_many_queries"),
            EngineError::Failed(_) => (StatusCode::UNPROCESSABLE_ENTITY, "query_failed"),
            EngineError::Io(..) | EngineError::Follow(_) => (StatusCode::INTERNAL_SERVER_ERROR, "unavailable"),
        };
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(%error, "a query could not be answered");
        }
        let problem = Self::new(status, code, error.to_string());
        if status == StatusCode::SERVICE_UNAVAILABLE { problem.retry_after(RETRY_AFTER_S) } else { problem }
    }
}
