//! A disk in memory that forgets what was not synced and fails when told to.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{AppendFile, DirectoryLock, Disk, Entropy, LockError};

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

/// One name: the bytes under it, and those that a loss of power may leave under it. No bytes: there is no such file.
#[derive(Debug, Default, Clone)]
struct Bytes {
    now: Option<Vec<u8>>,
    /// What has been synced, and under this name.
    durable: Option<Vec<u8>>,
    /// What stood under this name since, before it was replaced or removed.
    since: Vec<Vec<u8>>,
}

impl Bytes {
    fn durable(bytes: Vec<u8>) -> Self {
        Self { now: Some(bytes.clone()), durable: Some(bytes), since: Vec::new() }
    }

    fn sync(&mut self) {
        self.durable.clone_from(&self.now);
        self.since.clear();
    }

    /// Replaces or removes what stands under this name.
    fn put(&mut self, now: Option<Vec<u8>>) {
        let before = std::mem::replace(&mut self.now, now);
        self.since.extend(before.filter(|before| self.durable.as_ref() != Some(before)));
    }

    /// What one loss of power leaves.
    fn after_power_loss(&self, dice: &dyn Entropy) -> Option<Vec<u8>> {
        if let (Some(now), Some(durable), true) = (&self.now, &self.durable, self.since.is_empty())
            && now.starts_with(durable)
        {
            return Some(torn(now, durable.len(), dice));
        }
        let versions =
            [self.durable.as_ref()].into_iter().chain(self.since.iter().map(Some)).chain([self.now.as_ref()]);
        let versions: Vec<_> = versions.collect();
        let nth = pick(versions.len(), dice);
        let version = versions.get(nth).copied().flatten()?;
        // A name may be on the device before the bytes that it was given to.
        let is_whole = nth == 0 || pick(2, dice) == 0;
        let left = if is_whole { version.clone() } else { torn(version, 0, dice) };
        // It was written at once: its length comes with its pages.
        let is_cut = left.len() < version.len();
        Some(if is_cut { left.get(..left.len() / PAGE * PAGE).unwrap_or_default().to_vec() } else { left })
    }
}

/// What the system writes at once.
const PAGE: usize = 4_096;

/// A number below `end`.
fn pick(end: usize, dice: &dyn Entropy) -> usize {
    usize::try_from(u64::from_be_bytes(dice.bytes()) % (end.max(1) as u64)).unwrap_or(0)
}

/// Bytes of which everything from `synced` on may be missing: cut off anywhere, or with blocks of zeros where others were
/// written first.
fn torn(bytes: &[u8], synced: usize, dice: &dyn Entropy) -> Vec<u8> {
    let block = [512, PAGE].get(pick(2, dice)).copied().unwrap_or(PAGE);
    let mut left = bytes.to_vec();
    match pick(4, dice) {
        0 => left.truncate(synced),
        1 => left.truncate(synced + pick(bytes.len() - synced + 1, dice)),
        2 => {}
        _ => {
            let mut start = synced;
            while start < left.len() {
                let end = (start / block * block + block).min(left.len());
                if pick(2, dice) == 0 {
                    left.get_mut(start..end).unwrap_or_default().fill(0);
                }
                start = end;
            }
        }
    }
    left
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<PathBuf, Bytes>,
    faults: BTreeSet<Fault>,
    free_bytes: Option<u64>,
    used_percent: u8,
}

/// A disk in memory. Clones are the same disk. A name is durable when its directory was synced, bytes when their file was.
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
        self.state().files.retain(|_, file| {
            file.now.clone_from(&file.durable);
            file.since.clear();
            file.durable.is_some()
        });
    }

    /// What a loss of power at this moment might leave, as another disk: of everything that was not synced, each file and
    /// name by itself is kept, lost, cut, or kept in parts.
    #[must_use]
    pub fn after_power_loss(&self, dice: &dyn Entropy) -> Self {
        let left = Self::default();
        for (path, file) in &self.state().files {
            if let Some(now) = file.after_power_loss(dice) {
                left.state().files.insert(path.clone(), Bytes::durable(now));
            }
        }
        left
    }

    /// Changes a file's bytes behind everybody's back.
    pub fn tamper(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some(file) = self.state().files.get_mut(path) {
            change(file.now.get_or_insert_default());
            file.sync();
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
        file.now.get_or_insert_default().extend(bytes.iter().take(written));
        full
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.failing(Fault::Sync, io::ErrorKind::Other)?;
        let mut state = self.disk.state();
        let file = state.files.entry(self.path.clone()).or_default();
        file.sync();
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.cut(0)
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let file = state.files.entry(self.path.clone()).or_default();
        file.now.get_or_insert_default().truncate(usize::try_from(length).unwrap_or(usize::MAX));
        file.sync();
        Ok(())
    }
}

impl Disk for SimulatedDisk {
    fn create_dirs(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.state().files.get(path).and_then(|file| file.now.clone()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        Ok(self.read(path)?.len() as u64)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let names: BTreeSet<String> = self
            .state()
            .files
            .iter()
            .filter(|(_, file)| file.now.is_some())
            .filter_map(|(path, _)| path.strip_prefix(dir).ok()?.components().next())
            .map(|name| name.as_os_str().to_string_lossy().into_owned())
            .collect();
        Ok(names.into_iter().collect())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        self.state().files.insert(path.to_owned(), Bytes::durable(Vec::new()));
        self.sync_names(path.parent().unwrap_or(Path::new("")))?;
        self.open_append(path)
    }

    fn open_append(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        Ok(Box::new(SimulatedFile { disk: self.clone(), path: path.to_owned() }))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.failing(Fault::Replace, io::ErrorKind::StorageFull)?;
        self.state().files.entry(path.to_owned()).or_default().put(Some(bytes.to_vec()));
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
        if let Some(file) = self.state().files.get_mut(path) {
            file.put(None);
        }
        Ok(())
    }

    fn sync_names(&self, dir: &Path) -> io::Result<()> {
        self.state().files.retain(|path, file| file.now.is_some() || path.parent() != Some(dir));
        Ok(())
    }

    fn sync_everything(&self, _dir: &Path) -> io::Result<()> {
        self.failing(Fault::Sync, io::ErrorKind::Other)?;
        self.state().files.retain(|_, file| {
            file.sync();
            file.now.is_some()
        });
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
