//! What a writer's loop writes through: SQLite's one connection, or any of a server's.

use std::{sync::Arc, time::Duration};

use crate::{Result, Tx, server::Server, sqlite::WriteConnection};

/// What becomes of a transaction whose work has not failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Commit,
    /// The work refused by its own rules; nothing of it is kept, and the caller has its answer.
    Rollback,
}

pub(crate) enum Writer {
    Sqlite(WriteConnection),
    Server(Arc<Server>),
}

impl Writer {
    /// Runs `work` in one transaction and commits it; on any error nothing of it stays.
    pub(crate) async fn transaction<F>(
        &mut self,
        deadline: Duration,
        label: &str,
        work: F,
    ) -> Result<()>
    where
        F: AsyncFnOnce(&mut Tx) -> Result<Verdict>,
    {
        match self {
            Writer::Sqlite(connection) => connection.transaction(deadline, label, work).await,
            Writer::Server(server) => server.transaction(deadline, label, work).await,
        }
    }
}
