//! Whoever waits for a change of configuration: agents that hold a question open at Tidewire, and watchers of etcd.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use memchr::memmem;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::crowd::{Crowd, Subscribers};
use crate::data::Data;
use crate::load::{Answer, Caller};
use crate::peers::Peer;
use crate::process::{Ready, Server, free_port};
use crate::rounds::Bench;
use crate::servers::{self, Who};
use crate::tidewire::Api;
use crate::wire::{Chunks, Conn, Template, get, header};

/// What everybody watches, as etcd's gateway takes keys: `config` in base 64.
const KEY: &str = "Y29uZmln";
/// As long as Tidewire holds an answer.
const WAIT_SECONDS: u32 = 60;

/// A contender, and how its config is changed.
pub struct Place {
    pub server: Server,
    who: Who,
    conn: Conn,
}

impl Place {
    /// `watchers` come besides the generator's own connections.
    pub async fn start(bench: &Bench, who: Who, watchers: usize) -> Result<Self> {
        let server = match who {
            Who::Tidewire => {
                let connections = (watchers + 100).max(10_000).to_string();
                let options = ["--max-connections", connections.as_str()];
                servers::tidewire(bench, Data::empty(bench, "data").await?, &options).await?
            }
            Who::Peer(Peer::Etcd) => etcd(bench).await?,
            other => bail!("{} has no configuration", other.name()),
        };
        let conn = Conn::open(server.addr).await?;
        Ok(Self { server, who, conn })
    }

    /// Makes another config; answered when it is durable.
    pub async fn change(&mut self, number: u64) -> Result<()> {
        let (path, body) = match self.who {
            Who::Tidewire => (
                "/v1/fleet/config",
                json!({"config": {"url": "https://example.com/", "number": number, "filling": "x".repeat(120)}}),
            ),
            _ => (
                "/v3/kv/put",
                // About the same bytes, which nobody reads.
                json!({"key": KEY, "value": "eHh4".repeat(50)}),
            ),
        };
        let mut request = Vec::new();
        Template::post(self.server.addr, path).write(&mut request, body.to_string().as_bytes());
        let reply = self.conn.call(&request).await?;
        if !reply.is_success() {
            bail!("POST {path}: {}", reply.text());
        }
        Ok(())
    }

    /// So many watchers, each on a connection of its own, that hear of every change from now on.
    pub async fn watch(
        &self,
        subscribers: &mut Subscribers,
        sent_ns: &Rc<Cell<u64>>,
        count: usize,
    ) -> Result<()> {
        let addr = self.server.addr;
        let mut api = match self.who {
            Who::Tidewire => Some(Api::open(addr).await?),
            _ => None,
        };
        for number in 0..count {
            let (crowd, sent) = (Rc::clone(&subscribers.crowd), Rc::clone(sent_ns));
            match &mut api {
                Some(api) => {
                    let agent = format!("agent-{number}");
                    let _: Value = api
                        .post("/v1/fleet/register", &json!({"agent_id": agent}))
                        .await?;
                    let poller = Poller::open(addr, &agent).await?;
                    subscribers.add(poller.run(crowd, sent));
                }
                None => {
                    let stream = etcd_watch(addr).await?;
                    subscribers.add(watch_etcd(stream, crowd, sent));
                }
            }
        }
        Ok(())
    }
}

/// etcd as it is installed, alone: it syncs before it answers.
async fn etcd(bench: &Bench) -> Result<Server> {
    let program = bench.peers.program(Peer::Etcd).await?;
    let data = Data::nothing("data")?;
    let (addr, peers) = (free_port()?, free_port()?);
    let (url, peer_url) = (format!("http://{addr}"), format!("http://{peers}"));
    let mut command = Command::new(&program[0]);
    command
        .arg("--data-dir")
        .arg(data.folder.path().join("data"));
    for (flag, value) in [
        ("--listen-client-urls", &url),
        ("--advertise-client-urls", &url),
        ("--listen-peer-urls", &peer_url),
        ("--initial-advertise-peer-urls", &peer_url),
    ] {
        command.arg(flag).arg(value);
    }
    command
        .arg("--initial-cluster")
        .arg(format!("default={peer_url}"));
    Server::start(command, data, Ready::Connect(addr)).await
}

/// An agent that holds a question open, and asks again behind each answer.
struct Poller {
    stream: TcpStream,
    addr: SocketAddr,
    path: String,
    tag: Option<String>,
    filled: Vec<u8>,
}

impl Poller {
    async fn open(addr: SocketAddr, agent: &str) -> Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            addr,
            path: format!("/v1/fleet/config?agent_id={agent}&wait={WAIT_SECONDS}"),
            tag: None,
            filled: Vec::new(),
        })
    }

    async fn run(mut self, crowd: Rc<Crowd>, sent_ns: Rc<Cell<u64>>) -> Result<()> {
        loop {
            let known = self
                .tag
                .as_ref()
                .map(|tag| format!("if-none-match: {tag}\r\n"));
            let request = get(self.addr, &self.path, &known.unwrap_or_default());
            self.stream.write_all(&request).await?;
            let (status, tag) = loop {
                if let Some(answer) = self.answer()? {
                    break answer;
                }
                self.stream.readable().await?;
                let filled = &mut self.filled;
                let hung_up = crowd.read_ready(&self.stream, |bytes| {
                    filled.extend_from_slice(bytes);
                    Ok(())
                })?;
                if hung_up {
                    bail!("an agent was cut off");
                }
            };
            match status {
                200 => {
                    // The first answer brings what is there already.
                    if self.tag.is_some() {
                        crowd.one_delivered(sent_ns.get());
                    } else {
                        crowd.one_heard();
                    }
                    self.tag = tag;
                }
                304 => {}
                other => bail!("an agent was answered with {other}"),
            }
        }
    }

    /// Status and tag of the answer, once it is whole.
    fn answer(&mut self) -> Result<Option<(u16, Option<String>)>> {
        let Some(end) = memmem::find(&self.filled, b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = &self.filled[..end];
        let status = head
            .get(9..12)
            .and_then(|code| std::str::from_utf8(code).ok()?.parse().ok())
            .context("no status in the answer")?;
        let lines = || head.split(|byte| *byte == b'\n');
        let length = lines().find_map(|line| header(line, b"content-length"));
        let length: usize = match (status, length) {
            (304, _) | (_, None) => 0,
            (_, Some(length)) => length.parse()?,
        };
        if self.filled.len() < end + 4 + length {
            return Ok(None);
        }
        let tag = lines()
            .find_map(|line| header(line, b"etag"))
            .map(str::to_owned);
        self.filled.clear();
        Ok(Some((status, tag)))
    }
}

/// A watch by etcd's JSON gateway, once it is there.
async fn etcd_watch(addr: SocketAddr) -> Result<TcpStream> {
    let body = json!({"create_request": {"key": KEY}}).to_string();
    let mut request = Vec::new();
    Template::post(addr, "/v3/watch").write(&mut request, body.as_bytes());
    let (stream, head, rest) = Conn::open(addr).await?.stream(&request).await?;
    if head.status != 200 {
        bail!("POST /v3/watch: {}", head.status);
    }
    let mut seen = rest;
    let mut buffer = [0; 4096];
    // To the end of its chunk, so that what is read next begins with another.
    while memmem::find(&seen, b"\"created\":true").is_none() || !seen.ends_with(b"\n\r\n") {
        stream.readable().await?;
        match stream.try_read(&mut buffer) {
            Ok(0) => bail!("etcd closed a watch"),
            Ok(read) => seen.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(stream)
}

async fn watch_etcd(stream: TcpStream, crowd: Rc<Crowd>, sent_ns: Rc<Cell<u64>>) -> Result<()> {
    crowd.one_heard();
    // Each change is one line, and one chunk.
    let mut chunks = Chunks::default();
    loop {
        stream.readable().await?;
        let hung_up = crowd.read_ready(&stream, |bytes| {
            let mut lines = 0;
            chunks.feed(bytes, |text| {
                lines += memchr::memchr_iter(b'\n', text).count()
            })?;
            for _ in 0..lines {
                crowd.one_delivered(sent_ns.get());
            }
            Ok(())
        })?;
        if hung_up {
            bail!("etcd closed a watch");
        }
    }
}

/// Asks for a config that has not changed.
pub struct Asker {
    conn: Conn,
    request: Vec<u8>,
}

impl Asker {
    pub async fn open(addr: SocketAddr, path: &str, tag: &str) -> Result<Self> {
        Ok(Self {
            conn: Conn::open(addr).await?,
            request: get(addr, path, &format!("if-none-match: {tag}\r\n")),
        })
    }
}

impl Caller for Asker {
    fn prepare(&mut self) {}

    async fn call(&mut self) -> Result<Answer> {
        let reply = self.conn.call(&self.request).await?;
        Ok(match reply.status {
            304 => Answer::Taken,
            _ => Answer::Refused(reply.text()),
        })
    }
}
