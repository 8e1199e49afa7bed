//! The proxy's faults, as both of its sides see them.

use std::{io::ErrorKind, time::Duration};

use tidewire_testkit::{Engine, Proxy, TestStore, eventually, every_engine};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::{MIGRATIONS, notes, write};

/// A proxy, and the two ends of a connection through it.
struct Line {
    proxy: Proxy,
    listener: TcpListener,
    client: TcpStream,
    server: TcpStream,
}

async fn line() -> Line {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap()).await;
    let client = TcpStream::connect(proxy.address()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    Line {
        proxy,
        listener,
        client,
        server,
    }
}

async fn carries(from: &mut TcpStream, to: &mut TcpStream) {
    from.write_all(b"hello").await.unwrap();
    let mut read = [0; 5];
    to.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"hello");
}

#[tokio::test]
async fn bytes_go_both_ways_and_an_end_is_passed_on() {
    let mut line = line().await;
    carries(&mut line.client, &mut line.server).await;
    carries(&mut line.server, &mut line.client).await;
    line.client.shutdown().await.unwrap();
    assert_eq!(line.server.read(&mut [0]).await.unwrap(), 0);
    // Half of it is closed; the other half still carries.
    carries(&mut line.server, &mut line.client).await;
}

#[tokio::test]
async fn a_cut_resets_both_sides_and_new_connections_are_taken() {
    let mut line = line().await;
    carries(&mut line.client, &mut line.server).await;
    line.proxy.cut();
    for end in [&mut line.client, &mut line.server] {
        let error = end.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    let mut client = TcpStream::connect(line.proxy.address()).await.unwrap();
    let (mut server, _) = line.listener.accept().await.unwrap();
    carries(&mut client, &mut server).await;
}

#[tokio::test]
async fn a_paused_line_holds_bytes_until_it_goes_on() {
    let mut line = line().await;
    line.proxy.pause();
    line.client.write_all(b"held").await.unwrap();
    // Long for a loopback; that nothing comes has no signal to wait for.
    let a_while = Duration::from_millis(200);
    let mut read = [0; 4];
    let held = timeout(a_while, line.server.read(&mut read)).await;
    assert!(held.is_err(), "{held:?}");
    // A new connection is taken, and leads nowhere yet.
    let _late = TcpStream::connect(line.proxy.address()).await.unwrap();
    let reached = timeout(a_while, line.listener.accept()).await;
    assert!(reached.is_err(), "{reached:?}");
    line.proxy.resume();
    line.server.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"held");
    line.listener.accept().await.unwrap();
}

#[tokio::test]
async fn a_line_that_refuses_leaves_standing_connections_alone() {
    let mut line = line().await;
    line.proxy.refuse().await;
    let refused = TcpStream::connect(line.proxy.address()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    carries(&mut line.client, &mut line.server).await;
    line.proxy.accept().await;
    let mut client = TcpStream::connect(line.proxy.address()).await.unwrap();
    let (mut server, _) = line.listener.accept().await.unwrap();
    carries(&mut client, &mut server).await;
}

#[every_engine(servers, multi_thread)]
async fn a_store_that_was_cut_off_comes_back(engine: Engine) {
    let store = TestStore::on(engine, MIGRATIONS).await;
    let proxy = Proxy::start(store.address()).await;
    let db = store.through(proxy.address()).await;
    write(&db, 1, "before").await.unwrap();
    proxy.cut();
    let seen = eventually("reads succeed again", async || notes(&db).await.ok()).await;
    assert_eq!(seen.len(), 1);
    eventually("writes succeed again", async || {
        write(&db, 2, "after").await.ok()
    })
    .await;
    db.close().await;
}
