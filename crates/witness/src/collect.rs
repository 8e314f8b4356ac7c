//! The loop that takes each checkpoint of this log to its witnesses.

use std::sync::Arc;
use std::time::Duration;

use ledger::Ledger;
use tlog::{PolicyError, TrustPolicy};

use crate::witnesses::{Ahead, Asked, Witnesses};

/// While too few witnesses have cosigned, they are asked again after this long.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// So often is one checkpoint taken to the witnesses: recording never waits for them, and publishing not for long.
const ATTEMPTS: usize = 3;

/// This log and those who remember it.
pub struct Collector {
    ledger: Ledger,
    witnesses: Witnesses,
    /// How many of them must have seen a checkpoint; none: all of them.
    quorum: Option<TrustPolicy>,
    /// The checkpoint that was asked about last.
    seen: Arc<str>,
    is_complete: bool,
}

impl Collector {
    /// Asks the witnesses about the log as it was found. Nothing may be appended before this has returned.
    ///
    /// # Errors
    /// When one of them has seen another history. A witness that cannot be reached is no error, but is told of.
    pub async fn start(ledger: Ledger, witnesses: Witnesses, quorum: Option<TrustPolicy>) -> Result<Self, Ahead> {
        let mut collector = Self { ledger, witnesses, quorum, seen: "".into(), is_complete: true };
        // Once: a start must not wait for those who cannot be reached.
        collector.take(1).await?;
        Ok(collector)
    }

    /// Takes each further checkpoint to the witnesses. Returns only when one of them has seen another history.
    pub async fn run(mut self) -> Ahead {
        loop {
            if let Err(ahead) = self.take(ATTEMPTS).await {
                return ahead;
            }
        }
    }

    /// Takes the next checkpoint to the witnesses and back.
    async fn take(&mut self, attempts: usize) -> Result<(), Ahead> {
        let note = self.ledger.next_candidate(&mut self.seen).await;
        let mut asked = self.witnesses.ask(&note).await?;
        for _ in 1..attempts {
            if self.is_enough(&asked) {
                break;
            }
            tokio::time::sleep(AGAIN_AFTER).await;
            asked = self.witnesses.ask(&note).await?;
        }
        self.tell(&asked);
        self.ledger.publish_cosigned(&asked.note);
        Ok(())
    }

    fn is_enough(&self, asked: &Asked) -> bool {
        match &self.quorum {
            Some(quorum) => !matches!(quorum.vouch(asked.note.as_bytes()), Err(PolicyError::Quorum { .. })),
            None => asked.missing.is_empty(),
        }
    }

    /// Says when it changes whether enough witnesses cosign, and not with each checkpoint.
    fn tell(&mut self, asked: &Asked) {
        let is_complete = self.is_enough(asked);
        if is_complete != self.is_complete {
            if is_complete {
                tracing::info!("enough witnesses cosign the checkpoints again");
            }
            for (witness, why) in &asked.missing {
                tracing::warn!(witness, why, "this witness does not cosign the checkpoints; recording goes on");
            }
        }
        self.is_complete = is_complete;
    }
}
