//! Turns: what becomes of each, and those of a thread that are open.

use std::collections::HashMap;

use serde_json::value::RawValue;
use tidewire_core::Time;
use tidewire_db::{Arg, Column, Dialect, Error, Query, Result, Row, Sql, Tx};

use super::{Store, insert, of_threads, pairs};
use crate::{Turn, TurnStatus, model::ThreadKey};

pub(super) struct Statements {
    find: Sql,
    statuses: Sql,
    lock: Sql,
    list: Sql,
    insert: Sql,
    update: Sql,
    start: Sql,
    open: Sql,
    insert_open: Sql,
    delete_open: Sql,
    give_job: Sql,
    give_job_open: Sql,
}

const TURN: &str =
    "t.turn_id, t.thread_id, t.status, t.agent, t.job_id, t.worker, t.seq, t.ended_seq,
    t.created_at, t.started_at, t.finished_at, t.error, t.input, t.id";

const KEY: [Column; 3] = [
    Column::Id("tenant"),
    Column::Id("thread_id"),
    Column::Id("turn_id"),
];
const KEY_NAMES: [&str; 3] = ["tenant", "thread_id", "turn_id"];

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let turns = dialect.json_rows("r", &KEY);
        let of_turns = format!(
            "FROM {} {} WHERE t.tenant = {} AND t.thread_id = {} AND t.turn_id = {}",
            turns.from,
            dialect.then("turns t"),
            turns.col("tenant"),
            turns.col("thread_id"),
            turns.col("turn_id")
        );
        let steps = [
            &KEY[..],
            &[
                Column::Id("new_status"),
                Column::Int("new_ended_seq"),
                Column::Text("new_error"),
                Column::Time("new_started_at"),
                Column::Time("new_finished_at"),
            ],
        ]
        .concat();
        let steps = dialect.json_rows("r", &steps);
        let update = dialect.update_rows(
            "turns",
            &steps,
            &KEY_NAMES,
            &[
                ("status", steps.col("new_status")),
                ("ended_seq", steps.col("new_ended_seq")),
                ("error", steps.col("new_error")),
                ("started_at", steps.col("new_started_at")),
                ("finished_at", steps.col("new_finished_at")),
            ],
        );
        let started = [&KEY[..], &[Column::Id("new_worker"), Column::Time("now")]].concat();
        let started = dialect.json_rows("r", &started);
        let started_at = format!("coalesce(turns.started_at, {})", started.col("now"));
        let start = dialect.update_rows_where(
            "turns",
            &started,
            &KEY_NAMES,
            &[
                ("status", "'running'"),
                ("worker", started.col("new_worker")),
                ("started_at", &started_at),
            ],
            "turns.status IN ('accepted', 'running')",
        );
        let open_key = [
            Column::Id("tenant"),
            Column::Id("thread_id"),
            Column::Id("id"),
        ];
        let gone = dialect.json_rows("r", &open_key);
        Statements {
            find: dialect.sql(&format!("SELECT t.tenant, {TURN} {of_turns}")),
            statuses: dialect.sql(&format!(
                "SELECT t.tenant, t.thread_id, t.turn_id, t.status {of_turns}"
            )),
            lock: dialect.sql(&format!(
                "SELECT t.tenant, {TURN} {of_turns} ORDER BY t.tenant, t.thread_id, t.turn_id{}",
                dialect.lock()
            )),
            list: dialect.sql(&format!(
                "SELECT t.tenant, {TURN} FROM turns t WHERE t.tenant = ? AND t.thread_id = ? AND t.id < ?
                 ORDER BY t.id DESC LIMIT ?"
            )),
            insert: insert(
                dialect,
                "turns",
                &[
                    Column::Id("tenant"),
                    Column::Id("thread_id"),
                    Column::Id("turn_id"),
                    Column::Id("id"),
                    Column::Id("status"),
                    Column::Id("agent"),
                    Column::Id("job_id"),
                    Column::Int("seq"),
                    Column::Time("created_at"),
                    Column::Time("started_at"),
                    Column::Json("input"),
                ],
            ),
            update,
            start,
            open: dialect.sql(&format!(
                "SELECT t.tenant, t.thread_id, t.id, t.turn_id, t.job_id, t.waits {} ORDER BY t.tenant, t.thread_id, t.id",
                of_threads(dialect, "turns_open")
            )),
            insert_open: insert(
                dialect,
                "turns_open",
                &[
                    Column::Id("tenant"),
                    Column::Id("thread_id"),
                    Column::Id("id"),
                    Column::Id("turn_id"),
                    Column::Id("job_id"),
                    Column::Int("waits"),
                ],
            ),
            delete_open: dialect.delete_rows("turns_open", &gone, &["tenant", "thread_id", "id"]),
            give_job: dialect.sql(
                "UPDATE turns SET job_id = ? WHERE tenant = ? AND thread_id = ? AND turn_id = ?",
            ),
            give_job_open: dialect
                .sql("UPDATE turns_open SET job_id = ?, waits = 0 WHERE tenant = ? AND thread_id = ? AND id = ?"),
        }
    }
}

/// A turn that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpenTurn {
    pub id: String,
    pub turn_id: String,
    pub job_id: Option<String>,
    /// It gets its job when those before it have ended.
    pub waits: bool,
}

/// A turn that is recorded for the first time.
pub(crate) struct NewTurnRow<'t> {
    pub key: &'t ThreadKey,
    pub turn_id: &'t str,
    pub id: String,
    pub status: TurnStatus,
    pub agent: Option<&'t str>,
    pub job_id: Option<&'t str>,
    pub seq: u64,
    pub input: Option<&'t RawValue>,
    /// It gets its job later.
    pub waits: bool,
}

/// What becomes of a turn.
pub(crate) struct TurnStep<'t> {
    pub key: &'t ThreadKey,
    pub turn: &'t Turn,
    pub status: TurnStatus,
    pub ended_seq: Option<u64>,
    pub error: Option<&'t str>,
}

/// A turn that an agent has claimed.
pub(crate) struct Started<'t> {
    pub tenant: &'t str,
    pub thread: &'t str,
    pub turn: &'t str,
    pub worker: Option<&'t str>,
}

impl Store {
    /// Turns by their keys; those that are unknown are left out.
    pub(crate) async fn turns(
        &self,
        query: &mut impl Query,
        keys: &[(&ThreadKey, &str)],
    ) -> Result<Vec<(ThreadKey, Turn)>> {
        self.turns_by(&self.turns.find, query, keys).await
    }

    /// The same, and nobody else changes them before the commit.
    pub(crate) async fn lock_turns(
        &self,
        tx: &mut Tx,
        keys: &[(&ThreadKey, &str)],
    ) -> Result<Vec<(ThreadKey, Turn)>> {
        self.turns_by(&self.turns.lock, tx, keys).await
    }

    /// What these turns are, as far as they are known.
    pub(crate) async fn statuses(
        &self,
        query: &mut impl Query,
        keys: &[(&ThreadKey, &str)],
    ) -> Result<HashMap<(ThreadKey, String), TurnStatus>> {
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let rows = query
            .rows(&self.turns.statuses, vec![triples(keys)?])
            .await?;
        rows.iter()
            .map(|row| {
                let key = ThreadKey {
                    tenant: row.text(0)?.into(),
                    thread: row.text(1)?.into(),
                };
                let status = row.text(3)?.parse().map_err(Error::Broken)?;
                Ok(((key, row.text(2)?), status))
            })
            .collect()
    }

    async fn turns_by(
        &self,
        sql: &Sql,
        query: &mut impl Query,
        keys: &[(&ThreadKey, &str)],
    ) -> Result<Vec<(ThreadKey, Turn)>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let rows = query.rows(sql, vec![triples(keys)?]).await?;
        rows.iter()
            .map(|row| {
                let turn = turn(row)?;
                let tenant = row.text(0)?.into();
                Ok((ThreadKey::new(&tenant, turn.thread_id.as_str()), turn))
            })
            .collect()
    }

    /// Turns of a thread before one (its `id`), newest first, each with its `id`.
    pub(crate) async fn list_turns(
        &self,
        query: &mut impl Query,
        key: &ThreadKey,
        before: &str,
        limit: u32,
    ) -> Result<Vec<(Turn, String)>> {
        let args = vec![
            (&key.tenant).into(),
            (&key.thread).into(),
            before.into(),
            limit.into(),
        ];
        let rows = query.rows(&self.turns.list, args).await?;
        rows.iter()
            .map(|row| Ok((turn(row)?, row.text(14)?)))
            .collect()
    }

    pub(crate) async fn insert_turns(
        &self,
        tx: &mut Tx,
        turns: &[NewTurnRow<'_>],
        now: Time,
    ) -> Result<()> {
        if turns.is_empty() {
            return Ok(());
        }
        let now = self.dialect.json_time(now);
        let rows: Vec<_> = turns
            .iter()
            .map(|row| {
                let started = (row.status == TurnStatus::Running).then_some(&now);
                (
                    &*row.key.tenant,
                    &*row.key.thread,
                    row.turn_id,
                    &row.id,
                    row.status.as_str(),
                    row.agent,
                    row.job_id,
                    row.seq,
                    &now,
                    started,
                    row.input.map(RawValue::get),
                )
            })
            .collect();
        self.demand.changes(tx);
        tx.push(&self.turns.insert, vec![Arg::json(&rows)?]).await?;
        let open: Vec<_> = turns
            .iter()
            .filter(|row| !row.status.is_terminal())
            .map(|row| {
                (
                    &*row.key.tenant,
                    &*row.key.thread,
                    &row.id,
                    row.turn_id,
                    row.job_id,
                    i64::from(row.waits),
                )
            })
            .collect();
        if open.is_empty() {
            return Ok(());
        }
        tx.push(&self.turns.insert_open, vec![Arg::json(&open)?])
            .await
    }

    /// Writes what becomes of turns that are locked.
    pub(crate) async fn step_turns(
        &self,
        tx: &mut Tx,
        steps: &[TurnStep<'_>],
        now: Time,
    ) -> Result<()> {
        if steps.is_empty() {
            return Ok(());
        }
        let time = |at: Option<Time>| at.map(|at| self.dialect.json_time(at));
        let rows: Vec<_> = steps
            .iter()
            .map(|step| {
                let finished = step.status.is_terminal().then_some(now);
                (
                    &*step.key.tenant,
                    &*step.key.thread,
                    &step.turn.turn_id,
                    step.status.as_str(),
                    step.ended_seq,
                    step.error,
                    time(Some(step.turn.started_at.unwrap_or(now))),
                    time(finished),
                )
            })
            .collect();
        self.demand.changes(tx);
        tx.push(&self.turns.update, vec![Arg::json(&rows)?]).await
    }

    /// Agents have claimed these turns, as far as they have not ended.
    pub(crate) async fn start_turns(
        &self,
        tx: &mut Tx,
        started: &[Started<'_>],
        now: Time,
    ) -> Result<()> {
        let now = self.dialect.json_time(now);
        let mut rows: Vec<_> = started
            .iter()
            .map(|row| (row.tenant, row.thread, row.turn, row.worker, &now))
            .collect();
        rows.sort_unstable();
        self.demand.changes(tx);
        tx.push(&self.turns.start, vec![Arg::json(&rows)?]).await
    }

    /// The open turns of these threads, in the order in which they came.
    pub(crate) async fn open(
        &self,
        query: &mut impl Query,
        keys: &[&ThreadKey],
    ) -> Result<HashMap<ThreadKey, Vec<OpenTurn>>> {
        let mut open: HashMap<ThreadKey, Vec<OpenTurn>> = HashMap::new();
        for row in query.rows(&self.turns.open, vec![pairs(keys)?]).await? {
            let key = ThreadKey {
                tenant: row.text(0)?.into(),
                thread: row.text(1)?.into(),
            };
            open.entry(key).or_default().push(OpenTurn {
                id: row.text(2)?,
                turn_id: row.text(3)?,
                job_id: row.opt_text(4)?,
                waits: row.int(5)? != 0,
            });
        }
        Ok(open)
    }

    pub(crate) async fn close(&self, tx: &mut Tx, gone: &[(&ThreadKey, &str)]) -> Result<()> {
        if gone.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = gone
            .iter()
            .map(|(key, id)| (&*key.tenant, &*key.thread, *id))
            .collect();
        tx.push(&self.turns.delete_open, vec![Arg::json(&rows)?])
            .await
    }

    /// A turn that waited has its job.
    pub(crate) async fn give_job(
        &self,
        tx: &mut Tx,
        key: &ThreadKey,
        turn: &OpenTurn,
        job_id: &str,
    ) -> Result<()> {
        let args = |id: &str| -> Vec<Arg> {
            vec![
                job_id.into(),
                (&key.tenant).into(),
                (&key.thread).into(),
                id.into(),
            ]
        };
        self.demand.changes(tx);
        tx.push(&self.turns.give_job, args(&turn.turn_id)).await?;
        tx.push(&self.turns.give_job_open, args(&turn.id)).await
    }
}

fn triples(keys: &[(&ThreadKey, &str)]) -> Result<Arg> {
    let mut keys: Vec<_> = keys
        .iter()
        .map(|(key, turn)| (&*key.tenant, &*key.thread, *turn))
        .collect();
    keys.sort_unstable();
    keys.dedup();
    Arg::json(&keys)
}

/// Behind the tenant.
fn turn(row: &Row) -> Result<Turn> {
    Ok(Turn {
        turn_id: row.text(1)?,
        thread_id: row.text(2)?,
        status: row.text(3)?.parse().map_err(Error::Broken)?,
        agent: row.opt_text(4)?,
        job_id: row.opt_text(5)?,
        worker: row.opt_text(6)?,
        seq: row.count(7)?,
        ended_seq: row
            .opt_int(8)?
            .map(|seq| u64::try_from(seq).unwrap_or_default()),
        created_at: row.time(9)?,
        started_at: row.opt_time(10)?,
        finished_at: row.opt_time(11)?,
        error: row.opt_text(12)?,
        input: row.opt_json(13)?,
    })
}
