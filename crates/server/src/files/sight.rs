//! What a group's files look like now, and their bytes.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use ingest::{FILES_MAX, Seen, Step};

use super::descriptors::{Descriptors, read_at};
use super::patterns::{Patterns, is_absent};

/// The most files that are looked at; those that are followed already go first.
const SEEN_MAX: usize = 2 * FILES_MAX;
/// The most paths that are remembered as told.
const REFUSALS_MAX: usize = 10_000;

/// The eyes of a follower.
#[derive(Debug)]
pub(super) struct Sight {
    group: String,
    patterns: Patterns,
    descriptors: Descriptors,
    /// What could not be read and was told: once, until its bytes can be read again.
    refused: HashSet<PathBuf>,
}

/// What is seen now.
#[derive(Debug)]
pub(super) struct Sighting {
    pub(super) seen: Vec<Seen>,
    /// Where nobody can look now: of what is there nothing is known.
    pub(super) hidden: Vec<PathBuf>,
}

impl Sight {
    pub(super) fn new(group: &str, patterns: Patterns, descriptors_max: usize) -> Self {
        let descriptors = Descriptors::new(descriptors_max);
        Self { group: group.to_owned(), patterns, descriptors, refused: HashSet::new() }
    }

    /// All files that fit, and those that are open and fit no longer.
    pub(super) fn see(&mut self, is_held: impl Fn(u64, u64) -> bool) -> Sighting {
        let listing = self.patterns.list();
        let mut sighting = Sighting { seen: Vec::new(), hidden: Vec::new() };
        for (path, error) in listing.hidden {
            self.refuse(&path, &error);
            sighting.hidden.push(path);
        }
        for path in listing.paths {
            match regular(&path) {
                Ok(Some(one)) => sighting.seen.push(one),
                Ok(None) => {}
                Err(error) => {
                    self.refuse(&path, &error);
                    sighting.hidden.push(path);
                }
            }
        }
        if sighting.seen.len() > SEEN_MAX {
            sighting.seen.sort_by_key(|one| !is_held(one.device, one.inode));
            sighting.seen.truncate(SEEN_MAX);
            let root = PathBuf::from("/");
            self.refuse(&root, &format!("there are more than {SEEN_MAX} files; write narrower patterns"));
            sighting.hidden.push(root);
        }
        let unlisted = self.descriptors.unlisted(&sighting.seen, |path| sighting.hides(path));
        sighting.seen.extend(unlisted);
        sighting
    }

    /// Bytes of a seen file, for [`ingest::Peek`].
    pub(super) fn peek(&mut self, one: &Seen, from: u64, length: usize) -> Option<Vec<u8>> {
        self.bytes((one.device, one.inode), one.path.as_deref(), from, length)
    }

    /// What is to be read; nothing where it cannot be read.
    pub(super) fn read(&mut self, step: &Step, from: u64, length: usize) -> Option<Vec<u8>> {
        self.bytes((step.device, step.inode), step.path.as_deref(), from, length)
    }

    /// Closes what is followed no more.
    pub(super) fn close_but(&mut self, is_held: impl Fn(u64, u64) -> bool) {
        self.descriptors.keep(is_held);
    }

    fn bytes(&mut self, (device, inode): (u64, u64), path: Option<&str>, from: u64, length: usize) -> Option<Vec<u8>> {
        let read = self.descriptors.file(device, inode, path).and_then(|file| read_at(&file, from, length));
        let path = Path::new(path.unwrap_or_default());
        match read {
            Ok(bytes) => {
                self.refused.remove(path);
                Some(bytes)
            }
            Err(error) => {
                // What is gone since it was listed is seen at the next look.
                if !is_absent(&error) {
                    self.refuse(path, &error);
                }
                None
            }
        }
    }

    fn refuse(&mut self, path: &Path, why: &dyn fmt::Display) {
        if self.refused.len() < REFUSALS_MAX && self.refused.insert(path.to_owned()) {
            tracing::warn!(group = self.group, path = %path.display(), %why, "what is to be followed cannot be read");
        }
    }
}

impl Sighting {
    /// Whether a path is where nobody can look now.
    pub(super) fn hides(&self, path: &str) -> bool {
        self.hidden.iter().any(|hidden| Path::new(path).starts_with(hidden))
    }
}

/// A file as it is now; nothing where there is none, or something that is no regular file.
#[expect(clippy::disallowed_methods, reason = "what is followed is others', and no part of the data directory")]
fn regular(path: &Path) -> io::Result<Option<Seen>> {
    let now = match std::fs::metadata(path) {
        Ok(now) if now.is_file() => now,
        Ok(_) => return Ok(None),
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let path = path.to_str().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its path is not UTF-8"))?;
    Ok(Some(Seen { device: now.dev(), inode: now.ino(), path: Some(path.to_owned()), length: now.len() }))
}
