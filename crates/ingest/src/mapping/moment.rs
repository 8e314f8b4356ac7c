//! Times in the forms that logs have: RFC 3339, counts since 1970, and what `strptime` calls a format.

use record::Timestamp;

use crate::drafting::nearest_year;

/// The longest format, in bytes.
const FORMAT_BYTES_MAX: usize = 128;
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// How a time is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TimeFormat {
    Rfc3339,
    /// A count since 1970 in which one unit has so many nanoseconds, whole or with a fraction.
    Unix {
        nanos: i128,
        name: &'static str,
    },
    /// As `strptime` reads it (POSIX), with `%f` and `%.f` for fractions of a second.
    Pieces(Vec<Piece>, String),
}

/// A part of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    Literal(char),
    /// Any white space, at least one.
    Space,
    Year,
    Month,
    MonthName,
    Day,
    Hour,
    Hour12,
    HalfDay,
    Minute,
    Second,
    Fraction,
    /// A point and a fraction, or neither.
    PointFraction,
    Weekday,
    Offset,
}

#[derive(Default)]
struct Parts {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    hour: i64,
    is_afternoon: Option<bool>,
    minute: i64,
    second: i64,
    fraction: String,
    offset_minutes: Option<i64>,
}

impl TimeFormat {
    pub(super) fn parse(format: &str) -> Result<Self, String> {
        Ok(match format {
            "rfc3339" => Self::Rfc3339,
            "unix" => Self::Unix { nanos: 1_000_000_000, name: "unix" },
            "unix_ms" => Self::Unix { nanos: 1_000_000, name: "unix_ms" },
            "unix_us" => Self::Unix { nanos: 1_000, name: "unix_us" },
            "unix_ns" => Self::Unix { nanos: 1, name: "unix_ns" },
            _ if format.len() > FORMAT_BYTES_MAX || !format.contains('%') => {
                return Err(format!(
                    "the format must be rfc3339, unix, unix_ms, unix_us, unix_ns, or directives such as %Y-%m-%d of at most {FORMAT_BYTES_MAX} bytes"
                ));
            }
            _ => Self::Pieces(pieces(format)?, format.to_owned()),
        })
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Rfc3339 => "rfc3339",
            Self::Unix { name, .. } => name,
            Self::Pieces(_, format) => format,
        }
    }

    /// The moment that a text says, between 1970 and 9999. `offset_minutes` is how far ahead of UTC a clock is that does not say so.
    pub(super) fn read(&self, text: &str, offset_minutes: i64, received: Timestamp) -> Option<Timestamp> {
        let text = text.trim();
        let time = match self {
            Self::Rfc3339 => Timestamp::parse(text).ok()?,
            Self::Unix { nanos, .. } => counted(text, *nanos)?,
            Self::Pieces(pieces, _) => parts(pieces, text)?.moment(offset_minutes, received)?,
        };
        (time >= Timestamp::from_micros(0)).then_some(time)
    }
}

/// `+02:00`, `-0530`, `+02`, `Z`.
pub(super) fn offset_minutes(text: &str) -> Option<i64> {
    let mut rest = text;
    let minutes = offset(&mut rest)?;
    rest.is_empty().then_some(minutes)
}

fn pieces(format: &str) -> Result<Vec<Piece>, String> {
    let mut out = Vec::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c.is_whitespace() {
            if out.last() != Some(&Piece::Space) {
                out.push(Piece::Space);
            }
            continue;
        }
        if c != '%' {
            out.push(Piece::Literal(c));
            continue;
        }
        let directive = chars.next();
        match directive {
            Some('Y') => out.push(Piece::Year),
            Some('m') => out.push(Piece::Month),
            Some('b' | 'B' | 'h') => out.push(Piece::MonthName),
            Some('d' | 'e') => out.push(Piece::Day),
            Some('H' | 'k') => out.push(Piece::Hour),
            Some('I' | 'l') => out.push(Piece::Hour12),
            Some('p') => out.push(Piece::HalfDay),
            Some('M') => out.push(Piece::Minute),
            Some('S') => out.push(Piece::Second),
            Some('f') => out.push(Piece::Fraction),
            Some('.') if chars.next() == Some('f') => out.push(Piece::PointFraction),
            Some('a' | 'A') => out.push(Piece::Weekday),
            Some('z') => out.push(Piece::Offset),
            Some('%') => out.push(Piece::Literal('%')),
            Some('F') => out.extend([Piece::Year, Piece::Literal('-'), Piece::Month, Piece::Literal('-'), Piece::Day]),
            Some('T') => {
                out.extend([Piece::Hour, Piece::Literal(':'), Piece::Minute, Piece::Literal(':'), Piece::Second])
            }
            other => {
                let other = other.map(String::from).unwrap_or_default();
                return Err(format!(
                    "%{other} is not known; there are %Y %m %d %e %b %B %a %A %H %I %p %M %S %f %.f %z %F %T %%"
                ));
            }
        }
    }
    let has = |piece| out.contains(&piece);
    match has(Piece::Day) && (has(Piece::Month) || has(Piece::MonthName)) {
        true => Ok(out),
        false => Err("the format has no day and month (%d and %m or %b)".into()),
    }
}

fn parts(pieces: &[Piece], text: &str) -> Option<Parts> {
    let mut parts = Parts::default();
    let mut rest = text;
    for piece in pieces {
        match piece {
            Piece::Literal(c) => rest = rest.strip_prefix(*c)?,
            Piece::Space => {
                let after = rest.trim_start();
                rest = (after.len() < rest.len()).then_some(after)?;
            }
            Piece::Year => parts.year = Some(number(&mut rest, 4)?),
            Piece::Month => parts.month = Some(number(&mut rest, 2)?),
            Piece::MonthName => parts.month = Some(1 + named(&mut rest, &MONTHS)?),
            Piece::Day => {
                rest = rest.trim_start_matches(' ');
                parts.day = Some(number(&mut rest, 2)?);
            }
            Piece::Hour | Piece::Hour12 => {
                rest = rest.trim_start_matches(' ');
                parts.hour = number(&mut rest, 2)?;
            }
            Piece::HalfDay => {
                let word = rest.get(..2)?.to_ascii_lowercase();
                parts.is_afternoon = Some(match word.as_str() {
                    "am" => false,
                    "pm" => true,
                    _ => return None,
                });
                rest = rest.get(2..)?;
            }
            Piece::Minute => parts.minute = number(&mut rest, 2)?,
            Piece::Second => parts.second = number(&mut rest, 2)?,
            Piece::Fraction => parts.fraction = digits(&mut rest, 9)?.to_owned(),
            Piece::PointFraction => {
                if let Some(after) = rest.strip_prefix('.') {
                    rest = after;
                    parts.fraction = digits(&mut rest, 9)?.to_owned();
                }
            }
            Piece::Weekday => {
                named(&mut rest, &WEEKDAYS)?;
            }
            Piece::Offset => parts.offset_minutes = Some(offset(&mut rest)?),
        }
    }
    rest.is_empty().then_some(parts)
}

impl Parts {
    fn moment(self, offset_minutes: i64, received: Timestamp) -> Option<Timestamp> {
        let hour = match self.is_afternoon {
            None => self.hour,
            Some(is_afternoon) if (1..=12).contains(&self.hour) => self.hour % 12 + if is_afternoon { 12 } else { 0 },
            Some(_) => return None,
        };
        let (month, day) = (self.month?, self.day?);
        let point = if self.fraction.is_empty() { "" } else { "." };
        let offset = self.offset_minutes.unwrap_or(offset_minutes);
        let moment = |year: i64| {
            let text = format!(
                "{year:04}-{month:02}-{day:02}T{hour:02}:{:02}:{:02}{point}{}Z",
                self.minute, self.second, self.fraction
            );
            let time = Timestamp::parse(&text).ok()?;
            Some(Timestamp::from_micros(time.as_micros() - offset * 60_000_000))
        };
        match self.year {
            Some(year) => moment(year),
            None => nearest_year(received, moment),
        }
    }
}

/// A count since 1970, as a number or a text of one; `1e9` is none.
fn counted(text: &str, unit_nanos: i128) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_count = (1..=20).contains(&whole.len())
        && fraction.len() <= 18
        && whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    let whole: i128 = is_count.then(|| whole.parse().ok()).flatten()?;
    let part: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
    let micros = i64::try_from((whole * unit_nanos + part * unit_nanos / scale) / 1_000).ok()?;
    let time = Timestamp::from_micros(micros);
    // What was held within the year 9999 is not what the text says.
    (time.as_micros() == micros).then_some(time)
}

fn number(rest: &mut &str, digits_max: usize) -> Option<i64> {
    digits(rest, digits_max)?.parse().ok()
}

fn digits<'t>(rest: &mut &'t str, digits_max: usize) -> Option<&'t str> {
    let end = rest.bytes().take(digits_max).take_while(u8::is_ascii_digit).count();
    let (digits, after) = rest.split_at_checked(end)?;
    *rest = after;
    (!digits.is_empty()).then_some(digits)
}

/// The place of a name, in full or its first three letters, in any case.
fn named(rest: &mut &str, names: &[&str]) -> Option<i64> {
    let is_at = |name: &str| rest.get(..name.len()).is_some_and(|text| text.eq_ignore_ascii_case(name));
    let (nth, length) = names.iter().enumerate().find_map(|(nth, name)| {
        if is_at(name) {
            return Some((nth, name.len()));
        }
        is_at(name.get(..3)?).then_some((nth, 3))
    })?;
    *rest = rest.get(length..)?;
    i64::try_from(nth).ok()
}

fn offset(rest: &mut &str) -> Option<i64> {
    if let Some(after) = rest.strip_prefix(['Z', 'z']) {
        *rest = after;
        return Some(0);
    }
    let sign = if rest.starts_with('-') { -1 } else { 1 };
    *rest = rest.strip_prefix(['+', '-'])?;
    let hours = digits(rest, 2).filter(|digits| digits.len() == 2)?.parse::<i64>().ok()?;
    *rest = rest.strip_prefix(':').unwrap_or(rest);
    let minutes = match digits(rest, 2) {
        Some(minutes) if minutes.len() == 2 => minutes.parse::<i64>().ok()?,
        Some(_) => return None,
        None => 0,
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(format: &str, text: &str) -> Option<String> {
        let received = Timestamp::parse("2026-11-25T04:00:00Z").unwrap();
        TimeFormat::parse(format).unwrap().read(text, 0, received).map(|time| time.to_string())
    }

    #[test]
    fn times_are_read_in_the_forms_that_logs_have() {
        for (format, text, expected) in [
            ("rfc3339", "2026-11-25T05:00:00+01:00", "2026-11-25T04:00:00.000000Z"),
            ("unix", "1763890442.5", "2025-11-23T09:34:02.500000Z"),
            ("unix_ms", "1763890442118", "2025-11-23T09:34:02.118000Z"),
            ("unix_ns", "1763890442118231999", "2025-11-23T09:34:02.118231Z"),
            ("%d/%b/%Y:%H:%M:%S %z", "10/Oct/2000:13:55:36 -0700", "2000-10-10T20:55:36.000000Z"),
            ("%a %b %e %T%.f %Y", "Thu Oct  5 13:55:36.25 2023", "2023-10-05T13:55:36.250000Z"),
            ("%F %I:%M %p", "2023-10-05 12:05 am", "2023-10-05T00:05:00.000000Z"),
            ("%b %e %T", "Dec 31 23:59:59", "2026-12-31T23:59:59.000000Z"),
            ("%b %e %T", "Jun  1 00:00:00", "2026-06-01T00:00:00.000000Z"),
        ] {
            assert_eq!(read(format, text).as_deref(), Some(expected), "{format} {text}");
        }
        for (format, text) in [
            ("unix", "-1"),
            ("unix", "1e9"),
            ("unix_ms", "99999999999999999"),
            ("%F", "2023-02-30"),
            ("rfc3339", "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(read(format, text), None, "{format} {text}");
        }
        for format in ["iso", "%Q %d %m", "%Y", "%"] {
            assert!(TimeFormat::parse(format).is_err(), "{format}");
        }
    }

    proptest! {
        #[test]
        fn formats_agree_with_jiff(seconds in 0_i64..253_000_000_000, nth in 0_usize..4) {
            let format = ["%Y-%m-%d %H:%M:%S %z", "%d/%b/%Y:%H:%M:%S %z", "%A, %B %e %Y %T %z", "%a %F %I:%M:%S %p %z"][nth];
            let moment = jiff::Timestamp::from_second(seconds).unwrap();
            let text = moment.strftime(format).to_string();
            prop_assert_eq!(read(format, &text), Some(Timestamp::from_micros(seconds * 1_000_000).to_string()));
        }

        #[test]
        fn no_format_and_no_text_panics(format in "(%?[a-zA-Z%. ]){0,8}", text in "\\PC{0,32}") {
            let (format, received) = (format!("%d %m {format}"), Timestamp::from_micros(0));
            if let Ok(format) = TimeFormat::parse(&format) {
                let _ = format.read(&text, 90, received);
            }
            let _ = offset_minutes(&text);
            for unit in ["unix", "unix_ns"] {
                let _ = TimeFormat::parse(unit).unwrap().read(&text, 0, received);
            }
        }
    }
}
