//! Bulk requests by plain HTTP/1.1 over kept-alive connections.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use super::door::{Door, Queue, Taken};
use crate::load::read_answer;

/// What is sent, and how its answers are read.
pub(crate) struct Bulk {
    pub(crate) path: &'static str,
    pub(crate) media: &'static str,
    /// All differ: what is sent again is stored once.
    pub(crate) bodies: Arc<Vec<Vec<u8>>>,
    /// How many items each of the bodies has.
    pub(crate) items_each: usize,
    /// How many of the bodies make one request, one after the other.
    pub(crate) together: usize,
    /// How many items an answer says are stored for the first time.
    pub(crate) stored: fn(&[u8]) -> anyhow::Result<usize>,
}

impl Bulk {
    /// Sends the first so many of the bodies, as far as the time allows. Each item must be stored.
    pub(crate) fn send(self, door: &Door, runtime: &Runtime, bodies: usize) -> anyhow::Result<Taken> {
        let requests = bodies / self.together;
        let (bulk, address) = (Arc::new(self), door.address);
        runtime.block_on(door.take(requests, |queue| {
            let bulk = bulk.clone();
            async move {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                one_connection(stream, &bulk, &queue).await
            }
        }))
    }
}

async fn one_connection(mut stream: TcpStream, bulk: &Bulk, queue: &Queue) -> anyhow::Result<Vec<Duration>> {
    let (mut times, mut read) = (Vec::new(), Vec::new());
    while let Some(nth) = queue.take() {
        let bodies = bulk.bodies.chunks(bulk.together).nth(nth).unwrap_or_default();
        let items = bodies.len() * bulk.items_each;
        let bytes: usize = bodies.iter().map(Vec::len).sum();
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {}\r\ncontent-length: {bytes}\r\n\r\n",
            bulk.path, bulk.media
        );
        let start = Instant::now();
        stream.write_all(head.as_bytes()).await?;
        for body in bodies {
            stream.write_all(body).await?;
        }
        let at = read_answer(&mut stream, &mut read).await?;
        times.push(start.elapsed());
        let stored = (bulk.stored)(&read[at..])?;
        anyhow::ensure!(stored == items, "of {items} items {stored} were stored");
        queue.answered(items, bytes);
    }
    Ok(times)
}
