//! The form of a token: runs of bytes of a class, in the order they are read. There is no going back, so a token is judged in one
//! walk over it, and the longest that it can be is the sum of the longest runs.

use crate::check::Window;

/// A class of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// `0-9`
    Digit,
    /// `0-9a-f`, or in capitals
    Hex,
    /// `A-Z2-7`, RFC 4648 section 6
    Base32,
    /// `A-Z0-9`
    Capitals,
    /// `A-Za-z0-9`
    Alnum,
    /// `A-Za-z0-9_-`, as base64 for URLs, RFC 4648 section 5
    Token,
    /// [`Class::Token`] with `.`
    Dotted,
    /// [`Class::Dotted`] with `~`
    Tilde,
    /// `A-Za-z0-9+/`, RFC 4648 section 4
    Base64,
    /// [`Class::Base64`] with `=`
    Padded,
    /// `A-Za-z0-9%`
    Percent,
    /// What a password in an assignment may have: printable ASCII without quotes, brackets, comma, semicolon, backslash
    Value,
}

impl Class {
    pub(crate) const fn has(self, byte: u8) -> bool {
        match self {
            Self::Digit => byte.is_ascii_digit(),
            Self::Hex => byte.is_ascii_hexdigit(),
            Self::Base32 => byte.is_ascii_uppercase() || matches!(byte, b'2'..=b'7'),
            Self::Capitals => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Self::Alnum => byte.is_ascii_alphanumeric(),
            Self::Token => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Self::Dotted => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'),
            Self::Tilde => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'~'),
            Self::Base64 => byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'),
            Self::Padded => byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='),
            Self::Percent => byte.is_ascii_alphanumeric() || byte == b'%',
            Self::Value => {
                byte.is_ascii_graphic()
                    && !matches!(
                        byte,
                        b'"' | b'\''
                            | b'`'
                            | b','
                            | b';'
                            | b'\\'
                            | b'('
                            | b')'
                            | b'<'
                            | b'>'
                            | b'['
                            | b']'
                            | b'{'
                            | b'}'
                    )
            }
        }
    }

    /// How long the run at a place is, counted up to a limit.
    pub(crate) fn run(self, window: &Window<'_>, at: usize, max: usize) -> usize {
        let rest = window.text.as_bytes().get(at..).unwrap_or_default();
        let length = rest.iter().take(max).take_while(|byte| self.has(**byte)).count();
        window.count_work(length);
        length
    }

    /// How long the run before a place is, counted up to a limit.
    pub(crate) fn run_before(self, window: &Window<'_>, at: usize, max: usize) -> usize {
        let before = window.text.as_bytes().get(..at).unwrap_or_default();
        let length = before.iter().rev().take(max).take_while(|byte| self.has(**byte)).count();
        window.count_work(length);
        length
    }
}

/// A part of a token.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    /// A run of at least and at most so many bytes. With equal bounds the run may not go on; with others, what is too long is
    /// cut at the limit.
    Run(Class, usize, usize),
    /// Exactly these bytes.
    Text(&'static str),
}

/// Walks over parts from a place on and says where they end.
pub(crate) fn walk(parts: &[Part], window: &Window<'_>, mut at: usize) -> Option<usize> {
    let bytes = window.text.as_bytes();
    for part in parts {
        match *part {
            Part::Text(text) => {
                if !bytes.get(at..)?.starts_with(text.as_bytes()) {
                    return None;
                }
                at += text.len();
            }
            Part::Run(class, min, max) => {
                let length = class.run(window, at, max + 1);
                if length < min || (min == max && length > max) {
                    return None;
                }
                at += length.min(max);
            }
        }
    }
    Some(at)
}

/// The longest that parts can be, in bytes.
pub(crate) fn longest(parts: &[Part]) -> usize {
    parts
        .iter()
        .map(|part| match part {
            Part::Run(_, _, max) => *max,
            Part::Text(text) => text.len(),
        })
        .sum()
}

/// Shannon's entropy of the bytes, in bits a byte: 0 for one byte over and over, 4 at most for hexadecimal digits.
#[expect(clippy::cast_precision_loss, reason = "counts of a few thousand are exact in an f32")]
pub(crate) fn entropy(bytes: &[u8]) -> f32 {
    let mut counts = [0_u16; 256];
    for byte in bytes {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count = count.saturating_add(1);
        }
    }
    let length = bytes.len() as f32;
    let bits = counts.iter().filter(|count| **count > 0).map(|count| {
        let share = f32::from(*count) / length;
        -share * share.log2()
    });
    bits.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_is_that_of_the_textbook() {
        assert!(entropy(b"aaaa").abs() < 1e-6);
        assert!((entropy(b"abcd") - 2.0).abs() < 1e-6);
        assert!((entropy(b"aabb") - 1.0).abs() < 1e-6);
        assert!((entropy(b"0123456789abcdef") - 4.0).abs() < 1e-6);
        assert!(entropy(b"").abs() < 1e-6);
    }

    #[test]
    fn a_run_of_fixed_length_may_not_go_on() {
        let window = |text| Window::new(text, 0, 0, 0);
        let fixed = [Part::Run(Class::Hex, 4, 4)];
        assert_eq!(walk(&fixed, &window("abcd-"), 0), Some(4));
        assert_eq!(walk(&fixed, &window("abcde"), 0), None);
        assert_eq!(walk(&fixed, &window("abc"), 0), None);
        let open = [Part::Run(Class::Hex, 2, 4), Part::Text(".")];
        assert_eq!(walk(&open, &window("abc."), 0), Some(4));
        assert_eq!(walk(&open, &window("abcdef."), 0), None);
        assert_eq!(longest(&open), 5);
    }
}
