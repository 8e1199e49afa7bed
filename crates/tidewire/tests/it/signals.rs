//! How a server ends: what was answered is stored, what is in flight is answered, what cannot end
//! goes back.

use std::{
    collections::HashSet,
    net::TcpStream as Blocking,
    sync::{Arc, Mutex},
};

use reqwest::Method;
use serde_json::{Value, json};
use tidewire_testkit::eventually;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
    task::JoinSet,
};

use crate::support::{House, Server, Signal};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_loses_and_adds_nothing() {
    ends_well_under_load(Signal::TERM).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_under_load_loses_and_adds_nothing() {
    ends_well_under_load(Signal::INT).await;
}

async fn ends_well_under_load(signal: Signal) {
    let house = House::new();
    let mut server = house.start();
    let answered = Arc::new(Mutex::new(HashSet::new()));
    let (told, mut count) = watch::channel(0);
    let mut clients = JoinSet::new();
    for client in 0..8 {
        let (answered, told) = (Arc::clone(&answered), told.clone());
        let request = server.request(Method::POST, "/v1/events");
        clients.spawn(async move {
            for n in 0.. {
                let marker = format!("{client}-{n}");
                let body = json!({"type": "load", "subject": marker});
                let request = request.try_clone().expect("it has no body yet");
                // Refused connections and connections that close between two requests end a client.
                let Ok(response) = request.json(&body).send().await else {
                    return;
                };
                assert_eq!(response.status(), 201);
                answered.lock().expect("no panic holds it").insert(marker);
                told.send_modify(|count| *count += 1);
            }
        });
    }
    count
        .wait_for(|count| *count > 100)
        .await
        .expect("the load goes on");
    let body = json!({"type": "slow", "subject": "in-flight"});
    let mut in_flight = HalfSent::post(&server, "/v1/events", &body).await;

    server.signal(signal);
    refuses_connections(&server).await;
    // The server has stopped listening, and still answers what it has begun to read.
    in_flight.send_the_rest().await;
    let answer = in_flight.answer().await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert_eq!(server.ended().await.code(), Some(0), "{}", server.log());
    while let Some(ended) = clients.join_next().await {
        ended.expect("a client does not fail");
    }
    let mut answered = answered.lock().expect("no panic holds it").clone();
    answered.insert("in-flight".to_owned());

    let server = house.start();
    let stored: HashSet<_> = server
        .list("/v1/events", "events")
        .await
        .iter()
        .map(|event| event["subject"].as_str().expect("a marker").to_owned())
        .collect();
    assert_eq!(stored, answered, "what is stored and what was answered");
    server.stop().await;
}

/// A request that the server has begun to handle, and whose body is still on its way.
struct HalfSent {
    stream: TcpStream,
    rest: String,
}

impl HalfSent {
    async fn post(server: &Server, path: &str, body: &Value) -> Self {
        let body = body.to_string();
        let (first, rest) = body.split_at(body.len() / 2);
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nexpect: 100-continue\r\n\r\n",
            server.address,
            body.len()
        );
        let mut stream = TcpStream::connect(server.address)
            .await
            .expect("it listens");
        stream.write_all(head.as_bytes()).await.expect("it reads");
        // It says so when the handler asks for the body.
        let mut go_on = [0; 25];
        stream.read_exact(&mut go_on).await.expect("it goes on");
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(first.as_bytes()).await.expect("it reads");
        HalfSent {
            stream,
            rest: rest.to_owned(),
        }
    }

    async fn send_the_rest(&mut self) {
        let rest = self.rest.as_bytes();
        self.stream.write_all(rest).await.expect("it reads");
    }

    async fn answer(mut self) -> String {
        let mut answer = String::new();
        self.stream
            .read_to_string(&mut answer)
            .await
            .expect("it answers and closes");
        answer
    }
}

async fn refuses_connections(server: &Server) {
    let address = server.address;
    eventually("no more connections are taken", || async move {
        Blocking::connect(address).is_err().then_some(())
    })
    .await;
}

async fn job(server: &Server, id: &str) -> Value {
    server
        .get(&format!("/v1/jobs/{id}"))
        .await
        .expect(200)
        .json()
}

async fn job_that_is(server: &Server, id: &str, status: &str) -> Value {
    eventually(status, || async {
        let job = job(server, id).await;
        (job["status"] == status).then_some(job)
    })
    .await
}

async fn enqueue(server: &Server, body: Value) -> String {
    let job = server.post("/v1/jobs", &body).await.expect(201).json();
    job["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn a_job_that_cannot_end_in_time_goes_back_at_no_cost() {
    for signal in [Signal::TERM, Signal::INT] {
        let house = House::new().with(&["--drain", "500ms", "--lease", "1h"]);
        let mut first = house.with(&["--worker-name", "first"]).start();
        let long = enqueue(
            &first,
            json!({"type": "sleep", "payload": {"ms": 3_600_000}}),
        )
        .await;
        let running = job_that_is(&first, &long, "running").await;
        assert_eq!(
            (&running["attempts"], &running["locked_by"]),
            (&json!(1), &json!("first"))
        );
        first.signal(signal);
        assert_eq!(first.ended().await.code(), Some(0), "{}", first.log());

        let onlooker = house.with(&["--roles", "api"]).start();
        let back = job(&onlooker, &long).await;
        assert_eq!(
            (&back["status"], &back["attempts"]),
            (&json!("pending"), &json!(0)),
            "{back}"
        );
        assert_eq!(
            (&back["locked_by"], &back["locked_at"]),
            (&Value::Null, &Value::Null)
        );
        onlooker.stop().await;

        // The lease of the first would have held for an hour.
        let second = house.with(&["--worker-name", "second"]).start();
        let running = job_that_is(&second, &long, "running").await;
        assert_eq!(
            (&running["attempts"], &running["locked_by"]),
            (&json!(1), &json!("second"))
        );
        second
            .post(&format!("/v1/jobs/{long}/cancel"), &json!({}))
            .await
            .expect(200);
        second.stop().await;
    }
}

#[tokio::test]
async fn a_job_that_ends_in_time_is_done() {
    let house = House::new();
    let mut server = house.start();
    let short = enqueue(&server, json!({"type": "sleep", "payload": {"ms": 700}})).await;
    job_that_is(&server, &short, "running").await;
    server.signal(Signal::TERM);
    assert_eq!(server.ended().await.code(), Some(0), "{}", server.log());
    let onlooker = house.with(&["--roles", "api"]).start();
    assert_eq!(job(&onlooker, &short).await["status"], "done");
}

#[tokio::test]
async fn endless_answers_end() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = House::new().with(&["--drain", "1h"]).start();
        let request = server.request(Method::GET, "/v1/events/tail?after=0");
        let mut tail = request.send().await.expect("it answers");
        server
            .post("/v1/events", &json!({"type": "seen"}))
            .await
            .expect(201);
        let mut seen = String::new();
        while !seen.contains("event: seen") {
            let chunk = tail
                .chunk()
                .await
                .expect("it streams")
                .expect("it does not end");
            seen.push_str(&String::from_utf8_lossy(&chunk));
        }
        let claim = json!({"worker": "hand", "types": ["by.hand"], "wait_seconds": 60});
        let mut claiming = HalfSent::post(&server, "/v1/jobs/claim", &claim).await;
        claiming.send_the_rest().await;

        server.signal(signal);
        while let Some(chunk) = tail.chunk().await.expect("it ends as a stream should") {
            seen.push_str(&String::from_utf8_lossy(&chunk));
        }
        let claimed = claiming.answer().await;
        assert!(
            claimed.starts_with("HTTP/1.1 200") && claimed.ends_with("{\"jobs\":[]}"),
            "{claimed}"
        );
        assert_eq!(server.ended().await.code(), Some(0), "{}", server.log());
    }
}

#[tokio::test]
async fn a_second_signal_does_not_wait() {
    let house = House::new().with(&["--drain", "1h"]);
    let mut server = house.start();
    let long = enqueue(
        &server,
        json!({"type": "sleep", "payload": {"ms": 3_600_000}}),
    )
    .await;
    job_that_is(&server, &long, "running").await;
    server.signal(Signal::TERM);
    refuses_connections(&server).await;
    server.signal(Signal::TERM);
    assert_eq!(server.ended().await.code(), None, "a signal ended it");
}

#[tokio::test]
async fn a_server_that_listens_hears_signals() {
    let house = House::new();
    for _ in 0..10 {
        house.start().stop().await;
    }
}
