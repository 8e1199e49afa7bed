//! Handing out what is due.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tidewire_core::Time;
use tidewire_db::{Batch, Lane, Result, Tx};

use super::{Report, Reports, Room, Says};
use crate::{
    board::{Board, Candidate, Filter, LaneKey},
    lease::{self, Proof},
    metrics,
    model::{ClaimedJob, Job, Status},
    settings::JobSettings,
    store::{Claimable, Store, Taken},
};

/// A worker that asks for jobs.
#[derive(Debug)]
pub(crate) struct Claim {
    pub filter: Arc<Filter>,
    pub worker: Arc<str>,
    pub limit: u32,
    pub lease: Duration,
}

/// A job that was handed to a worker.
#[derive(Debug)]
pub(crate) struct Grant {
    pub job: Job,
    /// Of the claim; see [`crate::lease`].
    pub secret: Arc<str>,
    pub expires_at: Time,
}

impl Grant {
    pub(crate) fn into_claimed(self) -> ClaimedJob {
        ClaimedJob {
            lease_token: lease::token(&self.secret, &self.job.id),
            lease_expires_at: self.expires_at,
            job: self.job,
        }
    }

    fn release(self) -> Report {
        Report {
            tenant: self.job.tenant,
            id: self.job.id.into(),
            proof: Proof::Secret(self.secret),
            says: Says::Release,
            wants_job: false,
            claimed: None,
        }
    }
}

/// Jobs that were claimed. Until they are taken, dropping them gives them back: that happens when
/// the one who asked has gone away before the answer was there.
#[derive(Default)]
pub(crate) struct Claimed {
    grants: Vec<Grant>,
    back: Option<Lane<Reports>>,
}

impl Claimed {
    pub(crate) fn take(mut self) -> Vec<Grant> {
        std::mem::take(&mut self.grants)
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        let grants = std::mem::take(&mut self.grants);
        let (Some(lane), Ok(runtime)) = (&self.back, tokio::runtime::Handle::try_current()) else {
            return;
        };
        if grants.is_empty() {
            return;
        }
        let lane = lane.clone();
        // If this fails too, their leases run out.
        runtime.spawn(async move {
            let count = grants.len();
            let back = grants.into_iter().map(Grant::release).collect();
            if let Err(error) = lane.submit(back).await {
                tracing::warn!(%error, jobs = count, "jobs that nobody took were not given back");
            }
        });
    }
}

pub(crate) struct Claims {
    pub room: Room,
    pub reports: Lane<Reports>,
}

impl Batch for Claims {
    type In = Claim;
    type Out = Claimed;

    const NAME: &'static str = "job_claims";
    const RANK: u8 = 30;
    const ROUND: usize = 256;

    /// Claims of one job each come in crowds, and most of them find nothing.
    fn weight(&self, claim: &Claim) -> usize {
        1 + claim.limit as usize / 16
    }

    async fn apply<'a>(&'a self, tx: &'a mut Tx, claims: &'a [Claim]) -> Result<Vec<Claimed>> {
        let now = self.room.clock.now();
        let mut groups: Vec<(&Arc<Filter>, Vec<usize>)> = Vec::new();
        for (place, claim) in claims.iter().enumerate() {
            match groups
                .iter_mut()
                .find(|(filter, _)| **filter == claim.filter)
            {
                Some((_, places)) => places.push(place),
                None => groups.push((&claim.filter, vec![place])),
            }
        }
        let mut limits = Limits::new(&self.room.settings.borrow());
        let mut hands: Vec<Vec<Job>> = claims.iter().map(|_| Vec::new()).collect();
        for (filter, places) in groups {
            let wanted: Vec<_> = places.iter().map(|place| &claims[*place]).collect();
            let limit = wanted.iter().map(|claim| claim.limit).sum();
            let jobs = self.select(tx, filter, limit, now, &mut limits).await?;
            deal(jobs, &places, claims, &mut hands);
        }
        let secrets: Vec<_> = claims.iter().map(|_| lease::new_secret()).collect();
        let taken: Vec<_> = claims
            .iter()
            .zip(&hands)
            .zip(&secrets)
            .filter(|((_, jobs), _)| !jobs.is_empty())
            .map(|((claim, jobs), secret)| Taken {
                jobs,
                worker: &claim.worker,
                secret,
                expires_at: now.plus(claim.lease),
            })
            .collect();
        if !taken.is_empty() {
            self.room.store.lease(tx, &taken, now).await?;
        }
        let due = hands.iter().flatten();
        let waits: Vec<_> = due.map(|job| now.since(job.run_at)).collect();
        tx.on_commit(move || metrics::claimed(&waits));
        let answers = hands.into_iter().zip(claims).zip(secrets);
        Ok(answers
            .map(|((jobs, claim), secret)| Claimed {
                grants: jobs
                    .into_iter()
                    .map(|job| grant(job, claim, &secret, now))
                    .collect(),
                back: Some(self.reports.clone()),
            })
            .collect())
    }
}

impl Claims {
    /// Takes up to `limit` jobs that `filter` takes out of the queue.
    async fn select(
        &self,
        tx: &mut Tx,
        filter: &Filter,
        limit: u32,
        now: Time,
        limits: &mut Limits,
    ) -> Result<Vec<Job>> {
        let Room { store, board, .. } = &self.room;
        let pick = board.pick(filter, now, limit);
        limits.count_running(store, tx, &pick.lanes).await?;
        let (open, full): (Vec<_>, Vec<_>) = pick
            .lanes
            .into_iter()
            .partition(|candidate| limits.has_room(&candidate.lane));
        let mut settled = Settled {
            full: full.into_iter().map(|candidate| candidate.lane).collect(),
            next: Vec::new(),
        };
        let mut jobs = Vec::new();
        if !open.is_empty() {
            let lanes: Vec<_> = open.iter().map(|candidate| &candidate.lane).collect();
            let due = store.due(tx, &lanes, pick.share, limit, now).await?;
            let read = Read::of(&due, open.len(), pick.share, limit);
            jobs = choose(due, &open, &read, limits);
            if !jobs.is_empty() {
                store.unqueue(tx, &jobs).await?;
            }
            let filled = lanes.into_iter().filter(|lane| !limits.has_room(lane));
            settled.full.extend(filled.cloned());
            settled.next = self.settle(tx, open, &read).await?;
        }
        let board = Arc::clone(board);
        tx.on_commit(move || settled.tell(&board));
        Ok(jobs)
    }

    /// When each lane that was read is due again.
    async fn settle(
        &self,
        tx: &mut Tx,
        lanes: Vec<Candidate>,
        read: &Read,
    ) -> Result<Vec<(Candidate, Option<Time>)>> {
        let empty: Vec<usize> = (0..lanes.len())
            .filter(|lane| read.is_exhausted(*lane))
            .collect();
        let mut next = HashMap::new();
        if !empty.is_empty() {
            let asked: Vec<_> = empty.iter().map(|lane| &lanes[*lane].lane).collect();
            next = self.room.store.next_due(tx, &asked).await?;
        }
        let next: HashMap<usize, Option<Time>> = empty
            .iter()
            .enumerate()
            .map(|(place, lane)| (*lane, next.get(&place).copied().flatten()))
            .collect();
        Ok(lanes
            .into_iter()
            .enumerate()
            .filter_map(|(lane, candidate)| match next.get(&lane) {
                Some(due) => Some((candidate, *due)),
                // Not exhausted: what is left is not due before the last one that was read.
                None => Some((candidate, Some(read.last[lane]?))),
            })
            .collect())
    }
}

/// What a look at several lanes has shown.
struct Read {
    rows: Vec<u32>,
    last: Vec<Option<Time>>,
    share: u32,
    /// The first lane that was not read to its end, because the answer was full.
    cut: usize,
}

impl Read {
    fn of(due: &[Claimable], lanes: usize, share: u32, limit: u32) -> Self {
        let mut read = Read {
            rows: vec![0; lanes],
            last: vec![None; lanes],
            share,
            cut: lanes,
        };
        for found in due {
            read.rows[found.lane] += 1;
            read.last[found.lane] = Some(found.job.run_at);
        }
        if due.len() >= limit as usize {
            read.cut = due.last().map_or(lanes, |found| found.lane);
        }
        read
    }

    /// Nothing that is due was left in the lane.
    fn is_exhausted(&self, lane: usize) -> bool {
        lane < self.cut && self.rows[lane] < self.share
    }
}

/// Of what is due, what may be taken: no lane is served before a more urgent one of its tenant
/// that had more than its share, and no queue beyond its limit.
fn choose(due: Vec<Claimable>, lanes: &[Candidate], read: &Read, limits: &mut Limits) -> Vec<Job> {
    let mut urgent: HashMap<&Arc<str>, i32> = HashMap::new();
    for (place, candidate) in lanes.iter().enumerate() {
        if !read.is_exhausted(place) && read.rows[place] > 0 {
            let lane = &candidate.lane;
            let least = urgent.entry(&lane.tenant).or_insert(lane.priority);
            *least = lane.priority.min(*least);
        }
    }
    due.into_iter()
        .filter(|found| {
            let lane = &lanes[found.lane].lane;
            urgent
                .get(&lane.tenant)
                .is_none_or(|least| lane.priority <= *least)
                && limits.take(lane)
        })
        .map(|found| found.job)
        .collect()
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

/// A job as its worker gets it.
fn grant(job: Job, claim: &Claim, secret: &Arc<str>, now: Time) -> Grant {
    Grant {
        job: Job {
            status: Status::Running,
            attempts: job.attempts + 1,
            locked_at: Some(now),
            locked_by: Some(claim.worker.to_string()),
            started_at: Some(now),
            updated_at: now,
            ..job
        },
        secret: Arc::clone(secret),
        expires_at: now.plus(claim.lease),
    }
}

/// How many more jobs of limited queues may run.
struct Limits {
    limits: HashMap<Arc<str>, u32>,
    room: HashMap<(Arc<str>, Arc<str>), u64>,
}

impl Limits {
    fn new(settings: &JobSettings) -> Self {
        let limits = settings.queue_limits.iter();
        Limits {
            limits: limits
                .map(|(queue, limit)| (queue.as_str().into(), *limit))
                .collect(),
            room: HashMap::new(),
        }
    }

    async fn count_running(
        &mut self,
        store: &Store,
        tx: &mut Tx,
        lanes: &[Candidate],
    ) -> Result<()> {
        let asked: BTreeSet<_> = lanes
            .iter()
            .map(|candidate| {
                (
                    Arc::clone(&candidate.lane.tenant),
                    Arc::clone(&candidate.lane.queue),
                )
            })
            .filter(|pair| self.limits.contains_key(&pair.1) && !self.room.contains_key(pair))
            .collect();
        if asked.is_empty() {
            return Ok(());
        }
        let asked: Vec<_> = asked.into_iter().collect();
        let running = store.running(tx, &asked).await?;
        for (pair, running) in asked.into_iter().zip(running) {
            let limit = self.limits.get(&pair.1).copied().unwrap_or(u32::MAX);
            self.room
                .insert(pair, u64::from(limit).saturating_sub(running));
        }
        Ok(())
    }

    fn has_room(&self, lane: &LaneKey) -> bool {
        self.limits.is_empty() || self.left(lane).is_none_or(|left| *left > 0)
    }

    fn take(&mut self, lane: &LaneKey) -> bool {
        if self.limits.is_empty() {
            return true;
        }
        match self
            .room
            .get_mut(&(Arc::clone(&lane.tenant), Arc::clone(&lane.queue)))
        {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }

    fn left(&self, lane: &LaneKey) -> Option<&u64> {
        self.room
            .get(&(Arc::clone(&lane.tenant), Arc::clone(&lane.queue)))
    }
}

/// What a claim learned about the lanes, for the board.
struct Settled {
    full: HashSet<LaneKey>,
    next: Vec<(Candidate, Option<Time>)>,
}

impl Settled {
    fn tell(&self, board: &Board) {
        for lane in &self.full {
            board.fill(&lane.tenant, &lane.queue);
        }
        for (candidate, next) in &self.next {
            board.settle(candidate, *next);
        }
    }
}
