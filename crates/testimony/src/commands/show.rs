//! `testimony show`.

use clap::Args;
use serde_json::Value;

use crate::Verdict;
use crate::client::{Target, percent_encoded, runtime};
use crate::output::{OutputFormat, json_lines, json_list};
use crate::proving::{Asked, a_line_each, prove};
use crate::story;
use crate::terminal::{escaped, print};
use crate::trust::Trust;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The call: what the response header testimony-call says. Or a trace (32 hex digits), or a conversation
    id: String,
    /// Print the records as JSON instead of telling the story
    #[arg(short, long, value_enum)]
    output: Option<OutputFormat>,
    /// Print text as it is, control characters and all
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    trust: Trust,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    let (client, runtime) = (arguments.target.open()?, runtime()?);
    let path = format!("/api/v1/calls/{}", percent_encoded(&arguments.id));
    let Some(sent) = runtime.block_on(client.get(&path))? else {
        tracing::error!("there is no call, trace or conversation {:?} in this log", arguments.id);
        return Ok(Verdict::NotFound);
    };
    let call: Value = serde_json::from_slice(&sent)?;
    let records = call.get("records").and_then(Value::as_array).cloned().unwrap_or_default();
    if call.get("truncated").and_then(Value::as_bool) == Some(true) {
        tracing::warn!("there are more records: the first {} are shown", records.len());
    }
    print(&match arguments.output {
        None | Some(OutputFormat::Table) => {
            print(&story::tell(&arguments.id, &records, arguments.raw))?;
            return verified(&Asked { client: &client, runtime: &runtime }, &arguments.trust, &records);
        }
        Some(OutputFormat::Jsonl) => json_lines(&records),
        Some(OutputFormat::Json) => json_list(&records)?,
        Some(OutputFormat::Csv | OutputFormat::Parquet | OutputFormat::Arrow) => {
            anyhow::bail!("a story has no columns: use -o json or -o jsonl, or `testimony sql`")
        }
    })?;
    Ok(Verdict::Good)
}

/// Says at the end of a story whether the log has all of it.
fn verified(asked: &Asked<'_>, trust: &Trust, records: &[Value]) -> anyhow::Result<Verdict> {
    match prove(asked, trust, records) {
        Ok(Ok(proven)) => {
            print(&format!("\n{}{}\n", proven.reservations(), escaped(&proven.verdict())))?;
            Ok(Verdict::Good)
        }
        Ok(Err(findings)) => {
            print(&format!("\n{}NOT VERIFIED\n", a_line_each(&findings)))?;
            Ok(Verdict::VerificationFailed)
        }
        // Whom somebody names must be heard; a log that cannot be had tells nothing against the story.
        Err(error) if trust.is_said() => Err(error),
        Err(error) => {
            print(&format!("\nnot verified: {}\n", escaped(&format!("{error:#}"))))?;
            Ok(Verdict::Good)
        }
    }
}
