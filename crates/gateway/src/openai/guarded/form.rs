//! Where the texts are in a JSON document, so that one can be replaced and every other byte stays.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use memchr::{memchr, memchr2};
use serde::de::{Deserializer as _, IgnoredAny, Visitor};

/// The deepest nesting of lists and objects.
const DEPTH_MAX: usize = 128;
/// The most lists and objects of a document, and the most texts.
const PARTS_MAX: usize = 1 << 18;

/// A document's texts and the lists and objects around them, each after what it lies in.
#[derive(Debug, Default)]
pub(super) struct Form<'a> {
    containers: Vec<Container<'a>>,
    pub(super) texts: Vec<Text<'a>>,
    /// The names of members.
    pub(super) names: Vec<Cow<'a, str>>,
    /// The values that were not looked into because of their names; `null` is not among them.
    pub(super) withheld: Vec<Range<usize>>,
}

/// A list or an object.
#[derive(Debug)]
struct Container<'a> {
    parent: Option<usize>,
    place: Place<'a>,
    /// Its member `index`, where that is a count.
    index: Option<u64>,
}

/// A text of a document.
#[derive(Debug)]
pub(super) struct Text<'a> {
    container: Option<usize>,
    place: Place<'a>,
    /// Its bytes in the document, with the quotes.
    pub(super) range: Range<usize>,
}

#[derive(Debug, Clone)]
enum Place<'a> {
    Root,
    Member(Cow<'a, str>),
    Position(u64),
}

/// One step from a document to a text in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// The member of an object.
    Name(String),
    /// The element of a list: by its member `index` where it has one, else by its position.
    Nth(u64),
}

impl Step {
    /// Whether it is the member of that name.
    pub(super) fn is(&self, name: &str) -> bool {
        matches!(self, Self::Name(own) if own == name)
    }
}

/// Why a document has no form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Formless {
    /// It is not JSON.
    NotJson,
    /// It is nested too deep or has too many parts.
    TooLarge,
}

impl<'a> Form<'a> {
    /// Finds the texts of a document, in time linear in its length. Values under the names in `withheld` are passed over.
    ///
    /// # Errors
    /// [`Formless`] says why nothing is known about the document.
    pub(super) fn read(json: &'a str, withheld: &[&str]) -> Result<Self, Formless> {
        // From here on the document is known to be well formed.
        serde_json::from_str::<IgnoredAny>(json).map_err(|_| Formless::NotJson)?;
        Walk { json, at: 0, open: Vec::new(), form: Self::default() }.run(withheld)
    }

    /// The way from the document to a text.
    pub(super) fn path(&self, text: &Text<'_>) -> Vec<Step> {
        let mut path = Vec::new();
        let (mut place, mut index, mut parent) = (&text.place, None, text.container);
        loop {
            match place {
                Place::Root => {}
                Place::Member(name) => path.push(Step::Name(name.to_string())),
                Place::Position(position) => path.push(Step::Nth(index.unwrap_or(*position))),
            }
            let Some(container) = parent.and_then(|parent| self.containers.get(parent)) else { break };
            (place, index, parent) = (&container.place, container.index, container.parent);
        }
        path.reverse();
        path
    }
}

/// Where the walk is.
struct Walk<'a> {
    json: &'a str,
    at: usize,
    open: Vec<Open<'a>>,
    form: Form<'a>,
}

/// A list or an object that has begun.
struct Open<'a> {
    container: usize,
    is_object: bool,
    /// The member whose value is due, once its name has come.
    name: Option<Cow<'a, str>>,
    position: u64,
}

impl<'a> Walk<'a> {
    fn run(mut self, withheld: &[&str]) -> Result<Form<'a>, Formless> {
        while let Some(byte) = self.json.as_bytes().get(self.at) {
            match byte {
                b'"' if self.open.last().is_some_and(|open| open.is_object && open.name.is_none()) => {
                    self.name(withheld)
                }
                b'"' => {
                    let range = self.at..text_end(self.json, self.at);
                    self.at = range.end;
                    let container = self.open.last().map(|open| open.container);
                    self.form.texts.push(Text { container, place: self.place(), range });
                }
                b'{' | b'[' => {
                    let parent = self.open.last().map(|open| open.container);
                    let container = Container { parent, place: self.place(), index: None };
                    let open = Open {
                        container: self.form.containers.len(),
                        is_object: *byte == b'{',
                        name: None,
                        position: 0,
                    };
                    self.form.containers.push(container);
                    self.open.push(open);
                    self.at += 1;
                }
                b'}' | b']' => {
                    self.open.pop();
                    self.at += 1;
                }
                b',' => {
                    if let Some(open) = self.open.last_mut() {
                        open.name = None;
                        open.position += 1;
                    }
                    self.at += 1;
                }
                b':' | b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                _ => self.scalar(),
            }
            let parts = [self.form.texts.len(), self.form.containers.len(), self.form.names.len()];
            if self.open.len() > DEPTH_MAX || parts.iter().any(|parts| *parts > PARTS_MAX) {
                return Err(Formless::TooLarge);
            }
        }
        Ok(self.form)
    }

    /// Where the value that begins here stands.
    fn place(&self) -> Place<'a> {
        match self.open.last() {
            None => Place::Root,
            Some(Open { name: Some(name), .. }) => Place::Member(name.clone()),
            Some(Open { position, .. }) => Place::Position(*position),
        }
    }

    fn name(&mut self, withheld: &[&str]) {
        let end = text_end(self.json, self.at);
        let name = self.json.get(self.at..end).map(decode).unwrap_or_default();
        self.at = end;
        if withheld.contains(&name.as_ref()) {
            let from = end + self.json.get(end..).and_then(|rest| rest.find(':')).map_or(0, |colon| colon + 1);
            let value = value_range(self.json, from);
            self.at = value.end;
            if self.json.get(value.clone()) != Some("null") {
                self.form.withheld.push(value);
            }
        }
        self.form.names.push(name.clone());
        if let Some(open) = self.open.last_mut() {
            open.name = Some(name);
        }
    }

    /// A number, `true`, `false` or `null`.
    fn scalar(&mut self) {
        let range = value_range(self.json, self.at);
        self.at = range.end;
        if let Some(Open { name: Some(name), container, .. }) = self.open.last()
            && name == "index"
            && let Some(container) = self.form.containers.get_mut(*container)
        {
            container.index = self.json.get(range).and_then(|number| number.parse().ok());
        }
    }
}

/// Where the text that begins at a quote ends, behind its other quote.
fn text_end(json: &str, quote: usize) -> usize {
    let mut from = quote + 1;
    while let Some(rest) = json.as_bytes().get(from..) {
        match memchr2(b'"', b'\\', rest) {
            Some(at) if rest.get(at) == Some(&b'"') => return from + at + 1,
            Some(at) => from += at + 2,
            None => break,
        }
    }
    json.len()
}

/// The bytes of the value that begins at or after a place.
fn value_range(json: &str, from: usize) -> Range<usize> {
    let bytes = json.as_bytes();
    let space = bytes.iter().skip(from).take_while(|byte| byte.is_ascii_whitespace()).count();
    let start = from + space;
    let (mut at, mut depth) = (start, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = text_end(json, at),
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' if depth > 0 => {
                depth -= 1;
                at += 1;
            }
            b',' | b':' if depth > 0 => at += 1,
            b',' | b'}' | b']' => break,
            _ if byte.is_ascii_whitespace() && depth == 0 => break,
            _ => {
                at += 1;
                continue;
            }
        }
        if depth == 0 {
            break;
        }
    }
    start..at
}

/// What a text of JSON says. Half a surrogate pair becomes U+FFFD, since no text can hold it.
pub(super) fn decode(literal: &str) -> Cow<'_, str> {
    struct Bytes;
    impl<'de> Visitor<'de> for Bytes {
        type Value = Cow<'de, str>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text")
        }
        fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
            Ok(String::from_utf8_lossy(bytes))
        }
        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
            Ok(Cow::Owned(String::from_utf8_lossy(bytes).into_owned()))
        }
    }
    let plain = literal.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match plain.filter(|plain| memchr(b'\\', plain.as_bytes()).is_none()) {
        Some(plain) => Cow::Borrowed(plain),
        None => serde_json::Deserializer::from_str(literal).deserialize_bytes(Bytes).unwrap_or_default(),
    }
}

/// A text as JSON.
pub(super) fn encode(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The document with some of its ranges replaced.
pub(super) fn splice(json: &str, mut edits: Vec<(Range<usize>, String)>) -> String {
    edits.sort_by_key(|(range, _)| range.start);
    let mut spliced = String::with_capacity(json.len());
    let mut from = 0;
    for (range, with) in edits {
        spliced.push_str(json.get(from..range.start).unwrap_or_default());
        spliced.push_str(&with);
        from = range.end;
    }
    spliced.push_str(json.get(from..).unwrap_or_default());
    spliced
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn paths(json: &str) -> Vec<String> {
        let form = Form::read(json, &["logprobs"]).unwrap();
        let show = |text: &Text<'_>| {
            let steps: Vec<String> = form
                .path(text)
                .iter()
                .map(|step| match step {
                    Step::Name(name) => name.clone(),
                    Step::Nth(nth) => nth.to_string(),
                })
                .collect();
            format!("{}={}", steps.join("."), decode(&json[text.range.clone()]))
        };
        form.texts.iter().map(show).collect()
    }

    #[test]
    fn every_text_is_found_with_its_way() {
        let json = r#" {"a" : "x", "b":[{"t":"y","index":7},["z\"]",-1.5e3,"w"]], "cont\u0065nt":null, "":"v"} "#;
        assert_eq!(paths(json), ["a=x", "b.7.t=y", "b.1.0=z\"]", "b.1.2=w", "=v"]);
        assert_eq!(paths("\"root\""), ["=root"]);
        assert_eq!(paths("12"), Vec::<String>::new());
    }

    #[test]
    fn what_is_withheld_is_passed_over_whole() {
        for value in ["[{\"t\":\"]}\"}]", "\"a,b\"", "-1", "true", "{\"a\":[{}]}"] {
            let json = format!("{{\"a\":\"x\",\"logprobs\" : {value} ,\"b\":\"y\"}}");
            let form = Form::read(&json, &["logprobs"]).unwrap();
            assert_eq!(form.withheld.iter().map(|range| &json[range.clone()]).collect::<Vec<_>>(), [value]);
            assert_eq!(paths(&json), ["a=x", "b=y"]);
        }
        assert!(Form::read(r#"{"logprobs":null}"#, &["logprobs"]).unwrap().withheld.is_empty());
    }

    #[test]
    fn documents_without_form_are_told_apart() {
        let read = |json: &str| Form::read(json, &[]).unwrap_err();
        assert_eq!(read("{\"a\":"), Formless::NotJson);
        assert_eq!(read(&format!("{}{}", "[".repeat(DEPTH_MAX + 1), "]".repeat(DEPTH_MAX + 1))), Formless::TooLarge);
        assert_eq!(read(&format!("[{}0]", "\"\",".repeat(PARTS_MAX + 1))), Formless::TooLarge);
    }

    #[test]
    fn half_a_surrogate_pair_is_read() {
        assert_eq!(decode(r#""a\ud83d""#), "a\u{FFFD}\u{FFFD}\u{FFFD}");
        assert_eq!(decode(r#""a\ud83d\ude00\n""#), "a😀\n");
    }

    fn documents() -> impl Strategy<Value = serde_json::Value> {
        use serde_json::Value;
        let leaf = prop_oneof![
            any::<String>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            Just(Value::Null),
            any::<bool>().prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z\"{]{0,3}|index", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn replaced(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::String(text) => "é\"\n".clone_into(text),
            serde_json::Value::Array(values) => values.iter_mut().for_each(replaced),
            serde_json::Value::Object(members) => members.values_mut().for_each(replaced),
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn replacing_every_text_replaces_exactly_the_texts(mut value in documents(), is_pretty in any::<bool>()) {
            let json = if is_pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
            let form = Form::read(&json, &[]).unwrap();
            let edits = form.texts.iter().map(|text| (text.range.clone(), encode("é\"\n"))).collect();
            let spliced: serde_json::Value = serde_json::from_str(&splice(&json, edits)).unwrap();
            replaced(&mut value);
            prop_assert_eq!(spliced, value);
            let same = form.texts.iter().map(|text| (text.range.clone(), json[text.range.clone()].to_owned())).collect();
            prop_assert_eq!(splice(&json, same), json);
        }
    }
}
