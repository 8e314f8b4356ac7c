//! At least and at most.

use std::borrow::Cow;
use std::sync::Arc;

use crate::check::{Candidate, Check, Judgement, Reading, Window};
use crate::settings::{LengthSettings, SettingsError, whole_action};

/// The check.
#[derive(Debug)]
pub(crate) struct Length {
    settings: LengthSettings,
}

impl Length {
    pub(crate) fn new(settings: &LengthSettings) -> Result<Self, SettingsError> {
        whole_action("length", settings.action)?;
        for (unit, min, max) in
            [("bytes", settings.bytes_min, settings.bytes_max), ("chars", settings.chars_min, settings.chars_max)]
        {
            if let (Some(min), Some(max)) = (min, max)
                && min > max
            {
                return Err(SettingsError::value(
                    "length",
                    format!("{unit}_min"),
                    format!("is {min}, more than {unit}_max, {max}"),
                ));
            }
        }
        Ok(Self { settings: settings.clone() })
    }
}

impl Check for Length {
    fn name(&self) -> &'static str {
        "length"
    }

    fn span_bytes_max(&self) -> usize {
        0
    }

    fn ends_with_words(&self) -> bool {
        true
    }

    fn finds_places(&self) -> bool {
        false
    }

    fn begin(self: Arc<Self>) -> Box<dyn Reading> {
        Box::new(LengthReading { check: self, bytes: 0, chars: 0, is_too_long: false })
    }
}

#[derive(Debug)]
struct LengthReading {
    check: Arc<Length>,
    bytes: usize,
    chars: usize,
    is_too_long: bool,
}

impl LengthReading {
    fn candidate(&self, rule: &'static str, end: usize, explanation: String) -> Candidate {
        let action = self.check.settings.action;
        Candidate { rule: Cow::Borrowed(rule), action, range: 0..end, score: 1.0, explanation: Cow::Owned(explanation) }
    }
}

impl Reading for LengthReading {
    fn read(&mut self, window: &Window<'_>, found: &mut Vec<Candidate>) {
        let fresh = window.fresh();
        let LengthSettings { bytes_max, chars_max, .. } = self.check.settings;
        if !self.is_too_long {
            // The first limit that is passed is told of, so that it does not matter how much was read at once.
            let bytes_end = bytes_max.filter(|max| self.bytes + fresh.len() > *max);
            let chars_left = chars_max.map(|max| max.saturating_sub(self.chars));
            let chars_end =
                chars_left.and_then(|left| fresh.char_indices().nth(left)).map(|(offset, _)| self.bytes + offset);
            let limits = [(bytes_end, bytes_max, "bytes"), (chars_end, chars_max, "characters")];
            let passed =
                limits.into_iter().filter_map(|(end, max, unit)| Some((end?, max?, unit))).min_by_key(|(end, ..)| *end);
            if let Some((end, max, unit)) = passed {
                self.is_too_long = true;
                found.push(self.candidate("too-long", end, format!("the text is longer than {max} {unit}")));
            }
        }
        self.bytes += fresh.len();
        self.chars += fresh.chars().count();
    }

    fn finish(&mut self, found: &mut Vec<Candidate>) -> Judgement {
        let LengthSettings { bytes_min, chars_min, .. } = self.check.settings;
        for (min, length, unit) in [(bytes_min, self.bytes, "bytes"), (chars_min, self.chars, "characters")] {
            if let Some(min) = min.filter(|min| length < *min) {
                found.push(self.candidate(
                    "too-short",
                    self.bytes,
                    format!("the text has {length} {unit}, fewer than {min}"),
                ));
                break;
            }
        }
        Judgement::default()
    }
}

#[cfg(test)]
mod tests {
    use crate::{Guardrails, Outcome, Side};

    #[track_caller]
    fn check(toml: &str, text: &str, rule: Option<&str>) {
        let side: Side = toml::from_str(&format!("[length]\naction = \"block\"\n{toml}")).unwrap();
        let examination = Guardrails::new(&side).unwrap().examine(text);
        assert_eq!(examination.verdicts[0].rules.first().map(AsRef::as_ref), rule);
        assert_eq!(examination.verdicts[0].action, if rule.is_some() { Outcome::Block } else { Outcome::Pass });
    }

    #[test]
    fn a_text_may_be_as_long_as_the_limit_and_no_longer() {
        check("bytes_max = 3", "abc", None);
        check("bytes_max = 3", "abcd", Some("too-long"));
        check("chars_max = 3", "äöü", None);
        check("chars_max = 3", "äöüß", Some("too-long"));
        check("bytes_min = 3", "abc", None);
        check("bytes_min = 3", "ab", Some("too-short"));
        check("chars_min = 2", "ä", Some("too-short"));
    }
}
