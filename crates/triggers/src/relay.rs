//! The relay: tells the job bus of firings, from the outbox that each of them was written to.
//!
//! Two messages come of a firing: one for everybody who wants to know what is fired, and, as long as
//! its delivery waits as it was made, one for the workers. Each arrives at least once, those of one
//! trigger in the order of its firings: relays hold the shards that they tell of ([`crate::store`]).
//! While the bus is away firings go on, deliveries are found in the store a little later, and the
//! outbox grows; nothing of it is forgotten before it is told.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde::Serialize;
use serde_json::value::RawValue;
use tidewire_core::{Time, ids};
use tidewire_db::{Hint, Reach};
use tidewire_jobs::{
    Job, Status,
    bus::{BusError, JobBus, JobMessage, Message, Sent, Topic},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Error, Triggers,
    firing::HEAD_START,
    metrics,
    model::{Source, TriggerType},
    service::Inner,
    store::{Held, OutboxRow},
};

/// Where processes tell each other that the outbox has grown.
pub(crate) const FIRED: &str = "trigger_outbox";

/// Firings that one round tells of. Each may have a payload of 256 KiB.
const ROUND: u32 = 256;
/// Shards that one round holds, so that there is work for other relays too.
const SHARDS_OF_ROUND: u32 = 4;
/// How long a shard is held without a sign of life, and how often one is given: what a relay that died
/// had in hand is told by another after the first.
const HELD_FOR: Duration = Duration::from_secs(30);
const SIGN_EVERY: Duration = Duration::from_secs(8);
/// How often others are asked for firings where no process tells.
const POLLED: Duration = Duration::from_millis(250);
/// How often the outbox is measured, at least.
const MEASURED: Duration = Duration::from_secs(5);
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MOST: Duration = Duration::from_secs(5);

/// What everybody may know of a firing. The contract's shape.
#[derive(Serialize)]
struct EventMessage<'m> {
    event_id: &'m str,
    trigger_id: Option<&'m str>,
    #[serde(rename = "type")]
    kind: TriggerType,
    payload: Option<&'m RawValue>,
    fired_at: Time,
    source: Source,
}

/// Beside an event whose payload is not told: it is too large for the bus, or deleted by now.
const NO_PAYLOAD: (&str, &str) = ("tidewire-payload", "omitted");

/// Why a round came to nothing.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error(transparent)]
    Here(#[from] Error),
    #[error("the relay stops")]
    Stopped,
}

/// What one round has in hand.
struct Hand {
    held: Held,
    rows: Vec<OutboxRow>,
}

impl Triggers {
    /// Tells `bus` of all that is fired, here and in other processes, until `stop`.
    pub async fn keep_relaying(&self, bus: Arc<dyn JobBus>, stop: CancellationToken) {
        tokio::join!(self.relay(&*bus, &stop), self.measure_outbox(&stop));
    }

    /// How many firings the bus has still to be told of, and when the oldest of them was fired.
    pub async fn outbox(&self) -> Result<(u64, Option<Time>), Error> {
        let mut read = self.inner.db.read();
        Ok(self.inner.store.outbox_depth(&mut read).await?)
    }

    async fn relay(&self, bus: &dyn JobBus, stop: &CancellationToken) {
        let mut heard = self.inner.db.hints().subscribe();
        let mut has_shards = false;
        let mut pause = RETRY_FIRST;
        while !stop.is_cancelled() {
            let told = async {
                if !has_shards {
                    self.make_shards().await?;
                    has_shards = true;
                }
                self.relay_round(bus, stop).await
            };
            match told.await {
                Ok(0) => {
                    pause = RETRY_FIRST;
                    let wait = async {
                        tokio::select! {
                            () = self.inner.fire.fired.notified() => {}
                            () = hear(&mut heard) => {}
                            () = tokio::time::sleep(self.poll()) => {}
                        }
                    };
                    stop.run_until_cancelled(wait).await;
                }
                Ok(_) => pause = RETRY_FIRST,
                Err(Trouble::Stopped) => return,
                Err(error) => {
                    tracing::warn!(%error, bus = bus.name(), "firings could not be told to the job bus, it will be tried again");
                    stop.run_until_cancelled(tokio::time::sleep(pause)).await;
                    pause = (pause * 2).min(RETRY_MOST);
                }
            }
        }
    }

    fn poll(&self) -> Duration {
        let poll = self.inner.fire.settings.poll_interval;
        match self.inner.db.hints().reach() {
            Reach::Polled => poll.min(POLLED),
            Reach::Alone | Reach::Told => poll,
        }
    }

    async fn make_shards(&self) -> Result<(), Error> {
        let store = Arc::clone(&self.inner.store);
        self.inner
            .db
            .transact("relay.shards", move |tx| {
                let store = Arc::clone(&store);
                Box::pin(async move { Ok::<_, Error>(store.make_shards(tx).await?) })
            })
            .await
    }

    /// Tells of some firings, in order; how many.
    async fn relay_round(
        &self,
        bus: &dyn JobBus,
        stop: &CancellationToken,
    ) -> Result<usize, Trouble> {
        let hand = self.take_shards().await?;
        if hand.held.shards.is_empty() {
            return Ok(0);
        }
        let told = tokio::select! {
            told = self.tell(bus, &hand.rows) => told,
            () = self.keep_hold(&hand.held, bus) => Ok(()),
            // What is on its way may be told again by the next.
            () = stop.cancelled() => Err(Trouble::Stopped),
        };
        let done = self.let_go(hand, told.is_ok()).await;
        told?;
        Ok(done?)
    }

    /// Holds shards that nobody else holds, and reads what they have.
    async fn take_shards(&self) -> Result<Hand, Error> {
        let Inner { db, fire, .. } = &*self.inner;
        let (store, clock) = (Arc::clone(&self.inner.store), fire.clock.clone());
        let held = db
            .transact("relay.hold", move |tx| {
                let (store, clock) = (Arc::clone(&store), clock.clone());
                Box::pin(async move {
                    let now = clock.now();
                    let held = Held {
                        shards: store.free_shards(tx, now, SHARDS_OF_ROUND).await?,
                        holder: ids::new_id(&clock),
                    };
                    if !held.shards.is_empty() {
                        store.hold(tx, &held, now.plus(HELD_FOR)).await?;
                    }
                    Ok::<_, Error>(held)
                })
            })
            .await?;
        let mut rows = Vec::new();
        for shard in &held.shards {
            let left = ROUND.saturating_sub(u32::try_from(rows.len()).unwrap_or(ROUND));
            if left == 0 {
                break;
            }
            let mut read = db.read();
            rows.extend(self.inner.store.waiting(&mut read, *shard, left).await?);
        }
        Ok(Hand { held, rows })
    }

    /// Forgets what was told of the shards that are still ours, and leaves them to others.
    async fn let_go(&self, hand: Hand, is_told: bool) -> Result<usize, Error> {
        let Inner { db, fire, .. } = &*self.inner;
        let (store, clock) = (Arc::clone(&self.inner.store), fire.clock.clone());
        let hand = Arc::new(hand);
        db.transact("relay.done", move |tx| {
            let (store, clock, hand) = (Arc::clone(&store), clock.clone(), Arc::clone(&hand));
            Box::pin(async move {
                let ours = store.held(tx, &hand.held).await?;
                let told = hand.rows.iter();
                let told: Vec<_> = told
                    .filter(|row| is_told && ours.contains(&row.shard))
                    .collect();
                store.delete_told(tx, &told).await?;
                store.let_go(tx, &hand.held, clock.now()).await?;
                Ok::<_, Error>(told.len())
            })
        })
        .await
    }

    /// Gives signs of life for as long as the bus takes its time.
    async fn keep_hold(&self, held: &Held, bus: &dyn JobBus) {
        let Inner { db, fire, .. } = &*self.inner;
        loop {
            tokio::time::sleep(SIGN_EVERY).await;
            tracing::warn!(
                bus = bus.name(),
                "the job bus takes no messages, firings wait for it"
            );
            let (store, clock) = (Arc::clone(&self.inner.store), fire.clock.clone());
            let held = held.clone();
            let prolonged = db.transact("relay.prolong", move |tx| {
                let (store, clock, held) = (Arc::clone(&store), clock.clone(), held.clone());
                Box::pin(async move {
                    let until = clock.now().plus(HELD_FOR);
                    Ok::<_, Error>(store.prolong(tx, &held, until).await?)
                })
            });
            if let Err(error) = prolonged.await {
                // Then another may tell the same: once more is not once less.
                tracing::warn!(%error, "the relay could not give a sign of life");
            }
        }
    }

    /// Publishes what is to be said of these firings.
    async fn tell(&self, bus: &dyn JobBus, rows: &[OutboxRow]) -> Result<(), Trouble> {
        let jobs = self.jobs_of(rows).await?;
        let mut messages = Vec::with_capacity(2 * rows.len());
        // What it is about, and whether it stands in for one with a payload.
        let mut about = Vec::with_capacity(2 * rows.len());
        for row in rows {
            let job = jobs.get(row.job_id.as_str());
            if let Some(word) = job.and_then(|job| for_workers(row, job)) {
                messages.push(word);
                about.push(row);
            }
            let payload = job.map(|job| &*job.payload);
            messages.push(for_everybody(row, payload)?);
            about.push(row);
        }
        let sent = bus.publish(&messages).await?;
        let mut published = metrics::Published::default();
        for ((message, row), sent) in messages.iter().zip(about).zip(sent) {
            match sent {
                Sent::Done => published.add(message.topic),
                Sent::TooLarge => match self.tell_large(bus, row, message).await? {
                    Sent::Done => published.add(message.topic),
                    Sent::TooLarge => published.left_out(),
                },
            }
        }
        published.record();
        Ok(())
    }

    /// The jobs of firings, by their ids; one that is deleted by now is not among them.
    async fn jobs_of(&self, rows: &[OutboxRow]) -> Result<HashMap<String, Job>, Error> {
        let mut by_tenant: HashMap<&str, Vec<&str>> = HashMap::new();
        for row in rows {
            by_tenant.entry(&row.tenant).or_default().push(&row.job_id);
        }
        let mut jobs = HashMap::with_capacity(rows.len());
        for (tenant, ids) in by_tenant {
            let found = self.inner.fire.jobs.find(tenant, &ids).await?;
            let found = found.into_iter().flatten();
            jobs.extend(found.map(|job| (job.id.clone(), job)));
        }
        Ok(jobs)
    }

    /// A message that was refused for its size: perhaps only together with others, else it is told
    /// without the payload, which is with the execution.
    async fn tell_large(
        &self,
        bus: &dyn JobBus,
        row: &OutboxRow,
        message: &Message,
    ) -> Result<Sent, Trouble> {
        let alone = bus.publish(std::slice::from_ref(message)).await?;
        if alone.first() == Some(&Sent::Done) {
            return Ok(Sent::Done);
        }
        tracing::warn!(
            execution_id = row.id,
            bytes = message.value.len(),
            "a firing is too large for the job bus, it is told without its payload"
        );
        let bare = match message.topic {
            Topic::Events => bus.publish(&[for_everybody(row, None)?]).await?,
            Topic::Jobs => alone,
        };
        if bare.first() == Some(&Sent::Done) {
            return Ok(Sent::Done);
        }
        tracing::error!(
            execution_id = row.id,
            "a firing is too large for the job bus even so, it is left out: raise the bus's limit for messages"
        );
        Ok(Sent::TooLarge)
    }

    async fn measure_outbox(&self, stop: &CancellationToken) {
        let fire = &self.inner.fire;
        loop {
            match self.outbox().await {
                Ok((depth, oldest)) => {
                    let age = oldest.map_or(Duration::ZERO, |at| fire.clock.now().since(at));
                    metrics::outbox(depth, age);
                }
                Err(error) => tracing::debug!(%error, "the outbox could not be measured"),
            }
            let pause = tokio::time::sleep(fire.settings.poll_interval.min(MEASURED));
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }
}

/// Until another process has fired.
async fn hear(hints: &mut tokio::sync::broadcast::Receiver<Arc<Hint>>) {
    use tokio::sync::broadcast::error::RecvError;
    loop {
        match hints.recv().await.as_deref() {
            Ok(Hint::One { topic, .. }) if topic != FIRED => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => return std::future::pending().await,
        }
    }
}

fn key_of(row: &OutboxRow) -> Arc<str> {
    row.trigger_id.as_ref().unwrap_or(&row.id).as_str().into()
}

/// Nothing once the job is not as the firing made it: others have it then, or the store's own claim
/// comes in time. One that is put off from the start, by an event trigger's rate, is the store's too.
fn for_workers(row: &OutboxRow, job: &Job) -> Option<Message> {
    let is_new = job.status == Status::Pending
        && job.attempts == 0
        && job.run_at == row.fired_at.plus(HEAD_START);
    let word = JobMessage {
        job_id: job.id.as_str().into(),
        tenant: row.tenant.as_str().into(),
        run_at: job.run_at,
        execution_id: Some(row.id.as_str().into()),
        trigger_id: row.trigger_id.as_deref().map(Into::into),
    };
    is_new.then(|| Message {
        topic: Topic::Jobs,
        key: key_of(row),
        value: word.to_json(),
        header: None,
    })
}

fn for_everybody(row: &OutboxRow, payload: Option<&RawValue>) -> Result<Message, Error> {
    let event = EventMessage {
        event_id: &row.id,
        trigger_id: row.trigger_id.as_deref(),
        kind: row.kind,
        payload,
        fired_at: row.fired_at,
        source: row.source,
    };
    let value = serde_json::to_vec(&event)
        .map_err(|error| tidewire_db::Error::Broken(format!("an event as JSON: {error}")))?;
    Ok(Message {
        topic: Topic::Events,
        key: key_of(row),
        value,
        header: payload.is_none().then_some(NO_PAYLOAD),
    })
}
