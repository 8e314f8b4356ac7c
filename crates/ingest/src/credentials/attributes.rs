//! Attributes without credentials: what a header, a member or a URL holds of them is left out, whatever it is called around it.

use std::borrow::Cow;

use record::Value;

use super::names::{
    is_credential, is_describing, is_name_of_another, is_named_by_another, is_type_of_schema, may_be_in,
};
use super::text::{emptied, sure_scheme_of, without_in_address, without_in_urls};
use crate::nesting::{has_too_many_values, json_in};

/// What the name of an attribute ends in that is a dump of headers, in whatever form (OpenLLMetry writes Python's).
const DUMP: &str = ".headers";
/// Attributes that hold a part of a URL without its beginning.
const PARTS_OF_URLS: [&str; 4] = ["url.query", "url.full", "http.target", "http.url"];
/// What stands for JSON that names a credential and is too large, or too often written as a text in other JSON, to be taken apart.
const UNSEARCHED: &str = "[left out: it may hold a credential and is too large or nested too deeply to look]";
/// How often JSON that stands as a text in other JSON is taken apart: each time takes as much of the stack again.
const LAYERS_MAX: u8 = 3;

/// What is left of a value without its credentials.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    Whole,
    Part,
    Nothing,
}

/// An attribute without the credentials in it; nothing where it is one.
pub(crate) fn cleaned<'a>(name: &str, mut value: Value<'a>) -> Option<Value<'a>> {
    if is_credential(name) || name.ends_with(DUMP) {
        return None;
    }
    let left = match &mut value {
        Value::Text(text) if PARTS_OF_URLS.contains(&name) => clean_part_of_url(name, text),
        value => clean(value, LAYERS_MAX),
    };
    (left != Left::Nothing).then_some(value)
}

fn clean_part_of_url(name: &str, text: &mut Cow<'_, str>) -> Left {
    let mark = if name == "url.query" && !text.starts_with('?') { "?" } else { "" };
    let Some(clean) = without_in_address(&format!("{mark}{text}")) else { return Left::Whole };
    *text = Cow::Owned(clean.strip_prefix(mark).unwrap_or(&clean).to_owned());
    Left::Part
}

fn clean(value: &mut Value<'_>, layers: u8) -> Left {
    match value {
        Value::Text(text) => clean_text(text, layers),
        Value::List(items) => keep(items, |item| clean(item, layers)),
        Value::Map(members) => clean_members(members, layers),
        _ => Left::Whole,
    }
}

fn clean_members(members: &mut Vec<(Cow<'_, str>, Value<'_>)>, layers: u8) -> Left {
    let is_credential_named = members
        .iter()
        .any(|(name, said)| is_name_of_another(name) && matches!(said, Value::Text(said) if is_credential(said)));
    keep(members, |(name, value)| {
        let is_one = is_credential(name) || is_credential_named && is_named_by_another(name);
        let described = if is_one { describe(value) } else { Left::Whole };
        if described == Left::Nothing {
            return Left::Nothing;
        }
        match clean(value, layers) {
            Left::Whole => described,
            left => left,
        }
    })
}

/// What is left of a credential: of its JSON Schema, which says what is wanted, what describes it; of any other nothing.
fn describe(value: &mut Value<'_>) -> Left {
    let Value::Map(members) = value else { return Left::Nothing };
    let is_type = |(name, said): &(Cow<'_, str>, Value<'_>)| {
        name == "type" && matches!(said, Value::Text(said) if is_type_of_schema(said))
    };
    if !members.iter().any(is_type) {
        return Left::Nothing;
    }
    keep(members, |(name, said)| {
        let is_kept = is_describing(name) && matches!(said, Value::Text(_));
        if is_kept { Left::Whole } else { Left::Nothing }
    })
}

/// Keeps of a list that of which something is left.
fn keep<T>(all: &mut Vec<T>, mut clean: impl FnMut(&mut T) -> Left) -> Left {
    let mut left = Left::Whole;
    all.retain_mut(|one| {
        let of_one = clean(one);
        if of_one != Left::Whole {
            left = Left::Part;
        }
        of_one != Left::Nothing
    });
    left
}

fn clean_text(text: &mut Cow<'_, str>, layers: u8) -> Left {
    if sure_scheme_of(text).is_some() {
        return Left::Nothing;
    }
    match clean_json(text, layers).or_else(|| without_in_urls(text)) {
        Some(clean) => {
            *text = Cow::Owned(clean);
            Left::Part
        }
        None => Left::Whole,
    }
}

/// JSON in a text, where it has members or texts that are credentials.
fn clean_json(text: &str, layers: u8) -> Option<String> {
    let json = text.trim_start();
    if !json.starts_with(['{', '[']) || !may_be_in(json) {
        return None;
    }
    let Some(layers) = layers.checked_sub(1).filter(|_| !has_too_many_values(json.as_bytes())) else {
        return Some(UNSEARCHED.to_owned());
    };
    let Some(mut value) = json_in(json) else { return emptied(text) };
    (clean(&mut value, layers) == Left::Part).then(|| value.to_json())
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
    fn names_of_every_door_are_left_out_and_so_are_users_with_their_passwords() {
        for name in ["db.password", "client.secret", "metadata.user_api_key_hash", "rpc.metadata.x-vault-token"] {
            assert_eq!(clean(name, "CANARY"), None, "{name}");
        }
        assert_eq!(clean("whatever", "Basic Q0FOQVJZOng="), None);
        for kept in ["Basic plan", "Basic", "basic math=", "Bearer", "/v1/a", "a?b"] {
            assert_eq!(clean("whatever", kept).as_deref(), Some(kept));
        }
        for name in ["gen_ai.usage.input_tokens", "gen_ai.request.max_tokens", "llm.usage.total_tokens"] {
            assert_eq!(clean(name, "12").as_deref(), Some("12"), "{name}");
        }
        assert_eq!(clean("a", "/v1?token=CANARY&a=b").as_deref(), Some("/v1?token=removed&a=b"));
        assert_eq!(clean("a", "/to?u=http://me:CANARY@b/c d").as_deref(), Some("/to?u=http://b/c d"));
    }

    #[test]
    fn json_in_a_text_loses_what_another_member_names_and_texts_that_are_one() {
        for (said, kept) in [
            (r#"[{"name": "cookie", "value": "CANARY"}, {"value": 1}]"#, r#"[{"name":"cookie"},{"value":1}]"#),
            (r#"{"p\u0061ssword": "CANARY"}"#, "{}"),
            (r#"{"a": "Bearer CANARY", "max_tokens": 5}"#, r#"{"max_tokens":5}"#),
            (" {\"password\": \"CANARY\"}", "{}"),
        ] {
            assert_eq!(clean("a", said).as_deref(), Some(kept));
        }
    }

    #[test]
    fn a_tool_that_wants_a_credential_is_still_described() {
        let said = r#"{"properties": {"password": {"type": "string", "description": "whose", "default": "CANARY"}}}"#;
        let kept = r#"{"properties":{"password":{"type":"string","description":"whose"}}}"#;
        assert_eq!(clean("gen_ai.tool.definitions", said).as_deref(), Some(kept));
        assert_eq!(clean("gen_ai.tool.definitions", kept).as_deref(), Some(kept));
        let whole = r#"{"password":  {"type": "string"}}"#;
        assert_eq!(clean("a", whole).as_deref(), Some(whole));
        assert_eq!(clean("a", r#"{"password": {"type": "mine", "a": "CANARY"}}"#).as_deref(), Some("{}"));
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
