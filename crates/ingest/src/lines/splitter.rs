//! Bytes to lines, each with its place in the file.

use crate::cursor::{MARK_BYTES_MAX, Mark, Place};

/// One line, without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) start: Place,
    /// After the line feed.
    pub(super) end: Place,
    pub(super) bytes: Vec<u8>,
    /// How many bytes at its end are missing.
    pub(super) lost_bytes: u64,
}

#[derive(Debug)]
pub(super) struct Splitter {
    bytes_max: usize,
    /// Where the line under way begins.
    start: Place,
    line: Vec<u8>,
    lost_bytes: u64,
    /// The last bytes of the line so far, for its mark.
    tail: Vec<u8>,
}

impl Splitter {
    pub(super) const fn new(start: Place, bytes_max: usize) -> Self {
        Self { bytes_max, start, line: Vec::new(), lost_bytes: 0, tail: Vec::new() }
    }

    /// Up to where bytes were taken.
    pub(super) const fn offset(&self) -> u64 {
        self.start.offset + self.line.len() as u64 + self.lost_bytes
    }

    pub(super) fn push(&mut self, chunk: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        for part in chunk.split_inclusive(|byte| *byte == b'\n') {
            let tail = part.get(part.len().saturating_sub(MARK_BYTES_MAX)..).unwrap_or_default();
            self.tail.extend_from_slice(tail);
            self.tail.drain(..self.tail.len().saturating_sub(MARK_BYTES_MAX));
            match part.strip_suffix(b"\n") {
                Some(part) => {
                    self.keep(part);
                    lines.push(self.finish(1));
                }
                None => self.keep(part),
            }
        }
        lines
    }

    /// The last line, if it has no end.
    pub(super) fn end(&mut self) -> Option<Line> {
        (self.offset() > self.start.offset).then(|| self.finish(0))
    }

    fn keep(&mut self, part: &[u8]) {
        let room = self.bytes_max.saturating_sub(self.line.len()).min(part.len());
        let (kept, lost) = part.split_at(room);
        self.line.extend_from_slice(kept);
        self.lost_bytes += lost.len() as u64;
    }

    fn finish(&mut self, end_bytes: u64) -> Line {
        let end = Place { offset: self.offset() + end_bytes, mark: Mark::of(&std::mem::take(&mut self.tail)) };
        let mut bytes = std::mem::take(&mut self.line);
        let lost_bytes = std::mem::take(&mut self.lost_bytes);
        if lost_bytes == 0 && bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        let start = std::mem::replace(&mut self.start, end);
        Line { start, end, bytes, lost_bytes }
    }
}
