//! Instances as processes of this machine: a command, run by a shell, with the instance's key in its environment.
//!
//! Each is a process group of its own, so that what a command starts is stopped along with it. They are
//! this process's children and go when it goes; what a process that was killed has left behind is found
//! when the next one starts ([`leftovers`]), shows as failed, and is cleared away as such.

mod leftovers;
mod output;

use std::{
    collections::BTreeMap,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tidewire_core::Clock;
use tokio::{
    process::{Child, Command},
    sync::watch,
    time::{sleep, timeout},
};

use crate::{API_KEY, Driver, DriverError, Instance, Phase, Start, StopHow, Template, ThreadKey};
use output::LastLine;

/// What is read of the output of a process that has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// An agent, and how its instances are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalAgent {
    /// `None` for turns that name none.
    pub agent: Option<Arc<str>>,
    /// For `sh -c`.
    pub command: String,
}

#[derive(Clone, Debug)]
pub struct LocalSettings {
    pub agents: Vec<LocalAgent>,
    /// The server that instances take their turns from.
    pub gateway: String,
    pub idle_timeout: Duration,
    pub warm: u32,
    pub drain: Duration,
    /// What tells this installation from others on the machine.
    pub installation: String,
    /// Variables of this process that are none of the instances' business.
    pub private: Vec<String>,
}

/// Kills its instances when it is dropped.
pub struct Local {
    inner: Arc<Inner>,
}

struct Inner {
    settings: LocalSettings,
    /// Says whose a process is, to whoever finds it later.
    mark: leftovers::Mark,
    clock: Clock,
    children: Mutex<BTreeMap<Arc<str>, Running>>,
    changes: watch::Sender<u64>,
}

struct Running {
    instance: Instance,
    /// None once it has ended: the numbers may be somebody else's then.
    groups: Vec<Pid>,
}

impl Local {
    #[must_use]
    pub fn new(settings: LocalSettings, clock: Clock) -> Self {
        let mark = leftovers::Mark::own(&settings.installation);
        let left = leftovers::find(&mark, clock.now());
        let children = left.into_iter().map(|it| {
            tracing::warn!(instance = %it.instance.name, "a process was left behind: it is cleared away");
            let name = Arc::clone(&it.instance.name);
            let (instance, groups) = (it.instance, it.groups);
            (name, Running { instance, groups })
        });
        Local {
            inner: Arc::new(Inner {
                mark,
                clock,
                children: Mutex::new(children.collect()),
                changes: watch::Sender::new(0),
                settings,
            }),
        }
    }

    fn command(&self, start: &Start, shell: &str) -> Command {
        let settings = &self.inner.settings;
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(shell)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        for name in &settings.private {
            command.env_remove(name);
        }
        command
            .envs(start.variables(&settings.gateway))
            .env(API_KEY, &start.api_key)
            .env(leftovers::MARK, self.inner.mark.of(&start.tenant));
        command
    }
}

impl Driver for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    fn outlives_operator(&self) -> bool {
        false
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    fn templates(&self) -> Vec<Template> {
        let settings = &self.inner.settings;
        let template = |it: &LocalAgent| Template {
            agent: it.agent.clone(),
            tenant: None,
            idle_timeout: settings.idle_timeout,
            warm: settings.warm,
            most: None,
            drain: settings.drain,
        };
        settings.agents.iter().map(template).collect()
    }

    async fn instances(&self) -> Result<Vec<Instance>, DriverError> {
        let children = self.inner.children();
        Ok(children.values().map(|it| it.instance.clone()).collect())
    }

    async fn start(&self, start: Start) -> Result<(), DriverError> {
        let inner = &self.inner;
        let agents = &inner.settings.agents;
        let Some(agent) = agents.iter().find(|it| it.agent == start.agent) else {
            let agent = start.agent.as_deref().unwrap_or("none");
            return Err(DriverError::Refused(format!(
                "no command is set for the agent `{agent}`"
            )));
        };
        // Held over the start, so that it is never seen without being there.
        let mut children = inner.children();
        if children.contains_key(&start.name) {
            return Ok(());
        }
        let mut child = self
            .command(&start, &agent.command)
            .spawn()
            .map_err(|error| DriverError::Unavailable(format!("cannot run sh: {error}")))?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let instance = Instance {
            name: Arc::clone(&start.name),
            tenant: start.tenant,
            agent: start.agent,
            thread: start.thread,
            phase: Phase::Ready,
            started_at: inner.clock.now(),
            idle_timeout: None,
        };
        let last = LastLine::default();
        let reading = [
            child.stdout.take().map(|out| {
                let name = Arc::clone(&start.name);
                tokio::spawn(output::tell(out, name, None))
            }),
            child.stderr.take().map(|out| {
                let name = Arc::clone(&start.name);
                tokio::spawn(output::tell(out, name, Some(last.clone())))
            }),
        ];
        let groups = group.into_iter().collect();
        children.insert(Arc::clone(&start.name), Running { instance, groups });
        drop(children);
        inner.changed();
        let (inner, name) = (Arc::clone(inner), start.name);
        tokio::spawn(async move {
            let ended = inner.wait(&name, child).await;
            for reading in reading.into_iter().flatten() {
                // What has gone elsewhere may keep its pipes open.
                let _ = timeout(LAST_WORDS, reading).await;
            }
            inner.ended(&name, &said(ended, &last.get()));
        });
        Ok(())
    }

    /// The process knows nothing of its thread: its key does.
    async fn bind(&self, name: &str, key: &ThreadKey) -> Result<(), DriverError> {
        if let Some(it) = self.inner.children().get_mut(name) {
            it.instance.thread = Some(Arc::clone(&key.thread));
        }
        self.inner.changed();
        Ok(())
    }

    async fn stop(&self, name: &str, how: StopHow) -> Result<(), DriverError> {
        let inner = &self.inner;
        let grace = {
            let mut children = inner.children();
            let Some(it) = children.get_mut(name) else {
                return Ok(());
            };
            if let Phase::Failed(_) = it.instance.phase {
                it.signal(Signal::KILL);
                children.remove(name);
                None
            } else {
                it.instance.phase = Phase::Stopping;
                match how {
                    StopHow::Within(grace) => {
                        it.signal(Signal::TERM);
                        Some(grace)
                    }
                    StopHow::AtOnce => {
                        it.signal(Signal::KILL);
                        None
                    }
                }
            }
        };
        inner.changed();
        if let Some(grace) = grace {
            let (inner, name) = (Arc::downgrade(inner), name.to_owned());
            tokio::spawn(async move {
                sleep(grace).await;
                let Some(inner) = inner.upgrade() else {
                    return;
                };
                if let Some(it) = inner.children().get(&*name) {
                    tracing::warn!(
                        instance = name,
                        ?grace,
                        "it did not stop in time, and is killed"
                    );
                    it.signal(Signal::KILL);
                }
            });
        }
        Ok(())
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        for it in self.inner.children().values() {
            it.signal(Signal::KILL);
        }
    }
}

impl Running {
    fn signal(&self, signal: Signal) {
        for group in &self.groups {
            // It may have ended by itself.
            let _ = kill_process_group(*group, signal);
        }
    }
}

impl Inner {
    /// Until the command has ended; whatever it leaves behind is killed.
    async fn wait(&self, name: &str, mut child: Child) -> Option<ExitStatus> {
        let ended = child.wait().await.ok();
        if let Some(it) = self.children().get_mut(name) {
            it.signal(Signal::KILL);
            it.groups.clear();
        }
        ended
    }

    fn ended(&self, name: &Arc<str>, why: &str) {
        {
            let mut children = self.children();
            let Some(it) = children.get_mut(name) else {
                return;
            };
            if it.instance.phase == Phase::Stopping {
                children.remove(name);
            } else {
                it.instance.phase = Phase::Failed(why.to_owned());
            }
        }
        self.changed();
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    fn children(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Running>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How it ended, in a few words.
fn said(ended: Option<ExitStatus>, last: &str) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    let how = match ended.map(|status| (status.code(), status.signal())) {
        Some((Some(code), _)) => format!("ended with status {code}"),
        Some((_, Some(signal))) => format!("killed by signal {signal}"),
        _ => "ended".to_owned(),
    };
    match last {
        "" => how,
        last => format!("{how}: {last}"),
    }
}

#[cfg(test)]
mod tests;
