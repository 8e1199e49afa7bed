//! Versions and agents as they are shown, and the checks at the edge.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidewire_core::{Problem, Time, json, name};

use crate::Gate;

/// What an agent says of itself, and what a version asks of agents.
pub type Labels = BTreeMap<String, String>;

/// Bytes of a config.
pub(crate) const MAX_CONFIG: usize = 256 << 10;
const MAX_LABELS: usize = 64;
const MAX_TEXT: usize = 1024;
/// Longer reasons are cut: they are for people to read.
const MAX_ERROR: usize = 4096;

/// What is pushed.
#[derive(Clone, Debug)]
pub struct NewVersion {
    pub config: Box<RawValue>,
    /// Only agents that have all of these.
    pub labels: Labels,
    /// Of those agents so many of a hundred.
    pub percent: u32,
    /// What must hold before the share is raised.
    pub gate: Option<Gate>,
    pub note: Option<String>,
    pub author: String,
}

/// A config that was pushed. It never changes; its share may be raised.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Version {
    pub version: u64,
    pub etag: String,
    #[schema(value_type = Object)]
    pub config: Box<RawValue>,
    /// It goes to agents that have all of these.
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: Labels,
    /// It goes to so many of a hundred of them.
    #[schema(minimum = 0, maximum = 100)]
    pub percent: u32,
    /// What must hold before the share is raised, such as `failed<1%`.
    #[schema(required, value_type = Option<String>)]
    pub gate: Option<Gate>,
    #[schema(required)]
    pub note: Option<String>,
    pub author: String,
    /// The version whose config it brought back.
    #[schema(required)]
    pub rollback_of: Option<u64>,
    pub created_at: Time,
}

/// Who registers.
#[derive(Clone, Debug, Default)]
pub struct Registration {
    /// Whoever it was before; a new one is made if it is missing.
    pub agent_id: Option<String>,
    pub name: Option<String>,
    pub labels: Labels,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AttemptState {
    Applied,
    Failed,
}

impl AttemptState {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            AttemptState::Applied => "applied",
            AttemptState::Failed => "failed",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [AttemptState::Applied, AttemptState::Failed]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// How an agent's last try of a version went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Attempt {
    pub version: u64,
    pub state: AttemptState,
    /// Why it failed.
    #[schema(required)]
    pub error: Option<String>,
    pub at: Time,
}

/// What an agent says of a version that it has tried.
#[derive(Clone, Debug)]
pub struct Report {
    pub version: u64,
    pub state: AttemptState,
    pub error: Option<String>,
}

/// An agent, and the three things that are known of it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Agent {
    pub agent_id: String,
    #[schema(required)]
    pub name: Option<String>,
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: Labels,
    pub registered_at: Time,
    #[schema(required)]
    pub last_seen_at: Option<Time>,
    /// The version that it is given when it asks.
    #[schema(required)]
    pub offered: Option<u64>,
    /// The version that it tried last, and how that went.
    #[schema(required)]
    pub last_attempt: Option<Attempt>,
    /// The version that works there.
    #[schema(required)]
    pub running: Option<u64>,
}

pub(crate) fn check_config(config: &RawValue) -> Result<(), Problem> {
    let text = config.get();
    if text.len() > MAX_CONFIG {
        return Err(Problem::invalid(
            "/config",
            format!("has {} bytes, and {MAX_CONFIG} are the most", text.len()),
        ));
    }
    if !text.starts_with('{') {
        return Err(Problem::invalid(
            "/config",
            "must be an object, such as {\"url\": \"https://example.com\"}",
        ));
    }
    json::check(text).map_err(|fault| {
        let pointer = format!("/config{}", fault.pointer);
        Problem::invalid(pointer, fault.detail)
    })
}

pub(crate) fn check_labels(labels: &Labels) -> Result<(), Problem> {
    if labels.len() > MAX_LABELS {
        return Err(Problem::invalid(
            "/labels",
            format!("has {} labels, and {MAX_LABELS} are the most", labels.len()),
        ));
    }
    for (key, value) in labels {
        let at =
            |detail: String| Problem::invalid(format!("/labels/{}", json::escape(key)), detail);
        name::check(key, name::ID_MAX).map_err(at)?;
        name::check_text(value, name::TYPE_MAX).map_err(at)?;
    }
    Ok(())
}

pub(crate) fn check_percent(percent: u32) -> Result<(), Problem> {
    if percent <= 100 {
        return Ok(());
    }
    Err(Problem::invalid(
        "/percent",
        format!("must be 0 to 100, it is {percent}"),
    ))
}

/// A name, a note or an author.
pub(crate) fn check_words(pointer: &str, text: Option<&str>) -> Result<(), Problem> {
    let Some(text) = text else { return Ok(()) };
    name::check_text(text, MAX_TEXT).map_err(|detail| Problem::invalid(pointer, detail))
}

pub(crate) fn check_agent(pointer: &str, id: &str) -> Result<(), Problem> {
    name::check(id, name::ID_MAX).map_err(|detail| Problem::invalid(pointer, detail))
}

impl Registration {
    pub(crate) fn check(&self) -> Result<(), Problem> {
        if let Some(id) = &self.agent_id {
            check_agent("/agent_id", id)?;
        }
        check_words("/name", self.name.as_deref())?;
        check_labels(&self.labels)
    }
}

impl Report {
    /// With its reason cut to what is kept.
    pub(crate) fn cut(mut self) -> Self {
        if let Some(error) = &mut self.error
            && error.len() > MAX_ERROR
        {
            let end = (0..=MAX_ERROR).rev().find(|at| error.is_char_boundary(*at));
            error.truncate(end.unwrap_or_default());
            error.push('…');
        }
        self
    }
}
