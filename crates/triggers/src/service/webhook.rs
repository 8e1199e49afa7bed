//! Webhooks: anybody who knows the URL may call, and the trigger says what it takes.

use std::sync::Arc;

use serde_json::value::RawValue;
use tidewire_core::{Principal, Scope, ids};
use tidewire_db::Tx;

use super::{
    Inner, Triggers,
    by_hand::{SetOff, check_payload, next_depth},
};
use crate::{
    Error, Rule,
    firing::Firing,
    model::{Source, TriggerStatus, TriggerType},
};

/// A webhook's call that may fire.
#[derive(Clone, Debug)]
pub struct Call(Firing);

impl Call {
    /// Whose trigger it is.
    #[must_use]
    pub fn tenant(&self) -> &Arc<str> {
        &self.0.tenant
    }
}

impl Triggers {
    /// Checks what a webhook's caller sent. The trigger is found by its id alone; `caller` is who
    /// asks, if a key was sent.
    pub async fn check_call(
        &self,
        id: &str,
        payload: Box<RawValue>,
        caller: Option<&Principal>,
        depth: u32,
    ) -> Result<Call, Error> {
        let Inner { store, db, .. } = &*self.inner;
        let unknown = || Error::NoSuchTrigger(id.to_owned());
        if !ids::is_id(id) {
            return Err(unknown());
        }
        let row = store.trigger_of_id(&mut db.read(), id).await?;
        let row = row
            .filter(|row| row.kind == TriggerType::Webhook && row.status == TriggerStatus::Active)
            .ok_or_else(unknown)?;
        let config = self.config_of(&row.tenant, &row).await?;
        if let Rule::Webhook {
            schema,
            require_key,
        } = &config.config.rule
        {
            if *require_key {
                match caller.filter(|caller| caller.tenant == row.tenant) {
                    Some(caller) => caller.require(Scope::Write)?,
                    None => return Err(Error::KeyRequired(id.to_owned())),
                }
            }
            check_payload(&payload, schema.as_ref())?;
        }
        Ok(Call(Firing {
            tenant: row.tenant,
            trigger_id: Some(row.id),
            config,
            source: Source::Webhook,
            payload,
            is_test_run: false,
            scheduled_for: None,
            depth: next_depth(depth)?,
            run_at: None,
            new_config: None,
        }))
    }

    /// Fires for a call inside the caller's transaction.
    pub async fn call_in(&self, tx: &mut Tx, call: &Call) -> Result<SetOff, Error> {
        let fired = self
            .inner
            .fire
            .fire(tx, std::slice::from_ref(&call.0))
            .await?;
        let fired = fired.into_iter().next().ok_or_else(|| {
            tidewire_db::Error::Broken("one trigger fired and nothing came of it".to_owned())
        })?;
        Ok(fired.into())
    }

    /// What a webhook's caller sent, checked and fired. Several at once share a commit.
    pub async fn webhook(
        &self,
        id: &str,
        payload: Box<RawValue>,
        caller: Option<&Principal>,
        depth: u32,
    ) -> Result<SetOff, Error> {
        let call = self.check_call(id, payload, caller, depth).await?;
        self.set_off(call.0).await
    }
}
