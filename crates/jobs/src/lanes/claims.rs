//! Handing out what is due.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tidewire_core::Time;
use tidewire_db::{Batch, Lane, Result, Tx};

use super::{
    Reports, Room,
    counter::Counter,
    give_back::Claimed,
    limits::{Limits, Made, Room as Left},
};
use crate::{
    board::{Board, Candidate, Filter, Mark, Next, Pick},
    model::Job,
};

/// A worker that asks for jobs.
#[derive(Debug)]
pub(crate) struct Claim {
    pub filter: Arc<Filter>,
    pub worker: Arc<str>,
    pub limit: u32,
    pub lease: Duration,
}

pub(crate) struct Claims {
    counter: Counter,
    made: Made,
}

impl Claims {
    pub(crate) fn new(room: Room, reports: Lane<Reports>) -> Self {
        Claims {
            counter: Counter::new(room, reports),
            made: Made::default(),
        }
    }
}

impl Batch for Claims {
    type In = Claim;
    type Out = Claimed;

    const NAME: &'static str = "job_claims";
    const RANK: u8 = 30;
    const ROUND: usize = 256;
    const WRITER: &'static str = "job_claims";

    /// Claims of one job each come in crowds, and most of them find nothing.
    fn weight(&self, claim: &Claim) -> usize {
        1 + claim.limit as usize / 16
    }

    async fn apply<'a>(&'a self, tx: &'a mut Tx, claims: &'a [Claim]) -> Result<Vec<Claimed>> {
        let now = self.counter.room.clock.now();
        let mut limits = Limits::new(&self.counter.room.settings.borrow(), &self.made);
        let mut hands: Vec<Vec<Job>> = claims.iter().map(|_| Vec::new()).collect();
        if self.counter.room.board.has_reserved() {
            for (claim, hand) in claims.iter().zip(&mut hands) {
                *hand = self.select_reserved(tx, claim, now, &mut limits).await?;
            }
        }
        let mut groups: Vec<(&Arc<Filter>, Vec<usize>)> = Vec::new();
        let of_everybody = claims.iter().enumerate();
        for (place, claim) in of_everybody.filter(|(_, claim)| !claim.filter.own) {
            match groups
                .iter_mut()
                .find(|(filter, _)| **filter == claim.filter)
            {
                Some((_, places)) => places.push(place),
                None => groups.push((&claim.filter, vec![place])),
            }
        }
        for (filter, places) in groups {
            let room = |place: &usize| claims[*place].limit - most_of(&hands[*place]);
            let limit = places.iter().map(room).sum();
            if limit == 0 {
                continue;
            }
            let pick = self.counter.room.board.pick(filter, now, limit);
            let jobs = self.select(tx, pick, limit, now, &mut limits).await?;
            deal(jobs, &places, claims, &mut hands);
        }
        let asked = claims.iter().map(|claim| (&*claim.worker, claim.lease));
        self.counter.hand_out(tx, asked, hands, now).await
    }
}

impl Claims {
    /// Takes what is reserved for who claims.
    async fn select_reserved(
        &self,
        tx: &mut Tx,
        claim: &Claim,
        now: Time,
        limits: &mut Limits,
    ) -> Result<Vec<Job>> {
        let Claim {
            worker,
            filter,
            limit,
            ..
        } = claim;
        let board = &self.counter.room.board;
        let pick = board.pick_reserved(worker, filter, now, *limit);
        if pick.lanes.is_empty() {
            return Ok(Vec::new());
        }
        self.select(tx, pick, *limit, now, limits).await
    }

    /// Takes up to `limit` jobs of what was picked out of the queue.
    async fn select(
        &self,
        tx: &mut Tx,
        pick: Pick,
        limit: u32,
        now: Time,
        limits: &mut Limits,
    ) -> Result<Vec<Job>> {
        let Room { store, board, .. } = &self.counter.room;
        let lanes = pick.lanes.iter().map(|candidate| &candidate.lane);
        limits.open(store, tx, lanes).await?;
        let mut settled = Settled::new(now);
        let mut jobs = Vec::new();
        let mut open: Vec<_> = pick.lanes.into_iter().map(Reading::new).collect();
        // A turn gives each lane its share; what is left of the limit goes to the next turn.
        while !open.is_empty() && jobs.len() < limit as usize {
            let (mut turn, mut pressing) = (Vec::new(), HashMap::new());
            for mut reading in std::mem::take(&mut open) {
                let left = limit - u32::try_from(jobs.len()).unwrap_or(limit);
                let lane = Arc::clone(&reading.candidate.lane.tenant);
                let priority = reading.candidate.lane.priority;
                // No lane is served before a more urgent one of its tenant that has more.
                let yields = pressing.get(&lane).is_some_and(|least| priority > *least);
                if left == 0 || yields {
                    turn.push(reading);
                    continue;
                }
                let room = match limits.room(&reading.candidate.lane) {
                    Left::Busy => {
                        settled.held(reading);
                        continue;
                    }
                    Left::Left(0) => {
                        settled.full(reading);
                        continue;
                    }
                    Left::Left(room) => room,
                };
                let most = pick.share.min(left).min(room);
                let found = store
                    .take(tx, &reading.candidate.lane, &reading.from, now, most)
                    .await?;
                limits.take(&reading.candidate.lane, most_of(&found));
                reading.read(&found);
                if found.len() < most as usize {
                    settled.ended.push(reading);
                } else {
                    let least = pressing.entry(lane).or_insert(priority);
                    *least = priority.min(*least);
                    turn.push(reading);
                }
                jobs.extend(found);
            }
            open = turn;
        }
        for reading in open {
            match limits.room(&reading.candidate.lane) {
                Left::Left(0) => settled.full(reading),
                _ => settled.left(reading),
            }
        }
        for reading in std::mem::take(&mut settled.ended) {
            // From where it began: what others held may lie between what was taken.
            let Candidate { lane, from, .. } = &reading.candidate;
            let next = store.next(tx, lane, from, now).await?;
            settled.next(reading, next);
        }
        let board = Arc::clone(board);
        tx.on_commit(move || settled.tell(&board));
        Ok(jobs)
    }
}

fn most_of(found: &[Job]) -> u32 {
    u32::try_from(found.len()).unwrap_or(u32::MAX)
}

/// A lane on its way through a claim.
struct Reading {
    candidate: Candidate,
    /// Everything before has been taken.
    from: Mark,
    is_read: bool,
}

impl Reading {
    fn new(candidate: Candidate) -> Self {
        Reading {
            from: candidate.from.clone(),
            candidate,
            is_read: false,
        }
    }

    fn read(&mut self, found: &[Job]) {
        self.is_read = true;
        if let Some(last) = found.last() {
            let is_own = self.candidate.lane.reserved_for.is_some();
            let due = if is_own { last.run_at } else { last.due() };
            self.from = Mark::behind(due, &last.id);
        }
    }
}

/// What a claim learned about the lanes, for the board.
struct Settled {
    now: Time,
    /// Read to their end, and the next entry is still to be asked for.
    ended: Vec<Reading>,
    full: Vec<Candidate>,
    next: Vec<(Candidate, Next)>,
}

impl Settled {
    fn new(now: Time) -> Self {
        Settled {
            now,
            ended: Vec::new(),
            full: Vec::new(),
            next: Vec::new(),
        }
    }

    fn full(&mut self, reading: Reading) {
        self.full.push(reading.candidate.clone());
        self.left(reading);
    }

    /// It was read as far as it was wanted, or not at all.
    fn left(&mut self, reading: Reading) {
        if reading.is_read {
            self.next.push((reading.candidate, Next::At(reading.from)));
        }
    }

    fn held(&mut self, reading: Reading) {
        self.next
            .push((reading.candidate, Next::Held(reading.from)));
    }

    /// It had less than was asked for, and this entry is left. One that is due is held by somebody at
    /// this moment, for a claim that may still be undone or a step that may leave it as it is.
    fn next(&mut self, reading: Reading, next: Option<Mark>) {
        let next = match next {
            None => Next::Nothing,
            Some(mark) if mark.due <= self.now => Next::Held(mark),
            Some(mark) => Next::At(mark),
        };
        self.next.push((reading.candidate, next));
    }

    fn tell(self, board: &Board) {
        for (candidate, next) in self.next {
            board.settle(&candidate, next, self.now);
        }
        for candidate in &self.full {
            board.fill(candidate);
        }
    }
}

/// Deals jobs out like cards to the claims of one group.
fn deal(jobs: Vec<Job>, places: &[usize], claims: &[Claim], hands: &mut [Vec<Job>]) {
    for (turn, job) in jobs.into_iter().enumerate() {
        let place = (0..places.len())
            .map(|step| places[(turn + step) % places.len()])
            .find(|place| hands[*place].len() < claims[*place].limit as usize);
        // There is one: the answer was limited to what all claims together asked for.
        if let Some(place) = place {
            hands[place].push(job);
        }
    }
}
