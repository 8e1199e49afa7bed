//! One row of an answer, read by column number: the store's functions list their columns, so the
//! number is as clear as the name and costs nothing to look up.

use sea_orm::{QueryResult, TryGetable};
use serde_json::value::RawValue;
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
        self.get(column)
    }

    pub fn int(&self, column: usize) -> Result<i64> {
        self.get(column)
    }

    pub fn opt_int(&self, column: usize) -> Result<Option<i64>> {
        self.get(column)
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
        self.dialect.read_time(&self.inner, column)
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

    fn get<T: TryGetable>(&self, column: usize) -> Result<T> {
        Ok(self.inner.try_get_by_index(column)?)
    }
}
