//! `testimony key`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use ledger::Identity;
use world::World;

use crate::Verdict;
use crate::terminal::print;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the log's public key: keep it where whoever checks the log can find it, and not with the log
    Show {
        /// The data directory
        #[arg(long, value_name = "DIR", default_value = "./testimony-data")]
        data: PathBuf,
    },
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    let Command::Show { data } = &arguments.command;
    print(&format!("{}\n", Identity::published_key(&World::real(), data)?))?;
    Ok(Verdict::Good)
}
