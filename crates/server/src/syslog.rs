//! Syslog by datagrams and by streams. A stream is read on only when what it brought is durable, so that a sender waits while the log
//! cannot be written; datagrams have no way to wait, and the kernel drops what does not fit.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ingest::{Frames, MESSAGE_BYTES_MAX, Packet, Syslog};
use record::Draft;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{Semaphore, watch};

use crate::accepting;
use crate::admission::Caller;
use crate::intake::Intake;
use crate::tls::Tls;

/// Streams at once; more wait to be accepted.
const STREAMS_MAX: usize = 512;
/// What is read of a stream at once, in bytes.
const READ_BYTES: usize = 64 << 10;
/// Datagrams that are stored at once, when so many have come.
const DATAGRAMS_MAX: usize = 512;
/// The largest datagram, in bytes.
const DATAGRAM_BYTES_MAX: usize = 64 << 10;
/// How long a handshake of TLS may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The door for syslog, open. Whoever reaches it can write to the log: it has no credentials.
#[derive(Clone)]
pub struct SyslogDoor {
    /// What takes records in.
    pub intake: Intake,
    /// Reads messages.
    pub syslog: Arc<Syslog>,
}

/// One message, and how many bytes of it were lost.
type Message = (Vec<u8>, u64, Option<IpAddr>);

impl SyslogDoor {
    /// Takes datagrams until it is stopped.
    pub async fn take_datagrams(self, socket: UdpSocket, mut stop: watch::Receiver<bool>) {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            let received = tokio::select! {
                received = socket.recv_from(&mut buffer) => received,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let mut messages: Vec<Message> = Vec::new();
            let mut next = received;
            while let Ok((length, peer)) = next {
                messages.push((buffer.get(..length).unwrap_or_default().to_vec(), 0, Some(peer.ip())));
                if messages.len() >= DATAGRAMS_MAX {
                    break;
                }
                next = socket.try_recv_from(&mut buffer);
            }
            if !self.store(messages, &mut stop).await {
                return;
            }
        }
    }

    /// Accepts streams until it is stopped; each is framed as RFC 6587 says.
    pub async fn accept_streams(self, listener: TcpListener, tls: Option<Tls>, stop: watch::Receiver<bool>) {
        let room = Arc::new(Semaphore::new(STREAMS_MAX));
        let listening = watch::Sender::new(());
        let mut stopping = stop.clone();
        let mut ended = pin!(async move {
            let _ = stopping.wait_for(|stop| *stop).await;
        });
        while let Some((permit, stream, peer)) = accepting::next(&listener, &room, ended.as_mut()).await {
            let (door, stopped) = (self.clone(), stop.clone());
            let handshakes = tls.clone().map(|tls| tls.handshakes(HANDSHAKE, &listening));
            tokio::spawn(async move {
                match handshakes {
                    None => door.take_stream(stream, peer.ip(), stopped).await,
                    Some(handshakes) => match handshakes.accept(stream).await {
                        Ok((stream, _)) => door.take_stream(stream, peer.ip(), stopped).await,
                        Err(error) => tracing::debug!(%error, %peer, "a handshake failed"),
                    },
                }
                drop(permit);
            });
        }
    }

    async fn take_stream(self, mut stream: impl AsyncRead + Unpin, peer: IpAddr, mut stop: watch::Receiver<bool>) {
        let (mut frames, mut buffer) = (Frames::new(MESSAGE_BYTES_MAX), vec![0; READ_BYTES]);
        loop {
            let read = tokio::select! {
                read = stream.read(&mut buffer) => read,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let of = |frame: ingest::Frame| (frame.bytes, frame.lost_bytes, Some(peer));
            let chunk = read.ok().and_then(|length| buffer.get(..length)).unwrap_or_default();
            if chunk.is_empty() {
                let last = frames.end().map(of);
                self.store(last.into_iter().collect(), &mut stop).await;
                return;
            }
            let messages = frames.push(chunk).into_iter().map(of).collect();
            if !self.store(messages, &mut stop).await {
                return;
            }
        }
    }

    /// Stores messages, however long the log cannot be written; false when it never will be again.
    async fn store(&self, messages: Vec<Message>, stop: &mut watch::Receiver<bool>) -> bool {
        let caller = Caller::owner();
        let drafts: Vec<Draft> = self.intake.arrived(&caller, "syslog", |arrival| {
            let packet = |(bytes, lost_bytes, peer): &Message| {
                self.syslog.draft(&Packet { bytes, lost_bytes: *lost_bytes, peer: *peer }, arrival)
            };
            messages.iter().filter_map(packet).collect()
        });
        drafts.is_empty() || self.intake.store_in_the_end(&caller, "syslog", &drafts, stop).await
    }
}
