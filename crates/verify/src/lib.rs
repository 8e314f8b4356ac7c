//! # verify: evidence in, verdict out
//!
//! The code that a stranger audits. It needs the published log ([`LogSource`]: a directory or a server), and a
//! public key that was kept somewhere else, and tells whether the log is what was signed: [`check_log`] verifies the
//! checkpoint's signature, hashes every entry of every bundle, rebuilds every tile and compares it with the
//! published one, and ends at the signed root. A log that was changed anywhere does not get there, and the
//! [`Finding`] names the place.
//!
//! [`Evidence`] is the same for one record: a file that needs neither the log nor its server to be checked.
//!
//! The program `testimony-verify` is these two and a command line. This crate depends on nothing of ours but `record` and `tlog`.

mod evidence;
mod log;

pub use evidence::{CheckedEvidence, Disclosed, Evidence, EvidenceError, Stamp};
pub use log::{CheckedLog, EntryCheck, Finding, LogDirectory, LogSource, check_log};
