//! The tables of guardrails that ask somebody else. They are read here with all others; the crate `judges` makes them work.

use std::fmt;

use serde::Deserialize;

use crate::Action;

/// A secret of the configuration. Printing it for debugging does not show it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct SecretText(String);

impl SecretText {
    /// The secret itself, for the one who has to send it or sign with it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for SecretText {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// What it means when whoever is asked does not say anything that can be understood.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// The text does not go on.
    #[default]
    Closed,
    /// The text goes on, and the verdict is a flag that says why.
    Open,
}

/// What a judge is asked, and in which words it answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JudgeStyle {
    /// The prompt of Llama Guard 3's model card, written out as one message. Answers `safe`, or `unsafe` and a line of categories.
    #[default]
    LlamaGuard,
    /// The conversation as messages, for a server whose chat template makes that prompt of them itself, as Llama Guard's own
    /// template does. The answers are the same.
    LlamaGuardMessages,
    /// A question to any model that follows instructions. Answers `yes` (something is wrong) or `no`.
    YesNo,
}

/// One thing that a judge looks for: a name, or a table with a name and a description.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Category {
    /// Its name.
    Name(String),
    /// Its name and what is meant by it.
    Described(DescribedCategory),
}

/// A category with a description.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribedCategory {
    /// Its name, such as `Violent Crimes`.
    pub name: String,
    /// What is meant by it, for the model.
    pub description: String,
}

/// `[….judge]`: another model, behind a server that speaks as OpenAI's do. What is masked is masked before it is asked.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgeSettings {
    /// The base URL, such as `http://127.0.0.1:8081/v1`; nothing in a request can choose another.
    pub url: String,
    /// The model's name at that server.
    pub model: String,
    /// What is sent as the bearer token.
    pub api_key: Option<SecretText>,
    /// What is done about a text that it finds unsafe: `flag` or `block`. It finds no places, so it cannot redact.
    pub action: Action,
    /// How it is asked.
    #[serde(default)]
    pub style: JudgeStyle,
    /// What it looks for; numbered `S1`, `S2`, … in this order. Empty: the fourteen hazards of Llama Guard 3.
    #[serde(default)]
    pub categories: Vec<Category>,
    /// A prompt instead of the built-in one, with `{conversation}` and, if wanted, `{categories}` and `{role}` in it.
    pub instructions: Option<String>,
    /// How long it has for all of its answer, in milliseconds.
    #[serde(default = "timeout_ms_default")]
    pub timeout_ms: u64,
    /// What a failure means.
    #[serde(default)]
    pub fail: OnFailure,
    /// The longest text that is judged, in bytes; a longer one is a failure. What was said before it is left out, from the
    /// beginning, until all of it fits.
    #[serde(default = "judged_bytes_max_default")]
    pub text_bytes_max: usize,
    /// How many questions may be under way at once; others wait, within their time.
    #[serde(default = "concurrency_max_default")]
    pub concurrency_max: usize,
}

/// `[….webhook]`: whoever answers a POST with a verdict. What is masked is masked before it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookSettings {
    /// Where it is POSTed to; redirects are not followed, and nothing in a request can choose another.
    pub url: String,
    /// `whsec_` and base64 of 24 to 64 bytes: requests are signed as Standard Webhooks says. None: they are not signed.
    pub secret: Option<SecretText>,
    /// How long it has for all of its answer, in milliseconds.
    #[serde(default = "timeout_ms_default")]
    pub timeout_ms: u64,
    /// What a failure means.
    #[serde(default)]
    pub fail: OnFailure,
    /// The most bytes of all texts of a question together; more is a failure.
    #[serde(default = "sent_bytes_max_default")]
    pub text_bytes_max: usize,
    /// How many questions may be under way at once; others wait, within their time.
    #[serde(default = "concurrency_max_default")]
    pub concurrency_max: usize,
}

const fn timeout_ms_default() -> u64 {
    2_000
}

const fn judged_bytes_max_default() -> usize {
    32 << 10
}

const fn sent_bytes_max_default() -> usize {
    1 << 20
}

const fn concurrency_max_default() -> usize {
    16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Guardrails, Settings};

    const BOTH: &str = r#"
        [input.judge]
        url = "http://127.0.0.1:8081/v1"
        model = "llama-guard3:1b"
        api_key = "sk-canary"
        action = "block"
        categories = ["Insults", { name = "Trade Secrets", description = "What only we know." }]

        [output.webhook]
        url = "https://hooks.example/judge"
        secret = "whsec_canary"
        fail = "open"
    "#;

    #[test]
    fn both_tables_are_read_with_their_defaults() {
        let settings: Settings = toml::from_str(BOTH).unwrap();
        let judge = settings.input.judge.unwrap();
        assert_eq!((judge.timeout_ms, judge.fail, judge.style), (2_000, OnFailure::Closed, JudgeStyle::LlamaGuard));
        assert_eq!((judge.text_bytes_max, judge.concurrency_max), (32_768, 16));
        assert_eq!(judge.categories.len(), 2);
        let webhook = settings.output.webhook.unwrap();
        assert_eq!((webhook.timeout_ms, webhook.fail, webhook.text_bytes_max), (2_000, OnFailure::Open, 1 << 20));
    }

    #[test]
    fn secrets_are_not_printed() {
        let settings: Settings = toml::from_str(BOTH).unwrap();
        let printed = format!("{settings:?}");
        assert!(printed.contains("llama-guard3:1b") && !printed.contains("canary"), "{printed}");
    }

    #[test]
    fn what_asks_somebody_else_is_no_check_of_this_crate() {
        let settings: Settings = toml::from_str(BOTH).unwrap();
        assert!(Guardrails::new(&settings.input).unwrap().is_empty());
    }

    #[test]
    fn unknown_members_and_words_are_refused() {
        for (from, to) in [
            ("fail = \"open\"", "fail = \"ajar\""),
            ("fail = \"open\"", "retries = 3"),
            ("model =", "style = \"maybe\"\nmodel ="),
            ("description =", "text ="),
        ] {
            assert!(BOTH.contains(from));
            assert!(toml::from_str::<Settings>(&BOTH.replace(from, to)).is_err(), "{to}");
        }
    }
}
