//! What is made for an instance: its AgentThread, the Secret with its key, its volume claim, its Pod. Pure.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource,
        PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimVolumeSource, Pod,
        PodSecurityContext, PodSpec, Probe, SeccompProfile, Secret, SecretKeySelector,
        SecurityContext, TCPSocketAction, Volume as PodVolume, VolumeMount,
        VolumeResourceRequirements,
    },
    apimachinery::pkg::{apis::meta::v1::OwnerReference, util::intstr::IntOrString},
};
use kube::{Resource as _, ResourceExt as _, api::ObjectMeta};
use sha2::{Digest as _, Sha256};

use super::crds::{AgentTemplate, AgentThread, AgentThreadSpec, Recipe, Volume};
use crate::{API_KEY, Start};

/// On everything that is ours: what the operator makes, and nothing else, carries it.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "tidewire-operator");
/// On an AgentThread, the instance that has or had it, until that is cleared away.
pub const WORKER: &str = "tidewire.dev/worker";
/// On a Pod, the name of its AgentThread.
pub const AGENT_THREAD: &str = "tidewire.dev/agent-thread";
/// On a Pod, as annotations: what it was started for.
pub const TENANT: &str = "tidewire.dev/tenant";
pub const AGENT: &str = "tidewire.dev/agent";
pub const THREAD: &str = "tidewire.dev/thread";
/// Keeps an AgentThread until its instance was drained.
pub const DRAIN: &str = "tidewire.dev/drain";

/// Where a Secret has the key.
const KEY: &str = "api-key";
const CONTAINER: &str = "agent";
/// Of the thread's volume, and of what may be written besides.
const DATA: &str = "data";
const TMP: &str = "tmp";
/// The owner of a thread's files, if its image names no other: nobody in particular.
const GROUP: i64 = 65532;
/// What a Pod that somebody deletes has, if its template does not say.
const DRAIN_SECONDS: u32 = 30;

/// How one Pod is made: the thread's own word before the template's.
#[derive(Clone, Debug)]
pub struct Plan {
    pub image: String,
    pub drain_seconds: u32,
    pub recipe: Recipe,
}

impl Plan {
    #[must_use]
    pub fn new(template: &AgentTemplate, thread: Option<&AgentThreadSpec>) -> Self {
        let of = &template.spec;
        let mut recipe = of.recipe.clone();
        let mut image = of.image.clone();
        if let Some(own) = thread {
            image = own.image.clone().unwrap_or(image);
            recipe = over(&own.recipe, recipe);
        }
        Plan {
            image,
            drain_seconds: of.drain_seconds.unwrap_or(DRAIN_SECONDS),
            recipe,
        }
    }

    /// Whether the thread is kept when its Pod goes.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.recipe.volume.is_some()
    }
}

/// One recipe over another. Variables of both are there, and of the same name the upper one's.
fn over(upper: &Recipe, lower: Recipe) -> Recipe {
    let upper = upper.clone();
    let mut env = lower.env;
    env.retain(|it| upper.env.iter().all(|own| own.name != it.name));
    env.extend(upper.env);
    let mut node_selector = lower.node_selector;
    node_selector.extend(upper.node_selector);
    Recipe {
        command: upper.command.or(lower.command),
        args: upper.args.or(lower.args),
        idle_timeout_seconds: upper.idle_timeout_seconds.or(lower.idle_timeout_seconds),
        port: upper.port.or(lower.port),
        resources: upper.resources.or(lower.resources),
        env,
        volume: upper.volume.or(lower.volume),
        image_pull_secrets: or(upper.image_pull_secrets, lower.image_pull_secrets),
        node_selector,
        tolerations: or(upper.tolerations, lower.tolerations),
    }
}

fn or<T>(upper: Vec<T>, lower: Vec<T>) -> Vec<T> {
    if upper.is_empty() { lower } else { upper }
}

/// The name of a thread's AgentThread: its instance's, or one that only the thread can have if it is kept
/// for the next instance.
#[must_use]
pub fn name_of(start: &Start, plan: &Plan) -> String {
    let Some(thread) = start.thread.as_deref().filter(|_| plan.is_kept()) else {
        return start.name.to_string();
    };
    let mut hash = Sha256::new();
    hash.update(start.tenant.as_bytes());
    hash.update([0]);
    hash.update(thread.as_bytes());
    let digits = hash.finalize();
    let digits: String = digits[..12].iter().map(|it| format!("{it:02x}")).collect();
    format!("thread-{digits}")
}

/// What an operator's own AgentThread is applied as.
#[must_use]
pub fn thread(name: &str, start: &Start) -> AgentThread {
    let spec = AgentThreadSpec {
        thread_id: start.thread.as_deref().map(str::to_owned),
        tenant: Some(start.tenant.to_string()),
        agent: start.agent.as_deref().map(str::to_owned),
        ..AgentThreadSpec::default()
    };
    own_thread(name, spec, Some(&start.name))
}

/// The same with the instance that it has; without one, nothing keeps it from being deleted.
#[must_use]
pub fn own_thread(name: &str, spec: AgentThreadSpec, worker: Option<&str>) -> AgentThread {
    let mut thread = AgentThread::new(name, spec);
    thread.metadata = taken(name, worker);
    thread.labels_mut().extend(managed());
    thread
}

/// What is ours of an AgentThread's metadata, whoever made it.
#[must_use]
pub fn taken(name: &str, worker: Option<&str>) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        labels: worker.map(|it| BTreeMap::from([(WORKER.to_owned(), it.to_owned())])),
        finalizers: worker.map(|_| vec![DRAIN.to_owned()]),
        ..ObjectMeta::default()
    }
}

/// Whether the operator made it.
#[must_use]
pub fn is_ours(thread: &AgentThread) -> bool {
    let (name, value) = MANAGED_BY;
    thread.labels().get(name).is_some_and(|it| it == value)
}

/// Whether it outlives its instance: it has the thread's name then, and not the instance's.
#[must_use]
pub fn is_kept(thread: &AgentThread) -> bool {
    thread.labels().get(WORKER) != thread.metadata.name.as_ref()
}

#[must_use]
pub fn secret(start: &Start, owner: &AgentThread) -> Secret {
    Secret {
        metadata: metadata(&start.name, owner),
        string_data: Some(BTreeMap::from([(KEY.to_owned(), start.api_key.clone())])),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
}

#[must_use]
pub fn claim(owner: &AgentThread, volume: &Volume) -> PersistentVolumeClaim {
    let resources = VolumeResourceRequirements {
        requests: Some(BTreeMap::from([(
            "storage".to_owned(),
            volume.size.clone(),
        )])),
        ..VolumeResourceRequirements::default()
    };
    PersistentVolumeClaim {
        metadata: metadata(&owner.name_any(), owner),
        spec: Some(PersistentVolumeClaimSpec {
            // One node at a time: a Pod that is cut off keeps its successor from the thread's files.
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            resources: Some(resources),
            storage_class_name: volume.storage_class_name.clone(),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}

#[must_use]
pub fn pod(start: &Start, plan: &Plan, owner: &AgentThread, gateway: &str) -> Pod {
    let mut metadata = metadata(&start.name, owner);
    let labels = metadata.labels.get_or_insert_default();
    labels.insert(AGENT_THREAD.to_owned(), owner.name_any());
    let said = [
        (TENANT, Some(&start.tenant)),
        (AGENT, start.agent.as_ref()),
        (THREAD, start.thread.as_ref()),
    ];
    let said = said.into_iter();
    metadata.annotations = Some(
        said.filter_map(|(name, value)| Some((name.to_owned(), value?.to_string())))
            .collect(),
    );
    let recipe = &plan.recipe;
    let mut mounts = vec![mount(TMP, "/tmp")];
    let mut volumes = vec![PodVolume {
        name: TMP.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..PodVolume::default()
    }];
    if let Some(volume) = &recipe.volume {
        mounts.push(mount(DATA, &volume.mount_path));
        volumes.push(PodVolume {
            name: DATA.to_owned(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: owner.name_any(),
                ..PersistentVolumeClaimVolumeSource::default()
            }),
            ..PodVolume::default()
        });
    }
    let container = Container {
        name: CONTAINER.to_owned(),
        image: Some(plan.image.clone()),
        command: recipe.command.clone(),
        args: recipe.args.clone(),
        env: Some(environment(start, recipe, gateway)),
        ports: recipe.port.map(|port| {
            vec![ContainerPort {
                container_port: port.into(),
                ..ContainerPort::default()
            }]
        }),
        readiness_probe: recipe.port.map(|port| Probe {
            tcp_socket: Some(TCPSocketAction {
                port: IntOrString::Int(port.into()),
                ..TCPSocketAction::default()
            }),
            period_seconds: Some(1),
            ..Probe::default()
        }),
        resources: recipe.resources.clone(),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                ..Capabilities::default()
            }),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(mounts),
        ..Container::default()
    };
    let spec = PodSpec {
        containers: vec![container],
        // What ended is replaced under another name and key, and perhaps on another node.
        restart_policy: Some("Never".to_owned()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(plan.drain_seconds.into()),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            fs_group: recipe.volume.as_ref().map(|_| GROUP),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        image_pull_secrets: some(recipe.image_pull_secrets.clone()),
        node_selector: (!recipe.node_selector.is_empty()).then(|| recipe.node_selector.clone()),
        tolerations: some(recipe.tolerations.clone()),
        volumes: Some(volumes),
        ..PodSpec::default()
    };
    Pod {
        metadata,
        spec: Some(spec),
        ..Pod::default()
    }
}

/// The thread's own variables, and over them those that say who it is.
fn environment(start: &Start, recipe: &Recipe, gateway: &str) -> Vec<EnvVar> {
    let key = EnvVar {
        name: API_KEY.to_owned(),
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: start.name.to_string(),
                key: KEY.to_owned(),
                ..SecretKeySelector::default()
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    let own = start.variables(gateway).into_iter();
    let mut set: Vec<EnvVar> = own
        .map(|(name, value)| EnvVar {
            name: name.to_owned(),
            value: Some(value),
            ..EnvVar::default()
        })
        .collect();
    set.push(key);
    let mut all = recipe.env.clone();
    all.retain(|it| set.iter().all(|own| own.name != it.name));
    // Theirs come behind: they may refer to ours.
    set.extend(all);
    set
}

fn managed() -> [(String, String); 1] {
    let (name, value) = MANAGED_BY;
    [(name.to_owned(), value.to_owned())]
}

/// Of what goes with the AgentThread, should nobody be there to clear it away.
fn metadata(name: &str, owner: &AgentThread) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some(managed().into()),
        owner_references: Some(vec![OwnerReference {
            api_version: AgentThread::api_version(&()).into_owned(),
            kind: AgentThread::kind(&()).into_owned(),
            name: owner.name_any(),
            uid: owner.uid().unwrap_or_default(),
            controller: Some(true),
            ..OwnerReference::default()
        }]),
        ..ObjectMeta::default()
    }
}

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        ..VolumeMount::default()
    }
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}
