//! # dial: the one door out to the network
//!
//! Every connection that this program opens is opened here: to a model server ([`connector`]), and to peers that answer
//! a small request with a small answer ([`Peer`]: witnesses, time-stamping authorities, our own server). Where to is always
//! said by the configuration; redirects are never followed.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Body;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// How long making a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// An unused connection is kept this long.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Opens connections by HTTP or HTTPS.
pub type Connector = HttpsConnector<HttpConnector>;

/// Why nothing can be reached by HTTPS.
#[derive(Debug, thiserror::Error)]
#[error("could not read this machine's root certificates, which an https address needs")]
pub struct RootsError(#[from] std::io::Error);

/// What opens connections. The machine's root certificates are read only when they are needed.
///
/// # Errors
/// When they cannot be read.
pub fn connector(is_https: bool) -> Result<Connector, RootsError> {
    let tls = ClientConfig::builder();
    let tls = match is_https {
        true => tls.with_native_roots()?.with_no_client_auth(),
        false => tls.with_root_certificates(RootCertStore::empty()).with_no_client_auth(),
    };
    Ok(connector_by(tls))
}

fn connector_by(tls: ClientConfig) -> Connector {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT_TIMEOUT));
    HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(http)
}

/// What a server by HTTPS is held against, and what it is shown; each as it stands in files in PEM (RFC 7468).
#[derive(Clone, Default)]
pub struct Credentials {
    /// The authorities that are trusted; none: those of this machine.
    pub authorities: Option<Vec<u8>>,
    /// A certificate, with those that lead to its authority, and its private key.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
}

/// Why credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// No certificates of this machine.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// No authorities.
    #[error("the file of authorities holds no certificate in PEM")]
    Authorities(#[source] pem::Error),
    /// A certificate that can be no authority's.
    #[error("one of the authorities cannot be used: {0}")]
    Authority(rustls::Error),
    /// No certificate.
    #[error("the client's certificate is no certificate in PEM")]
    Certificate(#[source] pem::Error),
    /// No key.
    #[error("the client's key is no private key in PEM")]
    Key(#[source] pem::Error),
    /// They do not belong together, or are of a kind that is not known.
    #[error("the client's certificate and key cannot be used: {0}")]
    Unusable(rustls::Error),
}

/// What opens connections with credentials of their own.
///
/// # Errors
/// When they cannot be used.
pub fn connector_with(credentials: &Credentials) -> Result<Connector, CredentialsError> {
    let tls = ClientConfig::builder();
    let tls = match &credentials.authorities {
        None => tls.with_native_roots().map_err(RootsError)?,
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(pem).map_err(CredentialsError::Authorities)? {
                roots.add(authority).map_err(CredentialsError::Authority)?;
            }
            tls.with_root_certificates(roots)
        }
    };
    let Some((certificate, key)) = &credentials.client else { return Ok(connector_by(tls.with_no_client_auth())) };
    let chain = certificates(certificate).map_err(CredentialsError::Certificate)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(CredentialsError::Key)?;
    Ok(connector_by(tls.with_client_auth_cert(chain, key).map_err(CredentialsError::Unusable)?))
}

/// All certificates in a file, of which there must be one.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>()?;
    if all.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(all) }
}

/// Keeps connections for requests to come.
pub fn client<B>(connector: Connector) -> Client<Connector, B>
where
    B: Body + Send,
    B::Data: Send,
{
    Client::builder(TokioExecutor::new()).pool_idle_timeout(IDLE_TIMEOUT).pool_timer(TokioTimer::new()).build(connector)
}

/// Somebody who answers small requests. Clones share the connections.
#[derive(Clone)]
pub struct Peer {
    base: String,
    /// What it wants to see with every request.
    bearer: Option<HeaderValue>,
    client: Client<Connector, Full<Bytes>>,
}

/// What a peer answered.
#[derive(Debug, Clone)]
pub struct PeerAnswer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, whole.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The address is not one.
    #[error("{0:?} is not an http or https address")]
    Address(String),
    /// No certificates.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// Credentials that cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// Nobody answers.
    #[error("{base} cannot be reached: {why}")]
    Unreachable {
        /// Who was asked.
        base: String,
        /// The innermost reason.
        why: String,
    },
    /// The answer takes too long.
    #[error("{base} did not answer within {within:?}")]
    Slow {
        /// Who was asked.
        base: String,
        /// How long it had.
        within: Duration,
    },
    /// The answer is too large.
    #[error("{base} answered with more than {bytes_max} bytes")]
    TooLarge {
        /// Who was asked.
        base: String,
        /// How large an answer may be.
        bytes_max: usize,
    },
    /// The token cannot be sent.
    #[error("the token is empty or has characters that a header cannot carry")]
    Token,
}

impl Peer {
    /// A peer by its base URL.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub fn new(base: &str) -> Result<Self, PeerError> {
        Self::opened_by(base, |is_https| Ok(connector(is_https)?))
    }

    /// A peer by its base URL, which is held against these credentials when it is an https one.
    ///
    /// # Errors
    /// When the address or the credentials cannot be used.
    pub fn with(base: &str, credentials: &Credentials) -> Result<Self, PeerError> {
        Self::opened_by(base, |is_https| match is_https {
            true => Ok(connector_with(credentials)?),
            false => Ok(connector(false)?),
        })
    }

    fn opened_by(base: &str, connector: impl FnOnce(bool) -> Result<Connector, PeerError>) -> Result<Self, PeerError> {
        let wrong = || PeerError::Address(base.to_owned());
        let parts = base.parse::<Uri>().map_err(|_| wrong())?.into_parts();
        let scheme = parts.scheme.filter(|scheme| matches!(scheme.as_str(), "http" | "https")).ok_or_else(wrong)?;
        parts.authority.filter(|authority| !authority.as_str().contains('@')).ok_or_else(wrong)?;
        let connector = connector(scheme.as_str() == "https")?;
        Ok(Self { base: base.trim_end_matches('/').to_owned(), bearer: None, client: client(connector) })
    }

    /// The same peer, which is shown a token with every request (RFC 6750, section 2.1).
    ///
    /// # Errors
    /// When the token cannot stand in a header.
    pub fn bearing(mut self, token: &str) -> Result<Self, PeerError> {
        let sendable = HeaderValue::try_from(format!("Bearer {token}")).ok().filter(|_| !token.trim().is_empty());
        let mut bearer = sendable.ok_or(PeerError::Token)?;
        bearer.set_sensitive(true);
        self.bearer = Some(bearer);
        Ok(self)
    }

    /// The peer at an address, and the path and query of it.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub fn at(address: &str) -> Result<(Self, String), PeerError> {
        let wrong = || PeerError::Address(address.to_owned());
        let uri: Uri = address.parse().map_err(|_| wrong())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(wrong()) };
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok((Self::new(&format!("{scheme}://{authority}"))?, path))
    }

    /// POSTs to a path below its base and reads an answer of at most `bytes_max`, all within a time.
    ///
    /// # Errors
    /// When no whole answer comes in time. A refusal is an answer.
    pub async fn post(
        &self,
        path: &str,
        media: &'static str,
        body: Bytes,
        bytes_max: usize,
        within: Duration,
    ) -> Result<PeerAnswer, PeerError> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media))]);
        self.post_with(path, headers, body, bytes_max, within).await
    }

    /// POSTs with headers of one's own, as [`Peer::post`] does.
    ///
    /// # Errors
    /// As for [`Peer::post`].
    pub async fn post_with(
        &self,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
        bytes_max: usize,
        within: Duration,
    ) -> Result<PeerAnswer, PeerError> {
        let mut request = Request::post(format!("{}{path}", self.base)).body(Full::new(body));
        if let Ok(request) = &mut request {
            *request.headers_mut() = headers;
        }
        self.exchange(request, bytes_max, within).await
    }

    /// GETs a path below its base, as [`Peer::post`] does.
    ///
    /// # Errors
    /// As for [`Peer::post`].
    pub async fn get(&self, path: &str, bytes_max: usize, within: Duration) -> Result<PeerAnswer, PeerError> {
        let request = Request::get(format!("{}{path}", self.base)).body(Full::default());
        self.exchange(request, bytes_max, within).await
    }

    /// GETs what is newer than what a tag stands for (RFC 9110, section 13.1.2): the answer is 304 when nothing is.
    ///
    /// # Errors
    /// As for [`Peer::post`].
    pub async fn get_newer(
        &self,
        path: &str,
        etag: Option<&str>,
        bytes_max: usize,
        within: Duration,
    ) -> Result<PeerAnswer, PeerError> {
        let mut request = Request::get(format!("{}{path}", self.base));
        if let Some(etag) = etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        self.exchange(request.body(Full::default()), bytes_max, within).await
    }

    async fn exchange(
        &self,
        request: http::Result<Request<Full<Bytes>>>,
        bytes_max: usize,
        within: Duration,
    ) -> Result<PeerAnswer, PeerError> {
        let unreachable = |why: String| PeerError::Unreachable { base: self.base.clone(), why };
        let mut request = request.map_err(|error| unreachable(error.to_string()))?;
        request.headers_mut().extend(self.bearer.clone().map(|bearer| (AUTHORIZATION, bearer)));
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| unreachable(root_cause(&error)))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, bytes_max).collect().await.map_err(|error| {
                match error.is::<LengthLimitError>() {
                    true => PeerError::TooLarge { base: self.base.clone(), bytes_max },
                    false => unreachable(error.to_string()),
                }
            })?;
            Ok(PeerAnswer { status: head.status, headers: head.headers, body: body.to_bytes() })
        };
        let slow = || PeerError::Slow { base: self.base.clone(), within };
        tokio::time::timeout(within, exchange).await.map_err(|_| slow())?
    }
}

/// RFC 3986, section 2.3: everything but unreserved characters.
#[must_use]
pub fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// The innermost reason, which names the thing that a person can mend ("Connection refused").
#[must_use]
pub fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CA: &[u8] = include_bytes!("../../server/testdata/ca.pem");
    const CERTIFICATE: &[u8] = include_bytes!("../../server/testdata/client.pem");
    const KEY: &[u8] = include_bytes!("../../server/testdata/client.key");
    const OTHER_KEY: &[u8] = include_bytes!("../../server/testdata/server.key");

    fn with(authorities: &[u8], client: Option<(&[u8], &[u8])>) -> Result<Connector, CredentialsError> {
        let client = client.map(|(certificate, key)| (certificate.to_vec(), key.to_vec()));
        connector_with(&Credentials { authorities: Some(authorities.to_vec()), client })
    }

    #[test]
    fn credentials_are_read_from_pem() {
        assert!(with(CA, None).is_ok());
        assert!(with(CA, Some((CERTIFICATE, KEY))).is_ok());
    }

    #[test]
    fn credentials_that_do_not_fit_are_told_apart() {
        assert!(matches!(with(KEY, None), Err(CredentialsError::Authorities(_))));
        let empty = b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        assert!(matches!(with(empty, None), Err(CredentialsError::Authority(_))));
        assert!(matches!(with(CA, Some((KEY, KEY))), Err(CredentialsError::Certificate(_))));
        assert!(matches!(with(CA, Some((CERTIFICATE, CERTIFICATE))), Err(CredentialsError::Key(_))));
        assert!(matches!(with(CA, Some((CERTIFICATE, OTHER_KEY))), Err(CredentialsError::Unusable(_))));
    }
}
