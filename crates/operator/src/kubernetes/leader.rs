//! Which of several operators works: the one that holds a `Lease`. The others stand by.
//!
//! It saves work and noise, and nothing rests on it: who has a thread is the server's to say, so two that
//! believe to lead come to no harm. A leader that cannot renew gives up before another may take over,
//! by its own clock alone; nobody trusts the times that somebody else wrote, only how long he has seen
//! them stand still.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tidewire_core::{Clock, clock};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::metrics;

/// The Lease's name.
pub const LEASE: &str = "tidewire-operator";

/// How long nobody else leads after a leader's last word.
const DURATION: Duration = Duration::from_secs(15);
/// When a leader that could not renew gives up.
const GIVE_UP: Duration = Duration::from_secs(10);
/// How often a leader renews, and the others look.
const EVERY: Duration = Duration::from_secs(2);

/// One that would lead.
pub struct Candidate {
    leases: Api<Lease>,
    identity: String,
    clock: Clock,
    /// What the Lease last said, and since when it has said so.
    seen: Option<(Lease, Instant)>,
}

impl Candidate {
    /// `name` is who it is for people who read the Lease; what makes it differ from all others is added.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str, clock: Clock) -> Self {
        let random = u32::from_le_bytes(clock::random_bytes());
        Candidate {
            leases: Api::namespaced(client, namespace),
            identity: format!("{name}-{random:08x}"),
            clock,
            seen: None,
        }
    }

    /// Leads, again and again, until it is stopped: `work` is begun whenever the Lease is held, and dropped
    /// at once when it is lost. Its token is cancelled in order to stop, and it is waited for then.
    pub async fn lead<W>(
        &mut self,
        stop: &CancellationToken,
        mut work: impl FnMut(CancellationToken) -> W,
    ) where
        W: Future<Output = ()>,
    {
        metrics::leads(false);
        while let Some(since) = stop.run_until_cancelled(self.acquire()).await {
            tracing::info!(identity = self.identity, "leads");
            metrics::leads(true);
            let is_lost = tokio::select! {
                () = work(stop.child_token()) => false,
                () = self.keep(since) => true,
            };
            metrics::leads(false);
            if is_lost {
                tracing::warn!(identity = self.identity, "leads no more");
            } else {
                self.resign().await;
            }
        }
    }

    /// Returns as soon as this one leads, with the time that it counts from.
    async fn acquire(&mut self) -> Instant {
        loop {
            let asked = Instant::now();
            match self.take().await {
                Ok(Taken::Held) => return asked,
                Ok(Taken::ByAnother | Taken::Crossed) => {}
                Err(error) => tracing::warn!(%error, "cannot ask who leads"),
            }
            sleep(EVERY).await;
        }
    }

    /// Returns when this one may lead no longer.
    async fn keep(&mut self, mut renewed: Instant) {
        loop {
            sleep(EVERY).await;
            let until = renewed + GIVE_UP;
            let asked = Instant::now();
            match tokio::time::timeout_at(until, self.take()).await {
                Ok(Ok(Taken::Held)) => renewed = asked,
                Ok(Ok(Taken::ByAnother)) | Err(_) => return,
                Ok(Ok(Taken::Crossed)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "cannot say that it goes on leading"),
            }
            if Instant::now() + EVERY > renewed + GIVE_UP {
                return;
            }
        }
    }

    /// Leads from now on, or still, if nobody else does.
    async fn take(&mut self) -> Result<Taken, kube::Error> {
        let Some(lease) = self.leases.get_opt(LEASE).await? else {
            let first = Lease {
                metadata: ObjectMeta {
                    name: Some(LEASE.to_owned()),
                    ..ObjectMeta::default()
                },
                spec: Some(self.spec(None)),
            };
            return won(self.leases.create(&PostParams::default(), &first).await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        if holder != self.identity && !holder.is_empty() && !self.has_stood_still(&lease) {
            return Ok(Taken::ByAnother);
        }
        // It names the version that it replaces: of two at once, one wins.
        let mut next = lease;
        next.spec = Some(self.spec(Some(&spec)));
        won(self
            .leases
            .replace(LEASE, &PostParams::default(), &next)
            .await)
    }

    /// Whether its holder has said nothing for as long as he promised to.
    fn has_stood_still(&mut self, lease: &Lease) -> bool {
        let spec = lease.spec.as_ref();
        let promised = spec.and_then(|it| it.lease_duration_seconds);
        let promised = promised.and_then(|it| u64::try_from(it).ok());
        let promised = promised.map_or(DURATION, Duration::from_secs);
        match &self.seen {
            Some((seen, since)) if seen.spec == lease.spec => since.elapsed() >= promised,
            _ => {
                self.seen = Some((lease.clone(), Instant::now()));
                false
            }
        }
    }

    fn spec(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = Timestamp::from_microsecond(self.clock.now().micros()).unwrap_or_default();
        let before = before.cloned().unwrap_or_default();
        let goes_on = before.holder_identity.as_deref() == Some(&*self.identity);
        let transitions = before.lease_transitions.unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: match goes_on {
                true => before.acquire_time,
                false => Some(MicroTime(now)),
            },
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(transitions + i32::from(!goes_on)),
            ..LeaseSpec::default()
        }
    }

    /// The next one need not wait.
    async fn resign(&mut self) {
        let asked = tokio::time::timeout(EVERY, async {
            let mut lease = self.leases.get(LEASE).await?;
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() != Some(&*self.identity) {
                return Ok(());
            }
            spec.holder_identity = Some(String::new());
            let params = PostParams::default();
            self.leases.replace(LEASE, &params, &lease).await.map(drop)
        });
        if let Ok(Err(error)) = asked.await {
            tracing::warn!(%error, "the next leader has to wait until the Lease runs out");
        }
    }
}

enum Taken {
    Held,
    ByAnother,
    /// Somebody wrote at the same time; who, shows at the next look.
    Crossed,
}

fn won(answer: Result<Lease, kube::Error>) -> Result<Taken, kube::Error> {
    match answer {
        Ok(_) => Ok(Taken::Held),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(Taken::Crossed),
        Err(error) => Err(error),
    }
}
