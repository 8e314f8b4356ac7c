//! Why somebody who was asked has no verdict.

use dial::PeerError;

/// Why there is no verdict, in words of ours: a caller may read them, so they name no address and quote no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// The time is over, whether it went by in waiting for a place or for the answer.
    #[error("it did not answer within {0} ms")]
    Slow(u64),
    /// There was no whole answer.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// There is more of the answer than is read.
    #[error("its answer has more than {0} bytes")]
    Long(usize),
    /// A refusal, or a redirect, which is not followed.
    #[error("it answered with status {0}")]
    Status(u16),
    /// The answer has none of the forms that count.
    #[error("its answer is not {0}")]
    Unclear(&'static str),
    /// It was not asked.
    #[error("there are {bytes} bytes to judge, more than its text_bytes_max of {bytes_max}")]
    TextTooLong {
        /// How many there are.
        bytes: usize,
        /// How many it takes.
        bytes_max: usize,
    },
    /// It was not asked: that would be a bug of ours.
    #[error("the question could not be written")]
    Question,
}

impl Failure {
    pub(crate) fn of_peer(error: PeerError, timeout_ms: u64) -> Self {
        match error {
            PeerError::Slow { .. } => Self::Slow(timeout_ms),
            PeerError::TooLarge { bytes_max, .. } => Self::Long(bytes_max),
            PeerError::Unreachable { why, .. } => Self::Unreachable(why),
            PeerError::Address(_) | PeerError::Roots(_) | PeerError::Credentials(_) | PeerError::Token => {
                Self::Question
            }
        }
    }
}
