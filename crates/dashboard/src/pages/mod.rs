//! The pages. Each asks its room's service what it shows, with the rights of whoever looks.

mod archives;
mod executions;
mod fleet;
mod jobs;
mod log;
mod overview;
mod sites;
mod threads;
pub(crate) mod transcript;
mod triggers;

use axum::Router;
use tidewire_core::{Problem, page};

use crate::Dashboard;

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new()
        .merge(overview::routes())
        .merge(log::routes())
        .merge(jobs::routes())
        .merge(triggers::routes())
        .merge(executions::routes())
        .merge(threads::routes())
        .merge(sites::routes())
        .merge(archives::routes())
        .merge(fleet::routes())
}

/// Rows of a list.
const ROWS: u32 = 50;

/// The key behind which a list's page begins.
fn behind(list: &str, cursor: Option<&str>) -> Result<Option<String>, Problem> {
    cursor.map(|cursor| page::key(list, cursor)).transpose()
}
