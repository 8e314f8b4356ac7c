//! `testimony login`.

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use crate::Verdict;
use crate::client::{Target, runtime};
use crate::terminal::{escaped, hint, print};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
}

/// The address alone goes to standard output, for whoever gives it to a browser by a program.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    let client = arguments.target.open()?;
    let answer = runtime()?.block_on(client.post("/api/v1/sessions/links", &json!({})))?;
    let link: Value = serde_json::from_slice(&answer)?;
    let text = |member: &str| link.get(member).and_then(Value::as_str).context("the server made no link");
    hint(&format!(
        "Open this in a browser, which then is signed in as you. It works once, until {}; show it to nobody.\n",
        escaped(text("expires_at")?)
    ));
    print(&format!("{}\n", escaped(text("url")?)))?;
    Ok(Verdict::Good)
}
