//! Asking the OpenID provider by which people sign in.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use access::{Begun, Identity, OidcError, OidcLogin, OidcSettings, Provider, Secret, TokenError};
use anyhow::Context as _;
use async_trait::async_trait;
use bytes::Bytes;
use dial::{Peer, PeerAnswer, PeerError};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use record::Timestamp;
use server::SignIn;
use world::World;

use crate::admitting::{JWKS_BYTES_MAX, JWKS_WITHIN, verifier};
use crate::config::{Config, Token};

/// What a provider says of itself is asked again after this long.
const DISCOVERY_MICROS_MAX: i64 = 3_600_000_000;
/// The largest discovery document, and the largest answer of a token endpoint, in bytes.
const ANSWER_BYTES_MAX: usize = 256 << 10;
/// How long a provider may take over each.
const WITHIN: Duration = Duration::from_secs(10);

/// A provider, and what it has last said of itself.
pub(crate) struct Oidc {
    login: OidcLogin,
    world: World,
    discovery: (Peer, String),
    said: Mutex<Option<Arc<Said>>>,
}

struct Said {
    provider: Provider,
    token: (Peer, String),
    keys: (Peer, String),
    at: Timestamp,
}

impl Oidc {
    /// None: no provider is configured.
    pub(crate) fn of(world: &World, config: &Config) -> anyhow::Result<Option<Self>> {
        let oidc = &config.oidc;
        if oidc.issuer.is_empty() {
            return Ok(None);
        }
        let place = || format!("the OpenID provider {:?} under [oidc]", oidc.issuer);
        let is_ours = oidc.redirect.parse::<http::Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.path() == "/login/callback"
                && uri.query().is_none()
        });
        if !is_ours {
            return Err(anyhow::anyhow!("redirect must be the address of this server's /login/callback, as in https://log.example/login/callback")).with_context(place);
        }
        if !oidc.scopes.iter().any(|scope| scope == "openid") {
            return Err(anyhow::anyhow!("scopes must have openid among them")).with_context(place);
        }
        let token = Token {
            issuer: oidc.issuer.clone(),
            audiences: vec![oidc.client_id.clone()],
            jwks_url: String::new(),
            jwks_file: std::path::PathBuf::new(),
            algorithms: oidc.algorithms.clone(),
            user_claim: oidc.user_claim.clone(),
            groups_claim: oidc.groups_claim.clone(),
            roles_claim: oidc.roles_claim.clone(),
            grant: oidc.grant.clone(),
        };
        let settings = OidcSettings {
            issuer: oidc.issuer.clone(),
            client_id: oidc.client_id.clone(),
            client_secret: Some(oidc.client_secret.clone()).filter(|secret| !secret.is_empty()).map(Secret::new),
            redirect: oidc.redirect.clone(),
            scopes: oidc.scopes.clone(),
        };
        let login = OidcLogin::new(settings, Arc::new(verifier(&token).with_context(place)?));
        // OpenID Connect Discovery 1.0 §4.
        let address = format!("{}/.well-known/openid-configuration", oidc.issuer.trim_end_matches('/'));
        let discovery = Peer::at(&address).with_context(place)?;
        Ok(Some(Self { login, world: world.clone(), discovery, said: Mutex::default() }))
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.world.clock.now_micros())
    }

    /// What the provider says of itself; while it is away, what it has said last.
    async fn said(&self) -> Result<Arc<Said>, OidcError> {
        let last = self.said.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_fresh = |said: &Arc<Said>| self.now().as_micros() - said.at.as_micros() < DISCOVERY_MICROS_MAX;
        if let Some(said) = last.clone().filter(is_fresh) {
            return Ok(said);
        }
        match (self.discover().await, last) {
            (Ok(said), _) => {
                let said = Arc::new(said);
                *self.said.lock().unwrap_or_else(PoisonError::into_inner) = Some(said.clone());
                Ok(said)
            }
            (Err(error), Some(last)) => {
                tracing::warn!(%error, "the OpenID provider's document could not be had again");
                Ok(last)
            }
            (Err(error), None) => Err(error),
        }
    }

    async fn discover(&self) -> Result<Said, OidcError> {
        let (peer, path) = &self.discovery;
        let answer = good(peer.get(path, ANSWER_BYTES_MAX, WITHIN).await)?;
        let provider = Provider::parse(&answer.body, self.login.issuer())?;
        let at = |address: &str| Peer::at(address).map_err(|_| OidcError::Discovery("an address in it is not one"));
        let (token, keys) = (at(&provider.token_endpoint)?, at(&provider.jwks_uri)?);
        Ok(Said { provider, token, keys, at: self.now() })
    }

    /// Fetches the provider's keys if they are wanted.
    async fn fetch_keys(&self, said: &Said) -> Result<(), OidcError> {
        if !self.login.verifier().needs_keys(self.now()) {
            return Ok(());
        }
        let (peer, path) = &said.keys;
        let answer = good(peer.get(path, JWKS_BYTES_MAX, JWKS_WITHIN).await)?;
        let taken = self.login.verifier().replace_keys(&answer.body, self.now());
        taken.map(drop).map_err(|error| OidcError::Away(format!("its keys cannot be used: {error}")))
    }
}

#[async_trait]
impl SignIn for Oidc {
    fn issuer(&self) -> &str {
        self.login.issuer()
    }

    async fn begin(&self) -> Result<Begun, OidcError> {
        Ok(self.login.begin(&self.said().await?.provider, self.world.entropy.as_ref()))
    }

    async fn finish(&self, query: &str, seed: Option<&str>) -> Result<Identity, OidcError> {
        let said = self.said().await?;
        let request = self.login.answered(&said.provider, query, seed)?;
        let seed = seed.ok_or(OidcError::NotBegun)?;
        let mut headers =
            HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))]);
        if let Some(authorization) = &request.authorization {
            let value = HeaderValue::try_from(authorization.expose()).map_err(|_| OidcError::Malformed)?;
            headers.insert(AUTHORIZATION, value);
        }
        let (peer, path) = &said.token;
        let body = Bytes::from(request.body.expose().to_owned());
        let answer = peer.post_with(path, headers, body, ANSWER_BYTES_MAX, WITHIN).await.map_err(away)?;
        if !answer.status.is_success() {
            return Err(OidcError::Code(answer.status.as_u16()));
        }
        // Keys that could not be fetched again may still be the right ones.
        let fetched = self.fetch_keys(&said).await;
        match self.login.exchanged(&answer.body, seed, self.now()) {
            Err(OidcError::Token(TokenError::UnknownKey(_))) => {
                fetched?;
                self.fetch_keys(&said).await?;
                self.login.exchanged(&answer.body, seed, self.now())
            }
            done => done,
        }
    }
}

fn away(error: PeerError) -> OidcError {
    OidcError::Away(error.to_string())
}

fn good(answer: Result<PeerAnswer, PeerError>) -> Result<PeerAnswer, OidcError> {
    let answer = answer.map_err(away)?;
    match answer.status.is_success() {
        true => Ok(answer),
        false => Err(OidcError::Away(format!("it answered {}", answer.status))),
    }
}
