//! A disk in memory that forgets what was not synced and fails when told to.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{AppendFile, DirectoryLock, Disk, LockError};

/// An operation that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Appending finds the device full after the first half of the bytes.
    AppendFull,
    /// `fdatasync` reports an input/output error.
    Sync,
    /// Putting a file in place finds the device full.
    Replace,
}

#[derive(Debug, Default, Clone)]
struct Bytes {
    now: Vec<u8>,
    /// What a loss of power leaves of it.
    synced: Vec<u8>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<PathBuf, Bytes>,
    faults: BTreeSet<Fault>,
    free_bytes: Option<u64>,
    used_percent: u8,
}

/// A disk in memory. Clones are the same disk. Names are durable at once; bytes only after a sync.
#[derive(Debug, Clone, Default)]
pub struct SimulatedDisk(Arc<Mutex<State>>);

impl SimulatedDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, this operation fails.
    pub fn break_(&self, fault: Fault) {
        self.state().faults.insert(fault);
    }

    /// From now on, this operation works again.
    pub fn mend(&self, fault: Fault) {
        self.state().faults.remove(&fault);
    }

    /// Sets what [`Disk::free_bytes`] tells.
    pub fn set_free_bytes(&self, bytes: u64) {
        self.state().free_bytes = Some(bytes);
    }

    /// Sets what [`Disk::used_percent`] tells.
    pub fn set_used_percent(&self, percent: u8) {
        self.state().used_percent = percent;
    }

    /// Every file goes back to what was last synced.
    pub fn lose_power(&self) {
        for file in self.state().files.values_mut() {
            file.now.clone_from(&file.synced);
        }
    }

    /// Changes a file's bytes behind everybody's back.
    pub fn tamper(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some(file) = self.state().files.get_mut(path) {
            change(&mut file.now);
            file.synced.clone_from(&file.now);
        }
    }

    fn failing(&self, fault: Fault, error: io::ErrorKind) -> io::Result<()> {
        if self.state().faults.contains(&fault) { Err(error.into()) } else { Ok(()) }
    }
}

struct SimulatedFile {
    disk: SimulatedDisk,
    path: PathBuf,
}

impl AppendFile for SimulatedFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let full = self.disk.failing(Fault::AppendFull, io::ErrorKind::StorageFull);
        let written = if full.is_err() { bytes.len() / 2 } else { bytes.len() };
        let mut state = self.disk.state();
        let file = state.files.entry(self.path.clone()).or_default();
        file.now.extend(bytes.iter().take(written));
        full
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.failing(Fault::Sync, io::ErrorKind::Other)?;
        let mut state = self.disk.state();
        let file = state.files.entry(self.path.clone()).or_default();
        file.synced.clone_from(&file.now);
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.cut(0)
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let file = state.files.entry(self.path.clone()).or_default();
        file.now.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        file.synced.clone_from(&file.now);
        Ok(())
    }
}

impl Disk for SimulatedDisk {
    fn create_dirs(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.state().files.get(path).map(|file| file.now.clone()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        Ok(self.read(path)?.len() as u64)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let names: BTreeSet<String> = self
            .state()
            .files
            .keys()
            .filter_map(|path| path.strip_prefix(dir).ok()?.components().next())
            .map(|name| name.as_os_str().to_string_lossy().into_owned())
            .collect();
        Ok(names.into_iter().collect())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        self.state().files.insert(path.to_owned(), Bytes::default());
        self.open_append(path)
    }

    fn open_append(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        Ok(Box::new(SimulatedFile { disk: self.clone(), path: path.to_owned() }))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.failing(Fault::Replace, io::ErrorKind::StorageFull)?;
        self.state().files.entry(path.to_owned()).or_default().now = bytes.to_vec();
        Ok(())
    }

    fn replace_durably(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.replace(path, bytes)?;
        self.open_append(path)?.sync()
    }

    fn replace_secret(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.replace_durably(path, bytes)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.state().files.remove(path);
        Ok(())
    }

    fn sync_everything(&self, _dir: &Path) -> io::Result<()> {
        self.failing(Fault::Sync, io::ErrorKind::Other)?;
        for file in self.state().files.values_mut() {
            file.synced.clone_from(&file.now);
        }
        Ok(())
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        Ok(self.state().free_bytes.unwrap_or(u64::MAX))
    }

    fn used_percent(&self, _dir: &Path) -> io::Result<u8> {
        Ok(self.state().used_percent)
    }

    fn lock(&self, _dir: &Path) -> Result<DirectoryLock, LockError> {
        Ok(DirectoryLock::simulated())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_synced_is_gone_after_a_loss_of_power() {
        let disk = SimulatedDisk::default();
        let path = Path::new("wal/0");
        let mut file = disk.create(path).unwrap();
        file.append(b"kept").unwrap();
        file.sync().unwrap();
        file.append(b"lost").unwrap();
        disk.lose_power();
        assert_eq!(disk.read(path).unwrap(), b"kept");
    }
}
