//! What an endpoint gets to see.

use tidewire_outbound::{BadHeader, ClientOptions, Error, Method, Request, Reserved};
use tokio::sync::mpsc;

use crate::house::*;

/// A sink that hands on what it was sent.
async fn mirror() -> (Sink, mpsc::UnboundedReceiver<String>) {
    let (seen, sees) = mpsc::unbounded_channel();
    let sink = Sink::start(move |mut caller| {
        let seen = seen.clone();
        async move {
            while let Some(request) = caller.request().await {
                seen.send(request).unwrap();
                caller.say(with_length("200 OK", "")).await;
            }
        }
    })
    .await;
    (sink, sees)
}

fn headers(request: &str) -> Vec<&str> {
    let head = request.split("\r\n\r\n").next().unwrap();
    let mut headers: Vec<&str> = head.lines().skip(1).collect();
    headers.sort_unstable();
    headers
}

#[tokio::test]
async fn a_request_is_sent_as_it_was_made() {
    let (sink, mut sees) = mirror().await;
    let request = Request::new(Method::POST, &sink.url("/in%2Fbox?a=1&b=%20#frag"))
        .unwrap()
        .header("content-type", "application/json")
        .unwrap()
        .header("X-Twice", "first")
        .unwrap()
        .header("x-twice", "second")
        .unwrap()
        .body(r#"{"n": 1}"#);
    local_client().send(request).await.unwrap();
    let seen = sees.recv().await.unwrap();
    assert!(
        seen.starts_with("POST /in%2Fbox?a=1&b=%20 HTTP/1.1\r\n"),
        "{seen}"
    );
    assert!(seen.ends_with("\r\n\r\n{\"n\": 1}"), "{seen}");
    let host = format!("host: {}", sink.address);
    let agent = concat!("user-agent: tidewire/", env!("CARGO_PKG_VERSION"));
    assert_eq!(
        headers(&seen),
        [
            "content-length: 8",
            "content-type: application/json",
            &host,
            agent,
            "x-twice: second",
        ]
    );
}

#[tokio::test]
async fn a_get_is_bare() {
    let (sink, mut sees) = mirror().await;
    let client = client(ClientOptions {
        user_agent: "probe/1".to_owned(),
        ..options("127.0.0.1")
    });
    client.send(get(&sink.url(""))).await.unwrap();
    let seen = sees.recv().await.unwrap();
    assert!(seen.starts_with("GET / HTTP/1.1\r\n"), "{seen}");
    let host = format!("host: {}", sink.address);
    assert_eq!(headers(&seen), [host.as_str(), "user-agent: probe/1"]);
    client.send(get(&sink.url("")).gunzip()).await.unwrap();
    let seen = sees.recv().await.unwrap();
    assert!(headers(&seen).contains(&"accept-encoding: gzip"), "{seen}");
}

#[tokio::test]
async fn every_method_but_connect_is_sent() {
    let (sink, mut sees) = mirror().await;
    for method in ["PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "REPORT"] {
        let name = Method::from_bytes(method.as_bytes()).unwrap();
        let request = Request::new(name, &sink.url("/")).unwrap();
        local_client().send(request).await.unwrap();
        assert!(sees.recv().await.unwrap().starts_with(method));
    }
    let outcome = Request::new(Method::CONNECT, "http://example.com/");
    assert!(matches!(outcome, Err(Error::BadMethod(_))), "{outcome:?}");
}

#[tokio::test]
async fn the_name_is_what_the_endpoint_hears() {
    let (sink, mut sees) = mirror().await;
    let port = sink.address.port();
    let names = Names::new(&[("xn--bcher-kva.example", &[&["127.0.0.1"]])]);
    let client = client(ClientOptions {
        resolver: std::sync::Arc::new(names),
        ..options("127.0.0.1")
    });
    fetch(&client, &format!("http://Bücher.Example:{port}/"))
        .await
        .unwrap();
    let seen = sees.recv().await.unwrap();
    let host = format!("host: xn--bcher-kva.example:{port}");
    assert!(headers(&seen).contains(&host.as_str()), "{seen}");
}

#[test]
fn configured_headers_cannot_take_what_is_kept() {
    let reserved = Reserved::new(&["webhook-*", "user-agent"]);
    for (name, expected) in [
        ("Host", BadHeader::Connection),
        ("Content-Length", BadHeader::Connection),
        ("Transfer-Encoding", BadHeader::Connection),
        ("Connection", BadHeader::Connection),
        ("webhook-signature", BadHeader::Reserved),
        ("User-Agent", BadHeader::Reserved),
    ] {
        let outcome = get("http://example.com/").configured_header(name, "x", &reserved);
        match outcome {
            Err(Error::BadHeader { why, .. }) => assert_eq!(why, expected, "{name}"),
            other => panic!("{other:?}"),
        }
    }
    let request = get("http://example.com/")
        .header("webhook-signature", "v1,abc")
        .and_then(|request| request.configured_header("authorization", "secret", &reserved))
        .unwrap();
    assert!(!format!("{request:?}").contains("secret"));
}
