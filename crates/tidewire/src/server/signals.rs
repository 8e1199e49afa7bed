//! When to end.

use std::{future::Future, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Completes at the first SIGTERM or Ctrl-C after this call, whenever it is polled; a second one
/// ends the process at once. To be called inside the runtime, before the process says that it is
/// up: who hears that may send a signal right away.
pub fn signalled() -> impl Future<Output = ()> {
    let signals = Signals::listen();
    async move {
        let Some(mut signals) = signals else {
            return std::future::pending().await;
        };
        signals.next().await;
        tokio::spawn(async move {
            signals.next().await;
            tracing::warn!("a second signal: not waiting for what is in flight");
            tokio::time::sleep(Duration::from_millis(50)).await;
            // What was acknowledged is durable, and leases return by themselves.
            std::process::abort();
        });
    }
}

struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    fn listen() -> Option<Self> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| tracing::warn!(%error, "cannot listen to a signal"))
                .ok()
        };
        Some(Signals {
            term: listen(SignalKind::terminate())?,
            int: listen(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}
