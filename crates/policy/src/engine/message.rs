//! The evaluator's messages, of several lines with the source drawn in them, as a place and a sentence.

use std::fmt;

/// Where, when it is known, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) place: Option<String>,
    pub(crate) what: String,
}

/// The longest sentence, in bytes: a message may quote a value.
pub(crate) const SENTENCE_BYTES_MAX: usize = 500;

/// Takes the place from the first `--> file:line:column` and the sentence from after the last `error: `.
pub(crate) fn sentence(error: &anyhow::Error) -> Message {
    let text = error.to_string();
    let place = text.lines().find_map(|line| line.strip_prefix("--> ")).and_then(|place| place.rsplit_once(':'));
    let what = text.rsplit("error: ").next().unwrap_or(&text);
    let what = what.split_whitespace().collect::<Vec<_>>().join(" ");
    Message { place: place.map(|(place, _)| place.to_owned()), what: shortened(what, SENTENCE_BYTES_MAX) }
}

/// A text of at most so many bytes, and a mark when something was cut off.
pub(crate) fn shortened(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
        text.push('…');
    }
    text
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}
