//! Addresses, phones, accounts, cards and national numbers.
//!
//! What has a check digit has to have the right one, and a number of digits alone is taken for a national one only when a word before
//! it says so. A place is looked at only where something can begin: at an `@`, or at a digit, a capital or a plus after what is
//! neither a letter nor a digit.

mod contact;
mod iban;
mod numbers;
#[cfg(test)]
mod tests;
mod valid;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use crate::Action;
use crate::check::{Candidate, Check, Reading, Window};
use crate::settings::{PersonalDataSettings, SettingsError, rule_actions};
use numbers::{Form, NUMBERS};

const NAME: &str = "personal_data";
/// The rules with code of their own; those of [`NUMBERS`] follow.
const OWN: [(&str, f32); 3] = [("e-mail", 0.95), ("phone", 0.7), ("iban", 0.99)];
const EMAIL: usize = 0;
const PHONE: usize = 1;
const IBAN: usize = 2;

/// The check.
#[derive(Debug)]
pub(crate) struct PersonalData {
    /// What is done, by the number of the rule.
    actions: Vec<Option<Action>>,
    /// How numbers are written, by the digits that they begin with.
    forms: Vec<Vec<Form>>,
}

/// The names of all rules, in the order of their numbers.
pub(crate) fn names() -> Vec<&'static str> {
    OWN.iter().map(|(name, _)| *name).chain(NUMBERS.iter().map(|rule| rule.name)).collect()
}

impl PersonalData {
    pub(crate) fn new(settings: &PersonalDataSettings) -> Result<Self, SettingsError> {
        Ok(Self {
            actions: rule_actions(NAME, settings.action, &settings.rules, &names())?,
            forms: numbers::forms_by_digits(),
        })
    }

    fn report(&self, window: &Window<'_>, rule: usize, range: Range<usize>, found: &mut Vec<Candidate>) {
        let own = OWN.get(rule).copied();
        let number = rule.checked_sub(OWN.len()).and_then(|row| NUMBERS.get(row)).map(|rule| (rule.name, rule.score));
        let (Some((name, score)), Some(action)) = (own.or(number), self.actions.get(rule).copied().flatten()) else {
            return;
        };
        if window.is_due(range.start) {
            let explanation = Cow::Owned(format!("{} bytes have the form of personal data: {name}", range.len()));
            found.push(Candidate { rule: Cow::Borrowed(name), action, range: window.whole(range), score, explanation });
        }
    }
}

impl Check for PersonalData {
    fn name(&self) -> &'static str {
        NAME
    }

    fn span_bytes_max(&self) -> usize {
        contact::EMAIL_BYTES_MAX.max(contact::PHONE_BYTES_MAX).max(iban::IBAN_BYTES_MAX).max(numbers::FORM_BYTES_MAX)
    }

    fn ends_with_words(&self) -> bool {
        true
    }

    fn begin(self: Arc<Self>) -> Box<dyn Reading> {
        Box::new(PersonalReading { check: self })
    }
}

#[derive(Debug)]
struct PersonalReading {
    check: Arc<PersonalData>,
}

impl Reading for PersonalReading {
    fn read(&mut self, window: &Window<'_>, found: &mut Vec<Candidate>) {
        let bytes = window.text.as_bytes();
        window.count_work(window.text.len());
        for at in memchr::memchr_iter(b'@', bytes).filter(|at| *at >= window.begin) {
            if let Some(range) = contact::email(window, at) {
                self.check.report(window, EMAIL, range, found);
            }
        }
        let mut before = window.begin.checked_sub(1).and_then(|before| bytes.get(before)).copied().unwrap_or(b' ');
        for (offset, byte) in window.fresh().bytes().enumerate() {
            let start = window.begin + offset;
            let may_begin = byte.is_ascii_digit() || byte.is_ascii_uppercase() || byte == b'+';
            let previous = std::mem::replace(&mut before, byte);
            if !may_begin || previous.is_ascii_alphanumeric() || !begins_a_number(bytes, start) {
                continue;
            }
            window.count_work(1);
            if byte == b'+' {
                if let Some(range) = contact::phone(window, start) {
                    self.check.report(window, PHONE, range, found);
                }
                continue;
            }
            if byte.is_ascii_uppercase() {
                let near = bytes.get(start + 1..).unwrap_or_default();
                if !near.iter().take(6).any(u8::is_ascii_digit) {
                    continue;
                }
                if let Some(range) = iban::iban(window, start) {
                    self.check.report(window, IBAN, range, found);
                    continue;
                }
            }
            let digits = bytes
                .get(start..)
                .unwrap_or_default()
                .iter()
                .take(numbers::FORM_BYTES_MAX)
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            for form in self.check.forms.get(digits).into_iter().flatten() {
                if let Some(range) = numbers::number(form, window, start) {
                    self.check.report(window, OWN.len() + form.row, range, found);
                }
            }
        }
    }
}

/// Whether what stands before a place lets a number begin there. A dash, a full stop or a slash after a letter or a digit means that this
/// is the middle of something: a UUID, a version, a path.
fn begins_a_number(bytes: &[u8], start: usize) -> bool {
    let before = |distance: usize| start.checked_sub(distance).and_then(|at| bytes.get(at)).copied();
    match before(1) {
        None => true,
        Some(b'_' | b'+' | b'@' | b'\\') => false,
        Some(b'-' | b'.' | b'/' | b',' | b'%') => !before(2).is_some_and(|byte| byte.is_ascii_alphanumeric()),
        Some(byte) => !byte.is_ascii_alphanumeric(),
    }
}

/// Whether what stands after a place lets a number end there.
fn ends_a_number(bytes: &[u8], end: usize) -> bool {
    let next = bytes.get(end).copied();
    match next {
        None => true,
        Some(b'_' | b'@') => false,
        Some(b'-' | b'.' | b'/' | b',' | b':' | b'+' | b'=') => {
            !bytes.get(end + 1).is_some_and(u8::is_ascii_alphanumeric)
        }
        Some(byte) => !byte.is_ascii_alphanumeric(),
    }
}
