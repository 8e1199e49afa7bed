//! Endpoints that answer slowly, endlessly, wrongly or not at all.

use std::{io::Write, time::Duration};

use flate2::{Compression, write::GzEncoder};
use tidewire_outbound::{BadAnswer, Error, Phase};
use tokio::sync::mpsc;

use crate::house::*;

const SHORT: Duration = Duration::from_millis(200);

fn bad_answer(outcome: Result<tidewire_outbound::Answer, Error>) -> BadAnswer {
    match outcome {
        Err(Error::BadAnswer { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

fn timed_out(outcome: Result<tidewire_outbound::Answer, Error>) -> Phase {
    match outcome {
        Err(Error::Timeout { phase, .. }) => phase,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_deadline_holds_to_the_last_byte() {
    let (ended, mut end) = mpsc::unbounded_channel();
    let sink = Sink::start(move |mut caller| {
        let ended = ended.clone();
        async move {
            caller.request().await;
            caller
                .say("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
                .await;
            while caller.say("x").await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            ended.send(()).unwrap();
        }
    })
    .await;
    let request = get(&sink.url("/")).timeout(SHORT);
    assert_eq!(timed_out(local_client().send(request).await), Phase::Body);
    // And the connection is gone with the request.
    end.recv().await.unwrap();
}

#[tokio::test]
async fn a_head_that_drips_or_never_comes_ends_at_the_deadline() {
    let drip = Sink::start(|mut caller| async move {
        caller.request().await;
        caller.say("HTTP/1.1 200 OK\r\nx-slow: ").await;
        while caller.say("x").await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let silent = Sink::start(|mut caller| async move { caller.closed().await }).await;
    let wordy = Sink::start(|mut caller| async move {
        caller.request().await;
        while caller.say("HTTP/1.1 102 Processing\r\n\r\n").await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    for sink in [drip, silent, wordy] {
        let request = get(&sink.url("/")).timeout(SHORT);
        assert_eq!(timed_out(local_client().send(request).await), Phase::Answer);
    }
}

#[tokio::test]
async fn a_request_that_nobody_reads_ends_at_the_deadline() {
    let sink = Sink::start(|caller| async move {
        let _open = caller;
        std::future::pending::<()>().await;
    })
    .await;
    let request = get(&sink.url("/"))
        .body(vec![b'x'; 64 * 1024 * 1024])
        .timeout(SHORT);
    assert_eq!(timed_out(local_client().send(request).await), Phase::Answer);
}

#[tokio::test]
async fn an_endless_answer_is_read_up_to_the_cap() {
    let (ended, mut end) = mpsc::unbounded_channel();
    let sink = Sink::start(move |mut caller| {
        let ended = ended.clone();
        async move {
            caller.request().await;
            caller
                .say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                .await;
            while caller.say("10\r\n0123456789abcdef\r\n").await {}
            ended.send(()).unwrap();
        }
    })
    .await;
    let answer = fetch(&local_client(), &sink.url("/")).await.unwrap();
    assert!(answer.truncated);
    assert_eq!(answer.body.len(), 64 * 1024);
    assert!(answer.body.starts_with(b"0123456789abcdef0"));
    end.recv().await.unwrap();
}

#[tokio::test]
async fn what_is_announced_beyond_the_cap_is_not_awaited() {
    let sink = Sink::start(|mut caller| async move {
        caller.request().await;
        caller
            .say("HTTP/1.1 200 OK\r\ncontent-length: 5000000000\r\n\r\n0123456789")
            .await;
        caller.closed().await;
    })
    .await;
    for cap in [10, 3, 0] {
        let request = get(&sink.url("/")).answer_cap(cap);
        let answer = local_client().send(request).await.unwrap();
        assert!(answer.truncated);
        assert_eq!(answer.body, "0123456789"[..cap]);
    }
}

#[tokio::test]
async fn an_answer_of_exactly_the_cap_is_whole() {
    for body in [
        with_length("200 OK", "0123456789"),
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 10\r\n\r\n0123456789".to_owned(),
    ] {
        let sink = Sink::always(body).await;
        let request = get(&sink.url("/")).answer_cap(10);
        let answer = local_client().send(request).await.unwrap();
        assert!(!answer.truncated);
        assert_eq!(answer.body, "0123456789");
        let request = get(&sink.url("/")).answer_cap(9);
        let answer = local_client().send(request).await.unwrap();
        assert!(answer.truncated);
        assert_eq!(answer.body, "012345678");
    }
}

#[tokio::test]
async fn an_answer_may_end_with_its_connection() {
    let sink = Sink::start(|mut caller| async move {
        caller.request().await;
        caller.say("HTTP/1.0 200 OK\r\n\r\nto the end").await;
    })
    .await;
    let answer = fetch(&local_client(), &sink.url("/")).await.unwrap();
    assert_eq!(answer.body, "to the end");
    assert!(!answer.truncated);
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let inside = Sink::always(with_length("200 OK", "secret")).await;
    let location = inside.url("/secret");
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "303 See Other",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let sink = Sink::always(format!(
            "HTTP/1.1 {status}\r\nlocation: {location}\r\ncontent-length: 5\r\n\r\nmoved"
        ))
        .await;
        let answer = fetch(&local_client(), &sink.url("/")).await.unwrap();
        assert_eq!(answer.status.as_str(), &status[..3]);
        assert_eq!(answer.headers["location"], location);
        assert_eq!(answer.body, "moved");
    }
    assert_eq!(inside.connections(), 0);
}

#[tokio::test]
async fn every_status_is_an_answer() {
    for status in [
        "204 No Content",
        "304 Not Modified",
        "410 Gone",
        "429 Too Many Requests",
        "500 Oh",
        "599 Own",
    ] {
        let sink = Sink::always(format!(
            "HTTP/1.1 {status}\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n"
        ))
        .await;
        let answer = fetch(&local_client(), &sink.url("/")).await.unwrap();
        assert_eq!(answer.status.as_str(), &status[..3]);
        assert_eq!(answer.headers["retry-after"], "7");
        assert!(answer.body.is_empty() && !answer.truncated);
    }
}

#[tokio::test]
async fn a_head_without_measure_is_refused() {
    let endless = Sink::start(|mut caller| async move {
        caller.request().await;
        caller.say("HTTP/1.1 200 OK\r\nx-long: ").await;
        while caller.say([b'x'; 4096]).await {}
    })
    .await;
    let many = Sink::start(|mut caller| async move {
        caller.request().await;
        caller.say("HTTP/1.1 200 OK\r\n").await;
        for number in 0..1000 {
            caller.say(format!("x-{number}: y\r\n")).await;
        }
        caller.say("content-length: 0\r\n\r\n").await;
        caller.closed().await;
    })
    .await;
    for sink in [endless, many] {
        let outcome = fetch(&local_client(), &sink.url("/")).await;
        assert_eq!(bad_answer(outcome), BadAnswer::HeadTooLarge);
    }
}

#[tokio::test]
async fn whoever_breaks_off_is_told_apart_by_when() {
    for (said, expected) in [
        ("", BadAnswer::Closed { reused: false }),
        ("HTTP/1.1 200 O", BadAnswer::Closed { reused: false }),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n01234",
            BadAnswer::Cut,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n01",
            BadAnswer::Cut,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            BadAnswer::NotHttp,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
            BadAnswer::NotHttp,
        ),
        ("SSH-2.0-OpenSSH_9.2\r\n", BadAnswer::NotHttp),
        ("220 mail.example ESMTP\r\n", BadAnswer::NotHttp),
        (
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            BadAnswer::Upgrade,
        ),
    ] {
        let sink = Sink::start(move |mut caller| async move {
            caller.request().await;
            caller.say(said).await;
        })
        .await;
        let outcome = fetch(&local_client(), &sink.url("/")).await;
        assert_eq!(bad_answer(outcome), expected, "{said:?}");
    }
}

fn packed(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn packed_answer(data: &[u8]) -> Vec<u8> {
    of_packed(&packed(data))
}

fn of_packed(packed: &[u8]) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        packed.len()
    )
    .into_bytes();
    answer.extend(packed);
    answer
}

#[tokio::test]
async fn nothing_is_unpacked_unless_asked() {
    let sink = Sink::always(packed_answer(b"hello")).await;
    let answer = fetch(&local_client(), &sink.url("/")).await.unwrap();
    assert_eq!(answer.body, packed(b"hello"));
    assert_eq!(answer.headers["content-encoding"], "gzip");
    let answer = local_client()
        .send(get(&sink.url("/")).gunzip())
        .await
        .unwrap();
    assert_eq!(answer.body, "hello");
    assert!(!answer.headers.contains_key("content-encoding"));
    assert!(!answer.headers.contains_key("content-length"));
}

#[tokio::test]
async fn a_gzip_bomb_does_not_matter() {
    let sink = Sink::always(of_packed(&packed(&vec![0; 1_000_000]).repeat(50))).await;
    let answer = local_client()
        .send(get(&sink.url("/")).gunzip())
        .await
        .unwrap();
    assert!(answer.truncated);
    assert_eq!(answer.body, vec![0; 64 * 1024]);
    let answer = fetch(&local_client(), &sink.url("/")).await.unwrap();
    assert!(answer.body.len() <= 64 * 1024);
}

#[tokio::test]
async fn what_claims_to_be_gzip_and_is_not_is_an_error() {
    let sink =
        Sink::always("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 5\r\n\r\nhello")
            .await;
    let outcome = local_client().send(get(&sink.url("/")).gunzip()).await;
    assert_eq!(bad_answer(outcome), BadAnswer::NotGzip);
}
