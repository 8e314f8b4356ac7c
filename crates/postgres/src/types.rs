//! Types by their object identifiers in PostgreSQL, and values of them as text and in binary.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::calendar::{self, DAY, EPOCH_DAYS};

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// As people write it.
    Text,
    /// As PostgreSQL's functions `…send` write it.
    Binary,
}

impl Format {
    /// Its number.
    #[must_use]
    pub(crate) const fn code(self) -> u16 {
        match self {
            Self::Text => 0,
            Self::Binary => 1,
        }
    }
}

/// A type of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// `boolean`
    Bool,
    /// `integer`
    Int4,
    /// `bigint`
    Int8,
    /// `real`
    Float4,
    /// `double precision`
    Float8,
    /// `numeric`
    Numeric,
    /// `text`
    Text,
    /// `bytea`
    Bytes,
    /// `date`
    Date,
    /// `time without time zone`
    Time,
    /// `timestamp without time zone`
    Timestamp,
    /// `timestamp with time zone`
    TimestampTz,
    /// `interval`
    Interval,
    /// `json`
    Json,
}

impl Type {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Bool,
        Self::Int4,
        Self::Int8,
        Self::Float4,
        Self::Float8,
        Self::Numeric,
        Self::Text,
        Self::Bytes,
        Self::Date,
        Self::Time,
        Self::Timestamp,
        Self::TimestampTz,
        Self::Interval,
        Self::Json,
    ];

    /// Object identifier, bytes of a value (-1: as many as it has), short name, and name in the standard.
    const fn facts(self) -> (u32, i16, &'static str, &'static str) {
        match self {
            Self::Bool => (16, 1, "bool", "boolean"),
            Self::Int4 => (23, 4, "int4", "integer"),
            Self::Int8 => (20, 8, "int8", "bigint"),
            Self::Float4 => (700, 4, "float4", "real"),
            Self::Float8 => (701, 8, "float8", "double precision"),
            Self::Numeric => (1_700, -1, "numeric", "numeric"),
            Self::Text => (25, -1, "text", "text"),
            Self::Bytes => (17, -1, "bytea", "bytea"),
            Self::Date => (1_082, 4, "date", "date"),
            Self::Time => (1_083, 8, "time", "time without time zone"),
            Self::Timestamp => (1_114, 8, "timestamp", "timestamp without time zone"),
            Self::TimestampTz => (1_184, 8, "timestamptz", "timestamp with time zone"),
            Self::Interval => (1_186, 16, "interval", "interval"),
            Self::Json => (114, -1, "json", "json"),
        }
    }

    /// Its object identifier.
    #[must_use]
    pub const fn oid(self) -> u32 {
        self.facts().0
    }

    /// Its short name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.facts().2
    }

    /// Its name in the standard.
    #[must_use]
    pub const fn standard_name(self) -> &'static str {
        self.facts().3
    }

    /// What it is one of, in a letter: `typcategory`.
    #[must_use]
    pub const fn category(self) -> char {
        match self {
            Self::Bool => 'B',
            Self::Int4 | Self::Int8 | Self::Float4 | Self::Float8 | Self::Numeric => 'N',
            Self::Text => 'S',
            Self::Date | Self::Time | Self::Timestamp | Self::TimestampTz => 'D',
            Self::Interval => 'T',
            Self::Bytes | Self::Json => 'U',
        }
    }

    /// The bytes of a value; -1: as many as it has.
    #[must_use]
    pub const fn bytes(self) -> i16 {
        self.facts().1
    }
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// None.
    Null,
    /// True or false.
    Bool(bool),
    /// Of four bytes.
    Int4(i32),
    /// Of eight bytes.
    Int8(i64),
    /// Of four bytes.
    Float4(f32),
    /// Of eight bytes.
    Float8(f64),
    /// Digits, with a sign and a point.
    Numeric(Cow<'a, str>),
    /// A text.
    Text(Cow<'a, str>),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Days after 1 January 1970.
    Date(i32),
    /// Microseconds after midnight.
    Time(i64),
    /// Microseconds after the beginning of 1970, wherever that is.
    Timestamp(i64),
    /// Microseconds after the beginning of 1970 in UTC.
    TimestampTz(i64),
    /// Months, days, microseconds.
    Interval(i32, i32, i64),
    /// A document.
    Json(Cow<'a, str>),
}

impl Value<'_> {
    pub(crate) fn write(&self, format: Format, out: &mut Vec<u8>) {
        match format {
            Format::Text => self.write_text(out),
            Format::Binary => self.write_binary(out),
        }
    }

    fn write_text(&self, out: &mut Vec<u8>) {
        let mut text = String::new();
        // A text takes whatever is written to it.
        let _ = match self {
            Self::Null => Ok(()),
            Self::Bool(fact) => text.write_str(if *fact { "t" } else { "f" }),
            Self::Int4(number) => write!(text, "{number}"),
            Self::Int8(number) => write!(text, "{number}"),
            Self::Float4(number) => float(&mut text, f64::from(*number), || number.to_string()),
            Self::Float8(number) => float(&mut text, *number, || number.to_string()),
            Self::Numeric(said) | Self::Text(said) | Self::Json(said) => return out.extend(said.as_bytes()),
            Self::Bytes(bytes) => {
                text.push_str("\\x");
                bytes.iter().try_for_each(|byte| write!(text, "{byte:02x}"))
            }
            Self::Date(days) => calendar::date(&mut text, i64::from(*days)),
            Self::Time(micros) => calendar::time(&mut text, *micros),
            Self::Timestamp(micros) => calendar::moment(&mut text, *micros, ""),
            Self::TimestampTz(micros) => calendar::moment(&mut text, *micros, "+00"),
            Self::Interval(months, days, micros) => calendar::interval(&mut text, *months, *days, *micros),
        };
        out.extend(text.as_bytes());
    }

    fn write_binary(&self, out: &mut Vec<u8>) {
        // What lies further away than the type reaches is the furthest that it has.
        let since_2000 = |micros: i64| micros.saturating_sub(EPOCH_DAYS * DAY).to_be_bytes();
        match self {
            Self::Null => {}
            Self::Bool(fact) => out.push(u8::from(*fact)),
            Self::Int4(number) => out.extend(number.to_be_bytes()),
            Self::Int8(number) => out.extend(number.to_be_bytes()),
            Self::Float4(number) => out.extend(number.to_be_bytes()),
            Self::Float8(number) => out.extend(number.to_be_bytes()),
            Self::Numeric(digits) => numeric(digits, out),
            Self::Text(said) | Self::Json(said) => out.extend(said.as_bytes()),
            Self::Bytes(bytes) => out.extend(*bytes),
            Self::Date(days) => {
                let days = i64::from(*days).saturating_sub(EPOCH_DAYS);
                out.extend(i32::try_from(days).unwrap_or(i32::MIN).to_be_bytes());
            }
            Self::Time(micros) => out.extend(micros.to_be_bytes()),
            Self::Timestamp(micros) | Self::TimestampTz(micros) => out.extend(since_2000(*micros)),
            Self::Interval(months, days, micros) => {
                out.extend(micros.to_be_bytes());
                out.extend(days.to_be_bytes());
                out.extend(months.to_be_bytes());
            }
        }
    }
}

/// A number as PostgreSQL writes it: with an exponent where it is very large or small.
fn float(out: &mut String, number: f64, plain: impl FnOnce() -> String) -> std::fmt::Result {
    let size = number.abs();
    if number.is_nan() {
        out.write_str("NaN")
    } else if number.is_infinite() {
        out.write_str(if number > 0.0 { "Infinity" } else { "-Infinity" })
    } else if size != 0.0 && !(1e-4..1e15).contains(&size) {
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
        write!(out, "{digits}e{sign}{exponent:0>2}")
    } else {
        out.write_str(&plain())
    }
}

/// A decimal number as `numeric_send` writes it: in digits of the base 10,000, by where the first of them stands.
fn numeric(text: &str, out: &mut Vec<u8>) {
    let (sign, digits) = text.strip_prefix('-').map_or((0_u16, text), |rest| (0x4000, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    // Each part is filled up to fours, away from the point.
    let filled = format!("{whole:0>width$}", width = whole.len().next_multiple_of(4));
    let weight = filled.len() / 4;
    let filled = format!("{filled}{fraction:0<width$}", width = fraction.len().next_multiple_of(4));
    let fours = filled.as_bytes().chunks(4);
    let mut groups: Vec<u16> =
        fours.map(|four| four.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit.saturating_sub(b'0')))).collect();
    let leading = groups.iter().take_while(|group| **group == 0).count();
    groups.drain(..leading);
    while groups.last() == Some(&0) {
        groups.pop();
    }
    let weight = i16::try_from(weight).unwrap_or(i16::MAX).saturating_sub(i16::try_from(leading).unwrap_or(i16::MAX));
    let weight = if groups.is_empty() { 0 } else { weight - 1 };
    let sign = if groups.is_empty() { 0 } else { sign };
    out.extend(u16::try_from(groups.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend(weight.to_be_bytes());
    out.extend(sign.to_be_bytes());
    out.extend(u16::try_from(fraction.len()).unwrap_or(u16::MAX).to_be_bytes());
    groups.iter().for_each(|group| out.extend(group.to_be_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &Value<'_>) -> String {
        let mut out = Vec::new();
        value.write(Format::Text, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn binary(value: &Value<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        value.write(Format::Binary, &mut out);
        out
    }

    /// As PostgreSQL 15 writes them.
    #[test]
    fn values_are_written_as_text() {
        let numbers = [0.0, 1.0, -0.5, 0.1, 1e14, 1e15, 1.5e300, 1e-4, 1e-5, 2.5e-7, f64::NAN, f64::NEG_INFINITY];
        let said = numbers.map(|number| text(&Value::Float8(number))).join(" ");
        assert_eq!(said, "0 1 -0.5 0.1 100000000000000 1e+15 1.5e+300 0.0001 1e-05 2.5e-07 NaN -Infinity");
        assert_eq!(text(&Value::Float4(0.1)), "0.1");
        assert_eq!(text(&Value::Bool(true)), "t");
        assert_eq!(text(&Value::Bytes(&[0, 255])), "\\x00ff");
        assert_eq!(text(&Value::Date(20_000)), "2024-10-04");
        assert_eq!(text(&Value::TimestampTz(-1_500_000)), "1969-12-31 23:59:58.5+00");
    }

    /// As PostgreSQL 15 sends them (`SELECT numeric_send(…)`).
    #[test]
    fn values_are_written_in_binary() {
        let numeric = |digits: &'static str| binary(&Value::Numeric(digits.into()));
        assert_eq!(numeric("0.00"), [0, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(numeric("12345.678"), [0, 3, 0, 1, 0, 0, 0, 3, 0, 1, 9, 41, 26, 124]);
        assert_eq!(numeric("-0.00012"), [0, 2, 255, 255, 64, 0, 0, 5, 0, 1, 7, 208]);
        assert_eq!(numeric("10000"), [0, 1, 0, 1, 0, 0, 0, 0, 0, 1]);
        assert_eq!(binary(&Value::TimestampTz(EPOCH_DAYS * DAY + 1)), 1_i64.to_be_bytes());
        assert_eq!(binary(&Value::Date(10_958)), 1_i32.to_be_bytes());
        assert_eq!(binary(&Value::Interval(1, 2, 3)), [0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 1]);
    }
}
