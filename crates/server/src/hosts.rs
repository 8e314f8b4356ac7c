//! Which names this server answers to.

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Uri};

/// The names that a request may address this server by: `localhost`, any IP address, and those that are configured.
///
/// A page in the same browser can make a name of its own resolve to this machine (DNS rebinding) and then read
/// whatever is answered. It cannot make the browser send another name than its own.
#[derive(Debug, Clone, Default)]
pub struct AllowedHosts(Vec<String>);

impl AllowedHosts {
    /// With these names in addition.
    #[must_use]
    pub fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| name.to_ascii_lowercase()).collect())
    }

    /// Whether a request addresses this server by a name that it has.
    #[must_use]
    pub fn allow(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let header = headers.get(HOST).map(|value| value.to_str().unwrap_or("\u{0}"));
        let from_header =
            header.map(|text| text.parse::<Authority>().ok().map(|authority| authority.host().to_owned()));
        // HTTP/2 has the name in the URI. Without any name, no browser has sent it.
        let named = [from_header, uri.host().map(|host| Some(host.to_owned()))];
        named.into_iter().flatten().all(|name| name.is_some_and(|name| self.has(&name)))
    }

    fn has(&self, name: &str) -> bool {
        let name = name.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        name == "localhost" || name.parse::<std::net::IpAddr>().is_ok() || self.0.contains(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(host: &str, expected: bool) {
        let hosts = AllowedHosts::new(&["Audit.example".into()]);
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        assert_eq!(hosts.allow(&Uri::from_static("/"), &headers), expected, "{host}");
    }

    #[test]
    fn a_foreign_name_is_refused() {
        check("localhost:4140", true);
        check("127.0.0.1:4140", true);
        check("[::1]:4140", true);
        check("audit.example", true);
        check("evil.example:4140", false);
        check("localhost.evil.example", false);
        check("", false);
    }
}
