//! Reading the directory of a stopped log. Nothing is written, not even a lock that outlives the reader.

use std::io;
use std::path::{Path, PathBuf};

use tlog::VerifierKey;
use world::{LockError, World};

use crate::batch::Batch;
use crate::follow::{FollowError, SegmentReader, read_bundle};
use crate::identity::Identity;
use crate::ledger::OpenError;
use crate::recovery::{Recovered, Torn, checkpoint_path, recover};

/// The log in a directory, as it was left.
pub struct Archive {
    world: World,
    data: PathBuf,
    identity: Identity,
    recovered: Recovered,
}

impl Archive {
    /// Reads and checks the write-ahead log; shows each of its batches to `visit`.
    ///
    /// # Errors
    /// When there is no log, another process is writing it, or it is damaged.
    pub fn open(world: &World, data: &Path, mut visit: impl FnMut(Batch)) -> Result<Self, OpenError> {
        let identity = Identity::open(world, data)?;
        let _lock = match world.disk.lock(data) {
            // Evidence may lie on a medium that cannot be written: then nobody else writes it either.
            Err(LockError::Io(_, error)) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => None,
            lock => Some(lock?),
        };
        let recovered = recover(world.disk.as_ref(), data, &identity, &mut visit)?;
        Ok(Self { world: world.clone(), data: data.to_owned(), identity, recovered })
    }

    /// How many records the log has.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.recovered.tally.size()
    }

    /// The log's public key, as it lies beside the log.
    #[must_use]
    pub const fn key(&self) -> &VerifierKey {
        self.identity.signer.verifier()
    }

    /// The first index that the write-ahead log holds.
    #[must_use]
    pub fn wal_first(&self) -> u64 {
        self.recovered.segments.first().copied().unwrap_or(0)
    }

    /// Whether anything stands in `log/checkpoint`, even if a start would take it for lost with power and write it anew.
    #[must_use]
    pub fn has_checkpoint(&self) -> bool {
        self.world.disk.read(&checkpoint_path(&self.data)).is_ok_and(|bytes| !bytes.is_empty())
    }

    /// What a crash left of a frame that never became durable.
    #[must_use]
    pub const fn torn(&self) -> Option<&Torn> {
        self.recovered.torn.as_ref()
    }

    /// The batch with an index; from the published log, and then without content, once the write-ahead log has
    /// let it go.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn batch_with(&self, index: u64) -> Result<Batch, FollowError> {
        let disk = self.world.disk.as_ref();
        let segment = SegmentReader::open(disk, &self.data, index)?;
        match segment.and_then(|mut segment| segment.find(index)) {
            Some(batch) => Ok(batch),
            None => read_bundle(disk, &self.data, index),
        }
    }
}
