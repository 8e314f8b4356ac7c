//! Attributes without credentials, under their current names.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Bound;

use record::Value;

use super::super::model::Pairs;
use super::names;
use crate::credentials;

/// What a span or an event says, by its current names. What was read of it is taken out.
#[derive(Debug, Default)]
pub(super) struct Facts<'a>(BTreeMap<Cow<'a, str>, Value<'a>>);

impl<'a> Facts<'a> {
    pub(super) fn of(pairs: Pairs<'a>) -> Self {
        let mut facts = Self::default();
        facts.add(pairs);
        facts
    }

    /// Takes in more, where it is not said already.
    pub(super) fn add(&mut self, pairs: Pairs<'a>) {
        let (mut current, mut renamed) = (BTreeMap::new(), Vec::new());
        for (name, value) in pairs {
            let Some(value) = credentials::cleaned(&name, value) else { continue };
            match names::current(&name) {
                Some((nth, name)) => renamed.push((nth, name, value)),
                None => {
                    // Of a name that is there twice the last counts.
                    current.insert(name, value);
                }
            }
        }
        renamed.sort_by_key(|(nth, _, _)| *nth);
        let renamed = renamed.into_iter().map(|(_, name, value)| (Cow::Borrowed(name), value));
        for (name, value) in current.into_iter().chain(renamed).filter(|(_, value)| *value != Value::Null) {
            let value = names::shaped(&name, value);
            self.0.entry(name).or_insert(value);
        }
    }

    /// The attributes of an event of one message as they are called there, without credentials.
    pub(super) fn of_event(pairs: Pairs<'a>) -> Pairs<'a> {
        let clean = pairs.into_iter().filter_map(|(name, value)| {
            let value = credentials::cleaned(&name, value)?;
            Some((name, value))
        });
        clean.collect()
    }

    pub(super) fn value(&self, name: &str) -> Option<&Value<'a>> {
        self.0.get(name)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Value<'a>> {
        self.0.remove(name)
    }

    pub(super) fn take_text(&mut self, name: &str) -> Option<String> {
        match self.0.remove(name)? {
            Value::Text(text) => Some(text.into_owned()),
            other => Some(other.to_json()),
        }
    }

    /// Everything whose name begins so and goes on with a digit, with the rest of its name.
    pub(super) fn take_numbered(&mut self, beginning: &str) -> Vec<(String, Value<'a>)> {
        let from = (Bound::Included(beginning), Bound::Unbounded);
        let names: Vec<Cow<'a, str>> = self
            .0
            .range::<str, _>(from)
            .map(|(name, _)| name.clone())
            .take_while(|name| name.starts_with(beginning))
            .filter(|name| name.as_bytes().get(beginning.len()).is_some_and(u8::is_ascii_digit))
            .collect();
        let take = |name: Cow<'a, str>| {
            let rest = name.get(beginning.len()..)?.to_owned();
            Some((rest, self.0.remove(name.as_ref())?))
        };
        names.into_iter().filter_map(take).collect()
    }

    pub(super) fn set_if_absent(&mut self, name: &'static str, value: Value<'a>) {
        self.0.entry(Cow::Borrowed(name)).or_insert(value);
    }

    pub(super) fn into_rest(self) -> impl Iterator<Item = (Cow<'a, str>, Value<'a>)> {
        self.0.into_iter()
    }
}
