//! Following files that others write: what to read next, and what to keep so that nothing is skipped or read twice. No file is touched here.
//!
//! Whoever touches them does this, again and again:
//!
//! 1. list the files that the patterns fit, with device, inode and length, and those that are still open though their name is gone, and
//!    say which are not seen only because nobody can look where they are ([`Following::wait_for`]);
//! 2. [`Following::look`], which may ask for a few bytes of some of them, and says what to read; where it has news, store
//!    [`Following::cursors`] before anything is read, since records are known by the names of their files;
//! 3. read that, from a descriptor whose device and inode are those (a path may have another file by now), keep the descriptor open,
//!    for as long as it is of use ([`Following::holds`]), and tell how far it came ([`Following::advance`]);
//! 4. when records are durable, say so ([`Following::durable`]), and store [`Following::cursors`].
//!
//! There is one reader a name, as long as nothing says that the file has ended ([`News::Ended`]); what its reader still holds then, a last line without
//! its end, is taken with [`crate::LineReader::end`].
//!
//! A file is known by device and inode, and is the same as long as its first bytes and the bytes before the cursor are the same. Otherwise it was truncated or its inode has another file now, and what was left
//! of it is looked for in copies (`copytruncate`). A copy is never read as if it were new.
//!
//! | file | what is in it |
//! |---|---|
//! | `look` | what goes into a look and what comes out of it |
//! | `likeness` | whether one file is a copy of another |
//! | `mark` | [`Mark`], [`Place`]: bytes that are known again |

use record::Timestamp;
use serde::{Deserialize, Serialize};

mod likeness;
mod look;
mod mark;

use likeness::{Likeness, head_of, likeness};

pub use look::{Look, News, Peek, Seen, Step};
pub use mark::{HEAD_BYTES_MAX, MARK_BYTES_MAX, Mark, Place};

/// The most files that are followed at once.
pub const FILES_MAX: usize = 4_096;
/// For how many looks a file that is seen no more, or of which something is left to be found in a copy, is waited for.
pub const MISSING_LOOKS_MAX: u32 = 60;

/// What is kept of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// What it is called for ever, whatever its path becomes: its records' keys have this in them.
    pub name: String,
    /// Its device.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
    /// Where it was seen last.
    pub path: String,
    /// Its first bytes.
    pub head: Mark,
    /// Up to where its records are durable.
    pub durable: Place,
}

/// A file that is a copy of what was read elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// Whose copy it is, by [`Cursor::name`].
    pub of: String,
    /// Its device.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
    /// Where it was seen last.
    pub path: String,
    /// Its first bytes.
    pub head: Mark,
    /// Up to where it is known to be the same.
    pub same: Place,
    #[serde(skip)]
    missing_looks: u32,
}

/// What is kept between one run and the next.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursors {
    /// The files that are followed.
    pub files: Vec<Cursor>,
    /// Copies of them that are not read.
    pub copies: Vec<Copied>,
}

/// The files that are followed.
#[derive(Debug, Clone)]
pub struct Following {
    files: Vec<File>,
    copies: Vec<Copied>,
    /// Files that at the last look were like another and longer: copies of what was written meanwhile, or no copies.
    longer: Vec<(u64, u64)>,
}

#[derive(Debug, Clone)]
struct File {
    cursor: Cursor,
    /// Up to where it was read. Lost with the process: reading goes on at what is durable.
    read: u64,
    /// How long it was when it was seen last.
    length: u64,
    state: State,
    /// For how many looks it was not seen, or no copy of it.
    missing_looks: u32,
    /// For how many looks it was without a name and read to its end, though not all of that is durable: a last line without its end.
    quiet_looks: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its inode is its own, as far as is known.
    Live,
    /// Its inode has something else now.
    Replaced,
}

impl Following {
    /// Goes on where the stored cursors are.
    #[must_use]
    pub fn new(cursors: Cursors) -> Self {
        let file = |cursor: Cursor| {
            let (read, length) = (cursor.durable.offset, cursor.durable.offset);
            File { cursor, read, length, state: State::Live, missing_looks: 0, quiet_looks: 0 }
        };
        Self { files: cursors.files.into_iter().map(file).collect(), copies: cursors.copies, longer: Vec::new() }
    }

    /// Takes in what is seen now. `now` is part of new files' names; a file that is seen twice (by links) counts once.
    pub fn look(&mut self, seen: &[Seen], peek: Peek<'_>, now: Timestamp) -> Look {
        let mut look = Look::default();
        let mut new: Vec<&Seen> = Vec::new();
        for (nth, one) in seen.iter().enumerate() {
            let is_first = !seen.iter().take(nth).any(|other| other.is(one.device, one.inode));
            if is_first && !self.recognise(one, peek, &mut look.news) {
                new.push(one);
            }
        }
        let before = std::mem::take(&mut self.longer);
        self.review_copies(seen, peek, now, &before, (&mut new, &mut look.news));
        // Originals before their copies, as rotation names them.
        new.sort_by(|a, b| a.path.cmp(&b.path));
        for one in new.into_iter().filter(|one| one.length > 0) {
            self.admit(one, seen, peek, now, &before, &mut look.news);
        }
        self.find_rest(seen, &mut look.news);
        self.let_go(seen, &mut look.news);
        look.steps = self.files.iter().filter_map(|file| file.step(seen)).collect();
        look
    }

    /// A file was read up to an offset.
    pub fn advance(&mut self, name: &str, to: u64) {
        if let Some(file) = self.files.iter_mut().find(|file| file.cursor.name == name) {
            file.read = file.read.max(to);
        }
    }

    /// All records of a file up to a place are durable. Places before the cursor change nothing.
    pub fn durable(&mut self, name: &str, place: Place) {
        if let Some(file) = self.files.iter_mut().find(|file| file.cursor.name == name)
            && place.offset > file.cursor.durable.offset
        {
            file.cursor.durable = place;
            file.read = file.read.max(place.offset);
        }
    }

    /// Whether a descriptor of this file is still of use. One that is not should be closed: what it shows would be taken for new.
    #[must_use]
    pub fn holds(&self, device: u64, inode: u64) -> bool {
        let is_it = |file: &File| (file.cursor.device, file.cursor.inode) == (device, inode);
        self.files.iter().any(|file| file.state == State::Live && is_it(file))
    }

    /// Files that are not seen because nobody can look where they are now: they are waited for, however long that takes.
    pub fn wait_for(&mut self, is_hidden: impl Fn(&str) -> bool) {
        let of_files = self.files.iter_mut().map(|file| (&file.cursor.path, &mut file.missing_looks));
        let of_copies = self.copies.iter_mut().map(|copy| (&copy.path, &mut copy.missing_looks));
        let missing = of_files.chain(of_copies).filter(|(path, looks)| **looks > 1 && is_hidden(path));
        missing.for_each(|(_, looks)| *looks = 1);
    }

    /// What is kept of one of the files.
    #[must_use]
    pub fn cursor(&self, name: &str) -> Option<&Cursor> {
        self.files.iter().map(|file| &file.cursor).find(|cursor| cursor.name == name)
    }

    /// What to store. What is durable is in it, and nothing more.
    #[must_use]
    pub fn cursors(&self) -> Cursors {
        Cursors { files: self.files.iter().map(|file| file.cursor.clone()).collect(), copies: self.copies.clone() }
    }

    /// Whether a seen file is one that is followed, or has the inode of a copy that is known. Files that have become others are marked.
    fn recognise(&mut self, one: &Seen, peek: Peek<'_>, news: &mut Vec<News>) -> bool {
        let mut is_known = self.copies.iter().any(|copy| one.is(copy.device, copy.inode));
        for file in &mut self.files {
            if file.state != State::Live || !one.is(file.cursor.device, file.cursor.inode) {
                continue;
            }
            match file.is_same(one, peek) {
                Some(true) => {
                    file.recognised(one, peek, news);
                    is_known = true;
                }
                Some(false) => {
                    file.state = State::Replaced;
                    file.missing_looks = 0;
                    news.push(News::Replaced { name: file.cursor.name.clone() });
                }
                // It could not be read: nothing is decided until it can be.
                None => is_known = true,
            }
        }
        is_known
    }

    /// Decides of a new file whether it is a copy.
    fn admit(
        &mut self,
        one: &Seen,
        seen: &[Seen],
        peek: Peek<'_>,
        now: Timestamp,
        before: &[(u64, u64)],
        news: &mut Vec<News>,
    ) {
        let like = self.files.iter().find_map(|file| match file.likeness(one, seen, peek) {
            Likeness::None => None,
            likeness => Some((file.cursor.name.clone(), likeness)),
        });
        let (of, likeness) = like.unwrap_or((String::new(), Likeness::None));
        match likeness {
            Likeness::Copy(same) => {
                let (Some(head), Some(path)) = (head_of(one, peek), one.path.clone()) else { return };
                news.push(News::Copied { path: path.clone(), of: of.clone() });
                let (device, inode) = (one.device, one.inode);
                self.copies.push(Copied { of, device, inode, path, head, same, missing_looks: 0 });
            }
            Likeness::Longer if !before.contains(&(one.device, one.inode)) => self.longer.push((one.device, one.inode)),
            Likeness::Longer | Likeness::None => self.begin(one, 0, peek, now, news),
            Likeness::Unknown => {}
        }
    }

    /// Follows a file from an offset on. Without its first bytes it is left for the next look.
    fn begin(&mut self, one: &Seen, from: u64, peek: Peek<'_>, now: Timestamp, news: &mut Vec<News>) {
        // What was written after a truncation may have lost its name before it was seen.
        let known = self.files.iter().rev().find(|file| file.is_seen_as(one)).map(|file| &file.cursor.path);
        let Some(path) = one.path.as_ref().or(known).cloned() else { return };
        if self.files.len() >= FILES_MAX {
            return news.push(News::TooMany { path });
        }
        let (Some(head), Some(mark)) = (head_of(one, peek), Mark::before(one, from, peek)) else { return };
        let name = format!("{:x}-{:x}-{:x}", one.device, one.inode, now.as_micros());
        news.push(News::Began { name: name.clone(), path: path.clone() });
        let durable = Place { offset: from, mark };
        let cursor = Cursor { name, device: one.device, inode: one.inode, path, head, durable };
        let file =
            File { cursor, read: from, length: one.length, state: State::Live, missing_looks: 0, quiet_looks: 0 };
        self.files.push(file);
    }

    /// Copies that are the same no longer are new, and those that have more than what they are copies of are files from there on.
    fn review_copies<'s>(
        &mut self,
        seen: &'s [Seen],
        peek: Peek<'_>,
        now: Timestamp,
        before: &[(u64, u64)],
        (new, news): (&mut Vec<&'s Seen>, &mut Vec<News>),
    ) {
        for mut copy in std::mem::take(&mut self.copies) {
            let Some(one) = seen.iter().find(|one| one.is(copy.device, copy.inode)) else {
                copy.missing_looks += 1;
                if copy.missing_looks <= MISSING_LOOKS_MAX {
                    self.copies.push(copy);
                }
                continue;
            };
            copy.missing_looks = 0;
            if let Some(path) = &one.path {
                copy.path.clone_from(path);
            }
            let original = self.files.iter().find(|file| file.cursor.name == copy.of);
            let source = original.filter(|file| file.state == State::Live);
            let source = source.and_then(|file| seen.iter().find(|other| file.is_seen_as(other)));
            let likeness = match source {
                Some(source) => likeness(source, one, peek),
                None => copy.likeness(one, original.is_some(), peek),
            };
            match likeness {
                Likeness::Copy(same) => copy.same = same,
                Likeness::None => {
                    new.push(one);
                    continue;
                }
                Likeness::Longer if source.is_none() || before.contains(&(one.device, one.inode)) => {
                    self.begin(one, copy.same.offset, peek, now, news);
                    continue;
                }
                Likeness::Longer => self.longer.push((one.device, one.inode)),
                Likeness::Unknown => {}
            }
            self.copies.push(copy);
        }
    }

    /// What is left of a file that was truncated, or has gone, is read from its copy, under its name: the same bytes at the same offsets.
    fn find_rest(&mut self, seen: &[Seen], news: &mut Vec<News>) {
        // A file that is not seen once may have been renamed while files were listed.
        let is_lost = |file: &&mut File| file.state == State::Replaced || file.missing_looks > 0;
        for file in self.files.iter_mut().filter(is_lost) {
            let cursor = &mut file.cursor;
            let rest = |copy: &Copied| {
                let one = seen.iter().find(|one| one.is(copy.device, copy.inode))?;
                let has_rest = copy.of == cursor.name && one.length >= file.read.max(cursor.durable.offset);
                has_rest.then_some(one)
            };
            let found = self.copies.iter().enumerate().find_map(|(nth, copy)| Some((nth, rest(copy)?)));
            let Some((nth, one)) = found else { continue };
            let copy = self.copies.remove(nth);
            (cursor.device, cursor.inode, cursor.path) = (copy.device, copy.inode, copy.path);
            file.length = one.length;
            file.state = State::Live;
            file.missing_looks = 0;
            news.push(News::Found { name: cursor.name.clone(), path: cursor.path.clone() });
        }
    }

    /// Ends what is gone: at once what has no name and is read and durable to its end, after a while what is read and not durable, and what
    /// is not seen.
    fn let_go(&mut self, seen: &[Seen], news: &mut Vec<News>) {
        self.files.retain_mut(|file| {
            let one = seen.iter().find(|one| one.is(file.cursor.device, file.cursor.inode));
            let is_over = match one {
                Some(one) if file.state == State::Live => {
                    let is_read = one.path.is_none() && file.read >= one.length;
                    file.quiet_looks = if is_read { file.quiet_looks + 1 } else { 0 };
                    is_read && (file.cursor.durable.offset >= one.length || file.quiet_looks > MISSING_LOOKS_MAX)
                }
                _ => {
                    file.missing_looks += 1;
                    file.missing_looks > MISSING_LOOKS_MAX
                }
            };
            if is_over {
                let unread_bytes = file.length.saturating_sub(file.read);
                news.push(News::Ended { name: file.cursor.name.clone(), unread_bytes });
            }
            !is_over
        });
    }
}

impl File {
    /// Whether a file with this one's inode still is this one; nothing where it cannot be read.
    fn is_same(&self, one: &Seen, peek: Peek<'_>) -> Option<bool> {
        if one.length < self.read.max(self.cursor.durable.offset) || one.length < self.cursor.head.len() as u64 {
            return Some(false);
        }
        Some(self.cursor.head.is_at(one, 0, peek)? && self.cursor.durable.is_in(one, peek)?)
    }

    fn is_seen_as(&self, one: &Seen) -> bool {
        one.is(self.cursor.device, self.cursor.inode)
    }

    /// It is still itself: it may have grown, and may have been renamed.
    fn recognised(&mut self, one: &Seen, peek: Peek<'_>, news: &mut Vec<News>) {
        self.length = one.length;
        self.missing_looks = 0;
        if let Some(path) = one.path.as_ref().filter(|path| **path != self.cursor.path) {
            self.cursor.path.clone_from(path);
            news.push(News::Renamed { name: self.cursor.name.clone(), path: path.clone() });
        }
        if self.cursor.head.len() < HEAD_BYTES_MAX
            && let Some(head) = head_of(one, peek)
            && head.len() > self.cursor.head.len()
        {
            self.cursor.head = head;
        }
    }

    fn step(&self, seen: &[Seen]) -> Option<Step> {
        let one = seen.iter().find(|one| one.is(self.cursor.device, self.cursor.inode))?;
        // What is longer by now than when it was recognised is read at the next look.
        let is_due = self.state == State::Live && self.missing_looks == 0 && self.length > self.read;
        let Cursor { name, device, inode, .. } = self.cursor.clone();
        is_due.then(|| Step { name, device, inode, path: one.path.clone(), from: self.read, to: self.length })
    }
}

#[cfg(test)]
mod tests;
