//! Events of sites' users, and where users came from.

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidewire_core::{Problem, Scope, Time, name, page};
use tidewire_http::{ApiError, Caller, Json, Path, Query};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::optional;
use crate::{Attribution, NewSiteEvent, RandomEvents, Recorded, Sites};

const LIST: &str = "site-events";

pub(super) fn routes(sites: Sites) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(record, list))
        .routes(routes!(random))
        .routes(routes!(attribution))
        .with_state(sites)
}

/// An event of a user.
#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = NewSiteEvent, example = json!({"user_id": "usr_1", "utm_source": "newsletter"}))]
#[serde(deny_unknown_fields)]
struct RecordBody {
    #[schema(min_length = 1, max_length = 512)]
    user_id: String,
    /// `attribution` if it is missing.
    #[serde(rename = "type")]
    #[schema(min_length = 1, max_length = 255, pattern = "^[A-Za-z0-9._:-]+$")]
    kind: Option<String>,
    /// Where the user came from; one without it says nothing of that.
    #[schema(min_length = 1, max_length = 255)]
    utm_source: Option<String>,
    /// An object; `utm_source` is added to it.
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<Box<RawValue>>,
    /// Of events with the same key in a tenant only the first is stored.
    #[schema(min_length = 1, max_length = 512)]
    dedupe_key: Option<String>,
    /// When it happened, if that is not when it is stored.
    occurred_at: Option<Time>,
}

/// Record an event of a user.
///
/// One with a `utm_source` is a touch: what syncs store of the user from then on carries the latest. If
/// it happened before events that carry an earlier one, each of those is followed by one of the type
/// `….corrected`.
#[utoipa::path(
    post, path = "/v1/site-events", tag = "sites", operation_id = "recordSiteEvent",
    request_body(content = RecordBody, content_type = "application/json"),
    responses(
        (status = 201, description = "stored", body = Recorded),
        (status = 200, description = "its `dedupe_key` was seen before: the first event", body = Recorded),
    )
)]
async fn record(
    State(sites): State<Sites>,
    Caller(principal): Caller,
    Json(body): Json<RecordBody>,
) -> Result<Response, ApiError> {
    principal.require(Scope::Write)?;
    let event = NewSiteEvent {
        user_id: body.user_id,
        kind: body.kind,
        utm_source: body.utm_source,
        payload: body.payload,
        dedupe_key: body.dedupe_key,
        occurred_at: body.occurred_at,
    };
    let (event, known) = sites.record(&principal.tenant, event).await?;
    let status = if known {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    Ok((status, Json(event)).into_response())
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Only events of this user.
    user_id: Option<String>,
    /// Only events of this type.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Events in a page: 1 to 500, 50 if it is missing.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct SiteEventPage {
    events: Vec<Recorded>,
    /// Send it as `cursor` for the next page; null at the end. A page with one may hold fewer events
    /// than asked for.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// List what is known of sites and their users, newest first: what syncs stored, and what was recorded.
#[utoipa::path(
    get, path = "/v1/site-events", tag = "sites", operation_id = "listSiteEvents",
    params(ListQuery),
    responses((status = 200, description = "a page of events", body = SiteEventPage))
)]
async fn list(
    State(sites): State<Sites>,
    Caller(principal): Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<SiteEventPage>, ApiError> {
    principal.require(Scope::Read)?;
    let limit = page::limit(query.limit)?;
    let before = query.cursor.map(|cursor| {
        let key = page::key(LIST, &cursor)?;
        let wrong = |_| Problem::invalid("cursor", "is not a `next_cursor` of this list");
        key.parse::<u64>().map_err(wrong)
    });
    name::check_filters([("type", query.kind.as_deref(), name::TYPE_MAX)])?;
    let wanted = (query.user_id, query.kind);
    let found = sites
        .events(&principal.tenant, wanted, before.transpose()?, limit)
        .await?;
    let next = found.next.map(|pos| page::cursor(LIST, &pos.to_string()));
    Ok(Json(SiteEventPage {
        events: found.events.into_iter().map(Recorded::from).collect(),
        next_cursor: next,
    }))
}

/// What is to be made up.
#[derive(Default, Deserialize, utoipa::ToSchema)]
#[schema(as = RandomSiteEvents)]
#[serde(deny_unknown_fields)]
struct RandomBody {
    /// Of users of this site.
    site_id: Option<String>,
    /// Of this user.
    #[schema(min_length = 1, max_length = 512)]
    user_id: Option<String>,
    /// How many: 1 to 1,000, 1 if it is missing.
    #[schema(minimum = 1, maximum = 1000)]
    count: Option<u32>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct MadeUp {
    inserted: usize,
    events: Vec<Recorded>,
}

/// Make attributions up, for trying things out.
#[utoipa::path(
    post, path = "/v1/site-events/random", tag = "sites", operation_id = "randomSiteEvents",
    request_body(content = Option<RandomBody>, content_type = "application/json"),
    responses(
        (status = 201, description = "stored", body = MadeUp),
        tidewire_http::answers::NotFound,
        tidewire_http::answers::Conflict,
        tidewire_http::answers::BadGateway,
    )
)]
async fn random(
    State(sites): State<Sites>,
    Caller(principal): Caller,
    request: Request,
) -> Result<Response, ApiError> {
    principal.require(Scope::Write)?;
    let body: RandomBody = optional(request).await?;
    let wanted = RandomEvents {
        site_id: body.site_id,
        user_id: body.user_id,
        count: body.count,
    };
    let events = sites.make_up(&principal.tenant, wanted).await?;
    let inserted = events.len();
    Ok((StatusCode::CREATED, Json(MadeUp { inserted, events })).into_response())
}

/// Where a user came from, first and last.
#[utoipa::path(
    get, path = "/v1/subjects/{id}/attribution", tag = "sites", operation_id = "getAttribution",
    params(("id" = String, Path, description = "the user's id")),
    responses((status = 200, description = "as far as it is known", body = Attribution))
)]
async fn attribution(
    State(sites): State<Sites>,
    Caller(principal): Caller,
    Path(id): Path<String>,
) -> Result<Json<Attribution>, ApiError> {
    principal.require(Scope::Read)?;
    Ok(Json(sites.attribution(&principal.tenant, &id).await?))
}
