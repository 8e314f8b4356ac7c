//! A draft that is being filled in, within what a leaf may hold. What does not fit to stand in the open is content instead: nothing is cut off.

use record::{Draft, Field, Value};

use super::names::{CONTENT, OTHERS};

/// The longest value of an attribute that stands in the open, as JSON in bytes.
const VALUE_BYTES_MAX: usize = 4_096;
/// The most bytes that the attributes of one record take in the open, as JSON.
const ATTRIBUTES_BYTES_MAX: usize = 32_768;
/// The most attributes of one record in the open.
const ATTRIBUTES_MAX: usize = 128;
/// The deepest nesting in the open.
const DEPTH_MAX: usize = 4;

/// A draft, and how full it is.
pub(super) struct Sheet {
    pub(super) draft: Draft,
    bytes: usize,
    others: Vec<(String, Value<'static>)>,
}

impl Sheet {
    pub(super) const fn new(draft: Draft) -> Self {
        Self { draft, bytes: 0, others: Vec::new() }
    }

    /// Puts an attribute where it belongs: in the open, or, by its name or for want of room, into the content.
    pub(super) fn put(&mut self, name: &str, value: Value<'_>) {
        if CONTENT.contains(&name) {
            self.say(name, &value);
        } else if super::names::is_personal(name) {
            self.others.push((name.to_owned(), value.into_owned()));
        } else {
            self.attribute(name, value);
        }
    }

    /// An attribute in the open, where it fits.
    pub(super) fn attribute(&mut self, name: &str, value: Value<'_>) {
        let bytes = name.len() + json_bytes(&value) + 4;
        let is_plain = |c: char| !c.is_control() && !matches!(c, '"' | '\\');
        let fits = !name.is_empty()
            && name.len() <= record::ATTRIBUTE_KEY_BYTES_MAX
            && name.chars().all(is_plain)
            && bytes <= name.len() + VALUE_BYTES_MAX
            && depth(&value) <= DEPTH_MAX
            && self.bytes + bytes <= ATTRIBUTES_BYTES_MAX
            && self.draft.attributes.len() < ATTRIBUTES_MAX;
        if fits {
            self.bytes += bytes;
            self.draft.attributes.set(name.to_owned(), value.into_owned());
        } else {
            self.others.push((name.to_owned(), value.into_owned()));
        }
    }

    /// A field of content: a text is kept as it reads, anything else is JSON.
    pub(super) fn say(&mut self, name: &str, value: &Value<'_>) {
        if self.draft.content.iter().any(|field| field.name == name) {
            return self.others.push((name.to_owned(), value.clone().into_owned()));
        }
        let (media, bytes) = match value {
            Value::Text(text) if is_json(text) => ("application/json", text.as_bytes().to_vec()),
            Value::Text(text) => ("text/plain", text.as_bytes().to_vec()),
            other => ("application/json", other.to_json().into_bytes()),
        };
        self.draft.content.push(Field { name: name.to_owned(), media: media.into(), bytes });
    }

    pub(super) fn finish(mut self) -> Draft {
        if !self.others.is_empty() {
            let entries = self.others.into_iter().map(|(name, value)| (name.into(), value)).collect();
            let bytes = super::super::model::map(entries).to_json().into_bytes();
            self.draft.content.push(Field { name: OTHERS.into(), media: "application/json".into(), bytes });
        }
        self.draft
    }
}

/// Whether a text is an object or a list in JSON.
fn is_json(text: &str) -> bool {
    text.starts_with(['{', '[']) && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// How many bytes a value takes as JSON, at most.
fn json_bytes(value: &Value<'_>) -> usize {
    let text = |text: &str| {
        let escaped = text.bytes().filter(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\')).count();
        text.len() + 5 * escaped + 2
    };
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Int(_) | Value::Float(_) => 24,
        Value::Text(said) => text(said),
        Value::List(items) => 2 + items.iter().map(|item| json_bytes(item) + 1).sum::<usize>(),
        Value::Map(entries) => {
            2 + entries.iter().map(|(name, value)| text(name) + json_bytes(value) + 2).sum::<usize>()
        }
    }
}

fn depth(value: &Value<'_>) -> usize {
    match value {
        Value::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Map(entries) => 1 + entries.iter().map(|(_, value)| depth(value)).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = Value<'static>> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::Float),
            any::<String>().prop_map(|text| Value::Text(text.into())),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
                prop::collection::vec((any::<String>(), inner), 0..4).prop_map(|entries| Value::Map(
                    entries.into_iter().map(|(name, value)| (name.into(), value)).collect()
                )),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_value_takes_more_than_is_counted(value in values()) {
            prop_assert!(json_bytes(&value) >= value.to_json().len(), "{}", value.to_json());
        }
    }
}
