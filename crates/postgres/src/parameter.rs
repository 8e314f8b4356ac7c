//! A parameter of a statement as SQL: a literal that reads as the value that was sent, and as nothing else. What then runs, is listed and is
//! recorded is the statement with its parameters in their places.

use std::fmt::Write as _;

use crate::calendar::{self, DAY, EPOCH_DAYS};

/// Types whose values a client may send: object identifiers in PostgreSQL.
mod oid {
    pub(super) const BOOL: u32 = 16;
    pub(super) const INT8: u32 = 20;
    pub(super) const INT2: u32 = 21;
    pub(super) const INT4: u32 = 23;
    pub(super) const OID: u32 = 26;
    pub(super) const FLOAT4: u32 = 700;
    pub(super) const FLOAT8: u32 = 701;
    pub(super) const NUMERIC: u32 = 1_700;
    pub(super) const DATE: u32 = 1_082;
    pub(super) const TIMESTAMP: u32 = 1_114;
    pub(super) const TIMESTAMPTZ: u32 = 1_184;
    pub(super) const UUID: u32 = 2_950;
    /// Unknown, `"char"`, name, text, json, char, varchar: what is sent is the text, in either form.
    pub(super) const TEXTS: [u32; 8] = [0, 18, 19, 25, 114, 705, 1_042, 1_043];
}

/// Why a parameter cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// It is no value of its type.
    #[error("parameter ${number} is no value of the type {oid} that it was announced as")]
    Value {
        /// Which one.
        number: usize,
        /// The type.
        oid: u32,
    },
    /// Its type in binary is none that is read here.
    #[error("parameter ${number} is of the type {oid}, which is not read in binary: send it as text")]
    Type {
        /// Which one.
        number: usize,
        /// The type.
        oid: u32,
    },
}

/// A parameter as SQL. `number` is which one it is, from 1.
///
/// # Errors
/// When it is no value of its type, or its type is not read.
pub fn literal(number: usize, oid: u32, value: Option<&[u8]>, is_binary: bool) -> Result<String, ParameterError> {
    let Some(value) = value else { return Ok("NULL".to_owned()) };
    let wrong = || ParameterError::Value { number, oid };
    if is_binary && !oid::TEXTS.contains(&oid) {
        return match of_binary(oid, value) {
            Some(read) => read.ok_or_else(wrong),
            None => Err(ParameterError::Type { number, oid }),
        };
    }
    let text = std::str::from_utf8(value).ok().filter(|text| !text.contains('\0')).ok_or_else(wrong)?;
    of_text(oid, text).ok_or_else(wrong)
}

/// None: it is no value of its type.
fn of_text(oid: u32, text: &str) -> Option<String> {
    match oid {
        oid::BOOL => match text.trim().to_ascii_lowercase().as_str() {
            "t" | "true" | "y" | "yes" | "on" | "1" => Some("true".to_owned()),
            "f" | "false" | "n" | "no" | "off" | "0" => Some("false".to_owned()),
            _ => None,
        },
        oid::INT2 | oid::INT4 | oid::INT8 | oid::OID => text.trim().parse().ok().map(whole),
        oid::FLOAT4 | oid::FLOAT8 | oid::NUMERIC => text.trim().parse().ok().map(float),
        _ => Some(quoted(text)),
    }
}

/// None: such a type is not read; some none: it is no value of its type.
fn of_binary(oid: u32, value: &[u8]) -> Option<Option<String>> {
    let i16 = || value.try_into().ok().map(i16::from_be_bytes);
    let i32 = || value.try_into().ok().map(i32::from_be_bytes);
    let i64 = || value.try_into().ok().map(i64::from_be_bytes);
    let moment = |zone| {
        let micros = i64()?.checked_add(EPOCH_DAYS * DAY)?;
        written(|out| calendar::moment(out, micros, zone))
    };
    Some(match oid {
        oid::BOOL => match value {
            [0] => Some("false".to_owned()),
            [1] => Some("true".to_owned()),
            _ => None,
        },
        oid::INT2 => i16().map(i64::from).map(whole),
        oid::INT4 => i32().map(i64::from).map(whole),
        oid::INT8 => i64().map(whole),
        oid::OID => value.try_into().ok().map(u32::from_be_bytes).map(i64::from).map(whole),
        oid::FLOAT4 => value.try_into().ok().map(f32::from_be_bytes).map(f64::from).map(float),
        oid::FLOAT8 => value.try_into().ok().map(f64::from_be_bytes).map(float),
        oid::TIMESTAMP => moment(""),
        oid::TIMESTAMPTZ => moment("+00:00"),
        oid::DATE => i32().and_then(|days| written(|out| calendar::date(out, i64::from(days) + EPOCH_DAYS))),
        oid::UUID => <[u8; 16]>::try_from(value).ok().and_then(uuid),
        _ => return None,
    })
}

fn written(write: impl FnOnce(&mut String) -> std::fmt::Result) -> Option<String> {
    let mut text = String::new();
    write(&mut text).ok().map(|()| quoted(&text))
}

fn uuid(bytes: [u8; 16]) -> Option<String> {
    written(|out| {
        for (nth, byte) in bytes.iter().enumerate() {
            if [4, 6, 8, 10].contains(&nth) {
                out.push('-');
            }
            write!(out, "{byte:02x}")?;
        }
        Ok(())
    })
}

/// What is less than nothing is put so that nothing beside it can bind closer than its sign.
fn whole(number: i64) -> String {
    if number < 0 { format!("CAST('{number}' AS BIGINT)") } else { number.to_string() }
}

fn float(number: f64) -> String {
    format!("CAST('{number:?}' AS DOUBLE PRECISION)")
}

/// A text between quotes, with those within it doubled: PostgreSQL's standard strings know no other escape.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(oid: u32, value: &str) -> Result<String, ParameterError> {
        literal(1, oid, Some(value.as_bytes()), false)
    }

    #[test]
    fn parameters_are_written_like_this() {
        let binary = |oid, value: &[u8]| literal(1, oid, Some(value), true).unwrap();
        let written = [
            text(0, "it's '' \\' \"x\"").unwrap(),
            text(20, "7").unwrap(),
            text(23, " -7").unwrap(),
            text(16, "f").unwrap(),
            text(701, "1.5").unwrap(),
            literal(1, 25, None, false).unwrap(),
            binary(25, b"a'b"),
            binary(21, &(-2_i16).to_be_bytes()),
            binary(701, &0.1_f64.to_be_bytes()),
            binary(1_184, &1_500_000_i64.to_be_bytes()),
            binary(1_082, &1_i32.to_be_bytes()),
            binary(2_950, &[0xab; 16]),
        ];
        let expected = [
            r#"'it''s '''' \'' "x"'"#,
            "7",
            "CAST('-7' AS BIGINT)",
            "false",
            "CAST('1.5' AS DOUBLE PRECISION)",
            "NULL",
            "'a''b'",
            "CAST('-2' AS BIGINT)",
            "CAST('0.1' AS DOUBLE PRECISION)",
            "'2000-01-01 00:00:01.5+00:00'",
            "'2000-01-02'",
            "'abababab-abab-abab-abab-abababababab'",
        ];
        assert_eq!(written, expected);
    }

    #[test]
    fn what_is_no_value_of_its_type_is_refused() {
        for (oid, value) in [(20, "1; DROP TABLE x"), (16, "maybe"), (701, "one"), (25, "a\0b")] {
            assert_eq!(text(oid, value), Err(ParameterError::Value { number: 1, oid }));
        }
        assert_eq!(literal(2, 25, Some(b"\xff"), true), Err(ParameterError::Value { number: 2, oid: 25 }));
        assert_eq!(literal(2, 20, Some(b"1"), true), Err(ParameterError::Value { number: 2, oid: 20 }));
        assert_eq!(literal(2, 1_700, Some(b"1"), true), Err(ParameterError::Type { number: 2, oid: 1_700 }));
    }
}
