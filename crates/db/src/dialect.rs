//! What differs between engines, each difference under a name. A statement is written once, with
//! `?` for its arguments in order (or `?1`, `?2` … in any order), and asks the dialect only for
//! these names. Nothing outside this crate asks which engine it runs on.

mod ddl;
mod rows;
mod seek;

use tidewire_core::Time;

pub(crate) use rows::Kind;
pub use rows::{Column, JsonRows};

use crate::{
    Error, Result, Sql,
    server::Patience,
    sql::{self, Placeholders},
};

/// The engines. MariaDB speaks MySQL's protocol and takes the same statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
    MySql,
}

/// An engine's ways. Static: there is one value for each engine.
#[derive(Debug)]
pub struct Dialect {
    pub name: &'static str,
    /// Whether nobody but this process can write, and all its writes pass one task: what a
    /// committed batch left behind then still holds when the next begins, and nothing needs a lock.
    pub sole_writer: bool,
    pub(crate) engine: Engine,
}

pub(crate) static SQLITE: Dialect = Dialect {
    name: "sqlite",
    sole_writer: true,
    engine: Engine::Sqlite,
};

pub(crate) static POSTGRES: Dialect = Dialect {
    name: "postgres",
    sole_writer: false,
    engine: Engine::Postgres,
};

pub(crate) static MYSQL: Dialect = Dialect {
    name: "mysql",
    sole_writer: false,
    engine: Engine::MySql,
};

impl Dialect {
    /// A statement. `?` stands for the next argument and `?n` for the n-th, never both kinds in one
    /// statement; a question mark stands nowhere else, not in a literal.
    #[must_use]
    pub fn sql(&self, text: &str) -> Sql {
        let placeholders = match self.engine {
            // SQLite numbers placeholders by their names: `$1` would be looked up, 14 times slower.
            Engine::Sqlite | Engine::MySql => Placeholders::Bare,
            Engine::Postgres => Placeholders::Numbered,
        };
        sql::parse(text, placeholders)
    }

    /// A row set `alias` out of one JSON argument: an array of arrays, a place for each column.
    #[must_use]
    pub fn json_rows(&self, alias: &str, columns: &[Column]) -> JsonRows {
        JsonRows::new(self.engine, alias, columns)
    }

    /// A row set of one column out of one JSON argument that is a plain array of names. Costs less
    /// than half of [`Dialect::json_rows`] on SQLite.
    #[must_use]
    pub fn json_ids(&self, alias: &str, column: &'static str) -> JsonRows {
        JsonRows::ids(self.engine, alias, column)
    }

    /// Updates the rows of `table` that `rows` names by `keys`, its primary key. Each pair of `set` is a column and
    /// its expression, which may use the columns of `rows` and, as `table.column`, of the table.
    #[must_use]
    pub fn update_rows(
        &self,
        table: &str,
        rows: &JsonRows,
        keys: &[&str],
        set: &[(&str, &str)],
    ) -> Sql {
        self.update_rows_where(table, rows, keys, set, "")
    }

    /// [`Dialect::update_rows`], narrowed by a condition on the table's columns. `set` and `also`
    /// may take arguments; they and the row set ([`JsonRows::arg`]) are numbered then.
    #[must_use]
    pub fn update_rows_where(
        &self,
        table: &str,
        rows: &JsonRows,
        keys: &[&str],
        set: &[(&str, &str)],
        also: &str,
    ) -> Sql {
        let assign = |prefix: &str| {
            let pairs: Vec<_> = set
                .iter()
                .map(|(column, value)| format!("{prefix}{column} = {value}"))
                .collect();
            pairs.join(", ")
        };
        let text = match self.engine {
            Engine::Sqlite if rows.is_flat() && keys.len() == 1 + rows.fixed_count() => {
                let (own, fixed) = rows.own(table, keys);
                format!(
                    "UPDATE {table} SET {} WHERE {}{}{} IN (SELECT {} FROM {})",
                    assign(""),
                    before(also),
                    before(&fixed),
                    own.join(", "),
                    rows.columns,
                    rows.from
                )
            }
            Engine::Sqlite | Engine::Postgres => format!(
                "UPDATE {table} SET {} FROM {} WHERE {}{}",
                assign(""),
                rows.from,
                before(also),
                rows.matches(table, keys)
            ),
            // An IN over the row set never ends on MariaDB.
            Engine::MySql => format!(
                "UPDATE {} {} ON {} SET {}{}",
                rows.from,
                self.then(table),
                rows.matches(table, keys),
                assign(&format!("{table}.")),
                if also.is_empty() {
                    String::new()
                } else {
                    format!(" WHERE {also}")
                }
            ),
        };
        self.sql(&text)
    }

    /// Deletes the rows of `table` that `rows` names by `keys`: its primary key or the beginning of it,
    /// and unique together even without those that are integers.
    #[must_use]
    pub fn delete_rows(&self, table: &str, rows: &JsonRows, keys: &[&str]) -> Sql {
        self.delete_rows_where(table, rows, keys, "")
    }

    /// [`Dialect::delete_rows`], narrowed by a condition on the table's columns, which may take
    /// arguments; they and the row set ([`JsonRows::arg`]) are numbered then.
    #[must_use]
    pub fn delete_rows_where(
        &self,
        table: &str,
        rows: &JsonRows,
        keys: &[&str],
        also: &str,
    ) -> Sql {
        let text = match self.engine {
            Engine::Sqlite => rows.sqlite_delete(table, keys, &before(also)),
            Engine::Postgres => format!(
                "DELETE FROM {table} USING {} WHERE {}{}",
                rows.from,
                before(also),
                rows.matches(table, keys)
            ),
            Engine::MySql => format!(
                "DELETE {table} FROM {} {} ON {}{}",
                rows.from,
                self.then(table),
                rows.matches(table, keys),
                if also.is_empty() {
                    String::new()
                } else {
                    format!(" WHERE {also}")
                }
            ),
        };
        self.sql(&text)
    }

    /// Behind a SELECT inside a transaction: nobody changes the rows of its tables until the
    /// commit. Rows come as they are when the lock is had.
    #[must_use]
    pub fn lock(&self) -> &'static str {
        match self.engine {
            Engine::Sqlite => "",
            Engine::Postgres | Engine::MySql => " FOR UPDATE",
        }
    }

    /// Like [`Dialect::skip_locked`], where it is enough to lock the rows of one table, `alias`.
    #[must_use]
    pub fn skip_locked_of(&self, alias: &str) -> String {
        match self.engine {
            Engine::Postgres => format!(" FOR UPDATE OF {alias} SKIP LOCKED"),
            // MariaDB locks all tables of a query or none.
            Engine::Sqlite | Engine::MySql => self.skip_locked().to_owned(),
        }
    }

    /// Like [`Dialect::lock`], but rows that somebody else has locked are left out.
    #[must_use]
    pub fn skip_locked(&self) -> &'static str {
        match self.engine {
            Engine::Sqlite => "",
            Engine::Postgres | Engine::MySql => " FOR UPDATE SKIP LOCKED",
        }
    }

    /// Locks rows of `write_locks` by a list of their names, in its order.
    pub(crate) fn lock_names(&self, patience: Patience) -> Sql {
        let skip = match patience {
            Patience::Wait => "",
            Patience::Skip => " SKIP LOCKED",
        };
        let names = self.json_ids("r", "name");
        let text = match self.engine {
            // Locked after they were sorted.
            Engine::Postgres => format!(
                "SELECT l.name FROM write_locks l WHERE l.name IN (SELECT {} FROM {})
                 ORDER BY l.name FOR NO KEY UPDATE OF l{skip}",
                names.columns, names.from
            ),
            // Locked as the join meets them, in the order of the list.
            Engine::MySql => format!(
                "SELECT l.name FROM {} STRAIGHT_JOIN write_locks l ON l.name = {} FOR UPDATE{skip}",
                names.from, names.columns
            ),
            // The writer is the lock.
            Engine::Sqlite => format!("SELECT {} FROM {}", names.columns, names.from),
        };
        self.sql(&text)
    }

    /// Counts the rows of `from` (a FROM clause with its conditions) and locks them until the
    /// commit. The count is the sum of column 0 over the rows of the answer.
    #[must_use]
    pub fn count_locked(&self, from: &str) -> Sql {
        match self.engine {
            Engine::Sqlite => self.sql(&format!("SELECT count(*) {from}")),
            // An aggregate has no rows that could be locked.
            Engine::Postgres | Engine::MySql => {
                self.sql(&format!("SELECT 1 {from}{}", self.lock()))
            }
        }
    }

    /// Where a row lies, as text: for rows that this transaction has locked, and deletes by
    /// [`Dialect::delete_addressed`] without looking for them again. `None` where rows lie in their
    /// keys.
    #[must_use]
    pub fn address(&self, alias: &str) -> Option<String> {
        match self.engine {
            Engine::Postgres => Some(format!("CAST({alias}.ctid AS text)")),
            Engine::Sqlite | Engine::MySql => None,
        }
    }

    /// Deletes the rows of `table` that lie where a list of [`Dialect::address`]es says.
    #[must_use]
    pub fn delete_addressed(&self, table: &str) -> Option<Sql> {
        self.address(table)?;
        Some(self.sql(&format!(
            "DELETE FROM {table} USING unnest(?{{*a}}) AS r(address) WHERE {table}.ctid = r.address"
        )))
    }

    /// The sum of a column of integers, as an integer.
    #[must_use]
    pub fn sum(&self, column: &str) -> String {
        match self.engine {
            Engine::Sqlite => format!("sum({column})"),
            Engine::Postgres => format!("CAST(sum({column}) AS bigint)"),
            Engine::MySql => format!("CAST(sum({column}) AS SIGNED)"),
        }
    }

    /// `table` in a FROM clause, read along `index`: for a list whose order the index has, where an
    /// engine without statistics might rather walk another one. PostgreSQL has no such words, and
    /// decides by what it counts.
    #[must_use]
    pub fn by_index(&self, table: &str, index: &str) -> String {
        match self.engine {
            Engine::Sqlite => format!("{table} INDEXED BY {index}"),
            Engine::Postgres => table.to_owned(),
            Engine::MySql => format!("{table} FORCE INDEX ({index})"),
        }
    }

    /// The verb of an INSERT that leaves rows out whose key stands already, and what follows its
    /// rows. For rows whose content does not matter; where it does, look first.
    #[must_use]
    pub fn insert_new(&self) -> (&'static str, &'static str) {
        match self.engine {
            Engine::Sqlite | Engine::Postgres => ("INSERT INTO", " ON CONFLICT DO NOTHING"),
            Engine::MySql => ("INSERT IGNORE INTO", ""),
        }
    }

    /// Names of column types and table options for a migration:
    ///
    /// - `{id}` an id or name of the API's alphabet, `{key}` any text of at most 512 characters;
    ///   both are compared by their bytes and can be indexed;
    /// - `{text}` any text, `{json}` a document, `{time}`, `{int}` (64 bits), `{bytes}` (at most 64);
    /// - `{clustered}` behind the closing bracket of a table whose rows live in its primary key,
    ///   `{churning}` in its place for one whose rows come, change and go all the time;
    /// - `{where …}` behind an index: the condition of a partial one. An engine without them indexes
    ///   all rows, so it must not be what makes a unique index right, except for `… IS NOT NULL`.
    #[must_use]
    pub fn ddl(&self, text: &str) -> String {
        ddl::translate(self.engine, text)
    }

    /// Asks for the engine's own time, as it is when the statement runs.
    pub(crate) fn now(&self) -> Sql {
        self.sql(match self.engine {
            Engine::Sqlite => "SELECT strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')",
            Engine::Postgres => "SELECT clock_timestamp()",
            Engine::MySql => "SELECT UTC_TIMESTAMP(6)",
        })
    }

    /// What a migrating process runs first and last, so that others who start at the same time wait.
    /// Held by the transaction on PostgreSQL and by the connection on MySQL, whose DDL commits.
    pub(crate) fn alone(&self) -> (&'static str, &'static str) {
        match self.engine {
            // Its one writer is alone.
            Engine::Sqlite => ("", ""),
            Engine::Postgres => (
                "SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0;
                 SELECT pg_advisory_xact_lock(hashtextextended('tidewire.migrate.' || current_schema(), 0))",
                "",
            ),
            Engine::MySql => (
                "SELECT GET_LOCK(CONCAT('tidewire.', SHA1(DATABASE())), 3600)",
                "SELECT RELEASE_LOCK(CONCAT('tidewire.', SHA1(DATABASE())))",
            ),
        }
    }

    /// Answers a row if the table of migrations is there.
    pub(crate) fn has_migrations(&self) -> Sql {
        self.sql(match self.engine {
            Engine::Sqlite => "SELECT 1 FROM sqlite_master WHERE name = 'schema_migrations'",
            Engine::Postgres => "SELECT 1 WHERE to_regclass('schema_migrations') IS NOT NULL",
            Engine::MySql => {
                "SELECT 1 FROM information_schema.tables
                 WHERE table_schema = DATABASE() AND table_name = 'schema_migrations'"
            }
        })
    }

    /// A time as it travels inside a JSON row set.
    #[must_use]
    pub fn json_time(&self, time: Time) -> String {
        match self.engine {
            Engine::Sqlite => time.to_string(),
            Engine::Postgres => time.micros().to_string(),
            Engine::MySql => {
                let mut text = time.to_string();
                // `2026-01-31T12:00:00.000000Z`, whose T and Z its parser takes with a warning.
                text.truncate(26);
                text.replacen('T', " ", 1)
            }
        }
    }

    /// A time as a row of SQLite holds it.
    pub(crate) fn parse_time(text: &str) -> Result<Time> {
        text.parse().map_err(Error::Broken)
    }
}

fn before(also: &str) -> String {
    if also.is_empty() {
        String::new()
    } else {
        format!("{also} AND ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&Dialect; 3] = [&SQLITE, &POSTGRES, &MYSQL];

    fn texts(make: impl Fn(&Dialect) -> Sql) -> [String; 3] {
        ALL.map(|dialect| make(dialect).text.to_string())
    }

    #[test]
    fn rows_name_what_is_updated() {
        let [sqlite, postgres, mysql] = texts(|dialect| {
            let rows = dialect.json_rows("r", &[Column::Id("a"), Column::Int("n")]);
            dialect.update_rows("t", &rows, &["a"], &[("n", "t.n + 1")])
        });
        assert_eq!(
            sqlite,
            "UPDATE t SET n = t.n + 1 FROM jsonb_each(?) r WHERE t.a = json_extract(r.value, '$[0]')"
        );
        assert_eq!(
            postgres,
            "UPDATE t SET n = t.n + 1 FROM unnest($1::text[], $2::bigint[]) AS r(a, n) WHERE t.a = r.a"
        );
        assert!(mysql.starts_with("UPDATE JSON_TABLE(?, '$[*]' COLUMNS (a VARCHAR(255)"));
        assert!(
            mysql.ends_with(
                "r STRAIGHT_JOIN t FORCE INDEX (PRIMARY) ON t.a = r.a SET t.n = t.n + 1"
            )
        );
    }

    #[test]
    fn rows_name_what_is_deleted() {
        let [sqlite, postgres, mysql] = texts(|dialect| {
            let rows = dialect.json_rows("r", &[Column::Id("a"), Column::Int("n")]);
            dialect.delete_rows("t", &rows, &["a", "n"])
        });
        assert!(sqlite.ends_with(
            "DELETE FROM t WHERE (a) IN (SELECT a FROM gone) AND n IN (SELECT n FROM gone)"
        ));
        assert!(postgres.ends_with("r(a, n) WHERE t.a = r.a AND t.n = r.n"));
        assert!(
            mysql.ends_with("r STRAIGHT_JOIN t FORCE INDEX (PRIMARY) ON t.a = r.a AND t.n = r.n")
        );
    }

    #[test]
    fn a_list_of_ids_may_be_narrowed_with_numbered_arguments() {
        let make = |dialect: &Dialect| {
            let ids = dialect.json_ids("r", "id").arg(3);
            dialect.update_rows_where("t", &ids, &["id"], &[("x", "?1")], "t.tenant = ?2")
        };
        let [sqlite, postgres, mysql] = texts(make);
        assert_eq!(
            sqlite,
            "UPDATE t SET x = ? WHERE t.tenant = ? AND id IN (SELECT r.value FROM json_each(?) r)"
        );
        assert_eq!(
            postgres,
            "UPDATE t SET x = $1 FROM unnest($2::text[]) AS r(id) WHERE t.tenant = $3 AND t.id = r.id"
        );
        let order = |dialect: &Dialect| -> Vec<usize> {
            let slots = make(dialect).slots.unwrap_or_default();
            slots.iter().map(|slot| slot.arg).collect()
        };
        assert_eq!(order(&POSTGRES), [0, 2, 1]);
        assert!(mysql.ends_with("SET t.x = ? WHERE t.tenant = ?"));
        assert_eq!(order(&MYSQL), [2, 0, 1]);
    }

    #[test]
    fn a_list_is_read_along_an_index_where_the_engine_can_be_told() {
        let said = ALL.map(|dialect| dialect.by_index("t", "t_by_a"));
        assert_eq!(said, ["t INDEXED BY t_by_a", "t", "t FORCE INDEX (t_by_a)"]);
    }

    #[test]
    fn times_travel_as_each_engine_reads_them() {
        let time = Time::from_micros(1_769_860_800_000_042);
        let travels = ALL.map(|dialect| dialect.json_time(time));
        assert_eq!(
            travels,
            [
                "2026-01-31T12:00:00.000042Z",
                "1769860800000042",
                "2026-01-31 12:00:00.000042"
            ]
        );
    }
}
