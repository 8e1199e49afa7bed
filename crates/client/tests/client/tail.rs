//! The tail reconnects by itself, and neither skips nor repeats.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use axum::{Router, http::HeaderMap, response::Response, routing};
use tidewire_client::{Tail, TailQuery};

use crate::support::{Server, event, json, problem, stream};

#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Response>>>,
    /// The `Last-Event-ID` of each connection.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Script {
    fn new(answers: impl IntoIterator<Item = Response>) -> Self {
        Script {
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
            ..Script::default()
        }
    }

    async fn serve(&self, log: Vec<serde_json::Value>) -> Server {
        let script = self.clone();
        let tail = move |headers: HeaderMap| async move {
            let position = headers
                .get("last-event-id")
                .map(|id| id.to_str().unwrap().to_owned());
            script
                .asked
                .lock()
                .unwrap()
                .push(position.unwrap_or_default());
            script
                .answers
                .lock()
                .unwrap()
                .pop_front()
                .unwrap_or_else(|| problem(401, "the key was revoked"))
        };
        let list =
            move || async move { json(serde_json::json!({"events": log, "next_cursor": null})) };
        let routes = Router::new()
            .route("/v1/events", routing::get(list))
            .route("/v1/events/tail", routing::get(tail));
        Server::start(routes).await
    }
}

fn frame(seq: u64) -> String {
    format!("id: p{seq}\nevent: t\ndata: {}\n\n", event(seq))
}

async fn seqs(tail: &mut Tail, most: usize) -> Vec<u64> {
    let mut found = Vec::new();
    while found.len() < most {
        found.push(tail.next().await.unwrap().unwrap().event.seq);
    }
    found
}

#[tokio::test]
async fn a_broken_connection_is_resumed_behind_the_last_whole_event() {
    // The first connection breaks inside the third frame, behind its id.
    let script = Script::new([
        stream(&format!(
            ": keepalive\n\n{}{}id: p3\nevent: t\ndata: {{\"id\"",
            frame(1),
            frame(2)
        )),
        problem(503, "draining"),
        stream(&format!("{}{}", frame(3), frame(4))),
    ]);
    let server = script.serve(vec![]).await;
    let query = TailQuery {
        after: Some("0".to_owned()),
        ..TailQuery::default()
    };
    let cuts = Arc::new(Mutex::new(0));
    let count = Arc::clone(&cuts);
    let mut tail = server
        .client()
        .events()
        .tail(query)
        .on_disconnect(move |_, _| *count.lock().unwrap() += 1);

    assert_eq!(seqs(&mut tail, 4).await, [1, 2, 3, 4]);
    assert_eq!(tail.position(), Some("p4"));
    // Then the key is refused: the end, told once.
    assert_eq!(tail.next().await.unwrap().unwrap_err().status(), Some(401));
    assert!(tail.next().await.is_none());
    assert_eq!(*script.asked.lock().unwrap(), ["0", "p2", "p2", "p4"]);
    assert_eq!(*cuts.lock().unwrap(), 3);
}

#[tokio::test]
async fn from_now_is_a_position_so_nothing_is_lost_before_the_first_event() {
    let newest = event(7);
    let id = newest["id"].as_str().unwrap().to_owned();
    let script = Script::new([stream(": keepalive\n\n"), stream(&frame(8))]);
    let server = script.serve(vec![newest]).await;
    let mut tail = server.client().events().tail(TailQuery::default());
    assert_eq!(seqs(&mut tail, 1).await, [8]);
    assert_eq!(*script.asked.lock().unwrap(), [id.clone(), id]);
}

#[tokio::test]
async fn a_first_connection_is_given_up_after_the_usual_tries() {
    let script = Script::new((0..4).map(|_| problem(503, "starting")));
    let server = script.serve(vec![]).await;
    let mut tail = server.client().events().tail(TailQuery {
        after: Some("0".into()),
        ..Default::default()
    });
    assert_eq!(tail.next().await.unwrap().unwrap_err().status(), Some(503));
    assert!(tail.next().await.is_none());
    assert_eq!(script.asked.lock().unwrap().len(), 4);
}
