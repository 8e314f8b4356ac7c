//! Text from models and callers as a person may see it on a terminal.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Text with everything made visible that could steer a terminal or turn its lines around: C0 and C1 controls but for the
/// line feed, escape, delete, and the bidirectional controls of Unicode (UAX 9, section 2).
#[must_use]
pub fn escaped(text: &str) -> Cow<'_, str> {
    let steers = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200E}' | '\u{200F}' | '\u{061C}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if steers(c) {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_made_visible() {
        assert_eq!(escaped("a\u{1b}[2Jb\r\u{9b}c\u{202e}d\ne\u{7f}"), "a\\u{1b}[2Jb\\u{d}\\u{9b}c\\u{202e}d\ne\\u{7f}");
        assert_eq!(escaped("plain é 漢 🙂"), "plain é 漢 🙂");
    }
}
