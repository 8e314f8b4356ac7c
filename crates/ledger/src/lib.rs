//! # ledger: the one writer, and the two doors
//!
//! One door in, [`Ledger::append`], and one door out, [`Ledger::follow`]. Between them stands one writer, whose
//! whole life is in `writer.rs`: stamp, hash, sign the new tree, write one frame, `fdatasync` once, and
//! only then tell anybody. The sequencer's thread holds it while there is a queue; a caller who finds it free
//! may write itself ([`Ledger::append_here`]).
//!
//! ```text
//! append ─▶ queue ─▶ sequencer ─▶ writer: WAL frame, one fdatasync ─▶ receipts
//!                                            └──▶ followers: tiles, search, tail
//! ```
//!
//! | file | what is in it |
//! |---|---|
//! | `ledger` | [`Ledger`]: open, append, follow, read, close |
//! | `writer` | the life of a batch |
//! | `sequencer` | the thread that writes what queued |
//! | `once` | records that their producers may send again: each is stored once |
//! | `tally` | what must be known to go on: tree, sequences, calls under way |
//! | `batch`, `frame` | entries that became durable together, and their bytes in the write-ahead log |
//! | `wal` | segments of the write-ahead log; [`Durable`] |
//! | `receipt` | what a producer is told |
//! | `recovery` | from a directory to a tally: what is there, what is torn, what is damaged |
//! | `follow` | the durable point, recent batches in memory, followers with a cursor |
//! | `tiles` | the follower that writes tlog-tiles and publishes checkpoints |
//! | `packing` | entry bundles at rest |
//! | `published` | reading the published log |
//! | `identity` | the log's key and the fingerprint key |
//! | `rotation` | a new key for the log |
//! | `rebuilding` | the tiles of the published log made anew |
//! | `archive` | reading the directory of a stopped log |
//! | `backlog` | what waits to be delivered elsewhere, and its bound |
//! | `figures` | what the log is doing, in numbers |
//! | `threads` | how its threads are begun |
//!
//! This crate never waits for the network and never parses a request.

mod archive;
mod backlog;
mod batch;
mod figures;
mod follow;
mod frame;
mod identity;
mod ledger;
mod once;
mod packing;
mod published;
mod rebuilding;
mod receipt;
mod recovery;
mod rotation;
mod sequencer;
mod tally;
mod threads;
mod tiles;
mod wal;
mod writer;

pub use archive::Archive;
pub use backlog::Backlog;
pub use batch::{Batch, Entry};
pub use figures::{BATCH_SECONDS, Durations, Figures};
pub use follow::{DurablePoint, FollowError, Follower, Portion};
pub use identity::{Identity, IdentityError};
pub use ledger::{AppendError, Ledger, OpenError, Opened, Options, Submitted};
pub use published::{PublishedLog, Unreadable};
pub use rebuilding::{RebuildError, rebuild_tiles};
pub use receipt::Receipt;
pub use recovery::{Damage, Torn};
pub use rotation::{RotateError, Rotation, rotate_key};
pub use wal::Durable;
