//! All SQL of the builder. `seq` counts each site's users and orders 1, 2, 3 … without a gap, so that
//! a page deep inside a list costs no more than the first: only the newest of a list ever goes away.
//! `made` counts what was made in all, so that nothing is made twice.

use tidewire_core::Time;
use tidewire_db::{Arg, Column, Db, Dialect, Migration, Query, Result, Row, Sql, Tx};

use super::{Error, Order, Site, User};

pub(super) const MIGRATIONS: &[Migration] = &[Migration {
    id: "0001_builder",
    up: &[
        "CREATE TABLE settings (seed {int} NOT NULL)",
        "CREATE TABLE sites (id {id} NOT NULL PRIMARY KEY, name {text} NOT NULL,
            access_key {text} NOT NULL, number {int} NOT NULL, made {int} NOT NULL, created_at {time} NOT NULL)
         {clustered}",
        "CREATE TABLE users (site_id {id} NOT NULL, seq {int} NOT NULL, id {id} NOT NULL,
            name {text} NOT NULL, email {text} NOT NULL, created_at {time} NOT NULL,
            PRIMARY KEY (site_id, seq)) {clustered}",
        "CREATE TABLE orders (site_id {id} NOT NULL, seq {int} NOT NULL, id {id} NOT NULL,
            user_id {id} NOT NULL, total_cents {int} NOT NULL, currency {id} NOT NULL,
            created_at {time} NOT NULL, PRIMARY KEY (site_id, seq)) {clustered}",
    ],
}];

#[derive(Clone)]
pub(super) struct Store {
    dialect: &'static Dialect,
    seed: Sql,
    set_seed: Sql,
    keep_seed: Sql,
    insert_site: Sql,
    site: Sql,
    sites: Sql,
    made: Sql,
    count_made: Sql,
    last_user: Sql,
    last_order: Sql,
    users: Sql,
    users_at: Sql,
    orders: Sql,
    insert_users: Sql,
    insert_orders: Sql,
    drop_user: Sql,
    drop_order: Sql,
}

/// A user that is to be kept.
pub(super) struct NewUser(pub User);

/// An order that is to be kept, for one of the users there are.
pub(super) struct NewOrder {
    /// Chooses the user.
    pub buyer: u64,
    pub order: Order,
}

const SITE: &str = "id, name, access_key, number, created_at";
const USER: &str = "id, name, email, created_at";
const ORDER: &str = "id, user_id, total_cents, currency, created_at";

impl Store {
    pub fn new(dialect: &'static Dialect) -> Self {
        let insert = |table: &str, columns: &[Column]| {
            let rows = dialect.json_rows("r", columns);
            let names: Vec<_> = columns.iter().map(|column| column.name()).collect();
            dialect.sql(&format!(
                "INSERT INTO {table} ({}) SELECT {} FROM {}",
                names.join(", "),
                rows.columns,
                rows.from
            ))
        };
        let last = |table: &str| {
            dialect.sql(&format!(
                "SELECT seq FROM {table} WHERE site_id = ? ORDER BY seq DESC LIMIT 1"
            ))
        };
        let span = |table: &str, columns: &str| {
            dialect.sql(&format!(
                "SELECT {columns} FROM {table} WHERE site_id = ? AND seq >= ? AND seq <= ? ORDER BY seq"
            ))
        };
        let drop = |table: &str| {
            dialect.sql(&format!(
                "DELETE FROM {table} WHERE site_id = ? AND seq = ?"
            ))
        };
        let places = dialect.json_rows("r", &[Column::Id("site_id"), Column::Int("seq")]);
        Store {
            dialect,
            seed: dialect.sql("SELECT seed FROM settings"),
            set_seed: dialect.sql("UPDATE settings SET seed = ?"),
            keep_seed: dialect.sql("INSERT INTO settings (seed) VALUES (?)"),
            insert_site: dialect.sql(
                "INSERT INTO sites (id, name, access_key, created_at, made, number)
                 VALUES (?, ?, ?, ?, 0, (SELECT count(*) + 1 FROM sites))",
            ),
            site: dialect.sql(&format!("SELECT {SITE} FROM sites WHERE id = ?")),
            sites: dialect.sql(&format!("SELECT {SITE} FROM sites ORDER BY number")),
            made: dialect.sql("SELECT made FROM sites WHERE id = ?"),
            count_made: dialect.sql("UPDATE sites SET made = ? WHERE id = ?"),
            last_user: last("users"),
            last_order: last("orders"),
            users: span("users", USER),
            users_at: dialect.sql(&format!(
                "SELECT u.seq, u.id FROM {} {} WHERE u.site_id = {} AND u.seq = {}",
                places.from,
                dialect.then("users u"),
                places.col("site_id"),
                places.col("seq")
            )),
            orders: span("orders", ORDER),
            insert_users: insert(
                "users",
                &[
                    Column::Id("site_id"),
                    Column::Int("seq"),
                    Column::Id("id"),
                    Column::Text("name"),
                    Column::Text("email"),
                    Column::Time("created_at"),
                ],
            ),
            insert_orders: insert(
                "orders",
                &[
                    Column::Id("site_id"),
                    Column::Int("seq"),
                    Column::Id("id"),
                    Column::Id("user_id"),
                    Column::Int("total_cents"),
                    Column::Id("currency"),
                    Column::Time("created_at"),
                ],
            ),
            drop_user: drop("users"),
            drop_order: drop("orders"),
        }
    }

    /// The seed: the one that is asked for, else the one that the file has, else this one.
    pub async fn seed(&self, db: &Db, asked: Option<u64>, fresh: u64) -> Result<u64> {
        let store = self.clone();
        db.transact("builder.seed", move |tx| {
            let store = store.clone();
            Box::pin(async move {
                let kept = tx.row(&store.seed, Vec::new()).await?;
                let kept = kept.map(|row| row.count(0)).transpose()?;
                match (asked, kept) {
                    (Some(asked), Some(kept)) if asked != kept => {
                        tx.push(&store.set_seed, vec![asked.into()]).await?;
                        Ok(asked)
                    }
                    (_, Some(kept)) => Ok(kept),
                    (asked, None) => {
                        let seed = asked.unwrap_or(fresh);
                        tx.push(&store.keep_seed, vec![seed.into()]).await?;
                        Ok(seed)
                    }
                }
            })
        })
        .await
    }

    pub async fn insert_site(&self, db: &Db, site: &Site) -> Result<()> {
        let (store, site) = (self.clone(), site.clone());
        db.transact("builder.site", move |tx| {
            let (store, site) = (store.clone(), site.clone());
            Box::pin(async move {
                let args = vec![
                    site.id.into(),
                    site.name.into(),
                    site.access_key.into(),
                    site.created_at.into(),
                ];
                tx.push(&store.insert_site, args).await
            })
        })
        .await
    }

    pub async fn site(&self, query: &mut impl Query, id: &str) -> Result<Option<Site>> {
        let row = query.row(&self.site, vec![id.into()]).await?;
        row.map(|row| site(&row)).transpose()
    }

    pub async fn sites(&self, query: &mut impl Query) -> Result<Vec<Site>> {
        let rows = query.rows(&self.sites, Vec::new()).await?;
        rows.iter().map(site).collect()
    }

    /// How many users there are.
    pub async fn last_user(&self, query: &mut impl Query, site: &str) -> Result<u64> {
        last(query, &self.last_user, site).await
    }

    /// How many orders there are.
    pub async fn last_order(&self, query: &mut impl Query, site: &str) -> Result<u64> {
        last(query, &self.last_order, site).await
    }

    pub async fn users(
        &self,
        query: &mut impl Query,
        site: &str,
        (from, to): (u64, u64),
    ) -> Result<Vec<User>> {
        let args = vec![site.into(), from.into(), to.into()];
        let rows = query.rows(&self.users, args).await?;
        rows.iter()
            .map(|row| {
                Ok(User {
                    id: row.text(0)?,
                    name: row.text(1)?,
                    email: row.text(2)?,
                    created_at: row.time(3)?,
                })
            })
            .collect()
    }

    pub async fn orders(
        &self,
        query: &mut impl Query,
        site: &str,
        (from, to): (u64, u64),
    ) -> Result<Vec<Order>> {
        let args = vec![site.into(), from.into(), to.into()];
        let rows = query.rows(&self.orders, args).await?;
        rows.iter()
            .map(|row| {
                Ok(Order {
                    id: row.text(0)?,
                    user_id: row.text(1)?,
                    total_cents: row.count(2)?,
                    currency: row.text(3)?,
                    created_at: row.time(4)?,
                })
            })
            .collect()
    }

    /// Makes users; each is made of how many things were made before it.
    pub async fn insert_users(
        &self,
        db: &Db,
        site: &str,
        count: u32,
        make: impl Fn(u64) -> NewUser + Clone + Send + Sync + 'static,
    ) -> Result<Vec<User>> {
        let (store, site) = (self.clone(), site.to_owned());
        db.transact("builder.users", move |tx| {
            let (store, site, make) = (store.clone(), site.clone(), make.clone());
            Box::pin(async move {
                let made = store.take_numbers(tx, &site, count).await?;
                let last = store.last_user(tx, &site).await?;
                let users: Vec<_> = made.map(|number| make(number).0).collect();
                let rows: Vec<_> = (last + 1..)
                    .zip(&users)
                    .map(|(seq, user)| {
                        let at = store.time(user.created_at);
                        (&site, seq, &user.id, &user.name, &user.email, at)
                    })
                    .collect();
                tx.push(&store.insert_users, vec![Arg::json(&rows)?])
                    .await?;
                Ok(users)
            })
        })
        .await
    }

    /// Makes orders of users that there are.
    pub async fn insert_orders(
        &self,
        db: &Db,
        site: &str,
        count: u32,
        make: impl Fn(u64) -> NewOrder + Clone + Send + Sync + 'static,
    ) -> Result<Vec<Order>, Error> {
        let (store, site) = (self.clone(), site.to_owned());
        db.transact("builder.orders", move |tx| {
            let (store, site, make) = (store.clone(), site.clone(), make.clone());
            Box::pin(async move {
                let users = store.last_user(tx, &site).await?;
                if users == 0 {
                    return Err(Error::NoUsers);
                }
                let made = store.take_numbers(tx, &site, count).await?;
                let last = store.last_order(tx, &site).await?;
                let new: Vec<_> = made.map(make).collect();
                let buyers: Vec<_> = new.iter().map(|new| new.buyer % users + 1).collect();
                let asked: Vec<_> = buyers.iter().map(|seq| (&site, seq)).collect();
                let found = tx.rows(&store.users_at, vec![Arg::json(&asked)?]).await?;
                let mut ids = std::collections::HashMap::new();
                for row in &found {
                    ids.insert(row.count(0)?, row.text(1)?);
                }
                let orders: Vec<_> = new
                    .into_iter()
                    .zip(&buyers)
                    .map(|(new, buyer)| Order {
                        user_id: ids.get(buyer).cloned().unwrap_or_default(),
                        ..new.order
                    })
                    .collect();
                let rows: Vec<_> = (last + 1..)
                    .zip(&orders)
                    .map(|(seq, order)| {
                        let at = store.time(order.created_at);
                        let (user, cents) = (&order.user_id, order.total_cents);
                        (&site, seq, &order.id, user, cents, &order.currency, at)
                    })
                    .collect();
                tx.push(&store.insert_orders, vec![Arg::json(&rows)?])
                    .await?;
                Ok(orders)
            })
        })
        .await
    }

    /// The newest user or order goes away.
    pub async fn drop_newest(&self, db: &Db, site: &str, users: bool) -> Result<()> {
        let (store, site) = (self.clone(), site.to_owned());
        db.transact("builder.drop", move |tx| {
            let (store, site) = (store.clone(), site.clone());
            Box::pin(async move {
                let (last, sql) = if users {
                    (store.last_user(tx, &site).await?, &store.drop_user)
                } else {
                    (store.last_order(tx, &site).await?, &store.drop_order)
                };
                tx.push(sql, vec![site.into(), last.into()]).await
            })
        })
        .await
    }

    /// Numbers that nothing was made of yet.
    async fn take_numbers(
        &self,
        tx: &mut Tx,
        site: &str,
        count: u32,
    ) -> Result<std::ops::Range<u64>> {
        let row = tx.row(&self.made, vec![site.into()]).await?;
        let made = row.map(|row| row.count(0)).transpose()?.unwrap_or(0);
        let after = made + u64::from(count);
        tx.push(&self.count_made, vec![after.into(), site.into()])
            .await?;
        Ok(made + 1..after + 1)
    }

    fn time(&self, time: Time) -> String {
        self.dialect.json_time(time)
    }
}

async fn last(query: &mut impl Query, sql: &Sql, site: &str) -> Result<u64> {
    let row = query.row(sql, vec![site.into()]).await?;
    Ok(row.map(|row| row.count(0)).transpose()?.unwrap_or(0))
}

fn site(row: &Row) -> Result<Site> {
    Ok(Site {
        id: row.text(0)?,
        name: row.text(1)?,
        access_key: row.text(2)?,
        number: row.count(3)?,
        created_at: row.time(4)?,
    })
}
