//! # postgres: the wire protocol of PostgreSQL, read and written
//!
//! Version 3.0 of the protocol (PostgreSQL's documentation, "Frontend/Backend Protocol"), as far as somebody needs it who only reads: what a
//! client sends, from bytes that may stop anywhere; what a server sends, into a buffer; and values in the two forms that a client may ask
//! for. Nothing here waits, listens or knows a statement.
//!
//! | file | what is in it |
//! |---|---|
//! | `frontend` | what a client sends |
//! | `backend` | what a server sends |
//! | `types` | types by their object identifiers, values as text and in binary |
//! | `calendar` | days and microseconds as people write them |
//! | `parameter` | a parameter of a statement as SQL |

mod backend;
mod calendar;
mod frontend;
mod parameter;
mod types;

pub use backend::{Column, Out, Report, Severity, Status};
pub use frontend::{Malformed, Message, OPENING_BYTES_MAX, Opening, TYPED_BYTES, Target, read_message, read_opening};
pub use parameter::{ParameterError, literal};
pub use types::{Format, Type, Value};
