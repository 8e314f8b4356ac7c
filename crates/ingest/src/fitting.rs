//! Attributes that fit a leaf, whatever came in: a text that is too long is cut, what no longer fits is left out, and the
//! record names both under `testimony.ingest.cut`. A sender that is refused for the size of one event would send it for ever.

use std::borrow::Cow;

use record::{ATTRIBUTE_KEY_BYTES_MAX, ATTRIBUTES_MAX, Attributes, Timestamp, Value};

/// The longest name or identifier from outside, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 1_024;
/// The longest other text from outside (an address, a sentence), in bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 4_096;
/// The most entries of one list or map.
const ENTRIES_MAX: usize = 64;
/// The most bytes that attributes take in a leaf, as JSON. The rest of it is for the envelope.
const LEAF_BYTES_MAX: usize = 40 * 1_024;
/// The most names under [`CUT`].
const MARKS_MAX: usize = 32;

/// The attribute that names those that were cut or left out.
const CUT: &str = "testimony.ingest.cut";
/// The attribute that holds what an event says of its time and is no time.
const TIME: &str = "testimony.ingest.time";

/// Attributes, while they are put together.
pub(crate) struct Fitting {
    attributes: Attributes<'static>,
    bytes_left: usize,
    cut: Vec<String>,
}

impl Fitting {
    pub(crate) fn new() -> Self {
        Self { attributes: Attributes::default(), bytes_left: LEAF_BYTES_MAX, cut: Vec::new() }
    }

    /// Sets a value of ours or a number, when it still fits.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<Value<'static>>) {
        let value = value.into();
        let bytes = text_bytes(name) + 2 + value_bytes(&value);
        // One attribute is kept for the marks.
        let is_room = self.attributes.len() + 1 < ATTRIBUTES_MAX && name.len() <= ATTRIBUTE_KEY_BYTES_MAX;
        if !is_room || bytes > self.bytes_left {
            return self.mark(name);
        }
        self.bytes_left -= bytes;
        self.attributes.set(name.to_owned(), value);
    }

    /// Sets a text from outside; an empty one says nothing.
    pub(crate) fn text(&mut self, name: &str, text: &str, bytes_max: usize) {
        if !text.is_empty() {
            let text = self.cut(name, text, bytes_max);
            self.set(name, text);
        }
    }

    /// Sets a name from outside where there is one.
    pub(crate) fn name(&mut self, name: &str, text: Option<&str>) {
        self.text(name, text.unwrap_or_default(), NAME_BYTES_MAX);
    }

    /// Sets a list of names from outside; an empty one says nothing.
    pub(crate) fn names<'t>(&mut self, name: &str, texts: impl IntoIterator<Item = &'t str>) {
        let mut texts = texts.into_iter();
        let kept: Vec<Value<'static>> =
            texts.by_ref().take(ENTRIES_MAX).map(|text| self.cut(name, text, NAME_BYTES_MAX).into()).collect();
        if texts.next().is_some() {
            self.mark(name);
        }
        if !kept.is_empty() {
            self.set(name, Value::List(kept));
        }
    }

    /// Sets a map from outside; an empty one says nothing.
    pub(crate) fn map<'t>(&mut self, name: &str, entries: impl IntoIterator<Item = (&'t str, Value<'static>)>) {
        let mut entries = entries.into_iter();
        let mut kept: Vec<(Cow<'static, str>, Value<'static>)> = Vec::new();
        for (key, value) in entries.by_ref().take(ENTRIES_MAX) {
            let value = match value {
                Value::Text(text) => Value::from(self.cut(name, &text, NAME_BYTES_MAX)),
                other => other,
            };
            let key = self.cut(name, key, ATTRIBUTE_KEY_BYTES_MAX);
            // Two names that are cut to one: the first stays.
            if kept.iter().all(|(other, _)| *other != key) {
                kept.push((key.into(), value));
            }
        }
        if entries.next().is_some() {
            self.mark(name);
        }
        if !kept.is_empty() {
            self.set(name, Value::Map(kept));
        }
    }

    /// A text from outside, cut between two characters where it is too long, which the record then says of `name`.
    pub(crate) fn cut(&mut self, name: &str, text: &str, bytes_max: usize) -> String {
        if text.len() <= bytes_max {
            return text.to_owned();
        }
        self.mark(name);
        text[..text.floor_char_boundary(bytes_max)].to_owned()
    }

    /// When something happened, as its source says; when it came in, where the source says nothing that is a time since 1970.
    pub(crate) fn time(&mut self, said: Option<&str>, received: Timestamp) -> Timestamp {
        let Some(text) = said else { return received };
        match Timestamp::parse(text) {
            Ok(time) if time.as_micros() >= 0 => time,
            _ => {
                self.text(TIME, text, 64);
                received
            }
        }
    }

    /// What was put together.
    pub(crate) fn done(mut self) -> Attributes<'static> {
        if !self.cut.is_empty() {
            self.attributes.set(CUT, Value::List(self.cut.into_iter().map(Value::from).collect()));
        }
        self.attributes
    }

    fn mark(&mut self, name: &str) {
        let name = &name[..name.floor_char_boundary(ATTRIBUTE_KEY_BYTES_MAX)];
        if self.cut.len() < MARKS_MAX && self.cut.iter().all(|cut| cut != name) {
            self.cut.push(name.to_owned());
        }
    }
}

/// A thousandth of a count: microseconds as milliseconds.
pub(crate) fn thousandths(count: u64) -> f64 {
    let whole = u32::try_from(count / 1_000).unwrap_or(u32::MAX);
    f64::from(whole) + f64::from(u16::try_from(count % 1_000).unwrap_or(0)) / 1_000.0
}

/// How many bytes a text has as JSON.
fn text_bytes(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' => 2,
        0..=0x1F => 6,
        _ => 1,
    };
    2 + text.bytes().map(escaped).sum::<usize>()
}

/// How many bytes a value has as JSON, or some more.
fn value_bytes(value: &Value<'_>) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Int(_) | Value::Float(_) => 26,
        Value::Text(text) => text_bytes(text),
        Value::List(items) => 2 + items.iter().map(|item| 1 + value_bytes(item)).sum::<usize>(),
        Value::Map(entries) => {
            2 + entries.iter().map(|(key, value)| 2 + text_bytes(key) + value_bytes(value)).sum::<usize>()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(attributes: &Attributes<'_>) -> String {
        attributes.value(CUT).map(Value::to_json).unwrap_or_default()
    }

    #[test]
    fn a_thousandth_keeps_its_digits() {
        assert_eq!([0, 100, 12_500, 7_200_000_001].map(thousandths), [0.0, 0.1, 12.5, 7_200_000.001]);
    }

    #[test]
    fn what_is_cut_or_left_out_is_named() {
        let mut fitting = Fitting::new();
        fitting.text("long", &"é".repeat(NAME_BYTES_MAX), NAME_BYTES_MAX + 1);
        fitting.text("short", "a", NAME_BYTES_MAX);
        fitting.text("empty", "", NAME_BYTES_MAX);
        fitting.names("many", std::iter::repeat_n("n", ENTRIES_MAX + 1));
        fitting.map("map", [("k".repeat(300).as_str(), Value::from("v")), ("k", Value::from(1_i64))]);
        let attributes = fitting.done();
        assert_eq!(marks(&attributes), r#"["long","many","map"]"#);
        let Some(Value::Text(text)) = attributes.value("long") else { panic!("no text") };
        assert_eq!(text.len(), NAME_BYTES_MAX);
        assert!(attributes.value("short").is_some() && attributes.value("empty").is_none());
    }

    #[test]
    fn texts_of_nothing_but_escapes_still_fit_a_leaf() {
        let mut fitting = Fitting::new();
        for nth in 0..2 * ATTRIBUTES_MAX {
            fitting.text(&format!("n{nth}"), &"\u{1}".repeat(TEXT_BYTES_MAX), TEXT_BYTES_MAX);
        }
        let attributes = fitting.done();
        let bytes: usize = attributes.iter().map(|(name, value)| text_bytes(name) + 2 + value_bytes(value)).sum();
        assert!(attributes.len() > 1 && bytes < LEAF_BYTES_MAX + 10 * 1_024, "{bytes}");
        assert!(marks(&attributes).contains("n300") || marks(&attributes).contains("n10"));
    }

    #[test]
    fn a_time_that_is_none_is_kept_as_it_was_said() {
        let received = Timestamp::from_micros(7);
        let said = |text| {
            let mut fitting = Fitting::new();
            let time = fitting.time(text, received);
            (time.to_string(), fitting.done().value(TIME).map(Value::to_json))
        };
        assert_eq!(said(Some("9999-12-31T23:59:59Z")).0, "9999-12-31T23:59:59.000000Z");
        assert_eq!(said(None), (received.to_string(), None));
        assert_eq!(said(Some("0001-01-01T00:00:00Z")), (received.to_string(), Some("\"0001-01-01T00:00:00Z\"".into())));
        assert_eq!(said(Some("soon")), (received.to_string(), Some("\"soon\"".into())));
    }
}
