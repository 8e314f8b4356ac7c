//! `regex.match`, with what a thread has learnt of a pattern kept for its next decision. The evaluator keeps compiled patterns too, but
//! takes a copy for each call, and a copy begins with an empty automaton.

use std::cell::RefCell;
use std::collections::HashMap;

use regex::{Regex, RegexBuilder};
use regorus::Value;

use super::crypto::text;
use super::{Failure, Function};

/// Name, number of arguments, function.
pub(super) const FUNCTIONS: &[(&str, u8, Function)] = &[("regex.match", 2, is_match)];

/// How large a compiled pattern may be, in bytes: as in the evaluator's other functions.
const COMPILED_BYTES_MAX: usize = 100 * 1024;
/// Patterns that a thread keeps. When there are more, it begins anew: patterns are written in policies, which have few.
const PATTERNS_MAX: usize = 128;

thread_local! {
    static PATTERNS: RefCell<HashMap<Box<str>, Regex>> = RefCell::default();
}

fn is_match(arguments: &[Value]) -> Result<Value, Failure> {
    let utf8 = |at| std::str::from_utf8(text(arguments, at)?).map_err(|error| error.to_string());
    let (pattern, value) = (utf8(0)?, utf8(1)?);
    PATTERNS.with_borrow_mut(|patterns| {
        if let Some(known) = patterns.get(pattern) {
            return Ok(Value::from(known.is_match(value)));
        }
        let compiled = RegexBuilder::new(pattern).size_limit(COMPILED_BYTES_MAX).build();
        let compiled = compiled.map_err(|error| format!("the pattern cannot be used: {error}"))?;
        let is_match = compiled.is_match(value);
        if patterns.len() >= PATTERNS_MAX {
            patterns.clear();
        }
        patterns.insert(pattern.into(), compiled);
        Ok(Value::from(is_match))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_the_first_time_and_later_also_when_there_are_too_many_to_keep() {
        let matches = |pattern: &str, text: &str| is_match(&[Value::from(pattern), Value::from(text)]);
        for round in 0..3 * PATTERNS_MAX {
            let pattern = format!("^a{{{}}}$", round % (PATTERNS_MAX + 7));
            let text = "a".repeat(round % (PATTERNS_MAX + 7));
            assert_eq!(matches(&pattern, &text), Ok(Value::from(true)), "{pattern}");
            assert_eq!(matches(&pattern, "b"), Ok(Value::from(false)), "{pattern}");
        }
        assert!(matches("(", "x").unwrap_err().starts_with("the pattern cannot be used"));
        assert!(matches(r"\w{1000}{1000}", "x").is_err());
        assert!(is_match(&[Value::from("a"), Value::from(1_u64)]).is_err());
    }
}
