//! Bearer tokens: JSON web tokens (RFC 7519) as an OpenID provider signs them.
//!
//! Verified with `ring` directly, and not through a library for tokens: what has gone wrong in those (RFC 8725 §2) is who chooses
//! the algorithm. Here a key knows what it can verify, the settings say which algorithms are taken, and a shared secret and public
//! keys are two ways of making a verifier that cannot be had at once. What a header says of where keys are (`jku`, `x5u`, `jwk`,
//! `x5c`) is not read.
//!
//! | file | what is in it |
//! |---|---|
//! | `compact` | the three parts of a token (RFC 7515 §7.1), strictly |
//! | `unique` | JSON in which no name stands twice |
//! | `key_set` | public keys (RFC 7517, RFC 7518 §6, RFC 8037), each with what it can verify |
//! | `mapping` | [`ClaimMapping`]: from claims to an identity |

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use record::Timestamp;
use ring::hmac;
use serde_json::{Map, Value};

use crate::digest::sha256;
use crate::identity::Identity;
use crate::recent::Recent;

mod compact;
mod key_set;
mod mapping;
mod unique;

pub(crate) use compact::Compact;
use key_set::KeySet;
pub use key_set::{Algorithm, KeySetError};
pub use mapping::{ClaimMapping, GroupGrant};

/// The most bytes that a token may have.
pub const TOKEN_BYTES_MAX: usize = 16 << 10;
/// How far the clocks of issuer and verifier may be apart.
const LEEWAY_MICROS: i64 = 60_000_000;
/// Keys are fetched again after this long, so that a withdrawn one goes.
const KEYS_AGE_MICROS_MAX: i64 = 3_600_000_000;
/// Keys are fetched at most this often, whatever tokens say: a stranger must not make us call the issuer.
const FETCH_PAUSE_MICROS_MIN: i64 = 60_000_000;
/// The shortest secret for HS256: as long as its output (RFC 7518 §3.2).
const SECRET_BYTES_MIN: usize = 32;
/// So many verified tokens are remembered, each with an identity of less than a token's size.
const REMEMBERED_MAX: usize = 1_024;

/// Who issues tokens, for whom, and what they mean.
#[derive(Debug, Clone)]
pub struct TokenSettings {
    /// `iss` has to be exactly this.
    pub issuer: String,
    /// `aud` has to have one of these.
    pub audiences: Vec<String>,
    /// The algorithms that are taken; [`Algorithm::DEFAULT`] for most.
    pub algorithms: Vec<Algorithm>,
    /// What claims mean.
    pub mapping: ClaimMapping,
}

/// Settings that would verify nothing, or too much.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// No issuer or no audience.
    #[error("a token verifier needs an issuer and at least one audience")]
    Incomplete,
    /// The algorithm and the kind of key do not go together.
    #[error("{0} cannot be taken with {1}")]
    Algorithm(Algorithm, &'static str),
    /// The secret can be guessed.
    #[error("the secret for HS256 has {0} bytes; at least {SECRET_BYTES_MIN} are needed")]
    Secret(usize),
}

/// Verifies the tokens of one issuer.
pub struct TokenVerifier {
    settings: TokenSettings,
    keys: Keys,
    /// Verified tokens by their SHA-256.
    remembered: Mutex<Recent<[u8; 32], Arc<Identity>>>,
}

/// Either, and never both: a public key is never a secret.
enum Keys {
    Public { set: RwLock<Arc<KeySet>>, fetching: Mutex<Fetching> },
    Secret(hmac::Key),
}

/// When keys were fetched, in microseconds since the epoch.
#[derive(Default)]
struct Fetching {
    fetched: Option<i64>,
    asked: Option<i64>,
    /// A token named a key that is not there.
    is_missed: bool,
}

/// Why a token was not accepted. Texts are from the token, and cut to a length that fits a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Too large.
    #[error("the token has {0} bytes, more than the {TOKEN_BYTES_MAX} that are read")]
    TooLarge(usize),
    /// Not a signed token in compact form.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// Also `none`.
    #[error("the token is signed with {0:?}, which is not taken")]
    Algorithm(String),
    /// RFC 7515 §4.1.11: what is critical and not understood is refused, and none is understood here.
    #[error("the token has critical header parameters that are not understood")]
    Critical,
    /// RFC 8725 §3.11.
    #[error("the token is of type {0:?}, which is not for access")]
    Type(String),
    /// Not said, and there is more than one that it could be.
    #[error("the token does not say which key has signed it")]
    NoKeyId,
    /// Perhaps a new key: see [`TokenVerifier::needs_keys`].
    #[error("the token is signed with the key {0:?}, which the issuer does not have")]
    UnknownKey(String),
    /// Forged or damaged.
    #[error("the signature of the token is wrong")]
    Signature,
    /// Another issuer.
    #[error("the token is from another issuer")]
    Issuer,
    /// For another service.
    #[error("the token is for another audience")]
    Audience,
    /// Over.
    #[error("the token has expired")]
    Expired,
    /// Not begun, or issued later than now.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// A claim that is needed is missing or not what it should be.
    #[error("the claim {0:?} of the token is missing or not what it should be")]
    Claim(String),
}

impl TokenVerifier {
    /// For an issuer with public keys, of which there are none until [`TokenVerifier::replace_keys`].
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn with_public_keys(settings: TokenSettings) -> Result<Self, SettingsError> {
        let fits = |algorithm: Algorithm| algorithm != Algorithm::Hs256;
        let keys = Keys::Public { set: RwLock::default(), fetching: Mutex::default() };
        Self::new(settings, keys, fits, "public keys")
    }

    /// For an issuer that shares a secret with us. Only HS256 can be taken.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn with_secret(settings: TokenSettings, secret: &[u8]) -> Result<Self, SettingsError> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(SettingsError::Secret(secret.len()));
        }
        let keys = Keys::Secret(hmac::Key::new(hmac::HMAC_SHA256, secret));
        Self::new(settings, keys, |algorithm| algorithm == Algorithm::Hs256, "a shared secret")
    }

    fn new(
        settings: TokenSettings,
        keys: Keys,
        fits: impl Fn(Algorithm) -> bool,
        what: &'static str,
    ) -> Result<Self, SettingsError> {
        let TokenSettings { issuer, audiences, algorithms, .. } = &settings;
        if issuer.is_empty() || audiences.is_empty() || audiences.contains(&String::new()) || algorithms.is_empty() {
            return Err(SettingsError::Incomplete);
        }
        if let Some(other) = algorithms.iter().find(|algorithm| !fits(**algorithm)) {
            return Err(SettingsError::Algorithm(*other, what));
        }
        Ok(Self { settings, keys, remembered: Mutex::new(Recent::new(REMEMBERED_MAX)) })
    }

    /// Takes the issuer's keys as it publishes them (a JWK set). What was verified with the old ones is verified again. Says how
    /// many can be used; with a shared secret none is.
    ///
    /// # Errors
    /// When it is no key set, or one without a key that could be used: then the old keys stay.
    pub fn replace_keys(&self, jwks: &[u8], now: Timestamp) -> Result<usize, KeySetError> {
        let Keys::Public { set, fetching } = &self.keys else { return Ok(0) };
        let new = KeySet::parse(jwks)?;
        let count = new.len();
        *set.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let mut fetching = fetching.lock().unwrap_or_else(PoisonError::into_inner);
        *fetching = Fetching { fetched: Some(now.as_micros()), asked: fetching.asked, is_missed: false };
        Ok(count)
    }

    /// Whether the keys should be fetched now: there are none, they are older than an hour, or a token named one that is not there.
    /// Whoever is told so has to fetch, since nobody else is told for a minute. To be asked after [`TokenError::UnknownKey`], and now
    /// and then. While the issuer cannot be reached, the keys that are there go on being used.
    pub fn needs_keys(&self, now: Timestamp) -> bool {
        let Keys::Public { fetching, .. } = &self.keys else { return false };
        let mut fetching = fetching.lock().unwrap_or_else(PoisonError::into_inner);
        let over = |since: Option<i64>, micros: i64| since.is_none_or(|since| now.as_micros() - since >= micros);
        let needs = fetching.is_missed || over(fetching.fetched, KEYS_AGE_MICROS_MAX);
        if !needs || !over(fetching.asked, FETCH_PAUSE_MICROS_MIN) {
            return false;
        }
        fetching.asked = Some(now.as_micros());
        true
    }

    /// Who a token says is calling. A token that was verified before is only held against the clock.
    ///
    /// # Errors
    /// See [`TokenError`]. The difference is for the record; a client learns only that it was refused.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Arc<Identity>, TokenError> {
        match self.remembered(token, now) {
            Some(remembered) => remembered,
            None => self.verify_anew(&Compact::parse(token)?, now),
        }
    }

    /// What is known of a token without looking at its signature again.
    pub(crate) fn remembered(&self, token: &str, now: Timestamp) -> Option<Result<Arc<Identity>, TokenError>> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let identity = remembered.touch(&sha256(token.as_bytes()))?.clone();
        Some(if identity.has_ended(now) { Err(TokenError::Expired) } else { Ok(identity) })
    }

    /// Whether a token says that it is of this verifier's issuer; it may be lying.
    pub(crate) fn is_named_by(&self, token: &Compact<'_>) -> bool {
        token.unverified_claims.get("iss").and_then(Value::as_str) == Some(self.settings.issuer.as_str())
    }

    pub(crate) fn verify_anew(&self, token: &Compact<'_>, now: Timestamp) -> Result<Arc<Identity>, TokenError> {
        let set = self.check_signature(token)?;
        let expires_at = self.check_claims(&token.unverified_claims, now)?;
        let identity = Arc::new(self.settings.mapping.identity(&token.unverified_claims, expires_at)?);
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        // Keys that were replaced while we looked have emptied the memory: nothing of the old ones goes in after that.
        if self.is_current(set.as_ref()) {
            remembered.insert(sha256(token.text.as_bytes()), identity.clone());
        }
        Ok(identity)
    }

    /// The key set that the signature was checked with.
    fn check_signature(&self, token: &Compact<'_>) -> Result<Option<Arc<KeySet>>, TokenError> {
        let algorithm = token.algorithm.parse().ok().filter(|known| self.settings.algorithms.contains(known));
        let algorithm: Algorithm = algorithm.ok_or_else(|| TokenError::Algorithm(token.algorithm.clone()))?;
        let message = token.message.as_bytes();
        match &self.keys {
            Keys::Secret(secret) => {
                hmac::verify(secret, message, &token.signature).map_err(|_| TokenError::Signature)?;
                Ok(None)
            }
            Keys::Public { set, fetching } => {
                let set = set.read().unwrap_or_else(PoisonError::into_inner).clone();
                let key = set.find(token.key_id.as_deref(), algorithm).inspect_err(|error| {
                    if matches!(error, TokenError::UnknownKey(_)) {
                        fetching.lock().unwrap_or_else(PoisonError::into_inner).is_missed = true;
                    }
                })?;
                let is_right = key.verifies(algorithm, message, &token.signature);
                if is_right { Ok(Some(set)) } else { Err(TokenError::Signature) }
            }
        }
    }

    fn is_current(&self, checked_with: Option<&Arc<KeySet>>) -> bool {
        match (&self.keys, checked_with) {
            (Keys::Public { set, .. }, Some(used)) => {
                Arc::ptr_eq(&set.read().unwrap_or_else(PoisonError::into_inner), used)
            }
            (Keys::Secret(_), None) => true,
            _ => false,
        }
    }

    /// RFC 7519 §4.1, after the signature. When it is no longer taken, leeway and all, is what comes back.
    fn check_claims(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<Timestamp, TokenError> {
        if claims.get("iss").and_then(Value::as_str) != Some(self.settings.issuer.as_str()) {
            return Err(TokenError::Issuer);
        }
        let is_ours = |audience: &Value| self.settings.audiences.iter().any(|ours| audience.as_str() == Some(ours));
        let is_for_us = match claims.get("aud") {
            Some(Value::Array(audiences)) => audiences.iter().any(is_ours),
            Some(audience) => is_ours(audience),
            None => false,
        };
        if !is_for_us {
            return Err(TokenError::Audience);
        }
        let expires_at = moment(claims, "exp")?.ok_or_else(|| TokenError::Claim("exp".to_owned()))?;
        let ends = Timestamp::from_micros(expires_at.as_micros().saturating_add(LEEWAY_MICROS));
        if now >= ends {
            return Err(TokenError::Expired);
        }
        for begins in ["nbf", "iat"] {
            if moment(claims, begins)?.is_some_and(|begins| minus_leeway(begins) > now) {
                return Err(TokenError::NotYetValid);
            }
        }
        Ok(ends)
    }
}

fn minus_leeway(time: Timestamp) -> Timestamp {
    Timestamp::from_micros(time.as_micros() - LEEWAY_MICROS)
}

/// A NumericDate (RFC 7519 §2): seconds, perhaps with a fraction, which is cut off.
fn moment(claims: &Map<String, Value>, name: &str) -> Result<Option<Timestamp>, TokenError> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let whole = value.as_u64();
    let cut = || std::time::Duration::try_from_secs_f64(value.as_f64()?).ok().map(|since| since.as_secs());
    let seconds = whole.or_else(cut).ok_or_else(|| TokenError::Claim(name.to_owned()))?;
    Ok(Some(Timestamp::from_posix_seconds(seconds)))
}

impl TokenError {
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "token_too_large",
            Self::Malformed(_) => "token_malformed",
            Self::Algorithm(_) => "token_algorithm",
            Self::Critical => "token_critical",
            Self::Type(_) => "token_type",
            Self::NoKeyId => "token_no_key_id",
            Self::UnknownKey(_) => "token_unknown_key",
            Self::Signature => "token_signature",
            Self::Issuer => "token_issuer",
            Self::Audience => "token_audience",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::Claim(_) => "token_claim",
        }
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
