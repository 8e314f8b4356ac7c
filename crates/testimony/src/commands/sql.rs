//! `testimony sql`.

use clap::Args;
use serde_json::json;

use crate::Verdict;
use crate::client::{Target, runtime};
use crate::output::{Printing, render};
use crate::terminal::print;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// One SELECT or EXPLAIN over the views `records` (a row each) and `calls` (request and response side by side)
    statement: String,
    /// The most rows to give
    #[arg(long, default_value_t = 10_000)]
    limit: usize,
    #[command(flatten)]
    printing: Printing,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<Verdict> {
    let format = arguments.printing.format()?;
    let client = arguments.target.open()?;
    let path = format!("/api/v1/sql?format={}", format.wire());
    let body = json!({"query": arguments.statement, "limit": arguments.limit});
    let sent = runtime()?.block_on(client.post(&path, &body))?;
    print(&render(format, &sent, &[], arguments.printing.raw)?)?;
    Ok(Verdict::Good)
}
