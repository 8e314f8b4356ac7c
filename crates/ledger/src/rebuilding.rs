//! The tiles of the published log made anew from its entries.

use std::io;
use std::path::{Path, PathBuf};

use tlog::{
    Checkpoint, EntriesPath, Frontier, FullTile, Hash, TILE_WIDTH, TileLevels, TilePath, leaf_hash, push_entry,
};
use world::{Disk, World};

use crate::archive::Archive;
use crate::batch::Batch;
use crate::follow::FollowError;
use crate::packing;
use crate::recovery::checkpoint_path;
use crate::tiles::{hash_bytes, put};

/// Why tiles could not be made anew.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// An entry is neither in a bundle nor in the write-ahead log.
    #[error(transparent)]
    Entries(#[from] FollowError),
    /// The published checkpoint cannot be read, so nothing says which tiles there are to be. Nothing was written.
    #[error("{0} cannot be read: {1}")]
    Checkpoint(PathBuf, String),
    /// The entries are not those that were signed. Nothing was written.
    #[error(
        "the {0} entries have another root than the checkpoint that was signed over them: `testimony verify` says which were changed"
    )]
    Root(u64),
    /// A tile could not be written.
    #[error("could not write {0}")]
    Write(PathBuf, #[source] io::Error),
}

/// Makes the hash tiles of a stopped log anew, and the entry bundles that its write-ahead log still has, whose batches these are; how many
/// records they are of. Nobody else may have the directory.
///
/// # Errors
/// When the entries are not what was signed, or cannot be read; nothing has been written then.
pub fn rebuild_tiles(world: &World, data: &Path, archive: &Archive, batches: &[Batch]) -> Result<u64, RebuildError> {
    let entries = Entries { archive, batches };
    let checkpoint = published(world.disk.as_ref(), data, archive)?;
    let published = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.size);
    // A start needs whole tiles up to where the write-ahead log begins.
    let size = published.max(archive.wal_first().next_multiple_of(TILE_WIDTH).min(archive.size()));
    if let Some(checkpoint) = &checkpoint {
        let mut tree = Frontier::default();
        entries.each(published, |leaf| {
            tree.push_entry(leaf);
            Ok(())
        })?;
        if tree.root() != checkpoint.root {
            return Err(RebuildError::Root(published));
        }
    }
    let log = data.join("log");
    let mut tiles =
        Tiles { disk: world.disk.as_ref(), log: &log, levels: TileLevels::default(), bundle: Vec::new(), size: 0 };
    entries.each(size, |leaf| {
        tiles.push(leaf)?;
        if tiles.size == published { tiles.write_partial() } else { Ok(()) }
    })?;
    world.disk.sync_everything(&log).map_err(|error| RebuildError::Write(log.clone(), error))?;
    Ok(size)
}

/// The checkpoint that is published, if any is; one that the log's key did not sign says nothing.
fn published(disk: &dyn Disk, data: &Path, archive: &Archive) -> Result<Option<Checkpoint>, RebuildError> {
    if !archive.has_checkpoint() {
        return Ok(None);
    }
    let path = checkpoint_path(data);
    let said = |error: String| RebuildError::Checkpoint(path.clone(), error);
    let note = disk.read(&path).map_err(|error| said(error.to_string()))?;
    Checkpoint::verify(&note, archive.key()).map(Some).map_err(|error| said(error.to_string()))
}

/// The entries of a stopped log, from the write-ahead log where it has them.
struct Entries<'a> {
    archive: &'a Archive,
    batches: &'a [Batch],
}

impl Entries<'_> {
    /// Shows the leaves of the first `size` records.
    fn each(&self, size: u64, mut show: impl FnMut(&[u8]) -> Result<(), RebuildError>) -> Result<(), RebuildError> {
        let mut index = 0;
        let mut show_batch = |batch: &Batch, index: &mut u64| {
            for entry in batch.entries_from(*index).take_while(|entry| entry.index < size) {
                show(entry.leaf)?;
                *index += 1;
            }
            Ok::<_, RebuildError>(())
        };
        while index < size.min(self.archive.wal_first()) {
            show_batch(&self.archive.batch_with(index)?, &mut index)?;
        }
        self.batches.iter().try_for_each(|batch| show_batch(batch, &mut index))
    }
}

/// Tiles that grow, and are written when they are full.
struct Tiles<'t> {
    disk: &'t dyn Disk,
    log: &'t Path,
    levels: TileLevels,
    bundle: Vec<u8>,
    size: u64,
}

impl Tiles<'_> {
    fn push(&mut self, leaf: &[u8]) -> Result<(), RebuildError> {
        // A leaf that stands in the log is short enough.
        let pushed = push_entry(&mut self.bundle, leaf);
        debug_assert!(pushed.is_ok());
        self.size += 1;
        if self.size.is_multiple_of(TILE_WIDTH) {
            let (bundle, path) =
                (std::mem::take(&mut self.bundle), EntriesPath { number: self.size / TILE_WIDTH - 1, width: 256 });
            // One that is packed stays so.
            if packing::read(self.disk, &self.log.join(path.to_string())).ok().as_ref() != Some(&bundle) {
                self.write(&path, &bundle)?;
            }
        }
        for FullTile { path, hashes } in self.levels.push(leaf_hash(leaf)) {
            self.write(&path, &hash_bytes(&hashes))?;
        }
        Ok(())
    }

    fn write_partial(&self) -> Result<(), RebuildError> {
        let partial: Vec<(TilePath, &[Hash])> = self.levels.partial().collect();
        for (path, hashes) in partial {
            self.write(&path, &hash_bytes(hashes))?;
        }
        match EntriesPath::all(self.size).last().filter(|path| path.width < 256) {
            Some(path) => self.write(&path, &self.bundle),
            None => Ok(()),
        }
    }

    fn write(&self, path: &impl ToString, bytes: &[u8]) -> Result<(), RebuildError> {
        let file = self.log.join(path.to_string());
        put(self.disk, &file, bytes).map_err(|error| RebuildError::Write(file, error))
    }
}
