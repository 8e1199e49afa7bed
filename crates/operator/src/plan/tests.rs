mod any;
mod house;

use std::{sync::Arc, time::Duration};

use super::{Action, Buried, Retired, Said};
use crate::{Limits, Phase, Pinned, Template};
use house::{House, key, template};

const S: Duration = Duration::from_secs(1);

fn limits(in_all: u32, per_tenant: u32) -> Limits {
    let set = |most| (most > 0).then_some(most);
    Limits {
        in_all: set(in_all),
        per_tenant: set(per_tenant),
    }
}

#[test]
fn a_thread_with_a_turn_gets_an_instance_and_keeps_it_for_its_next_turn() {
    let mut house = House::new(vec![template("a")]);
    house.turn("t", "one", "a");
    let started = house.look();
    assert!(
        matches!(&started[..], [Action::Start { thread: Some(t), .. }] if **t == *"one"),
        "{started:?}"
    );
    let name = house.ready("one");
    house.end("one");
    house.look();
    house.turn("t", "one", "a");
    assert_eq!(house.look(), []);
    assert_eq!(house.instance_of("one").unwrap().name, name);
}

#[test]
fn an_agent_without_a_template_is_left_to_others() {
    let mut house = House::new(vec![template("a")]);
    house.turn("t", "one", "b");
    assert_eq!(house.look(), []);
    // A template of another tenant is none either.
    house.templates.push(Template {
        tenant: Some("u".into()),
        ..template("b")
    });
    assert_eq!(house.look(), []);
    house.turn("u", "one", "b");
    assert_eq!(house.look().len(), 1);
}

#[test]
fn an_idle_instance_goes_when_its_time_is_over_and_not_before() {
    let mut house = House::new(vec![template("a")]);
    house.turn("t", "one", "a");
    house.look();
    house.ready("one");
    house.end("one");
    house.look();
    assert_eq!(house.look_at, Some(house.now.plus(60 * S)));
    house.pass(59 * S);
    assert_eq!(house.look(), []);
    house.pass(S);
    let gone = house.look();
    let why = Retired::Idle;
    assert!(
        matches!(&gone[..], [Action::Retire { why: is, .. }] if *is == why),
        "{gone:?}"
    );
}

#[test]
fn a_thread_may_say_for_itself_how_long_its_instance_outlives_its_turns() {
    let mut house = House::new(vec![template("a")]);
    house.turn("t", "one", "a");
    house.look();
    house.ready("one");
    house.instance_mut("one").idle_timeout = Some(5 * S);
    house.end("one");
    house.look();
    assert_eq!(house.look_at, Some(house.now.plus(5 * S)));
    house.pass(5 * S);
    let gone = house.look();
    assert!(matches!(&gone[..], [Action::Retire { .. }]), "{gone:?}");
}

#[test]
fn one_that_turns_out_to_be_busy_stays() {
    let mut house = House::new(vec![template("a")]);
    house.turn("t", "one", "a");
    house.look();
    let name = house.ready("one");
    house.end("one");
    house.look();
    house.pass(60 * S);
    // The turn comes between the look and the release, which the server refuses then.
    house.unseen_turn("t", "one", "a");
    let refused = house.look();
    assert!(
        matches!(refused[..], [Action::Retire { .. }]),
        "{refused:?}"
    );
    assert_eq!(house.instance_of("one").unwrap().name, name);
    assert!(house.instance_of("one").unwrap().is_live());
    house.end("one");
    house.pass(59 * S);
    house.look();
    assert!(house.instance_of("one").unwrap().is_live());
}

#[test]
fn what_crashes_is_replaced_with_more_and_more_patience_until_a_turn_is_done() {
    let mut house = House::new(vec![template("a")]);
    house.turn("t", "one", "a");
    house.look();
    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        house.ready("one");
        house.crash("one");
        let buried = house.look();
        let again = Duration::from_secs(wait);
        let [
            Action::Bury {
                why: Buried::Crashed { again_in, .. },
                ..
            },
        ] = &buried[..]
        else {
            panic!("{buried:?}");
        };
        assert_eq!(*again_in, again);
        assert_eq!(house.look(), []);
        assert_eq!(house.look_at, Some(house.now.plus(again)));
        house.pass(again);
        let started = house.look();
        assert!(matches!(started[..], [Action::Start { .. }]), "{started:?}");
    }
    house.ready("one");
    house.end("one");
    house.turn("t", "one", "a");
    house.look();
    house.crash("one");
    house.look();
    house.pass(S);
    let started = house.look();
    assert!(matches!(started[..], [Action::Start { .. }]), "{started:?}");
}

#[test]
fn at_a_limit_the_longest_idle_gives_way_and_otherwise_the_thread_waits_and_is_told_once() {
    let mut house = House::new(vec![template("a")]);
    house.limits = limits(2, 0);
    for thread in ["one", "two"] {
        house.turn("t", thread, "a");
        house.look();
        house.ready(thread);
    }
    house.turn("t", "three", "a");
    let said = house.look();
    assert!(
        matches!(
            &said[..],
            [Action::Note {
                said: Said::Waits { .. },
                ..
            }]
        ),
        "{said:?}"
    );
    assert_eq!(house.look(), []);
    assert_eq!(house.waiting, 1);
    // Two is idle for longer than one.
    house.end("two");
    house.look();
    house.turn("t", "two", "a");
    house.look();
    house.end("one");
    house.end("two");
    house.pass(S);
    house.look();
    assert!(house.instance_of("three").is_none());
    assert_eq!(house.stopping(), 1);
    house.clear();
    let started = house.look();
    assert!(
        started
            .iter()
            .any(|it| matches!(it, Action::Start { thread: Some(t), .. } if **t == *"three")),
        "{started:?}"
    );
    assert_eq!(house.look().len(), 0);
    assert_eq!(house.stopping(), 0);
}

#[test]
fn a_tenants_limit_is_paid_by_its_own_instances() {
    let mut house = House::new(vec![template("a")]);
    house.limits = limits(3, 1);
    for (tenant, thread) in [("t", "one"), ("u", "two")] {
        house.turn(tenant, thread, "a");
        house.look();
        house.ready(thread);
        house.end(thread);
    }
    house.look();
    house.turn("u", "three", "a");
    house.look();
    assert!(house.instance_of("one").unwrap().is_live());
    assert_eq!(house.instance_of("two").unwrap().phase, Phase::Stopping);
}

#[test]
fn tenants_take_turns_and_within_one_the_oldest_is_first() {
    let mut house = House::new(vec![template("a")]);
    house.limits = limits(3, 0);
    for thread in ["one", "two", "three", "four"] {
        house.turn("t", thread, "a");
        house.pass(S);
    }
    house.turn("u", "five", "a");
    house.look();
    let has = |thread| house.instance_of(thread).is_some();
    let served: Vec<_> = ["one", "two", "three", "four", "five"]
        .into_iter()
        .filter(|thread| has(thread))
        .collect();
    assert_eq!(served, ["one", "two", "five"]);
}

#[test]
fn a_warm_instance_is_bound_and_another_takes_its_place_in_the_pool() {
    let warm = Template {
        warm: 2,
        tenant: Some("t".into()),
        ..template("a")
    };
    let mut house = House::new(vec![warm]);
    assert_eq!(house.look().len(), 2);
    house.all_ready();
    assert_eq!(house.look(), []);
    let before: Vec<_> = house.names();
    house.turn("t", "one", "a");
    let actions = house.look();
    assert!(
        matches!(
            &actions[..],
            [Action::Bind { .. }, Action::Start { thread: None, .. }]
        ),
        "{actions:?}"
    );
    assert!(before.contains(&house.instance_of("one").unwrap().name));
    // Fewer are wanted by now.
    house.all_ready();
    house.templates[0].warm = 0;
    let actions = house.look();
    let surplus =
        |action: &&Action| matches!(action, Action::Retire { why, .. } if *why == Retired::Surplus);
    assert_eq!(actions.iter().filter(surplus).count(), 2, "{actions:?}");
}

#[test]
fn a_warm_instance_that_is_being_started_is_waited_for() {
    let warm = Template {
        warm: 1,
        tenant: Some("t".into()),
        ..template("a")
    };
    let mut house = House::new(vec![warm]);
    house.look();
    house.busy.extend(house.names());
    house.turn("t", "one", "a");
    let actions = house.look();
    assert!(
        matches!(&actions[..], [Action::Start { thread: None, .. }]),
        "the next warm one alone: {actions:?}"
    );
    house.busy.extend(house.names());
    assert_eq!(house.look(), []);
    let first = house.names().remove(0);
    house.busy.remove(&first);
    let actions = house.look();
    assert!(
        matches!(&actions[..], [Action::Bind { name, .. }] if *name == first),
        "{actions:?}"
    );
}

#[test]
fn warm_instances_take_nobodys_place() {
    let warm = Template {
        warm: 2,
        tenant: Some("t".into()),
        ..template("a")
    };
    let mut house = House::new(vec![warm, template("b")]);
    house.limits = limits(2, 0);
    house.look();
    house.all_ready();
    house.turn("t", "one", "b");
    let actions = house.look();
    assert!(
        matches!(&actions[..], [Action::Retire { why, .. }] if *why == Retired::Room),
        "{actions:?}"
    );
    house.clear();
    let actions = house.look();
    assert!(
        matches!(
            &actions[..],
            [Action::Start {
                thread: Some(_),
                ..
            }]
        ),
        "{actions:?}"
    );
}

#[test]
fn a_thread_that_anothers_instance_has_is_left_to_it_until_its_lease_ends() {
    let mut house = House::new(vec![template("a")]);
    house.turn("t", "one", "a");
    house.leased_elsewhere("one", 30 * S);
    assert_eq!(house.look(), []);
    assert_eq!(house.look_at, Some(house.now.plus(30 * S)));
    house.pass(30 * S);
    assert_eq!(house.look().len(), 1);
}

#[test]
fn an_instance_whose_lease_is_lost_goes_and_is_no_crash() {
    let mut house = House::new(vec![template("a")]);
    house.turn("t", "one", "a");
    house.look();
    let name = house.ready("one");
    house.look();
    house.lost.insert(name);
    let actions = house.look();
    assert!(
        matches!(
            &actions[..],
            [Action::Bury {
                why: Buried::LeaseLost,
                ..
            }]
        ),
        "{actions:?}"
    );
    let actions = house.look();
    assert!(matches!(actions[..], [Action::Start { .. }]), "{actions:?}");
}

#[test]
fn a_turn_of_another_agent_takes_the_thread_along() {
    let mut house = House::new(vec![template("a"), template("b")]);
    house.turn("t", "one", "a");
    house.look();
    house.ready("one");
    house.end("one");
    house.look();
    house.turn("t", "one", "b");
    house.look();
    house.look();
    let agent: Option<Arc<str>> = Some("b".into());
    assert_eq!(house.instance_of("one").unwrap().agent, agent);
}

#[test]
fn a_pinned_thread_has_an_instance_until_it_is_idle_and_is_forgotten_after_its_drain() {
    let mut house = House::new(vec![template("a")]);
    house.pinned.push(Pinned {
        key: key("t", "one"),
        agent: Some("a".into()),
        is_leaving: false,
    });
    assert!(matches!(house.look()[..], [Action::Start { .. }]));
    house.ready("one");
    house.look();
    house.pass(60 * S);
    assert!(matches!(house.look()[..], [Action::Retire { .. }]));
    house.clear();
    assert_eq!(house.look(), [], "it rests");
    house.turn("t", "one", "a");
    assert!(matches!(house.look()[..], [Action::Start { .. }]));
    house.ready("one");
    house.look();

    // It is to go, and its turn is drained.
    house.pinned[0].is_leaving = true;
    assert_eq!(house.look(), []);
    house.pass(29 * S);
    assert_eq!(house.look(), []);
    house.pass(S);
    assert!(matches!(house.look()[..], [Action::Evict { .. }]));
    assert_eq!(house.look(), []);
    house.clear();
    let actions = house.look();
    assert!(
        matches!(&actions[..], [Action::Lose { .. }, Action::Forget { .. }]),
        "{actions:?}"
    );
    assert_eq!(house.instance_of("one"), None, "no other is started");
}

#[test]
fn at_the_end_all_go_and_those_with_turns_when_these_are_over() {
    let warm = Template {
        warm: 1,
        ..template("a")
    };
    let mut house = House::new(vec![warm]);
    for thread in ["one", "two", "three"] {
        house.turn("t", thread, "a");
        house.look();
        house.ready(thread);
    }
    house.end("one");
    house.look();
    house.closing = Some(10 * S);
    house.look();
    assert_eq!(house.stopping(), 2, "the idle one and the warm one");
    house.end("two");
    // What comes next may go elsewhere.
    house.turn("t", "two", "a");
    let actions = house.look();
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::Evict { .. })),
        "{actions:?}"
    );
    house.pass(10 * S);
    house.look();
    assert_eq!(house.stopping(), 4);
    house.clear();
    house.look();
    assert_eq!(house.names(), Vec::<Arc<str>>::new());
}

#[test]
fn turns_are_told_of_when_they_come_and_when_they_end() {
    let mut house = House::new(vec![template("a")]);
    house.turn("t", "one", "a");
    house.look();
    house.ready("one");
    house.look();
    assert_eq!(house.told, [true]);
    house.end("one");
    house.look();
    assert_eq!(house.told, [false]);
    house.turn("t", "one", "a");
    house.look();
    assert_eq!(house.told, [true]);
    house.look();
    assert_eq!(house.told, [] as [bool; 0]);
}
