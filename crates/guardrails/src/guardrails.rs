//! From settings to checks, from a text to what they say about it.

use std::borrow::Cow;
use std::sync::Arc;

use crate::check::{CONTEXT_BYTES, Check, Window};
use crate::json_schema::JsonSchema;
use crate::language::Language;
use crate::length::Length;
use crate::masking::{Found, Pass};
use crate::patterns::Patterns;
use crate::personal_data::PersonalData;
use crate::prompt_injection::PromptInjection;
use crate::secrets::Secrets;
use crate::settings::{SettingsError, Side};
use crate::{Finding, Stream, Verdict};

/// How many findings of one text are listed; what is beyond is masked and counted in the verdicts all the same.
pub const FINDINGS_MAX: usize = 256;

/// How far behind the end of what it covers a finding may depend on what follows, in bytes.
pub(crate) const LOOK_AHEAD_BYTES: usize = 8;

/// The checks of one side of the model, compiled once and used for every text.
#[derive(Debug, Clone)]
pub struct Guardrails {
    pub(crate) checks: Arc<[Arc<dyn Check>]>,
}

impl Default for Guardrails {
    fn default() -> Self {
        Self::with_checks(Vec::new())
    }
}

/// What all checks say about one text.
#[derive(Debug, Clone, PartialEq)]
pub struct Examination<'a> {
    /// One verdict a check, in the order of [`Side`]'s members.
    pub verdicts: Vec<Verdict>,
    /// The first [`FINDINGS_MAX`] findings, in the order of the text; those about the text as a whole come last.
    pub findings: Vec<Finding>,
    /// The text with `[redacted:<check>/<rule>]` in place of what is to be redacted or blocked.
    pub text: Cow<'a, str>,
}

impl Guardrails {
    /// Compiles the checks that are on.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] says which member cannot be used; no check is in force then.
    pub fn new(side: &Side) -> Result<Self, SettingsError> {
        let mut checks: Vec<Arc<dyn Check>> = Vec::new();
        if let Some(settings) = &side.secrets {
            checks.push(Arc::new(Secrets::new(settings)?));
        }
        if let Some(settings) = &side.personal_data {
            checks.push(Arc::new(PersonalData::new(settings)?));
        }
        if let Some(settings) = &side.patterns {
            checks.push(Arc::new(Patterns::new(settings)?));
        }
        if let Some(settings) = &side.length {
            checks.push(Arc::new(Length::new(settings)?));
        }
        if let Some(settings) = &side.language {
            checks.push(Arc::new(Language::new(settings)?));
        }
        if let Some(settings) = &side.prompt_injection {
            checks.push(Arc::new(PromptInjection::new(settings)?));
        }
        if let Some(settings) = &side.json_schema {
            checks.push(Arc::new(JsonSchema::new(settings)?));
        }
        Ok(Self::with_checks(checks))
    }

    /// Uses checks that were made elsewhere.
    #[must_use]
    pub fn with_checks(checks: Vec<Arc<dyn Check>>) -> Self {
        Self { checks: checks.into() }
    }

    /// Whether no check is on.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.checks.is_empty()
    }

    /// Judges a text.
    #[must_use]
    pub fn examine<'a>(&self, text: &'a str) -> Examination<'a> {
        self.examine_counting(text).0
    }

    /// Judges a text and tells how many bytes the checks looked at.
    pub(crate) fn examine_counting<'a>(&self, text: &'a str) -> (Examination<'a>, u64) {
        let mut pass = Pass::new(&self.checks);
        let window = Window::new(text, 0, 0, text.len());
        let found = pass.read(&window);
        let shown = if found.iter().any(Found::is_covered) {
            let mut shown = String::with_capacity(text.len());
            pass.release(&window, &found, &mut shown);
            Cow::Owned(shown)
        } else {
            Cow::Borrowed(text)
        };
        pass.finish();
        let (findings, work) = (std::mem::take(&mut pass.findings), pass.work);
        (Examination { verdicts: pass.verdicts(), findings, text: shown }, work)
    }

    /// Begins to judge a text that comes in chunks.
    #[must_use]
    pub fn stream(&self) -> Stream {
        Stream::new(self)
    }

    /// The most that a stream keeps back, in bytes: the longest finding, what follows it, and the eighth of the window by which a
    /// stream advances at least. `None` when a check needs the whole text before anything may leave. Prose is kept back by
    /// about a hundred bytes unless `patterns` is on, whose longest match is always kept back.
    #[must_use]
    pub fn held_bytes_max(&self) -> Option<usize> {
        if self.checks.iter().any(|check| check.holds_everything()) {
            return None;
        }
        let hold = self.hold_bytes(|_| true);
        // The window has context, what is open and what is decided d; a stream advances when d ≥ (context + open + d) / 8. Contexts
        // and places are rounded to whole characters, of at most four bytes.
        Some(hold + (CONTEXT_BYTES + hold + 8) / 7 + 8)
    }

    /// The longest span of some checks, with what follows it.
    pub(crate) fn hold_bytes(&self, which: impl Fn(&dyn Check) -> bool) -> usize {
        let spans = self.checks.iter().filter(|check| which(check.as_ref())).map(|check| check.span_bytes_max());
        spans.max().map_or(0, |span| if span == 0 { 0 } else { span + LOOK_AHEAD_BYTES })
    }
}

#[cfg(test)]
mod tests;
