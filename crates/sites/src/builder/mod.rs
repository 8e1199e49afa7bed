//! The builder simulator: a third party's service with sites, storefront users and orders, to sync
//! from. A process of its own with a SQLite file of its own, exactly as the source design has it.
//!
//! Its lists have the oldest first, ten to a page, and what is new comes at their end. With the fault
//! `shift` they are as difficult as such lists get: the newest comes first, and between two pages
//! one more record comes in front of all others, or the one in front goes away.

mod faults;
mod http;
mod random;
mod store;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;
use tidewire_core::{Clock, Time, ids};
use tidewire_db::{Db, Options, StoreUrl};

pub use self::http::routes;
pub use faults::Faults;
use faults::Trouble;
use random::Dice;
use store::{NewOrder, NewUser, Store};

/// Records of one answer.
pub const PAGE: u64 = 10;
/// Records that one request makes.
pub const MOST_AT_ONCE: u32 = 1_000;

#[derive(Clone, Debug)]
pub struct BuilderOptions {
    /// Its SQLite file; made if it is not there.
    pub db: PathBuf,
    /// What its data are made of. With the same seed and the same requests they are the same.
    pub seed: Option<u64>,
    pub faults: Faults,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no site `{0}`")]
    NoSuchSite(String),
    #[error("the site has no users yet, and an order is a user's")]
    NoUsers,
    #[error(transparent)]
    Store(#[from] tidewire_db::Error),
}

/// A site as the builder knows it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = BuilderSite)]
pub struct Site {
    pub id: String,
    pub name: String,
    pub created_at: Time,
    #[serde(skip)]
    pub(crate) access_key: String,
    /// The how manieth site it is: its data are made of it.
    #[serde(skip)]
    pub(crate) number: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = BuilderUser)]
pub struct User {
    pub id: String,
    pub name: String,
    pub email: String,
    pub created_at: Time,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = BuilderOrder)]
pub struct Order {
    pub id: String,
    pub user_id: String,
    pub total_cents: u64,
    pub currency: String,
    pub created_at: Time,
}

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Builder {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    store: Store,
    clock: Clock,
    seed: u64,
    faults: Faults,
    trouble: Trouble,
    /// Sites never change, and every page asks for one.
    sites: Mutex<HashMap<String, Site>>,
}

/// One page of a list, and how long the list is.
pub(crate) struct Page<T> {
    pub total: u64,
    pub records: Vec<T>,
}

impl<T> Page<T> {
    /// Whether there is a page behind this one.
    pub fn has_more(&self, page: u64) -> bool {
        page.saturating_mul(PAGE) < self.total
    }
}

/// The places of a page's first and last record in the order in which they were made, which counts
/// from 1; nothing behind the end.
fn places(page: u64, total: u64, newest_first: bool) -> Option<(u64, u64)> {
    let before = page.checked_sub(1)?.checked_mul(PAGE)?;
    if before >= total {
        return None;
    }
    Some(if newest_first {
        let last = total - before;
        (last.saturating_sub(PAGE - 1).max(1), last)
    } else {
        (before + 1, (before + PAGE).min(total))
    })
}

impl Builder {
    pub async fn open(options: BuilderOptions, clock: Clock) -> Result<Self, Error> {
        let db = Db::open(Options::new(StoreUrl::Sqlite(options.db))).await?;
        db.migrate(store::MIGRATIONS, &clock).await?;
        let store = Store::new(db.dialect());
        let fresh = u64::from_le_bytes(tidewire_core::clock::random_bytes());
        // Kept as an integer of SQLite.
        let seed = store.seed(&db, options.seed, fresh >> 1).await?;
        Ok(Builder {
            inner: Arc::new(Inner {
                db,
                store,
                clock,
                seed,
                trouble: Trouble::new(options.faults, seed),
                faults: options.faults,
                sites: Mutex::default(),
            }),
        })
    }

    pub async fn close(&self) {
        self.inner.db.clone().close().await;
    }

    pub(crate) async fn make_site(&self, name: String) -> Result<Site, Error> {
        let site = Site {
            id: format!("site-{}", ids::new_id(&self.inner.clock).to_lowercase()),
            name,
            created_at: self.inner.clock.now(),
            access_key: ids::new_secret("bk_"),
            number: 0,
        };
        self.inner.store.insert_site(&self.inner.db, &site).await?;
        Ok(site)
    }

    pub(crate) async fn sites(&self) -> Result<Vec<Site>, Error> {
        Ok(self.inner.store.sites(&mut self.inner.db.read()).await?)
    }

    pub(crate) async fn site(&self, id: &str) -> Result<Site, Error> {
        if let Some(site) = self.known().get(id) {
            return Ok(site.clone());
        }
        let found = self.inner.store.site(&mut self.inner.db.read(), id).await?;
        let site = found.ok_or_else(|| Error::NoSuchSite(id.to_owned()))?;
        self.known().insert(site.id.clone(), site.clone());
        Ok(site)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, Site>> {
        let sites = &self.inner.sites;
        sites.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn make_users(&self, id: &str, count: u32) -> Result<Vec<User>, Error> {
        let site = self.site(id).await?;
        let (seed, now) = (self.inner.seed, self.inner.clock.now());
        let make = move |number| {
            let mut dice = Dice::of(seed, &[1, site.number, number]);
            let (name, email) = dice.person(number);
            NewUser(User {
                id: format!("usr_{:016x}", dice.next()),
                name,
                email,
                created_at: now,
            })
        };
        let Inner { db, store, .. } = &*self.inner;
        Ok(store.insert_users(db, id, count, make).await?)
    }

    pub(crate) async fn make_orders(&self, id: &str, count: u32) -> Result<Vec<Order>, Error> {
        let site = self.site(id).await?;
        let (seed, now) = (self.inner.seed, self.inner.clock.now());
        let make = move |number| {
            let mut dice = Dice::of(seed, &[2, site.number, number]);
            NewOrder {
                // Whose it is depends on how many users there are.
                buyer: dice.next(),
                order: Order {
                    id: format!("ord_{:016x}", dice.next()),
                    user_id: String::new(),
                    total_cents: 100 + dice.below(50_000),
                    currency: "EUR".to_owned(),
                    created_at: now,
                },
            }
        };
        let Inner { db, store, .. } = &*self.inner;
        store.insert_orders(db, id, count, make).await
    }

    pub(crate) async fn users(&self, site: &str, page: u64) -> Result<Page<User>, Error> {
        if self.inner.faults.shift {
            self.shift(site, true).await?;
        }
        let mut read = self.inner.db.read();
        let total = self.inner.store.last_user(&mut read, site).await?;
        let newest_first = self.inner.faults.shift;
        let records = match places(page, total, newest_first) {
            Some(span) => self.inner.store.users(&mut read, site, span).await?,
            None => Vec::new(),
        };
        Ok(Page {
            total,
            records: turned(records, newest_first),
        })
    }

    pub(crate) async fn orders(&self, site: &str, page: u64) -> Result<Page<Order>, Error> {
        if self.inner.faults.shift {
            self.shift(site, false).await?;
        }
        let mut read = self.inner.db.read();
        let total = self.inner.store.last_order(&mut read, site).await?;
        let newest_first = self.inner.faults.shift;
        let records = match places(page, total, newest_first) {
            Some(span) => self.inner.store.orders(&mut read, site, span).await?,
            None => Vec::new(),
        };
        Ok(Page {
            total,
            records: turned(records, newest_first),
        })
    }

    /// Now and then one record more in front of all others, and now and then one less.
    async fn shift(&self, site: &str, users: bool) -> Result<(), Error> {
        match self.inner.trouble.shift() {
            None => {}
            Some(true) if users => drop(self.make_users(site, 1).await?),
            // Without users there are no orders that could shift.
            Some(true) => match self.make_orders(site, 1).await {
                Ok(_) | Err(Error::NoUsers) => {}
                Err(error) => return Err(error),
            },
            Some(false) => {
                let Inner { db, store, .. } = &*self.inner;
                store.drop_newest(db, site, users).await?;
            }
        }
        Ok(())
    }
}

fn turned<T>(mut records: Vec<T>, newest_first: bool) -> Vec<T> {
    if newest_first {
        records.reverse();
    }
    records
}

#[cfg(test)]
mod tests;
