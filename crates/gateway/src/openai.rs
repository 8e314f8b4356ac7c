//! The OpenAI protocol, as far as a record needs it read.

pub(crate) mod completion;
pub(crate) mod events;
pub(crate) mod guarded;
pub mod refusal;
pub(crate) mod request;
