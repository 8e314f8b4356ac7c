//! E-mail addresses and phone numbers.

use std::ops::Range;

use crate::check::Window;

/// The longest part before the `@`, in bytes (RFC 5321, section 4.5.3.1.1).
const LOCAL_BYTES_MAX: usize = 64;
/// The longest domain, in bytes (RFC 1035, section 2.3.4).
const DOMAIN_BYTES_MAX: usize = 253;
/// The longest address.
pub(super) const EMAIL_BYTES_MAX: usize = LOCAL_BYTES_MAX + 1 + DOMAIN_BYTES_MAX;
/// How far before an address a `://` makes it a part of a URL.
const URL_BYTES_MAX: usize = 96;
/// What stands where a top-level domain would, in names of files such as `icon@2x.png`.
const FILE_ENDINGS: &[&[u8]] = &[b"png", b"jpg", b"jpeg", b"gif", b"svg", b"webp", b"css", b"js"];

/// The fewest and the most digits of a number with its country code (ITU-T E.164, section 6.2.1; eight are the fewest in use).
const PHONE_DIGITS: Range<usize> = 8..16;
/// The longest written number: each digit with a separator, and parentheses.
pub(super) const PHONE_BYTES_MAX: usize = 48;

/// The address around an `@` (RFC 5321's dot-string, without quotes and without what is not ASCII).
pub(super) fn email(window: &Window<'_>, at: usize) -> Option<Range<usize>> {
    let bytes = window.text.as_bytes();
    let before = bytes.get(..at)?;
    let is_local = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-' | b'\'');
    let length = before.iter().rev().take(LOCAL_BYTES_MAX + 1).take_while(|byte| is_local(byte)).count();
    window.count_work(length);
    if length == 0 || length > LOCAL_BYTES_MAX {
        return None;
    }
    let local = before.get(at - length..)?;
    let marks = local.iter().take_while(|byte| !byte.is_ascii_alphanumeric()).count();
    let start = at - length + marks;
    let local = local.get(marks..)?;
    // `git@host:path` names a program, `user:password@host` is for the secrets.
    let surroundings = before.get(start.saturating_sub(URL_BYTES_MAX)..start)?;
    let word = surroundings.rsplit(u8::is_ascii_whitespace).next()?;
    if local.is_empty() || local == b"git" || memchr::memmem::find(word, b"://").is_some() {
        return None;
    }
    let rest = bytes.get(at + 1..)?;
    let length = rest
        .iter()
        .take(DOMAIN_BYTES_MAX + 1)
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
        .count();
    window.count_work(length);
    if length > DOMAIN_BYTES_MAX {
        return None;
    }
    let domain = rest.get(..length)?;
    let marks = domain.iter().rev().take_while(|byte| !byte.is_ascii_alphanumeric()).count();
    let domain = domain.get(..length - marks)?;
    let mut labels = domain.split(|byte| *byte == b'.').rev();
    let top = labels.next()?;
    let is_top = (2..=24).contains(&top.len()) && top.iter().all(u8::is_ascii_alphabetic);
    let is_file = FILE_ENDINGS.iter().any(|ending| top.eq_ignore_ascii_case(ending));
    let mut labels = labels.peekable();
    labels.peek()?;
    let are_labels =
        labels.all(|label| label.first().is_some_and(u8::is_ascii_alphanumeric) && label.last() != Some(&b'-'));
    (is_top && !is_file && are_labels).then(|| start..at + 1 + domain.len())
}

/// An international number: a plus, then 8 to 15 digits in groups.
pub(super) fn phone(window: &Window<'_>, start: usize) -> Option<Range<usize>> {
    let bytes = window.text.as_bytes();
    if !matches!(bytes.get(start + 1), Some(b'1'..=b'9')) {
        return None;
    }
    let mut digits = 0;
    let mut at = start + 1;
    let mut accepted = None;
    let mut in_parentheses = false;
    while at < start + PHONE_BYTES_MAX {
        let run = bytes.get(at..)?.iter().take(PHONE_DIGITS.end).take_while(|byte| byte.is_ascii_digit()).count();
        window.count_work(run + 1);
        if run == 0 || digits + run >= PHONE_DIGITS.end {
            break;
        }
        digits += run;
        at += run;
        if in_parentheses {
            if bytes.get(at) != Some(&b')') {
                break;
            }
            in_parentheses = false;
            at += 1;
        }
        if PHONE_DIGITS.contains(&digits) && super::ends_a_number(bytes, at) {
            accepted = Some(start..at);
        }
        at += usize::from(matches!(bytes.get(at), Some(b' ' | b'-' | b'.' | b'/')));
        if bytes.get(at) == Some(&b'(') {
            in_parentheses = true;
            at += 1;
        }
    }
    accepted
}
