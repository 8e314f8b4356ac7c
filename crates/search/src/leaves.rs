//! The leaves that rows are held against, or made from.

use std::collections::HashMap;
use std::ops::Range;

use record::Envelope;
use tlog::{Bundle, TILE_WIDTH};

/// Appends the entry bundle with a number to a buffer, or says why it cannot.
pub type BundleReader<'a> = dyn Fn(u64, &mut Vec<u8>) -> Result<(), String> + Sync + 'a;

/// The leaves that one row group needs, in the bundles they lie in. Its memory is used again for the next group.
#[derive(Default)]
pub(crate) struct Leaves {
    bundles: Vec<u8>,
    /// For each bundle that has been read, where the leaves in it are.
    spans: HashMap<u64, Vec<Range<usize>>>,
}

/// Bundles of records that are not there any more that are held at a time.
const MISSING_HELD: usize = 65_536;

impl Leaves {
    /// Whether a record, the nth of those that are not there, is one that is always kept.
    pub(crate) fn is_control(&mut self, index: u64, nth: usize, bundles: &BundleReader<'_>) -> Result<bool, String> {
        if nth.is_multiple_of(MISSING_HELD) {
            self.clear();
        }
        self.fetch(index, bundles)?;
        let leaf = self.leaf(index).ok_or_else(|| format!("the log does not have record {index}"))?;
        Ok(Envelope::parse(leaf).map_err(|error| format!("record {index}: {error}"))?.kind == "control")
    }

    pub(crate) fn clear(&mut self) {
        self.bundles.clear();
        self.spans.clear();
    }

    /// Reads the bundle that a record lies in, unless it is here.
    pub(crate) fn fetch(&mut self, index: u64, read: &BundleReader<'_>) -> Result<(), String> {
        let number = index / TILE_WIDTH;
        if self.spans.contains_key(&number) {
            return Ok(());
        }
        let mut end = self.bundles.len();
        read(number, &mut self.bundles)?;
        let mut spans = Vec::new();
        for entry in Bundle::new(self.bundles.get(end..).unwrap_or_default()) {
            let entry = entry.map_err(|error| format!("entries of bundle {number}: {error}"))?;
            spans.push(end + 2..end + 2 + entry.len());
            end += 2 + entry.len();
        }
        self.spans.insert(number, spans);
        Ok(())
    }

    pub(crate) fn leaf(&self, index: u64) -> Option<&[u8]> {
        let at = usize::try_from(index % TILE_WIDTH).ok()?;
        self.bundles.get(self.spans.get(&(index / TILE_WIDTH))?.get(at)?.clone())
    }
}
