//! Row sets that travel as one argument, so that a bulk statement has one shape for any number of
//! rows and prepares once.
//!
//! SQLite and MySQL take the JSON as it is; for PostgreSQL the driver's side splits it into an
//! array for each column, which its `unnest` turns into rows at about half the cost of JSON.

use super::Engine;

/// The type of one column of a row set.
#[derive(Clone, Copy, Debug)]
pub enum Column {
    /// An id or name of the API's alphabet, as a `{id}` column of a table holds it.
    Id(&'static str),
    /// Any text.
    Text(&'static str),
    Int(&'static str),
    /// Travels as [`super::Dialect::json_time`] writes it.
    Time(&'static str),
    /// Bytes travel as lower-case hexadecimal digits.
    Bytes(&'static str),
    /// A document travels as a string that holds its text.
    Json(&'static str),
}

impl Column {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Column::Id(name)
            | Column::Text(name)
            | Column::Int(name)
            | Column::Time(name)
            | Column::Bytes(name)
            | Column::Json(name) => name,
        }
    }

    fn kind(self) -> Kind {
        match self {
            Column::Id(_) | Column::Text(_) | Column::Json(_) => Kind::Text,
            Column::Int(_) => Kind::Int,
            Column::Time(_) => Kind::Time,
            Column::Bytes(_) => Kind::Bytes,
        }
    }
}

/// What an array of one column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Int,
    Time,
    Bytes,
    /// Where a row lies; travels as text.
    Address,
}

impl Kind {
    pub(crate) fn of_mark(mark: char) -> Option<Self> {
        match mark {
            't' => Some(Kind::Text),
            'i' => Some(Kind::Int),
            'd' => Some(Kind::Time),
            'b' => Some(Kind::Bytes),
            'a' => Some(Kind::Address),
            _ => None,
        }
    }

    fn mark(self) -> char {
        match self {
            Kind::Text => 't',
            Kind::Int => 'i',
            Kind::Time => 'd',
            Kind::Bytes => 'b',
            Kind::Address => 'a',
        }
    }

    pub(crate) fn array_cast(self) -> &'static str {
        match self {
            Kind::Text => "::text[]",
            Kind::Int => "::bigint[]",
            Kind::Time => "::timestamptz[]",
            Kind::Bytes => "::bytea[]",
            Kind::Address => "::text[]::tid[]",
        }
    }
}

/// A row set made from one JSON argument.
#[derive(Clone, Debug)]
pub struct JsonRows {
    /// Stands in a FROM clause; takes one argument.
    pub from: String,
    /// The columns, in order, for a SELECT list.
    pub columns: String,
    names: Vec<(&'static str, String)>,
    integers: Vec<&'static str>,
    flat: bool,
    engine: Engine,
    alias: Box<str>,
    /// Columns that are an argument of their own.
    fixed: Vec<&'static str>,
}

impl JsonRows {
    pub(super) fn new(engine: Engine, alias: &str, columns: &[Column]) -> Self {
        let names: Vec<_> = columns
            .iter()
            .enumerate()
            .map(|(place, column)| (column.name(), expression(engine, alias, place, *column)))
            .collect();
        let from = match engine {
            // Elements stay in SQLite's binary form: json_each would write each row out as
            // text for json_extract to parse again.
            Engine::Sqlite => format!("jsonb_each(?) {alias}"),
            Engine::Postgres => {
                let marks: String = columns.iter().map(|column| column.kind().mark()).collect();
                let listed: Vec<_> = columns.iter().map(|column| column.name()).collect();
                format!("unnest(?{{{marks}}}) AS {alias}({})", listed.join(", "))
            }
            Engine::MySql => {
                let listed: Vec<_> = columns
                    .iter()
                    .enumerate()
                    .map(|(place, column)| {
                        let (name, of_type) = (column.name(), mysql_type(*column));
                        format!("{name} {of_type} PATH '$[{place}]'")
                    })
                    .collect();
                format!(
                    "JSON_TABLE(?, '$[*]' COLUMNS ({})) {alias}",
                    listed.join(", ")
                )
            }
        };
        let integers = columns.iter().filter_map(|column| match column {
            Column::Int(name) => Some(*name),
            _ => None,
        });
        JsonRows {
            from,
            integers: integers.collect(),
            columns: listed(&names),
            names,
            flat: false,
            engine,
            alias: alias.into(),
            fixed: Vec::new(),
        }
    }

    pub(super) fn ids(engine: Engine, alias: &str, column: &'static str) -> Self {
        let (from, expression) = match engine {
            Engine::Sqlite => (format!("json_each(?) {alias}"), format!("{alias}.value")),
            Engine::Postgres => (
                format!("unnest(?{{*t}}) AS {alias}({column})"),
                format!("{alias}.{column}"),
            ),
            Engine::MySql => (
                format!(
                    "JSON_TABLE(?, '$[*]' COLUMNS ({column} {} PATH '$')) {alias}",
                    mysql_type(Column::Id(column))
                ),
                format!("{alias}.{column}"),
            ),
        };
        JsonRows {
            from,
            columns: expression.clone(),
            names: vec![(column, expression)],
            integers: Vec::new(),
            flat: true,
            engine,
            alias: alias.into(),
            fixed: Vec::new(),
        }
    }

    /// The expression of one column.
    #[must_use]
    pub fn col(&self, name: &str) -> &str {
        self.names
            .iter()
            .find(|(known, _)| *known == name)
            .map_or("NULL", |(_, text)| text)
    }

    /// The same rows as the `n`-th argument, for a statement whose arguments are numbered.
    #[must_use]
    pub fn arg(mut self, n: usize) -> Self {
        self.from = self.from.replacen('?', &format!("?{n}"), 1);
        self
    }

    /// The same rows with columns that are alike in all of them, each with the number of its
    /// argument. Comes after [`JsonRows::arg`].
    ///
    /// PostgreSQL must not know that they are: without statistics it takes the rows of one tenant
    /// for a few, and seeks by the tenant alone.
    #[must_use]
    pub fn with(mut self, columns: &[(&'static str, usize)]) -> Self {
        let mut selected = String::new();
        for (column, argument) in columns {
            self.fixed.push(column);
            let expression = match self.engine {
                Engine::Postgres => {
                    selected.push_str(&format!("?{argument} AS {column}, "));
                    format!("{}.{column}", self.alias)
                }
                Engine::Sqlite | Engine::MySql => format!("?{argument}"),
            };
            self.names.push((column, expression));
        }
        if self.engine == Engine::Postgres {
            // The OFFSET keeps the planner from looking inside.
            self.from = format!(
                "(SELECT {selected}{0}.* FROM {1} OFFSET 0) AS {0}",
                self.alias, self.from
            );
        }
        self
    }

    pub(super) fn is_flat(&self) -> bool {
        self.flat
    }

    pub(super) fn fixed_count(&self) -> usize {
        self.fixed.len()
    }

    /// Of these keys, those that the rows bring themselves, and the condition on the others.
    pub(super) fn own<'k>(&self, table: &str, keys: &[&'k str]) -> (Vec<&'k str>, String) {
        let (fixed, own): (Vec<&str>, Vec<&str>) =
            keys.iter().partition(|key| self.fixed.contains(key));
        (own, self.matches(table, &fixed))
    }

    /// The condition that a row of `table` is one of these.
    pub(super) fn matches(&self, table: &str, keys: &[&str]) -> String {
        let keys: Vec<_> = keys
            .iter()
            .map(|key| format!("{table}.{key} = {}", self.col(key)))
            .collect();
        keys.join(" AND ")
    }

    /// SQLite has no DELETE … JOIN, and seeks by a row value only as far as its first integer:
    /// those are compared apart, which keeps every column of the key in the seek.
    pub(super) fn sqlite_delete(&self, table: &str, keys: &[&str], before: &str) -> String {
        let (keys, fixed) = self.own(table, keys);
        let before = format!("{before}{}", super::before(&fixed));
        let (integers, texts): (Vec<&str>, Vec<&str>) =
            keys.iter().partition(|key| self.integers.contains(key));
        let values = |keys: &[&str]| {
            let all: Vec<_> = keys.iter().map(|key| self.col(key)).collect();
            all.join(", ")
        };
        if integers.is_empty() {
            return format!(
                "DELETE FROM {table} WHERE {before}({}) IN (SELECT {} FROM {})",
                texts.join(", "),
                values(&texts),
                self.from
            );
        }
        let named: Vec<_> = keys
            .iter()
            .map(|key| format!("{} AS {key}", self.col(key)))
            .collect();
        let texts = texts.join(", ");
        let mut text = format!(
            "WITH gone AS (SELECT {} FROM {}) DELETE FROM {table} WHERE {before}({texts}) IN (SELECT {texts} FROM gone)",
            named.join(", "),
            self.from
        );
        for key in integers {
            text.push_str(&format!(" AND {key} IN (SELECT {key} FROM gone)"));
        }
        text
    }
}

fn listed(names: &[(&'static str, String)]) -> String {
    let all: Vec<_> = names.iter().map(|(_, text)| text.as_str()).collect();
    all.join(", ")
}

fn expression(engine: Engine, alias: &str, place: usize, column: Column) -> String {
    let name = column.name();
    match (engine, column) {
        (Engine::Sqlite, Column::Bytes(_)) => {
            format!("unhex(json_extract({alias}.value, '$[{place}]'))")
        }
        (Engine::Sqlite, _) => format!("json_extract({alias}.value, '$[{place}]')"),
        (Engine::Postgres, Column::Json(_)) => format!("{alias}.{name}::jsonb"),
        (Engine::MySql, Column::Bytes(_)) => format!("UNHEX({alias}.{name})"),
        (Engine::Postgres | Engine::MySql, _) => format!("{alias}.{name}"),
    }
}

/// Of the character set of the table's column, or a join by it would convert the table's.
fn mysql_type(column: Column) -> &'static str {
    match column {
        Column::Id(_) => "VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin",
        Column::Bytes(_) => "VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin",
        Column::Text(_) | Column::Json(_) => {
            "LONGTEXT CHARACTER SET utf8mb4 /*M! COLLATE utf8mb4_nopad_bin */ /*!80017 COLLATE utf8mb4_0900_bin */"
        }
        Column::Int(_) => "BIGINT",
        Column::Time(_) => "DATETIME(6)",
    }
}
