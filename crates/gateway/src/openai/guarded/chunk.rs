//! One chunk of an answer: what it says goes through the streams of the texts it belongs to.

use std::collections::{BTreeMap, BTreeSet};

use guardrails::Stream;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::form::{Form, Formless, Step, decode, encode, splice};
use super::judge::Judge;
use super::{CHOICES_MAX, TEXTS_MAX, WITHHELD, is_exempt, is_said};

/// The longest member of an event, in bytes, that is copied to the events that are made here.
const HEAD_BYTES_MAX: usize = 1_024;

/// A text of a stream: its choice, and its way from there.
type Key = (u64, Vec<Step>);

/// The texts of a stream that have begun.
#[derive(Debug, Default)]
pub(super) struct Texts {
    open: BTreeMap<Key, Stream>,
    /// Choices that have said why they ended.
    ended: BTreeSet<u64>,
    head: Head,
}

/// What all events of a stream have in common, as JSON.
#[derive(Debug, Default)]
struct Head {
    members: [Option<String>; 4],
}

const HEAD_NAMES: [&str; 4] = ["id", "object", "created", "model"];

#[derive(serde::Deserialize)]
struct RawHead<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    #[serde(borrow)]
    created: Option<&'a RawValue>,
    #[serde(borrow)]
    model: Option<&'a RawValue>,
}

/// What became of a piece of data.
#[derive(Debug, Default)]
pub(super) struct Rewritten {
    /// Events that have to go before it.
    pub(super) before: String,
    /// What stands in its place, if that is not what came.
    pub(super) data: Option<String>,
}

/// A piece of a text in a chunk.
struct Fragment {
    key: Key,
    range: std::ops::Range<usize>,
    said: String,
    shown: String,
}

impl Texts {
    /// Takes in one piece of data.
    pub(super) fn rewrite(&mut self, data: &str, judge: &mut Judge) -> Rewritten {
        let form = match Form::read(data, WITHHELD) {
            Ok(form) => form,
            Err(Formless::NotJson) => {
                if data.trim_start().starts_with('{') {
                    // A lenient reader could find texts in it.
                    judge.fault("unreadable", "an event begins as JSON and is none");
                }
                return Rewritten { before: String::new(), data: judge.other(data) };
            }
            Err(Formless::TooLarge) => {
                judge.fault("unreadable", "an event is nested too deep or has too many parts");
                return Rewritten::default();
            }
        };
        check_names(&form, judge);
        let is_chunk = form.names.iter().any(|name| name == "choices") && data.trim_start().starts_with('{');
        if is_chunk {
            self.head.take(data);
        }
        let (mut edits, mut fragments, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for text in &form.texts {
            let path = form.path(text);
            let range = text.range.clone();
            let literal = data.get(range.clone()).unwrap_or_default();
            let choice = match path.as_slice() {
                [choices, Step::Nth(choice), rest @ ..] if choices.is("choices") => Some((*choice, rest)),
                _ => None,
            };
            match choice {
                Some((choice, _)) if choice >= CHOICES_MAX => {
                    judge.fault("too-many-choices", format!("a stream has more than {CHOICES_MAX} choices"));
                }
                Some((choice, [name])) if name.is("finish_reason") && literal != "\"\"" => ends.push(choice),
                Some((choice, rest)) if is_streamed(rest) => {
                    let said = decode(literal).into_owned();
                    let key = (choice, rest.to_vec());
                    let shown = self.push(&key, &said, judge);
                    fragments.push(Fragment { key, range, said, shown });
                }
                _ if is_exempt(&path, literal) => {}
                _ => edits.extend(judge.other(&decode(literal)).map(|text| (range, encode(&text)))),
            }
        }
        let mut before = String::new();
        for choice in ends {
            self.end_choice(choice, &mut fragments, &mut before, judge);
        }
        let changed = fragments.into_iter().filter(|fragment| fragment.said != fragment.shown);
        edits.extend(changed.map(|fragment| (fragment.range, encode(&fragment.shown))));
        // They spell out the text before it has been examined.
        edits.extend(form.withheld.into_iter().map(|range| (range, "null".to_owned())));
        let rewritten = (!edits.is_empty()).then(|| splice(data, edits));
        if !is_chunk {
            let left = rewritten.as_deref().unwrap_or(data);
            if judge.other(left).is_some() {
                judge.fault("unknown-form", "an event that is no chunk of an answer holds what may not leave");
            }
        }
        Rewritten { before, data: rewritten }
    }

    /// What may leave of a text after its next piece.
    fn push(&mut self, key: &Key, said: &str, judge: &mut Judge) -> String {
        if said.is_empty() {
            return String::new();
        }
        if self.ended.contains(&key.0) {
            judge.fault("text-after-end", "a choice goes on after it has said why it ended");
        }
        if !self.open.contains_key(key) && self.open.len() >= TEXTS_MAX {
            judge.fault("too-many-texts", format!("a stream has more than {TEXTS_MAX} texts"));
            return String::new();
        }
        let released = self.open.entry(key.clone()).or_insert_with(|| judge.guardrails.stream()).push(said);
        released.blocked.into_iter().for_each(|finding| judge.block(finding));
        released.text
    }

    /// Ends the texts of a choice: what was held goes to the pieces at hand, or to events before them.
    fn end_choice(&mut self, choice: u64, fragments: &mut [Fragment], before: &mut String, judge: &mut Judge) {
        self.ended.insert(choice);
        let keys: Vec<Key> = self.open.keys().filter(|key| key.0 == choice).cloned().collect();
        for key in keys {
            let Some(stream) = self.open.remove(&key) else { continue };
            let rest = end_text(stream, judge);
            match fragments.iter_mut().rev().find(|fragment| fragment.key == key) {
                Some(fragment) => fragment.shown.push_str(&rest),
                None => before.push_str(&self.head.event(&key, &rest)),
            }
        }
    }

    /// Ends every text: the events with what was held.
    pub(super) fn finish(mut self, judge: &mut Judge) -> String {
        let open = std::mem::take(&mut self.open);
        open.into_iter().map(|(key, stream)| self.head.event(&key, &end_text(stream, judge))).collect()
    }
}

/// The rest of a text.
fn end_text(stream: Stream, judge: &mut Judge) -> String {
    let finished = stream.finish();
    finished.blocked.into_iter().for_each(|finding| judge.block(finding));
    judge.add(finished.verdicts);
    finished.text
}

impl Head {
    fn take(&mut self, data: &str) {
        let Ok(RawHead { id, object, created, model }) = serde_json::from_str(data) else { return };
        for (known, new) in self.members.iter_mut().zip([id, object, created, model]) {
            match new.map(RawValue::get) {
                Some(new) if new.len() <= HEAD_BYTES_MAX && known.as_deref() != Some(new) => {
                    *known = Some(new.to_owned());
                }
                _ => {}
            }
        }
    }

    /// An event that says a piece of one text; nothing for no text.
    fn event(&self, (choice, path): &Key, text: &str) -> String {
        if text.is_empty() {
            return String::new();
        }
        let member = path.iter().rev().fold(Value::from(text), |value, step| match (step, value) {
            (Step::Name(name), value) => json!({ name: value }),
            (Step::Nth(nth), Value::Object(mut members)) => {
                members.insert("index".into(), json!(nth));
                json!([members])
            }
            (Step::Nth(_), value) => json!([value]),
        });
        let mut members = Map::new();
        members.insert("index".into(), json!(choice));
        members.extend(match member {
            Value::Object(member) => member,
            _ => Map::new(),
        });
        members.insert("finish_reason".into(), Value::Null);
        let known = HEAD_NAMES.iter().zip(&self.members);
        let head: String =
            known.filter_map(|(name, raw)| raw.as_ref().map(|raw| format!("\"{name}\":{raw},"))).collect();
        format!("data: {{{head}\"choices\":[{}]}}\n\n", Value::Object(members))
    }
}

/// Whether a text of a choice is said piece by piece.
fn is_streamed(path: &[Step]) -> bool {
    match path {
        [text] => text.is("text"),
        [delta, Step::Name(name)] => delta.is("delta") && !matches!(name.as_str(), "role" | "id" | "type" | "name"),
        [delta, .., last] => delta.is("delta") && is_said(last),
        [] => false,
    }
}

/// Texts hide in names of members too.
fn check_names(form: &Form<'_>, judge: &mut Judge) {
    /// The shortest name that could hide something, in bytes.
    const NAME_BYTES_MIN: usize = 8;
    for name in form.names.iter().filter(|name| {
        name.len() >= NAME_BYTES_MIN && name.bytes().any(|byte| byte != b'_' && !byte.is_ascii_lowercase())
    }) {
        if judge.other(name).is_some() {
            judge.fault("unknown-form", "the name of a member holds what may not leave");
        }
    }
}
