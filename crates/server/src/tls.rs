//! TLS on a listener: what the server shows, whom it asks to show something, and the handshake.
//!
//! Certificates are replaced while connections are open: those keep what they began with, and a session that began under
//! the old files is not taken up again under the new ones.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ServerConfig, VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The protocols above, by preference (RFC 7301): HTTP/2 for whoever asks for it.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What TLS goes by, as it stands in files in PEM (RFC 7468).
#[derive(Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, then those that lead to its authority.
    pub certificate: Vec<u8>,
    /// The private key of the first of these.
    pub key: Vec<u8>,
    /// The authorities of clients; none: no client is asked for a certificate.
    pub client_ca: Option<Vec<u8>>,
    /// Whether a client that shows no certificate is turned away before it can ask anything.
    pub client_required: bool,
}

/// Why TLS cannot be spoken with these files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No certificate of the server.
    #[error("the server's certificate is no certificate in PEM")]
    Certificate(#[source] pem::Error),
    /// No key.
    #[error("the server's key is no private key in PEM")]
    Key(#[source] pem::Error),
    /// A key of something else.
    #[error("the server's key is not the key of the first certificate in its file")]
    Mismatch,
    /// A key or certificate of a kind that is not known, or with something amiss.
    #[error("the server's certificate and key cannot be used: {0}")]
    Unusable(rustls::Error),
    /// No authorities.
    #[error("the file of the clients' authorities holds no certificate in PEM")]
    ClientCa(#[source] pem::Error),
    /// A certificate that can be no authority's.
    #[error("one of the clients' authorities cannot be used: {0}")]
    Authority(rustls::Error),
    /// They cannot be used together.
    #[error("the clients' authorities cannot be used: {0}")]
    Verifier(VerifierBuilderError),
}

/// How a listener speaks TLS, which can be replaced while it listens. Clones are the same.
#[derive(Clone)]
pub struct Tls(Arc<RwLock<Arc<ServerConfig>>>);

impl Tls {
    /// With these files.
    ///
    /// # Errors
    /// When they cannot be used, or not with each other.
    pub fn new(files: &TlsFiles) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(RwLock::new(Arc::new(files.config()?)))))
    }

    /// With other files, for connections from now on.
    ///
    /// # Errors
    /// As [`Tls::new`]; nothing has changed then.
    pub fn replace(&self, files: &TlsFiles) -> Result<(), TlsError> {
        let config = Arc::new(files.config()?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    fn now(&self) -> Arc<ServerConfig> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Handshakes that are given up after a time, and when the listener ends.
    pub(crate) fn handshakes(self, within: Duration, listening: &watch::Sender<()>) -> Handshakes {
        Handshakes { tls: self, within, listening: listening.subscribe(), protocol: None }
    }
}

impl TlsFiles {
    /// The server's own certificate, in DER.
    ///
    /// # Errors
    /// When there is none.
    pub fn leaf(&self) -> Result<Vec<u8>, TlsError> {
        CertificateDer::from_pem_slice(&self.certificate).map(|leaf| leaf.to_vec()).map_err(TlsError::Certificate)
    }

    fn config(&self) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let chain = certificates(&self.certificate).map_err(TlsError::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(TlsError::Key)?;
        let server = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::Mismatch,
            other => TlsError::Unusable(other),
        })?;
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions().map_err(TlsError::Unusable)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(authorities) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(authorities).map_err(TlsError::ClientCa)? {
                    roots.add(authority).map_err(TlsError::Authority)?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = if self.client_required { verifier } else { verifier.allow_unauthenticated() };
                builder.with_client_cert_verifier(verifier.build().map_err(TlsError::Verifier)?)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(server)));
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(config)
    }
}

/// All certificates in a file, of which there must be one.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>()?;
    if all.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(all) }
}

/// The handshakes of one listener.
#[derive(Clone)]
pub(crate) struct Handshakes {
    tls: Tls,
    within: Duration,
    /// Ends when the listener does.
    listening: watch::Receiver<()>,
    /// The one protocol above; none: those of HTTP.
    protocol: Option<&'static [u8]>,
}

impl Handshakes {
    /// With another protocol above than HTTP.
    pub(crate) fn speaking(self, protocol: &'static [u8]) -> Self {
        Self { protocol: Some(protocol), ..self }
    }

    fn config(&self) -> Arc<ServerConfig> {
        let mut config = self.tls.now();
        if let Some(protocol) = self.protocol {
            Arc::make_mut(&mut config).alpn_protocols = vec![protocol.to_vec()];
        }
        config
    }

    /// Does the handshake, and gives the stream and the client's own certificate (DER), if it showed one that holds.
    ///
    /// # Errors
    /// When the client is no client of ours, or too slow, or the listener ends meanwhile.
    pub(crate) async fn accept(mut self, stream: TcpStream) -> io::Result<(TlsStream<TcpStream>, Option<Arc<[u8]>>)> {
        let handshake = TlsAcceptor::from(self.config()).accept(stream);
        let stream = tokio::select! {
            done = tokio::time::timeout(self.within, handshake) => done.map_err(|_| io::ErrorKind::TimedOut)??,
            // Nothing is ever sent: the sender has gone.
            _ = self.listening.changed() => return Err(io::ErrorKind::ConnectionAborted.into()),
        };
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let certificate = certificate.map(|leaf| Arc::from(leaf.as_ref()));
        Ok((stream, certificate))
    }
}

#[cfg(test)]
mod tests;
