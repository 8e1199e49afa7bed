//! The instants at which a cron pattern fires in a zone, clock changes included.
//!
//! The rules are those of the Open Cron Pattern Specification and of Vixie cron. A pattern with fixed hours and
//! minutes means times of the clock on the wall: each fires once, the first time that the clock shows it, and if it
//! is skipped, at the first instant after the gap. A pattern with a wildcard, a step or a range in its hour or minute
//! means a pace: it fires whenever the clock shows a time that it names, in both passes of a repeated hour, and makes
//! nothing up after a gap.
//!
//! `croner` has these rules too, but counts a list of hours or a wildcard of seconds as a pace, drops a skipped time
//! if the gap ends on a day that the pattern does not name (Nuuk goes from 23:00 to 00:00), and gives up on gaps of
//! more than two hours (Apia once skipped a day). So it parses and names days, and the search is here.

use std::sync::Arc;

use tidewire_core::Time;

use super::{
    pattern::{MAX_YEARS, Pattern},
    zone::{DAY, Zone},
};

const MICROS: i64 = 1_000_000;
/// More than any clock change ever moved local time.
const AROUND: i64 = 2 * DAY;

/// A pattern in a zone. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cron {
    pattern: Arc<Pattern>,
    zone: Zone,
}

impl Cron {
    pub fn parse(pattern: &str, zone: Zone) -> Result<Self, String> {
        let pattern = Arc::new(Pattern::parse(pattern)?);
        Ok(Cron { pattern, zone })
    }

    /// The first firing after `after`, if there is one within the next fifty years.
    #[must_use]
    pub fn next_after(&self, after: Time) -> Option<Time> {
        let first = after.micros().div_euclid(MICROS) + 1;
        let found = if self.pattern.fixed {
            self.next_fixed(first)
        } else {
            self.next_paced(first)
        };
        found.map(|second| Time::from_micros(second * MICROS))
    }

    /// Local times never come twice here, so walking them walks the instants too.
    fn next_fixed(&self, first: i64) -> Option<i64> {
        // From the instant before: if a gap ends at `first`, what it skipped is due now.
        let mut local = self.zone.local(first - 1) + 1;
        loop {
            let named = self.pattern.next(local)?;
            let found = self.zone.first_instant(named);
            if found >= first {
                return Some(found);
            }
            // In the second pass of a repeated hour: it has fired in the first.
            local = named + 1;
        }
    }

    /// Between two clock changes local time runs as real time does; at each change the search begins anew.
    fn next_paced(&self, first: i64) -> Option<i64> {
        let last = first + MAX_YEARS * 366 * DAY;
        let mut from = first;
        while from <= last {
            let offset = self.zone.offset(from);
            let named = self.pattern.next(from + offset)?;
            let found = named - offset;
            let near = found.min(from + AROUND);
            if let Some(change) = self.zone.next_change(from, near) {
                from = change;
            } else if found == near {
                return Some(found);
            } else {
                // No local time before `named` is named, and two days from here no clock change can bring back one
                // that lies before `from`: go on shortly before it.
                from = near.max(named - AROUND);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(pattern: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let cron = Cron::parse(pattern, Zone::parse(zone).unwrap()).unwrap();
        let mut at: Time = after.parse().unwrap();
        let mut runs = Vec::new();
        for _ in 0..count {
            at = cron.next_after(at).expect("it fires");
            runs.push(at.to_string().replace(".000000Z", "Z"));
        }
        runs
    }

    #[test]
    fn a_fixed_time_that_is_skipped_fires_at_the_first_instant_after_the_gap() {
        assert_eq!(
            runs("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", 3),
            [
                "2026-03-28T01:30:00Z",
                "2026-03-29T01:00:00Z",
                "2026-03-30T00:30:00Z"
            ]
        );
        // Several that are skipped, and one at the end of the gap, are one firing.
        assert_eq!(
            runs("0,30 2,3 * * *", "Europe/Berlin", "2026-03-29T00:59:59Z", 2),
            ["2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"]
        );
        // The seconds do not make a pace of it.
        assert_eq!(
            runs(
                "*/20 30 2 * * *",
                "Europe/Berlin",
                "2026-03-28T12:00:00Z",
                2
            ),
            ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
        );
        // The gap ends on the next day, which the pattern does not name.
        assert_eq!(
            runs("30 23 * * SAT", "America/Nuuk", "2026-03-27T12:00:00Z", 2),
            ["2026-03-29T01:00:00Z", "2026-04-05T00:30:00Z"]
        );
        // The gap is a day long.
        assert_eq!(
            runs("0 12 30 * *", "Pacific/Apia", "2011-12-01T12:00:00Z", 2),
            ["2011-12-30T10:00:00Z", "2012-01-29T22:00:00Z"]
        );
    }

    #[test]
    fn a_fixed_time_that_comes_twice_fires_the_first_time() {
        assert_eq!(
            runs("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
            ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
        );
        // Also when asked from within the second pass.
        assert_eq!(
            runs("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", 1),
            ["2026-10-26T01:30:00Z"]
        );
    }

    #[test]
    fn a_pace_keeps_to_real_time() {
        assert_eq!(
            runs("*/30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 5),
            [
                "2026-10-25T00:00:00Z",
                "2026-10-25T00:30:00Z",
                "2026-10-25T01:00:00Z",
                "2026-10-25T01:30:00Z",
                "2026-10-26T01:00:00Z"
            ]
        );
        assert_eq!(
            runs("*/30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2),
            ["2026-03-30T00:00:00Z", "2026-03-30T00:30:00Z"]
        );
        assert_eq!(
            runs("@hourly", "Europe/Berlin", "2026-03-28T23:30:00Z", 3),
            [
                "2026-03-29T00:00:00Z",
                "2026-03-29T01:00:00Z",
                "2026-03-29T02:00:00Z"
            ]
        );
    }

    #[test]
    fn the_search_is_strict_and_fine_fractions_do_not_matter() {
        assert_eq!(
            runs("* * * * * *", "UTC", "2026-01-01T00:00:00Z", 1),
            ["2026-01-01T00:00:01Z"]
        );
        assert_eq!(
            runs("* * * * * *", "UTC", "2026-01-01T00:00:00.999999Z", 1),
            ["2026-01-01T00:00:01Z"]
        );
        assert_eq!(
            runs("* * * * * *", "UTC", "1969-12-31T23:59:58.5Z", 2),
            ["1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z"]
        );
    }

    #[test]
    fn what_lies_only_in_gaps_never_fires() {
        // The last Sunday of March has no third hour in Berlin.
        let zone = Zone::parse("Europe/Berlin").unwrap();
        let cron = Cron::parse("*/5 2 * 3 SUN#L", zone).unwrap();
        assert_eq!(
            cron.next_after("2026-01-01T00:00:00Z".parse().unwrap()),
            None
        );
        let cron = Cron::parse("0 0 30 2 *", zone).unwrap();
        assert_eq!(cron.next_after(Time::EPOCH), None);
    }

    #[test]
    fn a_far_firing_is_found_through_all_clock_changes_between() {
        assert_eq!(
            runs(
                "*/30 2 29 2 +SUN",
                "Europe/Berlin",
                "2088-03-01T00:00:00Z",
                1
            ),
            ["2128-02-29T01:00:00Z"]
        );
        assert_eq!(
            runs("30 2 29 2 *", "America/New_York", "2096-03-01T00:00:00Z", 1),
            ["2104-02-29T07:30:00Z"]
        );
    }
}
