//! Trusted time: an authority (RFC 3161) stamps the published checkpoint once in a while. The checkpoint and the token become
//! the content of a `control` record, so they are as durable as anything else and are found by whoever makes evidence.

use std::sync::Arc;
use std::time::Duration;

use dial::{Peer, PeerError};
use http::StatusCode;
use ledger::{AppendError, Ledger, PublishedLog, Unreadable};
use record::{Draft, Field, Kind, Source, Timestamp, uuid_v7};
use tlog::{
    Checkpoint, CheckpointError, TIMESTAMP_BYTES_MAX, TimestampError, Token, timestamp_request, timestamp_response,
};
use world::World;

/// The door of the log through which its own time-stamps come in.
pub const STAMPING_PRODUCER: &str = "timestamping";
/// The field of content with the checkpoint that was stamped.
pub const STAMPED_CHECKPOINT: &str = "testimony.timestamp.checkpoint";
/// The field of content with the authority's token, in DER.
pub const STAMP_TOKEN: &str = "testimony.timestamp.token";
/// How long an authority may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// After a failure the authority is asked again after this long, or after the usual time when that is shorter.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// This log and the authority that stamps its checkpoints.
pub struct Stamping {
    world: World,
    log: PublishedLog,
    authority: Peer,
    url: String,
    source: Arc<Source>,
    /// The size of the log after the last stamp and its own record: there is nothing new before it grows beyond that.
    covered: u64,
    is_failing: bool,
}

/// Why there is no stamp.
#[derive(Debug, thiserror::Error)]
enum NotStamped {
    #[error(transparent)]
    Authority(#[from] PeerError),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error(transparent)]
    Timestamp(#[from] TimestampError),
    #[error(transparent)]
    Log(#[from] Unreadable),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error("the stamp could not be recorded")]
    Record(#[from] AppendError),
}

impl Stamping {
    /// Asks the authority at `url` about the checkpoints of `log`. `source` is what its records say of themselves.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub fn new(world: World, log: PublishedLog, url: &str, source: Source) -> Result<Self, PeerError> {
        let source = Source { producer: STAMPING_PRODUCER.into(), ..source }.into();
        Ok(Self { world, log, authority: Peer::new(url)?, url: url.to_owned(), source, covered: 0, is_failing: false })
    }

    /// Has the checkpoint stamped every so often while the log grows. Recording never waits for it.
    pub async fn run(mut self, ledger: Ledger, every: Duration) {
        loop {
            let stamped = self.stamp(&ledger).await;
            self.tell(&stamped);
            let pause = if stamped.is_ok() { every } else { every.min(AGAIN_AFTER) };
            tokio::time::sleep(pause).await;
        }
    }

    async fn stamp(&mut self, ledger: &Ledger) -> Result<(), NotStamped> {
        ledger.published_over(self.covered).await;
        let Some(note) = self.log.checkpoint()? else { return Ok(()) };
        let size = Checkpoint::parse_unverified(&note)?.size;
        let nonce = u64::from_be_bytes(self.world.entropy.bytes());
        let question = timestamp_request(&note, nonce).into();
        let media = "application/timestamp-query";
        let answer = self.authority.post("", media, question, TIMESTAMP_BYTES_MAX, PATIENCE).await?;
        if answer.status != StatusCode::OK {
            return Err(NotStamped::Status(answer.status));
        }
        let token = timestamp_response(&answer.body, &note, nonce)?;
        let receipt = ledger.append(self.draft(size, note, token)).await?;
        // When nothing else came meanwhile, there is only this record to stamp next: that can wait for company.
        self.covered = if receipt.index == size { size + 1 } else { size };
        Ok(())
    }

    fn draft(&self, size: u64, note: Vec<u8>, token: Token) -> Draft {
        let time = Timestamp::from_micros(self.world.clock.now_micros());
        let id = uuid_v7(time, &self.world.entropy.bytes());
        let mut draft = Draft::new(id, time, Kind::Control, self.source.clone());
        draft.attributes.set("testimony.timestamp.size", i64::try_from(size).unwrap_or(i64::MAX));
        draft.attributes.set("testimony.timestamp.time", Timestamp::from_posix_seconds(token.time).to_string());
        draft.attributes.set("testimony.timestamp.authority", record::without_credentials(&self.url).to_string());
        let field = |name: &str, media: &str, bytes| Field { name: name.into(), media: media.into(), bytes };
        draft.content = vec![
            field(STAMPED_CHECKPOINT, "text/plain; charset=utf-8", note),
            field(STAMP_TOKEN, "application/cms", token.der),
        ];
        draft
    }

    /// Says when it changes whether checkpoints are stamped, and not with each.
    fn tell(&mut self, stamped: &Result<(), NotStamped>) {
        match stamped {
            Ok(()) if self.is_failing => tracing::info!("the checkpoints are time-stamped again"),
            Err(why) if !self.is_failing => {
                let authority = record::without_credentials(&self.url);
                tracing::warn!(%authority, %why, "the checkpoints are not time-stamped; recording goes on");
            }
            _ => {}
        }
        self.is_failing = stamped.is_err();
    }
}
