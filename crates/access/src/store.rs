//! All of this room's SQL.

use std::sync::Arc;

use tidewire_core::{Bound, Scopes, Time};
use tidewire_db::{Arg, Column, Dialect, Error, Query, Result, Row, Sql, Tx};

use crate::{
    model::{ApiKey, Tenant},
    secret::Hash256,
};

/// Cheap to clone: the statements are made once.
#[derive(Clone)]
pub(crate) struct Store {
    sql: Arc<Statements>,
}

struct Statements {
    tenant: Sql,
    tenants: Sql,
    tenants_behind: Sql,
    insert_tenant: Sql,
    key_by_hash: Sql,
    key_hash: Sql,
    keys: Sql,
    keys_behind: Sql,
    insert_key: Sql,
    delete_key: Sql,
    renew_keys: Sql,
    present_keys: Sql,
    used: Sql,
    request: Sql,
    insert_request: Sql,
    delete_request: Sql,
    old_requests: Sql,
    nth_old_request: Sql,
    delete_requests: Sql,
}

impl Statements {
    fn new(dialect: &Dialect) -> Self {
        let sql = |text: &str| dialect.sql(text);
        Statements {
            tenant: sql("SELECT id, name, created_at FROM tenants WHERE id = ?"),
            // Sorted without an index: the table is small, only the operator lists it, and ids do
            // not sort by age here, since `default` is no ULID.
            tenants: sql("SELECT id, name, created_at FROM tenants ORDER BY created_at DESC, id DESC LIMIT ?"),
            tenants_behind: sql(
                "SELECT id, name, created_at FROM tenants
                 WHERE created_at < ? OR (created_at = ? AND id < ?)
                 ORDER BY created_at DESC, id DESC LIMIT ?",
            ),
            insert_tenant: sql("INSERT INTO tenants (id, name, created_at) VALUES (?, ?, ?)"),
            key_by_hash: sql(
                "SELECT tenant, id, hash, scopes, last_used_at, worker, thread_id, expires_at
                 FROM api_keys WHERE hash = ?",
            ),
            // Of several who delete a key at once, one finds it.
            key_hash: sql(&format!(
                "SELECT hash FROM api_keys WHERE tenant = ? AND id = ?{}",
                dialect.lock()
            )),
            keys: sql(
                "SELECT id, scopes, created_at, last_used_at, worker, thread_id, expires_at FROM api_keys
                 WHERE tenant = ? ORDER BY id DESC LIMIT ?",
            ),
            keys_behind: sql(
                "SELECT id, scopes, created_at, last_used_at, worker, thread_id, expires_at FROM api_keys
                 WHERE tenant = ? AND id < ? ORDER BY id DESC LIMIT ?",
            ),
            insert_key: sql(
                "INSERT INTO api_keys (tenant, id, hash, scopes, created_at, worker, thread_id, expires_at)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            ),
            delete_key: sql("DELETE FROM api_keys WHERE tenant = ? AND id = ?"),
            renew_keys: renew_keys(dialect),
            present_keys: present_keys(dialect),
            used: used(dialect),
            request: sql(
                "SELECT body_hash, status, answer, created_at FROM request_keys
                 WHERE tenant = ? AND route = ? AND key_hash = ?",
            ),
            insert_request: sql(
                "INSERT INTO request_keys (tenant, route, key_hash, body_hash, status, answer, created_at)
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
            ),
            // Of this age only: what another process may have put in its place stays.
            delete_request: sql(
                "DELETE FROM request_keys
                 WHERE tenant = ? AND route = ? AND key_hash = ? AND created_at = ?",
            ),
            // The oldest of each tenant, by a look at one end of the index.
            old_requests: sql(
                "SELECT id FROM tenants t WHERE
                 (SELECT created_at FROM request_keys r WHERE r.tenant = t.id ORDER BY created_at LIMIT 1) < ?",
            ),
            nth_old_request: sql(
                "SELECT created_at FROM request_keys WHERE tenant = ? AND created_at < ?
                 ORDER BY created_at LIMIT 1 OFFSET ?",
            ),
            delete_requests: sql("DELETE FROM request_keys WHERE tenant = ? AND created_at < ?"),
        }
    }
}

fn renew_keys(dialect: &Dialect) -> Sql {
    let rows = dialect.json_rows(
        "r",
        &[
            Column::Id("tenant"),
            Column::Id("id"),
            Column::Id("new_thread_id"),
            Column::Time("new_expires_at"),
        ],
    );
    dialect.update_rows(
        "api_keys",
        &rows,
        &["tenant", "id"],
        &[
            ("thread_id", rows.col("new_thread_id")),
            ("expires_at", rows.col("new_expires_at")),
        ],
    )
}

fn present_keys(dialect: &Dialect) -> Sql {
    let rows = dialect.json_rows("r", &[Column::Id("tenant"), Column::Id("id")]);
    dialect.sql(&format!(
        "SELECT k.id FROM {} {} WHERE k.tenant = {} AND k.id = {}",
        rows.from,
        dialect.then("api_keys k"),
        rows.col("tenant"),
        rows.col("id")
    ))
}

fn used(dialect: &Dialect) -> Sql {
    let rows = dialect.json_rows(
        "used",
        &[Column::Id("tenant"), Column::Id("id"), Column::Time("at")],
    );
    let at = rows.col("at");
    let later =
        format!("CASE WHEN api_keys.last_used_at > {at} THEN api_keys.last_used_at ELSE {at} END");
    dialect.update_rows(
        "api_keys",
        &rows,
        &["tenant", "id"],
        &[("last_used_at", &later)],
    )
}

/// A tenant and one of its keys.
pub(crate) type KeyName = (Arc<str>, Arc<str>);

/// A key as the authentication sees it.
pub(crate) struct KeyRow {
    pub tenant: String,
    pub id: String,
    pub hash: Hash256,
    pub scopes: Scopes,
    pub last_used_at: Option<Time>,
    pub bound: Option<Bound>,
    /// An instance's, from then on.
    pub expires_at: Option<Time>,
}

/// A key that is to be written.
pub(crate) struct KeyInsert<'k> {
    pub tenant: &'k str,
    pub id: &'k str,
    pub hash: Hash256,
    pub scopes: Scopes,
    pub created_at: Time,
    /// For what instance, and until when.
    pub bound: Option<(&'k Bound, Time)>,
}

/// A key of an instance whose lease goes on.
#[derive(Clone, Copy, Debug)]
pub struct KeyRenewal<'k> {
    pub tenant: &'k str,
    pub id: &'k str,
    pub thread: Option<&'k str>,
    pub expires_at: Time,
}

/// What names a request: unique for as long as its answer is kept.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct RequestId {
    pub tenant: Arc<str>,
    pub route: &'static str,
    pub key: Hash256,
}

/// A request that was answered, and its answer.
pub(crate) struct RequestRow {
    pub body: Hash256,
    pub status: u16,
    pub answer: String,
    pub created_at: Time,
}

impl Store {
    pub(crate) fn new(dialect: &Dialect) -> Self {
        Store {
            sql: Arc::new(Statements::new(dialect)),
        }
    }

    pub(crate) async fn tenant(&self, query: &mut impl Query, id: &str) -> Result<Option<Tenant>> {
        let row = query.row(&self.sql.tenant, vec![id.into()]).await?;
        row.as_ref().map(tenant).transpose()
    }

    /// Newest first, behind the tenant that was made at `behind` and has its id.
    pub(crate) async fn tenants(
        &self,
        query: &mut impl Query,
        behind: Option<(Time, String)>,
        limit: u32,
    ) -> Result<Vec<Tenant>> {
        let rows = match behind {
            None => query.rows(&self.sql.tenants, vec![limit.into()]).await?,
            Some((at, id)) => {
                let args = vec![at.into(), at.into(), id.into(), limit.into()];
                query.rows(&self.sql.tenants_behind, args).await?
            }
        };
        rows.iter().map(tenant).collect()
    }

    pub(crate) async fn insert_tenant(&self, tx: &mut Tx, tenant: &Tenant) -> Result<()> {
        let args = vec![
            (&tenant.id).into(),
            (&tenant.name).into(),
            tenant.created_at.into(),
        ];
        tx.execute(&self.sql.insert_tenant, args).await.map(drop)
    }

    pub(crate) async fn key_by_hash(
        &self,
        query: &mut impl Query,
        hash: Hash256,
    ) -> Result<Option<KeyRow>> {
        let Some(row) = query
            .row(&self.sql.key_by_hash, vec![hash.to_vec().into()])
            .await?
        else {
            return Ok(None);
        };
        Ok(Some(KeyRow {
            tenant: row.text(0)?,
            id: row.text(1)?,
            hash: hash256(&row, 2)?,
            scopes: scopes(&row, 3)?,
            last_used_at: row.opt_time(4)?,
            bound: row
                .opt_text(5)?
                .map(|worker| -> Result<_> {
                    Ok(Bound {
                        worker: worker.into(),
                        thread: row.opt_text(6)?.map(Arc::from),
                    })
                })
                .transpose()?,
            expires_at: row.opt_time(7)?,
        }))
    }

    /// Newest first, behind the key `behind`.
    pub(crate) async fn keys(
        &self,
        query: &mut impl Query,
        tenant: &str,
        behind: Option<String>,
        limit: u32,
    ) -> Result<Vec<ApiKey>> {
        let rows = match behind {
            None => {
                query
                    .rows(&self.sql.keys, vec![tenant.into(), limit.into()])
                    .await?
            }
            Some(id) => {
                let args = vec![tenant.into(), id.into(), limit.into()];
                query.rows(&self.sql.keys_behind, args).await?
            }
        };
        rows.iter()
            .map(|row| {
                Ok(ApiKey {
                    id: row.text(0)?,
                    scopes: scopes(row, 1)?.iter().collect(),
                    created_at: row.time(2)?,
                    last_used_at: row.opt_time(3)?,
                    worker: row.opt_text(4)?,
                    thread_id: row.opt_text(5)?,
                    expires_at: row.opt_time(6)?,
                })
            })
            .collect()
    }

    pub(crate) async fn insert_key(&self, tx: &mut Tx, key: KeyInsert<'_>) -> Result<()> {
        let args = vec![
            key.tenant.into(),
            key.id.into(),
            key.hash.to_vec().into(),
            key.scopes.to_string().into(),
            key.created_at.into(),
            key.bound.map(|(bound, _)| &bound.worker).into(),
            key.bound
                .and_then(|(bound, _)| bound.thread.as_ref())
                .into(),
            key.bound.map(|(_, expires_at)| expires_at).into(),
        ];
        tx.push(&self.sql.insert_key, args).await
    }

    /// Instances' keys are good until then, for their threads.
    pub(crate) async fn renew_keys(&self, tx: &mut Tx, keys: &[KeyRenewal<'_>]) -> Result<()> {
        let dialect = tx.dialect();
        let rows: Vec<_> = keys
            .iter()
            .map(|key| {
                (
                    key.tenant,
                    key.id,
                    key.thread,
                    dialect.json_time(key.expires_at),
                )
            })
            .collect();
        tx.push(&self.sql.renew_keys, vec![Arg::json(&rows)?]).await
    }

    /// Those of these keys that are there.
    pub(crate) async fn present_keys(
        &self,
        query: &mut impl Query,
        keys: &[(&str, &str)],
    ) -> Result<Vec<String>> {
        let rows = query
            .rows(&self.sql.present_keys, vec![Arg::json(&keys)?])
            .await?;
        rows.iter().map(|row| row.text(0)).collect()
    }

    /// Deletes a key; the hash that it had.
    pub(crate) async fn delete_key(
        &self,
        tx: &mut Tx,
        tenant: &str,
        id: &str,
    ) -> Result<Option<Hash256>> {
        let Some(row) = tx
            .row(&self.sql.key_hash, vec![tenant.into(), id.into()])
            .await?
        else {
            return Ok(None);
        };
        tx.execute(&self.sql.delete_key, vec![tenant.into(), id.into()])
            .await?;
        hash256(&row, 0).map(Some)
    }

    /// Writes down when keys were last used; a later time that stands already stays.
    pub(crate) async fn used(&self, tx: &mut Tx, notes: &[(KeyName, Time)]) -> Result<()> {
        let dialect = tx.dialect();
        let rows: Vec<_> = notes
            .iter()
            .map(|((tenant, key), at)| (&**tenant, &**key, dialect.json_time(*at)))
            .collect();
        tx.push(&self.sql.used, vec![Arg::json(&rows)?]).await
    }

    pub(crate) async fn request(
        &self,
        query: &mut impl Query,
        id: &RequestId,
    ) -> Result<Option<RequestRow>> {
        let Some(row) = query.row(&self.sql.request, id.args()).await? else {
            return Ok(None);
        };
        let status = row.int(1)?;
        Ok(Some(RequestRow {
            body: hash256(&row, 0)?,
            status: u16::try_from(status)
                .map_err(|_| Error::Broken(format!("{status} is no status")))?,
            answer: row.text(2)?,
            created_at: row.time(3)?,
        }))
    }

    pub(crate) async fn insert_request(
        &self,
        tx: &mut Tx,
        id: &RequestId,
        request: &RequestRow,
    ) -> Result<()> {
        let mut args = id.args();
        args.extend([
            request.body.to_vec().into(),
            u32::from(request.status).into(),
            (&request.answer).into(),
            request.created_at.into(),
        ]);
        tx.execute(&self.sql.insert_request, args).await.map(drop)
    }

    /// Deletes the request if it is the one that came at `created_at`.
    pub(crate) async fn delete_request(
        &self,
        tx: &mut Tx,
        id: &RequestId,
        created_at: Time,
    ) -> Result<()> {
        let mut args = id.args();
        args.push(created_at.into());
        tx.execute(&self.sql.delete_request, args).await.map(drop)
    }

    /// The tenants that have requests from before `before`.
    pub(crate) async fn tenants_with_requests(
        &self,
        query: &mut impl Query,
        before: Time,
    ) -> Result<Vec<String>> {
        let rows = query
            .rows(&self.sql.old_requests, vec![before.into()])
            .await?;
        rows.iter().map(|row| row.text(0)).collect()
    }

    /// Deletes the oldest requests of a tenant that are from before `before`: about `most` of
    /// them, since those of one instant go together. How many went, and whether that was all.
    pub(crate) async fn delete_requests(
        &self,
        tx: &mut Tx,
        tenant: &str,
        before: Time,
        most: u32,
    ) -> Result<(u64, bool)> {
        let nth = tx
            .row(
                &self.sql.nth_old_request,
                vec![tenant.into(), before.into(), most.into()],
            )
            .await?;
        let bound = match &nth {
            // Behind the instant itself, or many requests of one instant would never go.
            Some(row) => row
                .time(0)?
                .plus(std::time::Duration::from_micros(1))
                .min(before),
            None => before,
        };
        let gone = tx
            .execute(&self.sql.delete_requests, vec![tenant.into(), bound.into()])
            .await?;
        Ok((gone, nth.is_none()))
    }
}

impl RequestId {
    fn args(&self) -> Vec<tidewire_db::Arg> {
        vec![
            (&self.tenant).into(),
            self.route.into(),
            self.key.to_vec().into(),
        ]
    }
}

fn tenant(row: &Row) -> Result<Tenant> {
    Ok(Tenant {
        id: row.text(0)?,
        name: row.text(1)?,
        created_at: row.time(2)?,
    })
}

fn scopes(row: &Row, column: usize) -> Result<Scopes> {
    row.text(column)?.parse().map_err(Error::Broken)
}

fn hash256(row: &Row, column: usize) -> Result<Hash256> {
    let bytes = row.bytes(column)?;
    Hash256::from_bytes(&bytes).ok_or_else(|| {
        Error::Broken(format!(
            "column {column} holds {} bytes, which is no hash",
            bytes.len()
        ))
    })
}
