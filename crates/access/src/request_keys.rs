//! Request keys (`Idempotency-Key`): a POST that is sent twice happens once.
//!
//! The row in `request_keys` is authoritative. It is written in the transaction of the effect that
//! it remembers, so either both are there or neither. A request moves from *unknown* to
//! *unfinished* (in this process's memory only) to *answered* (the row), and back to *unknown* when
//! its effect fails or, after [`KEPT`], when the row has aged. Two processes that meet over one key
//! both run the effect, and the primary key lets one of them commit: the other one waits for that,
//! is undone, and gives the first one's answer.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tidewire_core::{Clock, Time};
use tidewire_db::{BoxFuture, Db, Tx};

use crate::{
    Error, Result,
    secret::Hash256,
    store::{RequestId, RequestRow, Store},
};

/// For how long an answer is given again.
pub const KEPT: Duration = Duration::from_hours(24);
/// Rows that one transaction of the sweep deletes; in between others get their turn to write.
const SWEPT_AT_ONCE: u32 = 500;

/// What an effect answers: a status and a JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub json: String,
}

impl Answer {
    pub fn new(status: u16, body: &impl Serialize) -> Result<Self> {
        let json = serde_json::to_string(body).map_err(|error| Error::Answer(error.to_string()))?;
        Ok(Answer { status, json })
    }
}

/// An answer, and whether it was given before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    pub answer: Answer,
    /// The effect did not run: this is the first request's answer.
    pub replayed: bool,
}

/// One POST.
#[derive(Clone, Copy)]
pub struct Request<'r> {
    pub tenant: &'r Arc<str>,
    /// The route's name, the same for ever: `jobs.enqueue`. Keys of different routes are different.
    pub route: &'static str,
    /// The header's value; `None` without one.
    pub key: Option<&'r str>,
    /// The bytes as they were sent.
    pub body: &'r [u8],
}

/// Cheap to clone; the clones share what is unfinished.
#[derive(Clone)]
pub struct RequestKeys {
    db: Db,
    clock: Clock,
    store: Store,
    unfinished: Unfinished,
}

impl RequestKeys {
    /// One for each process: two would not know each other's unfinished requests.
    pub(crate) fn new(db: Db, clock: Clock, store: Store) -> Self {
        RequestKeys {
            db,
            clock,
            store,
            unfinished: Unfinished::default(),
        }
    }

    /// Runs `effect` in a transaction, or gives the answer of the request that came with this key
    /// before. Without a key the effect simply runs. An effect that fails leaves nothing, and its
    /// key is free again; what it wants remembered it returns as a success. Like everything in a
    /// transaction, it may be run more than once and speaks to the store alone.
    pub async fn run<E, F>(&self, request: Request<'_>, effect: F) -> Result<Answered, E>
    where
        E: From<Error> + From<tidewire_db::Error> + Send + 'static,
        F: for<'a> Fn(&'a mut Tx) -> BoxFuture<'a, Result<Answer, E>> + Send + Sync + 'static,
    {
        let Some(key) = request.key else {
            let answer = self.db.transact(request.route, effect).await?;
            return Ok(Answered {
                answer,
                replayed: false,
            });
        };
        let id = RequestId {
            tenant: Arc::clone(request.tenant),
            route: request.route,
            key: Hash256::of(key),
        };
        let turn = self.unfinished.begin(id).ok_or(Error::RequestUnfinished)?;
        let outcome = self
            .once(Arc::clone(&turn), Hash256::of(request.body), effect)
            .await;
        // The transaction holds the turn too, for a caller that hangs up, and may let go of it
        // only after it has answered: the next request must not find this one unfinished.
        turn.end();
        outcome.map_err(|failed| match failed {
            Failed::Effect(error) => error,
            Failed::Store(error) => error.into(),
            Failed::Reused => Error::RequestKeyReused.into(),
        })
    }

    async fn once<E, F>(
        &self,
        turn: Arc<Turn>,
        body: Hash256,
        effect: F,
    ) -> Result<Answered, Failed<E>>
    where
        E: Send + 'static,
        F: for<'a> Fn(&'a mut Tx) -> BoxFuture<'a, Result<Answer, E>> + Send + Sync + 'static,
    {
        let label = turn.id.route;
        let (store, clock, effect) = (self.store.clone(), self.clock.clone(), Arc::new(effect));
        self.db
            .transact(label, move |tx| {
                let (store, effect, turn, now) = (
                    store.clone(),
                    Arc::clone(&effect),
                    Arc::clone(&turn),
                    clock.now(),
                );
                Box::pin(async move {
                    if let Some(first) = store.request(tx, &turn.id).await? {
                        if now.since(first.created_at) < KEPT {
                            return first.again(body).map_err(|()| Failed::Reused);
                        }
                        store.delete_request(tx, &turn.id, first.created_at).await?;
                    }
                    let answer = effect(tx).await.map_err(Failed::Effect)?;
                    let row = RequestRow {
                        body,
                        status: answer.status,
                        answer: answer.json.clone(),
                        created_at: now,
                    };
                    // If another process was faster this fails, all of it is undone, and the
                    // store runs it again: that time it finds the other's answer.
                    store.insert_request(tx, &turn.id, &row).await?;
                    Ok(Answered {
                        answer,
                        replayed: false,
                    })
                })
            })
            .await
    }

    /// Deletes what is older than [`KEPT`], a little at a time; how many rows went.
    pub async fn sweep(&self, now: Time) -> Result<u64> {
        let before = now.minus(KEPT);
        let mut swept = 0;
        for tenant in self
            .store
            .tenants_with_requests(&mut self.db.read(), before)
            .await?
        {
            loop {
                let (store, tenant) = (self.store.clone(), tenant.clone());
                let (gone, all) = self
                    .db
                    .transact("request_keys.sweep", move |tx| {
                        let (store, tenant) = (store.clone(), tenant.clone());
                        Box::pin(async move {
                            store
                                .delete_requests(tx, &tenant, before, SWEPT_AT_ONCE)
                                .await
                        })
                    })
                    .await?;
                swept += gone;
                if all {
                    break;
                }
            }
        }
        Ok(swept)
    }
}

impl RequestRow {
    fn again(self, body: Hash256) -> Result<Answered, ()> {
        if self.body != body {
            return Err(());
        }
        Ok(Answered {
            answer: Answer {
                status: self.status,
                json: self.answer,
            },
            replayed: true,
        })
    }
}

enum Failed<E> {
    Effect(E),
    Store(tidewire_db::Error),
    Reused,
}

impl<E> From<tidewire_db::Error> for Failed<E> {
    fn from(error: tidewire_db::Error) -> Self {
        Failed::Store(error)
    }
}

/// The requests of this process that have begun and not ended.
#[derive(Clone, Default)]
struct Unfinished {
    ids: Arc<Mutex<HashSet<RequestId>>>,
}

/// A place among the unfinished, given up at the end or when the last that holds it is dropped.
struct Turn {
    id: RequestId,
    unfinished: Unfinished,
    ended: Mutex<bool>,
}

impl Unfinished {
    fn begin(&self, id: RequestId) -> Option<Arc<Turn>> {
        let new = lock(&self.ids).insert(id.clone());
        new.then(|| {
            Arc::new(Turn {
                id,
                unfinished: self.clone(),
                ended: Mutex::new(false),
            })
        })
    }
}

impl Turn {
    /// Once only: after it, the same id in the set is somebody else's.
    fn end(&self) {
        let mut ended = lock(&self.ended);
        if !std::mem::replace(&mut *ended, true) {
            lock(&self.unfinished.ids).remove(&self.id);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.end();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
