//! The records of one request.
//!
//! ```text
//! ( u32 leaf length, leaf, u32 content length, stored content )*
//! ```
//! Numbers are big-endian. Leaf and stored content are the bytes that the log has.

use bytes::Bytes;
use ledger::Entry;
use tlog::Hash;

/// The most bytes of a parcel that has more than one record.
pub const PARCEL_BYTES_MAX: usize = 16 << 20;
/// The most records of a parcel.
pub const PARCEL_RECORDS_MAX: usize = 10_000;
/// Content that is larger stays here, and the centre records that it did: its requests have at most 64 MiB.
const CONTENT_BYTES_MAX: usize = 60 << 20;
/// What is smaller is not worth compressing.
const COMPRESSED_FROM_BYTES: usize = 1 << 10;
/// The fastest of zstd's usual levels: 16 MiB take some 40 ms, and prompts become a quarter.
const COMPRESSION_LEVEL: i32 = 1;

/// Records on their way, in the order of the log.
#[derive(Debug, Clone)]
pub struct Parcel {
    from: u64,
    after: Option<Hash>,
    records: usize,
    bytes: Vec<u8>,
}

/// A parcel as it goes over the wire.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    /// The index of its first record.
    pub(crate) from: u64,
    /// One past the index of its last record.
    pub(crate) end: u64,
    /// The leaf before the first record, so that two logs of one name are not taken for each other.
    pub(crate) after: Option<Hash>,
    pub(crate) body: Bytes,
    pub(crate) is_compressed: bool,
}

impl Parcel {
    /// An empty parcel whose first record will be that with an index; `after` is the hash of the leaf before it.
    #[must_use]
    pub const fn new(from: u64, after: Option<Hash>) -> Self {
        Self { from, after, records: 0, bytes: Vec::new() }
    }

    /// Puts the next record in, unless the parcel would have more bytes or records than it may. One record always fits.
    pub fn push(&mut self, entry: &Entry<'_>, bytes_max: usize) -> bool {
        let content: &[u8] = if entry.content.len() > CONTENT_BYTES_MAX { &[] } else { entry.content };
        let wanted = 8 + entry.leaf.len() + content.len();
        let is_full = self.records >= PARCEL_RECORDS_MAX || self.bytes.len() + wanted > bytes_max;
        if is_full && self.records > 0 {
            return false;
        }
        for part in [entry.leaf, content] {
            self.bytes.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            self.bytes.extend_from_slice(part);
        }
        self.records += 1;
        true
    }

    /// Whether nothing is in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// The index of its first record.
    #[must_use]
    pub const fn from(&self) -> u64 {
        self.from
    }

    /// One past the index of its last record.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.from + self.records as u64
    }

    /// Its bytes, as the centre reads them.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Makes it ready for the wire. What cannot be compressed goes as it is.
    pub(crate) fn pack(self) -> Packed {
        let (from, end, after) = (self.from, self.end(), self.after);
        let compressed = match self.bytes.len() < COMPRESSED_FROM_BYTES {
            true => None,
            false => zstd::encode_all(self.bytes.as_slice(), COMPRESSION_LEVEL).ok(),
        };
        let is_compressed = compressed.is_some();
        Packed { from, end, after, body: compressed.unwrap_or(self.bytes).into(), is_compressed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>(leaf: &'a [u8], content: &'a [u8]) -> Entry<'a> {
        Entry { index: 7, leaf, hash: Hash([0; 32]), content }
    }

    /// The golden bytes: what a centre of any version reads.
    #[test]
    fn a_parcel_has_exactly_these_bytes() {
        let mut parcel = Parcel::new(7, None);
        assert!(parcel.push(&entry(b"leaf", b"content"), 100) && parcel.push(&entry(b"l", b""), 100));
        assert_eq!(parcel.bytes(), b"\0\0\0\x04leaf\0\0\0\x07content\0\0\0\x01l\0\0\0\0");
        assert_eq!((parcel.from(), parcel.end()), (7, 9));
    }

    #[test]
    fn a_parcel_takes_what_fits_and_always_one() {
        let mut parcel = Parcel::new(0, None);
        assert!(parcel.push(&entry(&[1; 50], &[2; 500]), 100), "one record always fits");
        assert!(!parcel.push(&entry(b"l", b""), 100));
        let mut parcel = Parcel::new(0, None);
        assert!(parcel.push(&entry(&[1; 50], b""), 100) && parcel.push(&entry(&[1; 34], b""), 100));
        assert!(!parcel.push(&entry(b"", b""), 100));
        let mut parcel = Parcel::new(0, None);
        while parcel.push(&entry(b"l", b""), usize::MAX) {}
        assert_eq!(parcel.end(), PARCEL_RECORDS_MAX as u64);
    }

    #[test]
    fn what_is_packed_reads_back() {
        let mut parcel = Parcel::new(3, None);
        for _ in 0..100 {
            parcel.push(&entry(&[1; 50], &[2; 500]), usize::MAX);
        }
        let bytes = parcel.bytes().to_vec();
        let packed = parcel.pack();
        assert!(packed.is_compressed && packed.body.len() < bytes.len() / 10);
        assert_eq!(zstd::decode_all(packed.body.as_ref()).unwrap(), bytes);
        assert_eq!((packed.from, packed.end), (3, 103));
    }
}
