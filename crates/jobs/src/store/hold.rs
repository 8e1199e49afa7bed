//! Jobs for a step: looking at them, and making sure that they stay as they were seen.

use tidewire_core::Time;
use tidewire_db::{Arg, Column, Dialect, Query, Result, Sql, Tx};

use super::{
    JOB, JOB_COLUMNS, RESULT, STATE, Store, change::alike, claim::place, driven_by, job,
    lease_rows, state,
};
use crate::{
    model::Job,
    state::{LeaseEnded, State},
};

pub(super) struct Statements {
    held: Sql,
    end_leases: Sql,
    end_leases_of_queue: Sql,
    states: Sql,
    states_at_once: Sql,
    jobs: Sql,
    expired: Sql,
    any_expired: Sql,
}

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let ids = dialect.json_rows(
            "r",
            &[Column::Int("n"), Column::Id("tenant"), Column::Id("id")],
        );
        let secrets = dialect.json_rows(
            "r",
            &[Column::Id("tenant"), Column::Id("id"), Column::Id("secret")],
        );
        let held = format!(
            "FROM {} {} WHERE j.tenant = {} AND j.id = {} AND j.status = 'running' AND j.lease_secret = {}",
            secrets.from,
            dialect.then("jobs j"),
            secrets.col("tenant"),
            secrets.col("id"),
            secrets.col("secret")
        );
        let by_ids = |columns: &str, more: &str| {
            format!(
                "SELECT {}, {columns} FROM {} {} {more} WHERE j.tenant = {} AND j.id = {}",
                ids.col("n"),
                ids.from,
                dialect.then("jobs j"),
                ids.col("tenant"),
                ids.col("id")
            )
        };
        let states = by_ids(STATE, "");
        let jobs = by_ids(&format!("{JOB}, o.output_json"), RESULT);
        let expired = format!(
            "SELECT {STATE} FROM job_leases l {} WHERE l.expires_at <= ?
             AND j.tenant = {} AND j.id = {} LIMIT ?{}",
            dialect.then("jobs j"),
            driven_by("l.tenant"),
            driven_by("l.id"),
            dialect.skip_locked()
        );
        let claimed = dialect
            .json_rows("r", &[Column::Id("id"), Column::Id("secret")])
            .arg(3)
            .with(&[("tenant", 1), ("queue", 2)]);
        Statements {
            held: dialect.count_locked(&held),
            end_leases: dialect.delete_rows("job_leases", &lease_rows(dialect), &PROOF),
            end_leases_of_queue: dialect.delete_rows("job_leases", &claimed, &PROOF),
            states: dialect.sql(&format!("{states}{}", dialect.lock())),
            states_at_once: dialect.sql(&format!("{states}{}", dialect.skip_locked())),
            jobs: dialect.sql(&jobs),
            expired: dialect.sql(&expired),
            any_expired: dialect.sql("SELECT 1 FROM job_leases WHERE expires_at <= ? LIMIT 1"),
        }
    }
}

const PROOF: [&str; 4] = ["tenant", "queue", "id", "secret"];

/// A job as its holder names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Held<'h> {
    pub tenant: &'h str,
    pub queue: &'h str,
    pub id: &'h str,
    pub secret: &'h str,
}

impl Store {
    /// Whether all of these run under their claim. They do until the end of this transaction.
    pub(crate) async fn are_held(&self, tx: &mut Tx, mut held: Vec<Held<'_>>) -> Result<bool> {
        if held.is_empty() {
            return Ok(true);
        }
        held.sort_unstable();
        let rows: Vec<_> = held.iter().map(|h| (h.tenant, h.id, h.secret)).collect();
        let rows = tx.rows(&self.hold.held, vec![Arg::json(&rows)?]).await?;
        let found: u64 = rows.iter().map(|row| row.count(0)).sum::<Result<_>>()?;
        Ok(found == held.len() as u64)
    }

    /// Ends the leases of jobs that do not go on running, and says whether all of them were held.
    /// Where others write, taking a lease away is the proof and the lock in one; where nobody does,
    /// counting costs less, and the step deletes the lease.
    pub(crate) async fn end_leases(
        &self,
        tx: &mut Tx,
        mut held: Vec<Held<'_>>,
    ) -> Result<(bool, LeaseEnded)> {
        if self.dialect.sole_writer || held.is_empty() {
            return Ok((self.are_held(tx, held).await?, LeaseEnded(false)));
        }
        held.sort_unstable();
        let of_queue = alike(held.iter().map(|h| (h.tenant, h.queue)));
        let ended = match of_queue {
            Some((tenant, queue)) => {
                let rows: Vec<_> = held.iter().map(|h| (h.id, h.secret)).collect();
                let args = vec![tenant.into(), queue.into(), Arg::json(&rows)?];
                tx.execute(&self.hold.end_leases_of_queue, args).await?
            }
            None => {
                let rows: Vec<_> = held
                    .iter()
                    .map(|h| (h.tenant, h.queue, h.id, h.secret))
                    .collect();
                tx.execute(&self.hold.end_leases, vec![Arg::json(&rows)?])
                    .await?
            }
        };
        Ok((ended == held.len() as u64, LeaseEnded(true)))
    }

    /// The states of these jobs, each in its place; `None` for one that is unknown. They stay so
    /// until the end of this transaction, but for what it does itself.
    pub(crate) async fn states(
        &self,
        tx: &mut Tx,
        jobs: &[(&str, &str)],
    ) -> Result<Vec<Option<State>>> {
        let mut found = vec![None; jobs.len()];
        for row in tx.rows(&self.hold.states, vec![numbered(jobs)?]).await? {
            found[place(&row, jobs.len())?] = Some(state(&row, 1)?);
        }
        Ok(found)
    }

    /// The state of one job in the same way, without waiting for anybody: if somebody has it in hand,
    /// the transaction begins again.
    pub(crate) async fn state_at_once(
        &self,
        tx: &mut Tx,
        key: (&str, &str),
    ) -> Result<Option<State>> {
        let args = vec![numbered(&[key])?];
        if let Some(row) = tx.row(&self.hold.states_at_once, args).await? {
            return state(&row, 1).map(Some);
        }
        let (tenant, id) = key;
        let is_there = !self.present(tx, tenant, &[id.to_owned()]).await?.is_empty();
        match is_there && self.is_shared() {
            true => Err(tx.yield_to_others(format!("somebody has the job `{id}` in hand"))),
            false => Ok(None),
        }
    }

    /// These jobs whole, each in its place.
    pub(crate) async fn jobs(
        &self,
        query: &mut impl Query,
        jobs: &[(&str, &str)],
    ) -> Result<Vec<Option<Job>>> {
        let mut found = vec![None; jobs.len()];
        for row in query.rows(&self.hold.jobs, vec![numbered(jobs)?]).await? {
            let mut job = job(&row, 1)?;
            job.output = row.opt_json(1 + JOB_COLUMNS)?;
            found[place(&row, jobs.len())?] = Some(job);
        }
        Ok(found)
    }

    /// Running jobs whose lease has run out, but for those that somebody else has in hand.
    pub(crate) async fn expired(&self, tx: &mut Tx, now: Time, most: u32) -> Result<Vec<State>> {
        let rows = tx
            .rows(&self.hold.expired, vec![now.into(), most.into()])
            .await?;
        rows.iter().map(|row| state(row, 0)).collect()
    }

    pub(crate) async fn any_expired(&self, query: &mut impl Query, now: Time) -> Result<bool> {
        Ok(query
            .row(&self.hold.any_expired, vec![now.into()])
            .await?
            .is_some())
    }
}

/// Sorted as rows are locked: two who want the same jobs wait for each other one way only.
fn numbered(jobs: &[(&str, &str)]) -> Result<Arg> {
    let mut rows: Vec<_> = jobs
        .iter()
        .enumerate()
        .map(|(n, (tenant, id))| (n, *tenant, *id))
        .collect();
    rows.sort_unstable_by_key(|(_, tenant, id)| (*tenant, *id));
    Arg::json(&rows)
}
