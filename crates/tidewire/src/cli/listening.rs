//! What the small services of the command line share: the builder, a fleet's agent and its worker listen and serve alike.

use std::net::SocketAddr;

use tidewire_core::Clock;
use tidewire_http::{App, AppService, Health, Limits};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

use super::Fault;

/// Routes that have a socket, and wait to be served.
pub(super) struct Listening {
    listener: TcpListener,
    app: AppService,
    pub address: SocketAddr,
}

impl Listening {
    /// `is_open` says that nobody needs a key: on loopback only requests to a loopback host are answered then.
    pub async fn on(
        address: SocketAddr,
        (routes, health): (OpenApiRouter, Health),
        is_open: bool,
    ) -> Result<Self, Fault> {
        let listener = bind(address).await?;
        let address = listener.local_addr().map_err(Fault::failed)?;
        let settings = tidewire_http::Config {
            clock: Clock::system(),
            loopback_hosts_only: is_open && address.ip().is_loopback(),
            // Their paths are the source design's own.
            rewrites: &[],
            ..tidewire_http::Config::default()
        };
        let app = App::new(settings, health)
            .public(routes)
            .build()
            .map_err(|error| Fault::Failed(format!("the API cannot be described: {error}")))?;
        Ok(Listening {
            listener,
            app,
            address,
        })
    }

    /// Until `stop`, and until what is in flight is answered.
    pub async fn serve(self, stop: CancellationToken) {
        tidewire_http::serve(self.listener, self.app, stop, Limits::default()).await;
    }
}

pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, Fault> {
    TcpListener::bind(address).await.map_err(|error| {
        Fault::Failed(format!(
            "cannot listen on {address}: {error}: choose another address with --addr, or port 0 for a free one"
        ))
    })
}

/// Nobody may be reading, and it serves all the same.
pub(super) fn say(text: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
