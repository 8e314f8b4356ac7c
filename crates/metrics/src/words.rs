//! The values of labels. Callers choose names of models, services and errors, and could choose without end: each label has room
//! for so many values, and whatever comes after them is `other`.

use std::collections::HashMap;
use std::sync::Arc;

use crate::families::Label;

/// A value of a label, by its number among those of that label.
pub(crate) type Word = u16;

/// The label is not there: an empty value is the same, in Prometheus as in OpenMetrics.
pub(crate) const ABSENT: Word = 0;
/// Anything that has no number of its own.
pub(crate) const OTHER: Word = 1;
/// The text of that.
pub(crate) const OTHER_TEXT: &str = "other";
/// The longest value.
const TEXT_BYTES_MAX: usize = 128;

/// Whether a value that has not been seen before gets a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Newcomer {
    Welcome,
    /// It may have been made up, to take the place of others.
    Unproven,
}

/// The values of one label.
#[derive(Default)]
struct Known {
    numbers: HashMap<Arc<str>, Word>,
    /// In the order of their numbers, from [`OTHER`] + 1 on.
    texts: Vec<Arc<str>>,
}

/// The values of all labels.
pub(crate) struct Words([Known; Label::COUNT]);

impl Default for Words {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Known::default()))
    }
}

impl Words {
    /// The number of a value.
    pub(crate) fn number(&mut self, label: Label, text: &str, newcomer: Newcomer) -> Word {
        if text.is_empty() {
            return ABSENT;
        }
        let Some(known) = self.0.get_mut(label as usize) else { return OTHER };
        if let Some(number) = known.numbers.get(text) {
            return *number;
        }
        let is_name = text.len() <= TEXT_BYTES_MAX && text.chars().all(|sign| label.takes(sign)) && text != OTHER_TEXT;
        if newcomer == Newcomer::Unproven || !is_name || known.texts.len() >= label.values_max() {
            return OTHER;
        }
        let text: Arc<str> = text.into();
        known.texts.push(text.clone());
        let number = Word::try_from(known.texts.len()).map_or(OTHER, |nth| nth + OTHER);
        known.numbers.insert(text, number);
        number
    }

    /// The value of a number; nothing where the label is absent.
    pub(crate) fn text(&self, label: Label, number: Word) -> Option<&str> {
        match number {
            ABSENT => None,
            OTHER => Some(OTHER_TEXT),
            number => {
                let known = self.0.get(label as usize)?;
                known.texts.get(usize::from(number - OTHER - 1)).map(AsRef::as_ref)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_so_many_values_and_the_rest_is_other() {
        let mut words = Words::default();
        let most = Label::RequestModel.values_max();
        for nth in 0..most + 100 {
            let number = words.number(Label::RequestModel, &format!("model-{nth}"), Newcomer::Welcome);
            let expected = if nth < most { format!("model-{nth}") } else { OTHER_TEXT.into() };
            assert_eq!(words.text(Label::RequestModel, number), Some(expected.as_str()));
        }
        assert_eq!(
            words.number(Label::RequestModel, "model-0", Newcomer::Unproven),
            OTHER + 1,
            "who is known stays known"
        );
        assert_eq!(words.number(Label::Service, "model-0", Newcomer::Unproven), OTHER, "each label has its own");
        assert_eq!(words.text(Label::Service, ABSENT), None);
    }

    #[test]
    fn what_is_no_name_is_other() {
        let mut words = Words::default();
        for text in ["a\nb", "\u{1b}[2J", &"x".repeat(TEXT_BYTES_MAX + 1), OTHER_TEXT] {
            assert_eq!(words.number(Label::Service, text, Newcomer::Welcome), OTHER, "{text:?}");
        }
        assert_eq!(words.number(Label::Service, "", Newcomer::Welcome), ABSENT);
        assert_ne!(words.number(Label::Service, "Größe 漢", Newcomer::Welcome), OTHER);
    }
}
