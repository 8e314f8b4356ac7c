//! Credentials never reach a draft: what a header, a member or a URL holds of them is left out, whatever it is called around it.

use std::borrow::Cow;

use record::{Value, without_credentials};

use super::super::model::{has_too_many_values, json_in};

/// Names of headers and members whose values are credentials, in lower case and with hyphens.
const NAMES: [&str; 17] = [
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
    "openai-api-key",
    "private-key",
];
/// What the name of an attribute ends in that is a dump of headers, in whatever form (OpenLLMetry writes Python's).
const DUMP: &str = ".headers";
/// Attributes that hold a part of a URL without its beginning.
const PARTS_OF_URLS: [&str; 4] = ["url.query", "url.full", "http.target", "http.url"];
/// What ends a URL in the middle of a text.
const AFTER_URL: [char; 12] = ['"', '\'', '<', '>', '`', '{', '}', '|', '\\', '^', '(', ')'];

/// What stands for JSON that names a credential and is too large to be taken apart.
const UNSEARCHED: &str = "[left out: it may hold a credential and has too many values to look]";

/// An attribute without the credentials in it; nothing where it is one.
pub(super) fn cleaned<'a>(name: &str, value: Value<'a>) -> Option<Value<'a>> {
    if is_credential(name) || name.ends_with(DUMP) {
        return None;
    }
    match value {
        Value::Text(text) if PARTS_OF_URLS.contains(&name) => {
            let mark = if name == "url.query" && !text.starts_with('?') { "?" } else { "" };
            let clean = without_credentials(&format!("{mark}{text}"));
            Some(Value::Text(clean.strip_prefix(mark).unwrap_or(&clean).to_owned().into()))
        }
        value => clean_value(value, &mut false),
    }
}

fn is_credential(name: &str) -> bool {
    let last = name.rsplit(['.', ':', '/']).next().unwrap_or(name);
    let length = last.len();
    NAMES.iter().any(|known| {
        known.len() == length
            && known.bytes().zip(last.bytes()).all(|(a, b)| a == if b == b'_' { b'-' } else { b.to_ascii_lowercase() })
    })
}

/// `is_changed` becomes true where something was left out.
fn clean_value<'a>(value: Value<'a>, is_changed: &mut bool) -> Option<Value<'a>> {
    match value {
        Value::Text(text) => match clean_text(text) {
            Some(Clean::Same(text)) => Some(Value::Text(text)),
            other => {
                *is_changed = true;
                other.map(|text| Value::Text(text.into()))
            }
        },
        Value::List(items) => {
            Some(Value::List(items.into_iter().filter_map(|item| clean_value(item, is_changed)).collect()))
        }
        Value::Map(entries) => {
            let kept = entries.into_iter().filter_map(|(name, value)| {
                if is_credential(&name) {
                    *is_changed = true;
                    return None;
                }
                Some((name, clean_value(value, is_changed)?))
            });
            Some(Value::Map(kept.collect()))
        }
        other => Some(other),
    }
}

/// A text in which nothing was left out, or something was.
pub(super) enum Clean<'a> {
    Same(Cow<'a, str>),
    Other(String),
}

impl<'a> From<Clean<'a>> for Cow<'a, str> {
    fn from(clean: Clean<'a>) -> Self {
        match clean {
            Clean::Same(text) => text,
            Clean::Other(text) => text.into(),
        }
    }
}

/// A text without credentials; nothing where it is one.
pub(super) fn clean_text(text: Cow<'_, str>) -> Option<Clean<'_>> {
    let head = text.get(..7).unwrap_or_default();
    if head.eq_ignore_ascii_case("bearer ") && !text.get(7..).unwrap_or_default().contains(char::is_whitespace) {
        return None;
    }
    if text.starts_with(['{', '['])
        && let Some(clean) = clean_json(&text)
    {
        return Some(Clean::Other(clean));
    }
    Some(match clean_urls(&text) {
        Some(clean) => Clean::Other(clean),
        None => Clean::Same(text),
    })
}

/// JSON in a text, where it has members that are credentials.
fn clean_json(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase().replace('_', "-");
    if !NAMES.iter().any(|name| lower.contains(name)) {
        return None;
    }
    if has_too_many_values(text.as_bytes()) {
        return Some(UNSEARCHED.to_owned());
    }
    let mut is_changed = false;
    let clean = clean_value(json_in(text)?, &mut is_changed)?;
    is_changed.then(|| clean.to_json())
}

/// The text with its URLs without credentials; nothing where there are none.
fn clean_urls(text: &str) -> Option<String> {
    let (mut out, mut from, mut is_changed) = (String::new(), 0, false);
    while let Some(mark) = text.get(from..)?.find("://").map(|at| from + at) {
        let before = text.get(from..mark)?;
        let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '.' | '-');
        let scheme = before.len() - before.trim_end_matches(is_scheme).len();
        let is_after = |c: char| c.is_whitespace() || c.is_control() || AFTER_URL.contains(&c);
        let length = text.get(mark..)?.find(is_after).unwrap_or(text.len() - mark);
        let (start, end) = (mark - scheme, mark + length);
        let url = text.get(start..end)?;
        let mut clean = without_credentials(url);
        if let Some(at) = clean.find('#').filter(|at| clean.get(*at..).is_some_and(|part| part.contains("token="))) {
            clean.truncate(at);
        }
        is_changed |= clean != url;
        out.push_str(text.get(from..start)?);
        out.push_str(&clean);
        from = end;
    }
    out.push_str(text.get(from..)?);
    is_changed.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn clean(name: &str, text: &str) -> Option<String> {
        match cleaned(name, Value::Text(text.to_owned().into())) {
            Some(Value::Text(text)) => Some(text.into_owned()),
            _ => None,
        }
    }

    #[test]
    fn headers_that_are_credentials_are_left_out_however_they_are_written() {
        for name in [
            "http.request.header.authorization",
            "http.request.header.x_api_key",
            "rpc.grpc.request.metadata.X-Api-Key",
            "Authorization",
            "gen_ai.openai.api_key",
            "llm.headers",
            "gen_ai.headers",
        ] {
            assert_eq!(clean(name, "CANARY"), None, "{name}");
        }
        assert_eq!(clean("whatever", "Bearer CANARY"), None);
        assert_eq!(clean("whatever", "Bearer of news").as_deref(), Some("Bearer of news"));
        assert_eq!(clean("gen_ai.token.type", "input").as_deref(), Some("input"));
    }

    #[test]
    fn urls_lose_their_credentials_in_the_middle_of_a_text() {
        let said = "{'a': \"https://me:CANARY@host/v1?key=CANARY\"} see http://b/?x=1#access_token=CANARY, and c://d";
        let kept = "{'a': \"https://host/v1?key=removed\"} see http://b/?x=1 and c://d";
        assert_eq!(clean("exception.message", said).as_deref(), Some(kept));
        assert_eq!(clean("url.query", "a=b&api_key=CANARY").as_deref(), Some("a=b&api_key=removed"));
        assert_eq!(clean("http.target", "/v1?access_token=CANARY").as_deref(), Some("/v1?access_token=removed"));
    }

    #[test]
    fn json_in_a_text_loses_members_and_otherwise_keeps_its_bytes() {
        let with = r#"{"model": "m", "extra_headers": {"Authorization": "CANARY"}, "api_key": "CANARY"}"#;
        assert_eq!(clean("input.value", with).as_deref(), Some(r#"{"model":"m","extra_headers":{}}"#));
        let without = r#"{"model": "m",  "about": "the authorization header"}"#;
        assert_eq!(clean("input.value", without).as_deref(), Some(without));
    }

    proptest! {
        #[test]
        fn no_text_makes_cleaning_panic(text in "(\\PC|://|\\?key=|@|#token=){0,40}") {
            let _ = clean("a", &text);
            let _ = clean("url.query", &text);
        }

        #[test]
        fn nothing_is_lost_where_there_are_no_credentials(text in "[a-z :/.{}\"é]*") {
            prop_assert_eq!(clean("a", &text), Some(text));
        }
    }
}
