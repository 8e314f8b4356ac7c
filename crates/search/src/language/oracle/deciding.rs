//! What a record as JSON has to be for a query to find it.

use std::collections::HashMap;
use std::sync::LazyLock;

use record::Timestamp;
use regex::Regex;
use serde_json::Value;

use super::reading::{Char, Condition, Read, plain};

/// Field and alias by name, with the field's type, as the table of the document has them.
static FIELDS: LazyLock<HashMap<&'static str, (&'static str, &'static str)>> = LazyLock::new(|| {
    let document = include_str!("../../../../../docs/search.md");
    let table = document.split("| field | type | alias | what it says |").nth(1).unwrap();
    let mut fields = HashMap::new();
    for line in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        fields.insert(cells[1], (cells[1], cells[2]));
        fields.insert(cells[3], (cells[1], cells[2]));
    }
    fields.remove("");
    fields
});

/// The columns that a text without a field is looked for in.
const SAID: [&str; 4] = ["input", "output", "arguments", "result"];

/// A filter whose values are read.
pub(super) enum Query {
    All(Vec<Query>),
    Any(Vec<Query>),
    Not(Box<Query>),
    Where(&'static str, Test),
    Attribute(String, Test),
    /// Any of these columns has these words.
    Says(Vec<&'static str>, Vec<String>),
}

pub(super) enum Test {
    Exists,
    Text(Vec<Char>),
    Truth(bool),
    Numbers(Box<dyn Fn(f64) -> bool>),
    Times(Box<dyn Fn(i64) -> bool>),
}

impl Query {
    /// What was read, with relative times as of a moment in microseconds.
    pub(super) fn of(read: &Read, now: i64) -> Result<Self, String> {
        let each = |terms: &[Read]| terms.iter().map(|term| Self::of(term, now)).collect::<Result<_, _>>();
        Ok(match read {
            Read::All(terms) => Self::All(each(terms)?),
            Read::Any(terms) => Self::Any(each(terms)?),
            Read::Not(inner) => Self::Not(Box::new(Self::of(inner, now)?)),
            Read::Text(text) => Self::Says(SAID.to_vec(), wanted(text)?),
            Read::Field(name, condition) => Self::field(name, condition, now)?,
        })
    }

    fn field(name: &str, condition: &Condition, now: i64) -> Result<Self, String> {
        if let ("since" | "until", Condition::Is(value, _)) = (name, condition) {
            let bound = moment(&plain(value), now)?;
            let is_since = name == "since";
            let test = move |time| if is_since { time >= bound } else { time < bound };
            return Ok(Self::Where("time", Test::Times(Box::new(test))));
        }
        let Some((field, kind)) = FIELDS.get(name) else {
            return match condition {
                _ if !name.contains('.') => Err(format!("no field {name}")),
                Condition::Exists => Ok(Self::Attribute(name.into(), Test::Exists)),
                Condition::Is(value, quoted) => Ok(Self::Attribute(name.into(), Test::text(value, *quoted))),
                _ => Err("texts are not compared".into()),
            };
        };
        if *condition == Condition::Exists {
            return Ok(Self::Where(field, Test::Exists));
        }
        let number = |text: &str| text.parse::<f64>().map_err(|error| error.to_string());
        let test = match (*kind, condition) {
            ("content", Condition::Is(value, _)) => return Ok(Self::Says(vec![*field], wanted(value)?)),
            ("text", Condition::Is(value, quoted)) => Test::text(value, *quoted),
            ("boolean", Condition::Is(value, _)) => Test::Truth(plain(value).parse().map_err(|_| "no truth")?),
            ("number" | "integer", _) => {
                if *kind == "integer" && condition.values().iter().any(|text| text.parse::<i64>().is_err()) {
                    return Err("no integer".into());
                }
                Test::Numbers(condition.holds(number)?)
            }
            ("time", _) => Test::Times(condition.holds(|text| moment(text, now))?),
            _ => return Err(format!("{kind} does not take {condition:?}")),
        };
        Ok(Self::Where(field, test))
    }

    /// Whether it finds a record.
    pub(super) fn finds(&self, row: &Value) -> bool {
        match self {
            Self::All(terms) => terms.iter().all(|term| term.finds(row)),
            Self::Any(terms) => terms.iter().any(|term| term.finds(row)),
            Self::Not(inner) => !inner.finds(row),
            Self::Where(field, test) => test.holds(&row[*field]),
            Self::Attribute(name, test) => test.holds(&row["attributes"][name]),
            Self::Says(columns, wanted) => {
                columns.iter().any(|column| row[*column].as_str().is_some_and(|text| says(text, wanted)))
            }
        }
    }
}

impl Condition {
    fn values(&self) -> Vec<String> {
        match self {
            Self::Exists => Vec::new(),
            Self::Is(value, _) => vec![plain(value)],
            Self::Compare(_, value) => vec![value.clone()],
            Self::Between(from, to) => vec![from.clone(), to.clone()],
        }
    }

    fn holds<T: PartialOrd + 'static>(
        &self,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Box<dyn Fn(T) -> bool>, String> {
        let mut values = self.values().iter().map(|text| read(text)).collect::<Result<Vec<T>, String>>()?;
        let last = values.pop().ok_or("no value")?;
        Ok(match (self, values.pop()) {
            (Self::Between(..), Some(first)) => Box::new(move |value| first <= value && value <= last),
            (Self::Compare(">=", _), _) => Box::new(move |value| value >= last),
            (Self::Compare("<=", _), _) => Box::new(move |value| value <= last),
            (Self::Compare(">", _), _) => Box::new(move |value| value > last),
            (Self::Compare("<", _), _) => Box::new(move |value| value < last),
            _ => Box::new(move |value| value == last),
        })
    }
}

impl Test {
    /// In quotes everything is text.
    fn text(value: &[Char], is_quoted: bool) -> Self {
        Self::Text(value.iter().map(|(c, is_literal)| (*c, *is_literal || is_quoted)).collect())
    }

    fn holds(&self, value: &Value) -> bool {
        match (self, value) {
            (_, Value::Null) => false,
            (Self::Exists, _) => true,
            (Self::Text(pattern), Value::String(text)) => is_like(pattern, &text.chars().collect::<Vec<_>>()),
            (Self::Truth(wanted), value) => value.as_bool() == Some(*wanted),
            (Self::Numbers(holds), value) => value.as_f64().is_some_and(holds),
            (Self::Times(holds), Value::String(text)) => holds(Timestamp::parse(text).unwrap().as_micros()),
            (_, value) => panic!("{value} is of another type"),
        }
    }
}

/// Whether a text is like a pattern in which a star that does not stand for itself is anything.
fn is_like(pattern: &[Char], text: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((('*', false), pattern)) => (0..=text.len()).any(|from| is_like(pattern, &text[from..])),
        Some(((c, _), pattern)) => text.first() == Some(c) && is_like(pattern, &text[1..]),
    }
}

/// `7d`, `now`, a date, or a moment; in microseconds.
fn moment(text: &str, now: i64) -> Result<i64, String> {
    if text == "now" {
        return Ok(now);
    }
    if let Some(spans) = Regex::new(r"^([0-9]+)([smhdw])$").unwrap().captures(text) {
        let seconds = match &spans[2] {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => 604_800,
        };
        let span = spans[1].parse::<i128>().map_err(|error| error.to_string())? * seconds * 1_000_000;
        let span = i64::try_from(span).map_err(|error| error.to_string())?;
        return Ok(now.saturating_sub(span));
    }
    let read = |text: &str| Timestamp::parse(text).map(Timestamp::as_micros).map_err(|error| error.to_string());
    read(text).or_else(|_| read(&format!("{text}T00:00:00Z")))
}

/// The words of a text that is looked for.
fn wanted(text: &[Char]) -> Result<Vec<String>, String> {
    let mut words = words(&plain(text), true);
    let is_star = |word: &String| word.chars().all(|c| c == '*');
    while words.last().is_some_and(is_star) {
        words.pop();
    }
    while words.first().is_some_and(is_star) {
        words.remove(0);
    }
    if (1..=64).contains(&words.len()) { Ok(words) } else { Err("no words, or too many".into()) }
}

/// Runs of letters and digits; by themselves, what stands alone.
fn words(text: &str, with_stars: bool) -> Vec<String> {
    static ALONE: &str = r"[\p{Han}\p{Hiragana}\p{Katakana}ー\p{Bopomofo}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Emoji_Presentation}\p{So}]";
    static WORDS: LazyLock<[Regex; 2]> = LazyLock::new(|| {
        ["", "*"].map(|star| {
            let run = format!(r"[\p{{Alphabetic}}\p{{M}}\p{{N}}\u{{200C}}\u{{200D}}{star}--{ALONE}]+");
            Regex::new(&format!("{ALONE}|{run}")).unwrap()
        })
    });
    let found = WORDS[usize::from(with_stars)].find_iter(text);
    found.map(|word| word.as_str().chars().map(small).collect()).collect()
}

/// A letter's small form, which is the same for all forms of a letter.
fn small(c: char) -> String {
    match c {
        'İ' => "i".into(),
        'ς' => "σ".into(),
        c => c.to_lowercase().collect(),
    }
}

/// Whether a text of content has these words in a row, within one value where it is JSON.
fn says(text: &str, wanted: &[String]) -> bool {
    match serde_json::from_str::<Value>(text) {
        Ok(json @ (Value::Array(_) | Value::Object(_))) => value_says(&json, wanted),
        _ => {
            let words = words(text, false);
            words.windows(wanted.len()).any(|row| {
                let mut pairs = row.iter().zip(wanted);
                pairs.all(|(word, wanted)| {
                    let pattern: Vec<Char> = wanted.chars().map(|c| (c, false)).collect();
                    is_like(&pattern, &word.chars().collect::<Vec<_>>())
                })
            })
        }
    }
}

fn value_says(json: &Value, wanted: &[String]) -> bool {
    match json {
        Value::Array(items) => items.iter().any(|item| value_says(item, wanted)),
        Value::Object(members) => members.values().any(|value| value_says(value, wanted)),
        Value::String(text) => says(text, wanted),
        other => says(&format!(" {other}"), wanted),
    }
}
