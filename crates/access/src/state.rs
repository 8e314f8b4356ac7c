//! `state.redb`: what is small and has to change in transactions.
//!
//! redb reads and writes its file itself, so this is the one room of the program besides `world` that touches the file system: the
//! file is opened here, with mode 0600, and given to redb, which holds a lock on it. Two processes cannot have it at once: whoever
//! wants to change keys of a running server asks that server.

use std::fs::{OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::backends::{FileBackend, InMemoryBackend};
use redb::{Builder, Database, DatabaseError};
use world::Disk;

/// Pages that redb keeps in memory: the file is small, and redb's own 1 GiB is for databases.
const CACHE_BYTES_MAX: usize = 4 << 20;
/// Nobody but the owner reads it.
const MODE: u32 = 0o600;

/// The state of an installation. Clones are the same file.
#[derive(Clone)]
pub struct State(Arc<Database>);

/// Why the state could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another process has it: a running server, which can be asked instead. Nothing was changed.
    #[error("{0} is in use by a running server; ask that server, or stop it first")]
    Held(PathBuf),
    /// The file could not be opened. Nothing was changed.
    #[error("could not open {0}")]
    Io(PathBuf, #[source] io::Error),
    /// redb could not use the file. A change that was under way was not made.
    #[error("could not use the state of this installation")]
    Redb(#[source] Box<redb::Error>),
    /// The file has what this program did not write.
    #[error("the state of this installation is damaged: {0}")]
    Damaged(String),
}

impl State {
    /// Opens the file, or makes it. It is checked as a whole first, since redb trusts what it reads later.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn open(path: &Path, disk: &dyn Disk) -> Result<Self, StateError> {
        let failed = |error| StateError::Io(path.to_owned(), error);
        let existing = || OpenOptions::new().read(true).write(true).open(path);
        let file = match existing() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                begin(path, disk)?;
                existing().map_err(failed)?
            }
            file => file.map_err(failed)?,
        };
        // A file that was copied here may be open to others.
        file.set_permissions(Permissions::from_mode(MODE)).map_err(failed)?;
        let opened = FileBackend::new(file).and_then(|file| builder().create_with_backend(file));
        let database = opened.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StateError::Held(path.to_owned()),
            other => StateError::from_redb(other),
        })?;
        if let Some(dir) = path.parent() {
            disk.sync_names(dir).map_err(failed)?;
        }
        Ok(Self(Arc::new(database)))
    }

    /// A state that is gone with the process.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn in_memory() -> Result<Self, StateError> {
        let database = builder().create_with_backend(InMemoryBackend::new()).map_err(StateError::from_redb)?;
        Ok(Self(Arc::new(database)))
    }

    /// The database: every user of it has tables of its own.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.0
    }
}

/// A new file is put in place whole: a first start that is cut short leaves none or a good one.
fn begin(path: &Path, disk: &dyn Disk) -> Result<(), StateError> {
    let making = path.with_extension("redb.new");
    let failed = |error| StateError::Io(making.clone(), error);
    disk.remove(&making).map_err(failed)?;
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(MODE).open(&making).map_err(failed)?;
    let made = FileBackend::new(file).and_then(|file| builder().create_with_backend(file));
    drop(made.map_err(StateError::from_redb)?);
    let bytes = disk.read(&making).map_err(failed)?;
    disk.replace_secret(path, &bytes).map_err(|error| StateError::Io(path.to_owned(), error))?;
    disk.remove(&making).map_err(failed)
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES_MAX).set_check_integrity_on_open(true);
    builder
}

impl StateError {
    /// Any of redb's errors.
    pub fn from_redb(error: impl Into<redb::Error>) -> Self {
        Self::Redb(Box::new(error.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use world::RealDisk;

    #[test]
    fn the_file_is_its_owners_and_one_process_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.redb");
        let state = State::open(&path, &RealDisk).unwrap();
        assert!(matches!(State::open(&path, &RealDisk), Err(StateError::Held(held)) if held == path));
        drop(state);
        let mode = || OpenOptions::new().read(true).open(&path).unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode() & 0o777, 0o600);
        OpenOptions::new().read(true).open(&path).unwrap().set_permissions(Permissions::from_mode(0o644)).unwrap();
        State::open(&path, &RealDisk).unwrap();
        assert_eq!(mode() & 0o777, 0o600);
    }

    #[test]
    fn a_first_start_that_was_cut_short_is_begun_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.redb");
        world::Disk::replace(&RealDisk, &path.with_extension("redb.new"), b"half a fi").unwrap();
        drop(State::open(&path, &RealDisk).unwrap());
        State::open(&path, &RealDisk).unwrap();
        assert_eq!(world::Disk::list(&RealDisk, dir.path()).unwrap(), ["state.redb"]);
    }

    #[test]
    fn a_file_that_is_no_state_is_said_to_be_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.redb");
        world::Disk::replace(&RealDisk, &path, &[7; 8_192]).unwrap();
        assert!(matches!(State::open(&path, &RealDisk), Err(StateError::Redb(_))));
    }
}
