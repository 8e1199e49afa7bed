//! The hot log of this process.

use std::sync::Arc;

use tidewire_http::Health;
use tidewire_redis::RedisLog;
use tidewire_threads::{
    Threads,
    hot::{HotLog, OpenHotLog},
};
use tokio_util::sync::CancellationToken;

use crate::config;

/// Nothing is connected before it is needed. None: the store.
pub(super) fn open(named: &config::HotLog, shutdown: &CancellationToken) -> Option<OpenHotLog> {
    let config::HotLog::Redis(settings) = named else {
        return None;
    };
    let (settings, shutdown) = ((**settings).clone(), shutdown.clone());
    let open = move |kept| -> Arc<dyn HotLog> { RedisLog::open(settings, kept, &shutdown) };
    Some(Box::new(open))
}

/// `/health` says whether it answers and, where it is moved to the store, how much is still to be moved.
pub(super) fn register(health: &Health, threads: &Threads, persists: bool) {
    let log = Arc::clone(threads.hot_log());
    if !log.is_apart() {
        return;
    }
    let of = Arc::clone(&log);
    health.register("hot_log", move || {
        let log = Arc::clone(&of);
        async move { log.check().await }
    });
    if persists {
        health.tell("hot_log_behind", move || log.behind().to_string());
    }
}
