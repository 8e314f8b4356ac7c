//! Hashes of RFC 6962, section 2.1.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::block_api::compress256;
use sha2::{Digest, Sha256};

/// A SHA-256 hash in the tree. It prints as base64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The root of the empty tree: SHA-256 of nothing.
    #[must_use]
    pub fn of_empty_tree() -> Self {
        Self(Sha256::digest(b"").into())
    }

    /// Reads 44 characters of base64.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        STANDARD.decode(text).ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// SHA-256(0x00 || entry).
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Hash(Sha256::new().chain_update([0]).chain_update(entry).finalize().into())
}

/// SHA-256(0x01 || left || right).
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    // Always 65 bytes, so always the same two blocks (FIPS 180-4, section 5.1.1): a general hasher spends half of
    // its time on finding that out, and folding a tile for one proof takes 255 of these.
    let mut message = [0_u8; 128];
    let (tag, rest) = message.split_at_mut(1);
    let (first, rest) = rest.split_at_mut(32);
    let (second, rest) = rest.split_at_mut(32);
    let (end_mark, rest) = rest.split_at_mut(1);
    let (_zeros, bits) = rest.split_at_mut(54);
    tag.fill(1);
    first.copy_from_slice(&left.0);
    second.copy_from_slice(&right.0);
    end_mark.fill(0x80);
    bits.copy_from_slice(&(65_u64 * 8).to_be_bytes());
    let mut state = INITIAL;
    let (blocks, _) = message.as_chunks::<64>();
    compress256(&mut state, blocks);
    let mut hash = [0; 32];
    for (bytes, word) in hash.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    Hash(hash)
}

/// The state that SHA-256 begins with (FIPS 180-4, section 5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_node_is_hashed_as_any_sha_256_hashes_it(left: [u8; 32], right: [u8; 32]) {
            let whole = Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize();
            prop_assert_eq!(node_hash(&Hash(left), &Hash(right)).0, <[u8; 32]>::from(whole));
        }
    }
}
