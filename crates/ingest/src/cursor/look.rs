//! What goes into a look and what comes out of it.

/// A file as it is seen at one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its device.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
    /// Where it is; nothing of a file that is open and has no name any more.
    pub path: Option<String>,
    /// How many bytes it has.
    pub length: u64,
}

/// Reads bytes of a seen file: from an offset, so many. Fewer where there are no more, nothing where it cannot be read.
pub type Peek<'p> = &'p dyn Fn(&Seen, u64, usize) -> Option<Vec<u8>>;

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The file's name for ever.
    pub name: String,
    /// Its device and inode: a descriptor with others is not this file.
    pub device: u64,
    /// See `device`.
    pub inode: u64,
    /// Where it is now; nothing where only a descriptor that is open has it.
    pub path: Option<String>,
    /// From where: the first byte that was not read yet.
    pub from: u64,
    /// Up to where there is something.
    pub to: u64,
}

/// What has happened to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// It is new.
    Began {
        /// Its name for ever.
        name: String,
        /// Where it is.
        path: String,
    },
    /// It has another path (rotation by renaming).
    Renamed {
        /// Its name for ever.
        name: String,
        /// Where it is now.
        path: String,
    },
    /// It was truncated, or its inode has another file now. What was not read of it is looked for in copies.
    Replaced {
        /// Its name for ever.
        name: String,
    },
    /// What is left of a truncated file was found in its copy.
    Found {
        /// Its name for ever.
        name: String,
        /// The copy.
        path: String,
    },
    /// It is a copy of another file and is not read.
    Copied {
        /// Where it is.
        path: String,
        /// Whose copy it is, by its name for ever.
        of: String,
    },
    /// It is gone, and nothing more is known of it. Its reader is to be ended.
    Ended {
        /// Its name for ever.
        name: String,
        /// How many bytes were seen of it and never read.
        unread_bytes: u64,
    },
    /// There are more files than are followed at once.
    TooMany {
        /// Where the file is that is not followed.
        path: String,
    },
}

/// What one look has shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Look {
    /// What to read, older files first.
    pub steps: Vec<Step>,
    /// What has happened.
    pub news: Vec<News>,
}

impl Seen {
    pub(super) fn is(&self, device: u64, inode: u64) -> bool {
        (self.device, self.inode) == (device, inode)
    }
}
