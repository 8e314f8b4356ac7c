//! A witness for the logs of others (C2SP tlog-witness v1.1.0).
//!
//! The statuses are those of the specification; two trees of one size are a bad proof (422), as v1.1.0 says, where v1.0.0
//! had the same 409 as for a wrong old size.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};
use tlog::{
    Checkpoint, CheckpointError, CosignerKey, Hash, Note, NoteError, VerifierKey, WitnessKey, check_consistency,
};
use world::World;

use crate::request::AddCheckpoint;

const KEY_FILE: &str = "witness.key";
const VKEY_FILE: &str = "witness.vkey";

/// Cosigns the checkpoints of the logs that it knows. Clones are the same witness.
#[derive(Clone)]
pub struct Cosigner(Arc<Inner>);

struct Inner {
    world: World,
    /// The latest checkpoint of each log lies here, under the SHA-256 of its origin.
    dir: PathBuf,
    key: CosignerKey,
    logs: Vec<VerifierKey>,
    /// Looking at the latest checkpoint and replacing it is one step, for one request at a time.
    one_at_a_time: Mutex<()>,
}

/// Why there is no witness.
#[derive(Debug, thiserror::Error)]
pub enum CosignerError {
    /// A file could not be read or written.
    #[error("could not use {0}")]
    Io(PathBuf, #[source] io::Error),
    /// The key file is not what it should be.
    #[error("the key in {0} cannot be used")]
    Key(PathBuf, #[source] NoteError),
}

/// Why a checkpoint was not cosigned.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The request is not one (400).
    #[error("the request is malformed: {0}")]
    Malformed(String),
    /// The old size is larger than the new one (400).
    #[error("the old size {old} is larger than the checkpoint's, {size}")]
    OldSize {
        /// The old size.
        old: u64,
        /// The checkpoint's size.
        size: u64,
    },
    /// Not one of the logs that this witness knows (404).
    #[error("this witness does not know the log {0:?}")]
    UnknownLog(String),
    /// Not signed by a key that is trusted for the log (403).
    #[error(transparent)]
    Signature(CheckpointError),
    /// The old size is not that of the latest checkpoint (409).
    #[error("the latest checkpoint that was cosigned has {latest} records")]
    Conflict {
        /// The size of the latest checkpoint.
        latest: u64,
    },
    /// The tree did not grow from the one that was cosigned last (422).
    #[error("the log has signed two histories: {0}")]
    Proof(tlog::ProofError),
    /// What is remembered could not be read or stored (500).
    #[error("what this witness remembers could not be used: {0}")]
    State(String),
}

impl Cosigner {
    /// The witness of an installation, with its key under `identity/`; made at first under the name `name`.
    ///
    /// # Errors
    /// When its files cannot be used.
    pub fn open_or_create(
        world: &World,
        data: &Path,
        name: &str,
        logs: Vec<VerifierKey>,
    ) -> Result<Self, CosignerError> {
        let (path, dir) = (data.join("identity").join(KEY_FILE), data.join("witness"));
        let key = match world.disk.read(&path) {
            Ok(bytes) => {
                CosignerKey::parse(&String::from_utf8_lossy(&bytes)).map_err(|e| CosignerError::Key(path, e))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => create_key(world, &path, name)?,
            Err(error) => return Err(CosignerError::Io(path, error)),
        };
        world.disk.create_dirs(&dir).map_err(|error| CosignerError::Io(dir.clone(), error))?;
        Ok(Self(Arc::new(Inner { world: world.clone(), dir, key, logs, one_at_a_time: Mutex::new(()) })))
    }

    /// Its public key.
    #[must_use]
    pub fn key(&self) -> &WitnessKey {
        self.0.key.verifier()
    }

    /// Looks at a request and answers with signature lines. What it has cosigned is stored durably before.
    ///
    /// # Errors
    /// See [`Refusal`]; nothing was changed.
    pub fn add_checkpoint(&self, body: &[u8]) -> Result<String, Refusal> {
        let request = AddCheckpoint::parse(body).map_err(|what| Refusal::Malformed(what.to_owned()))?;
        let note = request.note.as_bytes();
        let malformed = |error: CheckpointError| Refusal::Malformed(error.to_string());
        let claimed = Checkpoint::parse_unverified(note).map_err(malformed)?;
        let checkpoint = self.signed(note, &claimed.origin)?;
        if request.old > checkpoint.size {
            return Err(Refusal::OldSize { old: request.old, size: checkpoint.size });
        }
        let _alone = self.0.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = self.latest_checkpoint(&checkpoint.origin)?;
        let (latest, latest_root) = latest.map_or((0, Hash::of_empty_tree()), |latest| (latest.size, latest.root));
        if request.old != latest {
            return Err(Refusal::Conflict { latest });
        }
        let grown = check_consistency((latest, latest_root), (checkpoint.size, checkpoint.root), &request.proof);
        grown.map_err(Refusal::Proof)?;
        let path = self.path(&checkpoint.origin);
        let stored = self.0.world.disk.replace_durably(&path, note);
        stored.map_err(|error| Refusal::State(format!("{}: {error}", path.display())))?;
        let seconds = u64::try_from(self.0.world.clock.now_micros() / 1_000_000).unwrap_or(0);
        let text = Note::parse(note).map_err(|error| malformed(error.into()))?.unverified_text();
        Ok(self.0.key.cosign(text, seconds))
    }

    /// The latest checkpoint of a log that was cosigned, with the signatures that it came with.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn latest(&self, origin: &str) -> Result<Option<String>, Refusal> {
        let path = self.path(origin);
        match self.0.world.disk.read(&path) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Refusal::State(format!("{}: {error}", path.display()))),
        }
    }

    fn latest_checkpoint(&self, origin: &str) -> Result<Option<Checkpoint>, Refusal> {
        let note = self.latest(origin)?;
        let damaged = |error: CheckpointError| Refusal::State(format!("{}: {error}", self.path(origin).display()));
        note.map(|note| Checkpoint::parse_unverified(note.as_bytes()).map_err(damaged)).transpose()
    }

    /// A log may have several keys, after a rotation: one of them must have signed.
    fn signed(&self, note: &[u8], origin: &str) -> Result<Checkpoint, Refusal> {
        let mut refusal = Refusal::UnknownLog(origin.to_owned());
        for key in self.0.logs.iter().filter(|key| key.name() == origin) {
            match Checkpoint::verify(note, key) {
                Ok(checkpoint) => return Ok(checkpoint),
                Err(error) => refusal = Refusal::Signature(error),
            }
        }
        Err(refusal)
    }

    fn path(&self, origin: &str) -> PathBuf {
        let name: String = Sha256::digest(origin).iter().map(|byte| format!("{byte:02x}")).collect();
        self.0.dir.join(name)
    }
}

fn create_key(world: &World, path: &Path, name: &str) -> Result<CosignerKey, CosignerError> {
    let key = CosignerKey::from_seed(name, world.entropy.bytes());
    let key = key.map_err(|error| CosignerError::Key(path.to_owned(), error))?;
    let vkey = path.with_file_name(VKEY_FILE);
    let written = world.disk.replace_durably(&vkey, format!("{}\n", key.verifier()).as_bytes());
    let written =
        written.and_then(|()| world.disk.replace_secret(path, format!("{}\n", key.to_secret_text()).as_bytes()));
    written.map_err(|error| CosignerError::Io(path.to_owned(), error))?;
    Ok(key)
}

#[cfg(test)]
mod tests;
