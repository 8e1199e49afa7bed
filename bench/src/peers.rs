//! Getting the peers: installed from their registries into the build folder on first use, each a process of its own. A
//! peer that cannot be had leaves its rows out with the reason; it never stops the bench.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::args::{Store, manifest_folder};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// Electric's own server: a write-ahead log with group commit.
    DurableStreams,
    /// Another server of the same protocol, by another author.
    DurableStreamsServer,
    /// Streams in files, over NATS.
    Nats,
    /// The system's own; nothing is installed.
    Redis,
    /// The system's own; nothing is installed.
    Etcd,
    /// River's Rust client.
    River,
    /// River's own client, in Go.
    RiverGo,
    GraphileWorker,
    PgBoss,
    /// Pipelines in Python.
    Dlt,
}

const REDIS: &str = "redis-server";
const ETCD: &str = "etcd";

/// A program, and what comes before its arguments.
pub type Program = Vec<OsString>;

/// The folder of a peer's driver.
fn driver(name: &str) -> PathBuf {
    manifest_folder().join("peers").join(name)
}

fn target() -> PathBuf {
    manifest_folder().join("target")
}

impl Peer {
    /// In the order of their colours.
    pub const ALL: [Self; 10] = [
        Self::DurableStreams,
        Self::DurableStreamsServer,
        Self::River,
        Self::RiverGo,
        Self::GraphileWorker,
        Self::PgBoss,
        Self::Nats,
        Self::Redis,
        Self::Dlt,
        Self::Etcd,
    ];

    pub fn of(store: Store) -> &'static [Self] {
        match store {
            Store::Sqlite => &[
                Self::DurableStreams,
                Self::DurableStreamsServer,
                Self::River,
                Self::Nats,
                Self::Redis,
                Self::Etcd,
            ],
            Store::Postgres => &[
                Self::River,
                Self::RiverGo,
                Self::GraphileWorker,
                Self::PgBoss,
                Self::Dlt,
            ],
        }
    }

    /// Those that have jobs.
    pub fn queues(store: Store) -> &'static [Self] {
        match store {
            Store::Sqlite => &[Self::River],
            Store::Postgres => &[
                Self::River,
                Self::RiverGo,
                Self::GraphileWorker,
                Self::PgBoss,
            ],
        }
    }

    fn package(self) -> &'static str {
        match self {
            Self::DurableStreams => "durable-streams",
            Self::DurableStreamsServer => "durable-streams-server",
            Self::River => "riverqueue",
            Self::RiverGo => "River (Go)",
            Self::GraphileWorker => "graphile-worker",
            Self::PgBoss => "pg-boss",
            Self::Nats => "NATS JetStream",
            Self::Redis => "Redis Streams",
            Self::Dlt => "dlt",
            Self::Etcd => "etcd",
        }
    }

    /// As in the driver's manifest, where it has one.
    fn version(self) -> &'static str {
        match self {
            Self::DurableStreams => "0.1.5",
            Self::DurableStreamsServer => "0.3.0",
            Self::River => "0.5.0",
            Self::RiverGo => "0.51.0",
            Self::GraphileWorker => "0.18.0",
            Self::PgBoss => "12.35.0",
            Self::Nats => "2.15.2",
            Self::Redis => redis_version(),
            Self::Dlt => "1.31.0",
            Self::Etcd => etcd_version(),
        }
    }

    pub fn name(self) -> String {
        format!("{} {}", self.package(), self.version())
    }

    /// Where the Go tool puts it; by its version, as it is not built again when it is there.
    fn nats_folder() -> PathBuf {
        let name = format!("peers/nats-server-{}", Self::Nats.version());
        target().join(name)
    }

    /// A Python of its own; by its version, as it is not made again when it is there.
    fn dlt_folder() -> PathBuf {
        target().join(format!("peers/dlt-{}", Self::Dlt.version()))
    }

    fn program(self) -> Program {
        match self {
            // Both crates name their binary alike, so each has a root of its own.
            Self::DurableStreams | Self::DurableStreamsServer => vec![
                target()
                    .join("peers")
                    .join(self.package())
                    .join("bin/durable-streams-server")
                    .into(),
            ],
            Self::Nats => vec![Self::nats_folder().join("nats-server").into()],
            Self::Redis => vec![REDIS.into()],
            Self::Dlt => vec![
                Self::dlt_folder().join("bin/python").into(),
                driver("dlt").join("main.py").into(),
            ],
            Self::Etcd => vec![ETCD.into()],
            Self::River => vec![target().join("release/river-peer").into()],
            Self::RiverGo => vec![target().join("peers/river-go").into()],
            Self::GraphileWorker | Self::PgBoss => {
                let folder = driver(self.package());
                vec![
                    folder.join("node_modules/.bin/node").into(),
                    folder.join("main.mjs").into(),
                ]
            }
        }
    }

    /// What is there already and cannot have changed.
    fn is_there(self) -> bool {
        match self {
            Self::DurableStreams | Self::DurableStreamsServer | Self::Nats => {
                Path::new(&self.program()[0]).exists()
            }
            // Written at the end of an installation.
            Self::Dlt => Self::dlt_folder().join("installed").exists(),
            // It is not ours to get.
            Self::Redis | Self::Etcd => false,
            // The driver is ours and may have changed: its build tool knows whether it has.
            Self::River | Self::RiverGo => false,
            Self::GraphileWorker | Self::PgBoss => {
                let folder = driver(self.package());
                let written = |name: &str| folder.join(name).metadata()?.modified();
                // Written at the end of an installation.
                let done = written("node_modules/.package-lock.json");
                let wanted = written("package-lock.json");
                matches!((done, wanted), (Ok(done), Ok(wanted)) if done >= wanted)
            }
        }
    }

    /// `None` for what the system has or has not.
    fn build(self) -> Option<Command> {
        let cargo = || Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        Some(match self {
            Self::Redis | Self::Etcd => return None,
            Self::Dlt => {
                let mut shell = Command::new("sh");
                let script = "python3 -m venv \"$0\" && \"$0/bin/python\" -m pip install --quiet --disable-pip-version-check --requirement \"$1\" && touch \"$0/installed\"";
                shell.args(["-c", script]).arg(Self::dlt_folder());
                shell.arg(driver("dlt").join("requirements.txt"));
                shell
            }
            Self::Nats => {
                let mut go = Command::new("go");
                go.env("GOBIN", Self::nats_folder());
                let package = "github.com/nats-io/nats-server/v2";
                go.args(["install", &format!("{package}@v{}", self.version())]);
                go
            }
            Self::DurableStreams | Self::DurableStreamsServer => {
                let mut cargo = cargo();
                let wanted = format!("{}@{}", self.package(), self.version());
                cargo.args(["install", "--quiet", "--locked", &wanted, "--root"]);
                cargo.arg(target().join("peers").join(self.package()));
                cargo.arg("--target-dir").arg(target().join("peers/build"));
                cargo
            }
            Self::River => {
                let mut cargo = cargo();
                cargo.args([
                    "build",
                    "--quiet",
                    "--release",
                    "--locked",
                    "--manifest-path",
                ]);
                cargo.arg(driver("river").join("Cargo.toml"));
                cargo.arg("--target-dir").arg(target());
                cargo
            }
            Self::RiverGo => {
                let mut go = Command::new("go");
                go.current_dir(driver("river-go"));
                go.args(["build", "-mod=readonly", "-o"])
                    .arg(target().join("peers/river-go"))
                    .arg(".");
                go
            }
            Self::GraphileWorker | Self::PgBoss => {
                let mut npm = Command::new("npm");
                npm.current_dir(driver(self.package()));
                npm.args(["ci", "--no-audit", "--no-fund"]);
                npm
            }
        })
    }
}

/// What its program says of itself, such as `Redis server v=7.0.15 sha=…`.
fn redis_version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let said = std::process::Command::new(REDIS).arg("--version").output();
        let said = said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let said = said.unwrap_or_default();
        let version = said.split_once(" v=").map(|(_, rest)| rest);
        let version = version.and_then(|rest| rest.split_ascii_whitespace().next());
        version.unwrap_or("of no version").to_owned()
    })
}

/// What its program says of itself: `etcd Version: 3.4.23` and more lines.
fn etcd_version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let said = std::process::Command::new(ETCD).arg("--version").output();
        let said = said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let said = said.unwrap_or_default();
        let version = said.split_once("Version: ").map(|(_, rest)| rest);
        let version = version.and_then(|rest| rest.split_ascii_whitespace().next());
        version.unwrap_or("of no version").to_owned()
    })
}

/// What was found or built so far; a failure is not tried twice.
#[derive(Default)]
pub struct Peers {
    known: RefCell<BTreeMap<Peer, Result<Program, String>>>,
}

impl Peers {
    pub async fn program(&self, peer: Peer) -> Result<Program> {
        let known = self.known.borrow().get(&peer).cloned();
        if let Some(known) = known {
            return known.map_err(anyhow::Error::msg);
        }
        let found = match obtain(peer).await {
            Ok(()) => Ok(peer.program()),
            Err(error) => Err(format!("{} could not be built: {error:#}", peer.name())),
        };
        self.known.borrow_mut().insert(peer, found.clone());
        found.map_err(anyhow::Error::msg)
    }
}

async fn obtain(peer: Peer) -> Result<()> {
    if peer.is_there() {
        return Ok(());
    }
    let Some(mut command) = peer.build() else {
        return Ok(());
    };
    eprintln!("getting peer {}", peer.name());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    let tool = PathBuf::from(command.as_std().get_program());
    let output = command
        .output()
        .await
        .with_context(|| format!("start {}", tool.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty());
    bail!(
        "{} ended with {}: {}",
        tool.display(),
        output.status,
        last.unwrap_or_default()
    );
}
