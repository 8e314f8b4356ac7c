//! What the centre says, and why nothing was delivered.

use std::time::Duration;

use dial::{PeerAnswer, PeerError};
use http::StatusCode;
use http::header::RETRY_AFTER;
use ledger::FollowError;
use serde::Deserialize;

/// The longest that a centre can put this node off.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// The most of a refusal that is told, in characters.
const DETAIL_CHARS_MAX: usize = 300;

/// Why nothing was delivered. Everything is kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// No whole answer came.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The centre refuses, and may do otherwise later.
    #[error("it answered {status}: {detail}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// What it says.
        detail: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// What answers is no centre, or not one of ours.
    #[error("what it answers is not what a centre says: {0}")]
    Answer(String),
    /// The centre has more of this log than there is.
    #[error(
        "it has {theirs} records of {origin}, and here are {ours}: another log has this name, or this directory is an old copy. \
         Bring back the newest one, or give this log another name there with forward.origin"
    )]
    Ahead {
        /// The name that the centre knows this log by.
        origin: String,
        /// How many records of it the centre has.
        theirs: u64,
        /// How many there are.
        ours: u64,
    },
    /// Our own log cannot be read.
    #[error("the log cannot be read back: {0}")]
    Follow(#[from] FollowError),
    /// A thread of ours ended: a bug.
    #[error("reading the log was broken off")]
    Broken,
}

impl Failure {
    /// Whether waiting alone will hardly mend it, so that somebody has to.
    pub(crate) fn needs_somebody(&self) -> bool {
        match self {
            Self::Refused { status, .. } => {
                status.is_client_error()
                    && !matches!(
                        *status,
                        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS | StatusCode::PAYLOAD_TOO_LARGE
                    )
            }
            Self::Peer(PeerError::Unreachable { .. } | PeerError::Slow { .. }) => false,
            _ => true,
        }
    }

    /// Whether less at once may go through: the way is slow, or something on it takes no large bodies.
    pub(crate) fn is_about_size(&self) -> bool {
        match self {
            Self::Refused { status, .. } => *status == StatusCode::PAYLOAD_TOO_LARGE,
            Self::Peer(PeerError::Slow { .. }) => true,
            _ => false,
        }
    }

    /// When the centre wants to be asked again.
    pub(crate) const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// The centre's answer.
#[derive(Deserialize)]
struct Said {
    next: Option<u64>,
    detail: Option<String>,
}

/// The index that the centre wants next. It says so in a good answer, and when it was sent what comes later.
pub(crate) fn next(answer: &PeerAnswer) -> Result<u64, Failure> {
    let said = serde_json::from_slice::<Said>(&answer.body).ok();
    let (next, detail) = said.map_or((None, None), |said| (said.next, said.detail));
    match (answer.status, next) {
        (StatusCode::OK | StatusCode::CONFLICT, Some(next)) => Ok(next),
        (StatusCode::OK, None) => Err(Failure::Answer("it names no index".to_owned())),
        (status, _) => {
            let said = detail.unwrap_or_else(|| String::from_utf8_lossy(&answer.body).into_owned());
            let detail = said.chars().filter(|c| !c.is_control()).take(DETAIL_CHARS_MAX).collect();
            Err(Failure::Refused { status, detail, retry_after: retry_after(answer) })
        }
    }
}

/// RFC 9110, section 10.2.3; a date says nothing here.
fn retry_after(answer: &PeerAnswer) -> Option<Duration> {
    let seconds: u64 = answer.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn answered(status: u16, body: &'static str) -> Result<u64, Failure> {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static("7"))]);
        next(&PeerAnswer { status: StatusCode::from_u16(status).unwrap(), headers, body: body.into() })
    }

    #[test]
    fn the_centre_says_where_to_go_on() {
        assert_eq!(answered(200, r#"{"next":7}"#).unwrap(), 7);
        assert_eq!(answered(409, r#"{"code":"ahead","next":3}"#).unwrap(), 3);
        assert!(matches!(answered(200, "<html>hello</html>"), Err(Failure::Answer(_))));
        assert!(matches!(answered(200, r#"{"next":-1}"#), Err(Failure::Answer(_))));
    }

    #[test]
    fn what_heals_by_itself_is_told_from_what_does_not() {
        let failure = |status, body| answered(status, body).unwrap_err();
        let refused = failure(403, r#"{"detail":"this key may not"}"#);
        assert_eq!(refused.to_string(), "it answered 403 Forbidden: this key may not");
        assert!(refused.needs_somebody());
        let two_logs = failure(409, r#"{"code":"other_log","detail":"two logs"}"#);
        assert!(two_logs.needs_somebody());
        let away = failure(503, "");
        assert_eq!((away.needs_somebody(), away.retry_after()), (false, Some(Duration::from_secs(7))));
        assert!(failure(413, "").is_about_size() && !failure(413, "").needs_somebody());
        assert!(!failure(429, "").needs_somebody());
    }
}
