//! One row of an answer, read by column number: the store's functions list their columns, so the
//! number is as clear as the name and costs nothing to look up.

use sea_orm::QueryResult;
use serde_json::value::RawValue;
use sqlx::Row as _;
use tidewire_core::Time;

use crate::{Dialect, Error, Result};

pub struct Row {
    inner: QueryResult,
    dialect: &'static Dialect,
}

impl Row {
    pub(crate) fn new(inner: QueryResult, dialect: &'static Dialect) -> Self {
        Row { inner, dialect }
    }

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
        self.dialect.read_time(self.opt_text(column)?)
    }

    /// A JSON document, as it was written.
    pub fn json(&self, column: usize) -> Result<Box<RawValue>> {
        self.opt_json(column)?
            .ok_or_else(|| Error::Broken(format!("column {column} holds no JSON")))
    }

    pub fn opt_json(&self, column: usize) -> Result<Option<Box<RawValue>>> {
        self.opt_text(column)?
            .map(|text| {
                RawValue::from_string(text).map_err(|error| {
                    Error::Broken(format!("column {column} holds no JSON: {error}"))
                })
            })
            .transpose()
    }

    /// Without the driver's check of the declared type: our schema gives each column one, and the
    /// check is a twentieth of what a claimed job costs.
    fn opt<T>(&self, column: usize) -> Result<Option<T>>
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Sqlite>,
    {
        match self.inner.try_as_sqlite_row() {
            Some(row) => Ok(row.try_get_unchecked(column)?),
            None => Err(Error::Broken(
                "a row of an engine that was not opened".to_owned(),
            )),
        }
    }

    fn get<T>(&self, column: usize) -> Result<T>
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Sqlite>,
    {
        self.opt(column)?
            .ok_or_else(|| Error::Broken(format!("column {column} is NULL")))
    }
}
