//! Which threads have open turns, for whoever starts instances of agents. What is said is read from the
//! store each time; that it may have changed is a hint, sent by whatever writes turns or leases.

use std::{pin::pin, time::Duration};

use serde::Serialize;
use tidewire_core::Time;
use tidewire_db::{Hint, Hints, Keep, Reach, Tx};
use tokio::{
    sync::{broadcast, broadcast::error::RecvError, watch},
    time::{Instant, sleep, sleep_until},
};

use crate::{Error, Threads, TurnStatus, service::digest};

const TOPIC: &str = "agents.demand";
/// What changes so soon after another change is told with it.
const GATHERED: Duration = Duration::from_millis(20);
/// How often the store is looked at where other processes tell nothing.
const UNTOLD: Duration = Duration::from_millis(250);

/// Which threads have open turns.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = AgentDemand)]
pub struct Demand {
    /// Names what is said here. An answer that is held waits for another one.
    pub revision: String,
    /// As many as there are: they are not limited.
    pub threads: Vec<ThreadDemand>,
}

/// A thread with an open turn: the first of them.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ThreadDemand {
    pub tenant_id: String,
    pub thread_id: String,
    /// The turn's; null if it names none.
    #[schema(required)]
    pub agent: Option<String>,
    pub turn_id: String,
    /// `accepted` or `running`.
    pub status: TurnStatus,
    /// When the turn came.
    pub since: Time,
    /// Who runs it, or did last.
    #[schema(required)]
    pub worker: Option<String>,
    /// The instance that has the thread.
    #[schema(required)]
    pub leased_by: Option<String>,
    /// How long its lease goes on. That it goes on for longer makes no new revision.
    #[schema(required)]
    pub leased_until: Option<Time>,
}

/// Says that demand may have changed.
pub(crate) struct Bell {
    rung: watch::Sender<()>,
    hints: Hints,
}

impl Bell {
    pub(crate) fn new(hints: Hints) -> Self {
        Bell {
            rung: watch::Sender::default(),
            hints,
        }
    }

    /// What this transaction writes may change it.
    pub(crate) fn changes(&self, tx: &mut Tx) {
        let (rung, hints) = (self.rung.clone(), self.hints.clone());
        tx.on_commit(move || {
            rung.send_replace(());
            hints.send(TOPIC, "", 0, Keep::Greatest);
        });
    }
}

impl Demand {
    fn of(threads: Vec<ThreadDemand>) -> Self {
        let mut said = Vec::with_capacity(threads.len() * 6);
        for thread in &threads {
            said.extend([
                thread.tenant_id.as_str(),
                &thread.thread_id,
                &thread.turn_id,
                thread.status.as_str(),
                // No name is empty.
                thread.worker.as_deref().unwrap_or_default(),
                thread.leased_by.as_deref().unwrap_or_default(),
            ]);
        }
        let mut revision = digest(&said);
        revision.truncate(32);
        Demand { revision, threads }
    }
}

impl Threads {
    /// Which threads of all tenants have open turns. With the revision of an answer before, it waits
    /// until there is another, for so long at most.
    pub async fn demand(&self, seen: Option<&str>, wait: Duration) -> Result<Demand, Error> {
        let deadline = Instant::now() + wait;
        let core = self.core();
        let mut rung = core.store.demand.rung.subscribe();
        let mut told = core.hints.subscribe();
        loop {
            rung.mark_unchanged();
            let now = core.clock.now();
            let threads = core.store.demand(&mut self.read_store(), now).await?;
            let demand = Demand::of(threads);
            if seen != Some(&demand.revision) || Instant::now() >= deadline {
                return Ok(demand);
            }
            let poll = match core.hints.reach() {
                Reach::Polled => core.settings.poll_interval.min(UNTOLD),
                Reach::Told | Reach::Alone => core.settings.poll_interval,
            };
            let poll = deadline.min(Instant::now() + poll);
            let others = pin!(heard(&mut told));
            tokio::select! {
                _ = rung.changed() => sleep(GATHERED).await,
                () = others => sleep(GATHERED).await,
                () = sleep_until(poll) => {}
                () = self.shutdown().cancelled() => return Ok(demand),
            }
        }
    }
}

/// Until another process says that demand may have changed, or may have said so.
async fn heard(told: &mut broadcast::Receiver<std::sync::Arc<Hint>>) {
    loop {
        match told.recv().await {
            Ok(hint) => match &*hint {
                Hint::One { topic, .. } if topic != TOPIC => {}
                _ => return,
            },
            Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
