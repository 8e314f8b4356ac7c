//! # metrics: what the log tells, counted
//!
//! A follower of the ledger reads of every durable record what the metrics need, and counts it. So a call counts alike
//! whichever door it was told through, nothing counts that is not recorded, and nobody who records waits for it. What is
//! counted begins at the start of the process, as Prometheus expects of counters.
//!
//! | file | what is in it |
//! |---|---|
//! | `families` | every metric: its name, unit, labels and classes |
//! | `told` | of a leaf, no more than is counted |
//! | `counts` | what of a record counts where |
//! | `tables` | counters and histograms, with their exemplars |
//! | `words` | the values that labels may take, of which there is a bounded number |
//! | `follower` | [`Metrics`]: the thread that follows, and the text for whoever asks |
//! | `format` | which form somebody wants |
//! | `sink` | what they are written into |
//! | `otlp` | OTLP, in JSON |
//! | `text` | OpenMetrics 1.0, and Prometheus' text format 0.0.4 |

mod counts;
mod families;
mod follower;
mod format;
mod otlp;
mod sink;
mod tables;
mod text;
mod told;
mod words;

pub use families::{
    CHECKPOINT_COSIGNATURES, FAMILIES, FORWARD_WAITING, FORWARD_WAITING_BYTES, FORWARD_WAITING_BYTES_MAX, Family,
    Label, SEARCH_QUERIES, SEARCH_SEGMENTS, SEARCH_UNINDEXED, SEARCH_UNINDEXED_SEGMENTS, Type,
};
pub use follower::{Beside, Metrics, MetricsError};
pub use format::Format;
