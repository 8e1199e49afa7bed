//! Executions as they are read: pages of them, one, their attempts, and counts.
//!
//! A page is walked along an index in the order of ids, newest first: the primary key, or the index
//! by trigger where one is asked for. Without other filters its count is a count of index entries;
//! with them it looks at every execution of the tenant, or of the trigger.

use std::collections::HashMap;

use tidewire_core::{Time, ids};
use tidewire_db::{Arg, Dialect, Query, Result, Row, Sql};

use super::{
    Store,
    ahead::{hidden, recent},
    named, small,
};
use crate::{
    model::{ExecutionAttempt, ExecutionStatus, Page, RetentionStatus, Source, TriggerType},
    summary::{ExecutionCounts, TriggerSummary},
};

pub(super) struct Statements {
    active: Table,
    archived: Table,
    attempts: Sql,
    beginnings: Sql,
    summary: Sql,
    names: Sql,
}

/// The same statements over one of the two tables.
struct Table {
    one: Sql,
    all: Listed,
    of_trigger: Listed,
}

struct Listed {
    page: Sql,
    count: Sql,
    count_filtered: Sql,
}

const EXECUTION: &str = "e.id, e.trigger_id, e.trigger_type, e.source, e.execution_status,
    e.is_test_run, e.job_id, e.fired_at, e.error_message";

/// Characters of each answer's body that a list shows; there may be hundreds of 16 KiB.
const BEGINNING: u32 = 1_000;

/// Clocks of several processes may differ by so much, and ids are made by them.
const DOUBT: std::time::Duration = std::time::Duration::from_mins(1);

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let executions = dialect
            .json_ids("r", "execution_id")
            .arg(2)
            .with(&[("tenant", 1)]);
        let attempts = |body: &str| {
            dialect.sql(&format!(
                "SELECT a.execution_id, a.attempt, a.started_at, a.duration_ms, a.response_status, {body}, a.error
                 FROM {} {} WHERE a.tenant = {} AND a.execution_id = {}",
                executions.from,
                dialect.then("execution_attempts a"),
                executions.col("tenant"),
                executions.col("execution_id")
            ))
        };
        let triggers = dialect.json_ids("r", "id").arg(2).with(&[("tenant", 1)]);
        let names = format!(
            "SELECT t.id, t.name FROM {} {} WHERE t.tenant = {} AND t.id = {}",
            triggers.from,
            dialect.then("triggers t"),
            triggers.col("tenant"),
            triggers.col("id")
        );
        Statements {
            active: Table::new(dialect, "executions"),
            archived: Table::new(dialect, "executions_archive"),
            attempts: attempts("a.response_body"),
            beginnings: attempts(&format!("substr(a.response_body, 1, {BEGINNING})")),
            summary: summary(dialect),
            names: dialect.sql(&names),
        }
    }
}

#[cfg(test)]
impl Statements {
    /// All but the summary, which may sort its groups.
    pub(super) fn for_plans(&self) -> Vec<(&'static str, &Sql)> {
        let mut all = vec![
            ("attempts", &self.attempts),
            ("beginnings", &self.beginnings),
            ("summary", &self.summary),
            ("names", &self.names),
        ];
        for table in [&self.active, &self.archived] {
            all.push(("one", &table.one));
            for listed in [&table.all, &table.of_trigger] {
                all.push(("page", &listed.page));
                all.push(("count_filtered", &listed.count_filtered));
            }
        }
        all.extend(self.counts());
        all
    }

    pub(super) fn counts(&self) -> Vec<(&'static str, &Sql)> {
        [&self.active, &self.archived]
            .iter()
            .flat_map(|table| [&table.all, &table.of_trigger])
            .map(|listed| ("count", &listed.count))
            .collect()
    }
}

impl Table {
    fn new(dialect: &Dialect, table: &str) -> Self {
        let by_id = format!("{table} e");
        let by_trigger = dialect.by_index(&by_id, &format!("{table}_by_trigger"));
        let seen = format!("NOT {}", hidden("e", "?1"));
        // `n` is the number of the first argument behind those of `of`.
        let list = |from: &str, of: &str, n: usize| {
            let filter = filter(n);
            let (limit, offset) = (n + 3, n + 4);
            Listed {
                page: dialect.sql(&format!(
                    "SELECT {EXECUTION} FROM {from} WHERE {of} AND {seen} {filter}
                     ORDER BY e.id DESC LIMIT ?{limit} OFFSET ?{offset}"
                )),
                // The index has narrower entries than the table, so all are counted there, and taken off
                // are those of the last seconds that are hidden.
                count: dialect.sql(&format!(
                    "SELECT (SELECT count(*) FROM {by_trigger} WHERE {of})
                     - (SELECT count(*) FROM {from} WHERE {of} AND e.id > ?{n} AND {})",
                    hidden("e", "?1")
                )),
                count_filtered: dialect.sql(&format!(
                    "SELECT count(*) FROM {from} WHERE {of} AND {seen} {filter}"
                )),
            }
        };
        Table {
            one: dialect.sql(&format!(
                "SELECT {EXECUTION} FROM {by_id} WHERE e.tenant = ?2 AND e.id = ?3 AND {seen}"
            )),
            all: list(&by_id, "e.tenant = ?2", 3),
            of_trigger: list(&by_trigger, "e.tenant = ?2 AND e.trigger_id = ?3", 4),
        }
    }
}

fn filter(n: usize) -> String {
    format!(
        "AND e.execution_status = coalesce(?{n}, e.execution_status)
         AND e.source = coalesce(?{}, e.source) AND e.is_test_run = coalesce(?{}, e.is_test_run)",
        n + 1,
        n + 2
    )
}

/// Both tables in one statement, and so at one moment: an execution that is moved meanwhile is
/// counted once.
fn summary(dialect: &Dialect) -> Sql {
    let columns = "trigger_id, execution_status, is_test_run";
    let of = |table: &str| {
        format!("SELECT {columns} FROM {table} WHERE tenant = ?1 AND id >= ?2 AND fired_at >= ?3")
    };
    let seen = format!("AND NOT {}", hidden("executions", "?4"));
    let stand = |status: ExecutionStatus| {
        dialect.sum(&format!(
            "CASE WHEN of_both.execution_status = '{status}' THEN 1 ELSE 0 END"
        ))
    };
    dialect.sql(&format!(
        "SELECT of_both.trigger_id, {}, {}, {}, {} FROM ({} {seen} UNION ALL {}) of_both GROUP BY of_both.trigger_id",
        stand(ExecutionStatus::Pending),
        stand(ExecutionStatus::Success),
        stand(ExecutionStatus::Failure),
        dialect.sum("of_both.is_test_run"),
        of("executions"),
        of("executions_archive")
    ))
}

/// Which executions a list shows, as they are `now`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExecutionFilter<'f> {
    pub trigger_id: Option<&'f str>,
    pub status: Option<ExecutionStatus>,
    pub source: Option<Source>,
    pub is_test_run: Option<bool>,
    pub retention: RetentionStatus,
    pub now: Time,
}

impl ExecutionFilter<'_> {
    fn of(&self, tenant: &str) -> Vec<Arg> {
        let mut args = vec![self.now.into(), tenant.into()];
        args.extend(self.trigger_id.map(Arg::from));
        args
    }

    fn is_narrowed(&self) -> bool {
        self.status.is_some() || self.source.is_some() || self.is_test_run.is_some()
    }

    fn filtered(&self, tenant: &str) -> Vec<Arg> {
        let mut args = self.of(tenant);
        args.extend([
            self.status.map(ExecutionStatus::as_str).into(),
            self.source.map(Source::as_str).into(),
            self.is_test_run.map(u32::from).into(),
        ]);
        args
    }
}

/// An execution as its own row has it: without its payload, which is the job's, and its attempts.
#[derive(Clone, Debug)]
pub(crate) struct ExecutionEntry {
    pub id: String,
    pub trigger_id: Option<String>,
    pub kind: TriggerType,
    pub source: Source,
    pub status: ExecutionStatus,
    pub is_test_run: bool,
    pub job_id: String,
    pub fired_at: Time,
    pub error: Option<String>,
    pub retention: RetentionStatus,
}

impl Store {
    fn table(&self, retention: RetentionStatus) -> &Table {
        match retention {
            RetentionStatus::Active => &self.listing.active,
            RetentionStatus::Archived => &self.listing.archived,
        }
    }

    /// A page of executions, newest first, and how many there are in all.
    pub(crate) async fn list_executions(
        &self,
        query: &mut impl Query,
        tenant: &str,
        filter: &ExecutionFilter<'_>,
        page: Page,
    ) -> Result<(Vec<ExecutionEntry>, u64)> {
        let table = self.table(filter.retention);
        let listed = match filter.trigger_id {
            Some(_) => &table.of_trigger,
            None => &table.all,
        };
        let count = if filter.is_narrowed() {
            query.row(&listed.count_filtered, filter.filtered(tenant))
        } else {
            let mut args = filter.of(tenant);
            args.push(recent(filter.now).into());
            query.row(&listed.count, args)
        };
        let count = count
            .await?
            .map(|row| row.count(0))
            .transpose()?
            .unwrap_or(0);
        if count <= page.offset() {
            return Ok((Vec::new(), count));
        }
        let mut args = filter.filtered(tenant);
        args.extend([page.size.into(), page.offset().into()]);
        let rows = query.rows(&listed.page, args).await?;
        let entries = rows.iter().map(|row| entry(row, filter.retention));
        Ok((entries.collect::<Result<_>>()?, count))
    }

    /// An execution, wherever it is kept.
    pub(crate) async fn execution(
        &self,
        query: &mut impl Query,
        (tenant, id): (&str, &str),
        now: Time,
    ) -> Result<Option<ExecutionEntry>> {
        use RetentionStatus::{Active, Archived};
        // It may be moved between two looks, and back.
        for retention in [Active, Archived, Active] {
            let args = vec![now.into(), tenant.into(), id.into()];
            if let Some(row) = query.row(&self.table(retention).one, args).await? {
                return Ok(Some(entry(&row, retention)?));
            }
        }
        Ok(None)
    }

    /// The attempts at executions, oldest first. `whole` says whether answers are wanted with all of
    /// their body that is kept.
    pub(crate) async fn attempts(
        &self,
        query: &mut impl Query,
        tenant: &str,
        executions: &[&str],
        whole: bool,
    ) -> Result<HashMap<String, Vec<ExecutionAttempt>>> {
        let mut found: HashMap<String, Vec<ExecutionAttempt>> = HashMap::new();
        if executions.is_empty() {
            return Ok(found);
        }
        let sql = if whole {
            &self.listing.attempts
        } else {
            &self.listing.beginnings
        };
        let args = vec![tenant.into(), Arg::json(executions)?];
        for row in query.rows(sql, args).await? {
            found.entry(row.text(0)?).or_default().push(attempt(&row)?);
        }
        for attempts in found.values_mut() {
            attempts.sort_unstable_by_key(|attempt| attempt.attempt);
        }
        Ok(found)
    }

    /// How the executions stand that were fired from a time on until `now`, by trigger, in no order.
    pub(crate) async fn summarise(
        &self,
        query: &mut impl Query,
        tenant: &str,
        (from, now): (Time, Time),
    ) -> Result<Vec<TriggerSummary>> {
        let args = vec![
            tenant.into(),
            ids::first_of(from.minus(DOUBT)).into(),
            from.into(),
            now.into(),
        ];
        let rows = query.rows(&self.listing.summary, args).await?;
        rows.iter()
            .map(|row| {
                let by_status = ExecutionCounts {
                    pending: row.count(1)?,
                    success: row.count(2)?,
                    failure: row.count(3)?,
                };
                Ok(TriggerSummary {
                    trigger_id: row.opt_text(0)?,
                    name: None,
                    by_status,
                    total: by_status.total(),
                    test_runs: row.count(4)?,
                })
            })
            .collect()
    }

    /// The names of triggers that are there.
    pub(crate) async fn names(
        &self,
        query: &mut impl Query,
        tenant: &str,
        triggers: &[&str],
    ) -> Result<HashMap<String, String>> {
        if triggers.is_empty() {
            return Ok(HashMap::new());
        }
        let args = vec![tenant.into(), Arg::json(triggers)?];
        let rows = query.rows(&self.listing.names, args).await?;
        rows.iter()
            .map(|row| Ok((row.text(0)?, row.text(1)?)))
            .collect()
    }
}

fn entry(row: &Row, retention: RetentionStatus) -> Result<ExecutionEntry> {
    Ok(ExecutionEntry {
        id: row.text(0)?,
        trigger_id: row.opt_text(1)?,
        kind: named(row, 2)?,
        source: named(row, 3)?,
        status: named(row, 4)?,
        is_test_run: row.int(5)? != 0,
        job_id: row.text(6)?,
        fired_at: row.time(7)?,
        error: row.opt_text(8)?,
        retention,
    })
}

fn attempt(row: &Row) -> Result<ExecutionAttempt> {
    let status = row.opt_int(4)?.map(u16::try_from).transpose();
    Ok(ExecutionAttempt {
        attempt: small(row, 1)?,
        started_at: row.time(2)?,
        duration_ms: row.opt_int(3)?.map(|ms| u64::try_from(ms).unwrap_or(0)),
        response_status: status.map_err(|_| {
            tidewire_db::Error::Broken("an attempt's status is no status of HTTP".to_owned())
        })?,
        response_body: row.opt_text(5)?,
        error: row.opt_text(6)?,
    })
}
