//! What a cron pattern says about the clock on the wall, without any zone: which local times it names, and whether
//! they are fixed.
//!
//! The grammar is checked here, field by field (see [`field`]), because `croner` takes some texts that nobody means (`JANFEB` is its
//! December, `1,,2` and `MON` in the field of minutes pass, `,` never fires) and because its errors do not say which
//! field is wrong. What has passed is handed to it as numbers, and it decides days: `L`, `W` and `#` are its own.

mod field;

use std::fmt::Write as _;

use chrono::{DateTime, Datelike, NaiveDate};
use croner::{
    CronPattern, Weekday,
    parser::{CronParser, Seconds, Year},
};
use tidewire_core::problem::clip;

use super::zone::DAY;
use field::FIELDS;

/// How far ahead a match is looked for. The rarest pattern that fires at all is 29 February on a given weekday, which
/// comes once in 40 years around a century that is no leap year.
pub(crate) const MAX_YEARS: i64 = 50;
const MAX_DAYS: i64 = MAX_YEARS * 366;
/// Longer than any list of all 60 minutes.
const MAX_LENGTH: usize = 512;

#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    /// One bit for each second, minute, hour and month that is named.
    seconds: u64,
    minutes: u64,
    hours: u64,
    months: u64,
    /// Which days of a month are named.
    days: CronPattern,
    /// Hour and minute are numbers, without a wildcard, a step or a range.
    pub fixed: bool,
}

impl Pattern {
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_LENGTH {
            let length = text.len();
            return Err(format!(
                "has {length} characters, and {MAX_LENGTH} are the most"
            ));
        }
        let upper = text.trim().to_ascii_uppercase();
        let full = match upper.strip_prefix('@') {
            Some(name) => nickname(name)
                .ok_or_else(|| {
                    format!(
                        "`{}` is none of @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly",
                        clip(text)
                    )
                })?
                .to_owned(),
            None => upper,
        };
        let mut parts: Vec<&str> = full.split_ascii_whitespace().collect();
        match parts.len() {
            5 => parts.insert(0, "0"),
            6 => {}
            count => {
                return Err(format!(
                    "`{}` has {count} fields: write minute, hour, day of month, month and day of week, or these five after the second",
                    clip(text)
                ));
            }
        }
        let mut numbers = String::new();
        for (field, part) in FIELDS.iter().zip(&parts) {
            let written = field.numbers(part)?;
            // A `String` takes whatever is written to it.
            let _ = write!(numbers, "{written} ");
        }
        let cron = CronParser::builder()
            .seconds(Seconds::Required)
            .year(Year::Disallowed)
            .build()
            .parse(&numbers)
            .map_err(|error| format!("`{}` is no cron pattern: {error}", clip(text)))?;
        let bits = |values: Vec<u16>| values.iter().fold(0, |bits, value| bits | 1u64 << value);
        let pattern = cron.pattern;
        Ok(Pattern {
            seconds: bits(pattern.seconds.values()),
            minutes: bits(pattern.minutes.values()),
            hours: bits(pattern.hours.values()),
            months: bits(pattern.months.values()),
            days: pattern,
            fixed: is_fixed(parts[1]) && is_fixed(parts[2]),
        })
    }

    /// The first local time at or after `from` that the pattern names, if there is one within [`MAX_YEARS`].
    pub fn next(&self, from: i64) -> Option<i64> {
        let (mut day, mut second) = (from.div_euclid(DAY), from.rem_euclid(DAY));
        let last = day + MAX_DAYS;
        loop {
            let found = self.next_day(day, last)?;
            if found > day {
                (day, second) = (found, 0);
            }
            if let Some(second) = self.next_time(second) {
                return Some(day * DAY + second);
            }
            (day, second) = (day + 1, 0);
        }
    }

    /// Days are counted from 1970.
    fn next_day(&self, from: i64, last: i64) -> Option<i64> {
        let mut day = from;
        while day <= last {
            let date = date(day)?;
            if self.months >> date.month() & 1 == 0 {
                let (year, month) = match date.month() {
                    12 => (date.year() + 1, 1),
                    month => (date.year(), month + 1),
                };
                let next = NaiveDate::from_ymd_opt(year, month, 1)?;
                day += (next - date).num_days();
                continue;
            }
            let weekday = Weekday::from_days_from_sunday(date.weekday().num_days_from_sunday());
            if self
                .days
                .day_match(date.year(), date.month(), date.day(), weekday)
                .is_ok_and(|named| named)
            {
                return Some(day);
            }
            day += 1;
        }
        None
    }

    /// The first named time of day at or after `from`, in seconds.
    fn next_time(&self, from: i64) -> Option<i64> {
        let (hour, minute, second) = (from / 3600, from / 60 % 60, from % 60);
        let time = |hour: i64, minute: i64, second: i64| hour * 3600 + minute * 60 + second;
        let first_minute = || next_bit(self.minutes, 0);
        let first_second = || next_bit(self.seconds, 0);
        if self.hours >> hour & 1 == 1 {
            if self.minutes >> minute & 1 == 1
                && let Some(second) = next_bit(self.seconds, second)
            {
                return Some(time(hour, minute, second));
            }
            if let Some(minute) = next_bit(self.minutes, minute + 1) {
                return Some(time(hour, minute, first_second()?));
            }
        }
        let hour = next_bit(self.hours, hour + 1)?;
        Some(time(hour, first_minute()?, first_second()?))
    }
}

fn date(day: i64) -> Option<NaiveDate> {
    DateTime::from_timestamp(day.checked_mul(DAY)?, 0).map(|at| at.date_naive())
}

/// The lowest bit that is set at or above `from`.
fn next_bit(bits: u64, from: i64) -> Option<i64> {
    let above = bits & u64::MAX.checked_shl(u32::try_from(from).ok()?)?;
    (above != 0).then(|| i64::from(above.trailing_zeros()))
}

fn nickname(name: &str) -> Option<&'static str> {
    Some(match name {
        "YEARLY" | "ANNUALLY" => "0 0 1 1 *",
        "MONTHLY" => "0 0 1 * *",
        "WEEKLY" => "0 0 * * 0",
        "DAILY" | "MIDNIGHT" => "0 0 * * *",
        "HOURLY" => "0 * * * *",
        _ => return None,
    })
}

fn is_fixed(part: &str) -> bool {
    part.bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b',')
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDateTime;

    use super::*;

    const FORM: &str = "%Y-%m-%d %H:%M:%S";

    fn next(pattern: &str, from: &str) -> String {
        let from = NaiveDateTime::parse_from_str(from, FORM).unwrap();
        let pattern = Pattern::parse(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        let found = pattern.next(from.and_utc().timestamp()).expect("it fires");
        DateTime::from_timestamp(found, 0)
            .unwrap()
            .naive_utc()
            .format(FORM)
            .to_string()
    }

    #[test]
    fn local_times_are_found() {
        // 2026-01-01 is a Thursday.
        for (pattern, from, found) in [
            ("* * * * *", "2026-01-01 00:00:00", "2026-01-01 00:00:00"),
            ("* * * * *", "2026-01-01 00:00:01", "2026-01-01 00:01:00"),
            (
                "*/7 * * * * *",
                "2026-01-01 23:59:57",
                "2026-01-02 00:00:00",
            ),
            ("30 4 * * *", "2026-01-01 04:30:01", "2026-01-02 04:30:00"),
            ("0 0 29 2 *", "2026-01-01 00:00:00", "2028-02-29 00:00:00"),
            ("0 0 29 2 *", "2097-01-01 00:00:00", "2104-02-29 00:00:00"),
            // Both days given: either of them.
            ("0 0 13 * FRI", "2026-01-03 00:00:00", "2026-01-09 00:00:00"),
            ("0 0 13 * FRI", "2026-01-10 00:00:00", "2026-01-13 00:00:00"),
            // Both days joined: both of them.
            (
                "0 0 13 * +FRI",
                "2026-01-01 00:00:00",
                "2026-02-13 00:00:00",
            ),
            (
                "0 0 29 2 +SUN",
                "2088-03-01 00:00:00",
                "2128-02-29 00:00:00",
            ),
            ("0 0 ? * 1-5", "2026-01-03 00:00:00", "2026-01-05 00:00:00"),
            (
                "0 0 * * FRI-SUN",
                "2026-01-05 00:00:00",
                "2026-01-09 00:00:00",
            ),
            (
                "0 0 * * SUN-TUE",
                "2026-01-07 00:00:00",
                "2026-01-11 00:00:00",
            ),
            ("0 0 * * 7", "2026-01-01 00:00:00", "2026-01-04 00:00:00"),
            ("0 0 L * *", "2026-02-01 00:00:00", "2026-02-28 00:00:00"),
            ("0 0 LW * *", "2026-02-01 00:00:00", "2026-02-27 00:00:00"),
            ("0 0 15W * *", "2026-02-01 00:00:00", "2026-02-16 00:00:00"),
            (
                "0 0 * * FRI#2",
                "2026-01-01 00:00:00",
                "2026-01-09 00:00:00",
            ),
            (
                "0 0 * * MON#L",
                "2026-01-01 00:00:00",
                "2026-01-26 00:00:00",
            ),
            ("0 0 * * MONL", "2026-01-01 00:00:00", "2026-01-26 00:00:00"),
            (
                "0 0 1 jan,Jul *",
                "2026-01-02 00:00:00",
                "2026-07-01 00:00:00",
            ),
            (
                "5-59/20 22 * * *",
                "2026-01-01 22:26:00",
                "2026-01-01 22:45:00",
            ),
            ("@yearly", "2026-01-01 00:00:01", "2027-01-01 00:00:00"),
            ("@annually", "2026-01-01 00:00:01", "2027-01-01 00:00:00"),
            ("@monthly", "2026-01-01 00:00:01", "2026-02-01 00:00:00"),
            ("@weekly", "2026-01-01 00:00:00", "2026-01-04 00:00:00"),
            ("@Daily", "2026-01-01 00:00:01", "2026-01-02 00:00:00"),
            ("@midnight", "2026-01-01 00:00:01", "2026-01-02 00:00:00"),
            ("@hourly", "2026-01-01 00:00:01", "2026-01-01 01:00:00"),
        ] {
            assert_eq!(next(pattern, from), found, "{pattern} from {from}");
        }
    }

    #[test]
    fn what_never_comes_is_not_found_and_not_looked_for_long() {
        for pattern in ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 30W 2 *"] {
            assert_eq!(Pattern::parse(pattern).unwrap().next(0), None, "{pattern}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_the_field() {
        for (pattern, what) in [
            ("", "0 fields"),
            ("* * * *", "4 fields"),
            ("* * * * * * *", "7 fields"),
            ("@reboot", "@reboot"),
            ("@", "@yearly"),
            ("60 * * * *", "the minute `60` is outside 0 to 59"),
            ("* 24 * * *", "the hour `24`"),
            ("* * 0 * *", "the day of month `0`"),
            ("* * * 13 *", "the month `13`"),
            ("* * * * 8", "the day of week `8`"),
            ("61 * * * * *", "the second `61`"),
            ("MON * * * *", "the minute `MON`"),
            ("* * * JANFEB *", "the month `JANFEB`"),
            (
                "* * * * JAN",
                "the day of week `JAN` is not made of 0 to 7 or SUN to SAT",
            ),
            ("1,,2 * * * *", "empty place"),
            (", * * * *", "empty place"),
            ("*,5 * * * *", "`*` in a list"),
            ("5-1 * * * *", "goes from 5 back to 1"),
            ("1-2-3 * * * *", "the minute `1-2-3`"),
            ("*/0 * * * *", "step `0`"),
            ("*/90 * * * *", "step `90`"),
            ("*/+5 * * * *", "step `+5`"),
            ("5/10 * * * *", "step without a range"),
            ("/10 * * * *", "the minute `/10`"),
            ("L * * * *", "the minute `L`"),
            ("* * * * L", "the day of week `L`"),
            ("* * * * FRI#6", "number `6`"),
            ("* * * * *#2", "names no weekday"),
            ("* * 32W * *", "the day of month `32W`"),
            ("+1 * * * *", "the minute `+1`"),
            ("99999999999999999999 * * * *", "outside 0 to 59"),
            ("１ * * * *", "the minute"),
        ] {
            let error = Pattern::parse(pattern).expect_err(pattern);
            assert!(error.contains(what), "{pattern}: {error}");
        }
        assert!(Pattern::parse(&"1,".repeat(400)).is_err());
    }

    #[test]
    fn only_plain_numbers_in_hour_and_minute_are_fixed() {
        for (pattern, fixed) in [
            ("30 2 * * *", true),
            ("0,30 2,14 * * 1-5", true),
            ("*/10 30 2 * * *", true),
            ("@daily", true),
            ("@hourly", false),
            ("30 * * * *", false),
            ("*/5 2 * * *", false),
            ("30 1-3 * * *", false),
            ("0,10-20 2 * * *", false),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().fixed, fixed, "{pattern}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[-0-9*,/#@LW?+ A-Za-z]{0,40}") {
            if let Ok(pattern) = Pattern::parse(&text) {
                let _ = pattern.next(1_780_000_000);
            }
        }
    }
}
