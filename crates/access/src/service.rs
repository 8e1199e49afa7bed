//! The rules of tenants and keys.

use std::{future::Future, sync::Arc, time::Instant};

use tidewire_core::{Clock, Principal, Scope, Scopes, Time, ids, page, principal::DEFAULT_TENANT};
use tidewire_db::Db;

use crate::{
    AccessConfig, Error, RequestKeys, Result,
    authenticator::{Authenticator, Known, Question, Shown},
    model::{self, ApiKey, NewKey, NewTenant, Tenant},
    secret::{self, Hash256},
    store::{KeyInsert, Store},
};

/// Cheap to clone; the clones share what is remembered. One for each process.
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    clock: Clock,
    store: Store,
    authenticator: Authenticator,
    request_keys: RequestKeys,
}

/// One page of a list; `next` is the cursor of the page behind it.
#[derive(Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}

/// Which page.
#[derive(Clone, Debug, Default)]
pub struct PageOf {
    pub limit: Option<u32>,
    pub cursor: Option<String>,
}

impl Service {
    /// The tables must be there. `config` must have passed [`AccessConfig::check`].
    #[must_use]
    pub fn new(db: Db, clock: Clock, config: &AccessConfig) -> Self {
        let store = Store::new(db.dialect());
        let authenticator = Authenticator::new(db.clone(), clock.clone(), store.clone(), config);
        let request_keys = RequestKeys::new(db.clone(), clock.clone(), store.clone());
        Service {
            inner: Arc::new(Inner {
                db,
                clock,
                store,
                authenticator,
                request_keys,
            }),
        }
    }

    /// Makes the tenant `default` if it is not there. To be called before anything is served.
    pub async fn start(&self) -> Result<()> {
        let store = self.inner.store.clone();
        let id = DEFAULT_TENANT.to_owned();
        let tenant = Tenant {
            id: id.clone(),
            name: id,
            created_at: self.inner.clock.now(),
        };
        self.inner
            .db
            .transact("tenants.default", move |tx| {
                let (store, tenant) = (store.clone(), tenant.clone());
                Box::pin(async move {
                    if store.tenant(tx, &tenant.id).await?.is_none() {
                        store.insert_tenant(tx, &tenant).await?;
                    }
                    Ok(())
                })
            })
            .await
    }

    #[must_use]
    pub fn request_keys(&self) -> &RequestKeys {
        &self.inner.request_keys
    }

    /// Makes a tenant with its first key.
    pub async fn create_tenant(&self, name: String) -> Result<NewTenant> {
        model::check_name(&name)?;
        let tenant = Tenant {
            id: ids::new_id(&self.inner.clock),
            name,
            created_at: self.inner.clock.now(),
        };
        let key = Minted::new(&self.inner.clock, model::default_scopes());
        let store = self.inner.store.clone();
        let (row, api_key) = (tenant.clone(), key.secret.clone());
        self.inner
            .db
            .transact("tenants.create", move |tx| {
                let (store, tenant, key) = (store.clone(), row.clone(), key.clone());
                Box::pin(async move {
                    store.insert_tenant(tx, &tenant).await?;
                    store.insert_key(tx, key.row(&tenant.id)).await
                })
            })
            .await?;
        Ok(NewTenant {
            id: tenant.id,
            name: tenant.name,
            api_key,
            created_at: tenant.created_at,
        })
    }

    /// Newest first.
    pub async fn tenants(&self, page: &PageOf) -> Result<Page<Tenant>> {
        const LIST: &str = "tenants";
        let limit = page.limit()?;
        let behind = page.behind(LIST)?.map(|key| place(&key)).transpose()?;
        let items = self
            .inner
            .store
            .tenants(&mut self.inner.db.read(), behind, limit + 1)
            .await?;
        Ok(Page::cut(LIST, items, limit, |last| {
            format!("{}@{}", last.created_at.micros(), last.id)
        }))
    }

    /// Mints a key. Who may ask for which scopes is the caller's question.
    pub async fn mint_key(&self, tenant: &str, scopes: Option<Scopes>) -> Result<NewKey> {
        let scopes = scopes.unwrap_or_else(model::default_scopes);
        if scopes.is_empty() {
            return Err(Error::Invalid {
                pointer: "/scopes",
                detail: "is empty, and a key without a scope may do nothing: name one, or leave `scopes` out"
                    .to_owned(),
            });
        }
        if scopes.has(Scope::Agent) {
            return Err(Error::Invalid {
                pointer: "/scopes",
                detail: "names `agent`, which is for instances of agents: such a key comes with a lease, by `POST /v1/agents/leases`"
                    .to_owned(),
            });
        }
        let tenant = self.inner.authenticator.tenant(tenant).await?;
        let key = Minted::new(&self.inner.clock, scopes);
        let (id, api_key) = (key.id.clone(), key.secret.clone());
        let store = self.inner.store.clone();
        self.inner
            .db
            .transact("api_keys.mint", move |tx| {
                let (store, tenant, key) = (store.clone(), Arc::clone(&tenant), key.clone());
                Box::pin(async move { store.insert_key(tx, key.row(&tenant)).await })
            })
            .await?;
        tracing::info!(key_id = id, %scopes, "minted a key");
        Ok(NewKey {
            id,
            api_key,
            scopes: scopes.iter().collect(),
        })
    }

    /// A tenant's keys without the secrets, newest first.
    pub async fn keys(&self, tenant: &str, page: &PageOf) -> Result<Page<ApiKey>> {
        const LIST: &str = "keys";
        let limit = page.limit()?;
        let behind = page.behind(LIST)?;
        let tenant = self.inner.authenticator.tenant(tenant).await?;
        let items = self
            .inner
            .store
            .keys(&mut self.inner.db.read(), &tenant, behind, limit + 1)
            .await?;
        Ok(Page::cut(LIST, items, limit, |last| last.id.clone()))
    }

    /// Revokes a key. Once this has answered, the key opens nothing here any more, and shortly after
    /// nowhere else.
    pub async fn revoke_key(&self, tenant: &str, id: &str) -> Result<()> {
        let tenant = self.inner.authenticator.tenant(tenant).await?;
        let inner = Arc::clone(&self.inner);
        let key = id.to_owned();
        self.inner
            .db
            .transact("api_keys.revoke", move |tx| {
                let (inner, tenant, key) = (Arc::clone(&inner), Arc::clone(&tenant), key.clone());
                Box::pin(async move {
                    let Some(hash) = inner.store.delete_key(tx, &tenant, &key).await? else {
                        return Err(Error::UnknownKey(key));
                    };
                    inner.authenticator.revoke_on_commit(tx, hash, key);
                    Ok(())
                })
            })
            .await?;
        tracing::info!(key_id = id, "revoked a key");
        Ok(())
    }

    pub(crate) fn know(&self, shown: Shown<'_>) -> Result<Known> {
        self.inner.authenticator.know(shown, Instant::now())
    }

    pub(crate) async fn ask(&self, question: Question) -> Result<Principal> {
        self.inner.authenticator.ask(question, Instant::now()).await
    }

    /// Waits until a key was used that nobody has noted for a while.
    pub(crate) fn key_used(&self) -> impl Future<Output = ()> + '_ {
        self.inner.authenticator.last_used.noted()
    }

    pub(crate) async fn flush_last_used(&self) -> Result<()> {
        Ok(self
            .inner
            .authenticator
            .last_used
            .flush(&self.inner.db, &self.inner.store)
            .await?)
    }

    pub(crate) async fn hear_revocations(&self) {
        self.inner.authenticator.hear_revocations().await;
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    pub(crate) fn authenticator(&self) -> &Authenticator {
        &self.inner.authenticator
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.inner.clock
    }
}

/// A key on its way into the store.
#[derive(Clone)]
pub(crate) struct Minted {
    pub id: String,
    pub secret: String,
    hash: Hash256,
    scopes: Scopes,
    created_at: Time,
}

impl Minted {
    pub(crate) fn new(clock: &Clock, scopes: Scopes) -> Self {
        let secret = secret::new_key();
        Minted {
            id: ids::new_id(clock),
            hash: Hash256::of(&secret),
            secret,
            scopes,
            created_at: clock.now(),
        }
    }

    pub(crate) fn row<'k>(&'k self, tenant: &'k str) -> KeyInsert<'k> {
        KeyInsert {
            tenant,
            id: &self.id,
            hash: self.hash,
            scopes: self.scopes,
            created_at: self.created_at,
            bound: None,
        }
    }
}

impl PageOf {
    fn limit(&self) -> Result<u32> {
        page::limit(self.limit).map_err(Error::Page)
    }

    fn behind(&self, list: &str) -> Result<Option<String>> {
        self.cursor
            .as_deref()
            .map(|cursor| page::key(list, cursor))
            .transpose()
            .map_err(Error::Page)
    }
}

impl<T> Page<T> {
    /// Of `items`, which are one more than the page if there is another page.
    fn cut(list: &str, mut items: Vec<T>, limit: u32, key: impl FnOnce(&T) -> String) -> Self {
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = items.len() > most;
        items.truncate(most);
        let next = items
            .last()
            .filter(|_| more)
            .map(|last| page::cursor(list, &key(last)));
        Page { items, next }
    }
}

/// The key of a tenants' cursor: when the last tenant was made, and its id.
fn place(key: &str) -> Result<(Time, String)> {
    let parsed = key
        .split_once('@')
        .and_then(|(micros, id)| Some((Time::from_micros(micros.parse().ok()?), id)));
    match parsed {
        Some((at, id)) => Ok((at, id.to_owned())),
        None => Err(Error::Invalid {
            pointer: "cursor",
            detail: "is not a `next_cursor` that this list gave out".to_owned(),
        }),
    }
}
