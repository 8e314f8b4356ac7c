//! Who may pass which route. What the table of routes does not say is refused.

use std::net::IpAddr;
use std::sync::Arc;

use access::{
    Action, Attempt, AuthRecords, Authenticator, Identity, KeyStore, Method as Shown, Peer, Reason, Refused,
    SessionCookie, Sessions, Target, authorize,
};
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use gateway::RulesInForce;
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderMap, Method, StatusCode};
use ledger::Ledger;
use policy::Administration;
use record::{Actor, Draft, FingerprintKey, Timestamp};
use search::View;
use world::World;

use crate::api::{Api, ROUTES};
use crate::intake::RETRY_AFTER_S;
use crate::oidc::SignIn;
use crate::problem::Problem;

/// What a route asks of whoever uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    Open,
    /// That it is known who they are.
    Known,
    /// That they may do this somewhere: what they are shown is then filtered by where.
    Within(Action),
    /// That they may do this everywhere.
    Everywhere(Action),
}

/// The door-keeper of the main listener.
#[derive(Clone)]
pub struct Admission {
    /// Says who is calling.
    pub authenticator: Arc<Authenticator>,
    /// The API keys.
    pub keys: KeyStore,
    /// The sessions of the console.
    pub sessions: Arc<Sessions>,
    /// How the cookie of a session is written on this listener.
    pub cookie: SessionCookie,
    /// Signs in by an OpenID provider, where there is one.
    pub oidc: Option<Arc<dyn SignIn>>,
    /// Makes `auth` records.
    pub records: AuthRecords,
    /// Takes them.
    pub ledger: Ledger,
    /// The key under which credentials are fingerprinted.
    pub fingerprints: FingerprintKey,
    /// The policy that is asked before something is changed.
    pub rules: RulesInForce,
    /// The time.
    pub world: World,
}

/// Why somebody does not pass.
pub(crate) enum Denied {
    /// They may not, which is recorded.
    Refused(Refused),
    /// They may, and that cannot be recorded.
    Unrecorded(Problem),
}

/// Who passed.
#[derive(Clone)]
pub(crate) struct Caller {
    /// Who they are; none for whoever reads a stopped log, and thus has its directory.
    pub(crate) identity: Option<Arc<Identity>>,
    ip: Option<IpAddr>,
    fingerprint: Option<String>,
    /// What they may see.
    pub(crate) view: View,
}

impl Caller {
    pub(crate) fn owner() -> Self {
        Self { identity: None, ip: None, fingerprint: None, view: View::everything() }
    }

    /// Who they are, if they have shown it.
    pub(crate) fn shown(&self) -> Option<&Identity> {
        self.identity.as_deref().filter(|identity| identity.method != Shown::Anonymous)
    }

    /// As a record names them.
    pub(crate) fn actor(&self) -> Option<Actor> {
        self.identity.as_ref().map(|identity| identity.actor(self.ip, self.fingerprint.clone()))
    }
}

/// Lets a request pass to its handler, with its [`Caller`], or records that it was refused.
pub(crate) async fn admit(
    State(api): State<Api>,
    path: MatchedPath,
    mut request: Request,
    next: Next,
) -> Result<Response, Response> {
    let Some(admission) = api.admission() else {
        request.extensions_mut().insert(Caller::owner());
        return Ok(next.run(request).await);
    };
    let access = asked_by(request.method(), path.as_str()).ok_or_else(|| {
        let detail = "nobody has said who may use this route";
        Problem::new(StatusCode::FORBIDDEN, "forbidden", detail).into_response()
    })?;
    let peer = request.extensions().get::<Peer>();
    if let Some(caller) =
        admission.pass(access, request.headers(), peer, request.method(), request.uri().path()).await?
    {
        request.extensions_mut().insert(caller);
    }
    Ok(next.run(request).await)
}

fn asked_by(method: &Method, path: &str) -> Option<Access> {
    // A HEAD is a GET whose body is left out.
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    ROUTES.iter().find(|(of, at, _)| *of == method.as_str() && *at == path).map(|(.., access)| *access)
}

impl Admission {
    async fn pass(
        &self,
        access: Access,
        headers: &HeaderMap,
        peer: Option<&Peer>,
        method: &Method,
        path: &str,
    ) -> Result<Option<Caller>, Response> {
        let asked = match access {
            Access::Open => return Ok(None),
            Access::Known => None,
            Access::Within(action) => Some((action, Target::Filtered)),
            Access::Everywhere(action) => Some((action, Target::Everything)),
        };
        let attempt = Attempt { method: method.as_str(), path, peer: address_of(peer) };
        let certificate = peer.and_then(|peer| peer.certificate.as_deref());
        let passed = self.identify(asked, method, headers, certificate, &attempt).await;
        passed.map(Some).map_err(|denied| match denied {
            Denied::Refused(refused) => refusal(&refused),
            Denied::Unrecorded(problem) => problem.into_response(),
        })
    }

    /// Who asks, if they may: what is due of it in the log is there when this returns.
    pub(crate) async fn identify(
        &self,
        asked: Option<(Action, Target<'_>)>,
        method: &Method,
        headers: &HeaderMap,
        certificate: Option<&[u8]>,
        attempt: &Attempt<'_>,
    ) -> Result<Caller, Denied> {
        let (now, address) = (self.now(), attempt.peer);
        let identity = match self.authenticator.authenticate(method, headers, address, certificate, now) {
            Ok(identity) => identity,
            Err(refused) => return Err(self.denied(refused, None, attempt).await),
        };
        if let Some(first) = self.authenticator.first_use(headers, certificate, &identity) {
            let draft = self.records.accepted(&identity, &first, attempt);
            self.record(draft).await.map_err(Denied::Unrecorded)?;
            self.authenticator.has_recorded(&first);
        }
        if let Err(refused) = asked.map_or(Ok(()), |(action, target)| authorize(&identity, action, target, now)) {
            return Err(self.denied(refused, Some(&identity), attempt).await);
        }
        let (view, ip) = (View::of(&identity), Some(address));
        let fingerprint = self.authenticator.fingerprint(headers);
        Ok(Caller { identity: Some(identity), ip, fingerprint, view })
    }

    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.world.clock.now_micros())
    }

    /// Makes a record durable, without which what it tells of does not happen.
    pub(crate) async fn record(&self, draft: Draft) -> Result<(), Problem> {
        record(&self.ledger, draft).await
    }

    /// Asks the policy whether a caller may change something.
    pub(crate) async fn may_change(
        &self,
        caller: &Caller,
        method: &'static str,
        path: &str,
        administration: Administration,
    ) -> Result<(), Response> {
        let (Some(identity), Some(peer)) = (&caller.identity, caller.ip) else { return Ok(()) };
        let now = self.now();
        match self.rules.now().administer(identity, peer, administration, now).await {
            Ok(()) => Ok(()),
            Err(reasons) => {
                let refused = Refused::from(Reason::Policy(reasons.join("; ")));
                Err(self.refuse(&refused, Some(identity), &Attempt { method, path, peer }).await)
            }
        }
    }

    /// Records a refusal before it is told, unless enough of them were recorded.
    pub(crate) async fn refuse(
        &self,
        refused: &Refused,
        identity: Option<&Identity>,
        attempt: &Attempt<'_>,
    ) -> Response {
        self.record_refusal(refused, identity, attempt).await;
        refusal(refused)
    }

    async fn denied(&self, refused: Refused, identity: Option<&Identity>, attempt: &Attempt<'_>) -> Denied {
        self.record_refusal(&refused, identity, attempt).await;
        Denied::Refused(refused)
    }

    async fn record_refusal(&self, refused: &Refused, identity: Option<&Identity>, attempt: &Attempt<'_>) {
        if refused.is_worth_a_record() {
            let draft = self.records.refused(refused, identity, attempt);
            if let Err(error) = self.ledger.append(draft).await {
                tracing::warn!(%error, "a refusal could not be recorded");
            }
        }
    }
}

/// What [`Admission::record`] does, for whoever has the ledger.
pub(crate) async fn record(ledger: &Ledger, draft: Draft) -> Result<(), Problem> {
    ledger.append(draft).await.map(drop).map_err(|error| {
        let detail = format!("this cannot be recorded: {error}; try again later");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_recorded", detail).retry_after(RETRY_AFTER_S)
    })
}

/// Where a request comes from. Only one that did not come over a connection has no peer, and that one is from nowhere near.
pub(crate) fn address_of(peer: Option<&Peer>) -> IpAddr {
    peer.map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.address.ip())
}

/// A refusal as a client gets it: the same words for an unknown, an expired and a revoked key.
fn refusal(refused: &Refused) -> Response {
    let code = match refused.status() {
        StatusCode::FORBIDDEN => "forbidden",
        StatusCode::TOO_MANY_REQUESTS => "too_many_attempts",
        _ => "unauthorized",
    };
    let mut problem = Problem::new(refused.status(), code, refused.sentence());
    if let Some(seconds) = refused.retry_after_s() {
        problem = problem.retry_after(u32::try_from(seconds).unwrap_or(u32::MAX));
    }
    let mut response = problem.into_response();
    if refused.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}
