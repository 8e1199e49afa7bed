//! What this room does in the background: writes down when keys were last used, hears which keys
//! other processes revoke, and forgets answers that are old. Each runs until it is told to stop.

use std::{pin::pin, time::Duration};

use crate::Service;

/// Uses that come together are written together, so that many keys cost one commit in this time.
const FLUSH_PAUSE: Duration = Duration::from_secs(1);
const SWEEP_EVERY: Duration = Duration::from_mins(5);

/// Keeps `last_used_at`. Belongs to the role that serves HTTP, where keys are used.
pub async fn keep_last_used(service: Service, stop: impl Future<Output = ()>) {
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            () = service.key_used() => flush(&service).await,
        }
        tokio::select! {
            () = &mut stop => break,
            () = tokio::time::sleep(FLUSH_PAUSE) => {}
        }
    }
    flush(&service).await;
}

/// Makes a key that another process revokes useless here at once; without it that takes seconds.
/// Belongs to the role that serves HTTP, where keys are used.
pub async fn hear_revocations(service: Service, stop: impl Future<Output = ()>) {
    tokio::select! {
        () = stop => {}
        () = service.hear_revocations() => {}
    }
}

async fn flush(service: &Service) {
    if let Err(error) = service.flush_last_used().await {
        tracing::warn!(%error, "the last use of keys was not written, it will be tried again");
    }
}

/// Sweeps the answers of request keys that are older than they are kept.
pub async fn sweep_request_keys(service: Service, stop: impl Future<Output = ()>) {
    let mut stop = pin!(stop);
    let mut due = tokio::time::interval(SWEEP_EVERY);
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = &mut stop => break,
            _ = due.tick() => {}
        }
        match service.request_keys().sweep(service.clock().now()).await {
            Ok(0) => {}
            Ok(swept) => tracing::info!(swept, "swept old request keys"),
            Err(error) => {
                tracing::warn!(%error, "request keys were not swept, it will be tried again")
            }
        }
    }
}
