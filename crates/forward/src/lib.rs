//! # forward: the node in the field
//!
//! A node keeps records in its own durable log while the centre is away, and delivers them when it is back. Its log is the queue:
//! [`Sender`] is a follower whose cursor the centre keeps, and the ledger holds the write-ahead log until the centre has
//! acknowledged ([`ledger::Ledger::delivered`]). What was delivered is known by position, the index in this log, and not by
//! identity, so an answer that was lost costs a question and no second record.
//!
//! ```text
//! ledger ── follow(next) ──▶ Reader ── parcels ──▶ POST /api/v1/forward/<origin>?from=<index> (the centre)
//!    ▲                                                     │
//!    └────────────── delivered(next) ◀── {"next": <index>} ┘
//! ```
//!
//! | file | what is in it |
//! |---|---|
//! | `parcel` | [`Parcel`]: records of one request, and their bytes |
//! | `reader` | parcels, one after the other, out of the log |
//! | `answer` | what the centre says, and why nothing was delivered |
//! | `sender` | [`Sender`]: the loop that asks, sends, and waits when it has to |
//! | `status` | [`Status`]: how far it is, for whoever asks |
//!
//! This crate never decides what is delivered: all of the log is, in its order.

mod answer;
mod parcel;
mod reader;
mod sender;
mod status;

pub use parcel::{PARCEL_BYTES_MAX, PARCEL_RECORDS_MAX, Parcel};
pub use sender::{Sender, Settings};
pub use status::{Standing, Status};
