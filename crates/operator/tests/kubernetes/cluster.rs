//! A namespace in a real Kubernetes API, with nodes of its own. KWOK plays the kubelets; what puts Pods on
//! nodes, and what the containers do, is played here.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use k8s_openapi::{
    api::core::v1::{Binding, Namespace, Node, ObjectReference, Pod, Secret},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        CustomResourceDefinition, CustomResourceDefinitionCondition,
    },
};
use kube::{
    Api, Client, Config, CustomResourceExt as _, ResourceExt as _,
    api::{
        ApiResource, DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams,
        PostParams,
    },
    config::{KubeConfigOptions, Kubeconfig},
    core::{GroupVersionKind, Status},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::{Value, json};
use tidewire_operator::kubernetes::{
    AgentTemplate, AgentTemplateSpec, AgentThread, AgentThreadSpec,
};
use tidewire_testkit::servers::{self, Kubernetes};
use tokio_util::sync::{CancellationToken, DropGuard};

/// More than anything here takes on a machine that has much else to do.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What the operator may do, as it is deployed.
const RBAC: &str = include_str!("../../../../deploy/kubernetes/components/operator/rbac.yaml");

#[derive(Clone)]
pub struct Cluster {
    kubernetes: &'static Kubernetes,
    pub namespace: String,
    /// May do everything.
    pub admin: Client,
    _scheduler: Arc<DropGuard>,
}

impl Cluster {
    /// A namespace with a node, or nothing where tests on Kubernetes are left out.
    pub async fn new() -> Option<Self> {
        let kubernetes = servers::kubernetes().await?;
        let admin = client(&kubernetes.kubeconfig()).await;
        install(&admin).await;
        let namespace = format!("test-{}", hex(tidewire_core::clock::random_bytes()));
        let stop = CancellationToken::new();
        let cluster = Cluster {
            kubernetes,
            namespace: namespace.clone(),
            admin: admin.clone(),
            _scheduler: Arc::new(stop.clone().drop_guard()),
        };
        let mut made = Namespace {
            metadata: named(&namespace),
            ..Namespace::default()
        };
        // What the cluster would let nobody do, no Pod may need.
        let (label, value) = ("pod-security.kubernetes.io/enforce", "restricted");
        made.labels_mut().insert(label.to_owned(), value.to_owned());
        let namespaces: Api<Namespace> = Api::all(admin.clone());
        namespaces
            .create(&PostParams::default(), &made)
            .await
            .expect("a namespace");
        cluster.allow().await;
        cluster.add_node("a").await;
        let scheduler = cluster.api::<Pod>();
        let nodes = cluster.nodes();
        tokio::spawn(async move {
            stop.run_until_cancelled(schedule(scheduler, nodes)).await;
        });
        Some(cluster)
    }

    /// As the operator that is deployed, with no other rights.
    pub fn operators_kubeconfig(&self) -> PathBuf {
        self.kubernetes.operators_kubeconfig()
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        Api::namespaced(self.admin.clone(), &self.namespace)
    }

    /// Binds the roles that are deployed to the user that the operator is here.
    async fn allow(&self) {
        for text in RBAC.split("\n---\n") {
            let mut value: Value = serde_saphyr::from_str(text).expect("YAML");
            let is_cluster = value["kind"]
                .as_str()
                .is_some_and(|it| it.starts_with("Cluster"));
            if let Some(subjects) = value.get_mut("subjects") {
                *subjects = json!([{
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "User",
                    "name": Kubernetes::OPERATOR,
                }]);
            }
            let object: DynamicObject = serde_json::from_value(value).expect("an object");
            let types = object.types.clone().expect("its types");
            let kind = GroupVersionKind::try_from(types).expect("its kind");
            let resource = ApiResource::from_gvk(&kind);
            let api: Api<DynamicObject> = match is_cluster {
                true => Api::all_with(self.admin.clone(), &resource),
                false => Api::namespaced_with(self.admin.clone(), &self.namespace, &resource),
            };
            api.patch(&object.name_any(), &ours(), &Patch::Apply(&object))
                .await
                .expect("it may be applied");
        }
    }

    /// The node's name in the cluster.
    fn node_name(&self, name: &str) -> String {
        format!("{}-{name}", self.namespace)
    }

    fn nodes(&self) -> Nodes {
        Nodes {
            api: Api::all(self.admin.clone()),
            of: self.namespace.clone(),
        }
    }

    /// Makes a node, and waits until it is ready.
    pub async fn add_node(&self, name: &str) {
        let (label, value) = Kubernetes::NODE_LABEL;
        let name = self.node_name(name);
        let mut node = Node {
            metadata: named(&name),
            ..Node::default()
        };
        let labels = [(label, value), (OF, &*self.namespace)];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        node.metadata.labels = Some(BTreeMap::from(labels));
        let nodes: Api<Node> = Api::all(self.admin.clone());
        nodes
            .create(&PostParams::default(), &node)
            .await
            .expect("a node");
        until("a node is ready", async || {
            is_ready(&nodes.get(&name).await.ok()?).then_some(())
        })
        .await;
    }

    /// The node is no more, and nobody says so to its Pods.
    pub async fn delete_node(&self, name: &str) {
        let nodes: Api<Node> = Api::all(self.admin.clone());
        let name = self.node_name(name);
        nodes
            .delete(&name, &DeleteParams::default())
            .await
            .expect("it was there");
    }

    /// The node does not say anything any more, as the cluster writes it then.
    pub async fn cut_off_node(&self, name: &str) {
        let (nodes, name) = (Api::<Node>::all(self.admin.clone()), self.node_name(name));
        let (label, _) = Kubernetes::NODE_LABEL;
        let unplayed = json!({"metadata": {"labels": {label: null}}});
        let patch = Patch::Merge(&unplayed);
        nodes
            .patch(&name, &ours_merged(), &patch)
            .await
            .expect("it was there");
        let now = k8s_openapi::jiff::Timestamp::from_microsecond(
            tidewire_core::Clock::system().now().micros(),
        )
        .expect("a time");
        let unknown = json!({"status": {"conditions": [{
            "type": "Ready",
            "status": "Unknown",
            "reason": "NodeStatusUnknown",
            "message": "Kubelet stopped posting node status.",
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }]}});
        let patch = Patch::Strategic(&unknown);
        nodes
            .patch_status(&name, &ours_merged(), &patch)
            .await
            .expect("it was there");
    }

    /// The container of a Pod ends with this status, as its kubelet writes it then.
    pub async fn end_container(&self, pod: &str, status: i32) {
        let ended = json!({"status": {
            "phase": if status == 0 { "Succeeded" } else { "Failed" },
            "conditions": [{"type": "Ready", "status": "False", "reason": "PodFailed"}],
            "containerStatuses": [{
                "name": "agent",
                "image": "agent",
                "imageID": "",
                "ready": false,
                "restartCount": 0,
                "state": {"running": null, "terminated": {
                    "exitCode": status,
                    "reason": if status == 0 { "Completed" } else { "Error" },
                }},
            }],
        }});
        let patch = Patch::Merge(&ended);
        let patched = self
            .api::<Pod>()
            .patch_status(pod, &ours_merged(), &patch)
            .await;
        // It may have been deleted meanwhile, and that is why its container ended.
        let is_gone = |error: &kube::Error| matches!(error, kube::Error::Api(it) if it.code == 404);
        assert!(patched.as_ref().err().is_none_or(is_gone), "{patched:?}");
    }

    pub async fn template(&self, name: &str, spec: AgentTemplateSpec) {
        let template = AgentTemplate::new(name, spec);
        let api = self.api::<AgentTemplate>();
        api.patch(name, &ours(), &Patch::Apply(&template))
            .await
            .expect("a template");
    }

    /// As a user makes one by hand.
    pub async fn thread(&self, name: &str, spec: AgentThreadSpec) {
        let thread = AgentThread::new(name, spec);
        let api = self.api::<AgentThread>();
        api.create(&PostParams::default(), &thread)
            .await
            .expect("a thread");
    }

    /// The key that an instance was given, as its container reads it.
    pub async fn key_of(&self, instance: &str) -> Option<String> {
        let secret = self.api::<Secret>().get_opt(instance).await.expect("asked");
        let data = secret?.data?;
        let key = data.get("api-key")?;
        String::from_utf8(key.0.clone()).ok()
    }

    pub async fn pods(&self) -> Vec<Pod> {
        let listed = self.api::<Pod>().list(&ListParams::default()).await;
        listed.expect("asked").items
    }
}

/// Whose a node is.
const OF: &str = "tidewire.dev/test";

#[derive(Clone)]
struct Nodes {
    api: Api<Node>,
    of: String,
}

impl Nodes {
    async fn ready(&self) -> Option<String> {
        let of = ListParams::default().labels(&format!("{OF}={}", self.of));
        let nodes = self.api.list(&of).await.ok()?;
        let ready = nodes.items.iter().find(|it| is_ready(it));
        ready.map(|it| it.name_any())
    }
}

/// What kube-scheduler does, in small: each new Pod onto a node that is ready.
async fn schedule(pods: Api<Pod>, nodes: Nodes) {
    let unscheduled = watcher::Config::default().fields("spec.nodeName=");
    let seen = watcher(pods.clone(), unscheduled)
        .default_backoff()
        .applied_objects();
    seen.for_each_concurrent(8, |pod| {
        let (pods, nodes) = (pods.clone(), nodes.clone());
        async move {
            let Ok(pod) = pod else { return };
            let name = pod.name_any();
            loop {
                if let Some(node) = nodes.ready().await {
                    // One that is gone already needs none.
                    let binding = binding(&name, node);
                    let params = PostParams::default();
                    let bound: Result<Status, _> = pods
                        .create_subresource("binding", &name, &params, &binding)
                        .await;
                    drop(bound);
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    })
    .await;
}

fn binding(pod: &str, node: String) -> Binding {
    Binding {
        metadata: named(pod),
        target: ObjectReference {
            kind: Some("Node".to_owned()),
            name: Some(node),
            ..ObjectReference::default()
        },
    }
}

pub fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|it| it.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|it| it.type_ == "Ready" && it.status == "True")
}

/// Our resources, once, as they are deployed.
async fn install(admin: &Client) {
    let api: Api<CustomResourceDefinition> = Api::all(admin.clone());
    for crd in [AgentTemplate::crd(), AgentThread::crd()] {
        let name = crd.name_any();
        api.patch(&name, &ours(), &Patch::Apply(&crd))
            .await
            .expect("a definition that the API takes");
        until("a definition is established", async || {
            let crd = api.get(&name).await.ok()?;
            let conditions = crd.status?.conditions?;
            let is_so = |it: &CustomResourceDefinitionCondition| {
                it.type_ == "Established" && it.status == "True"
            };
            conditions.iter().any(is_so).then_some(())
        })
        .await;
    }
}

pub async fn client(kubeconfig: &Path) -> Client {
    let read = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(read, &options).await;
    Client::try_from(config.expect("it is whole")).expect("a client")
}

fn ours() -> PatchParams {
    PatchParams::apply("tests").force()
}

fn ours_merged() -> PatchParams {
    PatchParams {
        field_manager: Some("tests".to_owned()),
        ..PatchParams::default()
    }
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    }
}

fn hex(bytes: [u8; 5]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

/// Asks until there is an answer.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
