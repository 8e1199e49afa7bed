//! What workers say of the jobs that they hold.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use serde_json::value::RawValue;
use tidewire_core::clock;
use tidewire_db::{Batch, Result, Tx};

use super::{Room, write};
use crate::{
    follow::Note,
    lease::Proof,
    model::Job,
    state::{Change, Claim, Failed, Later, LeaseEnded, Lost, State},
    store::Held,
};

/// What a worker says of a job that it holds.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub tenant: Arc<str>,
    pub id: Arc<str>,
    pub proof: Proof,
    pub says: Says,
    /// Whether the answer should carry the job as it is afterwards.
    pub wants_job: bool,
    /// The job as a worker of this process claimed it. While the claim holds it is so still, and need
    /// not be read again.
    pub claimed: Option<Arc<State>>,
}

#[derive(Clone, Debug)]
pub(crate) enum Says {
    Complete {
        output: Option<Box<RawValue>>,
        note: Option<Note>,
    },
    Fail {
        error: String,
        retry_in: Option<Duration>,
        permanent: bool,
        note: Option<Note>,
    },
    /// Gives it back: the attempt does not count.
    Release(Option<Later>),
    Extend {
        lease: Duration,
        /// How far it is, for those who ask.
        progress: Option<Box<RawValue>>,
    },
}

impl Says {
    fn note(&self) -> Option<&Note> {
        match self {
            Says::Complete { note, .. } | Says::Fail { note, .. } => note.as_ref(),
            Says::Release(_) | Says::Extend { .. } => None,
        }
    }

    /// Said of a claim that is over: it ended as it did, and nobody can go on.
    fn repeated(&self, state: &State) -> Result<Option<Change>, Lost> {
        match self {
            Says::Complete { .. } | Says::Fail { .. } | Says::Release(_) => Ok(None),
            Says::Extend { .. } => Err(state.over()),
        }
    }
}

#[derive(Debug)]
pub(crate) enum Refused {
    Unknown,
    Lost(Lost),
}

/// The job, if it was wanted.
pub(crate) type Reported = Result<Option<Box<Job>>, Refused>;

/// Whether the claim says all that a report needs to know of its job. How many attempts a job had at
/// first is not in it, which a failure asks for.
fn may_be_known(report: &Report) -> bool {
    report.claimed.is_some() && !matches!(report.says, Says::Fail { .. })
}

pub(crate) struct Reports(pub Room);

impl Batch for Reports {
    /// What one worker has to say at once; each report stands for itself.
    type In = Vec<Report>;
    type Out = Vec<Reported>;

    const NAME: &'static str = "job_reports";
    const RANK: u8 = 20;
    const ROUND: usize = 1000;
    const WRITER: &'static str = "job_reports";

    fn weight(&self, reports: &Vec<Report>) -> usize {
        let weight = |report: &Report| match &report.says {
            Says::Complete {
                output: Some(output),
                ..
            } => 1 + output.get().len() / 8192,
            _ => 1,
        };
        reports.iter().map(weight).sum()
    }

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Tx,
        groups: &'a [Vec<Report>],
    ) -> Result<Vec<Vec<Reported>>> {
        let reports: Vec<_> = groups.iter().flatten().collect();
        let mut answers = self.answer(tx, &reports).await?.into_iter();
        let of_group = |group: &Vec<Report>| answers.by_ref().take(group.len()).collect();
        Ok(groups.iter().map(of_group).collect())
    }
}

impl Reports {
    async fn answer(&self, tx: &mut Tx, reports: &[&Report]) -> Result<Vec<Reported>> {
        let room = &self.0;
        let now = room.clock.now();
        let (found, lease_ended) = self.states(tx, reports).await?;
        let backoff = room.settings.borrow().backoff;
        let mut changes = Changes::default();
        let mut answers = Vec::with_capacity(reports.len());
        for (report, found) in reports.iter().zip(found) {
            answers.push(match found {
                None => Err(Refused::Unknown),
                Some(state) => changes.step(&state, |state| {
                    let mut change = match &report.says {
                        says if state.check(&report.proof)? == Claim::Over => {
                            return says.repeated(state);
                        }
                        Says::Complete { output, .. } => state.complete(output.clone(), now),
                        Says::Fail {
                            error,
                            retry_in,
                            permanent,
                            ..
                        } => {
                            let failed = Failed {
                                error,
                                retry_in: *retry_in,
                                permanent: *permanent,
                                backoff,
                                jitter: clock::random_fraction(),
                            };
                            state.fail(&failed, now)
                        }
                        Says::Release(later) => state.release(later.as_ref(), now),
                        Says::Extend { lease, .. } => return state.extend(*lease, now).map(Some),
                    };
                    change.lease_ended.0 = lease_ended.0 && may_be_known(report);
                    change.note = report.says.note().cloned();
                    Ok(Some(change))
                }),
            });
        }
        let changes = changes.into_vec();
        write(room, tx, changes, now).await?;
        let said = said(reports, &answers);
        room.store.keep_progress(tx, &said, now).await?;
        self.jobs(tx, reports, answers).await
    }

    /// The jobs as they are now. Those that workers of this process hold, the many, are only asked
    /// whether they are held still.
    async fn states(
        &self,
        tx: &mut Tx,
        reports: &[&Report],
    ) -> Result<(Vec<Option<Arc<State>>>, LeaseEnded)> {
        let store = &self.0.store;
        let known = |report: &&Report| report.claimed.clone().filter(|_| may_be_known(report));
        let mut states: Vec<_> = reports.iter().map(known).collect();
        let mut ending = Vec::new();
        let mut staying = Vec::new();
        for (report, known) in reports.iter().zip(&states) {
            let Some(state) = known else { continue };
            let Some(secret) = state.secret.as_deref() else {
                continue;
            };
            let held = Held {
                tenant: &report.tenant,
                queue: &state.lane.queue,
                id: &report.id,
                secret,
            };
            match report.says {
                Says::Extend { .. } => staying.push(held),
                _ => ending.push(held),
            }
        }
        let (all_held, mut lease_ended) = store.end_leases(tx, ending).await?;
        if !(store.are_held(tx, staying).await? && all_held) {
            // Some were lost: look at all.
            states.iter_mut().for_each(|known| *known = None);
            lease_ended = LeaseEnded::default();
        }
        let unknown: Vec<_> = (0..reports.len())
            .filter(|place| states[*place].is_none())
            .collect();
        if !unknown.is_empty() {
            let key = |place: &usize| (&*reports[*place].tenant, &*reports[*place].id);
            let keys: Vec<_> = unknown.iter().map(key).collect();
            let found = store.states(tx, &keys).await?;
            for (place, state) in unknown.into_iter().zip(found) {
                states[place] = state.map(Arc::new);
            }
        }
        Ok((states, lease_ended))
    }

    /// Adds the jobs to the answers that want them.
    async fn jobs(
        &self,
        tx: &mut Tx,
        reports: &[&Report],
        answers: Vec<Result<(), Refused>>,
    ) -> Result<Vec<Reported>> {
        let wanted: Vec<_> = reports
            .iter()
            .zip(&answers)
            .filter(|(report, answer)| report.wants_job && answer.is_ok())
            .map(|(report, _)| (&*report.tenant, &*report.id))
            .collect();
        let mut jobs = Vec::new();
        if !wanted.is_empty() {
            jobs = self.0.store.jobs(tx, &wanted).await?;
        }
        let mut jobs = jobs.into_iter();
        let mut out = Vec::with_capacity(reports.len());
        for (report, answer) in reports.iter().zip(answers) {
            out.push(match answer {
                Ok(()) if report.wants_job => Ok(jobs.next().flatten().map(Box::new)),
                Ok(()) => Ok(None),
                Err(refused) => Err(refused),
            });
        }
        Ok(out)
    }
}

/// How far jobs are, as they said last in reports that were taken.
fn said<'r>(
    reports: &[&'r Report],
    answers: &[Result<(), Refused>],
) -> Vec<(&'r str, &'r str, &'r RawValue)> {
    let mut said: BTreeMap<(&str, &str), &RawValue> = BTreeMap::new();
    for (report, answer) in reports.iter().zip(answers) {
        if let Says::Extend {
            progress: Some(progress),
            ..
        } = &report.says
            && answer.is_ok()
        {
            said.insert((&report.tenant, &report.id), progress);
        }
    }
    let said = said.into_iter();
    said.map(|((tenant, id), progress)| (tenant, id, progress))
        .collect()
}

/// Steps of one batch, at most one for each job: a later step of a job starts where the earlier
/// one ended. What changes nothing is none.
#[derive(Default)]
struct Changes {
    all: Vec<Change>,
    places: HashMap<(Arc<str>, Arc<str>), usize>,
}

impl Changes {
    fn step(
        &mut self,
        state: &State,
        rule: impl FnOnce(&State) -> Result<Option<Change>, Lost>,
    ) -> Result<(), Refused> {
        let key = (Arc::clone(&state.lane.tenant), Arc::clone(&state.id));
        match self.places.get(&key) {
            Some(place) => {
                let first = &self.all[*place];
                if let Some(second) = rule(&first.now).map_err(Refused::Lost)? {
                    self.all[*place] = second.after(first.clone());
                }
            }
            None => {
                if let Some(change) = rule(state).map_err(Refused::Lost)? {
                    self.all.push(change);
                    self.places.insert(key, self.all.len() - 1);
                }
            }
        }
        Ok(())
    }

    fn into_vec(self) -> Vec<Change> {
        self.all
    }
}
