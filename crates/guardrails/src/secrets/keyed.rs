//! Secrets that are known by what stands before them: PEM blocks, passwords in addresses, assignments.

use std::ops::Range;

use super::shape::{Class, entropy};
use crate::check::Window;
use crate::horizon::may_be_pem;

/// The longest name of a secret after the keyword, in bytes (`secret_key_base`).
const NAME_BYTES_MAX: usize = 24;
/// The most spaces on either side of an assignment.
const SPACES_MAX: usize = 3;
/// The shortest password and the shortest other secret that is assigned, in bytes.
const PASSWORD_BYTES_MIN: usize = 8;
const VALUE_BYTES_MIN: usize = 16;
/// The longest value of an assignment that is covered, in bytes.
const VALUE_BYTES_MAX: usize = 256;
/// The least entropy of a password and of another secret, in bits a byte.
const PASSWORD_ENTROPY_MIN: f32 = 2.5;
const VALUE_ENTROPY_MIN: f32 = 3.0;
/// The longest user name and the longest password in an address, in bytes.
const USER_BYTES_MAX: usize = 64;
const URL_PASSWORD_BYTES_MAX: usize = 128;
/// The longest label of a PEM block (`ENCRYPTED PRIVATE KEY`), in bytes.
const LABEL_BYTES_MAX: usize = 40;
/// The shortest run of base64 that makes a block more than talk of one, in bytes.
const LINE_BYTES_MIN: usize = 16;
/// What stands on either side of a label.
const DASHES: &[u8] = b"-----";

/// A value that was assigned.
#[derive(Debug)]
pub(super) struct Assigned {
    pub(super) range: Range<usize>,
    pub(super) is_aws: bool,
}

/// A PEM block from its first dash to its last, to the first byte that cannot belong to one, or to the limit.
pub(super) fn private_key(window: &Window<'_>, start: usize, bytes_max: usize) -> Option<Range<usize>> {
    let bytes = window.text.as_bytes().get(start..)?;
    let bytes = bytes.get(..bytes_max.min(bytes.len()))?;
    let label = bytes.get("-----BEGIN".len()..)?;
    let label = label.get(..label.iter().take(LABEL_BYTES_MAX).position(|byte| *byte == b'-')?)?;
    let is_label = label.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b' ');
    if !is_label || !(label.ends_with(b" PRIVATE KEY") || label.ends_with(b" PRIVATE KEY BLOCK")) {
        return None;
    }
    let body_start = "-----BEGIN".len() + label.len() + DASHES.len();
    if !bytes.get(..body_start)?.ends_with(DASHES) {
        return None;
    }
    // Any five dashes end the body, also those of another beginning: no byte is then walked over for two blocks.
    let body = bytes.get(body_start..)?;
    let mut dashes = 0;
    let mut length = 0;
    for byte in body.iter().take_while(|byte| may_be_pem(**byte)) {
        length += 1;
        dashes = if *byte == b'-' { dashes + 1 } else { 0 };
        if dashes == DASHES.len() {
            break;
        }
    }
    window.count_work(2 * (body_start + length));
    let has_lines = body.get(..length)?.split(|byte| !Class::Base64.has(*byte)).any(|run| run.len() >= LINE_BYTES_MIN);
    if !has_lines {
        return None;
    }
    let end = start + body_start + length;
    if dashes < DASHES.len() {
        return Some(start..end);
    }
    let Some(tail) = body.get(length..)?.strip_prefix(b"END") else { return Some(start..end - DASHES.len()) };
    let tail = tail.get(..tail.len().min(LABEL_BYTES_MAX + DASHES.len()))?;
    let label = memchr::memmem::find(tail, DASHES).map_or(0, |label| label + DASHES.len());
    Some(start..end + "END".len() + label)
}

/// `://user:password@`: the password.
pub(super) fn url_password(window: &Window<'_>, keyword: Range<usize>) -> Option<Range<usize>> {
    let bytes = window.text.as_bytes();
    let is_scheme =
        keyword.start.checked_sub(1).and_then(|before| bytes.get(before)).is_some_and(u8::is_ascii_alphanumeric);
    if !is_scheme {
        return None;
    }
    let user = Class::Tilde.run(window, keyword.end, USER_BYTES_MAX + 1);
    let colon = keyword.end + user;
    if user > USER_BYTES_MAX || bytes.get(colon) != Some(&b':') {
        return None;
    }
    let rest = bytes.get(colon + 1..)?;
    let is_password = |byte: &u8| Class::Value.has(*byte) && !matches!(byte, b'@' | b'/' | b'?');
    let length = rest.iter().take(URL_PASSWORD_BYTES_MAX).take_while(|byte| is_password(byte)).count();
    window.count_work(length);
    let password = rest.get(..length)?;
    // `${PASSWORD}`, `$PASSWORD`, `%s` are to be filled in.
    let is_filled_in = !matches!(password.first(), Some(b'$' | b'%' | b':'));
    let says_so = [&b"password"[..], b"pass", b"pwd", b"secret"].iter().any(|word| password.eq_ignore_ascii_case(word));
    let is_secret = length >= 4 && rest.get(length) == Some(&b'@') && is_filled_in && !says_so;
    is_secret.then(|| colon + 1..colon + 1 + length)
}

/// `api_key = "…"`, `"password": "…"`, `SECRET_KEY=…`: the value.
pub(super) fn assigned(window: &Window<'_>, keyword: Range<usize>) -> Option<Assigned> {
    let bytes = window.text.as_bytes();
    let word = bytes.get(keyword.clone())?;
    let is_password =
        word.first().is_some_and(|byte| byte.eq_ignore_ascii_case(&b'p')) && word.len() != "private_key".len();
    let mut at = keyword.end + Class::Token.run(window, keyword.end, NAME_BYTES_MAX);
    at += usize::from(matches!(bytes.get(at), Some(b'"' | b'\'' | b'`' | b']')));
    at += spaces(bytes, at);
    at += match bytes.get(at..)? {
        [b':' | b'=', b'=' | b'>', ..] => 2,
        [b':' | b'=', ..] => 1,
        _ => return None,
    };
    at += spaces(bytes, at);
    at += usize::from(bytes.get(at) == Some(&b'\\'));
    let is_quoted = matches!(bytes.get(at), Some(b'"' | b'\'' | b'`'));
    at += usize::from(is_quoted);
    let length = Class::Value.run(window, at, VALUE_BYTES_MAX);
    // The full stop or the colon at the end of a sentence is no part of it.
    let value = bytes.get(at..at + length)?;
    let value = match value.last() {
        Some(b'.' | b':' | b'?' | b'!') if !is_quoted => value.get(..length - 1)?,
        _ => value,
    };
    let (bytes_min, entropy_min) =
        if is_password { (PASSWORD_BYTES_MIN, PASSWORD_ENTROPY_MIN) } else { (VALUE_BYTES_MIN, VALUE_ENTROPY_MIN) };
    if value.len() < bytes_min || !looks_random(value) {
        return None;
    }
    window.count_work(value.len());
    if entropy(value) < entropy_min {
        return None;
    }
    let name_start = keyword.start.saturating_sub("aws_secret_".len());
    let is_aws = value.len() == 40
        && value.iter().all(|byte| Class::Base64.has(*byte))
        && bytes
            .get(name_start..keyword.end)
            .is_some_and(|name| name.to_ascii_lowercase().windows(3).any(|three| three == b"aws"));
    Some(Assigned { range: at..at + value.len(), is_aws })
}

fn spaces(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    rest.iter().take(SPACES_MAX).take_while(|byte| matches!(byte, b' ' | b'\t')).count()
}

/// Letters and digits both, and neither a path, an address, a call, nor a variable.
fn looks_random(value: &[u8]) -> bool {
    let has_digit = value.iter().any(u8::is_ascii_digit);
    let has_letter = value.iter().any(u8::is_ascii_alphabetic);
    let is_path = matches!(value.first(), Some(b'/' | b'.' | b'$' | b'%' | b'&' | b'*' | b'@'))
        || value.windows(3).any(|three| three == b"://");
    has_digit && has_letter && !is_path
}
