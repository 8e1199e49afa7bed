//! One sync, from taking the site into its hands to the report.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use tidewire_core::{Time, ids};
use tidewire_db::{BoxFuture, Error as DbError};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};

use super::{
    Asker, SourceFault,
    commit::{Batch, Progress, Writer, Written, duration_ms, written},
    fault::Why,
    fetch::Page,
    window::Window,
};
use crate::{
    metrics,
    model::{Report, SiteState},
    service::Inner,
    source::Resource,
    store::{Lease, Of, ResourceRow, SiteRow},
};

/// Pages that may wait to be written, and bytes of their records: the more wait, the fewer
/// transactions it takes, and the less of a page's time is theirs.
const AHEAD: usize = 64;
const BYTES_AHEAD: u32 = 8 << 20;
/// Events that are written in one transaction, and bytes of their records.
const MOST_EVENTS: usize = 1_000;
const MOST_BYTES: usize = 4 << 20;

/// A site in the hands of a sync.
#[derive(Clone, Debug)]
pub(crate) struct Hold {
    pub tenant: Arc<str>,
    pub site: Arc<str>,
    pub token: String,
}

/// Why a sync ended before its list did.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    #[error("another sync of the site is running")]
    Busy,
    #[error("the site was removed")]
    Gone,
    #[error("the site is {state}: {why}")]
    Stopped { state: SiteState, why: String },
    #[error("the site is in the hands of another sync")]
    Lost,
    /// It has had its turn, and goes on after others.
    #[error("others have their turn")]
    Turn,
    #[error(transparent)]
    Source(#[from] SourceFault),
    #[error(transparent)]
    Store(#[from] DbError),
}

/// A sync of one list of a site that it has in its hands.
pub(crate) struct Run<'a> {
    pub inner: &'a Arc<Inner>,
    pub hold: &'a Arc<Hold>,
    pub asker: &'a Asker<'a>,
    pub resource: &'a Arc<Resource>,
    /// When others have their turn.
    pub until: Instant,
    /// Is told how far it is.
    pub tell: &'a (dyn Fn(Report) -> BoxFuture<'a, ()> + Send + Sync),
}

/// A page on its way to the store, and where reading goes on behind it.
struct Sent<'a> {
    page: Page,
    window: Window,
    is_last: bool,
    /// Given back when it is taken.
    _room: SemaphorePermit<'a>,
}

impl Inner {
    /// Takes a site into a job's hands. An attempt of the same job takes it from the one before.
    pub(crate) async fn take(
        self: &Arc<Self>,
        tenant: &Arc<str>,
        site: &str,
        job_id: &str,
    ) -> Result<(Arc<Hold>, SiteRow), Ended> {
        let token = ids::new_secret("");
        let (inner, of, id) = (Arc::clone(self), Arc::clone(tenant), site.to_owned());
        let (job_id, kept) = (job_id.to_owned(), token.clone());
        let row = self.db.transact("sites.take", move |tx| {
            let (inner, tenant, site) = (Arc::clone(&inner), Arc::clone(&of), id.clone());
            let (job_id, token) = (job_id.clone(), kept.clone());
            Box::pin(async move {
                let row = inner.store.lock_site(tx, &tenant, &site).await?;
                let Some(row) = row else {
                    return Err(Ended::Gone);
                };
                if row.site.state != SiteState::Active {
                    return Err(Ended::Stopped {
                        state: row.site.state,
                        why: row.site.state_reason.unwrap_or_default(),
                    });
                }
                let now = inner.clock.now();
                let had = inner.store.lease(tx, &tenant, &site).await?;
                if let Some(other) = &had
                    && other.job_id != job_id
                    && other.until > now
                {
                    return Err(Ended::Busy);
                }
                let lease = Lease {
                    job_id,
                    token,
                    until: now.plus(inner.settings.lease),
                };
                let key = (&*tenant, site.as_str());
                inner.store.give(tx, key, &lease, had.is_some()).await?;
                Ok(row)
            })
        });
        let row = row.await?;
        let hold = Hold {
            tenant: Arc::clone(tenant),
            site: site.into(),
            token,
        };
        Ok((Arc::new(hold), row))
    }

    /// Lets a site go.
    pub(crate) async fn let_go(self: &Arc<Self>, hold: &Arc<Hold>) {
        let (inner, hold) = (Arc::clone(self), Arc::clone(hold));
        let released = self.db.transact("sites.release", move |tx| {
            let (inner, hold) = (Arc::clone(&inner), Arc::clone(&hold));
            Box::pin(async move {
                let Hold {
                    tenant,
                    site,
                    token,
                } = &*hold;
                inner.store.release(tx, tenant, site, token).await
            })
        });
        if let Err(error) = released.await {
            let _: DbError = error;
            tracing::warn!("a site's lease could not be given back, and runs out");
        }
    }

    /// Notes why a sync ended early; a source that refuses the key stops its site.
    pub(crate) async fn note(
        self: &Arc<Self>,
        hold: &Arc<Hold>,
        resource: &Arc<Resource>,
        fault: &SourceFault,
    ) -> Result<(), DbError> {
        let writer = Writer {
            inner: Arc::clone(self),
            hold: Arc::clone(hold),
            resource: Arc::clone(resource),
        };
        let (said, refused) = (fault.to_string(), fault.is_refusal());
        let noted = writer.step("sites.note", move |writer, tx| {
            let said = said.clone();
            Box::pin(async move {
                let (store, of) = (&writer.inner.store, writer.of());
                store.fail(tx, of, &said).await?;
                if refused {
                    let (site, now) = ((of.tenant, of.site), writer.inner.clock.now());
                    let why = format!("its source refuses the access key: {said}");
                    store
                        .set_state(tx, site, SiteState::Revoked, &why, now)
                        .await?;
                }
                Ok(Written::Done {
                    inserted: 0,
                    duplicates: 0,
                })
            })
        });
        noted.await.map(drop)
    }
}

impl Run<'_> {
    /// Reads the list to its end.
    pub async fn run(&self, row: &ResourceRow) -> Result<Report, Ended> {
        let kept = row
            .progress
            .as_deref()
            .map(serde_json::from_str::<Progress>);
        let mut progress = match kept {
            Some(Ok(mut progress)) => {
                progress.window.resumed = true;
                if progress.window.front {
                    progress.window.restart(self.resource);
                }
                progress
            }
            // None, or one that another version has left.
            _ => self.begin(row).await?,
        };
        // Where a source keeps a place for a while, it may be gone.
        let mut may_restart = progress.window.resumed;
        loop {
            match self.read(&mut progress).await {
                Ok(()) => break,
                Err(Ended::Source(fault))
                    if may_restart && matches!(fault.why, Why::Misplaced(_)) =>
                {
                    tracing::info!(site = &*self.hold.site, %fault, "a list is read from its start again");
                    progress.window.restart(self.resource);
                    may_restart = false;
                }
                Err(ended) => return Err(ended),
            }
        }
        self.end(row, progress).await
    }

    fn writer(&self) -> Writer {
        Writer {
            inner: Arc::clone(self.inner),
            hold: Arc::clone(self.hold),
            resource: Arc::clone(self.resource),
        }
    }

    async fn begin(&self, row: &ResourceRow) -> Result<Progress, Ended> {
        let known = row.finished_at.is_some();
        let now = self.inner.clock.now();
        let beginning = Window::begin(self.resource, row.mark, known, now);
        let progress = Progress {
            report: Report {
                site_id: self.hold.site.to_string(),
                resource: self.resource.name.clone(),
                ..Report::default()
            },
            window: beginning.window,
        };
        let text = written(&progress)?;
        let how = self
            .resource
            .incremental
            .as_ref()
            .filter(|_| beginning.expired);
        let again: Arc<[String]> = how
            .map(|how| how.refreshes.as_slice())
            .unwrap_or_default()
            .into();
        let writer = self.writer();
        let begun = writer.step("sites.begin", move |writer, tx| {
            let (text, again) = (text.clone(), Arc::clone(&again));
            Box::pin(async move {
                let (store, of) = (&writer.inner.store, writer.of());
                store.begin(tx, of, now, &text).await?;
                for resource in &*again {
                    store.forget(tx, Of { resource, ..of }).await?;
                }
                Ok(Written::Done {
                    inserted: 0,
                    duplicates: 0,
                })
            })
        });
        match begun.await? {
            Written::Done { .. } => Ok(progress),
            Written::Lost => Err(Ended::Lost),
        }
    }

    /// From where the window stands to the list's end.
    async fn read(&self, progress: &mut Progress) -> Result<(), Ended> {
        if !progress.window.front {
            self.read_through(progress).await?;
        }
        if progress.window.turn_to_front(self.resource) {
            self.read_front(progress).await?;
        }
        Ok(())
    }

    /// Asks for pages and writes them at the same time.
    async fn read_through(&self, progress: &mut Progress) -> Result<(), Ended> {
        let room = Semaphore::new(BYTES_AHEAD as usize);
        let (sender, mut pages) = mpsc::channel::<Sent<'_>>(AHEAD);
        // What goes wrong with the source is told when what came before it is written.
        let fault = Mutex::new(None);
        let (mut window, found, room) = (progress.window.clone(), &fault, &room);
        let asking = async move {
            loop {
                let page = match self.asker.page(self.resource, &window).await {
                    Ok(page) => page,
                    Err(fault) => {
                        *found.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
                        break;
                    }
                };
                let is_last = !window.turn(self.resource, &page.turned);
                let bytes = u32::try_from(page.bytes()).unwrap_or(u32::MAX);
                let taken = room.acquire_many(bytes.min(BYTES_AHEAD)).await;
                let sent = Sent {
                    page,
                    window: window.clone(),
                    is_last,
                    _room: taken.expect("it is never closed"),
                };
                if sender.send(sent).await.is_err() || is_last {
                    break;
                }
            }
            Ok(())
        };
        let writing = async move {
            while let Some(first) = pages.recv().await {
                let mut is_last = first.is_last;
                let mut batch = self.batch(progress, first.page, first.window);
                while batch.events.len() < MOST_EVENTS
                    && batch.bytes < MOST_BYTES
                    && let Ok(next) = pages.try_recv()
                {
                    is_last = next.is_last;
                    batch.add(self.resource, next.page, next.window);
                }
                self.write(progress, batch).await?;
                if Instant::now() > self.until && !is_last {
                    return Err(Ended::Turn);
                }
            }
            Ok(())
        };
        // If the writing ends early, what is being asked for is dropped.
        tokio::try_join!(writing, asking)?;
        match fault.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(fault) => Err(fault.into()),
            None => Ok(()),
        }
    }

    /// The list's front once more, until a page has nothing new.
    async fn read_front(&self, progress: &mut Progress) -> Result<(), Ended> {
        loop {
            let mut window = progress.window.clone();
            let page = self.asker.page(self.resource, &window).await?;
            let more = window.turn(self.resource, &page.turned);
            let batch = self.batch(progress, page, window);
            let inserted = self.write(progress, batch).await?;
            if inserted == 0 || !more {
                return Ok(());
            }
        }
    }

    fn batch(&self, progress: &Progress, page: Page, window: Window) -> Batch {
        let mut batch = Batch::new(progress.report.clone(), progress.window.clone());
        batch.add(self.resource, page, window);
        batch
    }

    async fn write(&self, progress: &mut Progress, batch: Batch) -> Result<u64, Ended> {
        let batch = Arc::new(batch);
        match self.writer().write(Arc::clone(&batch)).await? {
            Written::Done {
                inserted,
                duplicates,
            } => {
                metrics::written(
                    batch.report.pages - progress.report.pages,
                    batch.report.fetched - progress.report.fetched,
                    inserted,
                    duplicates,
                );
                progress.window = batch.window.clone();
                progress.report = batch.report.clone();
                progress.report.inserted += inserted;
                progress.report.duplicates += duplicates;
                progress.report.duration_ms =
                    duration_ms(progress.window.started_at, self.inner.clock.now());
                (self.tell)(progress.report.clone()).await;
                Ok(inserted)
            }
            Written::Lost => Err(Ended::Lost),
        }
    }

    /// The window has come to its end: what it found out holds from now on.
    async fn end(&self, row: &ResourceRow, progress: Progress) -> Result<Report, Ended> {
        let Progress { window, mut report } = progress;
        let now: Time = self.inner.clock.now();
        report.duration_ms = duration_ms(window.started_at, now);
        let (mark, text) = (window.mark(self.resource, row.mark), written(&report)?);
        let writer = self.writer();
        let ended = writer.step("sites.end", move |writer, tx| {
            let text = text.clone();
            Box::pin(async move {
                let (store, of) = (&writer.inner.store, writer.of());
                store.end(tx, of, mark, now, &text).await?;
                Ok(Written::Done {
                    inserted: 0,
                    duplicates: 0,
                })
            })
        });
        match ended.await? {
            Written::Done { .. } => Ok(report),
            Written::Lost => Err(Ended::Lost),
        }
    }
}
