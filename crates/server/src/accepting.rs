//! The next connection that there is room for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// After a failed accept (no more file descriptors) the next try waits this long.
const PAUSE: Duration = Duration::from_millis(50);

/// The next connection, once there is room for one more, and its place in that room; nothing once `stop` resolves.
pub(crate) async fn next(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    mut stop: impl Future<Output = ()> + Unpin,
) -> Option<(OwnedSemaphorePermit, TcpStream, SocketAddr)> {
    loop {
        let accepted = async { (room.clone().acquire_owned().await, listener.accept().await) };
        let (permit, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut stop => return None,
        };
        match (permit, accepted) {
            (Ok(permit), Ok((stream, peer))) => return Some((permit, stream, peer)),
            // Nobody closes the room.
            (Err(_), _) => return None,
            (_, Err(error)) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
