//! A model server. Where it is comes from the configuration alone: a request can name a route, and a route one of those that are configured.

use bytes::Bytes;
use dial::{Connector, client, connector, root_cause};
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, HeaderValue, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;

/// Headers that belong to one connection (RFC 9110, section 7.6.1) and are not passed on.
const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-authorization"),
];

/// Why the model server cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// Its address is not one.
    #[error("{0:?} is not the base URL of a model server, such as http://127.0.0.1:11434/v1")]
    Address(String),
    /// The key for it is not fit for a header.
    #[error("the model server's API key has characters that a header cannot have")]
    Key,
    /// The machine's certificates could not be read.
    #[error(transparent)]
    Roots(#[from] dial::RootsError),
}

/// A model server and the connections to it. Clones share the connections.
#[derive(Clone)]
pub struct Upstream {
    client: Client<Connector, Full<Bytes>>,
    connector: Connector,
    scheme: http::uri::Scheme,
    authority: http::uri::Authority,
    /// The base path, without a slash at its end.
    path: String,
    authorization: Option<HeaderValue>,
}

impl Upstream {
    /// A model server by its base URL (`http://127.0.0.1:11434/v1`), and the key that replaces the callers' own.
    ///
    /// # Errors
    /// When the address or the key cannot be used.
    pub fn new(base_url: &str, api_key: Option<&str>) -> Result<Self, UpstreamError> {
        let wrong = || UpstreamError::Address(record::without_credentials(base_url));
        let parts = base_url.parse::<Uri>().map_err(|_| wrong())?.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else { return Err(wrong()) };
        // Credentials in an address end up in logs; `upstream.api_key` is where they belong.
        if !matches!(scheme.as_str(), "http" | "https") || authority.as_str().contains('@') {
            return Err(wrong());
        }
        let path = parts.path_and_query.map_or(String::new(), |path| path.path().trim_end_matches('/').to_owned());
        let authorization = api_key.map(bearer).transpose()?;
        let connector = connector(scheme.as_str() == "https")?;
        Ok(Self { client: client(connector.clone()), connector, scheme, authority, path, authorization })
    }

    /// The same model server with connections of its own.
    pub(crate) fn with_own_connections(&self) -> Self {
        Self { client: client(self.connector.clone()), ..self.clone() }
    }

    /// Its host, for records.
    #[must_use]
    pub fn host(&self) -> &str {
        self.authority.host()
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        let default = if self.scheme.as_str() == "https" { 443 } else { 80 };
        self.authority.port_u16().unwrap_or(default)
    }

    /// Sends a request on: the body as it came, the headers without those of the connection.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, SendError> {
        let uri = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(format!("{}{path}", self.path))
            .build()
            .map_err(|error| SendError(error.to_string()))?;
        let mut request =
            Request::builder().method(method).uri(uri).body(Full::new(body)).map_err(|e| SendError(e.to_string()))?;
        *request.headers_mut() = passed_on(headers);
        let own = request.headers_mut();
        for name in [HOST, CONTENT_LENGTH, EXPECT] {
            own.remove(name);
        }
        // The answer is read from a copy, so it must not come compressed.
        own.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(authorization) = &self.authorization {
            own.insert(AUTHORIZATION, authorization.clone());
        }
        self.client.request(request).await.map_err(|error| SendError(root_cause(&error)))
    }
}

/// Why the model server gave no answer, in its own or the system's words.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(crate) struct SendError(pub(crate) String);

/// Headers without those of one connection.
pub(crate) fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let mut kept = headers.clone();
    for name in HOP_BY_HOP.iter().chain(&named) {
        kept.remove(name);
    }
    kept
}

fn bearer(key: &str) -> Result<HeaderValue, UpstreamError> {
    let mut value = HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| UpstreamError::Key)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_credentials_or_without_a_scheme_is_refused_and_not_repeated() {
        for bad in ["http://me:secret@host/v1", "127.0.0.1:11434", "ftp://host", ""] {
            let said = Upstream::new(bad, None).map(drop).unwrap_err().to_string();
            assert!(!said.contains("secret"), "{said}");
        }
    }

    #[test]
    fn headers_of_the_connection_stay_here() {
        let mut headers = HeaderMap::new();
        headers.insert("connection", HeaderValue::from_static("close, x-private"));
        headers.insert("x-private", HeaderValue::from_static("1"));
        headers.insert("transfer-encoding", HeaderValue::from_static("chunked"));
        headers.insert("x-kept", HeaderValue::from_static("1"));
        assert_eq!(passed_on(&headers).keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-kept"]);
    }
}
