//! The watches, and what they change.

use std::fmt::Debug;

use futures_util::{StreamExt as _, TryStreamExt as _, pin_mut};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, Resource, ResourceExt as _,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until};

use super::{AgentTemplate, AgentThread, Inner, MANAGED_BY, cache::Cache, seen, state::Known};

impl Inner {
    pub(super) async fn watch_all(&self) {
        let namespace = &self.settings.namespace;
        let (name, value) = MANAGED_BY;
        let ours = watcher::Config::default().labels(&format!("{name}={value}"));
        let all = watcher::Config::default();
        let client = || self.client.clone();
        tokio::join!(
            self.follow(
                Api::<Pod>::namespaced(client(), namespace),
                ours,
                |known| &mut known.pods,
                pod_differs
            ),
            self.follow(
                Api::<AgentThread>::namespaced(client(), namespace),
                all.clone(),
                |known| &mut known.threads,
                thread_differs
            ),
            self.follow(
                Api::<AgentTemplate>::namespaced(client(), namespace),
                all.clone(),
                |known| &mut known.templates,
                |was, is| was.spec != is.spec
            ),
            self.follow(
                Api::<Node>::all(client()),
                all,
                |known| &mut known.nodes,
                seen::node_differs
            ),
            self.wake_in_time(),
        );
    }

    async fn follow<K>(
        &self,
        api: Api<K>,
        config: watcher::Config,
        of: impl Fn(&mut Known) -> &mut Cache<K>,
        differs: impl Fn(&K, &K) -> bool,
    ) where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        let kind = K::kind(&());
        let events = watcher(api, config)
            // Who set which field is half of an object, and of no interest.
            .map_ok(|event: Event<K>| event.modify(|it| it.managed_fields_mut().clear()))
            .default_backoff();
        pin_mut!(events);
        let mut is_down = false;
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    if std::mem::take(&mut is_down) {
                        tracing::info!(%kind, "is watched again");
                    }
                    self.state
                        .change(|known| of(known).watched(event, &differs));
                }
                // Once, and not at each attempt.
                Err(error) if !std::mem::replace(&mut is_down, true) => {
                    tracing::warn!(%kind, error = explained(&kind, &error), "cannot be watched, is tried again");
                }
                Err(error) => tracing::debug!(%kind, %error, "cannot be watched"),
            }
        }
    }

    /// Says that something has changed when patience with a node or a Pod is over.
    async fn wake_in_time(&self) {
        let mut changes = self.state.changes();
        loop {
            changes.mark_unchanged();
            let wait = self.state.next_look();
            let until = wait.map(|it| Instant::now() + it);
            tokio::select! {
                changed = changes.changed() => if changed.is_err() {
                    return;
                },
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                    self.state.change(|_| true);
                }
            }
        }
    }
}

/// What whoever installs an operator gets wrong has a word of its own.
fn explained(kind: &str, error: &watcher::Error) -> String {
    use watcher::Error::{InitialListFailed, WatchError, WatchFailed, WatchStartFailed};
    let code = match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status)) => status.code,
        WatchError(status) => status.code,
        _ => 0,
    };
    match (code, kind) {
        (404, "AgentThread" | "AgentTemplate") => {
            format!("{error}: are the custom resource definitions installed?")
        }
        (403, "Node") => format!(
            "{error}: without a ClusterRole that lists and watches nodes, the loss of one shows only when its Pods go"
        ),
        _ => error.to_string(),
    }
}

fn pod_differs(was: &Pod, is: &Pod) -> bool {
    // Its deadline does not count: what matters is that it goes.
    was.metadata.deletion_timestamp.is_some() != is.metadata.deletion_timestamp.is_some()
        || was.spec.as_ref().map(|it| &it.node_name) != is.spec.as_ref().map(|it| &it.node_name)
        || was.status != is.status
}

fn thread_differs(was: &AgentThread, is: &AgentThread) -> bool {
    let (was_meta, is_meta) = (&was.metadata, &is.metadata);
    was.spec != is.spec
        || was_meta.labels != is_meta.labels
        || was_meta.finalizers != is_meta.finalizers
        || was_meta.deletion_timestamp.is_some() != is_meta.deletion_timestamp.is_some()
        // A status that we did not write is put right.
        || was.status != is.status
}
