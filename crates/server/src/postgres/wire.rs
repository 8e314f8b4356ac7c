//! Messages from a connection and to it. What a client may send at once is bounded, and so is how long it may leave unread what is sent to it.

use std::io;
use std::time::Duration;

use postgres::{Malformed, Message, OPENING_BYTES_MAX, Opening, Out, read_message, read_opening};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The longest message: a statement of 64 KiB, or its parameters, and what is around them.
pub(super) const MESSAGE_BYTES_MAX: usize = 256 << 10;
/// The longest message of somebody who has not shown who they are: a token.
pub(super) const PASSWORD_BYTES_MAX: usize = 16 << 10;
/// What is read at once, in bytes.
const READ_BYTES: usize = 16 << 10;
/// What is sent at once, in bytes.
const SEND_BYTES: usize = 64 << 10;
/// How long a client may take nothing of what is sent to it.
const UNREAD: Duration = Duration::from_secs(60);

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("the client has gone")]
    Gone,
    #[error("the client took too long")]
    Slow,
    #[error("the client sent {0}")]
    Malformed(#[from] Malformed),
    #[error("it was told why")]
    Told,
    #[error("the connection broke: {0}")]
    Io(io::Error),
}

/// A connection.
pub(super) struct Wire<S> {
    stream: S,
    /// What has come and was not read.
    come: Vec<u8>,
    /// What waits to be sent.
    pub(super) out: Out,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, come: Vec::new(), out: Out::default() }
    }

    /// What the connection begins with.
    pub(super) async fn opening(&mut self) -> Result<Opening, Ended> {
        loop {
            if let Some((opening, length)) = read_opening(&self.come)? {
                self.come.drain(..length);
                return Ok(opening);
            }
            self.read(OPENING_BYTES_MAX).await?;
        }
    }

    /// The next message.
    pub(super) async fn message(&mut self, most: usize) -> Result<Message, Ended> {
        loop {
            if let Some((message, length)) = read_message(&self.come, most)? {
                self.come.drain(..length);
                return Ok(message);
            }
            self.read(most).await?;
        }
    }

    /// Returns once the client has gone, or a failure of the connection says so. What it sends meanwhile is kept, as far as there may be that
    /// much.
    pub(super) async fn gone(&mut self) -> Ended {
        loop {
            if self.come.len() > MESSAGE_BYTES_MAX {
                return std::future::pending().await;
            }
            if let Err(ended) = self.read(MESSAGE_BYTES_MAX).await {
                return ended;
            }
        }
    }

    /// Reads more of a message that has at most so many bytes.
    async fn read(&mut self, most: usize) -> Result<(), Ended> {
        let room = (most + READ_BYTES).saturating_sub(self.come.len()).min(READ_BYTES);
        self.come.reserve(room);
        match (&mut self.stream).take(room as u64).read_buf(&mut self.come).await {
            Ok(0) => Err(Ended::Gone),
            Ok(_) => Ok(()),
            Err(error) => Err(Ended::Io(error)),
        }
    }

    /// Sends bytes as they are.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        for part in bytes.chunks(SEND_BYTES) {
            let sent = tokio::time::timeout(UNREAD, self.stream.write_all(part));
            sent.await.map_err(|_| Ended::Slow)?.map_err(Ended::Io)?;
        }
        tokio::time::timeout(UNREAD, self.stream.flush()).await.map_err(|_| Ended::Slow)?.map_err(Ended::Io)
    }

    /// Sends all that waits.
    pub(super) async fn flush(&mut self) -> Result<(), Ended> {
        let waiting = self.out.take();
        if waiting.is_empty() { Ok(()) } else { self.send(&waiting).await }
    }

    /// Sends what waits, once there is much of it.
    pub(super) async fn relieve(&mut self) -> Result<(), Ended> {
        if self.out.len() >= SEND_BYTES { self.flush().await } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_may_come_in_pieces_and_another_be_kept_meanwhile() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut wire = Wire::new(server);
        client.write_all(b"Q\0\0\0\x0dSELE").await.unwrap();
        let reading = async { wire.message(100).await.unwrap() };
        let sending = async { client.write_all(b"CT 1\0S\0\0\0\x04").await.unwrap() };
        let (message, ()) = tokio::join!(reading, sending);
        assert_eq!(message, Message::Query("SELECT 1".to_owned()));
        client.write_all(b"H\0\0\0\x04").await.unwrap();
        drop(client);
        assert!(matches!(wire.gone().await, Ended::Gone));
        assert_eq!(wire.message(100).await.unwrap(), Message::Sync);
        assert_eq!(wire.message(100).await.unwrap(), Message::Flush);
        assert!(matches!(wire.message(100).await, Err(Ended::Gone)));
    }

    #[tokio::test]
    async fn whoever_sends_without_end_is_not_read_without_end() {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let mut wire = Wire::new(server);
        client.write_all(&vec![b'S'; 1 << 20]).await.unwrap();
        let gone = tokio::time::timeout(Duration::from_millis(50), wire.gone()).await;
        assert!(gone.is_err() && wire.come.len() <= MESSAGE_BYTES_MAX + READ_BYTES, "{}", wire.come.len());
    }
}
