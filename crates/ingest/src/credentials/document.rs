//! JSON that is to be content, without the credentials in it: headers that a policy was asked about, variables of a container,
//! what an event's sender put into its data. Everything else stays as it was written, byte for byte.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::names::{is_credential, is_name_of_another, is_named_by_another, may_be_in};
use super::text::{emptied, scheme_of, sure_scheme_of, without_in_addresses};

/// What stands where a credential stood.
const REMOVED: &str = "\"removed\"";
/// How many times JSON within a text within JSON is looked into.
const NESTING_MAX: usize = 3;

/// The same JSON, which must be valid, without credentials.
pub(crate) fn removed(json: &str) -> Cow<'_, str> {
    Scan { json, at: 0, kept_from: 0, out: String::new(), nesting: NESTING_MAX }.run()
}

/// The same text without credentials: an address, what stands in an `Authorization` header, JSON.
pub(crate) fn removed_from_text(text: &str) -> Cow<'_, str> {
    without(text, NESTING_MAX).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// The same of a text that may be of any kind, and none of whose words goes that may be ordinary; nothing where there were none.
pub(super) fn surely_removed_from(text: &str) -> Option<String> {
    match (sure_scheme_of(text), scheme_of(text)) {
        (Some(scheme), _) => Some(format!("{scheme}removed")),
        (None, Some(_)) => without_in_addresses(text),
        (None, None) => without(text, NESTING_MAX),
    }
}

/// One pass over the texts of a JSON document: a text that a colon follows is a name.
struct Scan<'j> {
    json: &'j str,
    at: usize,
    /// What stands before this is in `out` already.
    kept_from: usize,
    out: String,
    nesting: usize,
}

impl<'j> Scan<'j> {
    fn run(mut self) -> Cow<'j, str> {
        let mut last_name: Cow<'_, str> = Cow::Borrowed("");
        // Whether a member of the object says that another holds a credential.
        let mut named = false;
        while let Some(quote) = self.json[self.at..].find('"') {
            named &= !self.json[self.at..self.at + quote].contains(['{', '}']);
            let start = self.at + quote;
            let end = string_end(self.json, start);
            let token = &self.json[start..end];
            self.at = end;
            let Some(value) = self.value_of_name() else {
                named |= is_name_of_another(&last_name) && is_credential(&text(token));
                self.replace_text(start, token);
                continue;
            };
            last_name = text(token);
            let is_named_value = named && is_named_by_another(&last_name);
            if !is_credential(&last_name) && !is_named_value {
                self.replace_text(start, token);
                self.at = value;
            } else if let Some(end) = credential_end(self.json, value) {
                self.replace(value, end, REMOVED);
            } else {
                self.at = value;
            }
        }
        if self.kept_from == 0 {
            return Cow::Borrowed(self.json);
        }
        self.out.push_str(&self.json[self.kept_from..]);
        Cow::Owned(self.out)
    }

    /// Where the value begins whose name ends here, if it is a name that ends here.
    fn value_of_name(&self) -> Option<usize> {
        let rest = self.json[self.at..].trim_start();
        let value = rest.strip_prefix(':')?.trim_start();
        Some(self.json.len() - value.len())
    }

    fn replace(&mut self, from: usize, to: usize, with: &str) {
        self.out.push_str(&self.json[self.kept_from..from]);
        self.out.push_str(with);
        (self.at, self.kept_from) = (to, to);
    }

    /// Replaces a text that has credentials within it.
    fn replace_text(&mut self, start: usize, token: &str) {
        let text = text(token);
        let Some(without) = without(&text, self.nesting) else { return };
        if let Ok(written) = serde_json::to_string(&without) {
            self.replace(start, start + token.len(), &written);
        }
    }
}

/// A text without the credentials in it, when there are some.
fn without(text: &str, nesting: usize) -> Option<String> {
    if let Some(scheme) = scheme_of(text) {
        return Some(format!("{scheme}removed"));
    }
    if text.trim_start().starts_with(['{', '[', '"']) {
        if nesting > 0 && serde_json::from_str::<&RawValue>(text).is_ok() {
            let inner = Scan { json: text, at: 0, kept_from: 0, out: String::new(), nesting: nesting - 1 }.run();
            return matches!(inner, Cow::Owned(_)).then(|| inner.into_owned());
        }
        if may_be_in(text)
            && let Some(clean) = emptied(text)
        {
            return Some(without_in_addresses(&clean).unwrap_or(clean));
        }
    }
    without_in_addresses(text)
}

/// What a text in JSON says.
fn text(token: &str) -> Cow<'_, str> {
    let inner = token.get(1..token.len() - 1).unwrap_or_default();
    if inner.contains('\\') {
        serde_json::from_str(token).map_or(Cow::Borrowed(inner), Cow::Owned)
    } else {
        Cow::Borrowed(inner)
    }
}

/// Where the text ends that begins here, its quote included.
fn string_end(json: &str, start: usize) -> usize {
    let mut is_escaped = false;
    let after = json.as_bytes().get(start + 1..).unwrap_or_default();
    for (length, byte) in after.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return start + 2 + length,
            _ => {}
        }
    }
    json.len()
}

/// Where a value ends that is a credential by its name: a text, a number, a list. An object or a fact is none, and is looked into.
fn credential_end(json: &str, start: usize) -> Option<usize> {
    match json.as_bytes().get(start)? {
        b'"' => Some(string_end(json, start)),
        b'0'..=b'9' | b'-' => {
            let is_end = |c: char| matches!(c, ',' | '}' | ']') || c.is_ascii_whitespace();
            Some(json[start..].find(is_end).map_or(json.len(), |length| start + length))
        }
        b'[' => {
            let (mut at, mut depth) = (start, 0_usize);
            loop {
                match json.as_bytes().get(at)? {
                    b'"' => {
                        at = string_end(json, at);
                        continue;
                    }
                    b'[' => depth += 1,
                    b']' if depth == 1 => return Some(at + 1),
                    b']' => depth -= 1,
                    _ => {}
                }
                at += 1;
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
