//! One row of an answer, read by column number: the store's functions list their columns, so the
//! number is as clear as the name and costs nothing to look up.

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sqlx::{Row as _, ValueRef as _, mysql::MySqlRow, postgres::PgRow, sqlite::SqliteRow};
use tidewire_core::Time;

use crate::{Dialect, Error, Result};

pub struct Row {
    inner: Inner,
}

enum Inner {
    Sqlite(SqliteRow),
    Postgres(PgRow),
    MySql(MySqlRow),
}

impl From<SqliteRow> for Row {
    fn from(row: SqliteRow) -> Self {
        Row {
            inner: Inner::Sqlite(row),
        }
    }
}

impl From<PgRow> for Row {
    fn from(row: PgRow) -> Self {
        Row {
            inner: Inner::Postgres(row),
        }
    }
}

impl From<MySqlRow> for Row {
    fn from(row: MySqlRow) -> Self {
        Row {
            inner: Inner::MySql(row),
        }
    }
}

impl Row {
    pub fn text(&self, column: usize) -> Result<String> {
        self.get(column)
    }

    pub fn opt_text(&self, column: usize) -> Result<Option<String>> {
        self.opt(column)
    }

    pub fn int(&self, column: usize) -> Result<i64> {
        self.get(column)
    }

    pub fn opt_int(&self, column: usize) -> Result<Option<i64>> {
        self.opt(column)
    }

    /// An integer that is never negative: a position, a count.
    pub fn count(&self, column: usize) -> Result<u64> {
        let n = self.int(column)?;
        u64::try_from(n)
            .map_err(|_| Error::Broken(format!("column {column} holds {n}, which is no count")))
    }

    pub fn bytes(&self, column: usize) -> Result<Vec<u8>> {
        self.get(column)
    }

    pub fn time(&self, column: usize) -> Result<Time> {
        self.opt_time(column)?
            .ok_or_else(|| Error::Broken(format!("column {column} holds no time")))
    }

    pub fn opt_time(&self, column: usize) -> Result<Option<Time>> {
        let utc: Option<DateTime<Utc>> = match &self.inner {
            Inner::Sqlite(_) => {
                let text = self.opt_text(column)?;
                return text.as_deref().map(Dialect::parse_time).transpose();
            }
            Inner::Postgres(row) => row.try_get_unchecked(column)?,
            Inner::MySql(row) => row.try_get_unchecked(column)?,
        };
        Ok(utc.map(Time::new))
    }

    /// A JSON document: the same value as was written, though PostgreSQL orders its keys anew.
    pub fn json(&self, column: usize) -> Result<Box<RawValue>> {
        self.opt_json(column)?
            .ok_or_else(|| Error::Broken(format!("column {column} holds no JSON")))
    }

    pub fn opt_json(&self, column: usize) -> Result<Option<Box<RawValue>>> {
        let text = match &self.inner {
            Inner::Postgres(row) => postgres_json(row, column)?,
            Inner::Sqlite(_) | Inner::MySql(_) => self.opt_text(column)?,
        };
        text.map(|text| {
            RawValue::from_string(text)
                .map_err(|error| Error::Broken(format!("column {column} holds no JSON: {error}")))
        })
        .transpose()
    }

    /// Without the driver's check of the declared type: our schema gives each column one, and the
    /// check is a twentieth of what a claimed job costs.
    fn opt<T>(&self, column: usize) -> Result<Option<T>>
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Sqlite>
            + for<'r> sqlx::Decode<'r, sqlx::Postgres>
            + for<'r> sqlx::Decode<'r, sqlx::MySql>,
    {
        Ok(match &self.inner {
            Inner::Sqlite(row) => row.try_get_unchecked(column)?,
            Inner::Postgres(row) => row.try_get_unchecked(column)?,
            Inner::MySql(row) => row.try_get_unchecked(column)?,
        })
    }

    fn get<T>(&self, column: usize) -> Result<T>
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Sqlite>
            + for<'r> sqlx::Decode<'r, sqlx::Postgres>
            + for<'r> sqlx::Decode<'r, sqlx::MySql>,
    {
        self.opt(column)?
            .ok_or_else(|| Error::Broken(format!("column {column} is NULL")))
    }
}

/// JSONB travels as its text behind a byte that says its version.
fn postgres_json(row: &PgRow, column: usize) -> Result<Option<String>> {
    const VERSION: u8 = 1;
    let value = row.try_get_raw(column)?;
    if value.is_null() {
        return Ok(None);
    }
    let broken = |what: String| Error::Broken(format!("column {column} holds no JSONB: {what}"));
    let bytes = value
        .as_bytes()
        .map_err(|error| broken(error.to_string()))?;
    let text = match bytes {
        [VERSION, text @ ..] => text,
        text => text,
    };
    String::from_utf8(text.to_vec())
        .map(Some)
        .map_err(|error| broken(error.to_string()))
}
