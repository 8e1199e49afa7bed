//! The connection to Redis, and in which life of the server it is.
//!
//! A server that starts again may have forgotten something: all of it, or what it had not written to its
//! file. Each start has a `run_id`, and a connection ends with it. What is known of the log as a whole names
//! the run that was taken up last: whoever connects to another one takes that up first, in the store, which
//! counts a new generation unless it is certain that nothing is lost. Scripts name the run of their
//! connection, so none of them runs in a life that was not taken up.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use redis::{AsyncConnectionConfig, Client, RedisError, aio::MultiplexedConnection, cmd};
use tidewire_threads::hot::{Kept, Memory, ThreadKey};
use tokio::{sync::Mutex as AsyncMutex, time::Instant};

use crate::{
    scripts::{ADOPT, LEASE},
    settings::RedisSettings,
};

/// A server that does not answer within this is away.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// Who takes the log up and dies over it holds others up for so long.
const TAKEN_UP_WITHIN: Duration = Duration::from_secs(5);
/// After a failure nobody tries again for so long.
const PAUSE: Duration = Duration::from_millis(100);

/// Why Redis cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Away {
    #[error("{0}")]
    Redis(String),
    #[error(transparent)]
    Store(#[from] tidewire_db::Error),
}

impl From<RedisError> for Away {
    fn from(error: RedisError) -> Self {
        Away::Redis(error.to_string())
    }
}

impl From<Away> for tidewire_threads::Error {
    fn from(away: Away) -> Self {
        match away {
            Away::Redis(why) => tidewire_threads::Error::HotLog(why),
            Away::Store(error) => error.into(),
        }
    }
}

impl From<Away> for tidewire_db::Error {
    fn from(away: Away) -> Self {
        match away {
            Away::Redis(why) => tidewire_db::Error::Unavailable(format!("the hot log: {why}")),
            Away::Store(error) => error,
        }
    }
}

/// One life of the server.
pub(crate) struct Life {
    pub connection: MultiplexedConnection,
    pub run: String,
    pub generation: String,
}

impl Life {
    pub(crate) fn generation(&self) -> u64 {
        self.generation.parse().unwrap_or_default()
    }
}

pub(crate) struct Link {
    /// The settings have checked the URL; an error is told when it is first needed.
    client: Result<Client, Away>,
    pub settings: RedisSettings,
    pub kept: Kept,
    current: Mutex<Option<Arc<Life>>>,
    /// Held by the one that connects; since when it fails, and why.
    connecting: AsyncMutex<Option<(Instant, Away)>>,
}

impl Link {
    /// Nothing is connected before it is needed.
    pub(crate) fn new(settings: RedisSettings, kept: Kept) -> Self {
        Link {
            client: settings.client().map_err(Away::from),
            settings,
            kept,
            current: Mutex::default(),
            connecting: AsyncMutex::default(),
        }
    }

    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.settings.prefix)
    }

    pub(crate) fn thread(&self, key: &ThreadKey) -> String {
        self.key(&format!("t:{key}"))
    }

    fn current(&self) -> Option<Arc<Life>> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }

    pub(crate) async fn life(&self) -> Result<Arc<Life>, Away> {
        if let Some(life) = self.current() {
            return Ok(life);
        }
        let mut failed = self.connecting.lock().await;
        if let Some(life) = self.current() {
            return Ok(life);
        }
        if let Some((at, why)) = &*failed
            && at.elapsed() < PAUSE
        {
            return Err(why.clone());
        }
        match self.begin().await {
            Ok(life) => {
                *failed = None;
                let life = Arc::new(life);
                let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
                *current = Some(Arc::clone(&life));
                Ok(life)
            }
            Err(why) => {
                *failed = Some((Instant::now(), why.clone()));
                Err(why)
            }
        }
    }

    /// This life is over, or its connection is.
    pub(crate) fn lost(&self, life: &Arc<Life>) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|now| Arc::ptr_eq(now, life)) {
            *current = None;
        }
    }

    /// A connection for what waits in the server.
    pub(crate) async fn waiting(&self) -> Result<MultiplexedConnection, Away> {
        self.connect(ANSWER_WITHIN * 2).await
    }

    async fn connect(&self, answer_within: Duration) -> Result<MultiplexedConnection, Away> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_WITHIN))
            .set_response_timeout(Some(answer_within));
        let client = self.client.as_ref().map_err(Clone::clone)?;
        Ok(client
            .get_multiplexed_async_connection_with_config(&config)
            .await?)
    }

    async fn begin(&self) -> Result<Life, Away> {
        let mut connection = self.connect(ANSWER_WITHIN).await?;
        let server: String = cmd("INFO")
            .arg("server")
            .query_async(&mut connection)
            .await?;
        let run = field(&server, "run_id")
            .ok_or_else(|| Away::Redis("INFO names no run_id".to_owned()))?
            .to_owned();
        let who = self.kept.new_id();
        let deadline = Instant::now() + TAKEN_UP_WITHIN;
        loop {
            let known = self.known(&mut connection).await?;
            let generation = match known {
                (Some(known), Some(generation)) if known == run => generation,
                // One at a time: who comes second finds it taken up, and counts no generation.
                (known, _)
                    if self
                        .takes_up(&mut connection, &who, TAKEN_UP_WITHIN)
                        .await? =>
                {
                    let generation = match self.known(&mut connection).await? {
                        (Some(known), Some(generation)) if known == run => generation,
                        _ => self.take_up(&mut connection, &run, known.is_some()).await?,
                    };
                    self.takes_up(&mut connection, &who, Duration::from_millis(1))
                        .await?;
                    generation
                }
                _ if Instant::now() > deadline => {
                    return Err(Away::Redis("somebody else is taking it up".to_owned()));
                }
                _ => {
                    tokio::time::sleep(PAUSE / 5).await;
                    continue;
                }
            };
            return Ok(Life {
                connection,
                run,
                generation,
            });
        }
    }

    /// In which life the log was taken up last, and as which generation.
    async fn known(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> redis::RedisResult<(Option<String>, Option<String>)> {
        cmd("HMGET")
            .arg(self.key("meta"))
            .arg(&["run", "gen"])
            .query_async(connection)
            .await
    }

    /// Whether this one may take the log up, from here on for so long.
    async fn takes_up(
        &self,
        connection: &mut MultiplexedConnection,
        who: &str,
        within: Duration,
    ) -> redis::RedisResult<bool> {
        let millis = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let may: u8 = LEASE
            .key(self.key("taking-up"))
            .arg(who)
            .arg(millis)
            .invoke_async(connection)
            .await?;
        Ok(may == 1)
    }

    /// Counts a generation, if it has to be, and says so in Redis.
    async fn take_up(
        &self,
        connection: &mut MultiplexedConnection,
        run: &str,
        has_data: bool,
    ) -> Result<String, Away> {
        let memory = match has_data {
            false => Memory::Nothing,
            true if keeps_all(connection).await => Memory::All,
            true => Memory::Some,
        };
        let life = format!("{run}:{}", self.settings.prefix);
        let generation = self.kept.generation(&life, memory).await?;
        let generation: String = ADOPT
            .key(self.key("meta"))
            .arg(run)
            .arg(generation)
            .invoke_async(connection)
            .await?;
        tracing::info!(run, generation, ?memory, "the hot log is taken up");
        Ok(generation)
    }
}

/// Whether a server that has started again has every write that it ever acknowledged: its file was synced
/// with each, and it was nobody's replica.
async fn keeps_all(connection: &mut MultiplexedConnection) -> bool {
    // Whoever may not ask cannot be certain.
    let setting = async |connection: &mut MultiplexedConnection, name: &str| {
        let said: Result<HashMap<String, String>, _> = cmd("CONFIG")
            .arg("GET")
            .arg(name)
            .query_async(connection)
            .await;
        said.ok().and_then(|mut said| said.remove(name))
    };
    let file = setting(connection, "appendonly").await;
    let fsync = setting(connection, "appendfsync").await;
    let replication: Result<String, _> =
        cmd("INFO").arg("replication").query_async(connection).await;
    let replication = replication.unwrap_or_default();
    file.as_deref() == Some("yes")
        && fsync.as_deref() == Some("always")
        && field(&replication, "role") == Some("master")
        && field(&replication, "second_repl_offset") == Some("-1")
}

fn field<'i>(info: &'i str, name: &str) -> Option<&'i str> {
    let mut lines = info.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
}
