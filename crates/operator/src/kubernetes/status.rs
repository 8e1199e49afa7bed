//! What people read of a thread: the status of its AgentThread, written behind what happens, and put
//! right if somebody else writes it. What was stopped and is still there long after is cleared away
//! here as well.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use k8s_openapi::{
    api::core::v1::Pod,
    apimachinery::pkg::apis::meta::v1::{self, Condition},
    jiff::{SignedDuration, Timestamp},
};
use kube::{
    Resource as _, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tidewire_core::Time;
use tokio::time::sleep;

use super::{
    AgentThread, AgentThreadStatus, FIELDS, Inner, ThreadPhase,
    driver::grace,
    error::{is_not_found, or_gone},
    made::{self, WORKER},
    seen::Seen,
    state::{Known, State, key},
};

/// The least time between two looks: what happens at once is written once.
const LOOK: Duration = Duration::from_millis(100);
/// How long a status may be out of date: an instance that starts at once is written of when it is ready.
const BEHIND: Duration = Duration::from_millis(250);
/// The least time between two statuses of one thread.
const EACH: Duration = Duration::from_secs(1);
/// Requests at a time.
const AT_ONCE: usize = 8;
/// How long after its time a Pod that was told to stop may be there. A node that is cut off never says that it
/// is gone.
const OVERDUE: SignedDuration = SignedDuration::from_secs(30);

/// The one condition, and its reasons.
const READY: &str = "Ready";

#[derive(Default)]
struct Written {
    /// Since when a status has been wrong.
    wrong: HashMap<String, Instant>,
    /// When one was last written.
    at: HashMap<String, Instant>,
}

impl Inner {
    pub(super) async fn say_all(&self) {
        let mut changes = self.state.changes();
        let mut written = Written::default();
        loop {
            changes.mark_unchanged();
            let (due, next) = self.due(&mut written);
            stream::iter(due)
                .for_each_concurrent(AT_ONCE, |(name, status)| self.write(name, status))
                .await;
            stream::iter(self.overdue())
                .for_each_concurrent(AT_ONCE, |name| self.clear_away(name))
                .await;
            sleep(LOOK).await;
            let wait = next.unwrap_or(OVERDUE.unsigned_abs());
            tokio::select! {
                _ = changes.changed() => {}
                () = sleep(wait) => {}
            }
        }
    }

    /// The statuses that are to be written now, and how long until the next.
    fn due(&self, written: &mut Written) -> (Vec<(String, AgentThreadStatus)>, Option<Duration>) {
        let (known, now) = (self.state.known(), Instant::now());
        let at = self.clock.now();
        let wrong: HashMap<_, _> = known
            .threads
            .all()
            .filter(|it| known.threads.is_synced() && known.pods.is_synced() && is_said(it))
            .filter_map(|thread| {
                let status = self.state.status(&known, thread, at);
                let differs = thread.status.as_ref() != Some(&status);
                differs.then(|| (thread.name_any(), status))
            })
            .collect();
        drop(known);
        written.wrong.retain(|name, _| wrong.contains_key(name));
        written.at.retain(|_, at| at.elapsed() < EACH);
        let (mut due, mut next) = (Vec::new(), None);
        for (name, status) in wrong {
            let since = *written.wrong.entry(name.clone()).or_insert(now);
            let before = written.at.get(&name);
            let until = before.map_or(since + BEHIND, |at| (*at + EACH).max(since + BEHIND));
            if until <= now {
                written.at.insert(name.clone(), now);
                due.push((name, status));
            } else {
                let wait = until - now;
                next = Some(next.map_or(wait, |it: Duration| it.min(wait)));
            }
        }
        // What fails is tried again.
        if !due.is_empty() {
            next = Some(next.map_or(EACH, |it| it.min(EACH)));
        }
        (due, next)
    }

    async fn write(&self, name: String, status: AgentThreadStatus) {
        let patch = json!({
            "apiVersion": AgentThread::api_version(&()),
            "kind": AgentThread::kind(&()),
            "status": status,
        });
        let params = PatchParams::apply(FIELDS).force();
        let patch = Patch::Apply(patch);
        match self.threads.patch_status(&name, &params, &patch).await {
            Ok(thread) => self.state.change(|known| {
                known.threads.answered(thread);
                false
            }),
            Err(error) if is_not_found(&error) => {}
            Err(error) => tracing::warn!(name, %error, "a status could not be written"),
        }
    }

    /// Pods that were told to stop, and whose time is long over.
    fn overdue(&self) -> Vec<String> {
        let now = Timestamp::from_microsecond(self.clock.now().micros()).unwrap_or_default();
        let known = self.state.known();
        let is_overdue = |pod: &Pod| {
            let until = pod.metadata.deletion_timestamp.as_ref();
            until.is_some_and(|until| until.0.duration_until(now) > OVERDUE)
        };
        let overdue = known.pods.all().filter(|pod| is_overdue(pod));
        overdue.map(|pod| pod.name_any()).collect()
    }

    async fn clear_away(&self, name: String) {
        match or_gone(self.pods.delete(&name, &grace(0)).await) {
            Ok(_) => tracing::warn!(name, "a Pod that did not end in its time was cleared away"),
            Err(error) => tracing::warn!(name, %error, "a Pod could not be cleared away"),
        }
    }
}

/// What goes has nothing more to say, unless its instance is being drained.
fn is_said(thread: &AgentThread) -> bool {
    thread.metadata.deletion_timestamp.is_none() || thread.labels().contains_key(WORKER)
}

/// A phase, with why in a word and in a sentence.
struct Stands {
    phase: ThreadPhase,
    reason: &'static str,
    message: String,
}

impl Stands {
    fn new(phase: ThreadPhase, reason: &'static str, message: impl Into<String>) -> Self {
        Stands {
            phase,
            reason,
            message: message.into(),
        }
    }
}

impl State {
    fn status(&self, known: &Known, thread: &AgentThread, now: Time) -> AgentThreadStatus {
        let before = thread.status.clone().unwrap_or_default();
        let worker = thread.labels().get(WORKER);
        let stands = match worker {
            Some(worker) => self.stands_with(known, thread, worker),
            None => stands_without(known, thread),
        };
        let last = key(thread).and_then(|key| known.turns.get(&key));
        let pod = worker.filter(|it| known.pods.get(it).is_some());
        AgentThreadStatus {
            phase: Some(stands.phase),
            pod: pod.cloned(),
            worker: worker.cloned(),
            last_turn: last.map(|it| it.turn.clone()).or(before.last_turn),
            last_turn_at: last.map(|it| seconds(it.at)).or(before.last_turn_at),
            observed_generation: thread.metadata.generation,
            conditions: vec![ready(&stands, &before.conditions, thread, now)],
        }
    }

    fn stands_with(&self, known: &Known, thread: &AgentThread, worker: &str) -> Stands {
        let goes = known.stopping.contains(worker) || thread.metadata.deletion_timestamp.is_some();
        if goes {
            return Stands::new(ThreadPhase::Draining, "Draining", "its Pod is to go");
        }
        match self.seen(known, worker) {
            Some(Seen::Ready) => Stands::new(ThreadPhase::Ready, "PodReady", "its Pod is ready"),
            Some(Seen::Starting(Some(why))) => {
                Stands::new(ThreadPhase::Starting, "PodStarting", why)
            }
            Some(Seen::Starting(None)) | None => {
                Stands::new(ThreadPhase::Starting, "PodStarting", "its Pod starts")
            }
            Some(Seen::Failed(failure)) => {
                let reason = match failure.is_of_node() {
                    true => "NodeLost",
                    false => "PodFailed",
                };
                Stands::new(ThreadPhase::Failed, reason, failure.to_string())
            }
        }
    }
}

fn stands_without(known: &Known, thread: &AgentThread) -> Stands {
    if made::is_ours(thread) || known.is_resting(thread) {
        return Stands::new(ThreadPhase::Idle, "Idle", "its next turn brings a Pod");
    }
    let pending = |reason, message: String| Stands::new(ThreadPhase::Pending, reason, message);
    let agent = thread.spec.agent.as_deref();
    let Some(key) = key(thread) else {
        return pending("NoThread", "it names no thread".to_owned());
    };
    if known.template(thread.tenant(), agent).is_none() {
        let agent = agent.unwrap_or("that has no name");
        return pending(
            "NoTemplate",
            format!("no AgentTemplate is for the agent {agent}"),
        );
    }
    let first = known.thread_for(&key.tenant, &key.thread);
    if let Some(first) = first.filter(|it| it.name_any() != thread.name_any()) {
        return pending(
            "Shadowed",
            format!("{} is the same thread", first.name_any()),
        );
    }
    match known.waits.get(&key) {
        Some(why) => pending("Waits", why.clone()),
        None => pending("Pending", "it has no Pod yet".to_owned()),
    }
}

fn ready(stands: &Stands, before: &[Condition], thread: &AgentThread, now: Time) -> Condition {
    let status = match stands.phase {
        ThreadPhase::Ready => "True",
        _ => "False",
    };
    let before = before.iter().find(|it| it.type_ == READY);
    let same = before.filter(|it| it.status == status);
    Condition {
        type_: READY.to_owned(),
        status: status.to_owned(),
        reason: stands.reason.to_owned(),
        message: stands.message.clone(),
        observed_generation: thread.metadata.generation,
        last_transition_time: same
            .map_or_else(|| seconds(now), |it| it.last_transition_time.clone()),
    }
}

/// As the API writes times.
fn seconds(at: Time) -> v1::Time {
    let seconds = at.micros().div_euclid(1_000_000);
    v1::Time(Timestamp::from_second(seconds).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::seen;

    #[test]
    fn a_time_is_written_as_it_is_read_again() {
        let at = seconds(Time::from_micros(1_700_000_000_999_999));
        let text = serde_json::to_string(&at).unwrap();
        assert_eq!(text, "\"2023-11-14T22:13:20Z\"");
        assert_eq!(serde_json::from_str::<v1::Time>(&text).unwrap(), at);
        assert_eq!(seen::time(&at), Time::from_micros(1_700_000_000_000_000));
    }
}
