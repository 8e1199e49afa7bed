//! So many requests a second, with a few at once after a rest: the generic cell rate algorithm, which keeps one time.

use std::time::Duration;

use tidewire_core::Time;

/// At most `burst` at once, and `count` in each `per` on the average.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub count: u32,
    pub per: Duration,
    pub burst: u32,
}

impl Rate {
    /// Microseconds from one request to the next.
    fn step(self) -> i64 {
        let per = i64::try_from(self.per.as_micros()).unwrap_or(i64::MAX);
        (per / i64::from(self.count.max(1))).max(1)
    }
}

#[derive(Clone, Copy, Debug)]
pub struct RateLimit {
    rate: Rate,
    /// When all that was allowed would be used up at an even pace, in microseconds since 1970.
    used_until: i64,
}

impl RateLimit {
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        RateLimit {
            rate,
            used_until: i64::MIN,
        }
    }

    /// Another rate holds from here on; what is used up stays so.
    pub fn set(&mut self, rate: Rate) {
        self.rate = rate;
    }

    /// Whether one may go now. If not, how long until it may.
    pub fn ask(&mut self, now: Time) -> Result<(), Duration> {
        let step = self.rate.step();
        let ahead = step.saturating_mul(i64::from(self.rate.burst.max(1)));
        // After the clock was set back, what is used up is a full burst and no more.
        self.used_until = self.used_until.min(now.micros().saturating_add(ahead));
        let next = self.used_until.max(now.micros()).saturating_add(step);
        let over = next.saturating_sub(now.micros().saturating_add(ahead));
        match u64::try_from(over) {
            Ok(over) if over > 0 => Err(Duration::from_micros(over)),
            _ => Ok(()),
        }
    }

    /// Counts one that goes, after [`RateLimit::ask`] has said so.
    pub fn pass(&mut self, now: Time) {
        self.used_until = self
            .used_until
            .max(now.micros())
            .saturating_add(self.rate.step());
    }

    /// Whether it allows a full burst.
    #[must_use]
    pub fn is_fresh(&self, now: Time) -> bool {
        self.used_until <= now.micros()
    }
}

/// Turns for those who wait for theirs: nobody is turned away, what comes too fast goes later.
#[derive(Clone, Copy, Debug)]
pub struct Turns {
    rate: Rate,
    /// As in [`RateLimit`], but it may lie ahead however far.
    used_until: i64,
    asked_at: i64,
}

impl Turns {
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Turns {
            rate,
            used_until: i64::MIN,
            asked_at: i64::MIN,
        }
    }

    /// The same turns at another rate from here on.
    #[must_use]
    pub fn at(self, rate: Rate) -> Self {
        Turns { rate, ..self }
    }

    /// When the next one may go, which counts it: `now` or later, and never before the one that came
    /// before it, unless the clock was set back.
    pub fn next(&mut self, now: Time) -> Time {
        let now = now.micros();
        // What was used up goes back with the clock.
        let back = self.asked_at.saturating_sub(now).max(0);
        self.used_until = self.used_until.saturating_sub(back);
        self.asked_at = now;
        let step = self.rate.step();
        let ahead = step.saturating_mul(i64::from(self.rate.burst.max(1)));
        self.used_until = self.used_until.max(now).saturating_add(step);
        Time::from_micros(self.used_until.saturating_sub(ahead).max(now))
    }

    /// Whether it allows a full burst.
    #[must_use]
    pub fn is_fresh(&self, now: Time) -> bool {
        self.used_until <= now.micros()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE: Rate = Rate {
        count: 10,
        per: Duration::from_secs(1),
        burst: 3,
    };

    fn take(limit: &mut RateLimit, now: Time) -> bool {
        let free = limit.ask(now).is_ok();
        if free {
            limit.pass(now);
        }
        free
    }

    #[test]
    fn a_burst_and_then_a_pace() {
        let mut limit = RateLimit::new(RATE);
        let start = Time::from_millis(1_000_000);
        let at = |ms: i64| Time::from_millis(1_000_000 + ms);
        assert_eq!((0..5).filter(|_| take(&mut limit, start)).count(), 3);
        assert_eq!(limit.ask(start), Err(Duration::from_millis(100)));
        assert!(!take(&mut limit, at(99)));
        assert!(take(&mut limit, at(100)));
        assert!(!take(&mut limit, at(100)));
        // A rest fills the burst and no more.
        assert_eq!((0..9).filter(|_| take(&mut limit, at(60_000))).count(), 3);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_stop_it() {
        let mut limit = RateLimit::new(RATE);
        let late = Time::from_millis(10_000_000);
        while take(&mut limit, late) {}
        let early = Time::from_millis(1_000);
        let wait = limit.ask(early).unwrap_err();
        assert!(wait <= Duration::from_millis(300), "{wait:?}");
        assert!(take(&mut limit, early.plus(wait)));
    }

    #[test]
    fn turns_are_given_to_all_in_order_at_the_rate() {
        let mut turns = Turns::new(RATE);
        let start = 1_000_000i64;
        let mut given = |at: i64| turns.next(Time::from_millis(at)).millis() - start;
        let first: Vec<_> = (0..6).map(|_| given(start)).collect();
        assert_eq!(first, [0, 0, 0, 100, 200, 300]);
        assert_eq!(given(start + 250), 400);
        // Minutes of work wait: so does the next one.
        for _ in 0..1000 {
            given(start + 300);
        }
        assert_eq!(given(start + 300), 100_500);
        assert_eq!(given(start + 200_000), 200_000);
        // The clock is set back by an hour.
        let early = start - 3_600_000;
        let again: Vec<_> = (0..4).map(|_| given(early) - early + start).collect();
        assert_eq!(again, [0, 0, 100, 200]);
    }

    proptest! {
        #[test]
        fn turns_keep_the_rate_and_the_order(
            count in 1u32..50, burst in 1u32..20, steps in prop::collection::vec(0i64..100, 1..200),
        ) {
            let mut turns = Turns::new(Rate { count, per: Duration::from_secs(1), burst });
            let (mut now, mut went): (i64, Vec<i64>) = (1_000_000, Vec::new());
            for step in steps {
                now += step;
                let turn = turns.next(Time::from_millis(now)).micros();
                prop_assert!(turn >= now * 1000 && went.last().is_none_or(|last| turn >= *last));
                went.push(turn);
            }
            for (n, from) in went.iter().enumerate() {
                for (more, to) in went[n..].iter().enumerate() {
                    let share = i64::from(burst) + (to - from) * i64::from(count) / 1_000_000 + 1;
                    prop_assert!(i64::try_from(more + 1).unwrap() <= share);
                }
            }
        }

        #[test]
        fn no_window_sees_more_than_its_share(
            count in 1u32..50, burst in 1u32..20, steps in prop::collection::vec(0i64..300, 1..200),
        ) {
            let rate = Rate { count, per: Duration::from_secs(1), burst };
            let mut limit = RateLimit::new(rate);
            let (mut now, mut went) = (1_000_000i64, Vec::new());
            for step in steps {
                now += step;
                if take(&mut limit, Time::from_millis(now)) {
                    went.push(now);
                }
            }
            for (n, from) in went.iter().enumerate() {
                for (more, to) in went[n..].iter().enumerate() {
                    let share = i64::from(burst) + (to - from) * i64::from(count) / 1000 + 1;
                    prop_assert!(i64::try_from(more + 1).unwrap() <= share);
                }
            }
        }

        #[test]
        fn what_it_says_to_wait_is_enough(steps in prop::collection::vec(0i64..300, 1..100)) {
            let mut limit = RateLimit::new(RATE);
            let mut now = Time::from_millis(1_000_000);
            for step in steps {
                now = Time::from_micros(now.micros() + step * 1000);
                if let Err(wait) = limit.ask(now) {
                    now = now.plus(wait);
                }
                prop_assert!(take(&mut limit, now));
            }
        }
    }
}
