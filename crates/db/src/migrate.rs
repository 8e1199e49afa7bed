//! Migrations: forward only, in one transaction where the engine's definitions obey one, remembered
//! with a checksum of their text.

use std::time::Duration;

use sha2::{Digest, Sha256};
use tidewire_core::Clock;

use crate::{
    Db, Dialect, Error, Options, Query, Reader, Result, StoreUrl, Tx, dialect::SQLITE,
    server::LOCKS_TABLE, sqlite, tx::Source,
};

/// One step of the schema. Steps are never edited once released; a new one is added.
#[derive(Clone, Copy)]
pub struct Migration {
    /// Sorts by age, for example `0003_jobs`.
    pub id: &'static str,
    /// The statements, written with the names of [`Dialect::ddl`].
    pub up: &'static [&'static str],
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MigrationReport {
    pub applied: Vec<&'static str>,
    pub already: usize,
}

impl Migration {
    fn statements(&self, dialect: &Dialect) -> Vec<String> {
        self.up.iter().map(|text| dialect.ddl(text)).collect()
    }

    /// Of the text as written, so that it is the same on every engine.
    fn checksum(&self) -> String {
        let mut hash = Sha256::new();
        for text in self.up {
            hash.update(text.as_bytes());
            hash.update([0]);
        }
        hex::encode(hash.finalize())
    }
}

/// A migration that was begun has its row without a checksum until it is done: where definitions
/// commit by themselves, that tells a process what its predecessor left half done.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    id {id} NOT NULL PRIMARY KEY, checksum {id} NOT NULL, applied_at {time} NOT NULL) {clustered}";

/// Building an index over a large table takes its time.
const DEADLINE: Duration = Duration::from_hours(1);

impl Db {
    /// Brings the schema up to date. Of several processes that start at once one does, and the
    /// others wait for it.
    pub async fn migrate(
        &self,
        migrations: &[Migration],
        clock: &Clock,
    ) -> Result<MigrationReport> {
        let (migrations, clock) = (migrations.to_vec(), clock.clone());
        self.transact_within(DEADLINE, "migrate", move |tx| {
            let (migrations, clock) = (migrations.clone(), clock.clone());
            Box::pin(async move {
                let (alone, others) = tx.dialect().alone();
                if !alone.is_empty() {
                    tx.batch(alone, false).await?;
                }
                let migrated = migrate(tx, &migrations, &clock).await;
                if !others.is_empty() {
                    tx.batch(others, false).await?;
                }
                migrated
            })
        })
        .await
    }

    /// The migrations that are still to be applied. Changes nothing; refuses what
    /// [`Db::migrate`] would refuse.
    pub async fn pending(&self, migrations: &[Migration]) -> Result<Vec<&'static str>> {
        pending(&mut self.read(), migrations).await
    }

    /// [`Db::pending`] of a store that this process need not have open: a SQLite file that belongs to
    /// another process is looked into, and one that is not there is not made.
    pub async fn pending_in(
        options: Options,
        migrations: &[Migration],
    ) -> Result<Vec<&'static str>> {
        let StoreUrl::Sqlite(path) = &options.url else {
            let db = Db::open(options).await?;
            let pending = db.pending(migrations).await;
            db.close().await;
            return pending;
        };
        let Some(pool) = sqlite::existing(path).await? else {
            return Ok(missing(migrations, &[]).map(|one| one.id).collect());
        };
        let mut read = Reader::new(Source::Sqlite(pool.clone()), &SQLITE);
        let pending = pending(&mut read, migrations).await;
        pool.close().await;
        pending
    }
}

async fn pending(read: &mut impl Query, migrations: &[Migration]) -> Result<Vec<&'static str>> {
    let there = read.dialect().has_migrations();
    let applied = match read.row(&there, Vec::new()).await? {
        Some(_) => applied(read).await?,
        None => Vec::new(),
    };
    check(migrations, &applied)?;
    Ok(missing(migrations, &applied).map(|one| one.id).collect())
}

async fn migrate(tx: &mut Tx, migrations: &[Migration], clock: &Clock) -> Result<MigrationReport> {
    let dialect = tx.dialect();
    for table in [TABLE, LOCKS_TABLE] {
        tx.batch(&dialect.ddl(table), false).await?;
    }
    let before = applied(tx).await?;
    check(migrations, &before)?;
    let mut report = MigrationReport {
        applied: Vec::new(),
        already: migrations.len() - missing(migrations, &before).count(),
    };
    for migration in missing(migrations, &before) {
        let torn = before.iter().any(|(id, _)| id == migration.id);
        apply(tx, migration, torn, clock).await?;
        tracing::info!(migration = migration.id, "applied a migration");
        report.applied.push(migration.id);
    }
    Ok(report)
}

async fn applied(query: &mut impl Query) -> Result<Vec<(String, String)>> {
    let sql = query
        .dialect()
        .sql("SELECT id, checksum FROM schema_migrations ORDER BY id");
    let rows = query.rows(&sql, Vec::new()).await?;
    rows.iter()
        .map(|row| Ok((row.text(0)?, row.text(1)?)))
        .collect()
}

/// Those that are not applied, or not to their end.
fn missing<'m>(
    migrations: &'m [Migration],
    applied: &'m [(String, String)],
) -> impl Iterator<Item = &'m Migration> {
    migrations.iter().filter(|migration| {
        !applied
            .iter()
            .any(|(id, checksum)| id == migration.id && !checksum.is_empty())
    })
}

/// Refuses a schema that this binary does not know: a newer one, or an edited one.
fn check(migrations: &[Migration], applied: &[(String, String)]) -> Result<()> {
    for (id, checksum) in applied {
        match migrations.iter().find(|migration| migration.id == id) {
            None => {
                return Err(Error::Setup(format!(
                    "the database has the migration {id}, which this version of Tidewire does not know: run the version that made it, or a newer one"
                )));
            }
            Some(migration) if !checksum.is_empty() && migration.checksum() != *checksum => {
                return Err(Error::Setup(format!(
                    "the migration {id} in the database is not the one of this version of Tidewire: restore the version that applied it"
                )));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

async fn apply(tx: &mut Tx, migration: &Migration, torn: bool, clock: &Clock) -> Result<()> {
    let dialect = tx.dialect();
    if !torn {
        let begin = dialect
            .sql("INSERT INTO schema_migrations (id, checksum, applied_at) VALUES (?, '', ?)");
        tx.execute(&begin, vec![migration.id.into(), clock.now().into()])
            .await?;
    }
    for statement in migration.statements(dialect) {
        tx.batch(&statement, torn).await?;
    }
    let end = dialect.sql("UPDATE schema_migrations SET checksum = ?, applied_at = ? WHERE id = ?");
    let args = vec![
        migration.checksum().into(),
        clock.now().into(),
        migration.id.into(),
    ];
    tx.execute(&end, args).await.map(drop)
}
