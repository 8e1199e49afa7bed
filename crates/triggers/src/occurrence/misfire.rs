//! What becomes of firings whose time passed while nobody looked: the server was down, or the trigger inactive.
//!
//! A firing that is looked at within the grace is on time, whatever the policy: a busy scheduler, or one that takes
//! over from another, loses nothing and doubles nothing. What is later than that is missed, and the policy decides.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use tidewire_core::Time;

use super::Occurrences;

/// How late a firing may be looked at and still be on time.
pub const GRACE: Duration = Duration::from_secs(10);
/// Firings that one call gives out. What is left over is due at once.
pub const MAX_MADE_UP: usize = 100;

/// What becomes of the firings that were missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Misfire {
    /// One firing makes up for all of them.
    #[default]
    FireOnce,
    /// They are left out.
    Skip,
    /// Each of them is made up, oldest first.
    FireAll,
}

impl Misfire {
    pub const ALL: [Misfire; 3] = [Misfire::FireOnce, Misfire::Skip, Misfire::FireAll];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Misfire::FireOnce => "fire_once",
            Misfire::Skip => "skip",
            Misfire::FireAll => "fire_all",
        }
    }
}

impl fmt::Display for Misfire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Misfire {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Misfire::ALL
            .into_iter()
            .find(|policy| policy.as_str() == text)
            .ok_or_else(|| format!("`{text}` is none of fire_once, skip, fire_all"))
    }
}

/// What to do now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// The scheduled times to fire for now, oldest first.
    pub fire: Vec<Time>,
    /// The next one after these. Not after `now` if there was more than one call may give out: call again.
    pub next: Option<Time>,
}

impl Occurrences {
    /// What is due at `now`, of the firings after `last`: the last one that was fired or left out or, before the first,
    /// the time at which the trigger was saved. At most `most` are given out (at least one), so that a backlog of
    /// years does not make a transaction of hours.
    #[must_use]
    pub fn due(&self, last: Time, now: Time, policy: Misfire, grace: Duration, most: usize) -> Due {
        let on_time_since = Time::from_micros(now.minus(grace).micros() - 1).max(last);
        let mut fire = Vec::new();
        let begin = match policy {
            Misfire::FireAll => last,
            Misfire::Skip => on_time_since,
            Misfire::FireOnce => {
                if self.next_after(on_time_since).is_none_or(|next| next > now) {
                    fire.extend(self.last_within(last, on_time_since));
                }
                on_time_since
            }
        };
        let mut next = self.next_after(begin);
        while let Some(at) = next
            && at <= now
            && fire.len() < most.max(1)
        {
            fire.push(at);
            next = self.next_after(at);
        }
        Due { fire, next }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Cron, Zone};
    use super::*;

    fn at(text: &str) -> Time {
        text.parse().unwrap()
    }

    fn minutes() -> Occurrences {
        Occurrences::cron(Cron::parse("* * * * *", Zone::UTC).unwrap(), None, None)
    }

    fn due(of: &Occurrences, last: &str, now: &str, policy: Misfire) -> (Vec<String>, String) {
        let due = of.due(at(last), at(now), policy, GRACE, MAX_MADE_UP);
        let clock = |at: Time| at.to_string()[11..19].to_owned();
        (
            due.fire.into_iter().map(clock).collect(),
            due.next.map_or_else(String::new, clock),
        )
    }

    #[test]
    fn on_time_every_policy_fires() {
        for policy in Misfire::ALL {
            let (fire, next) = due(
                &minutes(),
                "2026-01-01T10:00:00Z",
                "2026-01-01T10:01:09Z",
                policy,
            );
            assert_eq!(
                (fire, next.as_str()),
                (vec!["10:01:00".to_owned()], "10:02:00")
            );
            let (fire, next) = due(
                &minutes(),
                "2026-01-01T10:00:00Z",
                "2026-01-01T10:00:59Z",
                policy,
            );
            assert_eq!((fire, next.as_str()), (Vec::new(), "10:01:00"));
        }
    }

    #[test]
    fn after_an_outage_the_policy_decides() {
        let (last, now) = ("2026-01-01T10:00:00Z", "2026-01-01T10:05:30Z");
        let all = ["10:01:00", "10:02:00", "10:03:00", "10:04:00", "10:05:00"];
        assert_eq!(
            due(&minutes(), last, now, Misfire::FireOnce),
            (vec!["10:05:00".to_owned()], "10:06:00".to_owned())
        );
        assert_eq!(
            due(&minutes(), last, now, Misfire::Skip),
            (vec![], "10:06:00".to_owned())
        );
        assert_eq!(
            due(&minutes(), last, now, Misfire::FireAll),
            (all.map(str::to_owned).to_vec(), "10:06:00".to_owned())
        );
    }

    #[test]
    fn a_firing_on_time_makes_up_for_the_missed_ones_too() {
        assert_eq!(
            due(
                &minutes(),
                "2026-01-01T10:00:00Z",
                "2026-01-01T10:05:02Z",
                Misfire::FireOnce
            ),
            (vec!["10:05:00".to_owned()], "10:06:00".to_owned())
        );
        // Every second of the grace is on time.
        let seconds = Occurrences::cron(Cron::parse("* * * * * *", Zone::UTC).unwrap(), None, None);
        let (fire, next) = due(
            &seconds,
            "2020-01-01T00:00:00Z",
            "2026-01-01T10:00:00Z",
            Misfire::FireOnce,
        );
        assert_eq!((fire.len(), next.as_str()), (11, "10:00:01"));
    }

    #[test]
    fn a_one_shot_that_was_missed_fires_once_and_is_over() {
        let once = Occurrences::once(at("2026-01-01T10:00:00Z"));
        assert_eq!(
            due(
                &once,
                "2026-01-01T09:00:00Z",
                "2026-01-02T10:00:00Z",
                Misfire::FireOnce
            ),
            (vec!["10:00:00".to_owned()], String::new())
        );
        assert_eq!(
            due(
                &once,
                "2026-01-01T10:00:00Z",
                "2026-01-02T10:00:00Z",
                Misfire::FireOnce
            ),
            (vec![], String::new())
        );
    }

    #[test]
    fn a_backlog_is_given_out_in_pieces() {
        let seconds = Occurrences::cron(Cron::parse("* * * * * *", Zone::UTC).unwrap(), None, None);
        let (mut last, now) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T01:00:00Z"));
        let mut count = 0;
        loop {
            let due = seconds.due(last, now, Misfire::FireAll, GRACE, 1000);
            assert!(due.fire.len() <= 1000);
            count += due.fire.len();
            last = *due.fire.last().unwrap();
            if due.next.unwrap() > now {
                break;
            }
        }
        assert_eq!(count, 3600);
    }

    proptest! {
        /// Whatever the policy and however often it is asked: nothing twice, nothing early, nothing on time is lost.
        #[test]
        fn looking_again_and_again_fires_each_at_most_once(
            every in 1u64..400,
            steps in prop::collection::vec(0u64..900, 1..20),
            policy in prop::sample::select(Misfire::ALL.to_vec()),
            most in 1usize..40,
        ) {
            let start = at("2026-01-01T00:00:00Z");
            let rule = Occurrences::every(start, Duration::from_secs(every));
            let (mut last, mut now) = (start.minus(Duration::from_secs(1)), start);
            let mut fired: Vec<Time> = Vec::new();
            for step in steps {
                now = now.plus(Duration::from_secs(step));
                loop {
                    let due = rule.due(last, now, policy, GRACE, most);
                    prop_assert!(due.fire.len() <= most);
                    fired.extend(&due.fire);
                    if let Some(next) = due.next {
                        last = Time::from_micros(next.micros() - 1);
                    }
                    if due.next.is_none_or(|next| next > now) {
                        break;
                    }
                }
                prop_assert!(fired.is_sorted_by(|a, b| a < b));
                prop_assert!(fired.iter().all(|at| *at <= now));
                let grid = now.since(start).as_secs() / every;
                let latest = start.plus(Duration::from_secs(grid * every));
                if now.since(latest) <= GRACE || policy != Misfire::Skip {
                    prop_assert_eq!(fired.last(), Some(&latest));
                }
            }
            if policy == Misfire::FireAll {
                let grid = usize::try_from(now.since(start).as_secs() / every).unwrap();
                prop_assert_eq!(fired.len(), grid + 1);
            }
        }
    }
}
