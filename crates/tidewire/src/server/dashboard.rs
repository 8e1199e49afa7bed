//! The dashboard, which every process has, whatever its roles.

use tidewire_dashboard::{Dashboard, Rooms, Secrets, Settings};
use utoipa_axum::router::OpenApiRouter;

use super::House;
use crate::config::Config;

/// What keys that sign sessions are derived for.
const PURPOSE: &str = "tidewire sessions";

/// Its pages, which no description of the API has.
pub(super) fn routes(house: &House, config: &Config) -> OpenApiRouter {
    let rooms = Rooms {
        clock: house.clock.clone(),
        access: house.access.clone(),
        events: house.events.clone(),
        jobs: house.jobs.clone(),
        triggers: house.triggers.clone(),
        threads: house.threads.clone(),
        archives: house.archives.clone(),
        sites: house.sites.clone(),
        fleet: house.fleet.clone(),
    };
    let settings = Settings {
        session_lifetime: config.session_lifetime,
        public_url: config.triggers.public_url.clone(),
    };
    let keys = config.sites.keys.clone();
    let secrets = Secrets::new(move || keys.derived(PURPOSE).map_err(|error| error.to_string()));
    let dashboard = Dashboard::new(rooms, settings, secrets, house.streams.clone());
    OpenApiRouter::from(dashboard.routes())
}
