//! One connection to a server, whichever driver speaks.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Either, Executor as _, MySqlConnection,
    PgConnection,
    mysql::{MySqlConnectOptions, MySqlDatabaseError},
    postgres::PgConnectOptions,
};

use crate::{Arg, Error, Result, Sql, bind, session::Outcome};

/// A transaction that waits longer for a lock gives up.
pub(crate) const LOCK_WITHIN: Duration = Duration::from_secs(5);
/// What the server itself ends, should this process be gone: longer than any deadline here.
const STATEMENT_WITHIN: Duration = Duration::from_secs(60);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Statements that stay prepared.
const PREPARED: usize = 512;

/// What a transaction or a connection to PostgreSQL is set to.
fn postgres_settings() -> [(&'static str, String); 9] {
    let millis = |time: Duration| time.as_millis().to_string();
    [
        ("lock_timeout", millis(LOCK_WITHIN)),
        ("statement_timeout", millis(STATEMENT_WITHIN)),
        (
            "idle_in_transaction_session_timeout",
            millis(STATEMENT_WITHIN),
        ),
        // Every statement is made for an index. A queue's table is empty at one moment and long at
        // the next: a plan that was made while it was empty would walk all of it from then on. So
        // would a join that hashes or sorts it.
        ("enable_seqscan", "off".to_owned()),
        ("enable_bitmapscan", "off".to_owned()),
        ("enable_hashjoin", "off".to_owned()),
        ("enable_mergejoin", "off".to_owned()),
        ("plan_cache_mode", "force_generic_plan".to_owned()),
        ("jit", "off".to_owned()),
    ]
}

/// Where to connect, and how.
#[derive(Clone)]
pub(crate) enum Target {
    Postgres {
        options: Box<PgConnectOptions>,
        /// A pooler gives each transaction another connection: nothing may stay on one.
        pooled: bool,
    },
    MySql(Box<MySqlConnectOptions>),
}

impl Target {
    pub(crate) fn postgres(options: PgConnectOptions, pooled: bool) -> Self {
        let options = options.application_name("tidewire");
        let options = if pooled {
            // Poolers refuse start-up parameters that they do not know.
            options.statement_cache_capacity(0)
        } else {
            options
                .statement_cache_capacity(PREPARED)
                .options(postgres_settings())
        };
        Target::Postgres {
            options: Box::new(options),
            pooled,
        }
    }

    pub(crate) fn mysql(options: MySqlConnectOptions) -> Self {
        let options = options
            .charset("utf8mb4")
            .collation("utf8mb4_bin")
            .timezone("+00:00".to_owned())
            .pipes_as_concat(false)
            .statement_cache_capacity(PREPARED);
        Target::MySql(Box::new(options))
    }

    /// For messages; without the password.
    pub(crate) fn place(&self) -> String {
        let (product, host, port) = match self {
            Target::Postgres { options, .. } => {
                ("PostgreSQL", options.get_host(), options.get_port())
            }
            Target::MySql(options) => ("MySQL", options.get_host(), options.get_port()),
        };
        if host.contains(':') {
            format!("{product} at [{host}]:{port}")
        } else {
            format!("{product} at {host}:{port}")
        }
    }

    pub(super) async fn connect(&self) -> Result<Connection> {
        let connect = async {
            Ok::<_, sqlx::Error>(match self {
                Target::Postgres { options, pooled } => {
                    let inner = Box::new(options.connect().await?);
                    Connection::Postgres {
                        inner,
                        pooled: *pooled,
                    }
                }
                Target::MySql(options) => {
                    let mut inner = options.connect().await?;
                    // Strict: a value that does not fit is an error and not cut off.
                    let ways = format!(
                        "SET SESSION innodb_lock_wait_timeout = {},
                         sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO'",
                        LOCK_WITHIN.as_secs()
                    );
                    inner.execute(AssertSqlSafe(ways)).await?;
                    inner
                        .execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
                        .await?;
                    Connection::MySql(Box::new(inner))
                }
            })
        };
        match tokio::time::timeout(CONNECT_WITHIN, connect).await {
            Ok(Ok(connection)) => Ok(connection),
            // Whatever it is, somebody may mend it while this process runs.
            Ok(Err(error)) => {
                let why = match &error {
                    sqlx::Error::Database(refusal) => refusal.message().to_owned(),
                    other => other.to_string(),
                };
                Err(Error::Unavailable(format!(
                    "cannot connect to {}: {why}",
                    self.place()
                )))
            }
            Err(_) => Err(Error::Unavailable(format!(
                "{} does not answer within {CONNECT_WITHIN:?}",
                self.place()
            ))),
        }
    }
}

pub(crate) enum Connection {
    Postgres {
        inner: Box<PgConnection>,
        pooled: bool,
    },
    MySql(Box<MySqlConnection>),
}

impl Connection {
    pub(super) async fn begin(&mut self) -> Result<()> {
        match self {
            // Set for the transaction alone, as the next one has another connection.
            Connection::Postgres { pooled: true, .. } => {
                let settings = postgres_settings();
                let set = settings.map(|(name, value)| format!("; SET LOCAL {name} = {value}"));
                self.batch(&format!("BEGIN{}", set.concat())).await
            }
            Connection::Postgres { .. } | Connection::MySql(_) => self.batch("BEGIN").await,
        }
    }

    /// Statements that take no arguments, not kept prepared.
    pub(super) async fn batch(&mut self, sql: &str) -> Result<()> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Connection::Postgres { inner, .. } => {
                inner.execute(sql).await?;
            }
            Connection::MySql(inner) => {
                inner.execute(sql).await?;
            }
        }
        Ok(())
    }

    /// A definition that may stand already: on MySQL each commits by itself, and a process that died
    /// in the middle of a migration leaves its first ones behind.
    pub(super) async fn define_again(&mut self, sql: &str) -> Result<()> {
        // ER_TABLE_EXISTS_ERROR, ER_DUP_FIELDNAME, ER_DUP_KEYNAME
        const STANDS: [u16; 3] = [1050, 1060, 1061];
        let Connection::MySql(inner) = self else {
            return self.batch(sql).await;
        };
        match inner.execute(AssertSqlSafe(sql.to_owned())).await {
            Err(sqlx::Error::Database(error))
                if error
                    .try_downcast_ref::<MySqlDatabaseError>()
                    .is_some_and(|error| STANDS.contains(&error.number())) =>
            {
                Ok(())
            }
            other => Ok(other.map(drop)?),
        }
    }

    pub(super) async fn call(&mut self, sql: &Sql, args: Vec<Arg>) -> Result<Outcome> {
        let text = AssertSqlSafe(sql.text.to_string());
        let mut outcome = Outcome::default();
        match self {
            Connection::Postgres { inner, pooled } => {
                // A statement with a name would stay behind on a connection that others get.
                let query = sqlx::query_with(text, bind::postgres(sql, args)?).persistent(!*pooled);
                let mut steps = inner.fetch_many(query);
                while let Some(step) = steps.try_next().await? {
                    match step {
                        Either::Left(done) => outcome.touched = done.rows_affected(),
                        Either::Right(row) => outcome.rows.push(row.into()),
                    }
                }
            }
            Connection::MySql(inner) => {
                let query = sqlx::query_with(text, bind::mysql(sql, args)?);
                let mut steps = inner.fetch_many(query);
                while let Some(step) = steps.try_next().await? {
                    match step {
                        Either::Left(done) => outcome.touched = done.rows_affected(),
                        Either::Right(row) => outcome.rows.push(row.into()),
                    }
                }
            }
        }
        Ok(outcome)
    }

    /// One statement outside any transaction. Behind a pooler preparing and running it are two
    /// trips that only a transaction keeps together.
    pub(super) async fn read(&mut self, sql: &Sql, args: Vec<Arg>) -> Result<Outcome> {
        if !matches!(self, Connection::Postgres { pooled: true, .. }) {
            return self.call(sql, args).await;
        }
        self.begin().await?;
        let outcome = self.call(sql, args).await;
        self.batch(if outcome.is_ok() {
            "COMMIT"
        } else {
            "ROLLBACK"
        })
        .await?;
        outcome
    }

    pub(super) async fn close(self) {
        // What cannot say goodbye is gone already.
        let _ = match self {
            Connection::Postgres { inner, .. } => inner.close().await,
            Connection::MySql(inner) => inner.close().await,
        };
    }
}
