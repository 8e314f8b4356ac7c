//! `testimony check`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{ArgGroup, Args};
use tlog::Token;
use verify::Evidence;

use crate::Verdict;
use crate::terminal::print;
use crate::trust::{Trust, read_own};

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("whom").args(["key", "policy"]).required(true)))]
pub(crate) struct Arguments {
    /// The evidence: a .tlog-proof file
    file: PathBuf,
    /// Write the time-stamps in it and what they are of into this folder, for `openssl ts -verify`
    #[arg(long, value_name = "DIR")]
    timestamps: Option<PathBuf>,
    #[command(flatten)]
    trust: Trust,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    let policy = arguments.trust.policy()?.context("say whom to believe: --key or --policy")?;
    let file = read_own(&arguments.file)?;
    match Evidence::parse(&file).and_then(|evidence| evidence.check(&policy)) {
        Ok(checked) => {
            print(&format!("{checked}\nverified\n"))?;
            if let Some(folder) = &arguments.timestamps {
                checked.stamps.iter().try_for_each(|(checkpoint, token)| write_stamp(folder, checkpoint, token))?;
            }
            Ok(Verdict::Good)
        }
        Err(error) => {
            print(&format!("✗ {}\nNOT VERIFIED\n", record::escaped(&error.to_string())))?;
            Ok(Verdict::VerificationFailed)
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the files are the caller's own, not the log's")]
fn write_stamp(folder: &Path, stamped: &str, stamp: &Token) -> anyhow::Result<()> {
    let (message, token) = (folder.join("checkpoint"), folder.join("checkpoint.tst"));
    let written = std::fs::create_dir_all(folder).and_then(|()| {
        std::fs::write(&message, stamped)?;
        std::fs::write(&token, &stamp.der)
    });
    written.with_context(|| format!("could not write into {}", folder.display()))?;
    let (message, token) = (message.display(), token.display());
    print(&format!("\nopenssl ts -verify -data {message} -token_in -in {token} -CAfile ROOTS.pem\n"))
}
