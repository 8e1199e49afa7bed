//! Whatever happens, in whatever order.

use std::{collections::HashSet, time::Duration};

use proptest::prelude::*;

use super::house::{House, template};
use crate::{Limits, Phase, Template, ThreadKey, plan::Action};

const THREADS: [&str; 6] = ["one", "two", "three", "four", "five", "six"];

#[derive(Clone, Debug)]
enum Event {
    /// A thread has its tenant for good.
    Turn(usize, bool),
    End(usize),
    Ready,
    Crash(usize),
    /// What was told to stop has stopped.
    Clear,
    Pass(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..THREADS.len(), any::<bool>()).prop_map(|(of, other)| Event::Turn(of, other)),
        3 => (0..THREADS.len()).prop_map(Event::End),
        3 => Just(Event::Ready),
        2 => (0..4_usize).prop_map(Event::Crash),
        2 => Just(Event::Clear),
        3 => (1..90_000_u64).prop_map(Event::Pass),
    ]
}

fn tenant(thread: usize) -> &'static str {
    ["t", "u", "v"][thread % 3]
}

fn most() -> impl Strategy<Value = Option<u32>> {
    prop_oneof![Just(None), (1..5_u32).prop_map(Some)]
}

prop_compose! {
    fn house()(
        in_all in most(), per_tenant in most(), of_a in most(), warm in 0..3_u32, own in any::<bool>(),
    ) -> House {
        let a = Template { most: of_a, warm, tenant: own.then(|| "t".into()), ..template("a") };
        // Tenants that have none of their own.
        let mut templates = vec![a, template("b")];
        if own {
            templates.push(template("a"));
        }
        let mut house = House::new(templates);
        house.limits = Limits { in_all, per_tenant };
        house
    }
}

fn happen(house: &mut House, event: &Event) {
    match event {
        Event::Turn(of, other) => {
            let agent = if *other { "b" } else { "a" };
            house.turn(tenant(*of), THREADS[*of], agent);
        }
        Event::End(of) => {
            if house.runs(THREADS[*of]) {
                house.end(THREADS[*of]);
            }
        }
        Event::Ready => {
            house.all_ready();
            for thread in house.threads() {
                let instance = house.instance_of(&thread.thread);
                if instance.is_some_and(|it| it.phase == Phase::Ready) {
                    house.ready(&thread.thread);
                }
            }
        }
        Event::Crash(nth) => house.crash_nth(*nth),
        Event::Clear => house.clear(),
        Event::Pass(millis) => house.pass(Duration::from_millis(*millis)),
    }
}

/// Nothing fails any more, nothing new comes, and time goes by.
fn settle(house: &mut House) {
    for _ in 0..12 {
        happen(house, &Event::Ready);
        house.clear();
        house.pass(Duration::from_secs(7));
        house.look();
    }
}

/// Whoever waits does so because of a limit that is reached by instances that work.
fn check_served(house: &House) {
    let working: HashSet<ThreadKey> = house.threads().into_iter().collect();
    let works = |key: Option<ThreadKey>| key.is_some_and(|key| working.contains(&key));
    for wanted in house.wanted() {
        let key = &wanted.key;
        if let Some(it) = house.instance_of(&key.thread) {
            assert!(
                it.is_live() && it.agent == wanted.agent,
                "{it:?} {wanted:?}"
            );
            continue;
        }
        let of = Template::of(&house.templates, &key.tenant, wanted.agent.as_deref());
        let of = of.expect("each agent has a template");
        let count = |is: &dyn Fn(&crate::Instance) -> bool| {
            let those = house.instances().iter().filter(|it| is(it));
            let working = those.filter(|it| works(it.key()));
            u32::try_from(working.count()).unwrap()
        };
        let full = |count: u32, most: Option<u32>| most.is_some_and(|most| count >= most);
        let of_template = |it: &crate::Instance| {
            Template::of(&house.templates, &it.tenant, it.agent.as_deref()) == Some(of)
        };
        let waits = full(count(&|_| true), house.limits.in_all)
            || full(
                count(&|it| it.tenant == key.tenant),
                house.limits.per_tenant,
            )
            || full(count(&of_template), house.templates[of].most);
        assert!(
            waits,
            "{wanted:?} waits for nothing: {:#?}",
            house.instances()
        );
    }
}

proptest! {
    /// What must never be is checked by the house at each look.
    #[test]
    fn limits_hold_and_whoever_can_be_served_is(
        mut house in house(), events in prop::collection::vec((event(), any::<bool>()), 1..80),
    ) {
        for (event, looks) in &events {
            happen(&mut house, event);
            if *looks {
                house.look();
            }
        }
        settle(&mut house);
        check_served(&house);

        // In the end all turns are done, and everything goes but the pool.
        for _ in 0..events.len() {
            for thread in house.threads() {
                if house.runs(&thread.thread) {
                    house.end(&thread.thread);
                }
            }
            settle(&mut house);
        }
        prop_assert!(house.threads().is_empty(), "{:?}", house.threads());
        house.pass(Duration::from_secs(60));
        house.look();
        house.clear();
        settle(&mut house);
        prop_assert!(house.instances().iter().all(|it| it.thread.is_none()));
        let most = [house.limits.in_all, house.limits.per_tenant, house.templates[0].most];
        let room = most.into_iter().flatten().min().unwrap_or(u32::MAX);
        let pool = house.templates[0].warm.min(room);
        prop_assert_eq!(house.instances().len(), pool as usize);
        prop_assert_eq!(house.look(), Vec::<Action>::new());
    }

    #[test]
    fn closing_comes_to_an_end_whatever_was_before(
        mut house in house(), events in prop::collection::vec(event(), 1..40),
    ) {
        for event in &events {
            happen(&mut house, event);
            house.look();
        }
        house.closing = Some(Duration::from_secs(10));
        for _ in 0..4 {
            house.look();
            house.clear();
            house.pass(Duration::from_secs(5));
        }
        prop_assert!(house.instances().is_empty(), "{:#?}", house.instances());
    }
}
