//! What the claims of a token mean here.

use record::Timestamp;
use serde_json::{Map, Value};

use super::TokenError;
use crate::identity::{ActorKind, Grant, Identity, Method};
use crate::role::Role;
use crate::scope::Scope;

/// The most bytes of a user's or group's name.
const NAME_BYTES_MAX: usize = 256;
/// The most groups of one user; with more, a token is refused, since leaving some out could leave out what restricts.
const GROUPS_MAX: usize = 256;

/// From claims to an identity. A claim is named as it stands (`groups`, `https://example.org/roles`), or by a JSON pointer (RFC 6901)
/// when it is inside another (`/realm_access/roles`).
#[derive(Debug, Clone)]
pub struct ClaimMapping {
    /// Whether tokens are of persons or of programs.
    pub kind: ActorKind,
    /// The claim with who it is: `sub`, which an issuer never gives to somebody else, or `email`, `preferred_username`.
    pub user: String,
    /// The claim with the groups, a list or one text.
    pub groups: Option<String>,
    /// What the members of a group may.
    pub group_grants: Vec<GroupGrant>,
    /// The claim with names of roles, a list or one text; words that are no role here are passed over.
    pub roles: Option<String>,
    /// Where roles from that claim count.
    pub roles_scope: Scope,
}

/// What the members of a group may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupGrant {
    /// The group, exactly.
    pub group: String,
    /// What for.
    pub role: Role,
    /// Where.
    pub scope: Scope,
}

impl Default for ClaimMapping {
    /// Persons, by `sub`, who may nothing.
    fn default() -> Self {
        Self {
            kind: ActorKind::User,
            user: "sub".to_owned(),
            groups: None,
            group_grants: Vec::new(),
            roles: None,
            roles_scope: Scope::everything(),
        }
    }
}

impl ClaimMapping {
    /// The identity, whose grants are those of all groups and roles together. Somebody in none of them is known, and may nothing.
    pub(super) fn identity(&self, claims: &Map<String, Value>, expires_at: Timestamp) -> Result<Identity, TokenError> {
        let wrong = |claim: &str| TokenError::Claim(claim.chars().take(64).collect());
        let id = find(claims, &self.user).and_then(Value::as_str).filter(|id| is_name(id));
        let id = id.ok_or_else(|| wrong(&self.user))?;
        // Some issuers let people claim any address (OpenID Connect Core 1.0 §5.1, §5.7).
        if self.user == "email" && claims.get("email_verified").is_some_and(|verified| !is_true(verified)) {
            return Err(wrong("email_verified"));
        }
        let list = |claim: &Option<String>| match claim {
            Some(claim) => names(find(claims, claim)).ok_or_else(|| wrong(claim)),
            None => Ok(Vec::new()),
        };
        let (groups, roles) = (list(&self.groups)?, list(&self.roles)?);
        let by_group = self.group_grants.iter().filter(|grant| groups.contains(&grant.group));
        let by_group = by_group.map(|grant| Grant { role: grant.role, scope: grant.scope.clone() });
        let by_role = roles.iter().filter_map(|role| role.parse().ok());
        let by_role = by_role.map(|role| Grant { role, scope: self.roles_scope.clone() });
        let mut grants: Vec<Grant> = Vec::new();
        for grant in by_group.chain(by_role) {
            if !grants.contains(&grant) {
                grants.push(grant);
            }
        }
        let (kind, id, expires_at) = (self.kind, id.to_owned(), Some(expires_at));
        Ok(Identity { kind, id, groups, grants, method: Method::Jwt, key_id: None, expires_at })
    }
}

fn find<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let Some(path) = name.strip_prefix('/') else { return claims.get(name) };
    let unescaped = |step: &str| step.replace("~1", "/").replace("~0", "~");
    let (first, rest) = path.split_once('/').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let value = claims.get(&unescaped(first))?;
    rest.map_or(Some(value), |rest| value.pointer(&format!("/{rest}")))
}

/// A list of names or one name; nothing is no names, and anything else is wrong.
fn names(value: Option<&Value>) -> Option<Vec<String>> {
    match value {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::String(name)) => is_name(name).then(|| vec![name.clone()]),
        Some(Value::Array(list)) if list.len() <= GROUPS_MAX => {
            list.iter().map(|name| name.as_str().filter(|name| is_name(name)).map(str::to_owned)).collect()
        }
        Some(_) => None,
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control)
}

/// Some issuers write it as a text.
fn is_true(value: &Value) -> bool {
    value.as_bool() == Some(true) || value.as_str() == Some("true")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn mapping() -> ClaimMapping {
        let grant =
            |group: &str, role, scope: &str| GroupGrant { group: group.into(), role, scope: scope.parse().unwrap() };
        ClaimMapping {
            groups: Some("groups".into()),
            group_grants: vec![
                grant("support", Role::Reader, "env=staging"),
                grant("support", Role::Caller, "*"),
                grant("auditors", Role::Auditor, "*"),
            ],
            ..ClaimMapping::default()
        }
    }

    fn identity(mapping: &ClaimMapping, claims: Value) -> Result<Identity, TokenError> {
        mapping.identity(claims.as_object().unwrap(), Timestamp::from_posix_seconds(0))
    }

    fn grants(mapping: &ClaimMapping, claims: Value) -> Vec<String> {
        let identity = identity(mapping, claims).unwrap();
        identity.grants.iter().map(|grant| format!("{} {}", grant.role, grant.scope)).collect()
    }

    #[test]
    fn groups_grant_what_is_configured_and_nothing_else() {
        assert_eq!(
            grants(&mapping(), json!({"sub": "a", "groups": ["support", "other"]})),
            ["reader env=staging", "caller *"]
        );
        assert_eq!(grants(&mapping(), json!({"sub": "a", "groups": "auditors"})), ["auditor *"]);
        assert_eq!(grants(&mapping(), json!({"sub": "a", "groups": ["Support", "admin"]})), [""; 0]);
        assert_eq!(grants(&mapping(), json!({"sub": "a"})), [""; 0]);
        // A claim that is not configured to grant roles grants none.
        assert_eq!(grants(&mapping(), json!({"sub": "a", "roles": ["admin"], "role": "admin"})), [""; 0]);
    }

    #[test]
    fn roles_may_stand_inside_another_claim() {
        let nested = ClaimMapping {
            roles: Some("/realm_access/a~1b".into()),
            roles_scope: "env=test".parse().unwrap(),
            ..mapping()
        };
        let claims = json!({"sub": "a", "realm_access": {"a/b": ["operator", "offline_access", "operator"]}});
        assert_eq!(grants(&nested, claims), ["operator env=test"]);
        let named = ClaimMapping { roles: Some("https://example.org/roles".into()), ..mapping() };
        assert_eq!(grants(&named, json!({"sub": "a", "https://example.org/roles": "admin"})), ["admin *"]);
    }

    #[test]
    fn an_address_that_was_not_verified_is_nobody() {
        let by_email = ClaimMapping { user: "email".into(), ..mapping() };
        assert_eq!(identity(&by_email, json!({"email": "a@b", "email_verified": true})).unwrap().id, "a@b");
        for verified in [json!(false), json!("false"), json!(null), json!(1)] {
            identity(&by_email, json!({"email": "a@b", "email_verified": verified})).unwrap_err();
        }
    }

    #[test]
    fn claims_of_another_shape_are_refused() {
        let many: Vec<String> = (0..257).map(|number| number.to_string()).collect();
        for claims in [
            json!({}),
            json!({"sub": ""}),
            json!({"sub": 7}),
            json!({"sub": "a\u{0}"}),
            json!({"sub": "a".repeat(257)}),
            json!({"sub": "a", "groups": [1]}),
            json!({"sub": "a", "groups": {"support": true}}),
            json!({"sub": "a", "groups": many}),
        ] {
            assert!(matches!(identity(&mapping(), claims.clone()), Err(TokenError::Claim(_))), "{claims}");
        }
    }
}
