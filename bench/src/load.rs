//! The load: plain HTTP/1.1 over kept-alive connections, as little work as possible besides.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What was measured.
pub(crate) struct Measured {
    pub(crate) requests_per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

/// Sends chat requests over some connections for some time.
pub(crate) async fn measure(address: SocketAddr, connections: usize, time: Duration) -> anyhow::Result<Measured> {
    let body = r#"{"model":"scripted-demo","messages":[{"role":"user","content":"Is a refund possible after three weeks?"}],"temperature":0.2}"#;
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let end = Instant::now() + time;
    let start = Instant::now();
    let tasks: Vec<_> = (0..connections).map(|_| tokio::spawn(one_connection(address, request.clone(), end))).collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    let took = start.elapsed();
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
    Ok(Measured { requests_per_second: times.len() as f64 / took.as_secs_f64(), p50: at(50), p99: at(99) })
}

async fn one_connection(address: SocketAddr, request: String, end: Instant) -> anyhow::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut times, mut read) = (Vec::new(), Vec::new());
    while Instant::now() < end {
        let start = Instant::now();
        stream.write_all(request.as_bytes()).await?;
        read_answer(&mut stream, &mut read).await?;
        times.push(start.elapsed());
    }
    Ok(times)
}

/// Reads one answer, which must be a good one, and says where in it the body begins.
pub(crate) async fn read_answer(stream: &mut TcpStream, read: &mut Vec<u8>) -> anyhow::Result<usize> {
    read.clear();
    loop {
        if let Some(at) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = std::str::from_utf8(&read[..at])?.to_ascii_lowercase();
            if !head.starts_with("http/1.1 200") {
                bail!("the answer is {}", head.lines().next().unwrap_or_default());
            }
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length: ")).context("no content-length")?;
            let whole = at + 4 + length.trim().parse::<usize>()?;
            while read.len() < whole {
                more(stream, read).await?;
            }
            return Ok(at + 4);
        }
        more(stream, read).await?;
    }
}

async fn more(stream: &mut TcpStream, read: &mut Vec<u8>) -> anyhow::Result<()> {
    if stream.read_buf(read).await? == 0 {
        bail!("the connection was closed in the middle of an answer");
    }
    Ok(())
}
