//! Credentials within a text that has no name: what stands in an `Authorization` header, what addresses have of them, JSON that cannot be
//! read.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use record::without_credentials;

use super::names::is_credential;

/// What an `Authorization` header begins with.
const BEARER: &str = "bearer ";
const BASIC: &str = "basic ";
/// What ends a URL in the middle of a text, beside white space. Not what people leave unescaped in passwords and queries.
const AFTER_URL: [char; 6] = ['"', '\'', '<', '>', '`', '\\'];

/// The scheme with which a text begins that is an `Authorization` header's, with the space after it.
pub(super) fn scheme_of(text: &str) -> Option<&str> {
    let begins = |scheme: &str| text.get(..scheme.len()).filter(|start| start.eq_ignore_ascii_case(scheme));
    let scheme = begins(BEARER).or_else(|| begins(BASIC))?;
    let word = &text[scheme.len()..];
    (!word.is_empty() && !word.trim().contains(char::is_whitespace)).then_some(scheme)
}

/// The same, where nobody may have meant anything else: a basic plan is none.
pub(super) fn sure_scheme_of(text: &str) -> Option<&str> {
    scheme_of(text).filter(|scheme| scheme.eq_ignore_ascii_case(BEARER) || is_user_and_password(&text[scheme.len()..]))
}

fn is_user_and_password(word: &str) -> bool {
    STANDARD_NO_PAD.decode(word.trim().trim_end_matches('=')).is_ok_and(|pair| pair.contains(&b':'))
}

/// An address without user-info and without the values of parameters that are credentials.
pub(crate) fn removed_from_address(address: &str) -> Cow<'_, str> {
    without_in_address(address).map_or(Cow::Borrowed(address), Cow::Owned)
}

/// The same, when there are some.
pub(super) fn without_in_address(address: &str) -> Option<String> {
    // Before these there is nothing to remove, and most addresses have none.
    if !address.contains(['?', '@', '#']) {
        return None;
    }
    let mut clean = without_credentials(address);
    if let Some((path, query)) = clean.split_once('?')
        && query.split('&').any(is_parameter)
    {
        let kept = |pair| if is_parameter(pair) { emptied_parameter(pair) } else { Cow::Borrowed(pair) };
        clean = format!("{path}?{}", query.split('&').map(kept).collect::<Vec<_>>().join("&"));
    }
    if let Some((before, fragment)) = clean.split_once('#')
        && fragment.contains("token=")
    {
        clean.truncate(before.len());
    }
    (clean != address).then_some(clean)
}

fn is_parameter(pair: &str) -> bool {
    let name = pair.split_once('=').map(|(name, _)| name);
    name.is_some_and(|name| name.eq_ignore_ascii_case("token") || is_credential(name))
}

fn emptied_parameter(pair: &str) -> Cow<'_, str> {
    let name = pair.split('=').next().unwrap_or_default();
    format!("{name}=removed").into()
}

/// A text whose addresses have no credentials, whether it is one as a whole or speaks of some; nothing where there were none.
pub(super) fn without_in_addresses(text: &str) -> Option<String> {
    let is_address = text.starts_with('/') || text.contains('?') || text.contains("://");
    let whole = if is_address && !text.contains(char::is_whitespace) { without_in_address(text) } else { None };
    match whole {
        Some(clean) => Some(without_in_urls(&clean).unwrap_or(clean)),
        None => without_in_urls(text),
    }
}

/// A text whose URLs have no credentials, and neither has the path with which it begins; nothing where there were none.
pub(super) fn without_in_urls(text: &str) -> Option<String> {
    let (mut out, mut kept_from, mut at) = (String::new(), 0, 0);
    while let Some((start, end)) = url_from(text, at) {
        if let Some(clean) = without_in_address(&text[start..end]) {
            out.push_str(&text[kept_from..start]);
            out.push_str(&clean);
            kept_from = end;
        }
        at = end;
    }
    out.push_str(if kept_from > 0 { &text[kept_from..] } else { return None });
    Some(out)
}

/// Where the first URL begins and ends that stands at this place or after it.
fn url_from(text: &str, from: usize) -> Option<(usize, usize)> {
    let is_after = |c: char| c.is_whitespace() || c.is_control() || AFTER_URL.contains(&c);
    let end = |from: usize| text[from..].find(is_after).map_or(text.len(), |length| from + length);
    let is_of_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '.' | '-');
    let mark = text[from..].find("://").map(|length| from + length);
    let start = mark.map(|mark| from + text[from..mark].trim_end_matches(is_of_scheme).len());
    if from == 0 && text.starts_with('/') {
        // A path may have a URL in it, which is one for itself.
        return Some((0, start.unwrap_or(text.len()).min(end(0))));
    }
    Some((start?, end(mark?)))
}

/// What is no JSON although it begins as such, because it was cut off or is Python: the value after a quoted name is emptied. Nothing where
/// no name is one of a credential.
pub(super) fn emptied(text: &str) -> Option<String> {
    let is_mark = |c: char| is_quote(c) || c == '\\';
    let (mut out, mut kept_from) = (String::new(), 0);
    for (at, quote) in text.char_indices().filter(|(_, c)| is_quote(*c)) {
        let rest = &text[at + 1..];
        let Some(length) = rest.find(is_mark).filter(|_| at >= kept_from) else { continue };
        let (name, rest) = rest.split_at(length);
        if !is_credential(name) || !rest.trim_start_matches('\\').starts_with(quote) {
            continue;
        }
        let value = rest.trim_start_matches(is_mark).trim_start();
        let Some(value) = value.strip_prefix(':').map(str::trim_start) else { continue };
        let bare = value.trim_start_matches(is_mark);
        let is_end = |c: char| if bare.len() < value.len() { is_quote(c) } else { matches!(c, ',' | '}' | ']') };
        let start = text.len() - bare.len();
        out.push_str(&text[kept_from..start]);
        kept_from = start + bare.find(is_end).unwrap_or(bare.len());
    }
    out.push_str(if kept_from > 0 { &text[kept_from..] } else { return None });
    Some(without_in_urls(&out).unwrap_or(out))
}

const fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_address_loses_its_parameters_of_every_name() {
        for (address, kept) in [
            ("/api?watch=true&Token=x", "/api?watch=true&Token=removed"),
            ("https://me:pw@host/?X_API_KEY=x&maxTokens=1", "https://host/?X_API_KEY=removed&maxTokens=1"),
            ("/a?client-secret=x#token=y", "/a?client-secret=removed"),
            ("https://host/a?b=c#d", "https://host/a?b=c#d"),
            ("urn:uuid:me@host", "urn:uuid:me@host"),
        ] {
            assert_eq!(removed_from_address(address), kept);
        }
    }

    #[test]
    fn one_word_after_a_scheme_is_a_credential_and_a_sentence_is_none() {
        for (text, scheme, sure) in [
            ("BEARER x ", Some("BEARER "), Some("BEARER ")),
            ("Basic bWU6cHc=", Some("Basic "), Some("Basic ")),
            ("Basic plan", Some("Basic "), None),
            ("basic common sense", None, None),
            ("bearer", None, None),
            ("Bearer ", None, None),
            ("é", None, None),
        ] {
            assert_eq!((scheme_of(text), sure_scheme_of(text)), (scheme, sure), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[{]?(\\PC|://|/|\\?key=|@|#token=|\\\\|['\"]a.cookie['\"]:|'){0,40}") {
            let _ = (emptied(&text), without_in_addresses(&text), without_in_urls(&text), sure_scheme_of(&text));
        }
    }
}
