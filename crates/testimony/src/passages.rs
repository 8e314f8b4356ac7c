//! Passages around what matched, as a person sees them: a line each below the row that they are of, what matched in bold.

use std::env;

use serde_json::Value;

use crate::terminal::{escaped, is_terminal};

/// A row of a table in whose place the passages of the row before it are set: a table cannot say by itself where its rows end. No cell of
/// what comes first in a row, a time or a name, is this character of nobody's.
pub(crate) const PLACE: &str = "\u{E000}";
const BOLD: &str = "\u{1b}[1m";
const NORMAL: &str = "\u{1b}[22m";

/// How what matched is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marks {
    Bold,
    /// As everything else.
    Plain,
}

impl Marks {
    /// As the terminal can, and whoever sits there wants (no-color.org).
    pub(crate) fn here() -> Self {
        let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
        if is_terminal() && !is_dumb && !is_set("NO_COLOR") { Self::Bold } else { Self::Plain }
    }
}

/// Whether a row comes with passages.
pub(crate) fn has_some(row: &Value) -> bool {
    !of(row).is_empty()
}

/// The passages of a row, a line each.
pub(crate) fn lines(row: &Value, raw: bool, marks: Marks) -> String {
    of(row).iter().map(|snippet| format!("   {}\n", line(snippet, raw, marks))).collect()
}

fn of(row: &Value) -> &[Value] {
    row.get("snippets").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn line(snippet: &Value, raw: bool, marks: Marks) -> String {
    let shown = |text: &str| {
        let line = text.replace(['\n', '\r', '\t'], " ");
        if raw { line } else { escaped(&line).into_owned() }
    };
    let text = |name: &str| snippet.get(name).and_then(Value::as_str).unwrap_or_default();
    let ellipsis = |name: &str| if snippet.get(name) == Some(&Value::Bool(true)) { "…" } else { "" };
    let mut line = format!("{}: {}", shown(text("field")), ellipsis("cut_start"));
    let mut rest = text("text").chars();
    let mut at = 0;
    // What a server says is not believed further than it makes sense.
    for (start, end) in snippet.get("marks").and_then(Value::as_array).into_iter().flatten().filter_map(mark) {
        if start < at || end <= start {
            continue;
        }
        let before: String = rest.by_ref().take(start - at).collect();
        let matched: String = rest.by_ref().take(end - start).collect();
        at = end;
        line.push_str(&shown(&before));
        match marks {
            Marks::Bold => line.extend([BOLD, &shown(&matched), NORMAL]),
            Marks::Plain => line.push_str(&shown(&matched)),
        }
    }
    line.push_str(&shown(rest.as_str()));
    line.push_str(ellipsis("cut_end"));
    line
}

fn mark(mark: &Value) -> Option<(usize, usize)> {
    let end = |nth: usize| usize::try_from(mark.get(nth)?.as_u64()?).ok();
    Some((end(0)?, end(1)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Answer, table};
    use serde_json::json;

    #[test]
    fn passages_stand_below_their_rows_and_nothing_in_them_steers() {
        let snippet = |text: &str, marks: Value, cut: bool| json!({"field": "input", "text": text, "marks": marks, "cut_start": cut, "cut_end": false});
        let answer = Answer {
            columns: vec!["time".into(), "model".into(), "snippets".into()],
            truncated: true,
            next: Some("01ab".into()),
            rows: vec![
                json!({"time": "2026-11-23T09:14:02.118231Z", "model": "gemma", "snippets": [
                    snippet("a\u{1b}[2Jb\n退款 re\u{202e}fund, refund", json!([[7, 9], [10, 17], [19, 25]]), true),
                    snippet("refund", json!([[0, 6]]), false),
                ]}),
                json!({"time": "2026-11-23T09:14:03.118231Z", "model": "\u{E000}"}),
                // What no honest server says.
                json!({"time": "\u{E000}", "model": "x", "snippets": [snippet("abc", json!([[2, 1], [1, 99], [0, 1], ["a"], 7, [-1, 2]]), false), 7, {}]}),
            ],
        };
        for (name, marks) in [("bold", Marks::Bold), ("plain", Marks::Plain)] {
            insta::assert_snapshot!(name, table(&answer, &["time", "model"], false, marks).replace('\u{1b}', "ESC"));
        }
    }
}
