//! `testimony prove`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use crate::Verdict;
use crate::client::{Target, percent_encoded, query_string, runtime};
use crate::terminal::print;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The record: its id, or its number in the log as `testimony show` prints it
    record: String,
    /// Content fields to disclose: input, output, arguments, result, or a full name. All others stay secret
    #[arg(long, value_name = "FIELD", value_delimiter = ',')]
    disclose: Vec<String>,
    /// The file to write; "-" is standard output [default: RECORD.tlog-proof]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    let client = arguments.target.open()?;
    let disclose = Some(arguments.disclose.join(",")).filter(|names| !names.is_empty());
    let id = percent_encoded(&arguments.record);
    let path = format!("/api/v1/records/{id}/proof{}", query_string(&[("disclose", disclose)]));
    let Some(evidence) = runtime()?.block_on(client.get(&path))? else {
        tracing::error!(
            "there is no record {:?} in this log; `testimony show CALL` lists the records of a call",
            arguments.record
        );
        return Ok(Verdict::NotFound);
    };
    let file = arguments.output.clone().unwrap_or_else(|| format!("{id}.tlog-proof").into());
    if file == Path::new("-") {
        print(&evidence)?;
        return Ok(Verdict::Good);
    }
    #[expect(clippy::disallowed_methods, reason = "the file is the caller's own, not the log's")]
    std::fs::write(&file, &evidence).with_context(|| format!("could not write {}", file.display()))?;
    print(&format!("{}\nCheck it anywhere with:  testimony check {} --key VKEY\n", file.display(), file.display()))?;
    Ok(Verdict::Good)
}
