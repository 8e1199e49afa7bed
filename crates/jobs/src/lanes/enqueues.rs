//! Taking in new jobs.

use std::sync::Arc;

use tidewire_db::{Batch, Result, Tx};

use super::{Room, Waiting, counter::lane_of};
use crate::{
    metrics,
    model::{Enqueued, NewJob},
};

/// One job to be enqueued. It has been checked.
#[derive(Debug)]
pub(crate) struct New {
    pub tenant: Arc<str>,
    pub job: NewJob,
}

pub(crate) struct Enqueues(pub Room);

impl Batch for Enqueues {
    type In = New;
    type Out = Enqueued;

    const NAME: &'static str = "job_enqueues";
    const RANK: u8 = 40;
    const ROUND: usize = 1000;
    const WRITER: &'static str = "enqueues";

    fn weight(&self, new: &New) -> usize {
        1 + new.job.payload.get().len() / 8192
    }

    async fn apply<'a>(&'a self, tx: &'a mut Tx, new: &'a [New]) -> Result<Vec<Enqueued>> {
        let jobs: Vec<_> = new.iter().map(|new| (&new.tenant, &new.job)).collect();
        enqueue(&self.0, tx, &jobs).await
    }
}

/// Stores new jobs and, once they are durable, tells the boards.
pub(crate) async fn enqueue(
    room: &Room,
    tx: &mut Tx,
    jobs: &[(&Arc<str>, &NewJob)],
) -> Result<Vec<Enqueued>> {
    let answers = room.store.enqueue(tx, jobs).await?;
    let mut waiting = Waiting::default();
    let mut created = 0;
    for answer in answers.iter().filter(|answer| answer.created) {
        let job = &answer.job;
        let lane = lane_of(job);
        waiting.add(&lane, job.due());
        if let Some(reserved) = &job.reserved {
            waiting.add(&lane.reserved_for(&reserved.worker), reserved.from);
        }
        created += 1;
    }
    let (room, now) = (room.clone(), room.clock.now());
    tx.on_commit(move || {
        metrics::enqueued(created);
        waiting.tell(&room, now);
    });
    Ok(answers)
}
