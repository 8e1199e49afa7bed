//! The driver of Pods against a real Kubernetes API: kube-apiserver and etcd, nodes played by KWOK. It has
//! the rights that are deployed, and no others. Runs with `TIDEWIRE_TEST_FULL=1` alone.

#![cfg(feature = "kubernetes")]

#[path = "kubernetes/cluster.rs"]
mod cluster;
#[path = "kubernetes/instances.rs"]
mod instances;
#[path = "kubernetes/leaders.rs"]
mod leaders;
#[path = "kubernetes/losses.rs"]
mod losses;
#[path = "kubernetes/threads.rs"]
mod threads;

use std::time::Duration;

use cluster::{Cluster, until};
use tidewire_core::Clock;
use tidewire_operator::{
    Driver as _, Instance, Phase, Start, ThreadKey,
    kubernetes::{AgentTemplateSpec, Kubernetes, Recipe, Settings},
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// An operator's driver in a namespace of its own. Dropped, it is as dead as one that was killed.
struct House {
    cluster: Cluster,
    driver: Kubernetes,
    _guard: DropGuard,
}

const GATEWAY: &str = "http://tidewire.example:8080";

impl House {
    async fn new() -> Option<Self> {
        let cluster = Cluster::new().await?;
        cluster.template("a", template(Some("a"))).await;
        let house = House::in_cluster(cluster).await;
        until("the template is seen", async || {
            (!house.driver.templates().is_empty()).then_some(())
        })
        .await;
        Some(house)
    }

    /// Another operator where there may be one already.
    async fn in_cluster(cluster: Cluster) -> Self {
        let settings = Settings {
            namespace: cluster.namespace.clone(),
            gateway: GATEWAY.to_owned(),
            node_grace: Duration::from_secs(2),
            start_within: Duration::from_mins(5),
        };
        let driver = Kubernetes::new(as_operator(&cluster).await, settings, Clock::system());
        let stop = CancellationToken::new();
        let (runs, until) = (driver.clone(), stop.clone());
        tokio::spawn(async move {
            let both = async { tokio::join!(runs.watch(), runs.say()) };
            until.run_until_cancelled(both).await;
        });
        House {
            cluster,
            driver,
            _guard: stop.drop_guard(),
        }
    }

    async fn instance(&self, name: &str) -> Option<Instance> {
        let all = self.driver.instances().await.expect("they are known");
        all.into_iter().find(|it| &*it.name == name)
    }

    /// Starts one, and waits until it runs.
    async fn ready(&self, start: Start) {
        let name = start.name.clone();
        self.driver.start(start).await.expect("it starts");
        self.phase(&name, |it| *it == Phase::Ready).await;
    }

    /// Waits until an instance is so.
    async fn phase(&self, name: &str, is: impl Fn(&Phase) -> bool) -> Phase {
        until("the instance's phase", async || {
            let phase = self.instance(name).await?.phase;
            is(&phase).then_some(phase)
        })
        .await
    }

    /// Waits until nothing shows of an instance any more.
    async fn gone(&self, name: &str) {
        until("nothing is left of it", async || {
            self.instance(name).await.is_none().then_some(())
        })
        .await;
    }

    /// Why an instance failed.
    async fn failure(&self, name: &str) -> String {
        let failed = self.phase(name, |it| matches!(it, Phase::Failed(_))).await;
        match failed {
            Phase::Failed(why) => why,
            other => panic!("{other:?}"),
        }
    }
}

/// With the rights of the operator that is deployed, and no others.
async fn as_operator(cluster: &Cluster) -> kube::Client {
    cluster::client(&cluster.operators_kubeconfig()).await
}

fn template(agent: Option<&str>) -> AgentTemplateSpec {
    AgentTemplateSpec {
        agent: agent.map(str::to_owned),
        tenant: None,
        image: "example/agent:1".to_owned(),
        warm: 0,
        max_instances: None,
        drain_seconds: None,
        recipe: Recipe::default(),
    }
}

fn start(name: &str, thread: Option<&str>) -> Start {
    Start {
        name: name.into(),
        tenant: "default".into(),
        agent: Some("a".into()),
        thread: thread.map(Into::into),
        api_key: format!("key-of-{name}"),
    }
}

fn key(thread: &str) -> ThreadKey {
    ThreadKey {
        tenant: "default".into(),
        thread: thread.into(),
    }
}
