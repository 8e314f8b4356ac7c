//! Whom to believe, as people say it: a key, a file with a key, a trust policy.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use tlog::{TrustPolicy, VerifierKey};

/// Whom to believe.
#[derive(Debug, Clone, Default, Args)]
#[group(multiple = false)]
pub(crate) struct Trust {
    /// The log's public key, from where you keep it: a vkey, or a file that holds one
    #[arg(long, value_name = "VKEY")]
    key: Option<String>,
    /// A trust policy: logs, witnesses and a quorum (C2SP tlog-policy)
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

impl Trust {
    /// Whether somebody is named.
    pub(crate) const fn is_said(&self) -> bool {
        self.key.is_some() || self.policy.is_some()
    }

    /// Those who are named; none: nobody is.
    ///
    /// # Errors
    /// When that is no key and no policy.
    pub(crate) fn policy(&self) -> anyhow::Result<Option<TrustPolicy>> {
        match (&self.key, &self.policy) {
            (Some(key), _) => Ok(Some(TrustPolicy::of_log(read_key(key)?))),
            (None, Some(file)) => read_policy(file).map(Some),
            (None, None) => Ok(None),
        }
    }
}

/// Reads a key that is given as itself or as a file that holds it.
pub(crate) fn read_key(given: &str) -> anyhow::Result<VerifierKey> {
    if let Ok(key) = VerifierKey::parse(given) {
        return Ok(key);
    }
    let text =
        read_own(Path::new(given)).with_context(|| format!("{given:?} is neither a vkey nor a file that holds one"))?;
    VerifierKey::parse(&String::from_utf8_lossy(&text)).with_context(|| format!("the file {given:?} holds no vkey"))
}

/// Reads a trust policy (C2SP tlog-policy).
pub(crate) fn read_policy(file: &Path) -> anyhow::Result<TrustPolicy> {
    TrustPolicy::parse(&read_own(file)?).with_context(|| format!("the policy {} cannot be used", file.display()))
}

/// Reads a file of whoever asks.
#[expect(clippy::disallowed_methods, reason = "it is kept by the one who asks, outside of any log")]
pub(crate) fn read_own(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("could not read {}", file.display()))
}
