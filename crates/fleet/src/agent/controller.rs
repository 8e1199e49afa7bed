//! What an agent has to do with its controller: it registers, asks, says how versions went, and has
//! itself told when to ask.

use std::time::Duration;

use tidewire_client::{AgentStatus, ConfigQuery, Error, NewFleetAgent, OfferedConfig};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{
    Inner,
    kept::{Held, Kept},
    pace::about,
};

/// So often it asks as if it had nothing: whatever went wrong with tags is healed then.
const RECONCILE: Duration = Duration::from_mins(10);

/// What a round knows of those before it.
struct Rounds {
    is_registered: bool,
    /// When it asks without a tag.
    reconcile_at: Instant,
    /// There was nothing for it, or the controller does not know it.
    has_nothing: bool,
}

impl Inner {
    pub(super) async fn ask_controller(&self, stop: &CancellationToken) {
        let mut rounds = Rounds {
            is_registered: false,
            reconcile_at: Instant::now() + RECONCILE,
            has_nothing: false,
        };
        loop {
            let Some(outcome) = stop.run_until_cancelled(self.round(&mut rounds)).await else {
                return;
            };
            let (now, interval) = (self.clock.now(), self.interval());
            let wait = {
                let mut state = self.state();
                match &outcome {
                    Ok(()) => {
                        let next = about(interval);
                        state.controller.went_well(now, next);
                        next
                    }
                    Err(error) => {
                        let most = self.options.max_backoff;
                        let wait = state
                            .controller
                            .failed(now, error, most, most.max(interval));
                        tracing::warn!(%error, ?wait, "the controller was not reached, goes on with what is here");
                        wait
                    }
                }
            };
            // A word that there is something to be had does not wear down a controller that fails.
            let wakes = outcome.is_ok();
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(wait) => {}
                () = self.for_controller.notified(), if wakes => {}
            }
        }
    }

    /// All that there is to say and to ask.
    async fn round(&self, rounds: &mut Rounds) -> Result<(), Error> {
        let fresh = !rounds.is_registered;
        if fresh {
            self.register().await?;
            rounds.is_registered = true;
        }
        let reconciles = rounds.reconcile_at <= Instant::now();
        match self.ask(reconciles).await {
            Ok(offered) => {
                rounds.has_nothing = false;
                if reconciles {
                    rounds.reconcile_at = Instant::now() + RECONCILE;
                }
                if let Some(offered) = offered {
                    self.offered(offered);
                }
            }
            // There is no config yet; or the controller does not know it, and does so behind the next
            // round.
            Err(error) if error.is_not_found() => {
                rounds.is_registered = fresh;
                if !fresh {
                    // Whoever forgot the agent forgot what it said.
                    if !std::mem::replace(&mut rounds.has_nothing, true) {
                        self.step(Kept::unheard);
                    }
                    return Ok(());
                }
            }
            Err(error) => return Err(error),
        }
        self.say().await.inspect_err(|error| {
            rounds.is_registered &= !error.is_not_found();
        })
    }

    async fn register(&self) -> Result<(), Error> {
        let options = &self.options;
        let agent = NewFleetAgent {
            agent_id: self.state().kept.agent_id.clone(),
            name: options.name.clone(),
            labels: options.labels.clone(),
        };
        let registered = options.controller.fleet().register(&agent).await?;
        tracing::info!(agent_id = registered.agent_id, "registered");
        self.step(|mut kept| {
            kept.agent_id = Some(registered.agent_id);
            kept.poll_url = Some(registered.poll_url);
            kept.poll_interval_seconds = Some(registered.poll_interval_seconds);
            kept
        });
        self.registered.notify_one();
        Ok(())
    }

    async fn ask(&self, reconciles: bool) -> Result<Option<OfferedConfig>, Error> {
        let query = {
            let state = self.state();
            let kept = &state.kept;
            ConfigQuery {
                poll_url: kept.poll_url.clone(),
                agent_id: kept.agent_id.clone(),
                etag: kept.etag().filter(|_| !reconciles).map(str::to_owned),
                revision: state.told,
                wait_seconds: None,
            }
        };
        self.options.controller.fleet().config(&query).await
    }

    fn offered(&self, offered: OfferedConfig) {
        let held = Held {
            version: offered.version,
            etag: offered.etag,
            config: offered.config,
        };
        tracing::debug!(version = held.version, "a config came");
        self.step(|kept| kept.offered(held));
        self.for_worker.notify_one();
    }

    /// Says how versions went, as far as that is not said.
    async fn say(&self) -> Result<(), Error> {
        let (agent_id, unsaid) = {
            let kept = &self.state().kept;
            (kept.agent_id.clone(), kept.unsaid.clone())
        };
        let Some(agent_id) = agent_id else {
            return Ok(());
        };
        for status in &unsaid {
            match self.report(&agent_id, status).await {
                Err(error) if matches!(error.status(), Some(400 | 422)) => {
                    // It does not know the version, as a store that was restored does not.
                    tracing::warn!(%error, version = status.version, "the controller does not take a report");
                }
                said => said?,
            }
            self.step(|kept| kept.said(status));
        }
        Ok(())
    }

    async fn report(&self, agent_id: &str, status: &AgentStatus) -> Result<(), Error> {
        let fleet = self.options.controller.fleet();
        fleet.report(agent_id, status).await
    }

    /// Has itself told when there is something to be had. Only a word: what it misses, asking finds.
    pub(super) async fn watch_controller(&self, stop: &CancellationToken) {
        if !self.options.watch {
            return;
        }
        let watching = async {
            loop {
                let agent_id = self.state().kept.agent_id.clone();
                let Some(agent_id) = agent_id else {
                    self.registered.notified().await;
                    continue;
                };
                let mut watch = self.options.controller.fleet().watch(&agent_id);
                let error = loop {
                    match watch.next().await {
                        Ok(revision) => {
                            self.state().told = Some(revision);
                            self.for_controller.notify_one();
                        }
                        Err(error) => break error,
                    }
                };
                tracing::debug!(%error, "is not told of changes, and asks by itself");
                // Without the one who told, what it told of says nothing.
                self.state().told = None;
                sleep(about(self.interval().min(self.options.max_backoff))).await;
            }
        };
        stop.run_until_cancelled(watching).await;
    }
}
