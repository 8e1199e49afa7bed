//! The routes of the controller.

mod agents;
mod config;
mod versions;

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::Deserialize;
use tidewire_core::{Principal, Problem, Scope};
use tidewire_http::{ApiError, PublicUrl};
use utoipa_axum::router::OpenApiRouter;

use crate::{Fleet, service::PageOf};

#[derive(Clone)]
struct Api {
    fleet: Fleet,
    public_url: Option<PublicUrl>,
}

/// The routes. `public_url` is where they are reached; without it URLs in answers are as the request
/// was addressed.
#[must_use]
pub fn routes(fleet: Fleet, public_url: Option<PublicUrl>) -> OpenApiRouter {
    let api = Arc::new(Api { fleet, public_url });
    agents::routes(Arc::clone(&api))
        .merge(config::routes(Arc::clone(&api)))
        .merge(versions::routes(api))
}

/// Where the request was sent to, if it says so.
struct Addressed(Option<PublicUrl>);

impl<S: Sync> FromRequestParts<S> for Addressed {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(Addressed(PublicUrl::of_request(&parts.uri, &parts.headers)))
    }
}

/// Agents have keys of their own; whoever may read may look at them.
fn require_reader(principal: &Principal) -> Result<(), Problem> {
    principal
        .require(Scope::Read)
        .or_else(|_| principal.require(Scope::Fleet))
}

/// By whom a change is, where the request does not say.
fn author(given: Option<String>, principal: &Principal) -> String {
    let key = || principal.key_id.as_deref().map(|id| format!("key {id}"));
    given.or_else(key).unwrap_or_else(|| "operator".to_owned())
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// How many at most: 1 to 500, 50 if it is missing.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

impl From<ListQuery> for PageOf {
    fn from(ListQuery { cursor, limit }: ListQuery) -> Self {
        PageOf { limit, cursor }
    }
}
