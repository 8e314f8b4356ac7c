//! What waits in the write-ahead log to be delivered elsewhere, and how much of that there may be.
//!
//! A node in the field keeps records until a centre has them. Its write-ahead log is the queue: one hold keeps it
//! ([`crate::Ledger::delivered`] moves it on), and this counts what the hold keeps. Nothing is stored for it: a start counts what
//! it reads back.

use std::collections::VecDeque;

/// The name under which the write-ahead log is held for delivery.
pub(crate) const NAME: &str = "delivery";
/// What the log says of itself, such as that it is nearly full, finds room beyond the bound.
pub(crate) const OWN_PRODUCER: &str = "system";
/// Batches are counted together up to so many bytes: the backlog is known that exactly, and 8 GiB of it are 131,072 marks.
const MARK_BYTES: u64 = 64 << 10;
/// At the bound, the backlog must shrink by the smaller of this and a sixteenth of the bound before there is room again.
const ROOM_AGAIN_BYTES: u64 = 1 << 20;

/// What waits to be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// The index of the first record that waits.
    pub from: u64,
    /// How many wait.
    pub records: u64,
    /// What they take in the write-ahead log, in bytes; up to 64 KiB too many.
    pub bytes: u64,
    /// How much they may take.
    pub bytes_max: u64,
}

/// Counts what waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    bytes_max: u64,
    marks: VecDeque<Mark>,
    bytes: u64,
    /// Everything before this index has been delivered.
    delivered: u64,
    /// One past the last record.
    end: u64,
}

/// Batches one after the other.
#[derive(Debug)]
struct Mark {
    /// One past their last record.
    end: u64,
    bytes: u64,
}

impl Waiting {
    /// Nothing waits in a log whose write-ahead log begins with this record.
    pub(crate) const fn new(bytes_max: u64, first: u64) -> Self {
        Self { bytes_max, marks: VecDeque::new(), bytes: 0, delivered: first, end: first }
    }

    /// A batch has become durable, or was read back.
    pub(crate) fn take_in(&mut self, end: u64, bytes: u64) {
        self.bytes += bytes;
        self.end = end;
        match self.marks.back_mut().filter(|mark| mark.bytes < MARK_BYTES) {
            Some(mark) => (mark.end, mark.bytes) = (end, mark.bytes + bytes),
            None => self.marks.push_back(Mark { end, bytes }),
        }
    }

    /// Everything before this index has been delivered.
    pub(crate) fn deliver(&mut self, before: u64) {
        self.delivered = before.min(self.end);
        while let Some(mark) = self.marks.pop_front_if(|mark| mark.end <= before) {
            self.bytes -= mark.bytes;
        }
    }

    pub(crate) fn backlog(&self) -> Backlog {
        Backlog {
            from: self.delivered,
            records: self.end - self.delivered,
            bytes: self.bytes,
            bytes_max: self.bytes_max,
        }
    }

    /// Whether so many bytes more are too many. One batch always fits where nothing waits: otherwise a large one would never.
    pub(crate) const fn is_over_with(&self, more: u64) -> bool {
        self.bytes > 0 && self.bytes.saturating_add(more) > self.bytes_max
    }

    /// Whether there is room again after there was none.
    pub(crate) fn has_room_again(&self) -> bool {
        let shrunk = ROOM_AGAIN_BYTES.min(self.bytes_max / 16);
        self.bytes == 0 || self.bytes.saturating_add(shrunk) <= self.bytes_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_delivered_no_longer_counts() {
        let mut waiting = Waiting::new(1_000_000, 100);
        for end in 101..=110 {
            waiting.take_in(end, MARK_BYTES);
        }
        assert_eq!(waiting.backlog(), Backlog { from: 100, records: 10, bytes: 10 * MARK_BYTES, bytes_max: 1_000_000 });
        assert!(waiting.is_over_with(400_000) && !waiting.is_over_with(300_000));
        waiting.deliver(105);
        assert_eq!((waiting.backlog().records, waiting.backlog().bytes), (5, 5 * MARK_BYTES));
        // What is beyond the end has not been written, whatever somebody says of it.
        waiting.deliver(u64::MAX);
        assert_eq!((waiting.backlog().from, waiting.backlog().records, waiting.backlog().bytes), (110, 0, 0));
        assert!(!waiting.is_over_with(u64::MAX), "one batch fits where nothing waits");
    }

    #[test]
    fn there_is_room_again_when_some_has_gone() {
        let mut waiting = Waiting::new(16 * MARK_BYTES, 0);
        for end in 1..=16 {
            waiting.take_in(end, MARK_BYTES);
        }
        assert!(waiting.is_over_with(1) && !waiting.has_room_again());
        waiting.deliver(1);
        assert!(waiting.has_room_again());
    }

    proptest! {
        #[test]
        fn the_count_is_exact_to_a_mark(batches in prop::collection::vec((1_u64..9, 1_u64..100_000), 1..60), at in any::<prop::sample::Index>()) {
            let mut waiting = Waiting::new(u64::MAX, 0);
            let (mut end, mut ends) = (0, Vec::new());
            for (records, bytes) in batches {
                end += records;
                ends.push((end, bytes));
                waiting.take_in(end, bytes);
            }
            let before = at.index(usize::try_from(end).unwrap() + 1) as u64;
            waiting.deliver(before);
            let exact: u64 = ends.iter().filter(|(end, _)| *end > before).map(|(_, bytes)| bytes).sum();
            let largest = ends.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0);
            let counted = waiting.backlog();
            prop_assert_eq!((counted.from, counted.records), (before, end - before));
            prop_assert!(counted.bytes >= exact && counted.bytes <= exact + MARK_BYTES + largest);
            prop_assert_eq!(counted.bytes == 0, before == end);
        }
    }
}
