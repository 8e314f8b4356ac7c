//! Descriptors of followed files: what was opened stays readable when its name is gone.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ingest::Seen;
use rustix::fs::{Mode, OFlags};

/// The most descriptors that all groups keep together; files beyond are opened anew at each look, and what is deleted before it was read
/// is lost. Half of what a process usually may have open: the rest is for connections and the log.
pub const DESCRIPTORS_MAX: usize = 512;
/// For how long a file is followed on that nothing was written to since it got a name which no pattern fits: its writer may not have noticed
/// yet.
const LEFT: Duration = Duration::from_secs(60);

/// Open files, by device and inode.
#[derive(Debug)]
pub(super) struct Descriptors {
    open: HashMap<(u64, u64), Open>,
    open_max: usize,
}

#[derive(Debug)]
struct Open {
    file: Arc<File>,
    /// Under which name it was listed last.
    path: String,
    length: u64,
    /// When it was listed, or had grown.
    alive: Instant,
}

impl Descriptors {
    pub(super) fn new(open_max: usize) -> Self {
        Self { open: HashMap::new(), open_max }
    }

    /// The file with this device and inode, which may no longer be what its path leads to.
    pub(super) fn file(&mut self, device: u64, inode: u64, path: Option<&str>) -> io::Result<Arc<File>> {
        if let Some(open) = self.open.get(&(device, inode)) {
            return Ok(open.file.clone());
        }
        let path = path.ok_or(io::ErrorKind::NotFound)?;
        // Without waiting for whoever writes into a pipe, should there be one by now.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = Arc::new(File::from(rustix::fs::open(path, flags, Mode::empty())?));
        let now = file.metadata()?;
        if !now.is_file() || (now.dev(), now.ino()) != (device, inode) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if self.open.len() < self.open_max {
            let open = Open { file: file.clone(), path: path.to_owned(), length: now.len(), alive: Instant::now() };
            self.open.insert((device, inode), open);
        }
        Ok(file)
    }

    /// Files that are open and were not listed: those that were deleted are without a path, those that were renamed to what no pattern fits
    /// keep the one they had for a while, and those that are where nobody can look keep it until somebody can.
    pub(super) fn unlisted(&mut self, listed: &[Seen], is_hidden: impl Fn(&str) -> bool) -> Vec<Seen> {
        // Of several links the first counts, as it does at the look.
        let paths: HashMap<(u64, u64), Option<&String>> =
            listed.iter().rev().map(|one| ((one.device, one.inode), one.path.as_ref())).collect();
        let mut unlisted = Vec::new();
        for ((device, inode), open) in &mut self.open {
            if let Some(path) = paths.get(&(*device, *inode)) {
                open.alive = Instant::now();
                if let Some(path) = path {
                    open.path.clone_from(path);
                }
                continue;
            }
            let Ok(now) = open.file.metadata() else { continue };
            if now.len() != open.length {
                open.alive = Instant::now();
            }
            open.length = now.len();
            let has_left = now.nlink() == 0 || (open.alive.elapsed() > LEFT && !is_hidden(&open.path));
            let path = (!has_left).then(|| open.path.clone());
            unlisted.push(Seen { device: *device, inode: *inode, path, length: now.len() });
        }
        unlisted
    }

    /// Closes what is of no use any more.
    pub(super) fn keep(&mut self, is_held: impl Fn(u64, u64) -> bool) {
        self.open.retain(|(device, inode), _| is_held(*device, *inode));
    }
}

/// Bytes of a file: fewer where there are no more.
pub(super) fn read_at(file: &File, from: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read_at(room, from.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "files are made to be looked at")]
mod tests {
    use super::*;
    use std::path::Path;

    fn seen(path: &Path) -> Seen {
        let now = std::fs::metadata(path).unwrap();
        Seen { device: now.dev(), inode: now.ino(), path: Some(path.display().to_string()), length: now.len() }
    }

    fn opened(path: &Path) -> (Descriptors, Seen) {
        std::fs::write(path, "abc").unwrap();
        let (mut descriptors, one) = (Descriptors::new(8), seen(path));
        descriptors.file(one.device, one.inode, one.path.as_deref()).unwrap();
        assert!(descriptors.unlisted(std::slice::from_ref(&one), |_| false).is_empty());
        (descriptors, one)
    }

    #[test]
    fn a_deleted_file_is_still_there_without_a_path() {
        let dir = tempfile::tempdir().unwrap();
        let (mut descriptors, one) = opened(&dir.path().join("a.log"));
        std::fs::remove_file(dir.path().join("a.log")).unwrap();
        assert_eq!(descriptors.unlisted(&[], |_| false), [Seen { path: None, ..one.clone() }]);
        let file = descriptors.file(one.device, one.inode, None).unwrap();
        assert_eq!(read_at(&file, 1, 9).unwrap(), b"bc");
        descriptors.keep(|_, _| false);
        assert!(descriptors.file(one.device, one.inode, None).is_err());
    }

    #[test]
    fn a_file_that_got_another_name_keeps_the_one_it_was_followed_by() {
        let dir = tempfile::tempdir().unwrap();
        let (mut descriptors, one) = opened(&dir.path().join("a.log"));
        std::fs::rename(dir.path().join("a.log"), dir.path().join("a.old")).unwrap();
        std::fs::write(dir.path().join("a.old"), "abcd").unwrap();
        assert_eq!(descriptors.unlisted(&[], |_| false), [Seen { length: 4, ..one }]);
    }

    #[test]
    fn what_is_another_file_by_now_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        std::fs::write(&path, "abc").unwrap();
        let mut descriptors = Descriptors::new(8);
        let one = seen(&path);
        let error = descriptors.file(one.device, one.inode + 1, one.path.as_deref()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let error = descriptors.file(one.device, one.inode, Some(&dir.path().display().to_string())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
