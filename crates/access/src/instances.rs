//! Keys of agents' instances. Each goes with a lease, and is written in the lease's own transaction.

use std::sync::Arc;

use tidewire_core::{Bound, Scope, Scopes, Time};
use tidewire_db::{Result as DbResult, Tx};

use crate::{Error, KeyRenewal, Result, Service, service::Minted, store::KeyInsert};

/// A key of an instance that is to be made: bound to what the instance may work on, until its lease ends.
#[derive(Clone, Debug)]
pub struct InstanceKey<'k> {
    pub tenant: &'k str,
    pub bound: Bound,
    pub expires_at: Time,
}

impl Service {
    /// The tenant, if there is one of this id.
    pub async fn find_tenant(&self, id: &str) -> Result<Option<Arc<str>>> {
        match self.authenticator().tenant(id).await {
            Ok(tenant) => Ok(Some(tenant)),
            Err(Error::UnknownTenant(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a key for an instance: its id, and the key, which nobody sees again.
    pub async fn mint_instance_in(
        &self,
        tx: &mut Tx,
        key: &InstanceKey<'_>,
    ) -> DbResult<(String, String)> {
        let scopes: Scopes = [Scope::Agent].into_iter().collect();
        let minted = Minted::new(self.clock(), scopes);
        let row = KeyInsert {
            bound: Some((&key.bound, key.expires_at)),
            ..minted.row(key.tenant)
        };
        self.store().insert_key(tx, row).await?;
        Ok((minted.id, minted.secret))
    }

    /// Goes on with the keys of instances. Those who used them before notice by themselves.
    pub async fn renew_instances_in(&self, tx: &mut Tx, keys: &[KeyRenewal<'_>]) -> DbResult<()> {
        match keys.is_empty() {
            true => Ok(()),
            false => self.store().renew_keys(tx, keys).await,
        }
    }

    /// Those of these keys, each a tenant and an id, that nobody has revoked.
    pub async fn present_in(&self, tx: &mut Tx, keys: &[(&str, &str)]) -> DbResult<Vec<String>> {
        match keys.is_empty() {
            true => Ok(Vec::new()),
            false => self.store().present_keys(tx, keys).await,
        }
    }

    /// Revokes a key, if it is there.
    pub async fn revoke_in(&self, tx: &mut Tx, tenant: &str, id: &str) -> DbResult<()> {
        if let Some(hash) = self.store().delete_key(tx, tenant, id).await? {
            self.authenticator()
                .revoke_on_commit(tx, hash, id.to_owned());
        }
        Ok(())
    }
}
