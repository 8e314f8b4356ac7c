//! Who is calling, and whether they may.

use std::net::IpAddr;

use record::{Actor, Timestamp};

use crate::refusal::{Reason, Refused};
use crate::role::{Action, Role, allows};
use crate::scope::{Facts, Scope};

/// What kind of actor an identity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActorKind {
    /// A person.
    User,
    /// A program.
    Service,
    /// Somebody on this machine who presented nothing.
    Anonymous,
}

/// How an identity was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// By an API key.
    ApiKey,
    /// By a JSON web token (RFC 7519) of an identity provider.
    Jwt,
    /// By a client certificate.
    Mtls,
    /// By the cookie of a session, which one of the others has opened.
    Session,
    /// Not at all.
    Anonymous,
}

/// A role within a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The role.
    pub role: Role,
    /// Where it counts.
    pub scope: Scope,
}

/// Who is calling. Without grants they are known, and may do nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Person, program, or nobody known.
    pub kind: ActorKind,
    /// Who: the name of a key, the user that a token names, the name in a certificate, or `anonymous`.
    pub id: String,
    /// The groups that an identity provider has them in.
    pub groups: Vec<String>,
    /// What they may do where. Grants do not mix: the role of one never meets the scope of another.
    pub grants: Vec<Grant>,
    /// How it was shown.
    pub method: Method,
    /// The identifier of the API key, which is not secret.
    pub key_id: Option<String>,
    /// When the credential ends.
    pub expires_at: Option<Timestamp>,
}

/// What an action is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// The installation as a whole (keys, policies, the published log): no restricted grant is enough.
    Everything,
    /// Many things, of which only those in scope are then shown: whoever acts on this filters by [`Identity::scopes_for`].
    Filtered,
    /// One record or call.
    One(Facts<'a>),
}

/// Holds what somebody may do against what they are about to do.
///
/// # Errors
/// [`Reason::Role`] when no role of theirs allows the action anywhere, [`Reason::Scope`] when none does here, and
/// [`Reason::Ended`] when the identity's time is over.
pub fn authorize(identity: &Identity, action: Action, target: Target<'_>, now: Timestamp) -> Result<(), Refused> {
    if identity.has_ended(now) {
        return Err(Reason::Ended.into());
    }
    let within = |scope: &Scope| match target {
        Target::Everything => scope.is_everything(),
        Target::Filtered => true,
        Target::One(facts) => scope.matches(&facts),
    };
    let mut scopes = identity.scopes_for(action).peekable();
    if scopes.peek().is_none() {
        return Err(Reason::Role(action).into());
    }
    if scopes.any(within) { Ok(()) } else { Err(Reason::Scope(action).into()) }
}

impl Identity {
    /// Somebody on this machine who presented nothing.
    #[must_use]
    pub fn anonymous(grants: Vec<Grant>) -> Self {
        Self {
            kind: ActorKind::Anonymous,
            id: "anonymous".to_owned(),
            groups: Vec::new(),
            grants,
            method: Method::Anonymous,
            key_id: None,
            expires_at: None,
        }
    }

    /// The scopes in which an action is allowed: a row may be shown when it is within any of them. None: nothing may.
    pub fn scopes_for(&self, action: Action) -> impl Iterator<Item = &Scope> {
        self.grants.iter().filter(move |grant| allows(grant.role, action)).map(|grant| &grant.scope)
    }

    /// Whether the credential's time is over.
    #[must_use]
    pub fn has_ended(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| now >= end)
    }

    /// As a record names them.
    #[must_use]
    pub fn actor(&self, ip: Option<IpAddr>, fingerprint: Option<String>) -> Actor {
        Actor {
            groups: self.groups.clone(),
            kind: self.kind.as_str().to_owned(),
            id: Some(self.id.clone()),
            auth: Some(self.method.as_str().to_owned()),
            ip: ip.map(|ip| ip.to_canonical().to_string()),
            fingerprint,
        }
    }
}

impl ActorKind {
    /// Its name in a record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Service => "service",
            Self::Anonymous => "anonymous",
        }
    }
}

impl Method {
    /// Its name in a record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::Jwt => "jwt",
            Self::Mtls => "mtls",
            Self::Session => "session",
            Self::Anonymous => "anonymous",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn identity(grants: &[(Role, &str)]) -> Identity {
        let grant = |(role, scope): &(Role, &str)| Grant { role: *role, scope: scope.parse().unwrap() };
        Identity::anonymous(grants.iter().map(grant).collect())
    }

    #[track_caller]
    fn check(grants: &[(Role, &str)], action: Action, target: Target<'_>, expected: Result<(), Reason>) {
        let got = authorize(&identity(grants), action, target, Timestamp::from_posix_seconds(NOW));
        assert_eq!(got.map_err(|refused| refused.reason), expected);
    }

    fn in_environment(environment: &str) -> Target<'_> {
        Target::One(Facts { environment: Some(environment), ..Facts::default() })
    }

    #[test]
    fn without_a_grant_nothing_is_allowed() {
        for action in Action::ALL {
            for target in [Target::Everything, Target::Filtered, in_environment("a")] {
                check(&[], action, target, Err(Reason::Role(action)));
            }
        }
    }

    #[test]
    fn a_restricted_admin_makes_no_keys() {
        let action = Action::ManageKeys;
        check(&[(Role::Admin, "env=staging")], action, Target::Everything, Err(Reason::Scope(action)));
        check(&[(Role::Admin, "*")], action, Target::Everything, Ok(()));
    }

    #[test]
    fn the_role_of_one_grant_does_not_meet_the_scope_of_another() {
        let grants = [(Role::Reader, "env=production"), (Role::Operator, "env=staging")];
        check(&grants, Action::Operate, in_environment("staging"), Ok(()));
        check(&grants, Action::Operate, in_environment("production"), Err(Reason::Scope(Action::Operate)));
        check(&grants, Action::Search, in_environment("production"), Ok(()));
        check(&grants, Action::Search, Target::Filtered, Ok(()));
        let who = identity(&grants);
        let scopes: Vec<String> = who.scopes_for(Action::Search).map(ToString::to_string).collect();
        assert_eq!(scopes, ["env=production", "env=staging"]);
    }

    #[test]
    fn nothing_is_allowed_after_the_end() {
        let mut who = identity(&[(Role::Admin, "*")]);
        who.expires_at = Some(Timestamp::from_posix_seconds(NOW));
        let at = |seconds| {
            let now = Timestamp::from_posix_seconds(seconds);
            authorize(&who, Action::Search, Target::Filtered, now).map_err(|refused| refused.reason)
        };
        assert_eq!(at(NOW - 1), Ok(()));
        assert_eq!(at(NOW), Err(Reason::Ended));
    }

    #[test]
    fn a_record_names_who_and_how() {
        let actor = identity(&[]).actor(Some("::ffff:10.0.0.8".parse().unwrap()), Some("fp_1".to_owned()));
        assert_eq!((actor.kind.as_str(), actor.auth.as_deref()), ("anonymous", Some("anonymous")));
        assert_eq!((actor.ip.as_deref(), actor.fingerprint.as_deref()), (Some("10.0.0.8"), Some("fp_1")));
    }
}
