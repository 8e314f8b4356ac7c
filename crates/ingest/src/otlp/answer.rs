//! What a sender is answered: how much was taken, or why nothing was (OTLP specification, "OTLP/HTTP Response" and "OTLP/gRPC Response").

use serde_json::json;

use super::wire::Writer;
use super::{Encoding, Signal};

/// The longest message in an answer, in bytes: a header of gRPC must hold it, escaped.
const MESSAGE_BYTES_MAX: usize = 1_024;
/// The name of the message that says when to try again (`google/rpc/error_details.proto`).
const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// What a status says, by the numbers of `google.rpc.Code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// 3: it can never be taken as it is. Not to be sent again.
    InvalidArgument,
    /// 7: whoever sends may not.
    PermissionDenied,
    /// 8: it is too large. Not to be sent again as it is, unless the status says when.
    ResourceExhausted,
    /// 12: the method, the encoding or the compression is not known.
    Unimplemented,
    /// 13: the framing is broken.
    Internal,
    /// 14: the log cannot be written just now. To be sent again.
    Unavailable,
    /// 16: whoever sends did not say who they are.
    Unauthenticated,
}

/// Why a request was not taken. Nothing of it was stored, or it is not known to be: whoever sends it again stores nothing twice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// What sort of reason.
    pub code: Code,
    /// One sentence for people.
    pub message: String,
    /// After how many seconds to try again.
    pub retry_seconds: Option<u32>,
}

impl Code {
    /// The number of it.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::InvalidArgument => 3,
            Self::PermissionDenied => 7,
            Self::ResourceExhausted => 8,
            Self::Unimplemented => 12,
            Self::Internal => 13,
            Self::Unavailable => 14,
            Self::Unauthenticated => 16,
        }
    }
}

impl Status {
    /// A status after which nobody need try again.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let mut message: String = message.into();
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        Self { code, message, retry_seconds: None }
    }

    /// The log cannot be written: nothing was acknowledged, and all of it is to be sent again after so many seconds.
    #[must_use]
    pub fn unavailable(message: impl Into<String>, retry_seconds: u32) -> Self {
        Self { retry_seconds: Some(retry_seconds), ..Self::new(Code::Unavailable, message) }
    }

    /// The status of an HTTP answer with this body. With `retry_seconds` the answer has a `Retry-After` of as many.
    #[must_use]
    pub const fn http_status(&self) -> u16 {
        match (self.code, self.retry_seconds) {
            (Code::InvalidArgument, _) => 400,
            (Code::Unauthenticated, _) => 401,
            (Code::PermissionDenied, _) => 403,
            (Code::ResourceExhausted, None) => 413,
            (Code::ResourceExhausted, Some(_)) => 429,
            (Code::Unimplemented, _) => 415,
            (Code::Internal, _) => 500,
            (Code::Unavailable, _) => 503,
        }
    }

    /// `google.rpc.Status` in an encoding: the body of an HTTP answer, or (in Protocol Buffers, base64) `grpc-status-details-bin`.
    #[must_use]
    pub fn body(&self, encoding: Encoding) -> Vec<u8> {
        match encoding {
            Encoding::Protobuf => {
                let mut status = Writer::default();
                status.number(1, u64::from(self.code.number()));
                status.text(2, &self.message);
                if let Some(seconds) = self.retry_seconds {
                    let (mut duration, mut retry, mut any) = (Writer::default(), Writer::default(), Writer::default());
                    duration.number(1, u64::from(seconds));
                    retry.message(1, &duration.0);
                    any.text(1, RETRY_INFO);
                    any.message(2, &retry.0);
                    status.message(3, &any.0);
                }
                status.0
            }
            Encoding::Json => {
                let mut status = json!({"code": self.code.number(), "message": self.message});
                if let (Some(seconds), Some(members)) = (self.retry_seconds, status.as_object_mut()) {
                    let detail = json!({"@type": RETRY_INFO, "retryDelay": format!("{seconds}s")});
                    members.insert("details".into(), json!([detail]));
                }
                status.to_string().into_bytes()
            }
        }
    }
}

/// `ExportTraceServiceResponse` or `ExportLogsServiceResponse`: everything was taken (and the body is empty, or `{}`), or so many spans or log
/// records were refused for good, with the reason. The status is 200 either way.
#[must_use]
pub fn response(signal: Signal, encoding: Encoding, refused: u64, message: &str) -> Vec<u8> {
    let message = Status::new(Code::InvalidArgument, message).message;
    let is_full = refused == 0 && message.is_empty();
    match encoding {
        Encoding::Protobuf if is_full => Vec::new(),
        Encoding::Protobuf => {
            let (mut partial, mut response) = (Writer::default(), Writer::default());
            partial.number(1, refused);
            partial.text(2, &message);
            response.message(1, &partial.0);
            response.0
        }
        Encoding::Json if is_full => b"{}".to_vec(),
        Encoding::Json => {
            let member = if signal == Signal::Traces { "rejectedSpans" } else { "rejectedLogRecords" };
            // A 64-bit number is a text in the JSON mapping of Protocol Buffers.
            json!({"partialSuccess": {member: refused.to_string(), "errorMessage": message}}).to_string().into_bytes()
        }
    }
}
