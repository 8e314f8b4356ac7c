//! Setting up who may do what, from the configuration.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use access::{
    ActorKind, Algorithm, AuthRecords, Authenticator, CertificateMapping, CertificateRule, ClaimMapping, Glob, Grant,
    GroupGrant, KeyStore, NameKind, Role, Scope, SessionCookie, Sessions, State, TokenSettings, TokenVerifier,
};
use anyhow::{Context as _, bail};
use dial::Peer;
use gateway::{AccessControl, RulesInForce};
use ledger::{Identity, Ledger};
use record::Timestamp;
use server::{Admission, SignIn};
use tokio::time::MissedTickBehavior;
use world::World;

use crate::config::{Certificate, Config, ConfigError, Token};
use crate::oidc::Oidc;

/// How often it is asked whether an issuer's keys should be fetched; how often they are is up to the verifier.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The largest set of keys.
pub(crate) const JWKS_BYTES_MAX: usize = 1 << 20;
/// How long an issuer may take.
pub(crate) const JWKS_WITHIN: Duration = Duration::from_secs(10);

/// Who is let in, for both listeners.
pub(crate) struct Admitting {
    pub(crate) admission: Admission,
    pub(crate) access: AccessControl,
    /// What somebody on this machine may who presents nothing.
    pub(crate) anonymous: Option<Role>,
    pub(crate) issuers: Vec<Issuer>,
}

/// Where an issuer's keys come from.
pub(crate) struct Issuer {
    verifier: Arc<TokenVerifier>,
    name: String,
    keys: KeySource,
}

enum KeySource {
    File(PathBuf),
    Url { peer: Box<Peer>, path: String },
}

/// The API keys of a data directory.
pub(crate) fn open_keys(world: &World, config: &Config) -> anyhow::Result<KeyStore> {
    let path = config.data.join("state.redb");
    let state = State::open(&path, world.disk.as_ref()).context("the API keys could not be opened")?;
    Ok(KeyStore::open(state)?)
}

impl Admitting {
    pub(crate) fn of(
        world: &World,
        config: &Config,
        ledger: &Ledger,
        identity: &Identity,
        rules: RulesInForce,
    ) -> anyhow::Result<Self> {
        let keys = open_keys(world, config)?;
        let issuers = config.token.iter().map(Issuer::of).collect::<anyhow::Result<Vec<_>>>()?;
        let now = Timestamp::from_micros(world.clock.now_micros());
        let has_keys =
            keys.list().iter().any(|key| key.revoked_at.is_none() && key.expires_at.is_none_or(|end| end > now));
        let oidc = Oidc::of(world, config)?;
        let nobody_else = !has_keys && issuers.is_empty() && config.certificate.is_empty() && oidc.is_none();
        let anonymous = anonymous(&config.access.anonymous, nobody_else)?;
        let mut authenticator = Authenticator::new(identity.fingerprint.clone()).with_keys(keys.clone());
        for issuer in &issuers {
            authenticator = authenticator.with_tokens(issuer.verifier.clone());
        }
        if let Some(mapping) = mapping(&config.certificate, !config.tls.client_ca.as_os_str().is_empty())? {
            authenticator = authenticator.with_certificates(mapping);
        }
        if let Some(role) = anonymous {
            authenticator = authenticator.with_anonymous(vec![Grant { role, scope: Scope::everything() }]);
        }
        let is_encrypted = !config.tls.cert.as_os_str().is_empty();
        let cookie = if is_encrypted { SessionCookie::ENCRYPTED } else { SessionCookie::CLEAR };
        let sessions = Arc::new(Sessions::new());
        let authenticator = Arc::new(authenticator.with_sessions(sessions.clone(), cookie));
        let records = AuthRecords::new(world.clone(), config.source(ledger.origin(), "access"));
        let access = AccessControl {
            authenticator: authenticator.clone(),
            records: records.clone(),
            fingerprints: identity.fingerprint.clone(),
        };
        let admission = Admission {
            authenticator,
            keys,
            sessions,
            cookie,
            oidc: oidc.map(|oidc| Arc::new(oidc) as Arc<dyn SignIn>),
            records,
            ledger: ledger.clone(),
            rules,
            fingerprints: identity.fingerprint.clone(),
            world: world.clone(),
        };
        Ok(Self { admission, access, anonymous, issuers })
    }
}

/// What somebody on this machine may who presents nothing.
fn anonymous(setting: &str, nobody_else: bool) -> Result<Option<Role>, ConfigError> {
    match setting {
        "auto" => Ok(nobody_else.then_some(Role::Admin)),
        "off" => Ok(None),
        role => role.parse().map(Some).map_err(|_| ConfigError::Value {
            place: "access.anonymous".into(),
            what: format!(
                "{role:?} is not auto, off or a role (ingest, caller, monitor, reader, auditor, operator, admin)"
            ),
        }),
    }
}

/// Whom client certificates stand for, where they are asked for; without a rule, for nobody.
fn mapping(rules: &[Certificate], are_asked_for: bool) -> anyhow::Result<Option<CertificateMapping>> {
    let rule = |rule: &Certificate| {
        Ok(CertificateRule {
            kind: match rule.kind.as_str() {
                "uri" => NameKind::Uri,
                "dns" => NameKind::Dns,
                "email" => NameKind::Email,
                "common-name" => NameKind::CommonName,
                other => bail!("kind {other:?} is not uri, dns, email or common-name"),
            },
            pattern: Glob::parse(&rule.pattern)?,
            actor: match rule.actor.as_str() {
                "service" => ActorKind::Service,
                "user" => ActorKind::User,
                other => bail!("actor {other:?} is not service or user"),
            },
            role: rule.role.parse()?,
            scope: Scope::parse_rules((!rule.scope.is_empty()).then_some(&rule.scope))?,
        })
    };
    let named =
        |of: &Certificate| rule(of).with_context(|| format!("the rule for {:?} under [[certificate]]", of.pattern));
    let rules = rules.iter().map(named).collect::<anyhow::Result<_>>()?;
    Ok(are_asked_for.then_some(CertificateMapping { rules }))
}

/// What verifies an issuer's tokens.
pub(crate) fn verifier(token: &Token) -> anyhow::Result<TokenVerifier> {
    let algorithm = |name: &String| {
        let known = name.parse::<Algorithm>().ok();
        known.with_context(|| format!("{name:?} is no algorithm; taken are RS256, PS256, ES256, EdDSA and their like"))
    };
    let algorithms = match token.algorithms.as_slice() {
        [] => Algorithm::DEFAULT.to_vec(),
        some => some.iter().map(algorithm).collect::<anyhow::Result<_>>()?,
    };
    let grant = |grant: &crate::config::GroupGrant| {
        Ok(GroupGrant {
            group: grant.group.clone(),
            role: grant.role.parse()?,
            scope: Scope::parse_rules((!grant.scope.is_empty()).then_some(&grant.scope))?,
        })
    };
    let mapping = ClaimMapping {
        kind: ActorKind::User,
        user: token.user_claim.clone(),
        groups: Some(token.groups_claim.clone()).filter(|claim| !claim.is_empty()),
        group_grants: token.grant.iter().map(grant).collect::<anyhow::Result<_>>()?,
        roles: Some(token.roles_claim.clone()).filter(|claim| !claim.is_empty()),
        roles_scope: Scope::everything(),
    };
    let settings =
        TokenSettings { issuer: token.issuer.clone(), audiences: token.audiences.clone(), algorithms, mapping };
    Ok(TokenVerifier::with_public_keys(settings)?)
}

impl Issuer {
    fn of(token: &Token) -> anyhow::Result<Self> {
        let place = || format!("the issuer {:?} under [[token]]", token.issuer);
        let verifier = Arc::new(verifier(token).with_context(place)?);
        let keys = KeySource::of(token).with_context(place)?;
        Ok(Self { verifier, name: token.issuer.clone(), keys })
    }

    /// Fetches the issuer's keys whenever its verifier wants them.
    pub(crate) async fn keep_keys(self, world: World) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            let now = Timestamp::from_micros(world.clock.now_micros());
            if !self.verifier.needs_keys(now) {
                continue;
            }
            let fetched = self.keys.fetch(&world).await;
            match fetched.and_then(|jwks| Ok(self.verifier.replace_keys(&jwks, now)?)) {
                Ok(keys) => tracing::info!(issuer = self.name, keys, "took the issuer's keys"),
                Err(error) => tracing::warn!(
                    issuer = self.name,
                    error = format!("{error:#}"),
                    "the issuer's keys could not be had"
                ),
            }
        }
    }
}

impl KeySource {
    fn of(token: &Token) -> anyhow::Result<Self> {
        if !token.jwks_file.as_os_str().is_empty() {
            return Ok(Self::File(token.jwks_file.clone()));
        }
        let missing = || "it needs jwks_url, the address of its public keys, or jwks_file";
        let (peer, path) = Peer::at(&token.jwks_url).with_context(missing)?;
        Ok(Self::Url { peer: Box::new(peer), path })
    }

    async fn fetch(&self, world: &World) -> anyhow::Result<Vec<u8>> {
        match self {
            Self::File(path) => world.disk.read(path).with_context(|| format!("could not read {}", path.display())),
            Self::Url { peer, path } => {
                let answer = peer.get(path, JWKS_BYTES_MAX, JWKS_WITHIN).await?;
                if !answer.status.is_success() {
                    bail!("it answered {}", answer.status);
                }
                Ok(answer.body.to_vec())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(change: impl FnOnce(&mut Certificate)) -> Certificate {
        let mut rule = Certificate {
            kind: "uri".into(),
            pattern: "spiffe://acme/*".into(),
            actor: "service".into(),
            role: "caller".into(),
            scope: String::new(),
        };
        change(&mut rule);
        rule
    }

    #[test]
    fn rules_for_certificates_are_taken_as_they_stand() {
        let rules = [
            rule(|_| {}),
            rule(|rule| (rule.kind, rule.actor, rule.scope) = ("email".into(), "user".into(), "env=staging".into())),
        ];
        let taken = mapping(&rules, true).unwrap().unwrap().rules;
        assert_eq!((taken[0].kind, taken[0].actor, taken[0].role), (NameKind::Uri, ActorKind::Service, Role::Caller));
        assert!(taken[0].scope.is_everything() && taken[0].pattern.matches("spiffe://acme/a/b"));
        assert_eq!((taken[1].kind, taken[1].actor), (NameKind::Email, ActorKind::User));
        assert_eq!(taken[1].scope.to_string(), "env=staging");
        assert!(mapping(&[], true).unwrap().unwrap().rules.is_empty());
        assert!(mapping(&[], false).unwrap().is_none());
    }

    #[test]
    fn what_is_wrong_with_a_rule_for_certificates_is_said_with_its_pattern() {
        let said = |change: fn(&mut Certificate)| format!("{:#}", mapping(&[rule(change)], true).err().unwrap());
        let lines = [
            said(|rule| rule.kind = "cn".into()),
            said(|rule| rule.actor = "anonymous".into()),
            said(|rule| rule.role = "root".into()),
            said(|rule| rule.pattern = "two words".into()),
            said(|rule| rule.scope = "staging".into()),
        ];
        insta::assert_snapshot!(lines.join("\n---\n"));
    }
}
