//! From settings to those who are asked, from a text to their verdicts.

use std::borrow::Cow;
use std::sync::Arc;

use guardrails::{OnFailure, Outcome, SettingsError, Side, Verdict};
use serde::Serialize;

use crate::failure::Failure;
use crate::judge::Judge;
use crate::webhook::Webhook;

/// The rule of a verdict that is a failure. Nobody who is asked can use the name.
pub const FAILED_RULE: &str = "failed";

/// Those who are asked on one side of the model. Clones share connections and limits.
#[derive(Clone, Default)]
pub struct Judges {
    judge: Option<Arc<Judge>>,
    webhook: Option<Arc<Webhook>>,
}

/// What is to be judged, and of which call. Texts are as the pure guardrails left them: what they mask is masked.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Before the model or after it.
    pub direction: Direction,
    /// The call's identifier: visible ASCII.
    pub call: &'a str,
    /// The time, in seconds since 1970.
    pub unix_seconds: u64,
    /// The model that the caller asked for.
    pub model: &'a str,
    /// Who calls, where that is known.
    pub actor: Option<&'a str>,
    /// The deployment stage, such as `staging`.
    pub environment: &'a str,
    /// The conversation in its order. With [`Direction::Output`] the answer is at its end, one text of the role `assistant` for each choice.
    pub texts: &'a [Text<'a>],
}

/// Which side of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// What is asked of it.
    Input,
    /// What it answers.
    Output,
}

/// What somebody said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Text<'a> {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: &'a str,
    /// The text, with masks.
    pub text: &'a str,
}

/// What somebody who was asked came to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Opinion {
    pub(crate) outcome: Outcome,
    pub(crate) score: f32,
    pub(crate) rules: Vec<Cow<'static, str>>,
    pub(crate) explanation: String,
}

impl Judges {
    /// Gets ready to ask those who are set up. Nobody is asked yet.
    ///
    /// # Errors
    /// [`SettingsError`] says which member cannot be used; nobody would be asked then.
    pub fn new(side: &Side) -> Result<Self, SettingsError> {
        let judge = side.judge.as_ref().map(Judge::new).transpose()?;
        let webhook = side.webhook.as_ref().map(Webhook::new).transpose()?;
        Ok(Self { judge: judge.map(Arc::new), webhook: webhook.map(Arc::new) })
    }

    /// Whether nobody is asked.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.judge.is_none() && self.webhook.is_none()
    }

    /// Asks all of them at once; one verdict each, the judge's first. Where nothing is said, nobody is asked and all pass. Dropping the
    /// future gives up the questions.
    pub async fn judge(&self, asked: &Asked<'_>) -> Vec<Verdict> {
        let judge = async {
            let judge = self.judge.as_ref()?;
            Some(verdict(Judge::NAME, judge.on_failure(), judge.judge(asked).await))
        };
        let webhook = async {
            let webhook = self.webhook.as_ref()?;
            Some(verdict(Webhook::NAME, webhook.on_failure(), webhook.judge(asked).await))
        };
        let (judge, webhook) = tokio::join!(judge, webhook);
        judge.into_iter().chain(webhook).collect()
    }
}

impl Opinion {
    pub(crate) const fn pass(score: f32) -> Self {
        Self { outcome: Outcome::Pass, score, rules: Vec::new(), explanation: String::new() }
    }
}

fn verdict(check: &'static str, on_failure: OnFailure, opinion: Result<Opinion, Failure>) -> Verdict {
    let opinion = opinion.unwrap_or_else(|failure| Opinion {
        outcome: match on_failure {
            OnFailure::Closed => Outcome::Block,
            OnFailure::Open => Outcome::Flag,
        },
        score: 0.0,
        rules: vec![FAILED_RULE.into()],
        explanation: format!("the {check} did not say whether the text may pass: {failure}"),
    });
    let Opinion { outcome, score, rules, explanation } = opinion;
    Verdict { check, action: outcome, score, findings: rules.len(), rules, explanation }
}

#[cfg(test)]
mod server;
#[cfg(test)]
mod tests;
