//! A server with a log of its own, and what one of its doors takes in.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Deserialize;

use crate::device::{at, milliseconds};
use crate::growth::resident_mib;
use crate::process::{Running, serve};

/// How many connections send.
pub(crate) const CONNECTIONS: usize = 4;
/// After so long nothing more is sent.
pub(crate) const TIME: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How much more memory is flat, between a fifth of the load and all of it.
pub(crate) const FLAT: f64 = 1.25;

/// A server with a log of its own.
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    server: Running,
}

/// Requests, each handed out once, until there are no more or the time is up.
pub(crate) struct Queue {
    count: usize,
    until: Instant,
    next: AtomicUsize,
    /// Items and bytes of what was answered.
    items: AtomicUsize,
    bytes: AtomicUsize,
}

/// What was taken in.
pub(crate) struct Taken {
    pub(crate) items: usize,
    pub(crate) bytes: usize,
    took: Duration,
    p99: Duration,
    /// How much memory the server held when so many items had been answered, in MiB.
    memory: Vec<(usize, f64)>,
}

impl Queue {
    /// The next request, by its number.
    pub(crate) fn take(&self) -> Option<usize> {
        let nth = self.next.fetch_add(1, Ordering::Relaxed);
        (nth < self.count && Instant::now() < self.until).then_some(nth)
    }

    /// A request of so many items was answered.
    pub(crate) fn answered(&self, items: usize, bytes: usize) {
        self.items.fetch_add(items, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Taken {
    pub(crate) fn per_second(&self) -> f64 {
        self.items as f64 / self.took.as_secs_f64()
    }

    /// Memory of the server when a part of what was taken in all had been answered.
    pub(crate) fn resident_mib(&self, percent: usize) -> f64 {
        let items = self.items * percent / 100;
        self.memory.iter().find(|(answered, _)| *answered >= items).map_or(0.0, |(_, mib)| *mib)
    }

    pub(crate) fn show(&self, what: &str) {
        println!(
            "  {what:<44} {:>9.0}/s   {:>5.1} MB/s   p99 of a request {:>5.0} ms   server {:.0} MiB at 20 %, {:.0} MiB at 100 %",
            self.per_second(),
            self.bytes as f64 / self.took.as_secs_f64() / 1e6,
            milliseconds(self.p99),
            self.resident_mib(20),
            self.resident_mib(100),
        );
    }
}

impl Door {
    /// Starts a server whose log is new.
    pub(crate) fn open(data: &Path) -> anyhow::Result<Self> {
        let (server, address) = serve(data, "http://127.0.0.1:9/v1", "search     http://")?;
        // What others have written before is not to be waited for.
        rustix::fs::sync();
        Ok(Self { address, server })
    }

    /// Sends so many requests over some connections, each as `connection` does it, which says how long each of them took.
    pub(crate) async fn take<F>(&self, requests: usize, connection: impl Fn(Arc<Queue>) -> F) -> anyhow::Result<Taken>
    where
        F: Future<Output = anyhow::Result<Vec<Duration>>> + Send + 'static,
    {
        let zero = AtomicUsize::default;
        let start = Instant::now();
        let queue = Queue { count: requests, until: start + TIME, next: zero(), items: zero(), bytes: zero() };
        let queue = Arc::new(queue);
        let tasks: Vec<_> = (0..CONNECTIONS).map(|_| tokio::spawn(connection(queue.clone()))).collect();
        let all = async {
            let mut times = Vec::new();
            for task in tasks {
                times.extend(task.await??);
            }
            anyhow::Ok(times)
        };
        tokio::pin!(all);
        let (mut memory, mut look) = (Vec::new(), tokio::time::interval(LOOK_EVERY));
        let mut times = loop {
            tokio::select! {
                times = &mut all => break times?,
                _ = look.tick() => memory.push((queue.items.load(Ordering::Relaxed), self.memory()?)),
            }
        };
        let took = start.elapsed();
        let (items, bytes) = (queue.items.load(Ordering::Relaxed), queue.bytes.load(Ordering::Relaxed));
        memory.push((items, self.memory()?));
        times.sort_unstable();
        Ok(Taken { items, bytes, took, p99: at(&times, 99), memory })
    }

    fn memory(&self) -> anyhow::Result<f64> {
        resident_mib(&self.server.0.id().to_string())
    }

    /// Makes sure that so many records of a door are found, all that were acknowledged.
    pub(crate) fn finds(&self, records: usize, producer: &str) -> anyhow::Result<()> {
        let start = Instant::now();
        let found = self.count(producer)?;
        anyhow::ensure!(found == records, "{records} records were acknowledged, {found} are found");
        println!("  {found} records of it counted by SQL in {:.2} s", start.elapsed().as_secs_f64());
        Ok(())
    }

    fn count(&self, producer: &str) -> anyhow::Result<usize> {
        #[derive(Deserialize)]
        struct Row {
            n: usize,
        }
        let body = format!(r#"{{"query":"SELECT count(*) AS n FROM records WHERE producer = '{producer}'"}}"#);
        let mut stream = TcpStream::connect(self.address)?;
        let head = "POST /api/v1/sql?format=jsonl HTTP/1.1\r\nhost: localhost\r\nconnection: close";
        write!(stream, "{head}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        anyhow::ensure!(answer.starts_with("HTTP/1.1 200"), "the records cannot be counted: {answer}");
        let (_, rows) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
        let row: Row = serde_json::from_str(rows.trim())?;
        Ok(row.n)
    }
}
