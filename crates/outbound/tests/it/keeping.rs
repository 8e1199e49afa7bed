//! Connections are kept and used again, within limits, and by nobody whom the policy has not let pass.

use std::{sync::Arc, time::Duration};

use tidewire_outbound::{BadAnswer, Client, ClientOptions, Error};
use tokio::sync::mpsc;

use crate::house::*;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A sink that keeps its connections, and tells when one has been closed by the client.
async fn telling() -> (Sink, mpsc::UnboundedReceiver<usize>) {
    let (closed, tells) = mpsc::unbounded_channel();
    let sink = Sink::start(move |mut caller| {
        let closed = closed.clone();
        async move {
            while caller.request().await.is_some() {
                caller.say(OK).await;
            }
            // Nobody may be left to hear it.
            let _ = closed.send(caller.number);
        }
    })
    .await;
    (sink, tells)
}

async fn reused(client: &Client, url: &str) -> bool {
    let answer = fetch(client, url).await.unwrap();
    assert_eq!(answer.body, "ok");
    assert_eq!(answer.timings.reused(), answer.timings.connect.is_none());
    answer.timings.reused()
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let (sink, _tells) = telling().await;
    let client = local_client();
    assert!(!reused(&client, &sink.url("/")).await);
    for _ in 0..20 {
        assert!(reused(&client, &sink.url("/again")).await);
        // A clone has the same connections.
        assert!(reused(&client.clone(), &sink.url("/again")).await);
    }
    assert_eq!(sink.connections(), 1);
    // Another client has its own.
    assert!(!reused(&local_client(), &sink.url("/")).await);
}

#[tokio::test]
async fn a_request_that_wants_a_connection_of_its_own_has_one() {
    let (sink, _tells) = telling().await;
    let client = local_client();
    assert!(!reused(&client, &sink.url("/")).await);
    let answer = client.send(get(&sink.url("/")).fresh()).await.unwrap();
    assert!(!answer.timings.reused());
    assert_eq!(sink.connections(), 2);
    assert!(reused(&client, &sink.url("/")).await);
}

#[tokio::test]
async fn a_kept_connection_is_nobody_elses() {
    let (sink, _tells) = telling().await;
    let port = sink.address.port();
    let names = Names::new(&[
        ("one.example", &[&["127.0.0.1"], &["10.0.0.1"]]),
        ("two.example", &[&["10.0.0.1"]]),
        ("three.example", &[&["127.0.0.1"]]),
    ]);
    let client = client(ClientOptions {
        resolver: Arc::new(names.clone()),
        ..options("127.0.0.1")
    });
    let url = |host: &str| format!("http://{host}:{port}/");
    assert!(!reused(&client, &url("one.example")).await);
    // The same place under another name or spelling is looked up and judged for itself.
    assert!(!reused(&client, &url("three.example")).await);
    assert!(!reused(&client, &url("127.0.0.1")).await);
    let outcome = fetch(&client, &url("two.example")).await;
    assert!(matches!(outcome, Err(Error::Refused { .. })), "{outcome:?}");
    let outcome = fetch(&client, &url("127.0.0.2")).await;
    assert!(matches!(outcome, Err(Error::Refused { .. })), "{outcome:?}");
    // The kept one still ends where it was judged; nobody is asked where the name leads by now.
    let asked = names.asked();
    assert!(reused(&client, &url("one.example")).await);
    assert_eq!(names.asked(), asked);
    // A client with a stricter policy cannot come by it.
    let strict = crate::house::client(options("10.0.0.0/8"));
    let outcome = fetch(&strict, &url("127.0.0.1")).await;
    assert!(matches!(outcome, Err(Error::Refused { .. })), "{outcome:?}");
}

#[tokio::test]
async fn requests_at_once_have_connections_of_their_own_and_few_are_kept() {
    let barrier = Arc::new(tokio::sync::Barrier::new(5));
    let (closed, mut tells) = mpsc::unbounded_channel();
    let sink = Sink::start(move |mut caller| {
        let (barrier, closed) = (Arc::clone(&barrier), closed.clone());
        async move {
            if caller.request().await.is_some() {
                barrier.wait().await;
                caller.say(OK).await;
            }
            caller.closed().await;
            let _ = closed.send(());
        }
    })
    .await;
    let client = client(ClientOptions {
        idle_per_origin: 2,
        ..options("127.0.0.1")
    });
    let url = sink.url("/");
    let requests = (0..5).map(|_| fetch(&client, &url));
    for outcome in futures_util::future::join_all(requests).await {
        assert_eq!(outcome.unwrap().body, "ok");
    }
    assert_eq!(sink.connections(), 5);
    for _ in 0..3 {
        tells.recv().await.unwrap();
    }
    assert!(tells.try_recv().is_err());
}

#[tokio::test]
async fn in_all_no_more_are_kept_than_the_limit_and_the_oldest_goes() {
    let (first, mut first_tells) = telling().await;
    let (second, mut second_tells) = telling().await;
    let (third, _third_tells) = telling().await;
    let client = client(ClientOptions {
        idle_in_all: 2,
        ..options("127.0.0.1")
    });
    for sink in [&first, &second, &third] {
        assert!(!reused(&client, &sink.url("/")).await);
    }
    first_tells.recv().await.unwrap();
    assert!(second_tells.try_recv().is_err());
    assert!(reused(&client, &second.url("/")).await);
    assert!(reused(&client, &third.url("/")).await);
    assert!(!reused(&client, &first.url("/")).await);
}

#[tokio::test]
async fn what_is_idle_for_too_long_is_closed() {
    let (sink, mut tells) = telling().await;
    let client = client(ClientOptions {
        idle_for: Duration::from_millis(50),
        ..options("127.0.0.1")
    });
    assert!(!reused(&client, &sink.url("/")).await);
    // Without another request to bring it about.
    tells.recv().await.unwrap();
    assert!(!reused(&client, &sink.url("/")).await);
    tells.recv().await.unwrap();
}

#[tokio::test]
async fn nothing_is_kept_where_nothing_shall_be() {
    for limits in [
        ClientOptions {
            idle_for: Duration::ZERO,
            ..options("127.0.0.1")
        },
        ClientOptions {
            idle_in_all: 0,
            ..options("127.0.0.1")
        },
        ClientOptions {
            idle_per_origin: 0,
            ..options("127.0.0.1")
        },
    ] {
        let (sink, mut tells) = telling().await;
        let client = client(limits);
        for _ in 0..2 {
            assert!(!reused(&client, &sink.url("/")).await);
            tells.recv().await.unwrap();
        }
    }
}

#[tokio::test]
async fn the_last_client_takes_its_connections_along() {
    let (sink, mut tells) = telling().await;
    let client = local_client();
    assert!(!reused(&client, &sink.url("/")).await);
    drop(client);
    tells.recv().await.unwrap();
}

#[tokio::test]
async fn a_connection_that_the_peer_closed_is_replaced() {
    // Closes after each answer without a word.
    let (closed, mut tells) = mpsc::unbounded_channel();
    let sink = Sink::start(move |mut caller| {
        let closed = closed.clone();
        async move {
            caller.request().await;
            caller.say(OK).await;
            drop(caller);
            closed.send(()).unwrap();
        }
    })
    .await;
    let other = Sink::always(OK).await;
    let client = local_client();
    for _ in 0..3 {
        assert_eq!(fetch(&client, &sink.url("/")).await.unwrap().body, "ok");
        tells.recv().await.unwrap();
        // The end has crossed the loopback; by a round trip elsewhere it has been heard, too.
        fetch(&client, &other.url("/")).await.unwrap();
    }
    assert_eq!(sink.connections(), 3);
}

#[tokio::test]
async fn a_kept_connection_that_ends_under_a_request_says_so() {
    let sink = Sink::start(|mut caller| async move {
        caller.request().await;
        caller.say(OK).await;
        // Takes the next request and closes.
        caller.request().await;
    })
    .await;
    let client = local_client();
    assert!(!reused(&client, &sink.url("/")).await);
    match fetch(&client, &sink.url("/")).await {
        Err(
            error @ Error::BadAnswer {
                why: BadAnswer::Closed { reused: true },
                ..
            },
        ) => {
            assert!(error.may_have_arrived());
        }
        other => panic!("{other:?}"),
    }
    // It was sent, so it is not for the client to send it twice.
    assert_eq!(sink.connections(), 1);
    assert!(!reused(&client, &sink.url("/")).await);
}

#[tokio::test]
async fn a_truncated_answer_ends_its_connection() {
    let (closed, mut tells) = mpsc::unbounded_channel();
    let sink = Sink::start(move |mut caller| {
        let closed = closed.clone();
        async move {
            caller.request().await;
            caller.say(with_length("200 OK", "0123456789")).await;
            caller.closed().await;
            closed.send(()).unwrap();
        }
    })
    .await;
    let answer = local_client()
        .send(get(&sink.url("/")).answer_cap(5))
        .await
        .unwrap();
    assert!(answer.truncated);
    tells.recv().await.unwrap();
}

#[tokio::test]
async fn a_request_that_is_given_up_takes_its_connection_along() {
    let (events, mut tells) = mpsc::unbounded_channel();
    let sink = Sink::start(move |mut caller| {
        let events = events.clone();
        async move {
            caller.request().await;
            events.send("asked").unwrap();
            caller.closed().await;
            events.send("closed").unwrap();
        }
    })
    .await;
    let client = local_client();
    let url = sink.url("/");
    let request = tokio::spawn(async move { fetch(&client, &url).await.map(drop) });
    assert_eq!(tells.recv().await, Some("asked"));
    request.abort();
    assert_eq!(tells.recv().await, Some("closed"));
}
