//! What was said so far, where a killed process leaves it.
//!
//! Chunks of a stream are on their way to the client before their record is written. Each is first appended to a file
//! of its call, so that after `kill -9` the record of the interrupted call holds everything that anybody was shown.
//! Nothing is synced: after a loss of power the client of this machine is gone too, and the request's record
//! still tells that the call had begun.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use record::Uuid;
use world::{AppendFile, Disk};

/// The files, in `inflight/`. Clones are the same spool.
#[derive(Clone)]
pub(crate) struct Spool(Arc<Inner>);

struct Inner {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    free: Vec<Box<dyn AppendFile>>,
    made: usize,
}

/// The file of one call. It is emptied when this is dropped, which is after the call's outcome is durable.
pub(crate) struct Spooled {
    spool: Spool,
    file: Option<Box<dyn AppendFile>>,
}

/// What a stopped process left of one call: its id and the bytes of its stream.
pub(crate) struct Leftover {
    pub(crate) call: Uuid,
    pub(crate) bytes: Vec<u8>,
}

impl Spool {
    /// Reads what a stopped process left, and starts afresh. The files stay until [`Spool::forget_leftovers`].
    pub(crate) fn open(disk: Arc<dyn Disk>, data: &Path) -> io::Result<(Self, Vec<Leftover>)> {
        let dir = data.join("inflight");
        disk.create_dirs(&dir)?;
        let mut leftovers = Vec::new();
        for name in disk.list(&dir)? {
            let bytes = disk.read(&dir.join(name))?;
            if let Some((call, bytes)) = bytes.split_first_chunk::<16>() {
                leftovers.push(Leftover { call: Uuid::from_bytes(*call), bytes: bytes.to_vec() });
            }
        }
        Ok((Self(Arc::new(Inner { disk, dir, slots: Mutex::default() })), leftovers))
    }

    /// Removes what a stopped process left, once it has been recorded. Before the first call is begun.
    pub(crate) fn forget_leftovers(&self) -> io::Result<()> {
        for name in self.0.disk.list(&self.0.dir)? {
            self.0.disk.remove(&self.0.dir.join(name))?;
        }
        Ok(())
    }

    /// Begins the file of a call.
    pub(crate) fn begin(&self, call: Uuid) -> io::Result<Spooled> {
        let (free, number) = {
            let mut slots = self.0.slots.lock().unwrap_or_else(PoisonError::into_inner);
            let free = slots.free.pop();
            slots.made += usize::from(free.is_none());
            (free, slots.made)
        };
        let mut file = match free {
            Some(file) => file,
            None => self.0.disk.create(&self.0.dir.join(format!("{number:05}")))?,
        };
        file.append(call.as_bytes())?;
        Ok(Spooled { spool: self.clone(), file: Some(file) })
    }
}

impl Spooled {
    /// Keeps the next bytes of the stream.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), |file| file.append(bytes))
    }
}

impl Drop for Spooled {
    fn drop(&mut self) {
        let Some(mut file) = self.file.take() else { return };
        // A file that cannot be emptied is not used again: what it holds belongs to a call that has ended.
        match file.clear() {
            Ok(()) => self.spool.0.slots.lock().unwrap_or_else(PoisonError::into_inner).free.push(file),
            Err(error) => tracing::warn!(%error, "could not empty the file of a finished call"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use world::SimulatedDisk;

    #[test]
    fn what_was_shown_before_a_kill_is_found_and_what_ended_is_not() {
        let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::default());
        let (spool, leftovers) = Spool::open(disk.clone(), Path::new("data")).unwrap();
        assert!(leftovers.is_empty());
        let mut ended = spool.begin(Uuid::from_u128(1)).unwrap();
        ended.append(b"ended").unwrap();
        drop(ended);
        let mut open = spool.begin(Uuid::from_u128(2)).unwrap();
        open.append(b"so ").unwrap();
        open.append(b"far").unwrap();
        std::mem::forget(open);

        let (spool, leftovers) = Spool::open(disk.clone(), Path::new("data")).unwrap();
        let found: Vec<_> = leftovers.iter().map(|left| (left.call.as_u128(), left.bytes.as_slice())).collect();
        assert_eq!(found, [(2, &b"so far"[..])]);
        spool.forget_leftovers().unwrap();
        assert!(Spool::open(disk, Path::new("data")).unwrap().1.is_empty());
    }
}
