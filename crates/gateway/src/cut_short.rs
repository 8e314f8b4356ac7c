//! What cuts a call short, and what becomes of it then.

use std::time::Duration;

use http::StatusCode;
use record::Outcome;

use crate::openai::refusal::Refusal;

/// Why a call was cut short.
pub(crate) enum CutShort {
    ClientGone,
    Stopping,
    Upstream {
        error: &'static str,
        message: String,
        status: StatusCode,
    },
    /// By a guardrail or the policy.
    Withheld(Refusal),
}

impl CutShort {
    pub(crate) fn upstream(status: StatusCode, error: &'static str, message: impl Into<String>) -> Self {
        Self::Upstream { error, message: message.into(), status }
    }

    pub(crate) fn outcome(&self) -> (Outcome, &'static str) {
        match self {
            Self::ClientGone => (Outcome::Aborted, "client_gone"),
            Self::Stopping => (Outcome::Interrupted, "process_stopped"),
            Self::Withheld(refusal) => (Outcome::Blocked, refusal.code),
            Self::Upstream { error, .. } => (Outcome::Failed, error),
        }
    }

    pub(crate) fn refusal(&self) -> Refusal {
        match self {
            Self::ClientGone | Self::Stopping => {
                Refusal::server(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the gateway is being stopped; try again")
            }
            Self::Withheld(refusal) => refusal.clone(),
            Self::Upstream { error, message, status } => Refusal::server(*status, error, message.clone()),
        }
    }
}

pub(crate) fn paused(idle: Duration) -> CutShort {
    let message = format!("the model server said nothing for {} s", idle.as_secs());
    CutShort::upstream(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", message)
}

pub(crate) fn not_spooled(error: &std::io::Error) -> CutShort {
    let message = format!("the answer cannot be kept while it flows: {error}");
    CutShort::upstream(StatusCode::SERVICE_UNAVAILABLE, "not_recorded", message)
}
