//! An OPA that runs elsewhere, asked by its Data API instead of evaluating rules here.
//!
//! What it answers is read as the answer of our own rules is ([`Decision`]), with the same limits. What it cannot answer is a
//! denial. Its clock, its rules and its data are its own, so that what it decided cannot be decided again here.
//! The API: <https://www.openpolicyagent.org/docs/rest-api#get-a-document-with-input>.

use std::collections::BTreeMap;
use std::time::Duration;

use dial::{Peer, PeerError};
use serde::{Deserialize, Serialize};

use crate::decision::Decision;
use crate::engine::{SENTENCE_BYTES_MAX, shortened};
use crate::input::Input;
use crate::point::Point;

/// How large an answer may be, in bytes.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// How long a revision or an identifier in the record may be, in bytes.
const NAME_BYTES_MAX: usize = 1024;
/// Which bundles answered is asked for; and a function that fails is an error of the whole question, as it is here, where it
/// would be undefined otherwise.
const QUERY: &str = "provenance=true&strict-builtin-errors=true";

/// Puts questions to an OPA. Clones share its connections.
#[derive(Clone)]
pub struct Delegate {
    peer: Peer,
    within: Duration,
    points: Vec<Point>,
}

/// What an OPA decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delegated {
    /// What it decided.
    pub decision: Decision,
    /// The bundles that it decided by, with their revisions (`main@42, teams@7`); empty when it has none or did not answer.
    pub revision: String,
    /// Under what it logs the decision itself; empty when it does not.
    pub decision_id: String,
}

/// Why an OPA cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum DelegateError {
    /// Its address or the token.
    #[error("OPA cannot be asked: {0}")]
    Peer(#[from] PeerError),
    /// Nothing to ask it.
    #[error("OPA would be asked nothing: name at least one of the points request, response and admin")]
    Points,
}

impl Delegate {
    /// An OPA by the base URL of its API (`http://127.0.0.1:8181`), the token that it wants to see, how long it has for one
    /// answer, and the points it is asked at.
    ///
    /// # Errors
    /// See [`DelegateError`]. That nobody answers there is not known before the first question.
    pub fn new(url: &str, token: Option<&str>, within: Duration, points: Vec<Point>) -> Result<Self, DelegateError> {
        if points.is_empty() {
            return Err(DelegateError::Points);
        }
        let peer = Peer::new(url)?;
        let peer = match token {
            Some(token) => peer.bearing(token)?,
            None => peer,
        };
        Ok(Self { peer, within, points })
    }

    /// Whether it is the one to ask at a point.
    #[must_use]
    pub fn answers(&self, point: Point) -> bool {
        self.points.contains(&point)
    }

    /// Asks. Whatever goes wrong is a denial whose [`Decision::error`] says what, without the address: callers read it.
    pub async fn decide(&self, point: Point, input: &Input) -> Delegated {
        let answer = match self.ask(point, input).await {
            Ok(answer) => answer,
            Err(error) => return Delegated { decision: Decision::failed(error), ..Delegated::default() },
        };
        let decision = match answer.result {
            Some(package) => Decision::read_package(point, package),
            None => Decision::silent(point),
        };
        Delegated {
            decision,
            revision: shortened(answer.provenance.unwrap_or_default().revision(), NAME_BYTES_MAX),
            decision_id: shortened(answer.decision_id.unwrap_or_default(), NAME_BYTES_MAX),
        }
    }

    async fn ask(&self, point: Point, input: &Input) -> Result<Answer, String> {
        let body =
            serde_json::to_vec(&Question { input }).map_err(|error| format!("the input is not JSON: {error}"))?;
        let path = format!("/v1/data/testimony/{point}?{QUERY}");
        let asked = self.peer.post(&path, "application/json", body.into(), ANSWER_BYTES_MAX, self.within).await;
        let answer = asked.map_err(|error| match error {
            PeerError::Unreachable { why, .. } => format!("OPA cannot be reached: {why}"),
            PeerError::Slow { within, .. } => format!("OPA did not answer within {within:?}"),
            PeerError::TooLarge { bytes_max, .. } => format!("OPA answered with more than {bytes_max} bytes"),
            other => format!("OPA cannot be asked: {other}"),
        })?;
        match answer.status.as_u16() {
            200 => serde_json::from_slice(&answer.body)
                .map_err(|error| format!("OPA answered with what its API does not: {error}")),
            status => {
                let why = serde_json::from_slice::<Refusal>(&answer.body);
                let why = why.map_or_else(|_| "without saying why".to_owned(), Refusal::sentence);
                Err(shortened(format!("OPA answered with status {status}: {why}"), SENTENCE_BYTES_MAX))
            }
        }
    }
}

impl std::fmt::Debug for Delegate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delegate").field("points", &self.points).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Question<'a> {
    input: &'a Input,
}

#[derive(Deserialize)]
struct Answer {
    decision_id: Option<String>,
    provenance: Option<Provenance>,
    /// Absent when nothing is defined at the path.
    result: Option<serde_json::Value>,
}

#[derive(Default, Deserialize)]
struct Provenance {
    bundles: Option<BTreeMap<String, Bundle>>,
    /// Of an OPA that is configured with the one bundle of old.
    revision: Option<String>,
}

#[derive(Deserialize)]
struct Bundle {
    #[serde(default)]
    revision: String,
}

impl Provenance {
    fn revision(self) -> String {
        let named = |(name, bundle): (String, Bundle)| match bundle.revision.is_empty() {
            true => name,
            false => format!("{name}@{}", bundle.revision),
        };
        let bundles: Vec<String> = self.bundles.unwrap_or_default().into_iter().map(named).collect();
        if bundles.is_empty() { self.revision.unwrap_or_default() } else { bundles.join(", ") }
    }
}

/// Why OPA answers nothing: the body of every status but 200.
#[derive(Deserialize)]
struct Refusal {
    code: String,
    message: String,
    #[serde(default)]
    errors: Vec<Cause>,
}

#[derive(Deserialize)]
struct Cause {
    #[serde(default)]
    message: String,
    location: Option<Location>,
}

#[derive(Deserialize)]
struct Location {
    #[serde(default)]
    file: String,
    #[serde(default)]
    row: u32,
}

impl Refusal {
    /// The first cause is named: the others follow from it, or are met once it is mended.
    fn sentence(self) -> String {
        let cause = self.errors.into_iter().find(|cause| !cause.message.is_empty()).map(|cause| match cause.location {
            Some(Location { file, row }) if !file.is_empty() => format!("; {file}:{row}: {}", cause.message),
            _ => format!("; {}", cause.message),
        });
        format!("{} ({}){}", self.message, self.code, cause.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
