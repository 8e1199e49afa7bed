//! Setting off by hand: one firing, whatever the trigger's own time is.

use std::sync::Arc;

use serde_json::value::RawValue;
use tidewire_core::Problem;

use super::{Triggers, empty};
use crate::{
    Config, Error, MAX_PAYLOAD, Rule, Schema,
    firing::{Fired, Firing, MAX_DEPTH},
    model::{Source, TriggerType},
};

/// What was set off: the execution and its job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetOff {
    pub execution_id: String,
    pub job_id: String,
}

impl From<Fired> for SetOff {
    fn from(fired: Fired) -> Self {
        SetOff {
            execution_id: fired.execution_id,
            job_id: fired.job_id,
        }
    }
}

impl Triggers {
    /// Fires a trigger once, as a test. Also an inactive one.
    pub async fn test(
        &self,
        tenant: &Arc<str>,
        id: &str,
        payload: Option<Box<RawValue>>,
        depth: u32,
    ) -> Result<SetOff, Error> {
        let row = self.row(tenant, id).await?;
        let config = self.config_of(tenant, &row).await?;
        let payload = test_payload(&config.config, payload)?;
        self.set_off(Firing {
            tenant: Arc::clone(tenant),
            trigger_id: Some(row.id),
            config,
            source: Source::ManualTest,
            payload,
            is_test_run: true,
            scheduled_for: None,
            depth: next_depth(depth)?,
            run_at: None,
            new_config: None,
        })
        .await
    }

    /// Fires a trigger once that is not stored.
    pub async fn test_config(
        &self,
        tenant: &Arc<str>,
        kind: TriggerType,
        config: Box<RawValue>,
        payload: Option<Box<RawValue>>,
        depth: u32,
    ) -> Result<SetOff, Error> {
        let known = self
            .known(kind, &config)
            .map_err(|problem| problem.under("/config"))?;
        let payload = test_payload(&known.config, payload)?;
        self.set_off(Firing {
            tenant: Arc::clone(tenant),
            trigger_id: None,
            config: known,
            source: Source::ManualTest,
            payload,
            is_test_run: true,
            scheduled_for: None,
            depth: next_depth(depth)?,
            run_at: None,
            new_config: Some(config),
        })
        .await
    }

    pub(super) async fn set_off(&self, firing: Firing) -> Result<SetOff, Error> {
        Ok(self.inner.firings.submit(firing).await??.into())
    }
}

fn test_payload(config: &Config, payload: Option<Box<RawValue>>) -> Result<Box<RawValue>, Error> {
    let payload = payload.or_else(|| config.payload.clone());
    let payload = payload.unwrap_or_else(empty);
    let schema = match &config.rule {
        Rule::Webhook { schema, .. } => schema.as_ref(),
        _ => None,
    };
    check_payload(&payload, schema).map_err(|problem| problem.under("/payload"))?;
    Ok(payload)
}

pub(super) fn check_payload(payload: &RawValue, schema: Option<&Schema>) -> Result<(), Problem> {
    let bytes = payload.get().len();
    if bytes > MAX_PAYLOAD {
        let detail = format!("has {bytes} bytes, and {MAX_PAYLOAD} are the most");
        return Err(Problem::invalid("", detail));
    }
    tidewire_core::json::check(payload.get())
        .map_err(|fault| Problem::invalid(fault.pointer, fault.detail))?;
    match schema {
        Some(schema) => schema.check(payload),
        None => Ok(()),
    }
}

/// How deep a trigger is that something at this depth sets off.
pub(super) fn next_depth(depth: u32) -> Result<u32, Error> {
    if depth >= MAX_DEPTH {
        return Err(Error::TooDeep {
            depth: depth.saturating_add(1),
            most: MAX_DEPTH,
        });
    }
    Ok(depth + 1)
}
