//! What a check has to do so that a stream and a whole text are judged alike.
//!
//! A check reads a text through a window that moves. The stream says up to where the text is *decided*: nothing that follows can
//! change what begins before that place. A check that finds places therefore reports exactly what begins in
//! `window.begin..window.decided`, and may look [`CONTEXT_BYTES`] back and to the end of the window. Since what it says about a place
//! depends on the surroundings of that place alone, it does not matter at which steps the window has moved.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use crate::Action;

/// How many bytes before a place a check may look at.
pub const CONTEXT_BYTES: usize = 192;

/// A kind of check, compiled from its settings and shared by all texts.
pub trait Check: Send + Sync + Debug {
    /// Its name in findings, markers and verdicts.
    fn name(&self) -> &'static str;

    /// The longest stretch, in bytes, that one finding can cover: what a stream may have to hold back.
    fn span_bytes_max(&self) -> usize;

    /// Whether only the horizon's word rule (`horizon`) bounds where a finding of this check can begin. A check for which
    /// that is false makes the stream hold back [`Check::span_bytes_max`] at all times.
    fn ends_with_words(&self) -> bool;

    /// Whether nothing may leave before the end, because only the whole text can be judged and the verdict may forbid it.
    fn holds_everything(&self) -> bool {
        false
    }

    /// Whether its findings are places that can be masked. Where that is false a finding is about the text as a whole, and the
    /// actions are to flag and to block.
    fn finds_places(&self) -> bool {
        true
    }

    /// Begins to read one text.
    fn begin(self: Arc<Self>) -> Box<dyn Reading>;
}

/// One text as one check reads it.
pub trait Reading: Send + Debug {
    /// Reports what begins in `window.begin..window.decided`, once each, in any order. Successive windows leave no gap:
    /// one begins where the one before was decided.
    fn read(&mut self, window: &Window<'_>, found: &mut Vec<Candidate>);

    /// Says what only the whole text tells; called once, after the last window.
    fn finish(&mut self, _found: &mut Vec<Candidate>) -> Judgement {
        Judgement::default()
    }
}

/// What a check adds to its verdict at the end.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Judgement {
    /// A score that holds even when nothing was found.
    pub score: f32,
}

/// The part of a text that is at hand.
#[derive(Debug)]
pub struct Window<'a> {
    /// The text: context, what is to be decided, what has come after it.
    pub text: &'a str,
    /// Where the window's text begins in the whole text.
    pub base: usize,
    /// Where, in `text`, that begins which was not read before.
    pub begin: usize,
    /// Up to where, in `text`, everything that begins is decided.
    pub decided: usize,
    /// How many bytes the checks have looked at, for the tests that hold the cost down.
    pub(crate) work: Cell<u64>,
}

impl<'a> Window<'a> {
    /// A window over a text.
    #[must_use]
    pub const fn new(text: &'a str, base: usize, begin: usize, decided: usize) -> Self {
        Self { text, base, begin, decided, work: Cell::new(0) }
    }

    /// What was not read before and is decided now. It begins and ends between characters.
    #[must_use]
    pub fn fresh(&self) -> &'a str {
        self.text.get(self.begin..self.decided).unwrap_or_default()
    }

    /// Whether what begins at `start` (in the window's text) is to be reported now.
    #[must_use]
    pub fn is_due(&self, start: usize) -> bool {
        (self.begin..self.decided).contains(&start)
    }

    /// Counts bytes that were looked at.
    pub fn count_work(&self, bytes: usize) {
        self.work.set(self.work.get().saturating_add(bytes as u64));
    }

    /// A range of the window as one of the whole text.
    #[must_use]
    pub const fn whole(&self, range: Range<usize>) -> Range<usize> {
        range.start + self.base..range.end + self.base
    }
}

/// What a reading reports; the stream makes a [`crate::Finding`] of it unless an earlier one covers it.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The rule.
    pub rule: Cow<'static, str>,
    /// What is to be done.
    pub action: Action,
    /// The bytes of the whole text.
    pub range: Range<usize>,
    /// From 0 to 1.
    pub score: f32,
    /// One sentence without any of the text.
    pub explanation: Cow<'static, str>,
}
