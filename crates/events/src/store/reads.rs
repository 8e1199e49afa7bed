//! Reading the log.
//!
//! Each filter has an index along which a read goes in the log's order, so that it ends after a
//! page whatever the filter. Which one is said here and not left to the engines: without statistics
//! SQLite walks the whole log for a rare type, and a stream's index has `seq`, which engines cannot
//! know to grow with `pos`.

use std::{collections::HashMap, fmt::Write as _};

use chrono::NaiveDate;
use tidewire_core::Time;
use tidewire_db::{Arg, Column, Dialect, Query, Result, Row, Sql};

use super::{Store, parse_day};
use crate::{Event, Filter, Order, StreamEnd, cold::Between, tiers::END};

const COLUMNS: &str = "id, stream, seq, type, subject, payload, dedupe_key, source, occurred_at, created_at, pos, depth";

pub(super) struct Statements {
    last_seq: Sql,
    pos_of_seq: Sql,
    of_stream: Sql,
    of_stream_about: Sql,
    stream_ends: Sql,
    first_seq: Sql,
    oldest: Sql,
    stored_from: Sql,
    next_stream: Sql,
    day_bounds: Sql,
    days: Sql,
}

impl Statements {
    // The order says which index, also to an engine that made its plan for an empty table.
    pub(super) fn new(dialect: &Dialect) -> Self {
        let by_stream = dialect.by_index("events", "events_by_stream");
        let of_stream = |about: &str| {
            dialect.sql(&format!(
                "SELECT {COLUMNS} FROM {by_stream}
                 WHERE tenant = ? AND stream = ? AND seq > ? AND seq < ?{about} ORDER BY seq LIMIT ?"
            ))
        };
        let pairs = dialect.json_rows("r", &[Column::Id("tenant"), Column::Id("stream")]);
        let (tenant, stream) = (pairs.col("tenant"), pairs.col("stream"));
        let last = |column: &str| {
            format!(
                "(SELECT {column} FROM events e WHERE e.tenant = {tenant} AND e.stream = {stream}
                  ORDER BY seq DESC LIMIT 1)"
            )
        };
        let stream_ends = format!(
            "SELECT {tenant}, {stream}, {}, {} FROM {}",
            last("seq"),
            last("created_at"),
            pairs.from
        );
        Statements {
            of_stream: of_stream(""),
            of_stream_about: of_stream(" AND subject = ?"),
            stream_ends: dialect.sql(&stream_ends),
            first_seq: dialect.sql(
                "SELECT seq FROM events WHERE tenant = ? AND stream = ? ORDER BY seq LIMIT 1",
            ),
            oldest: dialect
                .sql("SELECT created_at FROM events WHERE tenant = ? ORDER BY pos LIMIT 1"),
            stored_from: dialect.sql(
                "SELECT created_at FROM events WHERE tenant = ? AND pos >= ? ORDER BY pos LIMIT 1",
            ),
            next_stream: dialect.sql(&format!(
                "SELECT stream FROM {by_stream} WHERE tenant = ? AND stream > ? ORDER BY stream LIMIT 1"
            )),
            last_seq: dialect.sql(
                "SELECT seq FROM events WHERE tenant = ? AND stream = ? ORDER BY seq DESC LIMIT 1",
            ),
            pos_of_seq: dialect.sql(
                "SELECT pos FROM events WHERE tenant = ? AND stream = ? AND seq <= ?
                 ORDER BY seq DESC LIMIT 1",
            ),
            // Where the first of the days begins and where the last of them has ended.
            day_bounds: dialect.sql(
                "SELECT (SELECT first_pos FROM event_days WHERE tenant = ?1 AND day <= ?2
                         ORDER BY day DESC LIMIT 1),
                        (SELECT first_pos FROM event_days WHERE tenant = ?1 AND day > ?3
                         ORDER BY day LIMIT 1)",
            ),
            // The days asked for, the first one behind them, and the end of the log, as one state.
            days: dialect.sql(
                "SELECT day, first_pos FROM event_days WHERE tenant = ?1 AND day >= ?2 AND day <= ?3
                 UNION ALL SELECT '', min(first_pos) FROM event_days WHERE tenant = ?1 AND day > ?3
                 UNION ALL SELECT '', (SELECT pos + 1 FROM events WHERE tenant = ?1 ORDER BY pos DESC LIMIT 1)",
            ),
        }
    }
}

/// The column along which a read goes, and the index that has it behind the filter's column.
struct Way {
    by: &'static str,
    index: Option<&'static str>,
}

impl Way {
    /// By what is rarest, as a rule.
    fn of(filter: &Filter) -> Self {
        let (by, index) = if filter.subject.is_some() {
            ("pos", Some("events_by_subject"))
        } else if filter.stream.is_some() {
            ("seq", Some("events_by_stream"))
        } else if filter.kind.is_some() {
            ("pos", Some("events_by_type"))
        } else {
            ("pos", None)
        };
        Way { by, index }
    }
}

impl Store {
    /// Stored events of a log that a filter wants, strictly between two positions.
    pub(crate) async fn read(
        &self,
        query: &mut impl Query,
        tenant: &str,
        filter: &Filter,
        mut between: Between,
        order: Order,
        limit: u32,
    ) -> Result<Vec<Event>> {
        let way = Way::of(filter);
        if way.by == "seq"
            && let Some(stream) = &filter.stream
        {
            between = self.places(query, tenant, stream, between).await?;
        }
        let (after, before) = between;
        if after.saturating_add(1) >= before {
            return Ok(Vec::new());
        }
        let by = way.by;
        let table = match way.index {
            Some(index) => self.dialect.by_index("events", index),
            None => "events".to_owned(),
        };
        let mut text =
            format!("SELECT {COLUMNS} FROM {table} WHERE tenant = ? AND {by} > ? AND {by} < ?");
        let mut args: Vec<Arg> = vec![tenant.into(), after.into(), before.min(END).into()];
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
        if let Some(from) = filter.from {
            text.push_str(" AND created_at >= ?");
            args.push(from.into());
        }
        if let Some(to) = filter.to {
            text.push_str(" AND created_at <= ?");
            args.push(to.into());
        }
        let _ = write!(text, " ORDER BY {by}{} LIMIT ?", direction(order));
        args.push(limit.into());
        let rows = query.rows(&self.dialect.sql(&text), args).await?;
        rows.iter().map(event).collect()
    }

    /// Stored events of a stream strictly between two places, in their order.
    pub(crate) async fn of_stream(
        &self,
        query: &mut impl Query,
        (tenant, stream): (&str, &str),
        subject: Option<&str>,
        (after, before): Between,
        limit: u32,
    ) -> Result<Vec<Event>> {
        let before = before.min(END);
        let mut args: Vec<Arg> = vec![tenant.into(), stream.into(), after.into(), before.into()];
        let sql = match subject {
            Some(subject) => {
                args.push(subject.into());
                &self.reads.of_stream_about
            }
            None => &self.reads.of_stream,
        };
        args.push(limit.into());
        query.rows(sql, args).await?.iter().map(event).collect()
    }

    /// Where a stream begins in the store.
    pub(crate) async fn first_of(
        &self,
        query: &mut impl Query,
        (tenant, stream): (&str, &str),
    ) -> Result<Option<u64>> {
        let args = vec![tenant.into(), stream.into()];
        let row = query.row(&self.reads.first_seq, args).await?;
        row.map(|row| row.count(0)).transpose()
    }

    /// When the first event of a log that the store has was stored.
    pub(crate) async fn oldest(
        &self,
        query: &mut impl Query,
        tenant: &str,
    ) -> Result<Option<Time>> {
        let row = query.row(&self.reads.oldest, vec![tenant.into()]).await?;
        row.map(|row| row.time(0)).transpose()
    }

    /// When the first event at or behind a position was stored.
    pub(crate) async fn stored_from(
        &self,
        query: &mut impl Query,
        tenant: &str,
        pos: u64,
    ) -> Result<Option<Time>> {
        let args = vec![tenant.into(), pos.into()];
        let row = query.row(&self.reads.stored_from, args).await?;
        row.map(|row| row.time(0)).transpose()
    }

    /// The stream whose name comes next.
    pub(crate) async fn next_stream(
        &self,
        query: &mut impl Query,
        tenant: &str,
        behind: &str,
    ) -> Result<Option<String>> {
        let args = vec![tenant.into(), behind.into()];
        let row = query.row(&self.reads.next_stream, args).await?;
        row.map(|row| row.text(0)).transpose()
    }

    /// Where streams end, each in its place.
    pub(crate) async fn stream_ends(
        &self,
        query: &mut impl Query,
        streams: &[(&str, &str)],
    ) -> Result<Vec<StreamEnd>> {
        if streams.is_empty() {
            return Ok(Vec::new());
        }
        let mut ends = HashMap::new();
        let rows = query
            .rows(&self.reads.stream_ends, vec![Arg::json(streams)?])
            .await?;
        for row in rows {
            let end = StreamEnd {
                seq: match row.opt_int(2)? {
                    Some(_) => row.count(2)?,
                    None => 0,
                },
                at: row.opt_time(3)?,
            };
            ends.insert((row.text(0)?, row.text(1)?), end);
        }
        let end = |(tenant, stream): &(&str, &str)| {
            let key = ((*tenant).to_owned(), (*stream).to_owned());
            ends.get(&key).copied().unwrap_or_default()
        };
        Ok(streams.iter().map(end).collect())
    }

    /// Time never goes back along the log, so the days' first positions bound a range of time.
    pub(crate) async fn narrow_by_days(
        &self,
        query: &mut impl Query,
        tenant: &str,
        filter: &Filter,
        (mut after, mut before): Between,
    ) -> Result<Between> {
        let from = filter
            .from
            .map_or(String::new(), |from| from.day().to_string());
        // Behind all days that have four digits for the year.
        let to = filter.to.map_or("a".to_owned(), |to| to.day().to_string());
        let args = vec![tenant.into(), from.into(), to.into()];
        if let Some(row) = query.row(&self.reads.day_bounds, args).await? {
            if let Some(first) = row.opt_int(0)? {
                let first = u64::try_from(first).unwrap_or(0);
                after = after.max(first.saturating_sub(1));
            }
            if let Some(end) = row.opt_int(1)? {
                before = before.min(u64::try_from(end).unwrap_or(0));
            }
        }
        Ok((after, before))
    }

    /// The same span as places in a stream.
    async fn places(
        &self,
        query: &mut impl Query,
        tenant: &str,
        stream: &str,
        (after, before): Between,
    ) -> Result<Between> {
        let args = vec![tenant.into(), stream.into()];
        let last = match query.row(&self.reads.last_seq, args).await? {
            Some(row) => row.count(0)?,
            None => 0,
        };
        let stream = (tenant, stream);
        let after = match after {
            0 => 0,
            after => self.last_up_to(query, stream, after, last).await?,
        };
        let before = match before {
            END.. => END,
            before => self.last_up_to(query, stream, before - 1, last).await? + 1,
        };
        Ok((after, before))
    }

    /// The last `seq` of a stream whose event stands at `pos` or before it; 0 if there is none.
    /// Both grow together, so it is found in as many steps as `last` has binary digits.
    async fn last_up_to(
        &self,
        query: &mut impl Query,
        (tenant, stream): (&str, &str),
        pos: u64,
        last: u64,
    ) -> Result<u64> {
        let (mut known, mut beyond) = (0, last + 1);
        // Most who ask have just read the end.
        let mut middle = last;
        while known + 1 < beyond {
            let args = vec![tenant.into(), stream.into(), middle.into()];
            let found = query.row(&self.reads.pos_of_seq, args).await?;
            // What is gone stood before everything that is left.
            let at = found.map_or(Ok(0), |row| row.count(0))?;
            if at <= pos {
                known = middle;
            } else {
                beyond = middle;
            }
            middle = known + (beyond - known) / 2;
        }
        Ok(known)
    }

    /// How many events were stored on each day that has any.
    pub(crate) async fn received_by_day(
        &self,
        query: &mut impl Query,
        tenant: &str,
        from: NaiveDate,
        to: NaiveDate,
    ) -> Result<Vec<(NaiveDate, u64)>> {
        let args = vec![
            tenant.into(),
            from.to_string().into(),
            to.to_string().into(),
        ];
        let mut days = Vec::new();
        let mut end = u64::MAX;
        for row in query.rows(&self.reads.days, args).await? {
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

fn direction(order: Order) -> &'static str {
    match order {
        Order::Log => "",
        Order::NewestFirst => " DESC",
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
        depth: row
            .opt_int(11)?
            .map_or(0, |depth| u32::try_from(depth).unwrap_or(u32::MAX)),
    })
}
