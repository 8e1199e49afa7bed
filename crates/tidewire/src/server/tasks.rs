//! What runs in the background of a process, by its roles.

use std::sync::Arc;

use tidewire_http::{AppService, Limits};
use tidewire_jobs::{Processors, Worker, WorkerOptions};
use tidewire_sites::sync_worker;
use tidewire_triggers::{DELIVERIES, dispatch_worker};
use tokio::{net::TcpListener, sync::Mutex};

use super::{House, fleet::Member};
use crate::{
    config::{Config, Role},
    supervisor::Task,
};

impl House {
    /// What runs in the background, in the order of starting. HTTP is last: it is the first to stop.
    pub(super) fn tasks(
        &self,
        config: &Config,
        listener: TcpListener,
        api: AppService,
    ) -> Vec<Task> {
        let sharing = self.sharing.clone();
        let mut tasks = vec![Task::new("sharing", move |stop| {
            let sharing = sharing.clone();
            async move {
                sharing.keep(stop).await;
                Ok(())
            }
        })];
        if config.roles.has(Role::Sweeper) {
            let (access, jobs) = (self.access.clone(), self.jobs.clone());
            let triggers = self.triggers.clone();
            tasks.push(Task::new("sweeper", move |stop| {
                let (access, jobs, triggers) = (access.clone(), jobs.clone(), triggers.clone());
                async move {
                    let keys = tidewire_access::worker::sweep_request_keys(
                        access,
                        stop.clone().cancelled_owned(),
                    );
                    let executions = triggers.keep_sweeping(stop.clone());
                    tokio::join!(keys, jobs.keep_sweeping(stop.clone()), executions);
                    Ok(())
                }
            }));
        }
        if config.roles.has(Role::Api) || config.roles.has(Role::Worker) {
            let jobs = self.jobs.clone();
            tasks.push(Task::new("job-keeper", move |stop| {
                let jobs = jobs.clone();
                async move {
                    jobs.keep(stop).await;
                    Ok(())
                }
            }));
        }
        if config.roles.has(Role::Worker) {
            tasks.push(self.worker(config));
        }
        if config.roles.has(Role::Scheduler) {
            let triggers = self.triggers.clone();
            tasks.push(Task::new("scheduler", move |stop| {
                let triggers = triggers.clone();
                async move {
                    triggers.keep_scheduling(stop).await;
                    Ok(())
                }
            }));
            let triggers = self.triggers.clone();
            tasks.push(Task::new("matcher", move |stop| {
                let triggers = triggers.clone();
                async move {
                    triggers.keep_matching(stop).await;
                    Ok(())
                }
            }));
        }
        if config.roles.has(Role::Relay) && self.bus.is_apart() {
            let (triggers, bus) = (self.triggers.clone(), Arc::clone(&self.bus));
            tasks.push(Task::new("relay", move |stop| {
                let (triggers, bus) = (triggers.clone(), Arc::clone(&bus));
                async move {
                    triggers.keep_relaying(bus, stop).await;
                    Ok(())
                }
            }));
        }
        if config.roles.has(Role::Persister) && self.threads.hot_log().is_apart() {
            let threads = self.threads.clone();
            tasks.push(Task::new("persister", move |stop| {
                let log = Arc::clone(threads.hot_log());
                async move {
                    log.persist(stop).await;
                    Ok(())
                }
            }));
        }
        if config.roles.has(Role::Archiver) {
            let archives = self.archives.clone();
            tasks.push(Task::new("archiver", move |stop| {
                let archives = archives.clone();
                async move {
                    archives.keep_archiving(stop).await;
                    Ok(())
                }
            }));
        }
        let fleet = self.fleet.clone();
        tasks.push(Task::new("fleet-keeper", move |stop| {
            let fleet = fleet.clone();
            async move {
                fleet.keep(stop).await;
                Ok(())
            }
        }));
        if let Ok(address) = listener.local_addr() {
            let member = Member::new(
                &self.fleet,
                &self.job_settings,
                &self.triggers,
                config,
                address,
            );
            tasks.push(Task::new("live-settings", move |stop| {
                let member = member.clone();
                async move {
                    member.follow(stop).await;
                    Ok(())
                }
            }));
        }
        // Every process has the dashboard, and so tells callers apart.
        let access = self.access.clone();
        tasks.push(Task::new("key-keeper", move |stop| {
            let access = access.clone();
            async move {
                let hears = tidewire_access::worker::hear_revocations(
                    access.clone(),
                    stop.clone().cancelled_owned(),
                );
                let keeps = tidewire_access::worker::keep_last_used(access, stop.cancelled_owned());
                tokio::join!(hears, keeps);
                Ok(())
            }
        }));
        tasks.push(serve(config, listener, api));
        tasks
    }

    /// Runs jobs, and beside them, in slots of their own, deliveries and syncs. One task, so that all
    /// drain at once.
    fn worker(&self, config: &Config) -> Task {
        let (jobs, options) = (self.jobs.clone(), worker_options(config));
        let (triggers, client) = (self.triggers.clone(), self.outbound.clone());
        let sites = self.sites.clone();
        let (dispatch, bus) = (config.triggers.dispatch, Arc::clone(&self.bus));
        let mut processors = Processors::built_in();
        self.archives.register(&mut processors);
        let queues = options.queues.as_ref();
        let delivers = queues.is_none_or(|queues| queues.contains(DELIVERIES));
        Task::new("worker", move |stop| {
            let worker = Worker::new(jobs.clone(), processors.clone(), options.clone());
            let dispatch = delivers
                .then(|| dispatch_worker(&triggers, client.clone(), dispatch, options.clone()))
                .map(|worker| worker.fed_by(Arc::clone(&bus)));
            let syncs = sync_worker(&sites, options.clone());
            async move {
                let deliver = async {
                    if let Some(dispatch) = dispatch {
                        dispatch.run(stop.clone()).await;
                    }
                };
                tokio::join!(worker.run(stop.clone()), syncs.run(stop.clone()), deliver);
                Ok(())
            }
        })
    }
}

fn worker_options(config: &Config) -> WorkerOptions {
    let queues = config.worker.queues.as_ref();
    WorkerOptions {
        name: config.worker.name.clone().unwrap_or_else(process_name),
        concurrency: config.worker.concurrency,
        queues: queues.map(|queues| queues.iter().map(|queue| queue.as_str().into()).collect()),
        // HTTP has had its half; what is left of the rest pays for giving jobs back.
        drain: config.drain.mul_f64(0.4),
    }
}

/// `host:pid`, in the alphabet of names.
fn process_name() -> String {
    format!("{}:{}", host_name(), std::process::id())
}

/// This machine's name, in the alphabet of names.
pub(super) fn host_name() -> String {
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    host.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') {
                c
            } else {
                '-'
            }
        })
        .take(96)
        .collect()
}

fn serve(config: &Config, listener: TcpListener, api: AppService) -> Task {
    let limits = Limits {
        connections: config.max_connections,
        // The supervisor's deadline is for all roles; HTTP leaves the workers some of it.
        drain: config.drain.mul_f64(0.5),
        ..Limits::default()
    };
    let address = config.addr;
    // The first start takes the listener that was bound before anything ran.
    let bound = Arc::new(Mutex::new(Some(listener)));
    Task::new("http", move |stop| {
        let (bound, api) = (Arc::clone(&bound), api.clone());
        async move {
            let listener = match bound.lock().await.take() {
                Some(listener) => listener,
                None => TcpListener::bind(address)
                    .await
                    .map_err(|error| error.to_string())?,
            };
            let cut = tidewire_http::serve(listener, api, stop, limits).await;
            if cut > 0 {
                tracing::warn!(connections = cut, "cut at the end of the drain");
            }
            Ok(())
        }
    })
}
