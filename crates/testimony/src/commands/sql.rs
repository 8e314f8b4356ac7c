//! `testimony sql`.

use clap::Args;
use serde_json::json;

use crate::Verdict;
use crate::client::{Target, runtime};
use crate::output::{OutputFormat, render};
use crate::terminal::print;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// One SELECT or EXPLAIN over the views `records` (a row each) and `calls` (request and response side by side)
    statement: String,
    /// The most rows to give
    #[arg(long, default_value_t = 10_000)]
    limit: usize,
    /// How to print: a table on a terminal and JSON lines in a pipe when nothing is said
    #[arg(short, long, value_enum)]
    output: Option<OutputFormat>,
    /// Print text as it is, control characters and all
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<Verdict> {
    let format = OutputFormat::or_fitting(arguments.output);
    let client = arguments.target.open()?;
    let path = format!("/api/v1/sql?format={}", format.wire());
    let body = json!({"query": arguments.statement, "limit": arguments.limit});
    let sent = runtime()?.block_on(client.post(&path, &body))?;
    print(&render(format, &sent, &[], arguments.raw)?)?;
    Ok(Verdict::Good)
}
