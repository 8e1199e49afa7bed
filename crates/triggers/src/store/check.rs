//! What must hold between the tables, for tests.

use tidewire_core::Time;
use tidewire_db::{Arg, Query, Result, Tx};

use super::Store;

/// Each question finds the rows that break the rule beside it.
const RULES: [(&str, &str); 11] = [
    (
        "a coming occurrence has its entry",
        "SELECT t.id FROM triggers t WHERE t.next_run IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM trigger_due d WHERE d.fire_at = t.next_run AND d.tenant = t.tenant
            AND d.trigger_id = t.id)",
    ),
    (
        "an entry is a trigger's coming occurrence",
        "SELECT d.trigger_id FROM trigger_due d WHERE NOT EXISTS (SELECT 1 FROM triggers t
            WHERE t.tenant = d.tenant AND t.id = d.trigger_id AND t.next_run = d.fire_at)",
    ),
    (
        "a coming occurrence has its row",
        "SELECT d.trigger_id FROM trigger_due d WHERE NOT EXISTS (SELECT 1 FROM trigger_schedules s
            WHERE s.tenant = d.tenant AND s.trigger_id = d.trigger_id AND s.fire_at = d.fire_at
            AND s.status = 'pending')",
    ),
    (
        "a pending row has its entry",
        "SELECT s.trigger_id FROM trigger_schedules s WHERE s.status = 'pending' AND NOT EXISTS (
            SELECT 1 FROM trigger_due d WHERE d.fire_at = s.fire_at AND d.tenant = s.tenant
            AND d.trigger_id = s.trigger_id)",
    ),
    (
        "an inactive trigger has no coming occurrence",
        "SELECT id FROM triggers WHERE status = 'inactive' AND next_run IS NOT NULL",
    ),
    (
        "what is to come was not fired",
        "SELECT id FROM triggers WHERE next_run <= fired_until",
    ),
    (
        "an occurrence is fired once",
        "SELECT trigger_id FROM executions WHERE scheduled_for IS NOT NULL
            GROUP BY tenant, trigger_id, scheduled_for HAVING count(*) > 1",
    ),
    (
        "a firing has its row, which is completed",
        "SELECT e.id FROM executions e WHERE e.scheduled_for IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM trigger_schedules s WHERE s.tenant = e.tenant AND s.trigger_id = e.trigger_id
            AND s.fire_at = e.scheduled_for AND s.status = 'completed')",
    ),
    (
        "what is completed was fired",
        "SELECT s.trigger_id FROM trigger_schedules s WHERE s.status = 'completed' AND NOT EXISTS (
            SELECT 1 FROM executions e WHERE e.tenant = s.tenant AND e.trigger_id = s.trigger_id
            AND e.scheduled_for = s.fire_at)",
    ),
    (
        "an execution has its job",
        "SELECT e.id FROM executions e WHERE NOT EXISTS (SELECT 1 FROM jobs j
            WHERE j.tenant = e.tenant AND j.id = e.job_id AND j.event_id = e.id)",
    ),
    (
        "a job is for one execution",
        "SELECT job_id FROM idempotency_keys GROUP BY tenant, job_id HAVING count(*) > 1",
    ),
];

impl Store {
    /// The rules that are broken, and by which triggers and executions.
    pub(crate) async fn broken(&self, query: &mut impl Query) -> Result<Vec<String>> {
        let mut broken = Vec::new();
        for (rule, question) in RULES {
            for row in query.rows(&self.dialect.sql(question), Vec::new()).await? {
                broken.push(format!("{rule}: {}", row.text(0)?));
            }
        }
        Ok(broken)
    }

    /// The times for which a trigger, or any, was fired by the clock.
    pub(crate) async fn fired(
        &self,
        query: &mut impl Query,
        trigger_id: Option<&str>,
    ) -> Result<Vec<Time>> {
        let sql = self.dialect.sql(
            "SELECT scheduled_for FROM executions WHERE scheduled_for IS NOT NULL
             AND trigger_id = coalesce(?, trigger_id) ORDER BY scheduled_for",
        );
        let rows = query.rows(&sql, vec![trigger_id.into()]).await?;
        rows.iter().map(|row| row.time(0)).collect()
    }

    /// Adds triggers that are as one that has not been fired, for tests that need many.
    pub(crate) async fn multiply(
        &self,
        tx: &mut Tx,
        (tenant, trigger_id): (&str, &str),
        new: &[String],
    ) -> Result<()> {
        let ids = self.dialect.json_ids("r", "id");
        let copies = [
            "INSERT INTO triggers (tenant, id, name, type, status, config_id, from_pos, saved_at, next_run,
                created_at, updated_at)
             SELECT t.tenant, {id}, t.name, t.type, t.status, t.config_id, t.from_pos, t.saved_at, t.next_run,
                t.created_at, t.updated_at",
            "INSERT INTO trigger_schedules (tenant, trigger_id, fire_at, id, status, attempt_count,
                created_at, updated_at)
             SELECT t.tenant, {id}, t.next_run, {id}, 'pending', 0, t.created_at, t.updated_at",
            "INSERT INTO trigger_due (fire_at, tenant, trigger_id) SELECT t.next_run, t.tenant, {id}",
        ];
        for copy in copies {
            let sql = self.dialect.sql(&format!(
                "{} FROM {} CROSS JOIN (SELECT * FROM triggers WHERE tenant = ? AND id = ?) t",
                copy.replace("{id}", &ids.columns),
                ids.from
            ));
            let args = vec![Arg::json(new)?, tenant.into(), trigger_id.into()];
            tx.push(&sql, args).await?;
        }
        Ok(())
    }

    /// Makes a config one that cannot be read.
    pub(crate) async fn spoil_config(&self, tx: &mut Tx, trigger_id: &str) -> Result<()> {
        let sql = self
            .dialect
            .sql("UPDATE trigger_configs SET type = 'hourglass' WHERE trigger_id = ?");
        tx.push(&sql, vec![trigger_id.into()]).await
    }

    /// Adds a completed row for a time that is still to come, which is in the way of the trigger's next
    /// firing: no rule allows it.
    pub(crate) async fn spoil_schedule(
        &self,
        tx: &mut Tx,
        (tenant, trigger_id): (&str, &str),
        at: Time,
    ) -> Result<()> {
        let row = super::ScheduleRow {
            tenant,
            trigger_id,
            fire_at: at,
            id: trigger_id.to_owned(),
            status: crate::ScheduleStatus::Completed,
        };
        self.insert_schedules(tx, &[row], at).await
    }

    pub(crate) async fn clear_schedule(
        &self,
        tx: &mut Tx,
        (tenant, trigger_id): (&str, &str),
        fire_at: Time,
    ) -> Result<()> {
        let of = super::Coming {
            tenant,
            trigger_id,
            fire_at,
        };
        self.delete_schedules(tx, &[of]).await
    }
}
