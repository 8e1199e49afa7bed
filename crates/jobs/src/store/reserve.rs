//! Jobs that one worker may have before the others.
//!
//! The entry of such a job in the queue is due when its hold ends, so that nothing on the way of the
//! others knows of it. Its reservation says when it is due for the one. The entry in the queue is its
//! lock all the same: whoever takes that away takes the reservation too. One whose hold has ended
//! means nothing any more, and goes when the job is taken or with the upkeep, whichever comes first.

use tidewire_core::Time;
use tidewire_db::{Arg, Column, Dialect, JsonRows, Query, Result, Row, Sql, Tx};

use super::{JOB, Store, driven_by, priority};
use crate::{
    board::{LaneKey, Mark},
    model::{Job, Reserved},
    state::State,
};

pub(super) struct Statements {
    insert: Sql,
    set: Sql,
    pub(super) due: Sql,
    pub(super) next: Sql,
    delete: Sql,
    clear: Sql,
    lanes: Sql,
    any_ended: Sql,
    ended: Sql,
}

const KEY: [&str; 7] = [
    "tenant", "worker", "queue", "type", "priority", "run_at", "id",
];

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let address = dialect.address("q");
        let address = address.map_or_else(String::new, |address| format!(", {address}"));
        // A worker's own lane from a place on, as far as others must wait.
        let of_lane = |worker: &str| {
            format!(
                "r.tenant = ?1 AND r.worker = {worker} AND r.queue = ?2 AND r.type = ?3
                 AND r.priority = ?4 AND {} AND r.held_until > ?7",
                dialect.at_or_behind(&["r.run_at", "r.id"], &["?5", "?6"])
            )
        };
        let due = format!(
            "SELECT {JOB}{address} FROM job_reservations r {} {} WHERE {} AND r.run_at <= ?7
             AND j.tenant = {} AND j.id = r.id
             AND q.tenant = {} AND q.queue = j.queue AND q.type = j.type AND q.priority = j.priority
             AND q.run_at = r.held_until AND q.id = j.id ORDER BY r.run_at, r.id LIMIT ?8{}",
            dialect.then("jobs j"),
            dialect.then("job_queue q"),
            of_lane("?9"),
            driven_by("r.tenant"),
            driven_by("j.tenant"),
            dialect.skip_locked_of("q")
        );
        let next = format!(
            "SELECT r.run_at, r.id FROM job_reservations r WHERE {} ORDER BY r.run_at, r.id LIMIT 1",
            of_lane("?8")
        );
        let new = rows(dialect, &[Column::Time("held_until")]);
        let jobs = dialect.json_rows("r", &[Column::Id("tenant"), Column::Id("id")]);
        Statements {
            insert: dialect.sql(&format!(
                "INSERT INTO job_reservations (tenant, worker, queue, type, priority, run_at, id, held_until)
                 SELECT {} FROM {}",
                new.columns, new.from
            )),
            set: set(dialect),
            due: dialect.sql(&due),
            next: dialect.sql(&next),
            delete: dialect.delete_rows("job_reservations", &rows(dialect, &[]), &KEY),
            clear: dialect.update_rows(
                "jobs",
                &jobs,
                &["tenant", "id"],
                &[("reserved_for", "NULL"), ("reserved_until", "NULL")],
            ),
            lanes: dialect.sql(
                "SELECT tenant, worker, queue, type, priority, min(run_at) FROM job_reservations
                 WHERE held_until > ? GROUP BY tenant, worker, queue, type, priority",
            ),
            any_ended: dialect.sql("SELECT 1 FROM job_reservations WHERE held_until <= ? LIMIT 1"),
            ended: dialect.sql(&format!(
                "SELECT tenant, worker, queue, type, priority, run_at, id FROM job_reservations
                 WHERE held_until <= ? LIMIT ?{}",
                dialect.skip_locked()
            )),
        }
    }
}

fn set(dialect: &Dialect) -> Sql {
    let rows = dialect.json_rows(
        "r",
        &[
            Column::Id("tenant"),
            Column::Id("id"),
            Column::Id("worker"),
            Column::Time("until"),
        ],
    );
    dialect.update_rows(
        "jobs",
        &rows,
        &["tenant", "id"],
        &[
            ("reserved_for", rows.col("worker")),
            ("reserved_until", rows.col("until")),
        ],
    )
}

/// The key of a reservation, and more.
fn rows(dialect: &Dialect, more: &[Column]) -> JsonRows {
    let key = [
        Column::Id("tenant"),
        Column::Id("worker"),
        Column::Id("queue"),
        Column::Id("type"),
        Column::Int("priority"),
        Column::Time("run_at"),
        Column::Id("id"),
    ];
    dialect.json_rows("r", &[&key, more].concat())
}

/// A job that was reserved.
pub(crate) struct Entry<'e> {
    pub lane: LaneKey,
    pub id: &'e str,
    pub reserved: &'e Reserved,
}

impl Store {
    /// Writes the reservations of new jobs that have one.
    pub(super) async fn reserve(&self, tx: &mut Tx, new: impl Iterator<Item = &Job>) -> Result<()> {
        let reserved: Vec<_> = new
            .filter_map(|job| {
                let reserved = job.reserved.as_ref()?;
                Some((
                    &*job.tenant,
                    &*reserved.worker,
                    &job.queue,
                    &job.kind,
                    job.priority,
                    self.time(reserved.from),
                    &job.id,
                    self.time(reserved.until),
                ))
            })
            .collect();
        if reserved.is_empty() {
            return Ok(());
        }
        tx.push(&self.reserve.insert, vec![Arg::json(&reserved)?])
            .await
    }

    /// Writes the reservations of those of these jobs that have one from here on.
    pub(super) async fn reserve_states(
        &self,
        tx: &mut Tx,
        states: impl Iterator<Item = &State>,
    ) -> Result<()> {
        let reserved = states.filter_map(|state| Some((state, state.reserved.as_ref()?)));
        let mut reserved: Vec<_> = reserved.collect();
        if reserved.is_empty() {
            return Ok(());
        }
        reserved.sort_by_key(|(state, _)| (&state.lane.tenant, &state.id));
        let entries: Vec<_> = reserved
            .iter()
            .map(|(state, reserved)| {
                (
                    &*state.lane.tenant,
                    &*reserved.worker,
                    &*state.lane.queue,
                    &*state.lane.kind,
                    state.lane.priority,
                    self.time(reserved.from),
                    &*state.id,
                    self.time(reserved.until),
                )
            })
            .collect();
        let jobs: Vec<_> = reserved
            .iter()
            .map(|(state, reserved)| {
                let until = self.time(reserved.until);
                (&*state.lane.tenant, &*state.id, &*reserved.worker, until)
            })
            .collect();
        tx.push(&self.reserve.insert, vec![Arg::json(&entries)?])
            .await?;
        tx.push(&self.reserve.set, vec![Arg::json(&jobs)?]).await
    }

    /// Ends the reservations of jobs whose entries this transaction has taken out of the queue.
    pub(crate) async fn unreserve(&self, tx: &mut Tx, mut gone: Vec<Entry<'_>>) -> Result<()> {
        if gone.is_empty() {
            return Ok(());
        }
        gone.sort_by(|a, b| (&a.lane.tenant, a.id).cmp(&(&b.lane.tenant, b.id)));
        let keys: Vec<_> = gone
            .iter()
            .map(|Entry { lane, id, reserved }| {
                let from = self.time(reserved.from);
                (
                    &*lane.tenant,
                    &*reserved.worker,
                    &*lane.queue,
                    &*lane.kind,
                    lane.priority,
                    from,
                    *id,
                )
            })
            .collect();
        let jobs: Vec<_> = gone
            .iter()
            .map(|entry| (&*entry.lane.tenant, entry.id))
            .collect();
        tx.push(&self.reserve.delete, vec![Arg::json(&keys)?])
            .await?;
        tx.push(&self.reserve.clear, vec![Arg::json(&jobs)?]).await
    }

    /// Workers' own lanes, and where each begins at the earliest.
    pub(crate) async fn reserved_lanes(
        &self,
        query: &mut impl Query,
        now: Time,
    ) -> Result<Vec<(LaneKey, Mark)>> {
        let rows = query.rows(&self.reserve.lanes, vec![now.into()]).await?;
        rows.iter()
            .map(|row| {
                let worker = row.text(1)?.into();
                let lane =
                    LaneKey::new(row.text(0)?, row.text(2)?, row.text(3)?, priority(row, 4)?);
                Ok((lane.reserved_for(&worker), Mark::start_of(row.time(5)?)))
            })
            .collect()
    }

    /// Whether any hold has ended whose reservation is there still.
    pub(crate) async fn any_hold_ended(&self, query: &mut impl Query, now: Time) -> Result<bool> {
        let args = vec![now.into()];
        Ok(query.row(&self.reserve.any_ended, args).await?.is_some())
    }

    /// Deletes reservations whose hold has ended, but for those that somebody has in hand; how many.
    pub(crate) async fn end_holds(&self, tx: &mut Tx, now: Time, most: u32) -> Result<usize> {
        let args = vec![now.into(), most.into()];
        let rows = tx.rows(&self.reserve.ended, args).await?;
        let keys = rows.iter().map(|row| self.key(row));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        if !keys.is_empty() {
            tx.push(&self.reserve.delete, vec![Arg::json(&keys)?])
                .await?;
        }
        Ok(keys.len())
    }

    fn key(&self, row: &Row) -> Result<(String, String, String, String, i32, String, String)> {
        Ok((
            row.text(0)?,
            row.text(1)?,
            row.text(2)?,
            row.text(3)?,
            priority(row, 4)?,
            self.time(row.time(5)?),
            row.text(6)?,
        ))
    }
}
