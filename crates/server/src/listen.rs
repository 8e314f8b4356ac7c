//! The accept loop of both listeners.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use access::Peer;
use bytes::Bytes;
use gateway::{AnswerBody, Gateway, Refusal};
use http::{Request, Response, StatusCode};
use http_body::Body;
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::accepting;
use crate::hosts::AllowedHosts;
use crate::lanes::Lane;
use crate::tls::{Handshakes, Tls};

/// What answers the requests of a listener.
pub trait Surface: Clone + Send + Sync + 'static {
    /// The body of its answers.
    type Body: Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + 'static;
    /// Answers a request.
    fn answer(&self, request: Request<Incoming>, peer: Peer) -> impl Future<Output = Response<Self::Body>> + Send;
    /// Answers a request for a name that is not ours.
    fn wrong_host(&self) -> Response<Self::Body>;
}

/// What a listener puts up with.
#[derive(Debug, Clone, Copy)]
pub struct ListenLimits {
    /// Connections in all; more wait to be accepted.
    pub connections_max: usize,
    /// Connections from one address; more are closed.
    pub connections_per_peer_max: usize,
    /// How long a client may take over the TLS handshake.
    pub handshake: Duration,
    /// How long a client may take over the head of a request.
    pub header_read: Duration,
    /// The largest head of a request, in bytes.
    pub header_bytes_max: usize,
    /// How long open connections may take to end once the listener is stopped.
    pub close_grace: Duration,
}

impl Default for ListenLimits {
    fn default() -> Self {
        Self {
            connections_max: 4_096,
            connections_per_peer_max: 2_048,
            handshake: Duration::from_secs(10),
            header_read: Duration::from_secs(10),
            header_bytes_max: 32 << 10,
            close_grace: Duration::from_secs(1),
        }
    }
}

/// Concurrent requests on one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;

/// Accepts connections and answers their requests until `stop` resolves; then lets those under way end. A connection goes to
/// the lane that has the fewest, and is answered by that lane's surface. With `tls`, that speaks first.
pub async fn serve<S: Surface>(
    listener: TcpListener,
    tls: Option<Tls>,
    lanes: Vec<(Lane, S)>,
    hosts: AllowedHosts,
    limits: ListenLimits,
    stop: impl Future<Output = ()>,
) {
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(limits.connections_max));
    let peers = Peers::default();
    let server = Arc::new(builder(limits));
    // Dropped at the end: a handshake under way has nothing to bring to an end.
    let listening = watch::Sender::new(());
    let handshakes = tls.map(|tls| tls.handshakes(limits.handshake, &listening));
    tokio::pin!(stop);
    while let Some((permit, stream, peer)) = accepting::next(&listener, &room, stop.as_mut()).await {
        let Some(guest) = peers.admit(peer.ip(), limits.connections_per_peer_max) else { continue };
        let Some((lane, surface)) = lanes.iter().min_by_key(|(lane, _)| lane.connections()) else { return };
        let _ = stream.set_nodelay(true);
        let Ok(stream) = stream.into_std() else { continue };
        let answering = Answering {
            server: server.clone(),
            surface: surface.clone(),
            hosts: hosts.clone(),
            watcher: graceful.watcher(),
        };
        let handshakes = handshakes.clone();
        let stays = (permit, guest);
        lane.spawn(async move {
            answering.connection(stream, peer, handshakes).await;
            drop(stays);
        });
    }
    drop((listener, listening));
    if tokio::time::timeout(limits.close_grace, graceful.shutdown()).await.is_err() {
        tracing::info!("connections were still open and have been closed");
    }
}

fn builder(limits: ListenLimits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read)
        .max_buf_size(limits.header_bytes_max.max(8_192))
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
        .keep_alive_interval(Some(Duration::from_secs(20)));
    builder
}

/// What answers one connection.
struct Answering<S> {
    server: Arc<auto::Builder<TokioExecutor>>,
    surface: S,
    hosts: AllowedHosts,
    watcher: Watcher,
}

impl<S: Surface> Answering<S> {
    async fn connection(self, stream: std::net::TcpStream, address: SocketAddr, handshakes: Option<Handshakes>) {
        // Within the lane: its own event queue watches the stream.
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => return tracing::warn!(%error, peer = %address, "a connection could not be watched"),
        };
        let Some(handshakes) = handshakes else {
            return self.requests(TokioIo::new(stream), Peer { address, certificate: None }).await;
        };
        match handshakes.accept(stream).await {
            Ok((stream, certificate)) => self.requests(TokioIo::new(stream), Peer { address, certificate }).await,
            Err(error) => tracing::debug!(%error, peer = %address, "a TLS handshake failed"),
        }
    }

    async fn requests(self, stream: impl Read + Write + Unpin + Send + 'static, peer: Peer) {
        let Self { server, surface, hosts, watcher } = self;
        let address = peer.address;
        let service = service_fn(move |request: Request<Incoming>| {
            let (surface, peer) = (surface.clone(), peer.clone());
            let allowed = hosts.allow(request.uri(), request.headers());
            async move {
                Ok::<_, std::convert::Infallible>(if allowed {
                    surface.answer(request, peer).await
                } else {
                    surface.wrong_host()
                })
            }
        });
        let connection = server.serve_connection(stream, service).into_owned();
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%error, peer = %address, "a connection ended badly");
        }
    }
}

/// How many connections each address has.
#[derive(Clone, Default)]
pub(crate) struct Peers(Arc<Mutex<HashMap<IpAddr, usize>>>);

pub(crate) struct Guest {
    peers: Peers,
    address: IpAddr,
}

impl Peers {
    pub(crate) fn admit(&self, address: IpAddr, most: usize) -> Option<Guest> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Guest { peers: self.clone(), address })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut counts = self.peers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// The gateway as what answers the models' listener.
#[derive(Clone)]
pub struct GatewaySurface(pub Gateway);

impl Surface for GatewaySurface {
    type Body = AnswerBody;

    async fn answer(&self, request: Request<Incoming>, peer: Peer) -> Response<AnswerBody> {
        self.0.handle(request, &peer).await
    }

    fn wrong_host(&self) -> Response<AnswerBody> {
        let message = "this server does not answer to that name: add it to allowed_hosts";
        let refusal = Refusal::invalid(StatusCode::MISDIRECTED_REQUEST, "wrong_host", message);
        let mut response = Response::new(AnswerBody::from(refusal.body()));
        refusal.apply(&mut response);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_its_share_and_gets_it_back() {
        let (peers, address) = (Peers::default(), IpAddr::from([127, 0, 0, 1]));
        let first = peers.admit(address, 1).unwrap();
        assert!(peers.admit(address, 1).is_none());
        drop(first);
        assert!(peers.admit(address, 1).is_some());
        assert!(peers.0.lock().unwrap().is_empty());
    }
}
