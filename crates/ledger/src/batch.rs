//! Entries that became durable together.

use std::ops::Range;

use tlog::{Hash, leaf_hash};

/// One entry of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Its index in the log.
    pub index: u64,
    /// The exact bytes of its leaf.
    pub leaf: &'a [u8],
    /// The hash of its leaf.
    pub hash: Hash,
    /// The stored form of its content ([`record::Content::decode`]); empty when it has none.
    pub content: &'a [u8],
}

/// Entries that became durable together, and the checkpoint that was signed over them.
#[derive(Debug)]
pub struct Batch {
    first: u64,
    buffer: Vec<u8>,
    spans: Vec<Span>,
    checkpoint: String,
}

#[derive(Debug)]
pub(crate) struct Span {
    pub(crate) leaf: Range<usize>,
    pub(crate) content: Range<usize>,
    pub(crate) hash: Hash,
}

impl Batch {
    pub(crate) const fn new(first: u64, buffer: Vec<u8>, spans: Vec<Span>, checkpoint: String) -> Self {
        Self { first, buffer, spans, checkpoint }
    }

    /// Entries without their content, as a bundle of the published log holds them.
    pub(crate) fn of_leaves<'a>(first: u64, leaves: impl Iterator<Item = &'a [u8]>) -> Self {
        let (mut buffer, mut spans) = (Vec::new(), Vec::new());
        for leaf in leaves {
            let start = buffer.len();
            buffer.extend_from_slice(leaf);
            let end = buffer.len();
            spans.push(Span { leaf: start..end, content: end..end, hash: leaf_hash(leaf) });
        }
        Self::new(first, buffer, spans, String::new())
    }

    pub(crate) fn buffer(&self) -> &[u8] {
        &self.buffer
    }

    /// The index of its first entry.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// One past the index of its last entry: the size of the tree with it.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first + self.spans.len() as u64
    }

    /// The bytes that it keeps in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.buffer.capacity() + self.spans.len() * size_of::<Span>()
    }

    /// The signed checkpoint of the tree with it.
    #[must_use]
    pub fn checkpoint(&self) -> &str {
        &self.checkpoint
    }

    /// Its entries from an index on.
    pub fn entries_from(&self, index: u64) -> impl Iterator<Item = Entry<'_>> {
        let skip = usize::try_from(index.saturating_sub(self.first)).unwrap_or(usize::MAX);
        // A slice, not `Iterator::skip`: each of a batch's submissions finds its own entries this way.
        let spans = self.spans.get(skip..).unwrap_or_default();
        spans.iter().zip(index.max(self.first)..).map(|(span, index)| Entry {
            index,
            leaf: self.buffer.get(span.leaf.clone()).unwrap_or_default(),
            hash: span.hash,
            content: self.buffer.get(span.content.clone()).unwrap_or_default(),
        })
    }

    /// All its entries.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.entries_from(self.first)
    }
}
