//! `testimony search`.

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use record::Timestamp;
use search::{Outline, Search, Staged, span_micros};
use serde_json::Value;
use world::World;

use crate::Verdict;
use crate::chart;
use crate::client::{Client, Target, query_string, runtime};
use crate::output::{Printing, render};
use crate::terminal::print;

/// The columns that a table shows: what one looks for first.
pub(crate) const COLUMNS: [&str; 10] =
    ["time", "kind", "outcome", "actor_id", "environment", "model", "status", "input", "output", "call_id"];
/// The most rows of a list when nothing is said.
const ROWS: usize = 100;
/// The most bars of a chart when nothing is said: a chart that ends early would mislead.
const BARS: usize = 10_000;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What to look for: field:value, "text", AND, OR, -, *; nothing finds everything. `| stats count() by model, 1h` and
    /// `| top 10 user` count what was found
    #[arg(default_value = "", allow_hyphen_values = true)]
    query: String,
    /// Only from then on: 7d, 24h, 2026-11-23, or a moment as RFC 3339 writes it
    #[arg(long)]
    since: Option<String>,
    /// Only before then
    #[arg(long)]
    until: Option<String>,
    /// The most records or groups to give [default: 100, of a chart 10000]
    #[arg(long)]
    limit: Option<usize>,
    /// Draw what the query's stage measures, or without a stage how much was found over time
    #[arg(long, conflicts_with = "output")]
    chart: bool,
    #[command(flatten)]
    printing: Printing,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<Verdict> {
    let Arguments { query, since, until, limit, chart, printing, target } = arguments;
    let search = Search { query, since, until };
    let now = Timestamp::from_micros(World::real().clock.now_micros());
    let outline = Outline::of(&search, now);
    let client = target.open()?;
    let text = runtime()?.block_on(async {
        if chart {
            return charted(&client, search, outline?, now, limit.unwrap_or(BARS), printing.raw).await;
        }
        let format = printing.format();
        let sent = ask(&client, &search, limit.unwrap_or(ROWS), format.wire()).await?;
        // What is wrong with a query is the server's to say.
        let is_staged = outline.is_ok_and(|outline| outline.stage.is_some());
        render(format, &sent, if is_staged { &[] } else { &COLUMNS }, printing.raw)
    })?;
    print(&text)?;
    Ok(Verdict::Good)
}

async fn ask(client: &Client, search: &Search, limit: usize, format: &str) -> anyhow::Result<Bytes> {
    let query = query_string(&[
        ("q", Some(search.query.clone())),
        ("since", search.since.clone()),
        ("until", search.until.clone()),
        ("limit", Some(limit.to_string())),
        ("format", Some(format.to_owned())),
    ]);
    let sent = client.get(&format!("/api/v1/search{query}")).await?;
    sent.context("the server does not know how to search: is it Testimony?")
}

async fn charted(
    client: &Client,
    mut search: Search,
    outline: Outline,
    now: Timestamp,
    limit: usize,
    raw: bool,
) -> anyhow::Result<String> {
    let staged = match outline.stage {
        Some(staged) => staged,
        None => {
            let stretch = stretch_micros(client, &search, outline, now).await?;
            let span = chart::span_for(stretch);
            search.query.push_str(&format!(" | stats count() by {span}"));
            Staged { groups: 1, bucket_micros: span_micros(&span) }
        }
    };
    chart::draw(&ask(client, &search, limit, "json").await?, staged, chart::width(), raw)
}

/// How much time a search is about: what it says, or else what it finds.
async fn stretch_micros(client: &Client, search: &Search, outline: Outline, now: Timestamp) -> anyhow::Result<i64> {
    let micros = |from: Timestamp, to: Timestamp| to.as_micros().saturating_sub(from.as_micros());
    if let Some(since) = outline.since {
        return Ok(micros(since, outline.until.unwrap_or(now)));
    }
    let ends = Search { query: format!("{} | stats min(time), max(time)", search.query), ..search.clone() };
    let ends: Value = serde_json::from_slice(&ask(client, &ends, 1, "jsonl").await?)?;
    let end = |name: &str| Timestamp::parse(ends.get(name)?.as_str()?).ok();
    let last = outline.until.or_else(|| end("max(time)"));
    Ok(end("min(time)").zip(last).map_or(0, |(first, last)| micros(first, last)))
}
