//! A stream on its way to the client, as far as guardrails and judges let it. Its end mark waits for the record.

use bytes::Bytes;
use guardrails::Verdict;
use http::StatusCode;
use record::Outcome;
use tokio::sync::mpsc;

use crate::answer::Piece;
use crate::cut_short::{CutShort, not_spooled};
use crate::drafts::Said;
use crate::gateway::Gateway;
use crate::judging::withheld;
use crate::openai::events::EventReader;
use crate::openai::guarded::{Finished, GuardedStream};
use crate::openai::refusal::Refusal;
use crate::rules::Rules;
use crate::spool::Spooled;

/// One stream.
pub(crate) struct Relay {
    pub(crate) reader: EventReader,
    guard: Option<GuardedStream>,
    /// What waits for those who judge the whole answer; none where nobody does.
    waiting: Option<Vec<u8>>,
    /// The end mark, and what came with it.
    end: Vec<u8>,
    /// Where a killed process leaves what was passed on.
    spooled: Option<Spooled>,
    /// The way to the client, closed once it has gone.
    pub(crate) chunks: mpsc::Sender<Piece>,
}

impl Relay {
    pub(crate) fn new(rules: Option<&Rules>, spooled: Option<Spooled>, chunks: mpsc::Sender<Piece>) -> Self {
        let guardrails = rules.map(|rules| &rules.output.guardrails).filter(|guardrails| !guardrails.is_empty());
        let is_judged = rules.is_some_and(|rules| !rules.output.judges.is_empty());
        Self {
            reader: EventReader::default(),
            guard: guardrails.map(GuardedStream::new),
            waiting: is_judged.then(Vec::new),
            end: Vec::new(),
            spooled,
            chunks,
        }
    }

    /// Whether the end mark has come.
    pub(crate) fn is_done(&self) -> bool {
        self.guard.as_ref().map_or(self.reader.done_at().is_some(), GuardedStream::is_done)
    }

    /// Takes a chunk in and passes on what may be.
    pub(crate) async fn take(&mut self, chunk: Bytes, gateway: &Gateway) -> Result<(), CutShort> {
        let chunk = self.guarded(chunk)?;
        let flowing = split_before_end(&mut self.reader, chunk, &mut self.end);
        self.pass_on(flowing, gateway).await
    }

    /// What the guardrails said of all of it. What they held back is passed on when all went well so far.
    pub(crate) async fn finish_guard(
        &mut self,
        ended: Result<(), CutShort>,
        gateway: &Gateway,
    ) -> (Vec<Verdict>, bool, Result<(), CutShort>) {
        let Some(guard) = self.guard.take() else { return (Vec::new(), false, ended) };
        let Finished { bytes, end, verdicts, blocked } = guard.finish();
        let is_withheld = blocked.is_some();
        let ended = match ended {
            Ok(()) if is_withheld => Err(CutShort::Withheld(withheld(&verdicts))),
            Ok(()) => {
                self.reader.push(&bytes);
                let passed = self.pass_on(bytes.into(), gateway).await;
                self.reader.push(&end);
                self.end = end;
                passed
            }
            cut => cut,
        };
        (verdicts, is_withheld, ended)
    }

    /// Passes on what waited for judges.
    pub(crate) async fn let_go(&mut self, gateway: &Gateway) -> Result<(), CutShort> {
        match self.waiting.take() {
            Some(waiting) => self.pass_on(waiting.into(), gateway).await,
            None => Ok(()),
        }
    }

    /// The last piece, and the way there; and what was said, for the record.
    pub(crate) fn into_parts(self) -> (Vec<u8>, mpsc::Sender<Piece>, Said) {
        (self.end, self.chunks, Said::of_stream(self.reader))
    }

    /// How it ended. A stream that stops before it says why is not complete, even when its connection closed in good order.
    pub(crate) fn outcome(&self, ended: &Result<(), CutShort>) -> (Outcome, Option<String>) {
        let failed = |error: &str| (Outcome::Failed, Some(error.to_owned()));
        let completion = &self.reader.completion;
        match ended {
            Err(cut) => {
                let (outcome, error) = cut.outcome();
                (outcome, Some(error.to_owned()))
            }
            Ok(()) if self.reader.has_error() => failed("upstream_error"),
            Ok(()) if completion.is_empty() => failed("not_an_answer"),
            Ok(()) if self.reader.done_at().is_none() && completion.finish_reasons().is_empty() => {
                failed("ended_early")
            }
            Ok(()) => (Outcome::Completed, None),
        }
    }

    /// What guardrails let flow of a chunk.
    fn guarded(&mut self, chunk: Bytes) -> Result<Bytes, CutShort> {
        let Some(guard) = &mut self.guard else { return Ok(chunk) };
        let flowing = guard.push(&chunk);
        match guard.blocked() {
            Some(finding) => {
                let message = format!("withheld by a guardrail: {}", finding.explanation);
                Err(CutShort::Withheld(Refusal::invalid(StatusCode::FORBIDDEN, "content_filter", message)))
            }
            None => Ok(flowing.into()),
        }
    }

    /// Keeps a piece where a killed process leaves it, then sends it; or keeps it for judges.
    async fn pass_on(&mut self, flowing: Bytes, gateway: &Gateway) -> Result<(), CutShort> {
        if let Some(waiting) = &mut self.waiting {
            waiting.extend_from_slice(&flowing);
            return Ok(());
        }
        let spooled = self.spooled.as_mut().map_or(Ok(()), |file| file.append(&flowing));
        spooled.map_err(|error| not_spooled(&error))?;
        if flowing.is_empty() {
            return Ok(());
        }
        tokio::select! {
            sent = self.chunks.send(Piece::Flowing(flowing)) => sent.map_err(|_| CutShort::ClientGone),
            () = gateway.stopping() => Err(CutShort::Stopping),
        }
    }
}

/// Reads a chunk, gives the part of it that may flow on and puts what belongs to the end mark to `held`.
fn split_before_end(reader: &mut EventReader, mut chunk: Bytes, held: &mut Vec<u8>) -> Bytes {
    let start = reader.position();
    reader.push(&chunk);
    let Some(done_at) = reader.done_at() else { return chunk };
    let flowing = usize::try_from(done_at.saturating_sub(start)).unwrap_or(usize::MAX).min(chunk.len());
    held.extend_from_slice(&chunk.split_off(flowing));
    chunk
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_mark_is_held_and_everything_before_it_flows() {
        let stream = b"data: {\"choices\":[]}\n\ndata: [DONE]\n\n";
        for cut in 0..stream.len() {
            let (mut reader, mut held, mut flowed) = (EventReader::default(), Vec::new(), Vec::new());
            for part in [&stream[..cut], &stream[cut..]] {
                flowed.extend_from_slice(&split_before_end(&mut reader, Bytes::copy_from_slice(part), &mut held));
            }
            assert_eq!([flowed.as_slice(), held.as_slice()].concat(), stream, "cut at {cut}");
            assert!(!held.is_empty(), "cut at {cut}: nothing was held");
        }
    }
}
