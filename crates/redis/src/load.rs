//! Taking up a thread in Redis where the store has it.

use std::sync::Arc;

use serde::Serialize;
use tidewire_core::Time;
use tidewire_threads::{NewThreadEvent, TurnStatus, hot::ThreadKey};

use crate::{
    link::{Away, Life, Link},
    op::{Answer, Is},
    scripts::{self, LOAD},
};

#[derive(Serialize)]
struct Load<'l> {
    run: &'l str,
    generation: &'l str,
    now: i64,
    tenant: &'l str,
    thread: &'l str,
    evicted: u64,
    last: u64,
    lim: u64,
    floor: u64,
    gap: &'l str,
    open: Vec<(String, &'static str, u64)>,
}

impl Link {
    /// Takes up a thread that is not in Redis, or was there before Redis forgot something; or gives it
    /// more places up to `upto`. `evicted` is what the script said that found it missing.
    pub(crate) async fn load(
        &self,
        life: &Arc<Life>,
        key: &ThreadKey,
        (upto, evicted): (u64, u64),
    ) -> Result<(), Away> {
        let (kept, more) = (&self.kept, self.settings.block);
        // The places first: the thread goes on behind those that may have been given out.
        let block = kept.reserve(key, upto, more, life.generation()).await?;
        if block.generation != life.generation() {
            self.lost(life);
            return Ok(());
        }
        let cold = kept.cold(key).await?;
        let now = kept.clock().now();
        let id = kept.new_id();
        let gap = NewThreadEvent::gap(&id, 0, block.floor, now);
        let load = Load {
            run: &life.run,
            generation: &life.generation,
            now: now.millis(),
            tenant: &key.tenant,
            thread: &key.thread,
            evicted,
            last: cold.end,
            lim: block.until,
            floor: block.floor,
            gap: &id,
            open: cold
                .open
                .into_iter()
                .map(|(turn, status, seq)| (turn, status.as_str(), seq))
                .collect(),
        };
        let mut call = LOAD.prepare_invoke();
        for name in scripts::keys(self, key) {
            call.key(name);
        }
        // Numbers, names and JSON.
        call.arg(serde_json::to_string(&load).unwrap_or_default());
        call.arg(serde_json::to_string(&gap).unwrap_or_default());
        let said = call.invoke_async(&mut life.connection.clone()).await;
        let said: String = self.or_lost(life, said)?;
        // Whatever else it says, whoever wants the thread comes again.
        if read(&said)?.is == Is::Moved {
            self.lost(life);
        }
        Ok(())
    }

    /// After an error of the connection another one is made.
    pub(crate) fn or_lost<T>(
        &self,
        life: &Arc<Life>,
        said: redis::RedisResult<T>,
    ) -> Result<T, redis::RedisError> {
        if let Err(error) = &said
            && (error.is_io_error() || error.is_unrecoverable_error() || error.is_timeout())
        {
            self.lost(life);
        }
        said
    }
}

pub(crate) fn read(said: &str) -> Result<Answer, Away> {
    serde_json::from_str(said)
        .map_err(|error| Away::Redis(format!("a script said `{said}`: {error}")))
}

pub(crate) fn status(text: &str) -> Result<TurnStatus, Away> {
    text.parse().map_err(Away::Redis)
}

/// Of milliseconds, as scripts have them.
pub(crate) fn time(millis: i64) -> Time {
    Time::from_millis(millis)
}
