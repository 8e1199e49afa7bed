//! The builder's routes. Those of its operator need no key, which keeps trying things out simple;
//! those of a site's API need the site's.

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tidewire_core::{Kind, Problem, Time, name};
use tidewire_http::{ApiError, Json, Path, Query, answers, body, json_type, parse};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Builder, Error, MOST_AT_ONCE, Order, PAGE, Site, User, faults::Refusal};

const ACCESS_KEY: &str = "x-access-key";
const BODY_LIMIT: usize = 64 << 10;
const MAX_NAME: usize = 200;

/// The routes of the builder.
pub fn routes(builder: Builder) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(random_user))
        .routes(routes!(random_order))
        .routes(routes!(profile))
        .routes(routes!(users))
        .routes(routes!(orders))
        .with_state(builder)
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NoSuchSite(id) => Problem::not_found("site", &id),
            Error::NoUsers => Problem::conflict(format!("{error}: make one with random-user")),
            Error::Store(error) => error.into(),
        }
    }
}

#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = NewBuilderSite)]
#[serde(deny_unknown_fields)]
struct CreateBody {
    #[schema(min_length = 1, max_length = 200)]
    name: String,
}

/// A site that was just made.
#[derive(Serialize, utoipa::ToSchema)]
struct CreatedSite {
    #[serde(flatten)]
    site: Site,
    /// Good for as long as the site is.
    access_key: String,
}

/// Make a site.
#[utoipa::path(
    post, path = "/builder/sites", tag = "builder", operation_id = "createBuilderSite",
    request_body(content = CreateBody, content_type = "application/json"),
    responses((status = 201, description = "made", body = CreatedSite))
)]
async fn create(
    State(builder): State<Builder>,
    Json(body): Json<CreateBody>,
) -> Result<Response, ApiError> {
    name::check_text(&body.name, MAX_NAME).map_err(|why| Problem::invalid("/name", why))?;
    let site = builder.make_site(body.name).await?;
    let access_key = site.access_key.clone();
    let made = CreatedSite { site, access_key };
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

#[derive(Serialize, utoipa::ToSchema)]
struct SiteList {
    sites: Vec<Site>,
}

/// List all sites, oldest first, without their keys.
#[utoipa::path(
    get, path = "/builder/sites", tag = "builder", operation_id = "listBuilderSites",
    responses((status = 200, description = "the sites", body = SiteList))
)]
async fn list(State(builder): State<Builder>) -> Result<Json<SiteList>, ApiError> {
    let sites = builder.sites().await?;
    Ok(Json(SiteList { sites }))
}

#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct RandomBody {
    /// How many: 1 to 1,000, 1 if it is missing.
    #[schema(minimum = 1, maximum = 1000)]
    count: Option<u32>,
}

impl RandomBody {
    fn count(&self) -> Result<u32, Problem> {
        match self.count.unwrap_or(1) {
            count @ 1..=MOST_AT_ONCE => Ok(count),
            count => Err(Problem::invalid(
                "/count",
                format!("must be 1 to {MOST_AT_ONCE}, it is {count}"),
            )),
        }
    }
}

/// A body of JSON, or none at all.
async fn optional<T: DeserializeOwned + Default>(request: Request) -> Result<T, Problem> {
    let headers = request.headers().clone();
    let bytes = body(request, BODY_LIMIT).await?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    json_type(&headers)?;
    parse(&bytes)
}

#[derive(Serialize, utoipa::ToSchema)]
struct MadeUsers {
    created: usize,
    users: Vec<User>,
}

/// Make users up.
#[utoipa::path(
    post, path = "/builder/sites/{id}/random-user", tag = "builder", operation_id = "randomUser",
    params(("id" = String, Path, description = "the site's id")),
    request_body(content = Option<RandomBody>, content_type = "application/json"),
    responses((status = 201, description = "made", body = MadeUsers), answers::NotFound)
)]
async fn random_user(
    State(builder): State<Builder>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let count = optional::<RandomBody>(request).await?.count()?;
    let users = builder.make_users(&id, count).await?;
    let created = users.len();
    Ok((StatusCode::CREATED, Json(MadeUsers { created, users })).into_response())
}

#[derive(Serialize, utoipa::ToSchema)]
struct MadeOrders {
    created: usize,
    orders: Vec<Order>,
}

/// Make orders up, of the site's users.
#[utoipa::path(
    post, path = "/builder/sites/{id}/random-order", tag = "builder", operation_id = "randomOrder",
    params(("id" = String, Path, description = "the site's id")),
    request_body(content = Option<RandomBody>, content_type = "application/json"),
    responses(
        (status = 201, description = "made", body = MadeOrders),
        answers::NotFound,
        answers::Conflict,
    )
)]
async fn random_order(
    State(builder): State<Builder>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let count = optional::<RandomBody>(request).await?.count()?;
    let orders = builder.make_orders(&id, count).await?;
    let created = orders.len();
    Ok((StatusCode::CREATED, Json(MadeOrders { created, orders })).into_response())
}

/// The site, if the request's key is its own; what goes wrong on purpose comes first.
async fn enter(builder: &Builder, id: &str, headers: &HeaderMap) -> Result<Site, Problem> {
    builder
        .inner
        .trouble
        .meet()
        .await
        .map_err(|refusal| match refusal {
            Refusal::Broken => Problem::new(Kind::Internal, "it fails as it was asked to"),
            Refusal::Gateway => Problem::new(Kind::BadGateway, "it fails as it was asked to"),
            Refusal::TooMany => Problem::new(
                Kind::TooManyRequests,
                "more requests a second than it takes",
            ),
        })?;
    let shown = headers.get(ACCESS_KEY).and_then(|key| key.to_str().ok());
    let refused = |why: &str| Err(Problem::new(Kind::Unauthorized, why));
    let Some(shown) = shown else {
        return refused("send the site's key as X-Access-Key");
    };
    if builder.inner.faults.revoked {
        return refused("the key was revoked");
    }
    let site = builder.site(id).await?;
    if site.access_key == shown {
        return Ok(site);
    }
    refused("the key is not this site's")
}

#[derive(Serialize, utoipa::ToSchema)]
struct Profile {
    site_id: String,
    name: String,
    created_at: Time,
}

/// The site that a key is for.
#[utoipa::path(
    get, path = "/builder/api/sites/{id}/profile", tag = "builder", operation_id = "builderProfile",
    params(
        ("id" = String, Path, description = "the site's id"),
        ("X-Access-Key" = String, Header, description = "the site's key"),
    ),
    responses(
        (status = 200, description = "the site", body = Profile),
        answers::Unauthorized, answers::NotFound, answers::TooManyRequests,
    )
)]
async fn profile(
    State(builder): State<Builder>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Profile>, ApiError> {
    let site = enter(&builder, &id, &headers).await?;
    Ok(Json(Profile {
        site_id: site.id,
        name: site.name,
        created_at: site.created_at,
    }))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PageQuery {
    /// Counts from 1; 1 if it is missing.
    #[param(minimum = 1)]
    page: Option<u64>,
}

impl PageQuery {
    fn page(&self) -> Result<u64, Problem> {
        match self.page {
            Some(0) => Err(Problem::invalid("page", "pages count from 1")),
            page => Ok(page.unwrap_or(1)),
        }
    }
}

#[derive(Serialize, utoipa::ToSchema)]
struct UserPage {
    site_id: String,
    page: u64,
    page_size: u64,
    total: u64,
    has_more: bool,
    users: Vec<User>,
}

/// A page of a site's users.
#[utoipa::path(
    get, path = "/builder/api/sites/{id}/users", tag = "builder", operation_id = "builderUsers",
    params(
        ("id" = String, Path, description = "the site's id"),
        ("X-Access-Key" = String, Header, description = "the site's key"),
        PageQuery,
    ),
    responses(
        (status = 200, description = "at most 10 users", body = UserPage),
        answers::Unauthorized, answers::NotFound, answers::TooManyRequests,
    )
)]
async fn users(
    State(builder): State<Builder>,
    Path(id): Path<String>,
    Query(query): Query<PageQuery>,
    headers: HeaderMap,
) -> Result<Json<UserPage>, ApiError> {
    let site = enter(&builder, &id, &headers).await?;
    let number = query.page()?;
    let page = builder.users(&site.id, number).await?;
    Ok(Json(UserPage {
        site_id: site.id,
        page: number,
        page_size: PAGE,
        total: page.total,
        has_more: page.has_more(number),
        users: page.records,
    }))
}

#[derive(Serialize, utoipa::ToSchema)]
struct OrderPage {
    site_id: String,
    page: u64,
    page_size: u64,
    total: u64,
    has_more: bool,
    orders: Vec<Order>,
}

/// A page of a site's orders.
#[utoipa::path(
    get, path = "/builder/api/sites/{id}/orders", tag = "builder", operation_id = "builderOrders",
    params(
        ("id" = String, Path, description = "the site's id"),
        ("X-Access-Key" = String, Header, description = "the site's key"),
        PageQuery,
    ),
    responses(
        (status = 200, description = "at most 10 orders", body = OrderPage),
        answers::Unauthorized, answers::NotFound, answers::TooManyRequests,
    )
)]
async fn orders(
    State(builder): State<Builder>,
    Path(id): Path<String>,
    Query(query): Query<PageQuery>,
    headers: HeaderMap,
) -> Result<Json<OrderPage>, ApiError> {
    let site = enter(&builder, &id, &headers).await?;
    let number = query.page()?;
    let page = builder.orders(&site.id, number).await?;
    Ok(Json(OrderPage {
        site_id: site.id,
        page: number,
        page_size: PAGE,
        total: page.total,
        has_more: page.has_more(number),
        orders: page.records,
    }))
}
