//! Answers that are handed on as they come.

use std::{sync::Arc, time::Duration};

use http_body_util::BodyExt as _;
use tidewire_outbound::{BadAnswer, Error, Opened, Phase};
use tokio::sync::Notify;

use crate::house::*;

async fn whole(opened: Opened) -> Result<Vec<u8>, Error> {
    Ok(opened.body.collect().await?.to_bytes().to_vec())
}

fn why(error: Error) -> BadAnswer {
    match error {
        Error::BadAnswer { why, .. } => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_first_bytes_are_there_before_the_last_are_sent() {
    let gate = Arc::new(Notify::new());
    let go = Arc::clone(&gate);
    let sink = Sink::start(move |mut caller| {
        let gate = Arc::clone(&gate);
        async move {
            caller.request().await;
            caller
                .say("HTTP/1.1 201 Created\r\ncontent-length: 6\r\n\r\none")
                .await;
            gate.notified().await;
            caller.say("two").await;
        }
    })
    .await;
    let mut opened = local_client().open(get(&sink.url("/"))).await.unwrap();
    assert_eq!(opened.status, 201);
    let first = opened.body.frame().await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "one");
    go.notify_one();
    assert_eq!(whole(opened).await.unwrap(), b"two");
}

#[tokio::test]
async fn what_is_beyond_the_cap_fails_and_is_not_cut_off_in_silence() {
    let announced = Sink::always(with_length("200 OK", "0123456789")).await;
    let request = get(&announced.url("/")).answer_cap(9);
    let error = local_client().open(request).await.unwrap_err();
    assert_eq!(why(error), BadAnswer::TooLong { cap: 9 });
    let chunked =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n";
    let unannounced = Sink::always(chunked).await;
    for (cap, fits) in [(9, false), (10, true)] {
        let request = get(&unannounced.url("/")).answer_cap(cap);
        let opened = local_client().open(request).await.unwrap();
        match whole(opened).await {
            Ok(body) => assert!(fits && body == b"0123456789"),
            Err(error) => assert!(!fits && why(error) == BadAnswer::TooLong { cap }),
        }
    }
}

#[tokio::test]
async fn the_deadline_holds_for_what_is_handed_on() {
    let drip = Sink::start(|mut caller| async move {
        caller.request().await;
        caller
            .say("HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\n")
            .await;
        while caller.say("x").await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let request = get(&drip.url("/")).timeout(Duration::from_millis(200));
    let opened = local_client().open(request).await.unwrap();
    match whole(opened).await {
        Err(Error::Timeout { phase, .. }) => assert_eq!(phase, Phase::Body),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_connection_serves_again_after_its_answer_was_read() {
    let sink = Sink::always(with_length("200 OK", "hello")).await;
    let client = local_client();
    for _ in 0..5 {
        let opened = client.open(get(&sink.url("/"))).await.unwrap();
        assert_eq!(whole(opened).await.unwrap(), b"hello");
        // It is given back behind the last byte.
        tokio::task::yield_now().await;
    }
    assert!(sink.connections() < 5, "{}", sink.connections());
}
