//! The contenders as servers: how each is started over an empty folder, and where it takes appends and gives its tail.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::peers::Peer;
use crate::process::{Ready, Server, free_port};
use crate::rounds::Bench;
use crate::scratch::{self, Folder};
use crate::wire::{Conn, Template};

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
    let folder = scratch::folder("data")?;
    match who {
        Who::Tidewire => tidewire(bench, folder, None).await,
        Who::Limit => limit(folder).await,
        Who::Peer(peer) => {
            let binary = bench.peers.binary(peer).await.map_err(anyhow::Error::msg)?;
            let server = streams(peer, &binary, folder).await?;
            create_stream(server.addr, who.append_path()).await?;
            Ok(server)
        }
    }
}

/// Tidewire as shipped: default settings, logs on.
pub async fn tidewire(bench: &Bench, folder: Folder, roles: Option<&str>) -> Result<Server> {
    let mut command = Command::new(bench.tidewire_binary()?);
    command
        .args(["serve", "--addr", "127.0.0.1:0", "--data-dir"])
        .arg(folder.path().join("data"));
    if let Some(roles) = roles {
        command.args(["--roles", roles]);
    }
    Server::start(command, folder, Ready::Line("listening on http://")).await
}

async fn limit(folder: Folder) -> Result<Server> {
    let mut command = Command::new(std::env::current_exe().context("find this program")?);
    command.arg("limit-server").arg("--dir").arg(folder.path());
    Server::start(command, folder, Ready::Line("listening on http://")).await
}

async fn streams(peer: Peer, binary: &Path, folder: Folder) -> Result<Server> {
    let addr = free_port()?;
    let data = folder.path().join("data");
    let mut command = Command::new(binary);
    match peer {
        // Its default: an append is answered after the group commit of its write-ahead log was synced.
        Peer::DurableStreams => {
            command.args(["--durability", "wal", "--host", "127.0.0.1", "--port"]);
            command
                .arg(addr.port().to_string())
                .arg("--data-dir")
                .arg(data);
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
        Peer::River => bail!("River is a library, not a server"),
    }
    Server::start(command, folder, Ready::Connect(addr)).await
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

/// One request on a connection of its own.
pub async fn post(addr: SocketAddr, path: &str, body: &[u8]) -> Result<Vec<u8>> {
    let mut conn = Conn::open(addr).await?;
    let mut request = Vec::new();
    Template::post(addr, path).write(&mut request, body);
    let reply = conn.call(&request).await?;
    if !reply.is_success() {
        bail!("POST {path}: {}", reply.text());
    }
    Ok(reply.body.to_vec())
}
