//! `GET /`: leads to what a person can look at.

use axum::response::Redirect;
use utoipa_axum::{router::OpenApiRouter, routes};

/// The start page.
#[utoipa::path(
    get, path = "/", tag = "operations",
    responses((status = 307, description = "to the rendered documentation at /docs"))
)]
async fn index() -> Redirect {
    Redirect::temporary("/docs")
}

pub fn routes() -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(index))
}
