//! Checking a million records, and being ready again with them.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use ledger::Ledger;
use record::Field;
use search::{Engine, SealAt};
use world::World;

use crate::Places;
use crate::appends::{draft, options, source};
use crate::device::children_cpu;
use crate::process::{binary, serve};

const RECORDS: u64 = 1_000_000;
const TOGETHER: u64 = 1_000;

pub(crate) fn run(places: &Places) -> anyhow::Result<()> {
    println!("a stopped log of {RECORDS} records, segments and all");
    for (name, content) in [("leaves alone", 0), ("100 bytes of content each", 100)] {
        let dir = places.disk.join(format!("verify-{content}"));
        write_log(&dir, content)?;
        let (cpu, start) = (children_cpu()?, Instant::now());
        let output = Command::new(binary()?).args(["verify", "--data"]).arg(&dir).output()?;
        let took = start.elapsed().as_secs_f64();
        anyhow::ensure!(output.status.success(), "it was not verified: {}", String::from_utf8_lossy(&output.stdout));
        let cpu = children_cpu()? - cpu;
        println!(
            "  verify, {name:<26} {:>9.0} records/s   {took:.2} s, {cpu:.2} s of processor time: {:.0} records in a second of it",
            RECORDS as f64 / took,
            RECORDS as f64 / cpu
        );
        if content == 0 {
            crate::proofs::run(&dir)?;
        }
        let ready = ready_again(&dir)?;
        println!("  ready again, {name:<21} {ready:>9.2} s   process start to first answer of /readyz");
    }
    println!();
    Ok(())
}

fn write_log(dir: &Path, content: usize) -> anyhow::Result<()> {
    let world = World::real();
    let ledger = Ledger::open(&world, dir, &options())?.ledger;
    let engine = Engine::follow(&world, dir, &ledger, SealAt::default())?;
    let source = source();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        for _ in 0..RECORDS / TOGETHER {
            let drafts = (0..TOGETHER).map(|n| {
                let mut draft = draft(&world, &source);
                if content > 0 {
                    let text = format!("{n:>content$}");
                    draft.content.push(Field {
                        name: "gen_ai.input.messages".into(),
                        media: "text/plain".into(),
                        bytes: text.into_bytes(),
                    });
                }
                draft
            });
            ledger.append_all(drafts.collect()).await?;
        }
        anyhow::Ok(())
    })?;
    engine.close();
    ledger.close();
    Ok(())
}

fn ready_again(dir: &Path) -> anyhow::Result<f64> {
    let start = Instant::now();
    let (_server, address) = serve(dir, "http://127.0.0.1:9/v1", "search     http://")?;
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let ready = start.elapsed().as_secs_f64();
    anyhow::ensure!(answer.starts_with("HTTP/1.1 200"), "it is not ready: {answer}");
    Ok(ready)
}
