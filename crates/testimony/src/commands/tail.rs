//! `testimony tail`.

use anyhow::Context as _;
use clap::Args;
use http_body_util::BodyExt as _;
use serde_json::Value;

use crate::Verdict;
use crate::client::{Target, query_string, runtime};
use crate::commands::searches::meant;
use crate::output::{OutputFormat, Printing, clock, spoken};
use crate::terminal::{escaped, print};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only records that match; the query language of `testimony search`. @NAME is a saved search
    #[arg(default_value = "", allow_hyphen_values = true)]
    filter: String,
    /// Begin at this index of the log instead of at its end
    #[arg(long)]
    from: Option<u64>,
    /// End after this many records
    #[arg(long)]
    count: Option<u64>,
    #[command(flatten)]
    printing: Printing,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    let format = arguments.printing.format()?;
    if !matches!(format, OutputFormat::Table | OutputFormat::Jsonl) {
        anyhow::bail!("a tail has no end, so it cannot be one JSON array, table or file: use -o jsonl");
    }
    let client = arguments.target.open()?;
    let from = arguments.from.map(|index| index.to_string());
    runtime()?.block_on(async {
        let Some(filter) = meant(&client, &arguments.filter).await? else { return Ok(Verdict::NotFound) };
        let path = format!("/api/v1/tail{}", query_string(&[("q", Some(filter)), ("from", from)]));
        let mut body = client.stream(&path).await?;
        let mut buffer = Vec::new();
        let mut left = arguments.count.unwrap_or(u64::MAX);
        while let Some(frame) = body.frame().await {
            let frame = frame.context("the server ended the stream")?;
            buffer.extend_from_slice(frame.data_ref().map(AsRef::as_ref).unwrap_or_default());
            while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = buffer.drain(..=end).collect();
                let Some(data) = line.strip_prefix(b"data: ") else { continue };
                print(&shown(format, &String::from_utf8_lossy(data), arguments.printing.raw))?;
                left -= 1;
                if left == 0 {
                    return Ok(Verdict::Good);
                }
            }
        }
        tracing::info!("the server was stopped");
        Ok(Verdict::Good)
    })
}

fn shown(format: OutputFormat, json: &str, raw: bool) -> String {
    if format == OutputFormat::Jsonl {
        return json.to_owned();
    }
    let record: Value = serde_json::from_str(json).unwrap_or_default();
    let text = |name: &str| {
        record.get(name).map_or(String::new(), |value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    let said = if text("output").is_empty() { text("input") } else { text("output") };
    let said: String = spoken(&said).replace('\n', " ").chars().take(80).collect();
    let time = clock(&text("time"));
    let line = format!(
        "{:>7}  {}  {:<18} {:<11} {:<12} {:<16} {said}",
        text("log_index"),
        time.get(11..).unwrap_or(&time),
        text("kind"),
        text("outcome"),
        text("actor_id"),
        text("model"),
    );
    format!("{}\n", if raw { line.trim_end().to_owned() } else { escaped(line.trim_end()).into_owned() })
}
