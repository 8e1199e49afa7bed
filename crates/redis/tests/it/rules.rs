//! The script's rules are those of `tidewire_threads::after`: random histories against a model of them.

use std::{collections::BTreeMap, time::Duration};

use proptest::{
    collection::vec,
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, TestRunner},
};
use tidewire_redis::RedisSettings;
use tidewire_testkit::servers;
use tidewire_threads::{Error, OnBusy, TurnStatus, after};

use crate::house::{House, event, small};

#[derive(Clone, Debug)]
enum Step {
    Ask(u8, OnBusy),
    /// Of which turn, of what kind, with which id.
    Say(Vec<(u8, usize, u8)>),
    Cancel(u8),
}

const KINDS: [&str; 4] = [
    "message.delta",
    "turn.completed",
    "turn.failed",
    "turn.cancelled",
];

fn step() -> impl Strategy<Value = Step> {
    let on_busy = prop_oneof![
        Just(OnBusy::Enqueue),
        Just(OnBusy::Reject),
        Just(OnBusy::Interrupt)
    ];
    let kind = prop_oneof![3 => Just(0usize), 1 => 1..4usize];
    prop_oneof![
        (0..5u8, on_busy).prop_map(|(turn, on_busy)| Step::Ask(turn, on_busy)),
        vec((0..5u8, kind, 0..12u8), 1..4).prop_map(Step::Say),
        (0..5u8).prop_map(Step::Cancel),
    ]
}

/// A thread by the pure rules.
#[derive(Clone, Default)]
struct Model {
    /// Each with its first place, in their order.
    turns: BTreeMap<u8, (TurnStatus, u64)>,
    ids: BTreeMap<u8, u64>,
    last: u64,
}

impl Model {
    fn open(&self) -> Vec<u8> {
        let open = self.turns.iter().filter(|(_, (s, _))| !s.is_terminal());
        let mut open: Vec<_> = open.map(|(turn, (_, seq))| (*seq, *turn)).collect();
        open.sort_unstable();
        open.into_iter().map(|(_, turn)| turn).collect()
    }

    fn cancel(&mut self, turn: u8) {
        self.last += 1;
        if let Some((status, _)) = self.turns.get_mut(&turn) {
            *status = after(*status, "turn.cancelled").unwrap();
        }
    }

    /// What is answered: places, or that it is refused.
    fn take(&mut self, step: &Step) -> Option<Vec<u64>> {
        match step {
            Step::Ask(turn, on_busy) => {
                if let Some((_, seq)) = self.turns.get(turn) {
                    return Some(vec![*seq]);
                }
                match on_busy {
                    OnBusy::Reject if !self.open().is_empty() => return None,
                    OnBusy::Interrupt => self.open().into_iter().for_each(|t| self.cancel(t)),
                    _ => {}
                }
                self.last += 1;
                self.turns.insert(*turn, (TurnStatus::Accepted, self.last));
                Some(vec![self.last])
            }
            Step::Say(events) => {
                let mut next = self.clone();
                let mut places = Vec::new();
                for (turn, kind, id) in events {
                    if let Some(seq) = next.ids.get(id) {
                        places.push(*seq);
                        continue;
                    }
                    let was = next.turns.get(turn).copied();
                    let status = was.map_or(TurnStatus::Accepted, |(status, _)| status);
                    let status = after(status, KINDS[*kind]).ok()?;
                    next.last += 1;
                    next.ids.insert(*id, next.last);
                    let first = was.map_or(next.last, |(_, first)| first);
                    next.turns.insert(*turn, (status, first));
                    places.push(next.last);
                }
                *self = next;
                Some(places)
            }
            Step::Cancel(turn) => match self.turns.get(turn)?.0 {
                TurnStatus::Cancelled => Some(Vec::new()),
                status if status.is_terminal() => None,
                _ => {
                    self.cancel(*turn);
                    Some(Vec::new())
                }
            },
        }
    }
}

async fn really(house: &House, thread: &str, step: &Step) -> Result<Vec<u64>, Error> {
    let turn = |turn: &u8| format!("t{turn}");
    match step {
        Step::Ask(of, on_busy) => {
            let accepted = house.ask(thread, &turn(of), *on_busy).await?;
            Ok(vec![accepted.seq])
        }
        Step::Say(events) => {
            let events = events.iter().map(|(of, kind, id)| {
                event(KINDS[*kind], Some(&turn(of)), Some(&format!("e{id}")))
            });
            let stored = house.says(thread, events.collect()).await?;
            Ok(stored.iter().map(|one| one.seq).collect())
        }
        Step::Cancel(of) => {
            house.cancels(thread, &turn(of)).await?;
            Ok(Vec::new())
        }
    }
}

#[tokio::test]
async fn the_script_decides_as_the_rules_do() {
    let Some(url) = servers::redis().await else {
        return;
    };
    // What is moved, and forgotten in Redis, must change no answer.
    let house = House::with(RedisSettings {
        idle: Duration::from_millis(5),
        ..small(&url)
    })
    .await;
    let _persister = house.persister();
    let mut runner = TestRunner::new(Config::default());
    for case in 0..60 {
        let steps = vec(step(), 1..40).new_tree(&mut runner).unwrap().current();
        let (thread, mut model) = (format!("case-{case}"), Model::default());
        for (n, step) in steps.iter().enumerate() {
            let expected = model.take(step);
            let got = really(&house, &thread, step).await;
            match (&expected, &got) {
                (Some(places), Ok(got)) => assert_eq!(places, got, "{n} of {steps:#?}"),
                (None, Err(Error::Busy { .. } | Error::Over { .. } | Error::NoSuchTurn { .. })) => {
                }
                _ => panic!("{expected:?}, {got:?} at {n} of {steps:#?}"),
            }
        }
        for (turn, (status, seq)) in &model.turns {
            let turn = house.turn(&thread, &format!("t{turn}")).await;
            assert_eq!((turn.status, turn.seq), (*status, *seq), "{steps:#?}");
        }
        if model.last > 0 {
            house.catches_up(&thread).await;
            let stored = house.stored(&thread).await;
            assert_eq!(stored.len() as u64, model.last);
        }
    }
}
