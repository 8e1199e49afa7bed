//! Starting and stopping instances.

use std::{fmt::Debug, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Resource, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use tokio::{sync::watch, time::timeout};

use super::{
    AgentThread, DRAIN, FIELDS, Inner, Kubernetes, WORKER,
    error::{driver_error, or_gone},
    events::Told,
    made::{self, Plan},
    seen::Seen,
    state::LastTurn,
};
use crate::{Driver, DriverError, Instance, Note, Pinned, Start, StopHow, Template, ThreadKey};

/// How long the first list of what there is may take.
const SYNCED_WITHIN: Duration = Duration::from_secs(10);

impl Driver for Kubernetes {
    fn name(&self) -> &'static str {
        "kubernetes"
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.inner.state.changes()
    }

    fn templates(&self) -> Vec<Template> {
        self.inner.state.known().template_list()
    }

    async fn instances(&self) -> Result<Vec<Instance>, DriverError> {
        self.inner.be_synced().await?;
        self.inner.confirm().await?;
        Ok(self.inner.state.instances())
    }

    fn pinned(&self) -> Vec<Pinned> {
        self.inner.state.known().pinned()
    }

    async fn start(&self, start: Start) -> Result<(), DriverError> {
        let inner = &*self.inner;
        inner.be_synced().await?;
        inner.state.change(|known| {
            known.pods.make(&start.name);
            false
        });
        let made = inner.start(&start).await;
        inner.state.change(|known| {
            known
                .pods
                .made(&start.name, made.as_ref().ok().map(|(pod, _)| pod));
            true
        });
        let (_, thread) = made?;
        let said = match &start.thread {
            Some(_) => format!("Pod {} has the thread", start.name),
            None => format!("Pod {} waits for a thread", start.name),
        };
        inner.events.tell(&thread, Told::Started, said).await;
        Ok(())
    }

    async fn bind(&self, name: &str, key: &ThreadKey) -> Result<(), DriverError> {
        let inner = &*self.inner;
        let thread = inner.state.known().thread_of(name).cloned();
        let Some(thread) = thread else {
            return Err(DriverError::Refused(format!(
                "there is no AgentThread of the instance {name}"
            )));
        };
        let mut spec = thread.spec.clone();
        spec.thread_id = Some(key.thread.to_string());
        let bound = made::own_thread(&thread.name_any(), spec, Some(name));
        let bound = inner.apply(&inner.threads, &bound).await?;
        inner.state.change(|known| {
            known.threads.answered(bound.clone());
            true
        });
        let said = format!("the warm Pod {name} has the thread");
        inner.events.tell(&bound, Told::Bound, said).await;
        Ok(())
    }

    async fn stop(&self, name: &str, how: StopHow) -> Result<(), DriverError> {
        let inner = &*self.inner;
        inner.state.change(|known| {
            known.stopping.insert(name.to_owned());
            true
        });
        let stopped = inner.stop(name, how).await;
        if stopped.is_err() {
            // It shows as it is again, and whoever asked asks again.
            inner.state.change(|known| known.stopping.remove(name));
        }
        stopped
    }

    async fn forget(&self, key: &ThreadKey) -> Result<(), DriverError> {
        let inner = &*self.inner;
        let leaving: Vec<_> = {
            let known = inner.state.known();
            let all = known.threads.all();
            all.filter(|it| {
                it.metadata.deletion_timestamp.is_some() && it.is_of(&key.tenant, &key.thread)
            })
            .cloned()
            .collect()
        };
        for thread in leaving {
            inner.let_go(&thread).await?;
        }
        Ok(())
    }

    async fn note(&self, key: &ThreadKey, note: Note<'_>) -> Result<(), DriverError> {
        let inner = &*self.inner;
        let thread = {
            let known = inner.state.known();
            known.thread_for(&key.tenant, &key.thread).cloned()
        };
        let (told, said) = match note {
            Note::Turn { turn, .. } => {
                let last = LastTurn {
                    turn: turn.to_owned(),
                    at: inner.clock.now(),
                };
                inner.state.change(|known| {
                    known.turns.insert(key.clone(), last);
                    known.waits.remove(key);
                    true
                });
                return Ok(());
            }
            Note::Waits { why } => {
                inner.state.change(|known| {
                    known.waits.insert(key.clone(), why.to_owned());
                    true
                });
                (Told::Waits, why.to_owned())
            }
            Note::Crashed { why, again_in } => {
                let told = match thread.as_ref().is_some_and(|it| inner.is_nodes_fault(it)) {
                    true => Told::NodeLost,
                    false => Told::Crashed,
                };
                (
                    told,
                    format!("{why}; its turn is taken over by another Pod, in {again_in:?}"),
                )
            }
        };
        if let Some(thread) = thread {
            inner.events.tell(&thread, told, said).await;
        }
        Ok(())
    }
}

impl Inner {
    async fn be_synced(&self) -> Result<(), DriverError> {
        let mut changes = self.state.changes();
        let synced =
            async { while !self.state.known().is_synced() && changes.changed().await.is_ok() {} };
        timeout(SYNCED_WITHIN, synced).await.map_err(|_| {
            DriverError::Unavailable(
                "the cluster has not said yet what there is; the log says why".to_owned(),
            )
        })
    }

    /// Asks about Pods that we made and the watch does not know.
    async fn confirm(&self) -> Result<(), DriverError> {
        let names = self.state.known().pods.unconfirmed();
        for name in names {
            let there = self.pods.get_opt(&name).await;
            let there = there.map_err(|error| driver_error("cannot ask for a Pod", error))?;
            self.state.change(|known| {
                match there {
                    Some(pod) => known.pods.answered(pod),
                    None => known.pods.is_gone(&name),
                }
                true
            });
        }
        Ok(())
    }

    /// What is started, with the AgentThread that it has.
    async fn start(&self, start: &Start) -> Result<(Pod, AgentThread), DriverError> {
        let (plan, own) = {
            let known = self.state.known();
            let agent = start.agent.as_deref();
            let Some(template) = known.template(&start.tenant, agent) else {
                return Err(DriverError::Refused(format!(
                    "no AgentTemplate is for the agent {}",
                    agent.unwrap_or("that has no name")
                )));
            };
            let own = start.thread.as_deref();
            let own = own
                .and_then(|thread| known.thread_for(&start.tenant, thread))
                .cloned();
            // What is left of an instance that failed may be there still, with an AgentThread of its own.
            let own = own.filter(|it| !made::is_ours(it) || !it.labels().contains_key(WORKER));
            (Plan::new(template, own.as_ref().map(|it| &it.spec)), own)
        };
        let thread = self.take(start, &plan, own.as_deref()).await?;
        if let Some(volume) = &plan.recipe.volume {
            self.apply(&self.claims, &made::claim(&thread, volume))
                .await?;
        }
        self.apply(&self.secrets, &made::secret(start, &thread))
            .await?;
        let pod = made::pod(start, &plan, &thread, &self.settings.gateway);
        let pod = self.apply(&self.pods, &pod).await?;
        Ok((pod, thread))
    }

    /// The AgentThread with the instance's name on it: from here on the instance shows.
    async fn take(
        &self,
        start: &Start,
        plan: &Plan,
        own: Option<&AgentThread>,
    ) -> Result<AgentThread, DriverError> {
        let worker = Some(&*start.name);
        let taken = match own {
            Some(own) if !made::is_ours(own) => {
                self.apply_metadata(&own.name_any(), worker).await?
            }
            Some(own) => {
                let kept = made::own_thread(&own.name_any(), own.spec.clone(), worker);
                self.apply(&self.threads, &kept).await?
            }
            None => {
                let name = made::name_of(start, plan);
                self.state.known().threads.make(&name);
                let applied = self.apply(&self.threads, &made::thread(&name, start)).await;
                let answer = applied.as_ref().ok();
                self.state.known().threads.made(&name, answer);
                return applied;
            }
        };
        self.state.known().threads.answered(taken.clone());
        Ok(taken)
    }

    async fn stop(&self, name: &str, how: StopHow) -> Result<(), DriverError> {
        let seconds = match how {
            StopHow::AtOnce => 0,
            StopHow::Within(grace) => u32::try_from(grace.as_secs()).unwrap_or(u32::MAX).max(1),
        };
        let gone = or_gone(self.pods.delete(name, &grace(seconds)).await);
        let gone = gone.map_err(|error| driver_error("cannot delete a Pod", error))?;
        self.state.change(|known| {
            // What the API still has of what it deletes, unless nothing is left.
            match gone.and_then(|it| it.left()) {
                Some(pod) => known.pods.answered(pod),
                None => known.pods.is_gone(name),
            }
            true
        });
        let gone = or_gone(self.secrets.delete(name, &DeleteParams::default()).await);
        gone.map_err(|error| driver_error("cannot delete a Secret", error))?;
        let thread = self.state.known().thread_of(name).cloned();
        let Some(thread) = thread else {
            return Ok(());
        };
        let goes_by_itself = matches!(how, StopHow::Within(_));
        if goes_by_itself && thread.spec.thread_id.is_some() {
            let said =
                format!("Pod {name} goes: the thread has nothing to do, or others need the room");
            self.events.tell(&thread, Told::Stopped, said).await;
        }
        self.give_back(&thread, goes_by_itself).await
    }

    /// An AgentThread without its instance: ours goes, unless its thread keeps it; somebody else's stays.
    async fn give_back(&self, thread: &AgentThread, rests: bool) -> Result<(), DriverError> {
        let name = thread.name_any();
        if thread.metadata.deletion_timestamp.is_some() {
            return self.let_go(thread).await;
        }
        if !made::is_ours(thread) {
            if rests {
                self.state.known().rested.insert(name.clone());
            }
            let given = self.apply_metadata(&name, None).await?;
            self.answered(given);
            return Ok(());
        }
        if made::is_kept(thread) {
            let kept = made::own_thread(&name, thread.spec.clone(), None);
            let kept = self.apply(&self.threads, &kept).await?;
            self.answered(kept);
            return Ok(());
        }
        let gone = or_gone(self.threads.delete(&name, &DeleteParams::default()).await);
        gone.map_err(|error| driver_error("cannot delete an AgentThread", error))?;
        self.let_go(thread).await
    }

    /// Nothing of ours keeps it any longer.
    async fn let_go(&self, thread: &AgentThread) -> Result<(), DriverError> {
        let name = thread.name_any();
        let finalizers: Vec<_> = thread
            .finalizers()
            .iter()
            .filter(|it| *it != DRAIN)
            .collect();
        let labels = json!({ WORKER: null });
        let patch = json!({"metadata": {"finalizers": finalizers, "labels": labels}});
        let params = PatchParams {
            field_manager: Some(FIELDS.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(patch);
        let left = or_gone(self.threads.patch(&name, &params, &patch).await);
        let left = left.map_err(|error| driver_error("cannot let an AgentThread go", error))?;
        let is_left = left.as_ref().is_some_and(|it| !it.finalizers().is_empty());
        match left {
            Some(left) if is_left => self.answered(left),
            _ => self.state.change(|known| {
                known.threads.is_gone(&name);
                true
            }),
        }
        Ok(())
    }

    fn answered(&self, thread: AgentThread) {
        self.state.change(|known| {
            known.threads.answered(thread);
            true
        });
    }

    fn is_nodes_fault(&self, thread: &AgentThread) -> bool {
        let known = self.state.known();
        let worker = thread.labels().get(WORKER);
        let seen = worker.and_then(|it| self.state.seen(&known, it));
        matches!(seen, Some(Seen::Failed(failure)) if failure.is_of_node())
    }

    /// Server-side apply: what is asked for twice happens once.
    pub(super) async fn apply<K>(&self, api: &Api<K>, object: &K) -> Result<K, DriverError>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
    {
        let params = PatchParams::apply(FIELDS).force();
        let patch = Patch::Apply(object);
        let applied = api.patch(&object.name_any(), &params, &patch).await;
        applied.map_err(|error| driver_error(&format!("cannot apply a {}", K::kind(&())), error))
    }

    /// The same with what is ours of an AgentThread that is not.
    async fn apply_metadata(
        &self,
        name: &str,
        worker: Option<&str>,
    ) -> Result<AgentThread, DriverError> {
        let patch = json!({
            "apiVersion": AgentThread::api_version(&()),
            "kind": AgentThread::kind(&()),
            "metadata": made::taken(name, worker),
        });
        let params = PatchParams::apply(FIELDS).force();
        let applied = self
            .threads
            .patch(name, &params, &Patch::Apply(patch))
            .await;
        applied.map_err(|error| driver_error("cannot apply an AgentThread", error))
    }
}

pub(super) fn grace(seconds: u32) -> DeleteParams {
    DeleteParams::default().grace_period(seconds)
}
