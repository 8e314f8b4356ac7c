//! Whole answers and whole requests.

use std::borrow::Cow;

use guardrails::{Finding, Guardrails, Verdict};

use super::form::{Form, Formless, Step, decode, encode, splice};
use super::judge::Judge;
use super::{WITHHELD, is_exempt, is_said};

/// A body, judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Guarded<'a> {
    /// What may go on: the body byte for byte when nothing in it is redacted; empty when it is blocked.
    pub body: Cow<'a, [u8]>,
    /// What the checks say of all texts together, one verdict a check; none when there was no text.
    pub verdicts: Vec<Verdict>,
    /// What forbids the body to go on.
    pub blocked: Option<Finding>,
}

/// Judges an answer that is no stream. All texts of its choices are judged; in everything else only places are masked.
/// A body that is no JSON is judged as one text.
#[must_use]
pub fn guard_answer<'a>(guardrails: &Guardrails, body: &'a [u8]) -> Guarded<'a> {
    guard(guardrails, body, WITHHELD, |judge, path, literal| match path {
        [choices, Step::Nth(_), _, .., last] if choices.is("choices") && is_said(last) => {
            Some(judge.said(&decode(literal)))
        }
        _ if is_exempt(path, literal) => None,
        _ => Some(judge.other(&decode(literal))),
    })
}

/// Judges a request: the texts of its messages, each by itself. A body that is no JSON is blocked.
#[must_use]
pub fn guard_request<'a>(guardrails: &Guardrails, body: &'a [u8]) -> Guarded<'a> {
    guard(guardrails, body, &[], |judge, path, literal| match path {
        [messages, Step::Nth(_), .., last] if messages.is("messages") && is_said(last) => {
            Some(judge.said(&decode(literal)))
        }
        // The parts of a list may be texts themselves.
        [messages, Step::Nth(_), content, Step::Nth(_)] if messages.is("messages") && content.is("content") => {
            Some(judge.said(&decode(literal)))
        }
        _ => None,
    })
}

fn guard<'a>(
    guardrails: &Guardrails,
    body: &'a [u8],
    withheld: &[&str],
    mut examine: impl FnMut(&mut Judge, &[Step], &str) -> Option<Option<String>>,
) -> Guarded<'a> {
    if guardrails.is_empty() {
        return Guarded { body: Cow::Borrowed(body), verdicts: Vec::new(), blocked: None };
    }
    let mut judge = Judge::new(guardrails);
    let json = String::from_utf8_lossy(body);
    let mut replaced = None;
    match Form::read(&json, withheld) {
        Ok(form) => {
            let mut edits = Vec::new();
            for text in &form.texts {
                let literal = json.get(text.range.clone()).unwrap_or_default();
                if literal == "\"\"" {
                    continue;
                }
                let shown = examine(&mut judge, &form.path(text), literal).flatten();
                edits.extend(shown.map(|shown| (text.range.clone(), encode(&shown))));
            }
            if !edits.is_empty() {
                // What was masked is spelled out there once more.
                edits.extend(form.withheld.into_iter().map(|range| (range, "null".to_owned())));
                replaced = Some(splice(&json, edits));
            }
        }
        Err(Formless::NotJson) if !withheld.is_empty() && !json.trim_start().starts_with('{') => {
            replaced = judge.other(&json);
        }
        Err(Formless::NotJson) => judge.fault("unreadable", "the body is not JSON"),
        Err(Formless::TooLarge) => judge.fault("unreadable", "the body is nested too deep or has too many parts"),
    }
    let (verdicts, blocked) = judge.finish();
    let body = match (replaced, &blocked) {
        (_, Some(_)) => Cow::Borrowed(&[][..]),
        (Some(replaced), None) => Cow::Owned(replaced.into_bytes()),
        (None, None) => Cow::Borrowed(body),
    };
    Guarded { body, verdicts, blocked }
}
