//! Writing JSON as RFC 8785 (JCS) wants it: no white space, shortest escapes, ECMAScript numbers.
//!
//! Keys are sorted by their UTF-16 code units (RFC 8785, section 3.2.3) by whoever holds the map.

use crate::Value;

/// Writes a JSON string with the escapes of RFC 8785, section 3.2.2.2.
pub(crate) fn write_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut clean_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            0x08 => b"\\b",
            0x09 => b"\\t",
            0x0A => b"\\n",
            0x0C => b"\\f",
            0x0D => b"\\r",
            0x00..=0x1F => b"",
            _ => continue,
        };
        out.extend_from_slice(text.as_bytes().get(clean_from..at).unwrap_or_default());
        if escape.is_empty() {
            out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
        } else {
            out.extend_from_slice(escape);
        }
        clean_from = at + 1;
    }
    out.extend_from_slice(text.as_bytes().get(clean_from..).unwrap_or_default());
    out.push(b'"');
}

/// Writes `"key":`.
pub(crate) fn write_key(out: &mut Vec<u8>, key: &str) {
    write_text(out, key);
    out.push(b':');
}

/// Writes a whole number in decimal.
pub(crate) fn write_int(out: &mut Vec<u8>, number: i64) {
    /// 2^53: beyond it a JSON number is not exact for everyone (RFC 7493, section 2.2), so it is
    /// written as text.
    const EXACT_MAX: u64 = 1 << 53;
    if number.unsigned_abs() > EXACT_MAX {
        write_text(out, &number.to_string());
    } else {
        out.extend_from_slice(number.to_string().as_bytes());
    }
}

/// Writes a value; numbers that JSON cannot say (NaN, infinities) become texts.
pub(crate) fn write_value(out: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(fact) => out.extend_from_slice(if *fact { b"true" } else { b"false" }),
        Value::Int(number) => write_int(out, *number),
        Value::Float(number) if number.is_finite() => {
            out.extend_from_slice(ryu_js::Buffer::new().format(*number).as_bytes());
        }
        Value::Float(number) => write_text(out, &number.to_string()),
        Value::Text(text) => write_text(out, text),
        Value::List(items) => {
            out.push(b'[');
            for (nth, item) in items.iter().enumerate() {
                if nth > 0 {
                    out.push(b',');
                }
                write_value(out, item);
            }
            out.push(b']');
        }
        Value::Map(entries) => write_map(out, entries.iter().map(|(key, value)| (key.as_ref(), value))),
    }
}

/// Writes an object from entries that are already in order.
pub(crate) fn write_map<'v, 'd: 'v>(out: &mut Vec<u8>, entries: impl Iterator<Item = (&'v str, &'v Value<'d>)>) {
    out.push(b'{');
    for (nth, (key, value)) in entries.enumerate() {
        if nth > 0 {
            out.push(b',');
        }
        write_key(out, key);
        write_value(out, value);
    }
    out.push(b'}');
}

/// The order of RFC 8785, section 3.2.3: by UTF-16 code units. Bytes of UTF-8 sort the same way but where characters beyond
/// U+FFFF (from byte 0xF0 on) meet those from U+E000 on (from 0xEE on).
pub(crate) fn key_order(a: &str, b: &str) -> std::cmp::Ordering {
    if a.is_ascii() && b.is_ascii() {
        return a.cmp(b);
    }
    match a.bytes().zip(b.bytes()).find(|(x, y)| x != y) {
        Some((x, y)) if x.max(y) >= 0xEE => a.encode_utf16().cmp(b.encode_utf16()),
        _ => a.cmp(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn texts_read_back_by_another_parser(text in any::<String>()) {
            let mut out = Vec::new();
            write_text(&mut out, &text);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn numbers_read_back_by_another_parser(number in any::<f64>().prop_filter("finite", |n| n.is_finite())) {
            let mut out = Vec::new();
            write_value(&mut out, &Value::Float(number));
            prop_assert_eq!(serde_json::from_slice::<f64>(&out).unwrap(), number);
        }
    }

    proptest! {
        #[test]
        fn keys_sort_as_their_utf16_units_do(a in "[a\u{e9}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}]{0,4}", b in "[a\u{e9}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}]{0,4}") {
            prop_assert_eq!(key_order(&a, &b), a.encode_utf16().cmp(b.encode_utf16()));
        }
    }

    /// RFC 8785, section 3.2.3: the sorting example.
    #[test]
    fn keys_sort_by_utf16_units() {
        let mut keys = vec!["\u{20ac}", "\r", "\u{fb33}", "1", "\u{1f600}", "\u{80}", "\u{f6}"];
        keys.sort_by(|a, b| key_order(a, b));
        assert_eq!(keys, ["\r", "1", "\u{80}", "\u{f6}", "\u{20ac}", "\u{1f600}", "\u{fb33}"]);
    }
}
