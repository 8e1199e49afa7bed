//! The routes of threads and turns.

mod events;
mod leases;
mod threads;
mod turns;

use tidewire_access::Service as Access;
use tidewire_core::{Principal, Problem, Scope};
use utoipa_axum::router::OpenApiRouter;

use crate::Threads;

/// The routes by which turns come in, agents speak, and what became of it is read.
#[must_use]
pub fn routes(threads: Threads, access: Access) -> OpenApiRouter {
    turns::accepting(threads.clone(), access.clone())
        .merge(leases::routes(threads.clone(), access))
        .merge(turns::routes(threads.clone()))
        .merge(threads::routes(threads.clone()))
        .merge(events::appending(threads))
}

/// The routes by which threads are followed: the history and what comes.
#[must_use]
pub fn live_routes(threads: Threads) -> OpenApiRouter {
    events::following(threads)
}

/// Agents have keys of workers, or of their instances; whoever may write may speak for one.
fn require_speaker(principal: &Principal, thread: &str) -> Result<(), Problem> {
    principal
        .require_on_thread(Scope::Worker, thread)
        .or_else(|problem| match &principal.bound {
            Some(_) => Err(problem),
            None => principal.require(Scope::Write),
        })
}
