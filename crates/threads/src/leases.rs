//! Leases: an instance of an agent has a thread to itself for as long as it lives.
//!
//! An instance is a worker whose name is given to it once. Its lease says which thread is its own and
//! until when; its key, which is made with the lease and ends with it, opens that thread and nothing
//! else. While the lease goes on, turns of its agent that come to the thread are kept for it. Whoever
//! starts instances renews their leases, and ends those of instances that have gone; should nobody, the
//! lease runs out, and its thread and its turn are everybody's again.
//!
//! A lease's thread is decided under the thread's lock, which turns are accepted under too. So a
//! lease that is released because nothing is to be done, and a turn that comes at that moment, take an
//! order: either the turn is there and the lease is busy, or the lease is gone and the turn is kept for
//! nobody.

mod model;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tidewire_access::{InstanceKey, KeyRenewal, Service as Access};
use tidewire_core::{Bound, Time};
use tidewire_db::{Result as DbResult, Tx};
use tidewire_jobs::KeptFor;

pub use self::model::{Lease, LeaseAnswer, LeaseEndStatus, LeaseEnded, LeaseStatus};
use crate::{Error, Threads, Turn, model::ThreadKey, service::Core, store::LeaseRow};

/// For how long an expired lease can be taken up again, before it is forgotten by whoever next asks for
/// leases.
const REMEMBERED: Duration = Duration::from_hours(1);
/// Leases that one request forgets at most.
const FORGOTTEN_AT_ONCE: u32 = 100;

/// A lease that an instance is to have, or to go on having. It has been checked.
#[derive(Clone, Debug)]
pub struct NewLease {
    pub tenant: Arc<str>,
    pub worker: Arc<str>,
    pub agent: Option<String>,
    pub thread: Option<Arc<str>>,
    pub lease: Duration,
}

/// A lease that is to end.
#[derive(Clone, Debug)]
pub struct LeaseEnd {
    pub tenant: Arc<str>,
    pub worker: Arc<str>,
    /// The instance is gone, whatever it was doing.
    pub lost: bool,
}

/// Behind every key's id.
const LAST_ID: &str = "~";

/// A tenant and a worker.
type Instance = (Arc<str>, Arc<str>);

/// What leases are decided by. Nobody else changes it before the commit.
struct Ground {
    /// Of the workers that were named.
    leases: HashMap<Instance, LeaseRow>,
    /// Of the threads that are theirs or were asked for.
    holders: HashMap<ThreadKey, LeaseRow>,
    /// The first open turn of each of these threads.
    open: HashMap<ThreadKey, Turn>,
}

impl Threads {
    /// Makes leases, or goes on with them; each is held or refused by itself.
    pub async fn hold(
        &self,
        access: &Access,
        asked: Vec<NewLease>,
    ) -> Result<Vec<LeaseAnswer>, Error> {
        let named: HashSet<_> = asked.iter().map(|one| Arc::clone(&one.tenant)).collect();
        let mut tenants = HashSet::new();
        for tenant in named {
            tenants.extend(access.find_tenant(&tenant).await?);
        }
        let (core, by) = (Arc::clone(self.core()), access.clone());
        let (asked, tenants) = (Arc::new(asked), Arc::new(tenants));
        let held = self
            .db()
            .transact("leases.hold", move |tx| {
                let (core, access) = (Arc::clone(&core), by.clone());
                let (asked, tenants) = (Arc::clone(&asked), Arc::clone(&tenants));
                Box::pin(async move { core.hold_in(&access, tx, &asked, &tenants).await })
            })
            .await?;
        // Those who asked have their leases.
        if let Err(error) = self.forget(access).await {
            tracing::warn!(%error, "leases that ended long ago were not forgotten, it will be tried again");
        }
        Ok(held)
    }

    /// Forgets some of the leases that ended long ago. What they kept is everybody's since.
    async fn forget(&self, access: &Access) -> Result<(), Error> {
        let core = Arc::clone(self.core());
        let before = core.clock.now().minus(REMEMBERED);
        // Asked of the readers: the writer is left alone if there are none.
        let mut read = self.read_store();
        let old = core
            .store
            .outlived_leases(&mut read, before, FORGOTTEN_AT_ONCE);
        let old = Arc::new(old.await?);
        if old.is_empty() {
            return Ok(());
        }
        let access = access.clone();
        self.db()
            .transact("leases.forget", move |tx| {
                let (core, access) = (Arc::clone(&core), access.clone());
                let old = Arc::clone(&old);
                Box::pin(async move {
                    let workers = old.iter().map(|lease| (&*lease.tenant, &*lease.worker));
                    let workers: Vec<_> = workers.collect();
                    let mut gone = core.store.lock_leases(tx, &workers).await?;
                    gone.retain(|lease| lease.expires_at < before);
                    Ok::<_, Error>(core.end_leases(&access, tx, &gone).await?)
                })
            })
            .await
    }

    /// Ends leases, each by itself.
    pub async fn release(
        &self,
        access: &Access,
        asked: Vec<LeaseEnd>,
    ) -> Result<Vec<LeaseEnded>, Error> {
        let (core, access) = (Arc::clone(self.core()), access.clone());
        let asked = Arc::new(asked);
        self.db()
            .transact("leases.release", move |tx| {
                let (core, access) = (Arc::clone(&core), access.clone());
                let asked = Arc::clone(&asked);
                Box::pin(async move { core.release_in(&access, tx, &asked).await })
            })
            .await
    }

    /// All tenants' leases, newest first, and the key behind which the next page begins.
    pub async fn leases(
        &self,
        before: Option<&str>,
        limit: u32,
    ) -> Result<(Vec<Lease>, Option<String>), Error> {
        let before = before.unwrap_or(LAST_ID);
        // One more than asked for tells whether there is a next page.
        let found = self
            .core()
            .store
            .list_leases(&mut self.read_store(), before, limit + 1)
            .await?;
        Ok(crate::service::paged(found, limit))
    }
}

/// What becomes of the leases of one request.
#[derive(Default)]
struct Outcome {
    made: Vec<LeaseRow>,
    renewed: Vec<LeaseRow>,
    gone: Vec<LeaseRow>,
}

impl Core {
    /// Locks what is needed to decide about these workers and threads: the jobs of open turns first, then
    /// the threads, which are made if they are not there, then the leases.
    async fn ground(
        &self,
        tx: &mut Tx,
        workers: &[(&str, &str)],
        wanted: impl Iterator<Item = ThreadKey>,
    ) -> Result<Ground, Error> {
        let seen = self.store.leases(tx, workers).await?;
        let own = seen.iter().filter_map(LeaseRow::thread);
        let mut keys: Vec<_> = own.chain(wanted).collect();
        keys.sort_unstable();
        keys.dedup();
        let threads: Vec<_> = keys.iter().collect();
        let open = self.first_turns(tx, &threads).await?;
        let jobs = open
            .iter()
            .filter_map(|(key, turn)| Some((&*key.tenant, turn.job_id.as_deref()?)));
        let jobs: HashSet<_> = jobs.collect();
        let locked: Vec<_> = jobs.iter().copied().collect();
        self.jobs.lock_in(tx, &locked).await?;
        self.lock_threads(tx, &threads).await?;
        let leases = self.store.lock_leases(tx, workers).await?;
        let now_open = self.first_turns(tx, &threads).await?;
        let mut now_jobs = now_open
            .iter()
            .filter_map(|(key, turn)| Some((&*key.tenant, turn.job_id.as_deref()?)));
        let mut now_own = leases.iter().filter_map(LeaseRow::thread);
        // What was looked at before it was locked went on meanwhile.
        if !now_jobs.all(|job| jobs.contains(&job)) || !now_own.all(|key| keys.contains(&key)) {
            return Err(tx.yield_to_others("a thread went on meanwhile").into());
        }
        let holders = self.store.leases_of(tx, &threads).await?;
        Ok(Ground {
            leases: leases
                .into_iter()
                .map(|lease| ((lease.tenant.clone(), lease.worker.clone()), lease))
                .collect(),
            holders: holders
                .into_iter()
                .filter_map(|lease| Some((lease.thread()?, lease)))
                .collect(),
            open: now_open,
        })
    }

    /// The first open turn of each of these threads that has any.
    async fn first_turns(
        &self,
        tx: &mut Tx,
        threads: &[&ThreadKey],
    ) -> DbResult<HashMap<ThreadKey, Turn>> {
        if threads.is_empty() {
            return Ok(HashMap::new());
        }
        let open = self.store.open(tx, threads).await?;
        let firsts: Vec<_> = open
            .iter()
            .filter_map(|(key, open)| Some((key, open.first()?.turn_id.as_str())))
            .collect();
        Ok(self.store.turns(tx, &firsts).await?.into_iter().collect())
    }

    async fn hold_in(
        self: &Arc<Self>,
        access: &Access,
        tx: &mut Tx,
        asked: &[NewLease],
        tenants: &HashSet<Arc<str>>,
    ) -> Result<Vec<LeaseAnswer>, Error> {
        let known = || asked.iter().filter(|one| tenants.contains(&one.tenant));
        let workers: Vec<_> = known().map(|one| (&*one.tenant, &*one.worker)).collect();
        let wanted = known().filter_map(NewLease::thread);
        let mut ground = self.ground(tx, &workers, wanted).await?;
        let keys: Vec<_> = ground
            .leases
            .values()
            .map(|lease| (&*lease.tenant, lease.key_id.as_str()))
            .collect();
        let present: HashSet<_> = access.present_in(tx, &keys).await?.into_iter().collect();
        let now = self.clock.now();
        let mut outcome = Outcome::default();
        let mut answers = Vec::with_capacity(asked.len());
        for one in asked {
            let decided = match tenants.contains(&one.tenant) {
                true => decide(one, &mut ground, &present, &mut outcome.gone, now),
                false => Err(format!("there is no tenant `{}`", one.tenant)),
            };
            answers.push(match decided {
                Ok((lease, is_new)) => {
                    let answer = LeaseAnswer::held(&lease);
                    match is_new {
                        true => outcome.made.push(lease),
                        false => outcome.renewed.push(lease),
                    }
                    answer
                }
                Err(why) => LeaseAnswer::refused(one, why),
            });
        }
        // Keys that are made get their ids, and nobody is told of a key before it is durable.
        let secrets = self.write_leases(access, tx, &mut outcome).await?;
        for answer in &mut answers {
            let name = (answer.tenant_id.as_str(), answer.worker.as_str());
            if answer.status == LeaseStatus::Held {
                answer.api_key = secrets
                    .iter()
                    .find(|((tenant, worker), _)| (&**tenant, &**worker) == name)
                    .map(|(_, secret)| secret.clone());
            }
        }
        let lost: Vec<_> = outcome
            .gone
            .iter()
            .filter_map(|gone| kept_for(gone, &ground.open))
            .collect();
        self.jobs.lose_in(tx, &lost).await?;
        let held = outcome.made.iter().chain(&outcome.renewed);
        let kept = held.filter_map(|lease| {
            let turn = ground.open.get(&lease.thread()?)?;
            (turn.agent == lease.agent)
                .then(|| Some((kept_for(lease, &ground.open)?, lease.expires_at)))?
        });
        let kept: Vec<_> = kept.collect();
        self.jobs.reserve_in(tx, &kept).await?;
        Ok(answers)
    }

    /// Writes leases and their keys; the keys that were made, each with its instance.
    async fn write_leases(
        &self,
        access: &Access,
        tx: &mut Tx,
        outcome: &mut Outcome,
    ) -> DbResult<Vec<(Instance, String)>> {
        self.end_leases(access, tx, &outcome.gone).await?;
        let mut secrets = Vec::with_capacity(outcome.made.len());
        for lease in &mut outcome.made {
            let key = InstanceKey {
                tenant: &lease.tenant,
                bound: Bound {
                    worker: Arc::clone(&lease.worker),
                    thread: lease.thread.clone(),
                },
                expires_at: lease.expires_at,
            };
            let (id, secret) = access.mint_instance_in(tx, &key).await?;
            lease.key_id = id;
            secrets.push(((lease.tenant.clone(), lease.worker.clone()), secret));
        }
        let made: Vec<_> = outcome.made.iter().collect();
        self.store.insert_leases(tx, &made).await?;
        let mut renewed: Vec<_> = outcome.renewed.iter().collect();
        renewed.sort_by_key(|lease| (&lease.tenant, &lease.key_id));
        self.store.renew_leases(tx, &renewed).await?;
        let keys: Vec<_> = renewed
            .iter()
            .map(|lease| KeyRenewal {
                tenant: &lease.tenant,
                id: &lease.key_id,
                thread: lease.thread.as_deref(),
                expires_at: lease.expires_at,
            })
            .collect();
        access.renew_instances_in(tx, &keys).await?;
        Ok(secrets)
    }

    async fn end_leases(&self, access: &Access, tx: &mut Tx, gone: &[LeaseRow]) -> DbResult<()> {
        self.store.delete_leases(tx, gone).await?;
        for lease in gone {
            access.revoke_in(tx, &lease.tenant, &lease.key_id).await?;
        }
        Ok(())
    }

    async fn release_in(
        self: &Arc<Self>,
        access: &Access,
        tx: &mut Tx,
        asked: &[LeaseEnd],
    ) -> Result<Vec<LeaseEnded>, Error> {
        let workers: Vec<_> = asked
            .iter()
            .map(|one| (&*one.tenant, &*one.worker))
            .collect();
        let mut ground = self.ground(tx, &workers, std::iter::empty()).await?;
        let (mut gone, mut lost) = (Vec::new(), Vec::new());
        let mut answers = Vec::with_capacity(asked.len());
        for one in asked {
            let name = (one.tenant.clone(), one.worker.clone());
            let status = match ground.leases.get(&name) {
                None => LeaseEndStatus::Unknown,
                Some(lease) if !one.lost && ground.is_busy(lease) => LeaseEndStatus::Busy,
                Some(_) => LeaseEndStatus::Released,
            };
            if status == LeaseEndStatus::Released
                && let Some(lease) = ground.leases.remove(&name)
            {
                lost.extend(kept_for(&lease, &ground.open).filter(|_| one.lost));
                gone.push(lease);
            }
            answers.push(LeaseEnded {
                tenant_id: one.tenant.to_string(),
                worker: one.worker.to_string(),
                status,
            });
        }
        self.end_leases(access, tx, &gone).await?;
        self.jobs.lose_in(tx, &lost).await?;
        Ok(answers)
    }
}

/// What becomes of one lease that is asked for: the lease as it is to be, and whether it is a new one; or
/// why it is refused. Leases that give way to it are put with those that are gone.
fn decide(
    one: &NewLease,
    ground: &mut Ground,
    present: &HashSet<String>,
    gone: &mut Vec<LeaseRow>,
    now: Time,
) -> Result<(LeaseRow, bool), String> {
    let name = (one.tenant.clone(), one.worker.clone());
    let lease = ground.leases.get(&name);
    if let Some(lease) = lease {
        if gone.contains(lease) {
            return Err("its thread was taken over by another instance".to_owned());
        }
        if !present.contains(&lease.key_id) {
            return Err("its key was revoked: release it".to_owned());
        }
    }
    let has = lease.and_then(|lease| lease.thread.clone());
    if let (Some(has), Some(wants)) = (&has, &one.thread)
        && has != wants
    {
        return Err(format!("the instance has the thread `{has}`"));
    }
    let thread = has.clone().or_else(|| one.thread.clone());
    let mut held = match lease {
        Some(lease) => lease.clone(),
        None => LeaseRow {
            tenant: one.tenant.clone(),
            worker: one.worker.clone(),
            agent: one.agent.clone(),
            thread: None,
            key_id: String::new(),
            expires_at: now,
            created_at: now,
        },
    };
    let is_new = lease.is_none();
    held.expires_at = now.plus(one.lease);
    held.thread = thread;
    if has.is_none()
        && let Some(key) = held.thread()
    {
        if let Some(holder) = ground.holders.get(&key) {
            if holder.expires_at > now {
                let (thread, worker) = (&key.thread, &holder.worker);
                return Err(format!("the thread `{thread}` is leased by `{worker}`"));
            }
            gone.push(holder.clone());
        }
        ground.holders.insert(key, held.clone());
    }
    Ok((held, is_new))
}

/// The job of the thread's first open turn, as far as it is the lease's.
fn kept_for(lease: &LeaseRow, open: &HashMap<ThreadKey, Turn>) -> Option<KeptFor> {
    let turn = open.get(&lease.thread()?)?;
    Some(KeptFor {
        tenant: Arc::clone(&lease.tenant),
        id: turn.job_id.clone()?,
        worker: Arc::clone(&lease.worker),
    })
}

impl Ground {
    /// Whether the thread's open turn is for this instance, or run by it. A turn without a job is said by
    /// somebody who asked nobody, and who but the instance knows.
    fn is_busy(&self, lease: &LeaseRow) -> bool {
        let turn = lease.thread().and_then(|key| self.open.get(&key));
        turn.is_some_and(|turn| {
            turn.agent == lease.agent
                || turn.job_id.is_none()
                || turn.worker.as_deref() == Some(&*lease.worker)
        })
    }
}

impl NewLease {
    fn thread(&self) -> Option<ThreadKey> {
        let thread = self.thread.as_ref()?;
        Some(ThreadKey::new(&self.tenant, Arc::clone(thread)))
    }
}
