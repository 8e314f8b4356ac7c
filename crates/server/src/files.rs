//! Following files that others write, on a thread of its own for each group of them.
//!
//! A round is: look ([`ingest::Following`]), keep what the look has shown, read, store, keep how far that came. Nothing is read while records
//! cannot be stored, so a log that is full costs neither memory nor records: the files wait. Records are durable before their place is kept,
//! and have the same identifiers when they are read again, so what a killed process did not get to keep is stored once all the same.
//!
//! | file | what is in it |
//! |---|---|
//! | `patterns` | [`Patterns`]: which files there are that fit |
//! | `sight` | what they look like now, and their bytes |
//! | `descriptors` | what stays open |
//! | `batch` | what is stored at once |
//! | `kept` | the cursors, on disk |

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ingest::{Entry, Following, LineReader, Lines, Look, News, Seen, Step};
use record::{Draft, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::admission::Caller;
use crate::intake::Intake;
use batch::Batch;
use kept::Kept;
use sight::Sight;

mod batch;
mod descriptors;
mod kept;
mod patterns;
mod sight;

pub use descriptors::DESCRIPTORS_MAX;
pub use kept::FilesError;
pub use patterns::{PatternError, Patterns};

/// The producer of what is read of files.
const DOOR: &str = "files";
/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How many times as long as a look the pause after it is at least, so that thousands of files do not take all of a core.
const PAUSE_LOOKS: u32 = 3;
/// What is read of a file at once, in bytes.
const READ_BYTES: usize = 64 << 10;
/// The most that is read of one file in a round, in bytes: then others have their turn.
const ROUND_BYTES_MAX: u64 = 4 << 20;
/// After so long without anything new, an entry that lines might continue is whole.
const QUIET: Duration = Duration::from_secs(1);
/// After this long cursors that could not be written are tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Files that are read alike.
#[derive(Debug)]
pub struct FileGroup {
    /// What it is called: its cursors are kept under this name.
    pub name: String,
    /// Which files it has.
    pub patterns: Patterns,
    /// What their lines become.
    pub lines: Arc<Lines>,
}

/// The door for files: follows one group.
pub struct FilesDoor {
    intake: Intake,
    caller: Caller,
    name: String,
    lines: Arc<Lines>,
    sight: Sight,
    following: Following,
    kept: Kept,
    /// By the files' names. There is one for each that something was read of.
    readers: HashMap<String, Reader>,
    batch: Batch,
    /// How long the last look took.
    looked: Duration,
    has_told_too_many: bool,
}

/// One file that is being read.
struct Reader {
    lines: LineReader,
    path: String,
    /// When something of it was read last.
    grown: Instant,
    is_flushed: bool,
}

/// Nothing more is to be followed: the server stops, or the log will not be written any more.
struct Over;

/// What the follower's thread has of the server.
struct Server {
    runtime: Handle,
    stop: watch::Receiver<bool>,
}

impl Server {
    fn is_stopping(&self) -> bool {
        *self.stop.borrow() || self.stop.has_changed().is_err()
    }

    /// Waits, unless the server stops meanwhile.
    fn pause(&mut self, time: Duration) -> Result<(), Over> {
        let Self { runtime, stop } = self;
        runtime.block_on(async {
            tokio::select! {
                () = tokio::time::sleep(time) => Ok(()),
                _ = stop.wait_for(|stop| *stop) => Err(Over),
            }
        })
    }
}

impl FilesDoor {
    /// Goes on where the group was left, as the data directory says. At most so many descriptors are kept open.
    ///
    /// # Errors
    /// When that cannot be known.
    pub fn open(intake: &Intake, group: FileGroup, data: &Path, descriptors_max: usize) -> Result<Self, FilesError> {
        let (kept, cursors) = Kept::open(intake.world.disk.clone(), data, &group.name)?;
        Ok(Self {
            intake: intake.clone(),
            caller: Caller::owner(),
            sight: Sight::new(&group.name, group.patterns, descriptors_max),
            name: group.name,
            lines: group.lines,
            following: Following::new(cursors),
            kept,
            readers: HashMap::new(),
            batch: Batch::default(),
            looked: Duration::ZERO,
            has_told_too_many: false,
        })
    }

    /// Follows until it is stopped.
    pub fn follow(mut self, stop: watch::Receiver<bool>) -> JoinHandle<()> {
        let mut server = Server { runtime: Handle::current(), stop };
        // Files are read and synced on this thread; it waits for the log on it, too.
        tokio::task::spawn_blocking(move || {
            while !server.is_stopping() {
                let next = self.round(&mut server).and_then(|is_more| match is_more {
                    true => Ok(()),
                    false => server.pause(LOOK_EVERY.max(self.looked * PAUSE_LOOKS)),
                });
                if next.is_err() {
                    break;
                }
            }
        })
    }

    /// One look, and what it says is to be read. Whether there is more to be read already.
    fn round(&mut self, server: &mut Server) -> Result<bool, Over> {
        let look = self.look();
        if !look.news.is_empty() {
            self.hear(&look.news, server)?;
        }
        let mut is_more = false;
        for step in &look.steps {
            is_more |= self.read(step, server)?;
        }
        self.flush(&look.steps, server)?;
        self.store(server)?;
        self.sight.close_but(|device, inode| self.following.holds(device, inode));
        Ok(is_more)
    }

    fn look(&mut self) -> Look {
        let began = Instant::now();
        let sighting = self.sight.see(|device, inode| self.following.holds(device, inode));
        if !sighting.hidden.is_empty() {
            self.following.wait_for(|path| sighting.hides(path));
        }
        let now = Timestamp::from_micros(self.intake.world.clock.now_micros());
        let sight = RefCell::new(&mut self.sight);
        let peek = |one: &Seen, from: u64, length: usize| sight.borrow_mut().peek(one, from, length);
        let look = self.following.look(&sighting.seen, &peek, now);
        self.looked = began.elapsed();
        look
    }

    /// Tells what has happened, ends the readers of what is gone, and keeps what records are known by before anything is read.
    fn hear(&mut self, news: &[News], server: &mut Server) -> Result<(), Over> {
        let group = self.name.clone();
        for one in news {
            match one {
                News::Began { path, .. } => tracing::info!(group, path, "a file is followed"),
                News::Renamed { name, path } => {
                    tracing::info!(group, path, "a followed file has another name");
                    self.renamed(name, path);
                }
                News::Found { name, path } => {
                    tracing::info!(group, path, "what is left of a truncated file is read from its copy");
                    self.renamed(name, path);
                }
                News::Replaced { name } => {
                    tracing::info!(
                        group,
                        path = self.path(name),
                        "a followed file was truncated, or another is in its place"
                    );
                }
                News::Copied { path, .. } => tracing::info!(group, path, "a copy of a followed file is not read"),
                News::Ended { name, unread_bytes } => self.end(name, *unread_bytes, server)?,
                News::TooMany { path } => {
                    if !std::mem::replace(&mut self.has_told_too_many, true) {
                        tracing::warn!(
                            group,
                            path,
                            "more files fit than a group can follow; this one and others are not read"
                        );
                    }
                }
            }
        }
        self.store(server)?;
        self.keep(server)
    }

    /// Where a file is, for whoever reads the program's log.
    fn path(&self, name: &str) -> String {
        let known = self.readers.get(name).map(|reader| &reader.path);
        let known = known.or_else(|| self.following.cursor(name).map(|cursor| &cursor.path));
        known.map_or_else(|| name.to_owned(), Clone::clone)
    }

    fn renamed(&mut self, name: &str, path: &str) {
        if let Some(reader) = self.readers.get_mut(name) {
            reader.lines.renamed(path);
            path.clone_into(&mut reader.path);
        }
    }

    /// A file is gone. A last line without its end is a line.
    fn end(&mut self, name: &str, unread_bytes: u64, server: &mut Server) -> Result<(), Over> {
        let (group, path) = (&self.name, self.path(name));
        match unread_bytes {
            0 => tracing::info!(group, path, "a followed file has ended: it was deleted, truncated or replaced"),
            _ => tracing::warn!(
                group,
                path,
                unread_bytes,
                "the end of a file was truncated or deleted before it was read"
            ),
        }
        let Some(reader) = self.readers.remove(name) else { return Ok(()) };
        let entries = self.intake.arrived(&self.caller, DOOR, |arrival| reader.lines.end(arrival));
        self.add(name, entries, server)
    }

    /// Reads what there is of a file, up to its share of a round. Whether there is more.
    fn read(&mut self, step: &Step, server: &mut Server) -> Result<bool, Over> {
        let Some(mut reader) = self.readers.remove(&step.name).or_else(|| self.begin(&step.name)) else {
            return Ok(false);
        };
        let end = step.to.min(reader.lines.offset().saturating_add(ROUND_BYTES_MAX));
        while reader.lines.offset() < end && !server.is_stopping() {
            let from = reader.lines.offset();
            let length = usize::try_from(end - from).unwrap_or(READ_BYTES).min(READ_BYTES);
            let Some(chunk) = self.sight.read(step, from, length).filter(|chunk| !chunk.is_empty()) else { break };
            let entries = self.intake.arrived(&self.caller, DOOR, |arrival| reader.lines.push(&chunk, arrival));
            (reader.grown, reader.is_flushed) = (Instant::now(), false);
            self.following.advance(&step.name, reader.lines.offset());
            self.add(&step.name, entries, server)?;
        }
        let is_more = reader.lines.offset() == end && end < step.to;
        self.readers.insert(step.name.clone(), reader);
        Ok(is_more)
    }

    /// A reader that goes on where what is durable ends.
    fn begin(&self, name: &str) -> Option<Reader> {
        let cursor = self.following.cursor(name)?;
        let lines = self.lines.open(&cursor.name, &cursor.path, cursor.durable);
        Some(Reader { lines, path: cursor.path.clone(), grown: Instant::now(), is_flushed: true })
    }

    /// What waits for lines that continue it is whole where nothing has come for a while.
    fn flush(&mut self, steps: &[Step], server: &mut Server) -> Result<(), Over> {
        let mut quiet = Vec::new();
        for (name, reader) in &self.readers {
            let has_come = steps.iter().any(|step| step.name == *name);
            if !reader.is_flushed && !has_come && reader.grown.elapsed() >= QUIET {
                quiet.push(name.clone());
            }
        }
        for name in quiet {
            let Some(reader) = self.readers.get_mut(&name) else { continue };
            reader.is_flushed = true;
            let entries = self.intake.arrived(&self.caller, DOOR, |arrival| reader.lines.flush(arrival));
            self.add(&name, entries, server)?;
        }
        Ok(())
    }

    fn add(&mut self, name: &str, entries: Vec<Entry>, server: &mut Server) -> Result<(), Over> {
        for entry in entries {
            self.batch.add(name, entry);
            if self.batch.is_full() {
                self.store(server)?;
            }
        }
        Ok(())
    }

    /// Stores what was read, and then keeps how far that is.
    fn store(&mut self, server: &mut Server) -> Result<(), Over> {
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return Ok(());
        }
        if !batch.drafts.is_empty() {
            self.append(&batch.drafts, server)?;
        }
        for (name, place) in batch.places {
            self.following.durable(&name, place);
        }
        self.keep(server)
    }

    /// Stores records, however long the log is full.
    fn append(&self, drafts: &[Draft], server: &mut Server) -> Result<(), Over> {
        let Server { runtime, stop } = server;
        let from = format!("{DOOR}/{}", self.name);
        let stored = self.intake.store_in_the_end(&self.caller, &from, drafts, stop);
        if runtime.block_on(stored) { Ok(()) } else { Err(Over) }
    }

    /// Keeps how far everything is read and durable, however long that cannot be written.
    fn keep(&mut self, server: &mut Server) -> Result<(), Over> {
        let cursors = self.following.cursors();
        let mut is_told = false;
        while let Err(error) = self.kept.store(&cursors) {
            if !std::mem::replace(&mut is_told, true) {
                tracing::warn!(group = self.name, %error, "how far files are read could not be written; they wait");
            }
            server.pause(PAUSE)?;
        }
        Ok(())
    }
}
