//! The server loop over real sockets.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, routing::get};
use bytes::Bytes;
use futures_util::stream;
use tidewire_http::{Limits, serve, sse};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Notify, mpsc},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

struct Running {
    address: SocketAddr,
    shutdown: CancellationToken,
    /// Told when a request has reached the slow handler.
    entered: Arc<Notify>,
    /// Lets the slow handler answer.
    leave: Arc<Notify>,
    server: JoinHandle<usize>,
}

/// How long a test waits for what must happen.
const DEADLINE: Duration = Duration::from_secs(20);

async fn start(limits: Limits) -> Running {
    let (shutdown, entered, leave) = (
        CancellationToken::new(),
        Arc::new(Notify::new()),
        Arc::new(Notify::new()),
    );
    let (entering, leaving, ending) = (Arc::clone(&entered), Arc::clone(&leave), shutdown.clone());
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .route(
            "/slow",
            get(move || async move {
                entering.notify_one();
                leaving.notified().await;
                "slow"
            }),
        )
        .route(
            "/stream",
            get(move || async move { sse::response(stream::pending(), &ending) }),
        )
        .with_state(());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(listener, app, shutdown.clone(), limits));
    Running {
        address,
        shutdown,
        entered,
        leave,
        server,
    }
}

async fn connect(address: SocketAddr) -> TcpStream {
    timeout(DEADLINE, TcpStream::connect(address))
        .await
        .unwrap()
        .unwrap()
}

async fn ask(stream: &mut TcpStream, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
}

/// Reads until `end` has come, or the end.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    timeout(DEADLINE, async {
        loop {
            let n = stream.read(&mut buffer).await.unwrap_or(0);
            text.extend_from_slice(&buffer[..n]);
            // Not looked at where only the end counts: for megabytes that takes longer than they do.
            let is_there = || String::from_utf8_lossy(&text).contains(end);
            if n == 0 || (!end.is_empty() && is_there()) {
                return String::from_utf8_lossy(&text).into_owned();
            }
        }
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_shutdown_finishes_what_is_in_flight_and_takes_nothing_new() {
    let running = start(Limits::default()).await;
    let mut slow = connect(running.address).await;
    ask(&mut slow, "/slow").await;
    let mut idle = connect(running.address).await;
    ask(&mut idle, "/").await;
    read_until(&mut idle, "hello").await;
    let mut stream = connect(running.address).await;
    ask(&mut stream, "/stream").await;
    read_until(&mut stream, "\r\n\r\n").await;
    timeout(DEADLINE, running.entered.notified()).await.unwrap();

    running.shutdown.cancel();
    assert_eq!(
        read_until(&mut idle, "").await,
        "",
        "an idle connection is closed"
    );
    assert!(
        read_until(&mut stream, "").await.ends_with("0\r\n\r\n"),
        "an endless stream ends properly"
    );
    // The listener is closed before the drain begins; poll, for the loop may not have run yet.
    timeout(DEADLINE, async {
        while TcpStream::connect(running.address).await.is_ok() {}
    })
    .await
    .unwrap();
    assert!(!running.server.is_finished());

    running.leave.notify_one();
    assert!(read_until(&mut slow, "").await.ends_with("slow"));
    assert_eq!(timeout(DEADLINE, running.server).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_cut() {
    let running = start(Limits {
        drain: Duration::from_millis(50),
        ..Limits::default()
    })
    .await;
    let mut slow = connect(running.address).await;
    ask(&mut slow, "/slow").await;
    timeout(DEADLINE, running.entered.notified()).await.unwrap();
    running.shutdown.cancel();
    assert_eq!(timeout(DEADLINE, running.server).await.unwrap().unwrap(), 1);
    assert_eq!(read_until(&mut slow, "").await, "");
}

#[tokio::test]
async fn more_connections_than_allowed_wait_for_a_place() {
    let running = start(Limits {
        connections: 1,
        ..Limits::default()
    })
    .await;
    let mut first = connect(running.address).await;
    ask(&mut first, "/slow").await;
    timeout(DEADLINE, running.entered.notified()).await.unwrap();
    let mut second = connect(running.address).await;
    ask(&mut second, "/").await;
    let mut byte = [0];
    assert!(
        timeout(Duration::from_millis(100), second.read(&mut byte))
            .await
            .is_err(),
        "it is not served yet"
    );
    running.leave.notify_one();
    read_until(&mut first, "slow").await;
    drop(first);
    assert!(
        read_until(&mut second, "hello")
            .await
            .starts_with("HTTP/1.1 200")
    );
    running.shutdown.cancel();
    assert_eq!(timeout(DEADLINE, running.server).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn who_says_nothing_or_half_a_head_loses_its_place() {
    let limits = Limits {
        head: Duration::from_millis(50),
        ..Limits::default()
    };
    let running = start(limits).await;
    // `PRI` could still become HTTP/2, so the protocol is not known yet.
    for opening in ["", "PRI", "GET / HTTP/1.1\r\nHost: lo"] {
        let mut stream = connect(running.address).await;
        stream.write_all(opening.as_bytes()).await.unwrap();
        let text = read_until(&mut stream, "").await;
        assert!(
            text.is_empty() || text.starts_with("HTTP/1.1 408"),
            "{opening:?}: {text}"
        );
    }
    running.shutdown.cancel();
    assert_eq!(timeout(DEADLINE, running.server).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn garbage_is_refused_and_the_server_goes_on() {
    let running = start(Limits::default()).await;
    for garbage in [
        "\0\0\0\0",
        "GET\r\n\r\n",
        "GET / HTTP/1.1\r\nbad header\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
    ] {
        let mut stream = connect(running.address).await;
        stream.write_all(garbage.as_bytes()).await.unwrap();
        let text = read_until(&mut stream, "").await;
        assert!(
            text.is_empty() || text.starts_with("HTTP/1.1 4"),
            "{garbage:?}: {text}"
        );
    }
    // What follows a complete request is the next request, and is refused without harm to the first.
    let mut stream = connect(running.address).await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\x01garbage\r\n\r\n")
        .await
        .unwrap();
    let text = read_until(&mut stream, "").await;
    assert!(
        text.starts_with("HTTP/1.1 200") && text.contains("hello"),
        "{text}"
    );
    running.shutdown.cancel();
    assert_eq!(timeout(DEADLINE, running.server).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn http_2_is_spoken_to_who_speaks_it() {
    use http_body_util::{BodyExt as _, Empty};
    use hyper_util::rt::{TokioExecutor, TokioIo};

    let running = start(Limits::default()).await;
    let stream = TokioIo::new(connect(running.address).await);
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let mut ask = |path: &str| {
        let request = http::Request::get(format!("http://localhost{path}"));
        client.send_request(request.body(Empty::<bytes::Bytes>::new()).unwrap())
    };
    let slow = ask("/slow");
    let quick = timeout(DEADLINE, ask("/")).await.unwrap().unwrap();
    assert_eq!(quick.version(), http::Version::HTTP_2);
    assert_eq!(
        quick.into_body().collect().await.unwrap().to_bytes(),
        "hello"
    );
    timeout(DEADLINE, running.entered.notified()).await.unwrap();
    running.shutdown.cancel();
    running.leave.notify_one();
    let slow = timeout(DEADLINE, slow).await.unwrap().unwrap();
    assert_eq!(slow.into_body().collect().await.unwrap().to_bytes(), "slow");
    assert_eq!(timeout(DEADLINE, running.server).await.unwrap().unwrap(), 0);
    timeout(DEADLINE, connection)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

/// Cut off in the middle of its body, a client would not see the answer that says why.
#[tokio::test]
async fn an_answer_that_comes_before_the_whole_body_arrives() {
    let running = start(Limits::default()).await;
    for _ in 0..20 {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let size = 4 << 20;
        let head =
            format!("POST /none HTTP/1.1\r\nhost: localhost\r\ncontent-length: {size}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![b'x'; size]).await.unwrap();
        let mut answer = String::new();
        let read = timeout(DEADLINE, stream.read_to_string(&mut answer)).await;
        read.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    }
}

/// Says when the stream that has it is gone.
struct Gone(Arc<Notify>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// A server of one stream: frames as they are handed in, until they end.
async fn streaming(limits: Limits) -> (Running, mpsc::UnboundedSender<Bytes>, Arc<Notify>) {
    let (hand_in, frames) = mpsc::unbounded_channel::<Bytes>();
    let frames = Arc::new(Mutex::new(Some(frames)));
    let (shutdown, gone) = (CancellationToken::new(), Arc::new(Notify::new()));
    let (ending, going) = (shutdown.clone(), Arc::clone(&gone));
    let app = Router::new()
        .route(
            "/stream",
            get(move || async move {
                let frames = frames.lock().unwrap().take().unwrap();
                let held = (frames, Gone(Arc::clone(&going)));
                let frames = stream::unfold(held, |mut held| async move {
                    Some((held.0.recv().await?, held))
                });
                sse::response(frames, &ending)
            }),
        )
        .with_state(());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let running = Running {
        address: listener.local_addr().unwrap(),
        server: tokio::spawn(serve(listener, app, shutdown.clone(), limits)),
        shutdown,
        entered: Arc::default(),
        leave: Arc::default(),
    };
    (running, hand_in, gone)
}

#[tokio::test]
async fn an_endless_answer_comes_in_chunks_to_its_end() {
    let (running, frames, _) = streaming(Limits::default()).await;
    let mut client = connect(running.address).await;
    // What is there before the head has gone out, …
    frames.send(Bytes::from_static(b"data: 1\n\n")).unwrap();
    ask(&mut client, "/stream").await;
    let head = read_until(&mut client, "9\r\ndata: 1\n\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(
        head.contains("\r\ntransfer-encoding: chunked\r\n"),
        "{head}"
    );
    // … what comes later, more than the kernel takes at once, and what is nothing: no chunk, which
    // would be the end.
    let large = vec![b'x'; 8 << 20];
    frames.send(Bytes::new()).unwrap();
    frames.send(Bytes::from(large.clone())).unwrap();
    drop(frames);
    let rest = read_until(&mut client, "").await;
    let expected = format!(
        "800000\r\n{}\r\n0\r\n\r\n",
        String::from_utf8(large).unwrap()
    );
    assert!(rest == expected, "{} bytes", rest.len());
}

#[tokio::test]
async fn a_stream_ends_when_its_client_leaves() {
    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    let (running, frames, gone) = streaming(limits).await;
    let mut client = connect(running.address).await;
    ask(&mut client, "/stream").await;
    frames.send(Bytes::from_static(b"data: 1\n\n")).unwrap();
    read_until(&mut client, "data: 1\n\n\r\n").await;
    // What it says meanwhile is of no interest, …
    ask(&mut client, "/stream").await;
    frames.send(Bytes::from_static(b"data: 2\n\n")).unwrap();
    read_until(&mut client, "data: 2\n\n\r\n").await;
    drop(client);
    // … that it goes is, and its place is somebody else's then.
    timeout(DEADLINE, gone.notified()).await.unwrap();
    let mut next = connect(running.address).await;
    ask(&mut next, "/nothing").await;
    let answer = read_until(&mut next, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}

#[tokio::test]
async fn a_stream_of_http_1_0_ends_with_its_connection() {
    let (running, frames, _) = streaming(Limits::default()).await;
    let mut client = connect(running.address).await;
    client
        .write_all(b"GET /stream HTTP/1.0\r\n\r\n")
        .await
        .unwrap();
    frames.send(Bytes::from_static(b"data: 1\n\n")).unwrap();
    drop(frames);
    let answer = read_until(&mut client, "").await;
    assert!(answer.ends_with("\r\n\r\ndata: 1\n\n"), "{answer}");
}
