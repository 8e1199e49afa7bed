//! All SQL of the log.

mod reads;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use chrono::NaiveDate;
use serde::{Serialize, Serializer, ser::SerializeSeq as _};
use tidewire_core::Time;
use tidewire_db::{Arg, Column, Dialect, Error, Query, Result, Row, Sql, Tx};

use crate::{
    Event,
    number::{Ends, Hashes, Head, KeyHash, Known, KnownKeys, Numbered, Plan},
    service::Append,
};

const EVENT: [Column; 13] = [
    Column::Id("tenant"),
    Column::Int("pos"),
    Column::Id("id"),
    Column::Id("stream"),
    Column::Int("seq"),
    Column::Id("type"),
    Column::Text("subject"),
    Column::Json("payload"),
    Column::Text("dedupe_key"),
    Column::Text("source"),
    Column::Time("occurred_at"),
    Column::Time("created_at"),
    Column::Int("depth"),
];
const EVENT_NAMES: &str = "tenant, pos, id, stream, seq, type, subject, payload, dedupe_key, source, occurred_at, created_at";

pub(crate) struct Store {
    dialect: &'static Dialect,
    ends: Sql,
    streams: Sql,
    known: Sql,
    insert_events: Sql,
    /// The same with their depths: nearly no batch has any, and a column costs.
    insert_deep_events: Sql,
    insert_keys: Sql,
    insert_days: Sql,
    /// As rows were, but for those that are there.
    put_back: Sql,
    bounds: Sql,
    trim: Sql,
    head: Sql,
    heads: Sql,
    reads: reads::Statements,
}

impl Store {
    // The last of something is asked for by order and limit: inside a statement over several
    // tenants MariaDB answers `max` by walking all of a tenant's index.
    pub(crate) fn new(dialect: &'static Dialect) -> Self {
        let tenants = dialect.json_ids("r", "tenant");
        let (from, tenant) = (&tenants.from, tenants.col("tenant"));
        let head = format!(
            "(SELECT pos FROM events e WHERE e.tenant = {tenant} ORDER BY pos DESC LIMIT 1)"
        );
        let ends = format!(
            "SELECT {tenant}, {head},
                (SELECT created_at FROM events e WHERE e.tenant = {tenant} ORDER BY pos DESC LIMIT 1),
                (SELECT day FROM event_days d WHERE d.tenant = {tenant} ORDER BY day DESC LIMIT 1)
             FROM {from}"
        );
        let heads = format!("SELECT {tenant}, {head} FROM {from}");
        let pairs = dialect.json_rows("r", &[Column::Id("tenant"), Column::Id("stream")]);
        let (tenant, stream) = (pairs.col("tenant"), pairs.col("stream"));
        let streams = format!(
            "SELECT {tenant}, {stream},
                (SELECT seq FROM events e WHERE e.tenant = {tenant} AND e.stream = {stream} ORDER BY seq DESC LIMIT 1)
             FROM {}",
            pairs.from
        );
        let keys = dialect.json_rows("r", &[Column::Id("tenant"), Column::Bytes("hash")]);
        let known = format!(
            "SELECT k.tenant, k.hash, k.pos, k.stream, k.seq, k.created_at
             FROM {} JOIN event_keys k ON k.tenant = {} AND k.hash = {}",
            keys.from,
            keys.col("tenant"),
            keys.col("hash")
        );
        let insert = |table: &str, columns: &[Column], names: &str| {
            let rows = dialect.json_rows("r", columns);
            dialect.sql(&format!(
                "INSERT INTO {table} ({names}) SELECT {} FROM {}",
                rows.columns, rows.from
            ))
        };
        Store {
            dialect,
            ends: dialect.sql(&ends),
            streams: dialect.sql(&streams),
            known: dialect.sql(&known),
            insert_events: insert("events", &EVENT[..12], EVENT_NAMES),
            insert_deep_events: insert("events", &EVENT, &format!("{EVENT_NAMES}, depth")),
            insert_keys: insert(
                "event_keys",
                &[
                    Column::Id("tenant"),
                    Column::Bytes("hash"),
                    Column::Int("pos"),
                    Column::Id("stream"),
                    Column::Int("seq"),
                    Column::Time("created_at"),
                ],
                "tenant, hash, pos, stream, seq, created_at",
            ),
            insert_days: insert(
                "event_days",
                &[
                    Column::Id("tenant"),
                    Column::Id("day"),
                    Column::Int("first_pos"),
                ],
                "tenant, day, first_pos",
            ),
            put_back: {
                let rows = dialect.json_rows("r", &EVENT);
                let (insert, unless) = dialect.insert_new();
                dialect.sql(&format!(
                    "{insert} events ({EVENT_NAMES}, depth) SELECT {} FROM {} WHERE {} > 0{unless}",
                    rows.columns,
                    rows.from,
                    rows.col("pos")
                ))
            },
            bounds: dialect.sql(
                "SELECT (SELECT seq FROM events WHERE tenant = ?1 AND stream = ?2 ORDER BY seq LIMIT 1),
                        (SELECT seq FROM events WHERE tenant = ?1 AND stream = ?2 ORDER BY seq DESC LIMIT 1)",
            ),
            trim: dialect
                .sql("DELETE FROM events WHERE tenant = ? AND stream = ? AND seq >= ? AND seq <= ?"),
            head: dialect.sql("SELECT pos FROM events WHERE tenant = ? ORDER BY pos DESC LIMIT 1"),
            heads: dialect.sql(&heads),
            reads: reads::Statements::new(dialect),
        }
    }

    /// Step (b) of an append, first half: where the logs and streams end, as far as `ends` does not
    /// know it already.
    pub(crate) async fn find_ends(
        &self,
        tx: &mut Tx,
        ops: &[Append],
        ends: &mut Ends,
    ) -> Result<()> {
        let mut tenants: HashSet<&Arc<str>> = HashSet::new();
        let mut streams: HashMap<(&Arc<str>, &str), u64> = HashMap::new();
        for op in ops {
            if !ends.heads.contains_key(&op.tenant) {
                tenants.insert(&op.tenant);
            }
            for event in &op.events {
                if ends.seq(&op.tenant, &event.stream).is_none() {
                    streams.insert((&op.tenant, &event.stream), 0);
                }
            }
        }
        if !tenants.is_empty() {
            let asked: Vec<&str> = tenants.iter().map(|tenant| &***tenant).collect();
            for row in tx.rows(&self.ends, vec![Arg::json(&asked)?]).await? {
                let head = Head {
                    pos: count(&row, 1)?,
                    created_at: row.opt_time(2)?,
                    day: row.opt_text(3)?.map(|day| parse_day(&day)).transpose()?,
                };
                ends.heads.insert(row.text(0)?.into(), head);
            }
        }
        if !streams.is_empty() {
            let asked: Vec<(&str, &str)> = streams
                .keys()
                .map(|(tenant, stream)| (&***tenant, *stream))
                .collect();
            for row in tx.rows(&self.streams, vec![Arg::json(&asked)?]).await? {
                ends.set_seq(&row.text(0)?.into(), &row.text(1)?, count(&row, 2)?);
            }
        }
        Ok(())
    }

    /// Step (b), second half: which of the batch's keys are known.
    pub(crate) async fn find_keys<'a>(
        &self,
        query: &mut impl Query,
        ops: &'a [Append],
        hashes: &Hashes,
    ) -> Result<KnownKeys<'a>> {
        let mut tenants: HashSet<&'a str> = HashSet::new();
        let mut asked = Vec::new();
        for (op, hashes) in ops.iter().zip(hashes) {
            for hash in hashes.iter().flatten() {
                tenants.insert(&op.tenant);
                asked.push((&*op.tenant, hex::encode(hash)));
            }
        }
        let mut known = KnownKeys::new();
        if asked.is_empty() {
            return Ok(known);
        }
        for row in query.rows(&self.known, vec![Arg::json(&asked)?]).await? {
            let (tenant, bytes) = (row.text(0)?, row.bytes(1)?);
            let hash = KeyHash::try_from(bytes.as_slice())
                .map_err(|_| Error::Broken(format!("event_keys.hash has {} bytes", bytes.len())))?;
            let Some(tenant) = tenants.get(tenant.as_str()) else {
                continue;
            };
            let first = Known {
                pos: row.count(2)?,
                stream: row.text(3)?,
                seq: row.count(4)?,
                created_at: row.time(5)?,
            };
            known.insert((*tenant, hash), first);
        }
        Ok(known)
    }

    /// Step (d): plain inserts. Every number is new, so a conflict here is a defect.
    pub(crate) async fn insert(&self, tx: &mut Tx, plan: &Plan<'_>) -> Result<()> {
        if plan.events.is_empty() {
            return Ok(());
        }
        let time = |time: Time| self.dialect.json_time(time);
        let is_deep = plan.events.iter().any(|row| row.event.depth > 0);
        let rows: Vec<_> = plan
            .events
            .iter()
            .map(|row| EventRow {
                row,
                dialect: self.dialect,
                is_deep,
            })
            .collect();
        let sql = if is_deep {
            &self.insert_deep_events
        } else {
            &self.insert_events
        };
        tx.push(sql, vec![Arg::json(&rows)?]).await?;
        let keys: Vec<_> = plan
            .events
            .iter()
            .filter_map(|row| {
                let hash = hex::encode(row.hash?);
                Some((
                    row.tenant,
                    hash,
                    row.pos,
                    &row.event.stream,
                    row.seq,
                    time(row.created_at),
                ))
            })
            .collect();
        if !keys.is_empty() {
            tx.push(&self.insert_keys, vec![Arg::json(&keys)?]).await?;
        }
        if !plan.days.is_empty() {
            let days: Vec<_> = plan
                .days
                .iter()
                .map(|(tenant, day, pos)| (*tenant, day.to_string(), *pos))
                .collect();
            tx.push(&self.insert_days, vec![Arg::json(&days)?]).await?;
        }
        Ok(())
    }

    /// Deletes a stream's oldest events up to a `seq`, but never its last; how many.
    pub(crate) async fn trim(
        &self,
        tx: &mut Tx,
        (tenant, stream): (&str, &str),
        until: u64,
        limit: u32,
    ) -> Result<u64> {
        let args = vec![tenant.into(), stream.into()];
        let Some(row) = tx.row(&self.bounds, args).await? else {
            return Ok(0);
        };
        let (first, last) = (count(&row, 0)?, count(&row, 1)?);
        let most = first.saturating_add(u64::from(limit)).saturating_sub(1);
        let until = until.min(last.saturating_sub(1)).min(most);
        if first == 0 || first > until {
            return Ok(0);
        }
        let args = vec![tenant.into(), stream.into(), first.into(), until.into()];
        tx.execute(&self.trim, args).await
    }

    /// Inserts events as they were; how many were not there.
    pub(crate) async fn put_back(
        &self,
        tx: &mut Tx,
        tenant: &str,
        events: &[Event],
    ) -> Result<u64> {
        if events.is_empty() {
            return Ok(0);
        }
        let time = |time: Time| self.dialect.json_time(time);
        let row = |event: &Event| {
            (
                tenant.to_owned(),
                event.pos,
                event.id.clone(),
                event.stream.clone(),
                event.seq,
                event.kind.clone(),
                event.subject.clone(),
                event.payload.get().to_owned(),
                event.dedupe_key.clone(),
                event.source.clone(),
                time(event.occurred_at),
                time(event.created_at),
                Some(event.depth).filter(|depth| *depth > 0),
            )
        };
        let rows: Vec<_> = events.iter().map(row).collect();
        tx.execute(&self.put_back, vec![Arg::json(&rows)?]).await
    }

    /// The last position of a tenant's log; 0 if it is empty.
    pub(crate) async fn head(&self, query: &mut impl Query, tenant: &str) -> Result<u64> {
        match query.row(&self.head, vec![tenant.into()]).await? {
            Some(row) => row.count(0),
            None => Ok(0),
        }
    }

    /// The last position of each of these tenants' logs; 0 where it is empty.
    pub(crate) async fn heads(
        &self,
        query: &mut impl Query,
        tenants: &[Arc<str>],
    ) -> Result<Vec<(String, u64)>> {
        let rows = query.rows(&self.heads, vec![Arg::json(tenants)?]).await?;
        rows.iter()
            .map(|row| Ok((row.text(0)?, count(row, 1)?)))
            .collect()
    }
}

/// One event in the row set of an insert.
struct EventRow<'r> {
    row: &'r Numbered<'r>,
    dialect: &'static Dialect,
    is_deep: bool,
}

impl Serialize for EventRow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let (row, event) = (self.row, self.row.event);
        let time = |time: Time| self.dialect.json_time(time);
        let mut columns = serializer.serialize_seq(None)?;
        columns.serialize_element(row.tenant)?;
        columns.serialize_element(&row.pos)?;
        columns.serialize_element(&row.id)?;
        columns.serialize_element(&event.stream)?;
        columns.serialize_element(&row.seq)?;
        columns.serialize_element(&event.kind)?;
        columns.serialize_element(&event.subject)?;
        columns.serialize_element(event.payload.get())?;
        columns.serialize_element(&event.dedupe_key)?;
        columns.serialize_element(&event.source)?;
        columns.serialize_element(&time(event.occurred_at.unwrap_or(row.created_at)))?;
        columns.serialize_element(&time(row.created_at))?;
        if self.is_deep {
            columns.serialize_element(&Some(event.depth).filter(|depth| *depth > 0))?;
        }
        columns.end()
    }
}

/// A count that is NULL where nothing was counted.
fn count(row: &Row, column: usize) -> Result<u64> {
    Ok(row
        .opt_int(column)?
        .and_then(|n| u64::try_from(n).ok())
        .unwrap_or(0))
}

fn parse_day(text: &str) -> Result<NaiveDate> {
    text.parse()
        .map_err(|_| Error::Broken(format!("event_days.day holds `{text}`")))
}
