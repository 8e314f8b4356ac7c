//! Every metric. `docs/metrics.md` and the dashboard are tested against this list.

use ledger::BATCH_SECONDS;

/// What sort of metric a family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Values in classes.
    Histogram,
    /// Words that stay as they are.
    Info,
}

impl Type {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

/// What tells the series of a family apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is its name")]
pub enum Label {
    Environment,
    Service,
    Producer,
    Kind,
    Outcome,
    Operation,
    Provider,
    RequestModel,
    ResponseModel,
    TokenType,
    ErrorType,
    Point,
    Check,
    Action,
    Decision,
    Event,
    Version,
}

impl Label {
    /// How many there are.
    pub(crate) const COUNT: usize = Self::Version as usize + 1;

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::Service => "service",
            Self::Producer => "producer",
            Self::Kind => "kind",
            Self::Outcome => "outcome",
            Self::Operation => "gen_ai_operation_name",
            Self::Provider => "gen_ai_provider_name",
            Self::RequestModel => "gen_ai_request_model",
            Self::ResponseModel => "gen_ai_response_model",
            Self::TokenType => "gen_ai_token_type",
            Self::ErrorType => "error_type",
            Self::Point => "point",
            Self::Check => "check",
            Self::Action => "action",
            Self::Decision => "decision",
            Self::Event => "event",
            Self::Version => "version",
        }
    }

    /// Whether a value may have a sign in it. Names that people give may have nearly all; what is said of errors must not hold a sentence.
    pub(crate) fn takes(self, sign: char) -> bool {
        match self {
            Self::Environment | Self::Service | Self::Producer => !sign.is_control(),
            Self::RequestModel | Self::ResponseModel => !sign.is_control() && !sign.is_whitespace(),
            _ => sign.is_ascii_alphanumeric() || "._:/-".contains(sign),
        }
    }

    /// How many values it has at most; whatever comes after them is `other`.
    #[must_use]
    pub const fn values_max(self) -> usize {
        match self {
            Self::Service | Self::RequestModel | Self::ResponseModel | Self::ErrorType | Self::Producer => 64,
            _ => 32,
        }
    }
}

/// A metric with all its series.
#[derive(Debug, PartialEq)]
pub struct Family {
    /// Its name, with the unit and without what a sample of its type has at its end.
    pub name: &'static str,
    /// What sort it is.
    pub kind: Type,
    /// The unit at the end of its name, if it has one.
    pub unit: &'static str,
    /// What it says.
    pub help: &'static str,
    /// What tells its series apart.
    pub labels: &'static [Label],
    /// The upper bounds of its classes, where it has any.
    pub classes: &'static [f64],
}

/// The most labels of a family.
pub(crate) const LABELS_MAX: usize = 8;

/// Classes that OpenTelemetry's semantic conventions for GenAI ask for.
const OPERATION_SECONDS: [f64; 14] =
    [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
const TOKENS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
const DECISION_SECONDS: [f64; 11] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0];

const fn counter(name: &'static str, labels: &'static [Label], help: &'static str) -> Family {
    Family { name, kind: Type::Counter, unit: "", help, labels, classes: &[] }
}

const fn gauge(name: &'static str, unit: &'static str, help: &'static str) -> Family {
    Family { name, kind: Type::Gauge, unit, help, labels: &[], classes: &[] }
}

const fn histogram(
    name: &'static str,
    unit: &'static str,
    classes: &'static [f64],
    labels: &'static [Label],
    help: &'static str,
) -> Family {
    Family { name, kind: Type::Histogram, unit, help, labels, classes }
}

use Label::{
    Action, Check, Decision, Environment, ErrorType, Event, Kind, Operation, Outcome, Point, Producer, Provider,
    RequestModel, ResponseModel, Service, TokenType, Version,
};

pub(crate) static DURATION: Family = histogram(
    "gen_ai_client_operation_duration_seconds",
    "seconds",
    &OPERATION_SECONDS,
    &[Environment, Service, Producer, Operation, Provider, RequestModel, ResponseModel, ErrorType],
    "How long calls and tools took, from the records of how they ended (gen_ai.client.operation.duration)",
);
pub(crate) static FIRST_CHUNK: Family = histogram(
    "gen_ai_client_operation_time_to_first_chunk_seconds",
    "seconds",
    &OPERATION_SECONDS,
    &[Environment, Service, Producer, Operation, Provider, RequestModel, ResponseModel],
    "How long streamed answers took to begin (gen_ai.client.operation.time_to_first_chunk)",
);
pub(crate) static TOKEN_USAGE: Family = histogram(
    "gen_ai_client_token_usage",
    "",
    &TOKENS,
    &[Environment, Service, Producer, Operation, Provider, RequestModel, ResponseModel, TokenType],
    "How many tokens calls took, as their answers say (gen_ai.client.token.usage)",
);
pub(crate) static RECORDS: Family =
    counter("testimony_records", &[Environment, Service, Producer, Kind, Outcome], "Records that became durable");
pub(crate) static DENIED: Family = counter(
    "testimony_calls_denied",
    &[Environment, Service, Producer, ErrorType],
    "Calls that were refused before anything was forwarded",
);
pub(crate) static VERDICTS: Family = counter(
    "testimony_guardrail_verdicts",
    &[Environment, Service, Point, Check, Action],
    "What guardrails said of requests and responses",
);
pub(crate) static DECISIONS: Family = counter(
    "testimony_policy_decisions",
    &[Environment, Service, Producer, Point, Decision],
    "What policies decided of requests and responses, and elsewhere",
);
pub(crate) static POLICY_FAILURES: Family =
    counter("testimony_policy_failures", &[Environment, Service, Point], "Policies that failed instead of deciding");
pub(crate) static DECISION_DURATION: Family = histogram(
    "testimony_policy_decision_duration_seconds",
    "seconds",
    &DECISION_SECONDS,
    &[Point],
    "How long policies took to decide",
);
pub(crate) static AUTH: Family = counter(
    "testimony_auth_events",
    &[Event, ErrorType],
    "Credentials that were refused (with the reason) or taken first, keys made and revoked, sessions opened and ended",
);
pub(crate) static LOG_RECORDS: Family = gauge("testimony_log_records", "", "Durable records of the log");
pub(crate) static CALLS_OPEN: Family = gauge("testimony_calls_open", "", "Calls that have begun and not ended");
pub(crate) static BATCH_DURATION: Family = histogram(
    "testimony_batch_duration_seconds",
    "seconds",
    &BATCH_SECONDS,
    &[],
    "How long batches of records took to become durable: the write and its fdatasync",
);
pub(crate) static QUEUE_BYTES: Family = gauge("testimony_queue_bytes", "bytes", "Records that wait to be written");
pub(crate) static QUEUE_LIMIT_BYTES: Family =
    gauge("testimony_queue_limit_bytes", "bytes", "How much may wait to be written; more has to wait outside");
pub(crate) static WAL_BYTES: Family = gauge("testimony_wal_bytes", "bytes", "What the write-ahead log takes on disk");
pub(crate) static WAL_SEGMENTS: Family = gauge("testimony_wal_segments", "", "Files of the write-ahead log");
pub(crate) static DISK_FREE_BYTES: Family =
    gauge("testimony_disk_free_bytes", "bytes", "What is free on the disk of the log");
pub(crate) static LOG_FULL: Family =
    gauge("testimony_log_full", "", "1 while there is no space to record on and calls are refused");
pub(crate) static CHECKPOINT_RECORDS: Family =
    gauge("testimony_checkpoint_records", "", "Records that the published checkpoint covers");
pub(crate) static CHECKPOINT_AGE: Family = gauge(
    "testimony_checkpoint_age_seconds",
    "seconds",
    "How long ago this process published a checkpoint; grows while nothing is recorded",
);
/// See its help.
pub static CHECKPOINT_COSIGNATURES: Family =
    gauge("testimony_checkpoint_cosignatures", "", "Signatures of witnesses on the published checkpoint");
/// See its help.
pub static SEARCH_SEGMENTS: Family = gauge("testimony_search_segments", "", "Sealed segments");
/// See its help.
pub static SEARCH_UNINDEXED_SEGMENTS: Family = gauge(
    "testimony_search_unindexed_segments",
    "",
    "Sealed segments that wait for their index of words and are looked through as a whole until then",
);
/// See its help.
pub static SEARCH_UNINDEXED: Family = gauge(
    "testimony_search_unindexed_records",
    "",
    "Durable records that no index of words covers yet: in memory, in the write-ahead log, or in such segments",
);
/// See its help.
pub static SEARCH_QUERIES: Family = gauge("testimony_search_queries", "", "Searches and statements that are running");
/// See its help.
pub static FORWARD_WAITING: Family = gauge(
    "testimony_forward_waiting_records",
    "",
    "Records that wait to be delivered to the centre, where there is one",
);
/// See its help.
pub static FORWARD_WAITING_BYTES: Family =
    gauge("testimony_forward_waiting_bytes", "bytes", "What these take in the write-ahead log");
/// See its help.
pub static FORWARD_WAITING_BYTES_MAX: Family =
    gauge("testimony_forward_limit_bytes", "bytes", "How much may wait; then nothing more is recorded");
pub(crate) static LAG: Family =
    gauge("testimony_metrics_lag_records", "", "Durable records that are not counted here yet");
pub(crate) static UNREAD: Family =
    counter("testimony_metrics_unread", &[], "Durable records that could not be read, and are not counted");
pub(crate) static BUILD: Family = Family {
    name: "testimony_build",
    kind: Type::Info,
    unit: "",
    help: "What program this is",
    labels: &[Version],
    classes: &[],
};
pub(crate) static START: Family =
    gauge("process_start_time_seconds", "seconds", "When this process began to count, since 1970");
pub(crate) static CPU: Family =
    Family { unit: "seconds", ..counter("process_cpu_seconds", &[], "Time on the cores that this process has taken") };
pub(crate) static RESIDENT: Family =
    gauge("process_resident_memory_bytes", "bytes", "Memory that this process has in use");
pub(crate) static OPEN_FILES: Family = gauge("process_open_fds", "", "File descriptors that this process has open");

/// All of them.
pub static FAMILIES: [&Family; 36] = [
    &DURATION,
    &FIRST_CHUNK,
    &TOKEN_USAGE,
    &RECORDS,
    &DENIED,
    &VERDICTS,
    &DECISIONS,
    &POLICY_FAILURES,
    &DECISION_DURATION,
    &AUTH,
    &LOG_RECORDS,
    &CALLS_OPEN,
    &BATCH_DURATION,
    &QUEUE_BYTES,
    &QUEUE_LIMIT_BYTES,
    &WAL_BYTES,
    &WAL_SEGMENTS,
    &DISK_FREE_BYTES,
    &LOG_FULL,
    &CHECKPOINT_RECORDS,
    &CHECKPOINT_AGE,
    &CHECKPOINT_COSIGNATURES,
    &SEARCH_SEGMENTS,
    &SEARCH_UNINDEXED_SEGMENTS,
    &SEARCH_UNINDEXED,
    &SEARCH_QUERIES,
    &FORWARD_WAITING,
    &FORWARD_WAITING_BYTES,
    &FORWARD_WAITING_BYTES_MAX,
    &LAG,
    &UNREAD,
    &BUILD,
    &START,
    &CPU,
    &RESIDENT,
    &OPEN_FILES,
];
