//! Lock rows: what an operation must hold before its batch reads anything, where several processes
//! write.
//!
//! A row of `write_locks` is locked and never changed. Updating one single row again and again
//! collapses while an old transaction is held open, as every dead version of it is walked; a lock
//! alone leaves no version behind. Rows are made when a name is first used and never deleted.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Mutex, PoisonError},
};

use crate::{Arg, Dialect, Error, Query as _, Result, Sql, Tx};

/// The names, as their table has them.
pub(crate) const LOCKS_TABLE: &str =
    "CREATE TABLE IF NOT EXISTS write_locks (name {id} NOT NULL PRIMARY KEY) {clustered}";

/// Names that are remembered to have their row; past it, memory starts anew.
const REMEMBERED: usize = 100_000;

/// What to do about a lock that somebody else holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Wait for it, up to the engine's lock time-out.
    Wait,
    /// Go on without it.
    Skip,
}

pub(crate) struct Locks {
    wait: Sql,
    skip: Sql,
    standing: Sql,
    insert: Sql,
    known: Mutex<HashSet<Box<str>>>,
}

impl Locks {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let names = dialect.json_ids("r", "name");
        let (insert, unless_known) = dialect.insert_new();
        Locks {
            wait: dialect.lock_names(Patience::Wait),
            skip: dialect.lock_names(Patience::Skip),
            standing: dialect.sql(&format!(
                "SELECT l.name FROM {} JOIN write_locks l ON l.name = {}",
                names.from, names.columns
            )),
            insert: dialect.sql(&format!(
                "{insert} write_locks (name) SELECT {} FROM {}{unless_known}",
                names.columns, names.from
            )),
            known: Mutex::default(),
        }
    }

    /// Which of these names have no row yet, as far as this process knows.
    pub(crate) fn unknown(&self, names: &BTreeSet<Box<str>>) -> Vec<Box<str>> {
        let known = self.lock();
        let unknown = names.iter().filter(|name| !known.contains(&***name));
        unknown.cloned().collect()
    }

    /// Makes the rows of names that have none. In a transaction of its own: others would wait for
    /// its end. What stands is not inserted and ignored: on MySQL that waits for whoever holds it.
    pub(crate) async fn make(&self, tx: &mut Tx, names: &[Box<str>]) -> Result<()> {
        let mut missing: BTreeSet<&str> = names.iter().map(|name| &**name).collect();
        for row in tx.rows(&self.standing, vec![Arg::json(names)?]).await? {
            missing.remove(row.text(0)?.as_str());
        }
        if missing.is_empty() {
            return Ok(());
        }
        tx.push(&self.insert, vec![Arg::json(&missing)?]).await
    }

    pub(crate) fn made(&self, names: Vec<Box<str>>) {
        let mut known = self.lock();
        if known.len() > REMEMBERED {
            known.clear();
        }
        known.extend(names);
    }

    /// Takes the locks, in the order of their names so that two who want several never wait for
    /// each other; the names that are held by somebody else and were skipped.
    pub(crate) async fn take(
        &self,
        tx: &mut Tx,
        names: &BTreeSet<Box<str>>,
        patience: Patience,
    ) -> Result<BTreeSet<Box<str>>> {
        let sql = match patience {
            Patience::Wait => &self.wait,
            Patience::Skip => &self.skip,
        };
        let mut busy = names.clone();
        for row in tx.rows(sql, vec![Arg::json(names)?]).await? {
            busy.remove(row.text(0)?.as_str());
        }
        if patience == Patience::Wait && !busy.is_empty() {
            // Their rows are gone: the database was replaced under this process.
            let mut known = self.lock();
            known.retain(|name| !busy.contains(name));
            return Err(Error::Retry(
                "the rows of locks have disappeared and are made again".to_owned(),
            ));
        }
        Ok(busy)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<Box<str>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
