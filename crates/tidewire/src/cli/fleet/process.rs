//! What an agent and a worker share as processes: they listen, say so, serve, and end at a signal.

use std::net::SocketAddr;

use tidewire_http::Health;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    cli::{
        Fault,
        listening::{Listening, say},
        settings::Flags,
    },
    config::{self, Log},
    logging::Logging,
    server,
};

/// A variable that is set to nothing is one that is not set.
pub(in crate::cli) fn variable(names: &[&str]) -> Option<String> {
    names
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

pub(in crate::cli) fn logging() -> Result<Logging, Fault> {
    let log = Log::new(&Flags::default().values()?)?;
    Logging::start(&log).map_err(Fault::Config)
}

/// The address to listen on, as the flag, `TIDEWIRE_ADDR`, or the source design's variables say.
pub(in crate::cli) fn address(
    given: Option<&str>,
    default: &str,
    has_key: bool,
) -> Result<SocketAddr, Fault> {
    let set = variable(&["HTTP_ADDR", "PORT"]);
    let text = given.or(set.as_deref()).unwrap_or(default);
    config::address(text, has_key).map_err(|why| Fault::Config(format!("--addr `{text}` {why}")))
}

/// Serves these routes, and runs `work`, until a signal.
pub(in crate::cli) async fn serve(
    address: SocketAddr,
    routes: (OpenApiRouter, Health),
    is_open: bool,
    work: impl AsyncFnOnce(CancellationToken),
) -> Result<(), Fault> {
    let signalled = server::signalled();
    let service = Listening::on(address, routes, is_open).await?;
    let stop = CancellationToken::new();
    say(&format!("listening on http://{}\n", service.address));
    let ends = async {
        signalled.await;
        tracing::info!("stopping");
        stop.cancel();
    };
    tokio::join!(ends, work(stop.clone()), service.serve(stop.clone()));
    Ok(())
}
