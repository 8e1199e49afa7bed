//! Does what is planned: the server's side first, then the driver's.

use std::{sync::Arc, time::Duration};

use tidewire_client::LeaseEndStatus;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    Driver, Note, Start, StopHow, ThreadKey,
    leases::{Begun, Bound, Leases},
    metrics,
    plan::{Action, Buried, Said, Whose},
};

/// How long a thread is left alone whose lease somebody else was quicker to get. What is wanted says more
/// of it soon.
const REFUSED: Duration = Duration::from_secs(5);

/// What is to be remembered of an action.
#[derive(Clone, Debug)]
pub(crate) enum Learned {
    Ended(Arc<str>),
    /// It is left alone for a moment.
    PutOff(Arc<str>),
    NotStarted {
        whose: Whose,
        /// Nothing was tried: the server was not reached, or said no.
        wait: Option<Duration>,
        turn: Option<Arc<str>>,
    },
}

/// Calls of the driver at a time.
const AT_ONCE: usize = 32;

pub(crate) struct Acts<D> {
    leases: Arc<Leases>,
    driver: Arc<D>,
    grace: Duration,
    at_once: Semaphore,
}

impl<D: Driver> Acts<D> {
    pub fn new(leases: Arc<Leases>, driver: Arc<D>, grace: Duration) -> Self {
        Acts {
            leases,
            driver,
            grace,
            at_once: Semaphore::new(AT_ONCE),
        }
    }

    async fn driver(&self) -> (Option<SemaphorePermit<'_>>, &D) {
        (self.at_once.acquire().await.ok(), &self.driver)
    }

    /// `fresh` is the name for an instance that is started.
    pub async fn act(&self, action: Action, fresh: Arc<str>) -> Vec<Learned> {
        match action {
            Action::Start {
                tenant,
                agent,
                thread,
                turn,
            } => {
                let start = Start {
                    name: fresh,
                    tenant,
                    agent,
                    thread,
                    api_key: String::new(),
                };
                self.start(start, turn).await
            }
            Action::Bind { name, key } => self.bind(name, &key).await,
            Action::Retire { name, tenant, why } => {
                match self.leases.end(&name, &tenant, false).await {
                    Ok(LeaseEndStatus::Busy) => {
                        tracing::debug!(instance = %name, "it has a turn after all");
                        return vec![Learned::PutOff(name)];
                    }
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(instance = %name, %error, "its lease could not be ended");
                        return vec![Learned::PutOff(name)];
                    }
                }
                tracing::info!(instance = %name, ?why, "stops an instance");
                let how = StopHow::Within(self.grace);
                let mut learned = self.stop(&name, how).await;
                learned.push(Learned::Ended(name));
                learned
            }
            Action::Bury {
                name,
                tenant,
                key,
                why,
            } => self.bury(name, &tenant, key, why).await,
            Action::Evict { name } => {
                tracing::info!(instance = %name, "stops an instance that has a turn");
                self.stop(&name, StopHow::Within(self.grace)).await
            }
            Action::Lose { name, tenant } => self.lose(name, &tenant).await,
            Action::Forget { key } => {
                let (_permit, driver) = self.driver().await;
                let forgotten = driver.forget(&key).await;
                if let Err(error) = forgotten {
                    let (tenant, thread) = (key.tenant.clone(), key.thread.clone());
                    tracing::warn!(%tenant, %thread, %error, "a thread could not be let go");
                }
                // Until it shows that it is forgotten.
                let (whose, wait, turn) = (Whose::Thread(key), Some(Duration::from_secs(1)), None);
                vec![Learned::NotStarted { whose, wait, turn }]
            }
            Action::Note { key, said } => {
                match &said {
                    Said::Turn { turn, is_open } => {
                        let is_open = *is_open;
                        self.note(&key, Note::Turn { turn, is_open }).await;
                    }
                    Said::Waits { why } => self.note(&key, Note::Waits { why }).await,
                }
                Vec::new()
            }
        }
    }

    async fn start(&self, mut start: Start, turn: Option<Arc<str>>) -> Vec<Learned> {
        let name = Arc::clone(&start.name);
        let whose = match &start.thread {
            Some(thread) => Whose::Thread(ThreadKey {
                tenant: Arc::clone(&start.tenant),
                thread: Arc::clone(thread),
            }),
            None => Whose::Warm(Arc::clone(&start.tenant), start.agent.clone()),
        };
        let not_started = |wait| Learned::NotStarted { whose, wait, turn };
        let (agent, thread) = (start.agent.as_ref(), start.thread.as_ref());
        let begun = self.leases.begin(&name, &start.tenant, agent, thread);
        match begun.await {
            Ok(Begun::Held { api_key }) => start.api_key = api_key,
            Ok(Begun::Refused { why }) => {
                tracing::debug!(thread = ?start.thread, why, "somebody else has the thread");
                return vec![not_started(Some(REFUSED))];
            }
            Err(error) => {
                tracing::warn!(thread = ?start.thread, %error, "no lease could be had");
                return vec![not_started(Some(Duration::from_secs(1)))];
            }
        }
        let (tenant, thread) = (Arc::clone(&start.tenant), start.thread.clone());
        let (permit, driver) = self.driver().await;
        let started = driver.start(start).await;
        drop(permit);
        match started {
            Ok(()) => {
                metrics::started();
                tracing::info!(instance = %name, thread = thread.as_deref(), "started an instance");
                Vec::new()
            }
            Err(error) => {
                tracing::error!(instance = %name, %error, "an instance could not be started");
                let mut learned = self.lose(name, &tenant).await;
                learned.push(not_started(None));
                learned
            }
        }
    }

    async fn bind(&self, name: Arc<str>, key: &ThreadKey) -> Vec<Learned> {
        match self.leases.bind(&name, key).await {
            Ok(Bound::Held) => {}
            Ok(Bound::Refused) => {
                let whose = Whose::Thread(key.clone());
                let (wait, turn) = (Some(Duration::from_secs(1)), None);
                return vec![Learned::NotStarted { whose, wait, turn }];
            }
            Err(error) => {
                tracing::warn!(instance = %name, %error, "a thread could not be given to it");
                return vec![Learned::PutOff(name)];
            }
        }
        let (_permit, driver) = self.driver().await;
        match driver.bind(&name, key).await {
            Ok(()) => {
                tracing::info!(instance = %name, thread = %key.thread, "gave a thread to a warm instance");
                Vec::new()
            }
            Err(error) => {
                tracing::warn!(instance = %name, %error, "could not say which thread it has");
                vec![Learned::PutOff(name)]
            }
        }
    }

    async fn bury(
        &self,
        name: Arc<str>,
        tenant: &Arc<str>,
        key: Option<ThreadKey>,
        why: Buried,
    ) -> Vec<Learned> {
        match &why {
            Buried::Crashed { why, again_in } => {
                metrics::crashed();
                tracing::warn!(instance = %name, why, ?again_in, "an instance crashed");
            }
            Buried::LeaseLost | Buried::OtherAgent => {
                tracing::info!(instance = %name, ?why, "stops an instance at once");
            }
        }
        let mut learned = self.lose(Arc::clone(&name), tenant).await;
        if learned
            .iter()
            .any(|learned| matches!(learned, Learned::PutOff(_)))
        {
            return learned;
        }
        if let (Buried::Crashed { why, again_in }, Some(key)) = (&why, &key) {
            let again_in = *again_in;
            self.note(key, Note::Crashed { why, again_in }).await;
        }
        learned.extend(self.stop(&name, StopHow::AtOnce).await);
        learned
    }

    async fn lose(&self, name: Arc<str>, tenant: &Arc<str>) -> Vec<Learned> {
        match self.leases.end(&name, tenant, true).await {
            Ok(_) => vec![Learned::Ended(name)],
            Err(error) => {
                tracing::warn!(instance = %name, %error, "its lease could not be ended");
                vec![Learned::PutOff(name)]
            }
        }
    }

    async fn stop(&self, name: &Arc<str>, how: StopHow) -> Vec<Learned> {
        let (_permit, driver) = self.driver().await;
        match driver.stop(name, how).await {
            Ok(()) => Vec::new(),
            Err(error) => {
                tracing::warn!(instance = %name, %error, "an instance could not be stopped");
                vec![Learned::PutOff(Arc::clone(name))]
            }
        }
    }

    async fn note(&self, key: &ThreadKey, note: Note<'_>) {
        let (_permit, driver) = self.driver().await;
        let said = driver.note(key, note).await;
        if let Err(error) = said {
            tracing::debug!(thread = %key.thread, %error, "nothing could be said of a thread");
        }
    }
}
