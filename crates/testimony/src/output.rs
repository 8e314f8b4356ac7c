//! Answers as people and programs want them: tables on a terminal, JSON lines in a pipe.

use bytes::Bytes;
use clap::{Args, ValueEnum};
use comfy_table::{ContentArrangement, Table, presets};
use serde::Deserialize;
use serde_json::Value;

use crate::passages::{self, Marks};
use crate::terminal::{escaped, is_terminal};

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Columns side by side
    Table,
    /// One JSON array
    Json,
    /// One JSON object a line
    Jsonl,
    /// Comma-separated values
    Csv,
    /// A Parquet file, for a file or a pipe
    Parquet,
    /// A stream of Arrow, for a file or a pipe
    Arrow,
}

impl OutputFormat {
    /// What the server is asked for.
    pub(crate) const fn wire(self) -> &'static str {
        match self {
            Self::Table | Self::Json => "json",
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
        }
    }

    /// Whether it is nothing to look at.
    pub(crate) const fn is_binary(self) -> bool {
        matches!(self, Self::Parquet | Self::Arrow)
    }
}

/// How rows are printed: the flags that every command with rows has.
#[derive(Debug, Clone, Args)]
pub(crate) struct Printing {
    /// How to print: for people on a terminal and JSON lines in a pipe when nothing is said
    #[arg(short, long, value_enum)]
    output: Option<OutputFormat>,
    /// Print text as it is, control characters and all
    #[arg(long)]
    pub(crate) raw: bool,
}

impl Printing {
    /// What was asked for, or what fits where the output goes.
    pub(crate) fn format(&self) -> anyhow::Result<OutputFormat> {
        chosen(self.output, is_terminal())
    }
}

/// Refuses before anything is asked, since what is asked is recorded.
fn chosen(asked: Option<OutputFormat>, is_terminal: bool) -> anyhow::Result<OutputFormat> {
    match asked {
        Some(format) if format.is_binary() && is_terminal => {
            let name = format.wire();
            anyhow::bail!(
                "-o {name} is binary, and a terminal would take it for commands: add `> answer.{name}`, or pipe it into a program"
            )
        }
        Some(format) => Ok(format),
        None => Ok(if is_terminal { OutputFormat::Table } else { OutputFormat::Jsonl }),
    }
}

/// An answer in the server's form `json`.
#[derive(Default, Deserialize)]
pub(crate) struct Answer {
    pub(crate) columns: Vec<String>,
    pub(crate) truncated: bool,
    /// The cursor of the next page, where a search has more.
    pub(crate) next: Option<String>,
    pub(crate) rows: Vec<Value>,
}

/// The widest a cell of a table gets; `show` and the other formats have the rest.
const CELL_CHARS_MAX: usize = 60;

/// What to print for what the server sent. `columns` chooses and orders those of a table; none: as they come.
pub(crate) fn render(format: OutputFormat, sent: &Bytes, columns: &[&str], raw: bool) -> anyhow::Result<Bytes> {
    let text = match format {
        OutputFormat::Parquet | OutputFormat::Arrow => return Ok(sent.clone()),
        OutputFormat::Csv | OutputFormat::Jsonl => {
            let text = String::from_utf8_lossy(sent).into_owned();
            if is_terminal() && !raw { escaped(&text).into_owned() } else { text }
        }
        OutputFormat::Json => {
            let answer: Answer = serde_json::from_slice(sent)?;
            json_list(&answer.rows)?
        }
        OutputFormat::Table => table(&serde_json::from_slice(sent)?, columns, raw, Marks::here()),
    };
    Ok(text.into())
}

/// One list, for people to read.
pub(crate) fn json_list(rows: &[Value]) -> anyhow::Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(rows)?))
}

/// A row a line.
pub(crate) fn json_lines(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

/// Objects side by side, with these members as columns.
pub(crate) fn listing(columns: &[&str], rows: Vec<Value>) -> String {
    table(&Answer { rows, ..Answer::default() }, columns, false, Marks::here())
}

/// Rows side by side, each with the passages around what matched in it below, where it has some.
pub(crate) fn table(answer: &Answer, columns: &[&str], raw: bool, marks: Marks) -> String {
    if answer.rows.is_empty() {
        return "nothing found\n".into();
    }
    let all: Vec<&str> = answer.columns.iter().map(String::as_str).collect();
    let columns = if columns.is_empty() { all.as_slice() } else { columns };
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(columns.iter().map(|column| cell("", Some(&column.to_uppercase().into()), raw)));
    for row in &answer.rows {
        table.add_row(columns.iter().map(|column| cell(column, row.get(*column), raw)));
        if passages::has_some(row) {
            table.add_row([passages::PLACE]);
        }
    }
    let mut with_passages = answer.rows.iter().filter(|row| passages::has_some(row));
    let mut text = String::new();
    for line in table.lines() {
        match line.trim() {
            passages::PLACE => {
                with_passages.next().iter().for_each(|row| text.push_str(&passages::lines(row, raw, marks)))
            }
            _ => text.extend([line.trim_end(), "\n"]),
        }
    }
    match &answer.next {
        Some(next) => text.push_str(&more(next)),
        None if answer.truncated => text.push_str("… and more: raise --limit, or narrow it down\n"),
        None => {}
    }
    text
}

/// Says how what follows is had.
pub(crate) fn more(next: &str) -> String {
    format!("… and more: raise --limit, give --all, or go on with the same search and --cursor {}\n", escaped(next))
}

/// A value in one line, cut where it is long.
pub(crate) fn cell(column: &str, value: Option<&Value>, raw: bool) -> String {
    let text = match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) if matches!(column, "input" | "output") => spoken(text),
        Some(Value::String(text)) if matches!(column, "time" | "received") || column.ends_with("_at") => clock(text),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let line = text.replace(['\n', '\r', '\t'], " ");
    let line = if raw { line } else { escaped(&line).into_owned() };
    let mut shortened: String = line.chars().take(CELL_CHARS_MAX).collect();
    if line.chars().nth(CELL_CHARS_MAX).is_some() {
        shortened.push('…');
    }
    shortened
}

/// `2026-11-23T09:14:02.118231Z` to `2026-11-23 09:14:02.118`; a whole second has no fraction.
pub(crate) fn clock(text: &str) -> String {
    let whole_second = || text.strip_suffix('Z').filter(|text| text.len() == 19);
    text.get(..23).or_else(whole_second).map_or_else(|| text.to_owned(), |text| text.replace('T', " "))
}

/// The last thing that was said in a list of messages, or the text as it is.
pub(crate) fn spoken(content: &str) -> String {
    let messages: Option<Vec<Value>> = serde_json::from_str(content).ok();
    let last = messages.as_ref().and_then(|messages| messages.last()).map(message_text);
    last.filter(|text| !text.is_empty()).unwrap_or_else(|| content.to_owned())
}

/// The text of one message: its content, or the calls of tools it asks for. Telemetry has the content in `parts`.
pub(crate) fn message_text(message: &Value) -> String {
    match message.get("content").or_else(|| message.get("parts")) {
        Some(Value::String(text)) if !text.is_empty() => text.clone(),
        Some(Value::Array(parts)) => parts.iter().filter_map(part_text).collect::<Vec<_>>().join(" "),
        _ => {
            let calls = message.get("tool_calls").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let name = |call: &Value| {
                let function = call.get("function")?;
                Some(format!(
                    "{}({})",
                    function.get("name")?.as_str()?,
                    function.get("arguments")?.as_str().unwrap_or("")
                ))
            };
            calls.iter().filter_map(name).collect::<Vec<_>>().join(" ")
        }
    }
}

/// The text of a part of a message, or the call of a tool that it is.
fn part_text(part: &Value) -> Option<String> {
    if let Some(text) = part.get("text").or_else(|| part.get("content")).and_then(Value::as_str) {
        return Some(text.to_owned());
    }
    let name = part.get("name")?.as_str()?;
    let arguments =
        part.get("arguments").map(|arguments| arguments.as_str().map_or_else(|| arguments.to_string(), str::to_owned));
    Some(format!("{name}({})", arguments.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_shows_what_was_said_and_nothing_that_steers() {
        let sent = serde_json::json!({
            "columns": ["time", "input", "status"],
            "truncated": true,
            "rows": [
                {"time": "2026-11-23T09:14:02.118231Z", "input": "[{\"role\":\"user\",\"content\":\"a\\u001b[2Jb\\nc\"}]", "status": 200},
                {"time": "2026-11-23T09:14:03.118231Z", "input": "x".repeat(100)},
            ],
        });
        let printed = render(OutputFormat::Table, &Bytes::from(sent.to_string()), &[], false).unwrap();
        insta::assert_snapshot!(String::from_utf8_lossy(&printed));
    }

    #[test]
    fn what_is_binary_goes_to_a_file_or_a_pipe_as_it_is() {
        for (format, word) in [(OutputFormat::Parquet, "parquet"), (OutputFormat::Arrow, "arrow")] {
            let refused = chosen(Some(format), true).unwrap_err().to_string();
            assert!(refused.contains(&format!("> answer.{word}")), "{refused}");
            assert_eq!(chosen(Some(format), false).unwrap(), format);
            let sent = Bytes::from_static(b"PAR1\x00\xff\x1b[2J");
            assert_eq!(render(format, &sent, &["time"], false).unwrap(), sent);
        }
        assert_eq!(chosen(None, true).unwrap(), OutputFormat::Table);
        assert_eq!(chosen(None, false).unwrap(), OutputFormat::Jsonl);
    }

    #[test]
    fn a_message_of_parts_or_of_calls_has_a_text_too() {
        let parts = serde_json::json!({"content": [{"type": "text", "text": "a"}, {"type": "image_url"}, {"type": "text", "text": "b"}]});
        assert_eq!(message_text(&parts), "a b");
        let calls =
            serde_json::json!({"content": null, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]});
        assert_eq!(message_text(&calls), "f({})");
    }
}
