#![allow(clippy::cast_possible_truncation, reason = "trees that fit in memory")]

use std::collections::BTreeMap;
use std::convert::Infallible;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;

use super::*;
use crate::{Frontier, FullTile, TileLevels, leaf_hash};

/// A tree in tiles, beside the same in `ct-merkle`.
struct Tree {
    levels: TileLevels,
    full: BTreeMap<(u8, u64), Vec<Hash>>,
    theirs: MemoryBackedTree<sha2::Sha256, Vec<u8>>,
    roots: Vec<Hash>,
}

fn tree_of(size: u64) -> Tree {
    let mut tree = Tree {
        levels: TileLevels::default(),
        full: BTreeMap::new(),
        theirs: MemoryBackedTree::new(),
        roots: Vec::new(),
    };
    let mut frontier = Frontier::default();
    tree.roots.push(frontier.root());
    for n in 0..size {
        let entry = n.to_be_bytes().to_vec();
        for FullTile { path, hashes } in tree.levels.push(frontier.push_entry(&entry)) {
            tree.full.insert((path.level, path.number), hashes);
        }
        tree.theirs.push(entry);
        tree.roots.push(frontier.root());
    }
    tree
}

impl Tree {
    fn read(&self, path: TilePath) -> Result<Vec<u8>, Infallible> {
        let partial = || self.levels.partial().find(|(at, _)| (at.level, at.number) == (path.level, path.number));
        let full = self.full.get(&(path.level, path.number)).map(Vec::as_slice);
        let hashes = full.or_else(|| partial().map(|(_, hashes)| hashes)).unwrap_or_default();
        Ok(hashes.iter().take(path.width.into()).flat_map(|hash| hash.0).collect())
    }
}

fn bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

#[test]
fn every_proof_of_small_trees_is_that_of_ct_merkle_and_holds() {
    for size in 1..=70_u64 {
        let tree = tree_of(size);
        let root = tree.roots[size as usize];
        for index in 0..size {
            let proof = prove_inclusion(index, size, |path| tree.read(path)).unwrap();
            let theirs = tree.theirs.prove_inclusion(index as usize);
            assert_eq!(bytes(&proof), theirs.as_bytes(), "{index} of {size}");
            let leaf = leaf_hash(&index.to_be_bytes());
            check_inclusion(index, size, leaf, &proof, root).unwrap();
            for other in (0..size).filter(|other| *other != index) {
                assert!(
                    check_inclusion(other, size, leaf, &proof, root).is_err(),
                    "{index} passed for {other} of {size}"
                );
            }
        }
        for old in 1..size {
            let proof = prove_consistency(old, size, |path| tree.read(path)).unwrap();
            let theirs = tree.theirs.prove_consistency((size - old) as usize);
            assert_eq!(bytes(&proof), theirs.as_bytes(), "{old} to {size}");
            check_consistency((old, tree.roots[old as usize]), (size, root), &proof).unwrap();
        }
    }
}

#[test]
fn proofs_reach_over_tiles_of_several_levels() {
    const SIZE: u64 = 66_000;
    let tree = tree_of(SIZE);
    let root = tree.roots[SIZE as usize];
    // One prover for all, as whoever makes many has it: what it keeps of one proof must not spoil another.
    let mut prover = Prover::new(|path| tree.read(path));
    for index in [0, 1, 255, 256, 257, 65_535, 65_536, 65_537, SIZE - 1] {
        let proof = prover.inclusion(index, SIZE).unwrap();
        assert_eq!(proof, prove_inclusion(index, SIZE, |path| tree.read(path)).unwrap());
        check_inclusion(index, SIZE, leaf_hash(&index.to_be_bytes()), &proof, root).unwrap();
    }
    for old in [1, 255, 256, 257, 512, 65_535, 65_536, 65_537, SIZE - 1, SIZE] {
        let proof = prover.consistency(old, SIZE).unwrap();
        check_consistency((old, tree.roots[old as usize]), (SIZE, root), &proof).unwrap();
    }
    // A smaller tree has other partial tiles.
    for size in [SIZE - 1, 65_537, 65_536, 300] {
        let proof = prover.inclusion(255, size).unwrap();
        check_inclusion(255, size, leaf_hash(&255_u64.to_be_bytes()), &proof, tree.roots[size as usize]).unwrap();
    }
}

#[test]
fn what_cannot_be_proven_is_said() {
    let tree = tree_of(3);
    let out = prove_inclusion(3, 3, |path| tree.read(path));
    assert_eq!(out, Err(ProofError::Index { index: 3, size: 3 }.into()));
    let out = prove_consistency(4, 3, |path| tree.read(path));
    assert_eq!(out, Err(ProofError::Sizes { old: 4, new: 3 }.into()));
    let empty = (0, Hash::of_empty_tree());
    check_consistency(empty, (3, tree.roots[3]), &[]).unwrap();
    assert!(check_consistency((0, tree.roots[1]), (3, tree.roots[3]), &[]).is_err());
    assert!(check_consistency(empty, (3, tree.roots[3]), &[tree.roots[1]]).is_err());
}

proptest! {
    /// One bit anywhere, one hash more or less: nothing of it is taken.
    #[test]
    fn a_changed_proof_proves_nothing(size in 2_u64..600, at in any::<prop::sample::Index>(), bit in 0_usize..256, old in any::<prop::sample::Index>()) {
        let tree = tree_of(size);
        let (index, old) = (at.index(size as usize) as u64, old.index(size as usize - 1) as u64 + 1);
        let (leaf, root) = (leaf_hash(&index.to_be_bytes()), tree.roots[size as usize]);
        let changes = |proof: &[Hash]| {
            let mut changed = vec![[proof, &[leaf]].concat()];
            if !proof.is_empty() {
                changed.push(proof[1..].to_vec());
                let mut flipped = proof.to_vec();
                flipped[at.index(proof.len())].0[bit / 8] ^= 1 << (bit % 8);
                changed.push(flipped);
            }
            changed
        };
        let inclusion = prove_inclusion(index, size, |path| tree.read(path)).unwrap();
        for changed in changes(&inclusion) {
            prop_assert!(check_inclusion(index, size, leaf, &changed, root).is_err());
        }
        let consistency = prove_consistency(old, size, |path| tree.read(path)).unwrap();
        let (before, now) = ((old, tree.roots[old as usize]), (size, root));
        for changed in changes(&consistency) {
            prop_assert!(check_consistency(before, now, &changed).is_err());
        }
        let other = (old, Hash([7; 32]));
        prop_assert!(check_consistency(other, now, &consistency).is_err());
    }

    #[test]
    fn no_proof_makes_checking_panic(index in any::<u64>(), size in any::<u64>(), hashes in prop::collection::vec(any::<[u8; 32]>(), 0..70)) {
        let proof: Vec<Hash> = hashes.into_iter().map(Hash).collect();
        let root = Hash([0; 32]);
        let _ = check_inclusion(index, size, root, &proof, root);
        let _ = check_consistency((index, root), (size, root), &proof);
    }
}
