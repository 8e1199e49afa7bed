//! `tidewire health`, as whoever watches over a container runs it.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    thread,
};

use super::rows;
use crate::support::{House, run, tidewire};

#[test]
fn a_server_that_is_well_is_told_from_one_that_is_not() {
    let server = House::new().start();
    let health = server.ask(&["health"]);
    assert!(
        rows(&health).contains(&vec!["store_writes", "ok"]),
        "{health:#?}"
    );
    let ready = server.ask(&["health", "--ready", "-o", "json"]).json();
    assert_eq!(ready["status"], "ok");
    assert_eq!(ready["info"]["store_engine"], "sqlite");
    let url = server.url();
    drop(server);
    let gone = run(tidewire().args(["health", "--server", &url])).expect(1);
    assert!(gone.error().contains("connection refused"), "{gone:#?}");

    let failing = answers_once(r#"{"status":"failing","checks":{"store":"does not answer"}}"#);
    let failing = run(tidewire().args(["health", "--server", &failing])).expect(1);
    assert!(
        rows(&failing).contains(&vec!["store", "does not answer"]),
        "{failing:#?}"
    );
}

/// The URL of something that answers one request with a 503.
fn answers_once(body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound port");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a caller");
        let head = BufReader::new(&stream).lines();
        // Until the empty line: an answer before that would be cut off with the connection.
        head.take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty()))
            .for_each(drop);
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )
        .expect("a caller that reads");
    });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_says_what_it_is() {
    let server = House::new().start();
    server.ask(&["events", "append", "a"]);
    server.ask(&["jobs", "enqueue", "echo", "--wait"]);
    let shown = server.get("/metrics").await.expect(200).text;
    let of = |mark: &str| -> BTreeSet<String> {
        let lines = shown.lines().filter_map(|line| line.strip_prefix(mark));
        lines
            .filter_map(|line| Some(line.split(' ').next()?.to_owned()))
            .collect()
    };
    let (typed, helped) = (of("# TYPE "), of("# HELP "));
    assert!(typed.contains("tidewire_build_info"), "{shown}");
    let silent: Vec<_> = typed.difference(&helped).collect();
    assert!(silent.is_empty(), "without a text: {silent:?}");
}
