//! `testimony queries`: what is being asked of a server just now, and the way to end it.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::Value;

use crate::Verdict;
use crate::client::{Target, percent_encoded, runtime};
use crate::output::listing;
use crate::terminal::{escaped, print};

const COLUMNS: [&str; 6] = ["id", "kind", "actor_id", "started_at", "duration_ms", "query"];

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Cancel a query by its identifier
    Cancel {
        #[command(flatten)]
        target: Target,
        /// The identifier, as the list has it
        id: String,
    },
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    match &arguments.command {
        None => list(&arguments.target),
        Some(Command::Cancel { target, id }) => cancel(target, id),
    }
}

fn list(target: &Target) -> anyhow::Result<Verdict> {
    let answer = runtime()?.block_on(target.open()?.get("/api/v1/queries"))?;
    let answer: Value = serde_json::from_slice(&answer.context("the server does not list its queries")?)?;
    let queries = answer.get("queries").and_then(Value::as_array).cloned().unwrap_or_default();
    if queries.is_empty() {
        print("no query is running that you may see\n")?;
    } else {
        print(&listing(&COLUMNS, queries))?;
    }
    Ok(Verdict::Good)
}

fn cancel(target: &Target, id: &str) -> anyhow::Result<Verdict> {
    let path = format!("/api/v1/queries/{}", percent_encoded(id));
    if runtime()?.block_on(target.open()?.delete(&path))?.is_none() {
        print(&format!("no query {} is running that you may cancel\n", escaped(id)))?;
        return Ok(Verdict::NotFound);
    }
    print(&format!("the query {} is cancelled\n", escaped(id)))?;
    Ok(Verdict::Good)
}
