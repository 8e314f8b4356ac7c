//! Credentials never reach a draft: what a header, a member or a URL holds of them is left out, whatever it is called around it.

use std::borrow::Cow;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use record::{Value, without_credentials};

use super::super::model::{has_too_many_values, json_in};
use crate::credentials::{NAMES, is_one_of};

/// What is a credential in telemetry too.
const ALSO: [&str; 2] = ["openai-api-key", "private-key"];
/// The name of every credential has one of these in it.
const WORDS: [&str; 6] = ["auth", "cookie", "key", "token", "cert", "secret"];
/// What the name of an attribute ends in that is a dump of headers, in whatever form (OpenLLMetry writes Python's).
const DUMP: &str = ".headers";
/// Attributes that hold a part of a URL without its beginning.
const PARTS_OF_URLS: [&str; 4] = ["url.query", "url.full", "http.target", "http.url"];
/// What ends a URL in the middle of a text, beside white space. Not what people leave unescaped in passwords and queries.
const AFTER_URL: [char; 6] = ['"', '\'', '<', '>', '`', '\\'];

/// What stands for JSON that names a credential and is too large, or too often written as a text in other JSON, to be taken apart.
const UNSEARCHED: &str = "[left out: it may hold a credential and is too large or nested too deeply to look]";
/// How often JSON that stands as a text in other JSON is taken apart: each time takes as much of the stack again.
const LAYERS_MAX: u8 = 3;

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
        value => clean_value(value, &mut false, LAYERS_MAX),
    }
}

fn is_credential(name: &str) -> bool {
    let last = name.rsplit(['.', ':', '/']).next().unwrap_or(name);
    is_one_of(last, &ALSO)
}

/// `is_changed` becomes true where something was left out.
fn clean_value<'a>(value: Value<'a>, is_changed: &mut bool, layers: u8) -> Option<Value<'a>> {
    match value {
        Value::Text(text) => match clean_layer(text, layers) {
            Some(Clean::Same(text)) => Some(Value::Text(text)),
            other => {
                *is_changed = true;
                other.map(|text| Value::Text(text.into()))
            }
        },
        Value::List(items) => {
            Some(Value::List(items.into_iter().filter_map(|item| clean_value(item, is_changed, layers)).collect()))
        }
        Value::Map(entries) => {
            let kept = entries.into_iter().filter_map(|(name, value)| {
                if is_credential(&name) {
                    *is_changed = true;
                    return None;
                }
                Some((name, clean_value(value, is_changed, layers)?))
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
    clean_layer(text, LAYERS_MAX)
}

fn clean_layer(text: Cow<'_, str>, layers: u8) -> Option<Clean<'_>> {
    let head = text.get(..7).unwrap_or_default();
    if head.eq_ignore_ascii_case("bearer ") && !text.get(7..).unwrap_or_default().contains(char::is_whitespace) {
        return None;
    }
    if text.starts_with(['{', '['])
        && let Some(clean) = clean_json(&text, layers)
    {
        return Some(Clean::Other(clean));
    }
    Some(match clean_urls(&text) {
        Some(clean) => Clean::Other(clean),
        None => Clean::Same(text),
    })
}

/// Whether there is a word in a text that the name of every credential has one of. Most texts have none, which one pass shows.
fn may_name_one(text: &str) -> bool {
    static WORDS_IN_TEXT: LazyLock<Option<AhoCorasick>> =
        LazyLock::new(|| AhoCorasick::builder().ascii_case_insensitive(true).build(WORDS).ok());
    WORDS_IN_TEXT.as_ref().is_none_or(|words| words.is_match(text))
}

/// JSON in a text, where it has members that are credentials.
fn clean_json(text: &str, layers: u8) -> Option<String> {
    if !may_name_one(text) {
        return None;
    }
    let lower = text.to_ascii_lowercase().replace('_', "-");
    if !NAMES.iter().chain(&ALSO).any(|name| lower.contains(name)) {
        return None;
    }
    let Some(layers) = layers.checked_sub(1).filter(|_| !has_too_many_values(text.as_bytes())) else {
        return Some(UNSEARCHED.to_owned());
    };
    let Some(value) = json_in(text) else { return clean_broken(text, &lower) };
    let mut is_changed = false;
    let clean = clean_value(value, &mut is_changed, layers)?;
    is_changed.then(|| clean.to_json())
}

/// What is no JSON although it begins as such, because it was cut off or is Python: the value after a quoted name is emptied.
fn clean_broken(text: &str, lower: &str) -> Option<String> {
    let is_quote = |c: char| matches!(c, '"' | '\'');
    let (mut out, mut from) = (String::new(), 0);
    for (at, quote) in lower.char_indices().filter(|(_, c)| is_quote(*c)) {
        let rest = lower.get(at + 1..)?;
        let named = NAMES
            .iter()
            .chain(&ALSO)
            .filter_map(|name| rest.strip_prefix(name))
            .find(|rest| rest.trim_start_matches('\\').starts_with(quote));
        let Some(rest) = named.filter(|_| at >= from) else { continue };
        let value = rest.trim_start_matches(|c: char| is_quote(c) || c == '\\').trim_start();
        let Some(value) = value.strip_prefix(':').map(str::trim_start) else { continue };
        let bare = value.trim_start_matches(|c: char| is_quote(c) || c == '\\');
        let ends = |c: char| if bare.len() < value.len() { is_quote(c) } else { matches!(c, ',' | '}' | ']') };
        let length = bare.find(ends).unwrap_or(bare.len());
        let start = lower.len() - bare.len();
        out.push_str(text.get(from..start)?);
        from = start + length;
    }
    out.push_str(text.get(from..)?);
    (from > 0).then(|| clean_urls(&out).unwrap_or(out))
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
    fn every_name_of_a_credential_has_one_of_the_words() {
        for name in NAMES.iter().chain(&ALSO) {
            assert!(may_name_one(&name.to_uppercase().replace('-', "_")), "{name}");
        }
        assert!(!may_name_one("the weather in Bern"));
    }

    #[test]
    fn urls_lose_their_credentials_in_the_middle_of_a_text() {
        let said = "{'a': \"https://me:CANARY@host/v1?key=CANARY\"} see http://b/?x=1#access_token=CANARY, and c://d";
        let kept = "{'a': \"https://host/v1?key=removed\"} see http://b/?x=1 and c://d";
        assert_eq!(clean("exception.message", said).as_deref(), Some(kept));
        assert_eq!(
            clean("a", "(http://u:CAN(ARY@h/?x={y}&key=CANARY)").as_deref(),
            Some("(http://h/?x={y}&key=removed")
        );
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

    #[test]
    fn json_that_was_cut_off_and_python_lose_them_too() {
        for (said, kept) in [
            (
                r#"{"messages": [], "headers": {"Authorization": "Bearer CANARY"#,
                r#"{"messages": [], "headers": {"Authorization": ""#,
            ),
            ("{'X_Api_Key': 'CANARY', 'a': 'é', 'cookie': CANARY}", "{'X_Api_Key': '', 'a': 'é', 'cookie': }"),
            (r#"[{"a": "{\"api_key\": \"CANARY\", \"b\"#, r#"[{"a": "{\"api_key\": \"", \"b\"#),
            ("[the cookie: a biscuit", "[the cookie: a biscuit"),
        ] {
            let clean = clean("a", said).unwrap();
            assert_eq!(clean, kept);
        }
    }

    #[test]
    fn json_in_json_in_json_is_looked_into_and_no_stack_is_used_up() {
        let wrap = |inner: String, depth: usize| {
            format!("{}{}{}", "[".repeat(depth), Value::Text(inner.into()).to_json(), "]".repeat(depth))
        };
        let credential = r#"{"authorization": "CANARY", "a": 1}"#.to_owned();
        assert_eq!(clean("a", &wrap(credential.clone(), 3)).as_deref(), Some(r#"[[["{\"a\":1}"]]]"#));
        for layers in 1..12 {
            let nested = (0..layers).fold(credential.clone(), |inner, _| wrap(inner, 120));
            let clean = clean("a", &nested).unwrap();
            assert!(!clean.contains("CANARY"), "{layers}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_cleaning_panic(text in "[{]?(\\PC|://|\\?key=|@|#token=|['\"]cookie['\"]:|'){0,40}") {
            let _ = clean("a", &text);
            let _ = clean("url.query", &text);
        }

        #[test]
        fn nothing_is_lost_where_there_are_no_credentials(text in "[a-z :/.{}\"é]*") {
            prop_assert_eq!(clean("a", &text), Some(text));
        }
    }
}
