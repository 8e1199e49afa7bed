//! `tidewire webhooks`: call them.

use clap::Subcommand;
use tidewire_client::Client;

use super::{Fault, executions, output::Printer, payload};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Call a webhook
    #[command(after_help = "\
Examples:
  tidewire webhooks send 01J9ZQ3D6T0000000000000000 '{\"ref\": \"main\"}' --wait
  tidewire webhooks send 01J9ZQ3D6T0000000000000000 @push.json
  jq -n '{n: 1}' | tidewire webhooks send 01J9ZQ3D6T0000000000000000 -")]
    Send(Send),
}

#[derive(clap::Args)]
struct Send {
    /// The trigger's id, the last part of its URL
    #[arg(value_name = "TRIGGER")]
    id: String,
    /// JSON, @FILE, or - for standard input; {} if it is missing
    #[arg(value_name = "JSON|@FILE|-", allow_hyphen_values = true)]
    payload: Option<String>,
    /// Within 24 hours the same key and payload fire once
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Wait until it has ended, and show its attempts; exit status 1 if it failed
    #[arg(long)]
    wait: bool,
}

pub(super) async fn run(args: Args, client: Client, printer: Printer) -> Result<(), Fault> {
    let Action::Send(args) = args.action;
    let payload = payload::read(args.payload.as_deref().unwrap_or("{}"))?;
    let key = args.idempotency_key.as_deref();
    let triggers = client.triggers();
    let run = triggers.call_webhook(&args.id, &payload, key).await?;
    executions::set_off(run, args.wait, &client, printer).await
}
