//! Inclusion and consistency proofs: RFC 6962, sections 2.1.1 and 2.1.2; checked as RFC 9162, sections 2.1.3.2 and
//! 2.1.4.2, say.

use std::collections::HashMap;
use std::ops::Range;

use crate::{Hash, TILE_WIDTH, TilePath, node_hash};

/// Why a proof does not prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The index is not one of the tree's.
    #[error("record {index} is not in a tree of {size} records")]
    Index {
        /// The index that was asked for.
        index: u64,
        /// How many leaves the tree has.
        size: u64,
    },
    /// The older tree is the larger one.
    #[error("a tree of {old} records cannot have grown to {new}")]
    Sizes {
        /// The size that should come first.
        old: u64,
        /// The size that should come after it.
        new: u64,
    },
    /// It has too few or too many hashes.
    #[error("the proof has {found} hashes where {expected} belong")]
    Length {
        /// How many it has.
        found: usize,
        /// How many it should have.
        expected: usize,
    },
    /// Its hashes lead to another root.
    #[error("the proof leads to the root {computed}, not to {signed}")]
    Root {
        /// Where it leads.
        computed: Hash,
        /// Where it should lead.
        signed: Hash,
    },
}

/// Why a proof could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProveError<E> {
    /// There can be none.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// A tile could not be had.
    #[error("{path}: {why}")]
    Tile {
        /// The tile's path in the log.
        path: TilePath,
        /// What went wrong.
        why: E,
    },
    /// A tile has other than the bytes that it should.
    #[error("{path}: {found} bytes are too few")]
    Short {
        /// The tile's path in the log.
        path: TilePath,
        /// How many bytes it has.
        found: usize,
    },
}

/// The hashes that lead from a record to the root of a tree of `size` records, leaf side first. `read` gives the
/// bytes of a tile, of at least its width.
///
/// # Errors
/// When the record is not in the tree, or a tile cannot be had.
pub fn prove_inclusion<E>(
    index: u64,
    size: u64,
    read: impl FnMut(TilePath) -> Result<Vec<u8>, E>,
) -> Result<Vec<Hash>, ProveError<E>> {
    Prover::new(read).inclusion(index, size)
}

/// The hashes that show that a tree of `new` records begins with that of `old`. `read` gives the bytes of a tile of
/// the newer tree, of at least its width.
///
/// # Errors
/// When `old` is larger than `new`, or a tile cannot be had.
pub fn prove_consistency<E>(
    old: u64,
    new: u64,
    read: impl FnMut(TilePath) -> Result<Vec<u8>, E>,
) -> Result<Vec<Hash>, ProveError<E>> {
    Prover::new(read).consistency(old, new)
}

/// Makes proofs out of tiles. It keeps what it has folded of them: the tiles above level 0 are few, and every proof
/// needs some.
pub struct Prover<R> {
    read: R,
    /// The tile of level 0 that was used last.
    leaves: Option<(TilePath, Nodes)>,
    upper: HashMap<TilePath, Nodes>,
}

/// So many folded tiles are kept, 16 KiB each: those of a log of a quarter of a billion records.
const KEPT_MAX: usize = 4_096;

/// The nodes of a tile by their height in it, the hashes that it holds first.
struct Nodes(Vec<Vec<Hash>>);

impl Nodes {
    fn fold(tile: &[u8]) -> Self {
        let hashes: Vec<Hash> = tile.chunks_exact(32).filter_map(|hash| hash.try_into().ok().map(Hash)).collect();
        let mut rows = vec![hashes];
        while let Some(row) = rows.last().filter(|row| row.len() > 1) {
            let above = row.chunks_exact(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
            rows.push(above);
        }
        Self(rows)
    }
}

impl<E, R: FnMut(TilePath) -> Result<Vec<u8>, E>> Prover<R> {
    /// A prover that reads tiles, of at least their width, with `read`.
    pub fn new(read: R) -> Self {
        Self { read, leaves: None, upper: HashMap::new() }
    }

    /// As [`prove_inclusion`].
    ///
    /// # Errors
    /// As for [`prove_inclusion`].
    pub fn inclusion(&mut self, index: u64, size: u64) -> Result<Vec<Hash>, ProveError<E>> {
        if index >= size {
            return Err(ProofError::Index { index, size }.into());
        }
        let (mut within, mut siblings) = (0..size, Vec::new());
        while within.end - within.start > 1 {
            let middle = split(&within);
            let (left, right) = (within.start..middle, middle..within.end);
            if index < middle {
                siblings.push(right);
                within = left;
            } else {
                siblings.push(left);
                within = right;
            }
        }
        siblings.into_iter().rev().map(|range| self.root_of(size, range)).collect()
    }

    /// As [`prove_consistency`].
    ///
    /// # Errors
    /// As for [`prove_consistency`].
    pub fn consistency(&mut self, old: u64, new: u64) -> Result<Vec<Hash>, ProveError<E>> {
        if old > new {
            return Err(ProofError::Sizes { old, new }.into());
        }
        if old == 0 || old == new {
            return Ok(Vec::new());
        }
        let (mut within, mut others) = (0..new, Vec::new());
        while within.end != old {
            let middle = split(&within);
            let (left, right) = (within.start..middle, middle..within.end);
            if old <= middle {
                others.push(right);
                within = left;
            } else {
                others.push(left);
                within = right;
            }
        }
        // The whole old tree is known to whoever checks; a part of it is not.
        let part = (within.start > 0).then_some(within);
        part.into_iter().chain(others.into_iter().rev()).map(|range| self.root_of(new, range)).collect()
    }

    /// The root over a range that begins where a subtree does: its perfect subtrees, folded from the right.
    fn root_of(&mut self, size: u64, range: Range<u64>) -> Result<Hash, ProveError<E>> {
        let (mut start, mut roots) = (range.start, Vec::new());
        while start < range.end {
            let height = 63 - (range.end - start).leading_zeros();
            roots.push(self.perfect(size, height, start >> height)?);
            start += 1 << height;
        }
        let folded = roots.into_iter().rev().reduce(|right, left| node_hash(&left, &right));
        Ok(folded.unwrap_or_else(Hash::of_empty_tree))
    }

    /// The node `height` levels up whose number there is `number`: in its tile, or made of hashes that are.
    fn perfect(&mut self, size: u64, height: u32, number: u64) -> Result<Hash, ProveError<E>> {
        let (level, above) = (height / 8, height % 8);
        let first = number << above;
        let tile = first / TILE_WIDTH;
        let hashes = size.checked_shr(8 * level).unwrap_or(0);
        let width = (hashes - (tile * TILE_WIDTH).min(hashes)).min(TILE_WIDTH);
        let path = TilePath {
            // A height is below 64, a width at most 256.
            level: u8::try_from(level).unwrap_or(u8::MAX),
            number: tile,
            width: u16::try_from(width).unwrap_or(u16::MAX),
        };
        let at = usize::try_from((first % TILE_WIDTH) >> above).unwrap_or(usize::MAX);
        let nodes = self.nodes(path)?;
        let node = nodes.0.get(above as usize).and_then(|row| row.get(at)).copied();
        node.ok_or_else(|| ProveError::Short { path, found: nodes.0.first().map_or(0, Vec::len) * 32 })
    }

    fn nodes(&mut self, path: TilePath) -> Result<&Nodes, ProveError<E>> {
        let is_known = if path.level == 0 {
            self.leaves.as_ref().is_some_and(|(known, _)| *known == path)
        } else {
            self.upper.contains_key(&path)
        };
        if !is_known {
            let tile = (self.read)(path).map_err(|why| ProveError::Tile { path, why })?;
            let nodes = Nodes::fold(&tile);
            if path.level == 0 {
                self.leaves = Some((path, nodes));
            } else {
                if self.upper.len() >= KEPT_MAX {
                    self.upper.clear();
                }
                self.upper.insert(path, nodes);
            }
        }
        let kept = if path.level == 0 { self.leaves.as_ref().map(|(_, nodes)| nodes) } else { self.upper.get(&path) };
        // It has just been put there.
        kept.ok_or(ProveError::Short { path, found: 0 })
    }
}

/// Where RFC 6962 parts a range of leaves: after the largest power of two that is smaller than its length.
const fn split(range: &Range<u64>) -> u64 {
    range.start + (1 << (63 - (range.end - range.start - 1).leading_zeros()))
}

/// Checks that a leaf stands at an index in the tree of a size and root.
///
/// # Errors
/// When the proof does not show that.
pub fn check_inclusion(index: u64, size: u64, leaf: Hash, proof: &[Hash], root: Hash) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Index { index, size });
    }
    // The path is inside the perfect left part up to where index and last leaf part ways, then along the right edge.
    let inner = 64 - (index ^ (size - 1)).leading_zeros();
    let edge = index.checked_shr(inner).unwrap_or(0).count_ones();
    let expected = (inner + edge) as usize;
    if proof.len() != expected {
        return Err(ProofError::Length { found: proof.len(), expected });
    }
    let (inner_hashes, edge_hashes) = proof.split_at(inner as usize);
    let inside = inner_hashes.iter().zip(0_u32..).fold(leaf, |node, (sibling, level)| match index >> level & 1 {
        0 => node_hash(&node, sibling),
        _ => node_hash(sibling, &node),
    });
    let computed = edge_hashes.iter().fold(inside, |node, sibling| node_hash(sibling, &node));
    if computed == root { Ok(()) } else { Err(ProofError::Root { computed, signed: root }) }
}

/// Checks that the tree of one size and root begins with the tree of another.
///
/// # Errors
/// When the proof does not show that.
pub fn check_consistency(
    (old, old_root): (u64, Hash),
    (new, new_root): (u64, Hash),
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::Sizes { old, new });
    }
    let same = |computed: Hash, signed: Hash| {
        if computed == signed { Ok(()) } else { Err(ProofError::Root { computed, signed }) }
    };
    if old == 0 || old == new {
        if !proof.is_empty() {
            return Err(ProofError::Length { found: proof.len(), expected: 0 });
        }
        return if old == new { same(old_root, new_root) } else { same(Hash::of_empty_tree(), old_root) };
    }
    // RFC 9162 walks with the numbers of the last leaf of the old tree and of the new one. A perfect old tree is the
    // proof's first hash and is left out of it.
    let (mut node, mut last) = (old - 1, new - 1);
    let shift = node.trailing_ones();
    node >>= shift;
    last >>= shift;
    let (first, rest) = match proof.split_first() {
        _ if old.is_power_of_two() => (old_root, proof),
        Some((first, rest)) => (*first, rest),
        None => return Err(ProofError::Length { found: 0, expected: 1 }),
    };
    let (mut of_old, mut of_new) = (first, first);
    for (used, hash) in rest.iter().enumerate() {
        if last == 0 {
            let extra = proof.len() - rest.len();
            return Err(ProofError::Length { found: proof.len(), expected: used + extra });
        }
        if node & 1 == 1 || node == last {
            of_old = node_hash(hash, &of_old);
            of_new = node_hash(hash, &of_new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            of_new = node_hash(&of_new, hash);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length { found: proof.len(), expected: proof.len() + 1 });
    }
    same(of_old, old_root).and_then(|()| same(of_new, new_root))
}

#[cfg(test)]
mod tests;
