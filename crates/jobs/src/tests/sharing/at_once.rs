//! Random operations of two processes at the same time.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use proptest::prelude::*;
use tidewire_testkit::{Engine, every_engine};

use super::two_at_rest;
use crate::{
    Error, Filter, JobFilter, NewJob, Settled, Status,
    tests::{MINUTE, Queue, for_any, types},
};

#[derive(Clone, Debug)]
enum Op {
    Enqueue {
        kind: u8,
        delay: u64,
        keyed: bool,
        /// Kept for one of the workers.
        reserved: Option<u8>,
    },
    Claim {
        worker: u8,
        kind: Option<u8>,
        limit: u32,
    },
    Report {
        claim: prop::sample::Index,
        says: Says,
    },
    Cancel(prop::sample::Index),
    Settle(prop::sample::Index, bool),
    Retry(prop::sample::Index),
    RetryAll,
    Advance(u64),
    Expire,
    EndHolds,
    Fold,
    Rebuild,
}

#[derive(Clone, Copy, Debug)]
enum Says {
    Complete,
    Fail,
    Release,
    Heartbeat,
}

/// What each of two processes does at the same time as the other, turn by turn.
fn turns() -> impl Strategy<Value = Vec<[Op; 2]>> {
    let says = prop_oneof![
        3 => Just(Says::Complete),
        2 => Just(Says::Fail),
        1 => Just(Says::Release),
        1 => Just(Says::Heartbeat),
    ];
    let any = any::<prop::sample::Index>;
    let op = prop_oneof![
        5 => (0..2u8, 0..40u64, prop::bool::weighted(0.2), prop::option::weighted(0.4, 0..2u8))
            .prop_map(|(kind, delay, keyed, reserved)| Op::Enqueue { kind, delay, keyed, reserved }),
        6 => (0..2u8, prop::option::weighted(0.3, 0..2u8), 1..5u32)
            .prop_map(|(worker, kind, limit)| Op::Claim { worker, kind, limit }),
        8 => (any(), says).prop_map(|(claim, says)| Op::Report { claim, says }),
        2 => any().prop_map(Op::Cancel),
        2 => (any(), prop::bool::ANY).prop_map(|(job, done)| Op::Settle(job, done)),
        2 => any().prop_map(Op::Retry),
        1 => Just(Op::RetryAll),
        2 => (1..90u64).prop_map(Op::Advance),
        2 => Just(Op::Expire),
        2 => Just(Op::EndHolds),
        1 => Just(Op::Fold),
        2 => Just(Op::Rebuild),
    ];
    prop::collection::vec([op.clone(), op], 1..40)
}

/// What both have seen.
#[derive(Default)]
struct Seen {
    jobs: Mutex<Vec<String>>,
    claims: Mutex<Vec<crate::ClaimedJob>>,
    done: AtomicUsize,
    /// By whose token each job was done, or that it was settled so.
    ends: Mutex<HashMap<String, String>>,
}

const SETTLED: &str = "settled";

impl Seen {
    /// A job is done, says who ended it or tried to.
    fn done(&self, id: &str, by: &str) {
        let mut ends = self.ends.lock().unwrap();
        match ends.entry(id.to_owned()) {
            Entry::Vacant(end) => {
                end.insert(by.to_owned());
                self.done.fetch_add(1, Ordering::SeqCst);
            }
            // The answer to a report may be heard before that to the settlement which it met.
            Entry::Occupied(end) => {
                assert!(
                    end.get() == by || end.get() == SETTLED || by == SETTLED,
                    "a job was done twice"
                );
            }
        }
    }
}

fn pick<T: Clone>(all: &Mutex<Vec<T>>, index: &prop::sample::Index) -> Option<T> {
    let all = all.lock().unwrap();
    (!all.is_empty()).then(|| all[index.index(all.len())].clone())
}

/// The refusals that the other process may have brought about.
fn allowed<T>(result: Result<T, Error>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(Error::WrongState { .. } | Error::LeaseLost { .. }) => None,
        Err(other) => panic!("{other:?}"),
    }
}

async fn act(queue: &Queue, seen: &Seen, op: Op) {
    let (jobs, tenant) = (&queue.jobs, &queue.tenant);
    match op {
        Op::Enqueue {
            kind,
            delay,
            keyed,
            reserved,
        } => {
            let due = queue.clock.now().plus(Duration::from_secs(delay));
            let mut job = NewJob::new(format!("k{kind}")).run_at(due).max_attempts(2);
            if let Some(worker) = reserved {
                job = job.reserved_for(format!("w{worker}"), MINUTE);
            }
            job.idempotency_key = keyed.then(|| "the key".to_owned());
            let added = jobs.enqueue(tenant, job).await.unwrap();
            if added.created {
                seen.jobs.lock().unwrap().push(added.job.id);
            }
        }
        Op::Claim {
            worker,
            kind,
            limit,
        } => {
            let filter = match kind {
                Some(kind) => types([&format!("k{kind}")]),
                None => Filter::default(),
            };
            let claimed = queue.claim_as(&format!("w{worker}"), filter, limit).await;
            seen.claims.lock().unwrap().extend(claimed);
        }
        Op::Report { claim, says } => {
            let Some(claimed) = pick(&seen.claims, &claim) else {
                return;
            };
            let (id, token) = (&claimed.job.id, claimed.lease_token.clone());
            let result = match says {
                Says::Complete => jobs.complete(tenant, id, token.clone(), None).await,
                Says::Fail => jobs.fail(tenant, id, token, "x", None, false).await,
                Says::Release => jobs.release(tenant, id, token).await,
                Says::Heartbeat => jobs.heartbeat(tenant, id, token, None, None).await,
            };
            let is_done = allowed(result).is_some_and(|job| job.status == Status::Done);
            if is_done && matches!(says, Says::Complete) {
                seen.done(id, &claimed.lease_token);
            }
        }
        Op::Settle(index, well) => {
            if let Some(id) = pick(&seen.jobs, &index) {
                let end = match well {
                    true => Settled::Done(None),
                    false => Settled::Cancelled,
                };
                let settled = queue.settle(&id, end).await;
                if settled.is_some_and(|job| job.status == Status::Done) {
                    seen.done(&id, SETTLED);
                }
            }
        }
        Op::Cancel(index) => {
            if let Some(id) = pick(&seen.jobs, &index) {
                allowed(jobs.cancel(tenant, &id).await);
            }
        }
        Op::Retry(index) => {
            if let Some(id) = pick(&seen.jobs, &index) {
                allowed(jobs.retry(tenant, &id).await);
            }
        }
        Op::RetryAll => {
            let all = JobFilter::default();
            jobs.retry_all(tenant, &all).await.unwrap();
        }
        Op::Advance(seconds) => queue.clock.advance(Duration::from_secs(seconds)),
        Op::Expire => {
            jobs.expire().await.unwrap();
        }
        Op::EndHolds => {
            jobs.end_holds().await.unwrap();
        }
        Op::Fold => jobs.fold().await.unwrap(),
        Op::Rebuild => {
            jobs.rebuild().await.unwrap();
        }
    }
}

async fn run(engine: Engine, turns: Vec<[Op; 2]>) {
    let (first, second) = two_at_rest(engine).await;
    let day = first.clock.now().day();
    let seen = Seen::default();
    for [one, other] in turns {
        tokio::join!(act(&first, &seen, one), act(&second, &seen, other));
    }
    first.check().await;
    // Nothing was lost on the way: whatever has not ended is done in the end.
    for queue in [&first, &second].into_iter().cycle().take(40) {
        queue.clock.advance(2 * MINUTE);
        queue.jobs.expire().await.unwrap();
        queue.jobs.rebuild().await.unwrap();
        for claimed in queue.claim(100).await {
            queue.complete(&claimed).await.unwrap();
            seen.done.fetch_add(1, Ordering::SeqCst);
        }
    }
    first.check().await;
    let ids = seen.jobs.into_inner().unwrap();
    let mut done = 0;
    for id in &ids {
        let detail = second.jobs.get("default", id).await.unwrap();
        let job = detail.job;
        assert!(job.status.is_final(), "{job:?}");
        done += usize::from(job.status == Status::Done);
        let numbers: Vec<_> = detail
            .attempts_log
            .iter()
            .map(|entry| entry.attempt)
            .collect();
        assert_eq!(numbers, (1..=job.attempts).collect::<Vec<_>>(), "{job:?}");
    }
    let days = first
        .jobs
        .daily_counts("default", day, first.clock.now().day())
        .await
        .unwrap();
    let counted: u64 = days.values().map(|day| day.done).sum();
    assert_eq!((done as u64, done), (counted, seen.done.into_inner()));
}

#[every_engine(servers, multi_thread)]
async fn whatever_two_do_at_once_the_rules_hold(engine: Engine) {
    for_any(file!(), &turns(), |turns| run(engine, turns));
}
