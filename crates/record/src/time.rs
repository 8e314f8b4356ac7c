//! Time as a record writes it: UTC, microseconds, RFC 3339.

use std::fmt;

/// A moment, in whole microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A text that is not an RFC 3339 moment between the years 0 and 9999.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a time as RFC 3339 writes it (2026-11-23T09:14:02.118231Z)")]
pub struct TimestampError(String);

const DAY_MICROS: i64 = 86_400_000_000;
/// 9999-12-31T23:59:59.999999Z: later moments have no four-digit year.
const MICROS_MAX: i64 = 253_402_300_799_999_999;
/// 0000-01-01T00:00:00Z.
const MICROS_MIN: i64 = -62_167_219_200_000_000;

impl Timestamp {
    /// A moment from microseconds since the Unix epoch, held within the years 0 to 9999.
    #[must_use]
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.clamp(MICROS_MIN, MICROS_MAX))
    }

    /// A moment from POSIX seconds, as [`Timestamp::from_micros`].
    #[must_use]
    pub fn from_posix_seconds(seconds: u64) -> Self {
        Self::from_micros(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000))
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Reads an RFC 3339 moment with any offset (section 5.6); digits beyond microseconds are cut off, and a leap second is
    /// the second before it.
    ///
    /// # Errors
    /// When the text is not such a moment.
    pub fn parse(text: &str) -> Result<Self, TimestampError> {
        Self::read(text.as_bytes()).ok_or_else(|| TimestampError(text.to_owned()))
    }

    fn read(text: &[u8]) -> Option<Self> {
        let (second, rest) = text.split_at_checked(19)?;
        let (micros, offset) = match rest.split_first()? {
            (b'.', rest) => fraction(rest)?,
            _ => (0, rest),
        };
        let offset_minutes = match offset {
            b"Z" | b"z" => 0,
            [sign @ (b'+' | b'-'), rest @ ..] => {
                let (hours, minutes) = (number(rest, 0, 2)?, number(rest, 3, 5)?);
                let fits = rest.len() == 5 && rest.get(2) == Some(&b':') && hours < 24 && minutes < 60;
                fits.then_some(if *sign == b'-' { -1 } else { 1 } * (hours * 60 + minutes))?
            }
            _ => return None,
        };
        let micros = whole_second(second)? * 1_000_000 + micros - offset_minutes * 60_000_000;
        (MICROS_MIN..=MICROS_MAX).contains(&micros).then_some(Self(micros))
    }

    /// The day that it is of, in UTC: days after 1 January 1970.
    #[must_use]
    pub const fn day(self) -> i64 {
        self.0.div_euclid(DAY_MICROS)
    }

    /// Writes the 27 bytes `2026-11-23T09:14:02.118231Z` at the end of `out`.
    pub fn write_to(self, out: &mut Vec<u8>) {
        let in_day = self.0.rem_euclid(DAY_MICROS);
        let (year, month, day) = civil_from_days(self.day());
        let (seconds, micros) = (in_day / 1_000_000, in_day % 1_000_000);
        digits(out, year, 4);
        out.push(b'-');
        digits(out, month, 2);
        out.push(b'-');
        digits(out, day, 2);
        out.push(b'T');
        digits(out, seconds / 3_600, 2);
        out.push(b':');
        digits(out, seconds / 60 % 60, 2);
        out.push(b':');
        digits(out, seconds % 60, 2);
        out.push(b'.');
        digits(out, micros, 6);
        out.push(b'Z');
    }
}

/// Seconds since the epoch of `2026-11-23T09:14:02`, as UTC.
fn whole_second(text: &[u8]) -> Option<i64> {
    let marks = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    let is_split = matches!(text.get(10), Some(b'T' | b't' | b' '));
    if !is_split || marks.iter().any(|(at, mark)| text.get(*at) != Some(mark)) {
        return None;
    }
    let (year, month, day) = (number(text, 0, 4)?, number(text, 5, 7)?, number(text, 8, 10)?);
    let (hour, minute, second) = (number(text, 11, 13)?, number(text, 14, 16)?, number(text, 17, 19)?);
    let days = days_from_civil(year, month, day);
    let real = civil_from_days(days) == (year, month, day) && hour < 24 && minute < 60 && second <= 60;
    real.then_some(((days * 24 + hour) * 60 + minute) * 60 + second.min(59))
}

/// The digits after the point in microseconds, and what stands after them.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let length = text.iter().position(|byte| !byte.is_ascii_digit()).filter(|length| (1..=9).contains(length))?;
    let (digits, rest) = text.split_at(length);
    let kept = digits.len().min(6);
    let scale = i64::pow(10, 6 - u32::try_from(kept).ok()?);
    Some((number(digits, 0, kept)? * scale, rest))
}

fn number(text: &[u8], from: usize, to: usize) -> Option<i64> {
    let digits = text.get(from..to)?.iter();
    digits.copied().try_fold(0_i64, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::with_capacity(27);
        self.write_to(&mut out);
        f.write_str(std::str::from_utf8(&out).unwrap_or_default())
    }
}

/// The proleptic Gregorian date, year, month and day, so many days after 1 January 1970 (Howard Hinnant, "chrono-compatible low-level date
/// algorithms"). By hand because a leaf needs it on the writer's thread for every record,
/// and because whoever audits the checker has one dependency less to read.
#[must_use]
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// The inverse of [`civil_from_days`], from the same source; other months than 1 to 12 give days that do not come back.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn digits(out: &mut Vec<u8>, value: i64, width: usize) {
    let start = out.len();
    out.resize(start + width, b'0');
    let mut rest = value.unsigned_abs();
    for place in out.iter_mut().skip(start).rev() {
        *place = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_moment_is_written_with_six_digits_and_a_z() {
        let moment = Timestamp::parse("2026-11-23T10:14:02.1182319+01:00").unwrap();
        assert_eq!(moment.to_string(), "2026-11-23T09:14:02.118231Z");
    }

    proptest! {
        #[test]
        fn our_writing_agrees_with_jiff(micros in MICROS_MIN..=MICROS_MAX) {
            let ours = Timestamp::from_micros(micros);
            prop_assume!(jiff::Timestamp::from_microsecond(micros).is_ok());
            let theirs = jiff::Timestamp::from_microsecond(micros).unwrap();
            prop_assert_eq!(ours.to_string().parse::<jiff::Timestamp>().unwrap(), theirs);
            prop_assert_eq!(ours.to_string().len(), 27);
            prop_assert_eq!(Timestamp::parse(&ours.to_string()).unwrap(), ours);
        }

        /// Days that there are not, odd fractions, offsets: what jiff takes is taken and means the same.
        #[test]
        fn our_reading_agrees_with_jiff(
            month in 0..14, day in 0..33, hour in 0..26, second in 0..62,
            fraction in "(\\.[0-9]{1,9})?", offset in "Z|z|[+-]([01][0-9]|2[0-3]):[0-5][0-9]", split in "[Tt ]",
        ) {
            let text = format!("2024-{month:02}-{day:02}{split}{hour:02}:00:{second:02}{fraction}{offset}");
            let theirs = text.parse::<jiff::Timestamp>().ok().and_then(|moment| i64::try_from(moment.as_nanosecond().div_euclid(1_000)).ok());
            prop_assert_eq!(Timestamp::parse(&text).ok().map(Timestamp::as_micros), theirs, "{}", text);
        }

        #[test]
        fn no_text_makes_reading_panic(text in "\\PC*") {
            let _ = Timestamp::parse(&text);
        }
    }
}
