//! `testimony search`.

use anyhow::Context as _;
use clap::Args;

use crate::Verdict;
use crate::client::{Target, query_string, runtime};
use crate::output::{Printing, render};
use crate::terminal::print;

/// The columns that a table shows: what one looks for first.
pub(crate) const COLUMNS: [&str; 10] =
    ["time", "kind", "outcome", "actor_id", "environment", "model", "status", "input", "output", "call_id"];

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What to look for: field:value, "text", AND, OR, -, *; nothing finds everything
    #[arg(default_value = "", allow_hyphen_values = true)]
    query: String,
    /// Only from then on: 7d, 24h, 2026-11-23, or a moment as RFC 3339 writes it
    #[arg(long)]
    since: Option<String>,
    /// Only before then
    #[arg(long)]
    until: Option<String>,
    /// The most records to give
    #[arg(long, default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    printing: Printing,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<Verdict> {
    let format = arguments.printing.format();
    let client = arguments.target.open()?;
    let query = query_string(&[
        ("q", Some(arguments.query)),
        ("since", arguments.since),
        ("until", arguments.until),
        ("limit", Some(arguments.limit.to_string())),
        ("format", Some(format.wire().to_owned())),
    ]);
    let sent = runtime()?.block_on(client.get(&format!("/api/v1/search{query}")))?;
    let sent = sent.context("the server does not know how to search: is it Testimony?")?;
    print(&render(format, &sent, &COLUMNS, arguments.printing.raw)?)?;
    Ok(Verdict::Good)
}
