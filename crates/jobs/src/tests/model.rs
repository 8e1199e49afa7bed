//! Random operations against a model of the rules: every job is in exactly one state, only the
//! current token is believed, what is reserved is kept for its worker and for so long, and the counts
//! equal what they count.

use std::{collections::HashMap, time::Duration};

use proptest::prelude::*;
use tidewire_core::Time;
use tidewire_testkit::{Engine, every_engine};

use super::{Queue, types};
use crate::{Error, NewJob, Settled, Status};

#[derive(Clone, Debug)]
enum Op {
    Enqueue {
        kind: u8,
        priority: i32,
        delay: u64,
        attempts: u32,
        key: Option<u8>,
        /// For which worker, and for how many seconds.
        reserved: Option<(u8, u64)>,
    },
    Claim {
        worker: u8,
        kinds: Option<u8>,
        limit: u32,
    },
    Report {
        claim: prop::sample::Index,
        says: Says,
    },
    Cancel(prop::sample::Index),
    Settle(prop::sample::Index, u8),
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
    FailForGood,
    Release,
    Heartbeat,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let says = prop_oneof![
        3 => Just(Says::Complete),
        3 => Just(Says::Fail),
        1 => Just(Says::FailForGood),
        1 => Just(Says::Release),
        1 => Just(Says::Heartbeat),
    ];
    let op = prop_oneof![
        6 => (0..3u8, -2..3i32, prop_oneof![Just(0), 0..90u64], 1..4u32, prop::option::weighted(0.3, 0..3u8),
              prop::option::weighted(0.3, (0..2u8, 0..120u64)))
            .prop_map(|(kind, priority, delay, attempts, key, reserved)| Op::Enqueue { kind, priority, delay, attempts, key, reserved }),
        6 => (0..3u8, prop::option::weighted(0.3, 0..3u8), 1..5u32)
            .prop_map(|(worker, kinds, limit)| Op::Claim { worker, kinds, limit }),
        8 => (any::<prop::sample::Index>(), says).prop_map(|(claim, says)| Op::Report { claim, says }),
        1 => any::<prop::sample::Index>().prop_map(Op::Cancel),
        1 => (any::<prop::sample::Index>(), 0..3u8).prop_map(|(job, how)| Op::Settle(job, how)),
        2 => any::<prop::sample::Index>().prop_map(Op::Retry),
        1 => Just(Op::RetryAll),
        3 => (1..90u64).prop_map(Op::Advance),
        2 => Just(Op::Expire),
        1 => Just(Op::EndHolds),
        1 => Just(Op::Fold),
        1 => Just(Op::Rebuild),
    ];
    prop::collection::vec(op, 1..60)
}

#[derive(Clone, Debug)]
struct Known {
    status: Status,
    attempts: u32,
    max_attempts: u32,
    budget: u32,
    token: Option<String>,
    /// The token is of a claim that was ended.
    is_over: bool,
    lease: Time,
    kind: u8,
    run_at: Time,
    /// For whom and until when it is kept, before its first attempt.
    reserved: Option<(u8, Time)>,
}

impl Known {
    /// Whether a worker may have it before the others.
    fn is_kept_for(&self, worker: u8, now: Time) -> bool {
        self.status == Status::Pending
            && self.run_at <= now
            && self
                .reserved
                .is_some_and(|(by, until)| by == worker && until > now)
    }
}

#[derive(Default)]
struct Model {
    jobs: HashMap<String, Known>,
    order: Vec<String>,
    keys: HashMap<u8, String>,
    claims: Vec<(String, String)>,
    done: u64,
    failed: u64,
}

async fn step(queue: &Queue, model: &mut Model, op: Op) {
    match op {
        Op::Enqueue {
            kind,
            priority,
            delay,
            attempts,
            key,
            reserved,
        } => {
            let mut job = NewJob::new(format!("k{kind}"))
                .priority(priority)
                .max_attempts(attempts);
            let run_at = queue.clock.now().plus(Duration::from_secs(delay));
            job.run_at = Some(run_at);
            if let Some((worker, hold)) = reserved {
                job = job.reserved_for(format!("w{worker}"), Duration::from_secs(hold));
            }
            job.idempotency_key = key.map(|key| format!("key{key}"));
            let answer = queue.jobs.enqueue(&queue.tenant, job).await.unwrap();
            let first = key.and_then(|key| model.keys.get(&key).cloned());
            assert_eq!(answer.created, first.is_none());
            if let Some(first) = first {
                assert_eq!(answer.job.id, first);
                return;
            }
            let id = answer.job.id;
            if let Some(key) = key {
                model.keys.insert(key, id.clone());
            }
            model.order.push(id.clone());
            let known = Known {
                status: Status::Pending,
                attempts: 0,
                max_attempts: attempts,
                budget: attempts,
                token: None,
                is_over: false,
                lease: Time::EPOCH,
                kind,
                run_at,
                reserved: reserved
                    .map(|(worker, hold)| (worker, run_at.plus(Duration::from_secs(hold)))),
            };
            model.jobs.insert(id, known);
        }
        Op::Claim {
            worker,
            kinds,
            limit,
        } => {
            let filter = match kinds {
                Some(kind) => types([&format!("k{kind}")]),
                None => crate::Filter::default(),
            };
            let now = queue.clock.now();
            let kept = model.jobs.values().filter(|known| {
                known.is_kept_for(worker, now) && kinds.is_none_or(|kind| kind == known.kind)
            });
            let mut own = kept.count().min(limit as usize);
            let by = format!("w{worker}");
            for claimed in queue.claim_as(&by, filter, limit).await {
                assert!(claimed.job.run_at <= now);
                let known = model.jobs.get_mut(&claimed.job.id).unwrap();
                assert_eq!(known.status, Status::Pending, "taken twice");
                if own > 0 {
                    assert!(known.is_kept_for(worker, now), "its own come first");
                    own -= 1;
                }
                let foreign = known.reserved.filter(|(by, _)| *by != worker);
                assert!(foreign.is_none_or(|(_, until)| until <= now), "kept");
                known.reserved = None;
                known.status = Status::Running;
                known.attempts += 1;
                assert_eq!(claimed.job.attempts, known.attempts);
                known.token = Some(claimed.lease_token.clone());
                known.is_over = false;
                known.lease = claimed.lease_expires_at;
                model.claims.push((claimed.job.id, claimed.lease_token));
            }
            assert_eq!(own, 0, "what was kept for it was not handed out");
        }
        Op::Report { claim, says } => {
            if model.claims.is_empty() {
                return;
            }
            let (id, token) = model.claims[claim.index(model.claims.len())].clone();
            report(queue, model, &id, token, says).await;
        }
        Op::Cancel(index) | Op::Retry(index) | Op::Settle(index, _) if model.order.is_empty() => {
            let _ = index;
        }
        Op::Cancel(index) => {
            let id = model.order[index.index(model.order.len())].clone();
            let result = queue.jobs.cancel(&queue.tenant, &id).await;
            let known = model.jobs.get_mut(&id).unwrap();
            match known.status {
                Status::Done | Status::Failed => {
                    assert!(matches!(result, Err(Error::WrongState { .. })));
                }
                // Who is told of the end in its own claim may say it again.
                Status::Cancelled => drop(result.unwrap()),
                Status::Pending | Status::Running => {
                    result.unwrap();
                    known.status = Status::Cancelled;
                    known.token = None;
                    known.reserved = None;
                }
            }
        }
        Op::Settle(index, how) => {
            let id = model.order[index.index(model.order.len())].clone();
            let end = match how {
                0 => Settled::Done(None),
                1 => Settled::Failed("settled".to_owned()),
                _ => Settled::Cancelled,
            };
            let settled = queue.settle(&id, end).await;
            let known = model.jobs.get_mut(&id).unwrap();
            assert_eq!(settled.is_some(), !known.status.is_final());
            if let Some(job) = settled {
                known.status = [Status::Done, Status::Failed, Status::Cancelled][usize::from(how)];
                known.is_over = true;
                known.reserved = None;
                assert_eq!(job.status, known.status);
                model.done += u64::from(how == 0);
                model.failed += u64::from(how == 1);
            }
        }
        Op::Retry(index) => {
            let id = model.order[index.index(model.order.len())].clone();
            let result = queue.jobs.retry(&queue.tenant, &id).await;
            let known = model.jobs.get_mut(&id).unwrap();
            match known.status {
                Status::Failed | Status::Cancelled => {
                    result.unwrap();
                    again(known);
                }
                _ => assert!(matches!(result, Err(Error::WrongState { .. }))),
            }
        }
        Op::RetryAll => {
            let retried = queue
                .jobs
                .retry_all(&queue.tenant, &crate::JobFilter::default())
                .await
                .unwrap();
            let failed = model
                .jobs
                .values_mut()
                .filter(|known| known.status == Status::Failed);
            assert_eq!(retried, failed.map(again).count() as u64);
        }
        Op::Advance(seconds) => queue.clock.advance(Duration::from_secs(seconds)),
        Op::Expire => {
            queue.jobs.expire().await.unwrap();
            let now = queue.clock.now();
            for known in model.jobs.values_mut() {
                if known.status == Status::Running && known.lease <= now {
                    if known.attempts >= known.max_attempts {
                        known.status = Status::Failed;
                        known.token = None;
                        model.failed += 1;
                    } else {
                        known.status = Status::Pending;
                    }
                }
            }
        }
        Op::EndHolds => {
            queue.jobs.end_holds().await.unwrap();
        }
        Op::Fold => queue.jobs.fold().await.unwrap(),
        Op::Rebuild => {
            queue.jobs.rebuild().await.unwrap();
        }
    }
}

fn again(known: &mut Known) {
    known.status = Status::Pending;
    known.token = None;
    known.max_attempts = known.attempts + known.budget;
}

async fn report(queue: &Queue, model: &mut Model, id: &str, token: String, says: Says) {
    let (jobs, tenant) = (&queue.jobs, &queue.tenant);
    let result = match says {
        Says::Complete => jobs.complete(tenant, id, token.clone(), None).await,
        Says::Fail => jobs.fail(tenant, id, token.clone(), "x", None, false).await,
        Says::FailForGood => jobs.fail(tenant, id, token.clone(), "x", None, true).await,
        Says::Release => jobs.release(tenant, id, token.clone()).await,
        Says::Heartbeat => jobs.heartbeat(tenant, id, token.clone(), None, None).await,
    };
    let known = model.jobs.get_mut(id).unwrap();
    let is_proved = known.token.as_ref() == Some(&token);
    let repeats = is_proved && known.is_over && !matches!(says, Says::Heartbeat);
    let holds = is_proved && !known.is_over;
    assert_eq!(
        result.is_ok(),
        holds || repeats,
        "{says:?} {known:?} {result:?}"
    );
    if repeats {
        let job = result.unwrap();
        assert_eq!((job.status, job.attempts), (known.status, known.attempts));
        return;
    }
    if !holds {
        return;
    }
    known.is_over = true;
    match says {
        Says::Complete => {
            known.status = Status::Done;
            model.done += 1;
        }
        Says::Fail if known.attempts < known.max_attempts => known.status = Status::Pending,
        Says::Fail | Says::FailForGood => {
            known.status = Status::Failed;
            model.failed += 1;
        }
        Says::Release => {
            known.status = Status::Pending;
            known.attempts -= 1;
            known.token = None;
        }
        Says::Heartbeat => {
            known.status = Status::Running;
            known.is_over = false;
            known.lease = queue.clock.now().plus(super::MINUTE);
        }
    }
    assert_eq!(result.unwrap().status, known.status);
}

async fn run(engine: Engine, ops: Vec<Op>) {
    let queue = Queue::open(engine).await;
    let started = queue.clock.now().day();
    let mut model = Model::default();
    for op in ops {
        step(&queue, &mut model, op).await;
        queue.check().await;
    }
    for (id, known) in &model.jobs {
        let detail = queue.jobs.get("default", id).await.unwrap();
        let job = &detail.job;
        assert_eq!((job.status, job.attempts), (known.status, known.attempts));
        assert_eq!(job.max_attempts, known.max_attempts);
        let numbers: Vec<_> = detail
            .attempts_log
            .iter()
            .map(|entry| entry.attempt)
            .collect();
        assert_eq!(
            numbers,
            (1..=known.attempts).collect::<Vec<_>>(),
            "{detail:?}"
        );
    }
    let days = queue
        .jobs
        .daily_counts("default", started, queue.clock.now().day())
        .await
        .unwrap();
    let sum = days
        .values()
        .fold((0, 0), |sum, day| (sum.0 + day.done, sum.1 + day.failed));
    assert_eq!(sum, (model.done, model.failed));
}

#[every_engine(multi_thread)]
async fn whatever_happens_the_rules_hold(engine: Engine) {
    super::for_any(file!(), &ops(), |ops| run(engine, ops));
}
