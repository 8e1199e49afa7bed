//! OpenAPI, its rendering, health and metrics.

use std::time::Duration;

use serde_json::Value;
use tidewire_http::{App, Config, Health};

use crate::sample::{get, service};

#[tokio::test]
async fn the_description_is_complete() {
    let api = get(&service(), "/openapi.json").await.json();
    assert_eq!(api["openapi"], "3.1.0");
    assert_eq!(api["info"]["title"], "Tidewire");
    assert_eq!(api["info"]["license"]["identifier"], "Apache-2.0");
    assert!(
        api["info"]["description"]
            .as_str()
            .unwrap()
            .contains("| `/jobs*` | `/v1/jobs*` |")
    );
    assert!(
        api["x-tidewire-rewrites"]
            .as_array()
            .unwrap()
            .iter()
            .any(|row| row["from"] == "/jobs")
    );
    assert_eq!(
        api["components"]["securitySchemes"]["bearer"]["scheme"],
        "bearer"
    );
    assert_eq!(
        api["components"]["securitySchemes"]["X-API-Key"]["in"],
        "header"
    );
    assert_eq!(
        api["components"]["schemas"]["Problem"]["properties"]["request_id"]["type"],
        "string"
    );

    let answers = |path: &str, method: &str| {
        let operation = &api["paths"][path][method];
        operation["responses"]
            .as_object()
            .unwrap_or_else(|| panic!("{method} {path}"))
            .clone()
    };
    let statuses =
        |path: &str, method: &str| answers(path, method).keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        statuses("/v1/events", "post"),
        ["200", "400", "401", "403", "413", "415", "503"]
    );
    assert_eq!(
        statuses("/v1/events", "get"),
        ["200", "400", "401", "403", "503"]
    );
    assert_eq!(
        statuses("/v1/events/{id}", "get"),
        ["200", "400", "401", "403", "404", "503"]
    );
    assert_eq!(statuses("/health", "get"), ["200", "503"]);
    assert!(answers("/v1/events", "post")["503"]["headers"]["Retry-After"].is_object());
    assert!(api["paths"]["/health"]["get"]["security"].is_null());
    assert_eq!(
        api["paths"]["/v1/events"]["get"]["security"]
            .as_array()
            .unwrap()
            .len(),
        2
    );

    // A header may be missing, and is never null.
    let parameters = api["paths"]["/v1/events"]["get"]["parameters"].as_array();
    let header = parameters.unwrap().iter().find(|one| one["in"] == "header");
    assert_eq!(header.unwrap()["schema"]["type"], "string");

    // Every reference leads somewhere.
    let mut references = Vec::new();
    collect(&api, &mut references);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(api.pointer(pointer).is_some(), "{reference}");
    }
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            references.extend(
                fields
                    .get("$ref")
                    .and_then(Value::as_str)
                    .map(str::to_owned),
            );
            fields.values().for_each(|value| collect(value, references));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}

#[tokio::test]
async fn the_docs_render_from_the_binary_alone() {
    let service = service();
    for path in ["/docs", "/swagger/index.html"] {
        let answer = get(&service, path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("location")),
            (303, "/docs/"),
            "{path}"
        );
    }
    let page = get(&service, "/docs/").await;
    assert_eq!(
        (page.status.as_u16(), page.header("content-type")),
        (200, "text/html")
    );
    let html = String::from_utf8(page.body).unwrap();
    assert!(
        !html.contains("http://") && !html.contains("https://"),
        "{html}"
    );
    let mut loaded = 0;
    for attribute in ["src=\"", "href=\""] {
        for rest in html.split(attribute).skip(1) {
            let file = rest.split('"').next().unwrap().trim_start_matches("./");
            assert_eq!(
                get(&service, &format!("/docs/{file}")).await.status,
                200,
                "{file}"
            );
            loaded += 1;
        }
    }
    assert!(loaded >= 4, "{html}");
    let start = get(&service, "/docs/swagger-initializer.js").await;
    assert!(
        String::from_utf8(start.body)
            .unwrap()
            .contains("/openapi.json")
    );
    assert_eq!(get(&service, "/docs/nothing.js").await.problem().0, 404);
}

#[tokio::test(start_paused = true)]
async fn health_names_each_dependency_and_ready_follows_the_server() {
    let health = Health::new();
    let service = App::new(Config::default(), health.clone()).build().unwrap();
    health.register("store", || async { Ok(()) });
    let answer = get(&service, "/health").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json(),
        serde_json::json!({"status": "ok", "checks": {"store": "ok"}})
    );
    assert_eq!(get(&service, "/ready").await.status, 503);
    health.set_ready(true);
    assert_eq!(get(&service, "/ready").await.status, 200);

    health.register("bus", || async { Err("no broker answers".to_owned()) });
    health.register("objects", std::future::pending);
    let answer = get(&service, "/health").await;
    assert_eq!(answer.status, 503);
    let checks = &answer.json()["checks"];
    assert_eq!(checks["store"], "ok");
    assert_eq!(checks["bus"], "no broker answers");
    assert_eq!(checks["objects"], "no answer within 2 s");
    assert_eq!(get(&service, "/ready").await.status, 503);
}

#[tokio::test]
async fn recent_latencies_are_shown_as_quantiles() {
    let service = service();
    for step in 1..=50 {
        let took = Duration::from_millis(2 * step);
        metrics::histogram!("tidewire_test_seconds_recent").record(took);
    }
    let shown = String::from_utf8(get(&service, "/metrics").await.body).unwrap();
    let quantile = |of: &str| {
        let name = format!("tidewire_test_seconds_recent{{quantile=\"{of}\"}} ");
        let line = shown.lines().find_map(|line| line.strip_prefix(&name));
        line.unwrap_or_else(|| panic!("{name}\n{shown}"))
            .parse::<f64>()
            .unwrap()
    };
    for (of, about) in [("0.5", 0.05), ("0.95", 0.095), ("0.99", 0.099), ("1", 0.1)] {
        let shown = quantile(of);
        assert!((shown - about).abs() < 0.002, "{of}: {shown}");
    }
}

#[tokio::test]
async fn requests_are_counted_by_route_method_and_status() {
    // Two apps in one process share the recorder.
    let (one, two) = (service(), service());
    for app in [&one, &two] {
        get(app, "/v1/number/7").await;
        get(app, "/v1/number/8").await;
        get(app, "/v1/number/x").await;
    }
    let metrics = String::from_utf8(get(&one, "/metrics").await.body).unwrap();
    let value = |labels: &[&str]| {
        let line = metrics
            .lines()
            .find(|line| labels.iter().all(|label| line.contains(label)));
        let line = line.unwrap_or_else(|| panic!("{labels:?}\n{metrics}"));
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let requests = "tidewire_http_requests_total{";
    let route = "route=\"/v1/number/{n}\"";
    // Other tests of this process ask the same route, so at least.
    assert!(value(&[requests, route, "method=\"GET\"", "status=\"200\""]) >= 4);
    assert!(value(&[requests, route, "method=\"GET\"", "status=\"400\""]) >= 2);
    let seconds = "tidewire_http_request_duration_seconds";
    assert!(value(&[&format!("{seconds}_count{{"), route]) >= 6);
    assert!(value(&[&format!("{seconds}_bucket{{"), route, "le=\"60\""]) >= 6);
    assert!(metrics.contains(&format!("# HELP {seconds} ")));
}
