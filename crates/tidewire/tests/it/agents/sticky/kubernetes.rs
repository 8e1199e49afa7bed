//! Instances as Pods, of operators that are processes of their own, in a real Kubernetes API. Its nodes are
//! played by KWOK, and the containers by processes of this machine: each finds what its Pod says in its
//! environment, and nothing else.
//!
//! A node that is lost leaves its containers running, as one does that is cut off: their keys are to be
//! worth nothing.

#[path = "../../../../../operator/tests/kubernetes/cluster.rs"]
mod cluster;

use std::{
    collections::{BTreeSet, HashMap},
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Stdio},
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use futures_util::{StreamExt as _, pin_mut};
use k8s_openapi::api::core::v1::{Container, EnvVar, Node, Pod, Secret};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams},
    runtime::watcher::{self, Event, watcher},
};
use rustix::process::{Pid, Signal, kill_process};
use tidewire_core::duration;
use tidewire_operator::kubernetes::{
    AgentTemplateSpec, AgentThread, AgentThreadSpec, Recipe, ThreadPhase,
};
use tidewire_testkit::{eventually, servers};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::cluster::Cluster;
use super::{
    scenarios::talking,
    world::{LEASE, Setup, World, answered, begin, completed, leases, said, words},
};
use crate::support::{House, Server, tidewire};

const ADMIN: &str = "the-operators-key";

suite!(Pods);

pub struct Pods {
    server: Server,
    cluster: Cluster,
    kubelet: Kubelet,
    operators: Vec<Operator>,
    /// How many were ever started.
    started: usize,
    max: u32,
}

struct Operator {
    child: Child,
    log: PathBuf,
}

impl Drop for Operator {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            eprintln!("--- {}\n{log}\n---", self.log.display());
        }
    }
}

impl World for Pods {
    async fn is_there() -> bool {
        servers::kubernetes().await.is_some()
    }

    async fn start(setup: Setup) -> Self {
        let cluster = Cluster::new().await.expect("it is there");
        let house = House::on(setup.engine).await.with_admin(ADMIN);
        let seconds = u32::try_from(setup.idle_timeout.as_secs()).expect("not for ever");
        let pace = duration::format(setup.pace);
        let template = AgentTemplateSpec {
            agent: None,
            tenant: None,
            image: "tidewire".to_owned(),
            warm: setup.warm,
            max_instances: None,
            drain_seconds: None,
            recipe: Recipe {
                args: Some(
                    ["reference-agent", "--delay", &pace]
                        .map(str::to_owned)
                        .into(),
                ),
                idle_timeout_seconds: Some(seconds),
                ..Recipe::default()
            },
        };
        cluster.template("everybody", template).await;
        let mut world = Pods {
            server: house.start(),
            kubelet: Kubelet::start(&cluster),
            cluster,
            operators: Vec::new(),
            started: 0,
            max: setup.max,
        };
        for _ in 0..setup.operators {
            world.start_operator().await;
        }
        world
    }

    fn server(&self) -> &Server {
        &self.server
    }

    async fn running(&self) -> BTreeSet<String> {
        let pods = self.cluster.pods().await.into_iter();
        let runs = |pod: &Pod| {
            let phase = pod.status.as_ref().and_then(|it| it.phase.as_deref());
            phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
        };
        pods.filter(runs).map(|pod| pod.name_any()).collect()
    }

    async fn crash(&self, instance: &str) {
        self.kubelet.kill(instance);
    }

    async fn kill_operator(&mut self) {
        drop(self.operators.remove(0));
    }

    async fn start_operator(&mut self) {
        self.started += 1;
        let log = format!("operator-{}.log", self.started);
        let log = self.server.house.path().join(log);
        let mut operator = self.server.cli(&["operator", "--addr", "127.0.0.1:0"]);
        operator
            .args(["--namespace", &self.cluster.namespace, "--lease", LEASE])
            .args(["--node-grace", "2s", "--max", &self.max.to_string()])
            .env("KUBECONFIG", self.cluster.operators_kubeconfig())
            .env("TIDEWIRE_LOG_LEVEL", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("a log file"));
        let child = operator.spawn().expect("it starts");
        let mut operator = Operator { child, log };
        let stdout = operator.child.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines();
        let said = lines.next().expect("a line").expect("it says something");
        assert!(said.starts_with("listening on http://"), "{said}");
        // Read to its end, or it could not write any more.
        thread::spawn(move || lines.for_each(drop));
        self.operators.push(operator);
    }
}

impl Drop for Pods {
    fn drop(&mut self) {
        self.operators.clear();
        self.kubelet.end();
    }
}

/// Runs what the containers of Pods are to run.
struct Kubelet {
    processes: Arc<Mutex<HashMap<String, Child>>>,
    _guard: DropGuard,
}

impl Kubelet {
    fn start(cluster: &Cluster) -> Self {
        let processes: Arc<Mutex<HashMap<String, Child>>> = Arc::default();
        let stop = CancellationToken::new();
        let (runs, cluster, until) = (Arc::clone(&processes), cluster.clone(), stop.clone());
        tokio::spawn(async move {
            let both = async { tokio::join!(follow(&cluster, &runs), report(&cluster, &runs)) };
            until.run_until_cancelled(Box::pin(both)).await;
        });
        Kubelet {
            processes,
            _guard: stop.drop_guard(),
        }
    }

    /// Kills a container's process. That it ended is said of its Pod when it is seen.
    fn kill(&self, pod: &str) {
        let mut processes = lock(&self.processes);
        let process = processes.get_mut(pod).expect("it runs");
        process.kill().expect("it can be killed");
    }

    fn end(&self) {
        for (_, mut process) in lock(&self.processes).drain() {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn lock(processes: &Mutex<HashMap<String, Child>>) -> MutexGuard<'_, HashMap<String, Child>> {
    processes.lock().expect("nobody panicked")
}

/// Starts and stops processes with their Pods.
async fn follow(cluster: &Cluster, processes: &Mutex<HashMap<String, Child>>) {
    let events = watcher(cluster.api::<Pod>(), watcher::Config::default());
    pin_mut!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(pod) | Event::InitApply(pod)) => {
                let name = pod.name_any();
                let phase = pod.status.as_ref().and_then(|it| it.phase.as_deref());
                let is_there = lock(processes).contains_key(&name);
                if phase == Some("Running")
                    && !is_there
                    && let Some(process) = run(cluster, &pod).await
                {
                    lock(processes).insert(name, process);
                }
            }
            Ok(Event::Delete(pod)) => {
                // A node that is lost says nothing to its containers: they go on.
                let node = pod.spec.as_ref().and_then(|it| it.node_name.as_deref());
                let is_lost = match node {
                    Some(node) => is_lost(cluster, node).await,
                    None => true,
                };
                let processes = lock(processes);
                if let Some(process) = processes.get(&pod.name_any()).filter(|_| !is_lost) {
                    let _ = kill_process(Pid::from_child(process), Signal::TERM);
                }
            }
            _ => {}
        }
    }
}

async fn is_lost(cluster: &Cluster, node: &str) -> bool {
    let nodes: Api<Node> = Api::all(cluster.admin.clone());
    let node = nodes.get_opt(node).await.expect("asked");
    !node.is_some_and(|it| cluster::is_ready(&it))
}

/// What a kubelet says of containers that have ended.
async fn report(cluster: &Cluster, processes: &Mutex<HashMap<String, Child>>) {
    loop {
        let ended: Vec<_> = lock(processes)
            .extract_if(|_, it| it.try_wait().is_ok_and(|status| status.is_some()))
            .map(|(pod, mut it)| {
                let status = it.wait().ok().and_then(|it| it.code());
                (pod, status.unwrap_or(137))
            })
            .collect();
        for (pod, status) in ended {
            cluster.end_container(&pod, status).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn run(cluster: &Cluster, pod: &Pod) -> Option<Child> {
    let container: &Container = pod.spec.as_ref()?.containers.first()?;
    let mut command = tidewire();
    command
        .current_dir(std::env::temp_dir())
        .args(container.args.iter().flatten())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    for variable in container.env.iter().flatten() {
        command.env(&variable.name, value(cluster, variable).await?);
    }
    Some(command.spawn().expect("it starts"))
}

/// As the kubelet finds it out: from the Pod, or from the Secret that it names.
async fn value(cluster: &Cluster, variable: &EnvVar) -> Option<String> {
    if let Some(value) = &variable.value {
        return Some(value.clone());
    }
    let secret = variable.value_from.as_ref()?.secret_key_ref.as_ref()?;
    assert_eq!(secret.key, "api-key");
    cluster.key_of(&secret.name).await
}

#[tokio::test]
async fn a_lost_node_costs_no_turn_and_what_runs_there_still_can_do_nothing() {
    if !Pods::is_there().await {
        return;
    }
    for is_gone in [true, false] {
        let world = Pods::start(Setup {
            pace: Duration::from_millis(50),
            ..Setup::default()
        })
        .await;
        let server = world.server();
        let id = begin(server, "one", &words(100)).await;
        let lost = talking(server, "one", &id).await;
        world.cluster.add_node("b").await;
        match is_gone {
            true => world.cluster.delete_node("a").await,
            false => world.cluster.cut_off_node("a").await,
        }
        let done = completed(server, "one", &id).await;
        assert_ne!(done["worker"], lost.as_str());
        assert_eq!(said(server, "one", "turn.completed").await, 1);
        let next = answered(server, "one", "what is 6 * 7?").await;
        assert_eq!(done["worker"], next.as_str());
        assert_eq!(world.running().await, BTreeSet::from([next]));
    }
}

#[tokio::test]
async fn a_thread_that_somebody_makes_waits_with_its_instance_for_its_first_turn() {
    if !Pods::is_there().await {
        return;
    }
    let world = Pods::start(Setup::default()).await;
    let spec = AgentThreadSpec {
        thread_id: Some("one".to_owned()),
        ..AgentThreadSpec::default()
    };
    world.cluster.thread("mine", spec).await;
    let threads = world.cluster.api::<AgentThread>();
    let pod = eventually("it is ready", async || {
        let status = threads.get("mine").await.ok()?.status?;
        let is_ready = status.phase == Some(ThreadPhase::Ready);
        status.pod.filter(|_| is_ready)
    })
    .await;
    assert_eq!(answered(world.server(), "one", "what is 6 * 7?").await, pod);
    // Deleted, it goes when its turn is over.
    threads
        .delete("mine", &DeleteParams::default())
        .await
        .expect("it may");
    eventually("it is gone", async || {
        threads.get_opt("mine").await.ok()?.is_none().then_some(())
    })
    .await;
    eventually("nothing is left", async || {
        let is_over = world.running().await.is_empty() && leases(world.server()).await.is_empty();
        is_over.then_some(())
    })
    .await;
}

#[tokio::test]
async fn nothing_is_left_in_the_cluster_of_a_thread_that_was_idle() {
    if !Pods::is_there().await {
        return;
    }
    let world = Pods::start(Setup {
        idle_timeout: Duration::from_secs(1),
        ..Setup::default()
    })
    .await;
    answered(world.server(), "one", "what is 6 * 7?").await;
    let threads = world.cluster.api::<AgentThread>();
    let secrets = world.cluster.api::<Secret>();
    eventually("all of it is gone", async || {
        let threads = threads.list(&ListParams::default()).await.ok()?;
        let secrets = secrets.list(&ListParams::default()).await.ok()?;
        let left = threads.items.len() + secrets.items.len() + world.cluster.pods().await.len();
        (left == 0).then_some(())
    })
    .await;
}
