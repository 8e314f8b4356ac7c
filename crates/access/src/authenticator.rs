//! From a request to an identity.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, VIA};
use record::{FingerprintKey, Timestamp};

use crate::certificate::CertificateMapping;
use crate::identity::{Grant, Identity};
use crate::keys::KeyStore;
use crate::refusal::{Reason, Refused};
use crate::secret::KEY_PREFIX;
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

/// Says who is calling. Without any of the `with_…`, it refuses everybody.
pub struct Authenticator {
    keys: Option<KeyStore>,
    tokens: Vec<Arc<TokenVerifier>>,
    certificates: Option<CertificateMapping>,
    anonymous: Option<Arc<Identity>>,
    fingerprints: FingerprintKey,
    throttle: Throttle,
}

impl Authenticator {
    /// Takes the key under which credentials are fingerprinted in refusals.
    #[must_use]
    pub fn new(fingerprints: FingerprintKey) -> Self {
        let throttle = Throttle::new();
        Self { keys: None, tokens: Vec::new(), certificates: None, anonymous: None, fingerprints, throttle }
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

    /// Lets in whoever is on this machine and presents nothing, with these grants.
    #[must_use]
    pub fn with_anonymous(self, grants: Vec<Grant>) -> Self {
        Self { anonymous: Some(Arc::new(Identity::anonymous(grants))), ..self }
    }

    /// Who makes a request. A credential in a header decides, whatever the certificate of its connection is: that one is then the
    /// channel's. A credential that is not good is a refusal and never as if there were none.
    ///
    /// `certificate` is the client's own, in DER, of a chain that was verified.
    ///
    /// # Errors
    /// See [`Reason`]. With [`Reason::Throttled`] nothing need be recorded: as many failures as are worth a record were.
    pub fn authenticate(
        &self,
        headers: &HeaderMap,
        peer: IpAddr,
        certificate: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<Arc<Identity>, Refused> {
        let found = self.who(headers, peer, certificate, now);
        self.counted(found, (headers, certificate), peer, now)
    }

    /// The same for a call to a model: a credential that is none of ours is the model server's, and does not keep out whoever is let
    /// in without one.
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
        self.counted(found, (headers, certificate), peer, now)
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

    fn counted(
        &self,
        found: Result<Arc<Identity>, Reason>,
        (headers, certificate): (&HeaderMap, Option<&[u8]>),
        peer: IpAddr,
        now: Timestamp,
    ) -> Result<Arc<Identity>, Refused> {
        found.map_err(|reason| {
            // Presenting nothing counts too, since each refusal is a record.
            let counts = !matches!(reason, Reason::Throttled { .. });
            let counted = if counts { self.throttle.failed(peer, now) } else { Ok(()) };
            let reason = counted.map_or_else(|retry_after_s| Reason::Throttled { retry_after_s }, |()| reason);
            let of_header = fingerprint(headers, &self.fingerprints);
            let fingerprint =
                of_header.or_else(|| certificate.map(|certificate| self.fingerprints.fingerprint(certificate)));
            Refused { reason, fingerprint }
        })
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
        let is_from_here = peer.to_canonical().is_loopback();
        let is_passed_on = PROXY_HEADERS.iter().any(|name| headers.contains_key(name));
        match &self.anonymous {
            Some(anonymous) if is_from_here && !is_passed_on => Ok(anonymous.clone()),
            _ => Err(Reason::NoCredential),
        }
    }
}

/// The keyed fingerprint of what a request presents in its headers, for records: equal credentials have equal ones.
#[must_use]
pub fn fingerprint(headers: &HeaderMap, key: &FingerprintKey) -> Option<String> {
    let first = headers.get(AUTHORIZATION).or_else(|| KEY_HEADERS.iter().find_map(|name| headers.get(name)))?;
    let bytes = first.as_bytes();
    let credential = first.to_str().ok().and_then(bearer).map_or(bytes, str::as_bytes);
    Some(key.fingerprint(credential))
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
