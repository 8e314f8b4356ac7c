//! Bars on a terminal: one measure, a line a group.

use anyhow::Context as _;
use bytes::Bytes;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use record::Timestamp;
use search::{Staged, span_micros};
use serde_json::Value;

use crate::output::{Answer, cell};
use crate::terminal::escaped;

/// The width where there is no terminal, in columns.
const WIDTH: usize = 80;
/// The least that a bar may be long where the value is the greatest, in columns.
const BAR_WIDTH_MIN: usize = 10;
/// Longer gaps between time buckets are one line.
const GAP_LINES_MAX: i64 = 100;
/// A column in eighths.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
/// The most buckets that a stretch of time is cut into, where nobody says how long they are.
const BUCKETS_MAX: i64 = 60;
/// Their lengths: each about twice the one before, so that there are seldom fewer than half as many.
const SPANS: [&str; 21] = [
    "1s", "2s", "5s", "10s", "15s", "30s", "1m", "2m", "5m", "10m", "15m", "30m", "1h", "2h", "3h", "6h", "12h", "1d",
    "2d", "4d", "1w",
];

/// The length of time buckets for a stretch of time, as the query language writes it.
pub(crate) fn span_for(stretch_micros: i64) -> String {
    let fits = |micros: i64| stretch_micros / micros <= BUCKETS_MAX;
    if let Some(span) = SPANS.iter().find(|span| span_micros(span).is_some_and(fits)) {
        return (*span).to_owned();
    }
    // Centuries, where a record says so of its time.
    let week_micros = 604_800_000_000;
    let weeks = (1..10).map(|doubled| 1_i64 << doubled).find(|weeks| fits(week_micros * weeks));
    format!("{}w", weeks.unwrap_or(520))
}

/// How wide the terminal is, in columns.
pub(crate) fn width() -> usize {
    Table::new().width().map_or(WIDTH, usize::from)
}

/// A line of a chart.
struct Line {
    label: String,
    shown: String,
    /// None where there is no value.
    value: Option<f64>,
}

/// Draws what the server sent, whose stage made rows of this form.
pub(crate) fn draw(sent: &Bytes, staged: Staged, width: usize, raw: bool) -> anyhow::Result<String> {
    let answer: Answer = serde_json::from_slice(sent)?;
    let (groups, measures) = answer.columns.split_at_checked(staged.groups).context("the server left out columns")?;
    let measure = measures.first().context("the server left out columns")?;
    if answer.rows.is_empty() {
        return Ok("nothing was found\n".to_owned());
    }
    let mut lines = Vec::new();
    let mut expected = None;
    for row in &answer.rows {
        if let Some(bucket) = staged.bucket_micros {
            let start = row.get("time").and_then(Value::as_str).context("the server left out the time")?;
            let start = Timestamp::parse(start)?.as_micros();
            if let Some(expected) = expected {
                gap(expected, start, bucket, &mut lines);
            }
            expected = start.checked_add(bucket);
        }
        let (value, shown) = number(row.get(measure), measure)?;
        lines.push(Line { label: label(row, groups, measure, staged, width / 2, raw), shown, value });
    }
    let name = |names: &[String]| {
        let name = names.join("  ").to_uppercase();
        if raw { name } else { escaped(&name).into_owned() }
    };
    let mut text = bars(&[name(groups), name(std::slice::from_ref(measure))], &lines, width);
    if answer.truncated {
        text.push_str("… and more: raise --limit, or narrow it down\n");
    }
    Ok(text)
}

/// Lines for the buckets between two in which something is.
fn gap(from: i64, to: i64, bucket: i64, lines: &mut Vec<Line>) {
    let missing = to.saturating_sub(from) / bucket;
    if missing > GAP_LINES_MAX {
        lines.push(Line { label: format!("… {missing} with nothing"), shown: "0".to_owned(), value: None });
        return;
    }
    for nth in 0..missing {
        let label = moment(Timestamp::from_micros(from + nth * bucket), bucket);
        lines.push(Line { label, shown: "0".to_owned(), value: Some(0.0) });
    }
}

/// What a row is grouped by, in one line.
fn label(row: &Value, groups: &[String], measure: &str, staged: Staged, chars_max: usize, raw: bool) -> String {
    let one = |(nth, column): (usize, &String)| match (row.get(column), staged.bucket_micros) {
        (Some(Value::String(text)), Some(bucket)) if nth == 0 => {
            Timestamp::parse(text).map_or_else(|_| cell(column, row.get(column), raw), |start| moment(start, bucket))
        }
        (None | Some(Value::Null), _) => "(none)".to_owned(),
        (value, _) => cell(column, value, raw),
    };
    let label = groups.iter().enumerate().map(one).collect::<Vec<_>>().join("  ");
    let label = if groups.is_empty() { cell("", Some(&measure.into()), raw) } else { label };
    match label.char_indices().nth(chars_max) {
        Some((cut, _)) => format!("{}…", label.get(..cut).unwrap_or_default()),
        None => label,
    }
}

/// A moment, as far as buckets of this length differ in it.
fn moment(start: Timestamp, bucket: i64) -> String {
    let shown = match bucket {
        days if days % 86_400_000_000 == 0 => 10,
        minutes if minutes % 60_000_000 == 0 => 16,
        _ => 19,
    };
    start.to_string().replace('T', " ").chars().take(shown).collect()
}

/// The value of a measure, and as it is shown.
fn number(value: Option<&Value>, measure: &str) -> anyhow::Result<(Option<f64>, String)> {
    match value {
        None | Some(Value::Null) => Ok((None, String::new())),
        Some(Value::Number(number)) => {
            let value = number.as_f64();
            let is_whole = number.is_i64() || number.is_u64();
            let shown = value.filter(|_| !is_whole).map_or_else(|| number.to_string(), |value| format!("{value:.2}"));
            Ok((value, shown))
        }
        Some(_) => anyhow::bail!("a chart is of numbers, and {measure} is not one: put another measure first"),
    }
}

/// Labels, numbers and bars side by side.
fn bars(head: &[String; 2], lines: &[Line], width: usize) -> String {
    let table = |bar_width: Option<usize>| {
        let greatest = lines.iter().filter_map(|line| line.value).fold(0.0, f64::max);
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(head);
        for line in lines {
            let drawn = bar_width.map(|bar_width| bar(line.value.unwrap_or_default() / greatest, bar_width));
            table.add_row([&line.label, &line.shown].into_iter().chain(&drawn));
        }
        if let Some(numbers) = table.column_mut(1) {
            numbers.set_cell_alignment(CellAlignment::Right);
        }
        table
    };
    // Every cell has a space on either side, the bars' too.
    let taken: usize = table(None).column_max_content_widths().into_iter().map(|width| usize::from(width) + 2).sum();
    let bar_width = width.saturating_sub(taken + 2).max(BAR_WIDTH_MIN);
    table(Some(bar_width)).lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// A bar for a share of the greatest value. Something is always more than nothing.
fn bar(share: f64, width: usize) -> String {
    // There are as many steps as eighths of columns in the longest.
    let steps = u32::try_from(width * 8).unwrap_or(u32::MAX);
    let eighths =
        (0..steps).take_while(|step| share > 0.0 && f64::from(*step) + 0.5 <= share * f64::from(steps)).count();
    let eighths = if share > 0.0 { eighths.max(1) } else { 0 };
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS.get(eighths % 8).unwrap_or(&""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn drawn(columns: &[&str], rows: Value, groups: usize, bucket: Option<&str>) -> String {
        let sent = json!({"columns": columns, "truncated": false, "rows": rows});
        let staged = Staged { groups, bucket_micros: bucket.and_then(span_micros) };
        draw(&Bytes::from(sent.to_string()), staged, 60, false).unwrap_or_else(|error| format!("error: {error}\n"))
    }

    #[test]
    fn charts_are_drawn_like_this() {
        let over_time = json!([
            {"time": "2026-11-23T22:00:00Z", "count()": 8},
            {"time": "2026-11-23T23:00:00Z", "count()": 1000},
            {"time": "2026-11-24T02:00:00Z", "count()": 333},
            {"time": "2026-12-24T02:00:00Z", "count()": 1},
        ]);
        let by_day = json!([
            {"time": "2026-11-23T00:00:00Z", "model": "gemma\u{1b}[2J", "avg(duration_ms)": 12.345_678},
            {"time": "2026-11-23T00:00:00Z", "avg(duration_ms)": 2.0},
            {"time": "2026-11-25T00:00:00Z", "model": "モデル"},
        ]);
        let top = json!([
            {"actor_id": "alice\nb", "model": "x".repeat(100), "count()": 30, "percent": 75.0},
            {"actor_id": "bob", "model": "y", "count()": 10, "percent": 25.0},
        ]);
        let charts = [
            drawn(&["time", "count()"], over_time, 1, Some("1h")),
            drawn(&["time", "model", "avg(duration_ms)"], by_day, 2, Some("1d")),
            drawn(&["actor_id", "model", "count()", "percent"], top, 2, None),
            drawn(&["count()"], json!([{"count()": 7}]), 0, None),
            drawn(&["count()"], json!([{"count()": 0}]), 0, None),
            drawn(&["model", "count()"], json!([]), 1, None),
            drawn(&["min(time)"], json!([{"min(time)": "2026-11-23T22:00:00Z"}]), 0, None),
        ];
        insta::assert_snapshot!(charts.join("\n"));
    }

    #[test]
    fn a_stretch_of_time_is_cut_into_thirty_to_sixty_buckets_or_nearly() {
        for stretch in ["90s", "10m", "1h", "5h", "24h", "7d", "30d", "52w", "300w"] {
            let micros = span_micros(stretch).unwrap();
            let span = span_for(micros);
            let buckets = micros / span_micros(&span).unwrap();
            assert!((24..=60).contains(&buckets), "{stretch} into {buckets} of {span}");
        }
        assert_eq!([span_for(0), span_for(-1), span_for(1)], ["1s", "1s", "1s"]);
        assert_eq!(span_for(i64::MAX), "520w");
    }
}
