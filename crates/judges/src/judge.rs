//! Another model, behind a server that speaks as OpenAI's do (`POST {url}/chat/completions`).

use std::borrow::Cow;

use bytes::Bytes;
use guardrails::{Action, JudgeSettings, JudgeStyle, OnFailure, Outcome, SettingsError};
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderValue};
use serde::Deserialize;
use serde_json::json;

use crate::Asked;
use crate::assessment::{Assessment, read_safety, read_yes_or_no};
use crate::category::Categories;
use crate::conversation::turns;
use crate::failure::Failure;
use crate::judges::Opinion;
use crate::prompt::{Message, Prompt};
use crate::respondent::{Allowance, Respondent, fault, within};

/// The most that `text_bytes_max` of a judge can be, in bytes: four characters to a token, more than small models read.
pub const JUDGED_BYTES_MAX: usize = 1 << 20;
/// The longest instructions, in bytes.
pub const INSTRUCTIONS_BYTES_MAX: usize = 16 << 10;

/// The rule of a finding where the model is not asked which category it is.
const UNSAFE_RULE: &str = "unsafe";
/// What one word of an answer takes at most, in tokens, with what a template may put around it.
const WORD_TOKENS_MAX: usize = 16;
/// What a code and a comma take at most, in tokens.
const CODE_TOKENS_MAX: usize = 6;

/// A model that is asked about texts.
pub(crate) struct Judge {
    respondent: Respondent,
    authorization: Option<HeaderValue>,
    model: String,
    prompt: Prompt,
    categories: Categories,
    style: JudgeStyle,
    action: Action,
    on_failure: OnFailure,
    text_bytes_max: usize,
}

impl Judge {
    pub(crate) const NAME: &'static str = "judge";

    /// # Errors
    /// Which member of the settings cannot be used.
    pub(crate) fn new(settings: &JudgeSettings) -> Result<Self, SettingsError> {
        let check = Self::NAME;
        if settings.action == Action::Redact {
            return Err(SettingsError::CannotRedact { check });
        }
        if settings.model.trim().is_empty() {
            return Err(fault(check, "model", "has to be given"));
        }
        within(check, "text_bytes_max", settings.text_bytes_max, 1..=JUDGED_BYTES_MAX)?;
        let instructions = settings.instructions.as_deref();
        if instructions.is_some_and(|text| text.len() > INSTRUCTIONS_BYTES_MAX) {
            let what = format!("have more than {INSTRUCTIONS_BYTES_MAX} bytes");
            return Err(fault(check, "instructions", what));
        }
        let categories = Categories::new(check, &settings.categories)?;
        let prompt = Prompt::new(settings.style, instructions, &categories)
            .map_err(|what| fault(check, "instructions", what))?;
        let authorization = settings.api_key.as_ref().map(|key| bearer(key.expose())).transpose()?;
        let allowance = Allowance { timeout_ms: settings.timeout_ms, concurrency_max: settings.concurrency_max };
        Ok(Self {
            respondent: Respondent::new(check, &settings.url, "/chat/completions", allowance)?,
            authorization,
            model: settings.model.clone(),
            prompt,
            categories,
            style: settings.style,
            action: settings.action,
            on_failure: settings.fail,
            text_bytes_max: settings.text_bytes_max,
        })
    }

    pub(crate) const fn on_failure(&self) -> OnFailure {
        self.on_failure
    }

    pub(crate) async fn judge(&self, asked: &Asked<'_>) -> Result<Opinion, Failure> {
        let Some(turns) = turns(asked, self.text_bytes_max)? else { return Ok(Opinion::pass(0.0)) };
        let body = self.question(&self.prompt.messages(&turns))?;
        let headers = self.authorization.iter().map(|value| (AUTHORIZATION, value.clone()));
        let answer = self.respondent.ask(HeaderMap::from_iter(headers), body).await?;
        let content = content_of(&answer)?;
        let assessment = match self.style {
            JudgeStyle::LlamaGuard | JudgeStyle::LlamaGuardMessages => read_safety(&content, &self.categories)?,
            JudgeStyle::YesNo => read_yes_or_no(&content)?,
        };
        Ok(self.opinion(&assessment))
    }

    fn question(&self, messages: &[Message]) -> Result<Bytes, Failure> {
        let messages: Vec<_> =
            messages.iter().map(|message| json!({"role": message.role, "content": message.content})).collect();
        let tokens_max = match self.style {
            JudgeStyle::YesNo => WORD_TOKENS_MAX,
            _ => WORD_TOKENS_MAX + CODE_TOKENS_MAX * self.categories.len(),
        };
        let question = json!({
            "model": self.model, "messages": messages, "temperature": 0, "max_tokens": tokens_max, "stream": false,
        });
        serde_json::to_vec(&question).map(Bytes::from).map_err(|_| Failure::Question)
    }

    fn opinion(&self, assessment: &Assessment) -> Opinion {
        let Assessment::Unsafe(places) = assessment else { return Opinion::pass(0.0) };
        let mut rules: Vec<Cow<'static, str>> = places.iter().map(|place| Categories::code(*place).into()).collect();
        rules.sort_unstable();
        let which: Vec<String> = places.iter().map(|place| self.categories.shown(*place)).collect();
        let explanation = match which.as_slice() {
            [] => "the judge finds the text unsafe".to_owned(),
            which => format!("the judge finds the text unsafe: {}", which.join(", ")),
        };
        if rules.is_empty() {
            rules.push(UNSAFE_RULE.into());
        }
        // The word of a model is not a probability; it counts as what it says.
        Opinion { outcome: Outcome::from(self.action), score: 1.0, rules, explanation }
    }
}

/// What is read of an answer; servers add much to it.
#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    message: Said,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Said {
    content: String,
}

fn content_of(answer: &[u8]) -> Result<String, Failure> {
    let unclear = Failure::Unclear("a chat completion with one choice");
    let Completion { choices } = serde_json::from_slice(answer).map_err(|_| unclear.clone())?;
    let [Choice { message, finish_reason }] = <[Choice; 1]>::try_from(choices).map_err(|_| unclear)?;
    // `S1` may be what is left of `S12`.
    if finish_reason.as_deref() == Some("length") {
        return Err(Failure::Unclear("whole: it was cut off at max_tokens"));
    }
    Ok(message.content)
}

fn bearer(key: &str) -> Result<HeaderValue, SettingsError> {
    let value = HeaderValue::try_from(format!("Bearer {key}"));
    let mut value = value.map_err(|_| fault(Judge::NAME, "api_key", "has characters that a header cannot have"))?;
    value.set_sensitive(true);
    Ok(value)
}
