//! Bytes that are known again without being kept.

use serde::{Deserialize, Serialize};

use super::{Peek, Seen};

/// The most bytes at a file's beginning that it is known by.
pub const HEAD_BYTES_MAX: usize = 1_024;
/// The most bytes before a cursor that a file is known by.
pub const MARK_BYTES_MAX: usize = 64;

/// Some bytes: how many, and their FNV-1a hash of 64 bits. It tells files apart; it does not withstand somebody who forges one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Mark {
    bytes: u16,
    hash: u64,
}

/// A place in a file, and the mark of the bytes before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Place {
    /// Bytes from the file's beginning.
    pub offset: u64,
    /// Of the bytes that end there.
    pub mark: Mark,
}

impl Mark {
    /// The mark of at most 64 KiB; of more, that of the first.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let kept = bytes.get(..bytes.len().min(usize::from(u16::MAX))).unwrap_or_default();
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        let hash = kept.iter().fold(0xcbf2_9ce4_8422_2325, step);
        Self { bytes: u16::try_from(kept.len()).unwrap_or(u16::MAX), hash }
    }

    /// Of the bytes before an offset.
    pub(super) fn before(one: &Seen, offset: u64, peek: Peek<'_>) -> Option<Self> {
        let from = offset.saturating_sub(MARK_BYTES_MAX as u64);
        let length = usize::try_from(offset - from).ok()?;
        if length == 0 {
            return Some(Self::of(b""));
        }
        peek(one, from, length).filter(|bytes| bytes.len() == length).map(|bytes| Self::of(&bytes))
    }

    /// How many bytes it is of.
    pub(super) const fn len(self) -> usize {
        self.bytes as usize
    }

    /// Whether a file has these bytes at an offset.
    pub(super) fn is_at(self, one: &Seen, offset: u64, peek: Peek<'_>) -> Option<bool> {
        match self.len() {
            0 => Some(true),
            length => Some(Self::of(&peek(one, offset, length)?) == self),
        }
    }
}

impl Place {
    /// Whether a file has this place: the same bytes before it.
    pub(super) fn is_in(self, one: &Seen, peek: Peek<'_>) -> Option<bool> {
        match self.offset.checked_sub(self.mark.len() as u64) {
            Some(from) => self.mark.is_at(one, from, peek),
            None => Some(false),
        }
    }
}
