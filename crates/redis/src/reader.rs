//! The one reader of a process: hands what is written to Redis to those who follow threads here.
//!
//! It is a hint, like everything live. After a pause it compares where followed threads end, and whoever
//! missed something reads it.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use redis::{
    cmd,
    streams::{StreamRangeReply, StreamReadReply},
};
use tokio_util::sync::CancellationToken;

use crate::{
    link::{Away, Life, Link},
    log::RedisLog,
    persister::entry,
};

const RETRY: Duration = Duration::from_millis(200);
const BLOCK_MS: u64 = 2000;

/// Reads until it is told to stop.
pub(crate) async fn run(log: Weak<RedisLog>, stop: CancellationToken) {
    let mut is_failing = false;
    while let Some(link) = log.upgrade().map(|log| Arc::clone(&log.link)) {
        let read = async {
            let life = link.life().await?;
            follow(&link, &life, &mut is_failing).await
        };
        let failed = tokio::select! {
            () = stop.cancelled() => return,
            Err(why) = read => why,
            else => continue,
        };
        if !std::mem::replace(&mut is_failing, true) {
            tracing::warn!(error = %failed, "the hot log cannot be followed, it will be tried again");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RETRY) => {}
        }
    }
}

async fn follow(link: &Link, life: &Arc<Life>, is_failing: &mut bool) -> Result<(), Away> {
    let mut connection = link.waiting().await?;
    let log = link.key("log");
    let newest: StreamRangeReply = cmd("XREVRANGE")
        .arg(&log)
        .arg(&["+", "-", "COUNT", "1"])
        .query_async(&mut connection)
        .await?;
    let mut last = newest
        .ids
        .first()
        .map_or_else(|| "0-0".to_owned(), |entry| entry.id.clone());
    // What was written before this moment.
    let followed = link.kept.followed();
    let ends = link.ends(&followed).await?;
    for (key, end) in followed.iter().zip(ends) {
        link.kept.tell_end(key, end.seq);
    }
    *is_failing = false;
    loop {
        let read: redis::RedisResult<Option<StreamReadReply>> = cmd("XREAD")
            .arg(&["COUNT", "500", "BLOCK"])
            .arg(BLOCK_MS)
            .arg("STREAMS")
            .arg(&log)
            .arg(&last)
            .query_async(&mut connection)
            .await;
        let read = match read {
            Ok(read) => read,
            Err(error) => {
                // The other connections ended with it, as a rule; whoever has one notices by itself.
                link.lost(life);
                return Err(error.into());
            }
        };
        let Some(stream) = read.and_then(|read| read.keys.into_iter().next()) else {
            continue;
        };
        for one in stream.ids {
            // One that cannot be read is the persister's to complain of.
            if let Ok(entry) = entry(&one) {
                let span = (entry.first, entry.last());
                match link.kept.is_followed(&entry.key) {
                    true => link.kept.tell(&entry.key, span, &entry.told()),
                    false => link.kept.tell_end(&entry.key, span.1),
                }
            }
            last = one.id;
        }
    }
}
