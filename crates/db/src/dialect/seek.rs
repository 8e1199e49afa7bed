//! Going straight to a place of an index. Every engine can, and each wants to be asked in its own
//! way.

use super::{Dialect, Engine};
use crate::Sql;

impl Dialect {
    /// The next table of a FROM clause, with its alias: its rows are looked up by its primary key for
    /// each row of what stands before, in that order.
    ///
    /// MySQL walks all of a table that is small at the moment rather than looking its rows up, and a
    /// statement that locks what it reads then waits for rows that it does not want.
    #[must_use]
    pub fn then(&self, table: &str) -> String {
        self.then_by(table, "PRIMARY")
    }

    /// [`Dialect::then`] by another of its indexes.
    #[must_use]
    pub fn then_by(&self, table: &str, index: &str) -> String {
        match self.engine {
            // SQLite does not reorder a CROSS JOIN, MySQL takes it for any other; PostgreSQL decides
            // for itself.
            Engine::Sqlite | Engine::Postgres => format!("CROSS JOIN {table}"),
            Engine::MySql => format!("STRAIGHT_JOIN {table} FORCE INDEX ({index})"),
        }
    }

    /// The condition that a row comes at a place of an index or behind it: `columns` follow those
    /// columns of the index that are compared with `=`, and `place` has an expression for each.
    #[must_use]
    pub fn at_or_behind(&self, columns: &[&str], place: &[&str]) -> String {
        match self.engine {
            Engine::Sqlite | Engine::Postgres => {
                format!("({}) >= ({})", columns.join(", "), place.join(", "))
            }
            // MySQL makes ranges of an OR, and none of a row value.
            Engine::MySql => {
                let mut pairs = columns.iter().zip(place).rev();
                let last = pairs.next();
                let last = last.map(|(column, value)| format!("{column} >= {value}"));
                pairs.fold(last.unwrap_or_default(), |behind, (column, value)| {
                    format!("({column} > {value} OR ({column} = {value} AND {behind}))")
                })
            }
        }
    }

    /// The first row of each group of an index's rows: `group` are its first columns, `order` the
    /// two behind them and its last. What lies between the first rows is not walked.
    #[must_use]
    pub fn firsts(&self, table: &str, group: &[&str], order: [&str; 2]) -> Sql {
        let all: Vec<_> = group.iter().chain(&order).copied().collect();
        let columns = all.join(", ");
        let of = |alias: &str, columns: &[&str]| {
            let named: Vec<_> = columns.iter().map(|c| format!("{alias}{c}")).collect();
            named.join(", ")
        };
        let first = format!("SELECT {columns} FROM {table} ORDER BY {columns} LIMIT 1");
        let text = match self.engine {
            // The plus signs take the columns' types from them: SQLite seeks by a whole row value
            // only if it need not convert a part of it. It seeks to the first row that is not less
            // even for `>`, so the bound lies behind every row of the group: no text and no number
            // is greater than a blob.
            Engine::Sqlite => {
                let bound = format!("{}, x'', x''", of("+f.", group));
                let next: Vec<_> = all
                    .iter()
                    .map(|column| {
                        format!(
                            "(SELECT {column} FROM {table} WHERE ({columns}) >= ({bound}) ORDER BY {columns} LIMIT 1)"
                        )
                    })
                    .collect();
                format!(
                    "WITH RECURSIVE firsts ({columns}) AS (SELECT {columns} FROM ({first}) start
                     UNION ALL SELECT {} FROM firsts f WHERE f.{} IS NOT NULL)
                     SELECT {columns} FROM firsts WHERE {1} IS NOT NULL",
                    next.join(", "),
                    all[0]
                )
            }
            Engine::Postgres => format!(
                "WITH RECURSIVE firsts ({columns}) AS (({first})
                 UNION ALL SELECT n.* FROM firsts f CROSS JOIN LATERAL
                    (SELECT {columns} FROM {table} WHERE ({}) > ({}) ORDER BY {columns} LIMIT 1) n)
                 SELECT {columns} FROM firsts",
                group.join(", "),
                of("f.", group)
            ),
            // A range cannot take its bound from another row there, but a minimum of each group is
            // looked up so.
            Engine::MySql => {
                let same: Vec<_> = group.iter().map(|c| format!("s.{c} = f.{c}")).collect();
                format!(
                    "SELECT {}, f.{first}, (SELECT s.{second} FROM {table} s WHERE {} AND s.{first} = f.{first}
                        ORDER BY s.{second} LIMIT 1)
                     FROM (SELECT {grouped}, min({first}) AS {first} FROM {table} GROUP BY {grouped}) f",
                    of("f.", group),
                    same.join(" AND "),
                    first = order[0],
                    second = order[1],
                    grouped = group.join(", "),
                )
            }
        };
        self.sql(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Column, MYSQL, POSTGRES, SQLITE};

    #[test]
    fn a_place_is_said_as_each_engine_seeks_it() {
        let place = ["?1", "?2", "?3"];
        let said = [&SQLITE, &POSTGRES, &MYSQL]
            .map(|dialect| dialect.at_or_behind(&["a", "b", "c"], &place));
        assert_eq!(said[0], "(a, b, c) >= (?1, ?2, ?3)");
        assert_eq!(said[0], said[1]);
        assert_eq!(
            said[2],
            "(a > ?1 OR (a = ?1 AND (b > ?2 OR (b = ?2 AND c >= ?3))))"
        );
    }

    #[test]
    fn what_is_alike_in_all_rows_travels_once() {
        let texts = [&SQLITE, &POSTGRES, &MYSQL].map(|dialect| {
            let ids = dialect.json_ids("r", "id").arg(2).with(&[("tenant", 1)]);
            let update = dialect.update_rows("t", &ids, &["tenant", "id"], &[("x", "?3")]);
            let rows = dialect
                .json_rows("r", &[Column::Id("id"), Column::Int("n")])
                .arg(2)
                .with(&[("tenant", 1)]);
            let delete = dialect.delete_rows("t", &rows, &["tenant", "id", "n"]);
            [update.text.to_string(), delete.text.to_string()]
        });
        assert_eq!(
            texts[0][0],
            "UPDATE t SET x = ? WHERE t.tenant = ? AND id IN (SELECT r.value FROM json_each(?) r)"
        );
        assert!(
            texts[0][1].ends_with(
                "DELETE FROM t WHERE t.tenant = ? AND (id) IN (SELECT id FROM gone) AND n IN (SELECT n FROM gone)"
            ),
            "{}",
            texts[0][1]
        );
        assert_eq!(
            texts[1][0],
            "UPDATE t SET x = $1 FROM (SELECT $2 AS tenant, r.* FROM unnest($3::text[]) AS r(id) OFFSET 0) AS r \
             WHERE t.tenant = r.tenant AND t.id = r.id"
        );
        assert!(texts[2][0].ends_with(
            "STRAIGHT_JOIN t FORCE INDEX (PRIMARY) ON t.tenant = ? AND t.id = r.id SET t.x = ?"
        ));
        assert!(texts[2][1].ends_with("ON t.tenant = ? AND t.id = r.id AND t.n = r.n"));
    }
}
