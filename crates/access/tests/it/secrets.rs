//! Keys stay with those who hold them.

use std::{
    io,
    sync::{Arc, Mutex},
};

use serde_json::json;
use tidewire_access::worker;
use tidewire_testkit::{Engine, every_engine};

use crate::server::{ADMIN, AGENT, Server, locked, text};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[every_engine]
async fn no_key_reaches_the_log_an_error_or_the_store(engine: Engine) {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let server = Server::start(engine, locked()).await;
    let (tenant, first) = server.tenant("acme").await;
    let (id, second) = server.key(&tenant, &["read"]).await;
    let wrong = format!("tw_{}", "W".repeat(43));
    let mut seen = String::new();
    for key in [&first, &second, &wrong, AGENT, "a-misspelt-key"] {
        seen += &server.get(key, "/v1/whoami").await.body.to_string();
        seen += &server
            .post(key, "/v1/tenants", json!({}))
            .await
            .body
            .to_string();
    }
    let path = format!("/v1/tenants/{tenant}/keys");
    seen += &server.get(ADMIN, &path).await.body.to_string();
    seen += &server.get(ADMIN, "/v1/tenants").await.body.to_string();
    let revoked = server.delete(ADMIN, &format!("{path}/{id}")).await;
    seen += &revoked.is(204).body.to_string();
    seen += &text(&server.get(&second, "/v1/whoami").await.body, "detail");
    worker::keep_last_used(server.access.clone(), std::future::ready(())).await;
    drop(guard);
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("minted a key"), "{logged}");
    let disk = server.stored().await;
    for key in [&first, &second, &wrong, ADMIN, AGENT, "a-misspelt-key"] {
        assert!(!logged.contains(key), "{key} is in the log");
        assert!(!seen.contains(key), "{key} is in an answer");
        let stored = disk.windows(key.len()).any(|bytes| bytes == key.as_bytes());
        assert!(!stored, "{key} is stored");
    }
}
