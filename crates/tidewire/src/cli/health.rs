//! `tidewire health`: how a server is, for people, and for what watches over containers.

use tidewire_client::Client;

use super::{
    Fault,
    output::{Printer, Rows},
};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tidewire health
  tidewire health --ready --server http://127.0.0.1:8082

Fleet agents, fleet workers and the builder simulator are asked in the same way. Exit status 1 if something is wrong, or
nobody answers.")]
pub(super) struct Args {
    /// Ask whether it takes new work, too: not while it starts, and not while it stops
    #[arg(long)]
    ready: bool,
}

pub(super) async fn run(args: Args, client: Client, printer: Printer) -> Result<(), Fault> {
    let health = if args.ready {
        client.ready().await?
    } else {
        client.health().await?
    };
    if printer.is_json() {
        printer.json(&health)?;
    } else {
        let mut rows = Rows::new(["CHECK", "STATE"]);
        for (check, state) in &health.checks {
            rows.add([check.clone(), state.clone()]);
        }
        rows.add(["(all)".to_owned(), health.status.clone()]);
        rows.print(printer)?;
    }
    if health.is_ok() {
        Ok(())
    } else {
        Err(Fault::Told)
    }
}
