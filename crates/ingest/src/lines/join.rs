//! Fragments to entries, stream by stream: parts of a line that was cut, and lines that continue the one before.

use record::Timestamp;
use regex::Regex;

use super::ENTRY_LINES_MAX;
use super::container::{Fragment, Stream};
use crate::cursor::Place;

/// One entry.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) start: Place,
    /// After its last byte, in the file.
    pub(super) end: u64,
    pub(super) stream: Stream,
    /// Of its first line.
    pub(super) time: Option<Timestamp>,
    pub(super) bytes: Vec<u8>,
    pub(super) lost_bytes: u64,
    pub(super) problem: Option<&'static str>,
    lines: usize,
}

/// What is begun and not whole, of each stream.
#[derive(Debug)]
pub(super) struct Joiner {
    bytes_max: usize,
    /// Lines of which a part is missing.
    partial: [Option<Joined>; 3],
    /// Entries that the next line may continue.
    open: [Option<Joined>; 3],
    /// After the last line that was taken.
    end: Place,
}

impl Joined {
    fn new(fragment: Fragment) -> Self {
        Self {
            start: fragment.start,
            end: fragment.end.offset,
            stream: fragment.stream,
            time: fragment.time,
            bytes: fragment.bytes,
            lost_bytes: fragment.lost_bytes,
            problem: fragment.problem,
            lines: 1,
        }
    }

    fn append(&mut self, between: &[u8], next: &Self, bytes_max: usize) {
        for part in [between, &next.bytes] {
            let room = bytes_max.saturating_sub(self.bytes.len()).min(part.len());
            let (kept, lost) = part.split_at(room);
            self.bytes.extend_from_slice(kept);
            self.lost_bytes += lost.len() as u64;
        }
        self.lost_bytes += next.lost_bytes;
        self.end = next.end;
    }
}

impl Joiner {
    pub(super) fn new(place: Place, bytes_max: usize) -> Self {
        Self { bytes_max, partial: [None, None, None], open: [None, None, None], end: place }
    }

    /// Takes the next fragment; the entries that are whole by it, each with the place up to which nothing waits.
    pub(super) fn take(&mut self, fragment: Fragment, begins: Option<&Regex>) -> Vec<(Joined, Place)> {
        self.end = fragment.end;
        let (stream, is_partial) = (fragment.stream.index(), fragment.is_partial);
        let (Some(partial), Some(open)) = (self.partial.get_mut(stream), self.open.get_mut(stream)) else {
            return Vec::new();
        };
        let next = Joined::new(fragment);
        let line = match partial.take() {
            Some(mut begun) => {
                begun.append(b"", &next, self.bytes_max);
                begun
            }
            None => next,
        };
        if is_partial {
            *partial = Some(line);
            return Vec::new();
        }
        let Some(begins) = begins else {
            return vec![(line, self.place())];
        };
        let is_beginning = begins.is_match(&String::from_utf8_lossy(&line.bytes));
        let whole = match open {
            Some(entry) if !is_beginning && entry.lines < ENTRY_LINES_MAX => {
                entry.append(b"\n", &line, self.bytes_max);
                entry.lines += 1;
                None
            }
            _ => open.replace(line),
        };
        whole.map(|entry| (entry, self.place())).into_iter().collect()
    }

    /// Entries that wait for lines which may continue them.
    pub(super) fn flush(&mut self) -> Vec<(Joined, Place)> {
        let mut whole: Vec<Joined> = self.open.iter_mut().filter_map(Option::take).collect();
        whole.sort_by_key(|entry| entry.start.offset);
        // Before the place of each there is nothing of those that follow it.
        let mut places: Vec<Place> = whole.iter().skip(1).map(|entry| entry.start).collect();
        places.push(self.place());
        let before = self.place();
        let earlier = |place: Place| if place.offset < before.offset { place } else { before };
        whole.into_iter().zip(places).map(|(entry, place)| (entry, earlier(place))).collect()
    }

    /// Everything, whole or not.
    pub(super) fn end(&mut self) -> Vec<(Joined, Place)> {
        for (partial, open) in self.partial.iter_mut().zip(&mut self.open) {
            match (partial.take(), open.as_mut()) {
                (Some(line), Some(entry)) => entry.append(b"\n", &line, self.bytes_max),
                (Some(line), None) => *open = Some(line),
                (None, _) => {}
            }
        }
        self.flush()
    }

    /// Where the first thing begins that is not whole, or the end of what was taken.
    fn place(&self) -> Place {
        let waiting = self.partial.iter().chain(&self.open).flatten().map(|joined| joined.start);
        waiting.min_by_key(|place| place.offset).unwrap_or(self.end)
    }
}
