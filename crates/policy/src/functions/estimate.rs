//! What a call of a function may build at most.

use regorus::Value;

use super::account::{ENTRY_BYTES, weigh};
use crate::check::is_oversized_number;

/// Bytes that a call with these arguments may build or, where comparing is what it does, compare.
pub(super) type Estimate = fn(&[Value]) -> u64;

/// No call that would build so much can be afforded; so arguments that cannot be judged are refused.
const TOO_MUCH: u64 = u64::MAX;

/// Above this, an argument is not weighed further.
const WEIGHED_MAX: u64 = 1 << 32;

/// The functions of the evaluator that can build more than they are given.
pub(super) const ESTIMATES: &[(&str, Estimate)] = &[
    ("array.concat", |a| items(a, 0).saturating_add(items(a, 1)).saturating_mul(ENTRY_BYTES)),
    ("base64.decode", texts),
    ("base64.encode", texts),
    ("base64url.decode", texts),
    ("base64url.encode", texts),
    ("base64url.encode_no_pad", texts),
    ("bits.lsh", |a| integer(a, 1).map_or(TOO_MUCH, |bits| bits / 8)),
    ("concat", |a| text(a, 0).saturating_mul(items(a, 1)).saturating_add(weight(a, 1))),
    ("glob.match", texts),
    ("graph.reachable", every),
    ("hex.decode", texts),
    ("hex.encode", texts),
    ("indexof_n", |a| text(a, 0).saturating_mul(ENTRY_BYTES)),
    ("json.filter", every),
    ("json.marshal", every),
    ("json.marshal_with_options", |a| every(a).saturating_mul(4)),
    ("json.match_schema", |a| {
        if number(a, 0) { TOO_MUCH } else { every(a).saturating_add(text(a, 0).saturating_mul(ENTRY_BYTES / 2)) }
    }),
    ("json.patch", every),
    ("json.remove", every),
    ("json.unmarshal", |a| if number(a, 0) { TOO_MUCH } else { text(a, 0).saturating_mul(ENTRY_BYTES / 2) }),
    ("json.verify_schema", every),
    ("lower", texts),
    ("net.cidr_expand", addresses),
    ("numbers.range", |a| range(a).saturating_mul(ENTRY_BYTES)),
    ("numbers.range_step", |a| (range(a) / integer(a, 2).unwrap_or(1).max(1)).saturating_mul(ENTRY_BYTES)),
    ("object.filter", every),
    ("object.remove", every),
    ("object.union", every),
    ("object.union_n", every),
    ("regex.find_all_string_submatch_n", matches),
    ("regex.find_n", matches),
    ("regex.replace", |a| text(a, 0).saturating_add(1).saturating_mul(text(a, 2).saturating_add(1))),
    ("regex.split", matches),
    ("replace", |a| replaced(string(a, 0), string(a, 1), text(a, 2))),
    ("split", |a| replaced(string(a, 0), string(a, 1), ENTRY_BYTES)),
    ("sprintf", formatted),
    ("strings.any_prefix_match", pairs),
    ("strings.any_suffix_match", pairs),
    ("strings.reverse", texts),
    ("to_number", |a| if number(a, 0) { TOO_MUCH } else { 0 }),
    ("units.parse", |a| if number(a, 0) { TOO_MUCH } else { 0 }),
    ("units.parse_bytes", |a| if number(a, 0) { TOO_MUCH } else { 0 }),
    ("upper", texts),
    ("urlquery.decode", texts),
    ("urlquery.decode_object", |a| text(a, 0).saturating_mul(ENTRY_BYTES)),
    ("urlquery.encode", texts),
    ("urlquery.encode_object", |a| every(a).saturating_mul(3)),
    // Each path is as long as what it leads to is deep, and JSON is at most 128 deep.
    ("walk", |a| every(a).saturating_mul(16)),
];

fn string(arguments: &[Value], at: usize) -> &str {
    match arguments.get(at) {
        Some(Value::String(text)) => text,
        _ => "",
    }
}

fn text(arguments: &[Value], at: usize) -> u64 {
    string(arguments, at).len() as u64
}

/// Three times as long: what percent signs or upper case can make of it.
fn texts(arguments: &[Value]) -> u64 {
    text(arguments, 0).saturating_mul(3)
}

fn items(arguments: &[Value], at: usize) -> u64 {
    match arguments.get(at) {
        Some(Value::Array(items)) => items.len() as u64,
        Some(Value::Set(items)) => items.len() as u64,
        _ => 1,
    }
}

fn weight(arguments: &[Value], at: usize) -> u64 {
    arguments.get(at).map_or(0, |value| weigh(value, WEIGHED_MAX))
}

/// All arguments, written out.
fn every(arguments: &[Value]) -> u64 {
    arguments.iter().fold(0, |sum, value| sum.saturating_add(weigh(value, WEIGHED_MAX)))
}

/// The size of a whole number; nothing when it is larger than any limit.
fn integer(arguments: &[Value], at: usize) -> Option<u64> {
    arguments.get(at)?.as_i64().ok().map(i64::unsigned_abs)
}

fn range(arguments: &[Value]) -> u64 {
    let bound = |at: usize| arguments.get(at).and_then(|value| value.as_i64().ok());
    // What is not whole numbers is refused by the function itself.
    match (bound(0), bound(1)) {
        (Some(from), Some(to)) => from.abs_diff(to).saturating_add(1),
        _ if arguments.iter().all(|value| matches!(value, Value::Number(_))) => TOO_MUCH,
        _ => 0,
    }
}

/// Whether a text has a number in it that is too large to be written out.
fn number(arguments: &[Value], at: usize) -> bool {
    let numeric = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
    string(arguments, at).split(|c| !numeric(c)).any(|word| {
        word.contains(|c: char| c.is_ascii_digit()) && is_oversized_number(word.trim_start_matches(['+', '-']))
    })
}

fn addresses(arguments: &[Value]) -> u64 {
    let Some((address, prefix)) = string(arguments, 0).split_once('/') else { return 0 };
    let width: u32 = if address.contains(':') { 128 } else { 32 };
    let hosts = prefix.parse::<u32>().ok().and_then(|prefix| width.checked_sub(prefix)).unwrap_or(0);
    1_u64.checked_shl(hosts).map_or(TOO_MUCH, |count| count.saturating_mul(2 * ENTRY_BYTES))
}

/// As many matches as there are characters.
fn matches(arguments: &[Value]) -> u64 {
    let longest = text(arguments, 0).max(text(arguments, 1));
    longest.saturating_mul(ENTRY_BYTES)
}

/// A text in which each place of another grows by so many bytes.
fn replaced(text: &str, old: &str, grows: u64) -> u64 {
    let places = if old.is_empty() { text.len() + 1 } else { text.matches(old).count() };
    (text.len() as u64).saturating_add((places as u64 + 1).saturating_mul(grows))
}

/// The format, its arguments, and the widths that the format asks for.
fn formatted(arguments: &[Value]) -> u64 {
    let widths = string(arguments, 0).split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
    let widths = widths.fold(0_u64, |sum, digits| sum.saturating_add(digits.parse().unwrap_or(TOO_MUCH)));
    every(arguments).saturating_add(widths)
}

/// Each text is compared with each.
fn pairs(arguments: &[Value]) -> u64 {
    items(arguments, 0).saturating_mul(items(arguments, 1))
}
