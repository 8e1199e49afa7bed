use proptest::{prelude::*, sample::Index};

use super::*;
use crate::lease;

const NOW: i64 = 1_000_000;

fn running() -> State {
    State {
        id: "1".into(),
        lane: LaneKey::new("default", "q", "t", 0),
        status: Status::Running,
        run_at: Time::from_millis(NOW - 5),
        attempts: 1,
        max_attempts: 3,
        budget: 3,
        timeout: None,
        secret: Some("secret".into()),
        locked_at: Some(Time::from_millis(NOW - 1)),
        locked_by: Some("w".into()),
        started_at: Some(Time::from_millis(NOW - 1)),
        finished_at: None,
        last_error: None,
        followed: None,
        reserved: None,
    }
}

fn failed(error: &str) -> Failed<'_> {
    Failed {
        error,
        retry_in: None,
        permanent: false,
        backoff: Backoff {
            base: Duration::from_secs(2),
            cap: Duration::from_hours(1),
        },
        jitter: 0.5,
    }
}

fn now() -> Time {
    Time::from_millis(NOW)
}

#[test]
fn only_the_current_token_holds() {
    let state = running();
    let proof = Proof::Token(lease::token("secret", "1"));
    let other = Proof::Token(lease::token("other", "1"));
    assert!(state.check(&proof) == Ok(Claim::Held));
    assert!(state.check(&other).is_err());
    let expired = state.expire(now()).now;
    assert_eq!(expired.status, Status::Pending);
    assert!(
        expired.check(&proof) == Ok(Claim::Held),
        "nobody took it over"
    );
    for void in [
        state.release(None, now()).now,
        state.cancel(now()).unwrap().unwrap().now,
    ] {
        assert!(void.check(&proof).is_err(), "{void:?}");
    }
    let settled = |end| state.settle(end, now()).unwrap().now;
    for ended in [
        state.complete(None, now()).now,
        state.fail(&failed("x"), now()).now,
        settled(Settled::Done(None)),
        settled(Settled::Failed("x".to_owned())),
        settled(Settled::Cancelled),
    ] {
        assert_eq!(ended.check(&proof), Ok(Claim::Over), "{ended:?}");
        assert!(ended.check(&other).is_err(), "{ended:?}");
    }
}

#[test]
fn a_follower_ends_a_job_as_its_worker_would_have() {
    let mut waits = running().fail(&failed("boom"), now()).now;
    waits.attempts = 1;
    for (state, went_on) in [
        (running(), None),
        (running().expire(now()).now, Some(1)),
        (waits, None),
    ] {
        let done = state.settle(Settled::Done(None), now()).unwrap();
        assert_eq!(
            (done.now.status, done.went_on),
            (Status::Done, went_on),
            "{state:?}"
        );
        assert_eq!(done.now.finished_at, Some(now()));
        let end = Settled::Failed("no".to_owned());
        let failed = state.settle(end, now()).unwrap();
        assert_eq!(failed.now.status, Status::Failed, "attempts are left");
        assert_eq!(failed.now.last_error.as_deref(), Some("no"));
        assert!(failed.logged.is_none(), "the job's row is the log's entry");
        let cancelled = state.settle(Settled::Cancelled, now()).unwrap();
        assert_eq!(cancelled.now.status, Status::Cancelled);
        for ended in [done, failed, cancelled] {
            let again = ended.now.settle(Settled::Done(None), now());
            assert!(again.is_none(), "{ended:?}");
        }
    }
}

#[test]
fn a_failure_waits_longer_each_time_and_ends_after_the_last_attempt() {
    let mut state = running();
    let mut waits = Vec::new();
    loop {
        let change = state.fail(&failed("boom"), now());
        if change.now.status == Status::Failed {
            assert!(change.logged.is_none(), "the job's row is the log's entry");
            break;
        }
        assert_eq!(change.logged.unwrap().outcome, Outcome::Failed);
        waits.push(change.now.run_at.since(now()).as_secs());
        state = State {
            attempts: change.now.attempts + 1,
            status: Status::Running,
            ..change.now
        };
    }
    assert_eq!(waits, [2, 4]);
}

#[test]
fn a_retry_by_hand_begins_a_new_budget_and_a_new_backoff() {
    let state = State {
        attempts: 3,
        ..running()
    };
    let given_up = state.fail(&failed("boom"), now()).now;
    let again = given_up.retry(now()).unwrap();
    assert_eq!((again.now.attempts, again.now.max_attempts), (3, 6));
    assert_eq!(again.logged.unwrap().attempt, 3);
    let fourth = State {
        attempts: 4,
        status: Status::Running,
        ..again.now
    };
    let change = fourth.fail(&failed("boom"), now());
    assert_eq!(change.now.run_at.since(now()), Duration::from_secs(2));
}

#[test]
fn the_worker_may_say_when_or_that_it_is_of_no_use() {
    let later = Failed {
        retry_in: Some(Duration::from_secs(99)),
        ..failed("busy")
    };
    let change = running().fail(&later, now());
    assert_eq!(change.now.run_at.since(now()), Duration::from_secs(99));
    let never = Failed {
        permanent: true,
        ..failed("gone")
    };
    assert_eq!(running().fail(&never, now()).now.status, Status::Failed);
}

#[test]
fn a_late_completion_forgets_the_expiry() {
    let expired = running().expire(now()).now;
    let change = expired.complete(None, now());
    assert_eq!(change.went_on, Some(1));
    assert_eq!(change.now.last_error, None);
    assert_eq!(change.now.locked_by.as_deref(), Some("w"), "for the log");
}

#[test]
fn expiry_consumes_the_attempt_and_a_return_does_not() {
    assert_eq!(running().expire(now()).now.attempts, 1);
    assert_eq!(running().release(None, now()).now.attempts, 0);
    let last = State {
        attempts: 3,
        ..running()
    };
    let change = last.expire(now());
    assert_eq!(change.now.status, Status::Failed);
    assert!(change.now.last_error.unwrap().contains("attempt 3 of 3"));
}

#[test]
fn only_what_was_put_off_and_not_tried_since_is_hastened() {
    let later = Later {
        wait: Duration::from_secs(60),
        why: "busy".to_owned(),
    };
    let put_off = running().release(Some(&later), now()).now;
    let change = put_off.hasten(0, now()).unwrap();
    assert_eq!((change.now.run_at, change.now.attempts), (now(), 0));
    assert!(change.now.hasten(0, now()).is_none(), "it is due already");
    assert!(running().hasten(1, now()).is_none());
    assert!(running().expire(now()).now.hasten(1, now()).is_none());
    let tried = running().fail(&failed("boom"), now()).now;
    assert!(
        tried.hasten(0, now()).is_none(),
        "it waits for another reason now"
    );
}

#[test]
fn a_heartbeat_revives_and_a_timeout_ends_that() {
    let expired = running().expire(now()).now;
    let change = expired.extend(Duration::from_secs(60), now()).unwrap();
    assert_eq!(change.now.status, Status::Running);
    assert_eq!(change.now.secret.as_deref(), Some("secret"));
    let slow = State {
        timeout: Some(Duration::from_millis(1)),
        ..running()
    };
    assert!(slow.extend(Duration::from_secs(60), now()).is_err());
}

#[test]
fn what_has_ended_stays_ended() {
    let done = running().complete(None, now()).now;
    assert_eq!(done.cancel(now()).unwrap_err(), Status::Done);
    assert_eq!(done.retry(now()).unwrap_err(), Status::Done);
    let cancelled = running().cancel(now()).unwrap().unwrap().now;
    assert!(cancelled.cancel(now()).unwrap().is_none());
}

/// What may happen to a job. Who says something shows the token of the claim that the index picks.
#[derive(Clone, Debug)]
enum Op {
    Claim,
    Complete(Index),
    Fail(Index, bool),
    Release(Index),
    Extend(Index),
    Expire,
    Cancel,
    Retry,
    Settle(u8),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let who = any::<Index>;
    let op = prop_oneof![
        4 => Just(Op::Claim),
        2 => who().prop_map(Op::Complete),
        3 => (who(), prop::bool::weighted(0.2)).prop_map(|(who, last)| Op::Fail(who, last)),
        2 => who().prop_map(Op::Release),
        2 => who().prop_map(Op::Extend),
        2 => Just(Op::Expire),
        1 => Just(Op::Cancel),
        2 => Just(Op::Retry),
        1 => (0..3u8).prop_map(Op::Settle),
    ];
    prop::collection::vec(op, 1..80)
}

/// A job, and what is known of its claims.
struct Walk {
    state: State,
    claims: usize,
    /// The one claim, if any, that is still worth something.
    good: Option<(usize, Claim)>,
}

impl Walk {
    fn proof(&self, claim: usize) -> Proof {
        Proof::Token(lease::token(&claim.to_string(), &self.state.id))
    }

    /// A report, with what it makes of the claim.
    fn say(&mut self, who: &Index, then: Option<Claim>, rule: impl FnOnce(&State) -> Change) {
        if self.claims == 0 {
            return;
        }
        let claim = who.index(self.claims);
        if self.state.check(&self.proof(claim)) == Ok(Claim::Held) {
            assert_eq!(self.good, Some((claim, Claim::Held)));
            self.state = rule(&self.state).now;
            self.good = then.map(|then| (claim, then));
        }
    }

    fn step(&mut self, op: &Op) {
        let was = self.state.clone();
        match op {
            Op::Claim if was.status == Status::Pending => {
                self.state = State {
                    status: Status::Running,
                    attempts: was.attempts + 1,
                    secret: Some(self.claims.to_string().into()),
                    locked_at: Some(now()),
                    locked_by: Some("w".into()),
                    started_at: Some(now()),
                    ..was
                };
                self.good = Some((self.claims, Claim::Held));
                self.claims += 1;
            }
            Op::Complete(who) => {
                self.say(who, Some(Claim::Over), |state| state.complete(None, now()));
            }
            Op::Fail(who, permanent) => {
                let failure = Failed {
                    permanent: *permanent,
                    ..failed("x")
                };
                let over = Some(Claim::Over);
                self.say(who, over, |state| state.fail(&failure, now()));
            }
            Op::Release(who) => self.say(who, None, |state| state.release(None, now())),
            Op::Extend(who) => self.say(who, Some(Claim::Held), |state| {
                state.extend(Duration::from_secs(1), now()).unwrap()
            }),
            Op::Expire if was.status == Status::Running => {
                self.state = was.expire(now()).now;
                if self.state.status.is_final() {
                    self.good = None;
                }
            }
            Op::Cancel => {
                if let Ok(Some(change)) = was.cancel(now()) {
                    self.state = change.now;
                    self.good = None;
                }
            }
            Op::Retry => {
                if let Ok(change) = was.retry(now()) {
                    self.state = change.now;
                    self.good = None;
                }
            }
            Op::Settle(how) => {
                let end = match how {
                    0 => Settled::Done(None),
                    1 => Settled::Failed("x".to_owned()),
                    _ => Settled::Cancelled,
                };
                let settled = was.settle(end, now());
                assert_eq!(settled.is_some(), !was.status.is_final());
                if let Some(change) = settled {
                    self.state = change.now;
                    self.good = self.good.map(|(claim, _)| (claim, Claim::Over));
                }
            }
            Op::Claim | Op::Expire => {}
        }
    }
}

proptest! {
    #[test]
    fn one_claim_at_most_is_believed_and_none_is_mistaken_for_another(ops in ops()) {
        let state = State {
            status: Status::Pending,
            attempts: 0,
            secret: None,
            locked_at: None,
            locked_by: None,
            started_at: None,
            ..running()
        };
        let mut walk = Walk { state, claims: 0, good: None };
        for op in &ops {
            walk.step(op);
            for claim in 0..walk.claims {
                let good = walk.good.filter(|(good, _)| *good == claim);
                let known = walk.state.check(&walk.proof(claim));
                prop_assert_eq!(known.ok(), good.map(|(_, how)| how), "after {:?}", op);
            }
        }
    }
}
