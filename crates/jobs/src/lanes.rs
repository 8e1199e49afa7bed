//! The batched operations on the hot path: reports about jobs, claims (of what is due, and of what a
//! bus has named), new jobs.
//!
//! Where only one can write, a round applies them in this order, so that a worker which reports and
//! claims at once pays one commit, and its claim sees the room that the reports made. Elsewhere each
//! has rounds of its own, and none waits for another's commit. Each applies a whole batch with a
//! fixed number of statements (a claim: for each lane that it takes from).

mod claims;
mod counter;
mod enqueues;
mod give_back;
mod limits;
mod pick_ups;
mod reports;

use std::{collections::HashMap, sync::Arc};

use tidewire_core::{Clock, Time};
use tidewire_db::{Hints, Result, Tx};
use tokio::sync::watch;

use crate::{
    board::{Board, LaneKey},
    follow::Followers,
    hints,
    metrics::Ended,
    model::Status,
    settings::JobSettings,
    state::Change,
    store::Store,
};

pub(crate) use claims::{Claim, Claims};
pub(crate) use enqueues::{Enqueues, New, enqueue};
pub(crate) use give_back::{Claimed, Grant};
pub(crate) use pick_ups::{PickUp, PickUps};
pub(crate) use reports::{Refused, Report, Reported, Reports, Says};

/// What the lanes share.
#[derive(Clone)]
pub(crate) struct Room {
    pub store: Arc<Store>,
    pub board: Arc<Board>,
    /// To the other processes that share the store.
    pub hints: Hints,
    pub clock: Clock,
    pub settings: watch::Receiver<JobSettings>,
    pub followers: Followers,
}

/// Writes steps, tells their followers and, once they are durable, the board, the other processes and
/// the metrics.
pub(crate) async fn write(room: &Room, tx: &mut Tx, changes: Vec<Change>, now: Time) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    room.store.apply(tx, &changes, now).await?;
    room.followers.tell(tx, &changes, now).await?;
    tell(room, tx, changes, now);
    Ok(())
}

/// Writes a step that the job's follower takes by itself, and need not be told.
pub(crate) async fn settle(room: &Room, tx: &mut Tx, change: Change, now: Time) -> Result<()> {
    let changes = vec![change];
    room.store.apply(tx, &changes, now).await?;
    tell(room, tx, changes, now);
    Ok(())
}

fn tell(room: &Room, tx: &mut Tx, changes: Vec<Change>, now: Time) {
    let room = room.clone();
    tx.on_commit(move || {
        let mut ended = Ended::default();
        let mut freed: HashMap<(&Arc<str>, &Arc<str>), usize> = HashMap::new();
        let mut waiting = Waiting::default();
        for change in &changes {
            let lane = &change.now.lane;
            if change.was == Status::Running && change.now.status != Status::Running {
                *freed.entry((&lane.tenant, &lane.queue)).or_default() += 1;
            }
            if change.now.status == Status::Pending {
                waiting.add(lane, change.now.due());
                if let Some(reserved) = &change.now.reserved {
                    waiting.add(&lane.reserved_for(&reserved.worker), reserved.from);
                }
            }
            ended.add(change, now);
        }
        let settings = room.settings.borrow();
        for ((tenant, queue), count) in freed {
            if settings.queue_limits.contains_key(&**queue) {
                room.board.drained(tenant, queue, count);
                hints::drained(&room.hints, tenant, queue);
            }
        }
        drop(settings);
        waiting.tell(&room, now);
        ended.record();
    });
}

/// What boards should know of jobs that wait, one hint for each lane.
#[derive(Default)]
struct Waiting {
    lanes: HashMap<LaneKey, (Time, usize)>,
}

impl Waiting {
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

    fn tell(&self, room: &Room, now: Time) {
        for (lane, (due, count)) in &self.lanes {
            room.board.hint(lane, *due, *count, now);
            hints::due(&room.hints, lane, *due);
        }
    }
}
