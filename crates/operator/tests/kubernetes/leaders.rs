//! Which of several operators leads.

use std::sync::Arc;

use tidewire_core::Clock;
use tidewire_operator::kubernetes::Candidate;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, PATIENCE};

struct Operator {
    stop: CancellationToken,
    leads: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

/// Says while it leads, also when it is dropped in the middle of it.
struct Leads(Arc<watch::Sender<bool>>);

impl Drop for Leads {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

impl Operator {
    async fn new(cluster: &Cluster, name: &str) -> Self {
        let (client, stop) = (crate::as_operator(cluster).await, CancellationToken::new());
        let (sender, leads) = watch::channel(false);
        let sender = Arc::new(sender);
        let mut candidate = Candidate::new(client, &cluster.namespace, name, Clock::system());
        let until = stop.clone();
        let task = tokio::spawn(async move {
            let work = |stop: CancellationToken| {
                let sender = Arc::clone(&sender);
                async move {
                    sender.send_replace(true);
                    let _leads = Leads(sender);
                    stop.cancelled().await;
                }
            };
            candidate.lead(&until, work).await;
        });
        Operator { stop, leads, task }
    }

    async fn until(&mut self, leads: bool) {
        let waited = tokio::time::timeout(PATIENCE, self.leads.wait_for(|it| *it == leads));
        let seen = waited.await.expect("in time");
        drop(seen.expect("it runs"));
    }
}

#[tokio::test]
async fn one_leads_and_the_next_follows_at_once_when_it_resigns_and_in_time_when_it_dies() {
    let Some(cluster) = Cluster::new().await else {
        return;
    };
    let mut first = Operator::new(&cluster, "first").await;
    first.until(true).await;
    let mut second = Operator::new(&cluster, "second").await;
    let mut third = Operator::new(&cluster, "third").await;
    assert!(!*second.leads.borrow() && !*third.leads.borrow());
    first.stop.cancel();
    first.task.await.expect("it ends");
    let second_leads = tokio::select! {
        () = second.until(true) => true,
        () = third.until(true) => false,
    };
    let (mut leader, mut other) = match second_leads {
        true => (second, third),
        false => (third, second),
    };
    assert!(!*other.leads.borrow_and_update());
    // Killed, it resigns from nothing.
    leader.task.abort();
    let _ = (&mut leader.task).await;
    other.until(true).await;
}

#[tokio::test]
async fn a_leader_whose_lease_another_has_stops_at_once() {
    let Some(cluster) = Cluster::new().await else {
        return;
    };
    let mut first = Operator::new(&cluster, "first").await;
    first.until(true).await;
    let leases = cluster.api::<k8s_openapi::api::coordination::v1::Lease>();
    let taken = serde_json::json!({"spec": {"holderIdentity": "somebody-else"}});
    let patch = kube::api::Patch::Merge(taken);
    let params = kube::api::PatchParams::default();
    leases
        .patch(tidewire_operator::kubernetes::LEASE, &params, &patch)
        .await
        .expect("it is there");
    first.until(false).await;
}
