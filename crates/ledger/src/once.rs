//! Records that their producers may send again, because an answer was lost on its way: each is stored once.
//!
//! What decides is the identifier ([`record::is_once`]). It is remembered for a window of records, so memory and the time
//! that opening takes are bounded whatever the size of the log. Nothing is stored for it: after a start the window is read
//! back from the leaves, and only as far as the tally says that it holds any such record.

use std::collections::{HashMap, VecDeque};
use std::path::Path;

use record::{Unsequenced, Uuid, id_of, is_once};
use world::Disk;

use crate::follow::{FollowError, read_bundle};

/// A record that comes again is known for what it is until this many others have followed it.
pub(crate) const ONCE_RECORDS_MAX: u64 = 1 << 20;

/// Where the records of the window stand that are stored once.
#[derive(Default)]
pub(crate) struct Once {
    places: HashMap<Uuid, u64>,
    /// The same in the order of the log.
    order: VecDeque<(u64, Uuid)>,
}

/// Where a record stands, and whether it stood there before it came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spot {
    pub(crate) index: u64,
    pub(crate) is_repeat: bool,
}

/// Where the records of a batch stand or will stand.
pub(crate) struct Placement<'r> {
    /// Those that are new, in the order in which they are to be written.
    pub(crate) new: Vec<&'r Unsequenced>,
    /// One for each record.
    pub(crate) spots: Vec<Spot>,
}

impl Once {
    /// What the window of a log of `size` records held, from leaves that the write-ahead log has let go of (before `wal_first`)
    /// and those it still holds (`recent`).
    pub(crate) fn read_back(
        disk: &dyn Disk,
        data: &Path,
        size: u64,
        once_end: u64,
        wal_first: u64,
        recent: Vec<(u64, Uuid)>,
    ) -> Result<Self, FollowError> {
        let mut once = Self::default();
        let mut next = size.saturating_sub(ONCE_RECORDS_MAX);
        while next < once_end.min(wal_first) {
            let bundle = read_bundle(disk, data, next)?;
            for entry in bundle.entries_from(next).take_while(|entry| entry.index < wal_first) {
                if let Some(id) = id_of(entry.leaf).filter(|id| is_once(*id)) {
                    once.remember(id, entry.index);
                }
            }
            next = bundle.end();
        }
        for (index, id) in recent {
            once.remember(id, index);
        }
        once.forget_before(size);
        Ok(once)
    }

    /// Finds a place for each record: its own, from `size` on, or that of the same record before it.
    pub(crate) fn place<'r>(&self, records: &[&'r Unsequenced], size: u64) -> Placement<'r> {
        let mut placement =
            Placement { new: Vec::with_capacity(records.len()), spots: Vec::with_capacity(records.len()) };
        let mut in_this_batch = HashMap::new();
        for record in records {
            let own = size + placement.new.len() as u64;
            let index = match is_once(record.id()) {
                true => {
                    let earlier = self.places.get(&record.id()).copied();
                    earlier.unwrap_or_else(|| *in_this_batch.entry(record.id()).or_insert(own))
                }
                false => own,
            };
            if index == own {
                placement.new.push(*record);
            }
            placement.spots.push(Spot { index, is_repeat: index != own });
        }
        placement
    }

    /// Takes in what has become durable from an index on, and forgets what has left the window.
    pub(crate) fn take_in(&mut self, new: &[&Unsequenced], from: u64) {
        for (record, index) in new.iter().zip(from..) {
            if is_once(record.id()) {
                self.remember(record.id(), index);
            }
        }
        self.forget_before(from + new.len() as u64);
    }

    fn remember(&mut self, id: Uuid, index: u64) {
        self.places.insert(id, index);
        self.order.push_back((index, id));
    }

    fn forget_before(&mut self, size: u64) {
        let from = size.saturating_sub(ONCE_RECORDS_MAX);
        while let Some((_, id)) = self.order.pop_front_if(|(index, _)| *index < from) {
            self.places.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_forgotten_when_the_window_has_gone_over_it() {
        let (old, young) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut once = Once::default();
        once.remember(old, 0);
        once.remember(young, 1);
        once.forget_before(ONCE_RECORDS_MAX);
        assert_eq!(once.places.len(), 2);
        once.forget_before(ONCE_RECORDS_MAX + 1);
        assert_eq!(once.places.get(&young), Some(&1));
        assert_eq!((once.places.len(), once.order.len()), (1, 1));
    }
}
