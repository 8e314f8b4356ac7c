//! RFC 3164, which describes rather than rules: what rsyslog, `logger`, systemd and network devices really send.

use record::Timestamp;

use super::message::{Message, token};
use crate::drafting::nearest_year;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// The longest tag, in bytes. (The RFC has 32, which programs in paths and containers do not keep to.)
const TAG_BYTES_MAX: usize = 128;
/// The longest host, in bytes (RFC 5424, section 6).
const HOST_BYTES_MAX: usize = 255;

/// Reads what follows the priority: `[TIME SP] [HOST SP] [TAG[PID]: ] TEXT`, each of the three as it is there.
pub(super) fn read(text: &str, received: Timestamp, offset_minutes: i16) -> Message<'_> {
    let text = text.strip_prefix(' ').unwrap_or(text);
    let (time, rest) = match time(text, received, offset_minutes) {
        Some((time, rest)) => (Some(time), rest),
        None => (None, text),
    };
    let mut after = rest;
    // Whoever leaves the time out leaves the host out too: a first word is the beginning of the text then.
    let host = time.and_then(|_| token(&mut after)).filter(|word| is_host(word));
    let rest = if host.is_some() { after } else { rest };
    let (tag, text) = match tag(rest) {
        Some((tag, text)) => (Some(tag), text),
        None => (None, rest),
    };
    let mut message = Message::of_text(text);
    (message.time, message.host) = (time, host);
    if let Some((app, process)) = tag {
        (message.app, message.process) = (Some(app), process);
    }
    message
}

/// A host is a name or an address; a word that ends in a colon or brackets is a tag.
fn is_host(word: &str) -> bool {
    let is_named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'%');
    word.len() <= HOST_BYTES_MAX && !word.ends_with(':') && word.bytes().all(is_named)
}

/// `app: text`, `app[pid]: text` and `app[pid] text`.
fn tag(text: &str) -> Option<((&str, Option<&str>), &str)> {
    let end = text.find([':', '[', ' ']).filter(|end| (1..=TAG_BYTES_MAX).contains(end))?;
    let (app, rest) = text.split_at(end);
    let text_of = |rest: &'_ str| rest.strip_prefix(' ').map_or(rest.len(), str::len);
    if let Some(inside) = rest.strip_prefix('[') {
        let (process, rest) = inside.split_once(']')?;
        let is_process = process.len() <= TAG_BYTES_MAX && !process.contains(char::is_whitespace);
        let is_end = rest.is_empty() || rest.starts_with([':', ' ']);
        let rest = rest.strip_prefix(':').unwrap_or(rest);
        let text = rest.get(rest.len() - text_of(rest)..)?;
        return (is_process && is_end).then_some(((app, Some(process).filter(|id| !id.is_empty())), text));
    }
    let rest = rest.strip_prefix(':')?;
    // `http://…` is a text, not a tag.
    let text = rest.get(rest.len() - text_of(rest)..)?;
    (!rest.starts_with('/')).then_some(((app, None), text))
}

/// The time at the beginning of a text, and what follows it: RFC 3339 as rsyslog's templates have it, or section 4.1.2's.
fn time(text: &str, received: Timestamp, offset_minutes: i16) -> Option<(Timestamp, &str)> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    if let Ok(time) = Timestamp::parse(word) {
        return Some((time, rest));
    }
    // Cisco marks a clock that is not synchronised.
    month_and_day(text.trim_start_matches(['*', '.']), received, offset_minutes)
}

/// `Mmm dd hh:mm:ss`, also with a fraction, a year before the clock or after it, a zone before that year, and a colon at its end.
fn month_and_day(text: &str, received: Timestamp, offset_minutes: i16) -> Option<(Timestamp, &str)> {
    let month = 1 + MONTHS.iter().position(|month| text.get(..3) == Some(month))?;
    let (day, rest) = text.get(3..)?.strip_prefix(' ')?.trim_start_matches(' ').split_once(' ')?;
    let (year, rest) = match rest.split_once(' ') {
        Some((year, rest)) if is_year(year) => (Some(year), rest),
        _ => (None, rest),
    };
    let end = rest.find([' ']).unwrap_or(rest.len());
    let (clock, rest) = rest.split_at(end);
    let clock = clock.strip_suffix(':').unwrap_or(clock);
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    let (year, rest) = match (year, year_after(rest)) {
        (None, Some((year, rest))) => (Some(year), rest),
        (year, _) => (year, rest),
    };
    let day: u8 = day.parse().ok()?;
    let moment = |year: i64| {
        let text = format!("{year:04}-{month:02}-{day:02}T{clock}Z");
        let time = Timestamp::parse(&text).ok()?;
        Some(Timestamp::from_micros(time.as_micros() - i64::from(offset_minutes) * 60_000_000))
    };
    let time = match year {
        Some(year) => moment(year.parse().ok()?)?,
        None => nearest_year(received, moment)?,
    };
    Some((time, rest))
}

/// `1987 ` or `CST 1987 ` after the clock. A zone's name says too little to be reckoned with.
fn year_after(text: &str) -> Option<(&str, &str)> {
    let (first, rest) = text.split_once(' ')?;
    if is_year(first) {
        return Some((first, rest));
    }
    let is_zone = (1..=5).contains(&first.len()) && first.bytes().all(|byte| byte.is_ascii_uppercase());
    let (year, rest) = rest.split_once(' ')?;
    (is_zone && is_year(year)).then_some((year, rest))
}

fn is_year(word: &str) -> bool {
    word.len() == 4 && word.bytes().all(|byte| byte.is_ascii_digit()) && word.starts_with(['1', '2'])
}
