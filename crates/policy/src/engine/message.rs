//! The evaluator's messages, of several lines with the source drawn in them, as a place and a sentence.

use std::fmt;

/// Where, when it is known, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) place: Option<String>,
    pub(crate) what: String,
}

/// The longest sentence, in bytes: a message may quote a value.
const SENTENCE_BYTES_MAX: usize = 500;

/// Takes the place from the first `--> file:line:column` and the sentence from after the last `error: `.
pub(crate) fn sentence(error: &anyhow::Error) -> Message {
    let text = error.to_string();
    let place = text.lines().find_map(|line| line.strip_prefix("--> ")).and_then(|place| place.rsplit_once(':'));
    let what = text.rsplit("error: ").next().unwrap_or(&text);
    let mut what: String = what.split_whitespace().collect::<Vec<_>>().join(" ");
    if what.len() > SENTENCE_BYTES_MAX {
        let end = (0..=SENTENCE_BYTES_MAX).rev().find(|end| what.is_char_boundary(*end)).unwrap_or(0);
        what.truncate(end);
        what.push('…');
    }
    Message { place: place.map(|(place, _)| place.to_owned()), what }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}
