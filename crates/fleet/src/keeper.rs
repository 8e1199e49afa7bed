//! What a fleet does in the background of every process that has one: it hears of changes that other
//! processes make, and writes down when agents were last seen.

use std::{sync::Arc, time::Duration};

use tidewire_core::Time;
use tidewire_db::{Hint, Reach};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::{Fleet, memory::Room, service::TOPIC, store::AgentKey};

/// How often the store is asked where nobody tells of changes and somebody waits.
const ASK_OFTEN: Duration = Duration::from_millis(100);
const WRITE_EVERY: Duration = Duration::from_secs(1);
/// How old what is written down of an agent may get, in microseconds.
const SEEN_TO: i64 = 30_000_000;
/// Agents that one transaction writes.
const AT_ONCE: usize = 500;

impl Fleet {
    /// Runs until `stop`.
    pub async fn keep(&self, stop: CancellationToken) {
        tokio::join!(
            Box::pin(self.listen(&stop)),
            Box::pin(self.look(&stop)),
            Box::pin(self.write_down(&stop))
        );
    }

    /// Takes in what other processes tell.
    async fn listen(&self, stop: &CancellationToken) {
        let mut told = self.db().hints().subscribe();
        loop {
            let heard = match stop.run_until_cancelled(told.recv()).await {
                Some(Ok(hint)) => hint,
                Some(Err(RecvError::Lagged(_))) => Arc::new(Hint::Everything),
                Some(Err(RecvError::Closed)) | None => return,
            };
            match &*heard {
                Hint::One { topic, key, value } if topic == TOPIC => {
                    let told = u64::try_from(*value).unwrap_or(u64::MAX);
                    if let Some(room) = self.room_if_known(key)
                        && room.revision() < told
                    {
                        self.renew_or_warn(&room).await;
                    }
                }
                Hint::One { .. } => {}
                Hint::Everything => self.renew_all().await,
            }
        }
    }

    /// Looks by itself, in case nobody tells.
    async fn look(&self, stop: &CancellationToken) {
        let mut silent = Duration::ZERO;
        while stop
            .run_until_cancelled(tokio::time::sleep(ASK_OFTEN))
            .await
            .is_some()
        {
            silent += ASK_OFTEN;
            let often = match self.db().hints().reach() {
                // Nobody else can change anything.
                Reach::Alone => continue,
                Reach::Told => false,
                Reach::Polled => self.rooms().iter().any(|room| room.somebody_waits()),
            };
            if often || silent >= self.settings().poll_interval {
                silent = Duration::ZERO;
                self.renew_all().await;
            }
        }
    }

    async fn renew_all(&self) {
        for room in self.rooms() {
            self.renew_or_warn(&room).await;
        }
    }

    async fn renew_or_warn(&self, room: &Arc<Room>) {
        if let Err(error) = self.renew(room).await {
            tracing::warn!(%error, "a fleet's changes were not read, it will be tried again");
        }
    }

    /// Keeps `last_seen_at` true to half a minute.
    async fn write_down(&self, stop: &CancellationToken) {
        while stop
            .run_until_cancelled(tokio::time::sleep(WRITE_EVERY))
            .await
            .is_some()
        {
            self.write_seen(SEEN_TO).await;
        }
        self.write_seen(0).await;
    }

    async fn write_seen(&self, more_than: i64) {
        for room in self.rooms() {
            let mut due: Vec<_> = room
                .unwritten(more_than)
                .into_iter()
                .map(|member| (member.seen(), member))
                .collect();
            // In one order, so that two processes do not lock each other.
            due.sort_unstable_by(|(_, a), (_, b)| a.agent_id.cmp(&b.agent_id));
            for chunk in due.chunks(AT_ONCE) {
                let key = |id: &Arc<str>| (Arc::clone(&room.tenant), Arc::clone(id));
                let seen: Vec<(AgentKey, Time)> = chunk
                    .iter()
                    .map(|(at, member)| (key(&member.agent_id), *at))
                    .collect();
                match self.write(seen).await {
                    Ok(()) => chunk.iter().for_each(|(at, member)| member.wrote(*at)),
                    Err(error) => {
                        tracing::warn!(%error, "when agents were seen was not written, it will be tried again");
                        return;
                    }
                }
            }
        }
    }
}
