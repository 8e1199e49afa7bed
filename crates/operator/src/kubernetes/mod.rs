//! Instances as Pods.
//!
//! Each instance is three things of one name: a Pod, the Secret with its key, and the AgentThread that
//! owns both, unless somebody else made that or its thread keeps it. The AgentThread is written first and
//! goes last, with the instance's name on it all the while; so whoever comes after an operator that was
//! killed sees each instance, however little there is of it, and an instance without a Pod is one that
//! failed.
//!
//! Reads are watches ([`watch`]), what is known is in memory ([`cache`]), and what a Pod's state means is
//! a pure function ([`seen`]). Requests are server-side applies and deletes, each of which may be sent
//! twice. What people read of it, in status and events, is written behind ([`status`]).

mod cache;
mod crds;
mod driver;
mod error;
mod events;
mod leader;
mod made;
mod seen;
mod state;
mod status;
mod watch;

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use kube::{Api, Client, Config};
use tidewire_core::Clock;

pub use crds::{
    AgentTemplate, AgentTemplateSpec, AgentThread, AgentThreadSpec, AgentThreadStatus, Recipe,
    ThreadPhase, Volume,
};
use events::Events;
pub use leader::{Candidate, LEASE};
pub use made::{AGENT_THREAD, DRAIN, MANAGED_BY, WORKER};
use seen::Patience;
use state::State;

/// Under which name what we wrote is ours: the API tells apart who set which field.
const FIELDS: &str = "tidewire-operator";

#[derive(Clone, Debug)]
pub struct Settings {
    /// Where all of it is. One operator, or several of which one leads, works a namespace.
    pub namespace: String,
    /// The server that Pods ask, as it is reached from there.
    pub gateway: String,
    /// How long a node that is not ready is waited for, before its Pods count as lost.
    pub node_grace: Duration,
    /// How long a Pod may take until it is ready.
    pub start_within: Duration,
}

/// How a cluster is reached, and as whom.
#[derive(Clone)]
pub struct Cluster {
    pub client: Client,
    /// Where it is used, unless somebody says otherwise.
    pub namespace: String,
}

impl Cluster {
    /// By the kubeconfig that there is (`KUBECONFIG`, or in the home folder), or as the Pod that this is.
    pub async fn here() -> Result<Cluster, String> {
        let config = Config::infer().await;
        let config = config.map_err(|error| format!("no cluster is known: {error}"))?;
        let namespace = config.default_namespace.clone();
        let client = Client::try_from(config);
        let client = client.map_err(|error| format!("the cluster cannot be reached: {error}"))?;
        Ok(Cluster { client, namespace })
    }
}

/// A namespace in which instances are Pods. Clones are the same.
#[derive(Clone)]
pub struct Kubernetes {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    clock: Clock,
    state: State,
    events: Events,
    client: Client,
    pods: Api<Pod>,
    secrets: Api<Secret>,
    claims: Api<PersistentVolumeClaim>,
    threads: Api<AgentThread>,
}

impl Kubernetes {
    #[must_use]
    pub fn new(client: Client, settings: Settings, clock: Clock) -> Self {
        let namespace = settings.namespace.clone();
        let patience = Patience {
            node: settings.node_grace,
            start: settings.start_within,
        };
        let inner = Inner {
            clock: clock.clone(),
            state: State::new(patience, clock),
            events: Events::new(client.clone()),
            pods: Api::namespaced(client.clone(), &namespace),
            secrets: Api::namespaced(client.clone(), &namespace),
            claims: Api::namespaced(client.clone(), &namespace),
            threads: Api::namespaced(client.clone(), &namespace),
            client,
            settings,
        };
        Kubernetes {
            inner: Arc::new(inner),
        }
    }

    /// Keeps what is known up to date, for as long as it is waited for. Whoever only stands by does this too, and
    /// knows everything at once when he leads.
    pub async fn watch(&self) {
        // Four watches at once are a large future.
        Box::pin(self.inner.watch_all()).await;
    }

    /// Returns when it is known what there is.
    pub async fn synced(&self) {
        let mut changes = self.inner.state.changes();
        while !self.inner.state.known().is_synced() && changes.changed().await.is_ok() {}
    }

    /// Keeps what people read up to date, for as long as it is waited for. For the one that leads.
    pub async fn say(&self) {
        self.inner.say_all().await;
    }
}
