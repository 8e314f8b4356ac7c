//! Files that stay.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// What the rest of the program may do to a file system.
pub trait Disk: Send + Sync + 'static {
    /// Makes a directory and those above it.
    fn create_dirs(&self, dir: &Path) -> io::Result<()>;
    /// Reads a whole file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Reads some bytes of a file from an offset on; fewer where it ends before.
    fn read_part(&self, path: &Path, offset: u64, length: usize) -> io::Result<Vec<u8>>;
    /// How many bytes a file has.
    fn length(&self, path: &Path) -> io::Result<u64>;
    /// The names in a directory, sorted; none when there is no such directory.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Makes a new, empty file to append to, in a directory that is then synced.
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>>;
    /// Opens a file to go on appending to it.
    fn open_append(&self, path: &Path) -> io::Result<Box<dyn AppendFile>>;
    /// Puts a file in place whole: readers see the old bytes or the new ones. Not yet durable.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// [`Disk::replace`], and durable when it returns: the file and its name.
    fn replace_durably(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// [`Disk::replace_durably`] for a file that only its owner may read.
    fn replace_secret(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Begins a file that is not at its place before [`Disk::finish`]: until then it is `<path>.tmp`. One that was begun before is gone.
    fn begin(&self, path: &Path) -> io::Result<Box<dyn AppendFile>>;
    /// Puts a file that was begun at its place, whole and durably. It must have been synced.
    fn finish(&self, path: &Path) -> io::Result<()>;
    /// Gives up a file that was begun.
    fn abandon(&self, path: &Path) -> io::Result<()>;
    /// Removes a file; one that is not there is no error. After a loss of power it may be back, until its directory is synced.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable, and that others are gone.
    fn sync_names(&self, dir: &Path) -> io::Result<()>;
    /// Makes everything durable that was written to the file system that holds `dir`.
    fn sync_everything(&self, dir: &Path) -> io::Result<()>;
    /// How many bytes an unprivileged process may still write there.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
    /// How much of the file system is used, in percent of what an unprivileged process could use (as `df` says).
    fn used_percent(&self, dir: &Path) -> io::Result<u8>;
    /// Holds a directory for this process alone until the lock is dropped.
    ///
    /// # Errors
    /// When another process holds it: [`LockError::Held`] says which.
    fn lock(&self, dir: &Path) -> Result<DirectoryLock, LockError>;
}

/// A file that only grows, and is cut back when a write went wrong.
pub trait AppendFile: Send {
    /// Writes at the end.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Returns when everything appended so far would survive a loss of power (`fdatasync`).
    fn sync(&mut self) -> io::Result<()>;
    /// Empties it. Not durable: for what would be meaningless after a loss of power.
    fn clear(&mut self) -> io::Result<()>;
    /// Cuts it to this length, durably.
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

/// Why a directory could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{dir} is in use by {holder}")]
    Held {
        /// The directory.
        dir: PathBuf,
        /// What the holder wrote into the lock file: `process 4711 (testimony serve)`.
        holder: String,
    },
    /// The lock file could not be opened.
    #[error("could not lock {0}")]
    Io(PathBuf, #[source] io::Error),
}

/// A directory that is ours while this lives.
pub struct DirectoryLock {
    _file: Option<File>,
}

impl DirectoryLock {
    pub(crate) const fn simulated() -> Self {
        Self { _file: None }
    }
}

/// The operating system's file system.
#[derive(Debug, Clone, Copy)]
pub struct RealDisk;

struct RealFile(File);

impl AppendFile for RealFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn clear(&mut self) -> io::Result<()> {
        self.0.set_len(0)
    }
    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)?;
        self.0.sync_all()
    }
}

const LOCK_FILE: &str = "lock";

/// Where a file lies until it is put at its place.
pub(crate) fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    path.with_file_name(name)
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that touches the file system")]
impl RealDisk {
    fn sync_dir(path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn put(path: &Path, bytes: &[u8], mode: u32, durable: bool) -> io::Result<()> {
        let parent = path.parent().unwrap_or(Path::new("."));
        let temporary = unfinished(path);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        let written = file.write_all(bytes).and_then(|()| if durable { file.sync_all() } else { Ok(()) });
        if let Err(error) = written.and_then(|()| fs::rename(&temporary, path)) {
            // The old file is still whole; the temporary one would only take the space that may be lacking.
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        if durable { Self::sync_dir(parent) } else { Ok(()) }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that touches the file system")]
impl Disk for RealDisk {
    fn create_dirs(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn read_part(&self, path: &Path, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        file.seek(io::SeekFrom::Start(offset))?;
        let there = file.metadata()?.len().saturating_sub(offset);
        let mut bytes = Vec::with_capacity(length.min(usize::try_from(there).unwrap_or(usize::MAX)));
        file.take(length as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        Self::sync_dir(path.parent().unwrap_or(Path::new(".")))?;
        Ok(Box::new(RealFile(file)))
    }

    fn open_append(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        Ok(Box::new(RealFile(OpenOptions::new().append(true).open(path)?)))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        Self::put(path, bytes, 0o644, false)
    }

    fn replace_durably(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        Self::put(path, bytes, 0o644, true)
    }

    fn replace_secret(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        Self::put(path, bytes, 0o600, true)
    }

    fn begin(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(unfinished(path))?;
        Ok(Box::new(RealFile(file)))
    }

    fn finish(&self, path: &Path) -> io::Result<()> {
        fs::rename(unfinished(path), path)?;
        Self::sync_dir(path.parent().unwrap_or(Path::new(".")))
    }

    fn abandon(&self, path: &Path) -> io::Result<()> {
        self.remove(&unfinished(path))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn sync_names(&self, dir: &Path) -> io::Result<()> {
        Self::sync_dir(dir)
    }

    fn sync_everything(&self, dir: &Path) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(dir)?)?)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn used_percent(&self, dir: &Path) -> io::Result<u8> {
        let stat = rustix::fs::statvfs(dir)?;
        let used = stat.f_blocks.saturating_sub(stat.f_bfree);
        let all = used.saturating_add(stat.f_bavail).max(1);
        Ok(u8::try_from(u128::from(used) * 100 / u128::from(all)).unwrap_or(100))
    }

    fn lock(&self, dir: &Path) -> Result<DirectoryLock, LockError> {
        let path = dir.join(LOCK_FILE);
        let failed = |error: io::Error| LockError::Io(path.clone(), error);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let holder = fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
                let holder = if holder.is_empty() { "another process".to_owned() } else { holder };
                return Err(LockError::Held { dir: dir.to_owned(), holder });
            }
            result => result.map_err(|error| failed(error.into()))?,
        }
        let command = std::env::args().take(2).collect::<Vec<_>>().join(" ");
        // On a full disk the lock holds even when our name cannot be written into it.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "process {} ({command})", std::process::id()));
        Ok(DirectoryLock { _file: Some(file) })
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the mode of a file is asked for nowhere else")]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_names_the_holder_and_a_dropped_one_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let held = RealDisk.lock(dir.path()).unwrap();
        let Err(LockError::Held { holder, .. }) = RealDisk.lock(dir.path()) else { panic!("locked twice") };
        assert!(holder.starts_with(&format!("process {}", std::process::id())), "{holder}");
        drop(held);
        RealDisk.lock(dir.path()).unwrap();
    }

    #[test]
    fn a_secret_is_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        RealDisk.replace_secret(&path, b"secret").unwrap();
        let mode = RealDisk.read(&path).map(|_| fs::metadata(&path).unwrap().permissions().mode()).unwrap();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(RealDisk.list(dir.path()).unwrap(), ["key"]);
    }
}
