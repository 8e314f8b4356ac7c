//! `testimony key`: the log's own signing key, and the API keys of those who use it.

use std::path::PathBuf;

use access::{AuthRecords, NewKey, Role, Scope};
use anyhow::Context as _;
use clap::{Args, Subcommand};
use ledger::{Identity, Ledger, Opened, Options, Rotation, rotate_key};
use record::{Actor, Draft, Field, Kind, Source, Timestamp, uuid_v7};
use serde_json::{Value, json};
use world::World;

use crate::Verdict;
use crate::admitting::open_keys;
use crate::client::{Target, percent_encoded, runtime};
use crate::config;
use crate::output::listing;
use crate::terminal::{escaped, print};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make an API key; its secret is shown this once
    Create(Create),
    /// List the API keys
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Revoke an API key, by its identifier or name
    Revoke {
        #[command(flatten)]
        target: Target,
        /// The identifier or name
        key: String,
    },
    /// Print the log's public key: keep it where whoever checks the log can find it, and not with the log
    Show {
        /// The data directory
        #[arg(long, value_name = "DIR", default_value = "./testimony-data")]
        data: PathBuf,
    },
    /// Give the log a new signing key; the server must be stopped
    ///
    /// The old key signs a record that names the new one, with its own last checkpoint. Evidence made until now is checked with the
    /// old public key, evidence made from now on with the new one.
    Rotate {
        /// A TOML file with settings; flags and TESTIMONY_… variables win over it
        #[arg(long, value_name = "FILE", env = "TESTIMONY_CONFIG")]
        config: Option<PathBuf>,
        /// The data directory [default: ./testimony-data]
        #[arg(long, value_name = "DIR")]
        data: Option<String>,
    },
}

#[derive(Debug, Args)]
struct Create {
    #[command(flatten)]
    target: Target,
    /// Its name, which is who its holder is in records
    #[arg(long)]
    name: String,
    /// What it is for: ingest, caller, monitor, reader, auditor, operator, admin
    #[arg(long)]
    role: Role,
    /// Where: env=staging, service=support-*, model=gemma*; repeat it or use commas [default: everywhere]
    #[arg(long, value_name = "KEY=PATTERN")]
    scope: Vec<String>,
    /// When it ends: 90d, 12h, or a date [default: never]
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    match &arguments.command {
        Command::Create(create) => make(create)?,
        Command::List { target } => list(target)?,
        Command::Revoke { target, key } => return revoke(target, key),
        Command::Show { data } => print(&format!("{}\n", Identity::published_key(&World::real(), data)?))?,
        Command::Rotate { config, data } => {
            let flags: Vec<_> = data.iter().map(|data| ("data", data.clone())).collect();
            let config = config::load(config.as_deref(), std::env::vars(), &flags)?;
            let world = World::real();
            let draft = |rotation: &Rotation| draft(&world, config.source(rotation.former.name(), "system"), rotation);
            let (rotation, receipt) = rotate_key(&world, &config.data, draft)?;
            print(&format!(
                "The log has a new key. Keep it beside the old one, outside of the log:\n\n  new  {}\n  old  {}\n\n\
                 Record {}, the last that the old key signed, names both. Whoever trusts one key of this log, a policy or a witness, \
                 needs the new one now.\n",
                rotation.next, rotation.former, receipt.index
            ))?;
        }
    }
    Ok(Verdict::Good)
}

fn make(create: &Create) -> anyhow::Result<()> {
    let world = World::real();
    let now = Timestamp::from_micros(world.clock.now_micros());
    let scope = Scope::parse_rules(&create.scope)?;
    let expires_at = create.expires.as_deref().map(|when| end(when, now)).transpose()?;
    let key: Value = match &create.target.data {
        Some(data) => on_stopped(&world, data, |keys, records, by| {
            let created_by = by.id.clone().unwrap_or_default().replace(':', "-");
            let new = NewKey { name: create.name.clone(), role: create.role, scope, expires_at, created_by };
            let (secret, key) = keys.create(new, now, world.entropy.as_ref())?;
            let shown = json!({"id": key.id, "secret": secret.expose(), "scope": key.scope.to_string()});
            Ok((shown, records.key_made(&key, by)))
        })?,
        None => {
            let wanted = json!({
                "name": create.name, "role": create.role, "scope": scope,
                "expires_at": expires_at.map(|end| end.to_string()),
            });
            let answer = runtime()?.block_on(create.target.open()?.post("/api/v1/keys", &wanted))?;
            serde_json::from_slice(&answer)?
        }
    };
    let text = |member: &str| key.get(member).and_then(Value::as_str).unwrap_or_default().to_owned();
    print(&format!(
        "{}\n\nThis is the API key {} ({}, {}, {}). It is not kept and cannot be shown again.\n\n\
         Try:  export TESTIMONY_API_KEY=…   or, for a client of models, OPENAI_API_KEY=…\n",
        text("secret"),
        text("id"),
        escaped(&create.name),
        create.role,
        text("scope"),
    ))
}

/// `90d` from now, a date, or a moment.
fn end(when: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    if let Some(span) = search::span_micros(when) {
        return Ok(Timestamp::from_micros(now.as_micros().saturating_add(span)));
    }
    let moment = Timestamp::parse(when).or_else(|_| Timestamp::parse(&format!("{when}T00:00:00Z")));
    moment.with_context(|| format!("{when:?} is not a time such as 90d, 2027-01-31 or 2027-01-31T12:00:00Z"))
}

fn list(target: &Target) -> anyhow::Result<()> {
    let keys: Vec<Value> = match &target.data {
        Some(data) => {
            let config = config::load(None, std::iter::empty(), &[("data", data.display().to_string())])?;
            open_keys(&World::real(), &config)?.list().iter().map(server::shown_key).collect()
        }
        None => {
            let answer = runtime()?.block_on(target.open()?.get("/api/v1/keys"))?.context("the server has no keys")?;
            let answer: Value = serde_json::from_slice(&answer)?;
            answer.get("keys").and_then(Value::as_array).cloned().unwrap_or_default()
        }
    };
    let columns = ["id", "name", "role", "scope", "created_at", "expires_at", "revoked_at", "last_used_at"];
    print(&listing(&columns, keys))
}

fn revoke(target: &Target, key: &str) -> anyhow::Result<Verdict> {
    match &target.data {
        Some(data) => {
            let world = World::real();
            let now = Timestamp::from_micros(world.clock.now_micros());
            on_stopped(&world, data, |keys, records, by| {
                let key = keys.revoke(key, now)?;
                Ok(((), records.key_revoked(&key, by, 0)))
            })?;
        }
        None => {
            let path = format!("/api/v1/keys/{}", percent_encoded(key));
            if runtime()?.block_on(target.open()?.delete(&path))?.is_none() {
                print(&format!("there is no API key {} that is in force\n", escaped(key)))?;
                return Ok(Verdict::NotFound);
            }
        }
    }
    print(&format!("the API key {} is revoked\n", escaped(key)))?;
    Ok(Verdict::Good)
}

/// Changes the keys of a stopped log, and records it there. The record comes first to be possible: without a log there are no keys.
fn on_stopped<T>(
    world: &World,
    data: &std::path::Path,
    change: impl FnOnce(&access::KeyStore, &AuthRecords, Actor) -> anyhow::Result<(T, Draft)>,
) -> anyhow::Result<T> {
    Identity::open(world, data).context("there is no log in this directory; start it once with `testimony serve`")?;
    let config = config::load(None, std::iter::empty(), &[("data", data.display().to_string())])?;
    let Opened { ledger, .. } = Ledger::open(world, data, &Options::default())?;
    // Nobody here seals what the write-ahead log holds: it must not let go of anything.
    ledger.hold("keys", 0);
    let keys = open_keys(world, &config)?;
    let records = AuthRecords::new(world.clone(), config.source(ledger.origin(), "access"));
    let (told, draft) = change(&keys, &records, os_user())?;
    let recorded = runtime()?.block_on(ledger.append(draft));
    ledger.close();
    recorded.context("the change of the keys was made and could not be recorded")?;
    Ok(told)
}

/// Whoever runs this command has the directory.
fn os_user() -> Actor {
    let id = Some(format!("uid:{}", world::user_id()));
    Actor { kind: "user".into(), id, auth: Some("os".into()), ..Actor::default() }
}

fn draft(world: &World, source: Source, rotation: &Rotation) -> Draft {
    let time = Timestamp::from_micros(world.clock.now_micros());
    let mut draft = Draft::new(uuid_v7(time, &world.entropy.bytes()), time, Kind::Control, source.into());
    draft.actor = Some(os_user());
    draft.attributes.set("testimony.key.former", rotation.former.to_string());
    draft.attributes.set("testimony.key.next", rotation.next.to_string());
    draft.content = vec![Field {
        name: "testimony.key.last_checkpoint".into(),
        media: "text/plain; charset=utf-8".into(),
        bytes: rotation.last_checkpoint.as_bytes().to_vec(),
    }];
    draft
}
