//! The routes of tenants and keys, the layer that tells callers apart, and how a remembered answer
//! is sent.

mod layer;
mod shown;

use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use tidewire_core::{Kind, Problem, Scope};
use tidewire_http::{ApiError, Json, Operator, Optional, Path, Query};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Answered, Service,
    model::{ApiKey, NewKey, NewTenant, Tenant},
    service::PageOf,
};

pub use layer::{Authenticate, Authenticated};

/// The routes; all of them need the scope `admin`.
#[must_use]
pub fn routes(service: Service) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(create_tenant, list_tenants))
        .routes(routes!(mint_key, list_keys))
        .routes(routes!(revoke_key))
        .with_state(service)
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateTenant {
    /// What people call the tenant; need not be unique.
    #[schema(min_length = 1, max_length = 255, example = "acme")]
    name: String,
}

#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct MintKey {
    /// `read`, `write` and `worker` if left out.
    #[schema(min_items = 1)]
    scopes: Option<Vec<Scope>>,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct List {
    /// How many at most; 50 if left out.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

impl From<List> for PageOf {
    fn from(List { limit, cursor }: List) -> Self {
        PageOf { limit, cursor }
    }
}

#[derive(Serialize, utoipa::ToSchema)]
struct Tenants {
    tenants: Vec<Tenant>,
    /// Null on the last page.
    #[schema(required)]
    next_cursor: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Keys {
    keys: Vec<ApiKey>,
    /// Null on the last page.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// Make a tenant.
///
/// The answer holds its first key, which is shown only here.
#[utoipa::path(
    post,
    path = "/v1/tenants",
    tag = "tenants",
    operation_id = "createTenant",
    request_body = CreateTenant,
    responses((status = 201, description = "made", body = NewTenant))
)]
async fn create_tenant(
    _: Operator,
    State(service): State<Service>,
    Json(CreateTenant { name }): Json<CreateTenant>,
) -> Result<(StatusCode, Json<NewTenant>), ApiError> {
    Ok((
        StatusCode::CREATED,
        Json(service.create_tenant(name).await?),
    ))
}

/// List tenants.
///
/// Newest first.
#[utoipa::path(
    get,
    path = "/v1/tenants",
    tag = "tenants",
    operation_id = "listTenants",
    params(List),
    responses((status = 200, description = "a page of tenants", body = Tenants))
)]
async fn list_tenants(
    _: Operator,
    State(service): State<Service>,
    Query(list): Query<List>,
) -> Result<Json<Tenants>, ApiError> {
    let page = service.tenants(&list.into()).await?;
    Ok(Json(Tenants {
        tenants: page.items,
        next_cursor: page.next,
    }))
}

/// Mint a key.
///
/// The key is shown only here. A key with the scope `admin` is the operator's, whichever tenant it
/// is listed under: it acts on tenant `default` unless `X-Tenant` names another.
#[utoipa::path(
    post,
    path = "/v1/tenants/{id}/keys",
    tag = "tenants",
    operation_id = "mintKey",
    params(("id" = String, Path, description = "the tenant")),
    request_body = Option<MintKey>,
    responses((status = 201, description = "minted", body = NewKey))
)]
async fn mint_key(
    _: Operator,
    State(service): State<Service>,
    Path(tenant): Path<String>,
    Optional(body): Optional<MintKey>,
) -> Result<(StatusCode, Json<NewKey>), ApiError> {
    let scopes = body
        .unwrap_or_default()
        .scopes
        .map(|scopes| scopes.into_iter().collect());
    Ok((
        StatusCode::CREATED,
        Json(service.mint_key(&tenant, scopes).await?),
    ))
}

/// List a tenant's keys.
///
/// Newest first, without the secrets.
#[utoipa::path(
    get,
    path = "/v1/tenants/{id}/keys",
    tag = "tenants",
    operation_id = "listKeys",
    params(("id" = String, Path, description = "the tenant"), List),
    responses((status = 200, description = "a page of keys", body = Keys))
)]
async fn list_keys(
    _: Operator,
    State(service): State<Service>,
    Path(tenant): Path<String>,
    Query(list): Query<List>,
) -> Result<Json<Keys>, ApiError> {
    let page = service.keys(&tenant, &list.into()).await?;
    Ok(Json(Keys {
        keys: page.items,
        next_cursor: page.next,
    }))
}

/// Revoke a key.
///
/// It stops working at once.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{id}/keys/{key_id}",
    tag = "tenants",
    operation_id = "revokeKey",
    params(("id" = String, Path, description = "the tenant"), ("key_id" = String, Path, description = "the key's id")),
    responses((status = 204, description = "revoked"))
)]
async fn revoke_key(
    _: Operator,
    State(service): State<Service>,
    Path((tenant, key)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    service.revoke_key(&tenant, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// On an answer that was given before.
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

impl IntoResponse for Answered {
    fn into_response(self) -> Response {
        let Ok(status) = StatusCode::from_u16(self.answer.status) else {
            let text = format!("{} is no status of an answer", self.answer.status);
            return ApiError(Problem::new(Kind::Internal, text)).into_response();
        };
        let mut response = Response::new(Body::from(self.answer.json));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        if self.replayed {
            headers.insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }
}
