//! A time zone as a sequence of offsets from UTC. Everything is asked of the zone by instants, which have exactly one
//! answer; local times, which may have none or two, are found by walking the instants.
//!
//! Instants are seconds since 1970 in UTC; local times are the same count of what the clock on the wall shows.

use chrono::{DateTime, NaiveDateTime, Offset as _, TimeZone as _};
use chrono_tz::Tz;
use tidewire_core::{Time, problem::clip};

pub(crate) const HOUR: i64 = 3600;
pub(crate) const DAY: i64 = 24 * HOUR;

/// The first and the last microsecond that RFC 3339 can write.
const FIRST: i64 = -62_135_596_800_000_000;
pub(crate) const LAST: i64 = 253_402_300_799_999_999;

/// No clock is further from UTC than this: the extremes are −15:56 and +15:13, in the 19th century.
const FURTHEST: i64 = 26 * HOUR;

/// How far two looks at the offset lie apart. Changes closer together than this could hide behind each other; those of
/// today's zones lie weeks apart (a test looks).
const STRIDE: i64 = 12 * HOUR;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone(Tz);

impl Zone {
    pub const UTC: Zone = Zone(Tz::UTC);

    /// The zone with this IANA name.
    pub fn parse(name: &str) -> Result<Self, String> {
        if let Ok(zone) = name.parse() {
            return Ok(Zone(zone));
        }
        let near = chrono_tz::TZ_VARIANTS
            .iter()
            .find(|zone| zone.name().eq_ignore_ascii_case(name));
        Err(match near {
            Some(zone) => format!("`{}` is written `{}`", clip(name), zone.name()),
            None => format!(
                "`{}` is no IANA time zone such as Europe/Berlin or UTC",
                clip(name)
            ),
        })
    }

    /// When the clock first shows this or, if it is skipped, the first instant after the gap. `None` outside the years
    /// 0001 to 9999.
    pub(crate) fn instant(self, local: NaiveDateTime) -> Option<Time> {
        let second = local.and_utc().timestamp();
        let instant = self.first_instant(second);
        // Nothing of a second that was skipped is left.
        let skipped = self.local(instant) != second;
        let fraction = i64::from(local.and_utc().timestamp_subsec_micros());
        let fraction = if skipped { 0 } else { fraction };
        let micros = instant * 1_000_000 + fraction;
        (FIRST..=LAST)
            .contains(&micros)
            .then(|| Time::from_micros(micros))
    }

    /// Seconds east of UTC at an instant.
    pub(crate) fn offset(self, instant: i64) -> i64 {
        let Some(at) = DateTime::from_timestamp(instant, 0) else {
            return 0;
        };
        let offset = self.0.offset_from_utc_datetime(&at.naive_utc());
        i64::from(offset.fix().local_minus_utc())
    }

    pub(crate) fn local(self, instant: i64) -> i64 {
        instant + self.offset(instant)
    }

    /// The first instant in `after + 1 ..= until` at which the clock was changed.
    pub(crate) fn next_change(self, after: i64, until: i64) -> Option<i64> {
        let before = self.offset(after);
        let mut low = after;
        while low < until {
            let mut high = until.min(low + STRIDE);
            if self.offset(high) == before {
                low = high;
                continue;
            }
            while high - low > 1 {
                let middle = low + (high - low) / 2;
                if self.offset(middle) == before {
                    low = middle;
                } else {
                    high = middle;
                }
            }
            return Some(high);
        }
        None
    }

    /// When the clock first shows `local` or, if that is skipped, the first instant after the gap.
    pub(crate) fn first_instant(self, local: i64) -> i64 {
        let last = local + FURTHEST;
        let mut from = local - FURTHEST;
        loop {
            let found = from.max(local - self.offset(from));
            match self.next_change(from, found.min(last)) {
                Some(change) => from = change,
                None => return found,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{NaiveDateTime, SecondsFormat};

    use super::*;

    fn local(text: &str) -> i64 {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S")
            .unwrap()
            .and_utc()
            .timestamp()
    }

    fn first(zone: &str, text: &str) -> String {
        let instant = Zone::parse(zone).unwrap().first_instant(local(text));
        DateTime::from_timestamp(instant, 0)
            .unwrap()
            .to_rfc3339_opts(SecondsFormat::Secs, true)
    }

    #[test]
    fn a_local_time_has_one_first_instant() {
        for (zone, text, instant) in [
            ("UTC", "2026-07-01 12:00:00", "2026-07-01T12:00:00Z"),
            (
                "Europe/Berlin",
                "2026-07-01 12:00:00",
                "2026-07-01T10:00:00Z",
            ),
            // Skipped: the first instant after the gap.
            (
                "Europe/Berlin",
                "2026-03-29 02:00:00",
                "2026-03-29T01:00:00Z",
            ),
            (
                "Europe/Berlin",
                "2026-03-29 02:30:00",
                "2026-03-29T01:00:00Z",
            ),
            (
                "Europe/Berlin",
                "2026-03-29 03:00:00",
                "2026-03-29T01:00:00Z",
            ),
            // Doubled: the first of two.
            (
                "Europe/Berlin",
                "2026-10-25 01:59:59",
                "2026-10-24T23:59:59Z",
            ),
            (
                "Europe/Berlin",
                "2026-10-25 02:00:00",
                "2026-10-25T00:00:00Z",
            ),
            (
                "Europe/Berlin",
                "2026-10-25 02:59:59",
                "2026-10-25T00:59:59Z",
            ),
            (
                "Europe/Berlin",
                "2026-10-25 03:00:00",
                "2026-10-25T02:00:00Z",
            ),
            // Half an hour, and a whole day that never was.
            (
                "Australia/Lord_Howe",
                "2026-10-04 02:15:00",
                "2026-10-03T15:30:00Z",
            ),
            (
                "Pacific/Apia",
                "2011-12-30 12:00:00",
                "2011-12-30T10:00:00Z",
            ),
            (
                "Pacific/Apia",
                "2011-12-29 23:59:59",
                "2011-12-30T09:59:59Z",
            ),
        ] {
            assert_eq!(first(zone, text), instant, "{zone} {text}");
        }
    }

    #[test]
    fn a_name_is_exact_and_its_error_helps() {
        assert!(Zone::parse("America/Argentina/Buenos_Aires").is_ok());
        assert!(
            Zone::parse("europe/berlin")
                .unwrap_err()
                .contains("Europe/Berlin")
        );
        assert!(
            Zone::parse("Mars/Olympus")
                .unwrap_err()
                .contains("Mars/Olympus")
        );
        assert!(Zone::parse("+01:00").is_err());
    }
}
