//! The routes, over a real socket.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, header};
use serde_json::{Value, json};
use tidewire_access::{AccessConfig, Authenticate, Service as Access};
use tidewire_core::{Clock, Scopes, Time};
use tidewire_events::Events;
use tidewire_jobs::{Followers, JobSettings, Jobs};
use tidewire_outbound::{AddressPolicy, LOOPBACK};
use tidewire_testkit::{Answer, Engine, TestApp, TestStore, every_engine};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{Executions, FOLLOWER, TriggerSettings, Triggers};

const ADMIN: &str = "the-operators-key";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const TOKEN: &str = "Bearer 0123456789abcdef";
const UNKNOWN: &str = "01HF7YAT00WGG5W2NJKMXE8P9E";

struct House {
    app: TestApp,
    access: Access,
    triggers: Triggers,
    clock: Clock,
    tenant: std::sync::Arc<str>,
    key: String,
    _store: TestStore,
}

async fn house(engine: Engine) -> House {
    house_at(engine, None).await
}

async fn house_at(engine: Engine, public_url: Option<&str>) -> House {
    let migrations = [
        tidewire_access::MIGRATIONS,
        tidewire_events::MIGRATIONS,
        tidewire_jobs::MIGRATIONS,
        crate::MIGRATIONS,
    ]
    .concat();
    let clock = Clock::fake(Time::from_millis(1_700_000_000_000));
    let store = TestStore::on_with_clock(engine, &migrations, clock.clone()).await;
    let (db, shutdown) = (store.db.clone(), CancellationToken::new());
    let config = AccessConfig {
        admin_key: Some(ADMIN.to_owned()),
        ..AccessConfig::default()
    };
    let access = Access::new(db.clone(), clock.clone(), &config);
    access.start().await.unwrap();
    let (_, settings) = watch::channel(JobSettings::default());
    let followers = Followers::default().with(FOLLOWER, Executions::new(&db, clock.clone()));
    let jobs = Jobs::new(
        db.clone(),
        clock.clone(),
        settings,
        followers,
        shutdown.clone(),
    );
    let settings = tidewire_events::Settings::default();
    let events = Events::new(db.clone(), clock.clone(), settings, shutdown.clone());
    let triggers = Triggers::new(
        db,
        clock.clone(),
        TriggerSettings::default(),
        AddressPolicy::allowing(LOOPBACK),
        (jobs.clone(), events.clone()),
    );
    let public_url = public_url.map(|url| url.parse().unwrap());
    let routes = super::routes(triggers.clone(), access.clone(), public_url);
    let public = super::public_routes(triggers.clone(), access.clone());
    let of_jobs = tidewire_jobs::routes(jobs, access.request_keys().clone(), events);
    let authenticate = Authenticate::new(access.clone());
    let app = TestApp::start(shutdown, |app| {
        app.routes(routes)
            .routes(of_jobs)
            .public(public)
            .authenticate(move |router| router.layer(authenticate))
    })
    .await;
    let tenant = access.create_tenant("acme".to_owned()).await.unwrap();
    House {
        app,
        access,
        triggers,
        clock,
        tenant: tenant.id.into(),
        key: tenant.api_key,
        _store: store,
    }
}

impl House {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.app.request(method, path).bearer_auth(&self.key)
    }

    async fn get(&self, path: &str) -> Answer {
        TestApp::send(self.request(Method::GET, path)).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        TestApp::send(self.request(Method::POST, path).json(body)).await
    }

    async fn put(&self, path: &str, body: &Value) -> Answer {
        TestApp::send(self.request(Method::PUT, path).json(body)).await
    }

    async fn delete(&self, path: &str) -> Answer {
        TestApp::send(self.request(Method::DELETE, path)).await
    }

    async fn create(&self, kind: &str, config: Value) -> Value {
        let body = json!({"name": "a trigger", "type": kind, "config": config});
        self.post("/v1/triggers", &body).await.expect(201).json()
    }

    async fn webhook(&self, more: Value) -> String {
        let trigger = self.create("webhook", endpoint(more)).await;
        trigger["id"].as_str().unwrap().to_owned()
    }

    /// Calls a webhook as a stranger.
    async fn call(&self, id: &str, body: &Value) -> Answer {
        self.app.post(&format!("/v1/webhook/{id}"), body).await
    }

    async fn jobs(&self) -> Vec<Value> {
        let jobs = self.get("/v1/jobs").await.expect(200).json();
        jobs["jobs"].as_array().unwrap().clone()
    }

    /// A key of the tenant with these scopes.
    async fn key(&self, scopes: &str) -> String {
        let scopes: Scopes = scopes.parse().unwrap();
        let minted = self.access.mint_key(&self.tenant, Some(scopes)).await;
        minted.unwrap().api_key
    }
}

/// A config that delivers, and more.
fn endpoint(more: Value) -> Value {
    let mut config = json!({"endpoint": "http://127.0.0.1:9/in"});
    let fields = more.as_object().unwrap().clone();
    config.as_object_mut().unwrap().extend(fields);
    config
}

fn pointers(answer: &Answer) -> Vec<String> {
    let problem = answer.json();
    let errors = problem["errors"].as_array().cloned().unwrap_or_default();
    let pointers = errors
        .iter()
        .map(|error| error["pointer"].as_str().unwrap());
    pointers.map(str::to_owned).collect()
}

#[every_engine]
async fn a_trigger_is_made_read_changed_and_deleted(engine: Engine) {
    let house = house(engine).await;
    let config = r#"{"endpoint":"http://127.0.0.1:9/in","payload":{"n":1.10}}"#;
    let body = format!(r#"{{"name":"first","type":"webhook","config":{config}}}"#);
    let request = house
        .request(Method::POST, "/v1/triggers")
        .header(header::CONTENT_TYPE, "application/json")
        .body(body);
    let made = TestApp::send(request).await.expect(201);
    assert!(made.text.contains("1.10"), "{}", made.text);
    let made = made.json();
    let id = made["id"].as_str().unwrap();
    assert_eq!(
        made,
        json!({
            "id": id,
            "name": "first",
            "type": "webhook",
            "status": "active",
            "config": {"endpoint": "http://127.0.0.1:9/in", "payload": {"n": 1.10}},
            "webhook_url": house.app.url(&format!("/v1/webhook/{id}")),
            "created_at": "2023-11-14T22:13:20.000000Z",
            "updated_at": "2023-11-14T22:13:20.000000Z",
        })
    );
    let path = format!("/v1/triggers/{id}");
    assert_eq!(house.get(&path).await.expect(200).json(), made);
    let list = house.get("/v1/triggers").await.expect(200).json();
    assert_eq!(list["triggers"], json!([made]));

    house.clock.advance(Duration::from_secs(5));
    let changed = house
        .put(&path, &json!({"name": "second"}))
        .await
        .expect(200);
    let changed = changed.json();
    assert_eq!(
        (&changed["name"], &changed["updated_at"]),
        (&json!("second"), &json!("2023-11-14T22:13:25.000000Z"))
    );
    assert_eq!(changed["config"], made["config"]);
    let edit = json!({"status": "inactive", "config": {"job": {"type": "echo"}}});
    let changed = house.put(&path, &edit).await.expect(200).json();
    assert_eq!(
        (&changed["status"], &changed["config"], &changed["name"]),
        (&json!("inactive"), &edit["config"], &json!("second"))
    );
    assert_eq!(changed["webhook_url"], made["webhook_url"]);

    let gone = house.delete(&path).await.expect(204);
    assert_eq!(gone.text, "");
    house.get(&path).await.expect(404);
    house.put(&path, &json!({})).await.expect(404);
    house.delete(&path).await.expect(404);
}

#[every_engine]
async fn triggers_by_the_clock_show_when_they_fire(engine: Engine) {
    let house = house(engine).await;
    for (kind, more, next) in [
        (
            "time_scheduled",
            json!({"run_at": "2023-11-15T00:13:21+01:00"}),
            Some("2023-11-14T23:13:21.000000Z"),
        ),
        (
            "time_scheduled",
            json!({"delay": "10m"}),
            Some("2023-11-14T22:23:20.000000Z"),
        ),
        (
            "cron_scheduled",
            json!({"cron": "0 9 * * *", "timezone": "Europe/Berlin"}),
            Some("2023-11-15T08:00:00.000000Z"),
        ),
        (
            "interval_scheduled",
            json!({"every": "30m"}),
            Some("2023-11-14T22:43:20.000000Z"),
        ),
        ("event", json!({"event_type": "order.*"}), None),
        ("webhook", json!({}), None),
    ] {
        let trigger = house.create(kind, endpoint(more)).await;
        assert_eq!(trigger["next_scheduled_run"].as_str(), next, "{trigger}");
        assert_eq!(trigger["webhook_url"].is_string(), kind == "webhook");
        let path = format!("/v1/triggers/{}", trigger["id"].as_str().unwrap());
        let schedules = format!("{path}/schedules");
        let listed = house.get(&schedules).await.expect(200).json();
        let occurrences = listed["schedules"].as_array().unwrap().clone();
        assert_eq!(occurrences.len(), usize::from(next.is_some()), "{listed}");
        assert_eq!(listed["pagination"]["total_records"], occurrences.len());
        let Some(next) = next else { continue };
        assert_eq!(
            occurrences[0],
            json!({
                "id": occurrences[0]["id"],
                "fire_at": next,
                "status": "pending",
                "attempt_count": 0,
                "last_attempt_at": null,
            })
        );
        let rested = house.put(&path, &json!({"status": "inactive"})).await;
        let rested = rested.expect(200).json();
        assert_eq!(rested.get("next_scheduled_run"), None);
        let listed = house.get(&schedules).await.expect(200).json();
        assert_eq!(listed["schedules"][0]["status"], "cancelled");
        let pending = format!("{schedules}?status=pending");
        let listed = house.get(&pending).await.expect(200).json();
        assert_eq!(listed["schedules"], json!([]));
    }
    house
        .get(&format!("/v1/triggers/{UNKNOWN}/schedules"))
        .await
        .expect(404);
}

#[every_engine]
async fn bad_triggers_are_refused_whole(engine: Engine) {
    let house = house(engine).await;
    let cron = |cron: &str| endpoint(json!({"cron": cron}));
    for (body, at) in [
        (json!({}), &[""][..]),
        (
            json!({"name": "", "type": "webhook", "config": endpoint(json!({}))}),
            &["/name"],
        ),
        (
            json!({"name": "n", "type": "timer", "config": endpoint(json!({}))}),
            &["/type"],
        ),
        (
            json!({"name": "n", "type": "webhook", "config": []}),
            &["/config"],
        ),
        (
            json!({"name": "n", "type": "webhook", "config": {}}),
            &["/config/endpoint"],
        ),
        (
            json!({"name": "n", "type": "webhook", "config": endpoint(json!({})), "extra": 1}),
            &["/extra"],
        ),
        (
            json!({"name": "n", "type": "webhook", "config": endpoint(json!({})), "status": "on"}),
            &["/status"],
        ),
        (
            json!({"name": "", "type": "cron_scheduled", "config": cron("61 * * * *")}),
            &["/name", "/config/cron"],
        ),
        (
            json!({"name": "n", "type": "cron_scheduled", "config": cron("0 0 30 2 *")}),
            &["/config/cron"],
        ),
        (
            json!({"name": "n", "type": "time_scheduled",
                "config": endpoint(json!({"run_at": "2023-11-14T22:13:19Z"}))}),
            &["/config/run_at"],
        ),
        (
            json!({"name": "n", "type": "webhook", "config": {"endpoint": "http://10.0.0.1/"}}),
            &["/config/endpoint"],
        ),
        (
            json!({"name": "n", "type": "webhook", "config": endpoint(json!({"schema": {"type": 5}}))}),
            &["/config/schema/type"],
        ),
        (
            json!({"name": "n", "type": "webhook",
                "config": endpoint(json!({"colour": 1, "timeout_seconds": 61}))}),
            &["/config/timeout_seconds", "/config/colour"],
        ),
    ] {
        let refused = house.post("/v1/triggers", &body).await.expect(400);
        assert_eq!(refused.headers["content-type"], "application/problem+json");
        for pointer in at {
            assert!(
                pointers(&refused).iter().any(|known| known == pointer),
                "{pointer}: {}",
                refused.text
            );
        }
    }
    let text = house
        .request(Method::POST, "/v1/triggers")
        .header(header::CONTENT_TYPE, "text/plain")
        .body("{}");
    TestApp::send(text).await.expect(415);
    let list = house.get("/v1/triggers").await.expect(200).json();
    assert_eq!(list["triggers"], json!([]));

    let id = house.webhook(json!({})).await;
    let path = format!("/v1/triggers/{id}");
    for (edit, pointer) in [
        (json!({"type": "event"}), "/type"),
        (json!({"name": "x".repeat(256)}), "/name"),
        (json!({"status": "paused"}), "/status"),
        (json!({"config": {"endpoint": 5}}), "/config/endpoint"),
        (
            json!({"config": endpoint(json!({"secret": "…aaaa"}))}),
            "/config/secret",
        ),
    ] {
        let refused = house.put(&path, &edit).await.expect(400);
        assert_eq!(pointers(&refused), [pointer], "{}", refused.text);
    }
    for query in [
        "type=timer",
        "status=on",
        "page=0",
        "limit=0",
        "limit=501",
        "cursor=x",
        "page=-1",
    ] {
        let refused = house.get(&format!("/v1/triggers?{query}")).await;
        let name = query.split('=').next().unwrap();
        assert_eq!(pointers(&refused.expect(400)), [name], "{query}");
    }
}

#[every_engine]
async fn lists_have_numbered_pages_and_filters(engine: Engine) {
    let house = house(engine).await;
    for n in 0..5 {
        let kind = if n % 2 == 0 { "webhook" } else { "event" };
        let config = endpoint(if n % 2 == 0 {
            json!({})
        } else {
            json!({"event_type": "a"})
        });
        let status = if n == 4 { "inactive" } else { "active" };
        let body =
            json!({"name": format!("n-{n}"), "type": kind, "config": config, "status": status});
        house.post("/v1/triggers", &body).await.expect(201);
        house.clock.advance(Duration::from_millis(1));
    }
    let page = async |query: &str| {
        let page = house.get(&format!("/v1/triggers{query}")).await;
        let page = page.expect(200).json();
        let names = page["triggers"].as_array().unwrap().iter();
        let names = names.map(|one| one["name"].as_str().unwrap().to_owned());
        (names.collect::<Vec<_>>(), page["pagination"].clone())
    };
    let pagination = |current: u64, size: u64, pages: u64, records: u64| json!({"current_page": current, "page_size": size, "total_pages": pages, "total_records": records});
    assert_eq!(
        page("?limit=2").await,
        (vec!["n-4".into(), "n-3".into()], pagination(1, 2, 3, 5))
    );
    assert_eq!(
        page("?limit=2&page=3").await,
        (vec!["n-0".into()], pagination(3, 2, 3, 5))
    );
    assert_eq!(page("?page=9").await, (vec![], pagination(9, 50, 1, 5)));
    assert_eq!(
        page("?type=event").await,
        (vec!["n-3".into(), "n-1".into()], pagination(1, 50, 1, 2))
    );
    assert_eq!(
        page("?type=webhook&status=inactive").await,
        (vec!["n-4".into()], pagination(1, 50, 1, 1))
    );
    assert_eq!(
        page("?type=cron_scheduled").await,
        (vec![], pagination(1, 50, 0, 0))
    );
}

#[every_engine]
async fn one_idempotency_key_is_one_trigger(engine: Engine) {
    let house = house(engine).await;
    let send = async |name: &str| {
        let config = endpoint(json!({"run_at": "2023-11-14T22:14:00Z", "secret": SECRET}));
        let body = json!({"name": name, "type": "time_scheduled", "config": config});
        let request = house.request(Method::POST, "/v1/triggers");
        TestApp::send(request.header("Idempotency-Key", "k").json(&body)).await
    };
    let first = send("a").await.expect(201);
    // Its time has come since; the request was the same all the same.
    house.clock.advance(Duration::from_mins(5));
    let again = send("a").await.expect(201);
    assert_eq!(first.text, again.text);
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert!(!again.text.contains(SECRET), "{}", again.text);
    send("b").await.expect(422);
    let list = house.get("/v1/triggers").await.expect(200).json();
    assert_eq!(list["pagination"]["total_records"], 1);
}

#[every_engine]
async fn secrets_go_in_and_never_come_out(engine: Engine) {
    let house = house(engine).await;
    let config = endpoint(
        json!({"secret": SECRET, "headers": {"Authorization": TOKEN, "X-Plain": "plain"}}),
    );
    let made = house.create("webhook", config.clone()).await;
    let masked =
        json!({"secret": "whsec_…LaSw", "headers": {"Authorization": "…cdef", "X-Plain": "plain"}});
    assert_eq!(made["config"], endpoint(masked));
    let id = made["id"].as_str().unwrap();
    let path = format!("/v1/triggers/{id}");
    // What was shown goes back with one field changed, and the masks stand for the secrets.
    let mut edited = made["config"].clone();
    edited["timeout_seconds"] = json!(5);
    let put = house
        .put(&path, &json!({"config": edited}))
        .await
        .expect(200);
    let stored = house.triggers.get(&house.tenant, id).await.unwrap();
    let stored: Value = serde_json::from_str(stored.config.raw().get()).unwrap();
    let mut expected = config;
    expected["timeout_seconds"] = json!(5);
    assert_eq!(stored, expected);
    house.call(id, &json!({})).await.expect(202);
    let tested = house
        .post(&format!("{path}/test"), &json!({}))
        .await
        .expect(202);
    for answer in [
        put,
        tested,
        house.get(&path).await,
        house.get("/v1/triggers").await,
        house.get("/v1/jobs").await,
        // One that is wrong in another place.
        house
            .post(
                "/v1/triggers/test",
                &json!({"type": "webhook", "config": endpoint(json!({"secret": SECRET, "timeout_seconds": 0}))}),
            )
            .await
            .expect(400),
    ] {
        assert!(!answer.text.contains("MfKQ9r8G"), "{}", answer.text);
        assert!(!answer.text.contains("0123456789"), "{}", answer.text);
    }
}

#[every_engine]
async fn tenants_do_not_see_each_other(engine: Engine) {
    let house = house(engine).await;
    let id = house.webhook(json!({})).await;
    let other = house
        .access
        .create_tenant("other".to_owned())
        .await
        .unwrap();
    let path = format!("/v1/triggers/{id}");
    for (method, path, body) in [
        (Method::GET, path.clone(), None),
        (Method::PUT, path.clone(), Some(json!({}))),
        (Method::DELETE, path.clone(), None),
        (Method::GET, format!("{path}/schedules"), None),
        (Method::GET, format!("{path}/preview"), None),
        (Method::POST, format!("{path}/test"), Some(json!({}))),
    ] {
        let request = house.app.request(method.clone(), &path);
        let request = request.bearer_auth(&other.api_key);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let answer = TestApp::send(request).await;
        assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text);
    }
    let list = house.app.request(Method::GET, "/v1/triggers");
    let list = TestApp::send(list.bearer_auth(&other.api_key)).await;
    assert_eq!(list.expect(200).json()["triggers"], json!([]));
    house.get(&path).await.expect(200);
}

#[every_engine]
async fn each_route_wants_its_scope(engine: Engine) {
    let house = house(engine).await;
    let id = house.webhook(json!({})).await;
    let cron = endpoint(json!({"cron": "* * * * *"}));
    for (scopes, read, write) in [
        ("read", true, false),
        ("write", false, true),
        ("worker", false, false),
    ] {
        let key = house.key(scopes).await;
        let ask =
            async |method: Method, path: &str, body: Option<Value>, allowed: bool, fine: u16| {
                let request = house.app.request(method, path).bearer_auth(&key);
                let request = match &body {
                    Some(body) => request.json(body),
                    None => request,
                };
                let expected = if allowed { fine } else { 403 };
                let answer = TestApp::send(request).await;
                assert_eq!(answer.status, expected, "{scopes} {path}: {}", answer.text);
            };
        let path = format!("/v1/triggers/{id}");
        ask(Method::GET, "/v1/triggers", None, read, 200).await;
        ask(Method::GET, "/v1/executions", None, read, 200).await;
        ask(Method::GET, "/v1/endpoints", None, read, 200).await;
        ask(Method::GET, &path, None, read, 200).await;
        ask(Method::GET, &format!("{path}/schedules"), None, read, 200).await;
        ask(Method::GET, &format!("{path}/preview"), None, read, 400).await;
        let new = json!({"name": "n", "type": "webhook", "config": endpoint(json!({}))});
        ask(Method::POST, "/v1/triggers", Some(new.clone()), write, 201).await;
        ask(Method::PUT, &path, Some(json!({})), write, 200).await;
        ask(Method::POST, &format!("{path}/test"), None, write, 202).await;
        let test = json!({"type": "webhook", "config": endpoint(json!({}))});
        ask(Method::POST, "/v1/triggers/test", Some(test), write, 202).await;
        let preview = json!({"type": "cron_scheduled", "config": cron});
        ask(
            Method::POST,
            "/v1/triggers/preview",
            Some(preview),
            write,
            200,
        )
        .await;
        let unknown = format!("/v1/triggers/{UNKNOWN}");
        ask(Method::DELETE, &unknown, None, write, 404).await;
    }
    house.app.get("/v1/triggers").await.expect(401);
}

#[every_engine]
async fn a_preview_says_what_a_pattern_means(engine: Engine) {
    let house = house(engine).await;
    let config = endpoint(json!({"cron": "30 2 * * *", "timezone": "Europe/Berlin"}));
    let body = json!({"type": "cron_scheduled", "config": config, "from": "2026-03-28T00:00:00Z", "count": 3});
    let preview = house.post("/v1/triggers/preview", &body).await.expect(200);
    // The second is the first instant after a gap of the local clock.
    let runs = json!([
        "2026-03-28T01:30:00.000000Z",
        "2026-03-29T01:00:00.000000Z",
        "2026-03-30T00:30:00.000000Z"
    ]);
    assert_eq!(preview.json(), json!({"runs": runs}));
    let list = house.get("/v1/triggers").await.expect(200).json();
    assert_eq!(list["triggers"], json!([]), "nothing is stored");

    let stored = house.create("cron_scheduled", config.clone()).await;
    let path = format!("/v1/triggers/{}/preview", stored["id"].as_str().unwrap());
    let query = "?from=2026-03-28T00:00:00Z&count=3";
    let again = house.get(&format!("{path}{query}")).await.expect(200);
    assert_eq!(again.json(), json!({"runs": runs}));
    let usual = house.get(&path).await.expect(200).json();
    assert_eq!(usual["runs"].as_array().unwrap().len(), 5);
    assert_eq!(usual["runs"][0], stored["next_scheduled_run"]);

    for (body, pointer) in [
        (
            json!({"type": "cron_scheduled", "config": config, "count": 101}),
            "/count",
        ),
        (
            json!({"type": "webhook", "config": endpoint(json!({}))}),
            "/type",
        ),
        (
            json!({"type": "cron_scheduled", "config": endpoint(json!({"cron": "x"}))}),
            "/config/cron",
        ),
        (
            json!({"type": "cron_scheduled", "config": config, "from": "soon"}),
            "/from",
        ),
    ] {
        let refused = house.post("/v1/triggers/preview", &body).await.expect(400);
        assert_eq!(pointers(&refused), [pointer], "{}", refused.text);
    }
    let refused = house.get(&format!("{path}?count=0")).await.expect(400);
    assert_eq!(pointers(&refused), ["count"]);
    house
        .get(&format!("/v1/triggers/{UNKNOWN}/preview"))
        .await
        .expect(404);
}

#[every_engine]
async fn a_test_run_is_one_job_and_no_schedule(engine: Engine) {
    let house = house(engine).await;
    let schema = json!({"type": "object", "required": ["id"]});
    let id = house
        .webhook(json!({"schema": schema, "payload": {"id": 7}}))
        .await;
    let path = format!("/v1/triggers/{id}");
    let refused = house
        .post(&format!("{path}/test"), &json!({"payload": {"no": "id"}}))
        .await
        .expect(400);
    assert_eq!(pointers(&refused), ["/payload"], "{}", refused.text);
    house
        .post(&format!("{path}/test"), &json!({"pay": 1}))
        .await
        .expect(400);
    assert_eq!(house.jobs().await.len(), 0);

    // An inactive one too, and without a body.
    house
        .put(&path, &json!({"status": "inactive"}))
        .await
        .expect(200);
    let test = house.request(Method::POST, &format!("{path}/test"));
    let run = TestApp::send(test).await.expect(202).json();
    let jobs = house.jobs().await;
    assert_eq!(jobs.len(), 1);
    assert_eq!(
        (&jobs[0]["id"], &jobs[0]["event_id"], &jobs[0]["payload"]),
        (&run["job_id"], &run["execution_id"], &json!({"id": 7}))
    );
    assert_eq!(
        (
            &jobs[0]["type"],
            &jobs[0]["queue"],
            &jobs[0]["max_attempts"]
        ),
        (&json!("http.dispatch"), &json!("deliveries"), &json!(8))
    );
    assert_eq!(run.as_object().unwrap().len(), 2, "{run}");
    let body = json!({"type": "webhook", "config": endpoint(json!({})), "payload": null});
    let null = house
        .post("/v1/triggers/test", &body)
        .await
        .expect(202)
        .json();
    let path = format!("/v1/jobs/{}", null["job_id"].as_str().unwrap());
    assert_eq!(
        house.get(&path).await.expect(200).json()["payload"],
        Value::Null
    );

    let cron = house
        .create("cron_scheduled", endpoint(json!({"cron": "0 0 * * *"})))
        .await;
    let path = format!("/v1/triggers/{}", cron["id"].as_str().unwrap());
    house
        .post(&format!("{path}/test"), &json!({"payload": [1]}))
        .await
        .expect(202);
    let schedules = house
        .get(&format!("{path}/schedules"))
        .await
        .expect(200)
        .json();
    assert_eq!(
        schedules["pagination"]["total_records"], 1,
        "the coming one"
    );
    let config = json!({"job": {"type": "echo", "queue": "mine"}});
    house
        .post(
            "/v1/triggers/test",
            &json!({"type": "event", "config": config}),
        )
        .await
        .expect(400);
    let config = json!({"job": {"type": "echo", "queue": "mine"}, "event_type": "a"});
    house
        .post(
            "/v1/triggers/test",
            &json!({"type": "event", "config": config}),
        )
        .await
        .expect(202);
    let jobs = house.jobs().await;
    assert_eq!(
        (&jobs[0]["type"], &jobs[0]["queue"]),
        (&json!("echo"), &json!("mine"))
    );
    house
        .post(&format!("/v1/triggers/{UNKNOWN}/test"), &json!({}))
        .await
        .expect(404);
}

#[every_engine]
async fn a_webhook_takes_what_its_schema_allows(engine: Engine) {
    let house = house(engine).await;
    let schema = json!({
        "type": "object",
        "required": ["id"],
        "properties": {"id": {"type": "integer"}, "name": {"type": "string"}},
    });
    let id = house.webhook(json!({"schema": schema})).await;
    let refused = house
        .call(&id, &json!({"id": "x", "name": 5}))
        .await
        .expect(400);
    let mut found = pointers(&refused);
    found.sort();
    assert_eq!(found, ["/id", "/name"], "{}", refused.text);
    house.call(&id, &json!([])).await.expect(400);
    assert_eq!(house.jobs().await.len(), 0, "nothing is stored");

    let accepted = house.call(&id, &json!({"id": 1})).await.expect(202).json();
    assert_eq!(accepted["event_id"], accepted["execution_id"]);
    assert_eq!(accepted.as_object().unwrap().len(), 3, "{accepted}");
    let jobs = house.jobs().await;
    assert_eq!(
        (jobs.len(), &jobs[0]["id"], &jobs[0]["payload"]),
        (1, &accepted["job_id"], &json!({"id": 1}))
    );

    let inactive = house.webhook(json!({})).await;
    let path = format!("/v1/triggers/{inactive}");
    house
        .put(&path, &json!({"status": "inactive"}))
        .await
        .expect(200);
    let deleted = house.webhook(json!({})).await;
    house
        .delete(&format!("/v1/triggers/{deleted}"))
        .await
        .expect(204);
    let event = house
        .create("event", endpoint(json!({"event_type": "a"})))
        .await;
    let event = event["id"].as_str().unwrap();
    for id in [UNKNOWN, "nothing", &inactive, &deleted, event] {
        house.call(id, &json!({"id": 1})).await.expect(404);
    }
    assert_eq!(house.jobs().await.len(), 1);
    let get = TestApp::send(house.app.request(Method::GET, &format!("/v1/webhook/{id}"))).await;
    get.expect(405);
}

#[every_engine]
async fn a_webhook_takes_json_in_any_dress(engine: Engine) {
    let house = house(engine).await;
    let id = house.webhook(json!({})).await;
    let path = format!("/v1/webhook/{id}");
    for (media_type, body, payload) in [
        ("application/json", "[1.50]", "[1.50]"),
        ("application/json; charset=utf-8", "null", "null"),
        (
            "application/cloudevents+json",
            r#"{"a":"ü"}"#,
            r#"{"a":"ü"}"#,
        ),
        ("Application/Vnd.X+JSON", "\"text\"", "\"text\""),
        ("application/x-www-form-urlencoded", "", "{}"),
    ] {
        let answer = house
            .app
            .post_raw(&path, media_type, body)
            .await
            .expect(202);
        let job = answer.json()["job_id"].as_str().unwrap().to_owned();
        let job = house.get(&format!("/v1/jobs/{job}")).await.expect(200);
        let squeezed: String = job.text.split_whitespace().collect();
        let expected = format!("\"payload\":{payload},");
        assert!(squeezed.contains(&expected), "{}", job.text);
    }
    let bare = TestApp::send(house.app.request(Method::POST, &path)).await;
    bare.expect(202);
    let stored = house.jobs().await.len();
    let long = format!("\"{}\"", "x".repeat(256 << 10));
    for (media_type, body, status) in [
        ("application/x-www-form-urlencoded", "a=1", 415),
        ("text/plain", "{}", 415),
        ("application/json; charset=latin1", "{}", 415),
        ("application/json", "{oops", 400),
        ("application/json", "{} {}", 400),
        ("application/json", r#"{"a":"\u0000"}"#, 400),
        ("application/json", &long, 413),
    ] {
        let answer = house.app.post_raw(&path, media_type, body.to_owned()).await;
        assert_eq!(answer.status, status, "{media_type}: {}", answer.text);
    }
    assert_eq!(house.jobs().await.len(), stored);
}

#[every_engine]
async fn a_webhook_may_want_a_key_besides(engine: Engine) {
    let house = house(engine).await;
    let open = house.webhook(json!({})).await;
    let closed = house.webhook(json!({"require_key": true})).await;
    let reader = house.key("read").await;
    let writer = house.key("write").await;
    let other = house
        .access
        .create_tenant("other".to_owned())
        .await
        .unwrap();
    let call = async |id: &str, authorization: Option<&str>| {
        let request = house
            .app
            .request(Method::POST, &format!("/v1/webhook/{id}"));
        let request = match authorization {
            Some(value) => request.header(header::AUTHORIZATION, value),
            None => request,
        };
        TestApp::send(request.json(&json!({}))).await
    };
    for (authorization, status) in [
        (None, 401),
        (Some("Basic YTpi".to_owned()), 401),
        (
            Some(format!("Bearer {}x", &writer[..writer.len() - 1])),
            401,
        ),
        (Some(format!("Bearer {}", other.api_key)), 401),
        (Some(format!("Bearer {reader}")), 403),
        (Some(format!("Bearer {writer}")), 202),
    ] {
        let answer = call(&closed, authorization.as_deref()).await.expect(status);
        assert_eq!(
            answer.headers.contains_key("www-authenticate"),
            status == 401
        );
        // Where none is asked for, what a caller sends of its own is none of ours.
        call(&open, authorization.as_deref()).await.expect(202);
    }
    assert_eq!(house.jobs().await.len(), 7);
}

#[every_engine]
async fn one_idempotency_key_is_one_call(engine: Engine) {
    let house = house(engine).await;
    let [first, second] = [
        house.webhook(json!({})).await,
        house.webhook(json!({})).await,
    ];
    let call = async |id: &str, body: &Value| {
        let request = house
            .app
            .request(Method::POST, &format!("/v1/webhook/{id}"));
        TestApp::send(request.header("Idempotency-Key", "k").json(body)).await
    };
    let one = call(&first, &json!([1])).await.expect(202);
    let again = call(&first, &json!([1])).await.expect(202);
    assert_eq!(
        (&one.text, &again.headers["idempotent-replayed"]),
        (&again.text, &"true".parse().unwrap())
    );
    call(&first, &json!([2])).await.expect(422);
    let elsewhere = call(&second, &json!([2])).await.expect(202);
    assert_ne!(one.text, elsewhere.text);
    assert_eq!(house.jobs().await.len(), 2);
}

#[every_engine]
async fn triggers_that_set_each_other_off_come_to_an_end(engine: Engine) {
    let house = house(engine).await;
    let id = house.webhook(json!({})).await;
    for (path, fine) in [
        (format!("/v1/webhook/{id}"), 202),
        (format!("/v1/triggers/{id}/test"), 202),
    ] {
        let at = async |depth: &str| {
            let request = house
                .request(Method::POST, &path)
                .header("x-tidewire-depth", depth);
            TestApp::send(request.json(&json!({}))).await
        };
        at("15").await.expect(fine);
        for depth in ["16", "4294967295", "4294967296", "deep", "-1", ""] {
            let refused = at(depth).await.expect(400);
            assert_eq!(pointers(&refused), ["x-tidewire-depth"], "{depth}");
        }
    }
    assert_eq!(house.jobs().await.len(), 2);
}

#[every_engine]
async fn executions_are_read_and_tried_again(engine: Engine) {
    let house = house(engine).await;
    let config = json!({"job": {"type": "mail", "queue": "mine"}, "retry": {"max_attempts": 1}});
    let trigger = house.create("webhook", config).await;
    let id = trigger["id"].as_str().unwrap();
    let called = house.call(id, &json!({"n": 1.0})).await.expect(202).json();
    house.clock.advance(Duration::from_millis(1));
    let test = format!("/v1/triggers/{id}/test");
    let tested = house.post(&test, &json!({})).await.expect(202).json();

    let path = format!(
        "/v1/executions/{}",
        called["execution_id"].as_str().unwrap()
    );
    let one = house.get(&path).await.expect(200).json();
    assert_eq!(
        one,
        json!({
            "id": called["execution_id"],
            "trigger_id": id,
            "trigger_type": "webhook",
            "fired_at": "2023-11-14T22:13:20.000000Z",
            "payload": {"n": 1.0},
            "source": "webhook",
            "execution_status": "pending",
            "error_message": null,
            "retention_status": "active",
            "is_test_run": false,
            "job_id": called["job_id"],
            "attempts": [],
            "created_at": "2023-11-14T22:13:20.000000Z",
        })
    );
    let listed = async |query: &str| {
        let list = house.get(&format!("/v1/executions{query}")).await;
        let list = list.expect(200).json();
        let events = list["events"].as_array().unwrap().iter();
        let ids: Vec<_> = events.map(|one| one["id"].clone()).collect();
        assert_eq!(list["pagination"]["total_records"], ids.len());
        ids
    };
    let (called_id, tested_id) = (&called["execution_id"], &tested["execution_id"]);
    assert_eq!(listed("").await, [tested_id.clone(), called_id.clone()]);
    assert_eq!(
        listed("?is_test_run=true").await,
        std::slice::from_ref(tested_id)
    );
    assert_eq!(
        listed("?source=webhook&execution_status=pending").await,
        std::slice::from_ref(called_id)
    );
    assert_eq!(
        listed(&format!("?trigger_id={id}&limit=500&page=1"))
            .await
            .len(),
        2
    );
    for query in [
        "retention_status=archived",
        "execution_status=failure",
        "source=event",
        "trigger_id=none",
    ] {
        assert!(listed(&format!("?{query}")).await.is_empty(), "{query}");
    }
    for query in ["is_test_run=maybe", "source=me", "status=pending", "page=0"] {
        let refused = house
            .get(&format!("/v1/executions?{query}"))
            .await
            .expect(400);
        assert_eq!(pointers(&refused), [query.split('=').next().unwrap()]);
    }

    let retry = format!("{path}/retry");
    house.post(&retry, &json!({})).await.expect(409);
    let claim = json!({"worker": "w", "types": ["mail"], "limit": 1});
    let claimed = house
        .post("/v1/jobs/claim", &claim)
        .await
        .expect(200)
        .json();
    assert_eq!(claimed["jobs"][0]["id"], called["job_id"]);
    let fail = json!({"lease_token": claimed["jobs"][0]["lease_token"], "error": "no stamps"});
    let job = format!("/v1/jobs/{}/fail", called["job_id"].as_str().unwrap());
    house.post(&job, &fail).await.expect(200);
    let failed = house.get(&path).await.expect(200).json();
    assert_eq!(
        (&failed["execution_status"], &failed["error_message"]),
        (&json!("failure"), &json!("no stamps"))
    );
    let summary = house
        .get("/v1/executions/summary?hours=1")
        .await
        .expect(200)
        .json();
    assert_eq!(
        summary["by_status"],
        json!({"pending": 1, "success": 0, "failure": 1})
    );
    assert_eq!(
        (
            &summary["triggers"][0]["trigger_id"],
            &summary["triggers"][0]["name"]
        ),
        (&json!(id), &json!("a trigger"))
    );
    let refused = house
        .get("/v1/executions/summary?hours=0")
        .await
        .expect(400);
    assert_eq!(pointers(&refused), ["hours"]);
    let again = house.request(Method::POST, &retry);
    let again = TestApp::send(again).await.expect(200).json();
    assert_eq!(again["execution_status"], "pending");

    // Executions outlive their trigger.
    house
        .delete(&format!("/v1/triggers/{id}"))
        .await
        .expect(204);
    assert_eq!(listed(&format!("?trigger_id={id}")).await.len(), 2);
    house
        .get(&format!("/v1/executions/{UNKNOWN}"))
        .await
        .expect(404);
    house
        .post("/v1/executions/nothing/retry", &json!({}))
        .await
        .expect(404);

    let other = house
        .access
        .create_tenant("other".to_owned())
        .await
        .unwrap();
    let reader = house.key("read").await;
    for (method, path, key, status) in [
        (Method::GET, &path, &other.api_key, 404),
        (Method::POST, &retry, &other.api_key, 404),
        (Method::GET, &path, &reader, 200),
        (Method::POST, &retry, &reader, 403),
    ] {
        let request = house.app.request(method, path).bearer_auth(key);
        TestApp::send(request).await.expect(status);
    }
    let api = house
        .get(&format!("/api/v1/events/{}", called_id.as_str().unwrap()))
        .await;
    assert_eq!(api.expect(200).json()["id"], *called_id);
}

#[tokio::test]
async fn the_operator_says_where_webhooks_are_called() {
    let house = house_at(Engine::Sqlite, Some("https://tide.example/in/")).await;
    let made = house.create("webhook", endpoint(json!({}))).await;
    let id = made["id"].as_str().unwrap();
    assert_eq!(
        made["webhook_url"],
        format!("https://tide.example/in/v1/webhook/{id}")
    );
}

#[tokio::test]
async fn the_paths_of_the_source_design_lead_here() {
    let house = house(Engine::Sqlite).await;
    let body = json!({"name": "n", "type": "webhook", "config": endpoint(json!({}))});
    let made = house
        .post("/api/v1/triggers", &body)
        .await
        .expect(201)
        .json();
    let id = made["id"].as_str().unwrap();
    house
        .get(&format!("/api/v1/triggers/{id}"))
        .await
        .expect(200);
    house
        .app
        .post(&format!("/api/v1/webhook/{id}"), &json!({}))
        .await
        .expect(202);
    house
        .post(&format!("/api/v1/triggers/{id}/test"), &json!({}))
        .await
        .expect(202);
}

/// What is wrong with an answer, by the API's own description of it.
fn faults(api: &Value, method: &str, path: &str, answer: &Answer) -> Vec<String> {
    let declared = &api["paths"][path][method]["responses"][answer.status.to_string()];
    let mut schema = declared["content"]["application/json"]["schema"].clone();
    let schema_fields = schema.as_object_mut();
    let fields = schema_fields.unwrap_or_else(|| panic!("{method} {path}: {}", answer.status));
    fields.insert("components".to_owned(), api["components"].clone());
    let schema = jsonschema::validator_for(&schema).unwrap();
    let answer = answer.json();
    let faults = schema.iter_errors(&answer);
    faults
        .map(|fault| format!("{}: {fault}", fault.instance_path()))
        .collect()
}

#[tokio::test]
async fn answers_are_as_they_are_described() {
    let house = house(Engine::Sqlite).await;
    let api = house.app.get("/openapi.json").await.expect(200).json();
    let fits = |method: &str, path: &str, answer: Answer| {
        let faults = faults(&api, method, path, &answer);
        assert!(faults.is_empty(), "{method} {path}: {faults:#?}");
        answer.json()
    };
    for (kind, more) in [
        (
            "webhook",
            json!({"secret": ["a", SECRET], "headers": {"Authorization": TOKEN}, "schema": true, "payload": null,
                "retry": {"max_attempts": 1, "base_seconds": 0.5}, "timeout_seconds": 1, "http_method": "PUT"}),
        ),
        ("time_scheduled", json!({"delay": "1s", "secret": SECRET})),
        (
            "cron_scheduled",
            json!({"cron": "* * * * * *", "misfire": "skip", "starts_at": null}),
        ),
        ("interval_scheduled", json!({"every": "1s"})),
        (
            "event",
            json!({"event_type": "a*", "filter": {"type": "ab"}}),
        ),
    ] {
        let config = endpoint(more);
        let new = json!({"name": "n", "type": kind, "config": config});
        let made = house.post("/v1/triggers", &new).await.expect(201);
        let made = fits("post", "/v1/triggers", made);
        let path = format!("/v1/triggers/{}", made["id"].as_str().unwrap());
        fits(
            "get",
            "/v1/triggers/{id}",
            house.get(&path).await.expect(200),
        );
        let edit = json!({"config": made["config"]});
        fits(
            "put",
            "/v1/triggers/{id}",
            house.put(&path, &edit).await.expect(200),
        );
        let tested = house.post(&format!("{path}/test"), &json!({})).await;
        let tested = fits("post", "/v1/triggers/{id}/test", tested.expect(202));
        let test = json!({"type": kind, "config": config});
        let unstored = house.post("/v1/triggers/test", &test).await;
        fits("post", "/v1/triggers/test", unstored.expect(202));
        if made["next_scheduled_run"].is_string() {
            let stored = house.get(&format!("{path}/preview")).await;
            fits("get", "/v1/triggers/{id}/preview", stored.expect(200));
            let unstored = house.post("/v1/triggers/preview", &test).await;
            fits("post", "/v1/triggers/preview", unstored.expect(200));
        }
        let schedules = house.get(&format!("{path}/schedules")).await;
        fits("get", "/v1/triggers/{id}/schedules", schedules.expect(200));
        let execution = tested["execution_id"].as_str().unwrap();
        let execution = house.get(&format!("/v1/executions/{execution}")).await;
        fits("get", "/v1/executions/{id}", execution.expect(200));
    }
    let id = house.webhook(json!({})).await;
    let called = house.call(&id, &json!({})).await.expect(202);
    fits("post", "/v1/webhook/{trigger_id}", called);
    for path in [
        "/v1/triggers",
        "/v1/executions",
        "/v1/executions/summary",
        "/v1/endpoints",
    ] {
        fits("get", path, house.get(path).await.expect(200));
    }
    let types = &api["components"]["schemas"]["TriggerType"]["enum"];
    let names: Vec<_> = crate::TriggerType::ALL
        .iter()
        .map(|one| one.as_str())
        .collect();
    assert_eq!(*types, json!(names));
}

#[tokio::test]
async fn every_answer_is_declared() {
    let house = house(Engine::Sqlite).await;
    let api = house.app.get("/openapi.json").await.expect(200).json();
    for (method, path, statuses) in [
        (
            "post",
            "/v1/triggers",
            "201 400 401 403 409 413 415 422 503",
        ),
        ("get", "/v1/triggers", "200 400 401 403 503"),
        ("get", "/v1/triggers/{id}", "200 400 401 403 404 503"),
        (
            "put",
            "/v1/triggers/{id}",
            "200 400 401 403 404 409 413 415 503",
        ),
        ("delete", "/v1/triggers/{id}", "204 400 401 403 404 503"),
        (
            "get",
            "/v1/triggers/{id}/schedules",
            "200 400 401 403 404 503",
        ),
        (
            "get",
            "/v1/triggers/{id}/preview",
            "200 400 401 403 404 503",
        ),
        (
            "post",
            "/v1/triggers/{id}/test",
            "202 400 401 403 404 413 415 503",
        ),
        (
            "post",
            "/v1/triggers/preview",
            "200 400 401 403 413 415 503",
        ),
        ("post", "/v1/triggers/test", "202 400 401 403 413 415 503"),
        ("get", "/v1/executions", "200 400 401 403 503"),
        ("get", "/v1/endpoints", "200 401 403 503"),
        ("get", "/v1/executions/summary", "200 400 401 403 503"),
        ("get", "/v1/executions/{id}", "200 400 401 403 404 503"),
        (
            "post",
            "/v1/executions/{id}/retry",
            "200 400 401 403 404 409 503",
        ),
        (
            "post",
            "/v1/webhook/{trigger_id}",
            "202 400 401 403 404 409 413 415 422 503",
        ),
    ] {
        let operation = &api["paths"][path][method];
        let declared = operation["responses"].as_object();
        let declared = declared.unwrap_or_else(|| panic!("{method} {path}"));
        for status in statuses.split(' ') {
            assert!(declared.contains_key(status), "{method} {path}: {status}");
        }
    }
    let schemas = api["components"]["schemas"].as_object().unwrap();
    for name in [
        "Trigger",
        "NewTrigger",
        "TriggerEdit",
        "WebhookConfig",
        "DeliveryConfig",
        "Schedule",
        "Pagination",
    ] {
        assert!(schemas.contains_key(name), "{name}");
    }
    assert_eq!(
        api["paths"]["/v1/webhook/{trigger_id}"]["post"]["security"][0],
        json!({})
    );
}
