//! Attribute values: what JSON can say, owned by a draft or borrowed from a leaf.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::json;

/// One attribute's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// Nothing.
    Null,
    /// A fact.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(Cow<'a, str>),
    /// A list.
    List(Vec<Value<'a>>),
    /// Named values, sorted by name when they come from a leaf.
    Map(Vec<(Cow<'a, str>, Value<'a>)>),
}

impl Value<'static> {
    /// A text that came from outside, cut at the largest size a value may have.
    #[must_use]
    pub fn cut(text: &str) -> Self {
        let mut end = text.len().min(crate::ATTRIBUTE_TEXT_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Value::Text(Cow::Owned(text[..end].to_owned()))
    }
}

impl Value<'_> {
    /// The same value with texts of its own.
    #[must_use]
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Value::Null => Value::Null,
            Value::Bool(fact) => Value::Bool(fact),
            Value::Int(number) => Value::Int(number),
            Value::Float(number) => Value::Float(number),
            Value::Text(text) => Value::Text(text.into_owned().into()),
            Value::List(items) => Value::List(items.into_iter().map(Value::into_owned).collect()),
            Value::Map(entries) => {
                let owned = |(key, value): (Cow<'_, str>, Value<'_>)| (key.into_owned().into(), value.into_owned());
                Value::Map(entries.into_iter().map(owned).collect())
            }
        }
    }

    /// The value as compact JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = Vec::new();
        json::write_value(&mut out, self);
        String::from_utf8(out).unwrap_or_default()
    }

    /// How deep lists and maps are nested: 0 for a plain value.
    pub(crate) fn depth(&self) -> usize {
        match self {
            Value::List(items) => 1 + items.iter().map(Value::depth).max().unwrap_or(0),
            Value::Map(entries) => 1 + entries.iter().map(|(_, value)| value.depth()).max().unwrap_or(0),
            _ => 0,
        }
    }

    /// The longest text in it, in bytes.
    pub(crate) fn text_bytes(&self) -> usize {
        match self {
            Value::Text(text) => text.len(),
            Value::List(items) => items.iter().map(Value::text_bytes).max().unwrap_or(0),
            Value::Map(entries) => {
                entries.iter().map(|(key, value)| key.len().max(value.text_bytes())).max().unwrap_or(0)
            }
            _ => 0,
        }
    }

    /// Sorts every map in it, as RFC 8785 wants.
    pub(crate) fn sort(&mut self) {
        match self {
            Value::List(items) => items.iter_mut().for_each(Value::sort),
            Value::Map(entries) => {
                entries.sort_by(|(a, _), (b, _)| json::key_order(a, b));
                entries.iter_mut().for_each(|(_, value)| value.sort());
            }
            _ => {}
        }
    }
}

macro_rules! value_from {
    ($($from:ty => $variant:ident),+) => {
        $(impl From<$from> for Value<'static> {
            fn from(value: $from) -> Self { Value::$variant(value.into()) }
        })+
    };
}
value_from!(bool => Bool, i64 => Int, u32 => Int, u16 => Int, f64 => Float, String => Text, &'static str => Text);

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E: Error>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E: Error>(self, fact: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(fact))
    }
    fn visit_i64<E: Error>(self, number: i64) -> Result<Value<'de>, E> {
        Ok(Value::Int(number))
    }
    fn visit_u64<E: Error>(self, number: u64) -> Result<Value<'de>, E> {
        // Above i64::MAX the digits are kept as text rather than rounded.
        Ok(i64::try_from(number).map_or_else(|_| Value::Text(number.to_string().into()), Value::Int))
    }
    fn visit_f64<E: Error>(self, number: f64) -> Result<Value<'de>, E> {
        Ok(Value::Float(number))
    }
    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }
    fn visit_string<E: Error>(self, text: String) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text)))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        let mut entries = Vec::new();
        while let Some((Text(key), value)) = map.next_entry()? {
            entries.push((key, value));
        }
        Ok(Value::Map(entries))
    }
}

/// A text, borrowed where it has no escapes. (`Cow` alone is borrowed by serde only as a whole member, not inside
/// an `Option` or a map.)
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Text(text) => Ok(Text(text)),
            other => Err(D::Error::custom(format!("a text is wanted here, not {}", other.to_json()))),
        }
    }
}

/// The attributes of a record: values under dotted names, each name once, in the order of RFC 8785.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Attributes<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

impl<'a> Attributes<'a> {
    /// Sets an attribute; an earlier value under the same name is replaced.
    pub fn set(&mut self, key: impl Into<Cow<'a, str>>, value: impl Into<Value<'a>>) {
        let (key, mut value) = (key.into(), value.into());
        value.sort();
        match self.0.binary_search_by(|(other, _)| json::key_order(other, &key)) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (key, value)),
        }
    }

    /// Sets an attribute to a text that came from outside, cut at the largest size a value may have.
    pub fn set_text(&mut self, key: impl Into<Cow<'a, str>>, text: &str) {
        self.set(key, Value::cut(text));
    }

    /// The value under a name.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&Value<'a>> {
        let at = self.0.binary_search_by(|(other, _)| json::key_order(other, key)).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// The attributes in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value<'a>)> {
        self.0.iter().map(|(key, value)| (key.as_ref(), value))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for Attributes<'a> {
    type Item = (Cow<'a, str>, Value<'a>);
    type IntoIter = std::vec::IntoIter<Self::Item>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Attributes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Map(entries) => Ok(Attributes(entries)),
            other => Err(D::Error::custom(format!("attributes must be an object, not {}", other.to_json()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_keep_their_order_and_the_last_value() {
        let mut attributes = Attributes::default();
        attributes.set("b", 2_i64);
        attributes.set("a", 1_i64);
        attributes.set("b", "two");
        let seen: Vec<_> = attributes.iter().map(|(key, value)| format!("{key}={}", value.to_json())).collect();
        assert_eq!(seen, ["a=1", "b=\"two\""]);
    }

    #[test]
    fn a_text_from_outside_is_cut_between_characters() {
        let mut attributes = Attributes::default();
        attributes.set_text("t", &"é".repeat(crate::ATTRIBUTE_TEXT_BYTES_MAX));
        let Some(Value::Text(text)) = attributes.value("t") else { panic!("no text") };
        assert_eq!(text.len(), crate::ATTRIBUTE_TEXT_BYTES_MAX);
    }
}
