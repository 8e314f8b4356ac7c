//! `testimony verify`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::Verdict;
use crate::client::{Channel, Client, runtime};
use crate::proving::key_of;
use crate::terminal::{escaped, print};
use crate::trust::read_key;
use crate::verification::{Report, check_directory, check_server};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The data directory to check
    #[arg(long, value_name = "DIR", default_value = "./testimony-data")]
    data: PathBuf,
    /// Check the published log of a running server instead
    #[arg(long, value_name = "URL", conflicts_with = "data")]
    server: Option<String>,
    /// The API key or bearer token to show it
    #[arg(long, value_name = "KEY", env = "TESTIMONY_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    #[command(flatten)]
    channel: Channel,
    /// The log's public key, from where you keep it: a vkey, or a file that holds one
    #[arg(long, value_name = "VKEY")]
    key: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    let key = arguments.key.as_deref().map(read_key).transpose()?;
    let mut report = match &arguments.server {
        Some(url) => {
            let (runtime, client) =
                (runtime()?, Client::remote(url, arguments.api_key.as_deref(), &arguments.channel)?);
            let served = match &key {
                Some(key) => key.clone(),
                None => runtime.block_on(key_of(&client))?,
            };
            check_server(client, &runtime, &served)
        }
        None => check_directory(&arguments.data, key.as_ref()).context(
            "could not check the directory; while a server has it, check what it publishes with --server URL",
        )?,
    };
    if key.is_none() {
        report.unchecked.push(
            "whether the key is the right one: it was taken from the log itself; give --key from where you keep it"
                .into(),
        );
    }
    print_report(&report, "verified", "NOT VERIFIED")
}

/// Prints a report and says what follows from it: the word for when all is well, or the one for when it is not.
pub(crate) fn print_report(report: &Report, well: &str, unwell: &str) -> anyhow::Result<Verdict> {
    let lines = |mark: &str, items: &[String]| {
        items.iter().map(|item| format!("{mark} {}\n", escaped(item))).collect::<String>()
    };
    let verdict = match report.wrong.len() {
        0 => format!("{well}\n"),
        1 => format!("{unwell}: 1 finding\n"),
        count => format!("{unwell}: {count} findings\n"),
    };
    print(&format!(
        "{}{}{}{verdict}",
        lines("✓", &report.good),
        lines("·", &report.unchecked),
        lines("✗", &report.wrong)
    ))?;
    Ok(if report.wrong.is_empty() { Verdict::Good } else { Verdict::VerificationFailed })
}
