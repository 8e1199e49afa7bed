//! How an instance is, by what the API says of its Pod and of the node that it is on. Pure.

use std::{fmt, time::Duration};

use k8s_openapi::{
    api::core::v1::{Node, NodeCondition, Pod, PodCondition, PodStatus},
    apimachinery::pkg::apis::meta::v1,
};
use tidewire_core::Time;

use crate::Phase;

/// Why an instance counts as failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Somebody else deletes its Pod, or evicts it.
    Deleted,
    /// There is no Pod any more.
    Gone,
    NodeGone(String),
    NodeNotReady(String, Duration),
    /// Its container ended, or the kubelet put it out; as the API says it.
    Ended(String),
    /// It does not come up; what it waits for.
    NotStarted(Duration, String),
    /// What it was made for is to go.
    Unwanted,
}

impl Failure {
    /// Whether it is the node's fault.
    #[must_use]
    pub fn is_of_node(&self) -> bool {
        matches!(self, Failure::NodeGone(_) | Failure::NodeNotReady(..))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Deleted => f.write_str("its Pod is being deleted by somebody else"),
            Failure::Gone => f.write_str("its Pod is gone"),
            Failure::NodeGone(node) => write!(f, "its node {node} is gone"),
            Failure::NodeNotReady(node, since) => {
                write!(f, "its node {node} has not been ready for {since:?}")
            }
            Failure::Ended(how) => f.write_str(how),
            Failure::NotStarted(within, why) => {
                write!(f, "it did not start within {within:?}: {why}")
            }
            Failure::Unwanted => f.write_str("it is to go"),
        }
    }
}

/// How a Pod is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// What it waits for, if anything is known.
    Starting(Option<String>),
    Ready,
    Failed(Failure),
}

impl Seen {
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self {
            Seen::Starting(_) => Phase::Starting,
            Seen::Ready => Phase::Ready,
            Seen::Failed(failure) => Phase::Failed(failure.to_string()),
        }
    }
}

/// How long what is not as it should be is borne.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// A node that is not ready.
    pub node: Duration,
    /// A Pod that is not ready.
    pub start: Duration,
}

/// Nodes as far as they are known: nothing is said of them to whoever may not list them.
pub trait Nodes {
    fn are_known(&self) -> bool;
    fn node(&self, name: &str) -> Option<&Node>;
}

/// How a Pod is now, and when that changes by itself.
#[must_use]
pub fn look(pod: &Pod, nodes: &impl Nodes, patience: Patience, now: Time) -> (Seen, Option<Time>) {
    let meta = &pod.metadata;
    if meta.deletion_timestamp.is_some() {
        return (Seen::Failed(Failure::Deleted), None);
    }
    let status = pod.status.as_ref();
    if let Some(how) = status.and_then(ended) {
        return (Seen::Failed(Failure::Ended(how)), None);
    }
    let node = pod.spec.as_ref().and_then(|it| it.node_name.as_deref());
    let mut next = None;
    if let Some(name) = node.filter(|_| nodes.are_known()) {
        match node_since(nodes.node(name)) {
            NodeIs::Ready => {}
            NodeIs::Gone => {
                return (Seen::Failed(Failure::NodeGone(name.to_owned())), None);
            }
            NodeIs::NotReady(since) => {
                let until = since.plus(patience.node);
                if until <= now {
                    let failure = Failure::NodeNotReady(name.to_owned(), patience.node);
                    return (Seen::Failed(failure), None);
                }
                next = Some(until);
            }
        }
    }
    if status.is_some_and(|it| condition(it, "Ready").is_some_and(|it| it.status == "True")) {
        return (Seen::Ready, next);
    }
    let waits = status.and_then(waits_for);
    let was_ready = status.is_some_and(|it| it.phase.as_deref() == Some("Running"));
    let made = meta.creation_timestamp.as_ref().map(time);
    if let Some(made) = made.filter(|_| !was_ready) {
        let until = made.plus(patience.start);
        if until <= now {
            let why = waits.unwrap_or_else(|| "nothing is said of why".to_owned());
            return (Seen::Failed(Failure::NotStarted(patience.start, why)), None);
        }
        next = Some(next.map_or(until, |it: Time| it.min(until)));
    }
    (Seen::Starting(waits), next)
}

enum NodeIs {
    Ready,
    NotReady(Time),
    Gone,
}

fn node_since(node: Option<&Node>) -> NodeIs {
    let Some(node) = node else {
        return NodeIs::Gone;
    };
    match ready_of(node) {
        Some(ready) if ready.status == "True" => NodeIs::Ready,
        Some(ready) => match &ready.last_transition_time {
            Some(since) => NodeIs::NotReady(time(since)),
            None => NodeIs::Ready,
        },
        // It has not said anything yet.
        None => NodeIs::Ready,
    }
}

/// Whether two words about a node come to the same here: they come often, and mostly say that nothing happened.
#[must_use]
pub fn node_differs(was: &Node, is: &Node) -> bool {
    let status = |node| ready_of(node).map(|it| it.status.clone());
    status(was) != status(is)
}

fn ready_of(node: &Node) -> Option<&NodeCondition> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|it| it.type_ == "Ready")
}

fn condition<'s>(status: &'s PodStatus, of: &str) -> Option<&'s PodCondition> {
    let conditions = status.conditions.as_ref()?;
    conditions.iter().find(|it| it.type_ == of)
}

fn ended(status: &PodStatus) -> Option<String> {
    let has_ended = matches!(status.phase.as_deref(), Some("Failed" | "Succeeded"));
    if !has_ended {
        return None;
    }
    if let Some(reason) = &status.reason {
        let message = status.message.as_deref().unwrap_or("no more is said");
        return Some(format!("{reason}: {message}"));
    }
    let container = status.container_statuses.as_ref().and_then(|it| it.first());
    let state = container.and_then(|it| it.state.as_ref()?.terminated.as_ref());
    Some(match state {
        Some(state) => {
            let mut how = format!("it ended with status {}", state.exit_code);
            for said in [&state.reason, &state.message].into_iter().flatten() {
                how.push_str(": ");
                how.push_str(said.trim());
            }
            how
        }
        None => "it ended".to_owned(),
    })
}

/// What keeps a Pod from being ready, if somebody said so.
fn waits_for(status: &PodStatus) -> Option<String> {
    let container = status.container_statuses.as_ref().and_then(|it| it.first());
    let waiting = container.and_then(|it| it.state.as_ref()?.waiting.as_ref());
    if let Some(waiting) = waiting {
        let reason = waiting.reason.as_deref().unwrap_or("waits");
        let message = waiting.message.as_deref();
        return Some(message.map_or_else(|| reason.to_owned(), |it| format!("{reason}: {it}")));
    }
    let scheduled = condition(status, "PodScheduled").filter(|it| it.status == "False")?;
    let reason = scheduled.reason.as_deref().unwrap_or("not scheduled");
    let message = scheduled.message.as_deref().unwrap_or_default();
    Some(format!("{reason}: {message}"))
}

/// As this project writes it.
#[must_use]
pub fn time(at: &v1::Time) -> Time {
    Time::from_micros(at.0.as_microsecond())
}
