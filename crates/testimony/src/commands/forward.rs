//! `testimony forward`: a node in the field.

use clap::Args;

use crate::Verdict;
use crate::commands::serve;

// Both structures would give their group of arguments the same name.
#[derive(Debug, Args)]
#[group(id = "forward")]
pub(crate) struct Arguments {
    /// The centre that records are delivered to, such as https://audit.example:4140
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// The authorities to trust for an https centre (PEM), instead of this machine's
    #[arg(long, value_name = "FILE")]
    ca: Option<String>,
    /// How much may wait for the centre before nothing more is taken [default: 8GiB]
    #[arg(long, value_name = "SIZE")]
    backlog_max: Option<String>,
    /// The name that the centre knows this log by [default: the log's own]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    serve: serve::Arguments,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    let Arguments { to, ca, backlog_max, name, serve } = arguments;
    serve::run_as(
        serve,
        &[("forward.to", to), ("forward.ca", ca), ("forward.backlog_max", backlog_max), ("forward.origin", name)],
        serve::Purpose::Node,
    )
}
