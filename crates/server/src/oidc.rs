//! `/login/oidc` and `/login/callback`: signing in to the console by an OpenID provider.

use access::{Attempt, Begun, Identity, OidcError, Opener, Peer, Reason, Refused};
use async_trait::async_trait;
use axum::extract::{Extension, RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, LOCATION, REFERRER_POLICY, RETRY_AFTER, SET_COOKIE,
};
use http::{HeaderMap, StatusCode};

use crate::admission::{Admission, address_of};
use crate::api::Api;
use crate::problem::Problem;
use crate::sessions;

/// Asks an OpenID provider.
#[async_trait]
pub trait SignIn: Send + Sync + 'static {
    /// Whose provider it is.
    fn issuer(&self) -> &str;
    /// Where a browser is to go, and what it is to bring back.
    ///
    /// # Errors
    /// When the provider says nothing of itself that can be used.
    async fn begin(&self) -> Result<Begun, OidcError>;
    /// Who somebody is, by the query with which they were sent back and what they have brought back.
    ///
    /// # Errors
    /// See [`OidcError`].
    async fn finish(&self, query: &str, seed: Option<&str>) -> Result<Identity, OidcError>;
}

/// A browser goes to the provider.
pub(crate) async fn begin(State(api): State<Api>, peer: Option<Extension<Peer>>) -> Response {
    let Some((admission, oidc)) = provider(&api) else { return no_provider() };
    let attempt = Attempt { method: "GET", path: "/login/oidc", peer: address_of(peer.as_deref()) };
    if let Err(refused) = admission.authenticator.check_attempts(attempt.peer, admission.now()) {
        return page(&refused);
    }
    match oidc.begin().await {
        Ok(Begun { location, seed }) => to(&location, &[admission.cookie.under_way().set(&seed)]),
        Err(error) => refuse(admission, error, &attempt).await,
    }
}

/// A browser comes back from the provider. Where it goes from here is not for the query to say.
pub(crate) async fn callback(
    State(api): State<Api>,
    peer: Option<Extension<Peer>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let Some((admission, oidc)) = provider(&api) else { return no_provider() };
    let attempt = Attempt { method: "GET", path: "/login/callback", peer: address_of(peer.as_deref()) };
    if let Err(refused) = admission.authenticator.check_attempts(attempt.peer, admission.now()) {
        return page(&refused);
    }
    let under_way = admission.cookie.under_way();
    let seed = under_way.of(&headers).ok().flatten();
    let identity = match oidc.finish(&query.unwrap_or_default(), seed).await {
        Ok(identity) => identity,
        Err(error) => return refuse(admission, error, &attempt).await,
    };
    let signed_in = admission.sessions.open(&identity, admission.now(), admission.world.entropy.as_ref());
    let opener = Opener::Issuer(oidc.issuer().to_owned());
    match sessions::begin(admission, &signed_in, attempt.peer, opener).await {
        Ok(()) => to("/login", &[admission.cookie.set(&signed_in.cookie), under_way.clear()]),
        Err(problem) => problem.into_response(),
    }
}

fn provider(api: &Api) -> Option<(&Admission, &dyn SignIn)> {
    let admission = api.admission()?;
    Some((admission, admission.oidc.as_deref()?))
}

fn no_provider() -> Response {
    Problem::not_found("no OpenID provider is configured; `testimony login` signs in too").into_response()
}

/// Records that nobody was signed in, and says so to the person at the browser.
async fn refuse(admission: &Admission, error: OidcError, attempt: &Attempt<'_>) -> Response {
    let refused = admission.authenticator.failed(Reason::Oidc(error), attempt.peer, admission.now());
    admission.refuse(&refused, None, attempt).await;
    page(&refused)
}

fn to(location: &str, cookies: &[String]) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let Ok(location) = HeaderValue::try_from(location) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    headers.insert(LOCATION, location);
    // They are of base64url.
    for cookie in cookies.iter().filter_map(|cookie| HeaderValue::try_from(cookie.as_str()).ok()) {
        headers.append(SET_COOKIE, cookie);
    }
    response
}

/// A sentence on a page without anything else.
fn page(refused: &Refused) -> Response {
    let sentence = refused.sentence().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let text = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Not signed in – Testimony</title>\n\
         <h1>Not signed in</h1>\n<p>{sentence}</p>\n<p><a href=\"/login\">Back</a></p>\n</html>\n"
    );
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    let mut response = (refused.status(), headers, text).into_response();
    if let Some(seconds) = refused.retry_after_s() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_sent_on_with_each_cookie_and_nowhere_by_what_is_no_address() {
        let response = to("/login", &["a=1".into(), "b=2".into()]);
        assert_eq!(
            (response.status(), response.headers()[LOCATION].to_str().unwrap()),
            (StatusCode::SEE_OTHER, "/login")
        );
        assert_eq!(response.headers().get_all(SET_COOKIE).iter().count(), 2);
        assert_eq!(to("/login\r\nx: y", &[]).status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
