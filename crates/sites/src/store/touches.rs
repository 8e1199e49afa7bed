//! When subjects came from where.

use std::collections::HashMap;

use tidewire_core::Time;
use tidewire_db::{Arg, Column, Dialect, Query, Result, Row, Sql, Tx};

use super::Store;
use crate::model::Touch;

pub(super) struct Statements {
    insert: Sql,
    latest: Sql,
    first: Sql,
    last: Sql,
    last_non_direct: Sql,
}

const TOUCH: &str = "utm_source, occurred_at, event_id, pos";

impl Statements {
    pub fn new(dialect: &Dialect) -> Self {
        let columns = [
            Column::Id("tenant"),
            Column::Text("subject"),
            Column::Time("occurred_at"),
            Column::Int("pos"),
            Column::Id("event_id"),
            Column::Text("utm_source"),
        ];
        let rows = dialect.json_rows("r", &columns);
        let insert = format!(
            "INSERT INTO touches (tenant, subject, occurred_at, pos, event_id, utm_source)
             SELECT {} FROM {}",
            rows.columns, rows.from
        );
        let asked = dialect.json_rows("r", &[Column::Id("tenant"), Column::Text("subject")]);
        let newest = |column: &str| {
            format!(
                "(SELECT t.{column} FROM touches t WHERE t.tenant = {} AND t.subject = {}
                  ORDER BY t.occurred_at DESC, t.pos DESC LIMIT 1)",
                asked.col("tenant"),
                asked.col("subject")
            )
        };
        let latest = format!(
            "SELECT {}, {}, {} FROM {}",
            asked.col("subject"),
            newest("utm_source"),
            newest("occurred_at"),
            asked.from
        );
        let one = |also: &str, order: &str| {
            dialect.sql(&format!(
                "SELECT {TOUCH} FROM touches WHERE tenant = ? AND subject = ?{also}
                 ORDER BY occurred_at{order}, pos{order} LIMIT 1"
            ))
        };
        Statements {
            insert: dialect.sql(&insert),
            latest: dialect.sql(&latest),
            first: one("", ""),
            last: one("", " DESC"),
            last_non_direct: one(" AND utm_source <> 'direct'", " DESC"),
        }
    }
}

/// Where a subject came from last, by the time of the event that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Latest {
    pub utm_source: String,
    pub occurred_at: Time,
}

impl Store {
    pub(crate) async fn insert_touches(
        &self,
        tx: &mut Tx,
        tenant: &str,
        touches: &[(&str, Touch)],
    ) -> Result<()> {
        if touches.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = touches
            .iter()
            .map(|(subject, touch)| {
                let at = self.dialect.json_time(touch.occurred_at);
                (
                    tenant,
                    subject,
                    at,
                    touch.pos,
                    &touch.event_id,
                    &touch.utm_source,
                )
            })
            .collect();
        tx.push(&self.touches.insert, vec![Arg::json(&rows)?]).await
    }

    /// Where these subjects came from last; those that came from nowhere are left out.
    pub(crate) async fn latest(
        &self,
        query: &mut impl Query,
        tenant: &str,
        subjects: &[&str],
    ) -> Result<HashMap<String, Latest>> {
        if subjects.is_empty() {
            return Ok(HashMap::new());
        }
        let asked: Vec<_> = subjects.iter().map(|subject| (tenant, subject)).collect();
        let rows = query
            .rows(&self.touches.latest, vec![Arg::json(&asked)?])
            .await?;
        let mut latest = HashMap::new();
        for row in rows {
            if let (Some(utm_source), Some(occurred_at)) = (row.opt_text(1)?, row.opt_time(2)?) {
                let found = Latest {
                    utm_source,
                    occurred_at,
                };
                latest.insert(row.text(0)?, found);
            }
        }
        Ok(latest)
    }

    /// A subject's first and last touch, and the last one that is not `direct`.
    pub(crate) async fn touches(
        &self,
        query: &mut impl Query,
        tenant: &str,
        subject: &str,
    ) -> Result<[Option<Touch>; 3]> {
        let asked = [
            &self.touches.first,
            &self.touches.last,
            &self.touches.last_non_direct,
        ];
        let mut found = [None, None, None];
        for (place, sql) in found.iter_mut().zip(asked) {
            let row = query.row(sql, vec![tenant.into(), subject.into()]).await?;
            *place = row.map(|row| touch(&row)).transpose()?;
        }
        Ok(found)
    }
}

fn touch(row: &Row) -> Result<Touch> {
    Ok(Touch {
        utm_source: row.text(0)?,
        occurred_at: row.time(1)?,
        event_id: row.text(2)?,
        pos: row.count(3)?,
    })
}
