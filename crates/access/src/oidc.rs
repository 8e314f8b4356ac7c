//! Signing in by an OpenID provider: the authorization code flow (OpenID Connect Core 1.0 §3.1) with PKCE (RFC 7636).
//!
//! Nothing is kept here between going to the provider and coming back: state, nonce and code verifier follow from a random seed in a
//! cookie, one way only, so that whoever sees the state can make none of the others.

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use record::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use world::Entropy;

use crate::digest::{equal, sha256};
use crate::identity::Identity;
use crate::recent::Recent;
use crate::secret::Secret;
use crate::token::{Compact, TokenError, TokenVerifier};

/// The most bytes of a code, or of the name of an error.
const CODE_BYTES_MAX: usize = 4_096;
const ERROR_BYTES_MAX: usize = 64;
/// The most sign-ins of which it is remembered that they have come back.
const FINISHED_MAX: usize = 4_096;

/// How this program is known to a provider.
#[derive(Debug, Clone)]
pub struct OidcSettings {
    /// The provider's issuer identifier, exactly.
    pub issuer: String,
    /// The name that it has given us.
    pub client_id: String,
    /// The secret that it has given us; none: we are a public client.
    pub client_secret: Option<Secret>,
    /// The address to which it sends browsers back.
    pub redirect: String,
    /// What is asked for; `openid` is among it.
    pub scopes: Vec<String>,
}

/// What a provider says of itself (OpenID Connect Discovery 1.0 §3).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Provider {
    issuer: String,
    authorization_endpoint: String,
    /// Where codes are exchanged.
    pub token_endpoint: String,
    /// Where its keys are.
    pub jwks_uri: String,
    /// RFC 9207 §3: its answers always say from whom they are.
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// A sign-in that goes to the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// Where the browser is to go.
    pub location: String,
    /// What it is to bring back in a cookie.
    pub seed: Secret,
}

/// What the token endpoint is to be asked (OpenID Connect Core 1.0 §3.1.3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRequest {
    /// A form.
    pub body: Secret,
    /// The value of `authorization`, where we have a secret (RFC 6749 §2.3.1).
    pub authorization: Option<Secret>,
}

/// Why nobody was signed in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OidcError {
    /// No answer, or not a good one.
    #[error("the OpenID provider cannot be asked: {0}")]
    Away(String),
    /// What it says of itself cannot be used.
    #[error("what the OpenID provider says of itself cannot be used: {0}")]
    Discovery(&'static str),
    /// Begun in another browser, too long ago, or ended already.
    #[error("this sign-in did not begin in this browser, took longer than ten minutes, or has ended already")]
    NotBegun,
    /// Forged, or of another sign-in.
    #[error("the answer is not to the sign-in that this browser has begun: its state is another")]
    State,
    /// RFC 9207: mixed up.
    #[error("the answer is from another issuer than the one that was asked, or does not say from whom it is")]
    Issuer,
    /// The provider did not want to.
    #[error("the OpenID provider refused: {0}")]
    Denied(String),
    /// Neither a code nor an error, or one twice.
    #[error("the answer of the OpenID provider is malformed")]
    Malformed,
    /// The code was used, is over, or is not ours.
    #[error("the OpenID provider did not exchange the code: it answered {0}")]
    Code(u16),
    /// No ID token.
    #[error("the OpenID provider answered without an ID token")]
    NoToken,
    /// The token is that of another sign-in.
    #[error("the ID token is not for this sign-in: its nonce is another")]
    Nonce,
    /// OpenID Connect Core 1.0 §3.1.3.7.
    #[error("the ID token was given to another client")]
    AuthorizedParty,
    /// The token is not good.
    #[error("the ID token is not good: {0}")]
    Token(#[from] TokenError),
}

/// Sign-ins by one provider.
pub struct OidcLogin {
    settings: OidcSettings,
    verifier: Arc<TokenVerifier>,
    finished: Mutex<Recent<[u8; 32], ()>>,
}

impl Provider {
    /// Reads the document under `/.well-known/openid-configuration` of an issuer.
    ///
    /// # Errors
    /// [`OidcError::Discovery`], also when it is another issuer's, or leads from an issuer with TLS to an address without.
    pub fn parse(json: &[u8], issuer: &str) -> Result<Self, OidcError> {
        let provider: Self =
            serde_json::from_slice(json).map_err(|_| OidcError::Discovery("it is not a discovery document"))?;
        if provider.issuer != issuer {
            return Err(OidcError::Discovery("it is another issuer's"));
        }
        let scheme = if issuer.starts_with("http://") { "http" } else { "https://" };
        let addresses = [&provider.authorization_endpoint, &provider.token_endpoint, &provider.jwks_uri];
        if !addresses
            .iter()
            .all(|address| address.starts_with(scheme) && address.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err(OidcError::Discovery("an address in it is not one, or is without TLS"));
        }
        Ok(provider)
    }
}

impl OidcLogin {
    /// `verifier` takes tokens of the issuer that are for the client.
    #[must_use]
    pub fn new(settings: OidcSettings, verifier: Arc<TokenVerifier>) -> Self {
        Self { settings, verifier, finished: Mutex::new(Recent::new(FINISHED_MAX)) }
    }

    /// The issuer.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.settings.issuer
    }

    /// What verifies ID tokens, and wants the provider's keys for that.
    #[must_use]
    pub fn verifier(&self) -> &TokenVerifier {
        &self.verifier
    }

    /// Begins a sign-in.
    pub fn begin(&self, provider: &Provider, entropy: &dyn Entropy) -> Begun {
        let seed = URL_SAFE_NO_PAD.encode(entropy.bytes::<32>());
        let challenge = URL_SAFE_NO_PAD.encode(sha256(derived(&seed, "verifier").as_bytes()));
        let OidcSettings { client_id, redirect, scopes, .. } = &self.settings;
        let (state, nonce, scope) = (derived(&seed, "state"), derived(&seed, "nonce"), scopes.join(" "));
        let query = form(&[
            ("response_type", "code"),
            ("client_id", client_id),
            ("redirect_uri", redirect),
            ("scope", &scope),
            ("state", &state),
            ("nonce", &nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        let endpoint = &provider.authorization_endpoint;
        let joint = if endpoint.contains('?') { '&' } else { '?' };
        Begun { location: format!("{endpoint}{joint}{query}"), seed: Secret::new(seed) }
    }

    /// Reads what the provider sent the browser back with, and says what the token endpoint is to be asked. A sign-in comes back once.
    ///
    /// # Errors
    /// See [`OidcError`].
    pub fn answered(&self, provider: &Provider, query: &str, seed: Option<&str>) -> Result<TokenRequest, OidcError> {
        let seed = seed.ok_or(OidcError::NotBegun)?;
        let parameter = |name: &str| only(query, name);
        let state = parameter("state")?.unwrap_or_default();
        if !equal(state.as_bytes(), derived(seed, "state").as_bytes()) {
            return Err(OidcError::State);
        }
        match parameter("iss")? {
            Some(issuer) if issuer != self.settings.issuer => return Err(OidcError::Issuer),
            None if provider.authorization_response_iss_parameter_supported => return Err(OidcError::Issuer),
            _ => {}
        }
        if let Some(error) = parameter("error")? {
            let is_plain = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
            return Err(OidcError::Denied(error.chars().filter(is_plain).take(ERROR_BYTES_MAX).collect()));
        }
        let code = parameter("code")?.filter(|code| !code.is_empty() && code.len() <= CODE_BYTES_MAX);
        let code = code.ok_or(OidcError::Malformed)?;
        self.finish_once(seed)?;
        Ok(self.token_request(&code, seed))
    }

    fn finish_once(&self, seed: &str) -> Result<(), OidcError> {
        let (place, mut finished) =
            (sha256(seed.as_bytes()), self.finished.lock().unwrap_or_else(PoisonError::into_inner));
        if finished.peek(&place).is_some() {
            return Err(OidcError::NotBegun);
        }
        finished.insert(place, ());
        Ok(())
    }

    fn token_request(&self, code: &str, seed: &str) -> TokenRequest {
        let OidcSettings { client_id, client_secret, redirect, .. } = &self.settings;
        let verifier = derived(seed, "verifier");
        let mut pairs = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect),
            ("code_verifier", &verifier),
        ];
        let authorization = client_secret.as_ref().map(|secret| {
            let both = format!("{}:{}", encoded(client_id), encoded(secret.expose()));
            Secret::new(format!("Basic {}", STANDARD.encode(both)))
        });
        if authorization.is_none() {
            pairs.push(("client_id", client_id));
        }
        TokenRequest { body: Secret::new(form(&pairs)), authorization }
    }

    /// Reads what the token endpoint answered (OpenID Connect Core 1.0 §3.1.3.3, §3.1.3.7). The identity does not end with the ID token,
    /// whose time is for this exchange.
    ///
    /// # Errors
    /// See [`OidcError`]. After [`TokenError::UnknownKey`] it is worth having the provider's keys fetched and asking again.
    pub fn exchanged(&self, json: &[u8], seed: &str, now: Timestamp) -> Result<Identity, OidcError> {
        let answer: Value = serde_json::from_slice(json).map_err(|_| OidcError::NoToken)?;
        let token = answer.get("id_token").and_then(Value::as_str).ok_or(OidcError::NoToken)?;
        let token = Compact::parse(token)?;
        let identity = self.verifier.verify_anew(&token, now)?;
        let claims = &token.unverified_claims;
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let nonce = text("nonce").unwrap_or_default();
        if !equal(nonce.as_bytes(), derived(seed, "nonce").as_bytes()) {
            return Err(OidcError::Nonce);
        }
        let is_for_several = claims.get("aud").and_then(Value::as_array).is_some_and(|several| several.len() > 1);
        let is_ours = text("azp").map_or(!is_for_several, |party| party == self.settings.client_id);
        if !is_ours || claims.get("azp").is_some_and(|party| !party.is_string()) {
            return Err(OidcError::AuthorizedParty);
        }
        Ok(Identity { expires_at: None, ..identity.as_ref().clone() })
    }
}

impl OidcError {
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Away(_) => "oidc_away",
            Self::Discovery(_) => "oidc_discovery",
            Self::NotBegun => "oidc_not_begun",
            Self::State => "oidc_state",
            Self::Issuer => "oidc_issuer",
            Self::Denied(_) => "oidc_denied",
            Self::Malformed => "oidc_malformed",
            Self::Code(_) => "oidc_code",
            Self::NoToken => "oidc_no_token",
            Self::Nonce => "oidc_nonce",
            Self::AuthorizedParty => "oidc_authorized_party",
            Self::Token(error) => error.word(),
        }
    }

    /// What the person at the browser is told: not where the provider is, nor what is wrong with a token.
    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::Away(_) | Self::Discovery(_) => {
                "the OpenID provider cannot be asked just now; try again later".to_owned()
            }
            Self::Token(_) | Self::Nonce | Self::AuthorizedParty | Self::NoToken => {
                "the OpenID provider's answer was not accepted; the record of this refusal says why".to_owned()
            }
            _ => self.to_string(),
        }
    }
}

/// What follows from a seed, for one purpose: 43 characters, as a code verifier has at least (RFC 7636 §4.1).
fn derived(seed: &str, purpose: &str) -> String {
    URL_SAFE_NO_PAD.encode(sha256(format!("testimony/v1/oidc/{purpose}\n{seed}").as_bytes()))
}

/// The one parameter of a name in a query; one that stands twice means nothing (RFC 6749 §3.1).
fn only(query: &str, name: &str) -> Result<Option<String>, OidcError> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut values = pairs.filter(|(key, _)| decoded(key).as_deref() == Some(name)).map(|(_, value)| decoded(value));
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(Some(value)), None) => Ok(Some(value)),
        _ => Err(OidcError::Malformed),
    }
}

/// `application/x-www-form-urlencoded`.
fn form(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    pairs.join("&")
}

/// RFC 3986 §2.3: everything but unreserved characters.
fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(one).collect()
}

fn decoded(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), text.bytes());
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                digit(rest.next()?)? * 16 + digit(rest.next()?)?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
