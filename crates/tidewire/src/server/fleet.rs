//! The fleet of this process: what is offered to agents, and to servers of Tidewire themselves, of
//! which this is one. Its own settings come from the same controller, and what became of them is said
//! there, as any agent does.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use serde_json::value::RawValue;
use tidewire_core::{Clock, Problem, principal::DEFAULT_TENANT};
use tidewire_db::Db;
use tidewire_fleet::{
    AttemptState, Error, Fleet, Labels, Offer, Registration, Report, SERVERS, ServerSettings,
};
use tidewire_jobs::JobSettings;
use tidewire_triggers::Triggers;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::tasks::host_name;
use crate::{
    config::{Config, Log},
    logging,
};

/// How long it waits after the store was away.
const AGAIN: Duration = Duration::from_secs(5);
/// So often it asks though nothing was told: who never asks counts as away.
const ASK_EVERY: Duration = Duration::from_secs(30);

pub(super) fn open(db: &Db, clock: &Clock, config: &Config, streams: &CancellationToken) -> Fleet {
    Fleet::new(
        db.clone(),
        clock.clone(),
        config.fleet,
        check,
        streams.clone(),
    )
}

/// What servers could not use is not pushed to them.
fn check(config: &RawValue) -> Result<(), Problem> {
    let settings = ServerSettings::parse(config)?;
    if let Some(filter) = &settings.log_level {
        let wrong = |why| Problem::invalid("/config/log_level", format!("`{filter}` {why}"));
        Log::check_filter(filter).map_err(wrong)?;
    }
    Ok(())
}

/// This server as a member of its own fleet. Cheap to clone.
#[derive(Clone)]
pub(super) struct Member {
    fleet: Fleet,
    tenant: Arc<str>,
    agent_id: Arc<str>,
    labels: Labels,
    jobs: watch::Sender<JobSettings>,
    triggers: Triggers,
    /// As the server was started.
    started: Arc<(JobSettings, String)>,
}

impl Member {
    pub(super) fn new(
        fleet: &Fleet,
        jobs: &watch::Sender<JobSettings>,
        triggers: &Triggers,
        config: &Config,
        address: SocketAddr,
    ) -> Self {
        let host = host_name();
        let own = || format!("{host}:{}", address.port());
        let agent_id = config.worker.name.clone().unwrap_or_else(own);
        let mut labels = BTreeMap::from([
            (SERVERS.to_owned(), "server".to_owned()),
            ("host".to_owned(), host.clone()),
        ]);
        for role in config.roles.iter() {
            labels.insert(format!("role.{}", role.name()), "yes".to_owned());
        }
        let started = (jobs.borrow().clone(), config.log.filter.clone());
        Member {
            fleet: fleet.clone(),
            tenant: DEFAULT_TENANT.into(),
            agent_id: agent_id.into(),
            labels,
            jobs: jobs.clone(),
            triggers: triggers.clone(),
            started: Arc::new(started),
        }
    }

    /// Goes by what it is offered, until `stop`.
    pub(super) async fn follow(self, stop: CancellationToken) {
        let follow = async {
            loop {
                if let Err(error) = self.follow_once().await {
                    tracing::warn!(%error, "live settings are not followed, it will be tried again");
                }
                tokio::time::sleep(AGAIN).await;
            }
        };
        stop.run_until_cancelled(follow).await;
    }

    async fn follow_once(&self) -> Result<(), Error> {
        let registration = Registration {
            agent_id: Some(self.agent_id.to_string()),
            name: None,
            labels: self.labels.clone(),
        };
        self.fleet.register(&self.tenant, registration).await?;
        let agent_id = self.agent_id.to_string();
        let mut watching = self.fleet.watch(&self.tenant, Some(agent_id)).await?;
        loop {
            let told = tokio::time::timeout(ASK_EVERY, watching.next()).await;
            if matches!(told, Ok(None)) {
                return Ok(());
            }
            let asked = self.fleet.offered(&self.tenant, Some(&self.agent_id));
            let offered = asked.await?;
            if told.is_err() {
                continue;
            }
            match offered {
                Some(offer) => self.take(&offer).await?,
                None => self.go_by(&ServerSettings::default())?,
            }
        }
    }

    async fn take(&self, offer: &Offer) -> Result<(), Error> {
        let taken = ServerSettings::parse(&offer.config).map_err(Error::from);
        let taken = taken.and_then(|settings| self.go_by(&settings));
        let (state, error) = match taken {
            Ok(()) => {
                tracing::info!(version = offer.version, "goes by other live settings");
                (AttemptState::Applied, None)
            }
            Err(error) => {
                tracing::warn!(version = offer.version, %error, "live settings that cannot be used: the last ones stay");
                (AttemptState::Failed, Some(error.to_string()))
            }
        };
        let report = Report {
            version: offer.version,
            state,
            error,
        };
        self.fleet
            .report(&self.tenant, &self.agent_id, report)
            .await
    }

    /// All or nothing: what can fail comes first.
    fn go_by(&self, settings: &ServerSettings) -> Result<(), Error> {
        let (started, filter) = &*self.started;
        let filter = settings.log_level.as_ref().unwrap_or(filter);
        logging::set_filter(filter).map_err(|why| Problem::invalid("/config/log_level", why))?;
        let queue_limits = settings.queue_limits(&started.queue_limits);
        self.jobs.send_if_modified(|live| {
            let is_other = live.queue_limits != queue_limits;
            live.queue_limits = queue_limits;
            is_other
        });
        self.triggers
            .set_rates(settings.event_rate, settings.endpoint_rate);
        Ok(())
    }
}
