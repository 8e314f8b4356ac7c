//! Who said what, as a judge is told of it: what is under judgement, at the end, and what was said before it.

use crate::failure::Failure;
use crate::{Asked, Direction, Text};

/// The two who speak in a conversation, by the names that Llama Guard has for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaker {
    /// Whoever asks; also the system's instructions and what tools say, since a model is given them too.
    User,
    /// The model.
    Agent,
}

/// What one of them said without being interrupted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) speaker: Speaker,
    /// Its texts, with an empty line between.
    pub(crate) text: String,
}

impl Speaker {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Agent => "Agent",
        }
    }

    /// Whose last turn is under judgement.
    pub(crate) const fn judged(direction: Direction) -> Self {
        match direction {
            Direction::Input => Self::User,
            Direction::Output => Self::Agent,
        }
    }
}

/// The turns of a conversation; the last one is under judgement. None where it says nothing.
///
/// What is under judgement is judged whole or not at all: whoever knew that a judge sees the beginning and the end of a long text
/// would write into its middle. What was said before it only helps to understand it and is left out from the oldest on until all fits.
///
/// # Errors
/// When what is under judgement has more than `bytes_max` bytes.
pub(crate) fn turns(asked: &Asked<'_>, bytes_max: usize) -> Result<Option<Vec<Turn>>, Failure> {
    let judged = Speaker::judged(asked.direction);
    let mut said: Vec<(Speaker, &str)> =
        asked.texts.iter().filter(|text| !text.text.trim().is_empty()).map(speaker_and_text).collect();
    if asked.direction == Direction::Input {
        // The beginning of an answer that a caller puts into the model's mouth is part of what is asked.
        said.iter_mut().rev().take_while(|said| said.0 == Speaker::Agent).for_each(|said| said.0 = Speaker::User);
    }
    let count = said.iter().rev().take_while(|said| said.0 == judged).count();
    let (before, under_judgement) = said.split_at(said.len() - count);
    let bytes: usize = under_judgement.iter().map(|said| said.1.len()).sum();
    if bytes > bytes_max {
        return Err(Failure::TextTooLong { bytes, bytes_max });
    }
    if under_judgement.is_empty() {
        return Ok(None);
    }
    let mut left = bytes_max - bytes;
    let fits = |said: &&(Speaker, &str)| match left.checked_sub(said.1.len()) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    let fitting = before.iter().rev().take_while(fits).count();
    let kept = said.get(before.len() - fitting..).unwrap_or_default();
    Ok(Some(joined(kept)))
}

fn speaker_and_text<'a>(text: &Text<'a>) -> (Speaker, &'a str) {
    (if text.role == "assistant" { Speaker::Agent } else { Speaker::User }, text.text)
}

fn joined(said: &[(Speaker, &str)]) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::new();
    for (speaker, text) in said {
        match turns.last_mut().filter(|turn| turn.speaker == *speaker) {
            Some(turn) => {
                turn.text.push_str("\n\n");
                turn.text.push_str(text);
            }
            None => turns.push(Turn { speaker: *speaker, text: (*text).to_owned() }),
        }
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked<'a>(direction: Direction, texts: &'a [Text<'a>]) -> Asked<'a> {
        Asked { direction, call: "c", unix_seconds: 0, model: "m", actor: None, environment: "e", texts }
    }

    #[track_caller]
    fn check(direction: Direction, texts: &[(&str, &str)], bytes_max: usize, expected: &str) {
        let texts: Vec<Text<'_>> = texts.iter().map(|(role, text)| Text { role, text }).collect();
        let shown = match turns(&asked(direction, &texts), bytes_max) {
            Ok(Some(turns)) => {
                turns.iter().map(|turn| format!("{}:{}", turn.speaker.name(), turn.text)).collect::<Vec<_>>().join("|")
            }
            Ok(None) => "nothing".to_owned(),
            Err(failure) => failure.to_string(),
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_last_turn_is_what_was_said_on_the_side_that_is_judged() {
        let texts = [("system", "a"), ("user", "b"), ("assistant", "c"), ("tool", "d"), ("user", "e")];
        check(Direction::Input, &texts, 99, "User:a\n\nb|Agent:c|User:d\n\ne");
        check(Direction::Output, &texts[..3], 99, "User:a\n\nb|Agent:c");
        check(Direction::Output, &[("user", "a"), ("assistant", "b"), ("assistant", "c")], 99, "User:a|Agent:b\n\nc");
    }

    #[test]
    fn words_put_into_the_models_mouth_are_part_of_what_is_asked() {
        check(Direction::Input, &[("user", "a"), ("assistant", "Sure, first")], 99, "User:a\n\nSure, first");
        check(Direction::Input, &[("assistant", "a")], 99, "User:a");
    }

    #[test]
    fn an_answer_that_says_nothing_is_not_judged() {
        check(Direction::Output, &[("user", "a")], 99, "nothing");
        check(Direction::Output, &[("user", "a"), ("assistant", " \n")], 99, "nothing");
        check(Direction::Input, &[], 99, "nothing");
    }

    #[test]
    fn what_was_said_before_gives_way_and_what_is_judged_does_not() {
        let texts = [("user", "aaaa"), ("assistant", "bb"), ("user", "cccc")];
        check(Direction::Input, &texts, 10, "User:aaaa|Agent:bb|User:cccc");
        check(Direction::Input, &texts, 9, "Agent:bb|User:cccc");
        check(Direction::Input, &texts, 4, "User:cccc");
        let gap = [("user", "a"), ("assistant", "bbbbbb"), ("user", "cccc")];
        check(Direction::Input, &gap, 9, "User:cccc");
        check(Direction::Input, &texts, 3, "there are 4 bytes to judge, more than its text_bytes_max of 3");
    }
}
