//! The section of the configuration. Everything is off unless its table is there.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::Action;

mod asking;

pub use asking::{Category, DescribedCategory, JudgeSettings, JudgeStyle, OnFailure, SecretText, WebhookSettings};

/// Which checks are on, before the model and after it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// For what is asked.
    pub input: Side,
    /// For what is answered.
    pub output: Side,
}

/// The checks of one side. A check without its table is off.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Side {
    /// Keys, tokens and passwords.
    pub secrets: Option<SecretSettings>,
    /// Addresses, phones, accounts, cards, national numbers.
    pub personal_data: Option<PersonalDataSettings>,
    /// Words and regular expressions of one's own.
    pub patterns: Option<PatternSettings>,
    /// At least and at most.
    pub length: Option<LengthSettings>,
    /// Languages and scripts.
    pub language: Option<LanguageSettings>,
    /// Texts that give orders to the model.
    pub prompt_injection: Option<PromptInjectionSettings>,
    /// A form that the text has to have, as JSON.
    pub json_schema: Option<JsonSchemaSettings>,
    /// Another model. The crate `judges` asks it; [`crate::Guardrails`] leaves it alone.
    pub judge: Option<JudgeSettings>,
    /// Somebody else. The crate `judges` asks them; [`crate::Guardrails`] leaves it alone.
    pub webhook: Option<WebhookSettings>,
}

/// What is done about the findings of one rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleAction {
    /// The rule is not applied.
    Off,
    /// See [`Action::Flag`].
    Flag,
    /// See [`Action::Redact`].
    Redact,
    /// See [`Action::Block`].
    Block,
}

impl RuleAction {
    /// The action, or `None` for a rule that is off.
    #[must_use]
    pub const fn action(self) -> Option<Action> {
        match self {
            Self::Off => None,
            Self::Flag => Some(Action::Flag),
            Self::Redact => Some(Action::Redact),
            Self::Block => Some(Action::Block),
        }
    }
}

/// `[….secrets]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretSettings {
    /// What is done about a finding.
    pub action: Action,
    /// Rules that are treated otherwise, by name.
    #[serde(default)]
    pub rules: BTreeMap<String, RuleAction>,
    /// Texts that make a finding harmless when they stand in it (`example`), compared without regard to case. They add to the
    /// built-in ones. Each has at least [`ALLOWED_BYTES_MIN`] bytes.
    #[serde(default)]
    pub allow: Vec<String>,
}

/// The shortest text that can make a secret harmless, in bytes: a shorter one would turn up in random keys.
pub const ALLOWED_BYTES_MIN: usize = 4;

/// `[….personal_data]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonalDataSettings {
    /// What is done about a finding.
    pub action: Action,
    /// Rules that are treated otherwise, by name.
    #[serde(default)]
    pub rules: BTreeMap<String, RuleAction>,
}

/// `[….patterns]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatternSettings {
    /// What is done about a finding of a rule that does not say so itself.
    pub action: Action,
    /// The rules, at most [`PATTERNS_MAX`].
    #[serde(default)]
    pub rules: Vec<PatternRule>,
}

/// The most pattern rules of one side.
pub const PATTERNS_MAX: usize = 256;
/// The longest match of a regular expression and the longest word, in bytes: a stream keeps as much back.
pub const MATCH_BYTES_MAX: usize = 4096;
/// The most words of all pattern rules of one side.
pub const WORDS_MAX: usize = 50_000;

/// `[[….patterns.rules]]`: one regular expression, or words.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatternRule {
    /// The name in findings and markers: 1 to 64 of `a-z`, `0-9`, `-`, `_`.
    pub name: String,
    /// What is done, when it is not what the section says.
    pub action: Option<Action>,
    /// A regular expression in the syntax of the crate `regex`. What it matches has to be bounded (`[0-9]{4,8}`, not `[0-9]+`), at most
    /// [`MATCH_BYTES_MAX`] bytes, and not empty, since a stream has to know how much to keep back. `^`, `$`, `\A` and `\z` are refused.
    pub regex: Option<String>,
    /// Whole words or phrases, without regard to case, in any script that puts space between words.
    #[serde(default)]
    pub words: Vec<String>,
}

/// `[….length]`: what is not given is not limited.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LengthSettings {
    /// `flag` or `block`.
    pub action: Action,
    /// The fewest bytes of UTF-8.
    pub bytes_min: Option<usize>,
    /// The most bytes of UTF-8.
    pub bytes_max: Option<usize>,
    /// The fewest characters (Unicode scalar values).
    pub chars_min: Option<usize>,
    /// The most characters.
    pub chars_max: Option<usize>,
}

/// `[….language]`: a text whose language cannot be told passes. At least one list has to be there.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanguageSettings {
    /// `flag` or `block`. On a stream a block comes when the first four kilobytes have been read, or at the end; what was read before has left.
    pub action: Action,
    /// The languages that are allowed, by their ISO 639-1 codes (`en`); empty allows all.
    #[serde(default)]
    pub languages: Vec<String>,
    /// The scripts that are allowed, by their names in lower case (`latin`); empty allows all.
    #[serde(default)]
    pub scripts: Vec<String>,
}

/// `[….prompt_injection]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptInjectionSettings {
    /// `flag` or `block`.
    pub action: Action,
    /// The sum of the weights of the signals from which on there is a finding, above 0.
    #[serde(default = "threshold_default")]
    pub threshold: f32,
    /// Weights that are not the built-in ones, by the name of the signal; 0 turns one off.
    #[serde(default)]
    pub weights: BTreeMap<String, f32>,
}

const fn threshold_default() -> f32 {
    0.8
}

/// `[….json_schema]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JsonSchemaSettings {
    /// `flag`: a stream flows on and the verdict comes at its end. `block`: nothing of a stream leaves before its end.
    pub action: Action,
    /// The schema, in place: a table, or a string with JSON in it. References lead into the schema itself; others are refused.
    pub schema: serde_json::Value,
    /// The longest text that is judged, in bytes; a longer one is a finding. A stream keeps that much in memory.
    #[serde(default = "json_bytes_max_default")]
    pub bytes_max: usize,
}

const fn json_bytes_max_default() -> usize {
    1 << 20
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A name that no rule has.
    #[error("{check} has no rule {name:?}; it has {known}")]
    UnknownRule {
        /// The check.
        check: &'static str,
        /// The name that was given.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// A check that does not find places cannot mask them.
    #[error("{check} judges a text as a whole and cannot redact; its action is \"flag\" or \"block\"")]
    CannotRedact {
        /// The check.
        check: &'static str,
    },
    /// A regular expression that does not parse, or is too large once compiled.
    #[error("the regular expression of pattern {name:?} cannot be used")]
    Regex {
        /// The rule.
        name: String,
        /// Why.
        #[source]
        source: Box<regex::Error>,
    },
    /// A regular expression whose matches a stream could not hold back.
    #[error("the regular expression of pattern {name:?} {fault}")]
    Unbounded {
        /// The rule.
        name: String,
        /// What is the matter.
        fault: &'static str,
    },
    /// A member whose value is outside its bounds.
    #[error("{check}: {member} {fault}")]
    Value {
        /// The check.
        check: &'static str,
        /// The member.
        member: String,
        /// What is the matter.
        fault: String,
    },
    /// Words that no automaton can be built from.
    #[error("the words of {check} cannot be compiled")]
    Words {
        /// The check.
        check: &'static str,
        /// Why.
        #[source]
        source: aho_corasick::BuildError,
    },
    /// The schema is not one.
    #[error("the JSON schema cannot be used: {fault}")]
    Schema {
        /// What the validator says.
        fault: String,
    },
}

impl SettingsError {
    pub(crate) fn value(check: &'static str, member: impl Into<String>, fault: impl Into<String>) -> Self {
        Self::Value { check, member: member.into(), fault: fault.into() }
    }
}

/// The actions of the built-in rules, in the order of `names`; `None` is off.
pub(crate) fn rule_actions(
    check: &'static str,
    default: Action,
    given: &BTreeMap<String, RuleAction>,
    names: &[&'static str],
) -> Result<Vec<Option<Action>>, SettingsError> {
    if let Some(name) = given.keys().find(|name| !names.contains(&name.as_str())) {
        return Err(SettingsError::UnknownRule { check, name: name.clone(), known: names.join(", ") });
    }
    Ok(names.iter().map(|name| given.get(*name).map_or(Some(default), |given| given.action())).collect())
}

/// An action of a check that does not find places.
pub(crate) fn whole_action(check: &'static str, action: Action) -> Result<Action, SettingsError> {
    if action == Action::Redact { Err(SettingsError::CannotRedact { check }) } else { Ok(action) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Guardrails;

    #[track_caller]
    fn check(toml: &str, sentence: &str) {
        let side: Side = toml::from_str(toml).unwrap();
        assert_eq!(Guardrails::new(&side).unwrap_err().to_string(), sentence);
    }

    #[test]
    fn everything_is_off_by_default() {
        let settings: Settings = toml::from_str("").unwrap();
        assert_eq!(settings, Settings::default());
        assert!(Guardrails::new(&settings.output).unwrap().is_empty());
    }

    #[test]
    fn unknown_members_are_refused() {
        assert!(toml::from_str::<Settings>("[input.secret]\naction = \"flag\"").is_err());
        assert!(toml::from_str::<Settings>("[input.secrets]\naction = \"flag\"\nrule = 1").is_err());
        assert!(toml::from_str::<Settings>("[input.secrets]\naction = \"mask\"").is_err());
    }

    #[test]
    fn faults_are_told_in_a_sentence() {
        check(
            "[length]\naction = \"redact\"\nbytes_max = 3",
            "length judges a text as a whole and cannot redact; its action is \"flag\" or \"block\"",
        );
        check(
            "[patterns]\naction = \"flag\"\n[[patterns.rules]]\nname = \"digits\"\nregex = \"[0-9]+\"",
            "the regular expression of pattern \"digits\" has no longest match; give counts, such as {1,64}",
        );
        check("[language]\naction = \"flag\"", "language: languages or scripts has to be given");
        check(
            "[prompt_injection]\naction = \"flag\"\nthreshold = 0.0",
            "prompt_injection: threshold has to be above 0",
        );
        let side: Side = toml::from_str("[personal_data]\naction = \"flag\"\nrules = { emial = \"off\" }").unwrap();
        let sentence = Guardrails::new(&side).unwrap_err().to_string();
        assert!(sentence.starts_with("personal_data has no rule \"emial\"; it has e-mail, "), "{sentence}");
    }
}
