//! Parcels out of the log, one after the other.

use ledger::{FollowError, Follower, Ledger, Portion};
use tlog::Hash;

use crate::parcel::{Packed, Parcel};

/// Reads the log from an index on.
pub(crate) struct Reader {
    follower: Follower,
    /// A batch of which the last parcel has taken only a part.
    rest: Option<Portion>,
    next: u64,
    /// The hash of the leaf before `next`.
    last: Option<Hash>,
}

impl Reader {
    /// Begins at an index, which the log has or will have next. Blocks while it reads the leaf before it.
    pub(crate) fn open(ledger: &Ledger, from: u64) -> Result<Self, FollowError> {
        let last = match from.checked_sub(1) {
            Some(before) => ledger
                .read(before)?
                .and_then(|portion| portion.batch().entries_from(before).next().map(|entry| entry.hash)),
            None => None,
        };
        Ok(Self { follower: ledger.follow(from), rest: None, next: from, last })
    }

    /// Waits until there is something to read. Not so once the log is closed and all has been read.
    pub(crate) async fn has_more(&mut self) -> Result<bool, FollowError> {
        if self.rest.is_none() {
            self.rest = self.follower.next().await?;
        }
        Ok(self.rest.is_some())
    }

    /// What is durable now, up to a full parcel. Blocks on the disk where the log lags.
    pub(crate) fn take(&mut self, bytes_max: usize) -> Result<Option<Packed>, FollowError> {
        let mut parcel = Parcel::new(self.next, self.last);
        loop {
            let portion = match self.rest.take() {
                Some(portion) => portion,
                None => match self.follower.try_next()? {
                    Some(portion) => portion,
                    None => break,
                },
            };
            if !self.fill(&mut parcel, &portion, bytes_max) {
                self.rest = Some(portion);
                break;
            }
        }
        Ok((!parcel.is_empty()).then(|| parcel.pack()))
    }

    /// Puts what is new of a batch into a parcel; not all of it once the parcel is full.
    fn fill(&mut self, parcel: &mut Parcel, portion: &Portion, bytes_max: usize) -> bool {
        for entry in portion.batch().entries_from(self.next) {
            if !parcel.push(&entry, bytes_max) {
                return false;
            }
            (self.next, self.last) = (entry.index + 1, Some(entry.hash));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use ledger::Options;
    use proptest::prelude::*;
    use record::{Draft, Field, Kind, Source, Timestamp, uuid_v7};
    use world::{ManualClock, SeededEntropy, SimulatedDisk, World};

    use super::*;

    fn world() -> World {
        World {
            disk: Arc::new(SimulatedDisk::default()),
            clock: Arc::new(ManualClock::at(1_763_890_442_000_000)),
            entropy: Arc::new(SeededEntropy::new(1)),
        }
    }

    fn draft(world: &World, content_bytes: usize) -> Draft {
        let source = Source {
            service: "bot".into(),
            environment: "test".into(),
            host: "here".into(),
            origin: "example.com/node".into(),
            producer: "gateway".into(),
        };
        let time = Timestamp::from_micros(world.clock.now_micros());
        let mut draft = Draft::new(uuid_v7(time, &world.entropy.bytes()), time, Kind::System, source.into());
        let bytes = vec![b'x'; content_bytes];
        draft.content.push(Field { name: "said".into(), media: "text/plain".into(), bytes });
        draft
    }

    fn entries(bytes: &[u8]) -> usize {
        let (mut rest, mut parts) = (bytes, 0);
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            rest = &after[u32::from_be_bytes(*length) as usize..];
            parts += 1;
        }
        parts / 2
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

        /// However the log was written in batches and whatever a parcel may hold, every record is in one parcel, in its order.
        #[test]
        fn parcels_follow_each_other_without_a_gap(
            batches in prop::collection::vec(prop::collection::vec(0_usize..3_000, 1..9), 1..12),
            bytes_max in 500_usize..20_000,
            from in any::<prop::sample::Index>(),
        ) {
            let world = world();
            let options = Options { wal_segment_bytes: 20_000, recent_bytes_max: 1, ..Options::default() };
            let opened = ledger::Ledger::open(&world, Path::new("data"), &options).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            for batch in &batches {
                let drafts = batch.iter().map(|bytes| draft(&world, *bytes)).collect();
                runtime.block_on(opened.ledger.append_all(drafts)).unwrap();
            }
            let size = opened.ledger.durable().size;
            let mut next = from.index(usize::try_from(size).unwrap()) as u64;
            let mut reader = Reader::open(&opened.ledger, next).unwrap();
            while let Some(packed) = reader.take(bytes_max).unwrap() {
                let bytes = match packed.is_compressed {
                    true => zstd::decode_all(packed.body.as_ref()).unwrap(),
                    false => packed.body.to_vec(),
                };
                prop_assert_eq!(packed.from, next);
                prop_assert_eq!(entries(&bytes) as u64, packed.end - packed.from);
                prop_assert_eq!(packed.after.is_some(), next > 0);
                prop_assert!(bytes.len() <= bytes_max || packed.end == packed.from + 1);
                next = packed.end;
            }
            prop_assert_eq!(next, size);
            opened.ledger.close();
        }
    }
}
