//! An agent in a process of its own: it counts down, a word at a time.
//!
//! ```console
//! $ cargo run -p tidewire-client --example agent -- http://127.0.0.1:8080
//! $ tidewire turns start --agent countdown '{"from": 5}' --follow
//! ```
//!
//! The server's URL is the first argument or `TIDEWIRE_SERVER`; a key is read from
//! `TIDEWIRE_API_KEY`.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tidewire_client::{Agent, Client, Failure, Output, Sink, Turn};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Deserialize)]
struct Countdown {
    from: u32,
}

async fn count_down(turn: Turn, sink: Sink) -> Result<Output, Failure> {
    let Countdown { from } = turn.input()?;
    let call = sink.tool_call("clock").await?;
    call.args(&json!({ "seconds": from }).to_string()).await?;
    let mut message = sink.message();
    for left in (1..=from).rev() {
        message.delta(&format!("{left} ")).await?;
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            // Whatever is returned now does not count.
            () = turn.cancelled() => return Ok(Output::none()),
        }
    }
    call.complete(&json!({ "rang": true })).await?;
    message.delta("go").await?;
    let text = message.complete().await?;
    Output::json(&text)
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
    let agent = Agent::builder(client)
        .agent("countdown")
        .concurrency(8)
        .build(count_down);

    let mut terminated = signal(SignalKind::terminate())?;
    let stop = async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated.recv() => {}
        }
    };
    tracing::info!(server, "taking turns; Ctrl-C stops");
    let report = agent.run(stop).await?;
    tracing::info!(?report, "stopped");
    Ok(())
}
