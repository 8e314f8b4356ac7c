//! `testimony search`.

use bytes::Bytes;
use clap::Args;
use record::Timestamp;
use search::{Outline, Search, Staged, span_micros};
use serde_json::Value;
use world::World;

use crate::Verdict;
use crate::chart;
use crate::client::{Client, Target, runtime};
use crate::commands::searches::{meant, name_in, save};
use crate::output::{OutputFormat, Printing, json_lines, json_list, more, render, table};
use crate::pages::Wanted;
use crate::passages::Marks;
use crate::proving::{Asked, a_line_each, prove};
use crate::terminal::{escaped, hint, print};
use crate::trust::Trust;

/// The columns that a table shows: what one looks for first.
pub(crate) const COLUMNS: [&str; 10] =
    ["time", "kind", "outcome", "actor_id", "environment", "model", "status", "input", "output", "call_id"];
/// The most rows of a list when nothing is said.
const ROWS: usize = 100;
/// The most bars of a chart when nothing is said: a chart that ends early would mislead.
const BARS: usize = 10_000;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What to look for: field:value, "text", AND, OR, -, *; nothing finds everything. `| stats count() by model, 1h` and
    /// `| top 10 user` count what was found. @NAME is a saved search
    #[arg(default_value = "", allow_hyphen_values = true)]
    query: String,
    /// Only from then on: 7d, 24h, 2026-11-23, or a moment as RFC 3339 writes it
    #[arg(long)]
    since: Option<String>,
    /// Only before then
    #[arg(long)]
    until: Option<String>,
    /// The most records or groups to give [default: 100, of a chart 10000]
    #[arg(long)]
    limit: Option<usize>,
    /// Give all records that are found
    #[arg(long, conflicts_with_all = ["limit", "chart", "save"])]
    all: bool,
    /// Go on where an answer to the same search ended, with what it said there; records that arrived since then are left out
    #[arg(long, value_name = "CURSOR", conflicts_with_all = ["chart", "save"])]
    cursor: Option<String>,
    /// Give each record with the passages around what matched, as a table does where it can
    #[arg(long, conflicts_with_all = ["chart", "save", "prove"])]
    snippets: bool,
    /// Draw what the query's stage measures, or without a stage how much was found over time
    #[arg(long, conflicts_with = "output")]
    chart: bool,
    /// Save the query under this name, of a-z, 0-9 and -, for all who search here, instead of running it
    #[arg(long, value_name = "NAME", conflicts_with_all = ["since", "until", "limit", "chart", "prove", "output"])]
    save: Option<String>,
    /// The version of the saved search that this one takes the place of
    #[arg(long, value_name = "VERSION", requires = "save")]
    replace: Option<u64>,
    /// Prove each row: that the log has the record, and that the row says what the record does; exit code 3 when one does not
    #[arg(long, conflicts_with = "chart")]
    prove: bool,
    #[command(flatten)]
    trust: Trust,
    #[command(flatten)]
    printing: Printing,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(mut arguments: Arguments) -> anyhow::Result<Verdict> {
    let (client, runtime) = (arguments.target.open()?, runtime()?);
    if arguments.save.is_some() || name_in(&arguments.query).is_some() {
        let Some(query) = runtime.block_on(meant(&client, &arguments.query))? else { return Ok(Verdict::NotFound) };
        if let Some(name) = &arguments.save {
            return runtime.block_on(save(&client, name, &query, arguments.replace));
        }
        arguments.query = query;
    }
    if arguments.prove {
        return proven(&Asked { client: &client, runtime: &runtime }, &arguments);
    }
    anyhow::ensure!(!arguments.trust.is_said(), "--key and --policy say whom to believe with --prove");
    runtime.block_on(answered(&client, arguments, chart::width(), |piece| print(&piece)))?;
    Ok(Verdict::Good)
}

impl Arguments {
    /// What is asked for, a page after another.
    fn wanted(&self) -> Wanted {
        let Self { query, since, until, limit, all, cursor, .. } = self;
        let search = Search { query: query.clone(), since: since.clone(), until: until.clone() };
        let limit = if *all { None } else { Some(limit.unwrap_or(ROWS)) };
        Wanted { search, limit, cursor: cursor.clone(), snippets: false }
    }
}

/// Finds records, and prints those only if all of them hold.
fn proven(asked: &Asked<'_>, arguments: &Arguments) -> anyhow::Result<Verdict> {
    let Arguments { trust, printing, .. } = arguments;
    let format = printing.format()?;
    anyhow::ensure!(
        matches!(format, OutputFormat::Table | OutputFormat::Json | OutputFormat::Jsonl),
        "a proof has no place in this form: use -o table, -o json or -o jsonl"
    );
    let wanted = arguments.wanted();
    let outline = Outline::of(&wanted.search, Timestamp::from_micros(World::real().clock.now_micros()));
    anyhow::ensure!(
        !outline.is_ok_and(|outline| outline.stage.is_some()),
        "what a stage makes of records is in no log: leave out the stage, or --prove"
    );
    // However many pages it took, all rows are held against one checkpoint.
    let mut answer = asked.runtime.block_on(wanted.rows(asked.client))?;
    if answer.rows.is_empty() {
        print(&match format {
            OutputFormat::Table => table(&answer, &COLUMNS, printing.raw, Marks::Plain),
            OutputFormat::Jsonl => json_lines(&answer.rows),
            _ => json_list(&answer.rows)?,
        })?;
        return Ok(Verdict::Good);
    }
    let proven = match prove(asked, trust, &answer.rows)? {
        Ok(proven) => proven,
        Err(findings) => {
            let lines = a_line_each(&findings);
            hint(&format!("{lines}NOT VERIFIED: {} of {} records\n", findings.len(), answer.rows.len()));
            return Ok(Verdict::VerificationFailed);
        }
    };
    let records = if answer.rows.len() == 1 { "1 record".into() } else { format!("{} records", answer.rows.len()) };
    let said = format!("{}{records} {}\n", proven.reservations(), escaped(&proven.verdict()));
    if format == OutputFormat::Table {
        print(&table(&answer, &COLUMNS, printing.raw, Marks::Plain))?;
        print(&said)?;
        return Ok(Verdict::Good);
    }
    for (row, proof) in answer.rows.iter_mut().zip(&proven.proofs) {
        row["proof"] = proof.to_json();
    }
    print(&match format {
        OutputFormat::Jsonl => json_lines(&answer.rows),
        _ => json_list(&answer.rows)?,
    })?;
    hint(&said);
    Ok(Verdict::Good)
}

/// Passes on what is printed, a chart for a terminal so many columns wide.
async fn answered(
    client: &Client,
    arguments: Arguments,
    width: usize,
    mut pass_on: impl FnMut(Bytes) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut wanted = arguments.wanted();
    let Arguments { limit, chart, printing, snippets, all, .. } = arguments;
    let now = Timestamp::from_micros(World::real().clock.now_micros());
    let outline = Outline::of(&wanted.search, now);
    if chart {
        let (staged, search) = drawable(client, wanted.search, outline?, now).await?;
        let sent = ask(client, &search, limit.unwrap_or(BARS), "json").await?;
        return pass_on(chart::draw(&sent, staged, width, printing.raw)?.into());
    }
    let format = printing.format()?;
    // What is wrong with a query is the server's to say.
    let is_staged = outline.is_ok_and(|outline| outline.stage.is_some());
    wanted.snippets = snippets || (format == OutputFormat::Table && !is_staged);
    if is_staged || format.is_binary() {
        let of_what = if is_staged { "what a stage makes of records" } else { "a file in this form" };
        anyhow::ensure!(!all, "{of_what} comes as one page: say how much with --limit, instead of --all");
        let (next, sent) = wanted.page(client, wanted.cursor.as_deref(), limit.unwrap_or(ROWS), format.wire()).await?;
        next.iter().for_each(|next| hint(&more(next)));
        return pass_on(render(format, &sent, &[], printing.raw)?);
    }
    let next = match format {
        OutputFormat::Table => {
            pass_on(table(&wanted.rows(client).await?, &COLUMNS, printing.raw, Marks::here()).into())?;
            None
        }
        OutputFormat::Json => {
            let answer = wanted.rows(client).await?;
            pass_on(json_list(&answer.rows)?.into())?;
            answer.next
        }
        _ => wanted.lines(client, format, |sent| pass_on(render(format, &sent, &[], printing.raw)?)).await?,
    };
    next.iter().for_each(|next| hint(&more(next)));
    Ok(())
}

/// The rows of a stage.
async fn ask(client: &Client, search: &Search, limit: usize, format: &str) -> anyhow::Result<Bytes> {
    let wanted = Wanted { search: search.clone(), limit: Some(limit), cursor: None, snippets: false };
    Ok(wanted.page(client, None, limit, format).await?.1)
}

/// A search with a stage: its own, or one that counts over time.
async fn drawable(
    client: &Client,
    mut search: Search,
    outline: Outline,
    now: Timestamp,
) -> anyhow::Result<(Staged, Search)> {
    if let Some(staged) = outline.stage {
        return Ok((staged, search));
    }
    let span = chart::span_for(stretch_micros(client, &search, outline, now).await?);
    search.query.push_str(&format!(" | stats count() by {span}"));
    Ok((Staged { groups: 1, bucket_micros: span_micros(&span) }, search))
}

/// How much time a search is about: what it says, or else what it finds.
async fn stretch_micros(client: &Client, search: &Search, outline: Outline, now: Timestamp) -> anyhow::Result<i64> {
    let micros = |from: Timestamp, to: Timestamp| to.as_micros().saturating_sub(from.as_micros());
    if let Some(since) = outline.since {
        return Ok(micros(since, outline.until.unwrap_or(now)));
    }
    let ends = Search { query: format!("{} | stats min(time), max(time)", search.query), ..search.clone() };
    let ends: Value = serde_json::from_slice(&ask(client, &ends, 1, "jsonl").await?)?;
    let end = |name: &str| Timestamp::parse(ends.get(name)?.as_str()?).ok();
    let last = outline.until.or_else(|| end("max(time)"));
    Ok(end("min(time)").zip(last).map_or(0, |(first, last)| micros(first, last)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    use clap::Parser;
    use ledger::{Ledger, Options};
    use record::{Actor, Draft, Kind, Source, uuid_v7};

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        arguments: Arguments,
    }

    /// A stopped log of ten records, in three of five hours.
    fn stopped(data: &Path) {
        let world = World::real();
        let ledger = Ledger::open(&world, data, &Options::default()).unwrap().ledger;
        let source = Source {
            service: "shop".into(),
            environment: "shop".into(),
            host: "here".into(),
            origin: ledger.origin().to_string(),
            producer: "test".into(),
        };
        let source = std::sync::Arc::new(source);
        let draft = |(hour, nth): (u32, u32)| {
            let time = Timestamp::parse(&format!("2026-11-20T{hour:02}:{nth:02}:00Z")).unwrap();
            let mut draft = Draft::new(uuid_v7(time, &world.entropy.bytes()), time, Kind::System, source.clone());
            let id = Some(if nth % 3 == 0 { "\u{1b}[2Jmallory" } else { "alice" }.to_owned());
            draft.actor =
                Some(Actor { kind: "user".into(), id, groups: Vec::new(), auth: None, ip: None, fingerprint: None });
            draft.attributes.set("testimony.duration_ms", f64::from(nth) * 1.5);
            draft
        };
        let hours = [(9, 6), (10, 3), (13, 1)];
        let drafts = hours.iter().flat_map(|(hour, count)| (0..*count).map(|nth| draft((*hour, nth)))).collect();
        runtime().unwrap().block_on(ledger.append_all(drafts)).unwrap();
        ledger.close();
    }

    #[test]
    fn searches_of_a_stopped_log_print_this() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        stopped(&data);
        let told = |arguments: &[&str]| {
            let given = ["search", "--data", data.to_str().unwrap()];
            let command = Command::try_parse_from(given.iter().chain(arguments)).unwrap();
            let client = command.arguments.target.open().unwrap();
            let mut told = Vec::new();
            let pass_on = |piece: Bytes| {
                told.extend_from_slice(&piece);
                Ok(())
            };
            if let Err(error) = runtime().unwrap().block_on(answered(&client, command.arguments, 80, pass_on)) {
                told = format!("error: {error}\n").into();
            }
            format!("$ {}\n{}", arguments.join(" "), String::from_utf8_lossy(&told))
        };
        let searches = [
            told(&["env:shop | stats count(), p50(duration_ms) by 1h", "-o", "jsonl"]),
            told(&["env:shop | stats count(), sum(duration_ms) as total by 2h", "-o", "table"]),
            told(&["| stats dc(user), min(time)", "-o", "csv"]),
            told(&["| top user", "--until", "2026-11-20T10:00:00Z", "--chart"]),
            told(&["env:shop | stats max(duration_ms) by 1h", "--chart"]),
            told(&["env:shop", "--chart", "--until", "2026-11-20T10:00:00Z"]),
            told(&["since:2026-11-20T00:00:00Z", "--until", "2026-11-21", "--chart"]),
            told(&["env:nowhere", "--chart"]),
            told(&["a | stats cuont()", "-o", "csv"]),
            told(&["a | stats count() by modle", "--chart"]),
        ];
        insta::assert_snapshot!(searches.join("\n"));
    }

    #[test]
    fn what_can_be_asked_for_is_listed_of_a_stopped_log_too() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        stopped(&data);
        let given = ["search", "--data", data.to_str().unwrap()];
        let client = Command::try_parse_from(given).unwrap().arguments.target.open().unwrap();
        let asked = |path: &str| {
            let sent = runtime().unwrap().block_on(client.get(path));
            sent.map_or_else(|error| error.to_string(), |sent| String::from_utf8_lossy(&sent.unwrap()).into_owned())
        };
        let fields: Value = serde_json::from_str(&asked("/api/v1/fields")).unwrap();
        let named =
            |name: &str| fields["fields"].as_array().unwrap().iter().find(|field| field["name"] == name).cloned();
        assert_eq!(named("actor_id").unwrap()["aliases"], serde_json::json!(["user"]));
        assert_eq!(named("testimony.duration_ms").unwrap()["type"], "attribute");
        assert_eq!(
            asked("/api/v1/fields/user/values?prefix=AL&limit=5"),
            "{\"columns\":[\"value\",\"count\"],\"truncated\":false,\"rows\":[{\"value\":\"alice\",\"count\":6}]}\n"
        );
        assert!(asked("/api/v1/fields/modle/values").contains("did you mean \"model\""));
        assert!(asked("/api/v1/fields/model/values?limit=1001").contains("at most 1000"));
    }
}
