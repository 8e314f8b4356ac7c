//! Unary calls of gRPC: HTTP/2 from the first byte on, some streams on each connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, TE};
use hyper::{Request, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use super::door::{Door, Queue, Taken};

/// How many calls are under way on a connection.
pub(crate) const STREAMS: usize = 4;
/// Before each message stand whether it is compressed and its length (gRPC, "PROTOCOL-HTTP2.md").
const FRAME_BYTES: usize = 5;

/// What is sent, and to which method.
pub(crate) struct Calls {
    pub(crate) path: &'static str,
    /// Messages in their frames.
    pub(crate) messages: Vec<Bytes>,
    /// How many items each of them has.
    pub(crate) items_each: usize,
}

/// A message in its frame.
pub(crate) fn framed(message: &[u8]) -> anyhow::Result<Bytes> {
    let length = u32::try_from(message.len())?;
    let mut out = Vec::with_capacity(FRAME_BYTES + message.len());
    out.push(0);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(message);
    Ok(out.into())
}

impl Calls {
    /// Makes a call for each of the messages, as far as the time allows. Nothing may be refused.
    pub(crate) fn send(self, door: &Door, runtime: &Runtime) -> anyhow::Result<Taken> {
        let (calls, address) = (Arc::new(self), door.address);
        runtime.block_on(door.take(calls.messages.len(), |queue| one_connection(address, calls.clone(), queue)))
    }
}

async fn one_connection(address: SocketAddr, calls: Arc<Calls>, queue: Arc<Queue>) -> anyhow::Result<Vec<Duration>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let stream = || tokio::spawn(one_stream(address, calls.clone(), queue.clone(), sender.clone()));
    let streams: Vec<_> = (0..STREAMS).map(|_| stream()).collect();
    let mut times = Vec::new();
    for stream in streams {
        times.extend(stream.await??);
    }
    connection.abort();
    Ok(times)
}

async fn one_stream(
    address: SocketAddr,
    calls: Arc<Calls>,
    queue: Arc<Queue>,
    mut sender: SendRequest<Full<Bytes>>,
) -> anyhow::Result<Vec<Duration>> {
    let uri = format!("http://{address}{}", calls.path);
    let mut times = Vec::new();
    while let Some(nth) = queue.take() {
        let message = calls.messages.get(nth).cloned().unwrap_or_default();
        let bytes = message.len();
        let request = Request::post(&uri)
            .version(Version::HTTP_2)
            .header(CONTENT_TYPE, "application/grpc")
            .header(TE, "trailers")
            .body(Full::new(message))?;
        let start = Instant::now();
        sender.ready().await?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let answer = answer.into_body().collect().await?;
        times.push(start.elapsed());
        let trailers = answer.trailers().cloned().unwrap_or_default();
        let is_good = status == StatusCode::OK && trailers.get("grpc-status").is_some_and(|number| number == "0");
        anyhow::ensure!(is_good, "a call was answered with {status}, {trailers:?}");
        // A message that says nothing: there is no partial success.
        anyhow::ensure!(answer.to_bytes().len() == FRAME_BYTES, "something of a call was refused");
        queue.answered(calls.items_each, bytes);
    }
    Ok(times)
}
