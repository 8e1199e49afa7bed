//! The three batched operations on the hot path: reports about jobs, claims, new jobs.
//!
//! In a round of the writer they are applied in this order, so that a worker which reports and
//! claims at once pays one commit, and its claim sees the room that the reports made. Each applies
//! a whole batch with a fixed number of statements (a claim: for each distinct filter in it).

mod claims;
mod enqueues;
mod reports;

use std::{collections::HashMap, sync::Arc};

use tidewire_core::{Clock, Time};
use tidewire_db::{Result, Tx};
use tokio::sync::watch;

use crate::{
    board::{Board, LaneKey},
    metrics::Ended,
    model::Status,
    settings::JobSettings,
    state::Change,
    store::Store,
};

pub(crate) use claims::{Claim, Claimed, Claims, Grant};
pub(crate) use enqueues::{Enqueues, New, enqueue};
pub(crate) use reports::{Refused, Report, Reported, Reports, Says};

/// What the lanes share.
#[derive(Clone)]
pub(crate) struct Room {
    pub store: Arc<Store>,
    pub board: Arc<Board>,
    pub clock: Clock,
    pub settings: watch::Receiver<JobSettings>,
}

/// Writes steps and, once they are durable, tells the board and the metrics.
pub(crate) async fn write(room: &Room, tx: &mut Tx, changes: Vec<Change>, now: Time) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    room.store.apply(tx, &changes, now).await?;
    let board = Arc::clone(&room.board);
    tx.on_commit(move || {
        let mut ended = Ended::default();
        let mut freed: HashMap<(&Arc<str>, &Arc<str>), usize> = HashMap::new();
        let mut waiting = Hints::default();
        for change in &changes {
            let lane = &change.now.lane;
            if change.was == Status::Running && change.now.status != Status::Running {
                *freed.entry((&lane.tenant, &lane.queue)).or_default() += 1;
            }
            if change.now.status == Status::Pending {
                waiting.add(lane, change.now.run_at);
            }
            ended.add(change, now);
        }
        for ((tenant, queue), count) in freed {
            board.drained(tenant, queue, count);
        }
        waiting.tell(&board, now);
        ended.record();
    });
    Ok(())
}

/// What the board should know, one hint for each lane.
#[derive(Default)]
struct Hints {
    lanes: HashMap<LaneKey, (Time, usize)>,
}

impl Hints {
    fn add(&mut self, lane: &LaneKey, due: Time) {
        match self.lanes.get_mut(lane) {
            Some((first, count)) => {
                *first = due.min(*first);
                *count += 1;
            }
            None => {
                self.lanes.insert(lane.clone(), (due, 1));
            }
        }
    }

    fn tell(&self, board: &Board, now: Time) {
        for (lane, (due, count)) in &self.lanes {
            board.hint(lane, *due, *count, now);
        }
    }
}
