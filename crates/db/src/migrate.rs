//! Migrations: forward only, each in one transaction, remembered with a checksum of its text.

use sha2::{Digest, Sha256};
use tidewire_core::Clock;

use crate::{Db, Dialect, Error, Query, Result, Tx};

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
        hash.finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

const TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    id {id} NOT NULL PRIMARY KEY, checksum {text} NOT NULL, applied_at {time} NOT NULL)";

impl Db {
    /// Brings the schema up to date.
    pub async fn migrate(
        &self,
        migrations: &[Migration],
        clock: &Clock,
    ) -> Result<MigrationReport> {
        let table = self.dialect().ddl(TABLE);
        self.transact("migrate", move |tx| {
            let table = table.clone();
            Box::pin(async move { tx.batch(&table).await })
        })
        .await?;
        self.check(migrations, &self.applied().await?)?;
        let mut report = MigrationReport::default();
        for migration in migrations.iter().copied() {
            let clock = clock.clone();
            let new = self
                .transact("migrate", move |tx| {
                    Box::pin(apply(tx, migration, clock.clone()))
                })
                .await?;
            if new {
                tracing::info!(migration = migration.id, "applied a migration");
                report.applied.push(migration.id);
            } else {
                report.already += 1;
            }
        }
        Ok(report)
    }

    async fn applied(&self) -> Result<Vec<(String, String)>> {
        let sql = self
            .dialect()
            .sql("SELECT id, checksum FROM schema_migrations ORDER BY id");
        let rows = self.read().rows(&sql, Vec::new()).await?;
        rows.iter()
            .map(|row| Ok((row.text(0)?, row.text(1)?)))
            .collect()
    }

    /// Refuses a schema that this binary does not know: a newer one, or an edited one.
    fn check(&self, migrations: &[Migration], applied: &[(String, String)]) -> Result<()> {
        for (id, checksum) in applied {
            match migrations.iter().find(|migration| migration.id == id) {
                None => {
                    return Err(Error::Setup(format!(
                        "the database has the migration {id}, which this version of Tidewire does not know: run the version that made it, or a newer one"
                    )));
                }
                Some(migration) if migration.checksum() != *checksum => {
                    return Err(Error::Setup(format!(
                        "the migration {id} in the database is not the one of this version of Tidewire: restore the version that applied it"
                    )));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// Whether the migration was new.
async fn apply(tx: &mut Tx, migration: Migration, clock: Clock) -> Result<bool> {
    let dialect = tx.dialect();
    let known = dialect.sql("SELECT 1 FROM schema_migrations WHERE id = ?");
    if tx.row(&known, vec![migration.id.into()]).await?.is_some() {
        return Ok(false);
    }
    for statement in migration.statements(dialect) {
        tx.batch(&statement).await?;
    }
    let insert =
        dialect.sql("INSERT INTO schema_migrations (id, checksum, applied_at) VALUES (?, ?, ?)");
    tx.execute(
        &insert,
        vec![
            migration.id.into(),
            migration.checksum().into(),
            clock.now().into(),
        ],
    )
    .await?;
    Ok(true)
}
