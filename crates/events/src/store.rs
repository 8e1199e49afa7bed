//! All SQL of the log.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
    sync::Arc,
};

use chrono::NaiveDate;
use tidewire_core::Time;
use tidewire_db::{Arg, Column, Dialect, Error, Query, Result, Row, Sql, Tx};

use crate::{
    Event, Filter,
    number::{Ends, Hashes, Head, KeyHash, Known, KnownKeys, Plan},
    service::Append,
};

pub(crate) struct Store {
    dialect: &'static Dialect,
    heads: Sql,
    streams: Sql,
    known: Sql,
    insert_events: Sql,
    insert_keys: Sql,
    insert_days: Sql,
    head: Sql,
    at: Sql,
    days: Sql,
}

const COLUMNS: &str =
    "id, stream, seq, type, subject, payload, dedupe_key, source, occurred_at, created_at, pos";

impl Store {
    pub(crate) fn new(dialect: &'static Dialect) -> Self {
        let tenants = dialect.json_rows("r", &[Column::Text("tenant")]);
        let tenant = tenants.col("tenant");
        let heads = format!(
            "SELECT {tenant},
                (SELECT max(pos) FROM events e WHERE e.tenant = {tenant}),
                (SELECT created_at FROM events e WHERE e.tenant = {tenant} ORDER BY pos DESC LIMIT 1),
                (SELECT max(day) FROM event_days d WHERE d.tenant = {tenant})
             FROM {}",
            tenants.from
        );
        let pairs = dialect.json_rows("r", &[Column::Text("tenant"), Column::Text("stream")]);
        let streams = format!(
            "SELECT {0}, {1}, (SELECT max(seq) FROM events e WHERE e.tenant = {0} AND e.stream = {1}) FROM {2}",
            pairs.col("tenant"),
            pairs.col("stream"),
            pairs.from
        );
        let keys = dialect.json_rows("r", &[Column::Text("tenant"), Column::Bytes("hash")]);
        let known = format!(
            "SELECT k.tenant, k.hash, k.pos, k.stream, k.seq, k.created_at
             FROM {} JOIN event_keys k ON k.tenant = {} AND k.hash = {}",
            keys.from,
            keys.col("tenant"),
            keys.col("hash")
        );
        let events = dialect.json_rows(
            "r",
            &[
                Column::Text("tenant"),
                Column::Int("pos"),
                Column::Text("id"),
                Column::Text("stream"),
                Column::Int("seq"),
                Column::Text("type"),
                Column::Text("subject"),
                Column::Json("payload"),
                Column::Text("dedupe_key"),
                Column::Text("source"),
                Column::Time("occurred_at"),
                Column::Time("created_at"),
            ],
        );
        let insert_events = format!(
            "INSERT INTO events (tenant, pos, id, stream, seq, type, subject, payload, dedupe_key, source, occurred_at, created_at)
             SELECT {} FROM {}",
            events.columns, events.from
        );
        let keys = dialect.json_rows(
            "r",
            &[
                Column::Text("tenant"),
                Column::Bytes("hash"),
                Column::Int("pos"),
                Column::Text("stream"),
                Column::Int("seq"),
                Column::Time("created_at"),
            ],
        );
        let insert_keys = format!(
            "INSERT INTO event_keys (tenant, hash, pos, stream, seq, created_at) SELECT {} FROM {}",
            keys.columns, keys.from
        );
        let days = dialect.json_rows(
            "r",
            &[
                Column::Text("tenant"),
                Column::Text("day"),
                Column::Int("pos"),
            ],
        );
        let insert_days = format!(
            "INSERT INTO event_days (tenant, day, first_pos) SELECT {} FROM {}",
            days.columns, days.from
        );
        Store {
            dialect,
            heads: dialect.sql(&heads),
            streams: dialect.sql(&streams),
            known: dialect.sql(&known),
            insert_events: dialect.sql(&insert_events),
            insert_keys: dialect.sql(&insert_keys),
            insert_days: dialect.sql(&insert_days),
            head: dialect.sql("SELECT max(pos) FROM events WHERE tenant = ?"),
            at: dialect.sql(&format!(
                "SELECT {COLUMNS} FROM events WHERE tenant = ? AND pos = ?"
            )),
            // The days asked for, the first one behind them, and the end of the log, as one state.
            days: dialect.sql(
                "SELECT day, first_pos FROM event_days WHERE tenant = ? AND day >= ? AND day <= ?
                 UNION ALL SELECT '', min(first_pos) FROM event_days WHERE tenant = ? AND day > ?
                 UNION ALL SELECT '', max(pos) + 1 FROM events WHERE tenant = ?",
            ),
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
            let asked: Vec<[&str; 1]> = tenants.iter().map(|tenant| [&***tenant]).collect();
            for row in tx.rows(&self.heads, vec![Arg::json(&asked)?]).await? {
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
        tx: &mut Tx,
        ops: &'a [Append],
        hashes: &Hashes,
    ) -> Result<KnownKeys<'a>> {
        let mut tenants: HashSet<&'a str> = HashSet::new();
        let mut asked = Vec::new();
        for (op, hashes) in ops.iter().zip(hashes) {
            for hash in hashes.iter().flatten() {
                tenants.insert(&op.tenant);
                asked.push((&*op.tenant, hex(hash)));
            }
        }
        let mut known = KnownKeys::new();
        if asked.is_empty() {
            return Ok(known);
        }
        for row in tx.rows(&self.known, vec![Arg::json(&asked)?]).await? {
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
        let rows: Vec<_> = plan
            .events
            .iter()
            .map(|row| {
                let event = row.event;
                (
                    row.tenant,
                    row.pos,
                    &row.id,
                    &event.stream,
                    row.seq,
                    &event.kind,
                    &event.subject,
                    event.payload.get(),
                    &event.dedupe_key,
                    &event.source,
                    time(event.occurred_at.unwrap_or(row.created_at)),
                    time(row.created_at),
                )
            })
            .collect();
        tx.push(&self.insert_events, vec![Arg::json(&rows)?])
            .await?;
        let keys: Vec<_> = plan
            .events
            .iter()
            .filter_map(|row| {
                let hash = hex(&row.hash?);
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

    /// The last position of a tenant's log; 0 if it is empty.
    pub(crate) async fn head(&self, query: &mut impl Query, tenant: &str) -> Result<u64> {
        match query.row(&self.head, vec![tenant.into()]).await? {
            Some(row) => count(&row, 0),
            None => Ok(0),
        }
    }

    pub(crate) async fn at(
        &self,
        query: &mut impl Query,
        tenant: &str,
        pos: u64,
    ) -> Result<Option<Event>> {
        let row = query.row(&self.at, vec![tenant.into(), pos.into()]).await?;
        row.map(|row| event(&row)).transpose()
    }

    /// Events before `before`, newest first.
    pub(crate) async fn newest(
        &self,
        query: &mut impl Query,
        tenant: &str,
        filter: &Filter,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Event>> {
        let mut text = format!("SELECT {COLUMNS} FROM events WHERE tenant = ?");
        let mut args: Vec<Arg> = vec![tenant.into()];
        narrow(&mut text, &mut args, filter);
        if let Some(before) = before {
            text.push_str(" AND pos < ?");
            args.push(before.into());
        }
        // Time never goes back along the log, so the days' first positions bound the scan.
        if let Some(from) = filter.from {
            text.push_str(" AND created_at >= ? AND pos >= coalesce((SELECT max(first_pos) FROM event_days WHERE tenant = ? AND day <= ?), 0)");
            args.extend([from.into(), tenant.into(), from.day().to_string().into()]);
        }
        if let Some(to) = filter.to {
            text.push_str(" AND created_at <= ? AND pos < coalesce((SELECT min(first_pos) FROM event_days WHERE tenant = ? AND day > ?), 9223372036854775807)");
            args.extend([to.into(), tenant.into(), to.day().to_string().into()]);
        }
        let _ = write!(text, " ORDER BY pos DESC LIMIT {limit}");
        let rows = query.rows(&self.dialect.sql(&text), args).await?;
        rows.iter().map(event).collect()
    }

    /// Events after `after` up to and including `until`, in the order of the log.
    pub(crate) async fn following(
        &self,
        query: &mut impl Query,
        tenant: &str,
        filter: &Filter,
        (after, until): (u64, u64),
        limit: u32,
    ) -> Result<Vec<Event>> {
        let mut text =
            format!("SELECT {COLUMNS} FROM events WHERE tenant = ? AND pos > ? AND pos <= ?");
        let mut args: Vec<Arg> = vec![tenant.into(), after.into(), until.into()];
        narrow(&mut text, &mut args, filter);
        let _ = write!(text, " ORDER BY pos LIMIT {limit}");
        let rows = query.rows(&self.dialect.sql(&text), args).await?;
        rows.iter().map(event).collect()
    }

    /// How many events were stored on each day that has any.
    pub(crate) async fn received_by_day(
        &self,
        query: &mut impl Query,
        tenant: &str,
        from: NaiveDate,
        to: NaiveDate,
    ) -> Result<Vec<(NaiveDate, u64)>> {
        let (from, to) = (from.to_string(), to.to_string());
        let args = vec![
            tenant.into(),
            from.into(),
            (&to).into(),
            tenant.into(),
            to.into(),
            tenant.into(),
        ];
        let mut days = Vec::new();
        let mut end = u64::MAX;
        for row in query.rows(&self.days, args).await? {
            let Some(first) = row.opt_int(1)? else {
                continue;
            };
            let first = u64::try_from(first).unwrap_or(0);
            match row.text(0)?.as_str() {
                "" => end = end.min(first),
                day => days.push((parse_day(day)?, first)),
            }
        }
        days.sort_unstable();
        let ends: Vec<_> = days
            .iter()
            .skip(1)
            .map(|(_, first)| *first)
            .chain([end])
            .collect();
        Ok(days
            .into_iter()
            .zip(ends)
            .map(|((day, first), end)| (day, end.saturating_sub(first)))
            .collect())
    }
}

fn narrow(text: &mut String, args: &mut Vec<Arg>, filter: &Filter) {
    for (column, wanted) in [
        ("type", &filter.kind),
        ("stream", &filter.stream),
        ("subject", &filter.subject),
        ("source", &filter.source),
    ] {
        if let Some(wanted) = wanted {
            let _ = write!(text, " AND {column} = ?");
            args.push(wanted.into());
        }
    }
}

fn event(row: &Row) -> Result<Event> {
    Ok(Event {
        id: row.text(0)?,
        stream: row.text(1)?,
        seq: row.count(2)?,
        kind: row.text(3)?,
        subject: row.opt_text(4)?,
        payload: row.json(5)?,
        dedupe_key: row.opt_text(6)?,
        source: row.opt_text(7)?,
        occurred_at: row.time(8)?,
        created_at: row.time(9)?,
        pos: row.count(10)?,
    })
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

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| {
            [
                DIGITS[usize::from(byte >> 4)] as char,
                DIGITS[usize::from(byte & 15)] as char,
            ]
        })
        .collect()
}
