//! Refusals, in the error envelope that OpenAI clients read.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use serde_json::json;

/// A call that the gateway itself answers with an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// The envelope's `type`: `invalid_request_error`, `server_error`.
    pub kind: &'static str,
    /// The envelope's `code`, for programs.
    pub code: &'static str,
    /// The envelope's `param`: the member of the request that is at fault.
    pub param: Option<String>,
    /// One sentence for a person.
    pub message: String,
    /// After how many seconds it is worth trying again.
    pub retry_after: Option<u32>,
}

impl Refusal {
    /// The caller's mistake.
    #[must_use]
    pub fn invalid(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind: "invalid_request_error", code, param: None, message: message.into(), retry_after: None }
    }

    /// Not the caller's mistake.
    #[must_use]
    pub fn server(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind: "server_error", code, param: None, message: message.into(), retry_after: None }
    }

    /// Names the member at fault.
    #[must_use]
    pub fn param(mut self, name: impl Into<String>) -> Self {
        self.param = Some(name.into());
        self
    }

    /// Whoever calls is not known, or may not. An unknown, an expired and a revoked key are told the same.
    #[must_use]
    pub fn not_admitted(refused: &access::Refused) -> Self {
        let (status, code) = match refused.status() {
            StatusCode::FORBIDDEN => (StatusCode::FORBIDDEN, "permission_denied"),
            StatusCode::TOO_MANY_REQUESTS => (StatusCode::TOO_MANY_REQUESTS, "too_many_attempts"),
            _ => (StatusCode::UNAUTHORIZED, "invalid_api_key"),
        };
        let mut refusal = Self::invalid(status, code, refused.sentence());
        refusal.retry_after = refused.retry_after_s().map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX));
        refusal
    }

    /// The record cannot be written, so the call is not made.
    #[must_use]
    pub fn not_recorded(why: &ledger::AppendError) -> Self {
        let message = format!("the call cannot be recorded and is therefore not answered: {why}; try again later");
        let mut refusal = Self::server(StatusCode::SERVICE_UNAVAILABLE, "not_recorded", message);
        refusal.retry_after = Some(5);
        refusal
    }

    /// The body of the response.
    #[must_use]
    pub fn body(&self) -> Bytes {
        let envelope = json!({"error": {
            "message": self.message, "type": self.kind, "param": self.param, "code": self.code,
        }});
        Bytes::from(envelope.to_string())
    }

    /// The same as an event of a stream that has begun, as model servers tell of an error then.
    #[must_use]
    pub fn event(&self) -> Bytes {
        let mut event = b"data: ".to_vec();
        event.extend_from_slice(&self.body());
        event.extend_from_slice(b"\n\n");
        event.into()
    }

    /// Puts status and headers on a response.
    pub fn apply<B>(&self, response: &mut Response<B>) {
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
    }
}
