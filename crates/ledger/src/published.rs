//! Reading the published log (tlog-tiles) as it lies on disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tlog::{Bundle, EntriesPath, TilePath};
use world::Disk;

use crate::packing;

/// The published log below a data directory. A partial tile or bundle is a prefix of a fuller one: one that has been removed
/// is cut from that.
#[derive(Clone)]
pub struct PublishedLog {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

/// A file of the published log that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("could not read {path}")]
pub struct Unreadable {
    /// Its path in the log.
    pub path: String,
    /// What the system says.
    pub source: io::Error,
}

impl PublishedLog {
    /// The published log of a data directory.
    #[must_use]
    pub fn of(disk: Arc<dyn Disk>, data: &Path) -> Self {
        Self { disk, dir: data.join("log") }
    }

    /// The signed checkpoint; nothing when none has been published.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn checkpoint(&self) -> Result<Option<Vec<u8>>, Unreadable> {
        self.read("checkpoint".to_owned())
    }

    /// The hashes of a tile; nothing when the log has fewer.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn tile(&self, asked: TilePath) -> Result<Option<Vec<u8>>, Unreadable> {
        let length = usize::from(asked.width) * 32;
        for width in fuller(asked.width) {
            if let Some(mut bytes) = self.read(TilePath { width, ..asked }.to_string())? {
                bytes.truncate(length);
                return Ok((bytes.len() == length).then_some(bytes));
            }
        }
        Ok(None)
    }

    /// The entries of a bundle; nothing when the log has fewer.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn bundle(&self, asked: EntriesPath) -> Result<Option<Vec<u8>>, Unreadable> {
        for width in fuller(asked.width) {
            let path = EntriesPath { width, ..asked }.to_string();
            if let Some(mut bytes) = found(packing::read(self.disk.as_ref(), &self.dir.join(&path)), path)? {
                let entries = Bundle::new(&bytes).take(asked.width.into()).flatten();
                let length = entries.map(|entry| entry.len() + 2).sum();
                bytes.truncate(length);
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    fn read(&self, path: String) -> Result<Option<Vec<u8>>, Unreadable> {
        found(self.disk.read(&self.dir.join(&path)), path)
    }
}

/// What was read; nothing where there is no such file.
fn found(read: io::Result<Vec<u8>>, path: String) -> Result<Option<Vec<u8>>, Unreadable> {
    match read {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Unreadable { path, source }),
    }
}

/// The widths at which a tile may lie on disk that has at least this many hashes.
fn fuller(width: u16) -> impl Iterator<Item = u16> {
    [width, 256].into_iter().take(if width == 256 { 1 } else { 2 }).chain((width + 1)..256)
}
