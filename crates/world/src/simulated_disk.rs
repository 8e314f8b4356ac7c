//! A disk in memory that forgets what was not synced and fails when told to.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::unfinished;
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

/// What changes the disk, or makes a change stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// A file is made.
    Create,
    /// Bytes are written at the end of a file.
    Append,
    /// A file is made durable (`fdatasync`).
    Sync,
    /// A file is cut back.
    Cut,
    /// A file is put in place of another (`rename`).
    Replace,
    /// A file is removed.
    Remove,
    /// A directory is made durable.
    SyncNames,
    /// The whole file system is made durable (`syncfs`).
    SyncEverything,
}

/// A moment at which a process may be killed: right before or right after an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// The operation has not begun.
    Before(Operation),
    /// The operation is done, and nobody has been told.
    After(Operation),
}

/// Says at which moment the process is killed.
type Killer = Box<dyn FnMut(Moment, &Path) -> bool + Send>;

/// One name: the bytes under it, and those that a loss of power may leave under it. No bytes: there is no such file.
#[derive(Debug, Default, Clone)]
struct Bytes {
    now: Option<Vec<u8>>,
    /// Whether the bytes were synced before they got this name, so that only the name can be lost.
    is_whole: bool,
    /// What has been synced, and under this name.
    durable: Option<Vec<u8>>,
    /// What stood under this name since, before it was replaced or removed, and whether it was whole.
    since: Vec<(Vec<u8>, bool)>,
}

impl Bytes {
    fn durable(bytes: Vec<u8>) -> Self {
        Self { now: Some(bytes.clone()), is_whole: false, durable: Some(bytes), since: Vec::new() }
    }

    fn sync(&mut self) {
        self.durable.clone_from(&self.now);
        self.is_whole = false;
        self.since.clear();
    }

    /// Replaces or removes what stands under this name.
    fn put(&mut self, now: Option<Vec<u8>>, is_whole: bool) {
        let before = std::mem::replace(&mut self.now, now).filter(|before| self.durable.as_ref() != Some(before));
        self.since.extend(before.map(|before| (before, self.is_whole)));
        self.is_whole = is_whole;
    }

    /// What one loss of power leaves.
    fn after_power_loss(&self, dice: &dyn Entropy) -> Option<Vec<u8>> {
        if let (Some(now), Some(durable), true) = (&self.now, &self.durable, self.since.is_empty() && !self.is_whole)
            && now.starts_with(durable)
        {
            return Some(torn(now, durable.len(), dice));
        }
        let durable = [self.durable.as_ref().map(|bytes| (bytes, true))];
        let since = self.since.iter().map(|(bytes, is_whole)| Some((bytes, *is_whole)));
        let now = [self.now.as_ref().map(|bytes| (bytes, self.is_whole))];
        let versions: Vec<_> = durable.into_iter().chain(since).chain(now).collect();
        let (version, is_whole) = versions.get(pick(versions.len(), dice)).copied().flatten()?;
        // A name may be on the device before the bytes that it was given to.
        let left = if is_whole || pick(2, dice) == 0 { version.clone() } else { torn(version, 0, dice) };
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

#[derive(Default)]
struct State {
    files: BTreeMap<PathBuf, Bytes>,
    killer: Option<Killer>,
    /// The process that used this disk is dead: nothing it still does has an effect.
    is_dead: bool,
    faults: BTreeSet<Fault>,
    free_bytes: Option<u64>,
    used_percent: u8,
}

/// A disk in memory. Clones are the same disk. A name is durable when its directory was synced, bytes when their file was.
#[derive(Clone, Default)]
pub struct SimulatedDisk(Arc<Mutex<State>>);

impl State {
    fn failing(&self, fault: Fault, error: io::ErrorKind) -> io::Result<()> {
        if self.faults.contains(&fault) { Err(error.into()) } else { Ok(()) }
    }

    fn file(&mut self, path: &Path) -> &mut Bytes {
        self.files.entry(path.to_owned()).or_default()
    }

    /// Whether the process gets past this moment.
    fn pass(&mut self, moment: Moment, path: &Path) -> io::Result<()> {
        if !self.is_dead
            && let Some(killer) = &mut self.killer
        {
            self.is_dead = killer(moment, path);
        }
        if self.is_dead { Err(io::Error::other("the process was killed")) } else { Ok(()) }
    }
}

impl SimulatedDisk {
    /// Asks at every moment whether the process is killed there. From then on nothing changes on this disk any more.
    pub fn kill_when(&self, killer: impl FnMut(Moment, &Path) -> bool + Send + 'static) {
        self.state().killer = Some(Box::new(killer));
    }

    /// Whether the process was killed.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.state().is_dead
    }

    /// What the next process finds after this one was killed, as another disk: everything that was written, synced or not.
    #[must_use]
    pub fn after_kill(&self) -> Self {
        let left = Self::default();
        for (path, file) in &self.state().files {
            if let Some(now) = &file.now {
                left.state().files.insert(path.clone(), Bytes::durable(now.clone()));
            }
        }
        left
    }

    /// One operation between its two moments.
    fn step(
        &self,
        operation: Operation,
        path: &Path,
        change: impl FnOnce(&mut State) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut state = self.state();
        state.pass(Moment::Before(operation), path)?;
        change(&mut state)?;
        state.pass(Moment::After(operation), path)
    }

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
}

struct SimulatedFile {
    disk: SimulatedDisk,
    path: PathBuf,
}

impl AppendFile for SimulatedFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.disk.step(Operation::Append, &self.path, |state| {
            let full = state.failing(Fault::AppendFull, io::ErrorKind::StorageFull);
            let written = if full.is_err() { bytes.len() / 2 } else { bytes.len() };
            state.file(&self.path).now.get_or_insert_default().extend(bytes.iter().take(written));
            full
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.step(Operation::Sync, &self.path, |state| {
            state.failing(Fault::Sync, io::ErrorKind::Other)?;
            state.file(&self.path).sync();
            Ok(())
        })
    }

    fn clear(&mut self) -> io::Result<()> {
        self.cut(0)
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.disk.step(Operation::Cut, &self.path, |state| {
            let file = state.file(&self.path);
            file.now.get_or_insert_default().truncate(usize::try_from(length).unwrap_or(usize::MAX));
            file.sync();
            Ok(())
        })
    }
}

impl Disk for SimulatedDisk {
    fn create_dirs(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.state().files.get(path).and_then(|file| file.now.clone()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn read_part(&self, path: &Path, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let bytes = self.read(path)?;
        Ok(bytes.into_iter().skip(usize::try_from(offset).unwrap_or(usize::MAX)).take(length).collect())
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
        self.step(Operation::Create, path, |state| {
            state.files.insert(path.to_owned(), Bytes::durable(Vec::new()));
            Ok(())
        })?;
        self.sync_names(path.parent().unwrap_or(Path::new("")))?;
        self.open_append(path)
    }

    fn open_append(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        Ok(Box::new(SimulatedFile { disk: self.clone(), path: path.to_owned() }))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.step(Operation::Replace, path, |state| {
            state.failing(Fault::Replace, io::ErrorKind::StorageFull)?;
            state.file(path).put(Some(bytes.to_vec()), false);
            Ok(())
        })
    }

    fn replace_durably(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        // The bytes are synced under another name, which no start looks at, before they get this one.
        self.step(Operation::Sync, path, |state| state.failing(Fault::Sync, io::ErrorKind::Other))?;
        self.step(Operation::Replace, path, |state| {
            state.failing(Fault::Replace, io::ErrorKind::StorageFull)?;
            state.file(path).put(Some(bytes.to_vec()), true);
            Ok(())
        })?;
        self.step(Operation::SyncNames, path, |state| {
            state.file(path).sync();
            Ok(())
        })
    }

    fn replace_secret(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.replace_durably(path, bytes)
    }

    fn begin(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        let path = unfinished(path);
        self.step(Operation::Create, &path, |state| {
            state.file(&path).put(Some(Vec::new()), false);
            Ok(())
        })?;
        self.open_append(&path)
    }

    fn finish(&self, path: &Path) -> io::Result<()> {
        self.step(Operation::Replace, path, |state| {
            state.failing(Fault::Replace, io::ErrorKind::StorageFull)?;
            let begun = state.file(&unfinished(path));
            let (bytes, is_whole) = (begun.now.clone(), begun.durable == begun.now);
            begun.put(None, true);
            state.file(path).put(bytes, is_whole);
            Ok(())
        })?;
        self.step(Operation::SyncNames, path, |state| {
            state.file(path).sync();
            state.files.remove(&unfinished(path));
            Ok(())
        })
    }

    fn abandon(&self, path: &Path) -> io::Result<()> {
        self.remove(&unfinished(path))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step(Operation::Remove, path, |state| {
            if let Some(file) = state.files.get_mut(path) {
                file.put(None, true);
            }
            Ok(())
        })
    }

    fn sync_names(&self, dir: &Path) -> io::Result<()> {
        self.step(Operation::SyncNames, dir, |state| {
            state.files.retain(|path, file| file.now.is_some() || path.parent() != Some(dir));
            Ok(())
        })
    }

    fn sync_everything(&self, dir: &Path) -> io::Result<()> {
        self.step(Operation::SyncEverything, dir, |state| {
            state.failing(Fault::Sync, io::ErrorKind::Other)?;
            state.files.retain(|_, file| {
                file.sync();
                file.now.is_some()
            });
            Ok(())
        })
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
