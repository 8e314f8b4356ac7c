//! # guardrails: what a text may not carry, before a model and after it
//!
//! A text goes in, a [`Verdict`] for each check comes out, with every [`Finding`] and with the text as it may be shown. Nothing here
//! waits, reads a clock or a file: the same text under the same settings always gets the same verdicts, so a decision can be
//! replayed years later.
//!
//! The one rule: **a stream gets the verdicts and the text that the whole text would get, however it is cut**, and no byte of
//! what is masked leaves before it is recognised. [`Guardrails::examine`] is therefore a [`Stream`] that is given everything at once.
//!
//! ```text
//! chunk ──▶ window ──▶ horizon (up to where is everything decided?) ──▶ checks ──▶ masking ──▶ released text
//! ```
//!
//! | file | what is in it |
//! |---|---|
//! | `guardrails` | [`Guardrails`]: settings to checks, a text to an [`Examination`] |
//! | `stream` | [`Stream`]: chunks in, what may leave out |
//! | `horizon` | how much of a text nothing that follows can change |
//! | `masking` | findings in order, what they cover, the markers |
//! | `check` | [`Check`] and [`Reading`]: what a check has to do |
//! | `finding` | [`Finding`], [`Verdict`], [`Action`] |
//! | `settings` | [`Settings`]: the section of the configuration |
//! | `secrets` | keys, tokens and passwords |
//! | `personal_data` | addresses, phones, accounts, cards, national numbers |
//! | `patterns` | words and regular expressions of one's own |
//! | `length` | at least and at most |
//! | `language` | which language and which script |
//! | `prompt_injection` | texts that give orders to the model |
//! | `json_schema` | the answer is JSON of a certain form |
//!
//! # Settings
//!
//! Everything is off unless its section is there.
//!
//! ```
//! let settings: guardrails::Settings = toml::from_str(r#"
//!     [input.prompt_injection]
//!     action = "block"
//!     threshold = 0.8
//!
//!     [input.length]
//!     action = "block"
//!     bytes_max = 200_000
//!
//!     [output.secrets]
//!     action = "redact"
//!     rules = { private-key = "block", generic-secret = "off" }
//!
//!     [output.personal_data]
//!     action = "flag"
//!     rules = { payment-card = "redact", iban = "redact" }
//!
//!     [output.patterns]
//!     action = "flag"
//!
//!     [[output.patterns.rules]]
//!     name = "project-names"
//!     action = "redact"
//!     words = ["Blue Heron", "Projekt Größe"]
//!
//!     [[output.patterns.rules]]
//!     name = "ticket"
//!     regex = "TICKET-[0-9]{4,8}"
//! "#)?;
//! let output = guardrails::Guardrails::new(&settings.output)?;
//! let examination = output.examine("Blue Heron is paid from card 4242 4242 4242 4242.");
//! assert_eq!(
//!     examination.text,
//!     "[redacted:patterns/project-names] is paid from card [redacted:personal_data/payment-card]."
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod check;
mod finding;
mod guardrails;
mod horizon;
mod json_schema;
mod language;
mod length;
mod masking;
mod patterns;
mod personal_data;
mod prompt_injection;
mod secrets;
mod settings;
mod stream;

pub use check::{CONTEXT_BYTES, Candidate, Check, Judgement, Reading, Window};
pub use finding::{Action, Finding, Outcome, Verdict};
pub use guardrails::{Examination, FINDINGS_MAX, Guardrails};
pub use settings::{
    ALLOWED_BYTES_MIN, Category, DescribedCategory, JsonSchemaSettings, JudgeSettings, JudgeStyle, LanguageSettings,
    LengthSettings, MATCH_BYTES_MAX, OnFailure, PATTERNS_MAX, PatternRule, PatternSettings, PersonalDataSettings,
    PromptInjectionSettings, RuleAction, SecretSettings, SecretText, Settings, SettingsError, Side, WORDS_MAX,
    WebhookSettings,
};
pub use stream::{Finished, Released, Stream};
