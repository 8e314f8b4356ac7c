//! Which segments are made one: what is sealed is as much as memory can hold, and what is read is better large and few.
//!
//! Those that lie side by side and are small become one once they are enough together, or once their day is over, so that nearly every
//! record is written twice: sealed, and compacted. Segments of two days stay apart, since retention counts in days; where nothing is left
//! but `control` records it has nothing more to take away, and days may go together.

use std::ops::Range;

use crate::segment::{Kept, Segment};

/// When segments that are small are made one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CompactAt {
    /// Records that they have together; half as many are not small any more.
    pub(crate) records: u64,
    /// Bytes that they have together; half as many are not small any more.
    pub(crate) bytes: u64,
    /// So many of them are enough, however small they are.
    pub(crate) segments: usize,
}

impl Default for CompactAt {
    fn default() -> Self {
        Self { records: 524_288, bytes: 256 << 20, segments: 32 }
    }
}

impl CompactAt {
    const fn is_small(&self, segment: &Segment) -> bool {
        segment.records() < self.records / 2 && segment.bytes < self.bytes / 2
    }

    fn is_enough(&self, run: &[Segment]) -> bool {
        let records: u64 = run.iter().map(Segment::records).sum();
        let bytes: u64 = run.iter().map(|segment| segment.bytes).sum();
        records >= self.records || bytes >= self.bytes || run.len() >= self.segments
    }

    /// Segments to be made one, the first of those in the order of the log; none of those that are left alone.
    pub(crate) fn choose(
        &self,
        segments: &[Segment],
        is_left_alone: impl Fn(&Segment) -> bool,
    ) -> Option<Range<usize>> {
        let fits = |segment: &Segment| self.is_small(segment) && !is_left_alone(segment);
        let mut start = 0;
        while start < segments.len() {
            let mut end = start;
            while let Some(next) = segments.get(end)
                && fits(next)
                && (end == start || segments.get(end - 1).is_some_and(|before| go_together(before, next)))
            {
                end += 1;
                if end - start > 1 && segments.get(start..end).is_some_and(|run| self.is_enough(run)) {
                    return Some(start..end);
                }
            }
            // A day is over once there is something of another.
            let is_over = match (segments.get(start), segments.get(end)) {
                (Some(first), Some(next)) => first.kept != Kept::Control && first.folder() != next.folder(),
                _ => false,
            };
            if is_over && end - start > 1 {
                return Some(start..end);
            }
            start = end.max(start + 1);
        }
        None
    }
}

fn go_together(before: &Segment, next: &Segment) -> bool {
    let log = |segment: &Segment| segment.folder().split('/').next().map(str::to_owned);
    let is_near = match before.kept {
        Kept::Control => log(before) == log(next),
        Kept::Everything | Kept::Records => before.folder() == next.folder(),
    };
    is_near && before.kept == next.kept && before.end == next.first
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: CompactAt = CompactAt { records: 100, bytes: 1_000, segments: 4 };

    /// Segments side by side, each of a day, so many records and bytes.
    fn segments(of: &[(&str, u64, u64, Kept)]) -> Vec<Segment> {
        let mut first = 0;
        of.iter()
            .map(|(day, records, bytes, kept)| {
                let span = (first, first + records);
                first += records;
                Segment::new(crate::segment::path_in(&format!("log/{day}"), span, *kept), span, *kept, *bytes)
            })
            .collect()
    }

    #[track_caller]
    fn check(of: &[(&str, u64, u64, Kept)], expect: Option<Range<usize>>) {
        assert_eq!(AT.choose(&segments(of), |_| false), expect);
    }

    #[test]
    fn small_ones_side_by_side_are_chosen_once_they_are_enough() {
        let small = ("1", 30, 10, Kept::Everything);
        check(&[], None);
        check(&[small], None);
        check(&[small; 3], None);
        check(&[small; 4], Some(0..4));
        check(&[("1", 60, 10, Kept::Everything), small, small, small, small], Some(1..5));
        check(
            &[("1", 49, 10, Kept::Everything), ("1", 1, 490, Kept::Everything), ("1", 1, 499, Kept::Everything)],
            None,
        );
        check(
            &[("1", 49, 10, Kept::Everything), ("1", 1, 499, Kept::Everything), ("1", 1, 499, Kept::Everything)],
            Some(0..3),
        );
        check(&[("1", 1, 1, Kept::Everything); 4], Some(0..4));
    }

    #[test]
    fn days_stay_apart_and_a_day_that_is_over_becomes_one() {
        let (first, second) = (("1", 10, 10, Kept::Everything), ("2", 10, 10, Kept::Everything));
        check(&[first, first, second], Some(0..2));
        check(&[first, second, second], None);
        check(&[first, second, second, ("3", 10, 10, Kept::Everything)], Some(1..3));
    }

    #[test]
    fn only_what_keeps_as_much_goes_together() {
        let (all, less) = (("1", 10, 10, Kept::Everything), ("1", 10, 10, Kept::Records));
        check(&[less, less, all, all], None);
        let control = |day| (day, 10, 10, Kept::Control);
        check(&[control("1"), control("2"), control("3")], None);
        check(&[control("1"), control("2"), control("3"), control("4")], Some(0..4));
    }

    #[test]
    fn what_is_left_alone_parts_a_run() {
        let all = segments(&[("1", 30, 10, Kept::Everything); 6]);
        assert_eq!(AT.choose(&all, |segment| segment.first == 60), None);
        assert_eq!(AT.choose(&all, |segment| segment.first == 0), Some(1..5));
    }
}
