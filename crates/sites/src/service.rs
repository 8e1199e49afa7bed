//! The rules of sites, and what others call.

mod events;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::value::to_raw_value;
use tidewire_core::{Clock, Problem, Time, ids};
use tidewire_db::Db;
use tidewire_events::Events;
use tidewire_jobs::{Job, Jobs, NewJob, Status};
use tidewire_outbound::{Client, Target};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use url::Url;

pub use self::events::{NewSiteEvent, RandomEvents, Recorded};
use crate::{
    AccessKey, Error, NAMESPACE, QUEUE, SYNC, SealKeys, SiteSettings,
    model::{
        Attribution, NewSite, Report, ResourceStatus, Site, SiteDetail, SiteState, SyncOutput,
        SyncPayload,
    },
    source::{Source, Sources},
    store::{ResourceRow, SiteRow, Store},
    sync::{Asker, Hosts, Progress, SourceFault, fault::Why},
};

/// Behind every id.
const LAST: &str = "~";
/// How often a sync in the background is begun anew before it has failed, and one that somebody
/// waits for.
const ATTEMPTS: u32 = 20;
const ATTEMPTS_WAITED_FOR: u32 = 3;
/// How often the profile is asked for.
const PROFILE_TRIES: u32 = 3;
/// Somebody waits for it.
const PROFILE_WITHIN: Duration = Duration::from_secs(15);
const LOOK_FIRST: Duration = Duration::from_millis(5);
const LOOK_LAST: Duration = Duration::from_millis(250);

/// The rooms that sites stand on.
#[derive(Clone)]
pub struct Rooms {
    pub db: Db,
    pub clock: Clock,
    pub events: Events,
    pub jobs: Jobs,
    /// For addresses that somebody configured.
    pub outbound: Client,
}

/// Sites. Cheap to clone.
#[derive(Clone)]
pub struct Sites {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub db: Db,
    pub clock: Clock,
    pub events: Events,
    pub jobs: Jobs,
    pub client: Client,
    pub store: Arc<Store>,
    pub sources: Sources,
    pub keys: SealKeys,
    pub settings: SiteSettings,
    pub hosts: Hosts,
    /// A sync has ended in this process.
    pub ended: Notify,
    /// Ends what waits when the server stops.
    pub shutdown: CancellationToken,
}

/// What came of asking for a sync.
#[derive(Clone, Debug)]
pub enum Synced {
    Done(Box<Report>),
    /// It takes longer than somebody waits.
    Goes(Box<Job>),
}

/// The stream of the log that a site is.
pub(crate) fn stream_of(site: &str) -> String {
    format!("{NAMESPACE}{site}")
}

impl Sites {
    #[must_use]
    pub fn new(
        rooms: Rooms,
        settings: SiteSettings,
        sources: Sources,
        keys: SealKeys,
        shutdown: CancellationToken,
    ) -> Self {
        let inner = Inner {
            store: Store::new(rooms.db.dialect()),
            db: rooms.db,
            clock: rooms.clock,
            events: rooms.events,
            jobs: rooms.jobs,
            client: rooms.outbound,
            sources,
            keys,
            settings,
            hosts: Hosts::new(settings.per_host),
            ended: Notify::new(),
            shutdown,
        };
        Sites {
            inner: Arc::new(inner),
        }
    }

    // --- sites ---

    /// Registers a site after its source has accepted the key, or replaces what is known of it; and
    /// whether it is new.
    pub async fn register(&self, tenant: &Arc<str>, new: NewSite) -> Result<(Site, bool), Error> {
        new.check()?;
        let inner = &self.inner;
        let source = inner.source(&new.kind)?;
        let base_url = new.base_url.or_else(|| source.base_url.clone());
        let base_url = base_url.ok_or_else(|| {
            let why = format!(
                "is missing, and sites of the kind `{}` have no common one",
                new.kind
            );
            Problem::invalid("/base_url", why)
        })?;
        let wrong = |why: String| Problem::invalid("/base_url", why);
        let target = Target::parse(&base_url).map_err(|error| wrong(error.to_string()))?;
        let policy = inner.client.policy();
        policy
            .check_target(&target)
            .map_err(|error| wrong(error.to_string()))?;
        let base = Url::parse(&base_url).map_err(|error| wrong(error.to_string()))?;
        if base.query().is_some() || base.fragment().is_some() {
            return Err(wrong("must have no query and no fragment".to_owned()).into());
        }
        let key = AccessKey::new(new.access_key);
        let mut asker = inner.asker(&source, &new.site_id, base, &key);
        asker.settings.tries = PROFILE_TRIES;
        let checked = tokio::time::timeout(PROFILE_WITHIN, asker.check_key()).await;
        let late = || Error::Source("the profile: there was no answer in time".to_owned());
        checked.map_err(|_| late())?.map_err(refused)?;
        let sealed_key = inner.keys.seal(tenant, &new.site_id, key.text())?;
        let now = inner.clock.now();
        let row = SiteRow {
            site: Site {
                id: new.site_id,
                base_url,
                name: new.name,
                kind: new.kind,
                state: SiteState::Active,
                state_reason: None,
                created_at: now,
                updated_at: now,
            },
            id: ids::new_id(&inner.clock),
            sealed_key,
        };
        inner.keep(tenant, row).await
    }

    /// Sites that were registered before one (its key in the list), newest first, and the key of the
    /// last one if there are more.
    pub async fn list(
        &self,
        tenant: &str,
        before: Option<&str>,
        limit: u32,
    ) -> Result<(Vec<Site>, Option<String>), Error> {
        let before = before.unwrap_or(LAST);
        let mut read = self.inner.db.read();
        let store = &self.inner.store;
        let mut rows = store.sites(&mut read, tenant, before, limit + 1).await?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next = rows.last().filter(|_| more).map(|row| row.id.clone());
        Ok((rows.into_iter().map(|row| row.site).collect(), next))
    }

    pub async fn get(&self, tenant: &str, site: &str) -> Result<SiteDetail, Error> {
        let inner = &self.inner;
        let row = inner.site(tenant, site).await?;
        let mut read = inner.db.read();
        let known = inner.store.resources(&mut read, tenant, site).await?;
        // A kind that is not there any more still has what was synced by it.
        let resources = match inner.sources.get(&row.site.kind) {
            Some(source) => {
                let of = |name: &str| known.iter().find(|row| row.resource == name).cloned();
                let all = source.resources.iter();
                all.map(|resource| {
                    let format = resource.incremental.as_ref().map(|how| how.format);
                    let row = of(&resource.name).unwrap_or_else(|| ResourceRow {
                        resource: resource.name.clone(),
                        ..ResourceRow::default()
                    });
                    status(row, |mark| {
                        format.map_or(mark.to_string(), |f| f.write(mark))
                    })
                })
                .collect()
            }
            None => {
                let all = known.into_iter();
                all.map(|row| status(row, |mark| mark.to_string()))
                    .collect()
            }
        };
        Ok(SiteDetail {
            site: row.site,
            resources,
        })
    }

    /// Forgets a site: its key is erased, its syncs stop, and its events stay.
    pub async fn remove(&self, tenant: &Arc<str>, site: &str) -> Result<(), Error> {
        let (inner, tenant) = (Arc::clone(&self.inner), Arc::clone(tenant));
        let (site, db) = (site.to_owned(), self.inner.db.clone());
        db.transact("sites.remove", move |tx| {
            let (inner, tenant, site) = (Arc::clone(&inner), Arc::clone(&tenant), site.clone());
            Box::pin(async move {
                let found = inner.store.lock_site(tx, &tenant, &site).await?;
                if found.is_none() {
                    return Err(Error::NoSuchSite(site));
                }
                Ok(inner.store.delete_site(tx, &tenant, &site).await?)
            })
        })
        .await
    }

    // --- syncs ---

    /// Queues a sync of a list.
    pub async fn enqueue(
        &self,
        tenant: &Arc<str>,
        site: &str,
        resource: &str,
    ) -> Result<Job, Error> {
        self.enqueue_with(tenant, site, resource, ATTEMPTS).await
    }

    async fn enqueue_with(
        &self,
        tenant: &Arc<str>,
        site: &str,
        resource: &str,
        attempts: u32,
    ) -> Result<Job, Error> {
        let inner = &self.inner;
        let row = inner.site(tenant, site).await?;
        stopped(&row.site)?;
        let source = inner.source(&row.site.kind)?;
        if source.resource(resource).is_none() {
            return Err(Error::NoSuchResource {
                site: site.to_owned(),
                resource: resource.to_owned(),
                known: source.names().join(", "),
            });
        }
        let payload = SyncPayload {
            site_id: site.to_owned(),
            resources: Some(vec![resource.to_owned()]),
        };
        let payload = to_raw_value(&payload).map_err(|error| {
            tidewire_db::Error::Broken(format!("a payload cannot be written: {error}"))
        })?;
        let job = NewJob::new(SYNC)
            .queue(QUEUE)
            .payload(payload)
            .max_attempts(attempts);
        Ok(inner.jobs.enqueue(tenant, job).await?.job)
    }

    /// Queues a sync of a list, and waits for its end.
    pub async fn sync(
        &self,
        tenant: &Arc<str>,
        site: &str,
        resource: &str,
    ) -> Result<Synced, Error> {
        let job = self.enqueue_with(tenant, site, resource, ATTEMPTS_WAITED_FOR);
        let job = self.wait_for(tenant, &job.await?.id).await?;
        match job.status {
            Status::Done => {
                let output = job.output.as_deref().map(|output| output.get());
                let output = output.map(serde_json::from_str::<SyncOutput>);
                let syncs = output.and_then(Result::ok).unwrap_or_default().syncs;
                let report = syncs.into_iter().find(|report| report.resource == resource);
                let report = report.ok_or_else(|| {
                    Error::Source(format!("the job {} says nothing of `{resource}`", job.id))
                })?;
                Ok(Synced::Done(Box::new(report)))
            }
            Status::Failed => {
                stopped(&self.inner.site(tenant, site).await?.site)?;
                Err(Error::Source(job.last_error.unwrap_or_default()))
            }
            Status::Cancelled => Err(Error::Cancelled),
            Status::Pending | Status::Running => Ok(Synced::Goes(Box::new(job))),
        }
    }

    /// A job when it has ended, or when nobody waits for it any longer.
    async fn wait_for(&self, tenant: &str, id: &str) -> Result<Job, Error> {
        let inner = &self.inner;
        let deadline = Instant::now() + inner.settings.wait;
        let mut pause = LOOK_FIRST;
        loop {
            let ended = inner.ended.notified();
            let found = inner.jobs.find(tenant, &[id]).await?.pop().flatten();
            let job = found.ok_or_else(|| tidewire_jobs::Error::NoSuchJob(id.to_owned()))?;
            if job.status.is_final() || Instant::now() > deadline {
                return Ok(job);
            }
            tokio::select! {
                // What its worker says of it is written a moment later.
                () = ended => pause = LOOK_FIRST,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LOOK_LAST),
                () = inner.shutdown.cancelled() => {
                    return Err(Error::Stopping(id.to_owned()));
                }
            }
        }
    }

    // --- attribution ---

    /// How a subject came, first and last.
    pub async fn attribution(&self, tenant: &str, subject: &str) -> Result<Attribution, Error> {
        let mut read = self.inner.db.read();
        let touches = self.inner.store.touches(&mut read, tenant, subject).await?;
        let [first_touch, last_touch, last_non_direct_touch] = touches;
        Ok(Attribution {
            subject: subject.to_owned(),
            first_touch,
            last_touch,
            last_non_direct_touch,
        })
    }
}

impl Inner {
    pub(crate) fn source(&self, kind: &str) -> Result<Arc<Source>, Error> {
        let source = self.sources.get(kind);
        source.map(Arc::clone).ok_or_else(|| Error::NoSuchKind {
            kind: kind.to_owned(),
            known: self.sources.kinds().join(", "),
        })
    }

    pub(crate) async fn site(&self, tenant: &str, site: &str) -> Result<SiteRow, Error> {
        let found = self.store.site(&mut self.db.read(), tenant, site).await?;
        found.ok_or_else(|| Error::NoSuchSite(site.to_owned()))
    }

    pub(crate) fn asker<'a>(
        &'a self,
        source: &'a Source,
        site: &'a str,
        base: Url,
        key: &'a AccessKey,
    ) -> Asker<'a> {
        Asker {
            source,
            site,
            base,
            key,
            client: &self.client,
            hosts: &self.hosts,
            clock: &self.clock,
            settings: self.settings,
            paced: Mutex::default(),
        }
    }

    async fn keep(
        self: &Arc<Self>,
        tenant: &Arc<str>,
        row: SiteRow,
    ) -> Result<(Site, bool), Error> {
        let (inner, tenant) = (Arc::clone(self), Arc::clone(tenant));
        self.db
            .transact("sites.register", move |tx| {
                let (inner, tenant, mut row) =
                    (Arc::clone(&inner), Arc::clone(&tenant), row.clone());
                Box::pin(async move {
                    let store = &inner.store;
                    let known = store.lock_site(tx, &tenant, &row.site.id).await?;
                    let Some(known) = known else {
                        store.insert_site(tx, &tenant, &row).await?;
                        return Ok((row.site, true));
                    };
                    if known.site.kind != row.site.kind {
                        // How far lists of another kind are known says nothing.
                        store.forget_all(tx, &tenant, &row.site.id).await?;
                    }
                    row.site.created_at = known.site.created_at;
                    store.update_site(tx, &tenant, &row).await?;
                    Ok((row.site, false))
                })
            })
            .await
    }
}

/// What a source's answer to the first question means.
fn refused(fault: SourceFault) -> Error {
    match &fault.why {
        Why::Refused(_) | Why::Misplaced(_) => Error::KeyRefused(fault.to_string()),
        Why::Forbidden(why) => Problem::invalid("/base_url", why.clone()).into(),
        _ => fault.into(),
    }
}

/// Refuses to sync a site that is not active.
fn stopped(site: &Site) -> Result<(), Error> {
    match site.state {
        SiteState::Active => Ok(()),
        state => Err(Error::Stopped {
            site: site.id.clone(),
            state: state.as_str(),
            why: site.state_reason.clone().unwrap_or_default(),
        }),
    }
}

fn status(row: ResourceRow, mark: impl Fn(i64) -> String) -> ResourceStatus {
    let open = row.progress.as_deref();
    let open = open.map(serde_json::from_str::<Progress>);
    let open = open.and_then(Result::ok).map(|progress| progress.report);
    let report = row.report.as_deref();
    let report = report.map(serde_json::from_str::<Report>);
    ResourceStatus {
        resource: row.resource,
        is_open: open.is_some(),
        mark: row.mark.map(mark),
        started_at: row.started_at,
        finished_at: row.finished_at,
        error: row.error,
        report: open.or_else(|| report.and_then(Result::ok)),
    }
}

/// The report of a sync that covers what a job was made for: it began later and has ended.
pub(crate) fn covered(row: &ResourceRow, job_created_at: Time) -> Option<Report> {
    if row.progress.is_some() || row.finished_at.is_none() {
        return None;
    }
    row.started_at
        .filter(|started| *started >= job_created_at)?;
    serde_json::from_str(row.report.as_deref()?).ok()
}
