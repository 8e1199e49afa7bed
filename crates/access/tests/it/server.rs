//! A server of access alone, with two routes beside its own to be let into.

use std::{path::Path, sync::Arc};

use axum::{body::Body, extract::State};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tidewire_access::{AccessConfig, Answer, Answered, Authenticate, MIGRATIONS, Service};
use tidewire_core::{Clock, Scope, Time};
use tidewire_db::Db;
use tidewire_http::{ApiError, App, AppService, Caller, Config, Health, IdempotencyKey, Json};
use tidewire_testkit::{Engine, TestStore};
use tower::ServiceExt as _;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::store::{self, Gate, Things};

pub const ADMIN: &str = "the-operators-own-key";
pub const AGENT: &str = "the-agents-own-key";
/// What takes its place.
pub const NEXT_AGENT: &str = "the-agents-next-key";

pub struct Server {
    pub db: Db,
    pub clock: Clock,
    pub access: Service,
    pub things: Things,
    pub gate: Gate,
    app: AppService,
    store: Arc<TestStore>,
}

pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

pub fn locked() -> AccessConfig {
    AccessConfig {
        admin_key: Some(ADMIN.to_owned()),
        agent_api_keys: vec![AGENT.to_owned(), NEXT_AGENT.to_owned()],
        ..AccessConfig::default()
    }
}

pub fn open() -> AccessConfig {
    AccessConfig {
        open: true,
        ..AccessConfig::default()
    }
}

impl Server {
    pub async fn start(engine: Engine, config: AccessConfig) -> Self {
        config.check().unwrap();
        let clock = Clock::fake(Time::from_millis(1_800_000_000_000));
        let migrations = [MIGRATIONS, store::MIGRATIONS].concat();
        let store = TestStore::on_with_clock(engine, &migrations, clock).await;
        Self::over(store.db.clone(), config, Arc::new(store)).await
    }

    /// The server anew, on the same store: nothing is left but what was stored.
    pub async fn again(&self) -> Self {
        Self::over(self.db.clone(), locked(), Arc::clone(&self.store)).await
    }

    /// Another process on the same store. Not on SQLite, which has but one.
    pub async fn another(&self) -> Self {
        let db = self.store.second().await;
        Self::over(db, locked(), Arc::clone(&self.store)).await
    }

    async fn over(db: Db, config: AccessConfig, store: Arc<TestStore>) -> Self {
        let clock = store.clock.clone();
        let access = Service::new(db.clone(), clock.clone(), &config);
        access.start().await.unwrap();
        let (things, gate) = (Things::new(&db), Gate::default());
        let state = Guests {
            access: access.clone(),
            things: things.clone(),
            gate: gate.clone(),
        };
        let guests = OpenApiRouter::new()
            .routes(routes!(whoami))
            .routes(routes!(make_thing))
            .with_state(Arc::new(state));
        let app = App::new(
            Config {
                clock: clock.clone(),
                ..Config::default()
            },
            Health::new(),
        );
        let layer = Authenticate::new(access.clone());
        let app = app
            .routes(tidewire_access::routes(access.clone()))
            .routes(guests)
            .authenticate(move |router| router.layer(layer))
            .build()
            .unwrap();
        Server {
            db,
            clock,
            access,
            things,
            gate,
            app,
            store,
        }
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        let response = self
            .app
            .clone()
            .oneshot(request.body(body).unwrap())
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).unwrap()
        };
        Reply {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    /// A request of somebody who shows `key`.
    pub async fn get(&self, key: &str, path: &str) -> Reply {
        self.send(Method::GET, path, &[("x-api-key", key)], None)
            .await
    }

    pub async fn post(&self, key: &str, path: &str, body: Value) -> Reply {
        self.send(Method::POST, path, &[("x-api-key", key)], Some(body))
            .await
    }

    pub async fn delete(&self, key: &str, path: &str) -> Reply {
        self.send(Method::DELETE, path, &[("x-api-key", key)], None)
            .await
    }

    /// A new tenant: its id and its first key.
    pub async fn tenant(&self, name: &str) -> (String, String) {
        let made = self.post(ADMIN, "/v1/tenants", json!({"name": name})).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
        (text(&made.body, "id"), text(&made.body, "api_key"))
    }

    /// A new key of a tenant: its id and the key.
    pub async fn key(&self, tenant: &str, scopes: &[&str]) -> (String, String) {
        let path = format!("/v1/tenants/{tenant}/keys");
        let made = self.post(ADMIN, &path, json!({"scopes": scopes})).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
        (text(&made.body, "id"), text(&made.body, "api_key"))
    }

    /// Everything that is stored: what the tables hold and, if the store is a file, what is on the
    /// disk, the write-ahead log included.
    pub async fn stored(&self) -> Vec<u8> {
        let mut stored = store::rows(&self.db).await;
        if let Some(file) = self.store.url().strip_prefix("sqlite://") {
            let folder = Path::new(file).parent().unwrap();
            for file in std::fs::read_dir(folder).unwrap() {
                stored.extend(std::fs::read(file.unwrap().path()).unwrap());
            }
        }
        stored
    }
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[track_caller]
    pub fn is(&self, status: u16) -> &Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self
    }
}

pub fn text(body: &Value, field: &str) -> String {
    body[field]
        .as_str()
        .unwrap_or_else(|| panic!("{field} in {body}"))
        .to_owned()
}

struct Guests {
    access: Service,
    things: Things,
    gate: Gate,
}

/// As whom the caller was let in.
#[utoipa::path(get, path = "/v1/whoami", responses((status = 200)))]
async fn whoami(Caller(caller): Caller) -> Result<Json<Value>, ApiError> {
    caller.require(Scope::Read)?;
    Ok(Json(
        json!({"tenant": &*caller.tenant, "scopes": caller.scopes.to_string(), "key": caller.key_id.as_deref()}),
    ))
}

/// Makes a thing, once for each request key; the thing `bad` is refused after it was made.
#[utoipa::path(post, path = "/v1/things", request_body = String, responses((status = 201)))]
async fn make_thing(
    Caller(caller): Caller,
    State(guests): State<Arc<Guests>>,
    IdempotencyKey(key): IdempotencyKey,
    body: bytes::Bytes,
) -> Result<Answered, ApiError> {
    caller.require(Scope::Write)?;
    let name: String = tidewire_http::parse(&body)?;
    let request = tidewire_access::Request {
        tenant: &caller.tenant,
        route: "things.make",
        key: key.as_deref(),
        body: &body,
    };
    let (things, gate) = (guests.things.clone(), guests.gate.clone());
    let answered = guests
        .access
        .request_keys()
        .run(request, move |tx| {
            let (things, gate, name) = (things.clone(), gate.clone(), name.clone());
            Box::pin(async move {
                let made = things.make(tx, &name).await?;
                gate.pass().await;
                if name == "bad" {
                    return Err(store::Error::Refused);
                }
                Ok(Answer::new(
                    201,
                    &json!({"thing": name, "made_before": made}),
                )?)
            })
        })
        .await?;
    Ok(answered)
}
