//! What is kept of a group between one run and the next: `cursors/<group>.json` in the data directory.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ingest::Cursors;
use world::Disk;

/// Why a group cannot be followed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// What was kept of it is there and cannot be read.
    #[error("could not read {0}")]
    Read(PathBuf, #[source] io::Error),
    /// What was kept of it is not what was written.
    #[error(
        "{0} does not say how far files were read: put a copy of it in its place; without one remove it, and all that the files still have is \
         read and stored once more"
    )]
    Damaged(PathBuf, #[source] serde_json::Error),
    /// There is no place for it.
    #[error("could not make {0}")]
    Directory(PathBuf, #[source] io::Error),
}

/// The file of one group's cursors.
pub(super) struct Kept {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// What is in it, as far as is known.
    bytes: Vec<u8>,
}

impl Kept {
    /// Reads what was kept; nothing of a group that is new.
    pub(super) fn open(disk: Arc<dyn Disk>, data: &Path, group: &str) -> Result<(Self, Cursors), FilesError> {
        let dir = data.join("cursors");
        // Its name must stay, too: cursors that are lost with it are lost.
        let made = disk.create_dirs(&dir).and_then(|()| disk.sync_names(data));
        made.map_err(|error| FilesError::Directory(dir.clone(), error))?;
        let path = dir.join(format!("{group}.json"));
        let (bytes, cursors) = match disk.read(&path) {
            Ok(bytes) => {
                let cursors = serde_json::from_slice(&bytes);
                (bytes, cursors.map_err(|error| FilesError::Damaged(path.clone(), error))?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), Cursors::default()),
            Err(error) => return Err(FilesError::Read(path, error)),
        };
        Ok((Self { disk, path, bytes }, cursors))
    }

    /// Keeps these from now on; durable when it returns.
    pub(super) fn store(&mut self, cursors: &Cursors) -> io::Result<()> {
        let bytes = serde_json::to_vec(cursors)?;
        if bytes != self.bytes {
            self.disk.replace_durably(&self.path, &bytes)?;
            self.bytes = bytes;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingest::{Cursor, Mark, Place};
    use world::SimulatedDisk;

    fn cursors() -> Cursors {
        let durable = Place { offset: u64::MAX, mark: Mark::of(b"end") };
        let (name, path) = ("fd01-2a-64".to_owned(), "/var/log/app.log".to_owned());
        let file = Cursor { name, device: u64::MAX, inode: 42, path, head: Mark::of(b"begin"), durable };
        Cursors { files: vec![file], copies: Vec::new() }
    }

    #[test]
    fn what_was_kept_is_there_after_a_loss_of_power() {
        let (disk, data) = (SimulatedDisk::default(), Path::new("/data"));
        let (mut kept, empty) = Kept::open(Arc::new(disk.clone()), data, "app").unwrap();
        assert_eq!(empty, Cursors::default());
        kept.store(&cursors()).unwrap();
        disk.lose_power();
        let (_, back) = Kept::open(Arc::new(disk.clone()), data, "app").unwrap();
        assert_eq!(back, cursors());
        let (_, other) = Kept::open(Arc::new(disk), data, "other").unwrap();
        assert_eq!(other, Cursors::default());
    }

    #[test]
    fn what_is_damaged_is_never_taken_for_nothing() {
        let (disk, data) = (SimulatedDisk::default(), Path::new("/data"));
        let (mut kept, _) = Kept::open(Arc::new(disk.clone()), data, "app").unwrap();
        kept.store(&cursors()).unwrap();
        disk.tamper(Path::new("/data/cursors/app.json"), |bytes| bytes.truncate(9));
        let damaged = Kept::open(Arc::new(disk), data, "app").err().unwrap();
        assert!(damaged.to_string().starts_with("/data/cursors/app.json does not say"), "{damaged}");
    }
}
