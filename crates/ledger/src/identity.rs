//! The log's signing key and the installation's fingerprint key.

use std::io;
use std::path::{Path, PathBuf};

use record::FingerprintKey;
use tlog::{Checkpoint, NoteError, PolicyError, SignerKey, TrustPolicy, VerifierKey};
use world::World;

/// Who this log is. The secrets stay in `identity/`, readable by their owner alone.
#[derive(Clone)]
pub struct Identity {
    /// The key that signs checkpoints; its name is the log's origin.
    pub signer: SignerKey,
    /// The key under which credentials are fingerprinted.
    pub fingerprint: FingerprintKey,
    /// The public keys that signed before it, in no particular order.
    pub former: Vec<VerifierKey>,
    /// Whether the keys were made just now.
    pub is_new: bool,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file could not be read or written.
    #[error("could not use {0}")]
    Io(PathBuf, #[source] io::Error),
    /// A key file is not what it should be.
    #[error("the key in {0} cannot be used")]
    Key(PathBuf, #[source] NoteError),
    /// A file in `identity/` does not fit the others.
    #[error("{0} does not fit the key beside it: one of the two was changed")]
    Differs(PathBuf),
    /// A file in `identity/` is gone, and the log is there.
    #[error("{0} is gone, and without it this log cannot be gone on with: bring it back from where you keep a copy")]
    Gone(PathBuf),
    /// The configuration asks for another log than this directory holds.
    #[error(
        "this directory holds the log {found:?}, not {wanted:?}: take away the setting `origin`, or choose another directory"
    )]
    Origin {
        /// The log that is there.
        found: String,
        /// The one that was asked for.
        wanted: String,
    },
    /// There is no log in the directory.
    #[error("there is no log in {0}")]
    Missing(PathBuf),
}

const KEY_FILE: &str = "log.key";
const VKEY_FILE: &str = "log.vkey";
/// The key that a rotation is about to put in place.
const NEXT_FILE: &str = "next.key";
/// The public keys that were in place before, a file each.
const FORMER_DIR: &str = "former";
const FINGERPRINT_FILE: &str = "fingerprint.key";
/// The name in the fingerprint key's text. It is written like a signer's key so that damage shows.
const FINGERPRINT_NAME: &str = "testimony-fingerprint";

impl Identity {
    /// Reads the identity in `dir`, or makes a new one under the name `origin` when there is none.
    ///
    /// # Errors
    /// When files cannot be used, do not fit each other, or hold another origin than the one asked for.
    pub fn open_or_create(world: &World, dir: &Path, origin: Option<&str>) -> Result<Self, IdentityError> {
        let identity = match Self::open(world, dir) {
            Err(IdentityError::Missing(_)) => Self::create(world, dir, origin)?,
            identity => identity?,
        };
        identity.finish_hand_over(world, dir)?;
        let found = identity.signer.verifier().name();
        match origin {
            Some(wanted) if wanted != found => {
                Err(IdentityError::Origin { found: found.to_owned(), wanted: wanted.to_owned() })
            }
            _ => Ok(identity),
        }
    }

    /// Reads the identity in the data directory `dir`.
    ///
    /// # Errors
    /// [`IdentityError::Missing`] when there is none; others as for [`Identity::open_or_create`].
    pub fn open(world: &World, dir: &Path) -> Result<Self, IdentityError> {
        let identity = dir.join("identity");
        let path = identity.join(KEY_FILE);
        let signer = match read_text(world, &path) {
            // A directory in which nothing was ever written is not a log yet, whatever a first start has left in it.
            Err(IdentityError::Gone(_)) if !has_records(world, dir) => {
                return Err(IdentityError::Missing(dir.to_owned()));
            }
            text => SignerKey::parse(&text?).map_err(|error| IdentityError::Key(path, error))?,
        };
        let former = read_former(world, &identity.join(FORMER_DIR))?;
        let published = Self::published_key(world, dir)?;
        if &published != signer.verifier() && !(former.contains(&published) && is_next(world, dir, &signer)) {
            return Err(IdentityError::Differs(identity.join(VKEY_FILE)));
        }
        let path = identity.join(FINGERPRINT_FILE);
        let text = read_text(world, &path)?;
        let secret = SignerKey::parse(&text).map_err(|error| IdentityError::Key(path.clone(), error))?;
        if secret.verifier().name() != FINGERPRINT_NAME {
            return Err(IdentityError::Differs(path));
        }
        Ok(Self { signer, fingerprint: FingerprintKey::new(secret.seed()), former, is_new: false })
    }

    /// The public key that lies beside the log.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn published_key(world: &World, dir: &Path) -> Result<VerifierKey, IdentityError> {
        let path = dir.join("identity").join(VKEY_FILE);
        let text = read_text(world, &path)?;
        VerifierKey::parse(&text).map_err(|error| IdentityError::Key(path, error))
    }

    /// Verifies a checkpoint of this log: it is signed by the key, or by one that was in its place before.
    pub(crate) fn verify(&self, note: &[u8]) -> Result<Checkpoint, PolicyError> {
        let keys = [self.signer.verifier()].into_iter().chain(&self.former);
        Ok(TrustPolicy::of_logs(keys.cloned().collect()).vouch(note)?.checkpoint)
    }

    /// The key that is to come next; the one that a rotation which was cut short has left, or a new one.
    pub(crate) fn prepare_next(&self, world: &World, dir: &Path) -> Result<SignerKey, IdentityError> {
        let path = dir.join("identity").join(NEXT_FILE);
        match read_text(world, &path) {
            Err(IdentityError::Gone(_)) => {}
            text => return SignerKey::parse(&text?).map_err(|error| IdentityError::Key(path, error)),
        }
        let key = SignerKey::from_seed(self.signer.verifier().name(), world.entropy.bytes())
            .map_err(|error| IdentityError::Key(path.clone(), error))?;
        let written = world.disk.replace_secret(&path, line(&key.to_secret_text()).as_bytes());
        written.map_err(|error| IdentityError::Io(path, error))?;
        Ok(key)
    }

    /// Puts the next key in place. The one step that decides is the replacement of the signing key.
    pub(crate) fn hand_over(&self, world: &World, dir: &Path, next: &SignerKey) -> Result<(), IdentityError> {
        let (dir_of_keys, disk) = (dir.join("identity"), &world.disk);
        let former = dir_of_keys.join(FORMER_DIR);
        let key = self.signer.verifier();
        // Named by its id, which is the part of a vkey between the two plus signs.
        let name = format!("{}.vkey", key.to_string().split('+').nth(1).unwrap_or_default());
        let secret = line(&next.to_secret_text());
        let put = disk
            .create_dirs(&former)
            .and_then(|()| disk.replace_durably(&former.join(name), line(&key.to_string()).as_bytes()))
            .and_then(|()| disk.sync_names(&dir_of_keys))
            .and_then(|()| disk.replace_secret(&dir_of_keys.join(KEY_FILE), secret.as_bytes()));
        put.map_err(|error| IdentityError::Io(dir_of_keys, error))?;
        Self::open(world, dir)?.finish_hand_over(world, dir)
    }

    fn finish_hand_over(&self, world: &World, dir: &Path) -> Result<(), IdentityError> {
        if !is_next(world, dir, &self.signer) {
            return Ok(());
        }
        let (dir, disk) = (dir.join("identity"), &world.disk);
        let done = disk
            .replace_durably(&dir.join(VKEY_FILE), line(&self.signer.verifier().to_string()).as_bytes())
            .and_then(|()| disk.remove(&dir.join(NEXT_FILE)))
            .and_then(|()| disk.sync_names(&dir));
        done.map_err(|error| IdentityError::Io(dir, error))
    }

    fn create(world: &World, dir: &Path, origin: Option<&str>) -> Result<Self, IdentityError> {
        let unique: String = world.entropy.bytes::<4>().iter().map(|byte| format!("{byte:02x}")).collect();
        let origin = origin.map_or_else(|| format!("testimony.local/{unique}"), str::to_owned);
        let dir = dir.join("identity");
        let signer = SignerKey::from_seed(&origin, world.entropy.bytes())
            .map_err(|error| IdentityError::Key(dir.join(KEY_FILE), error))?;
        let secret = world.entropy.bytes();
        let fingerprint = SignerKey::from_seed(FINGERPRINT_NAME, secret)
            .map_err(|error| IdentityError::Key(dir.join(FINGERPRINT_FILE), error))?;
        let disk = &world.disk;
        let failed = |error| IdentityError::Io(dir.clone(), error);
        disk.create_dirs(&dir).map_err(failed)?;
        // The signing key comes last: as long as it is missing, there is no identity.
        disk.replace_secret(&dir.join(FINGERPRINT_FILE), line(&fingerprint.to_secret_text()).as_bytes())
            .map_err(failed)?;
        disk.replace_durably(&dir.join(VKEY_FILE), line(&signer.verifier().to_string()).as_bytes()).map_err(failed)?;
        disk.replace_secret(&dir.join(KEY_FILE), line(&signer.to_secret_text()).as_bytes()).map_err(failed)?;
        disk.sync_everything(&dir).map_err(failed)?;
        Ok(Self { signer, fingerprint: FingerprintKey::new(secret), former: Vec::new(), is_new: true })
    }
}

/// Whether a key is the one that a rotation was putting in place.
fn is_next(world: &World, dir: &Path, key: &SignerKey) -> bool {
    let next = read_text(world, &dir.join("identity").join(NEXT_FILE));
    next.is_ok_and(|text| SignerKey::parse(&text).is_ok_and(|next| next.verifier() == key.verifier()))
}

fn read_former(world: &World, dir: &Path) -> Result<Vec<VerifierKey>, IdentityError> {
    let names = match world.disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        names => names.map_err(|error| IdentityError::Io(dir.to_owned(), error))?,
    };
    let paths = names.iter().filter(|name| name.ends_with(".vkey")).map(|name| dir.join(name));
    let keys = paths
        .map(|path| VerifierKey::parse(&read_text(world, &path)?).map_err(|error| IdentityError::Key(path, error)));
    keys.collect()
}

/// Whether anything of a log lies in the directory. What a start that was killed leaves of the first segment is nothing.
fn has_records(world: &World, dir: &Path) -> bool {
    let wal = dir.join("wal");
    let segments = world.disk.list(&wal).unwrap_or_default();
    let is_begun = segments.iter().any(|name| world.disk.length(&wal.join(name)).is_ok_and(|length| length > 0));
    is_begun || world.disk.length(&dir.join("log").join("checkpoint")).is_ok()
}

fn line(text: &str) -> String {
    format!("{text}\n")
}

fn read_text(world: &World, path: &Path) -> Result<String, IdentityError> {
    let bytes = world.disk.read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => IdentityError::Gone(path.to_owned()),
        _ => IdentityError::Io(path.to_owned(), error),
    })?;
    String::from_utf8(bytes).map_err(|_| IdentityError::Key(path.to_owned(), NoteError::Key("it is not text")))
}
