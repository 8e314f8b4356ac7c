//! # witness: others remember what this log has signed
//!
//! A log can be cut back or told twice by whoever holds its disk and its key. A **witness** (C2SP tlog-witness) keeps the
//! latest checkpoint of a log that it has seen and cosigns a newer one only when a consistency proof shows that it grew from
//! that. Both sides are here: [`Witnesses`] asks witnesses to cosign the checkpoints of this log and refuses to go on when one
//! has seen another history; [`Cosigner`] is a witness for the logs of others.
//!
//! ```text
//! ledger ── candidate ──▶ Witnesses ── add-checkpoint ──▶ Cosigner (another machine)
//!    ▲                       │                                └─ state stored, then answered
//!    └── cosigned note ◀─────┘
//! ```
//!
//! | file | what is in it |
//! |---|---|
//! | `request` | what is sent: old size, proof, checkpoint |
//! | `cosigner` | [`Cosigner`]: the witness |
//! | `witnesses` | [`Witnesses`]: those whom this log asks |
//! | `collect` | [`Collector`]: the loop that takes checkpoints there and back |
//! | `stamping` | [`Stamping`]: an authority says when a checkpoint was there |

mod collect;
mod cosigner;
mod request;
mod stamping;
mod witnesses;

pub use collect::Collector;
pub use cosigner::{Cosigner, CosignerError, Refusal};
pub use request::AddCheckpoint;
pub use stamping::{STAMP_TOKEN, STAMPED_CHECKPOINT, STAMPING_PRODUCER, Stamping};
pub use witnesses::{Ahead, Witnesses};
