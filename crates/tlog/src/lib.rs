//! # tlog: the arithmetic of a transparency log
//!
//! Byte-compatible with the C2SP specifications signed-note, tlog-checkpoint and tlog-tiles. A log is a
//! list of leaves; its **tree** is the Merkle tree of RFC 6962 over them; a **checkpoint** names the
//! tree's size and root hash; a signed **note** around the checkpoint says who vouches for it; **tiles**
//! are how the tree lies on disk.
//!
//! | file | what is in it |
//! |---|---|
//! | `hash` | leaf and node hashes |
//! | `tree` | [`Frontier`]: the right edge of a tree, all that is needed to go on growing it |
//! | `tile` | where tiles lie, entry bundles, [`TileLevels`] which fills tiles as the tree grows |
//! | `note` | signed notes, verifier and signer keys |
//! | `checkpoint` | the text inside the note |
//!
//! This crate does no I/O and never panics on what it is given.

mod checkpoint;
mod hash;
mod note;
mod tile;
mod tree;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use hash::{Hash, leaf_hash, node_hash};
pub use note::{Note, NoteError, SignerKey, VerifierKey};
pub use tile::{Bundle, EntriesPath, FullTile, TILE_WIDTH, TileError, TileLevels, TilePath, push_entry};
pub use tree::Frontier;
