//! What an agent and a worker share as processes: they listen, say so, serve, and end at a signal.

use std::{io::Write as _, net::SocketAddr};

use tidewire_core::Clock;
use tidewire_http::{App, Health, Limits};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    cli::{Fault, settings::Flags},
    config::{self, Log},
    logging::Logging,
    server,
};

/// A variable that is set to nothing is one that is not set.
pub(super) fn variable(names: &[&str]) -> Option<String> {
    names
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

pub(super) fn logging() -> Result<Logging, Fault> {
    let log = Log::new(&Flags::default().values()?)?;
    Logging::start(&log).map_err(Fault::Config)
}

/// The address to listen on, as the flag, `TIDEWIRE_ADDR`, or the source design's variables say.
pub(super) fn address(
    given: Option<&str>,
    default: &str,
    has_key: bool,
) -> Result<SocketAddr, Fault> {
    let set = variable(&["HTTP_ADDR", "PORT"]);
    let text = given.or(set.as_deref()).unwrap_or(default);
    config::address(text, has_key).map_err(|why| Fault::Config(format!("--addr `{text}` {why}")))
}

/// Serves these routes, and runs `work`, until a signal.
pub(super) async fn serve(
    address: SocketAddr,
    (routes, health): (OpenApiRouter, Health),
    is_open: bool,
    work: impl AsyncFnOnce(CancellationToken),
) -> Result<(), Fault> {
    let signalled = server::signalled();
    let listener = TcpListener::bind(address).await.map_err(|error| {
        Fault::Failed(format!(
            "cannot listen on {address}: {error}: choose another address with --addr, or port 0 for a free one"
        ))
    })?;
    let bound = listener.local_addr().map_err(Fault::failed)?;
    let settings = tidewire_http::Config {
        clock: Clock::system(),
        loopback_hosts_only: is_open && bound.ip().is_loopback(),
        // Their paths are the source design's own.
        rewrites: &[],
        ..tidewire_http::Config::default()
    };
    let app = App::new(settings, health)
        .public(routes)
        .build()
        .map_err(|error| Fault::Failed(format!("the API cannot be described: {error}")))?;
    let stop = CancellationToken::new();
    let mut out = std::io::stdout().lock();
    // Nobody may be reading, and it serves all the same.
    let _ = writeln!(out, "listening on http://{bound}").and_then(|()| out.flush());
    drop(out);
    let ends = async {
        signalled.await;
        tracing::info!("stopping");
        stop.cancel();
    };
    let serving = tidewire_http::serve(listener, app, stop.clone(), Limits::default());
    tokio::join!(ends, work(stop.clone()), serving);
    Ok(())
}
