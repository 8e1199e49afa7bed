//! Handing out jobs that a bus has named, without waiting for their time.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tidewire_db::{Batch, Lane, Result, Tx};

use super::{
    Reports, Room,
    counter::{Counter, lane_of},
    give_back::Claimed,
    limits::{Limits, Made, Room as Left},
};
use crate::{board::Filter, bus::Wanted, model::Job};

/// A worker that asks for these jobs.
#[derive(Debug)]
pub(crate) struct PickUp {
    /// Others are left to those who can run them.
    pub filter: Arc<Filter>,
    pub worker: Arc<str>,
    pub wanted: Vec<Wanted>,
    pub lease: Duration,
}

pub(crate) struct PickUps {
    counter: Counter,
    made: Made,
}

impl PickUps {
    pub(crate) fn new(room: Room, reports: Lane<Reports>) -> Self {
        PickUps {
            counter: Counter::new(room, reports),
            made: Made::default(),
        }
    }

    /// Takes those out of the queue that are untouched, that somebody who asks for them can run, and
    /// that their queue has room for; each with the place of who gets it.
    async fn select(&self, tx: &mut Tx, asked: &[PickUp]) -> Result<Vec<(usize, Job)>> {
        let store = &self.counter.room.store;
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (place, pick_up) in asked.iter().enumerate() {
            for wanted in &pick_up.wanted {
                places.entry(&wanted.id).or_insert(place);
            }
        }
        let all: Vec<_> = asked.iter().flat_map(|asked| &asked.wanted).collect();
        let mut found = store.untouched(tx, &all).await?;
        found.retain(|found| {
            let job = &found.job;
            let place = places.get(job.id.as_str());
            place.is_some_and(|place| {
                let filter = &asked[*place].filter;
                filter.takes_job(&job.tenant, &job.queue, &job.kind)
            })
        });
        let lanes: Vec<_> = found.iter().map(|found| lane_of(&found.job)).collect();
        let mut limits = Limits::new(&self.counter.room.settings.borrow(), &self.made);
        limits.open(store, tx, lanes.iter()).await?;
        found.retain(|found| {
            let lane = lane_of(&found.job);
            let has_room = matches!(limits.room(&lane), Left::Left(1..));
            if has_room {
                limits.take(&lane, 1);
            }
            has_room
        });
        let jobs = store.take_untouched(tx, found).await?;
        Ok(jobs
            .into_iter()
            .filter_map(|job| Some((*places.get(job.id.as_str())?, job)))
            .collect())
    }
}

impl Batch for PickUps {
    type In = PickUp;
    type Out = Claimed;

    const NAME: &'static str = "job_pick_ups";
    const RANK: u8 = 31;
    const ROUND: usize = 256;
    const WRITER: &'static str = "job_claims";

    fn weight(&self, pick_up: &PickUp) -> usize {
        1 + pick_up.wanted.len() / 4
    }

    async fn apply<'a>(&'a self, tx: &'a mut Tx, asked: &'a [PickUp]) -> Result<Vec<Claimed>> {
        let now = self.counter.room.clock.now();
        let mut hands: Vec<Vec<Job>> = asked.iter().map(|_| Vec::new()).collect();
        for (place, job) in self.select(tx, asked).await? {
            hands[place].push(job);
        }
        let asked = asked.iter().map(|asked| (&*asked.worker, asked.lease));
        self.counter.hand_out(tx, asked, hands, now).await
    }
}
