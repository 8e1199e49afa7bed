//! The rules of triggers: what others call.

mod by_hand;
pub(crate) mod executions;
mod inspect;
mod webhook;

use std::sync::Arc;

use serde_json::value::RawValue;
use tidewire_core::{Clock, FieldError, Problem, Time, ids, name};
use tidewire_db::{Db, Hints, Keep, Lane, Tx};
use tidewire_events::Events;
use tidewire_jobs::Jobs;
use tidewire_outbound::{AddressPolicy, Target};

use crate::{
    Action, Config, DEFAULT_PREVIEW, Error, MAX_NAME, MAX_PREVIEW, TriggerSettings,
    config::unmask,
    configs::{Configs, Known},
    firing::{Fire, Firings},
    lifecycle,
    live::LiveRates,
    matcher::Matching,
    model::{
        Page, Pagination, Schedule, ScheduleStatus, StoredConfig, Trigger, TriggerStatus,
        TriggerType,
    },
    scheduler::{Due, LEAD, Pulse, fire_overdue},
    store::{ConfigRow, Store, TriggerFilter, TriggerRow},
};

pub use by_hand::SetOff;
pub use executions::ExecutionQuery;
pub use inspect::{Sent, Signed};
pub use webhook::Call;

/// Where processes tell each other that something is due earlier than they may know.
pub(crate) const DUE: &str = "trigger_due";

/// Triggers and what they set off. Cheap to clone.
#[derive(Clone)]
pub struct Triggers {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) db: Db,
    pub(crate) store: Arc<Store>,
    pub(crate) configs: Configs,
    pub(crate) events: Events,
    pub(crate) fire: Fire,
    firings: Lane<Firings>,
    policy: AddressPolicy,
    /// To the scheduler of this process.
    pub(crate) due: Due,
    pub(crate) pulse: Pulse,
    pub(crate) matching: Matching,
    pub(crate) rates: Arc<LiveRates>,
}

/// A trigger to be made.
#[derive(Clone, Debug)]
pub struct NewTrigger {
    pub name: String,
    pub kind: TriggerType,
    pub config: Box<RawValue>,
    pub status: TriggerStatus,
}

/// What is to be changed of a trigger; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct TriggerEdit {
    pub name: Option<String>,
    pub status: Option<TriggerStatus>,
    /// Replaces the config as a whole. A secret that is shown as its mask stays what it was.
    pub config: Option<Box<RawValue>>,
}

/// Which triggers a list shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct TriggerQuery {
    pub kind: Option<TriggerType>,
    pub status: Option<TriggerStatus>,
}

/// A trigger that was checked and can be stored.
#[derive(Clone, Debug)]
pub struct Checked {
    name: String,
    status: TriggerStatus,
    config: Arc<Known>,
    raw: Box<RawValue>,
    from_pos: u64,
}

impl Triggers {
    /// Changes, while it runs, how many firings a second one event trigger has, and how many requests
    /// one endpoint; `None` is as it was started.
    pub fn set_rates(&self, event: Option<u32>, endpoint: Option<u32>) {
        self.inner.rates.set(event, endpoint);
    }

    /// `policy` says which endpoints can be called at all.
    #[must_use]
    pub fn new(
        db: Db,
        clock: Clock,
        settings: TriggerSettings,
        policy: AddressPolicy,
        (jobs, events): (Jobs, Events),
    ) -> Self {
        let store = Store::new(db.dialect());
        let fire = Fire {
            store: Arc::clone(&store),
            jobs,
            clock,
            settings,
            hints: db.hints().clone(),
            fired: Arc::default(),
        };
        Triggers {
            inner: Arc::new(Inner {
                firings: db.lane(Firings(fire.clone())),
                configs: Configs::new(Arc::clone(&store)),
                store,
                events,
                fire,
                policy,
                due: Due::default(),
                pulse: Pulse::default(),
                matching: Matching::default(),
                rates: Arc::default(),
                db,
            }),
        }
    }

    // --- definitions ---

    /// Checks a trigger that is to be made. To be called right before [`Triggers::create_in`].
    pub async fn check(&self, tenant: &str, new: NewTrigger) -> Result<Checked, Error> {
        let mut faults = Vec::new();
        if let Err(detail) = name::check_text(&new.name, MAX_NAME) {
            faults.push(FieldError {
                pointer: "/name".to_owned(),
                detail,
            });
        }
        let config = self.known(new.kind, &new.config);
        let config = match config {
            Ok(config) => Some(config),
            Err(problem) => {
                faults.extend(problem.under("/config").errors);
                None
            }
        };
        Problem::all(faults)?;
        let config = config.ok_or_else(|| Problem::invalid("/config", "cannot be read"))?;
        Ok(Checked {
            name: new.name,
            status: new.status,
            config,
            raw: new.config,
            from_pos: self.counts_from(tenant, new.kind).await?,
        })
    }

    /// Makes a trigger, with its first occurrence, inside the caller's transaction.
    pub async fn create_in(
        &self,
        tx: &mut Tx,
        tenant: &Arc<str>,
        new: &Checked,
    ) -> Result<Trigger, Error> {
        let Inner { store, fire, .. } = &*self.inner;
        let now = fire.clock.now();
        let row = TriggerRow {
            tenant: Arc::clone(tenant),
            id: ids::new_id(&fire.clock).into(),
            name: new.name.clone(),
            kind: new.config.kind,
            status: new.status,
            config_id: Arc::clone(&new.config.id),
            from_pos: new.from_pos,
            saved_at: now,
            fired_until: None,
            next_run: None,
            created_at: now,
            updated_at: now,
            config: new.raw.clone(),
        };
        self.save_config(tx, &row, &new.config, &new.raw).await?;
        let row = lifecycle::create(store, tx, row, &new.config, &fire.clock).await?;
        self.tell_due(tx, row.next_run);
        self.tell_matchers(tx, &row);
        Ok(shown(row, now))
    }

    /// Changes a trigger. What was fired before goes on as it was.
    pub async fn update(
        &self,
        tenant: &Arc<str>,
        id: &str,
        edit: TriggerEdit,
    ) -> Result<Trigger, Error> {
        if let Some(name) = &edit.name {
            name::check_text(name, MAX_NAME).map_err(|detail| Problem::invalid("/name", detail))?;
        }
        let old = self.row(tenant, id).await?;
        // A mask stands for the secret that is stored: it is put back before anything is checked.
        let config = match &edit.config {
            Some(config) => {
                let raw = unmask(config, Some(&old.config))
                    .map_err(|problem| problem.under("/config"))?;
                let known = self.known(old.kind, &raw);
                Some((known.map_err(|problem| problem.under("/config"))?, raw))
            }
            None => None,
        };
        let from_pos = self.counts_from(tenant, old.kind).await?;
        let (this, tenant, id) = (self.clone(), Arc::clone(tenant), id.to_owned());
        self.inner
            .db
            .transact("triggers.update", move |tx| {
                let (this, edit, config) = (this.clone(), edit.clone(), config.clone());
                let (tenant, id, seen) = (Arc::clone(&tenant), id.clone(), old.clone());
                Box::pin(async move {
                    this.update_in(tx, (&tenant, &id), &seen, edit, config, from_pos)
                        .await
                })
            })
            .await
    }

    async fn update_in(
        &self,
        tx: &mut Tx,
        (tenant, id): (&str, &str),
        seen: &TriggerRow,
        edit: TriggerEdit,
        config: Option<(Arc<Known>, Box<RawValue>)>,
        from_pos: u64,
    ) -> Result<Trigger, Error> {
        let Inner { store, fire, .. } = &*self.inner;
        let unknown = || Error::NoSuchTrigger(id.to_owned());
        let locked = store.lock_trigger(tx, tenant, id).await?;
        let mut old = locked.ok_or_else(unknown)?;
        if config.is_some() && old.config_id != seen.config_id {
            // The masks of the new config were read as the secrets of one that is not there any more.
            return Err(Problem::conflict(
                "the trigger's config was changed at the same time: read it again, and send the change anew",
            )
            .into());
        }
        if config.is_some()
            && edit.status != Some(TriggerStatus::Inactive)
            && fire_overdue(&self.inner, tx, &old).await?
        {
            let fired = store.trigger(tx, tenant, id).await?;
            old = fired.ok_or_else(unknown)?;
        }
        let now = fire.clock.now();
        if config.is_some() || edit.status.is_some_and(|status| status != old.status) {
            old = lifecycle::take_back((store, &fire.jobs), tx, old, now).await?;
        }
        let mut new = TriggerRow {
            name: edit.name.unwrap_or_else(|| old.name.clone()),
            status: edit.status.unwrap_or(old.status),
            updated_at: now,
            ..old.clone()
        };
        let known = match &config {
            Some((known, raw)) => {
                new.config_id = Arc::clone(&known.id);
                new.config.clone_from(raw);
                new.saved_at = now;
                new.fired_until = None;
                store.retire_config(tx, tenant, &old.config_id, now).await?;
                self.save_config(tx, &new, known, raw).await?;
                Arc::clone(known)
            }
            None => self
                .inner
                .configs
                .one(tx, tenant, &old.config_id)
                .await?
                .ok_or_else(unknown)?,
        };
        let wakes = new.status == TriggerStatus::Active && old.status != new.status;
        if wakes || config.is_some() {
            // What was read before this transaction may be older than another edit.
            new.from_pos = from_pos.max(old.from_pos);
        }
        let row = lifecycle::update(store, tx, &old, new, &known, &fire.clock).await?;
        self.tell_due(tx, row.next_run);
        self.tell_matchers(tx, &row);
        Ok(shown(row, now))
    }

    /// Deletes a trigger and its coming occurrence; its executions stay.
    pub async fn delete(&self, tenant: &Arc<str>, id: &str) -> Result<(), Error> {
        let this = Arc::clone(&self.inner);
        let (tenant, id) = (Arc::clone(tenant), id.to_owned());
        self.inner
            .db
            .transact("triggers.delete", move |tx| {
                let (this, tenant, id) = (Arc::clone(&this), Arc::clone(&tenant), id.clone());
                Box::pin(async move {
                    let (store, fire) = (&this.store, &this.fire);
                    let old = store.lock_trigger(tx, &tenant, &id).await?;
                    let old = old.ok_or(Error::NoSuchTrigger(id))?;
                    let now = fire.clock.now();
                    let old = lifecycle::take_back((store, &fire.jobs), tx, old, now).await?;
                    Ok(lifecycle::delete(store, tx, &old, now).await?)
                })
            })
            .await
    }

    pub async fn get(&self, tenant: &str, id: &str) -> Result<Trigger, Error> {
        let row = self.row(tenant, id).await?;
        Ok(shown(row, self.inner.fire.clock.now()))
    }

    /// A page of triggers, newest first.
    pub async fn list(
        &self,
        tenant: &str,
        query: TriggerQuery,
        page: Page,
    ) -> Result<(Vec<Trigger>, Pagination), Error> {
        let Inner { store, db, .. } = &*self.inner;
        let filter = TriggerFilter {
            kind: query.kind,
            status: query.status,
        };
        let (rows, count) = store
            .list_triggers(&mut db.read(), tenant, filter, page)
            .await?;
        let now = self.inner.fire.clock.now();
        let triggers = rows.into_iter().map(|row| shown(row, now)).collect();
        Ok((triggers, Pagination::of(page, count)))
    }

    /// A page of a trigger's occurrences, the latest first.
    pub async fn schedules(
        &self,
        tenant: &str,
        id: &str,
        status: Option<ScheduleStatus>,
        page: Page,
    ) -> Result<(Vec<Schedule>, Pagination), Error> {
        let row = self.row(tenant, id).await?;
        let Inner { store, db, .. } = &*self.inner;
        let now = self.inner.fire.clock.now();
        let (schedules, count) = store
            .list_schedules(&mut db.read(), (tenant, &row.id), status, page, now)
            .await?;
        Ok((schedules, Pagination::of(page, count)))
    }

    // --- looking ahead ---

    /// The firings of a trigger that is not stored.
    pub fn preview(
        &self,
        kind: TriggerType,
        config: &RawValue,
        from: Option<Time>,
        count: Option<u32>,
    ) -> Result<Vec<Time>, Error> {
        let now = self.inner.fire.clock.now();
        let config = Config::parse(kind, config).map_err(|problem| problem.under("/config"))?;
        config
            .check_fires(now)
            .map_err(|problem| problem.under("/config"))?;
        preview(&config, (kind, now), from.unwrap_or(now), count)
    }

    /// The firings of a stored trigger, as if it were active.
    pub async fn preview_stored(
        &self,
        tenant: &str,
        id: &str,
        from: Option<Time>,
        count: Option<u32>,
    ) -> Result<Vec<Time>, Error> {
        let row = self.row(tenant, id).await?;
        let config = self.config_of(tenant, &row).await?;
        let from = from.unwrap_or_else(|| self.inner.fire.clock.now());
        preview(&config.config, (row.kind, row.saved_at), from, count)
    }

    // --- parts ---

    async fn row(&self, tenant: &str, id: &str) -> Result<TriggerRow, Error> {
        let unknown = || Error::NoSuchTrigger(id.to_owned());
        if !ids::is_id(id) {
            return Err(unknown());
        }
        let Inner { store, db, .. } = &*self.inner;
        let row = store.trigger(&mut db.read(), tenant, id).await?;
        row.ok_or_else(unknown)
    }

    async fn config_of(&self, tenant: &str, row: &TriggerRow) -> Result<Arc<Known>, Error> {
        let Inner { configs, db, .. } = &*self.inner;
        let known = configs.one(&mut db.read(), tenant, &row.config_id).await?;
        // It was deleted in between.
        known.ok_or_else(|| Error::NoSuchTrigger(row.id.to_string()))
    }

    /// Reads a config that is to be saved. Pointers are relative to it.
    fn known(&self, kind: TriggerType, raw: &RawValue) -> Result<Arc<Known>, Problem> {
        let clock = &self.inner.fire.clock;
        let config = Config::parse(kind, raw)?;
        config.check_new(clock.now())?;
        match &config.action {
            Action::Deliver(delivery) => {
                let wrong = |error: tidewire_outbound::Error| {
                    Problem::invalid("/endpoint", error.to_string())
                };
                let url = delivery.endpoint.url().as_str();
                let target = Target::parse(url).map_err(wrong)?;
                self.inner.policy.check_target(&target).map_err(wrong)?;
            }
            Action::Enqueue(job) => self.inner.fire.jobs.check_open("/job/type", &job.kind)?,
        }
        Ok(Arc::new(Known {
            id: ids::new_id(clock).into(),
            kind,
            config,
        }))
    }

    /// From where on an event trigger counts that is saved now.
    async fn counts_from(&self, tenant: &str, kind: TriggerType) -> Result<u64, Error> {
        match kind {
            TriggerType::Event => Ok(self.inner.events.head(tenant).await?),
            _ => Ok(0),
        }
    }

    async fn save_config(
        &self,
        tx: &mut Tx,
        row: &TriggerRow,
        known: &Arc<Known>,
        raw: &RawValue,
    ) -> Result<(), Error> {
        let config = ConfigRow {
            id: Arc::clone(&known.id),
            kind: known.kind,
            config: raw.to_owned(),
        };
        let times = (row.saved_at, None);
        self.inner
            .store
            .insert_config(tx, &row.tenant, Some(&row.id), &config, times)
            .await?;
        let (configs, known) = (self.inner.configs.clone(), Arc::clone(known));
        tx.on_commit(move || configs.keep(&known));
        Ok(())
    }

    /// Wakes the schedulers, once it is durable that something is due then.
    fn tell_due(&self, tx: &mut Tx, at: Option<Time>) {
        let Some(at) = at else { return };
        let inner = Arc::clone(&self.inner);
        tx.on_commit(move || {
            inner.due.tell(at);
            tell_due(inner.db.hints(), at);
        });
    }
}

impl Triggers {
    /// Tells the matchers, once it is durable, that a log may have to be followed.
    fn tell_matchers(&self, tx: &mut Tx, row: &TriggerRow) {
        if row.kind != TriggerType::Event || row.status == TriggerStatus::Inactive {
            return;
        }
        let (inner, tenant) = (Arc::clone(&self.inner), Arc::clone(&row.tenant));
        tx.on_commit(move || inner.matching.saved(inner.db.hints(), &tenant));
    }
}

/// Tells the schedulers of other processes.
pub(crate) fn tell_due(hints: &Hints, at: Time) {
    hints.send(DUE, "", at.micros(), Keep::Least);
}

/// A trigger as it is shown; where it is called is added by who knows the server's address.
fn shown(row: TriggerRow, now: Time) -> Trigger {
    // What was fired ahead is still to come.
    let is_ahead = |at: &Time| *at > now && at.since(now) <= LEAD;
    let ahead = row.fired_until.filter(is_ahead);
    let next = ahead.filter(|_| row.status == TriggerStatus::Active);
    Trigger {
        tenant: row.tenant,
        id: row.id.to_string(),
        name: row.name,
        kind: row.kind,
        status: row.status,
        config: StoredConfig::new(row.config),
        webhook_url: None,
        next_scheduled_run: next.or(row.next_run),
        created_at: row.created_at,
        updated_at: row.updated_at,
    }
}

fn preview(
    config: &Config,
    (kind, saved_at): (TriggerType, Time),
    from: Time,
    count: Option<u32>,
) -> Result<Vec<Time>, Error> {
    let count = count.unwrap_or(DEFAULT_PREVIEW);
    if count == 0 || count > MAX_PREVIEW {
        let detail = format!("must be 1 to {MAX_PREVIEW}, it is {count}");
        return Err(Problem::invalid("count", detail).into());
    }
    let occurrences = config.occurrences(saved_at).ok_or_else(|| {
        let detail = format!("a {kind} trigger does not fire by the clock");
        Problem::invalid("type", detail)
    })?;
    Ok(occurrences.preview(from, count))
}

/// What nobody said anything else for.
pub(crate) fn empty() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).unwrap_or_default()
}
