//! Stripe's definition against `localstripe`, a server of Stripe's API that others have written.

use std::{
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::json;
use tidewire_testkit::TestApp;

use super::sync;
use crate::support::{House, PATIENCE, client, lasting_address};

struct Stripe {
    child: Child,
    port: u16,
}

impl Stripe {
    /// Nothing, where the Python is not named that has it.
    fn start() -> Option<Self> {
        let Some(python) = std::env::var_os("TIDEWIRE_TEST_LOCALSTRIPE") else {
            eprintln!("left out: TIDEWIRE_TEST_LOCALSTRIPE names no Python with localstripe");
            return None;
        };
        // Not one of the kernel's own: who connects to such a one may meet nobody but itself.
        let address = lasting_address();
        let (_, port) = address.rsplit_once(':').expect("a port");
        let port: u16 = port.parse().expect("a number");
        let child = Command::new(PathBuf::from(python))
            .args(["-m", "localstripe", "--from-scratch", "--port"])
            .arg(port.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("localstripe starts");
        let stripe = Stripe { child, port };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "localstripe does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(stripe)
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Stripe {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stripes_customers_are_synced_by_its_definition() {
    const CUSTOMERS: usize = 1_000;
    const KEY: &str = "sk_test_12345";
    let Some(stripe) = Stripe::start() else {
        return;
    };
    let http = client();
    let make = async |n: usize| {
        let request = http.request(Method::POST, format!("{}/v1/customers", stripe.url()));
        let body = format!("email=customer-{n}%40example.com");
        let request = request
            .bearer_auth(KEY)
            .header("content-type", "application/x-www-form-urlencoded");
        let made = TestApp::send(request.body(body)).await.expect(200).json();
        made["id"].as_str().expect("an id").to_owned()
    };
    let mut ids = Vec::new();
    for n in 0..CUSTOMERS {
        ids.push(make(n).await);
    }
    let server = House::new().start();
    let site = json!({
        "site_id": "acme", "kind": "stripe", "access_key": KEY, "base_url": stripe.url(),
    });
    let mut wrong = site.clone();
    wrong["access_key"] = json!("nonsense");
    server.post("/v1/sites", &wrong).await.expect(400);
    server.post("/v1/sites", &site).await.expect(201);
    let first = sync(&server, "acme", "customers").await;
    assert_eq!(
        (&first["fetched"], &first["inserted"]),
        (&json!(CUSTOMERS), &json!(CUSTOMERS))
    );
    let again = sync(&server, "acme", "customers").await;
    assert_eq!(again["inserted"], 0, "{again}");
    ids.push(make(CUSTOMERS).await);
    let more = sync(&server, "acme", "customers").await;
    assert_eq!(more["inserted"], 1, "{more}");
    let mut stored: Vec<_> = server
        .list("/v1/events?stream=site:acme", "events")
        .await
        .iter()
        .map(|event| {
            assert_eq!(event["type"], "customer_created");
            event["subject"].as_str().expect("a subject").to_owned()
        })
        .collect();
    stored.sort_unstable();
    ids.sort_unstable();
    assert_eq!(stored, ids);
    assert_eq!(sync(&server, "acme", "charges").await["inserted"], 0);
    sync(&server, "acme", "events").await;
    server.stop().await;
}
