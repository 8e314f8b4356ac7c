//! `/login` and `/api/v1/sessions`: signing in to the console by a one-time link.
//!
//! What stands in a link comes behind `#`, which browsers send to nobody: it is in no log on the way. The page takes it from there
//! and gives it in exchange for a cookie.

use access::{
    Attempt, Identity, Method, Opener, Peer, Refused, SESSION_IDLE_S_MAX, SessionCookie, SessionRefusal, Sessions,
    SignedIn,
};
use axum::Json;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName, REFERRER_POLICY, SET_COOKIE};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::admission::{Admission, Caller, address_of};
use crate::api::{Api, bad_request, not_running};
use crate::asked::check_json;
use crate::problem::Problem;

const PAGE: &str = include_str!("login.html");
/// The way to an OpenID provider, which the page shows where there is one.
const PROVIDER_HIDDEN: &str = "<p id=\"provider\" hidden>";
const PROVIDER_SHOWN: &str = "<p id=\"provider\">";
/// Nothing but the page itself, its one script and its one style by their SHA-256 (W3C Content Security Policy Level 3 §6.7.3.3), and
/// requests to this server.
const PAGE_POLICY: &str = "default-src 'none'; connect-src 'self'; \
     script-src 'sha256-xPVQhUrW04zdwkcLl9uec91VgsRLlSCUg5x/OpRW1dQ='; \
     style-src 'sha256-qeMc53Bynx4RSScz04IECOaw2OcVDIO1y/6Nuq62w0c='; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// The page that signs in, and says who is signed in until there is a console to go to.
pub(crate) async fn page(State(api): State<Api>) -> Response {
    let has_provider = api.admission().is_some_and(|admission| admission.oidc.is_some());
    let page = if has_provider { PAGE.replace(PROVIDER_HIDDEN, PROVIDER_SHOWN) } else { PAGE.to_owned() };
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    (headers, page).into_response()
}

/// Somebody makes a link for themselves. That is recorded before the link is told.
pub(crate) async fn make_link(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
) -> Result<Response, Response> {
    check_json(&headers).map_err(Problem::into_response)?;
    let admission = running(&api).map_err(Problem::into_response)?;
    let identity = known(&caller).map_err(Problem::into_response)?;
    if identity.method == Method::Session {
        let refused = Refused {
            reason: SessionRefusal::Derived.into(),
            fingerprint: admission.authenticator.fingerprint(&headers),
        };
        let peer = address_of(peer.as_deref());
        let attempt = Attempt { method: "POST", path: "/api/v1/sessions/links", peer };
        return Err(admission.refuse(&refused, Some(identity), &attempt).await);
    }
    let base = own_address(admission, &headers).map_err(Problem::into_response)?;
    let link = admission.sessions.link(identity, admission.now(), admission.world.entropy.as_ref());
    let fingerprint = admission.fingerprints.fingerprint(link.token.expose().as_bytes());
    let draft = admission.records.link_made(caller.actor().unwrap_or_default(), fingerprint, link.expires_at);
    // A link that could not be recorded was told to nobody, and nobody guesses it in its five minutes.
    admission.record(draft).await.map_err(Problem::into_response)?;
    let url = format!("{base}/login#{}", link.token.expose());
    Ok((StatusCode::CREATED, Json(json!({"url": url, "expires_at": link.expires_at.to_string()}))).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Redeemed {
    token: String,
}

/// What stands in a link, in exchange for a session.
pub(crate) async fn open(
    State(api): State<Api>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Response> {
    check_json(&headers).map_err(Problem::into_response)?;
    let admission = running(&api).map_err(Problem::into_response)?;
    let Redeemed { token } =
        serde_json::from_slice(&body).map_err(|error| bad_request(error.to_string()).into_response())?;
    let (now, peer) = (admission.now(), address_of(peer.as_deref()));
    let signed_in = admission.authenticator.sign_in(&token, &headers, peer, now, admission.world.entropy.as_ref());
    let signed_in = match signed_in {
        Ok(signed_in) => signed_in,
        Err(refused) => {
            let attempt = Attempt { method: "POST", path: "/api/v1/sessions", peer };
            return Err(admission.refuse(&refused, None, &attempt).await);
        }
    };
    let link = admission.fingerprints.fingerprint(token.as_bytes());
    begin(admission, &signed_in, peer, Opener::Link(link)).await.map_err(Problem::into_response)?;
    let told = json!({
        "csrf": Sessions::forgery_token(signed_in.cookie.expose()),
        "expires_at": signed_in.expires_at.to_string(),
    });
    Ok((StatusCode::CREATED, [(SET_COOKIE, admission.cookie.set(&signed_in.cookie))], Json(told)).into_response())
}

/// Records that a session has begun; one that the log does not know of is none.
pub(crate) async fn begin(
    admission: &Admission,
    signed_in: &SignedIn,
    peer: std::net::IpAddr,
    opener: Opener,
) -> Result<(), Problem> {
    let SignedIn { cookie, identity, expires_at } = signed_in;
    let fingerprint = admission.fingerprints.fingerprint(cookie.expose().as_bytes());
    let by = identity.actor(Some(peer), Some(fingerprint));
    let recorded = admission.record(admission.records.session_opened(by, opener, *expires_at)).await;
    recorded.inspect_err(|_| drop(admission.sessions.close(cookie.expose())))
}

/// Who is asking, as what, and until when.
pub(crate) async fn current(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    let (admission, identity) = (running(&api)?, known(&caller)?);
    let cookie = session(admission, identity, &headers);
    let expires_at = cookie.map_or(identity.expires_at, |cookie| admission.sessions.ends_at(cookie));
    let grants = identity.grants.iter().map(|grant| json!({"role": grant.role, "scope": grant.scope.to_string()}));
    Ok(Json(json!({
        "actor": {"type": identity.kind.as_str(), "id": identity.id, "groups": identity.groups},
        "auth": identity.method.as_str(),
        "grants": grants.collect::<Vec<_>>(),
        "expires_at": expires_at.map(|end| end.to_string()),
        "idle_s": cookie.map(|_| SESSION_IDLE_S_MAX),
        "csrf": cookie.map(Sessions::forgery_token),
    })))
}

/// Somebody signs out.
pub(crate) async fn end(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (admission, identity) = (running(&api)?, known(&caller)?);
    let cookie = session(admission, identity, &headers)
        .ok_or_else(|| Problem::not_found("this request comes without a session, so there is none to end"))?;
    // It is over from here on, whatever becomes of the record.
    admission.sessions.close(cookie);
    admission.record(admission.records.session_ended(caller.actor().unwrap_or_default())).await?;
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, admission.cookie.clear())]).into_response())
}

/// The cookie by which somebody was let in.
fn session<'a>(admission: &Admission, identity: &Identity, headers: &'a HeaderMap) -> Option<&'a str> {
    if identity.method == Method::Session { admission.cookie.of(headers).ok()? } else { None }
}

fn running(api: &Api) -> Result<&Admission, Problem> {
    api.admission().ok_or_else(|| not_running("nobody can sign in"))
}

fn known(caller: &Caller) -> Result<&Identity, Problem> {
    caller.identity.as_deref().ok_or_else(|| not_running("nobody can sign in"))
}

/// This server as whoever asks has addressed it; the name was held against those that are allowed.
fn own_address(admission: &Admission, headers: &HeaderMap) -> Result<String, Problem> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.ok_or_else(|| bad_request("send the header host: the link begins with it".to_owned()))?;
    let scheme = if admission.cookie == SessionCookie::ENCRYPTED { "https" } else { "http" };
    Ok(format!("{scheme}://{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use sha2::{Digest as _, Sha256};

    #[test]
    fn the_page_runs_what_its_policy_names_and_nothing_else() {
        for element in ["script", "style"] {
            let (open, close) = (format!("<{element}>"), format!("</{element}>"));
            assert_eq!(PAGE.matches(&format!("<{element}")).count(), 1);
            let (_, rest) = PAGE.split_once(&open).unwrap();
            let (inline, _) = rest.split_once(&close).unwrap();
            let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(inline));
            let source = format!("{element}-src 'sha256-{hash}';");
            assert!(PAGE_POLICY.contains(&source), "{source}");
        }
        for forbidden in ["unsafe", "http:", "https:", "*", "data:"] {
            assert!(!PAGE_POLICY.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn the_page_has_nothing_from_elsewhere_and_makes_no_markup_of_what_it_is_told() {
        for forbidden in
            ["://", "src=", "href=\"//", "HTML =", "insertAdjacent", "document.write", "eval(", "onclick", "style="]
        {
            assert!(!PAGE.contains(forbidden), "{forbidden}");
        }
    }
}
