//! What people see: pages about everything that Tidewire keeps, made on the server.
//!
//! Nothing here is authoritative and nothing is stored: a page asks the rooms' services what it shows,
//! with the rights of whoever looks, and a button calls the same service as the API does. Pages work
//! without JavaScript; with it, what has changed is put in place ([`live`]) and threads are followed as
//! they are written ([`pages::transcript`]).
//!
//! Whoever looks is told by a session ([`session`]): a signed cookie that stands for a key and holds
//! none. Every form carries a token of its session, and [`door`] lets nothing through that has not.

mod assets;
mod attempts;
mod chart;
mod depths;
mod door;
mod form;
mod frame;
mod live;
mod pages;
mod parts;
mod session;
mod sign_in;
mod time;

use std::{sync::Arc, time::Duration};

use axum::{Router, middleware, routing::get};
use tidewire_access::Service as Access;
use tidewire_archive::Archives;
use tidewire_core::Clock;
use tidewire_events::Events;
use tidewire_fleet::Fleet;
use tidewire_http::PublicUrl;
use tidewire_jobs::Jobs;
use tidewire_sites::Sites;
use tidewire_threads::Threads;
use tidewire_triggers::Triggers;
use tokio_util::sync::CancellationToken;

pub use session::Secrets;

use crate::{attempts::Attempts, depths::Depths, session::Sessions};

/// What the pages are about.
#[derive(Clone)]
pub struct Rooms {
    pub clock: Clock,
    pub access: Access,
    pub events: Events,
    pub jobs: Jobs,
    pub triggers: Triggers,
    pub threads: Threads,
    pub archives: Archives,
    pub sites: Sites,
    pub fleet: Fleet,
}

#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a session lasts after its sign-in.
    pub session_lifetime: Duration,
    /// Where the server is reached from outside, if the operator says so.
    pub public_url: Option<PublicUrl>,
}

/// The pages. Cheap to clone.
#[derive(Clone)]
pub struct Dashboard {
    inner: Arc<Inner>,
}

struct Inner {
    rooms: Rooms,
    sessions: Sessions,
    attempts: Attempts,
    depths: Depths,
    settings: Settings,
    /// Ends the live streams when the server stops.
    shutdown: CancellationToken,
}

impl Dashboard {
    /// `secrets` signs sessions: the same for all processes of an installation, before and after a
    /// restart.
    #[must_use]
    pub fn new(
        rooms: Rooms,
        settings: Settings,
        secrets: Secrets,
        shutdown: CancellationToken,
    ) -> Self {
        let sessions = Sessions::new(rooms.clock.clone(), secrets, settings.session_lifetime);
        Dashboard {
            inner: Arc::new(Inner {
                attempts: Attempts::new(rooms.clock.clone()),
                depths: Depths::default(),
                rooms,
                sessions,
                settings,
                shutdown,
            }),
        }
    }

    /// All pages and what they need. They ask for their caller by themselves, and no description of the
    /// API knows them.
    pub fn routes(&self) -> Router {
        let pages = pages::routes()
            .merge(sign_in::routes())
            .merge(live::routes())
            .layer(middleware::from_fn_with_state(self.clone(), door::pass))
            .with_state(self.clone());
        Router::new()
            .route("/assets/{name}", get(assets::serve))
            .merge(pages)
    }

    fn rooms(&self) -> &Rooms {
        &self.inner.rooms
    }
}
