//! The loop that takes this log to the centre.
//!
//! 1. **ask** where the centre stands: it keeps the cursor, and this node may have missed an answer;
//! 2. **read** from there, a parcel ahead of the one that is on its way;
//! 3. **send**; the answer says what the centre has made durable, and the write-ahead log lets that go;
//! 4. after any failure: wait, and begin at 1.

use std::time::Duration;

use bytes::Bytes;
use dial::{Credentials, Peer, PeerError, percent_encoded};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use ledger::{FollowError, Ledger};
use world::World;

use crate::answer::{self, Failure};
use crate::parcel::{PARCEL_BYTES_MAX, Packed};
use crate::reader::Reader;
use crate::status::Status;

/// How long one request may take. A way that is too slow for a whole parcel gets smaller ones.
const PATIENCE: Duration = Duration::from_secs(120);
/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// After the first failure it is tried again after this long, then twice as long each time …
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// … up to this long, which is also how often it is looked whether somebody has mended what needs somebody.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Parcels are not made smaller than this.
const BYTES_MIN: usize = 64 << 10;

/// Where to, and as whom.
#[derive(Clone)]
pub struct Settings {
    /// The centre's base URL.
    pub to: String,
    /// The API key or token that it wants to see; none: it lets in whoever comes.
    pub key: Option<String>,
    /// What it is held against by HTTPS.
    pub credentials: Credentials,
    /// The name that it knows this log by.
    pub origin: String,
}

/// Takes a log to a centre.
pub struct Sender {
    world: World,
    ledger: Ledger,
    centre: Peer,
    origin: String,
    status: Status,
    /// How large a parcel may be just now.
    bytes_max: usize,
    /// How often in a row it has failed.
    failures: u32,
    /// What was told of last, so that it is told once.
    told: Option<String>,
}

impl Sender {
    /// Gets ready to deliver a log, which must have been opened to be ([`ledger::Options::backlog_bytes_max`]).
    ///
    /// # Errors
    /// When the address, the key or the credentials cannot be used.
    pub fn new(world: &World, ledger: &Ledger, settings: Settings) -> Result<Self, PeerError> {
        let centre = Peer::with(&settings.to, &settings.credentials)?;
        let centre = match &settings.key {
            Some(key) => centre.bearing(key)?,
            None => centre,
        };
        Ok(Self {
            world: world.clone(),
            ledger: ledger.clone(),
            centre,
            origin: settings.origin,
            status: Status::new(ledger, &record::without_credentials(&settings.to)),
            bytes_max: PARCEL_BYTES_MAX,
            failures: 0,
            told: None,
        })
    }

    /// How far it is.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.clone()
    }

    /// Delivers for as long as the log is open.
    pub async fn run(mut self) {
        while let Err(failure) = self.deliver().await {
            let pause = self.failed(&failure);
            tokio::time::sleep(pause).await;
        }
    }

    /// Delivers until something fails, or the log is closed.
    async fn deliver(&mut self) -> Result<(), Failure> {
        let next = self.ask().await?;
        self.moved_to(next)?;
        // A centre that answers may still refuse what it is sent.
        if self.status.now().waiting == 0 {
            self.went_well();
        }
        let mut reader = open(&self.ledger, next).await?;
        let mut ahead: Option<Packed> = None;
        loop {
            let parcel = match ahead.take() {
                Some(parcel) => parcel,
                None => {
                    let (back, read) = read(reader, self.bytes_max).await?;
                    reader = back;
                    match read? {
                        Some(parcel) => parcel,
                        None => match reader.has_more().await? {
                            true => continue,
                            false => return Ok(()),
                        },
                    }
                }
            };
            // One on its way and one being read: the way and the disk need not wait for each other.
            let (sent, read_ahead) = tokio::join!(self.send(&parcel), read(reader, self.bytes_max));
            let (next, (back, read)) = (sent?, read_ahead?);
            reader = back;
            self.moved_to(next)?;
            self.went_well();
            ahead = read?;
            if next != parcel.end {
                // The centre stands elsewhere: it was restored, or another request of ours reached it after all.
                reader = open(&self.ledger, next).await?;
                ahead = None;
            }
        }
    }

    /// Where the centre stands.
    async fn ask(&self) -> Result<u64, Failure> {
        self.post(0, None, HeaderMap::new(), Bytes::new()).await
    }

    async fn send(&self, parcel: &Packed) -> Result<u64, Failure> {
        let mut headers = HeaderMap::new();
        if parcel.is_compressed {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("zstd"));
        }
        let after = parcel.after.map(|hash| hash.to_string());
        let next = self.post(parcel.from, after.as_deref(), headers, parcel.body.clone()).await?;
        // Never twice the same parcel in good order: it would be sent for ever.
        if next == parcel.from {
            return Err(Failure::Answer(format!("it has taken nothing from record {next} on")));
        }
        Ok(next)
    }

    async fn post(&self, from: u64, after: Option<&str>, mut headers: HeaderMap, body: Bytes) -> Result<u64, Failure> {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let after = after.map_or(String::new(), |hash| format!("&after={}", percent_encoded(hash)));
        let path = format!("/api/v1/forward/{}?from={from}{after}", percent_encoded(&self.origin));
        answer::next(&self.centre.post_with(&path, headers, body, ANSWER_BYTES_MAX, PATIENCE).await?)
    }

    /// The centre has everything before this index.
    fn moved_to(&mut self, next: u64) -> Result<(), Failure> {
        let ours = self.ledger.durable().size;
        if next > ours {
            return Err(Failure::Ahead { origin: self.origin.clone(), theirs: next, ours });
        }
        self.ledger.delivered(next);
        self.status.delivered(next);
        Ok(())
    }

    /// The centre takes what it is sent.
    fn went_well(&mut self) {
        self.status.went_well();
        if self.failures > 0 || self.told.is_none() {
            let standing = self.status.now();
            tracing::info!(
                to = standing.to,
                delivered = standing.delivered,
                waiting = standing.waiting,
                "records are delivered"
            );
            self.told = Some(String::new());
        }
        self.failures = 0;
        self.bytes_max = (self.bytes_max * 2).min(PARCEL_BYTES_MAX);
    }

    /// Tells of a failure when it is another one than before, and says how long to wait.
    fn failed(&mut self, failure: &Failure) -> Duration {
        let why = failure.to_string();
        self.status.failed(&why);
        if self.told.as_ref() != Some(&why) {
            let standing = self.status.now();
            tracing::warn!(
                to = standing.to,
                waiting = standing.waiting,
                why,
                "records cannot be delivered; they are kept until they can"
            );
            self.told = Some(why);
        }
        if failure.is_about_size() {
            self.bytes_max = (self.bytes_max / 4).max(BYTES_MIN);
        }
        self.failures = self.failures.saturating_add(1);
        pause(failure, self.failures, u64::from_be_bytes(self.world.entropy.bytes()))
    }
}

/// How long to wait after so many failures in a row: with a part that is random, so that nodes that lost the same centre do not
/// all come back at once.
fn pause(failure: &Failure, failures: u32, random: u64) -> Duration {
    let doubled = PAUSE_MIN.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    let whole = if failure.needs_somebody() { PAUSE_MAX } else { doubled.min(PAUSE_MAX) };
    let half = whole / 2;
    let millis = u64::try_from(half.as_millis()).unwrap_or(u64::MAX);
    let jittered = half + Duration::from_millis(random % (millis + 1));
    failure.retry_after().map_or(jittered, |wanted| jittered.max(wanted))
}

/// Begins to read, where blocking is allowed.
async fn open(ledger: &Ledger, from: u64) -> Result<Reader, Failure> {
    let ledger = ledger.clone();
    let opened = tokio::task::spawn_blocking(move || Reader::open(&ledger, from)).await;
    Ok(opened.map_err(|_| Failure::Broken)??)
}

type Read = (Reader, Result<Option<Packed>, FollowError>);

/// Reads a parcel, where blocking is allowed.
async fn read(mut reader: Reader, bytes_max: usize) -> Result<Read, Failure> {
    let reading = tokio::task::spawn_blocking(move || {
        let taken = reader.take(bytes_max);
        (reader, taken)
    });
    reading.await.map_err(|_| Failure::Broken)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn refused(status: StatusCode, retry_after: Option<u64>) -> Failure {
        Failure::Refused { status, detail: String::new(), retry_after: retry_after.map(Duration::from_secs) }
    }

    #[test]
    fn the_pause_doubles_up_to_a_minute_and_is_never_the_same_for_all() {
        let away = refused(StatusCode::SERVICE_UNAVAILABLE, None);
        let millis = |failures: u32| u64::try_from(pause(&away, failures, 0).as_millis()).unwrap();
        let shortest = [1, 2, 3, 6, 7, 40, u32::MAX].map(millis);
        assert_eq!(shortest, [500, 1_000, 2_000, 16_000, 30_000, 30_000, 30_000]);
        assert_eq!(pause(&away, 1, 500).as_millis(), 1_000);
        assert_eq!(pause(&away, 7, u64::MAX).as_secs(), 30 + (u64::MAX % 30_001) / 1_000);
    }

    #[test]
    fn a_centre_that_says_when_is_asked_then_and_a_refusal_is_asked_about_seldom() {
        assert_eq!(pause(&refused(StatusCode::SERVICE_UNAVAILABLE, Some(90)), 1, 0).as_secs(), 90);
        assert_eq!(pause(&refused(StatusCode::FORBIDDEN, None), 1, 0).as_secs(), 30);
    }
}
