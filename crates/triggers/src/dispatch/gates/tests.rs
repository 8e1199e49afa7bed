use super::*;
use crate::circuit::{CircuitSettings, Rate};

const SETTINGS: GateSettings = GateSettings {
    concurrency: 2,
    rate: None,
    circuit: CircuitSettings {
        failures: 3,
        pause: Duration::from_secs(10),
        max_pause: Duration::from_secs(60),
        probes: 1,
        successes: 1,
    },
};

const SECOND: Duration = Duration::from_secs(1);

struct Yard {
    gates: Gates,
    rates: Arc<LiveRates>,
    orders: mpsc::UnboundedReceiver<Order>,
    clock: Clock,
    tenant: Arc<str>,
    endpoint: Arc<str>,
    next: u32,
}

impl Yard {
    fn new(settings: GateSettings) -> Self {
        let clock = Clock::fake(Time::from_millis(1_000_000_000));
        let rates = Arc::new(LiveRates::default());
        let (gates, orders) = Gates::new(settings, Arc::clone(&rates), clock.clone());
        Yard {
            gates,
            rates,
            orders,
            clock,
            tenant: "t".into(),
            endpoint: "http://e.example/".into(),
            next: 0,
        }
    }

    fn ask_as(&self, id: u32) -> Asked {
        let caller = Caller {
            id: format!("{id:08}").into(),
            attempts: 0,
        };
        self.gates.ask(&self.tenant, &self.endpoint, caller)
    }

    /// A younger one than all before.
    fn ask(&mut self) -> Asked {
        self.next += 1;
        self.ask_as(self.next)
    }

    fn go(&mut self) -> Pass {
        match self.ask() {
            Asked::Go(pass) => pass,
            _ => panic!("it may not go"),
        }
    }

    fn wait(&mut self) -> Ticket {
        match self.ask() {
            Asked::Wait(ticket) => ticket,
            _ => panic!("it does not wait"),
        }
    }

    fn later(&mut self) -> Later {
        match self.ask() {
            Asked::Later(later) => later,
            _ => panic!("it is not put off"),
        }
    }

    fn fail(&mut self) {
        self.go().done(Health::Bad, SECOND);
    }

    fn circuit(&self) -> CircuitState {
        let key = Key {
            tenant: Arc::clone(&self.tenant),
            endpoint: Arc::clone(&self.endpoint),
        };
        self.gates
            .view(&key)
            .map_or(CircuitState::Closed, |view| view.circuit)
    }

    /// The numbers of those who were called since the last time.
    fn called(&mut self) -> Vec<u32> {
        let mut called = Vec::new();
        while let Ok(order) = self.orders.try_recv() {
            if let Order::Call(_, some) = order {
                called.extend(some.iter().map(|job| job.id.parse::<u32>().unwrap()));
            }
        }
        called
    }

    fn counts(&self) -> (usize, usize, usize) {
        let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        let common = &self.gates.common;
        (of(&common.waiting), of(&common.parked), of(&common.open))
    }
}

fn went(ticket: &mut Ticket) -> Option<Pass> {
    match ticket.turn.try_recv() {
        Ok(Turn::Go(pass)) => Some(pass),
        _ => None,
    }
}

fn put_off(ticket: &mut Ticket) -> Option<Later> {
    match ticket.turn.try_recv() {
        Ok(Turn::Later(later)) => Some(later),
        _ => None,
    }
}

#[test]
fn who_leaves_hands_over_to_the_oldest_who_waits() {
    let mut yard = Yard::new(SETTINGS);
    let (first, second) = (yard.go(), yard.go());
    let mut young = match yard.ask_as(9) {
        Asked::Wait(ticket) => ticket,
        _ => panic!("it does not wait"),
    };
    let mut old = yard.wait();
    assert_eq!(yard.counts().0, 2);
    drop(first);
    let pass = went(&mut old).expect("the older one goes");
    assert!(went(&mut young).is_none());
    drop(pass);
    assert!(went(&mut young).is_some());
    second.done(Health::Good, SECOND);
    drop((old, young));
    assert_eq!(yard.counts(), (0, 0, 0));
}

#[test]
fn a_place_that_is_given_up_is_nobodys_and_a_turn_that_nobody_takes_goes_on() {
    let mut yard = Yard::new(SETTINGS);
    let passes = [yard.go(), yard.go()];
    let (gone, mut stays) = (yard.wait(), yard.wait());
    drop(gone);
    assert_eq!(yard.counts().0, 1);
    drop(passes);
    assert!(went(&mut stays).is_some());

    let mut yard = Yard::new(SETTINGS);
    let (first, second) = (yard.go(), yard.go());
    let (unread, mut next) = (yard.wait(), yard.wait());
    drop(first);
    // It was its turn, and it is dropped with it.
    drop(unread);
    assert!(went(&mut next).is_some());
    drop(second);
    let _ = (yard.go(), yard.go());
}

#[test]
fn a_crowd_before_a_slow_endpoint_is_put_off_in_a_row_and_called_back_oldest_first() {
    let mut yard = Yard::new(SETTINGS);
    // So slow that a few are enough to wait.
    for _ in 0..200 {
        yard.go().done(Health::Good, Duration::from_secs(20));
    }
    let passes = [yard.go(), yard.go()];
    let mut waiting = [yard.wait(), yard.wait()];
    let laters: Vec<_> = (0..10).map(|_| yard.later()).collect();
    assert!(laters[0].why.contains("under way"), "{}", laters[0].why);
    for pair in laters.windows(2) {
        assert!(pair[1].wait >= pair[0].wait + SECOND, "{pair:?}");
    }
    assert_eq!((yard.counts().0, yard.counts().1), (2, 10));
    // An older one takes the place of the youngest who waits.
    let mut old = match yard.ask_as(0) {
        Asked::Wait(ticket) => ticket,
        _ => panic!("it does not wait"),
    };
    assert!(put_off(&mut waiting[1]).is_some());
    assert!(yard.called().is_empty());
    let [first, second] = passes;
    drop(first);
    let next = went(&mut old).expect("the oldest goes");
    drop((second, next));
    assert!(went(&mut waiting[0]).is_some());
    // Those who were put off first are the oldest that are left.
    assert_eq!(yard.called()[..2], [204, 205]);
}

#[test]
fn who_meets_an_open_circuit_is_put_off_until_it_is_over_a_few_at_a_time() {
    let mut yard = Yard::new(SETTINGS);
    let passes = [yard.go(), yard.go()];
    let mut waits = yard.wait();
    let [first, second] = passes;
    first.done(Health::Bad, SECOND);
    let third = went(&mut waits).expect("it goes");
    let mut waits = yard.wait();
    second.done(Health::Bad, SECOND);
    let fourth = went(&mut waits).expect("it goes");
    let mut waits = yard.wait();
    third.done(Health::Bad, SECOND);
    assert_eq!(yard.circuit(), CircuitState::Open);
    assert!(
        put_off(&mut waits).is_some(),
        "nobody waits for it in memory"
    );
    fourth.done(Health::Bad, SECOND);
    let laters: Vec<_> = (0..1000).map(|_| yard.later()).collect();
    assert!(laters[0].wait >= Duration::from_secs(10));
    assert!(laters[0].why.contains("failed 3 times in a row"));
    // However many there are, no more come a second than it has served, a few together.
    let span = laters.last().unwrap().wait - laters[0].wait;
    assert!((49..=51).contains(&span.as_secs()), "{span:?}");
    let times: std::collections::BTreeSet<_> = laters.iter().map(|later| later.wait).collect();
    assert!((200..=201).contains(&times.len()), "{}", times.len());
    assert!(yard.called().is_empty());
    assert_eq!(yard.counts().2, 1);
}

#[test]
fn the_first_to_come_when_the_pause_is_over_is_the_probe_and_its_success_calls_all_back() {
    let mut yard = Yard::new(SETTINGS);
    for _ in 0..3 {
        yard.fail();
    }
    let laters = (0..40).map(|_| yard.later()).count();
    yard.clock.advance(10 * SECOND);
    let probe = yard.go();
    assert_eq!(yard.circuit(), CircuitState::HalfOpen);
    let later = yard.later();
    assert!(later.why.contains("tries whether it is back"));
    assert!(yard.called().is_empty());
    probe.done(Health::Good, SECOND);
    assert_eq!(yard.circuit(), CircuitState::Closed);
    // As many as it serves in a second, by what is known; the others when these have come.
    let mut called = yard.called();
    assert!(called.len() > 2 && called.is_sorted(), "{called:?}");
    let mut served = 0;
    while let Some(id) = called.pop() {
        match yard.ask_as(id) {
            Asked::Go(pass) => pass.done(Health::Good, Duration::from_millis(1)),
            _ => panic!("it may go"),
        }
        served += 1;
        called.extend(yard.called());
    }
    assert_eq!(served, laters + 1);
    assert_eq!(yard.counts(), (0, 0, 0));
}

#[test]
fn a_probe_is_called_if_nobody_comes() {
    let mut yard = Yard::new(SETTINGS);
    for _ in 0..3 {
        yard.fail();
    }
    let _ = (0..5).map(|_| yard.later()).count();
    yard.gates.sweep();
    assert!(yard.called().is_empty(), "the pause is not over");
    yard.clock.advance(10 * SECOND);
    yard.gates.sweep();
    assert_eq!(yard.called(), [4]);
    yard.gates.sweep();
    assert!(yard.called().is_empty(), "it is on its way");
    // It never came; the next is called.
    yard.clock.advance(3 * SECOND);
    yard.gates.sweep();
    assert_eq!(yard.called(), [5]);
    // It fails: everybody waits for longer.
    match yard.ask_as(5) {
        Asked::Go(pass) => pass.done(Health::Bad, SECOND),
        _ => panic!("it is the probe"),
    }
    yard.gates.sweep();
    assert!(yard.called().is_empty());
}

#[test]
fn who_was_called_too_early_is_called_again() {
    let mut yard = Yard::new(SETTINGS);
    for _ in 0..3 {
        yard.fail();
    }
    let _ = (0..2).map(|_| yard.later()).count();
    yard.clock.advance(10 * SECOND);
    yard.gates.sweep();
    let Ok(door) = std::iter::from_fn(|| Some(yard.orders.try_recv()))
        .find_map(|order| match order {
            Ok(Order::Call(door, _)) => Some(Ok(door)),
            Ok(_) => None,
            Err(empty) => Some(Err(empty)),
        })
        .unwrap()
    else {
        panic!("nobody is called");
    };
    assert_eq!(yard.counts().1, 1);
    door.recall(&["00000004".into(), "unknown".into()]);
    assert_eq!(yard.counts().1, 2);
    yard.gates.sweep();
    assert_eq!(yard.called(), [4]);
    // It has come: there is nobody to be called.
    match yard.ask_as(4) {
        Asked::Go(pass) => pass.done(Health::Bad, SECOND),
        _ => panic!("it is the probe"),
    }
    door.recall(&["00000004".into()]);
    assert_eq!(yard.counts().1, 1);
}

#[test]
fn what_is_paced_goes_when_its_time_has_come() {
    let rate = Rate {
        count: 2,
        per: SECOND,
        burst: 1,
    };
    let mut yard = Yard::new(GateSettings {
        rate: Some(rate),
        ..SETTINGS
    });
    yard.go().done(Health::Good, Duration::from_millis(1));
    let mut waits = yard.wait();
    let Ok(Order::Wake(_, door)) = yard.orders.try_recv() else {
        panic!("nobody is to look again");
    };
    assert!(went(&mut waits).is_none());
    yard.clock.advance(SECOND / 2);
    door.wake();
    assert!(went(&mut waits).is_some());

    // A pause that the endpoint asks for is not waited for in memory.
    let mut yard = Yard::new(SETTINGS);
    yard.go().done(Health::Paced(30 * SECOND), SECOND);
    let later = yard.later();
    assert!(later.wait >= 30 * SECOND);
    assert!(later.why.contains("asked for a pause"), "{}", later.why);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_in_memory_for_long() {
    let mut yard = Yard::new(SETTINGS);
    let _passes = [yard.go(), yard.go()];
    let ticket = yard.wait();
    assert!(matches!(ticket.turn().await, Turn::Later(_)));
    assert_eq!((yard.counts().0, yard.counts().1), (0, 1));
}

#[test]
fn gates_of_no_use_are_forgotten() {
    let mut yard = Yard::new(SETTINGS);
    yard.go().done(Health::Good, SECOND);
    yard.gates.sweep();
    assert_eq!(yard.gates.known(), 0);

    let pass = yard.go();
    yard.gates.sweep();
    assert_eq!(yard.gates.known(), 1, "it is in use");
    pass.done(Health::Bad, SECOND);
    yard.fail();
    yard.fail();
    yard.gates.sweep();
    assert_eq!((yard.gates.known(), yard.counts().2), (1, 1), "it is open");
    // Nobody wants anything of it any more.
    yard.clock.advance(Duration::from_hours(1));
    yard.gates.sweep();
    assert_eq!((yard.gates.known(), yard.counts().2), (0, 0));
    assert_eq!(yard.gates.unwell(), []);
}

#[test]
fn there_are_never_more_gates_than_are_kept() {
    let mut yard = Yard::new(SETTINGS);
    for n in 0..MOST_DOORS {
        yard.endpoint = format!("http://e.example/{n}").into();
        // One failure is remembered, so that none of them is idle.
        yard.fail();
        yard.clock.advance(Duration::from_micros(1));
    }
    yard.endpoint = "http://e.example/more".into();
    yard.fail();
    assert!(yard.gates.known() <= MOST_DOORS / 2 + 1);
    yard.endpoint = format!("http://e.example/{}", MOST_DOORS - 1).into();
    yard.fail();
    yard.fail();
    assert_eq!(
        yard.circuit(),
        CircuitState::Open,
        "the ones that were used last are kept"
    );
}

#[test]
fn a_rate_that_is_set_while_it_runs_holds_at_once_and_goes_again() {
    let mut yard = Yard::new(GateSettings {
        concurrency: 100,
        ..SETTINGS
    });
    drop(yard.go());
    yard.rates.set(None, Some(2));
    let mut gone = 0;
    while let Asked::Go(_) = yard.ask() {
        gone += 1;
        assert!(gone < 10, "there is no rate");
    }
    assert_eq!(gone, 2);
    yard.rates.set(None, None);
    yard.clock.advance(SECOND);
    yard.gates.sweep();
    for _ in 0..10 {
        drop(yard.ask());
    }
    drop(yard.go());
}
