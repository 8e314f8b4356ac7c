//! `testimony import`: what another system has kept of calls until now.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use ingest::Arrival;
use ingest::history::{Form, Import, Origin, Position, Taken};
use record::{Draft, Field, Source, Timestamp};
use serde_json::{Map, Value, json};
use world::World;

use crate::Verdict;
use crate::client::{Client, Target, runtime};
use crate::terminal::{escaped, print};

/// Bytes that are read at once.
const READ_BYTES: usize = 1 << 20;
/// Records in one request.
const BATCH_RECORDS: usize = 2_000;
/// Bytes of records in one request; one record may be larger.
const BATCH_BYTES: usize = 4 << 20;
/// Rejections that are named.
const NAMED_MAX: usize = 20;
/// How often a server that cannot store just now is asked again, a second apart.
const TRIES: u32 = 30;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Whose files they are: langfuse, litellm or openai-jsonl
    origin: String,
    /// The files, in the order in which they belong together (docs/ingest/history.md); .gz and .zst are decompressed
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Keep here how far the files have been imported, and go on from there
    #[arg(long, value_name = "FILE")]
    position: Option<PathBuf>,
    /// The service that calls belong to which do not say so
    #[arg(long, default_value = "default")]
    service: String,
    /// Their environment
    #[arg(long, default_value = "default")]
    environment: String,
    /// Read everything and store nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    target: Target,
}

/// What has come of an import so far.
#[derive(Default)]
struct Tally {
    stored: u64,
    repeated: u64,
    rejected: u64,
    named: Vec<String>,
}

/// Records on their way, and how far their files are imported once they are stored.
#[derive(Default)]
struct Batch {
    lines: Vec<u8>,
    records: usize,
    end: Option<(String, Position)>,
}

struct Importing<'a> {
    arguments: &'a Arguments,
    client: Client,
    runtime: tokio::runtime::Runtime,
    batch: Batch,
    positions: BTreeMap<String, Position>,
    tally: Tally,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    let origin: Origin = arguments.origin.parse().context("testimony import langfuse|litellm|openai-jsonl FILE…")?;
    if arguments.target.data.is_some() {
        bail!("an import goes to a running server; start it, and leave out --data");
    }
    let world = World::real();
    let source = Source {
        service: arguments.service.clone(),
        environment: arguments.environment.clone(),
        host: world::host_name(),
        origin: String::new(),
        producer: "import".into(),
    };
    let random = || world.entropy.bytes();
    let received = Timestamp::from_micros(world.clock.now_micros());
    let arrival = Arrival { source: &source, sender: None, received, random: &random };
    let mut importing = Importing {
        arguments,
        client: arguments.target.open()?,
        runtime: runtime()?,
        batch: Batch::default(),
        positions: positions(arguments.position.as_deref())?,
        tally: Tally::default(),
    };
    let mut import = Import::new(origin);
    for file in &arguments.files {
        importing.file(&mut import, file, &arrival).with_context(|| format!("importing {}", file.display()))?;
    }
    for draft in import.finish(&arrival) {
        importing.add(&draft)?;
    }
    importing.send()?;
    importing.tally.print(arguments.dry_run)?;
    Ok(Verdict::Good)
}

impl Importing<'_> {
    fn file(&mut self, import: &mut Import, path: &Path, arrival: &Arrival<'_>) -> anyhow::Result<()> {
        let name = path.to_string_lossy().into_owned();
        let form = Form::of_name(&name).context("its name must end in .jsonl, .ndjson, .json or .csv")?;
        #[expect(clippy::disallowed_methods, reason = "a file that somebody names is read")]
        let (file, length) = {
            let file = std::fs::File::open(path)?;
            let length = file.metadata()?.len();
            (file, length)
        };
        let progress = ProgressBar::new(length);
        let style = "{prefix}  {wide_bar}  {bytes} of {total_bytes}, {eta}";
        progress.set_style(ProgressStyle::with_template(style)?);
        progress.set_prefix(escaped(&name).into_owned());
        let mut reader = decompressed(&name, progress.wrap_read(file))?;
        import.begin(form, self.positions.get(&name).copied().unwrap_or_default());
        let mut bytes = vec![0; READ_BYTES];
        loop {
            let read = reader.read(&mut bytes)?;
            let taken = match bytes.get(..read) {
                Some(read) if !read.is_empty() => import.push(read, arrival),
                _ => import.end_of_file(arrival),
            };
            for taken in taken {
                self.take(&name, taken)?;
            }
            if read == 0 {
                progress.finish_and_clear();
                return Ok(());
            }
        }
    }

    fn take(&mut self, name: &str, taken: Taken) -> anyhow::Result<()> {
        for draft in taken.drafts {
            match draft {
                Ok(draft) => self.add(&draft)?,
                Err(why) => self.tally.reject(&format!("{name}, byte {}: {why}", taken.end.bytes)),
            }
        }
        self.batch.end = Some((name.to_owned(), taken.end));
        Ok(())
    }

    fn add(&mut self, draft: &Draft) -> anyhow::Result<()> {
        if self.batch.records >= BATCH_RECORDS || self.batch.lines.len() >= BATCH_BYTES {
            self.send()?;
        }
        serde_json::to_writer(&mut self.batch.lines, &sent(draft))?;
        self.batch.lines.push(b'\n');
        self.batch.records += 1;
        Ok(())
    }

    /// Stores what is on its way; only then is it known as imported.
    fn send(&mut self) -> anyhow::Result<()> {
        let Batch { lines, records, end } = std::mem::take(&mut self.batch);
        if records > 0 && self.arguments.dry_run {
            self.tally.stored += records as u64;
        } else if records > 0 {
            let answer = self.runtime.block_on(stored(&self.client, lines.into()))?;
            let list = |name: &str| answer.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
            let repeated = list("receipts").iter().filter(|receipt| receipt["repeat"] == true).count() as u64;
            self.tally.stored += list("receipts").len() as u64 - repeated;
            self.tally.repeated += repeated;
            list("rejected").iter().for_each(|one| self.tally.reject(one["error"].as_str().unwrap_or_default()));
        }
        let (Some((name, end)), Some(file), false) = (end, &self.arguments.position, self.arguments.dry_run) else {
            return Ok(());
        };
        self.positions.insert(name, end);
        let text = serde_json::to_vec(&self.positions)?;
        World::real().disk.replace(file, &text).with_context(|| format!("could not write {}", file.display()))
    }
}

/// Sends lines of records until the server has stored them.
async fn stored(client: &Client, lines: Bytes) -> anyhow::Result<Value> {
    for _ in 0..TRIES {
        match client.post_lines("/api/v1/records", lines.clone()).await? {
            Some(answer) => return Ok(serde_json::from_slice(&answer)?),
            None => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
    bail!("the server has been unable to store anything for {TRIES} s; import again later with the same --position")
}

/// A draft in the form of `POST /api/v1/records`. Its identifier is the key: what is imported again is stored once.
pub(crate) fn sent(draft: &Draft) -> Value {
    let mut record = json!({
        "kind": draft.kind.as_str(),
        "key": draft.id.to_string(),
        "time": draft.time.to_string(),
        "source": {"service": draft.source.service, "environment": draft.source.environment, "host": draft.source.host},
    });
    let trace = &draft.trace;
    let texts = [
        ("outcome", draft.outcome.map(|outcome| outcome.as_str().to_owned())),
        ("call_id", draft.call_id.map(|id| id.to_string())),
        ("trace_id", trace.trace_id.clone()),
        ("span_id", trace.span_id.clone()),
        ("parent_span_id", trace.parent_span_id.clone()),
    ];
    let attributes: Map<String, Value> = draft
        .attributes
        .iter()
        .filter_map(|(name, value)| Some((name.to_owned(), serde_json::from_str(&value.to_json()).ok()?)))
        .collect();
    let content: Map<String, Value> = draft.content.iter().map(|field| (field.name.clone(), said(field))).collect();
    if let Some(members) = record.as_object_mut() {
        members.extend(texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?.into()))));
        if let Some(actor) = &draft.actor {
            members.insert("actor".into(), json!({"type": actor.kind, "id": actor.id}));
        }
        members.insert("attributes".into(), attributes.into());
        members.insert("content".into(), content.into());
    }
    record
}

fn said(field: &Field) -> Value {
    let json = (field.media == "application/json").then(|| serde_json::from_slice(&field.bytes).ok()).flatten();
    json.unwrap_or_else(|| String::from_utf8_lossy(&field.bytes).into())
}

fn decompressed<'a>(name: &str, file: impl Read + 'a) -> anyhow::Result<Box<dyn Read + 'a>> {
    Ok(match name.rsplit_once('.') {
        Some((_, "gz")) => Box::new(flate2::read::MultiGzDecoder::new(file)),
        Some((_, "zst")) => Box::new(zstd::stream::read::Decoder::new(file)?),
        _ => Box::new(file),
    })
}

fn positions(file: Option<&Path>) -> anyhow::Result<BTreeMap<String, Position>> {
    let Some(file) = file else { return Ok(BTreeMap::new()) };
    match World::real().disk.read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| format!("{} is no position", file.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error).with_context(|| format!("could not read {}", file.display())),
    }
}

impl Tally {
    fn reject(&mut self, why: &str) {
        self.rejected += 1;
        if self.named.len() < NAMED_MAX {
            self.named.push(why.to_owned());
        }
    }

    fn print(&self, dry_run: bool) -> anyhow::Result<()> {
        let mut text = String::new();
        for why in &self.named {
            text.push_str(&format!("rejected: {}\n", escaped(why)));
        }
        let stored = if dry_run { "would be sent" } else { "stored" };
        text.push_str(&format!(
            "{} {stored}, {} sent before, {} rejected\n",
            self.stored, self.repeated, self.rejected
        ));
        print(&text)
    }
}
