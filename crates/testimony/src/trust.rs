//! Whom to believe, as people say it: a key, a file with a key, a trust policy.

use std::path::Path;

use anyhow::Context as _;
use tlog::{TrustPolicy, VerifierKey};

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
