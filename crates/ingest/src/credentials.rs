//! JSON that is to be content, without the credentials in it: headers that a policy was asked about, variables of a container,
//! what an event's sender put into its data. Everything else stays as it was written, byte for byte.

use std::borrow::Cow;

use record::without_credentials;
use serde_json::value::RawValue;

/// What stands where a credential stood.
const REMOVED: &str = "\"removed\"";
/// Members, headers and variables whose values are credentials for every door, in lower case and with hyphens: the headers that no
/// record may hold, and what others call them.
pub(crate) const NAMES: [&str; 15] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "api-key",
    "apikey",
    "x-goog-api-key",
    "x-amz-security-token",
    "ocp-apim-subscription-key",
    "x-auth-token",
    "x-forwarded-client-cert",
    "access-token",
    "refresh-token",
    "client-secret",
];
/// What is one in the content of events too.
const ALSO: [&str; 7] =
    ["x-vault-token", "id-token", "bearer-token", "secret-access-key", "private-key", "password", "passwd"];
/// How many times JSON within a text within JSON is looked into.
const NESTING_MAX: usize = 3;

/// Whether a name is one of [`NAMES`] or of those that a door knows besides, whatever its case and whether with `-` or `_`.
pub(crate) fn is_one_of(name: &str, also: &[&str]) -> bool {
    let plain = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    let is_same = |known: &&str| known.len() == name.len() && known.bytes().eq(name.bytes().map(plain));
    NAMES.iter().chain(also).any(is_same)
}

/// Whether a member, header or variable of this name holds a credential.
pub(crate) fn is_credential(name: &str) -> bool {
    is_one_of(name, &ALSO)
}

/// The same JSON, which must be valid, without credentials.
pub(crate) fn removed(json: &str) -> Cow<'_, str> {
    Scan { json, at: 0, kept_from: 0, out: String::new(), nesting: NESTING_MAX }.run()
}

/// The same text without credentials: an address, what stands in an `Authorization` header, JSON.
pub(crate) fn removed_from_text(text: &str) -> Cow<'_, str> {
    without(text, NESTING_MAX).map_or(Cow::Borrowed(text), Cow::Owned)
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
        // `{"name": "cookie", "value": …}` says in two members what a header says in one.
        let mut last_name: Cow<'_, str> = Cow::Borrowed("");
        let mut named = false;
        while let Some(quote) = self.json[self.at..].find('"') {
            named &= !self.json[self.at..self.at + quote].contains(['{', '}']);
            let start = self.at + quote;
            let end = string_end(self.json, start);
            let token = &self.json[start..end];
            self.at = end;
            let Some(value) = self.value_of_name() else {
                let is_name_of = matches!(&*last_name, "name" | "key" | "header");
                named |= is_name_of && is_credential(&text(token));
                self.replace_text(start, token);
                continue;
            };
            last_name = text(token);
            let is_named_value = named && matches!(&*last_name, "value" | "values" | "raw_value" | "rawValue");
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
    let scheme = ["bearer ", "basic "].into_iter().find(|scheme| {
        text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)) && text.len() > scheme.len()
    });
    if let Some(scheme) = scheme
        && !text[scheme.len()..].trim().contains(char::is_whitespace)
    {
        return Some(format!("{}removed", &text[..scheme.len()]));
    }
    let is_address = text.starts_with('/') || text.contains("://");
    if is_address && !text.contains(char::is_whitespace) {
        let without = without_credentials(text);
        return (without != text).then_some(without);
    }
    let is_document = nesting > 0 && text.trim_start().starts_with(['{', '[', '"']);
    if is_document && serde_json::from_str::<&RawValue>(text).is_ok() {
        let inner = Scan { json: text, at: 0, kept_from: 0, out: String::new(), nesting: nesting - 1 }.run();
        return matches!(inner, Cow::Owned(_)).then(|| inner.into_owned());
    }
    None
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
