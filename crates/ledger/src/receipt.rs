//! What a producer is told: where its records stand.

use record::Uuid;
use tlog::Hash;

use crate::follow::Portion;
use crate::ledger::{AppendError, Ledger};
use crate::sequencer::Place;
use crate::wal::Durable;

/// Where a record stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The record.
    pub id: Uuid,
    /// Its index.
    pub index: u64,
    /// The hash of its leaf.
    pub leaf_hash: Hash,
    /// Whether it stood there already when it came: its producer had sent it before ([`record::once_id`]).
    pub is_repeat: bool,
}

/// Receipts for durable places. Leaves of records that had been sent before are read back, which blocks.
pub(crate) fn receipts(ledger: &Ledger, places: Durable<Vec<Place>>) -> Result<Durable<Vec<Receipt>>, AppendError> {
    let mut earlier = EarlierLeaves { ledger, portion: None };
    let mut hashes = Vec::with_capacity(places.len());
    for place in places.iter() {
        hashes.push(match place.leaf_hash {
            Some(hash) => hash,
            None => earlier.hash(place.index)?,
        });
    }
    let receipt = |(place, leaf_hash): (Place, Hash)| Receipt {
        id: place.id,
        index: place.index,
        leaf_hash,
        is_repeat: place.is_repeat,
    };
    Ok(places.map(|places| places.into_iter().zip(hashes).map(receipt).collect()))
}

/// One draft in, one receipt out; the fallback is never met.
pub(crate) fn the_one(receipts: Durable<Vec<Receipt>>, id: Uuid) -> Durable<Receipt> {
    let nowhere = Receipt { id, index: 0, leaf_hash: Hash([0; 32]), is_repeat: false };
    receipts.map(|receipts| receipts.first().copied().unwrap_or(nowhere))
}

/// Hashes of leaves that are there already. What is sent again mostly stood together before, so the last batch is kept.
struct EarlierLeaves<'l> {
    ledger: &'l Ledger,
    portion: Option<Portion>,
}

impl EarlierLeaves<'_> {
    fn hash(&mut self, index: u64) -> Result<Hash, AppendError> {
        let in_batch = |portion: &Portion| {
            let batch = Some(portion.batch()).filter(|batch| batch.first() <= index)?;
            batch.entries_from(index).next().map(|entry| entry.hash)
        };
        if let Some(hash) = self.portion.as_ref().and_then(in_batch) {
            return Ok(hash);
        }
        let unread = |why: String| AppendError::Unread(index, why);
        self.portion = self.ledger.read(index).map_err(|error| unread(error.to_string()))?;
        self.portion.as_ref().and_then(in_batch).ok_or_else(|| unread("no batch holds it".to_owned()))
    }
}
