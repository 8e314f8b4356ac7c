//! `testimony control`: what has been changed, undone.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::Verdict;
use crate::client::{Target, percent_encoded, runtime};
use crate::commands::route::shares;
use crate::terminal::{escaped, print};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Undo the change of a route that a record tells of, as long as no later change has built on it
    Revert {
        /// The record's identifier, as `testimony route history` has it
        record: String,
        /// Why, for the record
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        target: Target,
    },
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    let Command::Revert { record, reason, target } = &arguments.command;
    let client = target.open()?;
    let path = format!("/api/v1/control/{}/revert", percent_encoded(record));
    let Some(sent) = runtime()?.block_on(client.act(&path, &json!({"reason": reason})))? else {
        tracing::error!("there is no record {record:?}");
        return Ok(Verdict::NotFound);
    };
    let route: Value = serde_json::from_slice(&sent)?;
    let name = escaped(route.get("name").and_then(Value::as_str).unwrap_or_default()).to_string();
    let said = match shares(&route) {
        shares if shares.is_empty() => format!("undone: there is no route {name} any more\n"),
        shares => format!("undone: {name} is at {shares}\n"),
    };
    print(&said)?;
    Ok(Verdict::Good)
}
