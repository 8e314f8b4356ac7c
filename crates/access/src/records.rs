//! What the log is told of access: `auth` records. Never a credential, only its keyed fingerprint.

use std::net::IpAddr;
use std::sync::Arc;

use record::{Actor, Draft, Kind, Outcome, Source, Timestamp, Value, uuid_v7};
use world::World;

use crate::first_use::FirstUse;
use crate::identity::Identity;
use crate::keys::ApiKey;
use crate::refusal::Refused;

/// Drafts of `auth` records.
#[derive(Clone)]
pub struct AuthRecords {
    world: World,
    source: Arc<Source>,
}

/// What somebody was about to do.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// The method of the request.
    pub method: &'a str,
    /// Its path, without the query.
    pub path: &'a str,
    /// Where it came from.
    pub peer: IpAddr,
}

/// What opened a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opener {
    /// A link; this is the keyed fingerprint of what stood in it.
    Link(String),
    /// An OpenID provider, by its issuer identifier.
    Issuer(String),
}

impl AuthRecords {
    /// Records that come from `source`.
    #[must_use]
    pub fn new(world: World, source: Source) -> Self {
        Self { world, source: Arc::new(source) }
    }

    /// Somebody was refused; `identity` is who they are, where that is known.
    #[must_use]
    pub fn refused(&self, refused: &Refused, identity: Option<&Identity>, attempt: &Attempt<'_>) -> Draft {
        let ip = Some(attempt.peer);
        let actor = match identity {
            Some(identity) => identity.actor(ip, refused.fingerprint.clone()),
            None => Actor {
                kind: if refused.fingerprint.is_some() { "credential" } else { "anonymous" }.to_owned(),
                id: refused.fingerprint.clone(),
                groups: Vec::new(),
                auth: Some("refused".to_owned()),
                ip: ip.map(|ip| ip.to_canonical().to_string()),
                fingerprint: refused.fingerprint.clone(),
            },
        };
        let mut draft = self.draft(actor, "refused", Outcome::Denied);
        let attributes = &mut draft.attributes;
        attributes.set("error.type", refused.reason.word());
        attributes.set("testimony.decision", "deny");
        attributes.set("testimony.decision.reasons", Value::List(vec![Value::cut(&refused.reason.to_string())]));
        attributes.set("http.response.status_code", refused.status().as_u16());
        attributes.set_text("http.request.method", attempt.method);
        attributes.set_text("url.path", attempt.path);
        draft
    }

    /// A key was made.
    #[must_use]
    pub fn key_made(&self, key: &ApiKey, by: Actor) -> Draft {
        let mut draft = self.about_key("key_made", key, by);
        if let Some(end) = key.expires_at {
            draft.attributes.set("testimony.key.expires", end.to_string());
        }
        draft
    }

    /// A key was revoked, and with it so many sessions and links that it had opened.
    #[must_use]
    pub fn key_revoked(&self, key: &ApiKey, by: Actor, sessions: usize) -> Draft {
        let mut draft = self.about_key("key_revoked", key, by);
        if sessions > 0 {
            draft.attributes.set("testimony.sessions.ended", i64::try_from(sessions).unwrap_or(i64::MAX));
        }
        draft
    }

    /// This process takes a credential for the first time.
    #[must_use]
    pub fn accepted(&self, identity: &Identity, first: &FirstUse, attempt: &Attempt<'_>) -> Draft {
        let actor = identity.actor(Some(attempt.peer), Some(first.fingerprint.clone()));
        let mut draft = self.draft(actor, "accepted", Outcome::Completed);
        draft.attributes.set_text("http.request.method", attempt.method);
        draft.attributes.set_text("url.path", attempt.path);
        if let Some(key) = &identity.key_id {
            draft.attributes.set("testimony.key.id", key.clone());
        }
        draft
    }

    /// Somebody made a link for themselves; `link` is the keyed fingerprint of what stands in it.
    #[must_use]
    pub fn link_made(&self, by: Actor, link: String, expires_at: Timestamp) -> Draft {
        let mut draft = self.draft(by, "link_made", Outcome::Completed);
        draft.attributes.set("testimony.session.link", link);
        draft.attributes.set("testimony.session.expires", expires_at.to_string());
        draft
    }

    /// A session began. `by` has the keyed fingerprint of its cookie.
    #[must_use]
    pub fn session_opened(&self, by: Actor, opener: Opener, expires_at: Timestamp) -> Draft {
        let mut draft = self.draft(by, "session_opened", Outcome::Completed);
        match opener {
            Opener::Link(fingerprint) => draft.attributes.set("testimony.session.link", fingerprint),
            Opener::Issuer(issuer) => draft.attributes.set_text("testimony.session.issuer", &issuer),
        }
        draft.attributes.set("testimony.session.expires", expires_at.to_string());
        draft
    }

    /// Somebody ended their session.
    #[must_use]
    pub fn session_ended(&self, by: Actor) -> Draft {
        self.draft(by, "session_ended", Outcome::Completed)
    }

    fn about_key(&self, event: &'static str, key: &ApiKey, by: Actor) -> Draft {
        let mut draft = self.draft(by, event, Outcome::Completed);
        let attributes = &mut draft.attributes;
        attributes.set("testimony.key.id", key.id.clone());
        attributes.set("testimony.key.name", key.name.clone());
        attributes.set("testimony.key.role", key.role.as_str());
        attributes.set("testimony.key.scope", key.scope.to_string());
        draft
    }

    fn draft(&self, actor: Actor, event: &'static str, outcome: Outcome) -> Draft {
        let time = Timestamp::from_micros(self.world.clock.now_micros());
        let id = uuid_v7(time, &self.world.entropy.bytes());
        let mut draft = Draft::new(id, time, Kind::Auth, self.source.clone());
        draft.actor = Some(actor);
        draft.outcome = Some(outcome);
        draft.attributes.set("testimony.auth.event", event);
        draft
    }
}
