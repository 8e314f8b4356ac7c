//! # tlog: the arithmetic of a transparency log
//!
//! Byte-compatible with the C2SP specifications signed-note, tlog-checkpoint, tlog-tiles, tlog-cosignature, tlog-proof and
//! tlog-policy. A log is a
//! list of leaves; its **tree** is the Merkle tree of RFC 6962 over them; a **checkpoint** names the
//! tree's size and root hash; a signed **note** around the checkpoint says who vouches for it; **tiles**
//! are how the tree lies on disk.
//!
//! | file | what is in it |
//! |---|---|
//! | `hash` | leaf and node hashes |
//! | `tree` | [`Frontier`]: the right edge of a tree, all that is needed to go on growing it |
//! | `tile` | where tiles lie, entry bundles, [`TileLevels`] which fills tiles as the tree grows |
//! | `key` | keys of logs and of witnesses, as text |
//! | `note` | signed notes |
//! | `checkpoint` | the text inside the note |
//! | `cosignature` | what a witness adds to a note |
//! | `policy` | [`TrustPolicy`]: which logs and how many witnesses are believed |
//! | `proof` | that a record is in a tree, and that a tree grew from another |
//! | `proof_file` | [`ProofFile`]: evidence for one record |
//! | `timestamp` | time-stamp tokens (RFC 3161) |
//!
//! This crate does no I/O and never panics on what it is given.

mod checkpoint;
mod cosignature;
mod hash;
mod key;
mod note;
mod policy;
mod proof;
mod proof_file;
mod tile;
mod timestamp;
mod tree;

pub use checkpoint::{Checkpoint, CheckpointError, parse_decimal};
pub use cosignature::known_cosignatures;
pub use hash::{Hash, leaf_hash, node_hash};
pub use key::{CosignerKey, PublicKey, SecretKey, SignerKey, VerifierKey, WitnessKey};
pub use note::{Note, NoteError};
pub use policy::{PolicyError, TrustPolicy, Vouched, Witness};
pub use proof::{
    ProofError, ProveError, Prover, check_consistency, check_inclusion, prove_consistency, prove_inclusion,
};
pub use proof_file::{ProofFile, ProofFileError};
pub use tile::{
    BUNDLE_BYTES_MAX, Bundle, EntriesPath, FullTile, TILE_WIDTH, TileError, TileLevels, TilePath, push_entry,
};
pub use timestamp::{
    TIMESTAMP_BYTES_MAX, TimestampError, Token, request as timestamp_request, response as timestamp_response,
};
pub use tree::Frontier;
