//! `testimony key`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use ledger::{Identity, Rotation, rotate_key};
use record::{Actor, Draft, Field, Kind, Source, Timestamp, uuid_v7};
use world::World;

use crate::Verdict;
use crate::config;
use crate::terminal::print;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
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

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    match &arguments.command {
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

fn draft(world: &World, source: Source, rotation: &Rotation) -> Draft {
    let time = Timestamp::from_micros(world.clock.now_micros());
    let mut draft = Draft::new(uuid_v7(time, &world.entropy.bytes()), time, Kind::Control, source.into());
    let id = Some(format!("uid:{}", world::user_id()));
    draft.actor = Some(Actor { kind: "user".into(), id, auth: Some("os".into()), ip: None, fingerprint: None });
    draft.attributes.set("testimony.key.former", rotation.former.to_string());
    draft.attributes.set("testimony.key.next", rotation.next.to_string());
    draft.content = vec![Field {
        name: "testimony.key.last_checkpoint".into(),
        media: "text/plain; charset=utf-8".into(),
        bytes: rotation.last_checkpoint.as_bytes().to_vec(),
    }];
    draft
}
