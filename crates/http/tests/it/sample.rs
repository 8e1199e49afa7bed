//! A capability as the real ones are made, and a client that asks it without a socket.

use axum::{Router, body::Body, extract::Request, middleware::Next, response::Response};
use http::{Method, StatusCode, header};
use http_body_util::BodyExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use tidewire_core::{Kind, Principal, Problem, Scopes};
use tidewire_http::{
    ApiError, App, AppService, BodyLimit, Caller, Capped, Config, Health, IdempotencyKey, Json,
    Path, Query, RequestId,
};
use tower::ServiceExt as _;
use utoipa_axum::{router::OpenApiRouter, routes};

#[derive(Deserialize, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    name: String,
    #[serde(default)]
    size: u32,
    #[serde(default)]
    parts: Vec<Part>,
    #[schema(value_type = Option<Object>)]
    payload: Option<Box<RawValue>>,
}

#[derive(Deserialize, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Part {
    kind: String,
}

#[derive(Deserialize, Serialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct Filter {
    limit: Option<u8>,
    name: Option<String>,
}

#[utoipa::path(post, path = "/v1/events", responses((status = 200, body = Sample)))]
async fn create(_: Caller, Json(sample): Json<Sample>) -> Json<Sample> {
    Json(sample)
}

#[utoipa::path(
    get, path = "/v1/events", responses((status = 200)),
    params(Filter, ("x-sample" = Option<String>, Header, description = "nothing reads it"))
)]
async fn list(Query(filter): Query<Filter>) -> Json<Filter> {
    Json(filter)
}

#[utoipa::path(get, path = "/v1/events/{id}", params(("id" = String, Path)), responses((status = 200, body = String)))]
async fn read(Path(id): Path<String>) -> Result<Json<String>, ApiError> {
    tracing::info!(id, "reading");
    match id.as_str() {
        "unknown" => Err(Problem::not_found("sample", &id).into()),
        "busy" => Err(Problem::new(Kind::Unavailable, "the store is full")
            .retry_after(std::time::Duration::from_millis(1200))
            .into()),
        "broken" => Err(Problem::new(Kind::Internal, "SELECT secret FROM keys").into()),
        "panic" => panic!("the secret is {}", 42),
        _ => Ok(Json(id)),
    }
}

async fn number(Path(n): Path<u32>) -> Json<u32> {
    Json(n)
}

async fn numbers(Json(Capped(list)): Json<Capped<u64, 1000>>) -> Json<usize> {
    Json(list.len())
}

async fn whoami(
    id: RequestId,
    Caller(who): Caller,
    IdempotencyKey(key): IdempotencyKey,
) -> Json<[String; 3]> {
    Json([
        id.as_str().to_owned(),
        who.tenant.to_string(),
        key.unwrap_or_default(),
    ])
}

async fn page() -> axum::response::Html<&'static str> {
    axum::response::Html("<p>")
}

fn routes() -> OpenApiRouter {
    OpenApiRouter::default()
        .routes(routes!(create, list))
        .routes(routes!(read))
        .route("/v1/numbers", axum::routing::post(numbers))
        .route("/v1/number/{n}", axum::routing::get(number))
        .route(
            "/v1/small",
            axum::routing::post(create).layer(axum::Extension(BodyLimit(16))),
        )
        .route("/v1/whoami", axum::routing::get(whoami))
        .route("/v1/page", axum::routing::get(page))
        .route("/v1/confided/{secret}", axum::routing::get(page))
}

async fn authenticate(mut request: Request, next: Next) -> Response {
    let key = request
        .headers()
        .get("x-api-key")
        .and_then(|value| value.to_str().ok());
    if let Some(tenant) = key {
        let principal = Principal {
            tenant: tenant.into(),
            scopes: Scopes::all(),
            key_id: None,
            bound: None,
        };
        request.extensions_mut().insert(principal);
    }
    next.run(request).await
}

pub fn app(config: Config) -> App {
    App::new(config, Health::new())
        .routes(routes())
        .authenticate(|router: Router| router.layer(axum::middleware::from_fn(authenticate)))
}

pub fn service() -> AppService {
    let config = Config {
        secret_routes: &["/v1/confided/{secret}"],
        ..Config::default()
    };
    app(config).build().unwrap()
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: http::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{:?}", String::from_utf8_lossy(&self.body)))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The problem's status, its first pointer and its detail; checks what all problems share.
    pub fn problem(&self) -> (u16, String, String) {
        let body = self.json();
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{body}"
        );
        assert_eq!(body["status"], self.status.as_u16(), "{body}");
        assert_eq!(body["request_id"], self.header("x-request-id"), "{body}");
        assert!(
            body["type"]
                .as_str()
                .unwrap()
                .starts_with("urn:tidewire:problem:"),
            "{body}"
        );
        assert!(body["title"].is_string(), "{body}");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (
            self.status.as_u16(),
            text(&body["errors"][0]["pointer"]),
            text(&body["detail"]),
        )
    }
}

pub fn request(method: Method, uri: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(uri)
        .header("x-api-key", "acme")
}

pub async fn send(service: &AppService, request: Request<Body>) -> Answer {
    let (parts, body) = service.clone().oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body,
    }
}

pub async fn get(service: &AppService, uri: &str) -> Answer {
    send(
        service,
        request(Method::GET, uri).body(Body::empty()).unwrap(),
    )
    .await
}

pub async fn post(service: &AppService, uri: &str, body: impl Into<Vec<u8>>) -> Answer {
    let request = request(Method::POST, uri).header(header::CONTENT_TYPE, "application/json");
    send(service, request.body(Body::from(body.into())).unwrap()).await
}
