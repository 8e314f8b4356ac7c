//! How deep the JSON of an event may be nested, and how many values it may have. What is kept as it was written is not parsed at the
//! door, but by everybody who reads it afterwards.

use record::Value;

use crate::Rejected;
use crate::otlp::VALUES_MAX;

/// The deepest nesting of lists and objects in one event: what `serde_json` reads.
pub(crate) const DEPTH_MAX: usize = 127;

/// Refuses JSON, which must be valid, that is nested more deeply.
pub(crate) fn check(json: &str) -> Result<(), Rejected> {
    let (mut depth, mut is_text, mut is_escaped) = (0_usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b'[' | b'{' if !is_text => depth += 1,
            b']' | b'}' if !is_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Err(Rejected::Malformed(format!("its JSON is nested more than {DEPTH_MAX} deep")));
        }
    }
    Ok(())
}

/// Whether JSON may have more values than are read, before memory is taken for them. A value of OTLP has at most 7 brackets and commas
/// (`{"key":…,"value":{…:…}},` and its list's), so whoever keeps to [`VALUES_MAX`] is not told so.
pub(crate) fn has_too_many_values(text: &[u8]) -> bool {
    const MARKS_MAX: usize = 8 * VALUES_MAX;
    let (mut marks, mut is_text, mut is_escaped) = (0, false, false);
    for byte in text {
        match (is_text, byte) {
            (true, _) if is_escaped => is_escaped = false,
            (true, b'\\') => is_escaped = true,
            (_, b'"') => is_text = !is_text,
            (false, b'{' | b'[' | b',') => marks += 1,
            _ => {}
        }
    }
    marks > MARKS_MAX
}

/// An object or a list that stands as JSON in a text, where it is one of a size that is read.
pub(crate) fn json_in(text: &str) -> Option<Value<'_>> {
    let is_one = text.starts_with(['{', '[']) && !has_too_many_values(text.as_bytes());
    if is_one { serde_json::from_str(text).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_passes_is_what_a_reader_can_parse() {
        let nested = |depth: usize| format!("{}\"[[[\\\"[\"{}", "[".repeat(depth), "]".repeat(depth));
        for depth in [0, 1, DEPTH_MAX, DEPTH_MAX + 1, 100_000] {
            let is_read = serde_json::from_str::<serde_json::Value>(&nested(depth)).is_ok();
            assert_eq!(check(&nested(depth)).is_ok(), is_read, "{depth}");
        }
    }

    proptest! {
        #[test]
        fn side_by_side_is_not_deep(many in 0_usize..400) {
            let json = "{},".repeat(many);
            prop_assert!(check(&json).is_ok());
        }
    }
}
