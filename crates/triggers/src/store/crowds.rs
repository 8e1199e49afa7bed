//! The end of occurrences, for those of one tenant and one time: nothing but the trigger differs between
//! them, and a list of ids costs less than half of what rows do. Most batches of a scheduler are such.

use tidewire_core::Time;
use tidewire_db::{Arg, Dialect, Result, Sql, Tx};

use super::{Advance, Coming, Store};

pub(super) struct Statements {
    complete: Sql,
    leave: Sql,
    advance: Sql,
}

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let of_time = |tenant: usize| {
            dialect
                .json_ids("r", "trigger_id")
                .arg(tenant + 2)
                .with(&[("tenant", tenant), ("fire_at", tenant + 1)])
        };
        let triggers = dialect.json_ids("r", "id").arg(4).with(&[("tenant", 3)]);
        Statements {
            complete: dialect.update_rows(
                "trigger_schedules",
                &of_time(2),
                &["tenant", "trigger_id", "fire_at"],
                &[
                    ("status", "'completed'"),
                    ("attempt_count", "1"),
                    ("last_attempt_at", "?1"),
                    ("updated_at", "?1"),
                ],
            ),
            leave: dialect.delete_rows(
                "trigger_due",
                &of_time(1),
                &["fire_at", "tenant", "trigger_id"],
            ),
            advance: dialect.update_rows(
                "triggers",
                &triggers,
                &["tenant", "id"],
                &[("fired_until", "?1"), ("next_run", "?2")],
            ),
        }
    }

    #[cfg(test)]
    pub(super) fn for_plans(&self) -> Vec<(&'static str, &Sql)> {
        vec![
            ("complete_crowd", &self.complete),
            ("leave_crowd", &self.leave),
            ("advance_crowd", &self.advance),
        ]
    }
}

/// The tenant and the time of all of them, and their triggers.
fn crowd<'c>(of: &[Coming<'c>]) -> Option<(&'c str, Time, Vec<&'c str>)> {
    let first = of.first()?;
    let is_alike =
        |other: &Coming<'_>| (other.tenant, other.fire_at) == (first.tenant, first.fire_at);
    let triggers = || of.iter().map(|one| one.trigger_id).collect();
    of.iter()
        .all(is_alike)
        .then(|| (first.tenant, first.fire_at, triggers()))
}

impl Store {
    /// Completes occurrences if they are a crowd; whether they were.
    pub(super) async fn complete_crowd(
        &self,
        tx: &mut Tx,
        of: &[Coming<'_>],
        at: Time,
    ) -> Result<bool> {
        let Some((tenant, fire_at, triggers)) = crowd(of) else {
            return Ok(false);
        };
        let args = vec![
            at.into(),
            tenant.into(),
            fire_at.into(),
            Arg::json(&triggers)?,
        ];
        tx.push(&self.crowds.complete, args).await?;
        Ok(true)
    }

    /// Takes away the entries of occurrences if they are a crowd; whether they were.
    pub(super) async fn leave_crowd(&self, tx: &mut Tx, of: &[Coming<'_>]) -> Result<bool> {
        let Some((tenant, fire_at, triggers)) = crowd(of) else {
            return Ok(false);
        };
        let args = vec![tenant.into(), fire_at.into(), Arg::json(&triggers)?];
        tx.push(&self.crowds.leave, args).await?;
        Ok(true)
    }

    /// Writes how far triggers are if that is the same for all; whether it was.
    pub(super) async fn advance_crowd(&self, tx: &mut Tx, of: &[Advance<'_>]) -> Result<bool> {
        let key = |of: &Advance<'_>| (of.fired_until, of.next_run);
        let Some(first) = of.first() else {
            return Ok(false);
        };
        let is_alike =
            |other: &Advance<'_>| other.tenant == first.tenant && key(other) == key(first);
        if !of.iter().all(is_alike) {
            return Ok(false);
        }
        let ids: Vec<_> = of.iter().map(|one| one.trigger_id).collect();
        let (until, next) = key(first);
        let args = vec![
            until.into(),
            next.into(),
            first.tenant.into(),
            Arg::json(&ids)?,
        ];
        tx.push(&self.crowds.advance, args).await?;
        Ok(true)
    }
}
