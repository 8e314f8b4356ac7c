//! # ingest: what others have to say, as drafts
//!
//! One file a door. A door reads a format from outside and makes drafts; it decides nothing and stores nothing. Whoever
//! holds the ledger appends what it gives, and answers the sender when that is durable.
//!
//! | file | what is in it |
//! |---|---|
//! | `arrival` | [`Arrival`]: how something came in; identifiers of what is sent again |
//! | [`history`] | what Langfuse, LiteLLM and files of OpenAI's API have kept until now (`testimony import`) |
//! | `records` | our own format: JSON, or JSON lines (`POST /api/v1/records`) |
//! | [`otlp`] | OpenTelemetry: spans and log records (`/v1/traces`, `/v1/logs`, gRPC) |

mod arrival;
pub mod history;
pub mod otlp;
mod records;

pub use arrival::Arrival;
pub use records::{Door, Form, Keys, RECORDS_MAX, Rejected};
