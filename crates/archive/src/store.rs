//! All SQL of the catalogue.
//!
//! - `event_archives` has a row for each sealed range of a stream: which object holds it, how large
//!   that is, and where in the log it lies. It is written after the object was verified in place. `cold`
//!   is 1 for those of which readers may need something, and is what the index for reads of a log
//!   begins with: while nothing is trimmed, they find nothing there at once.
//! - `archive_marks` has a row for each stream that has an archive: up to where it is archived, up to
//!   where readers look into archives, up to where it is trimmed. They never cross
//!   ([`Marks`]), and change only under the stream's lock.

use std::{collections::HashMap, fmt::Write as _};

use tidewire_core::Time;
use tidewire_db::{Arg, Dialect, Error, Query, Result, Row, Sql, Tx};
use tidewire_events::{Between, Filter, Order};

use crate::model::{Archive, Marks, Parquet};

const ARCHIVE: &str = "a.tenant, a.stream, a.from_seq, a.to_seq, a.id, a.thread_id, a.object_key, a.event_count, a.bytes, a.sha256,
    a.line_bytes, a.first_pos, a.last_pos, a.first_at, a.last_at, a.parquet_bytes, a.parquet_sha256, a.created_at";
/// Columns of [`ARCHIVE`].
const WIDTH: usize = 18;

pub(crate) struct Store {
    dialect: &'static Dialect,
    marks: Sql,
    make_marks: Sql,
    set_marks: Sql,
    restored: Sql,
    next_marks: Sql,
    insert: Sql,
    replace: Sql,
    warm: Sql,
    chill: Sql,
    following: Sql,
    preceding: Sql,
    get: Sql,
    newest: Sql,
    newest_of_stream: Sql,
    by_ids: Sql,
}

impl Store {
    pub(crate) fn new(dialect: &'static Dialect) -> Self {
        let (insert_new, unless_there) = dialect.insert_new();
        let by_stream = dialect.by_index("archive_marks", "archive_marks_restored");
        let ids = dialect.json_ids("r", "id");
        Store {
            dialect,
            marks: dialect.sql(
                "SELECT archived_until, cold_until, trimmed_until, restored_at FROM archive_marks
                 WHERE tenant = ? AND stream = ?",
            ),
            make_marks: dialect.sql(&format!(
                "{insert_new} archive_marks (tenant, stream, archived_until, cold_until, trimmed_until)
                 VALUES (?, ?, 0, 0, 0){unless_there}"
            )),
            set_marks: dialect.sql(
                "UPDATE archive_marks SET archived_until = ?, cold_until = ?, trimmed_until = ?, restored_at = ?
                 WHERE tenant = ? AND stream = ?",
            ),
            restored: dialect.sql(&format!(
                "SELECT tenant, stream FROM {by_stream} WHERE restored_at <= ? ORDER BY restored_at LIMIT ?"
            )),
            next_marks: dialect.sql(&format!(
                "SELECT tenant, stream, archived_until, cold_until, trimmed_until, restored_at FROM archive_marks
                 WHERE {} AND NOT (tenant = ?1 AND stream = ?2) ORDER BY tenant, stream LIMIT ?3",
                dialect.at_or_behind(&["tenant", "stream"], &["?1", "?2"])
            )),
            insert: dialect.sql(
                "INSERT INTO event_archives (tenant, stream, from_seq, to_seq, id, thread_id, object_key, event_count,
                    bytes, sha256, line_bytes, first_pos, last_pos, first_at, last_at, parquet_bytes, parquet_sha256,
                    created_at, cold)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
            ),
            replace: dialect.sql(
                "UPDATE event_archives SET event_count = ?, bytes = ?, sha256 = ?, line_bytes = ?, parquet_bytes = ?,
                    parquet_sha256 = ? WHERE tenant = ? AND stream = ? AND from_seq = ?",
            ),
            chill: dialect.sql(
                "UPDATE event_archives SET cold = 1 WHERE tenant = ? AND stream = ? AND from_seq <= ? AND cold = 0",
            ),
            warm: dialect.sql(
                "UPDATE event_archives SET cold = 0 WHERE tenant = ? AND stream = ? AND from_seq > ? AND cold = 1",
            ),
            // From the one that holds the place on: those before it are not walked.
            following: dialect.sql(&format!(
                "SELECT {ARCHIVE} FROM event_archives a WHERE a.tenant = ?1 AND a.stream = ?2
                 AND a.from_seq >= coalesce((SELECT b.from_seq FROM event_archives b WHERE b.tenant = ?1
                    AND b.stream = ?2 AND b.from_seq <= ?3 ORDER BY b.from_seq DESC LIMIT 1), 0)
                 AND a.from_seq < ?4 AND a.to_seq > ?3 ORDER BY a.from_seq LIMIT ?5"
            )),
            preceding: dialect.sql(&format!(
                "SELECT {ARCHIVE} FROM event_archives a WHERE a.tenant = ? AND a.stream = ? AND a.from_seq <= ?
                 ORDER BY a.from_seq DESC LIMIT 1"
            )),
            get: dialect.sql(&format!(
                "SELECT {ARCHIVE} FROM event_archives a WHERE a.tenant = ? AND a.id = ?"
            )),
            newest: dialect.sql(&format!(
                "SELECT {ARCHIVE} FROM event_archives a WHERE a.tenant = ? AND a.id < ? ORDER BY a.id DESC LIMIT ?"
            )),
            newest_of_stream: dialect.sql(&format!(
                "SELECT {ARCHIVE} FROM event_archives a WHERE a.tenant = ? AND a.stream = ? AND a.from_seq < ?
                 ORDER BY a.from_seq DESC LIMIT ?"
            )),
            by_ids: dialect.sql(&format!(
                "SELECT a.id, a.object_key, a.parquet_bytes FROM {} {} WHERE a.id = {}",
                ids.from,
                dialect.then_by("event_archives a", "event_archives_by_id"),
                ids.columns
            )),
        }
    }

    // --- marks ---

    /// The marks of a stream; all at 0 if it has no archive.
    pub(crate) async fn marks(
        &self,
        query: &mut impl Query,
        (tenant, stream): (&str, &str),
    ) -> Result<Marks> {
        let args = vec![tenant.into(), stream.into()];
        let row = query.row(&self.marks, args).await?;
        row.map_or(Ok(Marks::default()), |row| marks(&row, 0))
    }

    /// Sets the marks of a stream, and says of its archives whether readers may need them. The
    /// stream's lock must be had.
    pub(crate) async fn set_marks(
        &self,
        tx: &mut Tx,
        (tenant, stream): (&str, &str),
        marks: Marks,
    ) -> Result<()> {
        if !marks.are_sound() {
            return Err(Error::Broken(format!(
                "the archives' marks of the stream `{stream}` would cross: {marks:?}"
            )));
        }
        tx.push(&self.make_marks, vec![tenant.into(), stream.into()])
            .await?;
        let args = vec![
            marks.archived_until.into(),
            marks.cold_until.into(),
            marks.trimmed_until.into(),
            marks.restored_at.into(),
            tenant.into(),
            stream.into(),
        ];
        tx.push(&self.set_marks, args).await?;
        for sql in [&self.chill, &self.warm] {
            let args = vec![tenant.into(), stream.into(), marks.cold_until.into()];
            tx.push(sql, args).await?;
        }
        Ok(())
    }

    /// Streams of all tenants into which events were put back by then, and readers not told so.
    pub(crate) async fn restored(
        &self,
        query: &mut impl Query,
        by: Time,
        limit: u32,
    ) -> Result<Vec<(String, String)>> {
        let rows = query
            .rows(&self.restored, vec![by.into(), limit.into()])
            .await?;
        rows.iter()
            .map(|row| Ok((row.text(0)?, row.text(1)?)))
            .collect()
    }

    /// The streams, of all tenants, that have archives, behind this one.
    pub(crate) async fn next_marks(
        &self,
        query: &mut impl Query,
        (tenant, stream): (&str, &str),
        limit: u32,
    ) -> Result<Vec<(String, String, Marks)>> {
        let args = vec![tenant.into(), stream.into(), limit.into()];
        let rows = query.rows(&self.next_marks, args).await?;
        rows.iter()
            .map(|row| Ok((row.text(0)?, row.text(1)?, marks(row, 2)?)))
            .collect()
    }

    // --- archives ---

    pub(crate) async fn insert(&self, tx: &mut Tx, archive: &Archive) -> Result<()> {
        let parquet = archive.parquet.as_ref();
        let args = vec![
            (&archive.tenant).into(),
            (&archive.stream).into(),
            archive.from_seq.into(),
            archive.to_seq.into(),
            (&archive.id).into(),
            archive.thread_id().into(),
            (&archive.object_key).into(),
            archive.event_count.into(),
            archive.bytes.into(),
            (&archive.sha256).into(),
            archive.line_bytes.into(),
            archive.first_pos.into(),
            archive.last_pos.into(),
            archive.first_at.into(),
            archive.last_at.into(),
            parquet.map(|parquet| parquet.bytes).into(),
            parquet.map(|parquet| parquet.sha256.clone()).into(),
            archive.created_at.into(),
        ];
        tx.execute(&self.insert, args).await.map(drop)
    }

    /// Its objects were written anew.
    pub(crate) async fn replace(&self, tx: &mut Tx, archive: &Archive) -> Result<()> {
        let parquet = archive.parquet.as_ref();
        let args = vec![
            archive.event_count.into(),
            archive.bytes.into(),
            (&archive.sha256).into(),
            archive.line_bytes.into(),
            parquet.map(|parquet| parquet.bytes).into(),
            parquet.map(|parquet| parquet.sha256.clone()).into(),
            (&archive.tenant).into(),
            (&archive.stream).into(),
            archive.from_seq.into(),
        ];
        tx.execute(&self.replace, args).await.map(drop)
    }

    /// Archives of a stream that have something strictly between two places, in their order.
    pub(crate) async fn of_stream(
        &self,
        query: &mut impl Query,
        (tenant, stream): (&str, &str),
        (after, before): Between,
        limit: u32,
    ) -> Result<Vec<Archive>> {
        let args = vec![
            tenant.into(),
            stream.into(),
            after.into(),
            before.into(),
            limit.into(),
        ];
        let rows = query.rows(&self.following, args).await?;
        rows.iter().map(archive).collect()
    }

    /// The archive of a stream that has this place, or the last one before it.
    pub(crate) async fn holding(
        &self,
        query: &mut impl Query,
        (tenant, stream): (&str, &str),
        seq: u64,
    ) -> Result<Option<Archive>> {
        let args = vec![tenant.into(), stream.into(), seq.into()];
        let row = query.row(&self.preceding, args).await?;
        row.as_ref().map(archive).transpose()
    }

    pub(crate) async fn get(
        &self,
        query: &mut impl Query,
        tenant: &str,
        id: &str,
    ) -> Result<Option<Archive>> {
        let row = query.row(&self.get, vec![tenant.into(), id.into()]).await?;
        row.as_ref().map(archive).transpose()
    }

    /// A tenant's archives below an id, newest first.
    pub(crate) async fn newest(
        &self,
        query: &mut impl Query,
        tenant: &str,
        before: &str,
        limit: u32,
    ) -> Result<Vec<Archive>> {
        let args = vec![tenant.into(), before.into(), limit.into()];
        let rows = query.rows(&self.newest, args).await?;
        rows.iter().map(archive).collect()
    }

    /// A stream's archives that begin below a place, newest first.
    pub(crate) async fn newest_of_stream(
        &self,
        query: &mut impl Query,
        (tenant, stream): (&str, &str),
        before: u64,
        limit: u32,
    ) -> Result<Vec<Archive>> {
        let args = vec![tenant.into(), stream.into(), before.into(), limit.into()];
        let rows = query.rows(&self.newest_of_stream, args).await?;
        rows.iter().map(archive).collect()
    }

    /// Cold archives of a tenant's log that may have something, strictly between two positions, that
    /// a filter wants: along the way of a read, `behind` the place at which the page before ended. Each
    /// with the mark up to which its stream is cold.
    pub(crate) async fn of_log(
        &self,
        query: &mut impl Query,
        tenant: &str,
        filter: &Filter,
        (after, before): Between,
        (order, behind): (Order, Option<u64>),
        limit: u32,
    ) -> Result<Vec<(Archive, u64)>> {
        let mut text = format!(
            "SELECT {ARCHIVE}, m.cold_until FROM event_archives a {} WHERE m.tenant = a.tenant AND m.stream = a.stream
             AND a.tenant = ? AND a.cold = 1 AND a.last_pos > ? AND a.first_pos < ?",
            self.dialect.then("archive_marks m")
        );
        let mut args: Vec<Arg> = vec![tenant.into(), after.into(), before.into()];
        let mut also = |condition: &str, arg: Option<Arg>| {
            if let Some(arg) = arg {
                let _ = write!(text, " AND {condition} ?");
                args.push(arg);
            }
        };
        also("a.stream =", filter.stream.as_ref().map(Arg::from));
        also("a.last_at >=", filter.from.map(Arg::from));
        also("a.first_at <=", filter.to.map(Arg::from));
        let order = match order {
            Order::Log => {
                also("a.first_pos >", behind.map(Arg::from));
                "a.first_pos"
            }
            Order::NewestFirst => {
                also("a.last_pos <", behind.map(Arg::from));
                "a.last_pos DESC"
            }
        };
        let _ = write!(text, " ORDER BY {order} LIMIT ?");
        args.push(limit.into());
        let rows = query.rows(&self.dialect.sql(&text), args).await?;
        rows.iter()
            .map(|row| Ok((archive(row)?, row.count(WIDTH)?)))
            .collect()
    }

    /// The objects that archives of these ids have, of all tenants: the key of the one, and whether
    /// there is a companion.
    pub(crate) async fn objects(
        &self,
        query: &mut impl Query,
        ids: &[&str],
    ) -> Result<HashMap<String, (String, bool)>> {
        let rows = query.rows(&self.by_ids, vec![Arg::json(ids)?]).await?;
        rows.iter()
            .map(|row| Ok((row.text(0)?, (row.text(1)?, row.opt_int(2)?.is_some()))))
            .collect()
    }
}

fn marks(row: &Row, at: usize) -> Result<Marks> {
    Ok(Marks {
        archived_until: row.count(at)?,
        cold_until: row.count(at + 1)?,
        trimmed_until: row.count(at + 2)?,
        restored_at: row.opt_time(at + 3)?,
    })
}

fn archive(row: &Row) -> Result<Archive> {
    let parquet = match (row.opt_int(15)?, row.opt_text(16)?) {
        (Some(bytes), Some(sha256)) => Some(Parquet {
            bytes: u64::try_from(bytes).unwrap_or(0),
            sha256,
        }),
        _ => None,
    };
    Ok(Archive {
        tenant: row.text(0)?.into(),
        stream: row.text(1)?,
        from_seq: row.count(2)?,
        to_seq: row.count(3)?,
        id: row.text(4)?,
        object_key: row.text(6)?,
        event_count: row.count(7)?,
        bytes: row.count(8)?,
        sha256: row.text(9)?,
        line_bytes: row.count(10)?,
        first_pos: row.count(11)?,
        last_pos: row.count(12)?,
        first_at: row.time(13)?,
        last_at: row.time(14)?,
        parquet,
        created_at: row.time(17)?,
    })
}
