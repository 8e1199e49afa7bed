//! The rules of fleets: what is pushed, who is offered what, and what agents say of it.

mod agents;
mod asked;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, RwLock},
    time::Duration,
};

use serde_json::value::RawValue;
use tidewire_core::{Clock, Problem, Time, page};
use tidewire_db::{Db, Keep, Lane, Tx};
use tokio_util::sync::CancellationToken;

use crate::{
    Error, FleetSettings, IfNoneMatch, Labels, NewVersion, Offer, SERVERS, Version,
    gate::Fares,
    memory::Room,
    metrics::Answers,
    model::{self, AttemptState},
    offers::{self, Asker},
    schema::Schema,
    statuses::Statuses,
    store::{AgentRow, Change, Store},
};

pub use asked::Watching;

/// The topic of hints that a tenant's fleet has reached a revision; their key is the tenant.
pub(crate) const TOPIC: &str = "fleet.changed";
/// Versions, or agents, that are read at a time.
const AT_ONCE: usize = 1000;
/// Who has not asked for longer may be away, and is not waited for. At least this, whatever the
/// interval.
const LATELY: Duration = Duration::from_mins(2);

/// Judges the settings of servers themselves before they are pushed.
pub type CheckServers = fn(&RawValue) -> Result<(), Problem>;

/// Cheap to clone; the clones share what is remembered. One for each process.
#[derive(Clone)]
pub struct Fleet {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    clock: Clock,
    store: Arc<Store>,
    settings: FleetSettings,
    check_servers: CheckServers,
    statuses: Lane<Statuses>,
    rooms: RwLock<HashMap<Arc<str>, Arc<Room>>>,
    answers: Answers,
    shutdown: CancellationToken,
}

/// Who asks for a config, and what it knows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask<'a> {
    pub agent_id: Option<&'a str>,
    pub if_none_match: Option<&'a IfNoneMatch>,
    /// The revision that it was told of: it is not answered out of an older memory.
    pub revision: Option<u64>,
    /// How long the answer may be held until there is something new.
    pub wait: Duration,
}

/// What somebody who asks for a config is told.
#[derive(Clone, Debug)]
pub enum Answer {
    Config(Arc<Offer>),
    Unchanged(Arc<Offer>),
    /// There is nothing for it yet.
    None,
}

/// Which page of a list.
#[derive(Clone, Debug, Default)]
pub struct PageOf {
    pub limit: Option<u32>,
    pub cursor: Option<String>,
}

impl Fleet {
    /// The tables must be there.
    #[must_use]
    pub fn new(
        db: Db,
        clock: Clock,
        settings: FleetSettings,
        check_servers: CheckServers,
        shutdown: CancellationToken,
    ) -> Self {
        let store = Store::new(db.dialect());
        let statuses = db.lane(Statuses {
            store: Arc::clone(&store),
            clock: clock.clone(),
        });
        Fleet {
            inner: Arc::new(Inner {
                db,
                clock,
                store,
                settings,
                check_servers,
                statuses,
                rooms: RwLock::default(),
                answers: Answers::new(),
                shutdown,
            }),
        }
    }

    #[must_use]
    pub fn settings(&self) -> &FleetSettings {
        &self.inner.settings
    }

    /// Makes a version of a config.
    pub async fn push(&self, tenant: &Arc<str>, new: NewVersion) -> Result<Version, Error> {
        model::check_config(&new.config)?;
        model::check_labels(&new.labels)?;
        model::check_percent(new.percent)?;
        model::check_words("/note", new.note.as_deref())?;
        model::check_words("/author", Some(&new.author))?;
        if new.labels.contains_key(SERVERS) {
            (self.inner.check_servers)(&new.config)?;
        } else if let Some(schema) = self.schema(tenant).await? {
            Schema::parse(&schema)?.check(&new.config)?;
        }
        self.insert(tenant, new, None).await
    }

    /// Makes a new version of an older one's config, for everyone who has its labels (or these). No
    /// schema stands in its way: it ran before.
    pub async fn roll_back(
        &self,
        tenant: &Arc<str>,
        to: u64,
        labels: Option<Labels>,
        (author, note): (String, Option<String>),
    ) -> Result<Version, Error> {
        model::check_words("/note", note.as_deref())?;
        model::check_words("/author", Some(&author))?;
        let of = self.version(tenant, to).await?;
        let labels = labels.unwrap_or(of.labels);
        model::check_labels(&labels)?;
        if labels.contains_key(SERVERS) {
            (self.inner.check_servers)(&of.config)?;
        }
        let new = NewVersion {
            config: of.config,
            labels,
            percent: 100,
            gate: None,
            note,
            author,
        };
        self.insert(tenant, new, Some(to)).await
    }

    async fn insert(
        &self,
        tenant: &Arc<str>,
        new: NewVersion,
        rollback_of: Option<u64>,
    ) -> Result<Version, Error> {
        let (inner, of) = (Arc::clone(&self.inner), Arc::clone(tenant));
        let inserted = self.inner.db.transact("fleet.push", move |tx| {
            let (inner, tenant, new) = (Arc::clone(&inner), Arc::clone(&of), new.clone());
            Box::pin(async move {
                lock(tx, &tenant).await?;
                let number = inner.store.newest(tx, &tenant).await? + 1;
                let version = Version {
                    version: number,
                    etag: offers::etag(number, &new.config),
                    config: new.config,
                    labels: new.labels,
                    percent: new.percent,
                    gate: new.gate,
                    note: new.note,
                    author: new.author,
                    rollback_of,
                    created_at: inner.clock.now(),
                };
                inner.store.insert_version(tx, &tenant, &version).await?;
                let share = Change::Share {
                    version: number,
                    percent: version.percent,
                };
                let by = (Some(version.author.as_str()), version.created_at);
                inner.change(tx, &tenant, share, by).await?;
                Ok::<_, Error>(version)
            })
        });
        let version = inserted.await?;
        tracing::info!(
            version = version.version,
            percent = version.percent,
            author = version.author,
            rollback_of,
            "a config was pushed"
        );
        self.renew(&self.room(tenant).await?).await?;
        Ok(version)
    }

    /// Raises a version's share, if its gate lets it.
    pub async fn raise(
        &self,
        tenant: &Arc<str>,
        number: u64,
        percent: u32,
        author: String,
    ) -> Result<Version, Error> {
        model::check_percent(percent)?;
        model::check_words("/author", Some(&author))?;
        let version = self.version(tenant, number).await?;
        if let Some(gate) = version.gate {
            let fares = self.fares(tenant, &version).await?;
            gate.judge(fares).map_err(|why| Error::Gated {
                version: number,
                gate: gate.to_string(),
                why,
            })?;
        }
        let (inner, of) = (Arc::clone(&self.inner), Arc::clone(tenant));
        let raised = self.inner.db.transact("fleet.raise", move |tx| {
            let (inner, tenant, author) = (Arc::clone(&inner), Arc::clone(&of), author.clone());
            Box::pin(async move {
                lock(tx, &tenant).await?;
                let known = inner.store.version(tx, &tenant, number).await?;
                let known = known.ok_or(Error::NoSuchVersion(number))?;
                if percent <= known.percent {
                    return Err(Error::NotRaised {
                        version: number,
                        percent: known.percent,
                    });
                }
                let share = Change::Share {
                    version: number,
                    percent,
                };
                let by = (Some(author.as_str()), inner.clock.now());
                inner.change(tx, &tenant, share, by).await?;
                Ok(Version { percent, ..known })
            })
        });
        let version = raised.await?;
        tracing::info!(version = number, percent, "a version's share was raised");
        self.renew(&self.room(tenant).await?).await?;
        Ok(version)
    }

    /// How a version fares among those whom it is offered.
    async fn fares(&self, tenant: &Arc<str>, version: &Version) -> Result<Fares, Error> {
        let (number, servers) = (version.version, version.labels.contains_key(SERVERS));
        let room = self.room(tenant).await?;
        let offers = room.offers();
        let lately = LATELY.max(self.inner.settings.agents_ask_every * 3);
        let since = self.inner.clock.now().minus(lately);
        let (mut fares, mut before) = (Fares::default(), String::from("~"));
        loop {
            let mut read = self.inner.db.read();
            let limit = u32::try_from(AT_ONCE).unwrap_or(u32::MAX);
            let rows = self
                .inner
                .store
                .agents(&mut read, tenant, servers, &before, limit)
                .await?;
            let Some(last) = rows.last() else {
                return Ok(fares);
            };
            before.clone_from(&last.id);
            for row in &rows {
                let offered = offers.for_whom(Some(asker(row)));
                if offered.is_none_or(|offer| offer.version != number) {
                    continue;
                }
                let said = row.attempt.as_ref().filter(|it| it.version == number);
                match said.map(|attempt| attempt.state) {
                    Some(AttemptState::Applied) => fares.applied += 1,
                    Some(AttemptState::Failed) => fares.failed += 1,
                    None if last_seen(&room, row).is_some_and(|at| at >= since) => {
                        fares.silent += 1
                    }
                    None => {}
                }
            }
        }
    }

    pub async fn version(&self, tenant: &str, number: u64) -> Result<Version, Error> {
        let mut read = self.inner.db.read();
        let found = self.inner.store.version(&mut read, tenant, number).await?;
        found.ok_or(Error::NoSuchVersion(number))
    }

    /// Newest first, and the cursor of the next page.
    pub async fn versions(
        &self,
        tenant: &str,
        page: &PageOf,
    ) -> Result<(Vec<Version>, Option<String>), Error> {
        const LIST: &str = "versions";
        let limit = page::limit(page.limit)?;
        let before = page.behind(LIST)?.map(|key| {
            key.parse::<u64>()
                .map_err(|_| Problem::invalid("cursor", "is not a `next_cursor` of this list"))
        });
        let before = before.transpose()?.unwrap_or(i64::MAX.unsigned_abs());
        let mut read = self.inner.db.read();
        let found = self
            .inner
            .store
            .versions(&mut read, tenant, before, limit + 1);
        Ok(cut(LIST, found.await?, limit, |last| {
            last.version.to_string()
        }))
    }

    /// The schema that configs must fit.
    pub async fn schema(&self, tenant: &str) -> Result<Option<Box<RawValue>>, Error> {
        let mut read = self.inner.db.read();
        Ok(self.inner.store.schema(&mut read, tenant).await?)
    }

    /// Sets it, or takes it away. What was pushed before stays.
    pub async fn set_schema(
        &self,
        tenant: &Arc<str>,
        schema: Option<Box<RawValue>>,
    ) -> Result<(), Error> {
        schema.as_deref().map(Schema::parse).transpose()?;
        let (inner, of) = (Arc::clone(&self.inner), Arc::clone(tenant));
        let set = self.inner.db.transact("fleet.schema", move |tx| {
            let (inner, tenant, schema) = (Arc::clone(&inner), Arc::clone(&of), schema.clone());
            Box::pin(async move {
                lock(tx, &tenant).await?;
                let now = inner.clock.now();
                inner
                    .store
                    .put_schema(tx, &tenant, schema.as_deref(), now)
                    .await
            })
        });
        Ok(set.await?)
    }
}

impl Inner {
    /// Numbers a change and writes it; the others are told once it is durable. The tenant is locked.
    async fn change(
        &self,
        tx: &mut Tx,
        tenant: &Arc<str>,
        change: Change<'_>,
        by: (Option<&str>, Time),
    ) -> tidewire_db::Result<()> {
        let revision = self.store.revision(tx, tenant).await? + 1;
        self.store
            .insert_change(tx, tenant, revision, change, by)
            .await?;
        let (hints, tenant) = (self.db.hints().clone(), Arc::clone(tenant));
        let value = i64::try_from(revision).unwrap_or(i64::MAX);
        tx.on_commit(move || hints.send(TOPIC, &tenant, value, Keep::Greatest));
        Ok(())
    }
}

/// From here to the commit nobody else numbers changes of this tenant.
async fn lock(tx: &mut Tx, tenant: &str) -> tidewire_db::Result<()> {
    let name = format!("fleet:{tenant}");
    tx.lock(&BTreeSet::from([name.as_str()])).await
}

fn asker(row: &AgentRow) -> Asker<'_> {
    Asker {
        agent_id: &row.agent_id,
        labels: &row.labels,
    }
}

/// The later of what is stored and what this process has seen itself.
fn last_seen(room: &Room, row: &AgentRow) -> Option<Time> {
    let here = room.member(&row.agent_id).map(|member| member.seen());
    row.last_seen_at.max(here)
}

impl PageOf {
    fn behind(&self, list: &str) -> Result<Option<String>, Problem> {
        let cursor = self.cursor.as_deref();
        cursor.map(|cursor| page::key(list, cursor)).transpose()
    }
}

/// A page of `items`, which are one more than it if there is another one.
fn cut<T>(
    list: &str,
    mut items: Vec<T>,
    limit: u32,
    key: impl FnOnce(&T) -> String,
) -> (Vec<T>, Option<String>) {
    let limit = limit as usize;
    let is_more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| is_more).map(key);
    (items, next.map(|key| page::cursor(list, &key)))
}
