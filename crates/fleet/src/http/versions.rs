//! Versions: pushed, listed, rolled back, their share raised; and the schema that they must fit.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidewire_core::{Kind, Problem, Scope};
use tidewire_http::{ApiError, Caller, Json, Operator, Path, Query, answers};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Api, ListQuery, author};
use crate::{
    Gate, Labels,
    model::{NewVersion, Version},
};

pub(super) fn routes(api: Arc<Api>) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(push))
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(raise))
        .routes(routes!(roll_back))
        .routes(routes!(schema, put_schema, delete_schema))
        .with_state(api)
}

#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = NewConfig)]
#[serde(deny_unknown_fields)]
struct PushBody {
    /// At most 256 KiB.
    #[schema(value_type = Object, example = json!({"url": "https://example.com"}))]
    config: Box<RawValue>,
    /// Only for agents that have all of these; for everyone if there are none.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    labels: Option<Labels>,
    /// Only for so many of a hundred of them; for all if it is missing.
    #[schema(minimum = 0, maximum = 100)]
    percent: Option<u32>,
    /// What must hold before the share is raised.
    #[schema(value_type = Option<String>, example = "failed<1%")]
    gate: Option<Gate>,
    /// Why, for those who read the history.
    note: Option<String>,
    /// By whom, if the key does not say it well enough.
    author: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Pushed {
    version: u64,
    etag: String,
}

impl From<Version> for Pushed {
    fn from(version: Version) -> Self {
        Pushed {
            version: version.version,
            etag: version.etag,
        }
    }
}

/// Push a config.
///
/// It becomes a version, which never changes. What a schema or the rules for servers' own settings
/// do not allow is a 400.
#[utoipa::path(
    post, path = "/v1/fleet/config", tag = "fleet", operation_id = "pushConfig",
    request_body(content = PushBody, content_type = "application/json"),
    responses((status = 201, description = "it is offered from now on", body = Pushed))
)]
async fn push(
    Operator(principal): Operator,
    State(api): State<Arc<Api>>,
    Json(body): Json<PushBody>,
) -> Result<(StatusCode, Json<Pushed>), ApiError> {
    let new = NewVersion {
        config: body.config,
        labels: body.labels.unwrap_or_default(),
        percent: body.percent.unwrap_or(100),
        gate: body.gate,
        note: body.note,
        author: author(body.author, &principal),
    };
    let version = api.fleet.push(&principal.tenant, new).await?;
    Ok((StatusCode::CREATED, Json(version.into())))
}

#[derive(Serialize, utoipa::ToSchema)]
struct VersionList {
    versions: Vec<Version>,
    /// Send it as `cursor` for the next page; null at the end.
    next_cursor: Option<String>,
}

/// List versions, newest first.
#[utoipa::path(
    get, path = "/v1/fleet/config/versions", tag = "fleet", operation_id = "listVersions",
    params(ListQuery),
    responses((status = 200, description = "a page of versions", body = VersionList))
)]
async fn list(
    State(api): State<Arc<Api>>,
    Caller(principal): Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<VersionList>, ApiError> {
    // Configs may hold secrets; agents are given them in any case.
    principal.require(Scope::Fleet)?;
    let page = query.into();
    let (versions, next_cursor) = api.fleet.versions(&principal.tenant, &page).await?;
    Ok(Json(VersionList {
        versions,
        next_cursor,
    }))
}

/// Read one version.
#[utoipa::path(
    get, path = "/v1/fleet/config/versions/{version}", tag = "fleet", operation_id = "getVersion",
    params(("version" = u64, Path, description = "its number")),
    responses((status = 200, description = "the version", body = Version), answers::NotFound)
)]
async fn get(
    State(api): State<Arc<Api>>,
    Caller(principal): Caller,
    Path(version): Path<u64>,
) -> Result<Json<Version>, ApiError> {
    principal.require(Scope::Fleet)?;
    Ok(Json(api.fleet.version(&principal.tenant, version).await?))
}

#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = RaisedShare)]
#[serde(deny_unknown_fields)]
struct RaiseBody {
    #[schema(minimum = 1, maximum = 100)]
    percent: u32,
    /// By whom, if the key does not say it well enough.
    author: Option<String>,
}

/// Raise a version's share.
///
/// Those who have the version keep it, and more get it. A version with a gate is raised only while
/// the gate lets it: everyone of its share who was seen lately has said how it went, and few enough
/// have failed. Otherwise, and for a share that is not higher, a 409.
#[utoipa::path(
    post, path = "/v1/fleet/config/versions/{version}/share", tag = "fleet", operation_id = "raiseShare",
    params(("version" = u64, Path, description = "its number")),
    request_body = RaiseBody,
    responses(
        (status = 200, description = "the version with its new share", body = Version),
        answers::NotFound,
        answers::Conflict,
    )
)]
async fn raise(
    Operator(principal): Operator,
    State(api): State<Arc<Api>>,
    Path(version): Path<u64>,
    Json(body): Json<RaiseBody>,
) -> Result<Json<Version>, ApiError> {
    let author = author(body.author, &principal);
    let raised = api
        .fleet
        .raise(&principal.tenant, version, body.percent, author);
    Ok(Json(raised.await?))
}

#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = Rollback)]
#[serde(deny_unknown_fields)]
struct RollbackBody {
    /// The version whose config is to be had again.
    version: u64,
    /// For agents with these labels; for those that the version was for if they are missing.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    labels: Option<Labels>,
    note: Option<String>,
    author: Option<String>,
}

/// Go back to an older version's config.
///
/// It becomes a new version, for everyone who has its labels.
#[utoipa::path(
    post, path = "/v1/fleet/config/rollback", tag = "fleet", operation_id = "rollBack",
    request_body = RollbackBody,
    responses(
        (status = 201, description = "it is offered from now on", body = Pushed),
        answers::NotFound,
    )
)]
async fn roll_back(
    Operator(principal): Operator,
    State(api): State<Arc<Api>>,
    Json(body): Json<RollbackBody>,
) -> Result<(StatusCode, Json<Pushed>), ApiError> {
    let by = (author(body.author, &principal), body.note);
    let fleet = &api.fleet;
    let version = fleet.roll_back(&principal.tenant, body.version, body.labels, by);
    Ok((StatusCode::CREATED, Json(version.await?.into())))
}

#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ConfigSchema)]
#[serde(deny_unknown_fields)]
struct SchemaBody {
    /// A JSON Schema, of draft 2020-12 unless it says otherwise.
    #[schema(value_type = Object)]
    schema: Box<RawValue>,
}

/// Read the schema that configs must fit.
#[utoipa::path(
    get, path = "/v1/fleet/schema", tag = "fleet", operation_id = "getConfigSchema",
    responses((status = 200, description = "the schema", body = SchemaBody), answers::NotFound)
)]
async fn schema(
    State(api): State<Arc<Api>>,
    Caller(principal): Caller,
) -> Result<Json<SchemaBody>, ApiError> {
    super::require_reader(&principal)?;
    let schema = api.fleet.schema(&principal.tenant).await?;
    let schema = schema.ok_or_else(|| {
        Problem::new(
            Kind::NotFound,
            "no schema is set: configs may be any object",
        )
    })?;
    Ok(Json(SchemaBody { schema }))
}

/// Set the schema that configs must fit from now on.
#[utoipa::path(
    put, path = "/v1/fleet/schema", tag = "fleet", operation_id = "putConfigSchema",
    request_body(content = SchemaBody, content_type = "application/json"),
    responses((status = 204, description = "it holds from now on"))
)]
async fn put_schema(
    Operator(principal): Operator,
    State(api): State<Arc<Api>>,
    Json(body): Json<SchemaBody>,
) -> Result<StatusCode, ApiError> {
    let schema = Some(body.schema);
    api.fleet.set_schema(&principal.tenant, schema).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take the schema away.
#[utoipa::path(
    delete, path = "/v1/fleet/schema", tag = "fleet", operation_id = "deleteConfigSchema",
    responses((status = 204, description = "configs may be any object"))
)]
async fn delete_schema(
    Operator(principal): Operator,
    State(api): State<Arc<Api>>,
) -> Result<StatusCode, ApiError> {
    api.fleet.set_schema(&principal.tenant, None).await?;
    Ok(StatusCode::NO_CONTENT)
}
