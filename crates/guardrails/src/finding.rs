//! What a check found, and what that means for the text.

use std::borrow::Cow;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// What is done about a finding, from mild to severe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The text goes on as it is; the verdict tells of the finding.
    Flag,
    /// The text goes on with a marker in place of what was found.
    Redact,
    /// The text does not go on.
    Block,
}

/// What a check came to; the severest [`Action`] of its findings, or `Pass`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Nothing was found.
    Pass,
    /// Something was found and only told of.
    Flag,
    /// Something was found and masked.
    Redact,
    /// Something was found that the text must not go on with.
    Block,
}

impl From<Action> for Outcome {
    fn from(action: Action) -> Self {
        match action {
            Action::Flag => Self::Flag,
            Action::Redact => Self::Redact,
            Action::Block => Self::Block,
        }
    }
}

/// One thing that was found. It never holds the text that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The check that found it, such as `secrets`.
    pub check: &'static str,
    /// The rule of that check, such as `aws-access-key`.
    pub rule: Cow<'static, str>,
    /// What the settings say is done about it.
    pub action: Action,
    /// Which bytes of the text it covers, counted from the beginning of the text (of the whole stream). A finding about the text as
    /// a whole covers all of it.
    pub range: Range<usize>,
    /// How sure the check is, from 0 to 1.
    pub score: f32,
    /// One sentence for a person, without the text that was found.
    pub explanation: Cow<'static, str>,
}

impl Finding {
    /// What stands in the text in place of what was found.
    #[must_use]
    pub fn marker(&self) -> String {
        format!("[redacted:{}/{}]", self.check, self.rule)
    }
}

/// What one check says about one text: what the record of a call holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// The check, such as `personal_data`.
    pub check: &'static str,
    /// What it came to.
    pub action: Outcome,
    /// The highest score of its findings; for `prompt_injection` what the signals add up to, even below the threshold.
    pub score: f32,
    /// How many findings there were.
    pub findings: usize,
    /// The rules that found something, each once, in order of their names.
    pub rules: Vec<Cow<'static, str>>,
    /// Why, in one sentence, without any of the text; empty for a pass.
    pub explanation: String,
}
