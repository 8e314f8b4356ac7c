//! How far delivery is, for whoever asks.

use std::sync::{Arc, Mutex, PoisonError};

use ledger::Ledger;
use serde::Serialize;

/// How far delivery is. Clones are the same.
#[derive(Clone)]
pub struct Status {
    ledger: Ledger,
    to: Arc<str>,
    told: Arc<Mutex<Told>>,
}

/// What the centre has said last.
#[derive(Debug, Clone, Default)]
struct Told {
    delivered: Option<u64>,
    last_error: Option<String>,
}

/// How far delivery is at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// The centre's address.
    pub to: String,
    /// How many records of this log the centre has; none while it has not said since the start.
    pub delivered: Option<u64>,
    /// How many records wait.
    pub waiting: u64,
    /// How many bytes they take in the write-ahead log.
    pub waiting_bytes: u64,
    /// How many bytes they may take.
    pub waiting_bytes_max: u64,
    /// Why nothing is delivered; none while something is.
    pub last_error: Option<String>,
}

impl Status {
    /// Nothing is known yet of the centre at this address, which has no credentials in it.
    pub(crate) fn new(ledger: &Ledger, to: &str) -> Self {
        Self { ledger: ledger.clone(), to: to.into(), told: Arc::default() }
    }

    /// How far it is now.
    #[must_use]
    pub fn now(&self) -> Standing {
        let Told { delivered, last_error } = self.told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let backlog = self.ledger.backlog();
        Standing {
            to: self.to.to_string(),
            delivered,
            waiting: backlog.map_or(0, |backlog| backlog.records),
            waiting_bytes: backlog.map_or(0, |backlog| backlog.bytes),
            waiting_bytes_max: backlog.map_or(0, |backlog| backlog.bytes_max),
            last_error,
        }
    }

    pub(crate) fn delivered(&self, next: u64) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).delivered = Some(next);
    }

    pub(crate) fn went_well(&self) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).last_error = None;
    }

    pub(crate) fn failed(&self, why: &str) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).last_error = Some(why.to_owned());
    }
}
