//! A new signing key for the log. The old key vouches for the new one: its last act is to sign a record that names it.
//!
//! 1. the next key is made and kept in `identity/next.key`;
//! 2. a record with the old key's last checkpoint and both public keys is appended, and published under the old key;
//! 3. the old public key goes to `identity/former/`, the next key takes its place, `identity/next.key` goes;
//! 4. the log is opened again, which publishes it under the new key.
//!
//! Whatever cuts this short, the log can be gone on with, under the key that is in place; the rotation can be asked for again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use record::Draft;
use tlog::VerifierKey;
use world::World;

use crate::identity::{Identity, IdentityError};
use crate::ledger::{AppendError, Ledger, OpenError, Opened, Options};
use crate::receipt::Receipt;

/// What the record of a rotation tells.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// The last checkpoint of the former key before the record: it covers everything before it.
    pub last_checkpoint: Arc<str>,
    /// The key that goes.
    pub former: VerifierKey,
    /// The key that comes.
    pub next: VerifierKey,
}

/// Why the key is still the old one.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// The log cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The keys cannot be read or written.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The record was not taken.
    #[error("the rotation could not be recorded, so the key is still the old one")]
    Append(#[from] AppendError),
    /// No thread could be made.
    #[error("could not prepare {0}")]
    Io(PathBuf, #[source] std::io::Error),
}

/// Gives a stopped log a new signing key. `draft` makes the record that says so.
///
/// # Errors
/// When another process has the log, or a step fails; the log is then as good as before.
pub fn rotate_key(
    world: &World,
    data: &Path,
    draft: impl FnOnce(&Rotation) -> Draft,
) -> Result<(Rotation, Receipt), RotateError> {
    // A directory without a log does not get one for being asked.
    Identity::open(world, data)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| RotateError::Io(data.to_owned(), error))?;
    let Opened { ledger, identity, .. } = Ledger::open(world, data, &Options::default())?;
    // Nobody here seals what the write-ahead log holds: it must not let go of anything.
    ledger.hold("rotation", 0);
    let next = identity.prepare_next(world, data)?;
    let rotation = Rotation {
        last_checkpoint: ledger.durable().checkpoint,
        former: identity.signer.verifier().clone(),
        next: next.verifier().clone(),
    };
    let receipt = runtime.block_on(ledger.append(draft(&rotation)));
    ledger.close();
    let receipt = receipt?.into_inner();
    {
        let _lock = world.disk.lock(data).map_err(OpenError::from)?;
        identity.hand_over(world, data, &next)?;
    }
    Ledger::open(world, data, &Options::default())?.ledger.close();
    Ok((rotation, receipt))
}
