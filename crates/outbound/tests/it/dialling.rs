//! The address that was judged is the address that is dialled.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tidewire_outbound::{ConnectProblem, Error, Phase, Purpose, Resolve, Resolving};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::house::*;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
/// Answers once to a connection.
const LAST: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";

fn refused(outcome: Result<tidewire_outbound::Answer, Error>) -> Purpose {
    match outcome {
        Err(Error::Refused { refusal, .. }) => refusal.purpose,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_refused_literal_is_not_dialled() {
    let sink = Sink::always(OK).await;
    let port = sink.address.port();
    let client = client(options("10.0.0.0/8"));
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "017700000001",
        "%31%32%37.0.0.1",
        "１２７.0.0.1",
        "127.0.0.1.",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "0.0.0.0",
        "[::]",
    ] {
        refused(fetch(&client, &format!("http://{host}:{port}/")).await);
    }
    assert_eq!(sink.connections(), 0);
}

#[tokio::test]
async fn an_opened_address_is_dialled_in_either_dress() {
    let sink = Sink::always(OK).await;
    let port = sink.address.port();
    let client = local_client();
    for host in ["127.0.0.1", "2130706433", "[::ffff:127.0.0.1]"] {
        let answer = fetch(&client, &format!("http://{host}:{port}/")).await;
        assert_eq!(answer.unwrap().body, "ok", "{host}");
    }
    refused(fetch(&client, &format!("http://127.0.0.2:{port}/")).await);
}

#[tokio::test]
async fn a_name_is_refused_for_any_of_its_addresses() {
    let sink = Sink::always(OK).await;
    let names = Names::new(&[
        ("good.example", &[&["127.0.0.1"]]),
        ("mixed.example", &[&["127.0.0.1", "10.0.0.1"]]),
        (
            "mixed-six.example",
            &[&["127.0.0.1", "2606:4700::1111", "fe80::1"]],
        ),
        (
            "mapped.example",
            &[&["127.0.0.1", "::ffff:169.254.169.254"]],
        ),
        ("bad.example", &[&["127.0.0.2"]]),
    ]);
    let client = client(tidewire_outbound::ClientOptions {
        resolver: Arc::new(names),
        ..options("127.0.0.1")
    });
    let url = |name: &str| format!("http://{name}:{}/", sink.address.port());
    for (name, purpose) in [
        ("mixed.example", Purpose::Private),
        ("mixed-six.example", Purpose::LinkLocal),
        ("mapped.example", Purpose::LinkLocal),
        ("bad.example", Purpose::Loopback),
    ] {
        assert_eq!(refused(fetch(&client, &url(name)).await), purpose, "{name}");
    }
    assert_eq!(sink.connections(), 0);
    let answer = fetch(&client, &url("good.example")).await.unwrap();
    assert_eq!(answer.body, "ok");
    assert!(answer.timings.resolve.is_some());
}

#[tokio::test]
async fn a_name_that_changes_its_mind_is_dialled_where_it_was_judged() {
    let good = Sink::always(LAST).await;
    let inside = ([127, 0, 0, 2], good.address.port()).into();
    let inside = Sink::start_at(inside, |mut caller| async move { caller.closed().await }).await;
    let names = Names::new(&[("rebind.example", &[&["127.0.0.1"], &["127.0.0.2"]])]);
    let client = client(tidewire_outbound::ClientOptions {
        resolver: Arc::new(names.clone()),
        ..options("127.0.0.1")
    });
    let url = format!("http://rebind.example:{}/", good.address.port());
    assert_eq!(fetch(&client, &url).await.unwrap().body, "ok");
    // One look-up: what was judged is what was dialled.
    assert_eq!(names.asked(), 1);
    // The next connection asks again, and is refused.
    assert_eq!(refused(fetch(&client, &url).await), Purpose::Loopback);
    assert_eq!(names.asked(), 2);
    assert_eq!((good.connections(), inside.connections()), (1, 0));
}

#[tokio::test]
async fn a_name_without_addresses_is_unresolved() {
    let names = Names::new(&[("empty.example", &[&[]])]);
    let client = client(tidewire_outbound::ClientOptions {
        resolver: Arc::new(names),
        ..options("127.0.0.1")
    });
    for name in ["empty.example", "unknown.example"] {
        match fetch(&client, &format!("http://{name}/")).await {
            Err(Error::UnresolvedName { name: told, .. }) => assert_eq!(told, name),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_resolver_that_never_answers_costs_no_more_than_the_deadline() {
    struct Silent;
    impl Resolve for Silent {
        fn resolve<'a>(&'a self, _name: &'a str) -> Resolving<'a> {
            Box::pin(std::future::pending())
        }
    }
    let client = client(tidewire_outbound::ClientOptions {
        resolver: Arc::new(Silent),
        ..options("127.0.0.1")
    });
    let request = get("http://silent.example/").timeout(Duration::from_millis(50));
    match client.send(request).await {
        Err(Error::Timeout {
            phase: Phase::Resolve,
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_does_not_answer() {
    // Nothing listens at 127.0.0.3.
    let sink = Sink::always(OK).await;
    let names = Names::new(&[("two.example", &[&["127.0.0.3", "127.0.0.1"]])]);
    let client = client(tidewire_outbound::ClientOptions {
        resolver: Arc::new(names),
        ..options("127.0.0.0/8")
    });
    let url = format!("http://two.example:{}/", sink.address.port());
    assert_eq!(fetch(&client, &url).await.unwrap().body, "ok");
}

/// A listener whose queue is full: whoever connects hears nothing. With what keeps it full.
async fn deaf(address: SocketAddr) -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(address).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(opened) =
        tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await
    {
        queue.push(opened.unwrap());
        assert!(queue.len() < 100, "the queue does not fill");
    }
    (listener, queue)
}

#[tokio::test]
async fn an_address_that_is_deaf_does_not_hold_up_the_next() {
    let sink = Sink::always(OK).await;
    let port = sink.address.port();
    let _deaf = deaf(([127, 0, 0, 4], port).into()).await;
    let names = Names::new(&[
        ("two.example", &[&["127.0.0.4", "127.0.0.1"]]),
        ("deaf.example", &[&["127.0.0.4"]]),
    ]);
    let client = client(tidewire_outbound::ClientOptions {
        resolver: Arc::new(names),
        ..options("127.0.0.0/8")
    });
    let answer = fetch(&client, &format!("http://two.example:{port}/")).await;
    assert_eq!(answer.unwrap().body, "ok");

    let request = get(&format!("http://deaf.example:{port}/")).timeout(Duration::from_millis(100));
    match client.send(request).await {
        Err(Error::Timeout {
            phase: Phase::Connect,
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_port_where_nobody_listens_refuses() {
    let sink = Sink::always(OK).await;
    let url = format!("http://127.0.0.3:{}/", sink.address.port());
    let client = client(options("127.0.0.0/8"));
    match fetch(&client, &url).await {
        Err(Error::Connect { problem, origin }) => {
            assert_eq!(
                problem,
                ConnectProblem(std::io::ErrorKind::ConnectionRefused)
            );
            assert_eq!(origin, format!("127.0.0.3:{}", sink.address.port()));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_systems_resolver_is_judged_like_any_other() {
    let sink = Sink::always(OK).await;
    let url = format!("http://localhost:{}/", sink.address.port());
    let closed = client(options("10.0.0.0/8"));
    assert_eq!(refused(fetch(&closed, &url).await), Purpose::Loopback);
    assert_eq!(sink.connections(), 0);
    let open = client(options("127.0.0.0/8,::1"));
    assert_eq!(fetch(&open, &url).await.unwrap().body, "ok");
}
