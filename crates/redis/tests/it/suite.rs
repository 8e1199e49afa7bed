//! What every hot log does: the same scenarios for each.

use std::time::Duration;

use tidewire_testkit::eventually;
use tidewire_threads::{Error, OnBusy};

use crate::house::{House, Log, delta, ending, event, seqs};

/// Each scenario on each engine, with a persister that moves what there is to be moved.
macro_rules! on_every_log {
    ($($scenario:ident,)*) => {
        mod embedded {
            use super::{House, Log};
            $(#[tokio::test]
            async fn $scenario() {
                let house = House::on(Log::Embedded).await.unwrap();
                super::$scenario(house).await;
            })*
        }
        mod redis {
            use super::{House, Log};
            $(#[tokio::test]
            async fn $scenario() {
                let Some(house) = House::on(Log::Redis).await else { return };
                let _persister = house.persister();
                super::$scenario(house).await;
            })*
        }
    };
}

on_every_log! {
    a_turn_is_seen_at_once_and_accepted_once,
    a_turn_runs_from_one_end_to_the_other,
    a_busy_thread_refuses_queues_or_interrupts,
    an_event_with_an_id_is_stored_once_and_terminal_is_terminal,
    a_batch_is_stored_whole_or_not_at_all,
    a_cancelled_turn_loses_its_job_and_the_next_one_goes_on,
    a_job_that_ends_by_itself_ends_its_turn_once,
    whoever_takes_a_turn_over_is_announced,
    a_long_thread_is_read_without_a_seam,
    a_thread_without_turns_is_appended_to,
    a_job_that_is_cancelled_by_hand_cancels_its_turn,
}

async fn a_turn_is_seen_at_once_and_accepted_once(house: House) {
    let first = house.asks("x", "t1").await;
    assert!(first.created);
    assert_eq!(first.seq, 1);
    // Nobody waits for a persister.
    let turn = house.turn("x", "t1").await;
    assert_eq!(turn.seq, 1);
    assert_eq!(turn.input.unwrap().get(), r#"{"ask":"t1"}"#);
    assert_eq!(house.kinds("x").await, ["t1 turn.started"]);
    let thread = house.threads.thread(&house.tenant, "x").await.unwrap();
    assert_eq!(thread.last_seq, 1);
    let again = house.asks("x", "t1").await;
    assert_eq!((again.created, again.seq), (false, 1));
    assert_eq!(house.kinds("x").await.len(), 1);
}

async fn a_turn_runs_from_one_end_to_the_other(house: House) {
    house.asks("x", "t1").await;
    house.asks("x", "t2").await;
    let job = house.claim("a").await;
    assert!(job.job.payload.get().contains("\"t1\""), "{:?}", job.job);
    let stored = house.says("x", vec![delta("t1", "d1")]).await.unwrap();
    assert_eq!(stored[0].turn_status.unwrap().as_str(), "running");
    assert_eq!(house.status("x", "t1").await, "running");
    // The second one waits for the first.
    assert!(house.claims("b").await.is_empty());
    house
        .says("x", vec![ending("t1", "completed")])
        .await
        .unwrap();
    assert_eq!(house.status("x", "t1").await, "completed");
    // Its worker's word of the job comes late, and is taken.
    let token = job.lease_token.clone();
    let done = house.jobs.complete(&house.tenant, &job.job.id, token, None);
    done.await.unwrap();
    let next = house.claim("b").await;
    assert!(next.job.payload.get().contains("\"t2\""));
    house.says("x", vec![ending("t2", "failed")]).await.unwrap();
    house.catches_up("x").await;
    let expected = [
        "t1 turn.started",
        "t2 turn.started",
        "t1 message.delta",
        "t1 turn.completed",
        "t2 turn.failed",
    ];
    assert_eq!(house.kinds("x").await, expected);
}

async fn a_busy_thread_refuses_queues_or_interrupts(house: House) {
    house.asks("x", "t1").await;
    house.asks("x", "t2").await;
    let refused = house.ask("x", "t3", OnBusy::Reject).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Busy { turn, .. } if turn == "t1"),
        "{refused}"
    );
    house.ask("x", "t4", OnBusy::Interrupt).await.unwrap();
    for turn in ["t1", "t2"] {
        assert_eq!(house.status("x", turn).await, "cancelled");
    }
    // Until the store has heard of it, it may hand out a turn that has ended.
    house.catches_up("x").await;
    let job = house.claim("a").await;
    assert!(job.job.payload.get().contains("\"t4\""));
    let kinds = house.kinds("x").await;
    let expected = [
        "t1 turn.started",
        "t2 turn.started",
        "t1 turn.cancelled",
        "t2 turn.cancelled",
        "t4 turn.started",
    ];
    assert_eq!(kinds, expected);
}

async fn an_event_with_an_id_is_stored_once_and_terminal_is_terminal(house: House) {
    let first = house.says("x", vec![delta("t1", "d1"), delta("t1", "d1")]);
    let first = first.await.unwrap();
    assert_eq!(seqs(&first), [1, 1]);
    assert_eq!((first[0].duplicated, first[1].duplicated), (false, true));
    let again = house.says("x", vec![delta("t1", "d1"), delta("t1", "d2")]);
    let again = again.await.unwrap();
    assert_eq!((again[0].seq, again[0].duplicated), (1, true));
    assert_eq!((again[1].seq, again[1].duplicated), (2, false));
    let end = event("turn.completed", Some("t1"), Some("end"));
    house.says("x", vec![end.clone()]).await.unwrap();
    // The same end again is a duplicate; another one is too late.
    let same = house.says("x", vec![end]).await.unwrap();
    assert!(same[0].duplicated);
    let refused = house.says("x", vec![ending("t1", "failed")]).await;
    assert!(matches!(refused, Err(Error::Over { .. })), "{refused:?}");
    // What comes late is kept, and revives nothing.
    let late = house.says("x", vec![delta("t1", "late")]).await.unwrap();
    assert_eq!(late[0].turn_status.unwrap().as_str(), "completed");
    let refused = house.cancels("x", "t1").await;
    assert!(matches!(refused, Err(Error::Over { .. })), "{refused:?}");
    house.catches_up("x").await;
    assert_eq!(house.status("x", "t1").await, "completed");
    assert_eq!(house.turn("x", "t1").await.ended_seq, Some(3));
}

async fn a_batch_is_stored_whole_or_not_at_all(house: House) {
    let end = || ending("t1", "completed");
    let refused = house.says("x", vec![delta("t1", "a"), end(), end()]).await;
    assert!(matches!(refused, Err(Error::Over { .. })), "{refused:?}");
    let stored = house.says("x", vec![delta("t1", "a"), end()]).await;
    assert_eq!(seqs(&stored.unwrap()), [1, 2]);
    assert_eq!(house.kinds("x").await.len(), 2);
}

async fn a_cancelled_turn_loses_its_job_and_the_next_one_goes_on(house: House) {
    house.asks("x", "t1").await;
    house.asks("x", "t2").await;
    let job = house.claim("a").await;
    let turn = house.cancels("x", "t1").await.unwrap();
    assert_eq!(turn.status.as_str(), "cancelled");
    let again = house.cancels("x", "t1").await.unwrap();
    assert_eq!(again.ended_seq, turn.ended_seq);
    let told = house.says("x", vec![delta("t1", "late")]).await.unwrap();
    assert_eq!(told[0].turn_status.unwrap().as_str(), "cancelled");
    let next = house.claim("b").await;
    assert!(next.job.payload.get().contains("\"t2\""));
    let cancelled = house.jobs.get(&house.tenant, &job.job.id).await.unwrap();
    assert_eq!(cancelled.job.status.as_str(), "cancelled");
    let unknown = house.cancels("x", "t9").await;
    assert!(
        matches!(unknown, Err(Error::NoSuchTurn { .. })),
        "{unknown:?}"
    );
    house.catches_up("x").await;
    let turn = house.turn("x", "t1").await;
    assert_eq!(turn.error.as_deref(), Some("enough"));
}

async fn a_job_that_ends_by_itself_ends_its_turn_once(house: House) {
    house.asks("x", "done").await;
    house.asks("y", "failed").await;
    for _ in 0..2 {
        let job = house.claim("a").await;
        let (id, token) = (job.job.id.clone(), job.lease_token.clone());
        if job.job.payload.get().contains("\"done\"") {
            let done = house.jobs.complete(&house.tenant, &id, token, None);
            done.await.unwrap();
        } else {
            let failed = house
                .jobs
                .fail(&house.tenant, &id, token, "broken", None, true);
            failed.await.unwrap();
        }
    }
    for (thread, turn, how) in [("x", "done", "completed"), ("y", "failed", "failed")] {
        eventually("the turn's end", || async {
            (house.status(thread, turn).await == how).then_some(())
        })
        .await;
        house.catches_up(thread).await;
        let expected = [format!("{turn} turn.started"), format!("{turn} turn.{how}")];
        assert_eq!(house.kinds(thread).await, expected);
    }
    assert_eq!(
        house.turn("y", "failed").await.error.as_deref(),
        Some("broken")
    );
    // The thread is free for the next.
    house.asks("x", "next").await;
    house.claim("a").await;
}

async fn a_job_that_is_cancelled_by_hand_cancels_its_turn(house: House) {
    house.asks("x", "t1").await;
    let job = house.claim("a").await;
    let cancelled = house.jobs.cancel(&house.tenant, &job.job.id).await;
    cancelled.unwrap();
    eventually("the turn's end", || async {
        (house.status("x", "t1").await == "cancelled").then_some(())
    })
    .await;
    house.catches_up("x").await;
    assert_eq!(
        house.kinds("x").await,
        ["t1 turn.started", "t1 turn.cancelled"]
    );
}

async fn whoever_takes_a_turn_over_is_announced(house: House) {
    house.asks("x", "t1").await;
    let job = house.claim("a").await;
    house.says("x", vec![delta("t1", "by-a")]).await.unwrap();
    let (id, token) = (job.job.id.clone(), job.lease_token.clone());
    let again = house.jobs.fail(
        &house.tenant,
        &id,
        token,
        "gone",
        Some(Duration::ZERO),
        false,
    );
    again.await.unwrap();
    house.claim("b").await;
    // Before what the second one says.
    house.says("x", vec![delta("t1", "by-b")]).await.unwrap();
    let expected = [
        "t1 turn.started",
        "t1 message.delta",
        "t1 turn.started",
        "t1 message.delta",
    ];
    assert_eq!(house.kinds("x").await, expected);
    let events = house.events("x").await;
    let payload: serde_json::Value = serde_json::from_str(events[2].payload.get()).unwrap();
    assert_eq!(payload["agent"], "b");
    house.catches_up("x").await;
}

async fn a_long_thread_is_read_without_a_seam(house: House) {
    house.asks("x", "t1").await;
    for batch in 0..20 {
        let events = (0..5).map(|n| delta("t1", &format!("d{batch}-{n}")));
        house.says("x", events.collect()).await.unwrap();
    }
    let all: Vec<_> = house.events("x").await.iter().map(|e| e.seq).collect();
    assert_eq!(all, (1..=101).collect::<Vec<_>>());
    house.catches_up("x").await;
    let all: Vec<_> = house.events("x").await.iter().map(|e| e.seq).collect();
    assert_eq!(all, (1..=101).collect::<Vec<_>>());
    // What is old is known still.
    let again = house.says("x", vec![delta("t1", "d0-0"), delta("t1", "new")]);
    let again = again.await.unwrap();
    assert_eq!((again[0].seq, again[0].duplicated), (2, true));
    assert_eq!((again[1].seq, again[1].duplicated), (102, false));
}

async fn a_thread_without_turns_is_appended_to(house: House) {
    let stored = house
        .says("x", vec![event("custom", None, None)])
        .await
        .unwrap();
    assert_eq!(stored[0].seq, 1);
    assert!(!stored[0].event_id.is_empty());
    assert_eq!(stored[0].turn_status, None);
    house.catches_up("x").await;
    let unknown = house.threads.thread(&house.tenant, "nobody").await;
    assert!(
        matches!(unknown, Err(Error::NoSuchThread(_))),
        "{unknown:?}"
    );
}
