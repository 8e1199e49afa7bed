//! Getting the peers: installed from the registry into the build folder on first use, each a process of its own. A
//! peer that cannot be had leaves its rows out with the reason; it never stops the bench.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::Command;

use crate::args::manifest_folder;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// Electric's own server: a write-ahead log with group commit.
    DurableStreams,
    /// Another server of the same protocol, by another author.
    DurableStreamsServer,
    River,
}

impl Peer {
    pub const ALL: [Self; 3] = [
        Self::DurableStreams,
        Self::DurableStreamsServer,
        Self::River,
    ];

    fn krate(self) -> &'static str {
        match self {
            Self::DurableStreams => "durable-streams",
            Self::DurableStreamsServer => "durable-streams-server",
            Self::River => "riverqueue",
        }
    }

    fn version(self) -> &'static str {
        match self {
            Self::DurableStreams => "0.1.5",
            Self::DurableStreamsServer => "0.3.0",
            Self::River => "0.5.0",
        }
    }

    pub fn name(self) -> String {
        format!("{} {}", self.krate(), self.version())
    }

    fn binary(self) -> PathBuf {
        let target = manifest_folder().join("target");
        match self {
            // Both crates name their binary alike, so each has a root of its own.
            Self::DurableStreams | Self::DurableStreamsServer => target
                .join("peers")
                .join(self.krate())
                .join("bin/durable-streams-server"),
            Self::River => target.join("release/river-peer"),
        }
    }

    fn build(self) -> Command {
        let target = manifest_folder().join("target");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        match self {
            Self::DurableStreams | Self::DurableStreamsServer => {
                let wanted = format!("{}@{}", self.krate(), self.version());
                cargo.args(["install", "--quiet", "--locked", &wanted, "--root"]);
                cargo.arg(target.join("peers").join(self.krate()));
                cargo.arg("--target-dir").arg(target.join("peers/build"));
            }
            Self::River => {
                cargo.args([
                    "build",
                    "--quiet",
                    "--release",
                    "--locked",
                    "--manifest-path",
                ]);
                cargo.arg(manifest_folder().join("peers/river/Cargo.toml"));
                cargo.arg("--target-dir").arg(&target);
            }
        }
        cargo
    }
}

/// What was found or built so far; a failure is not tried twice.
#[derive(Default)]
pub struct Peers {
    known: RefCell<BTreeMap<Peer, Result<PathBuf, String>>>,
}

impl Peers {
    pub async fn binary(&self, peer: Peer) -> Result<PathBuf, String> {
        if let Some(known) = self.known.borrow().get(&peer) {
            return known.clone();
        }
        let found = obtain(peer).await;
        self.known.borrow_mut().insert(peer, found.clone());
        found
    }
}

async fn obtain(peer: Peer) -> Result<PathBuf, String> {
    let binary = peer.binary();
    // River's driver is ours and may have changed: cargo knows whether it has.
    if peer != Peer::River && binary.exists() {
        return Ok(binary);
    }
    let name = peer.name();
    eprintln!("getting peer {name}");
    let mut cargo = peer.build();
    cargo
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    let output = cargo
        .output()
        .await
        .map_err(|error| format!("{name}: cargo: {error}"))?;
    if output.status.success() {
        return Ok(binary);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty());
    let ended = format!("cargo ended with {}", output.status);
    Err(format!(
        "{name} could not be built: {}",
        last.unwrap_or(&ended)
    ))
}
