//! Numbering a batch: pure, between the reads and the inserts of an append. What comes out has
//! its place in the log; nothing is looked up any more and no insert can conflict.

use std::collections::HashMap;

use chrono::NaiveDate;
use sha2::{Digest, Sha256};
use tidewire_core::{Time, ids};

use crate::{Appended, Error, model::NewEvent, service::Append};

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

/// What the reads found.
#[derive(Debug, Default)]
pub(crate) struct Found<'a> {
    pub heads: HashMap<&'a str, Head>,
    /// The last `seq` of each stream, by tenant.
    pub streams: HashMap<&'a str, HashMap<&'a str, u64>>,
    pub known: HashMap<(&'a str, KeyHash), Known>,
}

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

/// Gives each event its place. An operation is taken whole or refused whole, and a refused one
/// takes no number.
pub(crate) fn number<'a>(
    ops: &'a [Append],
    hashes: &Hashes,
    mut found: Found<'a>,
    now: Time,
) -> Plan<'a> {
    let mut plan = Plan::default();
    for (op, hashes) in ops.iter().zip(hashes) {
        let tenant: &str = &op.tenant;
        if let Some(refusal) = refusal(op, hashes, &found) {
            plan.answers.push(Err(refusal));
            continue;
        }
        let mut answers = Vec::with_capacity(op.events.len());
        for (event, hash) in op.events.iter().zip(hashes) {
            if let Some(first) = hash.and_then(|hash| found.known.get(&(tenant, hash))) {
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
            let head = found.heads.entry(tenant).or_default();
            head.pos += 1;
            let created_at = head.created_at.map_or(now, |last| last.max(now));
            head.created_at = Some(created_at);
            let day = created_at.day();
            if head.day.is_none_or(|last| last < day) {
                head.day = Some(day);
                plan.days.push((tenant, day, head.pos));
            }
            let pos = head.pos;
            let seq = found
                .streams
                .entry(tenant)
                .or_default()
                .entry(&event.stream)
                .or_default();
            *seq += 1;
            let seq = *seq;
            let id = ids::event_id(created_at, op.salt, pos);
            if let Some(hash) = *hash {
                let known = Known {
                    pos,
                    stream: event.stream.clone(),
                    seq,
                    created_at,
                };
                found.known.insert((tenant, hash), known);
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
        plan.answers.push(Ok(answers));
    }
    plan
}

/// Why an operation cannot be taken. A duplicate is never refused: its first answer stands.
fn refusal(op: &Append, hashes: &[Option<KeyHash>], found: &Found<'_>) -> Option<Error> {
    let tenant: &str = &op.tenant;
    op.events.iter().zip(hashes).find_map(|(event, hash)| {
        let expected = event.expected_seq?;
        if hash.is_some_and(|hash| found.known.contains_key(&(tenant, hash))) {
            return None;
        }
        let actual = found
            .streams
            .get(tenant)
            .and_then(|streams| streams.get(event.stream.as_str()))
            .copied()
            .unwrap_or(0);
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
        let plan = number(&ops, &hashes(&ops), Found::default(), at(1));
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
        let plan = number(&ops, &hashes(&ops), Found::default(), at(1));
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
        let plan = number(&ops, &hashes(&ops), Found::default(), at(1));
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
        let found = Found {
            heads: HashMap::from([("a", head)]),
            ..Found::default()
        };
        let plan = number(&ops, &hashes(&ops), found, at(1_000));
        assert_eq!(
            (plan.events[0].pos, plan.events[0].created_at),
            (8, at(5_000))
        );
        assert!(plan.days.is_empty());
    }
}
