//! Members of documents that go by several names, times and numbers in several forms.

use std::time::Duration;

use record::{Attributes, Field, Timestamp, Value as Attribute};
use serde_json::{Map, Value};

use crate::drafting;

/// The longest name (of a user, a model, an identifier), in bytes; what is longer is cut and ends with `…`.
pub(super) const NAME_BYTES_MAX: usize = 256;
/// The most names in a list (tags).
const NAMES_MAX: usize = 64;
/// Seconds since 1970 beyond which a number counts milliseconds (the year 5138).
const SECONDS_MAX: f64 = 1e11;

/// A member under the first of these names that says something: not null, not an empty text.
pub(super) fn member<'v>(of: &'v Value, names: &[&str]) -> Option<&'v Value> {
    let said = |value: &&Value| !value.is_null() && value.as_str().is_none_or(|text| !text.is_empty());
    names.iter().filter_map(|name| of.get(name)).find(said)
}

/// A text, or a number as text.
pub(super) fn text(of: &Value, names: &[&str]) -> Option<String> {
    match member(of, names)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A text cut to the length of a name.
pub(super) fn name(of: &Value, names: &[&str]) -> Option<String> {
    text(of, names).map(|text| cut(&text))
}

/// The text, if it is no longer than a name may be; its beginning and `…` otherwise.
pub(super) fn cut(text: &str) -> String {
    if text.len() <= NAME_BYTES_MAX {
        return text.to_owned();
    }
    format!("{}…", drafting::cut(text, NAME_BYTES_MAX - "…".len()))
}

/// A whole number that is not negative, or such a number as text.
pub(super) fn count(of: &Value, names: &[&str]) -> Option<i64> {
    whole(member(of, names)?)
}

/// A value that is a count.
pub(super) fn whole(value: &Value) -> Option<i64> {
    let count = match value {
        Value::Number(number) => number.as_i64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    (count >= 0).then_some(count)
}

/// A number, or a number as text; none that is infinite.
pub(super) fn number(of: &Value, names: &[&str]) -> Option<f64> {
    float(member(of, names)?)
}

/// A value that is a number.
pub(super) fn float(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

/// A moment: RFC 3339, the same with a space or without an offset (UTC, as databases write it), or seconds or milliseconds since 1970.
/// Years 1970 to 9999.
pub(super) fn moment(of: &Value, names: &[&str]) -> Option<Timestamp> {
    let time = match member(of, names)? {
        Value::String(text) => moment_of(text.trim())?,
        Value::Number(number) => since_1970(number.as_f64()?)?,
        _ => return None,
    };
    (time.as_micros() >= 0).then_some(time)
}

fn moment_of(text: &str) -> Option<Timestamp> {
    if let Ok(seconds) = text.parse::<f64>() {
        return since_1970(seconds);
    }
    let (second, rest) = text.split_at_checked(19)?;
    let offset = rest.find(['Z', 'z', '+', '-', ' ']).map_or("", |at| rest.get(at..).unwrap_or_default());
    let fraction = rest.strip_suffix(offset)?;
    // Postgres writes an offset of whole hours as `+00`, ISO 8601 in its basic form as `+0000`.
    let offset = match (offset.len(), offset.trim()) {
        (_, "" | "UTC") => "Z".to_owned(),
        (3, hours) => format!("{hours}:00"),
        (5, offset) => format!("{}:{}", offset.get(..3)?, offset.get(3..)?),
        (_, offset) => offset.to_owned(),
    };
    Timestamp::parse(&format!("{second}{fraction}{offset}")).ok()
}

fn since_1970(number: f64) -> Option<Timestamp> {
    let seconds = if number > SECONDS_MAX { number / 1_000.0 } else { number };
    let micros = i64::try_from(Duration::try_from_secs_f64(seconds).ok()?.as_micros()).ok()?;
    let time = Timestamp::from_micros(micros);
    (time.as_micros() == micros).then_some(time)
}

/// Milliseconds from one moment to another that is not before it.
pub(super) fn milliseconds(from: Option<Timestamp>, to: Option<Timestamp>) -> Option<f64> {
    let micros = u64::try_from(to?.as_micros() - from?.as_micros()).ok()?;
    Some(Duration::from_micros(micros).as_secs_f64() * 1_000.0)
}

/// A member that is JSON, or JSON that was put into a text: databases and exports write it either way. An empty list or object says nothing.
pub(super) fn json(of: &Value, names: &[&str]) -> Option<Value> {
    let value = unpacked(member(of, names)?);
    let is_empty = match &value {
        Value::Object(members) => members.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    (!is_empty).then_some(value)
}

/// The list or object that a text holds; any other value as it is.
fn unpacked(value: &Value) -> Value {
    let Value::String(text) = value else { return value.clone() };
    let is_packed = text.trim_start().starts_with(['{', '[']);
    let read = is_packed.then(|| serde_json::from_str(text).ok()).flatten();
    read.unwrap_or_else(|| value.clone())
}

/// A value as a field of content: a text as it reads, anything else as JSON.
pub(super) fn field(name: &str, value: &Value) -> Field {
    let (media, bytes) = match value {
        Value::String(text) => ("text/plain", text.clone().into_bytes()),
        other => ("application/json", other.to_string().into_bytes()),
    };
    Field { name: name.to_owned(), media: media.to_owned(), bytes }
}

/// Sets an attribute where there is a value for it.
pub(super) fn set(
    attributes: &mut Attributes<'static>,
    name: &'static str,
    value: Option<impl Into<Attribute<'static>>>,
) {
    if let Some(value) = value {
        attributes.set(name, value);
    }
}

/// Texts of a list, as an attribute.
pub(super) fn names(of: &Value, called: &[&str]) -> Option<Attribute<'static>> {
    let Value::Array(items) = json(of, called)? else { return None };
    let texts = items.iter().filter_map(Value::as_str).take(NAMES_MAX);
    let names: Vec<Attribute<'static>> = texts.map(|text| cut(text).into()).collect();
    (!names.is_empty()).then_some(Attribute::List(names))
}

/// Takes a member out of an object.
pub(super) fn removed(from: &mut Map<String, Value>, name: &str) -> Option<Value> {
    from.remove(name).filter(|value| !value.is_null())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_moment_is_read_in_every_form_that_exports_have() {
        let check = |written: Value, expected: Option<&str>| {
            let read = moment(&json!({ "t": written }), &["t"]).map(|time| time.to_string());
            assert_eq!(read.as_deref(), expected, "{written}");
        };
        check(json!("2024-05-29T13:46:19.963Z"), Some("2024-05-29T13:46:19.963000Z"));
        check(json!("2024-05-29 13:46:19.963000"), Some("2024-05-29T13:46:19.963000Z"));
        check(json!("2024-05-29T13:46:19"), Some("2024-05-29T13:46:19.000000Z"));
        check(json!("2024-05-29 13:46:19.5+02"), Some("2024-05-29T11:46:19.500000Z"));
        check(json!("2024-05-29T13:46:19+0200"), Some("2024-05-29T11:46:19.000000Z"));
        check(json!("2024-05-29T13:46:19-02:00"), Some("2024-05-29T15:46:19.000000Z"));
        check(json!("2024-05-29 13:46:19 UTC"), Some("2024-05-29T13:46:19.000000Z"));
        check(json!(1_716_990_379), Some("2024-05-29T13:46:19.000000Z"));
        check(json!(1_716_990_379.25), Some("2024-05-29T13:46:19.250000Z"));
        check(json!(1_716_990_379_250_i64), Some("2024-05-29T13:46:19.250000Z"));
        check(json!("1716990379.5"), Some("2024-05-29T13:46:19.500000Z"));
        check(json!("1969-12-31T23:59:59Z"), None);
        check(json!("10000-01-01T00:00:00Z"), None);
        for nothing in [json!(-1), json!(1e300), json!("NaN"), json!("yesterday"), json!(""), json!(null), json!([])] {
            check(nothing, None);
        }
        check(json!("2024-05-29T13:46:1ä"), None);
    }

    #[test]
    fn a_long_name_is_cut_with_a_mark() {
        assert_eq!(cut("short"), "short");
        let long = cut(&"ä".repeat(300));
        assert!(long.len() <= NAME_BYTES_MAX && long.ends_with('…'), "{long}");
    }

    #[test]
    fn json_in_a_text_is_json_and_other_texts_stay() {
        let of = json!({"a": "[1]", "b": {"c": 1}, "d": "plain", "e": "{}", "f": "{broken"});
        let read = |name| json(&of, &[name]);
        assert_eq!(read("a"), Some(json!([1])));
        assert_eq!(read("b"), Some(json!({"c": 1})));
        assert_eq!(read("d"), Some(json!("plain")));
        assert_eq!(read("e"), None);
        assert_eq!(read("f"), Some(json!("{broken")));
    }
}
