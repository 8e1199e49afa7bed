//! How far each tenant's log has been matched, and for what.

use std::sync::Arc;

use tidewire_core::Time;
use tidewire_db::{Arg, Dialect, Query, Result, Sql, Tx};

use super::{Store, TriggerRow};

pub(super) struct Statements {
    followed: Sql,
    rules: Sql,
    standing: Sql,
    spans: Sql,
    get: Sql,
    make: Sql,
    lock: Sql,
    set: Sql,
    keep_span: Sql,
    drop_spans_of: Sql,
    drop_spans_until: Sql,
    drop_spans_beyond: Sql,
    count_from_at_most: Sql,
}

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let ids = dialect.json_ids("r", "id").arg(2).with(&[("tenant", 1)]);
        let standing = format!(
            "SELECT t.id, t.config_id, t.from_pos FROM {} {}
             WHERE t.tenant = {} AND t.id = {} AND t.type = 'event' AND t.status = 'active'",
            ids.from,
            dialect.then("triggers t"),
            ids.col("tenant"),
            ids.col("id")
        );
        let (insert, unless_known) = dialect.insert_new();
        let cursor = "SELECT pos, within FROM trigger_cursors WHERE tenant = ?";
        Statements {
            followed: dialect.sql(
                "SELECT a.tenant, min(a.from_pos), max(a.from_pos), max(c.pos), max(c.within)
                 FROM (SELECT tenant, from_pos FROM triggers WHERE type = 'event' AND status = 'active'
                       UNION ALL SELECT tenant, from_pos FROM trigger_spans) a
                 LEFT JOIN trigger_cursors c ON c.tenant = a.tenant
                 GROUP BY a.tenant",
            ),
            rules: dialect.sql(
                "SELECT id, config_id, from_pos, NULL FROM triggers
                 WHERE type = 'event' AND tenant = ?1 AND status = 'active'
                 UNION ALL SELECT trigger_id, config_id, from_pos, until_pos FROM trigger_spans
                 WHERE tenant = ?1",
            ),
            standing: dialect.sql(&standing),
            spans: dialect.sql("SELECT config_id FROM trigger_spans WHERE tenant = ?"),
            get: dialect.sql(cursor),
            make: dialect.sql(&format!(
                "{insert} trigger_cursors (tenant, pos, updated_at) VALUES (?, ?, ?){unless_known}"
            )),
            lock: dialect.sql(&format!("{cursor}{}", dialect.skip_locked())),
            set: dialect.sql(
                "UPDATE trigger_cursors SET pos = ?, within = ?, updated_at = ? WHERE tenant = ?",
            ),
            keep_span: dialect.sql(
                "INSERT INTO trigger_spans (tenant, config_id, trigger_id, from_pos, until_pos)
                 VALUES (?, ?, ?, ?, ?)",
            ),
            drop_spans_of: dialect
                .sql("DELETE FROM trigger_spans WHERE tenant = ? AND trigger_id = ?"),
            drop_spans_until: dialect
                .sql("DELETE FROM trigger_spans WHERE tenant = ? AND until_pos <= ?"),
            drop_spans_beyond: dialect
                .sql("DELETE FROM trigger_spans WHERE tenant = ? AND until_pos > ?"),
            count_from_at_most: dialect.sql(
                "UPDATE triggers SET from_pos = ?1
                 WHERE type = 'event' AND tenant = ?2 AND from_pos > ?1",
            ),
        }
    }
}

/// A place in a tenant's log: behind the event at `pos`, or, with `within`, in the middle of the one
/// after it, behind the triggers up to that id.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub pos: u64,
    pub within: Option<Arc<str>>,
}

impl Place {
    pub(crate) fn behind(pos: u64) -> Self {
        Place { pos, within: None }
    }
}

/// A tenant that has event triggers.
#[derive(Clone, Debug)]
pub(crate) struct Followed {
    pub tenant: Arc<str>,
    /// The least and the greatest position from which on any of them counts.
    pub counts_from: (u64, u64),
    /// Up to where its log has been matched, if it ever was.
    pub cursor: Option<Place>,
}

/// Which events count for a trigger, and by which of its configs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RuleRow {
    pub trigger_id: Arc<str>,
    /// Those behind it.
    pub from_pos: u64,
    /// Up to and including it; without an end for the config that the trigger has now.
    pub until_pos: Option<u64>,
    pub config_id: Arc<str>,
}

impl Store {
    /// The tenants that have active event triggers, or had them for events that wait.
    pub(crate) async fn followed(&self, query: &mut impl Query) -> Result<Vec<Followed>> {
        let rows = query.rows(&self.cursors.followed, Vec::new()).await?;
        rows.iter()
            .map(|row| {
                let pos = row.opt_int(3)?;
                let within = row.opt_text(4)?.map(Into::into);
                Ok(Followed {
                    tenant: row.text(0)?.into(),
                    counts_from: (row.count(1)?, row.count(2)?),
                    cursor: pos.map(|pos| Place {
                        pos: u64::try_from(pos).unwrap_or(0),
                        within,
                    }),
                })
            })
            .collect()
    }

    /// What a tenant's events are matched with, in the order of the triggers' ids.
    pub(crate) async fn rules(&self, query: &mut impl Query, tenant: &str) -> Result<Vec<RuleRow>> {
        let rows = query.rows(&self.cursors.rules, vec![tenant.into()]).await?;
        let rules = rows.iter().map(|row| {
            let until = row.opt_int(3)?;
            Ok(RuleRow {
                trigger_id: row.text(0)?.into(),
                config_id: row.text(1)?.into(),
                from_pos: row.count(2)?,
                until_pos: until.map(|until| u64::try_from(until).unwrap_or(0)),
            })
        });
        let mut rules: Vec<RuleRow> = rules.collect::<Result<_>>()?;
        rules.sort_unstable();
        Ok(rules)
    }

    /// Whether all of these still hold as they were read.
    pub(crate) async fn still_hold(
        &self,
        query: &mut impl Query,
        tenant: &str,
        rules: &[&RuleRow],
    ) -> Result<bool> {
        let (spans, triggers): (Vec<&RuleRow>, Vec<&RuleRow>) =
            rules.iter().partition(|rule| rule.until_pos.is_some());
        let ids: Vec<&str> = triggers.iter().map(|rule| &*rule.trigger_id).collect();
        let args = vec![tenant.into(), Arg::json(&ids)?];
        let mut standing = std::collections::HashMap::new();
        for row in query.rows(&self.cursors.standing, args).await? {
            standing.insert(row.text(0)?, (row.text(1)?, row.count(2)?));
        }
        let holds = |rule: &&RuleRow| {
            let found = standing.get(&*rule.trigger_id);
            found
                .is_some_and(|(config, from)| **config == *rule.config_id && *from == rule.from_pos)
        };
        if !triggers.iter().all(holds) {
            return Ok(false);
        }
        if spans.is_empty() {
            return Ok(true);
        }
        let kept = query.rows(&self.cursors.spans, vec![tenant.into()]).await?;
        let kept: std::collections::HashSet<String> =
            kept.iter().map(|row| row.text(0)).collect::<Result<_>>()?;
        Ok(spans.iter().all(|rule| kept.contains(&*rule.config_id)))
    }

    pub(crate) async fn cursor(
        &self,
        query: &mut impl Query,
        tenant: &str,
    ) -> Result<Option<Place>> {
        let row = query.row(&self.cursors.get, vec![tenant.into()]).await?;
        row.map(|row| place(&row)).transpose()
    }

    /// Makes the cursor of a tenant that has none. In a transaction of its own: on MySQL even an
    /// insert that finds the row waits for whoever holds it.
    pub(crate) async fn make_cursor(
        &self,
        tx: &mut Tx,
        tenant: &str,
        pos: u64,
        at: Time,
    ) -> Result<()> {
        let args = vec![tenant.into(), pos.into(), at.into()];
        tx.push(&self.cursors.make, args).await
    }

    /// A tenant's cursor, which nobody else moves before this transaction has ended. None if there
    /// is none, or somebody else has it.
    pub(crate) async fn lock_cursor(&self, tx: &mut Tx, tenant: &str) -> Result<Option<Place>> {
        let row = tx.row(&self.cursors.lock, vec![tenant.into()]).await?;
        row.map(|row| place(&row)).transpose()
    }

    /// Moves a cursor that this transaction has locked.
    pub(crate) async fn set_cursor(
        &self,
        tx: &mut Tx,
        tenant: &str,
        place: &Place,
        at: Time,
    ) -> Result<()> {
        let within = place.within.as_deref();
        let args = vec![place.pos.into(), within.into(), at.into(), tenant.into()];
        tx.push(&self.cursors.set, args).await
    }

    /// Forgets the spans that end at or before a position.
    pub(crate) async fn drop_spans_until(&self, tx: &mut Tx, tenant: &str, pos: u64) -> Result<()> {
        let args = vec![tenant.into(), pos.into()];
        tx.push(&self.cursors.drop_spans_until, args).await
    }

    /// Events up to `until` still count for what a trigger was before an edit.
    pub(crate) async fn keep_span(&self, tx: &mut Tx, old: &TriggerRow, until: u64) -> Result<()> {
        let args = vec![
            (&old.tenant).into(),
            (&old.config_id).into(),
            (&old.id).into(),
            old.from_pos.into(),
            until.into(),
        ];
        tx.push(&self.cursors.keep_span, args).await
    }

    /// Nothing counts any more for what a trigger was.
    pub(crate) async fn drop_spans_of(
        &self,
        tx: &mut Tx,
        tenant: &str,
        trigger_id: &str,
    ) -> Result<()> {
        let args = vec![tenant.into(), trigger_id.into()];
        tx.push(&self.cursors.drop_spans_of, args).await
    }

    /// A log ends before what was matched of it: goes on at `start`, and nothing counts from beyond
    /// the log's end.
    pub(crate) async fn start_again(
        &self,
        tx: &mut Tx,
        tenant: &str,
        start: &Place,
        head: u64,
        at: Time,
    ) -> Result<()> {
        self.set_cursor(tx, tenant, start, at).await?;
        let args = vec![tenant.into(), head.into()];
        tx.push(&self.cursors.drop_spans_beyond, args).await?;
        let args = vec![head.into(), tenant.into()];
        tx.push(&self.cursors.count_from_at_most, args).await
    }
}

fn place(row: &tidewire_db::Row) -> Result<Place> {
    Ok(Place {
        pos: row.count(0)?,
        within: row.opt_text(1)?.map(Into::into),
    })
}
