//! Reading: what Redis has of a thread, and before it what the store has, joined at a known place.

use std::collections::HashMap;

use redis::{
    FromRedisValue, cmd,
    streams::{StreamId, StreamRangeReply},
};
use tidewire_events::{StreamEnd, Stretch};
use tidewire_threads::{
    NewThreadEvent, ThreadEvent,
    hot::{HotTurn, Page, ThreadKey},
};

use crate::{
    link::{Away, Link},
    load::time,
    log::unpacked,
};

/// Events that are read from Redis at once.
const PAGE: u32 = 500;

type Head = (Option<u64>, Option<String>, Option<i64>);

impl Link {
    async fn asked<T: FromRedisValue>(&self, pipe: &redis::Pipeline) -> Result<T, Away> {
        let life = self.life().await?;
        let said = pipe.query_async(&mut life.connection.clone()).await;
        Ok(self.or_lost(&life, said)?)
    }

    /// Where threads end. One that Redis may have forgotten something of is taken up first: its end is
    /// behind every place that was ever told.
    pub(crate) async fn ends(&self, keys: &[ThreadKey]) -> Result<Vec<StreamEnd>, Away> {
        const ROUNDS: usize = 20;
        for _ in 0..ROUNDS {
            let life = self.life().await?;
            let heads = self.heads(keys).await?;
            let is_hot = |head: &Head| {
                head.0.is_some() && head.1.as_deref() == Some(life.generation.as_str())
            };
            let cold = keys.iter().zip(&heads).filter(|(_, head)| !is_hot(head));
            let cold: Vec<_> = cold.map(|(key, _)| key.clone()).collect();
            if cold.is_empty() {
                return Ok(heads.into_iter().map(end).collect());
            }
            let blocks = self.kept.blocks(&cold).await?;
            let stale: Vec<_> = cold
                .iter()
                .zip(&blocks)
                .filter(|(_, block)| block.is_some_and(|b| b.generation != life.generation()))
                .map(|(key, _)| key)
                .collect();
            if stale.is_empty() {
                let mut stored = self.kept.ends(&cold).await?.into_iter();
                let ends = heads.into_iter().map(|head| match is_hot(&head) {
                    true => end(head),
                    false => stored.next().unwrap_or_default(),
                });
                return Ok(ends.collect());
            }
            let evicted: Option<u64> = self
                .asked::<(Option<u64>,)>(redis::pipe().hget(self.key("meta"), "evicted"))
                .await?
                .0;
            for key in stale {
                self.load(&life, key, (0, evicted.unwrap_or_default()))
                    .await?;
            }
        }
        Err(Away::Redis("threads cannot be taken up".to_owned()))
    }

    async fn heads(&self, keys: &[ThreadKey]) -> Result<Vec<Head>, Away> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipe = redis::pipe();
        for key in keys {
            pipe.cmd("HMGET")
                .arg(self.thread(key))
                .arg(&["seq", "gen", "at"]);
        }
        self.asked(&pipe).await
    }

    pub(crate) async fn read(
        &self,
        key: &ThreadKey,
        turn: Option<&str>,
        (after, until): (u64, u64),
        most: Stretch,
    ) -> Result<Page, Away> {
        let mut page = Page {
            events: Vec::new(),
            is_all: true,
        };
        let weight = |event: &ThreadEvent| event.payload.get().len();
        let (mut from, mut bytes) = (after, 0);
        loop {
            // Both at one moment: what is before the first is stored.
            let (first, some) = self.range(key, (from, until)).await?;
            if first.is_none_or(|first| first > from + 1) {
                let upto = first.map_or(until, |first| until.min(first - 1));
                let left = Stretch {
                    events: most.events.saturating_sub(u32_of(page.events.len())),
                    bytes: most.bytes.saturating_sub(bytes),
                };
                let stored = self.kept.read(key, turn, (from, upto), left).await?;
                bytes += stored.events.iter().map(weight).sum::<usize>();
                page.events.extend(stored.events);
                page.is_all = stored.is_all;
                if !page.is_all || first.is_none() || upto == until {
                    return Ok(page);
                }
                from = upto;
                continue;
            }
            let is_last = some.len() < PAGE as usize;
            for event in some {
                from = event.seq;
                if turn.is_some() && event.turn_id.as_deref() != turn {
                    continue;
                }
                bytes += weight(&event);
                let is_full = page.events.len() >= most.events as usize
                    || (bytes > most.bytes && !page.events.is_empty());
                if is_full {
                    page.is_all = false;
                    return Ok(page);
                }
                page.events.push(event);
            }
            if is_last {
                return Ok(page);
            }
        }
    }

    /// The first place that Redis has of a thread, and events of a span.
    async fn range(
        &self,
        key: &ThreadKey,
        (after, until): (u64, u64),
    ) -> Result<(Option<u64>, Vec<ThreadEvent>), Away> {
        let stream = format!("{}:s", self.thread(key));
        let mut pipe = redis::pipe();
        pipe.atomic();
        pipe.cmd("XRANGE")
            .arg(&stream)
            .arg(&["-", "+", "COUNT", "1"]);
        pipe.cmd("XRANGE")
            .arg(&stream)
            .arg(after + 1)
            .arg(until)
            .arg("COUNT")
            .arg(PAGE);
        let (first, found): (StreamRangeReply, StreamRangeReply) = self.asked(&pipe).await?;
        let first = first
            .ids
            .first()
            .map(|entry| place(&entry.id))
            .transpose()?;
        let events: Result<_, _> = found.ids.iter().map(|entry| event(key, entry)).collect();
        Ok((first, events?))
    }

    pub(crate) async fn turns(
        &self,
        key: &ThreadKey,
        turn: Option<&str>,
    ) -> Result<Vec<HotTurn>, Away> {
        let turns = format!("{}:u", self.thread(key));
        let life = self.life().await?;
        let mut connection = life.connection.clone();
        if let Some(turn) = turn {
            let said = cmd("HGET")
                .arg(turns)
                .arg(turn)
                .query_async(&mut connection)
                .await;
            let packed: Option<String> = self.or_lost(&life, said)?;
            return packed
                .map(|packed| unpacked(turn, &packed))
                .into_iter()
                .collect();
        }
        let said = cmd("HGETALL").arg(turns).query_async(&mut connection).await;
        let all: HashMap<String, String> = self.or_lost(&life, said)?;
        all.iter()
            .map(|(turn, packed)| unpacked(turn, packed))
            .collect()
    }
}

fn u32_of(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn end((seq, _, at): Head) -> StreamEnd {
    StreamEnd {
        seq: seq.unwrap_or_default(),
        at: at.map(time),
    }
}

/// From `SEQ-0`.
fn place(id: &str) -> Result<u64, Away> {
    let seq = id.split('-').next().unwrap_or_default();
    seq.parse()
        .map_err(|_| Away::Redis(format!("an event stands at `{id}`")))
}

fn event(key: &ThreadKey, entry: &StreamId) -> Result<ThreadEvent, Away> {
    let text: String = entry.get("e").unwrap_or_default();
    let event: NewThreadEvent = serde_json::from_str(&text)
        .map_err(|error| Away::Redis(format!("the event {key} {} is none: {error}", entry.id)))?;
    Ok(ThreadEvent::numbered(key, event, place(&entry.id)?))
}
