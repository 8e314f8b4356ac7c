//! A pattern in which only `*` is special.

use std::fmt;

/// The most bytes that a pattern may have.
pub const GLOB_BYTES_MAX: usize = 128;

/// A pattern: `*` stands for any text, also none; everything else for itself, also `/` and `.`, and upper case is not lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Glob(Box<str>);

/// A text that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no pattern: 1 to {GLOB_BYTES_MAX} bytes without white space, commas and control characters")]
pub struct GlobError(String);

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When it is empty, too long, or has characters that would not read back from a list.
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        let is_bad = |c: char| c.is_whitespace() || c.is_control() || c == ',';
        if text.is_empty() || text.len() > GLOB_BYTES_MAX || text.contains(is_bad) {
            return Err(GlobError(text.chars().take(GLOB_BYTES_MAX).collect()));
        }
        Ok(Self(text.into()))
    }

    /// The pattern.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The one text that it stands for, when it has no `*`.
    #[must_use]
    pub fn exact(&self) -> Option<&str> {
        (!self.0.contains('*')).then_some(&*self.0)
    }

    /// The same pattern for SQL's `LIKE … ESCAPE '\'`. It is data: it goes in as a literal value, never into a statement's text.
    #[must_use]
    pub fn like(&self) -> String {
        let mut like = String::with_capacity(self.0.len() + 8);
        for c in self.0.chars() {
            match c {
                '*' => like.push('%'),
                '%' | '_' | '\\' => like.extend(['\\', c]),
                _ => like.push(c),
            }
        }
        like
    }

    /// Whether a text is what the pattern stands for. Linear in the text for each part between two `*`.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let Some((first, others)) = self.0.split_once('*') else { return &*self.0 == text };
        let (middle, last) = others.rsplit_once('*').unwrap_or(("", others));
        let Some(mut rest) = text.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else { return false };
        // The earliest place of each part leaves the most for those after it, so there is no going back.
        for part in middle.split('*') {
            let Some((_, after)) = rest.split_once(part) else { return false };
            rest = after;
        }
        true
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, without any cleverness.
    fn defined(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|skipped| defined(rest, &text[skipped..])),
            Some((c, rest)) => text.first() == Some(c) && defined(rest, &text[1..]),
        }
    }

    #[test]
    fn only_the_asterisk_is_special() {
        let like = |pattern: &str| Glob::parse(pattern).unwrap().like();
        assert_eq!(like("support-*"), "support-%");
        assert_eq!(like("a_b%c\\*"), "a\\_b\\%c\\\\%");
        assert!(Glob::parse("gemma-3.?[1]").unwrap().matches("gemma-3.?[1]"));
        assert!(!Glob::parse("gemma-3.?").unwrap().matches("gemma-3.5"));
        assert!(!Glob::parse("ab*ba").unwrap().matches("aba"));
        assert_eq!(Glob::parse("a*").unwrap().exact(), None);
        assert_eq!(Glob::parse("a").unwrap().exact(), Some("a"));
        for bad in ["", "a b", "a,b", "a\nb", &"a".repeat(GLOB_BYTES_MAX + 1)] {
            Glob::parse(bad).unwrap_err();
        }
    }

    proptest! {
        #[test]
        fn matching_is_what_the_definition_says(pattern in "[ab*é]{1,10}", text in "[abé]{0,12}") {
            let letters = |text: &str| text.chars().collect::<Vec<char>>();
            let expected = defined(&letters(&pattern), &letters(&text));
            prop_assert_eq!(Glob::parse(&pattern).unwrap().matches(&text), expected);
        }
    }
}
