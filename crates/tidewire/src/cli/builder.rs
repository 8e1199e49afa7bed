//! `tidewire builder`: the builder simulator, a process of its own.

use std::{net::SocketAddr, path::PathBuf};

use tidewire_core::Clock;
use tidewire_http::Health;
use tidewire_sites::builder::{self, Builder, BuilderOptions, Faults};
use tokio_util::sync::CancellationToken;

use super::{
    Fault,
    listening::{Listening, say},
    settings::Flags,
};
use crate::{
    config::{Log, address},
    logging::Logging,
    server,
};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tidewire builder --db builder.db --addr 127.0.0.1:8081
  tidewire builder --db builder.db --seed 7 --fault error-rate=0.1,rate-limit=200,shift

Faults, of a site's API alone: latency=DURATION (before each answer), error-rate=0.1 (of the requests fail),
rate-limit=N (more requests a second are answered 429), shift (records come and go in front of the pages), revoked
(no key is good any more).")]
pub(super) struct Args {
    /// Its SQLite file; made if it is not there
    #[arg(long, value_name = "FILE", default_value = "builder.db")]
    db: PathBuf,
    /// Where to listen; port 0 takes a free one, `:PORT` alone means loopback
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8081", value_parser = listen)]
    addr: SocketAddr,
    /// What its data are made of: the same seed makes the same data
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
    /// What goes wrong on purpose
    #[arg(long, value_name = "FAULT,…", default_value = "")]
    fault: Faults,
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    address(text, false).map_err(|why| format!("`{text}` {why}"))
}

pub(super) fn run(args: Args) -> Result<(), Fault> {
    let log = Log::new(&Flags::default().values()?)?;
    let _logging = Logging::start(&log).map_err(Fault::Config)?;
    super::block_on(serve(args))?
}

async fn serve(args: Args) -> Result<(), Fault> {
    let stop = CancellationToken::new();
    let signalled = server::signalled();
    let (listening, ended) = (stop.clone(), stop.clone());
    tokio::spawn(async move {
        signalled.await;
        ended.cancel();
    });
    let data = args.db.display().to_string();
    let options = BuilderOptions {
        db: args.db,
        seed: args.seed.map(u64::from),
        faults: args.fault,
    };
    let builder = Builder::open(options, Clock::system()).await;
    let builder = builder.map_err(Fault::failed)?;
    let health = Health::new();
    let routes = builder::routes(builder.clone());
    let service = Listening::on(args.addr, (routes, health.clone()), false).await?;
    let address = service.address;
    health.set_ready(true);
    tracing::info!(%address, db = data, "listening");
    say(&format!(
        "listening on http://{address}\n  data    {data}\n\ntry\n  curl http://{address}/builder/sites --json '{{\"name\": \"shop\"}}'\n"
    ));
    service.serve(listening).await;
    builder.close().await;
    Ok(())
}
