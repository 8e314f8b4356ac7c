//! A node that has kept records while its centre was away, and how fast they are delivered once it is back.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use ledger::{Ledger, Options};
use record::{Draft, Field, Source};
use serde_json::Value;
use world::World;

use crate::Places;
use crate::appends::{draft, options, source};
use crate::process::serve_with;

const RECORDS: u64 = 600_000;
/// What the gateway's records have on the average: 1.1 kB of leaf, and content beside it.
const ATTRIBUTE_BYTES: usize = 700;
const CONTENT_BYTES: usize = 1_000;
/// Records that are appended at once, before anything is measured.
const GROUP: u64 = 1_000;
const LOOK_EVERY: Duration = Duration::from_millis(50);
const WITHIN: Duration = Duration::from_secs(600);
/// Nobody is asked for an answer.
const UPSTREAM: &str = "http://127.0.0.1:9/v1";
const MARK: &str = "search     http://";

pub(crate) fn run(places: &Places) -> anyhow::Result<()> {
    let node = places.disk.join("node");
    let bytes = fill(&node)?;
    println!("\n{RECORDS} records of {bytes} bytes wait at a node; its centre comes back, both on this machine");
    let (_centre, centre) = serve_with(&places.disk.join("centre"), UPSTREAM, MARK, None)?;
    let settings = places.disk.join("node.toml");
    std::fs::write(&settings, format!("[forward]\nto = \"http://{centre}\"\nbacklog_max = \"1TiB\"\n"))?;
    let begun = Instant::now();
    let (_node, address) = serve_with(&node, UPSTREAM, MARK, Some(&settings))?;
    println!("  the node is ready after         {:>8.2} s", begun.elapsed().as_secs_f64());
    let took = drained(address)?;
    let rate = RECORDS as f64 / took.as_secs_f64();
    println!(
        "  delivered                       {rate:>8.0}/s   {:.0} MB/s before compression (an hour at 1,000/s in {:.0} s; bar 300 s)",
        rate * bytes as f64 / 1e6,
        3_600_000.0 / rate
    );
    Ok(())
}

/// Fills a log as a node leaves it, and gives what a record takes in the write-ahead log.
fn fill(node: &Path) -> anyhow::Result<u64> {
    let world = World::real();
    let opened = Ledger::open(&world, node, &Options { backlog_bytes_max: Some(u64::MAX), ..options() })?;
    let source = source();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    for first in (0..RECORDS).step_by(usize::try_from(GROUP)?) {
        let drafts = (first..first + GROUP).map(|nth| large(&world, &source, nth)).collect();
        runtime.block_on(opened.ledger.append_all(drafts))?;
    }
    let backlog = opened.ledger.backlog().context("nothing waits")?;
    opened.ledger.close();
    Ok(backlog.bytes / backlog.records)
}

fn large(world: &World, source: &Arc<Source>, nth: u64) -> Draft {
    let said = |bytes: usize| {
        let mut text = String::with_capacity(bytes + 40);
        while text.len() < bytes {
            text.push_str(&format!("the customer {} asked for {} ", nth * 7_919 % 100_003, text.len() * 31 % 977));
        }
        text
    };
    let mut draft = draft(world, source);
    draft.attributes.set("bench.text", said(ATTRIBUTE_BYTES));
    let bytes = said(CONTENT_BYTES).into_bytes();
    draft.content.push(Field { name: "bench.said".into(), media: "text/plain".into(), bytes });
    draft
}

/// From the first word of the centre to the last record there.
fn drained(node: SocketAddr) -> anyhow::Result<Duration> {
    let (mut begun, deadline) = (None, Instant::now() + WITHIN);
    while Instant::now() < deadline {
        let delivered = delivered(node)?;
        let since = *begun.get_or_insert_with(Instant::now);
        match delivered {
            Some(delivered) if delivered >= RECORDS => return Ok(since.elapsed()),
            Some(_) => {}
            // The centre has not said where it stands.
            None => begun = None,
        }
        std::thread::sleep(LOOK_EVERY);
    }
    anyhow::bail!("the records were not delivered within {WITHIN:?}")
}

fn delivered(node: SocketAddr) -> anyhow::Result<Option<u64>> {
    let mut stream = TcpStream::connect(node)?;
    stream.write_all(b"GET /api/v1/log HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    let log: Value = serde_json::from_str(body)?;
    Ok(log["forward"]["delivered"].as_u64())
}
