//! The hot log on Redis.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tidewire_db::{BoxFuture, Result as DbResult};
use tidewire_events::{StreamEnd, Stretch};
use tidewire_threads::{
    Accepted, Error, NewThreadEvent, OnBusy, Stored, TurnStatus,
    hot::{Accept, HotLog, HotTurn, Kept, Once, Page, ThreadAppend, ThreadKey},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    link::{Away, Life, Link},
    load::{read, status},
    op::{Answer, Is, Kind, Op},
    persister, reader,
    scripts::{self, WRITE},
    settings::RedisSettings,
};

/// A thread that is not taken up within so many rounds is one that others fight about.
const ROUNDS: usize = 50;

/// Threads' first copy, in Redis.
pub struct RedisLog {
    pub(crate) link: Arc<Link>,
    /// Held by the one who moves what the server has to say.
    saying: tokio::sync::Mutex<()>,
    pub(crate) behind: AtomicU64,
    _reader: DropGuard,
}

impl RedisLog {
    /// Connects when it is first needed. The reader for those who follow threads runs until `shutdown`.
    #[must_use]
    pub fn open(settings: RedisSettings, kept: Kept, shutdown: &CancellationToken) -> Arc<Self> {
        let stop = shutdown.child_token();
        let log = Arc::new(RedisLog {
            link: Arc::new(Link::new(settings, kept)),
            saying: tokio::sync::Mutex::default(),
            behind: AtomicU64::new(0),
            _reader: stop.clone().drop_guard(),
        });
        tokio::spawn(reader::run(Arc::downgrade(&log), stop));
        log
    }

    /// Runs an operation to its end, whatever has to be fetched for it.
    async fn write(&self, key: &ThreadKey, mut op: Op) -> Result<Answer, Error> {
        let link = &*self.link;
        // One that the connection broke under is asked again: its events have ids.
        let mut broken = false;
        for _ in 0..ROUNDS {
            let life = link.life().await?;
            let answer = match self.call(&life, key, &mut op).await {
                Ok(answer) => answer,
                Err(error) if !life_ends(&error) => return Err(Away::from(error).into()),
                Err(_) if !broken => {
                    broken = true;
                    continue;
                }
                Err(error) => return Err(Error::HotLogUnknown(error.to_string())),
            };
            let answer = read(&answer)?;
            match answer.is {
                Is::Moved => link.lost(&life),
                Is::Cold => link.load(&life, key, (0, answer.evicted)).await?,
                Is::Reserve => link.load(&life, key, (answer.upto, 0)).await?,
                Is::Check => {
                    let known = link.kept.known(key, &op.whole).await?;
                    op.check(answer.base, known);
                }
                Is::Reused => return Err(Error::KeyReused),
                Is::Busy => {
                    return Err(Error::Busy {
                        thread: key.thread.to_string(),
                        turn: answer.turn,
                    });
                }
                Is::Over => {
                    return Err(Error::Over {
                        status: status(&answer.status)?,
                        turn: answer.turn,
                    });
                }
                Is::Unknown => {
                    return Err(Error::NoSuchTurn {
                        thread: key.thread.to_string(),
                        turn: answer.turn,
                    });
                }
                Is::Done => return Ok(answer),
            }
        }
        Err(Error::HotLog(format!("`{key}` cannot be taken up")))
    }

    async fn call(
        &self,
        life: &Arc<Life>,
        key: &ThreadKey,
        op: &mut Op,
    ) -> redis::RedisResult<String> {
        let link = &*self.link;
        op.run.clone_from(&life.run);
        op.generation.clone_from(&life.generation);
        let mut call = WRITE.prepare_invoke();
        for name in scripts::keys(link, key) {
            call.key(name);
        }
        if let Some(once) = &op.once {
            call.key(link.key(&format!("k:{}:{once}", key.tenant)));
        }
        // Names, numbers and JSON.
        call.arg(serde_json::to_string(op).unwrap_or_default());
        for text in &op.texts {
            call.arg(text);
        }
        let said = call.invoke_async(&mut life.connection.clone()).await;
        link.or_lost(life, said)
    }

    async fn take(&self, turn: &Accept, once: Option<Once>) -> Result<Accepted, Error> {
        let kept = &self.link.kept;
        let mut op = Op::new(Kind::Accept, &turn.key, vec![turn.begun()], kept)
            .on_busy(turn.on_busy)
            .once(once);
        if turn.on_busy == OnBusy::Interrupt {
            let reason = format!("interrupted by the turn {}", turn.turn_id);
            op = op.cancelling(Some(&reason), kept);
        }
        let answer = self.write(&turn.key, op).await?;
        Ok(turn.accepted(answer.seq, answer.created))
    }

    async fn add(&self, op: &ThreadAppend) -> Result<Vec<Stored>, Error> {
        // Who has a turn was told to its agent; those who read along hear of it before what that says.
        self.say_own().await;
        let (key, events) = (&op.key, op.events.clone());
        let ids: Vec<_> = events
            .iter()
            .map(|event| event.event_id.is_some())
            .collect();
        let op = Op::new(Kind::Append, key, events, &self.link.kept);
        let made: Vec<_> = op.whole.iter().map(|e| e.event_id.clone()).collect();
        let answer = self.write(key, op).await?;
        let placed = answer.events.unwrap_or_default();
        let stored = placed.into_iter().zip(made).zip(ids);
        stored
            .map(|((placed, id), given)| {
                Ok(Stored {
                    event_id: id.unwrap_or_default(),
                    seq: placed.seq,
                    // An id that was made here is known only to the same request.
                    duplicated: placed.duplicated && given,
                    turn_status: placed.status.as_deref().map(status).transpose()?,
                })
            })
            .collect()
    }

    async fn end(&self, key: &ThreadKey, turn: &str, reason: Option<&str>) -> Result<(), Error> {
        let kept = &self.link.kept;
        let event = NewThreadEvent::of_turn("turn.cancelled", turn, &());
        let op = Op::new(Kind::Cancel, key, vec![event], kept).cancelling(reason, kept);
        self.write(key, op).await.map(drop)
    }

    /// Moves what this process has put into the outbox. Where the store keeps it waiting it is moved
    /// later.
    async fn say_own(&self) {
        const WITHIN: Duration = Duration::from_secs(1);
        if !self.link.kept.has_unsaid() {
            return;
        }
        match tokio::time::timeout(WITHIN, self.say_all()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "what the server has to say is late"),
            Err(_) => tracing::warn!("what the server has to say is late"),
        }
    }

    /// Moves what the server has to say from the outbox to its threads, each once.
    pub(crate) async fn say_all(&self) -> Result<(), Error> {
        const AT_ONCE: u32 = 200;
        let kept = &self.link.kept;
        let _turn = self.saying.lock().await;
        let written = kept.written();
        while self.say_some(AT_ONCE).await? >= AT_ONCE as usize {}
        kept.moved(written);
        Ok(())
    }

    async fn say_some(&self, most: u32) -> Result<usize, Error> {
        let kept = &self.link.kept;
        let unsaid = kept.unsaid(most).await?;
        if unsaid.is_empty() {
            return Ok(0);
        }
        for one in &unsaid {
            let op = Op::new(Kind::Say, &one.key, vec![one.event()], kept);
            self.write(&one.key, op).await?;
        }
        let count = unsaid.len();
        kept.said(unsaid.into_iter().map(|one| one.id).collect())
            .await?;
        Ok(count)
    }

    async fn answers(&self) -> Result<(), Away> {
        let life = self.link.life().await?;
        let said = redis::cmd("PING")
            .query_async(&mut life.connection.clone())
            .await;
        let () = self.link.or_lost(&life, said)?;
        Ok(())
    }
}

/// Whether nobody knows what became of it.
fn life_ends(error: &redis::RedisError) -> bool {
    error.is_io_error() || error.is_timeout() || error.is_connection_dropped()
}

impl HotLog for RedisLog {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn is_apart(&self) -> bool {
        true
    }

    fn accept<'a>(
        &'a self,
        turn: &'a Accept,
        once: Option<Once>,
    ) -> BoxFuture<'a, Result<Accepted, Error>> {
        Box::pin(self.take(turn, once))
    }

    fn append<'a>(&'a self, op: &'a ThreadAppend) -> BoxFuture<'a, Result<Vec<Stored>, Error>> {
        Box::pin(self.add(op))
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
        Box::pin(async move { Ok(self.link.ends(keys).await?) })
    }

    fn read<'a>(
        &'a self,
        key: &'a ThreadKey,
        turn: Option<&'a str>,
        span: (u64, u64),
        most: Stretch,
    ) -> BoxFuture<'a, DbResult<Page>> {
        Box::pin(async move { Ok(self.link.read(key, turn, span, most).await?) })
    }

    fn turns<'a>(
        &'a self,
        key: &'a ThreadKey,
        turn: Option<&'a str>,
    ) -> BoxFuture<'a, DbResult<Vec<HotTurn>>> {
        Box::pin(async move { Ok(self.link.turns(key, turn).await?) })
    }

    fn check(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            // Why is for the log: it may name addresses.
            self.answers().await.map_err(|error| {
                tracing::warn!(%error, "the hot log does not answer");
                "does not answer".to_owned()
            })
        })
    }

    fn persist(&self, stop: CancellationToken) -> BoxFuture<'_, ()> {
        Box::pin(persister::run(self, stop))
    }

    fn behind(&self) -> u64 {
        self.behind.load(Ordering::Relaxed)
    }
}

/// What a turn is, as a script packs it: state, first place, last place, milliseconds.
pub(crate) fn unpacked(turn_id: &str, packed: &str) -> Result<HotTurn, Away> {
    let broken = || Away::Redis(format!("the turn `{turn_id}` is `{packed}`"));
    let mut parts = packed.split(' ');
    let mut part = || parts.next().ok_or_else(broken);
    let status: TurnStatus = status(part()?)?;
    let mut number = || part()?.parse::<i64>().map_err(|_| broken());
    let (seq, ended, created) = (number()?, number()?, number()?);
    let place = |n: i64| u64::try_from(n).unwrap_or_default();
    Ok(HotTurn {
        turn_id: turn_id.to_owned(),
        status,
        seq: place(seq),
        ended_seq: status.is_terminal().then_some(place(ended)),
        created_at: crate::load::time(created),
    })
}
