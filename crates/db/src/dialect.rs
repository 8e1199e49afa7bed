//! What differs between engines, each difference under a name. A statement is written once, with
//! `?` for its arguments in order, and asks the dialect only for these names.

use std::sync::Arc;

use sea_orm::{DbBackend, Value};
use tidewire_core::Time;

use crate::{Error, Result};

/// A statement with the engine's placeholders in it. Made once, when a store is built.
#[derive(Clone, Debug)]
pub struct Sql(pub(crate) Arc<str>);

/// The type of one column of a row set that travels as JSON.
#[derive(Clone, Copy, Debug)]
pub enum Column {
    Text(&'static str),
    Int(&'static str),
    Time(&'static str),
    /// Bytes travel as lower-case hexadecimal digits.
    Bytes(&'static str),
    /// A document travels as a string that holds its text.
    Json(&'static str),
}

/// A row set made from one JSON argument, so that a bulk statement has one shape for any number
/// of rows and prepares once.
#[derive(Clone, Debug)]
pub struct JsonRows {
    /// Stands in a FROM clause; takes one `?`.
    pub from: String,
    /// The columns, in order, for a SELECT list.
    pub columns: String,
    names: Vec<(&'static str, String)>,
    integers: Vec<&'static str>,
}

impl JsonRows {
    /// The expression of one column.
    #[must_use]
    pub fn col(&self, name: &str) -> &str {
        self.names
            .iter()
            .find(|(known, _)| *known == name)
            .map_or("NULL", |(_, text)| text)
    }
}

/// An engine's ways. Static: there is one value for each engine.
#[derive(Debug)]
pub struct Dialect {
    pub name: &'static str,
    /// Whether nobody but this process can write, and all its writes pass one task: what a
    /// committed batch left behind then still holds when the next begins.
    pub sole_writer: bool,
    pub(crate) backend: DbBackend,
}

pub(crate) static SQLITE: Dialect = Dialect {
    name: "sqlite",
    sole_writer: true,
    backend: DbBackend::Sqlite,
};

impl Dialect {
    /// A statement. `?` stands for the next argument and appears nowhere else, not in a literal.
    #[must_use]
    pub fn sql(&self, text: &str) -> Sql {
        // Bare on SQLite, where statements are sent several at a time and arguments are counted on.
        Sql(text.into())
    }

    /// A row set `alias` out of one JSON argument: an array of arrays, a place for each column.
    #[must_use]
    pub fn json_rows(&self, alias: &str, columns: &[Column]) -> JsonRows {
        let names: Vec<_> = columns
            .iter()
            .enumerate()
            .map(|(place, column)| match column {
                Column::Text(name)
                | Column::Int(name)
                | Column::Time(name)
                | Column::Json(name) => {
                    (*name, format!("json_extract({alias}.value, '$[{place}]')"))
                }
                Column::Bytes(name) => (
                    *name,
                    format!("unhex(json_extract({alias}.value, '$[{place}]'))"),
                ),
            })
            .collect();
        let integers = columns.iter().filter_map(|column| match column {
            Column::Int(name) => Some(*name),
            _ => None,
        });
        let integers = integers.collect();
        let columns = names
            .iter()
            .map(|(_, text)| text.as_str())
            .collect::<Vec<_>>()
            .join(", ");
        JsonRows {
            // Elements stay in SQLite's binary form: json_each would write each row out as
            // text for json_extract to parse again.
            from: format!("jsonb_each(?) {alias}"),
            columns,
            names,
            integers,
        }
    }

    /// Updates the rows of `table` that `rows` names by `keys`. Each pair of `set` is a column and
    /// its expression, which may use the columns of `rows` and, as `table.column`, of the table; it
    /// takes no argument of its own.
    #[must_use]
    pub fn update_rows(
        &self,
        table: &str,
        rows: &JsonRows,
        keys: &[&str],
        set: &[(&str, &str)],
    ) -> Sql {
        let set: Vec<_> = set
            .iter()
            .map(|(column, value)| format!("{column} = {value}"))
            .collect();
        let keys: Vec<_> = keys
            .iter()
            .map(|key| format!("{table}.{key} = {}", rows.col(key)))
            .collect();
        self.sql(&format!(
            "UPDATE {table} SET {} FROM {} WHERE {}",
            set.join(", "),
            rows.from,
            keys.join(" AND ")
        ))
    }

    /// Deletes the rows of `table` that `rows` names by `keys`, which must be unique together even
    /// without those that are integers.
    #[must_use]
    pub fn delete_rows(&self, table: &str, rows: &JsonRows, keys: &[&str]) -> Sql {
        // SQLite has no DELETE … JOIN, and seeks by a row value only as far as its first integer:
        // those are compared apart, which keeps every column of the key in the seek.
        let (integers, texts): (Vec<&str>, Vec<&str>) =
            keys.iter().partition(|key| rows.integers.contains(key));
        let named: Vec<_> = keys
            .iter()
            .map(|key| format!("{} AS {key}", rows.col(key)))
            .collect();
        let texts = texts.join(", ");
        let mut text = format!(
            "WITH gone AS (SELECT {} FROM {}) DELETE FROM {table} WHERE ({texts}) IN (SELECT {texts} FROM gone)",
            named.join(", "),
            rows.from
        );
        for key in integers {
            text.push_str(&format!(" AND {key} IN (SELECT {key} FROM gone)"));
        }
        self.sql(&text)
    }

    /// A list of texts out of one JSON argument (an array of strings), for `IN (…)`.
    #[must_use]
    pub fn id_list(&self) -> &'static str {
        "(SELECT value FROM json_each(?))"
    }

    /// Names of column types and table options for a migration: `{id}` an id or name compared by
    /// its bytes, `{text}` any text, `{json}` a document, `{time}`, `{int}` (64 bits), `{bytes}`,
    /// and `{clustered}` behind the closing bracket of a table whose rows live in its primary key.
    #[must_use]
    pub fn ddl(&self, text: &str) -> String {
        text.replace("{id}", "TEXT")
            .replace("{text}", "TEXT")
            .replace("{json}", "TEXT")
            .replace("{time}", "TEXT")
            .replace("{int}", "INTEGER")
            .replace("{bytes}", "BLOB")
            .replace("{clustered}", "WITHOUT ROWID")
    }

    pub(crate) fn time(&self, time: Time) -> Value {
        Value::String(Some(time.to_string()))
    }

    /// A time as it travels inside a JSON row set.
    #[must_use]
    pub fn json_time(&self, time: Time) -> String {
        time.to_string()
    }

    /// A time as a row holds it.
    pub(crate) fn read_time(&self, stored: Option<String>) -> Result<Option<Time>> {
        stored
            .map(|text| text.parse().map_err(Error::Broken))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_stand_in_order() {
        let sql = SQLITE.sql("SELECT ? FROM t WHERE a = ? AND b = ?");
        assert_eq!(&*sql.0, "SELECT ? FROM t WHERE a = ? AND b = ?");
    }

    #[test]
    fn rows_name_what_is_updated_and_deleted() {
        let rows = SQLITE.json_rows("r", &[Column::Text("a"), Column::Int("n")]);
        let sql = SQLITE.update_rows("t", &rows, &["a"], &[("n", "t.n + 1")]);
        assert_eq!(
            &*sql.0,
            "UPDATE t SET n = t.n + 1 FROM jsonb_each(?) r WHERE t.a = json_extract(r.value, '$[0]')"
        );
        let sql = SQLITE.delete_rows("t", &rows, &["a", "n"]);
        assert!(sql.0.ends_with(
            "DELETE FROM t WHERE (a) IN (SELECT a FROM gone) AND n IN (SELECT n FROM gone)"
        ));
    }
}
