//! Arguments of a statement, in words that every engine has.

use serde::Serialize;
use tidewire_core::Time;

use crate::{Error, Result};

/// One argument. Built by `From`, so a statement's arguments are `vec![tenant.into(), 5.into()]`.
#[derive(Clone, Debug)]
pub enum Arg {
    Null,
    Int(i64),
    Text(String),
    Time(Time),
    Bytes(Vec<u8>),
}

impl Arg {
    /// The argument of a row set ([`crate::Dialect::json_rows`]): an array of arrays, as JSON text.
    pub fn json(rows: &(impl Serialize + ?Sized)) -> Result<Self> {
        serde_json::to_string(rows)
            .map(Arg::Text)
            .map_err(|error| Error::Broken(format!("a row set cannot be written as JSON: {error}")))
    }
}

impl From<&str> for Arg {
    fn from(text: &str) -> Self {
        Arg::Text(text.to_owned())
    }
}

impl From<&std::sync::Arc<str>> for Arg {
    fn from(text: &std::sync::Arc<str>) -> Self {
        Arg::Text(text.to_string())
    }
}

impl From<String> for Arg {
    fn from(text: String) -> Self {
        Arg::Text(text)
    }
}

impl From<&String> for Arg {
    fn from(text: &String) -> Self {
        Arg::Text(text.clone())
    }
}

impl From<i64> for Arg {
    fn from(n: i64) -> Self {
        Arg::Int(n)
    }
}

impl From<u32> for Arg {
    fn from(n: u32) -> Self {
        Arg::Int(n.into())
    }
}

impl From<u64> for Arg {
    /// Positions and counts stay far below 2^63.
    fn from(n: u64) -> Self {
        Arg::Int(i64::try_from(n).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Arg {
    fn from(n: usize) -> Self {
        Arg::Int(i64::try_from(n).unwrap_or(i64::MAX))
    }
}

impl From<Time> for Arg {
    fn from(time: Time) -> Self {
        Arg::Time(time)
    }
}

impl From<Vec<u8>> for Arg {
    fn from(bytes: Vec<u8>) -> Self {
        Arg::Bytes(bytes)
    }
}

impl<T: Into<Arg>> From<Option<T>> for Arg {
    fn from(value: Option<T>) -> Self {
        value.map_or(Arg::Null, Into::into)
    }
}
