//! The cookie of a session (RFC 6265), and what a browser says about where a request comes from.

use http::header::{COOKIE, HOST, HeaderMap, ORIGIN};

use crate::refusal::Reason;
use crate::secret::Secret;

/// Where a browser says whether the page that makes a request is of this server (W3C Fetch Metadata Request Headers §2.3).
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// How the cookie of a session is written. It ends with the browser; the session itself ends as [`crate::Sessions`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionCookie {
    name: &'static str,
    attributes: &'static str,
}

impl SessionCookie {
    /// For a listener with TLS. Strict: no request that a page of elsewhere causes brings it along. The prefix `__Host-` keeps other hosts of the domain, and pages without TLS, from setting it.
    pub const ENCRYPTED: Self =
        Self { name: "__Host-testimony", attributes: "; Path=/; Secure; HttpOnly; SameSite=Strict" };
    /// For a listener without TLS, to which browsers do not take back what is marked for TLS.
    pub const CLEAR: Self = Self { name: "testimony", attributes: "; Path=/; HttpOnly; SameSite=Strict" };

    /// What a sign-in by an OpenID provider is bound to meanwhile, on the same listener. Lax: it is the provider that sends the browser back.
    #[must_use]
    pub fn under_way(self) -> Self {
        match self == Self::ENCRYPTED {
            true => Self {
                name: "__Host-testimony-oidc",
                attributes: "; Max-Age=600; Path=/; Secure; HttpOnly; SameSite=Lax",
            },
            false => Self { name: "testimony-oidc", attributes: "; Max-Age=600; Path=/; HttpOnly; SameSite=Lax" },
        }
    }

    /// The value of `set-cookie` that signs in.
    #[must_use]
    pub fn set(self, cookie: &Secret) -> String {
        format!("{}={}{}", self.name, cookie.expose(), self.attributes)
    }

    /// The value of `set-cookie` that takes the cookie away.
    #[must_use]
    pub fn clear(self) -> String {
        format!("{}=; Max-Age=0{}", self.name, self.attributes.trim_start_matches("; Max-Age=600"))
    }

    /// The cookie that a request brings along.
    ///
    /// # Errors
    /// [`Reason::TwoCredentials`]: somebody has set a second one for another path, and the order of the two means nothing.
    pub fn of(self, headers: &HeaderMap) -> Result<Option<&str>, Reason> {
        let mut found = None;
        let pairs = headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
        // Cookies of others on this host may be of any bytes; ours are plain text.
        for pair in pairs.filter_map(|pair| std::str::from_utf8(pair).ok()) {
            let Some((name, value)) = pair.trim_ascii().split_once('=') else { continue };
            if name == self.name && found.replace(value).is_some_and(|other| other != value) {
                return Err(Reason::TwoCredentials);
            }
        }
        Ok(found)
    }
}

/// Takes the cookies out of a request that goes on to somebody else, when that of a session is among them: browsers send it to every
/// port of this host.
pub fn without_session(headers: &mut HeaderMap) {
    let has = |cookie: SessionCookie| !matches!(cookie.of(headers), Ok(None));
    if has(SessionCookie::ENCRYPTED) || has(SessionCookie::CLEAR) {
        headers.remove(COOKIE);
    }
}

/// Whether a browser says that a request was caused by a page of elsewhere. What is no browser says nothing, and is from here.
#[must_use]
pub fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    // `none` is whoever typed the address. `same-site` is another host of the domain, or another port.
    if headers.get(SEC_FETCH_SITE).is_some_and(|site| site != "same-origin" && site != "none") {
        return true;
    }
    let Some(origin) = headers.get(ORIGIN) else { return false };
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    authority.is_none() || authority != host
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        pairs.iter().map(pair).fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(name, value);
            map
        })
    }

    #[test]
    fn with_tls_no_other_host_can_set_it_and_no_script_can_read_it() {
        let secret = Secret::new("abc".to_owned());
        assert_eq!(
            SessionCookie::ENCRYPTED.set(&secret),
            "__Host-testimony=abc; Path=/; Secure; HttpOnly; SameSite=Strict"
        );
        assert_eq!(SessionCookie::CLEAR.set(&secret), "testimony=abc; Path=/; HttpOnly; SameSite=Strict");
        assert_eq!(SessionCookie::CLEAR.clear(), "testimony=; Max-Age=0; Path=/; HttpOnly; SameSite=Strict");
    }

    #[test]
    fn it_is_found_among_others_and_two_that_differ_are_refused() {
        let of = |values: &[&str]| {
            let pairs: Vec<_> = values.iter().map(|value| ("cookie", *value)).collect();
            SessionCookie::CLEAR.of(&headers(&pairs)).map(|found| found.map(str::to_owned))
        };
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["testimony"]), Ok(None));
        assert_eq!(of(&["xtestimony=1; __Host-testimony=2; testimonyx=3"]), Ok(None));
        assert_eq!(of(&["a=1; testimony=abc; b=\u{e9}"]), Ok(Some("abc".to_owned())));
        assert_eq!(of(&["a=1", "testimony=a=b"]), Ok(Some("a=b".to_owned())));
        assert_eq!(of(&["testimony=abc; testimony=abc"]), Ok(Some("abc".to_owned())));
        assert_eq!(of(&["testimony=abc", "testimony=abd"]), Err(Reason::TwoCredentials));
    }

    #[test]
    fn a_session_does_not_go_on_to_somebody_else() {
        let left = |value: &str| {
            let mut headers = headers(&[("cookie", value)]);
            without_session(&mut headers);
            headers.contains_key(COOKIE)
        };
        assert!(left("a=1; b=2"));
        for ours in ["testimony=1", "a=1; __Host-testimony=1", "testimony=1; testimony=2"] {
            assert!(!left(ours), "{ours}");
        }
    }

    #[test]
    fn only_our_own_pages_are_from_here() {
        let is_from_elsewhere = |pairs: &[(&'static str, &str)]| {
            is_from_elsewhere(&headers(&[&[("host", "127.0.0.1:4140")], pairs].concat()))
        };
        assert!(!is_from_elsewhere(&[]));
        assert!(!is_from_elsewhere(&[("origin", "http://127.0.0.1:4140"), ("sec-fetch-site", "same-origin")]));
        assert!(!is_from_elsewhere(&[("sec-fetch-site", "none")]));
        for site in ["cross-site", "same-site", ""] {
            assert!(is_from_elsewhere(&[("sec-fetch-site", site)]), "{site}");
        }
        for origin in ["http://evil.example", "null", "http://127.0.0.1:4141", "http://127.0.0.1", "", "http://"] {
            assert!(is_from_elsewhere(&[("origin", origin)]), "{origin}");
            assert!(is_from_elsewhere(&[("origin", origin), ("sec-fetch-site", "same-origin")]), "{origin}");
        }
        assert!(super::is_from_elsewhere(&headers(&[("origin", "http://127.0.0.1:4140")])));
    }
}
