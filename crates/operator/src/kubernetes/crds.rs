//! What people write and read in Kubernetes: `AgentTemplate` says how Pods of an agent are made, `AgentThread`
//! is one thread that has, had or is to have a Pod. The definitions under `deploy/` are made of these
//! types (`cargo xtask crds`), and their texts are these comments.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{EnvVar, LocalObjectReference, ResourceRequirements, Toleration},
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{Condition, Time},
    },
};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What AgentTemplate and AgentThread both say of a Pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Recipe {
    /// In place of the image's entrypoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// In place of the image's command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// How long a Pod outlives the last turn of its thread. 300 if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 604_800))]
    pub idle_timeout_seconds: Option<u32>,
    /// A port of the container. The Pod is ready when it is open; without one, as soon as the container runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// What the container asks for, and its limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// More variables. Those that tell an agent its server, key, thread and name cannot be replaced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// Storage that stays with the thread when its Pod goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<Volume>,
    /// By what the image is pulled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// Labels of the nodes that will do.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes that will do all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
}

/// A volume claim of the thread's own. It goes when its AgentThread is deleted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// How much, such as `10Gi`.
    pub size: Quantity,
    /// Where it is mounted.
    #[schemars(regex(pattern = r"^/.+"))]
    pub mount_path: String,
    /// The cluster's own choice if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class_name: Option<String>,
}

/// How Pods of an agent are made, and how many there may be.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "tidewire.dev",
    version = "v1",
    kind = "AgentTemplate",
    namespaced,
    doc = "How Pods of an agent are made, and how many there may be.",
    derive = "PartialEq",
    shortname = "atemplate",
    category = "tidewire",
    // Or a chart that goes would take all of them along.
    annotation("helm.sh/resource-policy", "keep"),
    printcolumn = r#"{"name":"Agent","type":"string","jsonPath":".spec.agent"}"#,
    printcolumn = r#"{"name":"Tenant","type":"string","jsonPath":".spec.tenant"}"#,
    printcolumn = r#"{"name":"Image","type":"string","jsonPath":".spec.image"}"#,
    printcolumn = r#"{"name":"Warm","type":"integer","jsonPath":".spec.warm"}"#,
    printcolumn = r#"{"name":"Max","type":"integer","jsonPath":".spec.maxInstances"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct AgentTemplateSpec {
    /// The agent whose turns the Pods answer. Turns that name no agent, if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub agent: Option<String>,
    /// Only this tenant's threads; everybody's if it is missing. Where two templates fit, the tenant's own wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub tenant: Option<String>,
    /// The container's image.
    #[schemars(length(min = 1))]
    pub image: String,
    /// Pods that are ready before a thread wants them, of the template's tenant or else of `default`. None are where
    /// there is a volume, which belongs to a thread.
    #[serde(default)]
    #[schemars(range(max = 1000))]
    pub warm: u32,
    /// Pods at most; as many as the operator's own limits allow if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_instances: Option<u32>,
    /// How long a running turn may go on when its Pod must stop. 30 if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 86_400))]
    pub drain_seconds: Option<u32>,
    #[serde(flatten)]
    pub recipe: Recipe,
}

/// A thread that has, had or is to have a Pod of its own.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "tidewire.dev",
    version = "v1",
    kind = "AgentThread",
    namespaced,
    status = "AgentThreadStatus",
    doc = "A thread that has, had or is to have a Pod of its own. The operator makes one for each Pod that a turn asks for; one that somebody else makes has a Pod at once, until it is idle.",
    derive = "PartialEq",
    shortname = "athread",
    category = "tidewire",
    // Or a chart that goes would take all of them along.
    annotation("helm.sh/resource-policy", "keep"),
    printcolumn = r#"{"name":"Thread","type":"string","jsonPath":".spec.threadId"}"#,
    printcolumn = r#"{"name":"Agent","type":"string","jsonPath":".spec.agent"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Pod","type":"string","jsonPath":".status.pod"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "!has(oldSelf.threadId) || (has(self.threadId) && self.threadId == oldSelf.threadId)",
     "message": "a thread stays the thread that it is"},
    {"rule": "(has(self.tenant) ? self.tenant : 'default') == (has(oldSelf.tenant) ? oldSelf.tenant : 'default')",
     "message": "a thread stays with its tenant"},
]))]
pub struct AgentThreadSpec {
    /// The thread. Missing while its Pod is a warm one that has none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9._:-]{1,128}$"))]
    pub thread_id: Option<String>,
    /// The thread's tenant; `default` if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub tenant: Option<String>,
    /// The agent, whose template says what is not said here. Turns that name no agent, if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub agent: Option<String>,
    /// The container's image, in place of the template's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub image: Option<String>,
    #[serde(flatten)]
    pub recipe: Recipe,
}

/// How a thread stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentThreadStatus {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<ThreadPhase>,
    /// The Pod that has the thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The name under which it claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// The last turn that its Pod was there for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_turn: Option<String>,
    /// When that came, or ended if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_turn_at: Option<Time>,
    /// The generation of what this was said of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: whether its Pod is, and why not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ThreadPhase {
    /// It waits for a Pod: limits, or the lack of a template, are in the way, or it has just come.
    Pending,
    /// Its Pod starts.
    Starting,
    /// Its Pod runs.
    Ready,
    /// Its Pod stops.
    Draining,
    /// It has no Pod, and gets one with its next turn.
    Idle,
    /// Its Pod ended without being told to; another one follows.
    Failed,
}

/// The tenant that is meant where none is named.
pub const DEFAULT_TENANT: &str = "default";

impl AgentThread {
    #[must_use]
    pub fn tenant(&self) -> &str {
        self.spec.tenant.as_deref().unwrap_or(DEFAULT_TENANT)
    }

    /// Whether this is the thread of that tenant.
    #[must_use]
    pub fn is_of(&self, tenant: &str, thread: &str) -> bool {
        self.spec.thread_id.as_deref() == Some(thread) && self.tenant() == tenant
    }
}
