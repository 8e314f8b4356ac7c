//! SQL for clients of PostgreSQL: `psql`, drivers, and what is built on them. What they ask goes the way of `POST /api/v1/sql`: the same roles,
//! rows, limits, list of what runs, and `read` records.
//!
//! | file | what is in it |
//! |---|---|
//! | `wire` | messages from a connection and to it, within limits |
//! | `session` | one connection: who it is, and what it asks |
//! | `prepared` | statements that are kept: with parameters, run in portions |
//! | `command` | what a statement is, of those that the engine does not run |
//! | `reports` | what went wrong, with PostgreSQL's codes |
//! | `cancelling` | ending what another connection runs |

mod cancelling;
mod command;
mod prepared;
mod reports;
mod session;
mod wire;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use access::Peer;
use postgres::Opening;
use search::Engine;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::accepting;
use crate::admission::Admission;
use crate::intake::Intake;
use crate::listen::Peers;
use crate::tls::{Handshakes, Tls};
use cancelling::Cancelling;
use session::Session;
use wire::{Ended, Wire};

/// Connections at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 128;
/// Connections from one address; more are closed.
const CONNECTIONS_PER_PEER_MAX: usize = 64;
/// How long a client may take until it has shown who it is, and over the handshake of TLS.
const STARTUP: Duration = Duration::from_secs(10);
/// After this long it is looked again whether the rest of a client's first words has come.
const PAUSE: Duration = Duration::from_millis(50);
/// What every handshake of TLS begins with (RFC 8446 §5.1).
const HANDSHAKE: u8 = 0x16;
/// The protocol above TLS (RFC 7301), as PostgreSQL's clients name it.
const PROTOCOL: &[u8] = b"postgresql";

/// The door for clients of PostgreSQL. Clones are the same.
#[derive(Clone)]
pub struct PostgresDoor(Arc<Inner>);

struct Inner {
    engine: Engine,
    intake: Intake,
    admission: Admission,
    settings: PostgresSettings,
    cancelling: Cancelling,
}

/// How the door is.
#[derive(Debug, Clone, Copy)]
pub struct PostgresSettings {
    /// How long a connection may be without a question.
    pub idle: Duration,
    /// Whether nobody is let in who shows no client certificate.
    pub certificate_required: bool,
}

impl PostgresDoor {
    /// A door to a log.
    #[must_use]
    pub fn new(engine: Engine, intake: Intake, admission: Admission, settings: PostgresSettings) -> Self {
        let cancelling = Cancelling::new(intake.world.clone());
        Self(Arc::new(Inner { engine, intake, admission, settings, cancelling }))
    }

    /// Accepts connections until it is stopped.
    pub async fn accept(self, listener: TcpListener, tls: Option<Tls>, stop: watch::Receiver<bool>) {
        let (room, peers) = (Arc::new(Semaphore::new(CONNECTIONS_MAX)), Peers::default());
        let listening = watch::Sender::new(());
        let handshakes = tls.map(|tls| tls.handshakes(STARTUP, &listening).speaking(PROTOCOL));
        let mut stopping = stop.clone();
        let mut ended = pin!(async move {
            let _ = stopping.wait_for(|stop| *stop).await;
        });
        while let Some((permit, stream, address)) = accepting::next(&listener, &room, ended.as_mut()).await {
            let Some(guest) = peers.admit(address.ip(), CONNECTIONS_PER_PEER_MAX) else { continue };
            let _ = stream.set_nodelay(true);
            let (door, handshakes, stopped) = (self.clone(), handshakes.clone(), stop.clone());
            tokio::spawn(async move {
                let peer = Peer { address, certificate: None };
                if let Err(error) = door.connection(stream, peer, handshakes, stopped).await {
                    tracing::debug!(%error, peer = %address, "a connection of a PostgreSQL client ended");
                }
                drop((permit, guest));
            });
        }
    }

    async fn connection(
        self,
        mut stream: TcpStream,
        mut peer: Peer,
        handshakes: Option<Handshakes>,
        stop: watch::Receiver<bool>,
    ) -> Result<(), Ended> {
        let begun = tokio::time::Instant::now();
        let asks_for_tls = tokio::time::timeout(STARTUP, wants_tls(&mut stream, handshakes.is_some()));
        let asks_for_tls = asks_for_tls.await.map_err(|_| Ended::Slow)??;
        match handshakes {
            Some(handshakes) if asks_for_tls => {
                let (stream, certificate) = handshakes.accept(stream).await.map_err(Ended::Io)?;
                peer.certificate = certificate;
                self.begin(stream, peer, true, begun, stop).await
            }
            _ => self.begin(stream, peer, false, begun, stop).await,
        }
    }

    async fn begin(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        peer: Peer,
        is_secret: bool,
        begun: tokio::time::Instant,
        stop: watch::Receiver<bool>,
    ) -> Result<(), Ended> {
        let mut wire = Wire::new(stream);
        let startup = async {
            loop {
                match wire.opening().await? {
                    // Asked for again, or by TLS already.
                    Opening::Tls | Opening::Gss => wire.send(b"N").await?,
                    Opening::Cancel { process, secret } => {
                        self.0.cancelling.cancel(process, secret);
                        return Ok(None);
                    }
                    Opening::Startup { version, parameters } => {
                        let session = Session::begin(&self.0, wire, peer, is_secret, version, parameters);
                        return session.await.map(Some);
                    }
                }
            }
        };
        let session = tokio::time::timeout_at(begun + STARTUP, startup).await.map_err(|_| Ended::Slow)??;
        match session {
            Some(session) => session.serve(stop).await,
            None => Ok(()),
        }
    }
}

/// Whether a connection is to go on by TLS, which a client says by asking or by beginning. What is not a question for that is left where
/// it is. Where there is a certificate, the answer is yes.
async fn wants_tls(stream: &mut TcpStream, has_certificate: bool) -> Result<bool, Ended> {
    loop {
        let mut head = [0; 8];
        let seen = stream.peek(&mut head).await.map_err(Ended::Io)?;
        match head.first() {
            _ if seen == 0 => return Err(Ended::Gone),
            Some(&HANDSHAKE) => return Ok(true),
            _ if seen < head.len() => {
                // The rest is on its way, and to peek again at once would be to turn in circles.
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            _ => {}
        }
        let asks_for_tls = match postgres::read_opening(&head) {
            Ok(Some((Opening::Tls, _))) => true,
            Ok(Some((Opening::Gss, _))) => false,
            _ => return Ok(false),
        };
        stream.read_exact(&mut head).await.map_err(Ended::Io)?;
        let agreed = asks_for_tls && has_certificate;
        stream.write_all(if agreed { b"S" } else { b"N" }).await.map_err(Ended::Io)?;
        if agreed {
            return Ok(true);
        }
    }
}
