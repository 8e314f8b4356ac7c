//! `testimony rebuild`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use ledger::{Archive, rebuild_tiles};
use search::rebuild_segments;
use world::World;

use crate::Verdict;
use crate::commands::verify::print_report;
use crate::verification::{Report, Tail, progress_bar};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The data directory of a stopped log
    #[arg(long, value_name = "DIR", default_value = "./testimony-data")]
    data: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    let (world, data) = (World::real(), arguments.data.as_path());
    let mut batches = Vec::new();
    let archive = Archive::open(&world, data, |batch| batches.push(batch))
        .context("could not open the log; a server that has it must be stopped first")?;
    let _ours = world.disk.lock(data)?;
    let (mut report, bar) = (Report::default(), progress_bar());
    bar.set_length(archive.size());
    match rebuild_tiles(&world, data, &archive, &batches) {
        Ok(records) => report.good.push(format!("published log: tiles of {records} records, root as signed")),
        Err(error) => report.wrong.push(format!("log: {error}")),
    }
    let tail = Tail::new(&batches, archive.wal_first());
    let bundles = |number: u64, onto: &mut Vec<u8>| tail.bundle_of(data, number, onto);
    let (origin, first) = (archive.key().name(), archive.wal_first());
    let rebuilt = rebuild_segments(&world, data, origin, first, &bundles, &|rows| bar.inc(rows));
    bar.finish_and_clear();
    if rebuilt.segments > 0 {
        report.good.push(format!("segments: {} with {} records, and their indexes", rebuilt.segments, rebuilt.rows));
    }
    report.unchecked.extend(rebuilt.gaps.iter().map(|(first, end)| {
        format!(
            "the records {first} to {} were in no segment: they are searchable again, without what was said",
            end - 1
        )
    }));
    report.wrong.extend(rebuilt.findings.iter().map(ToString::to_string));
    print_report(&report, "rebuilt", "NOT REBUILT")
}
