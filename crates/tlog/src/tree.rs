//! The right edge of a Merkle tree.

use crate::{Hash, leaf_hash, node_hash};

/// The roots of the perfect subtrees that a tree is made of, largest first: one for each bit that is set
/// in its size. That is all a tree needs to go on growing and to know its root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    roots: Vec<Hash>,
}

impl Frontier {
    /// A frontier from its parts, or nothing when there are not as many roots as set bits in `size`.
    #[must_use]
    pub fn from_parts(size: u64, roots: Vec<Hash>) -> Option<Self> {
        (roots.len() == size.count_ones() as usize).then_some(Self { size, roots })
    }

    /// How many leaves the tree has.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The roots of its perfect subtrees, largest first.
    #[must_use]
    pub fn roots(&self) -> &[Hash] {
        &self.roots
    }

    /// Adds an entry at the right and gives its leaf hash.
    pub fn push_entry(&mut self, entry: &[u8]) -> Hash {
        let hash = leaf_hash(entry);
        self.push(hash);
        hash
    }

    /// Adds a leaf hash at the right.
    pub fn push(&mut self, leaf: Hash) {
        let mut node = leaf;
        // Each trailing one of the size is a perfect subtree that the new node completes with its sibling.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.roots.pop() {
                node = node_hash(&left, &node);
            }
        }
        self.roots.push(node);
        self.size += 1;
    }

    /// The root hash: RFC 6962, section 2.1.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut from_right = self.roots.iter().rev();
        let Some(smallest) = from_right.next() else { return Hash::of_empty_tree() };
        from_right.fold(*smallest, |right, left| node_hash(left, &right))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// A foreign oracle: the same entries in `ct-merkle` have the same root at every size.
        #[test]
        fn roots_agree_with_ct_merkle(entries in prop::collection::vec(any::<Vec<u8>>(), 0..300)) {
            let mut theirs = ct_merkle::mem_backed_tree::MemoryBackedTree::<sha2::Sha256, Vec<u8>>::new();
            let mut ours = Frontier::default();
            for entry in entries {
                ours.push_entry(&entry);
                theirs.push(entry);
                let (root, their_root) = (ours.root(), theirs.root());
                prop_assert_eq!(root.0.as_slice(), their_root.as_bytes().as_slice());
            }
            let parts = Frontier::from_parts(ours.size(), ours.roots().to_vec());
            prop_assert_eq!(parts, Some(ours));
        }
    }

    #[test]
    fn the_empty_tree_hashes_nothing() {
        assert_eq!(Frontier::default().root().to_string(), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }
}
