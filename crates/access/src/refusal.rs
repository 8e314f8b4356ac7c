//! Why somebody was refused: all of it for the record, and what helps an honest client for the client.

use http::StatusCode;

use crate::certificate::CertificateError;
use crate::keys::KeyRefusal;
use crate::oidc::OidcError;
use crate::role::Action;
use crate::sessions::SessionRefusal;
use crate::token::TokenError;

/// Somebody was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Why, for the record.
    pub reason: Reason,
    /// The keyed fingerprint of what was presented.
    pub fingerprint: Option<String>,
}

/// Why, in full: this is for the record, and not for the client (see [`Refused::sentence`]).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Nothing was presented, and nobody is let in without.
    #[error("no credential was presented")]
    NoCredential,
    /// Two that differ: which of them was meant must not depend on the order in which headers are read.
    #[error("two different credentials were presented")]
    TwoCredentials,
    /// The header `authorization` is not `Bearer …`.
    #[error("the authorization header has another scheme than Bearer")]
    Scheme,
    /// Neither a key of this program nor a token, or one of a kind that is not configured.
    #[error("what was presented is no credential that is taken here")]
    Unrecognised,
    /// An API key.
    #[error(transparent)]
    Key(#[from] KeyRefusal),
    /// A token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A client certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A session of the console.
    #[error(transparent)]
    Session(#[from] SessionRefusal),
    /// Signing in by an OpenID provider.
    #[error(transparent)]
    Oidc(#[from] OidcError),
    /// The credential ended while it was in use.
    #[error("the credential has ended")]
    Ended,
    /// Too many failures came from this address.
    #[error("too many attempts from this address have failed; the next one counts in {retry_after_s} s")]
    Throttled {
        /// Seconds until one is looked at again.
        retry_after_s: u64,
    },
    /// No role allows it.
    #[error("no role that was granted allows {0}")]
    Role(Action),
    /// A role allows it and the policy does not.
    #[error("the policy does not allow it: {0}")]
    Policy(String),
    /// A role allows it elsewhere.
    #[error("{0} is allowed, but not here: it is out of scope")]
    Scope(Action),
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Self { reason, fingerprint: None }
    }
}

impl Reason {
    /// A word for `error.type` of the record.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::NoCredential => "no_credential",
            Self::TwoCredentials => "two_credentials",
            Self::Scheme => "scheme",
            Self::Unrecognised => "unrecognised",
            Self::Key(refusal) => refusal.word(),
            Self::Token(error) => error.word(),
            Self::Certificate(_) => "certificate",
            Self::Session(refusal) => refusal.word(),
            Self::Oidc(error) => error.word(),
            Self::Ended => "ended",
            Self::Throttled { .. } => "throttled",
            Self::Role(_) => "role",
            Self::Scope(_) => "scope",
            Self::Policy(_) => "policy",
        }
    }

    /// Whether it is known who is asking, and this is what they may not.
    const fn is_about_what(&self) -> bool {
        use SessionRefusal::{Derived, Elsewhere, Forged};
        matches!(self, Self::Role(_) | Self::Scope(_) | Self::Policy(_) | Self::Session(Forged | Elsewhere | Derived))
    }
}

impl Refused {
    /// 401 when it is not known who is calling, 403 when they may not (RFC 9110), 429 for too many failures (RFC 6585).
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match &self.reason {
            reason if reason.is_about_what() => StatusCode::FORBIDDEN,
            Reason::Throttled { .. } => StatusCode::TOO_MANY_REQUESTS,
            Reason::Oidc(OidcError::Away(_) | OidcError::Discovery(_)) => StatusCode::BAD_GATEWAY,
            _ => StatusCode::UNAUTHORIZED,
        }
    }

    /// The same sentence for an unknown, an expired, a revoked and a forged credential: whoever found one learns nothing about it.
    #[must_use]
    pub fn sentence(&self) -> String {
        match &self.reason {
            Reason::NoCredential => "send a credential in the header authorization: Bearer …".to_owned(),
            Reason::Throttled { .. } | Reason::Session(SessionRefusal::Link) => self.reason.to_string(),
            Reason::Oidc(error) => error.sentence(),
            reason if reason.is_about_what() => reason.to_string(),
            Reason::Session(_) => "you are not, or no longer, signed in: `testimony login` makes a new link".to_owned(),
            Reason::TwoCredentials => "send one credential, in one header".to_owned(),
            _ => "the credential was not accepted; the record of this refusal says why".to_owned(),
        }
    }

    /// The value of `www-authenticate` that a 401 has to have (RFC 9110 §11.6.1, RFC 6750 §3).
    #[must_use]
    pub const fn challenge(&self) -> Option<&'static str> {
        match &self.reason {
            Reason::Throttled { .. } => None,
            reason if reason.is_about_what() => None,
            Reason::NoCredential => Some("Bearer"),
            _ => Some("Bearer error=\"invalid_token\""),
        }
    }

    /// Whether it is to be recorded: after too many failures from one address no more are, so that nobody fills the log.
    #[must_use]
    pub const fn is_worth_a_record(&self) -> bool {
        !matches!(self.reason, Reason::Throttled { .. })
    }

    /// The value of `retry-after`, in seconds.
    #[must_use]
    pub const fn retry_after_s(&self) -> Option<u64> {
        match self.reason {
            Reason::Throttled { retry_after_s } => Some(retry_after_s),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_cannot_tell_a_revoked_key_from_an_unknown_one() {
        let refused = |refusal: KeyRefusal| Refused::from(Reason::from(refusal));
        let (unknown, revoked) = (refused(KeyRefusal::Unknown), refused(KeyRefusal::Revoked));
        assert_eq!(unknown.sentence(), revoked.sentence());
        assert_eq!(
            (unknown.status(), unknown.challenge(), unknown.retry_after_s()),
            (revoked.status(), revoked.challenge(), revoked.retry_after_s())
        );
        assert_ne!(unknown.reason.word(), revoked.reason.word());
        assert_ne!(unknown.reason.to_string(), revoked.reason.to_string());
    }

    #[test]
    fn the_status_says_whether_it_is_about_who_or_about_what() {
        let refused = |reason: Reason| Refused::from(reason);
        assert_eq!(refused(Reason::NoCredential).status(), 401);
        assert_eq!(refused(Reason::Scope(Action::Search)).status(), 403);
        assert_eq!(refused(SessionRefusal::Ended.into()).status(), 401);
        assert_eq!(refused(SessionRefusal::Forged.into()).status(), 403);
        assert_eq!(refused(SessionRefusal::Forged.into()).challenge(), None);
        let throttled = refused(Reason::Throttled { retry_after_s: 7 });
        assert_eq!((throttled.status().as_u16(), throttled.retry_after_s()), (429, Some(7)));
    }
}
