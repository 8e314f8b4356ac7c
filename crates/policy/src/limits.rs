//! What a load and a decision may cost.

use std::time::Duration;

/// Limits of loading a policy and of one decision by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long one decision may take. It is looked at between two expressions, so a single function call can go past it;
    /// what a call may cost is bounded by `built_bytes_max`.
    pub decision_time_max: Duration,
    /// How many instructions of the evaluator's machine one decision may take. What has to be interpreted has none and is bounded
    /// by time.
    pub instructions_max: usize,
    /// How many bytes of strings, arrays and objects the functions called in one decision may build together.
    pub built_bytes_max: u64,
    /// How large one file may be, in bytes.
    pub file_bytes_max: usize,
    /// How large all files may be together, in bytes, after decompression.
    pub total_bytes_max: usize,
    /// How many files there may be.
    pub files_max: usize,
    /// How many times larger a bundle may be after decompression; a small bundle may always have one mebibyte.
    pub ratio_max: usize,
}

/// An archive below this size is not measured against the ratio: short text compresses well without being a bomb.
pub(crate) const RATIO_FREE_BYTES: usize = 1024 * 1024;

impl Default for Limits {
    fn default() -> Self {
        Self {
            decision_time_max: Duration::from_millis(100),
            instructions_max: 1_000_000,
            built_bytes_max: 16 * 1024 * 1024,
            file_bytes_max: 1024 * 1024,
            total_bytes_max: 16 * 1024 * 1024,
            files_max: 1000,
            ratio_max: 100,
        }
    }
}

#[cfg(test)]
impl Limits {
    /// The usual ones, but for time: what a test decides does not depend on how busy the machine is.
    pub(crate) fn patient() -> Self {
        Self { decision_time_max: Duration::from_secs(600), ..Self::default() }
    }
}
