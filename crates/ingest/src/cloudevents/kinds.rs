//! Which kind of record an event becomes, by its type.

use record::Kind;

/// The most rules of one configuration.
pub const RULES_MAX: usize = 256;
/// The most bytes of one pattern.
pub const PATTERN_BYTES_MAX: usize = 256;

/// Which kind of record an event becomes: that of the first pattern which its type matches, and `system` when none does. In a
/// pattern `*` stands for any text, also none, and everything else for itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kinds(Vec<(Box<str>, Kind)>);

/// Rules that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KindsError {
    /// A pattern is empty, too long, or matches no type.
    #[error("{0:?} is no pattern for types of events: 1 to {PATTERN_BYTES_MAX} bytes without control characters")]
    Pattern(String),
    /// There are too many rules.
    #[error("{0} rules for types of events are more than {RULES_MAX}; let patterns with * stand for several")]
    TooMany(usize),
}

impl Kinds {
    /// Takes rules in the order in which they are tried.
    ///
    /// # Errors
    /// See [`KindsError`].
    pub fn new<'r>(rules: impl IntoIterator<Item = (&'r str, Kind)>) -> Result<Self, KindsError> {
        let rules: Vec<(Box<str>, Kind)> = rules.into_iter().map(|(pattern, kind)| (pattern.into(), kind)).collect();
        if rules.len() > RULES_MAX {
            return Err(KindsError::TooMany(rules.len()));
        }
        let is_bad = |text: &str| text.is_empty() || text.len() > PATTERN_BYTES_MAX || text.contains(char::is_control);
        match rules.iter().find(|(pattern, _)| is_bad(pattern)) {
            Some((pattern, _)) => Err(KindsError::Pattern(pattern.chars().take(PATTERN_BYTES_MAX).collect())),
            None => Ok(Self(rules)),
        }
    }

    /// The kind of record for a type of event.
    #[must_use]
    pub fn of(&self, event_type: &str) -> Kind {
        let rule = self.0.iter().find(|(pattern, _)| matches(pattern, event_type));
        rule.map_or(Kind::System, |(_, kind)| *kind)
    }
}

/// The earliest place of each part between two `*` leaves the most for those after it, so there is no going back.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, others)) = pattern.split_once('*') else { return pattern == text };
    let (middle, last) = others.rsplit_once('*').unwrap_or(("", others));
    let Some(mut rest) = text.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else { return false };
    middle.split('*').all(|part| {
        let found = rest.split_once(part);
        rest = found.map_or(rest, |(_, after)| after);
        found.is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, without any cleverness.
    fn defined(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|skipped| defined(rest, &text[skipped..])),
            Some((byte, rest)) => text.first() == Some(byte) && defined(rest, &text[1..]),
        }
    }

    #[test]
    fn the_first_rule_that_matches_says_the_kind() {
        let rules = [("com.example.login.*", Kind::Auth), ("com.example.*", Kind::ToolCall), ("*.v2", Kind::Control)];
        let kinds = Kinds::new(rules).unwrap();
        assert_eq!(kinds.of("com.example.login.ok"), Kind::Auth);
        assert_eq!(kinds.of("com.example.search.v2"), Kind::ToolCall);
        assert_eq!(kinds.of("org.example.v2"), Kind::Control);
        assert_eq!(kinds.of("org.example"), Kind::System);
        assert_eq!(Kinds::default().of("com.example.login.ok"), Kind::System);
    }

    #[test]
    fn rules_that_cannot_be_used_say_why() {
        for bad in ["", "a\nb", &"a".repeat(PATTERN_BYTES_MAX + 1)] {
            assert!(matches!(Kinds::new([(bad, Kind::Auth)]), Err(KindsError::Pattern(_))));
        }
        let many = Kinds::new(std::iter::repeat_n(("a", Kind::Auth), RULES_MAX + 1));
        assert_eq!(many, Err(KindsError::TooMany(RULES_MAX + 1)));
    }

    proptest! {
        #[test]
        fn matching_is_what_the_definition_says(pattern in "[ab*]{1,10}", text in "[ab]{0,12}") {
            prop_assert_eq!(matches(&pattern, &text), defined(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
