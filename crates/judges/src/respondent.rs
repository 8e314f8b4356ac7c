//! Whoever is asked: where they are, how long they have, how many questions they get at once.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use dial::{Peer, PeerError};
use guardrails::SettingsError;
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::failure::Failure;

/// The longest answer that is read, in bytes.
pub const ANSWER_BYTES_MAX: usize = 64 << 10;
/// The shortest time that somebody can have, in milliseconds.
pub const TIMEOUT_MS_MIN: u64 = 10;
/// The longest time that somebody can have, in milliseconds: a caller waits for it.
pub const TIMEOUT_MS_MAX: u64 = 60_000;
/// The most questions that can be under way at once.
pub const CONCURRENCY_MAX: usize = 1_024;

/// Somebody who can be asked.
pub(crate) struct Respondent {
    peer: Peer,
    path: String,
    timeout_ms: u64,
    places: Semaphore,
}

/// How much somebody is asked for, as settings say it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    pub(crate) timeout_ms: u64,
    pub(crate) concurrency_max: usize,
}

impl Respondent {
    /// Whoever is at an address, and below it at a path.
    ///
    /// # Errors
    /// Which member of the settings cannot be used; the address, which may hold a secret, is not repeated.
    pub(crate) fn new(
        check: &'static str,
        address: &str,
        below: &str,
        allowance: Allowance,
    ) -> Result<Self, SettingsError> {
        let Allowance { timeout_ms, concurrency_max } = allowance;
        within(check, "timeout_ms", timeout_ms, TIMEOUT_MS_MIN..=TIMEOUT_MS_MAX)?;
        within(check, "concurrency_max", concurrency_max, 1..=CONCURRENCY_MAX)?;
        let (peer, path) = Peer::at(address).map_err(|error| match error {
            PeerError::Roots(error) => fault(check, "url", error.to_string()),
            _ => fault(check, "url", "has to be an http or https address without a name or password in it"),
        })?;
        let path = match below {
            "" => path,
            _ if path.contains('?') => return Err(fault(check, "url", "has to be a base without a query")),
            below => format!("{}{below}", path.trim_end_matches('/')),
        };
        Ok(Self { peer, path, timeout_ms, places: Semaphore::new(concurrency_max) })
    }

    /// POSTs a document of JSON and returns the body of a 2xx answer. The time begins now, not when there is a place.
    pub(crate) async fn ask(&self, mut headers: HeaderMap, body: Bytes) -> Result<Bytes, Failure> {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let time = Duration::from_millis(self.timeout_ms);
        let asking = async {
            let _place = self.places.acquire().await.map_err(|_| Failure::Question)?;
            let answer = self.peer.post_with(&self.path, headers, body, ANSWER_BYTES_MAX, time).await;
            answer.map_err(|error| Failure::of_peer(error, self.timeout_ms))
        };
        let answer = timeout(time, asking).await.map_err(|_| Failure::Slow(self.timeout_ms))??;
        if answer.status.is_success() { Ok(answer.body) } else { Err(Failure::Status(answer.status.as_u16())) }
    }
}

/// A member of settings that cannot be used.
pub(crate) fn fault(check: &'static str, member: &str, fault: impl Into<String>) -> SettingsError {
    SettingsError::Value { check, member: member.to_owned(), fault: fault.into() }
}

/// Checks a number of the settings.
pub(crate) fn within<N: PartialOrd + Display>(
    check: &'static str,
    member: &str,
    number: N,
    allowed: RangeInclusive<N>,
) -> Result<(), SettingsError> {
    if allowed.contains(&number) {
        return Ok(());
    }
    Err(fault(check, member, format!("has to be from {} to {}", allowed.start(), allowed.end())))
}
