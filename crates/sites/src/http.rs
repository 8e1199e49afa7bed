//! The routes of sites, of their users' events, and of attribution.

mod events;
mod sites;

use axum::extract::Request;
use serde::de::DeserializeOwned;
use tidewire_core::Problem;
use tidewire_http::{DEFAULT_BODY_LIMIT, body, json_type, parse};
use utoipa_axum::router::OpenApiRouter;

use crate::Sites;

/// All of this room's routes.
#[must_use]
pub fn routes(sites: Sites) -> OpenApiRouter {
    sites::routes(sites.clone()).merge(events::routes(sites))
}

/// A body of JSON, or none at all.
async fn optional<T: DeserializeOwned + Default>(request: Request) -> Result<T, Problem> {
    let headers = request.headers().clone();
    let bytes = body(request, DEFAULT_BODY_LIMIT).await?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    json_type(&headers)?;
    parse(&bytes)
}
