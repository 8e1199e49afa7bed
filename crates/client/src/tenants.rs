//! Tenants and their keys: for the operator.

use serde::Serialize;
use tidewire_core::Scope;

use crate::{
    Client, Page, Pages, Result,
    model::{self, Key, NewKey, NewTenant, Tenant},
    retry::Repeat,
    transport::Call,
};

pub struct Tenants<'c>(pub(crate) &'c Client);

impl<'c> Tenants<'c> {
    /// Makes a tenant and its first key, which is shown only here.
    pub async fn create(&self, name: &str) -> Result<NewTenant> {
        #[derive(Serialize)]
        struct Body<'a> {
            name: &'a str,
        }
        let call = Call::post(self.0.url(&["v1", "tenants"])?, &Body { name })?;
        self.0.send(call, Repeat::WhileRefused).await
    }

    pub async fn list(&self, limit: Option<u32>, cursor: Option<&str>) -> Result<Page<Tenant>> {
        let mut url = self.0.url(&["v1", "tenants"])?;
        model::paged(&mut url, limit, cursor);
        let page: model::TenantsPage = self.0.send(Call::get(url), Repeat::Always).await?;
        Ok(Page {
            items: page.tenants,
            next_cursor: page.next_cursor,
        })
    }

    /// All tenants, page by page.
    #[must_use]
    pub fn pages(&self, limit: Option<u32>) -> Pages<'c, Tenant> {
        let client = self.0;
        Pages::new(None, move |cursor| async move {
            client.tenants().list(limit, cursor.as_deref()).await
        })
    }

    /// Makes another key; without scopes it gets the server's default ones.
    pub async fn create_key(&self, tenant: &str, scopes: &[Scope]) -> Result<NewKey> {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            scopes: &'a [Scope],
        }
        let call = Call::post(
            self.0.url(&["v1", "tenants", tenant, "keys"])?,
            &Body { scopes },
        )?;
        self.0.send(call, Repeat::WhileRefused).await
    }

    /// A tenant's keys, without their secrets.
    pub async fn keys(
        &self,
        tenant: &str,
        limit: Option<u32>,
        cursor: Option<&str>,
    ) -> Result<Page<Key>> {
        let mut url = self.0.url(&["v1", "tenants", tenant, "keys"])?;
        model::paged(&mut url, limit, cursor);
        let page: model::KeysPage = self.0.send(Call::get(url), Repeat::Always).await?;
        Ok(Page {
            items: page.keys,
            next_cursor: page.next_cursor,
        })
    }

    /// All keys of a tenant, page by page.
    #[must_use]
    pub fn key_pages(&self, tenant: &str, limit: Option<u32>) -> Pages<'c, Key> {
        let (client, tenant) = (self.0, tenant.to_owned());
        Pages::new(None, move |cursor| {
            let tenant = tenant.clone();
            async move {
                client
                    .tenants()
                    .keys(&tenant, limit, cursor.as_deref())
                    .await
            }
        })
    }

    pub async fn revoke_key(&self, tenant: &str, key: &str) -> Result<()> {
        let url = self.0.url(&["v1", "tenants", tenant, "keys", key])?;
        self.0
            .send_for_nothing(Call::delete(url), Repeat::WhileRefused)
            .await
    }
}
