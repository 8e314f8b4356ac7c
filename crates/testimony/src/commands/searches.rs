//! `testimony searches`, and what `@NAME` stands for where a query is expected.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::Verdict;
use crate::client::{Client, Target, percent_encoded, query_string, runtime};
use crate::output::{OutputFormat, Printing, json_lines, json_list, listing};
use crate::terminal::{escaped, print};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What to do
    #[arg(value_enum, default_value_t = Action::List)]
    action: Action,
    /// The name of the saved search
    #[arg(required_if_eq_any([("action", "show"), ("action", "history"), ("action", "delete")]))]
    name: Option<String>,
    /// Delete only this version; another one in force is an error [default: the one in force]
    #[arg(long)]
    version: Option<u64>,
    #[command(flatten)]
    printing: Printing,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Action {
    /// All of them
    List,
    /// One of them
    Show,
    /// What a name has stood for, newest first
    History,
    /// Delete one; its versions stay in the log
    Delete,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    let client = arguments.target.open()?;
    let name = arguments.name.as_deref().unwrap_or_default();
    runtime()?.block_on(async {
        let found = match arguments.action {
            Action::List => client.get("/api/v1/searches").await?,
            Action::Show | Action::Delete => client.get(&path(name)).await?,
            Action::History => client.get(&format!("{}/history", path(name))).await?,
        };
        let Some(found) = found else { return Ok(not_found(name)) };
        let found: Value = serde_json::from_slice(&found)?;
        let rows = |member: &str| found.get(member).and_then(Value::as_array).cloned().unwrap_or_default();
        let said = match arguments.action {
            Action::List => {
                shown(&["name", "version", "saved_at", "saved_by", "query"], rows("searches"), &arguments.printing)?
            }
            Action::Show => {
                shown(&["name", "version", "saved_at", "saved_by", "query"], vec![found], &arguments.printing)?
            }
            Action::History => {
                shown(&["version", "state", "at", "by", "log_index", "query"], rows("versions"), &arguments.printing)?
            }
            Action::Delete => {
                let version = arguments.version.or_else(|| found.get("version")?.as_u64());
                let version = query_string(&[("version", version.map(|version| version.to_string()))]);
                if client.delete(&format!("{}{version}", path(name))).await?.is_none() {
                    return Ok(not_found(name));
                }
                format!(
                    "the saved search {} is deleted; `testimony searches history {0}` still tells of it\n",
                    escaped(name)
                )
            }
        };
        print(&said)?;
        Ok(Verdict::Good)
    })
}

fn path(name: &str) -> String {
    format!("/api/v1/searches/{}", percent_encoded(name))
}

fn not_found(name: &str) -> Verdict {
    tracing::error!("there is no saved search {name:?}; `testimony searches` lists them");
    Verdict::NotFound
}

fn shown(columns: &[&str], rows: Vec<Value>, printing: &Printing) -> anyhow::Result<String> {
    Ok(match printing.format()? {
        OutputFormat::Table => listing(columns, rows),
        OutputFormat::Jsonl => json_lines(&rows),
        OutputFormat::Json => json_list(&rows)?,
        OutputFormat::Csv | OutputFormat::Parquet | OutputFormat::Arrow => {
            anyhow::bail!("saved searches are printed as -o table, -o json or -o jsonl")
        }
    })
}

/// Saves a query under a name, in place of a version if one is said.
pub(crate) async fn save(client: &Client, name: &str, query: &str, replaces: Option<u64>) -> anyhow::Result<Verdict> {
    let version = query_string(&[("version", replaces.map(|version| version.to_string()))]);
    let sent = client.put(&format!("{}{version}", path(name)), &json!({"query": query})).await?;
    let Some(sent) = sent else { return Ok(not_found(name)) };
    let saved: Value = serde_json::from_slice(&sent)?;
    let version = saved.get("version").and_then(Value::as_u64).unwrap_or_default();
    let name = escaped(name);
    print(&format!(
        "saved as {name}, version {version}\n\nTry:  testimony search @{name}   or   testimony tail @{name}\n"
    ))?;
    Ok(Verdict::Good)
}

/// The query that is meant: itself, or what is saved under the name after an `@`; none: nothing is.
pub(crate) async fn meant(client: &Client, query: &str) -> anyhow::Result<Option<String>> {
    let Some(name) = name_in(query) else { return Ok(Some(query.to_owned())) };
    let Some(sent) = client.get(&path(name)).await? else {
        not_found(name);
        return Ok(None);
    };
    let saved: Value = serde_json::from_slice(&sent)?;
    Ok(saved.get("query").and_then(Value::as_str).map(str::to_owned))
}

/// The name in `@NAME`, when there is nothing else.
pub(crate) fn name_in(query: &str) -> Option<&str> {
    let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    query.trim().strip_prefix('@').filter(|name| !name.is_empty() && name.bytes().all(is_good))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_alone_after_its_sign() {
        assert_eq!(name_in(" @refused-7d "), Some("refused-7d"));
        for text in ["@", "refused", "@Refused", "@a b", "\\@alice", "\"@alice\"", "@a | top user"] {
            assert_eq!(name_in(text), None, "{text}");
        }
    }
}
