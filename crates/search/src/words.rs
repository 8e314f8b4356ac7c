//! What a text is made of for those who look for it, and whether it has what they look for.
//!
//! A word is a run of letters and digits, in lower case. Where words are not set apart by spaces (Chinese, Japanese, Thai, …), every
//! character is a word of its own, and so is every sign such as 👍; a run of them is then found wherever it stands. Of content that is
//! JSON only the values are read, as they were before they were written as JSON: no names of members, no escapes.

use std::borrow::Cow;
use std::ops::{ControlFlow, Range};
use std::sync::LazyLock;

use memchr::memmem;
use regex::bytes::{Regex, RegexBuilder};

/// The most words that can be looked for in a row.
pub(crate) const PHRASE_WORDS_MAX: usize = 64;
/// How many times JSON within a text within JSON is read as JSON.
const NESTING_MAX: usize = 3;

/// What is done with each word and the place where it stands. Of words that follow each other the places do.
pub(crate) trait Reader {
    fn word(&mut self, word: &str, place: usize) -> ControlFlow<()>;
}

/// The same for those who must know besides where in a text the word stands. A phrase stands in one text.
pub(crate) trait Locating {
    fn word(&mut self, word: &str, place: usize, text: &str, at: Range<usize>) -> ControlFlow<()>;
}

impl<'r> Locating for &'r mut (dyn Reader + 'r) {
    fn word(&mut self, word: &str, place: usize, _: &str, _: Range<usize>) -> ControlFlow<()> {
        Reader::word(*self, word, place)
    }
}

/// Reads the words of a content column's text.
pub(crate) fn read_content(text: &str, reader: &mut dyn Reader) {
    locate_content(text, reader);
}

/// Reads the words of a content column's text, and in which of the texts that it says each stands.
pub(crate) fn locate_content(text: &str, reader: impl Locating) {
    let mut words = Words { reader, place: 0, word: String::new(), joins_stars: false };
    let _ = words.content(text, NESTING_MAX);
}

/// Reads the words of a text that a content column says.
pub(crate) fn locate_plain(text: &str, reader: impl Locating) {
    let mut words = Words { reader, place: 0, word: String::new(), joins_stars: false };
    let _ = words.plain(text);
}

/// Whether a text can be cut in two at a byte without another word coming of it.
pub(crate) fn is_between_words(text: &str, at: usize) -> bool {
    let joins = |c: char| !stands_alone(c) && (c.is_alphanumeric() || is_mark(c));
    let (before, after) =
        (text.get(..at).and_then(|text| text.chars().next_back()), text.get(at..).and_then(|text| text.chars().next()));
    !(before.is_some_and(joins) && after.is_some_and(joins))
}

/// Whether words of this character's script are not set apart by spaces, or it is a sign that is looked for by itself.
pub(crate) fn stands_alone(c: char) -> bool {
    match c {
        '\0'..='\u{0E00}' => false,
        // Thai, Lao, Myanmar, Khmer.
        '\u{0E01}'..='\u{0EFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}' => true,
        // Marks that repeat an ideograph or stand for one.
        '\u{3005}'..='\u{3007}' => true,
        // Kana, Bopomofo, ideographs; not Hangul, which has spaces.
        '\u{3040}'..='\u{312F}' | '\u{31A0}'..='\u{31FF}' | '\u{3400}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' => true,
        '\u{FF66}'..='\u{FF9F}' | '\u{20000}'..='\u{3FFFF}' => true,
        // Arrows, technical and other signs, pictures.
        '\u{2190}'..='\u{2BFF}' | '\u{1F000}'..='\u{1FAFF}' => true,
        _ => false,
    }
}

struct Words<R> {
    reader: R,
    place: usize,
    word: String,
    /// In what is looked for, a star is part of a word.
    joins_stars: bool,
}

impl<R: Locating> Words<R> {
    fn content(&mut self, text: &str, nesting: usize) -> ControlFlow<()> {
        if nesting > 0 && is_likely_json(text) { self.json(text, nesting) } else { self.plain(text) }
    }

    fn json(&mut self, json: &str, nesting: usize) -> ControlFlow<()> {
        let mut rest = json;
        while let Some(quote) = memchr::memchr(b'"', rest.as_bytes()) {
            let (between, from_quote) = rest.split_at(quote);
            self.bare(between)?;
            let (inner, after) = string(from_quote);
            rest = after;
            if !after.trim_start().starts_with(':') {
                // What stands in two texts is no phrase.
                self.place += 1;
                self.string(inner, nesting)?;
                self.place += 1;
            }
        }
        self.bare(rest)
    }

    /// What stands in JSON without quotes: numbers, and words such as `true`. Two of them are no phrase either.
    fn bare(&mut self, values: &str) -> ControlFlow<()> {
        for value in values.split(',') {
            self.plain(value)?;
            self.place += 1;
        }
        ControlFlow::Continue(())
    }

    fn string(&mut self, inner: &str, nesting: usize) -> ControlFlow<()> {
        let said = if memchr::memchr(b'\\', inner.as_bytes()).is_some() {
            serde_json::from_str::<String>(&format!("\"{inner}\"")).map_or(Cow::Borrowed(inner), Cow::Owned)
        } else {
            Cow::Borrowed(inner)
        };
        self.content(&said, nesting - 1)
    }

    fn plain(&mut self, text: &str) -> ControlFlow<()> {
        let mut rest = text;
        // Where the word begins that is being put together.
        let mut began = 0;
        while let Some(c) = rest.chars().next() {
            let at = text.len() - rest.len();
            let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || (*byte == b'*' && self.joins_stars);
            let run = rest.bytes().position(|byte| !is_part(&byte)).unwrap_or(rest.len());
            let (part, after) = rest.split_at(if run > 0 { run } else { c.len_utf8() });
            rest = after;
            let begins = if self.word.is_empty() { at } else { began };
            if run > 0 && self.word.is_empty() && after.bytes().next().is_none_or(|byte| byte.is_ascii()) {
                self.ascii_word(text, at..at + run)?;
            } else if run > 0 {
                began = begins;
                self.word.extend(part.chars().map(|c| c.to_ascii_lowercase()));
            } else if stands_alone(c) {
                self.end_word(text, began..at)?;
                self.word.push(c);
                self.end_word(text, at..at + c.len_utf8())?;
            } else if !c.is_ascii() && (c.is_alphanumeric() || is_mark(c)) {
                began = begins;
                self.word.extend(small(c));
            } else {
                self.end_word(text, began..at)?;
            }
        }
        self.end_word(text, began..text.len())
    }

    /// A whole word, which most often needs no copy.
    fn ascii_word(&mut self, text: &str, at: Range<usize>) -> ControlFlow<()> {
        let word = &text[at.clone()];
        if word.bytes().any(|byte| byte.is_ascii_uppercase()) {
            self.word.push_str(word);
            self.word.make_ascii_lowercase();
            return self.end_word(text, at);
        }
        let flow = self.reader.word(word, self.place, text, at);
        self.place += 1;
        flow
    }

    fn end_word(&mut self, text: &str, at: Range<usize>) -> ControlFlow<()> {
        if self.word.is_empty() {
            return ControlFlow::Continue(());
        }
        let flow = self.reader.word(&self.word, self.place, text, at);
        self.place += 1;
        self.word.clear();
        flow
    }
}

/// The small form of a letter, the same one for all its forms: Σ is written σ within a word and ς at its end, and İ is the capital of i.
fn small(c: char) -> impl Iterator<Item = char> {
    match c {
        'ς' => 'σ',
        'İ' => 'i',
        other => other,
    }
    .to_lowercase()
}

/// A mark within a word that is no letter: an accent set over the letter before it, a virama.
const fn is_mark(c: char) -> bool {
    matches!(c, '\u{0300}'..='\u{036F}' | '\u{0591}'..='\u{05BD}' | '\u{05BF}' | '\u{05C1}'..='\u{05C2}' | '\u{05C4}'..='\u{05C5}' | '\u{05C7}' | '\u{064B}'..='\u{065F}' | '\u{093C}' | '\u{094D}' | '\u{09BC}' | '\u{09CD}'
        | '\u{0A3C}' | '\u{0A4D}' | '\u{0ABC}' | '\u{0ACD}' | '\u{0B3C}' | '\u{0B4D}' | '\u{0BCD}' | '\u{0C4D}' | '\u{0CBC}' | '\u{0CCD}'
        | '\u{0D4D}' | '\u{0DCA}' | '\u{1AB0}'..='\u{1AFF}' | '\u{1DC0}'..='\u{1DFF}' | '\u{200C}' | '\u{200D}')
}

/// Whether a text begins as a list or an object in JSON does. A line of a log, `[info] …`, does not.
fn is_likely_json(text: &str) -> bool {
    let mut marks = text.chars().filter(|c| !c.is_whitespace());
    match (marks.next(), marks.next()) {
        (Some('{'), Some(next)) => matches!(next, '"' | '}'),
        // `[1] "refund": see there` is none, and few lists begin with a number.
        (Some('['), Some('-' | '0'..='9')) => serde_json::from_str::<serde_json::Value>(text).is_ok(),
        (Some('['), Some(next)) => matches!(next, '"' | '{' | '[' | ']'),
        _ => false,
    }
}

/// What stands in the text in JSON that begins with this quote, as it is written, and what comes behind it; all, if it does not end.
fn string(from_quote: &str) -> (&str, &str) {
    let bytes = from_quote.as_bytes();
    let mut at = 1;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += found;
        if bytes.get(at) == Some(&b'"') {
            return (&from_quote[1..at], &from_quote[at + 1..]);
        }
        at += 2;
    }
    (&from_quote[1..], "")
}

/// Words in a row that are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Phrase {
    words: Vec<Wanted>,
}

/// A word that is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// This one.
    Word(String),
    /// One that has these parts in this order; between them, and before and after where a part is empty, anything.
    Like(Vec<String>),
}

impl Phrase {
    /// What is looked for by a text in which `*` stands for any part of a word; none when the text has no word, or more than
    /// [`PHRASE_WORDS_MAX`].
    pub(crate) fn of(text: &str) -> Option<Self> {
        #[derive(Default)]
        struct Collected(Vec<String>);
        impl Reader for Collected {
            fn word(&mut self, word: &str, _: usize) -> ControlFlow<()> {
                self.0.push(word.to_owned());
                if self.0.len() > PHRASE_WORDS_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            }
        }
        let mut collected = Collected::default();
        let reader: &mut dyn Reader = &mut collected;
        let _ = Words { reader, place: 0, word: String::new(), joins_stars: true }.plain(text);
        let is_star = |word: &String| word.bytes().all(|byte| byte == b'*');
        let Collected(mut words) = collected;
        words.truncate(words.iter().rposition(|word| !is_star(word)).map_or(0, |last| last + 1));
        words.drain(..words.iter().position(|word| !is_star(word)).unwrap_or(0));
        let wanted = |word: String| {
            if word.contains('*') {
                Wanted::Like(word.split('*').map(str::to_owned).collect())
            } else {
                Wanted::Word(word)
            }
        };
        (1..=PHRASE_WORDS_MAX).contains(&words.len()).then(|| Self { words: words.into_iter().map(wanted).collect() })
    }

    /// The words, in their order.
    pub(crate) fn words(&self) -> &[Wanted] {
        &self.words
    }

    /// A regular expression that ASCII text meets if it has the words in a row, and hardly any other does.
    fn shape(&self) -> Option<String> {
        let parts = self.words.iter().flat_map(Wanted::parts);
        if parts.clone().all(|part| part.is_ascii()) {
            let words: Vec<String> = self.words.iter().map(|word| word.parts().join("[a-z0-9]*")).collect();
            // Between words stands no letter, but for those of JSON's escapes.
            return Some(words.join(r"(?:[^a-z0-9]|\\[bfnrt])+"));
        }
        let longest = parts.filter(|part| part.is_ascii()).max_by_key(|part| part.len());
        longest.filter(|part| !part.is_empty()).cloned()
    }
}

/// A phrase, made ready to be looked for in many texts.
#[derive(Debug)]
pub(crate) struct Finder {
    phrase: Phrase,
    /// Finds its words, or the longest of them that is ASCII, in text that is ASCII too: most texts lack it, and need not be taken apart.
    shape: Option<Regex>,
}

/// What begins a character in JSON that is written by its number.
static ESCAPE: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(b"\\u"));

impl Finder {
    pub(crate) fn new(phrase: Phrase) -> Self {
        let ready = |shape: String| RegexBuilder::new(&shape).case_insensitive(true).unicode(false).build().ok();
        Self { shape: phrase.shape().and_then(ready), phrase }
    }

    /// Whether a content column's text has these words in a row.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        if self.is_shaped_otherwise(text) {
            return false;
        }
        let mut search = Search { phrase: &self.phrase, progress: Progress::default(), found: false };
        read_content(text, &mut search);
        search.found
    }

    /// What it looks for.
    pub(crate) const fn phrase(&self) -> &Phrase {
        &self.phrase
    }

    /// Whether it is plain that the text does not have all of the words. What is not ASCII has other capitals, and may be escaped.
    pub(crate) fn is_shaped_otherwise(&self, text: &str) -> bool {
        let Some(shape) = &self.shape else { return false };
        text.is_ascii() && !shape.is_match(text.as_bytes()) && ESCAPE.find(text.as_bytes()).is_none()
    }
}

impl Wanted {
    /// What is between the stars.
    fn parts(&self) -> &[String] {
        match self {
            Self::Word(word) => std::slice::from_ref(word),
            Self::Like(parts) => parts,
        }
    }

    fn is(&self, word: &str) -> bool {
        match self {
            Self::Word(wanted) => wanted == word,
            Self::Like(parts) => is_like(parts, word),
        }
    }
}

/// Whether a word has parts in their order, the first at its start and the last at its end.
fn is_like(parts: &[String], word: &str) -> bool {
    let [first, between @ .., last] = parts else { return parts.first().is_some_and(|only| only == word) };
    let Some(mut rest) = word.strip_prefix(first.as_str()) else { return false };
    for part in between {
        let Some(at) = rest.find(part.as_str()) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last.as_str())
}

/// One pass over a text for a phrase (Shift-And, Baeza-Yates and Gonnet 1992).
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    /// The bit n is set when the first n + 1 words of the phrase stand right before `next_place`.
    reached: u64,
    next_place: usize,
}

impl Progress {
    /// Takes in the next word of the text. Whether the phrase ends with it.
    pub(crate) fn is_done_by(&mut self, phrase: &Phrase, word: &str, place: usize) -> bool {
        let so_far = if place == self.next_place { self.reached << 1 | 1 } else { 1 };
        self.next_place = place + 1;
        self.reached = 0;
        for (nth, wanted) in phrase.words.iter().enumerate() {
            let bit = 1 << nth;
            if so_far & bit != 0 && wanted.is(word) {
                self.reached |= bit;
            }
        }
        self.reached >> (phrase.words.len() - 1) != 0
    }
}

struct Search<'p> {
    phrase: &'p Phrase,
    progress: Progress,
    found: bool,
}

impl Reader for Search<'_> {
    fn word(&mut self, word: &str, place: usize) -> ControlFlow<()> {
        self.found = self.progress.is_done_by(self.phrase, word, place);
        if self.found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[cfg(test)]
mod tests;
