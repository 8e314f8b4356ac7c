//! A text that comes in chunks.
//!
//! 1. A chunk is put to the window, and the horizon says where that begins which may still grow.
//! 2. Once an eighth of the window is decided (so that each byte is read a bounded number of times), the checks read it.
//! 3. What is decided leaves, with markers over what was found; at the first block nothing leaves any more, but reading goes on, so
//!    that the verdicts are about all that was said.
//! 4. What no check can look back to is forgotten.

use crate::check::{CONTEXT_BYTES, Window};
use crate::horizon::Horizon;
use crate::masking::{BlockedAt, Pass};
use crate::{Finding, Guardrails, Verdict};

/// The part of the window, in one over this, that has to be decided before the checks read it.
const STEP_DIVISOR: usize = 8;

/// The judging of one text that comes in chunks. Memory is bounded by [`Guardrails::held_bytes_max`] and the chunk, unless a check needs the whole text.
#[derive(Debug)]
pub struct Stream {
    pass: Pass,
    horizon: Horizon,
    window: String,
    /// Where the window begins in the whole text.
    base: usize,
    /// Up to where the checks have read.
    decided: usize,
    /// What checks whose findings end with words can keep open, in bytes.
    open_bytes_max: usize,
    /// What other checks always keep open, in bytes.
    open_bytes_always: usize,
    /// What may leave at the end, when a check needs the whole text.
    kept: Option<String>,
    is_blocked: bool,
}

/// What may leave after a chunk.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Released {
    /// Safe to send on, markers included. Empty when everything may still grow into a finding.
    pub text: String,
    /// The finding that ends the stream, once. `text` comes before it; nothing leaves after it.
    pub blocked: Option<Finding>,
}

/// The end of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// The rest that may leave.
    pub text: String,
    /// The finding that forbids what is left, when that is found only now.
    pub blocked: Option<Finding>,
    /// One verdict a check.
    pub verdicts: Vec<Verdict>,
    /// The first [`crate::FINDINGS_MAX`] findings.
    pub findings: Vec<Finding>,
}

impl Stream {
    pub(crate) fn new(guardrails: &Guardrails) -> Self {
        Self {
            pass: Pass::new(&guardrails.checks),
            horizon: Horizon::default(),
            window: String::new(),
            base: 0,
            decided: 0,
            open_bytes_max: guardrails.hold_bytes(|check| check.ends_with_words()),
            open_bytes_always: guardrails.hold_bytes(|check| !check.ends_with_words()),
            kept: guardrails.checks.iter().any(|check| check.holds_everything()).then(String::new),
            is_blocked: false,
        }
    }

    /// Takes in what comes next and says what may leave.
    pub fn push(&mut self, chunk: &str) -> Released {
        self.window.push_str(chunk);
        self.horizon.push(chunk.as_bytes());
        let decided = self.decidable();
        if decided <= self.decided || (decided - self.decided) * STEP_DIVISOR < self.window.len() {
            return Released::default();
        }
        let (text, blocked) = self.advance(decided);
        Released { text: self.keep(text), blocked }
    }

    /// Ends the text.
    #[must_use]
    pub fn finish(mut self) -> Finished {
        let (mut text, mut blocked) = self.advance(self.base + self.window.len());
        let end = self.base + self.window.len();
        let window = Window::new("", end, 0, 0);
        let found = self.pass.finish();
        let forbidden = self.pass.release(&window, &found, &mut String::new());
        if let Some(BlockedAt { finding, .. }) = forbidden
            && !self.is_blocked
        {
            text.clear();
            self.kept = None;
            blocked = Some(finding);
        }
        if let Some(kept) = self.kept.take() {
            text = kept + &text;
        }
        let findings = std::mem::take(&mut self.pass.findings);
        Finished { text, blocked, verdicts: self.pass.verdicts(), findings }
    }

    /// How many bytes have come and are neither released nor masked.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.base + self.window.len() - self.decided
    }

    /// How many bytes the checks have looked at.
    #[cfg(test)]
    pub(crate) const fn work(&self) -> u64 {
        self.pass.work
    }

    /// Up to where the text is decided: between characters, and never back.
    fn decidable(&self) -> usize {
        let end = self.base + self.window.len();
        let by_words = if self.open_bytes_max == 0 {
            end
        } else {
            self.horizon.open_from().max(end.saturating_sub(self.open_bytes_max))
        };
        let decided = by_words.min(end.saturating_sub(self.open_bytes_always));
        self.base + self.window.floor_char_boundary(decided.saturating_sub(self.base))
    }

    fn advance(&mut self, decided: usize) -> (String, Option<Finding>) {
        let window = Window::new(&self.window, self.base, self.decided - self.base, decided - self.base);
        let found = self.pass.read(&window);
        let mut text = String::new();
        let blocked = self.pass.release(&window, &found, &mut text);
        self.decided = decided;
        let forget = self.window.floor_char_boundary((decided - self.base).saturating_sub(CONTEXT_BYTES));
        self.window.drain(..forget);
        self.base += forget;
        if self.is_blocked {
            return (String::new(), None);
        }
        let Some(BlockedAt { position, finding }) = blocked else { return (text, None) };
        self.is_blocked = true;
        text.truncate(position);
        (text, Some(finding))
    }

    /// Keeps back what a check needs the whole text for.
    fn keep(&mut self, text: String) -> String {
        match &mut self.kept {
            Some(kept) => {
                kept.push_str(&text);
                String::new()
            }
            None => text,
        }
    }
}
