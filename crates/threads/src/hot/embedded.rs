//! The store as the hot log: everything is in its tables when it is acknowledged.

use std::sync::Arc;

use tidewire_db::{BoxFuture, Db, Lane, Result as DbResult};
use tidewire_events::{StreamEnd, Stretch};
use tokio_util::sync::CancellationToken;

use super::{HotLog, HotTurn, Kept, Once, Page};
use crate::{
    Accepted, Error, Stored, TurnStatus,
    accept::{Accept, Accepts, Asked},
    append::{Appends, ThreadAppend},
    model::ThreadKey,
    service::{Core, no_such_turn},
};

pub(crate) struct Embedded {
    core: Arc<Core>,
    db: Db,
    kept: Kept,
    accepts: Lane<Accepts>,
    appends: Lane<Appends>,
}

impl Embedded {
    pub(crate) fn new(core: &Arc<Core>, db: &Db, kept: Kept) -> Self {
        Embedded {
            accepts: db.lane(Accepts(Arc::downgrade(core))),
            appends: db.lane(Appends(Arc::downgrade(core))),
            core: Arc::clone(core),
            db: db.clone(),
            kept,
        }
    }

    async fn take(&self, op: &Accept) -> Result<Accepted, Error> {
        match self.accepts.submit(op.clone()).await?? {
            Asked::Accepted(accepted) => Ok(accepted),
            Asked::Interrupts => {
                let (core, op) = (Arc::clone(&self.core), op.clone());
                self.db
                    .transact("threads.interrupt", move |tx| {
                        let (core, op) = (Arc::clone(&core), op.clone());
                        Box::pin(async move { core.accept_one_in(tx, &op).await })
                    })
                    .await
            }
        }
    }

    async fn write(&self, op: &ThreadAppend) -> Result<Vec<Stored>, Error> {
        if op.is_plain()
            && let Some(stored) = self.appends.submit(op.clone()).await?
        {
            return Ok(stored);
        }
        let (core, op) = (Arc::clone(&self.core), op.clone());
        self.db
            .transact("threads.append", move |tx| {
                let (core, op) = (Arc::clone(&core), op.clone());
                Box::pin(async move { core.append_in(tx, &op).await })
            })
            .await
    }

    async fn end(&self, key: &ThreadKey, turn: &str, reason: Option<&str>) -> Result<(), Error> {
        let core = Arc::clone(&self.core);
        let (key, turn, reason) = (key.clone(), turn.to_owned(), reason.map(str::to_owned));
        self.db
            .transact("threads.cancel", move |tx| {
                let (core, key) = (Arc::clone(&core), key.clone());
                let (turn, reason) = (turn.clone(), reason.clone());
                Box::pin(async move {
                    core.cancel_in(tx, &key, &[&turn], reason.as_deref(), true)
                        .await?;
                    let found = core.store.turns(tx, &[(&key, &turn)]).await?;
                    let found = found.into_iter().next().map(|(_, turn)| turn);
                    let found = found.ok_or_else(|| no_such_turn(&key, &turn))?;
                    match found.status {
                        TurnStatus::Cancelled => Ok(()),
                        status => Err(Error::Over { turn, status }),
                    }
                })
            })
            .await
    }
}

impl HotLog for Embedded {
    fn name(&self) -> &'static str {
        "embedded"
    }

    fn is_apart(&self) -> bool {
        false
    }

    /// What happens once is the request keys' to say, in the store.
    fn accept<'a>(
        &'a self,
        turn: &'a Accept,
        _: Option<Once>,
    ) -> BoxFuture<'a, Result<Accepted, Error>> {
        Box::pin(self.take(turn))
    }

    fn append<'a>(&'a self, op: &'a ThreadAppend) -> BoxFuture<'a, Result<Vec<Stored>, Error>> {
        Box::pin(self.write(op))
    }

    fn cancel<'a>(
        &'a self,
        key: &'a ThreadKey,
        turn: &'a str,
        reason: Option<&'a str>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.end(key, turn, reason))
    }

    fn ends<'a>(&'a self, keys: &'a [ThreadKey]) -> BoxFuture<'a, DbResult<Vec<StreamEnd>>> {
        Box::pin(self.kept.ends(keys))
    }

    fn read<'a>(
        &'a self,
        key: &'a ThreadKey,
        turn: Option<&'a str>,
        span: (u64, u64),
        most: Stretch,
    ) -> BoxFuture<'a, DbResult<Page>> {
        Box::pin(self.kept.read(key, turn, span, most))
    }

    fn turns<'a>(
        &'a self,
        _: &'a ThreadKey,
        _: Option<&'a str>,
    ) -> BoxFuture<'a, DbResult<Vec<HotTurn>>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// The store is asked by its own checks.
    fn check(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn persist(&self, stop: CancellationToken) -> BoxFuture<'_, ()> {
        Box::pin(stop.cancelled_owned())
    }

    fn behind(&self) -> u64 {
        0
    }
}
