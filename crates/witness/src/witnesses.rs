//! Those whom this log asks to remember it.

use std::time::Duration;

use bytes::Bytes;
use dial::{Peer, PeerError, percent_encoded};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use ledger::{PublishedLog, Unreadable};
use tlog::{
    Checkpoint, CheckpointError, ProveError, TilePath, WitnessKey, known_cosignatures, parse_decimal, prove_consistency,
};

use crate::request::AddCheckpoint;

/// How long one witness may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// The largest answer that is read: a few signature lines.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// The witnesses of this log.
pub struct Witnesses {
    log: PublishedLog,
    each: Vec<Asking>,
}

/// One witness, and what it has cosigned last as far as we know.
struct Asking {
    key: WitnessKey,
    peer: Peer,
    latest: u64,
}

/// What came of asking all witnesses about a checkpoint.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The checkpoint, with a line for each witness that has cosigned it.
    pub(crate) note: String,
    /// Why others have not: the witness's name and a sentence.
    pub(crate) missing: Vec<(String, String)>,
}

/// A witness has seen another history of this log than the one that is here.
#[derive(Debug, thiserror::Error)]
#[error(
    "the witness {witness} has seen another history of this log: {what}. Nothing is appended, since that would be a second \
     history. If this directory was restored from an old copy, bring back the newest one.\n\nThis log has signed:\n\n{ours}\n\
     The witness has seen:\n\n{theirs}"
)]
pub struct Ahead {
    /// The witness's key name.
    pub witness: String,
    /// What does not fit.
    pub what: String,
    /// The checkpoint here.
    pub ours: String,
    /// The checkpoint there, where the witness tells it.
    pub theirs: String,
}

/// Why a witness has not cosigned.
#[derive(Debug, thiserror::Error)]
enum NotCosigned {
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error("it refused: {0}")]
    Refused(String),
    #[error("its answer is not what the protocol says: {0}")]
    Answer(&'static str),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error("the proof for it could not be made: {0}")]
    Prove(String),
    #[error("{what}")]
    Ahead { what: String },
}

impl Witnesses {
    /// The witnesses with these keys and submission prefixes, for the log that is published here.
    ///
    /// # Errors
    /// When an address cannot be used.
    pub fn new(
        log: PublishedLog,
        witnesses: impl IntoIterator<Item = (WitnessKey, String)>,
    ) -> Result<Self, PeerError> {
        let asking = |(key, url): (WitnessKey, String)| Ok(Asking { key, peer: Peer::new(&url)?, latest: 0 });
        Ok(Self { log, each: witnesses.into_iter().map(asking).collect::<Result<_, PeerError>>()? })
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.each.is_empty()
    }

    /// Asks all witnesses at once to cosign a checkpoint whose tiles are published.
    ///
    /// # Errors
    /// When one of them has seen more records than there are here, or others.
    pub(crate) async fn ask(&mut self, note: &str) -> Result<Asked, Ahead> {
        let log = &self.log;
        let answers = futures_util::future::join_all(self.each.iter_mut().map(|witness| witness.ask(log, note))).await;
        let mut asked = Asked { note: note.to_owned(), missing: Vec::new() };
        for (witness, answer) in self.each.iter().zip(answers) {
            match answer {
                Ok(lines) => asked.note.push_str(&lines),
                Err(NotCosigned::Ahead { what }) => return Err(witness.ahead(what, note).await),
                Err(error) => asked.missing.push((witness.key.name().to_owned(), error.to_string())),
            }
        }
        Ok(asked)
    }
}

impl Asking {
    /// The lines with which the witness has cosigned a checkpoint.
    async fn ask(&mut self, log: &PublishedLog, note: &str) -> Result<String, NotCosigned> {
        let size = Checkpoint::parse_unverified(note.as_bytes())?.size;
        // A witness that has seen more than we know says how much: once, or it is not one.
        for _ in 0..2 {
            let old = self.latest;
            let proof = prove_consistency(old, size, |path| tile(log, path)).map_err(prove_failed)?;
            let body = AddCheckpoint { old, proof, note: note.to_owned() }.to_string();
            let media = "text/plain; charset=utf-8";
            let answer = self.peer.post("/add-checkpoint", media, body.into(), ANSWER_BYTES_MAX, PATIENCE).await?;
            match answer.status {
                StatusCode::OK => return self.cosigned(note, size, &answer.body),
                StatusCode::CONFLICT
                    if answer.headers.get(CONTENT_TYPE).is_some_and(|media| media == "text/x.tlog.size") =>
                {
                    self.latest = stated_size(&answer.body)?;
                    if self.latest > size {
                        let what = format!("it has cosigned {} records, and here are {size}", self.latest);
                        return Err(NotCosigned::Ahead { what });
                    }
                    if self.latest == old {
                        return Err(NotCosigned::Answer("it names the size that was asked with"));
                    }
                }
                // Version 1.0.0 of the protocol has 409 for two trees of one size, version 1.1.0 has 422.
                StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY => {
                    let what = format!("its {old} records are not the first {old} of the {size} here");
                    return Err(NotCosigned::Ahead { what });
                }
                status => return Err(NotCosigned::Refused(refusal(status, &answer.body))),
            }
        }
        Err(NotCosigned::Answer("it names one size after the other"))
    }

    fn cosigned(&mut self, note: &str, size: u64, answer: &[u8]) -> Result<String, NotCosigned> {
        let answer = std::str::from_utf8(answer).map_err(|_| NotCosigned::Answer("it is not UTF-8"))?;
        let lines: String = known_cosignatures(note, answer, &self.key).into_iter().map(|(line, _)| line).collect();
        if lines.is_empty() {
            return Err(NotCosigned::Answer("it has no valid cosignature of the key that is configured"));
        }
        self.latest = size;
        Ok(lines)
    }

    /// Both notes side by side. Our own witness tells its latest checkpoint; others may not.
    async fn ahead(&self, what: String, ours: &str) -> Ahead {
        let origin = ours.lines().next().unwrap_or_default();
        let theirs =
            self.peer.get(&format!("/checkpoint?origin={}", percent_encoded(origin)), ANSWER_BYTES_MAX, PATIENCE).await;
        let theirs = match theirs {
            Ok(answer) if answer.status == StatusCode::OK => String::from_utf8_lossy(&answer.body).into_owned(),
            _ => format!("(it does not show its checkpoint; it says: {what})\n"),
        };
        Ahead { witness: self.key.name().to_owned(), what, ours: ours.to_owned(), theirs }
    }
}

fn tile(log: &PublishedLog, path: TilePath) -> Result<Vec<u8>, String> {
    let read = log.tile(path).map_err(|error: Unreadable| error.to_string())?;
    read.ok_or_else(|| "it is not there".to_owned())
}

fn prove_failed(error: ProveError<String>) -> NotCosigned {
    NotCosigned::Prove(error.to_string())
}

fn stated_size(body: &Bytes) -> Result<u64, NotCosigned> {
    let size = std::str::from_utf8(body).ok().and_then(|text| parse_decimal(text.strip_suffix('\n').unwrap_or(text)));
    size.ok_or(NotCosigned::Answer("it does not name a size"))
}

fn refusal(status: StatusCode, body: &Bytes) -> String {
    let said: String = String::from_utf8_lossy(body).chars().take(300).filter(|c| !c.is_control()).collect();
    format!("{status} {said}")
}
