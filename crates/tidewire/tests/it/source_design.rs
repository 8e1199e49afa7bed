//! The source design (an API that takes events and jobs, a worker that runs them, daily metrics) by
//! its own paths, which the table of rewrites leads to `/v1`.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tidewire_testkit::{Engine, TestApp, eventually, every_engine};

use crate::support::{House, Server, assert_problem};

async fn start(engine: Engine) -> Server {
    let house = House::on(engine).await;
    house.with(&["--job-retry-base", "50ms"]).start()
}

async fn final_job(server: &Server, id: &str) -> Value {
    eventually("the job has ended", || async {
        let job = server.get(&format!("/jobs/{id}")).await.expect(200).json();
        let ended = matches!(
            job["status"].as_str(),
            Some("done" | "failed" | "cancelled")
        );
        ended.then_some(job)
    })
    .await
}

async fn enqueue(server: &Server, body: Value) -> String {
    let job = server.post("/jobs", &body).await.expect(201).json();
    job["id"].as_str().expect("an id").to_owned()
}

#[every_engine]
async fn an_event_is_taken_with_the_fields_of_the_design(engine: Engine) {
    let server = start(engine).await;
    let event = json!({"type": "payment.completed", "payload_json": {"amount": 12.50}});
    let made = server.post("/events", &event).await.expect(201).json();
    assert!(
        made["id"].is_string() && made["created_at"].is_string(),
        "{made}"
    );
    let listed = server
        .get("/events?type=payment.completed")
        .await
        .expect(200)
        .json();
    assert_eq!(listed["events"][0]["payload"], json!({"amount": 12.50}));
    assert_problem(
        &server
            .post("/events", &json!({"payload_json": {}}))
            .await
            .expect(400),
    );
    server.get("/health").await.expect(200);
    server.stop().await;
}

#[every_engine]
async fn the_old_paths_answer_as_the_new_ones(engine: Engine) {
    let server = start(engine).await;
    for n in 0..5 {
        let event = json!({"type": "same", "subject": format!("user-{n}")});
        server.post("/events", &event).await.expect(201);
    }
    let id = enqueue(&server, json!({"type": "echo", "payload": {"n": 1}})).await;
    final_job(&server, &id).await;
    let event = server.list("/events", "events").await[0]["id"].clone();
    let event = event.as_str().expect("an id");
    for path in [
        "/events".to_owned(),
        "/events?limit=2&type=same".to_owned(),
        format!("/events/{event}"),
        "/events/unknown".to_owned(),
        "/events?limit=zero".to_owned(),
        "/jobs".to_owned(),
        "/jobs?status=done".to_owned(),
        format!("/jobs/{id}"),
        "/jobs/unknown".to_owned(),
        "/analytics/summary".to_owned(),
        "/analytics/timeseries?from=2026-01-01&to=2026-01-03".to_owned(),
        "/analytics/summary?from=tomorrow".to_owned(),
        "/analytics/nothing".to_owned(),
    ] {
        let ask = async |path: &str| {
            let request = server
                .request(Method::GET, path)
                .header("x-request-id", "the-same");
            TestApp::send(request).await
        };
        let (old, new) = (ask(&path).await, ask(&format!("/v1{path}")).await);
        assert_eq!((old.status, &old.text), (new.status, &new.text), "{path}");
        let kind = |answer: &tidewire_testkit::Answer| answer.headers.get("content-type").cloned();
        assert_eq!(kind(&old), kind(&new), "{path}");
    }
    for (path, body) in [
        ("/events", json!({"type": "no spaces please"})),
        ("/jobs", json!({"kind": "echo"})),
        ("/jobs/unknown/cancel", json!({})),
    ] {
        let post = async |path: &str| {
            let request = server
                .request(Method::POST, path)
                .header("x-request-id", "the-same");
            TestApp::send(request.json(&body)).await
        };
        let (old, new) = (post(path).await, post(&format!("/v1{path}")).await);
        assert_eq!((old.status, &old.text), (new.status, &new.text), "{path}");
        assert_problem(&old);
    }
    server.stop().await;
}

#[tokio::test]
async fn requests_have_ids_that_the_log_knows() {
    let server = House::new()
        .with(&["--log-level", "info", "--log-format", "json"])
        .start();
    let request = server
        .request(Method::GET, "/jobs/unknown")
        .header("x-request-id", "trace-me-17");
    let answer = TestApp::send(request).await.expect(404);
    assert_eq!(answer.json()["request_id"], "trace-me-17");
    let made = server.get("/events").await.expect(200);
    let made = made.headers["x-request-id"]
        .to_str()
        .expect("ascii")
        .to_owned();
    let again = server.get("/events").await.expect(200);
    assert_ne!(again.headers["x-request-id"], made.as_str());
    // What no log should hold is not taken.
    let request = server
        .request(Method::GET, "/events")
        .header("x-request-id", "two words\t");
    let replaced = TestApp::send(request).await.expect(200);
    assert_ne!(replaced.headers["x-request-id"], "two words\t");
    let lines = eventually("both requests are logged", || async {
        let lines: Vec<Value> = server
            .log()
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        let of = |id: &str| {
            let text = format!("\"{id}\"");
            lines
                .iter()
                .find(|line| line.to_string().contains(&text))
                .cloned()
        };
        Some((of("trace-me-17")?, of(&made)?))
    })
    .await;
    for (line, path, status) in [
        (&lines.0, "/jobs/unknown", "404"),
        (&lines.1, "/events", "200"),
    ] {
        let text = line.to_string();
        for part in ["GET", path, status, "duration_ms", "request_id"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    server.stop().await;
}

#[every_engine]
async fn a_job_is_retried_with_growing_waits_and_its_result_is_kept(engine: Engine) {
    let server = start(engine).await;
    let id = enqueue(&server, json!({"type": "fail", "payload": {"times": 2}})).await;
    let job = final_job(&server, &id).await;
    assert_eq!(
        (&job["status"], &job["attempts"]),
        (&json!("done"), &json!(3)),
        "{job}"
    );
    let log = job["attempts_log"].as_array().expect("a log");
    let numbers: Vec<_> = log
        .iter()
        .map(|attempt| attempt["attempt"].as_u64())
        .collect();
    assert_eq!(numbers, [Some(1), Some(2), Some(3)], "{job}");
    assert!(
        log[0]["error"].is_string() && log[1]["error"].is_string(),
        "{job}"
    );
    assert!(
        log[2]["error"].is_null() && log[2]["finished_at"].is_string(),
        "{job}"
    );
    // At least the backoff less its jitter lies between two attempts.
    let at = |attempt: usize, field: &str| {
        let text = log[attempt][field].as_str().expect("a time");
        text.parse::<chrono::DateTime<chrono::Utc>>()
            .expect("RFC 3339")
    };
    for (attempt, least) in [(0, 40), (1, 80)] {
        let wait = at(attempt + 1, "started_at") - at(attempt, "finished_at");
        let wait = wait.to_std().expect("time goes on");
        assert!(
            wait >= Duration::from_millis(least),
            "{wait:?} after attempt {}",
            attempt + 1
        );
    }

    let id = enqueue(
        &server,
        json!({"type": "echo", "payload": {"report": [1, 2, 3.50]}}),
    )
    .await;
    let job = final_job(&server, &id).await;
    assert_eq!(job["output"], json!({"report": [1, 2, 3.50]}));
    assert!(
        job["started_at"].is_string() && job["finished_at"].is_string(),
        "{job}"
    );
    server.stop().await;
}

#[every_engine]
async fn attempts_end_and_days_are_counted(engine: Engine) {
    let server = start(engine).await;
    let given_up = enqueue(&server, json!({"type": "fail", "payload": {"times": 9}})).await;
    let job = final_job(&server, &given_up).await;
    assert_eq!(
        (&job["status"], &job["attempts"], &job["max_attempts"]),
        (&json!("failed"), &json!(3), &json!(3)),
        "three tries unless the job says otherwise: {job}"
    );
    assert!(job["last_error"].is_string(), "{job}");
    let once = json!({"type": "fail", "payload": {"times": 1}, "max_attempts": 1});
    let once = enqueue(&server, once).await;
    assert_eq!(final_job(&server, &once).await["status"], "failed");
    for n in 0..4 {
        let id = enqueue(&server, json!({"type": "echo", "payload": n})).await;
        final_job(&server, &id).await;
    }
    let events: Vec<_> = (0..7)
        .map(|n| json!({"type": "counted", "dedupe_key": n.to_string()}))
        .collect();
    server.post("/events", &json!(events)).await.expect(201);
    server.post("/events", &json!(events)).await.expect(200);

    let summary = server.get("/analytics/summary").await.expect(200).json();
    let counts = |of: &Value| {
        ["events_received", "jobs_done", "jobs_failed"]
            .map(|name| of[name].as_u64().expect("a count"))
    };
    assert_eq!(counts(&summary), [7, 4, 2], "{summary}");
    let (from, to) = (summary["from"].clone(), summary["to"].clone());
    let (from, to) = (from.as_str().expect("a day"), to.as_str().expect("a day"));
    let series = server
        .get(&format!("/analytics/timeseries?from={from}&to={to}"))
        .await
        .expect(200)
        .json();
    let days = series["days"].as_array().expect("days");
    assert_eq!(days.len(), 30, "every day has a row: {series}");
    let total = days.iter().map(counts).fold([0; 3], |mut sum, day| {
        sum.iter_mut()
            .zip(day)
            .for_each(|(sum, count)| *sum += count);
        sum
    });
    assert_eq!(total, [7, 4, 2], "{series}");

    // Redriven, a job that failed counts as what it becomes, too.
    server
        .post(&format!("/jobs/{once}/retry"), &json!({}))
        .await
        .expect(200);
    assert_eq!(final_job(&server, &once).await["status"], "done");
    let summary = server.get("/analytics/summary").await.expect(200).json();
    assert_eq!(summary["jobs_done"], 5, "{summary}");
    server.stop().await;
}

#[every_engine]
async fn a_double_click_makes_one_job(engine: Engine) {
    let server = start(engine).await;
    let body = json!({"type": "by.hand", "payload": {"n": 1}, "idempotency_key": "click"});
    let first = server.post("/jobs", &body).await.expect(201).json();
    let second = server.post("/jobs", &body).await.expect(200).json();
    assert_eq!(first["id"], second["id"]);
    assert_eq!(server.list("/jobs", "jobs").await.len(), 1);
    server.stop().await;
}

#[every_engine]
async fn workers_side_by_side_never_share_a_job(engine: Engine) {
    let server = start(engine).await;
    let mut enqueued = Vec::new();
    for n in 0..60 {
        enqueued.push(enqueue(&server, json!({"type": "by.hand", "payload": n})).await);
    }
    let mut workers = Vec::new();
    for n in 0..6 {
        let claim = json!({"worker": format!("w{n}"), "types": ["by.hand"], "limit": 3});
        let request = server.request(Method::POST, "/jobs/claim").json(&claim);
        workers.push(tokio::spawn(async move {
            let mut mine = Vec::new();
            loop {
                let request = request.try_clone().expect("its body is in memory");
                let claimed = TestApp::send(request).await.expect(200).json();
                let jobs = claimed["jobs"].as_array().cloned().unwrap_or_default();
                if jobs.is_empty() {
                    return mine;
                }
                mine.extend(
                    jobs.iter()
                        .map(|job| job["id"].as_str().unwrap_or_default().to_owned()),
                );
            }
        }));
    }
    let mut claimed = Vec::new();
    for worker in workers {
        claimed.extend(worker.await.expect("no panic"));
    }
    claimed.sort_unstable();
    enqueued.sort_unstable();
    assert_eq!(claimed, enqueued);
    server.stop().await;
}

/// The design runs its worker as a program of its own. A store of one file has one process, so here
/// the roles are told apart by what one of them alone does.
#[every_engine]
async fn the_api_alone_runs_no_jobs_and_the_worker_alone_takes_none(engine: Engine) {
    let house = House::on(engine).await;
    let api = house.with(&["--roles", "api"]).start();
    let id = enqueue(&api, json!({"type": "echo", "payload": "hello"})).await;
    api.get("/health").await.expect(200);
    let job = api.get(&format!("/jobs/{id}")).await.expect(200).json();
    assert_eq!(
        (&job["status"], &job["attempts"]),
        (&json!("pending"), &json!(0))
    );
    api.stop().await;

    let worker = house.with(&["--roles", "worker"]).start();
    worker.get("/health").await.expect(200);
    worker.get("/metrics").await.expect(200);
    assert_problem(&worker.get("/jobs").await.expect(404));
    eventually("the worker has run the job", || async {
        let metrics = worker.get("/metrics").await.expect(200).text;
        let done = "tidewire_jobs_finished_total{outcome=\"done\"} 1";
        metrics.lines().any(|line| line == done).then_some(())
    })
    .await;
    worker.stop().await;
    let api = house.with(&["--roles", "api"]).start();
    let job = api.get(&format!("/jobs/{id}")).await.expect(200).json();
    assert_eq!(
        (&job["status"], &job["output"]),
        (&json!("done"), &json!("hello"))
    );
}
