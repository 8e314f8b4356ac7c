//! Keys, tokens and passwords.
//!
//! One automaton finds the keywords of all rules; at a keyword the form is walked over once; what has the form has to be random enough
//! (Shannon's entropy) and must not say that it is an example.

mod keyed;
mod rules;
mod shape;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use crate::Action;
use crate::check::{Candidate, Check, Reading, Window};
use crate::settings::{ALLOWED_BYTES_MIN, SecretSettings, SettingsError, rule_actions};
use rules::{Covers, RULES, Rule};

/// The longest secret that is covered, in bytes: a PEM block with an RSA key of 16,384 bits has 12,700, one with 8,192 bits 6,400.
const SECRET_BYTES_MAX: usize = 8192;
const NAME: &str = "secrets";

/// The check.
#[derive(Debug)]
pub(crate) struct Secrets {
    /// All keywords, in any case.
    keywords: AhoCorasick,
    /// What each keyword of the automaton announces.
    announces: Vec<Announced>,
    placeholders: AhoCorasick,
    /// What is done, by the number of the rule; see [`rules::names`].
    actions: Vec<Option<Action>>,
}

/// What a keyword announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Announced {
    /// A row of the table, and which of its keywords.
    Row(usize, &'static str),
    PrivateKey,
    UrlPassword,
    Assignment,
}

/// What has the form of a secret.
#[derive(Debug)]
struct Secret {
    /// The number of the rule.
    rule: usize,
    name: &'static str,
    range: Range<usize>,
    score: f32,
}

impl Secrets {
    pub(crate) fn new(settings: &SecretSettings) -> Result<Self, SettingsError> {
        let actions = rule_actions(NAME, settings.action, &settings.rules, &rules::names())?;
        if settings.allow.iter().any(|allowed| allowed.len() < ALLOWED_BYTES_MIN) {
            return Err(SettingsError::value(
                NAME,
                "allow",
                format!("has a text of less than {ALLOWED_BYTES_MIN} bytes"),
            ));
        }
        let rows = RULES.iter().enumerate().filter(|(row, _)| actions.get(*row).is_some_and(Option::is_some));
        let mut keywords: Vec<(&str, Announced)> = rows
            .flat_map(|(row, rule)| rule.keywords.iter().map(move |keyword| (*keyword, Announced::Row(row, keyword))))
            .collect();
        keywords.push((rules::PRIVATE_KEY_KEYWORD, Announced::PrivateKey));
        keywords.push((rules::URL_PASSWORD_KEYWORD, Announced::UrlPassword));
        keywords.extend(rules::GENERIC_KEYWORDS.iter().map(|keyword| (*keyword, Announced::Assignment)));
        let allowed = rules::PLACEHOLDERS.iter().copied().chain(settings.allow.iter().map(String::as_str));
        Ok(Self {
            keywords: automaton(keywords.iter().map(|(keyword, _)| *keyword))?,
            announces: keywords.iter().map(|(_, announced)| *announced).collect(),
            placeholders: automaton(allowed)?,
            actions,
        })
    }

    /// What a keyword at a place leads to, if anything.
    fn at(&self, window: &Window<'_>, announced: Announced, keyword: Range<usize>) -> Option<Secret> {
        match announced {
            Announced::Row(row, spelling) => {
                let rule = RULES.get(row)?;
                let range = row_range(rule, spelling, window, keyword)?;
                Some(Secret { rule: row, name: rule.name, range, score: rule.score })
            }
            Announced::PrivateKey => {
                let range = keyed::private_key(window, keyword.start, SECRET_BYTES_MAX)?;
                Some(Secret { rule: RULES.len(), name: rules::PRIVATE_KEY, range, score: 1.0 })
            }
            Announced::UrlPassword => {
                let range = keyed::url_password(window, keyword)?;
                Some(Secret { rule: RULES.len() + 1, name: rules::URL_PASSWORD, range, score: 0.8 })
            }
            Announced::Assignment => {
                let value = keyed::assigned(window, keyword)?;
                let (own, name, score) =
                    if value.is_aws { (3, rules::AWS_SECRET_KEY, 0.95) } else { (2, rules::GENERIC_SECRET, 0.6) };
                Some(Secret { rule: RULES.len() + own, name, range: value.range, score })
            }
        }
    }
}

fn automaton<'a>(texts: impl Iterator<Item = &'a str>) -> Result<AhoCorasick, SettingsError> {
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::Standard)
        .kind(Some(AhoCorasickKind::DFA))
        .build(texts)
        .map_err(|source| SettingsError::Words { check: NAME, source })
}

/// What a row of the table covers at a keyword.
fn row_range(rule: &Rule, spelling: &str, window: &Window<'_>, keyword: Range<usize>) -> Option<Range<usize>> {
    let bytes = window.text.as_bytes();
    if rule.covers == Covers::Token && bytes.get(keyword.clone())? != spelling.as_bytes() {
        return None;
    }
    let start = match rule.before {
        Some((class, min, max)) => {
            let length = class.run_before(window, keyword.start, max + 1);
            if !(min..=max).contains(&length) {
                return None;
            }
            keyword.start - length
        }
        None => keyword.start,
    };
    let begins_a_word = bytes.get(start)?.is_ascii_alphanumeric();
    if begins_a_word && start.checked_sub(1).and_then(|before| bytes.get(before)).is_some_and(u8::is_ascii_alphanumeric)
    {
        return None;
    }
    let end = shape::walk(rule.parts, window, keyword.end)?;
    let random = match rule.before {
        Some(_) => bytes.get(start..end)?,
        None => bytes.get(keyword.end..end)?,
    };
    window.count_work(random.len());
    if shape::entropy(random) < rule.entropy_min {
        return None;
    }
    Some(if rule.covers == Covers::Token { start..end } else { keyword.end..end })
}

impl Check for Secrets {
    fn name(&self) -> &'static str {
        NAME
    }

    fn span_bytes_max(&self) -> usize {
        let rows = RULES.iter().map(|rule| {
            let keyword = rule.keywords.iter().map(|keyword| keyword.len()).max().unwrap_or(0);
            rule.before.map_or(0, |(_, _, max)| max) + keyword + shape::longest(rule.parts)
        });
        rows.max().unwrap_or(0).max(SECRET_BYTES_MAX)
    }

    fn ends_with_words(&self) -> bool {
        true
    }

    fn begin(self: Arc<Self>) -> Box<dyn Reading> {
        Box::new(SecretsReading { check: self })
    }
}

#[derive(Debug)]
struct SecretsReading {
    check: Arc<Secrets>,
}

impl Reading for SecretsReading {
    fn read(&mut self, window: &Window<'_>, found: &mut Vec<Candidate>) {
        // A keyword may stand in the context when its value does not; and it may come after what belongs to its token.
        window.count_work(window.text.len());
        for hit in self.check.keywords.find_overlapping_iter(window.text) {
            let Some(announced) = self.check.announces.get(hit.pattern().as_usize()) else { continue };
            let Some(secret) = self.check.at(window, *announced, hit.range()) else { continue };
            let Some(action) = self.check.actions.get(secret.rule).copied().flatten() else { continue };
            if !window.is_due(secret.range.start) {
                continue;
            }
            let text = window.text.get(secret.range.clone()).unwrap_or_default();
            if secret.name != rules::PRIVATE_KEY && self.check.placeholders.is_match(text) {
                continue;
            }
            found.push(Candidate {
                rule: Cow::Borrowed(secret.name),
                action,
                explanation: Cow::Owned(format!(
                    "{} bytes have the form of a secret: {}",
                    secret.range.len(),
                    secret.name
                )),
                range: window.whole(secret.range),
                score: secret.score,
            });
        }
    }
}
