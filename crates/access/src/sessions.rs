//! Sessions of the console: a link that works once, a cookie, and a token against forged requests.
//!
//! Nothing here is kept on disk: after a restart everybody signs in again. What a browser holds is random, and what is held here is its
//! SHA-256, so that a memory dump opens no session.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use record::Timestamp;
use world::Entropy;

use crate::digest::{equal, sha256};
use crate::identity::{Identity, Method};
use crate::recent::Recent;
use crate::secret::Secret;

/// A session ends after this long, in seconds.
pub const SESSION_S_MAX: i64 = 12 * 3_600;
/// A session that is not used ends after this long, in seconds.
pub const SESSION_IDLE_S_MAX: i64 = 3_600;
/// A link works for this long, in seconds.
pub const LINK_S_MAX: i64 = 300;
/// The most sessions at once; a further one ends that which was idle for longest.
const SESSIONS_MAX: usize = 1_024;
/// The most links that wait at once.
const LINKS_MAX: usize = 64;

/// The sessions of a running server.
pub struct Sessions(Mutex<Tables>);

struct Tables {
    links: Recent<[u8; 32], Session>,
    sessions: Recent<[u8; 32], Session>,
}

/// A link that signs somebody in, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignInLink {
    /// What stands in it.
    pub token: Secret,
    /// Until when it works.
    pub expires_at: Timestamp,
}

/// A session that has just begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// The value of its cookie.
    pub cookie: Secret,
    /// Whose it is.
    pub identity: Arc<Identity>,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
}

/// Times are in microseconds since the epoch.
struct Session {
    identity: Arc<Identity>,
    opened: i64,
    seen: i64,
}

/// Why there is no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionRefusal {
    /// The link was used, is over, or never was.
    #[error("the sign-in link is not, or no longer, good: it works once and for five minutes")]
    Link,
    /// No such session; perhaps the server was started again.
    #[error("there is no such session")]
    Unknown,
    /// Its time is over.
    #[error("the session has ended")]
    Ended,
    /// The request was not made by a page of the console.
    #[error("the request lacks the token of its session against forged requests, in the header x-csrf-token")]
    Forged,
    /// A browser says that a page of another origin has made the request.
    #[error("the request was made by a page of another origin")]
    Elsewhere,
    /// A session would never end if it could make the link for the next one.
    #[error("a session makes no sign-in link: show the key, token or certificate itself")]
    Derived,
}

impl Default for Sessions {
    fn default() -> Self {
        Self::new()
    }
}

impl Sessions {
    /// Nobody has signed in.
    #[must_use]
    pub fn new() -> Self {
        Self(Mutex::new(Tables { links: Recent::new(LINKS_MAX), sessions: Recent::new(SESSIONS_MAX) }))
    }

    /// A link with which whoever opens it first signs in as somebody. What stands in it is 128 random bits.
    pub fn link(&self, identity: &Identity, now: Timestamp, entropy: &dyn Entropy) -> SignInLink {
        let token = URL_SAFE_NO_PAD.encode(entropy.bytes::<16>());
        let link = Session::new(identity, now);
        let expires_at = link.ends_at(LINK_S_MAX);
        self.tables().links.insert(sha256(token.as_bytes()), link);
        SignInLink { token: Secret::new(token), expires_at }
    }

    /// Signs in with a link, which then is used up.
    ///
    /// # Errors
    /// [`SessionRefusal::Link`].
    pub fn redeem(&self, token: &str, now: Timestamp, entropy: &dyn Entropy) -> Result<SignedIn, SessionRefusal> {
        let link = self.tables().links.remove(&sha256(token.as_bytes())).ok_or(SessionRefusal::Link)?;
        if now >= link.ends_at(LINK_S_MAX) {
            return Err(SessionRefusal::Link);
        }
        Ok(self.open(&link.identity, now, entropy))
    }

    /// Signs somebody in who was identified in another way. The value of the cookie is 256 random bits.
    pub fn open(&self, identity: &Identity, now: Timestamp, entropy: &dyn Entropy) -> SignedIn {
        let cookie = URL_SAFE_NO_PAD.encode(entropy.bytes::<32>());
        let session = Session::new(identity, now);
        let (identity, expires_at) = (session.identity.clone(), session.ends_at(SESSION_S_MAX));
        self.tables().sessions.insert(sha256(cookie.as_bytes()), session);
        SignedIn { cookie: Secret::new(cookie), identity, expires_at }
    }

    /// Whose session it is, which counts as used. Enough for reading; what changes something has to pass
    /// [`Sessions::check_forged`] too.
    ///
    /// # Errors
    /// [`SessionRefusal::Unknown`], [`SessionRefusal::Ended`].
    pub fn identify(&self, cookie: &str, now: Timestamp) -> Result<Arc<Identity>, SessionRefusal> {
        let mut tables = self.tables();
        let place = sha256(cookie.as_bytes());
        let session = tables.sessions.touch(&place).ok_or(SessionRefusal::Unknown)?;
        let is_idle = now.as_micros() - session.seen >= SESSION_IDLE_S_MAX * 1_000_000;
        if is_idle || now >= session.ends_at(SESSION_S_MAX) {
            tables.sessions.remove(&place);
            return Err(SessionRefusal::Ended);
        }
        session.seen = now.as_micros();
        Ok(session.identity.clone())
    }

    /// When a session ends at the latest.
    pub fn ends_at(&self, cookie: &str) -> Option<Timestamp> {
        Some(self.tables().sessions.peek(&sha256(cookie.as_bytes()))?.ends_at(SESSION_S_MAX))
    }

    /// Ends a session, and says whose it was.
    pub fn close(&self, cookie: &str) -> Option<Arc<Identity>> {
        self.tables().sessions.remove(&sha256(cookie.as_bytes())).map(|session| session.identity)
    }

    /// Ends the sessions and links that an API key has opened: to be called when it is revoked. Says how many.
    pub fn close_of_key(&self, key_id: &str) -> usize {
        let mut tables = self.tables();
        let keeps = |session: &Session| session.identity.key_id.as_deref() != Some(key_id);
        tables.links.retain(keeps) + tables.sessions.retain(keeps)
    }

    /// What a page of the console sends with every change (`x-csrf-token`). It follows from the cookie, which no script can read, and
    /// nothing follows from it.
    #[must_use]
    pub fn forgery_token(cookie: &str) -> String {
        URL_SAFE_NO_PAD.encode(sha256(format!("testimony/v1/csrf\n{cookie}").as_bytes()))
    }

    /// That a request comes from a page of this session.
    ///
    /// # Errors
    /// [`SessionRefusal::Forged`].
    pub fn check_forged(cookie: &str, presented: &str) -> Result<(), SessionRefusal> {
        let is_right = equal(Self::forgery_token(cookie).as_bytes(), presented.as_bytes());
        if is_right { Ok(()) } else { Err(SessionRefusal::Forged) }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn new(identity: &Identity, now: Timestamp) -> Self {
        let identity = Arc::new(Identity { method: Method::Session, ..identity.clone() });
        Self { identity, opened: now.as_micros(), seen: now.as_micros() }
    }

    /// So many seconds after it began, or with the credential that it comes from.
    fn ends_at(&self, seconds_max: i64) -> Timestamp {
        let ends = Timestamp::from_micros(self.opened + seconds_max * 1_000_000);
        self.identity.expires_at.map_or(ends, |credential| credential.min(ends))
    }
}

impl SessionRefusal {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Link => "session_link",
            Self::Unknown => "session_unknown",
            Self::Ended => "session_ended",
            Self::Forged => "session_forged",
            Self::Elsewhere => "session_elsewhere",
            Self::Derived => "session_derived",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use world::SeededEntropy;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros((1_800_000_000 + seconds) * 1_000_000)
    }

    fn who(key_id: &str, expires_at: Option<Timestamp>) -> Identity {
        let key_id = Some(key_id.to_owned());
        Identity { key_id, expires_at, ..Identity::anonymous(Vec::new()) }
    }

    #[test]
    fn a_link_works_once_and_for_five_minutes() {
        let (sessions, entropy) = (Sessions::new(), SeededEntropy::new(1));
        let link = sessions.link(&who("k", None), at(0), &entropy).token;
        assert_eq!(link.expose().len(), 22);
        let cookie = sessions.redeem(link.expose(), at(299), &entropy).unwrap().cookie;
        assert_eq!(sessions.identify(cookie.expose(), at(299)).unwrap().key_id.as_deref(), Some("k"));
        assert_eq!(sessions.redeem(link.expose(), at(299), &entropy), Err(SessionRefusal::Link));
        let late = sessions.link(&who("k", None), at(0), &entropy).token;
        assert_eq!(sessions.redeem(late.expose(), at(300), &entropy), Err(SessionRefusal::Link));
        // Too late is also used up.
        assert_eq!(sessions.redeem(late.expose(), at(0), &entropy), Err(SessionRefusal::Link));
        assert_eq!(sessions.identify(link.expose(), at(0)), Err(SessionRefusal::Unknown));
    }

    #[test]
    fn a_session_ends_when_idle_and_in_any_case_after_twelve_hours() {
        let sessions = Sessions::new();
        let idle = sessions.open(&who("k", None), at(0), &SeededEntropy::new(1)).cookie;
        sessions.identify(idle.expose(), at(3_599)).unwrap();
        sessions.identify(idle.expose(), at(3_599 + 3_599)).unwrap();
        assert_eq!(sessions.identify(idle.expose(), at(3_599 + 3_599 + 3_600)), Err(SessionRefusal::Ended));
        assert_eq!(sessions.identify(idle.expose(), at(0)), Err(SessionRefusal::Unknown));
        let busy = sessions.open(&who("k", None), at(0), &SeededEntropy::new(2)).cookie;
        for half_hour in 0..24 {
            sessions.identify(busy.expose(), at(half_hour * 1_800)).unwrap();
        }
        assert_eq!(sessions.identify(busy.expose(), at(12 * 3_600)), Err(SessionRefusal::Ended));
    }

    #[test]
    fn a_session_does_not_outlive_its_credential() {
        let sessions = Sessions::new();
        let cookie = sessions.open(&who("k", Some(at(60))), at(0), &SeededEntropy::new(1)).cookie;
        assert_eq!(sessions.ends_at(cookie.expose()), Some(at(60)));
        sessions.identify(cookie.expose(), at(59)).unwrap();
        assert_eq!(sessions.identify(cookie.expose(), at(60)), Err(SessionRefusal::Ended));
        let entropy = SeededEntropy::new(2);
        let link = sessions.link(&who("k", Some(at(60))), at(0), &entropy);
        assert_eq!(link.expires_at, at(60));
        assert_eq!(sessions.redeem(link.token.expose(), at(60), &entropy), Err(SessionRefusal::Link));
    }

    #[test]
    fn revoking_a_key_ends_what_it_has_opened() {
        let (sessions, entropy) = (Sessions::new(), SeededEntropy::new(1));
        let (one, other) = (
            sessions.open(&who("a", None), at(0), &entropy).cookie,
            sessions.open(&who("b", None), at(0), &entropy).cookie,
        );
        let link = sessions.link(&who("a", None), at(0), &entropy).token;
        assert_eq!(sessions.close_of_key("a"), 2);
        assert_eq!(sessions.identify(one.expose(), at(1)), Err(SessionRefusal::Unknown));
        assert_eq!(sessions.redeem(link.expose(), at(1), &entropy), Err(SessionRefusal::Link));
        sessions.identify(other.expose(), at(1)).unwrap();
        let closed = sessions.close(other.expose()).unwrap();
        assert_eq!(*closed, Identity { method: Method::Session, ..who("b", None) });
        assert_eq!(sessions.identify(other.expose(), at(1)), Err(SessionRefusal::Unknown));
    }

    #[test]
    fn the_token_of_another_session_is_forged() {
        let (sessions, entropy) = (Sessions::new(), SeededEntropy::new(1));
        let [a, b] = [(); 2].map(|()| sessions.open(&who("k", None), at(0), &entropy).cookie);
        let token = Sessions::forgery_token(a.expose());
        assert_eq!(Sessions::check_forged(a.expose(), &token), Ok(()));
        for forged in ["", a.expose(), &Sessions::forgery_token(b.expose()), &token[1..]] {
            assert_eq!(Sessions::check_forged(a.expose(), forged), Err(SessionRefusal::Forged));
        }
    }

    #[test]
    fn more_sessions_than_there_may_be_end_the_oldest() {
        let (sessions, entropy) = (Sessions::new(), SeededEntropy::new(1));
        let cookies: Vec<Secret> =
            (0..=SESSIONS_MAX).map(|_| sessions.open(&who("k", None), at(0), &entropy).cookie).collect();
        assert_eq!(sessions.identify(cookies[0].expose(), at(1)), Err(SessionRefusal::Unknown));
        sessions.identify(cookies[1].expose(), at(1)).unwrap();
        assert_eq!(sessions.tables().sessions.len(), SESSIONS_MAX);
    }
}
