//! Servers of a test's own.

use tidewire_testkit::{
    Engine, TestStore, eventually, every_engine,
    servers::{Server, ServerOptions},
};

use crate::{MIGRATIONS, clock, notes, write};

#[every_engine(servers, multi_thread)]
async fn what_was_acknowledged_survives_a_kill(engine: Engine) {
    let server = Server::start(engine, ServerOptions { durable: true }).await;
    let store = TestStore::on_server(&server, MIGRATIONS, clock()).await;
    write(&store.db, 1, "acknowledged").await.unwrap();
    server.kill().await;
    assert!(notes(&store.db).await.is_err(), "nobody is there to answer");
    server.start_again().await;
    let back = store.second().await;
    assert_eq!(notes(&back).await.unwrap().len(), 1);
}

#[every_engine(servers, multi_thread)]
async fn a_stopped_server_comes_back_at_its_old_place(engine: Engine) {
    let server = Server::start(engine, ServerOptions::default()).await;
    let store = TestStore::on_server(&server, MIGRATIONS, clock()).await;
    let address = server.address();
    server.stop().await;
    let refused = tokio::net::TcpStream::connect(address).await;
    assert!(refused.is_err());
    server.start_again().await;
    assert_eq!(server.address(), address);
    eventually("the store is there again", async || {
        notes(&store.db).await.ok()
    })
    .await;
}
