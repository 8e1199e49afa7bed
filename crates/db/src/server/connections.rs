//! The connections of this process: at most so many, kept between uses, and thrown away when one
//! was left in the middle of something.
//!
//! Not the driver's pool: that one asks a connection whether it lives each time it comes back, a
//! round trip that a queue pays for each batch. Here a dead one is noticed by its next BEGIN.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::{Connection, Target};
use crate::{Arg, Error, Result, Row, Sql, session::Outcome};

/// How long one waits for a connection while all are in use.
const PLACE_WITHIN: Duration = Duration::from_secs(5);
/// One that nobody used for longer is closed rather than used: something in between may have
/// forgotten it.
const IDLE_AT_MOST: Duration = Duration::from_mins(4);

pub(super) struct Connections {
    target: Target,
    idle: Mutex<Vec<(Connection, Instant)>>,
    places: Arc<Semaphore>,
    most: u32,
}

/// A connection in use. Dropping it closes it; [`Lease::give_back`] keeps it for the next.
pub(crate) struct Lease {
    connection: Connection,
    used: bool,
    home: Arc<Connections>,
    place: OwnedSemaphorePermit,
}

impl Connections {
    pub(super) fn new(target: Target, most: u32) -> Self {
        let most = most.max(2);
        Connections {
            target,
            idle: Mutex::default(),
            places: Arc::new(Semaphore::new(most as usize)),
            most,
        }
    }

    pub(super) fn most(&self) -> u32 {
        self.most
    }

    /// Whether the server can be used; says what to do if not.
    pub(super) async fn check(self: &Arc<Self>) -> Result<()> {
        let lease = self.take().await.map_err(|error| match error {
            Error::Unavailable(text) | Error::Busy(text) => Error::Setup(format!(
                "{text}; check that the server runs and that the address, user and password in --database-url are right"
            )),
            other => other,
        })?;
        lease.give_back();
        Ok(())
    }

    async fn place(self: &Arc<Self>) -> Result<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.places).acquire_owned();
        match tokio::time::timeout(PLACE_WITHIN, place).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) => Err(Error::Unavailable("the store is closed".to_owned())),
            Err(_) => Err(Error::Busy(format!(
                "all {} connections to the store were in use for {PLACE_WITHIN:?}",
                self.most
            ))),
        }
    }

    /// A connection: one that was used before, if there is one.
    pub(super) async fn take(self: &Arc<Self>) -> Result<Lease> {
        let place = self.place().await?;
        let idle = loop {
            match self.lock().pop() {
                Some((connection, since)) if since.elapsed() < IDLE_AT_MOST => {
                    break Some(connection);
                }
                Some(_) => {}
                None => break None,
            }
        };
        let used = idle.is_some();
        let connection = match idle {
            Some(connection) => connection,
            None => self.target.connect().await?,
        };
        Ok(Lease {
            connection,
            used,
            home: Arc::clone(self),
            place,
        })
    }

    /// A new connection, after one that was kept turned out to be dead: the others are as old.
    pub(super) async fn renew(self: &Arc<Self>) -> Result<Lease> {
        let place = self.place().await?;
        self.lock().clear();
        Ok(Lease {
            connection: self.target.connect().await?,
            used: false,
            home: Arc::clone(self),
            place,
        })
    }

    /// A connection in a new transaction.
    pub(super) async fn begin(self: &Arc<Self>) -> Result<Lease> {
        let mut lease = self.take().await?;
        match tokio::time::timeout(PLACE_WITHIN, lease.connection.begin()).await {
            Ok(Ok(())) => Ok(lease),
            _ if lease.used => {
                drop(lease);
                let mut fresh = self.renew().await?;
                fresh.connection.begin().await?;
                Ok(fresh)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::Unavailable(format!(
                "{} did not begin a transaction within {PLACE_WITHIN:?}",
                self.target.place()
            ))),
        }
    }

    pub(super) async fn close(&self) {
        self.places.close();
        let idle = std::mem::take(&mut *self.lock());
        for (connection, _) in idle {
            if tokio::time::timeout(Duration::from_secs(1), connection.close())
                .await
                .is_err()
            {
                break;
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Connection, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// Whether it was used before, and may have died since.
    pub(super) fn is_used(&self) -> bool {
        self.used
    }

    pub(crate) async fn call(&mut self, sql: &Sql, args: Vec<Arg>) -> Result<Outcome> {
        self.connection.call(sql, args).await
    }

    pub(crate) async fn batch(&mut self, sql: &str) -> Result<()> {
        self.connection.batch(sql).await
    }

    pub(crate) async fn define_again(&mut self, sql: &str) -> Result<()> {
        self.connection.define_again(sql).await
    }

    pub(super) async fn read(&mut self, sql: &Sql, args: Vec<Arg>) -> Result<Vec<Row>> {
        Ok(self.connection.read(sql, args).await?.rows)
    }

    /// Keeps the connection: nothing is open on it.
    pub(super) fn give_back(self) {
        let Lease {
            connection,
            home,
            place,
            ..
        } = self;
        if !home.places.is_closed() {
            home.lock().push((connection, Instant::now()));
        }
        drop(place);
    }
}
