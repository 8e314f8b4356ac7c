//! How the gateway is run.

use std::time::Duration;

use access::Glob;
use record::Source;

/// When the record of a request must be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecordWhen {
    /// Before the first byte of the answer is released. The model server works meanwhile.
    #[default]
    BeforeAnswer,
    /// Before anything is sent to the model server.
    BeforeForward,
}

/// What a caller and a model server may ask of the gateway.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest request body.
    pub request_bytes_max: usize,
    /// The largest answer.
    pub response_bytes_max: usize,
    /// How long a client may pause within a request body.
    pub request_idle: Duration,
    /// How long the model server may take to begin an answer, and pause within one.
    pub upstream_idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes_max: 16 << 20,
            response_bytes_max: 16 << 20,
            request_idle: Duration::from_secs(30),
            upstream_idle: Duration::from_secs(600),
        }
    }
}

/// How the gateway is run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where its records say that they come from.
    pub source: Source,
    /// Patterns of the models that may be asked for (`gemma*`); all of them when there is none.
    pub models: Vec<Glob>,
    /// When the record of a request must be durable.
    pub record: RecordWhen,
    /// What may be asked of it.
    pub limits: Limits,
}
