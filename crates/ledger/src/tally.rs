//! What the writer must know to go on: no more than fits the head of a WAL segment.

use std::collections::BTreeMap;

use record::{CallPhase, Uuid};
use tlog::{Frontier, Hash};

use crate::frame::Reader;

/// The state of the log after its last durable batch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    /// The right edge of the tree.
    pub(crate) frontier: Frontier,
    /// The next number of every producer's sequence.
    sequences: BTreeMap<String, u64>,
    /// Calls that have begun and not ended, with the index of the record that began them.
    open_calls: BTreeMap<Uuid, u64>,
    /// One past the index of the last record that is stored once ([`record::is_once`]); 0 when there is none.
    once_end: u64,
}

/// What of a record changes the tally, beside its hash.
pub(crate) struct Admitted<'a> {
    pub(crate) producer: &'a str,
    pub(crate) seq: u64,
    pub(crate) phase: Option<CallPhase>,
    /// Whether it is stored once however often it comes.
    pub(crate) is_once: bool,
}

impl Tally {
    pub(crate) const fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The number that the next record of a producer gets.
    pub(crate) fn next_seq(&self, producer: &str) -> u64 {
        self.sequences.get(producer).copied().unwrap_or(0)
    }

    /// Takes in one record. Commit and recovery both come through here.
    pub(crate) fn admit(&mut self, hash: Hash, record: &Admitted<'_>) {
        let index = self.frontier.size();
        self.frontier.push(hash);
        match self.sequences.get_mut(record.producer) {
            Some(next) => *next = record.seq + 1,
            None => {
                self.sequences.insert(record.producer.to_owned(), record.seq + 1);
            }
        }
        if record.is_once {
            self.once_end = index + 1;
        }
        match record.phase {
            Some(CallPhase::Begins(call)) => {
                self.open_calls.insert(call, index);
            }
            Some(CallPhase::Ends(call)) => {
                self.open_calls.remove(&call);
            }
            None => {}
        }
    }

    /// Calls that have begun and not ended: call id and index of the record that began them.
    pub(crate) fn open_calls(&self) -> impl Iterator<Item = (Uuid, u64)> {
        self.open_calls.iter().map(|(call, index)| (*call, *index))
    }

    /// How many these are.
    pub(crate) fn calls_under_way(&self) -> u64 {
        self.open_calls.len() as u64
    }

    /// No record from this index on is one that is stored once.
    pub(crate) const fn once_end(&self) -> u64 {
        self.once_end
    }

    /// The form it has in the head of a segment; see `docs/format.md`.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = self.frontier.size().to_be_bytes().to_vec();
        for root in self.frontier.roots() {
            out.extend_from_slice(&root.0);
        }
        out.extend_from_slice(&u32::try_from(self.sequences.len()).unwrap_or(u32::MAX).to_be_bytes());
        for (producer, next) in &self.sequences {
            out.extend_from_slice(&u16::try_from(producer.len()).unwrap_or(u16::MAX).to_be_bytes());
            out.extend_from_slice(producer.as_bytes());
            out.extend_from_slice(&next.to_be_bytes());
        }
        out.extend_from_slice(&u32::try_from(self.open_calls.len()).unwrap_or(u32::MAX).to_be_bytes());
        for (call, index) in &self.open_calls {
            out.extend_from_slice(call.as_bytes());
            out.extend_from_slice(&index.to_be_bytes());
        }
        out.extend_from_slice(&self.once_end.to_be_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let size = reader.u64()?;
        let mut roots = Vec::new();
        for _ in 0..size.count_ones() {
            roots.push(Hash(reader.take(32)?.try_into().ok()?));
        }
        let mut tally = Self { frontier: Frontier::from_parts(size, roots)?, ..Self::default() };
        for _ in 0..reader.u32()? {
            let length = usize::from(reader.u16()?);
            let producer = String::from_utf8(reader.take(length)?.to_vec()).ok()?;
            tally.sequences.insert(producer, reader.u64()?);
        }
        for _ in 0..reader.u32()? {
            let call = Uuid::from_slice(reader.take(16)?).ok()?;
            tally.open_calls.insert(call, reader.u64()?);
        }
        tally.once_end = reader.u64()?;
        reader.0.is_empty().then_some(tally)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_reads_back_and_forgets_ended_calls() {
        let mut tally = Tally::default();
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let record = |producer, seq, phase, is_once| Admitted { producer, seq, phase, is_once };
        tally.admit(Hash([1; 32]), &record("gateway", 0, Some(CallPhase::Begins(a)), false));
        tally.admit(Hash([2; 32]), &record("gateway", 1, Some(CallPhase::Begins(b)), true));
        tally.admit(Hash([3; 32]), &record("control", 0, Some(CallPhase::Ends(a)), false));
        assert_eq!(tally.once_end(), 2);
        assert_eq!(tally.open_calls().collect::<Vec<_>>(), [(b, 1)]);
        assert_eq!((tally.next_seq("gateway"), tally.next_seq("control"), tally.next_seq("new")), (2, 1, 0));
        let encoded = tally.encode();
        assert_eq!(Tally::decode(&encoded), Some(tally));
        assert_eq!(Tally::decode(&encoded[1..]), None);
    }
}
