//! When a trigger fires: pure functions from a rule and a point in time to the firings that follow.
//!
//! A rule never remembers. The store keeps the last firing and the next one; both can be lost and computed again.

mod cron;
mod misfire;
mod pattern;
mod zone;

#[cfg(test)]
mod brute;

use std::time::Duration;

use tidewire_core::Time;

pub use cron::Cron;
pub use misfire::{Due, GRACE, MAX_MADE_UP, Misfire};
pub use zone::Zone;

/// The firings that a preview shows at most, and where nobody says how many.
pub const MAX_PREVIEW: u32 = 100;
pub const DEFAULT_PREVIEW: u32 = 5;

/// The firings of one trigger.
#[derive(Clone, Debug)]
pub struct Occurrences {
    rule: Rule,
    /// No firing before, if it says so.
    starts_at: Option<Time>,
    /// No firing after; one at this very time still comes.
    ends_at: Option<Time>,
}

#[derive(Clone, Debug)]
enum Rule {
    Once(Time),
    /// `start + n · every`: computed from the start each time, so that nothing adds up.
    Every {
        start: Time,
        every: Duration,
    },
    Cron(Cron),
}

impl Occurrences {
    #[must_use]
    pub fn once(at: Time) -> Self {
        Self::of(Rule::Once(at))
    }

    /// At `start`, and then every `every`, which is at least a microsecond.
    #[must_use]
    pub fn every(start: Time, every: Duration) -> Self {
        Self::of(Rule::Every { start, every })
    }

    #[must_use]
    pub fn cron(cron: Cron, starts_at: Option<Time>, ends_at: Option<Time>) -> Self {
        Occurrences {
            starts_at,
            ends_at: ends_at.map(|end| end.min(Time::from_micros(zone::LAST))),
            ..Self::of(Rule::Cron(cron))
        }
    }

    fn of(rule: Rule) -> Self {
        Occurrences {
            rule,
            starts_at: None,
            ends_at: None,
        }
    }

    /// The first firing after `after`.
    #[must_use]
    pub fn next_after(&self, after: Time) -> Option<Time> {
        let just_before_start = self
            .starts_at
            .map(|start| Time::from_micros(start.micros() - 1));
        let after = just_before_start.map_or(after, |start| start.max(after));
        let found = match &self.rule {
            Rule::Once(at) => (*at > after).then_some(*at),
            Rule::Every { start, every } => next_of_interval(*start, *every, after),
            Rule::Cron(cron) => cron.next_after(after),
        }?;
        let ends_at = self.ends_at.unwrap_or(Time::from_micros(zone::LAST));
        (found <= ends_at).then_some(found)
    }

    /// The next `count` firings after `from`, fewer if there are no more.
    #[must_use]
    pub fn preview(&self, from: Time, count: u32) -> Vec<Time> {
        std::iter::successors(self.next_after(from), |last| self.next_after(*last))
            .take(usize::try_from(count).unwrap_or(usize::MAX))
            .collect()
    }

    /// The last firing in `after + 1 µs ..= until`.
    fn last_within(&self, after: Time, until: Time) -> Option<Time> {
        let in_reach = |after: i64| {
            self.next_after(Time::from_micros(after))
                .filter(|found| *found <= until)
        };
        let (mut low, mut high) = (after.micros(), until.micros());
        let mut found = in_reach(low)?;
        // There is a firing after `low` and none after `high`.
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match in_reach(middle) {
                Some(later) => {
                    found = later;
                    low = later.micros().saturating_sub(1).max(middle);
                }
                None => high = middle,
            }
        }
        Some(found)
    }
}

fn next_of_interval(start: Time, every: Duration, after: Time) -> Option<Time> {
    if start > after {
        return Some(start);
    }
    let every = i64::try_from(every.as_micros()).ok()?.max(1);
    let passed = after.micros().checked_sub(start.micros())? / every;
    let from_start = every.checked_mul(passed.checked_add(1)?)?;
    start
        .micros()
        .checked_add(from_start)
        .map(Time::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Time {
        text.parse().unwrap()
    }

    #[test]
    fn once_is_once() {
        let once = Occurrences::once(at("2026-01-01T00:00:00Z"));
        assert_eq!(
            once.preview(at("2025-01-01T00:00:00Z"), 5),
            [at("2026-01-01T00:00:00Z")]
        );
        assert_eq!(once.next_after(at("2026-01-01T00:00:00Z")), None);
    }

    #[test]
    fn an_interval_does_not_drift() {
        let start = at("2026-01-01T00:00:00.25Z");
        let every = Occurrences::every(start, Duration::from_millis(1_001));
        // Asked late, and late again: still on the grid.
        let late = start.plus(Duration::from_secs(3600));
        let next = every.next_after(late).unwrap();
        assert_eq!(next.since(start).as_millis() % 1_001, 0);
        assert!(next > late && next.since(late) <= Duration::from_millis(1_001));
        assert_eq!(
            every.next_after(start.minus(Duration::from_secs(9))),
            Some(start)
        );
        assert_eq!(
            every.next_after(start),
            Some(start.plus(Duration::from_millis(1_001)))
        );
    }

    #[test]
    fn nothing_fires_before_the_start_or_after_the_end() {
        let cron = Cron::parse("0 12 * * *", Zone::UTC).unwrap();
        let bounded = Occurrences::cron(
            cron,
            Some(at("2026-01-02T12:00:00Z")),
            Some(at("2026-01-04T12:00:00Z")),
        );
        assert_eq!(
            bounded.preview(at("2025-06-01T00:00:00Z"), 9),
            [
                at("2026-01-02T12:00:00Z"),
                at("2026-01-03T12:00:00Z"),
                at("2026-01-04T12:00:00Z")
            ]
        );
    }

    #[test]
    fn the_end_of_time_is_the_end() {
        let far = at("9999-12-31T23:59:59Z");
        let every = Occurrences::every(far, Duration::from_secs(1));
        assert_eq!(every.preview(Time::EPOCH, 3), [far]);
        let cron = Occurrences::cron(Cron::parse("* * * * * *", Zone::UTC).unwrap(), None, None);
        assert_eq!(cron.preview(far, 3), []);
    }

    #[test]
    fn the_last_firing_of_a_span_is_found_without_walking_it() {
        let cron = |text| Occurrences::cron(Cron::parse(text, Zone::UTC).unwrap(), None, None);
        let (after, until) = (at("2020-01-01T00:00:00Z"), at("2026-06-15T10:20:30.5Z"));
        for (pattern, last) in [
            ("* * * * * *", Some("2026-06-15T10:20:30Z")),
            ("0 0 1 * *", Some("2026-06-01T00:00:00Z")),
            ("0 0 29 2 *", Some("2024-02-29T00:00:00Z")),
            ("0 0 30 2 *", None),
        ] {
            assert_eq!(
                cron(pattern).last_within(after, until),
                last.map(at),
                "{pattern}"
            );
        }
        assert_eq!(
            cron("* * * * * *").last_within(at("2026-06-15T10:20:30Z"), until),
            None
        );
    }
}
