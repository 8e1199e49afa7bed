//! An API for one test.

use std::net::SocketAddr;

use reqwest::{Method, RequestBuilder, header};
use tidewire_core::{Principal, Scopes};
use tidewire_http::{App, Health, Limits, serve};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// Routes on a free loopback port. Stops when it is dropped.
pub struct TestApp {
    pub address: SocketAddr,
    pub client: reqwest::Client,
    shutdown: CancellationToken,
    server: JoinHandle<usize>,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: header::HeaderMap,
    pub text: String,
}

impl Answer {
    /// The body as JSON; panics with the body if it is none.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Checks the status, showing the body if it is another.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }
}

impl TestApp {
    /// Serves what `build` adds to an empty API. `shutdown` is the token that ends its streams.
    pub async fn start(shutdown: CancellationToken, build: impl FnOnce(App) -> App) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let app = build(App::new(tidewire_http::Config::default(), Health::new()));
        let service = app.build().expect("the API's description can be written");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let limits = Limits {
            drain: std::time::Duration::from_secs(5),
            ..Limits::default()
        };
        let server = tokio::spawn(serve(listener, service, shutdown.clone(), limits));
        TestApp {
            address,
            client: reqwest::Client::builder().build().expect("a client"),
            shutdown,
            server,
        }
    }

    /// A layer that takes every caller for `tenant` with every scope.
    pub fn as_tenant(tenant: &'static str) -> impl FnOnce(axum::Router) -> axum::Router {
        let principal = Principal {
            tenant: tenant.into(),
            scopes: Scopes::all(),
            key_id: None,
            bound: None,
        };
        move |router| router.layer(axum::Extension(principal))
    }

    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    pub async fn get(&self, path: &str) -> Answer {
        Self::send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &serde_json::Value) -> Answer {
        self.post_raw(path, "application/json", body.to_string())
            .await
    }

    pub async fn post_raw(
        &self,
        path: &str,
        media_type: &str,
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let request = self
            .request(Method::POST, path)
            .header(header::CONTENT_TYPE, media_type)
            .body(body);
        Self::send(request).await
    }

    pub async fn send(request: RequestBuilder) -> Answer {
        let response = request.send().await.expect("the API answers");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer {
            status,
            headers,
            text: response.text().await.expect("a body"),
        }
    }

    /// Stops as a signal would, and waits until everything is answered.
    pub async fn stop(mut self) -> usize {
        self.shutdown.cancel();
        (&mut self.server).await.expect("the server ends")
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}
