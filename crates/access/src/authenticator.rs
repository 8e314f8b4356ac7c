//! From a request to an identity.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use http::Method as HttpMethod;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, VIA};
use record::{FingerprintKey, Timestamp};
use world::Entropy;

use crate::certificate::CertificateMapping;
use crate::cookie::{SessionCookie, is_from_elsewhere};
use crate::first_use::{FirstUse, Known};
use crate::identity::{ActorKind, Grant, Identity, Method};
use crate::keys::KeyStore;
use crate::refusal::{Reason, Refused};
use crate::secret::KEY_PREFIX;
use crate::sessions::{SessionRefusal, Sessions, SignedIn};
use crate::throttle::Throttle;
use crate::token::{Compact, TokenError, TokenVerifier};

/// Other headers in which clients send a key: Anthropic's and Azure's ways.
const KEY_HEADERS: [HeaderName; 2] = [HeaderName::from_static("x-api-key"), HeaderName::from_static("api-key")];
/// With one of these a request was passed on by a proxy, and the peer is not who made it.
const PROXY_HEADERS: [HeaderName; 4] = [
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-real-ip"),
    VIA,
];

/// Where a page of the console shows that it is one.
const CSRF_HEADER: HeaderName = HeaderName::from_static("x-csrf-token");

/// Says who is calling. Without any of the `with_…`, it refuses everybody.
pub struct Authenticator {
    keys: Option<KeyStore>,
    tokens: Vec<Arc<TokenVerifier>>,
    certificates: Option<CertificateMapping>,
    sessions: Option<(Arc<Sessions>, SessionCookie)>,
    anonymous: Option<Arc<Identity>>,
    fingerprints: FingerprintKey,
    throttle: Throttle,
    /// Credentials that the log knows of.
    known: Known,
}

impl Authenticator {
    /// Takes the key under which credentials are fingerprinted in refusals.
    #[must_use]
    pub fn new(fingerprints: FingerprintKey) -> Self {
        Self {
            keys: None,
            tokens: Vec::new(),
            certificates: None,
            sessions: None,
            anonymous: None,
            fingerprints,
            throttle: Throttle::new(),
            known: Known::new(),
        }
    }

    /// Takes API keys.
    #[must_use]
    pub fn with_keys(self, keys: KeyStore) -> Self {
        Self { keys: Some(keys), ..self }
    }

    /// Takes the tokens of an issuer too. To be called once for each.
    #[must_use]
    pub fn with_tokens(mut self, verifier: Arc<TokenVerifier>) -> Self {
        self.tokens.push(verifier);
        self
    }

    /// Takes client certificates, which the listener has verified.
    #[must_use]
    pub fn with_certificates(self, mapping: CertificateMapping) -> Self {
        Self { certificates: Some(mapping), ..self }
    }

    /// Takes the cookies of sessions; a gateway does not look at them.
    #[must_use]
    pub fn with_sessions(self, sessions: Arc<Sessions>, cookie: SessionCookie) -> Self {
        Self { sessions: Some((sessions, cookie)), ..self }
    }

    /// Lets in whoever is on this machine and presents nothing, with these grants.
    #[must_use]
    pub fn with_anonymous(self, grants: Vec<Grant>) -> Self {
        Self { anonymous: Some(Arc::new(Identity::anonymous(grants))), ..self }
    }

    /// Who makes a request. A credential in a header decides, then a session, whatever the certificate of its connection is: that one
    /// is then the channel's. A credential that is not good is a refusal and never as if there were none.
    ///
    /// `certificate` is the client's own, in DER, of a chain that was verified.
    ///
    /// # Errors
    /// See [`Reason`]. With [`Reason::Throttled`] nothing need be recorded: as many failures as are worth a record were.
    pub fn authenticate(
        &self,
        method: &HttpMethod,
        headers: &HeaderMap,
        peer: IpAddr,
        certificate: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<Arc<Identity>, Refused> {
        let found = match self.session_of(headers) {
            Ok(Some((sessions, cookie))) => self.by_session(sessions, cookie, method, headers, peer, now),
            Ok(None) => self.who(headers, peer, certificate, now),
            Err(reason) => Err(reason),
        };
        self.counted(found, peer, now, || self.shown(headers, certificate))
    }

    /// The same for a call to a model: a credential that is none of ours is the model server's, and does not keep out whoever is let
    /// in without one. Cookies do not count: no page of the console calls models.
    ///
    /// # Errors
    /// As [`Authenticator::authenticate`].
    pub fn authenticate_call(
        &self,
        headers: &HeaderMap,
        peer: IpAddr,
        certificate: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<Arc<Identity>, Refused> {
        let is_certified = self.certificates.is_some() && certificate.is_some();
        let is_foreign = |reason: &Reason| matches!(reason, Reason::Unrecognised | Reason::Scheme);
        let found = match self.who(headers, peer, certificate, now) {
            Err(reason) if is_foreign(&reason) && (self.anonymous.is_some() || is_certified) => {
                self.without_credential(headers, peer, certificate, now)
            }
            found => found,
        };
        self.counted(found, peer, now, || self.shown(headers, certificate))
    }

    /// Signs in with what stands in a one-time link.
    ///
    /// # Errors
    /// See [`Reason`]; counted as every other failure.
    pub fn sign_in(
        &self,
        token: &str,
        headers: &HeaderMap,
        peer: IpAddr,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<SignedIn, Refused> {
        let redeem = || {
            let (sessions, _) = self.sessions.as_ref().ok_or(Reason::Unrecognised)?;
            // Nobody is to be signed in as somebody else by a page of elsewhere.
            if is_from_elsewhere(headers) {
                return Err(SessionRefusal::Elsewhere.into());
            }
            let signed_in = sessions.redeem(token, now, entropy)?;
            self.check_opener(&signed_in.identity, headers, peer, now).inspect_err(|_| {
                sessions.close(signed_in.cookie.expose());
            })?;
            Ok(signed_in)
        };
        self.counted(redeem(), peer, now, || Some(self.fingerprints.fingerprint(token.as_bytes())))
    }

    /// Whether somebody who has failed too often is looked at again, before another server is asked on their behalf.
    ///
    /// # Errors
    /// [`Reason::Throttled`].
    pub fn check_attempts(&self, peer: IpAddr, now: Timestamp) -> Result<(), Refused> {
        self.throttle.check(peer, now).map_err(|retry_after_s| Reason::Throttled { retry_after_s }.into())
    }

    /// Counts a failure that was found elsewhere.
    pub fn failed(&self, reason: Reason, peer: IpAddr, now: Timestamp) -> Refused {
        let counted = self.counted(Err::<Infallible, _>(reason), peer, now, || None);
        counted.map_or_else(|refused| refused, |never| match never {})
    }

    /// Whether this process takes the credential by which somebody was identified for the first time. Then an `auth` record is due
    /// before the request goes on, and [`Authenticator::has_recorded`] after that.
    pub fn first_use(&self, headers: &HeaderMap, certificate: Option<&[u8]>, identity: &Identity) -> Option<FirstUse> {
        let credential = match identity.method {
            Method::ApiKey | Method::Jwt => presented(headers).ok()??.as_bytes(),
            Method::Mtls => certificate?,
            // The opening of a session has its own record.
            Method::Session | Method::Anonymous => return None,
        };
        self.known.first_use(credential, || self.fingerprints.fingerprint(credential))
    }

    /// The log knows that a credential is in use.
    pub fn has_recorded(&self, first: &FirstUse) {
        self.known.insert(first);
    }

    /// The keyed fingerprint of what a request presents in its headers, for records: equal credentials have equal ones.
    #[must_use]
    pub fn fingerprint(&self, headers: &HeaderMap) -> Option<String> {
        let in_header = headers.get(AUTHORIZATION).or_else(|| KEY_HEADERS.iter().find_map(|name| headers.get(name)));
        let in_header = in_header.map(|value| {
            let credential = value.to_str().ok().and_then(bearer);
            credential.map_or(value.as_bytes(), str::as_bytes)
        });
        let of_session = || Some(self.sessions.as_ref()?.1.of(headers).ok()??.as_bytes());
        Some(self.fingerprints.fingerprint(in_header.or_else(of_session)?))
    }

    fn who(
        &self,
        headers: &HeaderMap,
        peer: IpAddr,
        certificate: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<Arc<Identity>, Reason> {
        match presented(headers)? {
            Some(credential) => self.by_credential(credential, peer, now),
            None => self.without_credential(headers, peer, certificate, now),
        }
    }

    fn counted<T>(
        &self,
        found: Result<T, Reason>,
        peer: IpAddr,
        now: Timestamp,
        fingerprint: impl FnOnce() -> Option<String>,
    ) -> Result<T, Refused> {
        found.map_err(|reason| {
            // Presenting nothing counts too, since each refusal is a record.
            let counts = !matches!(reason, Reason::Throttled { .. });
            let counted = if counts { self.throttle.failed(peer, now) } else { Ok(()) };
            let reason = counted.map_or_else(|retry_after_s| Reason::Throttled { retry_after_s }, |()| reason);
            Refused { reason, fingerprint: fingerprint() }
        })
    }

    fn shown(&self, headers: &HeaderMap, certificate: Option<&[u8]>) -> Option<String> {
        let of_certificate = || certificate.map(|certificate| self.fingerprints.fingerprint(certificate));
        self.fingerprint(headers).or_else(of_certificate)
    }

    /// The cookie of a session, where no header has a credential.
    fn session_of<'a>(&'a self, headers: &'a HeaderMap) -> Result<Option<(&'a Sessions, &'a str)>, Reason> {
        let Some((sessions, cookie)) = &self.sessions else { return Ok(None) };
        let has_credential =
            headers.contains_key(AUTHORIZATION) || KEY_HEADERS.iter().any(|name| headers.contains_key(name));
        if has_credential {
            return Ok(None);
        }
        Ok(cookie.of(headers)?.map(|cookie| (sessions.as_ref(), cookie)))
    }

    fn by_session(
        &self,
        sessions: &Sessions,
        cookie: &str,
        method: &HttpMethod,
        headers: &HeaderMap,
        peer: IpAddr,
        now: Timestamp,
    ) -> Result<Arc<Identity>, Reason> {
        if is_from_elsewhere(headers) {
            return Err(SessionRefusal::Elsewhere.into());
        }
        let identity = sessions.identify(cookie, now)?;
        self.check_opener(&identity, headers, peer, now)?;
        if *method != HttpMethod::GET && *method != HttpMethod::HEAD {
            let token = headers.get(CSRF_HEADER).and_then(|token| token.to_str().ok()).unwrap_or_default();
            Sessions::check_forged(cookie, token)?;
        }
        Ok(identity)
    }

    /// What has opened a session must still be good: a key not revoked, and whoever presented nothing still on this machine.
    fn check_opener(
        &self,
        identity: &Identity,
        headers: &HeaderMap,
        peer: IpAddr,
        now: Timestamp,
    ) -> Result<(), Reason> {
        let is_in_force = |id: &String| self.keys.as_ref().is_some_and(|keys| keys.is_in_force(id, now));
        if !identity.key_id.as_ref().is_none_or(is_in_force) {
            return Err(SessionRefusal::Ended.into());
        }
        if identity.kind == ActorKind::Anonymous && !is_here(headers, peer) {
            return Err(Reason::NoCredential);
        }
        Ok(())
    }

    fn by_credential(&self, credential: &str, peer: IpAddr, now: Timestamp) -> Result<Arc<Identity>, Reason> {
        if credential.starts_with(KEY_PREFIX) {
            let keys = self.keys.as_ref().ok_or(Reason::Unrecognised)?;
            return Ok(keys.verify(credential, now)?);
        }
        if self.tokens.is_empty() || !Compact::is_like(credential) {
            return Err(Reason::Unrecognised);
        }
        if let Some(remembered) = self.tokens.iter().find_map(|verifier| verifier.remembered(credential, now)) {
            return Ok(remembered?);
        }
        // Looking at a signature is what costs most here, so that is not done for whoever has failed too often.
        self.throttle.check(peer, now).map_err(|retry_after_s| Reason::Throttled { retry_after_s })?;
        let token = Compact::parse(credential)?;
        let verifier = self.tokens.iter().find(|verifier| verifier.is_named_by(&token)).ok_or(TokenError::Issuer)?;
        Ok(verifier.verify_anew(&token, now)?)
    }

    fn without_credential(
        &self,
        headers: &HeaderMap,
        peer: IpAddr,
        certificate: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<Arc<Identity>, Reason> {
        if let (Some(mapping), Some(certificate)) = (&self.certificates, certificate) {
            return Ok(Arc::new(mapping.identity(certificate, now)?));
        }
        match &self.anonymous {
            Some(anonymous) if is_here(headers, peer) => Ok(anonymous.clone()),
            _ => Err(Reason::NoCredential),
        }
    }
}

/// Whether whoever makes a request is on this machine, and not somebody for whom a proxy speaks.
fn is_here(headers: &HeaderMap, peer: IpAddr) -> bool {
    let is_passed_on = PROXY_HEADERS.iter().any(|name| headers.contains_key(name));
    peer.to_canonical().is_loopback() && !is_passed_on
}

/// The one credential in the headers. It may stand in several, as some clients send it, when it is the same.
fn presented(headers: &HeaderMap) -> Result<Option<&str>, Reason> {
    let mut found: Option<&str> = None;
    for value in headers.get_all(AUTHORIZATION) {
        let text = value.to_str().map_err(|_| Reason::Unrecognised)?;
        only(&mut found, bearer(text).ok_or(Reason::Scheme)?)?;
    }
    for value in KEY_HEADERS.iter().flat_map(|name| headers.get_all(name)) {
        only(&mut found, value.to_str().map_err(|_| Reason::Unrecognised)?)?;
    }
    Ok(found)
}

fn only<'a>(found: &mut Option<&'a str>, credential: &'a str) -> Result<(), Reason> {
    match found.replace(credential) {
        Some(other) if other != credential => Err(Reason::TwoCredentials),
        _ => Ok(()),
    }
}

/// RFC 6750 §2.1; the name of a scheme may be in any case (RFC 9110 §11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, credential) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| credential.trim_matches(' '))
}

#[cfg(test)]
mod tests;
