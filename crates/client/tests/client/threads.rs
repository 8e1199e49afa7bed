//! A thread's stream resumes without a gap or a repeat and ends when its turn has; what is sent
//! twice is what may be.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::{Path, RawQuery},
    http::HeaderMap,
    response::Response,
    routing,
};
use serde_json::{Value, json};
use tidewire_client::{NewThreadEvent, NewTurn, ThreadEventQuery, ThreadStream, TurnStatus};

use crate::support::{self, Server, cut_off, problem, stream};

/// Says one scripted answer after the other, and notes what it was asked.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Response>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Script {
    fn new(answers: impl IntoIterator<Item = Response>) -> Self {
        Script {
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
            ..Script::default()
        }
    }

    fn note(&self, what: String) -> Response {
        self.asked.lock().unwrap().push(what);
        let next = self.answers.lock().unwrap().pop_front();
        next.unwrap_or_else(|| problem(401, "the key was revoked"))
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    async fn serve(&self) -> Server {
        let script = self.clone();
        let follow = move |Path(id): Path<String>, query: RawQuery, headers: HeaderMap| async move {
            let last = headers.get("last-event-id");
            let last = last.map_or("-", |last| last.to_str().unwrap());
            script.note(format!("{id} {} {last}", query.0.unwrap_or_default()))
        };
        let script = self.clone();
        let write = move |Path(id): Path<String>, Json(body): Json<Value>| async move {
            script.note(format!("{id} {body}"))
        };
        let script = self.clone();
        let read = move |Path(id): Path<String>, query: RawQuery| async move {
            script.note(format!("{id} {}", query.0.unwrap_or_default()))
        };
        let script = self.clone();
        let start = move |headers: HeaderMap, Json(body): Json<Value>| async move {
            let key = headers.get("idempotency-key");
            let key = key.map_or("-", |key| key.to_str().unwrap());
            script.note(format!("{key} {body}"))
        };
        let routes = Router::new()
            .route("/v1/turns", routing::post(start))
            .route(
                "/v1/threads/{id}/events",
                routing::get(read).post(write.clone()),
            )
            .route("/v1/turns/{id}/cancel", routing::post(write))
            .route("/v1/threads/{id}/events/stream", routing::get(follow));
        Server::start(routes).await
    }
}

fn event(seq: u64, event_type: &str) -> Value {
    json!({
        "spec_version": "agent-events/1.0", "event_id": format!("e{seq}"), "thread_id": "t", "turn_id": "u",
        "seq": seq, "ts": "2026-01-01T00:00:00.000000Z", "type": event_type, "level": "info", "payload": {},
    })
}

fn frame(seq: u64, event_type: &str) -> String {
    let event = event(seq, event_type);
    format!("id: {seq}\nevent: {event_type}\ndata: {event}\n\n")
}

async fn seqs(stream: &mut ThreadStream) -> Vec<u64> {
    let mut found = Vec::new();
    while let Some(event) = stream.next().await {
        found.push(event.unwrap().seq);
    }
    found
}

#[tokio::test]
async fn a_cut_stream_goes_on_behind_the_last_whole_event_and_ends_at_done() {
    // The first connection breaks inside an event; the last repeats one that is known.
    let script = Script::new([
        stream(&format!(
            "{}: keepalive\n\n{}id: 3\nevent: message.delta\ndata: {{\"event",
            frame(1, "turn.started"),
            frame(2, "message.delta")
        )),
        problem(503, "draining"),
        stream(&frame(3, "message.delta")),
        stream(&format!(
            "{}{}data: [DONE]\n\n",
            frame(3, "message.delta"),
            frame(4, "message.delta")
        )),
    ]);
    let server = script.serve().await;
    let client = server.client();
    let mut stream = client.threads().follow("t", 0, Some("u"));
    assert_eq!(seqs(&mut stream).await, [1, 2, 3, 4]);
    assert!(stream.next().await.is_none());
    assert_eq!(stream.position(), 4);
    assert_eq!(
        script.asked(),
        [
            "t after_seq=0&turn_id=u -",
            "t after_seq=2&turn_id=u 2",
            "t after_seq=2&turn_id=u 2",
            "t after_seq=3&turn_id=u 3",
        ]
    );
}

#[tokio::test]
async fn a_turn_that_has_ended_is_at_its_end_though_done_got_lost() {
    let whole = format!("{}{}", frame(8, "message.delta"), frame(9, "turn.failed"));
    let script = Script::new([stream(&whole)]);
    let server = script.serve().await;
    let client = server.client();
    let mut stream = client.threads().follow("t", 7, Some("u"));
    assert_eq!(seqs(&mut stream).await, [8, 9]);
    assert_eq!(script.asked().len(), 1, "nobody asks again");
}

#[tokio::test]
async fn a_thread_outlives_its_turns_and_a_refusal_ends_it() {
    let script = Script::new([
        stream(&frame(1, "turn.completed")),
        stream(&frame(2, "turn.started")),
    ]);
    let server = script.serve().await;
    let client = server.client();
    let mut stream = client.threads().follow("t", 0, None);
    for seq in [1, 2] {
        assert_eq!(stream.next().await.unwrap().unwrap().seq, seq);
    }
    let error = stream.next().await.unwrap().unwrap_err();
    assert_eq!(error.status(), Some(401));
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn a_page_of_events_is_asked_for_by_number_and_may_wait() {
    let page = json!({ "events": [event(5, "custom"), event(6, "custom")] });
    let script = Script::new([support::json(page)]);
    let server = script.serve().await;
    let query = ThreadEventQuery {
        from_seq: 4,
        limit: Some(2),
        wait_seconds: Some(20),
    };
    let events = server.client().threads().events("t", &query).await.unwrap();
    assert_eq!(events.iter().map(|event| event.seq).sum::<u64>(), 11);
    assert_eq!(script.asked(), ["t from_seq=4&limit=2&wait=20"]);
}

#[tokio::test]
async fn a_turn_is_started_again_only_if_that_cannot_start_two() {
    let lost = || cut_off("application/json", "{".to_owned());
    let accepted = json!({ "thread_id": "t", "turn_id": "u", "status": "accepted", "seq": 1 });
    let taken = || support::json(accepted.clone());
    let script = Script::new([lost(), lost(), taken(), lost(), taken()]);
    let server = script.serve().await;
    let client = server.client();
    let turn = NewTurn::new("hi").unwrap();
    assert!(client.turns().start(&turn, None).await.is_err());
    let turn = client.turns().start(&turn, Some("key")).await.unwrap();
    assert_eq!(
        (turn.seq, turn.status, turn.thread_id.as_str()),
        (1, TurnStatus::Accepted, "t")
    );
    let turn = NewTurn::new(&[1]).unwrap().thread("t").id("u").agent("a");
    client.turns().start(&turn, None).await.unwrap();
    let named = r#"- {"agent":"a","input":[1],"thread_id":"t","turn_id":"u"}"#;
    assert_eq!(
        script.asked(),
        [
            r#"- {"input":"hi"}"#,
            r#"key {"input":"hi"}"#,
            r#"key {"input":"hi"}"#,
            named,
            named
        ]
    );
}

#[tokio::test]
async fn an_append_says_how_its_turn_stands_and_is_repeated_only_with_ids() {
    let lost = || cut_off("application/json", "[".to_owned());
    let stored =
        |seq: u64| json!({ "event_id": format!("e{seq}"), "seq": seq, "turn_status": "cancelled" });
    let one = support::json(stored(1));
    let many = support::json(json!([stored(2), stored(3)]));
    let script = Script::new([one, lost(), lost(), many]);
    let server = script.serve().await;
    let client = server.client();
    let delta = NewThreadEvent::new("message.delta").turn("u");
    let answer = client.threads().append("t", &delta).await.unwrap();
    assert_eq!(answer.turn_status, Some(TurnStatus::Cancelled));
    let known = delta.clone().id("e2");
    let mixed = [known.clone(), delta];
    assert!(client.threads().append_many("t", &mixed).await.is_err());
    let known = [known.clone(), known.id("e3")];
    let answers = client.threads().append_many("t", &known).await.unwrap();
    assert_eq!(answers[1].seq, 3);
    assert_eq!(script.asked().len(), 4);
}

#[tokio::test]
async fn a_cancel_names_the_thread() {
    let cancelled = json!({ "thread_id": "t", "turn_id": "u", "status": "cancelled", "seq": 9 });
    let script = Script::new([support::json(cancelled)]);
    let server = script.serve().await;
    let turn = server.client().turns().cancel("t", "u").await.unwrap();
    assert_eq!(turn.status, TurnStatus::Cancelled);
    assert_eq!(script.asked(), [r#"u {"thread_id":"t"}"#]);
}
