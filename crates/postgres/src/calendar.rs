//! Days and microseconds as people write them, in PostgreSQL's style `ISO`.

use std::fmt::{self, Write};

use record::civil_from_days;

/// Microseconds of a day.
pub(crate) const DAY: i64 = 86_400_000_000;
/// From 1970 to 2000, where PostgreSQL counts from, in days.
pub(crate) const EPOCH_DAYS: i64 = 10_957;

/// A date; the year 0 is the first one before Christ.
pub(crate) fn date(out: &mut impl Write, days: i64) -> fmt::Result {
    let (year, month, day) = civil_from_days(days);
    if year > 0 {
        write!(out, "{year:04}-{month:02}-{day:02}")
    } else {
        write!(out, "{:04}-{month:02}-{day:02} BC", 1 - year)
    }
}

/// A time of the day, which may be more than one day where it is a span.
pub(crate) fn time(out: &mut impl Write, micros: i64) -> fmt::Result {
    let micros = micros.unsigned_abs();
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    write!(out, "{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)?;
    if fraction == 0 {
        return Ok(());
    }
    let digits = format!("{fraction:06}");
    write!(out, ".{}", digits.trim_end_matches('0'))
}

/// A moment, after 1 January 1970.
pub(crate) fn moment(out: &mut impl Write, micros: i64, zone: &str) -> fmt::Result {
    let mut day = String::new();
    date(&mut day, micros.div_euclid(DAY))?;
    let (day, era) = day.split_once(' ').unwrap_or((&day, ""));
    write!(out, "{day} ")?;
    time(out, micros.rem_euclid(DAY))?;
    out.write_str(zone)?;
    if era.is_empty() { Ok(()) } else { write!(out, " {era}") }
}

/// A span of time.
pub(crate) fn interval(out: &mut impl Write, months: i32, days: i32, micros: i64) -> fmt::Result {
    let (years, rest) = (months / 12, months % 12);
    let mut parts: Vec<String> = Vec::new();
    // What is positive after what is negative has a sign.
    let mut sign = "";
    for (count, word) in [(years, "year"), (rest, "mon"), (days, "day")] {
        if count != 0 {
            let plural = if count == 1 { "" } else { "s" };
            parts.push(format!("{}{count} {word}{plural}", if count > 0 { sign } else { "" }));
            sign = if count < 0 { "+" } else { "" };
        }
    }
    if micros != 0 || parts.is_empty() {
        let mut clock = if micros < 0 { "-" } else { sign }.to_owned();
        time(&mut clock, micros)?;
        parts.push(clock);
    }
    out.write_str(&parts.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut String) -> fmt::Result) -> String {
        let mut out = String::new();
        write(&mut out).unwrap();
        out
    }

    /// As PostgreSQL 15 writes them.
    #[test]
    fn moments_and_spans_are_written_like_this() {
        let moment = |micros| written(|out| moment(out, micros, "+00"));
        assert_eq!(moment(0), "1970-01-01 00:00:00+00");
        assert_eq!(moment(-1), "1969-12-31 23:59:59.999999+00");
        assert_eq!(moment(1_798_020_067_291_000), "2026-12-23 10:01:07.291+00");
        assert_eq!(moment(-62_135_596_800_000_000 - 1), "0001-12-31 23:59:59.999999+00 BC");
        let span = |months, days, micros| written(|out| interval(out, months, days, micros));
        assert_eq!(span(0, 0, 0), "00:00:00");
        assert_eq!(span(14, -3, 3_600_500_000), "1 year 2 mons -3 days +01:00:00.5");
        assert_eq!(span(-14, 0, 0), "-1 years -2 mons");
        assert_eq!(span(0, 1, -1_000_000), "1 day -00:00:01");
        assert_eq!(span(0, 0, 360_000_000_000), "100:00:00");
    }

    proptest! {
        #[test]
        fn days_are_those_of_another_calendar(days in -700_000_i64..2_900_000) {
            let there = jiff::civil::date(1970, 1, 1) + jiff::Span::new().days(days);
            prop_assume!(there.year() > 0);
            prop_assert_eq!(written(|out| date(out, days)), there.to_string());
        }
    }
}
