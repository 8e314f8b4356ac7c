//! Words and regular expressions of one's own.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};
use regex::{Regex, RegexBuilder};

use crate::Action;
use crate::check::{Candidate, Check, Reading, Window};
use crate::settings::{MATCH_BYTES_MAX, PATTERNS_MAX, PatternRule, PatternSettings, SettingsError, WORDS_MAX};

const NAME: &str = "patterns";
/// The most that one compiled regular expression may take, in bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;
/// Of how many letters outside ASCII all combinations of capitals are looked for; of more, only the usual ones.
const FOLDED_LETTERS_MAX: usize = 5;

/// The check.
#[derive(Debug)]
pub(crate) struct Patterns {
    rules: Vec<(String, Action)>,
    regexes: Vec<(usize, Regex)>,
    words: AhoCorasick,
    /// The rule of each word of the automaton.
    word_rules: Vec<usize>,
    span_bytes_max: usize,
}

impl Patterns {
    pub(crate) fn new(settings: &PatternSettings) -> Result<Self, SettingsError> {
        if settings.rules.len() > PATTERNS_MAX {
            return Err(SettingsError::value(
                NAME,
                "rules",
                format!("has {}, more than {PATTERNS_MAX}", settings.rules.len()),
            ));
        }
        let mut rules: Vec<(String, Action)> = Vec::new();
        let mut regexes = Vec::new();
        let mut words = Vec::new();
        let mut word_rules = Vec::new();
        let mut span_bytes_max = 0;
        for (index, rule) in settings.rules.iter().enumerate() {
            check_name(rule, &rules)?;
            rules.push((rule.name.clone(), rule.action.unwrap_or(settings.action)));
            if let Some(regex) = &rule.regex {
                let (regex, longest) = compile(&rule.name, regex)?;
                span_bytes_max = span_bytes_max.max(longest);
                regexes.push((index, regex));
            }
            for word in &rule.words {
                let trimmed = word.trim();
                if trimmed.is_empty() || trimmed.len() > MATCH_BYTES_MAX / 2 {
                    return Err(SettingsError::value(NAME, format!("{}: a word", rule.name), "is empty or too long"));
                }
                for spelling in spellings(trimmed) {
                    span_bytes_max = span_bytes_max.max(spelling.len());
                    words.push(spelling);
                    word_rules.push(index);
                }
            }
        }
        if settings.rules.iter().map(|rule| rule.words.len()).sum::<usize>() > WORDS_MAX {
            return Err(SettingsError::value(NAME, "words", format!("are more than {WORDS_MAX}")));
        }
        let words = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .build(&words)
            .map_err(|source| SettingsError::Words { check: NAME, source })?;
        Ok(Self { rules, regexes, words, word_rules, span_bytes_max })
    }

    fn candidate(&self, rule: usize, range: std::ops::Range<usize>) -> Option<Candidate> {
        let (name, action) = self.rules.get(rule)?;
        let explanation = Cow::Owned(format!("{} bytes match the pattern {name}", range.len()));
        Some(Candidate { rule: Cow::Owned(name.clone()), action: *action, range, score: 1.0, explanation })
    }
}

fn check_name(rule: &PatternRule, rules: &[(String, Action)]) -> Result<(), SettingsError> {
    let is_name = (1..=64).contains(&rule.name.len())
        && rule
            .name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_'));
    let fault = if !is_name {
        "is not 1 to 64 of a-z, 0-9, - and _"
    } else if rules.iter().any(|(name, _)| *name == rule.name) {
        "is the name of two rules"
    } else if rule.regex.is_some() != rule.words.is_empty() {
        "needs either a regex or words"
    } else {
        return Ok(());
    };
    Err(SettingsError::value(NAME, format!("the rule {:?}", rule.name), fault))
}

/// A regular expression and the longest that it matches, in bytes.
fn compile(name: &str, pattern: &str) -> Result<(Regex, usize), SettingsError> {
    let unbounded = |fault| SettingsError::Unbounded { name: name.to_owned(), fault };
    let regex = RegexBuilder::new(pattern)
        .size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(|source| SettingsError::Regex { name: name.to_owned(), source: Box::new(source) })?;
    let form = regex_syntax::parse(pattern)
        .map_err(|error| SettingsError::value(NAME, format!("the rule {name:?}"), error.to_string()))?;
    let properties = form.properties();
    if properties.look_set().contains_anchor() {
        return Err(unbounded("asks for the beginning or the end of the text, which a stream does not have"));
    }
    if properties.minimum_len().is_none_or(|length| length == 0) {
        return Err(unbounded("matches the empty text"));
    }
    let longest =
        properties.maximum_len().ok_or_else(|| unbounded("has no longest match; give counts, such as {1,64}"))?;
    if longest > MATCH_BYTES_MAX {
        return Err(unbounded("can match more than 4096 bytes"));
    }
    Ok((regex, longest))
}

/// The spellings of a word in small and capital letters outside ASCII; those of ASCII are the automaton's affair.
fn spellings(word: &str) -> Vec<String> {
    let cased =
        word.chars().filter(|letter| !letter.is_ascii() && (letter.is_lowercase() || letter.is_uppercase())).count();
    if cased > FOLDED_LETTERS_MAX {
        let small = word.to_lowercase();
        let mut letters = small.chars();
        let title = letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect());
        return BTreeSet::from([word.to_owned(), word.to_uppercase(), title, small]).into_iter().collect();
    }
    let mut spellings = vec![String::new()];
    for letter in word.chars() {
        let mut forms = vec![letter.to_string()];
        if !letter.is_ascii() {
            for form in [letter.to_lowercase().to_string(), letter.to_uppercase().to_string()] {
                if !forms.contains(&form) {
                    forms.push(form);
                }
            }
        }
        spellings = spellings.iter().flat_map(|begun| forms.iter().map(move |form| format!("{begun}{form}"))).collect();
    }
    spellings
}

impl Check for Patterns {
    fn name(&self) -> &'static str {
        NAME
    }

    fn span_bytes_max(&self) -> usize {
        self.span_bytes_max
    }

    fn ends_with_words(&self) -> bool {
        false
    }

    fn begin(self: Arc<Self>) -> Box<dyn Reading> {
        let next = vec![0; self.regexes.len()];
        Box::new(PatternReading { check: self, next })
    }
}

#[derive(Debug)]
struct PatternReading {
    check: Arc<Patterns>,
    /// Where the next match of each regular expression may begin, in the whole text: behind the one before.
    next: Vec<usize>,
}

impl Reading for PatternReading {
    fn read(&mut self, window: &Window<'_>, found: &mut Vec<Candidate>) {
        let check = &self.check;
        if !check.word_rules.is_empty() {
            window.count_work(window.text.len());
            for hit in check.words.find_overlapping_iter(window.text) {
                let rule = check.word_rules.get(hit.pattern().as_usize());
                if let Some(rule) = rule.filter(|_| window.is_due(hit.start()) && is_whole(window.text, hit.range())) {
                    found.extend(check.candidate(*rule, window.whole(hit.range())));
                }
            }
        }
        for ((rule, regex), next) in check.regexes.iter().zip(&mut self.next) {
            window.count_work(window.text.len() - window.begin);
            loop {
                let from = next.saturating_sub(window.base).max(window.begin);
                let due =
                    regex.find_at(window.text, from.min(window.text.len())).filter(|hit| window.is_due(hit.start()));
                let Some(hit) = due else { break };
                found.extend(check.candidate(*rule, window.whole(hit.range())));
                *next = window.base + hit.end();
            }
        }
    }
}

fn is_whole(text: &str, range: std::ops::Range<usize>) -> bool {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let before = text.get(..range.start).and_then(|text| text.chars().next_back());
    let after = text.get(range.end..).and_then(|text| text.chars().next());
    !before.is_some_and(is_word) && !after.is_some_and(is_word)
}

#[cfg(test)]
mod tests {
    use crate::{Guardrails, Side};

    fn guardrails(rules: &str) -> Guardrails {
        let side: Side = toml::from_str(&format!("[patterns]\naction = \"redact\"\n{rules}")).unwrap();
        Guardrails::new(&side).unwrap()
    }

    #[track_caller]
    fn check(rule: &str, text: &str, expect: &str) {
        let guardrails = guardrails(&format!("[[patterns.rules]]\nname = \"x\"\n{rule}"));
        assert_eq!(guardrails.examine(text).text.replace("[redacted:patterns/x]", "▮"), expect);
    }

    #[test]
    fn words_are_whole_and_in_any_case() {
        check("words = [\"heron\"]", "Heron, HERON; herons xheron heron_ heron", "▮, ▮; herons xheron heron_ ▮");
        check("words = [\"Größe\"]", "GRÖßE größe Größen", "▮ ▮ Größen");
        check("words = [\"äpfel\"]", "Äpfel, bratäpfel", "▮, bratäpfel");
        check("words = [\"blue heron\", \"blue\"]", "blue herons, Blue Heron", "▮ herons, ▮");
        check("words = [\"проект\"]", "Проект ПРОЕКТ проекты", "▮ ▮ проекты");
    }

    #[test]
    fn regular_expressions_match_as_they_do_on_the_whole_text() {
        check("regex = '\\bT-[0-9]{2,3}\\b'", "T-12 T-1234 AT-12 T-123", "▮ T-1234 AT-12 ▮");
        check("regex = 'aa'", "aaaaa", "▮▮a");
    }

    #[test]
    fn faults_are_refused() {
        for rule in [
            "regex = \"a*\"",
            "regex = \"a+\"",
            "regex = \"^a\"",
            "regex = \"(\"",
            "regex = \"(a{1,64}){1,65}\"",
            "words = [\" \"]",
            "",
            "regex = \"a\"\nwords = [\"a\"]",
        ] {
            let toml = format!("[patterns]\naction = \"flag\"\n[[patterns.rules]]\nname = \"x\"\n{rule}");
            assert!(Guardrails::new(&toml::from_str::<Side>(&toml).unwrap()).is_err(), "{rule}");
        }
    }
}
