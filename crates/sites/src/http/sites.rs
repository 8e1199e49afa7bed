//! Sites: registered, looked at, synced, removed.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tidewire_core::{Scope, page};
use tidewire_http::{ApiError, Caller, Json, Path, Query, answers};
use tidewire_jobs::Job;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{NewSite, Report, Site, SiteDetail, Sites, Synced};

const LIST: &str = "sites";
/// The kind of sites of the source design.
const BUILDER: &str = "builder";

pub(super) fn routes(sites: Sites) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(register, list))
        .routes(routes!(get, remove))
        .routes(routes!(sync))
        .with_state(sites)
}

/// A site to be registered.
#[derive(Deserialize, utoipa::ToSchema)]
#[schema(
    as = NewSite,
    example = json!({"site_id": "site-01jz", "access_key": "bk_…", "base_url": "http://127.0.0.1:8081"})
)]
#[serde(deny_unknown_fields)]
struct RegisterBody {
    /// The site's id at its source.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9._:-]+$")]
    site_id: String,
    /// Kept sealed, and never shown.
    #[schema(min_length = 1, max_length = 4096)]
    access_key: String,
    /// Where the source is; its definition's own if it is missing.
    base_url: Option<String>,
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    /// By which definition it is read; `builder` if it is missing.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9._:-]+$")]
    kind: Option<String>,
}

/// Register a site, after its source has accepted the key.
///
/// Registering it again replaces its key, URL and name, and makes it active.
#[utoipa::path(
    post, path = "/v1/sites", tag = "sites", operation_id = "registerSite",
    request_body(content = RegisterBody, content_type = "application/json"),
    responses(
        (status = 201, description = "registered", body = Site),
        (status = 200, description = "it was there: replaced", body = Site),
        answers::Conflict,
        answers::BadGateway,
    )
)]
async fn register(
    State(sites): State<Sites>,
    Caller(principal): Caller,
    Json(body): Json<RegisterBody>,
) -> Result<Response, ApiError> {
    principal.require(Scope::Write)?;
    let new = NewSite {
        site_id: body.site_id,
        access_key: body.access_key,
        base_url: body.base_url,
        name: body.name,
        kind: body.kind.unwrap_or_else(|| BUILDER.to_owned()),
    };
    let (site, is_new) = sites.register(&principal.tenant, new).await?;
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(site)).into_response())
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Sites in a page: 1 to 500, 50 if it is missing.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct SitePage {
    sites: Vec<Site>,
    /// Send it as `cursor` for the next page; null at the end.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// List sites, newest first.
#[utoipa::path(
    get, path = "/v1/sites", tag = "sites", operation_id = "listSites",
    params(ListQuery),
    responses((status = 200, description = "a page of sites", body = SitePage))
)]
async fn list(
    State(sites): State<Sites>,
    Caller(principal): Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<SitePage>, ApiError> {
    principal.require(Scope::Read)?;
    let limit = page::limit(query.limit)?;
    let before = query.cursor.map(|cursor| page::key(LIST, &cursor));
    let before = before.transpose()?;
    let (found, next) = sites
        .list(&principal.tenant, before.as_deref(), limit)
        .await?;
    Ok(Json(SitePage {
        sites: found,
        next_cursor: next.map(|key| page::cursor(LIST, &key)),
    }))
}

/// Read one site, and how far its lists are synced.
#[utoipa::path(
    get, path = "/v1/sites/{id}", tag = "sites", operation_id = "getSite",
    params(("id" = String, Path, description = "the site's id")),
    responses((status = 200, description = "the site", body = SiteDetail), answers::NotFound)
)]
async fn get(
    State(sites): State<Sites>,
    Caller(principal): Caller,
    Path(id): Path<String>,
) -> Result<Json<SiteDetail>, ApiError> {
    principal.require(Scope::Read)?;
    Ok(Json(sites.get(&principal.tenant, &id).await?))
}

/// Remove a site: its key is erased, its syncs stop, its events stay.
#[utoipa::path(
    delete, path = "/v1/sites/{id}", tag = "sites", operation_id = "removeSite",
    params(("id" = String, Path, description = "the site's id")),
    responses((status = 204, description = "removed"), answers::NotFound)
)]
async fn remove(
    State(sites): State<Sites>,
    Caller(principal): Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    principal.require(Scope::Write)?;
    sites.remove(&principal.tenant, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SyncQuery {
    /// Answer at once, with the job.
    #[serde(default)]
    background: bool,
}

/// Read one of a site's lists to its end: new records become events.
///
/// Answered when that is done; with `background`, or when it takes longer than 10 minutes, by the job
/// that does it. Its `progress` says how far it is. A source that refuses the key stops the site: it is
/// `revoked`, and a sync is a 409, until it is registered again.
#[utoipa::path(
    post, path = "/v1/sites/{id}/sync/{resource}", tag = "sites", operation_id = "syncSite",
    params(
        ("id" = String, Path, description = "the site's id"),
        ("resource" = String, Path, description = "which of its lists, such as `users` or `orders`"),
        SyncQuery,
    ),
    responses(
        (status = 200, description = "done", body = Report),
        (status = 202, description = "it goes on in the background", body = Job),
        answers::NotFound,
        answers::Conflict,
        answers::BadGateway,
    )
)]
async fn sync(
    State(sites): State<Sites>,
    Caller(principal): Caller,
    Path((id, resource)): Path<(String, String)>,
    Query(query): Query<SyncQuery>,
) -> Result<Response, ApiError> {
    principal.require(Scope::Write)?;
    let tenant = &principal.tenant;
    if query.background {
        let job = sites.enqueue(tenant, &id, &resource).await?;
        return Ok((StatusCode::ACCEPTED, Json(job)).into_response());
    }
    Ok(match sites.sync(tenant, &id, &resource).await? {
        Synced::Done(report) => Json(report).into_response(),
        Synced::Goes(job) => (StatusCode::ACCEPTED, Json(job)).into_response(),
    })
}
