//! The bytes of a batch in the write-ahead log. The byte table is in `docs/format.md`.
//!
//! ```text
//! "TFRM"  u32 payload length  u32 CRC-32C of the payload
//! payload: u64 first index  u32 count
//!          count × ( u16 leaf length, leaf, u32 content length, content )
//!          u16 checkpoint length, checkpoint
//! ```
//! All numbers are big-endian. The checksum only tells a torn write from a whole one; that nothing was
//! changed on purpose is what the tree and the signature are for.

use tlog::{Hash, leaf_hash};

use crate::batch::{Batch, Span};

pub(crate) const MAGIC: [u8; 4] = *b"TFRM";
const PREFIX_BYTES: usize = 12;
/// The largest frame that is read: far above what one batch may hold (see `sequencer`).
pub(crate) const FRAME_BYTES_MAX: usize = 256 << 20;

/// A frame that is being written.
pub(crate) struct FrameWriter {
    first: u64,
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

impl FrameWriter {
    pub(crate) fn new(first: u64, capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(PREFIX_BYTES + 12 + capacity);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&first.to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        Self { first, bytes, spans: Vec::new() }
    }

    /// Appends one entry; its leaf is written by `leaf` at the end of the buffer.
    pub(crate) fn push(&mut self, leaf: impl FnOnce(&mut Vec<u8>), content: &[u8]) -> Hash {
        let length_at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        let start = self.bytes.len();
        leaf(&mut self.bytes);
        let end = self.bytes.len();
        // Sealing a draft has made sure of the leaf's size, and the queue of the content's.
        let length = u16::try_from(end - start).unwrap_or(u16::MAX);
        patch(&mut self.bytes, length_at, &length.to_be_bytes());
        let hash = leaf_hash(self.bytes.get(start..end).unwrap_or_default());
        self.bytes.extend_from_slice(&u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes());
        let content_start = self.bytes.len();
        self.bytes.extend_from_slice(content);
        self.spans.push(Span { leaf: start..end, content: content_start..self.bytes.len(), hash });
        hash
    }

    /// Closes the frame with the signed checkpoint.
    pub(crate) fn finish(mut self, checkpoint: String) -> Frame {
        let note_length = u16::try_from(checkpoint.len()).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&note_length.to_be_bytes());
        self.bytes.extend_from_slice(checkpoint.as_bytes());
        let count = u32::try_from(self.spans.len()).unwrap_or(u32::MAX);
        patch(&mut self.bytes, PREFIX_BYTES + 8, &count.to_be_bytes());
        let payload = self.bytes.get(PREFIX_BYTES..).unwrap_or_default();
        let (length, checksum) = (u32::try_from(payload.len()).unwrap_or(u32::MAX), crc32c::crc32c(payload));
        patch(&mut self.bytes, 4, &length.to_be_bytes());
        patch(&mut self.bytes, 8, &checksum.to_be_bytes());
        Frame(Batch::new(self.first, self.bytes, self.spans, checkpoint))
    }
}

fn patch(bytes: &mut [u8], at: usize, with: &[u8]) {
    bytes.iter_mut().skip(at).zip(with).for_each(|(to, from)| *to = *from);
}

/// A batch whose buffer is its frame, ready to be written.
pub(crate) struct Frame(Batch);

impl Frame {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.buffer()
    }

    pub(crate) fn into_batch(self) -> Batch {
        self.0
    }
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadFrame {
    /// The bytes end before the frame does.
    Short,
    /// The bytes are not those of a frame.
    Wrong,
}

/// Reads the frame at the start of `bytes`: the batch, and the length of the frame.
pub(crate) fn read(bytes: &[u8]) -> Result<(Batch, usize), BadFrame> {
    let (prefix, rest) = bytes.split_at_checked(PREFIX_BYTES).ok_or(BadFrame::Short)?;
    let mut prefix = Reader(prefix);
    let magic = prefix.take(4).ok_or(BadFrame::Short)?;
    let (Some(length), Some(checksum)) = (prefix.u32(), prefix.u32()) else { return Err(BadFrame::Short) };
    let length = length as usize;
    if magic != MAGIC || length > FRAME_BYTES_MAX {
        return Err(BadFrame::Wrong);
    }
    let payload = rest.get(..length).ok_or(BadFrame::Short)?;
    if crc32c::crc32c(payload) != checksum {
        return Err(BadFrame::Wrong);
    }
    let batch = read_payload(payload).ok_or(BadFrame::Wrong)?;
    Ok((batch, PREFIX_BYTES + length))
}

fn read_payload(payload: &[u8]) -> Option<Batch> {
    let mut reader = Reader(payload);
    let position = |rest: &Reader<'_>| payload.len() - rest.0.len();
    let (first, count) = (reader.u64()?, reader.u32()?);
    let mut spans = Vec::new();
    for _ in 0..count {
        let length = usize::from(reader.u16()?);
        let leaf_at = position(&reader);
        let leaf = reader.take(length)?;
        let length = reader.u32()? as usize;
        let content_at = position(&reader);
        reader.take(length)?;
        spans.push(Span {
            leaf: leaf_at..leaf_at + leaf.len(),
            content: content_at..content_at + length,
            hash: leaf_hash(leaf),
        });
    }
    let length = usize::from(reader.u16()?);
    let checkpoint = String::from_utf8(reader.take(length)?.to_vec()).ok()?;
    reader.0.is_empty().then(|| Batch::new(first, payload.to_vec(), spans, checkpoint))
}

/// Takes big-endian numbers and byte strings off the front of a slice.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(entries: &[(Vec<u8>, Vec<u8>)]) -> Frame {
        let mut writer = FrameWriter::new(7, 0);
        for (leaf, content) in entries {
            writer.push(|out| out.extend_from_slice(leaf), content);
        }
        writer.finish("note".into())
    }

    proptest! {
        #[test]
        fn a_frame_reads_back(entries in prop::collection::vec(any::<(Vec<u8>, Vec<u8>)>(), 0..5), after in any::<Vec<u8>>()) {
            let written = frame(&entries);
            let mut bytes = written.bytes().to_vec();
            let length = bytes.len();
            bytes.extend(after);
            let (read, read_length) = read(&bytes).unwrap();
            prop_assert_eq!(read_length, length);
            let back: Vec<_> = read.entries().map(|e| (e.leaf.to_vec(), e.content.to_vec())).collect();
            let direct: Vec<_> = written.into_batch().entries().map(|e| (e.leaf.to_vec(), e.content.to_vec())).collect();
            prop_assert_eq!(&back, &entries);
            prop_assert_eq!(&direct, &entries);
            prop_assert_eq!((read.first(), read.checkpoint()), (7, "note"));
        }

        #[test]
        fn no_bytes_make_reading_panic(bytes in any::<Vec<u8>>()) {
            let _ = read(&bytes);
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = frame(&[(b"leaf".to_vec(), b"content".to_vec())]).bytes().to_vec();
        for at in 0..bytes.len() {
            assert_eq!(read(&bytes[..at]).err(), Some(BadFrame::Short), "cut at {at}");
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                assert!(read(&changed).is_err(), "bit {bit} of byte {at}");
            }
        }
    }
}
