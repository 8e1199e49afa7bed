//! What processes that share a store tell each other about jobs. Hints only: each may be lost.
//!
//! - `jobs.due`: a lane has jobs, everybody's or reserved ones, the first of them due then.
//! - `jobs.drained`: jobs of a queue that has a limit have ended.
//! - `jobs.cancelled`: a running job was cancelled.

use std::sync::Arc;

use tidewire_core::Time;
use tidewire_db::{Hint, Hints, Keep, Reach};

use crate::board::LaneKey;

const DUE: &str = "jobs.due";
const DRAINED: &str = "jobs.drained";
const CANCELLED: &str = "jobs.cancelled";

/// Something that another process has told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Due(LaneKey, Time),
    Drained {
        tenant: Arc<str>,
        queue: Arc<str>,
    },
    Cancelled(Arc<str>),
    /// Some of it was lost.
    Everything,
}

pub(crate) fn due(hints: &Hints, lane: &LaneKey, due: Time) {
    if hints.reach() != Reach::Alone {
        hints.send(DUE, &key_of(lane), due.micros(), Keep::Least);
    }
}

pub(crate) fn drained(hints: &Hints, tenant: &str, queue: &str) {
    hints.send(DRAINED, &format!("{tenant} {queue}"), 0, Keep::Least);
}

pub(crate) fn cancelled(hints: &Hints, id: &str) {
    hints.send(CANCELLED, id, 0, Keep::Least);
}

/// `None` for what is not about jobs, or what a process of another age says.
pub(crate) fn read(hint: &Hint) -> Option<Heard> {
    match hint {
        Hint::Everything => Some(Heard::Everything),
        Hint::One { topic, key, value } => match topic.as_str() {
            DUE => Some(Heard::Due(lane_of(key)?, Time::from_micros(*value))),
            DRAINED => {
                let (tenant, queue) = key.split_once(' ')?;
                Some(Heard::Drained {
                    tenant: tenant.into(),
                    queue: queue.into(),
                })
            }
            CANCELLED => Some(Heard::Cancelled(key.as_str().into())),
            _ => None,
        },
    }
}

/// No name has a space in it.
fn key_of(lane: &LaneKey) -> String {
    let LaneKey {
        tenant,
        queue,
        kind,
        priority,
        reserved_for,
    } = lane;
    let key = format!("{tenant} {queue} {kind} {priority}");
    match reserved_for {
        Some(worker) => format!("{key} {worker}"),
        None => key,
    }
}

fn lane_of(key: &str) -> Option<LaneKey> {
    let mut parts = key.split(' ');
    let lane = LaneKey::new(
        parts.next()?,
        parts.next()?,
        parts.next()?,
        parts.next()?.parse().ok()?,
    );
    let lane = match parts.next() {
        Some(worker) => lane.reserved_for(&worker.into()),
        None => lane,
    };
    parts.next().is_none().then_some(lane)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(topic: &str, key: &str, value: i64) -> Hint {
        Hint::One {
            topic: topic.to_owned(),
            key: key.to_owned(),
            value,
        }
    }

    #[test]
    fn a_lane_comes_over_as_it_is() {
        let lane = LaneKey::new("t-1", "q.x", "mail:send", -7);
        let heard = read(&hint(DUE, &key_of(&lane), 1_000_001));
        let due = Time::from_micros(1_000_001);
        assert_eq!(heard, Some(Heard::Due(lane.clone(), due)));
        let own = lane.reserved_for(&"w:1".into());
        let heard = read(&hint(DUE, &key_of(&own), 1_000_001));
        assert_eq!(heard, Some(Heard::Due(own, due)));
    }

    #[test]
    fn what_cannot_be_read_is_passed_over() {
        for (topic, key) in [
            (DUE, ""),
            (DUE, "a b c"),
            (DUE, "a b c x"),
            (DUE, "a b c 1 w more"),
            (DRAINED, "a"),
            ("events.appended", "a"),
        ] {
            assert_eq!(read(&hint(topic, key, 1)), None, "{topic} {key}");
        }
        assert_eq!(read(&Hint::Everything), Some(Heard::Everything));
    }
}
