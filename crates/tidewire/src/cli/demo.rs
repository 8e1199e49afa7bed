//! `tidewire demo`: all of Tidewire in one process, used as a person would use it, and every step of it verified.
//!
//! [`Stage`] starts and ends the parts, each step is a file and knows nothing of the others, [`Tally`] runs them and keeps
//! count. The steps speak to the server as everybody does, through the client.

mod agent;
mod archive;
mod clock;
mod fleet;
mod log;
mod receiver;
mod show;
mod site;
mod stage;
mod tally;
mod webhook;

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Fault, listening};
use crate::{
    config::{Config, Values, address},
    logging::Logging,
    server,
};
use show::Show;
use stage::Stage;
use tally::Tally;

/// Where people look for a server first.
const USUAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tidewire demo
  tidewire demo --once
  tidewire demo --data-dir ./demo --addr 127.0.0.1:9000

Everything listens on this machine alone, without keys. No setting of `serve` has an effect here: the store is a SQLite
file in the demo's folder.")]
pub(super) struct Args {
    /// End after the last step; exit status 0 only if every step was verified
    #[arg(long)]
    once: bool,
    /// Where the server listens; 127.0.0.1:8080 if it is missing and free, else a free port
    #[arg(long, value_name = "HOST:PORT", value_parser = loopback)]
    addr: Option<SocketAddr>,
    /// Keep the data in this folder; without it they are in a temporary one, which is removed at the end
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// What of the log is shown, such as info
    #[arg(long, value_name = "FILTER", default_value = "warn")]
    log_level: String,
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let found = address(text, false).map_err(|why| format!("`{text}` {why}"))?;
    if found.ip().is_loopback() {
        return Ok(found);
    }
    Err(format!(
        "`{text}` is for others to reach, and nothing here asks for a key: choose an address such as 127.0.0.1:9000"
    ))
}

pub(super) fn run(args: Args) -> Result<(), Fault> {
    let folder = Folder::make(args.data_dir.as_deref())?;
    let config = config(USUAL, folder.path(), &args.log_level)?;
    let _logging = Logging::start(&config.log).map_err(Fault::Config)?;
    let result = super::block_on(play(&args, config, &folder));
    folder.leave();
    result?
}

/// A server's configuration, made of what stands here alone: a `DATABASE_URL` in the environment would turn the demo loose on
/// a real store.
fn config(addr: SocketAddr, folder: &Path, log_level: &str) -> Result<Config, Fault> {
    let settings = BTreeMap::from([
        ("addr", addr.to_string()),
        ("data-dir", folder.display().to_string()),
        // The receiver, the builder and what the fleet's worker calls.
        ("allow-subnet", "127.0.0.1/32".to_owned()),
        ("drain", "5s".to_owned()),
        ("log-level", log_level.to_owned()),
    ]);
    let values = Values::gather(&settings, |_| None, Some(Path::new("/dev/null")))?;
    Ok(Config::new(&values)?)
}

async fn play(args: &Args, mut config: Config, folder: &Folder) -> Result<(), Fault> {
    let stop = CancellationToken::new();
    let (signalled, token) = (server::signalled(), stop.clone());
    tokio::spawn(async move {
        signalled.await;
        token.cancel();
    });
    let show = Show::new();
    let listener = front_door(args.addr).await?;
    config.addr = listener.local_addr().map_err(Fault::failed)?;
    let moved = args.addr.is_none() && config.addr != USUAL;
    let mut stage = Stage::start(config, listener, folder.path()).await?;
    show.stage(&stage, folder, moved);

    let mut tally = Tally::new(show, stop.clone());
    perform(&mut tally, &stage).await;
    let went = tally.end();
    if !stop.is_cancelled() && !args.once {
        show.look(&stage, folder);
        tokio::select! {
            () = stop.cancelled() => {}
            why = stage.failed() => {
                stage.stop().await;
                return Err(why);
            }
        }
    }
    if stop.is_cancelled() {
        show.line("stopping");
    }
    clock::rest(&stage).await;
    stage.stop().await;
    match went {
        // Who ends it by hand has seen enough, but a check that was cut short has checked nothing.
        Err(_) if stop.is_cancelled() && !args.once && tally.failed.is_empty() => Ok(()),
        went => went,
    }
}

async fn perform(tally: &mut Tally, stage: &Stage) {
    tally
        .step(
            "log",
            "an event that comes twice is stored once, and a follower hears it",
            log::run(stage),
        )
        .await;
    tally
        .step(
            "site",
            "somebody else's shop is synced into the log",
            site::run(stage),
        )
        .await;
    tally
        .step(
            "webhook",
            "a trigger hands a call on, signed",
            webhook::run(stage),
        )
        .await;
    tally
        .step(
            "clock",
            "a trigger fires by the clock, every 10 s from now on",
            clock::run(stage),
        )
        .await;
    tally
        .step(
            "agent",
            "an agent takes a turn, and its answer is followed as it is said",
            agent::run(stage, tally.show),
        )
        .await;
    tally
        .step(
            "fleet",
            "a config is pushed, and reaches a worker by its agent",
            fleet::run(stage),
        )
        .await;
    tally
        .step(
            "archive",
            "what is old leaves the database for a file, and is read as before",
            archive::run(stage),
        )
        .await;
}

/// The socket that people will call.
async fn front_door(wanted: Option<SocketAddr>) -> Result<TcpListener, Fault> {
    if let Some(address) = wanted {
        return listening::bind(address).await;
    }
    match TcpListener::bind(USUAL).await {
        Ok(listener) => Ok(listener),
        Err(_) => listening::bind(stage::ANY_PORT).await,
    }
}

/// Where the data are.
enum Folder {
    Kept(PathBuf),
    Temporary(TempDir),
}

impl Folder {
    fn make(named: Option<&Path>) -> Result<Self, Fault> {
        let Some(named) = named else {
            let made = tempfile::Builder::new().prefix("tidewire-demo-").tempdir();
            return made.map(Folder::Temporary).map_err(|error| {
                Fault::Failed(format!("cannot make a temporary folder: {error}"))
            });
        };
        fs::create_dir_all(named)
            .map_err(|error| Fault::Failed(format!("--data-dir `{}`: {error}", named.display())))?;
        Ok(Folder::Kept(named.to_owned()))
    }

    fn path(&self) -> &Path {
        match self {
            Folder::Kept(path) => path,
            Folder::Temporary(folder) => folder.path(),
        }
    }

    fn is_kept(&self) -> bool {
        matches!(self, Folder::Kept(_))
    }

    fn leave(self) {
        if let Folder::Temporary(folder) = self
            && let Err(error) = folder.close()
        {
            super::output::tell(&format!("the demo's folder stays: {error}"));
        }
    }
}
