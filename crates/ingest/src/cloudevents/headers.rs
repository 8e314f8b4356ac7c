//! The binary content mode: attributes in headers (CloudEvents 1.0.2, "HTTP Protocol Binding", section 3.1).

use record::Value;

use super::{Data, Event};
use crate::Rejected;
use crate::records::wrong;

/// What the names of headers begin with that are attributes.
const PREFIX: &str = "ce-";

/// The media type of the body.
pub(super) fn content_type(headers: &[(&str, &[u8])]) -> Result<Option<String>, Rejected> {
    let mut found = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let first = found.next().map(|(_, value)| *value);
    if found.next().is_some() {
        return Err(wrong("content-type", "it is there twice"));
    }
    let text = |value| std::str::from_utf8(value).map(str::to_owned);
    first.map(text).transpose().map_err(|_| wrong("content-type", "it must be a media type"))
}

/// The event of a request.
pub(super) fn event(headers: &[(&str, &[u8])], media: String, body: &[u8]) -> Result<Event, Rejected> {
    let mut event = Event { media: Some(media).filter(|media| !media.is_empty()), ..Event::default() };
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        let Some(attribute) = name.strip_prefix(PREFIX) else { continue };
        // Section 3.1.1.
        if attribute == "datacontenttype" {
            return Err(wrong("ce-datacontenttype", "the header Content-Type says it"));
        }
        event.set(attribute, Value::from(decoded(&name, value)?))?;
    }
    event.data = (!body.is_empty()).then(|| Data::Bytes(body.to_vec()));
    Ok(event)
}

/// Section 3.1.3.2: first quotes are undone, then one round of percent-encoding, and what comes out must be UTF-8.
fn decoded(name: &str, value: &[u8]) -> Result<String, Rejected> {
    let bytes = percent_decoded(&unquoted(value.trim_ascii()));
    String::from_utf8(bytes)
        .map_err(|_| wrong(&record::escaped(name), "it must be UTF-8, percent-encoded outside of printable ASCII"))
}

fn unquoted(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let (mut is_quoted, mut is_escaped) = (false, false);
    for &byte in value {
        match byte {
            _ if is_escaped => {
                out.push(byte);
                is_escaped = false;
            }
            b'"' => is_quoted = !is_quoted,
            b'\\' if is_quoted => is_escaped = true,
            _ => out.push(byte),
        }
    }
    out
}

fn percent_decoded(value: &[u8]) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((first, after)) = rest.split_first() {
        let encoded = match (first, after) {
            (b'%', [high, low, after @ ..]) => digit(high).zip(digit(low)).map(|(high, low)| (high * 16 + low, after)),
            _ => None,
        };
        // A percent sign that encodes nothing stands for itself.
        let (byte, after) = encoded.unwrap_or((*first, after));
        out.push(byte);
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(text: &str) -> String {
        let byte = |byte: u8| match byte {
            b'!' | b'#' | b'$' | b'&'..=b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02x}"),
        };
        text.bytes().map(byte).collect()
    }

    #[test]
    fn header_values_are_decoded_as_the_binding_says() {
        for (value, expected) in [
            ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
            ("%41%2541", "A%41"),
            (r#""a \"b\" %41""#, r#"a "b" A"#),
            (r"a\b", r"a\b"),
            ("100%", "100%"),
            ("%zz%4", "%zz%4"),
            ("", ""),
        ] {
            assert_eq!(decoded("ce-a", value.as_bytes()).unwrap(), expected);
        }
        for bad in ["%C0%A0".as_bytes(), b"%ff", b"\xff"] {
            decoded("ce-a", bad).unwrap_err();
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(text in any::<String>()) {
            prop_assert_eq!(decoded("ce-a", encoded(&text).as_bytes()).unwrap(), text);
        }

        #[test]
        fn no_value_makes_decoding_panic(value in any::<Vec<u8>>()) {
            let _ = decoded("ce-a", &value);
        }
    }
}
