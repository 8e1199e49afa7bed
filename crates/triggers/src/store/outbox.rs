//! Firings that the job bus has still to be told of, and who tells them.
//!
//! A trigger's firings are told in their order, however many relays there are: they lie in one of a few
//! shards, and whoever tells of a shard holds it, by a row of `trigger_relays`, until that is written
//! down here or the time is over. No lock is held meanwhile: a bus may be away for a long time.

use sha2::{Digest as _, Sha256};
use tidewire_core::Time;
use tidewire_db::{Arg, Column, Dialect, JsonRows, Query, Result, Sql, Tx};

use super::{ExecutionRow, Store, insert, named};
use crate::model::{Source, TriggerType};

/// Into how many parts the triggers are dealt: what relays can do side by side.
pub(crate) const SHARDS: u32 = 16;

pub(super) struct Statements {
    insert: Sql,
    insert_shards: Sql,
    free_shards: Sql,
    hold: Sql,
    prolong: Sql,
    held: Sql,
    let_go: Sql,
    waiting: Sql,
    delete: Sql,
    depth: Sql,
}

fn shards(dialect: &Dialect) -> JsonRows {
    dialect.json_rows("r", &[Column::Int("shard")])
}

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let all = dialect.json_rows("r", &[Column::Int("shard"), Column::Time("free_from")]);
        let (verb, unless_known) = dialect.insert_new();
        let told = dialect.json_rows(
            "r",
            &[Column::Int("shard"), Column::Id("id"), Column::Id("tenant")],
        );
        let one_of = shards(dialect);
        let held = format!(
            "SELECT s.shard FROM {} {} WHERE s.shard = {} AND s.holder = ?2{}",
            one_of.clone().arg(1).from,
            dialect.then("trigger_relays s"),
            one_of.col("shard"),
            dialect.lock()
        );
        let set_where = |set: &[(&str, &str)], holder: &str, rows: usize| {
            let rows = shards(dialect).arg(rows);
            let keys = ["shard"];
            let holder = format!("trigger_relays.holder = {holder}");
            dialect.update_rows_where("trigger_relays", &rows, &keys, set, &holder)
        };
        Statements {
            insert: insert(
                dialect,
                "trigger_outbox",
                &[
                    Column::Int("shard"),
                    Column::Id("id"),
                    Column::Id("tenant"),
                    Column::Id("trigger_id"),
                    Column::Id("trigger_type"),
                    Column::Id("source"),
                    Column::Time("fired_at"),
                    Column::Id("job_id"),
                ],
            ),
            insert_shards: dialect.sql(&format!(
                "{verb} trigger_relays (shard, free_from) SELECT {}, {} FROM {} WHERE {} >= 0{unless_known}",
                all.col("shard"),
                all.col("free_from"),
                all.from,
                all.col("shard")
            )),
            // Those that were told of longest ago first.
            free_shards: dialect.sql(&format!(
                "SELECT s.shard FROM trigger_relays s WHERE s.free_from <= ?
                 AND EXISTS (SELECT 1 FROM trigger_outbox o WHERE o.shard = s.shard)
                 ORDER BY s.free_from, s.shard LIMIT ?{}",
                dialect.skip_locked()
            )),
            hold: dialect.update_rows(
                "trigger_relays",
                &shards(dialect).arg(3),
                &["shard"],
                &[("holder", "?1"), ("free_from", "?2")],
            ),
            prolong: set_where(&[("free_from", "?1")], "?2", 3),
            held: dialect.sql(&held),
            let_go: set_where(&[("free_from", "?1"), ("holder", "NULL")], "?2", 3),
            waiting: dialect.sql(
                "SELECT o.shard, o.id, o.tenant, o.trigger_id, o.trigger_type, o.source, o.fired_at, o.job_id
                 FROM trigger_outbox o WHERE o.shard = ? ORDER BY o.id, o.tenant LIMIT ?",
            ),
            delete: dialect.delete_rows("trigger_outbox", &told, &["shard", "id", "tenant"]),
            depth: dialect.sql("SELECT count(*), min(o.fired_at) FROM trigger_outbox o"),
        }
    }
}

/// A firing that the bus is to be told of.
#[derive(Clone, Debug)]
pub(crate) struct OutboxRow {
    pub shard: u32,
    /// The execution's id.
    pub id: String,
    pub tenant: String,
    pub trigger_id: Option<String>,
    pub kind: TriggerType,
    pub source: Source,
    pub fired_at: Time,
    pub job_id: String,
}

/// Shards that somebody tells of, and until when nobody else does.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub shards: Vec<u32>,
    /// Made anew each time.
    pub holder: String,
}

impl Held {
    fn rows(&self) -> Result<Arg> {
        let rows: Vec<_> = self.shards.iter().map(|shard| (shard,)).collect();
        Arg::json(&rows)
    }
}

/// The shard of a trigger, or of an execution without one. Every process must say the same.
pub(super) fn shard_of(key: &str) -> u32 {
    let hash = Sha256::digest(key);
    u32::from(hash[0]) % SHARDS
}

impl Store {
    pub(super) async fn insert_outbox(
        &self,
        tx: &mut Tx,
        new: &[ExecutionRow<'_>],
        at: Time,
    ) -> Result<()> {
        let at = self.time(at);
        let rows: Vec<_> = new
            .iter()
            .map(|row| {
                (
                    shard_of(row.trigger_id.unwrap_or(row.id)),
                    row.id,
                    row.tenant,
                    row.trigger_id,
                    row.kind.as_str(),
                    row.source.as_str(),
                    &at,
                    row.job_id,
                )
            })
            .collect();
        tx.push(&self.outbox.insert, vec![Arg::json(&rows)?]).await
    }

    /// Makes the rows by which shards are held, unless they are there.
    pub(crate) async fn make_shards(&self, tx: &mut Tx) -> Result<()> {
        let free = self.time(Time::EPOCH);
        let rows: Vec<_> = (0..SHARDS).map(|shard| (shard, &free)).collect();
        tx.push(&self.outbox.insert_shards, vec![Arg::json(&rows)?])
            .await
    }

    /// Up to `most` shards that have something to tell and that nobody holds.
    pub(crate) async fn free_shards(&self, tx: &mut Tx, now: Time, most: u32) -> Result<Vec<u32>> {
        let rows = tx
            .rows(&self.outbox.free_shards, vec![now.into(), most.into()])
            .await?;
        rows.iter().map(|row| super::small(row, 0)).collect()
    }

    pub(crate) async fn hold(&self, tx: &mut Tx, held: &Held, until: Time) -> Result<()> {
        let args = vec![held.holder.as_str().into(), until.into(), held.rows()?];
        tx.push(&self.outbox.hold, args).await
    }

    /// Holds them for longer, as far as they are held.
    pub(crate) async fn prolong(&self, tx: &mut Tx, held: &Held, until: Time) -> Result<()> {
        let args = vec![until.into(), held.holder.as_str().into(), held.rows()?];
        tx.push(&self.outbox.prolong, args).await
    }

    /// Those that are still held so, and stay it until the end of the transaction.
    pub(crate) async fn held(&self, tx: &mut Tx, held: &Held) -> Result<Vec<u32>> {
        let args = vec![held.rows()?, held.holder.as_str().into()];
        let rows = tx.rows(&self.outbox.held, args).await?;
        rows.iter().map(|row| super::small(row, 0)).collect()
    }

    pub(crate) async fn let_go(&self, tx: &mut Tx, held: &Held, now: Time) -> Result<()> {
        let args = vec![now.into(), held.holder.as_str().into(), held.rows()?];
        tx.push(&self.outbox.let_go, args).await
    }

    /// A shard's first firings, in their order.
    pub(crate) async fn waiting(
        &self,
        query: &mut impl Query,
        shard: u32,
        most: u32,
    ) -> Result<Vec<OutboxRow>> {
        let rows = query
            .rows(&self.outbox.waiting, vec![shard.into(), most.into()])
            .await?;
        rows.iter()
            .map(|row| {
                Ok(OutboxRow {
                    shard: super::small(row, 0)?,
                    id: row.text(1)?,
                    tenant: row.text(2)?,
                    trigger_id: row.opt_text(3)?,
                    kind: named(row, 4)?,
                    source: named(row, 5)?,
                    fired_at: row.time(6)?,
                    job_id: row.text(7)?,
                })
            })
            .collect()
    }

    /// Forgets firings that were told.
    pub(crate) async fn delete_told(&self, tx: &mut Tx, told: &[&OutboxRow]) -> Result<()> {
        if told.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = told
            .iter()
            .map(|row| (row.shard, &row.id, &row.tenant))
            .collect();
        tx.push(&self.outbox.delete, vec![Arg::json(&rows)?]).await
    }

    /// How many firings wait to be told, and since when the oldest does.
    pub(crate) async fn outbox_depth(&self, query: &mut impl Query) -> Result<(u64, Option<Time>)> {
        let row = query.row(&self.outbox.depth, Vec::new()).await?;
        row.map_or(Ok((0, None)), |row| Ok((row.count(0)?, row.opt_time(1)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_has_one_shard_for_ever() {
        assert_eq!(shard_of("01ARZ3NDEKTSV4RRFFQ69G5FAV"), 14);
        let used: std::collections::BTreeSet<_> =
            (0..1000).map(|n| shard_of(&n.to_string())).collect();
        assert_eq!(used.len() as u32, SHARDS);
    }
}
