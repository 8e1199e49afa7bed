//! The persister: moves the log of everything to the store.
//!
//! One at a time moves, whoever has the lease, so that the events of a thread stay in their order. It
//! takes over what others had read and not settled, then reads on. An entry is settled when the store has
//! it: one that comes again is known there by the ids of its events. One that the store refuses time and
//! again is put aside, and an event in its place says so; those of its thread behind it wait until then.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use redis::{
    RedisResult, Value,
    aio::MultiplexedConnection,
    cmd,
    streams::{StreamAutoClaimReply, StreamId, StreamReadReply},
};
use tidewire_threads::{
    Error, NewThreadEvent,
    hot::{Entry, ThreadKey},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    link::{Away, Life, Link},
    log::RedisLog,
    metrics,
    scripts::{EVICT, LEASE, SETTLE},
};

const GROUP: &str = "persister";
const RETRY: Duration = Duration::from_millis(200);
const BLOCK_MS: u64 = 500;
/// Times that the store may refuse an entry.
const TRIES: u32 = 5;
/// How long the log of everything is kept for those who follow it live.
const GRACE_MS: u64 = 30_000;
/// How often idle threads are looked for.
const EVICT_EVERY: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// An entry as it was read.
#[derive(Debug)]
struct Raw {
    id: String,
    fields: StreamId,
    entry: Result<Entry, String>,
}

impl Raw {
    fn of(fields: StreamId) -> Self {
        Raw {
            id: fields.id.clone(),
            entry: entry(&fields),
            fields,
        }
    }
}

/// Moves until it is told to stop.
pub(crate) async fn run(log: &RedisLog, stop: CancellationToken) {
    let who = log.link.kept.new_id();
    let moves = async {
        let mut is_failing = false;
        loop {
            let Err(why) = lead(log, &who, &mut is_failing).await;
            if !std::mem::replace(&mut is_failing, true) {
                tracing::warn!(error = %why, "the persister cannot go on, it will try again");
            }
            tokio::time::sleep(RETRY).await;
        }
    };
    let says = async {
        loop {
            if let Err(error) = log.say_all().await {
                tracing::debug!(%error, "what the server has to say has to wait");
                tokio::time::sleep(RETRY).await;
            }
            let hint = log.link.kept.has_something_to_say();
            let _ = tokio::time::timeout(LOOK_EVERY, hint).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = async { tokio::join!(moves, says); } => {}
    }
    // Who comes next need not wait for the lease to run out.
    if let Ok(life) = log.link.life().await {
        let _: RedisResult<()> = release(&log.link, &life, &who).await;
    }
}

enum Never {}

async fn lead(log: &RedisLog, who: &str, is_failing: &mut bool) -> Result<Never, Away> {
    let link = &*log.link;
    let life = link.life().await?;
    let mut connection = link.waiting().await?;
    make_group(link, &mut connection).await?;
    *is_failing = false;
    let mut leads = false;
    let (mut looked, mut evicted) = (None::<Instant>, Instant::now());
    loop {
        if !lease(link, &life, who).await? {
            leads = false;
            log.behind.store(0, Ordering::Relaxed);
            tokio::time::sleep(LOOK_EVERY).await;
            continue;
        }
        let some = match leads {
            true => fresh(link, &mut connection, who).await?,
            false => left_behind(link, &mut connection, who).await?,
        };
        leads = true;
        if !some.is_empty() {
            settle_all(link, &life, who, some).await?;
        }
        if looked.is_none_or(|at| at.elapsed() > LOOK_EVERY) {
            looked = Some(Instant::now());
            let behind = behind(link, &mut connection).await?;
            log.behind.store(behind, Ordering::Relaxed);
            metrics::behind(behind);
        }
        if evicted.elapsed() > EVICT_EVERY.min(link.settings.idle) {
            evicted = Instant::now();
            evict(link, &life).await?;
        }
    }
}

async fn make_group(link: &Link, connection: &mut MultiplexedConnection) -> Result<(), Away> {
    let made: RedisResult<()> = cmd("XGROUP")
        .arg("CREATE")
        .arg(link.key("log"))
        .arg(&[GROUP, "0", "MKSTREAM"])
        .query_async(connection)
        .await;
    match made {
        Err(error) if error.code() != Some("BUSYGROUP") => Err(error.into()),
        _ => Ok(()),
    }
}

async fn lease(link: &Link, life: &Arc<Life>, who: &str) -> Result<bool, Away> {
    let millis = u64::try_from(link.settings.lease.as_millis()).unwrap_or(u64::MAX);
    let said = LEASE
        .key(link.key("lease"))
        .arg(who)
        .arg(millis)
        .invoke_async(&mut life.connection.clone())
        .await;
    let has: u8 = link.or_lost(life, said)?;
    Ok(has == 1)
}

async fn release(link: &Link, life: &Arc<Life>, who: &str) -> RedisResult<()> {
    LEASE
        .key(link.key("lease"))
        .arg(who)
        .arg(1)
        .invoke_async(&mut life.connection.clone())
        .await
}

/// What was not read yet; waits a little for it.
async fn fresh(
    link: &Link,
    connection: &mut MultiplexedConnection,
    who: &str,
) -> Result<Vec<Raw>, Away> {
    let read: Option<StreamReadReply> = cmd("XREADGROUP")
        .arg(&["GROUP", GROUP, who, "COUNT"])
        .arg(link.settings.batch)
        .arg("BLOCK")
        .arg(BLOCK_MS)
        .arg("STREAMS")
        .arg(link.key("log"))
        .arg(">")
        .query_async(connection)
        .await?;
    let streams = read.into_iter().flat_map(|read| read.keys);
    let entries = streams.flat_map(|stream| stream.ids);
    Ok(entries.map(Raw::of).collect())
}

/// What anybody has read and not settled: nobody else moves now.
async fn left_behind(
    link: &Link,
    connection: &mut MultiplexedConnection,
    who: &str,
) -> Result<Vec<Raw>, Away> {
    let mut all = Vec::new();
    let mut from = "0-0".to_owned();
    loop {
        let claimed: StreamAutoClaimReply = cmd("XAUTOCLAIM")
            .arg(link.key("log"))
            .arg(&[GROUP, who, "0", &from, "COUNT", "500"])
            .query_async(connection)
            .await?;
        all.extend(claimed.claimed.into_iter().map(Raw::of));
        if claimed.next_stream_id == "0-0" {
            break;
        }
        from = claimed.next_stream_id;
    }
    if !all.is_empty() {
        tracing::info!(entries = all.len(), "taken over from another persister");
    }
    Ok(all)
}

/// Moves these entries, however long it takes.
async fn settle_all(link: &Link, life: &Arc<Life>, who: &str, some: Vec<Raw>) -> Result<(), Away> {
    let mut later = VecDeque::from(some);
    let mut some = Vec::new();
    let mut is_waiting = false;
    loop {
        if some.is_empty() {
            some = chunk(&mut later);
        }
        if some.is_empty() {
            return Ok(());
        }
        let rest = match persist_all(link, life, &mut some).await {
            Ok(done) => {
                let first_left = some.first().or(later.front());
                settle(link, life, &done, first_left).await?;
                is_waiting = false;
                !some.is_empty()
            }
            Err(error) => {
                if !std::mem::replace(&mut is_waiting, true) {
                    tracing::warn!(%error, "the store takes nothing from the hot log, it will be tried again");
                }
                true
            }
        };
        if rest {
            tokio::time::sleep(RETRY).await;
            if !lease(link, life, who).await? {
                return Err(Away::Redis("another persister has taken over".to_owned()));
            }
        }
    }
}

/// As much of it as fits one transaction, and at least one entry.
fn chunk(later: &mut VecDeque<Raw>) -> Vec<Raw> {
    const MOST_EVENTS: usize = 2000;
    const MOST_BYTES: usize = 8 << 20;
    let (mut some, mut events, mut bytes) = (Vec::new(), 0, 0);
    while let Some(next) = later.front() {
        if let Ok(entry) = &next.entry {
            events += entry.events.len();
            bytes += entry.bytes();
        }
        if !some.is_empty() && (events > MOST_EVENTS || bytes > MOST_BYTES) {
            break;
        }
        some.extend(later.pop_front());
    }
    some
}

/// Those that are dealt with leave `some`. An error: the store is away, and nothing has changed.
async fn persist_all(link: &Link, life: &Arc<Life>, some: &mut Vec<Raw>) -> Result<Vec<Raw>, Away> {
    let whole: Vec<_> = some
        .iter()
        .filter_map(|raw| raw.entry.clone().ok())
        .collect();
    if whole.len() == some.len() {
        match link.kept.persist(&whole).await {
            Ok(()) => return Ok(std::mem::take(some)),
            Err(error) if is_away(&error) => return Err(Away::Redis(error.to_string())),
            // Which of them it is comes out one by one.
            Err(_) => {}
        }
    }
    let (mut done, mut rest) = (Vec::new(), Vec::new());
    let mut blocked: HashSet<String> = HashSet::new();
    for raw in some.drain(..) {
        let thread = thread_of(&raw).map(|key| key.to_string());
        if thread
            .as_ref()
            .is_some_and(|thread| blocked.contains(thread))
        {
            rest.push(raw);
            continue;
        }
        match persist_one(link, life, &raw).await {
            Ok(true) => done.push(raw),
            Ok(false) => {
                blocked.extend(thread);
                rest.push(raw);
            }
            Err(error) => {
                tracing::warn!(%error, "the store is away");
                blocked.extend(thread);
                rest.push(raw);
            }
        }
    }
    *some = rest;
    Ok(done)
}

/// Whether it is dealt with: stored, or put aside.
async fn persist_one(link: &Link, life: &Arc<Life>, raw: &Raw) -> Result<bool, Away> {
    let why = match &raw.entry {
        Ok(entry) => match link.kept.persist(std::slice::from_ref(entry)).await {
            Ok(()) => return Ok(true),
            Err(error) if is_away(&error) => return Err(Away::Redis(error.to_string())),
            Err(error) => error.to_string(),
        },
        Err(why) => why.clone(),
    };
    let mut connection = life.connection.clone();
    let tries: u32 = cmd("HINCRBY")
        .arg(link.key("tries"))
        .arg(&raw.id)
        .arg(1)
        .query_async(&mut connection)
        .await?;
    if tries < TRIES {
        tracing::warn!(
            entry = raw.id,
            tries,
            error = why,
            "the store refuses an entry"
        );
        return Ok(false);
    }
    put_aside(link, life, raw, &why).await?;
    Ok(true)
}

/// Keeps an entry where an operator finds it, and says in its place that it is missing.
async fn put_aside(link: &Link, life: &Arc<Life>, raw: &Raw, why: &str) -> Result<(), Away> {
    let mut connection = life.connection.clone();
    let mut add = cmd("XADD");
    add.arg(link.key("dead")).arg("*");
    add.arg(&["id", &raw.id, "error", why]);
    for (name, value) in &raw.fields.map {
        if let Value::BulkString(bytes) = value {
            add.arg(format!("entry.{name}")).arg(bytes);
        }
    }
    let () = add.query_async(&mut connection).await?;
    let () = cmd("HDEL")
        .arg(link.key("tries"))
        .arg(&raw.id)
        .query_async(&mut connection)
        .await?;
    metrics::dead();
    let marked = match missing(link, raw) {
        Some(marker) => link
            .kept
            .persist(&[marker])
            .await
            .map_err(|e| e.to_string()),
        None => Err("it does not say which thread it is of".to_owned()),
    };
    tracing::error!(
        entry = raw.id,
        error = why,
        unmarked = marked.err(),
        "an entry of the hot log was put aside: the stream `dead` has it"
    );
    Ok(())
}

/// What stands in the place of an entry that was put aside.
fn missing(link: &Link, raw: &Raw) -> Option<Entry> {
    let key = thread_of(raw)?;
    let first: u64 = raw.fields.get("s")?;
    let count: u64 = raw.fields.get("n").filter(|n| (1..=10_000).contains(n))?;
    let now = link.kept.clock().now();
    let events = (first..first + count)
        .map(|seq| {
            let id = format!("lost-{}-{seq}", raw.id);
            NewThreadEvent::gap(&id, seq - 1, seq, now)
        })
        .collect();
    Some(Entry {
        key,
        first,
        accepts: false,
        behind_gap: true,
        events,
    })
}

/// The store may take it another time.
fn is_away(error: &Error) -> bool {
    use tidewire_db::Error as Db;
    let store = match error {
        Error::Store(error)
        | Error::Events(tidewire_events::Error::Store(error))
        | Error::Jobs(tidewire_jobs::Error::Store(error)) => error,
        _ => return false,
    };
    matches!(
        store,
        Db::Unavailable(_) | Db::Busy(_) | Db::Retry(_) | Db::Unknown(_)
    )
}

/// Forgets entries that are dealt with; the log is kept from the first one that is not.
async fn settle(
    link: &Link,
    life: &Arc<Life>,
    done: &[Raw],
    first_left: Option<&Raw>,
) -> Result<(), Away> {
    let Some(last) = done.last() else {
        return Ok(());
    };
    let old = format!("{}-0", millis(&last.id).saturating_sub(GRACE_MS));
    let upto = match first_left {
        Some(left) if millis(&left.id) <= millis(&old) => &left.id,
        _ => &old,
    };
    let mut call = SETTLE.prepare_invoke();
    call.key(link.key("log"));
    call.arg(GROUP).arg(upto).arg(link.settings.keep);
    call.arg(&life.generation).arg(done.len());
    for raw in done {
        call.arg(&raw.id);
    }
    let entries = done.iter().filter_map(|raw| raw.entry.as_ref().ok());
    for entry in entries {
        call.arg(link.thread(&entry.key)).arg(entry.last());
    }
    let said = call.invoke_async(&mut life.connection.clone()).await;
    let _: u8 = link.or_lost(life, said)?;
    metrics::persisted(done.len());
    Ok(())
}

/// The moment of an entry, of `MILLIS-N`.
fn millis(id: &str) -> u64 {
    let millis = id.split('-').next().unwrap_or_default();
    millis.parse().unwrap_or_default()
}

/// How many entries are not in the store.
async fn behind(link: &Link, connection: &mut MultiplexedConnection) -> Result<u64, Away> {
    let groups: redis::streams::StreamInfoGroupsReply = cmd("XINFO")
        .arg(&["GROUPS", &link.key("log")])
        .query_async(connection)
        .await?;
    let ours = groups.groups.iter().find(|group| group.name == GROUP);
    Ok(ours.map_or(0, |group| {
        (group.pending + group.lag.unwrap_or_default()) as u64
    }))
}

/// Forgets threads in Redis that are stored whole and idle.
async fn evict(link: &Link, life: &Arc<Life>) -> Result<(), Away> {
    const AT_ONCE: usize = 200;
    let idle = i64::try_from(link.settings.idle.as_millis()).unwrap_or(i64::MAX);
    let before = link.kept.clock().now().millis().saturating_sub(idle);
    let mut connection = life.connection.clone();
    let threads: Vec<String> = cmd("ZRANGEBYSCORE")
        .arg(link.key("active"))
        .arg("-inf")
        .arg(before)
        .arg("LIMIT")
        .arg(0)
        .arg(AT_ONCE)
        .query_async(&mut connection)
        .await?;
    for thread in threads {
        let _: u8 = EVICT
            .key(link.key("meta"))
            .key(link.key("active"))
            .key(link.key(&format!("t:{thread}")))
            .arg(&thread)
            .arg(before)
            .invoke_async(&mut connection)
            .await?;
    }
    Ok(())
}

fn thread_of(raw: &Raw) -> Option<ThreadKey> {
    let (tenant, thread): (String, String) = (raw.fields.get("t")?, raw.fields.get("h")?);
    Some(ThreadKey::new(&tenant.into(), thread))
}

/// An entry as the scripts write it.
pub(crate) fn entry(fields: &StreamId) -> Result<Entry, String> {
    let text = |name: &str| {
        fields
            .get::<String>(name)
            .ok_or_else(|| format!("it has no `{name}`"))
    };
    let (tenant, thread, flags) = (text("t")?, text("h")?, text("f")?);
    let first = text("s")?.parse().map_err(|_| "its `s` is no number")?;
    let events: Vec<NewThreadEvent> =
        serde_json::from_str(&text("b")?).map_err(|error| error.to_string())?;
    Ok(Entry {
        key: ThreadKey::new(&tenant.into(), thread),
        first,
        accepts: flags.contains('a'),
        behind_gap: flags.contains('g'),
        events,
    })
}
