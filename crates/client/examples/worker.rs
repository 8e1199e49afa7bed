//! A worker in a process of its own.
//!
//! ```console
//! $ cargo run -p tidewire-client --example worker -- http://127.0.0.1:8080
//! $ tidewire jobs enqueue word-count --payload '{"text": "the quick brown fox"}' --wait
//! ```
//!
//! The server's URL is the first argument or `TIDEWIRE_SERVER`; a key is read from
//! `TIDEWIRE_API_KEY`.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tidewire_client::{Client, Failure, JobContext, Output, Processor, Worker};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Deserialize)]
struct Text<'a> {
    #[serde(borrow)]
    text: std::borrow::Cow<'a, str>,
}

/// A processor with state of its own.
struct Greeter {
    greeting: String,
}

impl Processor for Greeter {
    async fn process(&self, job: JobContext) -> Result<Output, Failure> {
        let name: String = job.payload()?;
        if name.is_empty() {
            return Err(Failure::permanent(
                "there is nobody to greet: the payload is empty",
            ));
        }
        Output::json(&format!("{}, {name}", self.greeting))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let server = std::env::args()
        .nth(1)
        .or_else(|| std::env::var("TIDEWIRE_SERVER").ok())
        .unwrap_or_else(|| "http://127.0.0.1:8080".to_owned());
    let key = std::env::var("TIDEWIRE_API_KEY").ok();
    let client = Client::new(&server, key.as_deref())?;

    let worker = Worker::builder(client)
        .concurrency(8)
        .register("word-count", |job| async move {
            let Text { text } = job.payload()?;
            Ok(json!({ "words": text.split_whitespace().count() }))
        })
        .register("countdown", |job| async move {
            let seconds: u64 = job.payload()?;
            for left in (0..seconds).rev() {
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_secs(1)) => {
                        tracing::info!(job = job.id(), left, "counting");
                    }
                    () = job.cancelled() => return Err(Failure::retry("stopped while counting")),
                }
            }
            Ok(())
        })
        .processor(
            "greet",
            Greeter {
                greeting: "good morning".to_owned(),
            },
        )
        .build();

    let mut terminated = signal(SignalKind::terminate())?;
    let stop = async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated.recv() => {}
        }
    };
    tracing::info!(server, "working; Ctrl-C stops");
    let report = worker.run(stop).await?;
    tracing::info!(?report, "stopped");
    Ok(())
}
