//! A private Kubernetes API with one node, played by KWOK. What puts Pods there, and what runs in them, is in this
//! process: a container claims its turns and ends each at once, over one connection.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::StreamExt as _;
use hdrhistogram::Histogram;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{GroupVersionKind, Status};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, Config, ResourceExt as _};
use serde::Deserialize;
use serde_json::{Value, json};
use tidewire_testservers::Kubernetes;
use tokio::task::JoinHandle;

use crate::load::{new_micros, record};
use crate::wire::Conn;

pub const NAMESPACE: &str = "bench";
const NODE: &str = "bench";
const AT_ONCE: usize = 64;
const DEFINITIONS: [&str; 2] = [
    include_str!("../../deploy/kubernetes/components/operator/crds/agenttemplates.yaml"),
    include_str!("../../deploy/kubernetes/components/operator/crds/agentthreads.yaml"),
];

pub struct Cluster {
    kubernetes: Kubernetes,
    client: Client,
    turns: Rc<Turns>,
    tasks: Vec<JoinHandle<()>>,
}

/// What was sent and what has ended.
pub struct Turns {
    sent: RefCell<HashMap<String, Instant>>,
    micros: RefCell<Histogram<u64>>,
    ended: Cell<usize>,
    last: Cell<Instant>,
    failed: RefCell<Option<String>>,
}

impl Cluster {
    /// The server that agents take their turns from is `server`.
    pub async fn start(server: SocketAddr) -> Result<Self> {
        let started = tokio::task::spawn_blocking(Kubernetes::start).await?;
        let kubernetes = started.map_err(|error| anyhow::anyhow!("{error}"))?;
        let read = Kubeconfig::read_from(kubernetes.kubeconfig())?;
        let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
        let client = Client::try_from(config)?;
        let (label, value) = Kubernetes::NODE_LABEL;
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": {label: value}}});
        let mut objects = vec![namespace, node];
        for text in DEFINITIONS {
            objects.push(serde_saphyr::from_str(text)?);
        }
        for object in objects {
            apply(&client, object).await?;
        }
        let turns = Rc::new(Turns {
            sent: RefCell::default(),
            micros: RefCell::new(new_micros()),
            ended: Cell::new(0),
            last: Cell::new(Instant::now()),
            failed: RefCell::default(),
        });
        let tasks = vec![
            tokio::task::spawn_local(schedule(client.clone())),
            tokio::task::spawn_local(play(client.clone(), server, Rc::clone(&turns))),
        ];
        let cluster = Self {
            kubernetes,
            client,
            turns,
            tasks,
        };
        cluster.template().await?;
        Ok(cluster)
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.kubernetes.kubeconfig()
    }

    async fn template(&self) -> Result<()> {
        let template = json!({
            "apiVersion": "tidewire.dev/v1",
            "kind": "AgentTemplate",
            "metadata": {"name": "everybody", "namespace": NAMESPACE},
            "spec": {"image": "bench", "idleTimeoutSeconds": 86_400},
        });
        // Definitions take a moment until they are served.
        let began = Instant::now();
        loop {
            match apply(&self.client, template.clone()).await {
                Ok(()) => return Ok(()),
                Err(error) if began.elapsed() > Duration::from_secs(30) => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    pub fn turns(&self) -> &Turns {
        &self.turns
    }

    /// What the API was asked for so far by whoever makes instances. Nobody else here writes these.
    pub async fn requests(&self) -> Result<u64> {
        let request = http_get("/metrics")?;
        let text = self.client.request_text(request).await?;
        let mut sum = 0;
        for line in text.lines() {
            let Some(rest) = line.strip_prefix("apiserver_request_total{") else {
                continue;
            };
            let (labels, count) = rest.rsplit_once("} ").context("a metric has a value")?;
            let label = |name: &str| {
                let (_, value) = labels.split_once(&format!("{name}=\""))?;
                value.split('"').next()
            };
            let (verb, resource) = (label("verb"), label("resource"));
            let writes = matches!(verb, Some("APPLY" | "PATCH" | "POST" | "DELETE" | "PUT"));
            let is_its = match resource {
                Some("agentthreads" | "secrets" | "events" | "persistentvolumeclaims") => writes,
                // The rest are the node's and the scheduler's.
                Some("pods") => verb == Some("APPLY"),
                _ => false,
            };
            if is_its {
                let count: f64 = count.trim().parse().context("a count")?;
                sum += count as u64;
            }
        }
        Ok(sum)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Turns {
    pub fn sent(&self, thread: &str) {
        let mut sent = self.sent.borrow_mut();
        sent.insert(thread.to_owned(), Instant::now());
    }

    /// Waits until so many have ended; when the last did, and what they took.
    pub async fn ended(
        &self,
        count: usize,
        patience: Duration,
    ) -> Result<(Instant, Histogram<u64>)> {
        let began = Instant::now();
        while self.ended.get() < count {
            if let Some(why) = self.failed.borrow_mut().take() {
                bail!("an agent failed: {why}");
            }
            if began.elapsed() > patience {
                bail!(
                    "{} of {count} turns ended within {patience:?}",
                    self.ended.get()
                );
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.ended.set(0);
        Ok((self.last.get(), self.micros.replace(new_micros())))
    }

    fn end(&self, thread: &str) {
        let now = Instant::now();
        if let Some(sent) = self.sent.borrow_mut().remove(thread) {
            record(&mut self.micros.borrow_mut(), now - sent);
        }
        self.ended.set(self.ended.get() + 1);
        self.last.set(now);
    }
}

fn http_get(path: &str) -> Result<axum::http::Request<Vec<u8>>> {
    Ok(axum::http::Request::get(path).body(Vec::new())?)
}

async fn apply(client: &Client, object: Value) -> Result<()> {
    let object: DynamicObject = serde_json::from_value(object)?;
    let types = object.types.clone().context("an object has a kind")?;
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(types)?);
    let api: Api<DynamicObject> = match &object.metadata.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let params = PatchParams::apply("bench").force();
    api.patch(&object.name_any(), &params, &Patch::Apply(&object))
        .await?;
    Ok(())
}

/// What kube-scheduler does, in small.
async fn schedule(client: Client) {
    let pods: Api<Pod> = Api::namespaced(client, NAMESPACE);
    let unscheduled = watcher::Config::default().fields("spec.nodeName=");
    let seen = watcher(pods.clone(), unscheduled)
        .default_backoff()
        .applied_objects();
    seen.for_each_concurrent(AT_ONCE, |pod| {
        let pods = pods.clone();
        async move {
            let Ok(pod) = pod else { return };
            let name = pod.name_any();
            let binding = json!({
                "apiVersion": "v1",
                "kind": "Binding",
                "metadata": {"name": name},
                "target": {"kind": "Node", "name": NODE},
            });
            let params = PostParams::default();
            let bound: Result<Status, _> = pods
                .create_subresource("binding", &name, &params, &binding)
                .await;
            if let Err(error) = bound {
                eprintln!("{name} was not put on a node: {error}");
            }
        }
    })
    .await;
}

/// Runs what Pods are for.
async fn play(client: Client, server: SocketAddr, turns: Rc<Turns>) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let secrets: Api<Secret> = Api::namespaced(client, NAMESPACE);
    let seen = watcher(pods, watcher::Config::default())
        .default_backoff()
        .applied_objects();
    let mut known = HashMap::new();
    futures_util::pin_mut!(seen);
    while let Some(pod) = seen.next().await {
        let Ok(pod) = pod else { continue };
        let name = pod.name_any();
        let phase = pod.status.and_then(|it| it.phase);
        if phase.as_deref() != Some("Running") || known.contains_key(&name) {
            continue;
        }
        let (secrets, turns, of) = (secrets.clone(), Rc::clone(&turns), name.clone());
        let agent = tokio::task::spawn_local(async move {
            if let Err(error) = answer(&secrets, &of, server, &turns).await {
                turns.failed.replace(Some(format!("{error:#}")));
            }
        });
        known.insert(name, Agent(agent));
    }
}

struct Agent(JoinHandle<()>);

impl Drop for Agent {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Deserialize)]
struct Claimed {
    jobs: Vec<Job>,
}

#[derive(Deserialize)]
struct Job {
    payload: Payload,
}

#[derive(Deserialize)]
struct Payload {
    thread_id: String,
    turn_id: String,
}

async fn answer(
    secrets: &Api<Secret>,
    name: &str,
    server: SocketAddr,
    turns: &Turns,
) -> Result<()> {
    let secret = secrets.get(name).await?;
    let key = secret.data.and_then(|mut it| it.remove("api-key"));
    let key = String::from_utf8(key.context("a key")?.0)?;
    let mut conn = Conn::open(server).await?;
    let claim =
        json!({"worker": name, "types": ["agent.turn"], "wait_seconds": 50, "lease_seconds": 60});
    let claim = post(server, "/v1/jobs/claim", &key, &claim);
    loop {
        let reply = conn.call(&claim).await?;
        if !reply.is_success() {
            bail!("claim: {}", reply.text());
        }
        let claimed: Claimed = serde_json::from_slice(reply.body)?;
        for Job { payload } in claimed.jobs {
            let path = format!("/v1/threads/{}/events", payload.thread_id);
            let event = json!({"type": "turn.completed", "turn_id": payload.turn_id, "payload": {"output": null}});
            let reply = conn.call(&post(server, &path, &key, &event)).await?;
            if !reply.is_success() {
                bail!("event: {}", reply.text());
            }
            turns.end(&payload.thread_id);
        }
    }
}

/// A request with a key.
pub fn post(addr: SocketAddr, path: &str, key: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    format!(
        "POST {path} HTTP/1.1\r\nhost: {addr}\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
