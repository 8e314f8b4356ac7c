//! `testimony route`: which versions the routes point at, as they are or were, and changing that.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::Verdict;
use crate::client::{Client, Target, percent_encoded, query_string, runtime};
use crate::output::{OutputFormat, Printing, json_lines, json_list, listing};
use crate::terminal::{escaped, print};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// All routes, as they are or were
    List(Shown),
    /// One route, version by version
    Show {
        /// The route
        route: String,
        #[command(flatten)]
        shown: Shown,
    },
    /// The changes of a route, newest first
    History {
        /// The route
        route: String,
        #[command(flatten)]
        printing: Printing,
        #[command(flatten)]
        target: Target,
    },
    /// Give a version a share of the conversations; the others share the rest as before
    Promote(Promotion),
    /// Put in force again what was before the last promotion that still stands
    Rollback {
        /// The route
        route: String,
        #[command(flatten)]
        change: Changing,
    },
}

#[derive(Debug, Args)]
struct Shown {
    /// As it was then: 2026-11-20T14:00Z, 2026-11-20, or 7d for seven days ago
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    #[command(flatten)]
    printing: Printing,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
struct Promotion {
    /// The route; there need not be one yet
    route: String,
    /// The version, such as gemma-3-270m@2026-11-20; of a known one the end from the @ on is enough
    version: String,
    /// How many percent of the conversations it is to get
    #[arg(long, value_name = "PERCENT", default_value = "100")]
    weight: String,
    /// What its model server calls it; needed for a version that the route does not know
    #[arg(long)]
    model: Option<String>,
    /// The model server, by its name in the configuration [default: that of [upstream]]
    #[arg(long, value_name = "NAME", requires = "model")]
    upstream: Option<String>,
    #[command(flatten)]
    change: Changing,
}

#[derive(Debug, Args)]
struct Changing {
    /// Only if this revision is in force (0: there is no such route)
    #[arg(long, value_name = "REVISION")]
    expect: Option<u64>,
    /// Why, for the record
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    let command = &arguments.command;
    // Opened and closed out here: a stopped log has a runtime of its own, which cannot end within another.
    let client = command.target().open()?;
    runtime()?.block_on(async {
        match command {
            Command::List(shown) => list(&client, shown).await,
            Command::Show { route, shown } => show(&client, route, shown).await,
            Command::History { route, printing, .. } => history(&client, route, printing).await,
            Command::Promote(promotion) => promote(&client, promotion).await,
            Command::Rollback { route, change } => {
                let body = json!({"revision": change.expect, "reason": change.reason});
                act(&client, route, "rollback", &body).await
            }
        }
    })
}

impl Command {
    const fn target(&self) -> &Target {
        match self {
            Self::List(shown) | Self::Show { shown, .. } => &shown.target,
            Self::History { target, .. } => target,
            Self::Promote(Promotion { change, .. }) | Self::Rollback { change, .. } => &change.target,
        }
    }
}

fn path(route: &str) -> String {
    format!("/api/v1/routes/{}", percent_encoded(route))
}

fn not_found(route: &str) -> Verdict {
    tracing::error!("there is no route {route:?}; `testimony route list` lists them");
    Verdict::NotFound
}

async fn list(client: &Client, shown: &Shown) -> anyhow::Result<Verdict> {
    let at = query_string(&[("at", shown.at.clone())]);
    let sent = client.get(&format!("/api/v1/routes{at}")).await?.unwrap_or_default();
    let routes: Value = serde_json::from_slice(&sent)?;
    printed(&["name", "revision", "versions", "at", "by"], members(&routes, "routes"), &shown.printing)
}

async fn show(client: &Client, route: &str, shown: &Shown) -> anyhow::Result<Verdict> {
    let at = query_string(&[("at", shown.at.clone())]);
    let Some(sent) = client.get(&format!("{}{at}", path(route))).await? else {
        return Ok(not_found(route));
    };
    let found: Value = serde_json::from_slice(&sent)?;
    if shown.printing.format()? != OutputFormat::Table {
        return printed(&[], vec![found], &shown.printing);
    }
    let text = |name: &str| escaped(found.get(name).and_then(Value::as_str).unwrap_or("nobody known")).to_string();
    let revision = found.get("revision").and_then(Value::as_u64).unwrap_or_default();
    print(&format!("{}   revision {revision}, {} {} by {}\n", text("name"), text("act"), text("at"), text("by")))?;
    print(&listing(&["version", "percent", "model", "upstream"], members(&found, "versions")))?;
    Ok(Verdict::Good)
}

async fn history(client: &Client, route: &str, printing: &Printing) -> anyhow::Result<Verdict> {
    let Some(sent) = client.get(&format!("{}/history", path(route))).await? else {
        return Ok(not_found(route));
    };
    let found: Value = serde_json::from_slice(&sent)?;
    let columns = ["revision", "act", "versions", "at", "by", "reason", "record"];
    printed(&columns, members(&found, "changes"), printing)
}

async fn promote(client: &Client, promotion: &Promotion) -> anyhow::Result<Verdict> {
    let Promotion { route, version, weight, model, upstream, change } = promotion;
    let digits = weight.strip_suffix('%').unwrap_or(weight);
    let percent: Value = serde_json::from_str::<serde_json::Number>(digits)
        .map(Value::Number)
        .map_err(|_| anyhow::anyhow!("{weight:?} is no share: percent from 0 to 100"))?;
    let mut body = json!({"version": version, "percent": percent, "revision": change.expect, "reason": change.reason});
    for (name, said) in [("model", model), ("upstream", upstream)] {
        if let Some(said) = said {
            body[name] = json!(said);
        }
    }
    act(client, route, "promote", &body).await
}

async fn act(client: &Client, route: &str, act: &str, body: &Value) -> anyhow::Result<Verdict> {
    let Some(sent) = client.act(&format!("{}/{act}", path(route)), body).await? else { return Ok(not_found(route)) };
    let now: Value = serde_json::from_slice(&sent)?;
    let revision = now.get("revision").and_then(Value::as_u64).unwrap_or_default();
    let record = now.get("record").and_then(Value::as_str).unwrap_or_default();
    print(&format!(
        "{} is at {}, revision {revision}\n\nUndo it:  testimony control revert {}\n",
        escaped(route),
        shares(&now),
        escaped(record)
    ))?;
    Ok(Verdict::Good)
}

fn members(found: &Value, name: &str) -> Vec<Value> {
    found.get(name).and_then(Value::as_array).cloned().unwrap_or_default()
}

/// `gemma@2026-11-01 95 %, gemma@2026-11-20 5 %`: the versions that get conversations.
pub(crate) fn shares(route: &Value) -> String {
    let one = |one: &Value| {
        let percent = one.get("percent")?.as_f64().filter(|percent| *percent > 0.0)?;
        Some(format!("{} {percent} %", escaped(one.get("version")?.as_str()?)))
    };
    members(route, "versions").iter().filter_map(one).collect::<Vec<_>>().join(", ")
}

fn printed(columns: &[&str], mut rows: Vec<Value>, printing: &Printing) -> anyhow::Result<Verdict> {
    let said = match printing.format()? {
        OutputFormat::Table => {
            for row in &mut rows {
                row["versions"] = json!(shares(row));
            }
            listing(columns, rows)
        }
        OutputFormat::Jsonl => json_lines(&rows),
        OutputFormat::Json => json_list(&rows)?,
        OutputFormat::Csv | OutputFormat::Parquet | OutputFormat::Arrow => {
            anyhow::bail!("routes are printed as -o table, -o json or -o jsonl")
        }
    };
    print(&said)?;
    Ok(Verdict::Good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_versions_that_get_conversations_are_told() {
        let route = json!({"versions": [
            {"version": "a@1", "percent": 99.5}, {"version": "a@2", "percent": 0.5}, {"version": "a@0", "percent": 0.0},
        ]});
        assert_eq!(shares(&route), "a@1 99.5 %, a@2 0.5 %");
        assert_eq!(shares(&json!({"versions": []})), "");
    }
}
