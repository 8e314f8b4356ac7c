//! Whoever answers a POST with a verdict.

use std::borrow::Cow;

use bytes::Bytes;
use guardrails::{OnFailure, Outcome, SettingsError, WebhookSettings};
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::judges::{FAILED_RULE, Opinion};
use crate::respondent::{Allowance, Respondent, fault, within};
use crate::signature::Signer;
use crate::{Asked, Direction, Text};

/// The most that `text_bytes_max` of a webhook can be, in bytes.
pub const SENT_BYTES_MAX: usize = 16 << 20;
/// The most of an explanation that a record gets, in characters.
pub const EXPLANATION_CHARS_MAX: usize = 512;
/// The longest stretch that an explanation may have in common with the text, in characters.
pub const QUOTED_CHARS_MAX: usize = 31;

/// The version of the question's form.
const VERSION: u32 = 1;
/// The rule of an answer that names none.
const RULE: &str = "unnamed";
const RULE_BYTES_MAX: usize = 64;

/// Somebody who is asked about texts.
pub(crate) struct Webhook {
    respondent: Respondent,
    signer: Option<Signer>,
    on_failure: OnFailure,
    text_bytes_max: usize,
}

/// What is asked: `schema/question.json`.
#[derive(Debug, Serialize)]
struct Question<'a> {
    version: u32,
    side: Direction,
    call: &'a str,
    time: u64,
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a str>,
    environment: &'a str,
    texts: &'a [Text<'a>],
}

/// What is answered: `schema/answer.json`. A member that we do not know may be one that the webhook counts on, so it is refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    action: Ruling,
    score: Option<f32>,
    rule: Option<String>,
    explanation: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Ruling {
    Pass,
    Flag,
    Block,
}

impl Webhook {
    pub(crate) const NAME: &'static str = "webhook";

    /// # Errors
    /// Which member of the settings cannot be used.
    pub(crate) fn new(settings: &WebhookSettings) -> Result<Self, SettingsError> {
        let check = Self::NAME;
        within(check, "text_bytes_max", settings.text_bytes_max, 1..=SENT_BYTES_MAX)?;
        let signer = settings.secret.as_ref().map(|secret| Signer::new(secret.expose())).transpose();
        let allowance = Allowance { timeout_ms: settings.timeout_ms, concurrency_max: settings.concurrency_max };
        Ok(Self {
            respondent: Respondent::new(check, &settings.url, "", allowance)?,
            signer: signer.map_err(|what| fault(check, "secret", what))?,
            on_failure: settings.fail,
            text_bytes_max: settings.text_bytes_max,
        })
    }

    pub(crate) const fn on_failure(&self) -> OnFailure {
        self.on_failure
    }

    pub(crate) async fn judge(&self, asked: &Asked<'_>) -> Result<Opinion, Failure> {
        if asked.texts.iter().all(|text| text.text.trim().is_empty()) {
            return Ok(Opinion::pass(0.0));
        }
        let bytes = asked.texts.iter().map(|text| text.text.len()).sum();
        if bytes > self.text_bytes_max {
            return Err(Failure::TextTooLong { bytes, bytes_max: self.text_bytes_max });
        }
        let body = question(asked)?;
        let headers = self.headers(asked, &body).ok_or(Failure::Question)?;
        read_answer(&self.respondent.ask(headers, body).await?, asked.texts)
    }

    /// An identifier that no other question has, the time, and both signed with the body.
    fn headers(&self, asked: &Asked<'_>, body: &[u8]) -> Option<HeaderMap> {
        let side = match asked.direction {
            Direction::Input => "input",
            Direction::Output => "output",
        };
        let id = format!("{}-{side}", asked.call);
        let mut headers = HeaderMap::new();
        if let Some(signer) = &self.signer {
            let signature = signer.sign(&id, asked.unix_seconds, body);
            headers.insert("webhook-signature", HeaderValue::try_from(signature).ok()?);
        }
        headers.insert("webhook-timestamp", HeaderValue::from(asked.unix_seconds));
        headers.insert("webhook-id", HeaderValue::try_from(id).ok()?);
        Some(headers)
    }
}

fn question(asked: &Asked<'_>) -> Result<Bytes, Failure> {
    let &Asked { direction, call, unix_seconds, model, actor, environment, texts } = asked;
    let question =
        Question { version: VERSION, side: direction, call, time: unix_seconds, model, actor, environment, texts };
    serde_json::to_vec(&question).map(Bytes::from).map_err(|_| Failure::Question)
}

fn read_answer(answer: &[u8], texts: &[Text<'_>]) -> Result<Opinion, Failure> {
    const FORM: Failure =
        Failure::Unclear("JSON with an action of \"pass\", \"flag\" or \"block\" and nothing unknown");
    let Answer { action, score, rule, explanation } = serde_json::from_slice(answer).map_err(|_| FORM)?;
    let score = score.unwrap_or(if action == Ruling::Pass { 0.0 } else { 1.0 });
    if !(0.0..=1.0).contains(&score) {
        return Err(Failure::Unclear("one whose score is from 0 to 1"));
    }
    if !rule.as_deref().is_none_or(is_rule) {
        return Err(Failure::Unclear("one whose rule is 1 to 64 letters, digits, \".\", \"_\" and \"-\""));
    }
    let outcome = match action {
        Ruling::Pass => return Ok(Opinion::pass(score)),
        Ruling::Flag => Outcome::Flag,
        Ruling::Block => Outcome::Block,
    };
    let rule = rule.map_or(Cow::Borrowed(RULE), Cow::Owned);
    Ok(Opinion { outcome, score, rules: vec![rule], explanation: explained(explanation.as_deref(), texts) })
}

fn is_rule(rule: &str) -> bool {
    let is_of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=RULE_BYTES_MAX).contains(&rule.len()) && rule.bytes().all(is_of_a_name) && rule != FAILED_RULE
}

/// An explanation as one line, unless it quotes.
fn explained(explanation: Option<&str>, texts: &[Text<'_>]) -> String {
    // A stretch of two blocks less a character has a whole block in it, wherever it begins.
    const BLOCK_CHARS: usize = QUOTED_CHARS_MAX.div_ceil(2);
    let given = explanation.unwrap_or_default();
    let chars: Vec<char> = given.chars().take(EXPLANATION_CHARS_MAX).collect();
    let blocks = chars.chunks_exact(BLOCK_CHARS).map(|block| block.iter().collect::<String>());
    let is_quoted = |block: &String| texts.iter().any(|text| text.text.contains(block.as_str()));
    if blocks.into_iter().any(|block| is_quoted(&block)) {
        return "the webhook's explanation repeats some of the text and is left out".to_owned();
    }
    let line: String = chars.iter().map(|char| if char.is_control() { ' ' } else { *char }).collect();
    match line.trim() {
        "" => "the webhook gives no reason".to_owned(),
        line => line.to_owned(),
    }
}

#[cfg(test)]
mod tests;
