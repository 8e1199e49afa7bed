//! Where jobs are handed out, whichever way they were chosen.

use std::{sync::Arc, time::Duration};

use tidewire_core::Time;
use tidewire_db::{Lane, Result, Tx};

use super::{
    Reports, Room,
    give_back::{Claimed, Grant, Home},
};
use crate::{
    board::LaneKey,
    lease, metrics,
    model::{Job, Status},
    store::{Entry, Taken},
};

pub(super) struct Counter {
    pub(super) room: Room,
    home: Home,
}

impl Counter {
    pub(super) fn new(room: Room, reports: Lane<Reports>) -> Self {
        let home = Home {
            reports,
            clock: room.clock.clone(),
        };
        Counter { room, home }
    }

    /// Leases jobs, which were taken out of the queue, to those who asked: each a worker, how long it
    /// wants them, and the hand that has them. Answers each in its place.
    pub(super) async fn hand_out<'a>(
        &self,
        tx: &mut Tx,
        asked: impl Iterator<Item = (&'a str, Duration)>,
        hands: Vec<Vec<Job>>,
        now: Time,
    ) -> Result<Vec<Claimed>> {
        let claims: Vec<_> = asked
            .map(|(worker, lease)| (worker, now.plus(lease), lease::new_secret()))
            .collect();
        let taken: Vec<_> = claims
            .iter()
            .zip(&hands)
            .filter(|(_, jobs)| !jobs.is_empty())
            .map(|((worker, expires_at, secret), jobs)| Taken {
                jobs,
                worker,
                secret,
                expires_at: *expires_at,
            })
            .collect();
        if !taken.is_empty() {
            let reserved = hands.iter().flatten().filter_map(|job| {
                let reserved = job.reserved.as_ref()?;
                Some(Entry {
                    lane: lane_of(job),
                    id: &job.id,
                    reserved,
                })
            });
            let reserved = reserved.collect();
            self.room.store.lease(tx, &taken, now).await?;
            self.room.store.unreserve(tx, reserved).await?;
            self.room.followers.tell_claims(tx, &taken, now).await?;
        }
        let due = hands.iter().flatten();
        let waits: Vec<_> = due.map(|job| now.since(job.run_at)).collect();
        tx.on_commit(move || metrics::claimed(&waits));
        let answers = hands.into_iter().zip(claims);
        Ok(answers
            .map(|(jobs, (worker, expires_at, secret))| {
                let grants = jobs.into_iter().map(|job| Grant {
                    job: begun(job, worker, now),
                    secret: Arc::clone(&secret),
                    expires_at,
                });
                Claimed::new(grants.collect(), self.home.clone())
            })
            .collect())
    }
}

/// The lane where everybody finds a job.
pub(super) fn lane_of(job: &Job) -> LaneKey {
    LaneKey::new(
        Arc::clone(&job.tenant),
        job.queue.as_str(),
        job.kind.as_str(),
        job.priority,
    )
}

/// A job as its worker gets it.
fn begun(job: Job, worker: &str, now: Time) -> Job {
    Job {
        status: Status::Running,
        attempts: job.attempts + 1,
        locked_at: Some(now),
        locked_by: Some(worker.to_owned()),
        started_at: Some(now),
        updated_at: now,
        reserved: None,
        ..job
    }
}
