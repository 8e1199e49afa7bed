//! The contenders as servers: how each is started over an empty folder, and where it takes appends and gives its tail.

use std::ffi::OsStr;
use std::net::SocketAddr;

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
    let data = Data::empty(bench, "data").await?;
    match who {
        Who::Tidewire => tidewire(bench, data, None).await,
        Who::Limit => limit(data).await,
        Who::Peer(peer) => {
            let program = bench.peers.program(peer).await?;
            let server = streams(peer, &program[0], data).await?;
            create_stream(server.addr, who.append_path()).await?;
            Ok(server)
        }
    }
}

/// Tidewire as shipped: default settings, logs on.
pub async fn tidewire(bench: &Bench, data: Data, roles: Option<&str>) -> Result<Server> {
    let mut command = Command::new(bench.tidewire_binary()?);
    command
        .args(["serve", "--addr", "127.0.0.1:0", "--data-dir"])
        .arg(data.folder.path().join("data"));
    if let Some(url) = data.url() {
        command.args(["--database-url", url]);
    }
    if let Some(roles) = roles {
        command.args(["--roles", roles]);
    }
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

async fn streams(peer: Peer, binary: &OsStr, data: Data) -> Result<Server> {
    let addr = free_port()?;
    let folder = data.folder.path().join("data");
    let mut command = Command::new(binary);
    match peer {
        // Its default: an append is answered after the group commit of its write-ahead log was synced.
        Peer::DurableStreams => {
            command.args(["--durability", "wal", "--host", "127.0.0.1", "--port"]);
            command
                .arg(addr.port().to_string())
                .arg("--data-dir")
                .arg(folder);
        }
        // One fdatasync for each append, under the stream's lock. Its caps count what is stored, so they are lifted.
        Peer::DurableStreamsServer => {
            let room = (64_u64 << 30).to_string();
            command
                .env("DS_SERVER__BIND_ADDRESS", addr.to_string())
                .env("DS_STORAGE__MODE", "file-durable")
                .env("DS_STORAGE__DATA_DIR", folder)
                .env("DS_LIMITS__MAX_MEMORY_BYTES", &room)
                .env("DS_LIMITS__MAX_STREAM_BYTES", &room);
        }
        Peer::River | Peer::RiverGo | Peer::GraphileWorker | Peer::PgBoss => {
            bail!("{} is a library, not a server", peer.name())
        }
    }
    Server::start(command, data, Ready::Connect(addr)).await
}

async fn create_stream(addr: SocketAddr, path: &str) -> Result<()> {
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
