//! Numbering a batch: pure, between the reads and the inserts of an append. What comes out has
//! its place in the log; nothing is looked up any more and no insert can conflict.

use std::{collections::HashMap, sync::Arc};

use chrono::NaiveDate;
use sha2::{Digest, Sha256};
use tidewire_core::{Time, ids};

use crate::{
    Appended, Error,
    model::{NewEvent, Place},
    service::Append,
};

/// The first half of the SHA-256 of a `dedupe_key`, marked with what kind of key it is.
pub(crate) type KeyHash = [u8; 16];

pub(crate) fn key_hash(key: &str) -> KeyHash {
    let mut hash = Sha256::new();
    hash.update(b"event\0");
    hash.update(key.as_bytes());
    let mut half = KeyHash::default();
    half.copy_from_slice(&hash.finalize()[..16]);
    half
}

/// Where a tenant's log ends.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Head {
    pub pos: u64,
    /// When its last event was stored; time never goes back within a tenant.
    pub created_at: Option<Time>,
    /// The last day that has a row in `event_days`.
    pub day: Option<NaiveDate>,
}

/// An event that was stored before under the same key.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub pos: u64,
    pub stream: String,
    pub seq: u64,
    pub created_at: Time,
}

/// Where logs and streams end, as far as it is known.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    pub heads: HashMap<Arc<str>, Head>,
    /// The last `seq` of each stream, by tenant.
    pub streams: HashMap<Arc<str>, HashMap<Box<str>, u64>>,
}

impl Ends {
    pub(crate) fn seq(&self, tenant: &str, stream: &str) -> Option<u64> {
        self.streams.get(tenant)?.get(stream).copied()
    }

    pub(crate) fn set_seq(&mut self, tenant: &Arc<str>, stream: &str, seq: u64) {
        let streams = match self.streams.get_mut(tenant) {
            Some(streams) => streams,
            None => self.streams.entry(Arc::clone(tenant)).or_default(),
        };
        match streams.get_mut(stream) {
            Some(known) => *known = seq,
            None => drop(streams.insert(stream.into(), seq)),
        }
    }

    /// How many streams are known.
    pub(crate) fn len(&self) -> usize {
        self.streams.values().map(HashMap::len).sum()
    }
}

/// The events that were stored before under the batch's keys.
pub(crate) type KnownKeys<'a> = HashMap<(&'a str, KeyHash), Known>;

/// An event with its place.
#[derive(Debug)]
pub(crate) struct Numbered<'a> {
    pub tenant: &'a str,
    pub pos: u64,
    pub id: String,
    pub seq: u64,
    pub created_at: Time,
    pub hash: Option<KeyHash>,
    pub event: &'a NewEvent,
}

/// What is to be inserted, and everybody's answer.
#[derive(Debug, Default)]
pub(crate) struct Plan<'a> {
    pub events: Vec<Numbered<'a>>,
    pub days: Vec<(&'a str, NaiveDate, u64)>,
    pub answers: Vec<Result<Vec<Appended>, Error>>,
    pub duplicates: usize,
}

/// The hash of each event's key, in the order of the events.
pub(crate) type Hashes = Vec<Vec<Option<KeyHash>>>;

pub(crate) fn hashes(ops: &[Append]) -> Hashes {
    ops.iter()
        .map(|op| {
            op.events
                .iter()
                .map(|event| event.dedupe_key.as_deref().map(key_hash))
                .collect()
        })
        .collect()
}

/// Gives each event its place, moving `ends` on. An operation is taken whole or refused whole, and
/// a refused one takes no number.
pub(crate) fn number<'a>(
    ops: &'a [Append],
    hashes: &Hashes,
    ends: &mut Ends,
    mut known: KnownKeys<'a>,
    now: Time,
) -> Plan<'a> {
    let mut plan = Plan::default();
    for (op, hashes) in ops.iter().zip(hashes) {
        let tenant: &str = &op.tenant;
        if let Some(refusal) = refusal(op, hashes, ends, &known) {
            plan.answers.push(Err(refusal));
            continue;
        }
        let mut head = ends.heads.get(tenant).copied().unwrap_or_default();
        let mut answers = Vec::with_capacity(op.events.len());
        for (event, hash) in op.events.iter().zip(hashes) {
            if let Some(first) = hash.and_then(|hash| known.get(&(tenant, hash))) {
                plan.duplicates += 1;
                answers.push(Appended {
                    id: ids::event_id(first.created_at, op.salt, first.pos),
                    stream: first.stream.clone(),
                    seq: first.seq,
                    created_at: first.created_at,
                    duplicated: true,
                });
                continue;
            }
            head.pos += 1;
            let pos = head.pos;
            let created_at = head.created_at.map_or(now, |last| last.max(now));
            head.created_at = Some(created_at);
            let day = created_at.day();
            if head.day.is_none_or(|last| last < day) {
                head.day = Some(day);
                plan.days.push((tenant, day, pos));
            }
            let seq = match event.place {
                Place::Next => ends.seq(tenant, &event.stream).unwrap_or(0) + 1,
                Place::At(seq) | Place::BehindGap(seq) => seq,
            };
            ends.set_seq(&op.tenant, &event.stream, seq);
            let id = ids::event_id(created_at, op.salt, pos);
            if let Some(hash) = *hash {
                let first = Known {
                    pos,
                    stream: event.stream.clone(),
                    seq,
                    created_at,
                };
                known.insert((tenant, hash), first);
            }
            answers.push(Appended {
                id: id.clone(),
                stream: event.stream.clone(),
                seq,
                created_at,
                duplicated: false,
            });
            plan.events.push(Numbered {
                tenant,
                pos,
                id,
                seq,
                created_at,
                hash: *hash,
                event,
            });
        }
        ends.heads.insert(Arc::clone(&op.tenant), head);
        plan.answers.push(Ok(answers));
    }
    plan
}

/// An event that was numbered elsewhere and does not stand where it says.
fn misplaced(
    op: &Append,
    hashes: &[Option<KeyHash>],
    ends: &Ends,
    known: &KnownKeys<'_>,
) -> Option<Error> {
    let tenant: &str = &op.tenant;
    let mut last: HashMap<&str, u64> = HashMap::new();
    for (event, hash) in op.events.iter().zip(hashes) {
        let stream = event.stream.as_str();
        let wrong = |seq, actual| {
            Some(Error::Misplaced {
                stream: stream.to_owned(),
                seq,
                actual,
            })
        };
        let first = hash.and_then(|hash| known.get(&(tenant, hash)));
        let end = *last
            .entry(stream)
            .or_insert_with(|| ends.seq(tenant, stream).unwrap_or(0));
        let seq = match (event.place, first) {
            (Place::Next, Some(_)) => continue,
            (Place::Next, None) => end + 1,
            (Place::At(seq) | Place::BehindGap(seq), Some(first)) => {
                if first.seq != seq || first.stream != stream {
                    return wrong(seq, first.seq);
                }
                continue;
            }
            (Place::At(seq), None) if seq != end + 1 => return wrong(seq, end + 1),
            (Place::BehindGap(seq), None) if seq <= end => return wrong(seq, end + 1),
            (Place::At(seq) | Place::BehindGap(seq), None) => seq,
        };
        last.insert(stream, seq);
    }
    None
}

/// Why an operation cannot be taken. A duplicate is never refused: its first answer stands.
fn refusal(
    op: &Append,
    hashes: &[Option<KeyHash>],
    ends: &Ends,
    known: &KnownKeys<'_>,
) -> Option<Error> {
    let tenant: &str = &op.tenant;
    if op.events.iter().any(|event| event.place != Place::Next) {
        return misplaced(op, hashes, ends, known);
    }
    op.events.iter().zip(hashes).find_map(|(event, hash)| {
        let expected = event.expected_seq?;
        if hash.is_some_and(|hash| known.contains_key(&(tenant, hash))) {
            return None;
        }
        let actual = ends.seq(tenant, &event.stream).unwrap_or(0);
        (actual != expected).then(|| Error::ExpectedSeq {
            stream: event.stream.clone(),
            expected,
            actual,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;

    fn event(stream: &str, key: Option<&str>, expected: Option<u64>) -> NewEvent {
        let mut event =
            NewEvent::new("test", RawValue::from_string("1".to_owned()).unwrap()).unwrap();
        event.stream = stream.to_owned();
        event.dedupe_key = key.map(str::to_owned);
        event.expected_seq = expected;
        event
    }

    fn ops(ops: Vec<(&str, Vec<NewEvent>)>) -> Vec<Append> {
        ops.into_iter()
            .map(|(tenant, events)| Append::new(tenant.into(), events))
            .collect()
    }

    fn at(millis: i64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn positions_and_seqs_have_no_gap_and_tenants_do_not_mix() {
        let ops = ops(vec![
            ("a", vec![event("x", None, None), event("y", None, None)]),
            ("b", vec![event("x", None, None)]),
            ("a", vec![event("x", None, None)]),
        ]);
        let plan = number(
            &ops,
            &hashes(&ops),
            &mut Ends::default(),
            KnownKeys::new(),
            at(1),
        );
        let places: Vec<_> = plan
            .events
            .iter()
            .map(|e| (e.tenant, e.pos, &*e.event.stream, e.seq))
            .collect();
        assert_eq!(
            places,
            [
                ("a", 1, "x", 1),
                ("a", 2, "y", 1),
                ("b", 1, "x", 1),
                ("a", 3, "x", 2)
            ]
        );
        assert_eq!(plan.days.len(), 2);
    }

    #[test]
    fn a_key_counts_once_also_inside_one_batch() {
        let ops = ops(vec![(
            "a",
            vec![event("x", Some("k"), None), event("y", Some("k"), None)],
        )]);
        let plan = number(
            &ops,
            &hashes(&ops),
            &mut Ends::default(),
            KnownKeys::new(),
            at(1),
        );
        let answers = plan.answers[0].as_ref().unwrap();
        assert_eq!(plan.events.len(), 1);
        assert_eq!(answers[0].id, answers[1].id);
        assert_eq!(
            (answers[1].stream.as_str(), answers[1].duplicated),
            ("x", true)
        );
    }

    #[test]
    fn a_loser_of_expected_seq_takes_no_number() {
        let ops = ops(vec![
            ("a", vec![event("x", None, Some(0))]),
            ("a", vec![event("x", None, Some(0))]),
            ("a", vec![event("x", None, Some(1))]),
        ]);
        let plan = number(
            &ops,
            &hashes(&ops),
            &mut Ends::default(),
            KnownKeys::new(),
            at(1),
        );
        assert!(matches!(
            plan.answers[1],
            Err(Error::ExpectedSeq {
                expected: 0,
                actual: 1,
                ..
            })
        ));
        assert_eq!(
            plan.events.iter().map(|e| e.seq).collect::<Vec<_>>(),
            [1, 2]
        );
    }

    #[test]
    fn time_never_goes_back_within_a_tenant() {
        let ops = ops(vec![("a", vec![event("x", None, None)])]);
        let head = Head {
            pos: 7,
            created_at: Some(at(5_000)),
            day: Some(at(5_000).day()),
        };
        let mut ends = Ends::default();
        ends.heads.insert("a".into(), head);
        let plan = number(&ops, &hashes(&ops), &mut ends, KnownKeys::new(), at(1_000));
        assert_eq!(
            (plan.events[0].pos, plan.events[0].created_at),
            (8, at(5_000))
        );
        assert!(plan.days.is_empty());
    }

    #[test]
    fn what_was_numbered_elsewhere_joins_on_or_is_refused() {
        let at = |seq: u64| event("x", Some(&format!("k{seq}")), None).numbered(seq);
        let number_all = |events: Vec<Vec<NewEvent>>, ends: &mut Ends| {
            let ops = ops(events.into_iter().map(|events| ("a", events)).collect());
            let hashes = hashes(&ops);
            let mut known = KnownKeys::new();
            // The second of them was stored before.
            let second = Known {
                pos: 2,
                stream: "x".to_owned(),
                seq: 2,
                created_at: at_once(),
            };
            known.insert(("a", key_hash("k2")), second);
            let plan = number(&ops, &hashes, ends, known, at_once());
            let seqs = |answer: Result<Vec<Appended>, Error>| {
                let seqs = |all: Vec<Appended>| all.iter().map(|a| (a.seq, a.duplicated)).collect();
                answer.map(seqs).map_err(|error| error.to_string())
            };
            plan.answers
                .into_iter()
                .map(seqs)
                .collect::<Vec<Result<Vec<_>, String>>>()
        };
        let mut ends = Ends::default();
        ends.set_seq(&"a".into(), "x", 2);
        let answers = number_all(
            vec![
                vec![at(2), at(3)],
                vec![at(5)],
                vec![event("x", Some("k2"), None).numbered(4)],
                vec![event("x", Some("gap"), None).behind_gap(9), at(10)],
                vec![event("x", Some("back"), None).behind_gap(9)],
                vec![event("x", None, None)],
            ],
            &mut ends,
        );
        assert_eq!(answers[0], Ok(vec![(2, true), (3, false)]));
        for refused in [1, 2, 4] {
            assert!(answers[refused].is_err(), "{answers:?}");
        }
        assert_eq!(answers[3], Ok(vec![(9, false), (10, false)]));
        assert_eq!(answers[5], Ok(vec![(11, false)]));
    }

    fn at_once() -> Time {
        at(1)
    }
}
