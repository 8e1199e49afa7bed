//! The dashboard as a browser meets it: who may look and act, what a page may load, and that nothing
//! of one tenant is another's.

use reqwest::{Method, RequestBuilder, header};
use serde_json::{Value, json};
use tidewire_testkit::{Answer, TestApp, eventually};

use crate::support::{House, Server};

const ADMIN: &str = "an-operators-key";

/// Somebody at a browser: keeps cookies, and reads tokens off pages.
struct Person<'s> {
    server: &'s Server,
    cookies: Vec<(String, String)>,
}

impl<'s> Person<'s> {
    fn at(server: &'s Server) -> Self {
        Person {
            server,
            cookies: Vec::new(),
        }
    }

    async fn signed_in(server: &'s Server, key: &str) -> Self {
        let mut person = Person::at(server);
        let answer = person.signs_in(key).await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        person
    }

    async fn signs_in(&mut self, key: &str) -> Answer {
        let fields = [("key", key)];
        self.sends("/ui/sign-in", "/ui/sign-in", &fields).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.server.url());
        let cookies: Vec<_> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let request = self.server.client.request(method, url);
        request.header(header::COOKIE, cookies.join("; "))
    }

    async fn send(&mut self, request: RequestBuilder) -> Answer {
        let answer = TestApp::send(request).await;
        for set in answer.headers.get_all(header::SET_COOKIE) {
            let set = set.to_str().expect("text");
            let (pair, attributes) = set.split_once(';').expect("attributes");
            assert!(
                attributes.contains("HttpOnly") && attributes.contains("SameSite=Strict"),
                "{set}"
            );
            let (name, value) = pair.split_once('=').expect("a pair");
            self.cookies.retain(|(known, _)| known != name);
            if !attributes.contains("Max-Age=0") {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        answer
    }

    async fn looks(&mut self, path: &str) -> Answer {
        let request = self.request(Method::GET, path);
        self.send(request).await
    }

    /// Sends a form of a page to a path.
    async fn sends(&mut self, page: &str, to: &str, fields: &[(&str, &str)]) -> Answer {
        let page = self.looks(page).await.text;
        let mut fields: Vec<_> = fields.to_vec();
        let token = between(&page, "name=\"form_token\" value=\"", "\"");
        fields.push(("form_token", token));
        let request = self.request(Method::POST, to);
        self.send(form(request, &fields)).await
    }
}

fn form(request: RequestBuilder, fields: &[(&str, &str)]) -> RequestBuilder {
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", value.replace('&', "%26").replace('+', "%2B")))
        .collect();
    request
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(fields.join("&"))
}

#[track_caller]
fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let (_, rest) = text
        .split_once(before)
        .unwrap_or_else(|| panic!("there is no `{before}` in {text}"));
    rest.split_once(after).expect("an end").0
}

async fn tenant(server: &Server, name: &str) -> (String, String) {
    let made = server.post("/v1/tenants", &json!({"name": name})).await;
    let made = made.expect(201).json();
    let text = |field: &str| made[field].as_str().expect("a text").to_owned();
    (text("id"), text("api_key"))
}

async fn key_with(server: &Server, tenant: &str, scopes: &[&str]) -> Value {
    let path = format!("/v1/tenants/{tenant}/keys");
    let made = server.post(&path, &json!({"scopes": scopes})).await;
    made.expect(201).json()
}

/// As a tenant's own program calls the API.
async fn post_as(server: &Server, key: &str, path: &str, body: &Value) -> Value {
    let request = server
        .client
        .post(format!("{}{path}", server.url()))
        .bearer_auth(key)
        .json(body);
    TestApp::send(request).await.json()
}

const PAGES: [&str; 9] = [
    "/",
    "/ui/log",
    "/ui/jobs",
    "/ui/triggers",
    "/ui/executions",
    "/ui/threads",
    "/ui/sites",
    "/ui/archives",
    "/ui/fleet",
];

#[tokio::test]
async fn an_open_server_shows_every_page_and_says_what_to_do_first() {
    let server = House::new().start();
    let mut person = Person::at(&server);
    for path in PAGES {
        let page = person.looks(path).await.expect(200);
        assert!(page.text.contains("tidewire "), "{path}: {}", page.text);
        assert_eq!(page.headers[header::CACHE_CONTROL], "no-store");
        let policy = page.headers[header::CONTENT_SECURITY_POLICY].to_str();
        let policy = policy.expect("text");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'")
                && !policy.contains("unsafe"),
            "{policy}"
        );
        // Nothing that the policy would not let through.
        for inline in [" style=\"", " onclick", "<style", "<script>"] {
            assert!(!page.text.contains(inline), "{path} has `{inline}`");
        }
        // What is linked is there.
        for asset in page.text.split("\"/assets/").skip(1) {
            let asset = format!("/assets/{}", asset.split('"').next().expect("a name"));
            let file = person.looks(&asset).await.expect(200);
            let caching = file.headers[header::CACHE_CONTROL].to_str();
            assert!(caching.expect("text").contains("immutable"));
            let tag = file.headers[header::ETAG].clone();
            let again = person.request(Method::GET, &asset);
            let again = person.send(again.header(header::IF_NONE_MATCH, tag)).await;
            assert_eq!((again.status, again.text.as_str()), (304, ""));
        }
    }
    let missing = person.looks("/assets/style-0000.css").await;
    assert_eq!(missing.status, 404);
    let described = server.get("/openapi.json").await.text;
    assert!(!described.contains("/ui/"), "pages are no part of the API");
    server.stop().await;
}

#[tokio::test]
async fn a_key_opens_a_session_that_ends_with_it_and_outlives_the_server() {
    let house = House::new().with_admin(ADMIN);
    let server = house.start();
    let (id, _) = tenant(&server, "acme").await;
    let made = key_with(&server, &id, &["read"]).await;
    let key = made["api_key"].as_str().expect("a key").to_owned();

    let mut person = Person::at(&server);
    for path in PAGES {
        let led = person.looks(path).await.expect(303);
        let to = led.headers[header::LOCATION].to_str().expect("text");
        assert!(to.starts_with("/ui/sign-in"), "{to}");
    }
    let wrong = person.signs_in("tw_nobody").await.expect(401);
    assert!(wrong.text.contains("not valid") && !wrong.text.contains("tw_nobody"));
    // Back to where somebody wanted to be, and nowhere else.
    let fields = [("key", key.as_str()), ("back", "/ui/jobs?status=failed")];
    let led = person.sends("/ui/sign-in", "/ui/sign-in", &fields).await;
    assert_eq!(led.headers[header::LOCATION], "/ui/jobs?status=failed");
    assert!(person.looks("/").await.expect(200).text.contains(&id));
    let cookies = person.cookies.clone();
    assert!(!format!("{cookies:?}").contains(&key));
    server.stop().await;

    let server = house.start();
    let mut person = Person {
        server: &server,
        cookies,
    };
    person.looks("/ui/jobs").await.expect(200);
    let forged: Vec<_> = person
        .cookies
        .iter()
        .map(|(name, value)| (name.clone(), format!("{value}A")))
        .collect();
    let mut forger = Person {
        server: &server,
        cookies: forged,
    };
    forger.looks("/ui/jobs").await.expect(303);
    let path = format!(
        "/v1/tenants/{id}/keys/{}",
        made["id"].as_str().expect("an id")
    );
    let revoked = TestApp::send(server.request(Method::DELETE, &path)).await;
    revoked.expect(204);
    person.looks("/ui/jobs").await.expect(303);

    let mut operator = Person::signed_in(&server, ADMIN).await;
    operator.looks("/").await.expect(200);
    operator.sends("/", "/ui/sign-out", &[]).await.expect(303);
    operator.looks("/").await.expect(303);
    server.stop().await;
}

#[tokio::test]
async fn forms_are_taken_from_pages_of_this_server_alone() {
    let server = House::new().with_admin(ADMIN).start();
    let (_, key) = tenant(&server, "acme").await;
    let job = post_as(&server, &key, "/v1/jobs", &json!({"type": "nobody.does"})).await;
    let id = job["id"].as_str().expect("an id");
    let (page, cancel) = (format!("/ui/jobs/{id}"), format!("/ui/jobs/{id}/cancel"));
    let mut person = Person::signed_in(&server, &key).await;
    let shown = person.looks(&page).await.expect(200).text;
    let token = between(&shown, "name=\"form_token\" value=\"", "\"").to_owned();
    let good = [("form_token", token.as_str())];
    let other = Person::signed_in(&server, &key).await.looks("/").await.text;
    let others = [(
        "form_token",
        between(&other, "name=\"form_token\" value=\"", "\""),
    )];
    let refused = [
        form(person.request(Method::POST, &cancel), &[]),
        form(
            person.request(Method::POST, &cancel),
            &[("form_token", "x")],
        ),
        // Another session's, though the same key's.
        form(person.request(Method::POST, &cancel), &others),
        form(person.request(Method::POST, &cancel), &good).header("sec-fetch-site", "cross-site"),
        form(person.request(Method::POST, &cancel), &good)
            .header(header::ORIGIN, "https://evil.example"),
    ];
    for request in refused {
        let answer = person.send(request).await.expect(403);
        assert!(
            answer.text.contains("load the page again"),
            "{}",
            answer.text
        );
    }
    let json = person.request(Method::POST, &cancel).json(&json!({}));
    person.send(json).await.expect(415);
    assert!(person.looks(&page).await.text.contains(">pending<"));
    let request = form(person.request(Method::POST, &cancel), &good);
    person.send(request).await.expect(303);
    let done = person.looks(&page).await.expect(200).text;
    assert!(done.contains(">cancelled<") && done.contains("The job is cancelled."));
    // It is said once.
    assert!(
        !person
            .looks(&page)
            .await
            .text
            .contains("The job is cancelled.")
    );
    server.stop().await;
}

#[tokio::test]
async fn a_key_that_may_only_read_sees_no_button_and_presses_none() {
    let server = House::new().with_admin(ADMIN).start();
    let (id, writer) = tenant(&server, "acme").await;
    let made = key_with(&server, &id, &["read"]).await;
    let reader = made["api_key"].as_str().expect("a key");
    let job = post_as(
        &server,
        &writer,
        "/v1/jobs",
        &json!({"type": "nobody.does"}),
    )
    .await;
    let page = format!("/ui/jobs/{}", job["id"].as_str().expect("an id"));
    let cancel = format!("{page}/cancel");
    let mut person = Person::signed_in(&server, reader).await;
    let shown = person.looks(&page).await.expect(200).text;
    assert!(!shown.contains(&cancel), "{shown}");
    let refused = person.sends(&page, &cancel, &[]).await.expect(403);
    assert!(refused.text.contains("scope `write`"), "{}", refused.text);
    person.looks("/ui/tenants").await.expect(403);
    let made = key_with(&server, &id, &["worker"]).await;
    let worker = made["api_key"].as_str().expect("a key");
    Person::at(&server).signs_in(worker).await.expect(403);
    server.stop().await;
}

#[tokio::test]
async fn a_tenant_sees_nothing_of_another_and_the_operator_chooses() {
    let server = House::new().with_admin(ADMIN).start();
    let (acme, key) = tenant(&server, "acme").await;
    let (_, other) = tenant(&server, "other").await;
    let event = json!({"type": "acme.secret", "payload": {"x": 1}});
    let event = post_as(&server, &key, "/v1/events", &event).await;
    let job = post_as(&server, &key, "/v1/jobs", &json!({"type": "acme.job"})).await;
    let config = json!({"endpoint": "https://example.com/", "secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"});
    let trigger = json!({"name": "acme rule", "type": "webhook", "config": config});
    let trigger = post_as(&server, &key, "/v1/triggers", &trigger).await;
    let turn = json!({"thread_id": "acme-thread", "input": "hello"});
    post_as(&server, &key, "/v1/turns", &turn).await;
    let id = |made: &Value| made["id"].as_str().expect("an id").to_owned();
    let things = [
        format!("/ui/log/{}", id(&event)),
        format!("/ui/jobs/{}", id(&job)),
        format!("/ui/triggers/{}", id(&trigger)),
        "/ui/threads/acme-thread".to_owned(),
    ];
    let mut stranger = Person::signed_in(&server, &other).await;
    for path in PAGES {
        let page = stranger.looks(path).await.expect(200).text;
        assert!(!page.contains("acme."), "{path}: {page}");
        assert!(!page.contains("acme rule") && !page.contains("acme-thread"));
    }
    for path in &things {
        let page = stranger.looks(path).await.expect(404);
        // A page that says what to quote.
        let id = page.headers["x-request-id"].to_str().expect("text");
        assert!(
            page.text.contains(id) && page.text.contains("<h1>"),
            "{}",
            page.text
        );
    }
    let mut owner = Person::signed_in(&server, &key).await;
    for path in &things {
        let page = owner.looks(path).await.expect(200).text;
        assert!(!page.contains("C2FVsBQI"), "{path} shows a secret");
    }
    let mut operator = Person::signed_in(&server, ADMIN).await;
    assert!(!operator.looks("/ui/log").await.text.contains("acme.secret"));
    let fields = [("tenant", acme.as_str())];
    let chosen = operator.sends("/ui/tenants", "/ui/tenants", &fields).await;
    chosen.expect(303);
    assert!(operator.looks("/ui/log").await.text.contains("acme.secret"));
    let fields = [("tenant", "nobody")];
    let unknown = operator.sends("/ui/tenants", "/ui/tenants", &fields).await;
    unknown.expect(404);
    let chosen = owner.sends("/ui/tenants", "/ui/tenants", &fields).await;
    chosen.expect(403);
    server.stop().await;
}

#[tokio::test]
async fn whatever_somebody_wrote_is_shown_as_text() {
    let server = House::new().start();
    let evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";
    let event =
        json!({"type": "t", "subject": evil, "source": evil, "payload": {"k": evil, evil: 1.10}});
    let event = server.post("/v1/events", &event).await.expect(201).json();
    let job = json!({"type": "fail", "payload": {"times": 9}, "max_attempts": 1, "idempotency_key": evil});
    let job = server.post("/v1/jobs", &job).await.expect(201).json();
    let said = json!([
        {"type": "turn.started", "turn_id": "a", "payload": {"input": evil}},
        {"type": "message.delta", "turn_id": "a", "payload": {"delta": evil}},
        {"type": "custom", "turn_id": "a", "payload": {evil: evil}},
        {"type": "turn.failed", "turn_id": "a", "payload": {"error": evil}},
    ]);
    server.post("/v1/threads/t/events", &said).await.expect(201);
    let config = json!({"endpoint": "http://127.0.0.1:1/", "payload": {"k": evil}, "every": "1h"});
    let trigger = json!({"name": evil, "type": "interval_scheduled", "config": config});
    let trigger = server
        .post("/v1/triggers", &trigger)
        .await
        .expect(201)
        .json();
    let id = |made: &Value| made["id"].as_str().expect("an id").to_owned();
    let mut person = Person::at(&server);
    for path in [
        "/ui/log".to_owned(),
        format!("/ui/log/{}", id(&event)),
        format!("/ui/jobs/{}", id(&job)),
        "/ui/threads/t".to_owned(),
        "/ui/triggers".to_owned(),
        format!("/ui/triggers/{}", id(&trigger)),
        "/ui/log?subject=%3Cscript%3Ealert(1)%3C%2Fscript%3E".to_owned(),
    ] {
        let page = person.looks(&path).await.expect(200).text;
        assert!(page.contains("&lt;script"), "{path} shows nothing of it");
        for raw in ["<script>alert", "<img src=x", "\"'>"] {
            assert!(!page.contains(raw), "{path} has `{raw}`: {page}");
        }
    }
    // The digits of a payload are its sender's.
    let page = person.looks(&format!("/ui/log/{}", id(&event))).await.text;
    assert!(page.contains(": 1.1"), "{page}");
    server.stop().await;
}

#[tokio::test]
async fn lists_narrow_and_go_on_and_buttons_do_what_the_api_does() {
    let server = House::new().start();
    for n in 0..55 {
        let job = json!({"type": "nobody.does", "queue": format!("q{}", n % 2)});
        server.post("/v1/jobs", &job).await.expect(201);
    }
    let failing = json!({"type": "fail", "payload": {"times": 1}, "max_attempts": 1});
    let failing = server.post("/v1/jobs", &failing).await.expect(201).json();
    let id = failing["id"].as_str().expect("an id");
    let mut person = Person::at(&server);
    let rows = |page: &str| page.matches("data-row=").count();
    let first = person
        .looks("/ui/jobs?type=nobody.does&queue=&status=")
        .await;
    let first = first.expect(200).text;
    assert_eq!(rows(&first), 50);
    let next = between(&first, "class=\"next\" rel=\"next\" href=\"", "\"");
    let next = next.replace("&amp;", "&");
    assert!(next.contains("type=nobody.does"), "{next}");
    assert_eq!(rows(&person.looks(&next).await.expect(200).text), 5);
    let none = person.looks("/ui/jobs?queue=q7").await.expect(200).text;
    assert!(none.contains("Nothing fits the filters"));
    let wrong = person.looks("/ui/jobs?status=lost").await.expect(400).text;
    assert!(wrong.contains("`lost`"), "{wrong}");
    person.looks("/ui/jobs?colour=red").await.expect(400);

    let page = format!("/ui/jobs/{id}");
    eventually("it has failed", || async {
        let shown = server.get(&format!("/v1/jobs/{id}")).await.json();
        (shown["status"] == "failed").then_some(())
    })
    .await;
    assert!(
        person
            .looks("/ui/jobs?status=failed")
            .await
            .text
            .contains(id)
    );
    let retried = person.sends(&page, &format!("{page}/retry"), &[]).await;
    assert_eq!(retried.headers[header::LOCATION], page.as_str());
    eventually("it is done", || async {
        let shown = server.get(&format!("/v1/jobs/{id}")).await.json();
        (shown["status"] == "done").then_some(())
    })
    .await;
    // Retrying what is done is told, not done.
    let again = person.sends(&page, &format!("{page}/retry"), &[]).await;
    again.expect(409);
    server.stop().await;
}

#[tokio::test]
async fn guesses_of_the_operators_key_are_held_back() {
    let server = House::new().with_admin(ADMIN).start();
    let (_, minted) = tenant(&server, "acme").await;
    let mut person = Person::at(&server);
    let mut answers = Vec::new();
    for n in 0..12 {
        answers.push(person.signs_in(&format!("guess-{n}")).await);
    }
    let held = answers.last().expect("one");
    assert_eq!(held.status, 429, "{}", held.text);
    assert!(held.headers.contains_key(header::RETRY_AFTER));
    assert_eq!(answers[0].status, 401);
    // A minted key cannot be guessed, and so its owner does not wait.
    Person::signed_in(&server, &minted).await;
    server.stop().await;
}

#[tokio::test]
async fn every_process_serves_it_whatever_its_roles() {
    let server = House::new().with(&["--roles", "sweeper"]).start();
    let mut person = Person::at(&server);
    for path in PAGES {
        person.looks(path).await.expect(200);
    }
    server.stop().await;
}

#[tokio::test]
async fn cookies_travel_encrypted_only_where_the_server_is_reached_so() {
    let house = House::new().with_admin(ADMIN);
    for (url, secure) in [
        ("https://tide.example", true),
        ("http://tide.example", false),
    ] {
        let server = house.with(&["--public-url", url]).start();
        let answer = Person::at(&server).signs_in(ADMIN).await.expect(303);
        let cookie = answer.headers[header::SET_COOKIE].to_str().expect("text");
        assert_eq!(cookie.contains("; Secure"), secure, "{cookie}");
        server.stop().await;
    }
}
