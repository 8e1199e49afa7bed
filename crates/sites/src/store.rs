//! All SQL of sites. What each table is for:
//!
//! - `sites`: what is registered, with its access key sealed.
//! - `site_leases`: which sync a site is in the hands of. Its token is checked in every transaction that
//!   writes a page, so a sync that was taken over writes nothing more, however late it wakes up.
//! - `site_resources`: how far each list is known, and where the window is that is being read.
//! - `touches`: when a subject came from where, in the order of the events' own times.

mod touches;

use std::sync::Arc;

use tidewire_core::Time;
use tidewire_db::{Dialect, Error, Query, Result, Row, Sql, Tx};

use crate::model::{Site, SiteState};

pub(crate) struct Store {
    dialect: &'static Dialect,
    get: Sql,
    lock: Sql,
    list: Sql,
    insert: Sql,
    update: Sql,
    set_state: Sql,
    delete: [Sql; 3],
    lease: Sql,
    insert_lease: Sql,
    update_lease: Sql,
    extend_lease: Sql,
    delete_lease: Sql,
    resources: Sql,
    insert_resource: Sql,
    begin_resource: Sql,
    keep_progress: Sql,
    end_resource: Sql,
    fail_resource: Sql,
    forget_resource: Sql,
    forget_resources: Sql,
    touches: touches::Statements,
}

/// A site as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct SiteRow {
    pub site: Site,
    /// Its place in lists.
    pub id: String,
    pub sealed_key: String,
}

/// Whose a site is at this moment.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub job_id: String,
    pub token: String,
    pub until: Time,
}

/// How far one of a site's lists is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct ResourceRow {
    pub resource: String,
    pub mark: Option<i64>,
    pub started_at: Option<Time>,
    pub finished_at: Option<Time>,
    /// The window that is being read.
    pub progress: Option<String>,
    /// Of the last one that came to its end.
    pub report: Option<String>,
    pub error: Option<String>,
}

/// Which list of which site.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Of<'k> {
    pub tenant: &'k str,
    pub site: &'k str,
    pub resource: &'k str,
}

const SITE: &str =
    "site_id, base_url, name, kind, state, state_reason, created_at, updated_at, id, sealed_key";
const RESOURCE: &str = "resource, mark, started_at, finished_at, progress, report, error";
const THIS: &str = "tenant = ? AND site_id = ?";
const THIS_LIST: &str = "tenant = ? AND site_id = ? AND resource = ?";

impl Store {
    pub(crate) fn new(dialect: &'static Dialect) -> Arc<Self> {
        let (insert_new, unless_known) = dialect.insert_new();
        Arc::new(Store {
            dialect,
            get: dialect.sql(&format!("SELECT {SITE} FROM sites WHERE {THIS}")),
            lock: dialect.sql(&format!(
                "SELECT {SITE} FROM sites WHERE {THIS}{}",
                dialect.lock()
            )),
            list: dialect.sql(&format!(
                "SELECT {SITE} FROM sites WHERE tenant = ? AND id < ? ORDER BY id DESC LIMIT ?"
            )),
            insert: dialect.sql(
                "INSERT INTO sites (tenant, site_id, id, kind, state, created_at, updated_at, base_url,
                    sealed_key, name) VALUES (?, ?, ?, ?, 'active', ?, ?, ?, ?, ?)",
            ),
            update: dialect.sql(&format!(
                "UPDATE sites SET kind = ?, state = 'active', state_reason = NULL, updated_at = ?,
                    base_url = ?, sealed_key = ?, name = ? WHERE {THIS}"
            )),
            set_state: dialect.sql(&format!(
                "UPDATE sites SET state = ?, state_reason = ?, updated_at = ? WHERE {THIS}"
            )),
            delete: ["site_leases", "site_resources", "sites"]
                .map(|table| dialect.sql(&format!("DELETE FROM {table} WHERE {THIS}"))),
            lease: dialect.sql(&format!(
                "SELECT job_id, token, until FROM site_leases WHERE {THIS}{}",
                dialect.lock()
            )),
            insert_lease: dialect.sql(
                "INSERT INTO site_leases (job_id, token, until, tenant, site_id) VALUES (?, ?, ?, ?, ?)",
            ),
            update_lease: dialect.sql(&format!(
                "UPDATE site_leases SET job_id = ?, token = ?, until = ? WHERE {THIS}"
            )),
            extend_lease: dialect.sql(&format!("UPDATE site_leases SET until = ? WHERE {THIS}")),
            delete_lease: dialect.sql(&format!(
                "DELETE FROM site_leases WHERE {THIS} AND token = ?"
            )),
            resources: dialect.sql(&format!("SELECT {RESOURCE} FROM site_resources WHERE {THIS}")),
            insert_resource: dialect.sql(&format!(
                "{insert_new} site_resources (tenant, site_id, resource) VALUES (?, ?, ?){unless_known}"
            )),
            begin_resource: dialect.sql(&format!(
                "UPDATE site_resources SET started_at = ?, progress = ?, error = NULL WHERE {THIS_LIST}"
            )),
            keep_progress: dialect.sql(&format!(
                "UPDATE site_resources SET progress = ?, error = NULL WHERE {THIS_LIST}"
            )),
            end_resource: dialect.sql(&format!(
                "UPDATE site_resources SET mark = ?, finished_at = ?, report = ?, progress = NULL,
                    error = NULL WHERE {THIS_LIST}"
            )),
            fail_resource: dialect.sql(&format!(
                "UPDATE site_resources SET error = ? WHERE {THIS_LIST}"
            )),
            forget_resource: dialect.sql(&format!(
                "UPDATE site_resources SET mark = NULL, progress = NULL WHERE {THIS_LIST}"
            )),
            forget_resources: dialect.sql(&format!("DELETE FROM site_resources WHERE {THIS}")),
            touches: touches::Statements::new(dialect),
        })
    }

    // --- sites ---

    pub(crate) async fn site(
        &self,
        query: &mut impl Query,
        tenant: &str,
        site: &str,
    ) -> Result<Option<SiteRow>> {
        let row = query
            .row(&self.get, vec![tenant.into(), site.into()])
            .await?;
        row.map(|row| site_row(&row)).transpose()
    }

    /// A site that stays as it is until the end of this transaction, but for what it does itself.
    pub(crate) async fn lock_site(
        &self,
        tx: &mut Tx,
        tenant: &str,
        site: &str,
    ) -> Result<Option<SiteRow>> {
        let row = tx.row(&self.lock, vec![tenant.into(), site.into()]).await?;
        row.map(|row| site_row(&row)).transpose()
    }

    /// Sites that were registered before this one (its `id`), newest first.
    pub(crate) async fn sites(
        &self,
        query: &mut impl Query,
        tenant: &str,
        before: &str,
        limit: u32,
    ) -> Result<Vec<SiteRow>> {
        let args = vec![tenant.into(), before.into(), limit.into()];
        let rows = query.rows(&self.list, args).await?;
        rows.iter().map(site_row).collect()
    }

    pub(crate) async fn insert_site(&self, tx: &mut Tx, tenant: &str, row: &SiteRow) -> Result<()> {
        let site = &row.site;
        let args = vec![
            tenant.into(),
            (&site.id).into(),
            (&row.id).into(),
            (&site.kind).into(),
            site.created_at.into(),
            site.updated_at.into(),
            (&site.base_url).into(),
            (&row.sealed_key).into(),
            site.name.as_deref().into(),
        ];
        tx.push(&self.insert, args).await
    }

    /// Registers a site anew: it is active again.
    pub(crate) async fn update_site(&self, tx: &mut Tx, tenant: &str, row: &SiteRow) -> Result<()> {
        let site = &row.site;
        let args = vec![
            (&site.kind).into(),
            site.updated_at.into(),
            (&site.base_url).into(),
            (&row.sealed_key).into(),
            site.name.as_deref().into(),
            tenant.into(),
            (&site.id).into(),
        ];
        tx.push(&self.update, args).await
    }

    pub(crate) async fn set_state(
        &self,
        tx: &mut Tx,
        (tenant, site): (&str, &str),
        state: SiteState,
        reason: &str,
        at: Time,
    ) -> Result<()> {
        let args = vec![
            state.as_str().into(),
            reason.into(),
            at.into(),
            tenant.into(),
            site.into(),
        ];
        tx.push(&self.set_state, args).await
    }

    /// Forgets a site: its key, its lease and how far its lists are known.
    pub(crate) async fn delete_site(&self, tx: &mut Tx, tenant: &str, site: &str) -> Result<()> {
        for sql in &self.delete {
            tx.push(sql, vec![tenant.into(), site.into()]).await?;
        }
        Ok(())
    }

    // --- leases ---

    /// Whose the site is. Nobody changes that until the end of this transaction.
    pub(crate) async fn lease(
        &self,
        tx: &mut Tx,
        tenant: &str,
        site: &str,
    ) -> Result<Option<Lease>> {
        let row = tx
            .row(&self.lease, vec![tenant.into(), site.into()])
            .await?;
        let lease = row.map(|row| {
            Ok(Lease {
                job_id: row.text(0)?,
                token: row.text(1)?,
                until: row.time(2)?,
            })
        });
        lease.transpose()
    }

    /// Gives a site to a sync; `had` is whether it was another's.
    pub(crate) async fn give(
        &self,
        tx: &mut Tx,
        (tenant, site): (&str, &str),
        lease: &Lease,
        had: bool,
    ) -> Result<()> {
        let args = vec![
            (&lease.job_id).into(),
            (&lease.token).into(),
            lease.until.into(),
            tenant.into(),
            site.into(),
        ];
        let sql = match had {
            true => &self.update_lease,
            false => &self.insert_lease,
        };
        tx.push(sql, args).await
    }

    pub(crate) async fn extend(
        &self,
        tx: &mut Tx,
        tenant: &str,
        site: &str,
        until: Time,
    ) -> Result<()> {
        let args = vec![until.into(), tenant.into(), site.into()];
        tx.push(&self.extend_lease, args).await
    }

    pub(crate) async fn release(
        &self,
        tx: &mut Tx,
        tenant: &str,
        site: &str,
        token: &str,
    ) -> Result<()> {
        let args = vec![tenant.into(), site.into(), token.into()];
        tx.push(&self.delete_lease, args).await
    }

    // --- lists ---

    pub(crate) async fn resources(
        &self,
        query: &mut impl Query,
        tenant: &str,
        site: &str,
    ) -> Result<Vec<ResourceRow>> {
        let args = vec![tenant.into(), site.into()];
        let rows = query.rows(&self.resources, args).await?;
        rows.iter().map(resource_row).collect()
    }

    /// A window is begun.
    pub(crate) async fn begin(
        &self,
        tx: &mut Tx,
        of: Of<'_>,
        started_at: Time,
        progress: &str,
    ) -> Result<()> {
        let row = vec![of.tenant.into(), of.site.into(), of.resource.into()];
        tx.push(&self.insert_resource, row).await?;
        let mut args = vec![started_at.into(), progress.into()];
        args.extend(of.args());
        tx.push(&self.begin_resource, args).await
    }

    pub(crate) async fn keep_progress(
        &self,
        tx: &mut Tx,
        of: Of<'_>,
        progress: &str,
    ) -> Result<()> {
        let mut args = vec![progress.into()];
        args.extend(of.args());
        tx.push(&self.keep_progress, args).await
    }

    /// A window came to its end.
    pub(crate) async fn end(
        &self,
        tx: &mut Tx,
        of: Of<'_>,
        mark: Option<i64>,
        at: Time,
        report: &str,
    ) -> Result<()> {
        let mut args = vec![mark.into(), at.into(), report.into()];
        args.extend(of.args());
        tx.push(&self.end_resource, args).await
    }

    pub(crate) async fn fail(&self, tx: &mut Tx, of: Of<'_>, error: &str) -> Result<()> {
        let row = vec![of.tenant.into(), of.site.into(), of.resource.into()];
        tx.push(&self.insert_resource, row).await?;
        let mut args = vec![error.into()];
        args.extend(of.args());
        tx.push(&self.fail_resource, args).await
    }

    /// The list is read from its start again.
    pub(crate) async fn forget(&self, tx: &mut Tx, of: Of<'_>) -> Result<()> {
        tx.push(&self.forget_resource, of.args().into()).await
    }

    /// All of a site's lists are unknown again.
    pub(crate) async fn forget_all(&self, tx: &mut Tx, tenant: &str, site: &str) -> Result<()> {
        tx.push(&self.forget_resources, vec![tenant.into(), site.into()])
            .await
    }
}

impl Of<'_> {
    fn args(&self) -> [tidewire_db::Arg; 3] {
        [self.tenant.into(), self.site.into(), self.resource.into()]
    }
}

fn site_row(row: &Row) -> Result<SiteRow> {
    let site = Site {
        id: row.text(0)?,
        base_url: row.text(1)?,
        name: row.opt_text(2)?,
        kind: row.text(3)?,
        state: row.text(4)?.parse().map_err(Error::Broken)?,
        state_reason: row.opt_text(5)?,
        created_at: row.time(6)?,
        updated_at: row.time(7)?,
    };
    Ok(SiteRow {
        site,
        id: row.text(8)?,
        sealed_key: row.text(9)?,
    })
}

fn resource_row(row: &Row) -> Result<ResourceRow> {
    Ok(ResourceRow {
        resource: row.text(0)?,
        mark: row.opt_int(1)?,
        started_at: row.opt_time(2)?,
        finished_at: row.opt_time(3)?,
        progress: row.opt_text(4)?,
        report: row.opt_text(5)?,
        error: row.opt_text(6)?,
    })
}
