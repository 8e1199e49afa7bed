//! Several processes on one store: what one of them does the others see, and when one dies its work
//! is done by the others.

use std::{collections::BTreeSet, sync::Arc};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tidewire_client::{Client, Retry, TailQuery};
use tidewire_testkit::{Engine, TestApp, eventually, every_engine};
use tokio::task::{JoinSet, spawn_blocking};

use crate::support::{House, Server, assert_gapless, assert_problem, run, tidewire};

/// Starts servers at the same moment.
async fn start_at_once(houses: Vec<House>) -> Vec<Server> {
    let starting = houses
        .into_iter()
        .map(|house| spawn_blocking(move || house.start()));
    let started = join_all(starting).await;
    started
        .into_iter()
        .map(|server| server.expect("it starts"))
        .collect()
}

async fn roles<const N: usize>(house: &House, roles: [&str; N]) -> [Server; N] {
    let houses = roles.map(|roles| house.with(&["--roles", roles]));
    let started = start_at_once(houses.into()).await;
    started
        .try_into()
        .unwrap_or_else(|_| panic!("as many as were started"))
}

async fn append(server: &Server, body: Value) -> Value {
    server.post("/v1/events", &body).await.expect(201).json()
}

fn numbers(events: &[Value]) -> Vec<u64> {
    events
        .iter()
        .map(|event| event["seq"].as_u64().expect("a number"))
        .collect()
}

#[every_engine(servers, multi_thread)]
async fn processes_that_start_at_once_on_an_empty_store_migrate_it_once(engine: Engine) {
    let house = House::on(engine).await.with(&["--log-level", "info"]);
    let check = |house: &House| {
        let mut check = tidewire();
        check.current_dir(house.path()).args(["migrate", "--check"]);
        check.args(["--database-url", &house.database_url()]);
        run(&mut check)
    };
    let before = check(&house).expect(1);
    assert!(before.stdout.contains("0001_access"), "{before:#?}");
    let servers = roles(&house, ["all", "api", "api", "worker"]).await;
    let logs: String = servers.iter().map(Server::log).collect();
    for migration in ["0001_access", "0002_events", "0003_jobs"] {
        let applied = logs
            .lines()
            .filter(|line| line.contains("applied a migration") && line.contains(migration));
        assert_eq!(applied.count(), 1, "{migration}: {logs}");
    }
    check(&house).expect(0);
    for server in &servers {
        let health = server.get("/health").await.expect(200).json();
        assert_eq!(
            health["info"]["store_engine"],
            match engine {
                Engine::MySql => "mysql",
                Engine::Postgres | Engine::Sqlite => "postgres",
            }
        );
    }
    for server in &servers[..3] {
        append(server, json!({"type": "started"})).await;
    }
    let seen = servers[1].list("/v1/events", "events").await;
    assert_gapless("default", numbers(&seen));
    assert_eq!(seen.len(), 3);
}

#[every_engine(servers, multi_thread)]
async fn the_jobs_of_a_process_that_is_killed_are_taken_over(engine: Engine) {
    let house = House::on(engine).await.with(&[
        "--lease",
        "2s",
        "--poll-interval",
        "200ms",
        "--worker-concurrency",
        "4",
    ]);
    let [one, two, worker] = roles(&house, ["api", "api", "worker"]).await;
    let mut ids = Vec::new();
    for n in 0..8 {
        let job = json!({"type": "sleep", "payload": {"ms": 1500, "n": n}});
        let server = if n % 2 == 0 { &one } else { &two };
        let job = server.post("/v1/jobs", &job).await.expect(201).json();
        ids.push(job["id"].as_str().expect("an id").to_owned());
    }
    // Others go on writing the log all the while.
    let mut writers = JoinSet::new();
    for (n, server) in [&one, &two, &one, &two].into_iter().enumerate() {
        let request = server.request(Method::POST, "/v1/events");
        writers.spawn(async move {
            let mut answers = Vec::new();
            for event in 0..50 {
                let body = json!({"type": "meanwhile", "subject": format!("{n}-{event}")});
                let request = request.try_clone().expect("it has no body yet");
                answers.push(TestApp::send(request.json(&body)).await.expect(201).json());
            }
            answers
        });
    }
    eventually("four jobs run", || async {
        let running = two.list("/v1/jobs?status=running", "jobs").await;
        (running.len() == 4).then_some(())
    })
    .await;
    worker.kill();
    let [second] = roles(&house, ["worker"]).await;
    let jobs = eventually("every job is done", || async {
        let jobs = one.list("/v1/jobs", "jobs").await;
        let done = jobs.iter().all(|job| job["status"] == "done");
        done.then_some(jobs)
    })
    .await;
    assert_eq!(jobs.len(), ids.len());
    let mut attempts = Vec::new();
    for id in &ids {
        let job = two.get(&format!("/v1/jobs/{id}")).await.expect(200).json();
        let log = job["attempts_log"].as_array().expect("a log").clone();
        assert_eq!(job["attempts"], log.len(), "{job}");
        let results = log.iter().filter(|attempt| attempt["outcome"] == "done");
        assert_eq!(results.count(), 1, "one result is accepted: {job}");
        attempts.push(log.len());
    }
    assert!(
        attempts.iter().all(|attempts| *attempts <= 2),
        "{attempts:?}"
    );
    assert!(
        attempts.contains(&2),
        "what ran is lost and runs again: {attempts:?}"
    );
    let summary = one.get("/v1/analytics/summary").await.expect(200).json();
    assert_eq!(
        (&summary["jobs_done"], &summary["jobs_failed"]),
        (&json!(8), &json!(0))
    );

    let mut told = Vec::new();
    while let Some(answers) = writers.join_next().await {
        told.extend(answers.expect("a writer does not fail"));
    }
    let stored = two.list("/v1/events", "events").await;
    assert_gapless("default", numbers(&stored));
    let ids = |events: &[Value]| -> BTreeSet<String> {
        events.iter().map(|event| event["id"].to_string()).collect()
    };
    assert_eq!(ids(&stored), ids(&told));
    second.stop().await;
}

#[every_engine(servers, multi_thread)]
async fn a_lease_is_one_whichever_process_is_asked(engine: Engine) {
    let house = House::on(engine).await.with(&["--poll-interval", "200ms"]);
    let [one, two] = roles(&house, ["api", "api"]).await;
    let job = json!({"type": "by.hand"});
    let id = one.post("/v1/jobs", &job).await.expect(201).json()["id"].clone();
    let id = id.as_str().expect("an id");
    let claim = async |server: &Server, worker: &str, lease: u64| {
        let claim = json!({"worker": worker, "types": ["by.hand"], "wait_seconds": 20, "lease_seconds": lease});
        let claimed = server
            .post("/v1/jobs/claim", &claim)
            .await
            .expect(200)
            .json();
        assert_eq!(claimed["jobs"][0]["id"], id, "{claimed}");
        claimed["jobs"][0]["lease_token"].clone()
    };
    let lost = claim(&one, "slow", 1).await;
    // It is handed on by itself once the lease has run out, to whoever waits anywhere.
    let current = claim(&two, "quick", 60).await;
    let complete = async |server: &Server, token: &Value, output: &str| {
        let body = json!({"lease_token": token, "output": output});
        server.post(&format!("/v1/jobs/{id}/complete"), &body).await
    };
    assert_problem(&complete(&two, &lost, "late").await.expect(409));
    assert_problem(&complete(&one, &lost, "late").await.expect(409));
    complete(&one, &current, "right").await.expect(200);
    assert_problem(&complete(&two, &lost, "late").await.expect(409));
    let job = two.get(&format!("/v1/jobs/{id}")).await.expect(200).json();
    assert_eq!(
        (&job["output"], &job["attempts"]),
        (&json!("right"), &json!(2))
    );
}

#[every_engine(servers, multi_thread)]
async fn who_waits_at_one_process_is_woken_by_another(engine: Engine) {
    // The poll interval is long, so that it is not what ends the wait.
    let house = House::on(engine).await.with(&["--poll-interval", "60s"]);
    let [one, two] = roles(&house, ["api", "api"]).await;
    let claim = json!({"worker": "w", "types": ["by.hand"], "wait_seconds": 50});
    let request = one.request(Method::POST, "/v1/jobs/claim").json(&claim);
    let waiting = tokio::spawn(TestApp::send(request));
    for n in 0..3 {
        // Whether the claim waits already does not matter: the job is there for it.
        let job = json!({"type": "by.hand", "payload": n});
        two.post("/v1/jobs", &job).await.expect(201);
    }
    let claimed = waiting.await.expect("no panic").expect(200).json();
    assert_eq!(
        claimed["jobs"].as_array().map(Vec::len),
        Some(1),
        "{claimed}"
    );
}

#[every_engine(servers, multi_thread)]
async fn who_follows_one_process_sees_what_all_append(engine: Engine) {
    const WRITERS: usize = 6;
    const EACH: usize = 60;
    let house = House::on(engine).await;
    let servers: [Server; 3] = roles(&house, ["api", "api", "api"]).await;
    let followed = follow_while_all_append(&servers, WRITERS, EACH).await;
    let mut stored = servers[2].list("/v1/events", "events").await;
    stored.reverse();
    let ids: Vec<_> = stored
        .iter()
        .map(|event| event["id"].as_str().expect("an id").to_owned())
        .collect();
    assert_eq!(
        followed, ids,
        "in the order of the log, without a gap or a repeat"
    );
    assert_gapless("default", numbers(&stored));
}

/// The ids that a tail at the first server has seen of what is appended at all of them.
async fn follow_while_all_append(servers: &[Server], writers: usize, each: usize) -> Vec<String> {
    let client = Client::builder(&servers[0].url()).retry(Retry::patient());
    let client = client.build().expect("a client");
    let from_the_start = TailQuery {
        after: Some("0".to_owned()),
        ..TailQuery::default()
    };
    let mut tail = client.events().tail(from_the_start);
    let follower = tokio::spawn(async move {
        let mut ids = Vec::new();
        while ids.len() < writers * each {
            let next = tail.next().await.expect("a tail has no end");
            ids.push(next.expect("it goes on").event.id);
        }
        ids
    });
    let mut tasks = JoinSet::new();
    for writer in 0..writers {
        let request = servers[writer % servers.len()].request(Method::POST, "/v1/events");
        tasks.spawn(async move {
            for n in 0..each {
                let body = json!({"type": "followed", "subject": format!("{writer}-{n}")});
                let request = request.try_clone().expect("it has no body yet");
                TestApp::send(request.json(&body)).await.expect(201);
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a writer does not fail");
    }
    follower.await.expect("the follower does not fail")
}

#[every_engine(servers, multi_thread)]
async fn keys_mean_the_same_to_every_process(engine: Engine) {
    let house = House::on(engine).await.with_admin("the-operator");
    let [one, two] = roles(&house, ["api", "api"]).await;
    // The same thing sent to both at once is done once.
    for n in 0..10 {
        let event = json!({"type": "once", "dedupe_key": format!("event-{n}")});
        let job = json!({"type": "by.hand", "idempotency_key": format!("job-{n}")});
        let (first, second, third, fourth) = tokio::join!(
            one.post("/v1/events", &event),
            two.post("/v1/events", &event),
            one.post("/v1/jobs", &job),
            two.post("/v1/jobs", &job),
        );
        for (a, b) in [(first, second), (third, fourth)] {
            let mut statuses = [a.status, b.status];
            statuses.sort_unstable();
            assert_eq!(statuses, [200, 201], "{} {}", a.text, b.text);
            assert_eq!(a.json()["id"], b.json()["id"]);
        }
    }
    assert_eq!(two.list("/v1/events", "events").await.len(), 10);
    assert_eq!(two.list("/v1/jobs", "jobs").await.len(), 10);

    // A key that one has made is good at the other, until one of them revokes it.
    let tenant = json!({"name": "shared"});
    let made = one.post("/v1/tenants", &tenant).await.expect(201).json();
    let tenant = made["id"].as_str().expect("an id").to_owned();
    let secret = made["api_key"].as_str().expect("a key").to_owned();
    let ask = async |server: &Server| {
        let request = server.client.get(format!("{}/v1/events", server.url()));
        TestApp::send(request.bearer_auth(&secret)).await
    };
    ask(&two).await.expect(200);
    ask(&one).await.expect(200);
    let keys = one
        .list(&format!("/v1/tenants/{tenant}/keys"), "keys")
        .await;
    let key = keys[0]["id"].as_str().expect("an id");
    let revoke = one.request(Method::DELETE, &format!("/v1/tenants/{tenant}/keys/{key}"));
    TestApp::send(revoke).await.expect(204);
    assert_problem(&ask(&one).await.expect(401));
    let refused = eventually("the other process has heard of it", || async {
        let answer = ask(&two).await;
        (answer.status == 401).then_some(answer)
    })
    .await;
    assert_problem(&refused);
}

#[every_engine(postgres, multi_thread)]
async fn processes_behind_a_pooler_and_beside_it_are_one(engine: Engine) {
    let house = House::on(engine).await;
    let direct = house.database_url();
    let Some(pooler) = tidewire_testkit::servers::pgbouncer(&direct).await else {
        return;
    };
    let pooler = Arc::new(pooler);
    let pooled = house.with(&["--database-url", &pooler.url(&direct)]);
    let listening = pooled.with(&["--database-listen-url", &direct]);
    let servers = start_at_once(vec![pooled, listening, house]).await;
    let mut reaches = Vec::new();
    for server in &servers {
        let reach = eventually("it knows whether it hears others", || async {
            let health = server.get("/health").await.expect(200).json();
            let reach = health["info"]["store_hints"].as_str().map(str::to_owned);
            // A listener takes a moment to connect.
            let listens = !std::ptr::eq(server, &servers[0]);
            reach.filter(|reach| !listens || reach == "told")
        })
        .await;
        reaches.push(reach);
    }
    assert_eq!(reaches, ["polled", "told", "told"]);
    let followed = follow_while_all_append(&servers, 3, 40).await;
    assert_eq!(followed.len(), 120);
    let job = json!({"type": "echo", "payload": "pooled"});
    let id = servers[0].post("/v1/jobs", &job).await.expect(201).json()["id"].clone();
    let path = format!("/v1/jobs/{}", id.as_str().expect("an id"));
    eventually("any of them has run the job", || async {
        let job = servers[2].get(&path).await.expect(200).json();
        (job["status"] == "done").then_some(())
    })
    .await;
}
