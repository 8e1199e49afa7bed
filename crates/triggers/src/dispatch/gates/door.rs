//! One endpoint's gate and who stands before it: pure, with the time passed in. What is to happen
//! outside is collected in [`Effects`].

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tidewire_core::{Time, clock};

use super::{Caller, PATIENCE};
use crate::{
    circuit::{CircuitState, Gate, GateSettings, GateView, Permit, Rate, Wait},
    retry::Health,
};

/// Deliveries that wait at one endpoint: what it serves in a second, within these bounds.
const MOST_WAITING: usize = 1_000;
const LEAST_WAITING: usize = 2;
/// What a request takes before any has told.
const FIRST_GUESS: Duration = Duration::from_millis(100);
/// Between two that were put off while nothing is sent: however many there are, no more come a second.
const STEP_CLOSED_UP: Duration = Duration::from_millis(10);
/// Between two that were put off as too many came.
const LEAST_STEP: Duration = Duration::from_millis(1);
/// Those whose times would lie within this come back together, so that one claim and one report do for
/// all of them, but no more than so many.
const TOGETHER: Duration = Duration::from_millis(250);
const MOST_TOGETHER: u32 = 100;
/// How long those are put off who meet a probe.
const PROBE: Duration = Duration::from_secs(1);
/// What nobody is put off longer than, beyond what the gate says: nobody may be there to call it.
const LONGEST: Duration = Duration::from_secs(300);
/// How long those who were called may take to come.
const CALL: Duration = Duration::from_secs(2);
/// Those who are called at once.
const CALLED_AT_ONCE: usize = 500;
/// Who was not seen for so long after its time has gone elsewhere.
const OVERDUE: Duration = Duration::from_secs(30);
/// An endpoint that nobody delivers to for so long is forgotten, whatever state its circuit is in.
const UNUSED: Duration = Duration::from_secs(900);

/// When a delivery that was put off comes back, and why it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Later {
    pub why: String,
    pub wait: Duration,
}

/// How many more may wait and be remembered, of all endpoints.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub waiting: usize,
    pub parked: usize,
}

/// What follows from a step.
#[derive(Debug)]
pub(super) struct Effects<T> {
    room: Room,
    /// Whose turn it is, or who is put off after all.
    pub admitted: Vec<(T, Admission)>,
    /// Look again after this time.
    pub wake: Option<Duration>,
    /// Who was put off and may come back now, with the attempts that each has had.
    pub called: Vec<(Arc<str>, u32)>,
}

impl<T> Effects<T> {
    pub(super) fn new(room: Room) -> Self {
        Effects {
            room,
            admitted: Vec::new(),
            wake: None,
            called: Vec::new(),
        }
    }
}

#[derive(Debug)]
pub(super) enum Admission {
    Goes(Permit),
    Later(Later),
}

#[derive(Debug)]
pub(super) enum Arrived {
    Goes(Permit),
    Waits,
    Later(Later),
}

struct Parked {
    attempts: u32,
    /// When it comes back by itself.
    until: Time,
}

struct Waiting<T> {
    attempts: u32,
    handle: T,
}

pub(super) struct Door<T> {
    settings: GateSettings,
    gate: Gate,
    /// Oldest first.
    waiting: BTreeMap<Arc<str>, Waiting<T>>,
    parked: BTreeMap<Arc<str>, Parked>,
    /// Those who were called and have not come yet.
    called: HashMap<Arc<str>, Parked>,
    called_at: Time,
    /// What a request takes, smoothed.
    takes: Duration,
    /// When the last of those who were put off come back, and how many more may with them.
    last_back: Time,
    more_with_last: u32,
    /// When it will be looked at again, if that was asked for.
    wakes_at: Option<Time>,
    used: Time,
}

impl<T> Door<T> {
    pub(super) fn new(settings: GateSettings, now: Time) -> Self {
        Door {
            settings,
            gate: Gate::new(settings),
            waiting: BTreeMap::new(),
            parked: BTreeMap::new(),
            called: HashMap::new(),
            called_at: now,
            takes: FIRST_GUESS,
            last_back: now,
            more_with_last: 0,
            wakes_at: None,
            used: now,
        }
    }

    /// How fast requests may go from here on.
    pub(super) fn pace(&mut self, rate: Option<Rate>) {
        if self.settings.rate != rate {
            self.settings.rate = rate;
            self.gate.set_rate(rate);
        }
    }

    /// A delivery asks to go. Nobody overtakes those who wait.
    pub(super) fn arrive(
        &mut self,
        caller: &Caller,
        handle: T,
        now: Time,
        effects: &mut Effects<T>,
    ) -> Arrived {
        self.used = now;
        self.called.remove(&caller.id);
        self.parked.remove(&caller.id);
        let asked = if self.waiting.is_empty() {
            match self.gate.enter(now) {
                Ok(permit) => return Arrived::Goes(permit),
                Err(wait) => wait,
            }
        } else {
            self.gate.ask(now).err().unwrap_or(Wait::Busy)
        };
        if !is_short(asked) {
            return Arrived::Later(self.put_off(caller, asked, now, effects.room));
        }
        let is_full = self.waiting.len() >= self.most_waiting() || effects.room.waiting == 0;
        if is_full {
            // The older one stays.
            let youngest = self.waiting.last_entry();
            let Some(youngest) = youngest.filter(|youngest| *youngest.key() > caller.id) else {
                return Arrived::Later(self.put_off(caller, asked, now, effects.room));
            };
            let (id, waiting) = youngest.remove_entry();
            self.send_away(id, waiting, asked, now, effects);
        }
        let waiting = Waiting {
            attempts: caller.attempts,
            handle,
        };
        self.waiting.insert(Arc::clone(&caller.id), waiting);
        self.admit(now, effects);
        Arrived::Waits
    }

    /// A request has ended, and this is what it tells about the endpoint.
    pub(super) fn done(
        &mut self,
        permit: Permit,
        health: Health,
        took: Duration,
        now: Time,
        effects: &mut Effects<T>,
    ) {
        // What fails says nothing about how long an answer takes.
        if health == Health::Good {
            self.takes = (self.takes * 7 + took) / 8;
        }
        self.gate.done(permit, health, now);
        self.admit(now, effects);
        self.call(now, effects);
    }

    /// A request was given up.
    pub(super) fn abandon(&mut self, permit: Permit, now: Time, effects: &mut Effects<T>) {
        self.gate.abandon(permit, now);
        self.admit(now, effects);
        self.call(now, effects);
    }

    /// Somebody who waits goes away.
    pub(super) fn give_up(&mut self, id: &str) {
        self.waiting.remove(id);
    }

    /// Somebody has waited long enough.
    pub(super) fn lose_patience(
        &mut self,
        caller: &Caller,
        now: Time,
        effects: &Effects<T>,
    ) -> Later {
        self.waiting.remove(&caller.id);
        let wait = self.gate.ask(now).err().unwrap_or(Wait::Busy);
        self.put_off(caller, wait, now, effects.room)
    }

    /// The time has come that was asked for.
    pub(super) fn wake(&mut self, now: Time, effects: &mut Effects<T>) {
        self.wakes_at = None;
        self.admit(now, effects);
        self.call(now, effects);
    }

    /// Now and then, for those whom nothing else moves.
    pub(super) fn look(&mut self, now: Time, effects: &mut Effects<T>) {
        self.parked
            .retain(|_, parked| parked.until.plus(OVERDUE) > now);
        if now.since(self.called_at) > CALL || now < self.called_at {
            self.called.clear();
        }
        self.admit(now, effects);
        self.call(now, effects);
    }

    /// These could not be called: they are where they were.
    pub(super) fn recall<'c>(&mut self, ids: impl IntoIterator<Item = &'c str>) {
        for id in ids {
            // Who has come meanwhile was not there to be called.
            if let Some((id, parked)) = self.called.remove_entry(id) {
                self.parked.insert(id, parked);
            }
        }
    }

    /// Lets go as many of those who wait as may go.
    fn admit(&mut self, now: Time, effects: &mut Effects<T>) {
        while let Some(oldest) = self.waiting.first_entry() {
            match self.gate.enter(now) {
                Ok(permit) => {
                    let waiting = oldest.remove();
                    let admission = Admission::Goes(permit);
                    effects.admitted.push((waiting.handle, admission));
                }
                Err(Wait::Paced(left)) if left <= PATIENCE => {
                    return self.wake_after(left, now, effects);
                }
                Err(wait) if is_short(wait) => return,
                Err(wait) => {
                    for (id, waiting) in std::mem::take(&mut self.waiting) {
                        self.send_away(id, waiting, wait, now, effects);
                    }
                    return;
                }
            }
        }
    }

    fn send_away(
        &mut self,
        id: Arc<str>,
        waiting: Waiting<T>,
        wait: Wait,
        now: Time,
        effects: &mut Effects<T>,
    ) {
        let caller = Caller {
            id,
            attempts: waiting.attempts,
        };
        let later = self.put_off(&caller, wait, now, effects.room);
        let admission = Admission::Later(later);
        effects.admitted.push((waiting.handle, admission));
    }

    fn wake_after(&mut self, left: Duration, now: Time, effects: &mut Effects<T>) {
        let at = now.plus(left);
        // One whose time is past was lost with the clock that it went by.
        let is_asked = |asked: Time| asked > now && asked <= at;
        if !self.wakes_at.is_some_and(is_asked) {
            self.wakes_at = Some(at);
            effects.wake = Some(left);
        }
    }

    /// Finds a time for one that cannot go now, behind all that have one.
    fn put_off(&mut self, caller: &Caller, wait: Wait, now: Time, room: Room) -> Later {
        let step = self.step();
        let (left, step) = match wait {
            Wait::Open(left) => (left, step.max(STEP_CLOSED_UP)),
            Wait::Probing => (PROBE, step.max(STEP_CLOSED_UP)),
            Wait::Busy => (step, step),
            Wait::Paced(left) => (left, step),
        };
        let earliest = now.plus(left);
        let until = self.find_time(earliest, step);
        // What is not remembered comes back by itself.
        if room.parked > 0 {
            let parked = Parked {
                attempts: caller.attempts,
                until,
            };
            self.parked.insert(Arc::clone(&caller.id), parked);
        }
        Later {
            why: self.why(wait),
            wait: until.since(now),
        }
    }

    /// A time for one more, a step behind those who have one already: alone if steps are long, and else
    /// together with as many as fit into a moment.
    fn find_time(&mut self, earliest: Time, step: Duration) -> Time {
        if self.more_with_last > 0 && earliest <= self.last_back {
            self.more_with_last -= 1;
            return self.last_back;
        }
        let together = TOGETHER.as_micros() / step.as_micros().max(1);
        let together = u32::try_from(together).unwrap_or(MOST_TOGETHER);
        let together = together.clamp(1, MOST_TOGETHER);
        let next = earliest.max(self.last_back.plus(step * together));
        if next > earliest.plus(LONGEST) {
            return earliest.plus(LONGEST.mul_f64(clock::random_fraction()));
        }
        self.last_back = next;
        self.more_with_last = together - 1;
        next
    }

    fn why(&self, wait: Wait) -> String {
        let why = match wait {
            Wait::Open(_) => format!(
                "the endpoint has failed {} times in a row and is left alone for a while",
                self.settings.circuit.failures.max(1)
            ),
            Wait::Probing => {
                "the endpoint was failing, and another delivery tries whether it is back".to_owned()
            }
            Wait::Busy => format!(
                "{} deliveries to the endpoint are under way, as many as may be at once",
                self.settings.concurrency.max(1)
            ),
            Wait::Paced(_) if self.gate.is_asked_to_pause() => {
                "the endpoint has asked for a pause".to_owned()
            }
            Wait::Paced(_) => {
                "the endpoint was sent as many deliveries as it may get in this time".to_owned()
            }
        };
        format!("not sent yet: {why}")
    }

    /// Calls back the oldest of those who were put off, as many as there is room for.
    fn call(&mut self, now: Time, effects: &mut Effects<T>) {
        if self.parked.is_empty() {
            (self.last_back, self.more_with_last) = (now, 0);
            return;
        }
        let wanted = match self.gate.ask(now) {
            Err(wait) if !is_short(wait) => return,
            _ if self.view().circuit == CircuitState::HalfOpen => {
                self.settings.circuit.probes.max(1) as usize
            }
            _ => self.most_waiting().min(effects.room.waiting),
        };
        let expected = self.waiting.len() + self.called.len();
        if wanted == 0 || expected > wanted / 2 {
            return;
        }
        for _ in 0..wanted.saturating_sub(expected).min(CALLED_AT_ONCE) {
            let Some((id, parked)) = self.parked.pop_first() else {
                break;
            };
            effects.called.push((Arc::clone(&id), parked.attempts));
            self.called.insert(id, parked);
        }
        self.called_at = now;
    }

    /// From one that goes to the next, as long as as many go as may.
    fn step(&self) -> Duration {
        let served = self.takes / self.settings.concurrency.max(1);
        let paced = self
            .settings
            .rate
            .map_or(Duration::ZERO, |rate| rate.per / rate.count.max(1));
        served.max(paced).max(LEAST_STEP)
    }

    fn most_waiting(&self) -> usize {
        let a_second = Duration::from_secs(1).as_micros() / self.step().as_micros().max(1);
        let a_second = usize::try_from(a_second).unwrap_or(MOST_WAITING);
        a_second.clamp(LEAST_WAITING, MOST_WAITING)
    }

    pub(super) fn view(&self) -> GateView {
        self.gate.view()
    }

    /// How many wait, and how many are remembered.
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.waiting.len(), self.parked.len())
    }

    pub(super) fn used(&self) -> Time {
        self.used
    }

    /// Whether a new one would do as well.
    pub(super) fn is_idle(&self, now: Time) -> bool {
        let is_unused = self.gate.view().in_flight == 0 && now.since(self.used) > UNUSED;
        self.waiting.is_empty()
            && self.parked.is_empty()
            && self.called.is_empty()
            && (is_unused || self.gate.is_idle(now))
    }
}

/// Whether it is worth waiting in memory.
fn is_short(wait: Wait) -> bool {
    match wait {
        Wait::Busy => true,
        Wait::Paced(left) => left <= PATIENCE,
        Wait::Open(_) | Wait::Probing => false,
    }
}
