//! `testimony ingest`: what a mapping makes of a file, without storing anything.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use ingest::{Arrival, Event, Input, Mapped, Mapping};
use record::{Source, Timestamp};
use world::World;

use crate::Verdict;
use crate::commands::import::sent;
use crate::terminal::print;
use crate::trust::read_own;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the records that a mapping makes of a file, one a line; nothing is stored
    Try(Try),
}

#[derive(Debug, Args)]
struct Try {
    /// Lines of JSON or text
    file: PathBuf,
    /// The mapping (docs/ingest/mapping.md)
    #[arg(long, value_name = "FILE")]
    mapping: PathBuf,
    /// What the mapping is told that the lines are from [default: the file's path]
    #[arg(long)]
    source: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    let Command::Try(arguments) = &arguments.command;
    let text = String::from_utf8(read_own(&arguments.mapping)?).context("the mapping is not UTF-8")?;
    let mapping = Mapping::compile(&text).with_context(|| arguments.mapping.display().to_string())?;
    let world = World::real();
    let source = Source {
        service: "default".into(),
        environment: "default".into(),
        host: world::host_name(),
        origin: String::new(),
        producer: "lines".into(),
    };
    let random = || world.entropy.bytes();
    let received = Timestamp::from_micros(world.clock.now_micros());
    let arrival = Arrival { source: &source, sender: None, received, random: &random };
    let from = arguments.source.clone().unwrap_or_else(|| arguments.file.display().to_string());
    #[expect(clippy::disallowed_methods, reason = "a file that somebody names is read")]
    let file = std::fs::File::open(&arguments.file).with_context(|| arguments.file.display().to_string())?;
    let (mut records, mut dropped, mut unmatched) = (0_u64, 0_u64, 0_u64);
    for line in BufReader::new(file).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        if line.trim().is_empty() {
            continue;
        }
        let json = serde_json::from_str(&line).ok();
        let input = json.as_ref().map_or(Input::Text(&line), Input::Json);
        match mapping.read(&Event { input, source: &from, time: None, key: None }, &arrival) {
            Mapped::Draft(draft) => {
                records += 1;
                print(&format!("{}\n", sent(&draft)))?;
            }
            Mapped::Dropped => dropped += 1,
            Mapped::Unmatched => unmatched += 1,
        }
    }
    tracing::info!(records, dropped, unmatched, "nothing was stored");
    Ok(Verdict::Good)
}
