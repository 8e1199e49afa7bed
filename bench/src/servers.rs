//! The contenders as servers: how each is started over an empty folder, and where it takes appends and gives its tail.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::data::Data;
use crate::peers::Peer;
use crate::process::{Ready, Server, free_port};
use crate::rounds::Bench;
use crate::wire::Conn;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Tidewire,
    Limit,
    Peer(Peer),
}

impl Who {
    pub fn name(self) -> String {
        match self {
            Self::Tidewire => "Tidewire".to_owned(),
            Self::Limit => "limit".to_owned(),
            Self::Peer(peer) => peer.name(),
        }
    }

    pub fn append_path(self) -> &'static str {
        match self {
            Self::Tidewire | Self::Limit => "/v1/events",
            Self::Peer(Peer::DurableStreamsServer) => "/v1/stream/bench",
            Self::Peer(_) => "/bench",
        }
    }

    pub fn tail_path(self) -> String {
        match self {
            Self::Tidewire | Self::Limit => "/v1/events/tail".to_owned(),
            Self::Peer(_) => format!("{}?offset=now&live=sse", self.append_path()),
        }
    }
}

/// A fresh server over an empty folder, ready to take appends.
pub async fn start(bench: &Bench, who: Who) -> Result<Server> {
    match who {
        Who::Tidewire => tidewire(bench, Data::empty(bench, "data").await?, &[]).await,
        Who::Limit => limit(Data::empty(bench, "data").await?).await,
        Who::Peer(peer) => {
            let server = of_peer(bench, peer).await?;
            create_stream(server.addr, who.append_path()).await?;
            Ok(server)
        }
    }
}

/// Tidewire as shipped but for these options: default settings, logs on.
pub async fn tidewire(bench: &Bench, data: Data, options: &[&str]) -> Result<Server> {
    let mut command = Command::new(bench.tidewire_binary()?);
    command
        .args(["serve", "--addr", "127.0.0.1:0", "--data-dir"])
        .arg(data.folder.path().join("data"));
    if let Some(url) = data.url() {
        command.args(["--database-url", url]);
    }
    command.args(options);
    Server::start(command, data, Ready::Line("listening on http://")).await
}

async fn limit(data: Data) -> Result<Server> {
    let mut command = Command::new(std::env::current_exe().context("find this program")?);
    command
        .arg("limit-server")
        .arg("--dir")
        .arg(data.folder.path());
    Server::start(command, data, Ready::Line("listening on http://")).await
}

/// A peer that keeps what it is given in files of its own; nothing was made in it yet.
pub async fn of_peer(bench: &Bench, peer: Peer) -> Result<Server> {
    let program = bench.peers.program(peer).await?;
    let data = Data::nothing("data")?;
    let addr = free_port()?;
    let command = durable(peer, &program[0], addr, data.folder.path())?;
    Server::start(command, data, Ready::Connect(addr)).await
}

/// The settings by which a peer answers an append after it was synced.
fn durable(peer: Peer, program: &OsStr, addr: SocketAddr, folder: &Path) -> Result<Command> {
    let port = addr.port().to_string();
    let data = folder.join("data");
    let mut command = Command::new(program);
    match peer {
        // Its default: an append is answered after the group commit of its write-ahead log was synced.
        Peer::DurableStreams => {
            command.args(["--durability", "wal", "--host", "127.0.0.1", "--port"]);
            command.arg(port).arg("--data-dir").arg(data);
        }
        // One fdatasync for each append, under the stream's lock. Its caps count what is stored, so they are lifted.
        Peer::DurableStreamsServer => {
            let room = (64_u64 << 30).to_string();
            command
                .env("DS_SERVER__BIND_ADDRESS", addr.to_string())
                .env("DS_STORAGE__MODE", "file-durable")
                .env("DS_STORAGE__DATA_DIR", data)
                .env("DS_LIMITS__MAX_MEMORY_BYTES", &room)
                .env("DS_LIMITS__MAX_STREAM_BYTES", &room);
        }
        // Every message is synced before it is acknowledged; by default that happens every two minutes.
        Peer::Nats => {
            let config = folder.join("nats.conf");
            let text = format!(
                "listen: \"{addr}\"\njetstream {{ store_dir: {data:?}, sync_interval: always }}\n"
            );
            std::fs::write(&config, text).with_context(|| format!("write {}", config.display()))?;
            command.arg("--config").arg(config);
        }
        // What one turn of its loop has written is synced before anybody is answered; by default once a second.
        Peer::Redis => {
            command.args(["--bind", "127.0.0.1", "--port", &port, "--dir"]);
            command.arg(folder).args(["--save", ""]);
            command.args(["--appendonly", "yes", "--appendfsync", "always"]);
        }
        Peer::Etcd => bail!("{} takes no appends", peer.name()),
        Peer::River | Peer::RiverGo | Peer::GraphileWorker | Peer::PgBoss | Peer::Dlt => {
            bail!("{} is a library, not a server", peer.name())
        }
    }
    Ok(command)
}

/// An empty stream of one of the servers that speak the protocol of durable streams.
pub async fn create_stream(addr: SocketAddr, path: &str) -> Result<()> {
    let mut conn = Conn::open(addr).await?;
    let request = format!(
        "PUT {path} HTTP/1.1\r\nhost: {addr}\r\ncontent-type: application/json\r\ncontent-length: 0\r\n\r\n"
    );
    let reply = conn.call(request.as_bytes()).await?;
    if !reply.is_success() {
        bail!("PUT {path}: {}", reply.text());
    }
    Ok(())
}
