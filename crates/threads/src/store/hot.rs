//! What the store keeps of a hot log that is apart:
//!
//! - `hot_logs`: in which life the log was last seen, and how often it may have forgotten something.
//! - `thread_blocks`: up to where a thread's places may be given out there. `floor_seq` is up to where
//!   they may have been given out in an earlier generation.
//! - `thread_outbox`: what the server itself has to say on threads, until the log has it.

use std::collections::HashMap;

use tidewire_db::{Arg, Column, Dialect, Query, Result, Sql, Tx};

use super::pairs;
use crate::{
    hot::{Block, Unsaid},
    model::ThreadKey,
};

pub(crate) struct HotStore {
    lock_log: Sql,
    insert_log: Sql,
    update_log: Sql,
    blocks: Sql,
    lock_blocks: Sql,
    insert_blocks: Sql,
    update_blocks: Sql,
    insert_unsaid: Sql,
    unsaid: Sql,
    delete_unsaid: Sql,
}

/// The one row of `hot_logs`: whichever Redis comes next, generations go on.
const LOG: &str = "threads";

const KEY: [Column; 2] = [Column::Id("tenant"), Column::Id("thread_id")];

impl HotStore {
    pub(crate) fn new(dialect: &'static Dialect) -> Self {
        let (insert_new, unless_known) = dialect.insert_new();
        let keys = dialect.json_rows("r", &KEY);
        let of_threads = format!(
            "SELECT t.tenant, t.thread_id, t.until_seq, t.floor_seq, t.generation
             FROM {} {} WHERE t.tenant = {} AND t.thread_id = {}",
            keys.from,
            dialect.then("thread_blocks t"),
            keys.col("tenant"),
            keys.col("thread_id")
        );
        let new = [&KEY[..], &[Column::Int("new_generation")]].concat();
        let new = dialect.json_rows("r", &new);
        let insert_blocks = format!(
            "{insert_new} thread_blocks (tenant, thread_id, until_seq, floor_seq, generation)
             SELECT {}, {}, 0, 0, {} FROM {} WHERE {} >= 0{unless_known}",
            new.col("tenant"),
            new.col("thread_id"),
            new.col("new_generation"),
            new.from,
            new.col("new_generation"),
        );
        let changed = [
            &KEY[..],
            &[
                Column::Int("new_until"),
                Column::Int("new_floor"),
                Column::Int("new_generation"),
            ],
        ]
        .concat();
        let changed = dialect.json_rows("r", &changed);
        let unsaid = dialect.json_rows(
            "r",
            &[
                Column::Id("id"),
                Column::Id("tenant"),
                Column::Id("thread_id"),
                Column::Id("turn_id"),
                Column::Id("type"),
                Column::Json("payload"),
            ],
        );
        let said = dialect.json_rows("r", &[Column::Id("id")]);
        HotStore {
            lock_log: dialect.sql(&format!(
                "SELECT run, generation FROM hot_logs WHERE name = ?{}",
                dialect.lock()
            )),
            insert_log: dialect.sql(&format!(
                "{insert_new} hot_logs (name, run, generation) VALUES (?, '', 0){unless_known}"
            )),
            update_log: dialect.sql("UPDATE hot_logs SET run = ?, generation = ? WHERE name = ?"),
            blocks: dialect.sql(&of_threads),
            lock_blocks: dialect.sql(&format!(
                "{of_threads} ORDER BY t.tenant, t.thread_id{}",
                dialect.lock()
            )),
            insert_blocks: dialect.sql(&insert_blocks),
            update_blocks: dialect.update_rows(
                "thread_blocks",
                &changed,
                &["tenant", "thread_id"],
                &[
                    ("until_seq", changed.col("new_until")),
                    ("floor_seq", changed.col("new_floor")),
                    ("generation", changed.col("new_generation")),
                ],
            ),
            insert_unsaid: dialect.sql(&format!(
                "INSERT INTO thread_outbox (id, tenant, thread_id, turn_id, type, payload)
                 SELECT {} FROM {}",
                unsaid.columns, unsaid.from
            )),
            unsaid: dialect.sql(
                "SELECT id, tenant, thread_id, turn_id, type, payload FROM thread_outbox
                 ORDER BY id LIMIT ?",
            ),
            delete_unsaid: dialect.delete_rows("thread_outbox", &said, &["id"]),
        }
    }

    /// In which life the log was last seen, and its generation; nobody else changes it before the
    /// commit.
    pub(crate) async fn lock_log(&self, tx: &mut Tx) -> Result<(String, u64)> {
        tx.push(&self.insert_log, vec![LOG.into()]).await?;
        match tx.row(&self.lock_log, vec![LOG.into()]).await? {
            Some(row) => Ok((row.text(0)?, row.count(1)?)),
            None => Ok((String::new(), 0)),
        }
    }

    pub(crate) async fn set_log(&self, tx: &mut Tx, run: &str, generation: u64) -> Result<()> {
        let args = vec![run.into(), generation.into(), LOG.into()];
        tx.push(&self.update_log, args).await
    }

    pub(crate) async fn blocks(
        &self,
        query: &mut impl Query,
        keys: &[&ThreadKey],
    ) -> Result<HashMap<ThreadKey, Block>> {
        self.blocks_by(&self.blocks, query, keys).await
    }

    /// The same; those that are missing are made, and nobody else changes them before the commit.
    pub(crate) async fn lock_blocks(
        &self,
        tx: &mut Tx,
        keys: &[(&ThreadKey, u64)],
    ) -> Result<HashMap<ThreadKey, Block>> {
        let rows: Vec<_> = keys
            .iter()
            .map(|(key, generation)| (&*key.tenant, &*key.thread, generation))
            .collect();
        tx.push(&self.insert_blocks, vec![Arg::json(&rows)?])
            .await?;
        let keys: Vec<_> = keys.iter().map(|(key, _)| *key).collect();
        self.blocks_by(&self.lock_blocks, tx, &keys).await
    }

    async fn blocks_by(
        &self,
        sql: &Sql,
        query: &mut impl Query,
        keys: &[&ThreadKey],
    ) -> Result<HashMap<ThreadKey, Block>> {
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let rows = query.rows(sql, vec![pairs(keys)?]).await?;
        rows.iter()
            .map(|row| {
                let key = ThreadKey::new(&row.text(0)?.into(), row.text(1)?);
                let block = Block {
                    until: row.count(2)?,
                    floor: row.count(3)?,
                    generation: row.count(4)?,
                };
                Ok((key, block))
            })
            .collect()
    }

    pub(crate) async fn set_blocks(
        &self,
        tx: &mut Tx,
        blocks: &[(&ThreadKey, Block)],
    ) -> Result<()> {
        let rows: Vec<_> = blocks
            .iter()
            .map(|(key, block)| {
                (
                    &*key.tenant,
                    &*key.thread,
                    block.until,
                    block.floor,
                    block.generation,
                )
            })
            .collect();
        tx.push(&self.update_blocks, vec![Arg::json(&rows)?]).await
    }

    pub(crate) async fn insert_unsaid(&self, tx: &mut Tx, unsaid: &[Unsaid]) -> Result<()> {
        let rows: Vec<_> = unsaid
            .iter()
            .map(|one| {
                (
                    &one.id,
                    &*one.key.tenant,
                    &*one.key.thread,
                    &one.turn_id,
                    &one.kind,
                    one.payload.get(),
                )
            })
            .collect();
        tx.push(&self.insert_unsaid, vec![Arg::json(&rows)?]).await
    }

    pub(crate) async fn unsaid(&self, query: &mut impl Query, limit: u32) -> Result<Vec<Unsaid>> {
        let rows = query.rows(&self.unsaid, vec![limit.into()]).await?;
        rows.iter()
            .map(|row| {
                Ok(Unsaid {
                    id: row.text(0)?,
                    key: ThreadKey::new(&row.text(1)?.into(), row.text(2)?),
                    turn_id: row.text(3)?,
                    kind: row.text(4)?,
                    payload: row.json(5)?,
                })
            })
            .collect()
    }

    pub(crate) async fn delete_unsaid(&self, tx: &mut Tx, ids: &[String]) -> Result<()> {
        let rows: Vec<_> = ids.iter().map(|id| (id,)).collect();
        tx.push(&self.delete_unsaid, vec![Arg::json(&rows)?]).await
    }
}
