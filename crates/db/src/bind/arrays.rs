//! A row set split into an array for each column, in one pass over its JSON.

use chrono::{DateTime, Utc};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, SeqAccess, Visitor};
use sqlx::{Arguments as _, postgres::PgArguments};
use tidewire_core::Time;

use crate::{Error, Result, dialect::Kind};

pub(super) struct Columns(Vec<Values>);

enum Values {
    Text(Vec<Option<String>>),
    Int(Vec<Option<i64>>),
    Time(Vec<Option<DateTime<Utc>>>),
    Bytes(Vec<Option<Vec<u8>>>),
}

/// `json` is an array of rows, each an array with a place for each column, or, if `flat`, an array
/// of values. A row may end early: what it lacks is NULL.
pub(super) fn split(json: &str, kinds: &[Kind], flat: bool) -> Result<Columns> {
    let mut columns = Columns(kinds.iter().copied().map(Values::new).collect());
    let mut reader = serde_json::Deserializer::from_str(json);
    let rows = Rows {
        columns: &mut columns.0,
        flat,
    };
    rows.deserialize(&mut reader)
        .map_err(|error| Error::Broken(format!("a row set cannot be split: {error}")))?;
    Ok(columns)
}

impl Columns {
    pub(super) fn bind(self, arguments: &mut PgArguments) -> Result<()> {
        for values in self.0 {
            match values {
                Values::Text(values) => arguments.add(values),
                Values::Int(values) => arguments.add(values),
                Values::Time(values) => arguments.add(values),
                Values::Bytes(values) => arguments.add(values),
            }
            .map_err(super::cannot)?;
        }
        Ok(())
    }
}

impl Values {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Text | Kind::Address => Values::Text(Vec::new()),
            Kind::Int => Values::Int(Vec::new()),
            Kind::Time => Values::Time(Vec::new()),
            Kind::Bytes => Values::Bytes(Vec::new()),
        }
    }

    /// Takes the next element of a row; NULL if the row has ended.
    fn take<'de, A: SeqAccess<'de>>(&mut self, row: &mut A) -> Result<(), A::Error> {
        use serde::de::Error as _;
        match self {
            Values::Text(values) => values.push(row.next_element()?.flatten()),
            Values::Int(values) => values.push(row.next_element()?.flatten()),
            Values::Time(values) => {
                let micros: Option<&str> = row.next_element()?.flatten();
                let micros = micros.map(str::parse).transpose();
                let micros = micros.map_err(A::Error::custom)?;
                values.push(micros.map(|micros| Time::from_micros(micros).utc()));
            }
            Values::Bytes(values) => {
                let digits: Option<&str> = row.next_element()?.flatten();
                let bytes = digits.map(hex::decode).transpose();
                values.push(bytes.map_err(A::Error::custom)?);
            }
        }
        Ok(())
    }
}

struct Rows<'c> {
    columns: &'c mut [Values],
    flat: bool,
}

impl<'de> DeserializeSeed<'de> for Rows<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Rows<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        if self.flat {
            let Some(values) = self.columns.first_mut() else {
                return Ok(());
            };
            while let Some(value) = rows.next_element()? {
                if let Values::Text(values) = values {
                    values.push(value);
                }
            }
            return Ok(());
        }
        while rows.next_element_seed(Row(self.columns))?.is_some() {}
        Ok(())
    }
}

struct Row<'c>(&'c mut [Values]);

impl<'de> DeserializeSeed<'de> for Row<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Row<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a row")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut row: A) -> Result<(), A::Error> {
        for values in self.0 {
            values.take(&mut row)?;
        }
        while row.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_columns_and_what_is_missing_is_null() {
        let json = r#"[["a\n",1,"1000000","00ff","x"],["b",null,null],["c"]]"#;
        let kinds = [Kind::Text, Kind::Int, Kind::Time, Kind::Bytes];
        let Columns(columns) = split(json, &kinds, false).unwrap();
        let [
            Values::Text(texts),
            Values::Int(ints),
            Values::Time(times),
            Values::Bytes(bytes),
        ] = columns.as_slice()
        else {
            panic!("other kinds of columns");
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(*texts, [text("a\n"), text("b"), text("c")]);
        assert_eq!(*ints, [Some(1), None, None]);
        assert_eq!(times[0].unwrap().timestamp_micros(), 1_000_000);
        assert_eq!(times[1..], [None, None]);
        assert_eq!(*bytes, [Some(vec![0, 255]), None, None]);
    }

    #[test]
    fn a_flat_list_is_one_column() {
        let Columns(columns) = split(r#"["a","b"]"#, &[Kind::Text], true).unwrap();
        let [Values::Text(texts)] = columns.as_slice() else {
            panic!("another kind of column");
        };
        assert_eq!(*texts, [Some("a".to_owned()), Some("b".to_owned())]);
        assert!(split("[]", &[Kind::Text], true).is_ok());
    }

    #[test]
    fn what_is_no_row_set_is_refused() {
        for bad in ["", "{}", "[1]", r#"[["a"]"#] {
            assert!(split(bad, &[Kind::Int], false).is_err(), "{bad}");
        }
    }
}
