//! One lane as the board knows it: from where on it may have jobs.
//!
//! What lies before that place has been taken, and no claim walks it again. That matters where
//! taken entries stay in the way for a while: an engine that keeps old versions for a transaction
//! that was left open has to step over each of them.
//!
//! The place goes forward with what claims have taken, and back to whatever a hint names. A claim
//! reads first and tells later, so hints that came in between are remembered: what they name may
//! have been written too late for that claim to see.

use std::{sync::Arc, time::Duration};

use tidewire_core::Time;

/// A place in a lane: entries that are due later, or at the same time with this id or a greater
/// one, are at it or behind it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    pub due: Time,
    pub id: Arc<str>,
}

impl Mark {
    pub(crate) fn at(due: Time, id: impl Into<Arc<str>>) -> Self {
        Mark { due, id: id.into() }
    }

    /// Before everything that is due then.
    pub(crate) fn start_of(due: Time) -> Self {
        Mark::at(due, "")
    }

    /// Just behind an entry. No character of an id is less than the exclamation mark.
    pub(crate) fn behind(due: Time, id: &str) -> Self {
        Mark::at(due, format!("{id}!"))
    }
}

/// What a claim has learned of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// What is left is at this place or behind it.
    At(Mark),
    /// What is left is at this place or behind it, and others hold it at this moment: they take it,
    /// or leave it after all.
    Held(Mark),
    /// Nothing is left.
    Nothing,
}

/// The first pause before a lane is looked at again whose jobs others hold, and the longest. They
/// hold them for a transaction.
const REST_FIRST: Duration = Duration::from_millis(5);
const REST_MOST: Duration = Duration::from_millis(160);

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) from: Mark,
    /// Not to be looked at before then.
    rest: Option<Time>,
    /// How often in a row it was given a rest.
    rests: u32,
    heard: Heard,
    /// When it was heard of last, in the board's count.
    pub(super) generation: u64,
}

impl Lane {
    pub(super) fn new(from: Mark, generation: u64) -> Self {
        Lane {
            from,
            rest: None,
            rests: 0,
            heard: Heard::default(),
            generation,
        }
    }

    /// When a look at it is worth while.
    pub(super) fn due(&self) -> Time {
        self.rest
            .map_or(self.from.due, |rest| rest.max(self.from.due))
    }

    /// It has jobs from this place on, says a hint or a look at the store; `pick` is the latest
    /// claim that may not see them. Whether it is due earlier now than it was.
    pub(super) fn hear(&mut self, from: Mark, pick: u64) -> bool {
        let before = self.due();
        self.heard.add(pick, &from);
        if self.rest.is_some_and(|rest| from.due < rest) {
            self.rest = None;
            self.rests = 0;
        }
        if from < self.from {
            self.from = from;
        }
        self.due() < before
    }

    /// What a claim has learned that was picked as the `pick`-th; false if nothing is left.
    pub(super) fn settle(&mut self, pick: u64, next: Next, now: Time) -> bool {
        let heard = self.heard.since(pick);
        let (left, held) = match next {
            Next::At(mark) => (Some(mark), false),
            Next::Held(mark) => (Some(mark), true),
            Next::Nothing => (None, false),
        };
        let news = match (&left, &heard) {
            (Some(left), Some(heard)) => heard < left,
            (None, heard) => heard.is_some(),
            (Some(_), None) => false,
        };
        let Some(from) = (if news { heard } else { left }) else {
            return false;
        };
        self.from = from;
        if held && !news {
            let pause = REST_FIRST * 2u32.saturating_pow(self.rests.min(16));
            self.rest = Some(now.plus(pause.min(REST_MOST)));
            self.rests += 1;
        } else {
            self.rest = None;
            self.rests = 0;
        }
        true
    }
}

/// The first place that was heard of since each of the latest claims.
#[derive(Debug, Default)]
struct Heard(Vec<(u64, Mark)>);

/// Claims that are told apart. Of more, the oldest are taken together: a claim may then go back to
/// a place that it had seen, which costs it a look.
const TOLD_APART: usize = 4;

impl Heard {
    fn add(&mut self, pick: u64, mark: &Mark) {
        match self.0.last_mut() {
            Some((last, first)) if *last == pick => {
                if mark < first {
                    *first = mark.clone();
                }
            }
            _ => self.0.push((pick, mark.clone())),
        }
        if self.0.len() > TOLD_APART {
            let (_, oldest) = self.0.remove(0);
            if let Some((_, next)) = self.0.first_mut()
                && oldest < *next
            {
                *next = oldest;
            }
        }
    }

    /// The first place that this claim may have missed. What is older is forgotten.
    fn since(&mut self, pick: u64) -> Option<Mark> {
        self.0.retain(|(heard, _)| *heard >= pick);
        self.0.iter().map(|(_, mark)| mark).min().cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Time {
        Time::from_millis(millis)
    }

    fn lane(due: i64) -> Lane {
        Lane::new(Mark::start_of(at(due)), 0)
    }

    fn behind(due: i64, id: &str) -> Mark {
        Mark::behind(at(due), id)
    }

    #[test]
    fn a_place_is_behind_an_entry_and_before_the_next() {
        let (before, entry) = (Mark::at(at(1), "0a"), Mark::at(at(1), "0b"));
        let behind = behind(1, "0b");
        assert!(Mark::start_of(at(1)) < before && before < entry && entry < behind);
        for next in ["0b-", "0b.", "0b0", "0ba", "0c"] {
            assert!(behind < Mark::at(at(1), next), "{next}");
        }
    }

    #[test]
    fn it_goes_forward_with_claims_and_back_with_hints() {
        let mut lane = lane(1);
        assert!(lane.settle(1, Next::At(behind(5, "e")), at(9)));
        assert_eq!(lane.from, behind(5, "e"));
        assert!(!lane.hear(Mark::start_of(at(7)), 1));
        assert_eq!(lane.from, behind(5, "e"), "that one is behind it anyway");
        // The same microsecond: its id may be a lesser one.
        lane.hear(Mark::start_of(at(5)), 1);
        assert_eq!(lane.from, Mark::start_of(at(5)));
        assert!(lane.hear(Mark::start_of(at(3)), 1));
        assert_eq!(lane.from, Mark::start_of(at(3)));
    }

    #[test]
    fn what_came_while_a_claim_read_is_not_passed_over() {
        let mut lane = lane(1);
        lane.hear(Mark::start_of(at(2)), 0);
        // Heard before the claim was picked: it was there to be seen.
        assert!(lane.settle(1, Next::At(behind(5, "e")), at(9)));
        assert_eq!(lane.from, behind(5, "e"));
        lane.hear(Mark::start_of(at(4)), 2);
        lane.hear(Mark::start_of(at(6)), 2);
        assert!(lane.settle(2, Next::At(behind(8, "e")), at(9)));
        assert_eq!(lane.from, Mark::start_of(at(4)));
        lane.hear(Mark::start_of(at(3)), 3);
        assert!(lane.settle(3, Next::Nothing, at(9)), "something came");
        assert_eq!(lane.from, Mark::start_of(at(3)));
        assert!(!lane.settle(4, Next::Nothing, at(9)));
    }

    #[test]
    fn two_claims_of_one_batch_tell_in_their_order() {
        let mut lane = lane(1);
        lane.hear(Mark::start_of(at(2)), 1);
        lane.hear(Mark::start_of(at(3)), 2);
        assert!(lane.settle(1, Next::At(behind(5, "e")), at(9)));
        assert_eq!(lane.from, Mark::start_of(at(2)));
        // The second was picked later, and has seen what the first had not.
        assert!(lane.settle(2, Next::At(behind(6, "e")), at(9)));
        assert_eq!(lane.from, Mark::start_of(at(3)));
    }

    #[test]
    fn what_others_hold_is_looked_at_again_soon_and_then_less_often() {
        let mut lane = lane(1);
        let mut pauses = Vec::new();
        for pick in 1..=8 {
            assert!(lane.settle(pick, Next::Held(Mark::start_of(at(1))), at(100)));
            pauses.push(lane.due().since(at(100)).as_millis());
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 160, 160]);
        assert_eq!(lane.from, Mark::start_of(at(1)));
        assert!(lane.hear(Mark::start_of(at(90)), 8), "a new one comes");
        assert_eq!(lane.due(), at(1));
    }

    #[test]
    fn many_claims_that_never_tell_are_remembered_in_few_words() {
        let mut lane = lane(100);
        for pick in 0..50 {
            lane.hear(Mark::start_of(at(50 + i64::try_from(pick).unwrap())), pick);
        }
        assert!(lane.heard.0.len() <= TOLD_APART);
        assert!(lane.settle(30, Next::Nothing, at(9)));
        assert!(
            lane.from <= Mark::start_of(at(80)),
            "nothing is passed over"
        );
    }
}
