//! What doors for lines and texts have in common: where a body goes, what is cut.

use std::borrow::Cow;
use std::str::Chars;

use record::{ATTRIBUTE_TEXT_BYTES_MAX, Draft, Field, Timestamp, VALUE_DEPTH_MAX, Value};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::credentials;

/// The attribute and the content field that hold what a line or message says.
pub(crate) const BODY: &str = "testimony.log.body";
/// The content field with the exact bytes that came in (OpenTelemetry, attribute registry, "Log record").
pub(crate) const ORIGINAL: &str = "log.record.original";
/// How many bytes of a line or message are missing, since it was longer than one may be.
pub(crate) const LOST_BYTES: &str = "testimony.ingest.lost_bytes";
/// What could not be read of an event that was stored nevertheless.
const PROBLEMS: &str = "testimony.ingest.problems";
/// The most of a body that stands in its attribute, in bytes.
pub(crate) const BODY_ATTRIBUTE_BYTES_MAX: usize = 1_024;
/// The longest name (of a service, a host, an actor) that is taken over, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 256;
/// The longest path that is taken over, in bytes.
pub(crate) const PATH_BYTES_MAX: usize = 1_024;
/// The most problems that are told of one event.
const PROBLEMS_MAX: usize = 8;
/// The most of one problem that is told, in bytes.
const PROBLEM_BYTES_MAX: usize = 120;

/// Where the body of a message or an unmapped line is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BodyPlace {
    /// In an attribute, which search finds and which stays for ever; what is longer than 1,024 bytes is content as a whole, and
    /// its beginning is the attribute.
    #[default]
    Attribute,
    /// In content alone, which can be erased and which search does not look into.
    Content,
}

/// Puts what a line or message says where it belongs.
pub(crate) fn set_body(draft: &mut Draft, text: &str, place: BodyPlace) {
    let beginning = cut(text, BODY_ATTRIBUTE_BYTES_MAX);
    if place == BodyPlace::Attribute && !text.is_empty() {
        draft.attributes.set_text(BODY, beginning);
    }
    if !text.is_empty() && (place == BodyPlace::Content || beginning.len() < text.len()) {
        draft.content.push(Field { name: BODY.into(), media: "text/plain".into(), bytes: text.as_bytes().to_vec() });
    }
}

/// The beginning of a text, at most so many bytes and whole characters.
pub(crate) fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// A JSON value as an attribute's, without credentials: texts are cut at what a value may have, and what is nested deeper than a value may
/// be becomes the text of its JSON. Whether anything was cut stands beside it.
pub(crate) fn value_of(json: &Json) -> (Value<'static>, bool) {
    let json = credentials::removed_from_value(json.clone());
    if depth(&json) > VALUE_DEPTH_MAX {
        let text = json.to_string();
        return (Value::cut(&text), text.len() > ATTRIBUTE_TEXT_BYTES_MAX);
    }
    let mut was_cut = false;
    let value = plain(json, &mut was_cut);
    (value, was_cut)
}

fn plain(json: Json, was_cut: &mut bool) -> Value<'static> {
    let mut text = |text: &str| {
        *was_cut |= text.len() > ATTRIBUTE_TEXT_BYTES_MAX;
        Value::cut(text)
    };
    match json {
        Json::Null => Value::Null,
        Json::Bool(fact) => Value::Bool(fact),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Value::Int(whole),
            (None, Some(float)) if !number.is_u64() => Value::Float(float),
            _ => text(&number.to_string()),
        },
        Json::String(string) => text(&string),
        Json::Array(items) => Value::List(items.into_iter().map(|item| plain(item, was_cut)).collect()),
        Json::Object(members) => {
            let member = |(name, value): (String, Json)| {
                let kept = cut(&name, ATTRIBUTE_TEXT_BYTES_MAX).to_owned();
                *was_cut |= kept.len() < name.len();
                (kept.into(), plain(value, was_cut))
            };
            let mut members: Vec<(Cow<'static, str>, Value<'static>)> = members.into_iter().map(member).collect();
            // Names that were cut may have become the same.
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            members.dedup_by(|(a, _), (b, _)| a == b);
            Value::Map(members)
        }
    }
}

fn depth(json: &Json) -> usize {
    match json {
        Json::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Json::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// What could not be read of an event. It is told in the record, for nothing is lost by it.
#[derive(Default)]
pub(crate) struct Problems(Vec<Value<'static>>);

impl Problems {
    pub(crate) fn add(&mut self, problem: &str) {
        if self.0.len() < PROBLEMS_MAX {
            self.0.push(Value::cut(cut(problem, PROBLEM_BYTES_MAX)));
        }
    }

    pub(crate) fn tell(self, draft: &mut Draft) {
        if self.0.is_empty() {
            return;
        }
        let mut all = match draft.attributes.value(PROBLEMS) {
            Some(Value::List(earlier)) => earlier.clone(),
            _ => Vec::new(),
        };
        all.extend(self.0);
        all.truncate(PROBLEMS_MAX);
        draft.attributes.set(PROBLEMS, Value::List(all));
    }
}

/// The moment in the year that brings it nearest to the time of receipt, for times that say no year: December is received in January, and
/// clocks run ahead.
pub(crate) fn nearest_year(received: Timestamp, moment: impl Fn(i64) -> Option<Timestamp>) -> Option<Timestamp> {
    let now: i64 = received.to_string().get(..4)?.parse().ok()?;
    let years = [now - 1, now, now + 1].into_iter().filter(|year| (0..=9999).contains(year));
    years.filter_map(moment).min_by_key(|time| time.as_micros().abs_diff(received.as_micros()))
}

/// Whether a text fits a pattern in which `*` stands for anything, dots and slashes too, and `?` for one character.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // What follows the last star, and where the text goes on after what the star stands for so far.
    let mut star: Option<(Chars<'_>, Chars<'_>)> = None;
    loop {
        let (mut next, mut rest) = (pattern.clone(), text.clone());
        match (next.next(), rest.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                star = Some((next.clone(), text.clone()));
                pattern = next;
            }
            (Some(wanted), Some(c)) if wanted == '?' || wanted == c => (pattern, text) = (next, rest),
            _ => {
                let Some((after, from)) = &mut star else { return false };
                if from.next().is_none() {
                    return false;
                }
                (pattern, text) = (after.clone(), from.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, text, is_fit) in [
            ("*", "", true),
            ("a*c", "a/b.c", true),
            ("a*c", "ab", false),
            ("a?c", "aéc", true),
            ("*.log", "x.log.1", false),
            ("*a*b*", "xaxbx", true),
            ("", "a", false),
        ] {
            assert_eq!(fits(pattern, text), is_fit, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_too_deep_or_too_long_becomes_a_text_that_is_cut() {
        let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
        assert!(matches!(value_of(&deep), (Value::Text(_), false)));
        assert_eq!(value_of(&json!(u64::MAX)).0, Value::Text(u64::MAX.to_string().into()));
        let long = json!({"x".repeat(10_000): 1, "y": "z".repeat(10_000)});
        assert!(value_of(&long).1);
    }

    proptest! {
        #[test]
        fn patterns_agree_with_regular_expressions(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
            let regex = pattern.replace('*', ".*").replace('?', ".");
            let regex = regex::Regex::new(&format!("^{regex}$")).unwrap();
            prop_assert_eq!(fits(&pattern, &text), regex.is_match(&text));
        }
    }
}
