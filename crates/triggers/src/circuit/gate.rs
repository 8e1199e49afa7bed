//! Circuit, limit at once and limit a second together: one question before a request, one answer after it.

use std::time::Duration;

use tidewire_core::Time;

use super::{Circuit, CircuitSettings, CircuitState, Pass, Rate, RateLimit};
use crate::retry::Health;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateSettings {
    /// Requests at once.
    pub concurrency: u32,
    pub rate: Option<Rate>,
    pub circuit: CircuitSettings,
}

impl Default for GateSettings {
    fn default() -> Self {
        GateSettings {
            concurrency: 32,
            rate: None,
            circuit: CircuitSettings::default(),
        }
    }
}

/// What stands before one endpoint.
#[derive(Clone, Debug)]
pub struct Gate {
    concurrency: u32,
    in_flight: u32,
    rate: Option<RateLimit>,
    circuit: Circuit,
    /// Since when and for how long the endpoint wants to be left alone.
    paced: Option<(Time, Duration)>,
    longest_pace: Duration,
}

/// That one request may go. It must come back through [`Gate::done`] or [`Gate::abandon`], whatever happens.
#[must_use]
#[derive(Debug)]
pub struct Permit(Pass);

/// Why a request may not go now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The circuit is open for so long.
    Open(Duration),
    /// The probe of a half-open circuit is under way: until one comes back.
    Probing,
    /// As many as may be are under way: until one comes back.
    Busy,
    /// The rate is used up, or the endpoint asked for a pause: for so long.
    Paced(Duration),
}

/// A gate as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateView {
    pub circuit: CircuitState,
    /// Failures in a row.
    pub failures: u32,
    pub in_flight: u32,
    /// When an open circuit lets a probe through.
    pub retry_at: Option<Time>,
}

impl Gate {
    #[must_use]
    pub fn new(settings: GateSettings) -> Self {
        Gate {
            concurrency: settings.concurrency.max(1),
            in_flight: 0,
            rate: settings.rate.map(RateLimit::new),
            circuit: Circuit::new(settings.circuit),
            paced: None,
            longest_pace: settings.circuit.max_pause,
        }
    }

    /// Another rate holds from here on.
    pub fn set_rate(&mut self, rate: Option<Rate>) {
        match (&mut self.rate, rate) {
            (Some(limit), Some(rate)) => limit.set(rate),
            (limit, rate) => *limit = rate.map(RateLimit::new),
        }
    }

    /// Lets one request go, or says why not.
    pub fn enter(&mut self, now: Time) -> Result<Permit, Wait> {
        self.ask(now)?;
        if let Some(rate) = &mut self.rate {
            rate.pass(now);
        }
        self.in_flight += 1;
        Ok(Permit(self.circuit.pass()))
    }

    /// Whether a request may go now, or why not; none goes.
    pub fn ask(&mut self, now: Time) -> Result<(), Wait> {
        self.circuit.ask(now).map_err(|left| match left {
            Some(left) => Wait::Open(left),
            None => Wait::Probing,
        })?;
        if let Some((since, pause)) = &mut self.paced {
            if now < *since {
                *since = now;
            }
            let left = pause.saturating_sub(now.since(*since));
            if !left.is_zero() {
                return Err(Wait::Paced(left));
            }
            self.paced = None;
        }
        if self.in_flight >= self.concurrency {
            return Err(Wait::Busy);
        }
        if let Some(rate) = &mut self.rate {
            rate.ask(now).map_err(Wait::Paced)?;
        }
        Ok(())
    }

    /// Whether the endpoint itself has asked for the pause that there is, if there is one.
    #[must_use]
    pub fn is_asked_to_pause(&self) -> bool {
        self.paced.is_some()
    }

    /// The request has ended, and this is what it tells about the endpoint.
    pub fn done(&mut self, permit: Permit, health: Health, now: Time) {
        let good = match health {
            Health::Good | Health::Paced(_) => Some(true),
            Health::Bad => Some(false),
            Health::Unknown => None,
        };
        if let Health::Paced(pause) = health {
            self.paced = Some((now, pause.min(self.longest_pace)));
        }
        self.leave(permit, good, now);
    }

    /// The request was given up, and nothing is known of the endpoint.
    pub fn abandon(&mut self, permit: Permit, now: Time) {
        self.leave(permit, None, now);
    }

    fn leave(&mut self, permit: Permit, good: Option<bool>, now: Time) {
        self.in_flight -= 1;
        self.circuit.done(permit.0, good, now);
    }

    #[must_use]
    pub fn view(&self) -> GateView {
        GateView {
            circuit: self.circuit.state(),
            failures: self.circuit.failures(),
            in_flight: self.in_flight,
            retry_at: self.circuit.opens_again_at(),
        }
    }

    /// Whether a new gate would do as well: nothing is under way and nothing remembered.
    #[must_use]
    pub fn is_idle(&self, now: Time) -> bool {
        self.in_flight == 0
            && self.circuit.is_fresh()
            && self
                .paced
                .is_none_or(|(since, pause)| now >= since.plus(pause))
            && self.rate.is_none_or(|rate| rate.is_fresh(now))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SETTINGS: GateSettings = GateSettings {
        concurrency: 4,
        rate: None,
        circuit: CircuitSettings {
            failures: 3,
            pause: Duration::from_secs(10),
            max_pause: Duration::from_secs(60),
            probes: 1,
            successes: 2,
        },
    };

    fn at(seconds: i64) -> Time {
        Time::from_millis(1_000_000_000 + seconds * 1000)
    }

    fn fail(gate: &mut Gate, seconds: i64) {
        let permit = gate.enter(at(seconds)).unwrap();
        gate.done(permit, Health::Bad, at(seconds));
    }

    fn succeed(gate: &mut Gate, seconds: i64) {
        let permit = gate.enter(at(seconds)).unwrap();
        gate.done(permit, Health::Good, at(seconds));
    }

    fn wait(gate: &mut Gate, seconds: i64) -> Wait {
        gate.enter(at(seconds)).unwrap_err()
    }

    #[test]
    fn failures_in_a_row_open_it_and_successes_between_do_not() {
        let mut gate = Gate::new(SETTINGS);
        for _ in 0..5 {
            fail(&mut gate, 0);
            fail(&mut gate, 0);
            succeed(&mut gate, 0);
        }
        assert_eq!(gate.view().circuit, CircuitState::Closed);
        for _ in 0..3 {
            fail(&mut gate, 0);
        }
        assert_eq!(gate.view().circuit, CircuitState::Open);
        assert_eq!(gate.view().retry_at, Some(at(10)));
        assert_eq!(wait(&mut gate, 4), Wait::Open(Duration::from_secs(6)));
    }

    #[test]
    fn probes_go_one_at_a_time_and_decide() {
        let mut gate = Gate::new(SETTINGS);
        for _ in 0..3 {
            fail(&mut gate, 0);
        }
        let probe = gate.enter(at(10)).unwrap();
        assert_eq!(gate.view().circuit, CircuitState::HalfOpen);
        assert_eq!(wait(&mut gate, 10), Wait::Probing);
        // It fails: twice the pause, and again, up to the cap.
        gate.done(probe, Health::Bad, at(11));
        assert_eq!(wait(&mut gate, 11), Wait::Open(Duration::from_secs(20)));
        fail(&mut gate, 31);
        assert_eq!(wait(&mut gate, 31), Wait::Open(Duration::from_secs(40)));
        fail(&mut gate, 71);
        assert_eq!(wait(&mut gate, 71), Wait::Open(Duration::from_secs(60)));
        // Two in a row succeed: closed, and the next pause is the first again.
        succeed(&mut gate, 131);
        assert_eq!(gate.view().circuit, CircuitState::HalfOpen);
        succeed(&mut gate, 131);
        assert_eq!(gate.view().circuit, CircuitState::Closed);
        for _ in 0..3 {
            fail(&mut gate, 132);
        }
        assert_eq!(wait(&mut gate, 132), Wait::Open(Duration::from_secs(10)));
    }

    #[test]
    fn a_probe_that_is_given_up_makes_room_for_another() {
        let mut gate = Gate::new(SETTINGS);
        for _ in 0..3 {
            fail(&mut gate, 0);
        }
        let probe = gate.enter(at(10)).unwrap();
        gate.abandon(probe, at(10));
        succeed(&mut gate, 10);
    }

    #[test]
    fn what_was_asked_before_it_opened_says_nothing_after() {
        let mut gate = Gate::new(SETTINGS);
        let (late, later) = (gate.enter(at(0)).unwrap(), gate.enter(at(0)).unwrap());
        for _ in 0..3 {
            fail(&mut gate, 0);
        }
        gate.done(late, Health::Good, at(1));
        assert_eq!(gate.view().circuit, CircuitState::Open);
        let probe = gate.enter(at(10)).unwrap();
        gate.done(later, Health::Bad, at(10));
        assert_eq!(gate.view().circuit, CircuitState::HalfOpen);
        gate.done(probe, Health::Good, at(10));
        assert_eq!(gate.view().in_flight, 0);
    }

    #[test]
    fn an_endpoint_that_asks_for_a_pause_has_it() {
        let mut gate = Gate::new(SETTINGS);
        let permit = gate.enter(at(0)).unwrap();
        gate.done(permit, Health::Paced(Duration::from_secs(9)), at(0));
        assert_eq!(wait(&mut gate, 4), Wait::Paced(Duration::from_secs(5)));
        let permit = gate.enter(at(9)).unwrap();
        gate.done(permit, Health::Paced(Duration::MAX), at(9));
        assert_eq!(wait(&mut gate, 9), Wait::Paced(Duration::from_secs(60)));
        assert!(!gate.is_idle(at(68)));
        assert!(gate.is_idle(at(69)));
    }

    #[test]
    fn no_more_than_allowed_are_under_way() {
        let mut gate = Gate::new(SETTINGS);
        let mut permits: Vec<_> = (0..4).map(|_| gate.enter(at(0)).unwrap()).collect();
        assert_eq!(wait(&mut gate, 0), Wait::Busy);
        gate.abandon(permits.pop().unwrap(), at(0));
        assert!(gate.enter(at(0)).is_ok());
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_nobody_waiting_longer() {
        let mut gate = Gate::new(SETTINGS);
        for _ in 0..3 {
            fail(&mut gate, 100_000);
        }
        assert_eq!(wait(&mut gate, 0), Wait::Open(Duration::from_secs(10)));
        let probe = gate.enter(at(10)).unwrap();
        gate.done(probe, Health::Paced(Duration::from_secs(5)), at(100_000));
        assert_eq!(wait(&mut gate, 11), Wait::Paced(Duration::from_secs(5)));
        assert!(gate.enter(at(16)).is_ok());
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Enter,
        Done(prop::sample::Index, Health),
        Abandon(prop::sample::Index),
        /// In milliseconds; the clock may be set back.
        Move(i64),
    }

    fn steps() -> impl Strategy<Value = Step> {
        let health = prop_oneof![
            Just(Health::Good),
            Just(Health::Bad),
            Just(Health::Bad),
            Just(Health::Unknown),
            (0u64..200).prop_map(|seconds| Health::Paced(Duration::from_secs(seconds))),
        ];
        prop_oneof![
            5 => Just(Step::Enter),
            4 => (any::<prop::sample::Index>(), health).prop_map(|(which, health)| Step::Done(which, health)),
            1 => any::<prop::sample::Index>().prop_map(Step::Abandon),
            3 => (0i64..20_000).prop_map(Step::Move),
            1 => (-100_000i64..0).prop_map(Step::Move),
        ]
    }

    proptest! {
        #[test]
        fn whatever_happens_it_keeps_its_promises(steps in prop::collection::vec(steps(), 1..200), rated: bool) {
            let rate = Rate { count: 5, per: Duration::from_secs(1), burst: 2 };
            let mut gate = Gate::new(GateSettings { rate: rated.then_some(rate), ..SETTINGS });
            let (mut now, mut permits) = (at(1_000_000), Vec::new());
            // When the circuit opened, as long as the clock was not set back since.
            let mut open_until: Option<Time> = None;
            for step in steps {
                match step {
                    Step::Move(by) => {
                        now = Time::from_micros(now.micros() + by * 1000);
                        if by < 0 {
                            open_until = None;
                        }
                    }
                    Step::Enter => match gate.enter(now) {
                        Ok(permit) => {
                            prop_assert!(open_until.is_none_or(|until| now >= until));
                            permits.push(permit);
                        }
                        Err(Wait::Open(left) | Wait::Paced(left)) => {
                            prop_assert!(!left.is_zero() && left <= SETTINGS.circuit.max_pause);
                        }
                        Err(Wait::Busy) => prop_assert_eq!(permits.len(), 4),
                        Err(Wait::Probing) => prop_assert!(!permits.is_empty()),
                    },
                    Step::Done(which, health) if !permits.is_empty() => {
                        let permit = permits.swap_remove(which.index(permits.len()));
                        gate.done(permit, health, now);
                    }
                    Step::Abandon(which) if !permits.is_empty() => {
                        let permit = permits.swap_remove(which.index(permits.len()));
                        gate.abandon(permit, now);
                    }
                    Step::Done(..) | Step::Abandon(_) => {}
                }
                let view = gate.view();
                prop_assert_eq!(usize::try_from(view.in_flight).unwrap(), permits.len());
                prop_assert!(view.in_flight <= 4);
                prop_assert_eq!(view.circuit == CircuitState::Open, view.retry_at.is_some());
                open_until = view.retry_at.filter(|_| open_until.is_some() || view.retry_at == Some(now.plus(SETTINGS.circuit.pause)));
            }
            // Whatever it was: an endpoint that is well again is used again.
            for permit in permits {
                gate.abandon(permit, now);
            }
            let mut served = 0;
            for _ in 0..10 {
                now = now.plus(SETTINGS.circuit.max_pause);
                if let Ok(permit) = gate.enter(now) {
                    gate.done(permit, Health::Good, now);
                    served += 1;
                }
            }
            // A clock that was set back is noticed by each part when it is asked: that may cost a round each.
            prop_assert!(served >= 7, "{served}");
            prop_assert_eq!(gate.view().circuit, CircuitState::Closed);
            prop_assert!(gate.is_idle(now.plus(SETTINGS.circuit.max_pause)));
        }
    }
}
