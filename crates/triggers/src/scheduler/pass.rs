//! One pass over all that is due: transactions of up to [`BATCH`] occurrences, one after the other
//! and, where several can write, two at once: the next begins when the one before has its rows.
//!
//! A pass goes forward only. What it leaves out, because somebody else has it in hand or a transaction
//! failed, is still there when the store is looked at again.

use std::{
    cmp,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tidewire_core::Time;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::batch;
use crate::{Error, service::Inner, store::Mark};

/// Occurrences of one transaction.
pub(super) const BATCH: u32 = 500;
/// Transactions at once, where more than one can write.
const AT_ONCE: usize = 2;

/// What a pass has done.
#[derive(Default)]
pub(super) struct Passed {
    /// Occurrences that it has settled.
    pub rows: usize,
    /// Why it passed some over that could not be fired.
    pub failure: Option<Error>,
}

/// How far the transactions of a pass are.
pub(super) struct Way {
    /// Before it is what one of them has, or had.
    cursor: Mutex<Mark>,
    more: AtomicBool,
    wake: Notify,
}

impl Way {
    fn new(from: Time) -> Self {
        Way {
            cursor: Mutex::new(Mark::start_of(from)),
            more: AtomicBool::new(true),
            wake: Notify::new(),
        }
    }

    /// A transaction has everything up to here; there may be more behind it.
    fn has(&self, behind: &Mark, more: bool) {
        let mut cursor = self.cursor();
        if *cursor < *behind {
            cursor.clone_from(behind);
        }
        drop(cursor);
        if more {
            self.go_on();
        }
    }

    fn go_on(&self) {
        self.more.store(true, Ordering::SeqCst);
        self.wake.notify_one();
    }

    /// What began here is to be done anew.
    fn back_to(&self, from: &Mark) {
        let mut cursor = self.cursor();
        *cursor = cmp::min(cursor.clone(), from.clone());
    }

    fn cursor(&self) -> MutexGuard<'_, Mark> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One transaction of a pass, which may be run again.
pub(super) struct Attempt {
    way: Arc<Way>,
    pub from: Mark,
    pub most: u32,
    /// Not what is due, but what will be due then.
    pub ahead: Option<Time>,
    /// How many it had.
    rows: AtomicU32,
}

impl Attempt {
    /// It has so many, up to here, and will fire them; `more` may be due behind that.
    pub(super) fn has(&self, rows: usize, behind: &Mark, more: bool) {
        self.rows
            .store(u32::try_from(rows).unwrap_or(self.most), Ordering::SeqCst);
        self.way.has(behind, more);
    }
}

/// What a pass goes over.
#[derive(Clone, Copy)]
pub(super) enum Over {
    /// What is due, from a time on.
    Due(Time),
    /// What will be due at this time.
    Ahead(Time),
}

/// Fires: all of it, or as much as so many transactions take.
pub(super) async fn pass(
    inner: &Arc<Inner>,
    over: Over,
    mut transactions: usize,
    stop: &CancellationToken,
) -> Result<Passed, Error> {
    let (from, ahead) = match over {
        Over::Due(from) => (from, None),
        Over::Ahead(at) => (at, Some(at)),
    };
    let at_once = if inner.db.dialect().sole_writer {
        1
    } else {
        AT_ONCE
    };
    let way = Arc::new(Way::new(from));
    let mut running = FuturesUnordered::new();
    let mut most = BATCH;
    let mut passed = Passed::default();
    let mut refused = None;
    loop {
        let goes_on = refused.is_none() && transactions > 0 && !stop.is_cancelled();
        if goes_on && running.len() < at_once && way.more.swap(false, Ordering::SeqCst) {
            let span = (way.cursor().clone(), ahead);
            transactions -= 1;
            running.push(attempt(inner, &way, span, most));
            continue;
        }
        let ended = tokio::select! {
            ended = running.next() => ended,
            () = way.wake.notified() => continue,
        };
        match ended {
            None => break,
            Some((_, Ok(rows))) => {
                passed.rows += rows;
                most = (most * 2).min(BATCH);
            }
            Some((attempt, Err(error))) => match attempt.rows.load(Ordering::SeqCst) {
                _ if is_refusal(&error) => refused = Some(error),
                0 => refused = Some(error),
                1 => {
                    passed.failure = Some(error);
                    way.go_on();
                }
                // One of them may be what is wrong: the others must not suffer from it.
                rows => {
                    most = rows / 2;
                    way.back_to(&attempt.from);
                    way.go_on();
                }
            },
        }
    }
    match refused {
        Some(error) => Err(error),
        None => Ok(passed),
    }
}

async fn attempt(
    inner: &Arc<Inner>,
    way: &Arc<Way>,
    (from, ahead): (Mark, Option<Time>),
    most: u32,
) -> (Arc<Attempt>, Result<usize, Error>) {
    let attempt = Arc::new(Attempt {
        way: Arc::clone(way),
        from,
        most,
        ahead,
        rows: AtomicU32::new(0),
    });
    let (inner, shared) = (Arc::clone(inner), Arc::clone(&attempt));
    let db = inner.db.clone();
    let fired = db.transact("triggers.fire", move |tx| {
        let (inner, attempt) = (Arc::clone(&inner), Arc::clone(&shared));
        Box::pin(async move { batch::fire(&inner, tx, &attempt).await })
    });
    (attempt, fired.await)
}

/// Whether the store takes nothing at all now.
fn is_refusal(error: &Error) -> bool {
    match error {
        Error::Store(error) | Error::Jobs(tidewire_jobs::Error::Store(error)) => {
            error.is_unavailable()
        }
        _ => false,
    }
}
