use super::*;
use crate::lines::{LineReader, Lines, LinesSettings};
use crate::{Arrival, Entry};
use proptest::prelude::*;
use record::{Source, Uuid, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const LOG: &str = "/log/app.log";

/// A disk as whoever follows files sees it, a writer, and a follower that reads and may die.
struct World {
    paths: BTreeMap<String, u64>,
    inodes: BTreeMap<u64, Vec<u8>>,
    lines: u64,
    now: i64,
    following: Following,
    stored: String,
    readers: BTreeMap<String, LineReader>,
    /// Inodes that the follower has open.
    open: BTreeSet<u64>,
    /// Entries that were read and are not durable, in order.
    pending: Vec<(String, Entry)>,
    /// The records of each line.
    read: BTreeMap<String, BTreeSet<Uuid>>,
    /// Lines in files without a name that the follower has open.
    promised: BTreeSet<String>,
    news: Vec<News>,
}

impl World {
    fn new() -> Self {
        Self {
            paths: BTreeMap::new(),
            inodes: BTreeMap::new(),
            lines: 0,
            now: 1,
            following: Following::new(Cursors::default()),
            stored: serde_json::to_string(&Cursors::default()).unwrap(),
            readers: BTreeMap::new(),
            open: BTreeSet::new(),
            pending: Vec::new(),
            read: BTreeMap::new(),
            promised: BTreeSet::new(),
            news: Vec::new(),
        }
    }

    /// The lowest inode that is free: numbers come again at once, as they do on ext4.
    fn create(&mut self, path: &str) -> u64 {
        let inode = (1..).find(|inode| !self.inodes.contains_key(inode)).unwrap();
        self.inodes.insert(inode, Vec::new());
        self.paths.insert(path.to_owned(), inode);
        inode
    }

    fn append(&mut self, path: &str, lines: u64) {
        let inode = self.paths.get(path).copied().unwrap_or_else(|| self.create(path));
        for _ in 0..lines {
            self.lines += 1;
            let line = format!("line {}\n", self.lines);
            self.inodes.get_mut(&inode).unwrap().extend(line.as_bytes());
        }
    }

    fn unlink(&mut self, path: &str) {
        let Some(inode) = self.paths.remove(path) else { return };
        if self.open.contains(&inode) {
            let text = String::from_utf8(self.inodes[&inode].clone()).unwrap();
            self.promised.extend(text.lines().map(str::to_owned));
        } else {
            self.inodes.remove(&inode);
        }
    }

    fn rename(&mut self, from: &str, to: &str) {
        self.unlink(to);
        if let Some(inode) = self.paths.remove(from) {
            self.paths.insert(to.to_owned(), inode);
        }
    }

    /// `app.log.1` to `app.log.2`, and so on; the last is deleted.
    fn shift(&mut self) {
        self.rename(&format!("{LOG}.2"), &format!("{LOG}.3"));
        self.rename(&format!("{LOG}.1"), &format!("{LOG}.2"));
    }

    fn copy_and_truncate(&mut self, looks: [bool; 3], reads: usize) {
        self.shift();
        let Some(source) = self.paths.get(LOG).copied() else { return };
        let copy = self.create(&format!("{LOG}.1"));
        let bytes = self.inodes[&source].clone();
        self.inodes.insert(copy, bytes[..bytes.len() / 2].to_vec());
        if looks[0] {
            self.look(reads);
        }
        self.inodes.insert(copy, bytes);
        if looks[1] {
            self.look(reads);
        }
        self.inodes.insert(source, Vec::new());
        if looks[2] {
            self.look(reads);
        }
    }

    fn look(&mut self, bytes_max: usize) {
        let of_path = |(path, inode): (&String, &u64)| (Some(path.clone()), *inode);
        let nameless = self.open.iter().filter(|inode| !self.paths.values().any(|named| named == *inode));
        let all = self.paths.iter().map(of_path).chain(nameless.map(|inode| (None, *inode)));
        let seen: Vec<Seen> = all
            .map(|(path, inode)| Seen { device: 1, inode, path, length: self.inodes[&inode].len() as u64 })
            .collect();
        let inodes = self.inodes.clone();
        let peek = |one: &Seen, from: u64, length: usize| {
            let bytes = inodes.get(&one.inode)?;
            let from = usize::try_from(from).ok()?.min(bytes.len());
            Some(bytes[from..(from + length).min(bytes.len())].to_vec())
        };
        self.now += 1;
        let look = self.following.look(&seen, &peek, Timestamp::from_micros(self.now));
        if !look.news.is_empty() {
            self.stored = serde_json::to_string(&self.following.cursors()).unwrap();
        }
        for step in &look.steps {
            self.read(step, bytes_max);
        }
        for news in &look.news {
            if let News::Ended { name, .. } = news {
                self.readers.remove(name);
            }
        }
        self.news.extend(look.news);
        self.close();
    }

    fn read(&mut self, step: &Step, bytes_max: usize) {
        self.open.insert(step.inode);
        let door = Arc::new(Lines::new(LinesSettings::default(), None).unwrap());
        let cursor = self.following.cursors().files.into_iter().find(|file| file.name == step.name).unwrap();
        let reader =
            self.readers.entry(step.name.clone()).or_insert_with(|| door.open(&step.name, LOG, cursor.durable));
        assert_eq!(reader.offset(), step.from, "nothing is skipped and nothing read twice in one life");
        let from = usize::try_from(step.from).unwrap();
        let to = usize::try_from(step.to).unwrap().min(from + bytes_max);
        let chunk = self.inodes[&step.inode][from..to].to_vec();
        let source = Source {
            service: "s".into(),
            environment: "e".into(),
            host: "h".into(),
            origin: "o".into(),
            producer: "p".into(),
        };
        let arrival =
            Arrival { source: &source, sender: None, received: Timestamp::from_micros(0), random: &|| [0; 10] };
        for entry in reader.push(&chunk, &arrival) {
            let draft = entry.draft.as_ref().unwrap();
            let Some(Value::Text(line)) = draft.attributes.value(crate::drafting::BODY) else { panic!("no body") };
            self.read.entry(line.to_string()).or_default().insert(draft.id);
            self.pending.push((step.name.clone(), entry));
        }
        self.following.advance(&step.name, to as u64);
    }

    /// Descriptors of files that are followed no more are closed, and what has no name then is gone.
    fn close(&mut self) {
        self.open.retain(|inode| self.following.holds(1, *inode));
        let (open, named) = (&self.open, &self.paths);
        self.inodes.retain(|inode, _| open.contains(inode) || named.values().any(|one| one == inode));
    }

    fn acknowledge(&mut self, count: usize) {
        for (name, entry) in self.pending.drain(..count.min(self.pending.len())) {
            self.following.durable(&name, entry.place);
        }
        self.stored = serde_json::to_string(&self.following.cursors()).unwrap();
    }

    /// The follower dies and starts anew with what was stored.
    fn restart(&mut self) {
        self.following = Following::new(serde_json::from_str(&self.stored).unwrap());
        self.readers.clear();
        self.pending.clear();
        self.open.clear();
        self.promised.clear();
        let named = &self.paths;
        self.inodes.retain(|inode, _| named.values().any(|one| one == inode));
    }

    /// Everything that can still be read was read, each line as one record.
    fn check(&mut self) {
        for _ in 0..4 {
            self.look(usize::MAX / 2);
            self.acknowledge(usize::MAX);
        }
        for inode in self.paths.values() {
            let text = String::from_utf8(self.inodes[inode].clone()).unwrap();
            for line in text.lines() {
                assert!(self.read.contains_key(line), "{line} was skipped; {:?}", self.news);
            }
        }
        for line in &self.promised {
            assert!(self.read.contains_key(line), "{line} was skipped; {:?}", self.news);
        }
        for (line, records) in &self.read {
            assert_eq!(records.len(), 1, "{line} is more than one record; {:?}", self.news);
        }
    }
}

#[derive(Debug, Clone)]
enum Deed {
    Append(u64),
    Rotate,
    CopyAndTruncate([bool; 3]),
    Delete,
    DeleteOldest,
    Look(usize),
    Acknowledge(usize),
    Restart,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        4 => (1_u64..200).prop_map(Deed::Append),
        1 => Just(Deed::Rotate),
        2 => any::<[bool; 3]>().prop_map(Deed::CopyAndTruncate),
        1 => Just(Deed::Delete),
        1 => Just(Deed::DeleteOldest),
        3 => (1_usize..4_000).prop_map(Deed::Look),
        2 => (1_usize..200).prop_map(Deed::Acknowledge),
        1 => Just(Deed::Restart),
    ];
    prop::collection::vec(deed, 0..40)
}

fn play(deeds: Vec<Deed>) -> World {
    let mut world = World::new();
    for deed in deeds {
        match deed {
            Deed::Append(lines) => world.append(LOG, lines),
            Deed::Rotate => {
                world.shift();
                world.rename(LOG, &format!("{LOG}.1"));
            }
            Deed::CopyAndTruncate(looks) => world.copy_and_truncate(looks, 700),
            Deed::Delete => world.unlink(LOG),
            Deed::DeleteOldest => world.unlink(&format!("{LOG}.2")),
            Deed::Look(bytes) => world.look(bytes),
            Deed::Acknowledge(count) => world.acknowledge(count),
            Deed::Restart => world.restart(),
        }
    }
    world.check();
    world
}

#[test]
fn a_file_that_is_renamed_is_read_to_its_end() {
    use Deed::{Append, Look, Rotate};
    let world = play(vec![Append(3), Look(10), Rotate, Append(2), Look(10)]);
    assert!(world.news.iter().any(|news| matches!(news, News::Renamed { path, .. } if path == "/log/app.log.1")));
    assert_eq!(world.read.len(), 5);
}

#[test]
fn what_is_left_of_a_truncated_file_is_read_from_its_copy() {
    use Deed::{Append, CopyAndTruncate, Look};
    for looks in [[false; 3], [true, false, false], [false, true, false], [false, false, true], [true; 3]] {
        let world = play(vec![Append(300), Look(100), CopyAndTruncate(looks), Append(2), Look(10)]);
        assert!(world.news.iter().any(|news| matches!(news, News::Found { path, .. } if path == "/log/app.log.1")));
        assert_eq!(world.read.len(), 302);
    }
}

#[test]
fn a_deleted_file_is_read_while_it_is_open_and_then_let_go() {
    use Deed::{Append, Delete, Look};
    let world = play(vec![Append(9), Look(10), Delete]);
    assert_eq!(world.read.len(), 9);
    assert!(matches!(world.news.last(), Some(News::Ended { unread_bytes: 0, .. })));
    assert!(world.following.cursors().files.is_empty());
}

#[test]
fn a_deleted_file_whose_last_line_has_no_end_is_let_go_after_a_while() {
    let mut world = World::new();
    world.append(LOG, 1);
    let inode = world.paths[LOG];
    world.inodes.get_mut(&inode).unwrap().extend(b"half");
    world.look(4_000);
    world.acknowledge(9);
    world.unlink(LOG);
    for _ in 0..MISSING_LOOKS_MAX {
        world.look(4_000);
    }
    assert!(!world.news.iter().any(|news| matches!(news, News::Ended { .. })));
    world.look(4_000);
    assert!(matches!(world.news.last(), Some(News::Ended { unread_bytes: 0, .. })));
}

#[test]
fn a_file_where_nobody_can_look_is_waited_for() {
    let mut world = World::new();
    world.append(LOG, 3);
    world.look(4_000);
    world.acknowledge(9);
    world.restart();
    let inode = world.paths.remove(LOG).unwrap();
    let kept = world.following.cursors();
    let away = |following: &mut Following, is_hidden: bool| {
        following.wait_for(|path| is_hidden && path == LOG);
        following.look(&[], &|_, _, _| None, Timestamp::from_micros(9))
    };
    for _ in 0..3 * MISSING_LOOKS_MAX {
        assert!(away(&mut world.following, true).news.is_empty());
    }
    assert_eq!(world.following.cursors(), kept);
    world.paths.insert(LOG.to_owned(), inode);
    world.look(4_000);
    assert!(world.news.iter().all(|news| matches!(news, News::Began { .. })), "{:?}", world.news);
    assert_eq!(world.read.len(), 3);
    for _ in 0..=MISSING_LOOKS_MAX {
        away(&mut world.following, false);
    }
    assert!(world.following.cursors().files.is_empty());
}

#[test]
fn a_file_with_the_inode_of_another_is_read_from_its_beginning() {
    use Deed::{Acknowledge, Append, Delete, Look, Restart};
    let world = play(vec![Append(9), Look(4_000), Acknowledge(9), Restart, Delete, Append(20), Look(10)]);
    assert!(world.news.iter().any(|news| matches!(news, News::Replaced { .. })));
    assert_eq!(world.read.len(), 29);
}

#[test]
fn a_restart_goes_on_at_what_is_durable() {
    use Deed::{Acknowledge, Append, Look, Restart};
    let mut world = play(vec![Append(9), Look(4_000), Acknowledge(4), Restart]);
    assert_eq!(world.read.len(), 9);
    let cursors = world.following.cursors();
    assert_eq!(cursors.files[0].durable.offset, 9 * 7);
    world.following.durable(&cursors.files[0].name, Place::default());
    assert_eq!(world.following.cursors(), cursors);
}

#[test]
fn a_file_that_begins_as_another_does_is_read_all_the_same() {
    let mut world = World::new();
    world.append(LOG, 3);
    world.look(4_000);
    // The same banner; then each goes its own way.
    let other = world.create("/log/app.log.errors");
    let banner = world.inodes[&world.paths[LOG]].clone();
    world.inodes.insert(other, banner);
    world.look(4_000);
    assert!(world.news.iter().any(|news| matches!(news, News::Copied { .. })));
    world.append(LOG, 3);
    world.append("/log/app.log.errors", 5);
    for _ in 0..3 {
        world.look(4_000);
    }
    assert_eq!(world.read.len(), 11);
}

#[test]
fn no_more_files_are_followed_than_there_may_be() {
    let all: Vec<Seen> = (0..=FILES_MAX as u64)
        .map(|inode| Seen { device: 1, inode, path: Some(inode.to_string()), length: 1 })
        .collect();
    let mut following = Following::new(Cursors::default());
    let peek = |one: &Seen, _: u64, length: usize| Some(one.inode.to_string().into_bytes()[..length.min(1)].to_vec());
    // Without paths that begin alike nothing is compared.
    let all: Vec<Seen> =
        all.into_iter().map(|one| Seen { path: one.path.map(|path| format!("{path}.log")), ..one }).collect();
    let look = following.look(&all, &peek, Timestamp::from_micros(0));
    assert_eq!(look.news.iter().filter(|news| matches!(news, News::TooMany { .. })).count(), 1);
    assert_eq!(following.cursors().files.len(), FILES_MAX);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn nothing_is_skipped_and_nothing_is_two_records(deeds in deeds()) {
        play(deeds);
    }

    #[test]
    fn no_sight_panics(
        looks in prop::collection::vec(prop::collection::vec((0_u64..3, 0_u64..4, prop::option::of("[a-c]{1,3}"), any::<u64>()), 0..6), 0..6),
        bytes in prop::option::of(prop::collection::vec(any::<u8>(), 0..80)),
        to in any::<u64>(),
    ) {
        let mut following = Following::new(Cursors::default());
        let peek = |_: &Seen, _: u64, length: usize| bytes.as_ref().map(|bytes| bytes[..length.min(bytes.len())].to_vec());
        for look in looks {
            let seen: Vec<Seen> = look.into_iter().map(|(device, inode, path, length)| Seen { device, inode, path, length }).collect();
            let look = following.look(&seen, &peek, Timestamp::from_micros(0));
            for step in look.steps {
                following.advance(&step.name, to);
                following.durable(&step.name, Place { offset: to / 2, mark: Mark::of(b"x") });
            }
        }
        let cursors = following.cursors();
        let back: Cursors = serde_json::from_str(&serde_json::to_string(&cursors).unwrap()).unwrap();
        prop_assert_eq!(back.files, cursors.files);
    }
}
