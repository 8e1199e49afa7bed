//! The endpoint that deliveries go to: this program again, as a process of its own. It answers every request with an
//! empty 200 and remembers which came when, so that what was delivered can be counted by who received it.

pub mod server;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::data::Data;
use crate::process::{Ready, Server};
use crate::wire::{Conn, Template, get};

/// Where deliveries go.
pub const HOOK: &str = "/hook";
const SEEN: &str = "/seen";
const ARRIVALS: &str = "/arrivals";
const FORGET: &str = "/forget";

const LOOK_EVERY: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(30);

/// What came since the sink was last told to forget.
#[derive(Debug, Serialize, Deserialize)]
pub struct Seen {
    pub posts: u64,
    /// Connections that deliveries came over.
    pub connections: u64,
    /// Of all deliveries, heads included.
    pub bytes: u64,
    /// The first delivery, as it was sent.
    pub sample: Option<String>,
    /// What was no delivery, the first of it.
    pub refused: Option<String>,
}

impl Seen {
    pub fn mean_bytes(&self) -> f64 {
        self.bytes as f64 / self.posts.max(1) as f64
    }
}

/// A delivery: its `webhook-id`, when its body says that it was sent, and when it was here, in nanoseconds since 1970.
pub struct Arrival {
    pub id: String,
    pub sent_ns: u64,
    pub at_ns: u64,
}

pub struct Sink {
    server: Server,
    conn: Conn,
}

impl Sink {
    pub async fn start() -> Result<Self> {
        let mut command = Command::new(std::env::current_exe().context("find this program")?);
        command.arg("sink");
        let ready = Ready::Line("listening on http://");
        let server = Server::start(command, Data::nothing("sink")?, ready).await?;
        let conn = Conn::open(server.addr).await?;
        Ok(Self { server, conn })
    }

    pub fn url(&self) -> String {
        format!("http://{}{HOOK}", self.server.addr)
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    pub async fn stop(self) -> Result<()> {
        self.server.stop().await.map(drop)
    }

    pub async fn seen(&mut self) -> Result<Seen> {
        let seen: Seen = serde_json::from_slice(self.read(SEEN).await?)?;
        match &seen.refused {
            Some(refused) => bail!("the sink refused a request: {refused}"),
            None => Ok(seen),
        }
    }

    pub async fn forget(&mut self) -> Result<()> {
        let mut request = Vec::new();
        Template::post(self.server.addr, FORGET).write(&mut request, b"");
        let reply = self.conn.call(&request).await?;
        if !reply.is_success() {
            bail!("POST {FORGET}: {}", reply.text());
        }
        Ok(())
    }

    /// Waits until so many have come; gives up when none comes any more.
    pub async fn wait(&mut self, posts: u64) -> Result<()> {
        let (mut seen, mut moved) = (0, Instant::now());
        loop {
            let now = self.seen().await?.posts;
            if now >= posts {
                return Ok(());
            }
            if now > seen {
                (seen, moved) = (now, Instant::now());
            }
            if moved.elapsed() > PATIENCE {
                bail!("{seen} of {posts} deliveries came, then none for {PATIENCE:?}");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Everything that came; an error unless each of so many came exactly once.
    pub async fn each_once(&mut self, expected: u64) -> Result<Vec<Arrival>> {
        let arrivals = self.arrivals().await?;
        let distinct: HashSet<&str> = arrivals.iter().map(|one| one.id.as_str()).collect();
        let (came, distinct) = (arrivals.len() as u64, distinct.len() as u64);
        if came != expected || distinct != expected {
            bail!(
                "{expected} deliveries were due: {} are missing, {} came more than once",
                expected.saturating_sub(distinct),
                came - distinct
            );
        }
        Ok(arrivals)
    }

    async fn arrivals(&mut self) -> Result<Vec<Arrival>> {
        let text = std::str::from_utf8(self.read(ARRIVALS).await?)?;
        let arrival = |line: &str| {
            let mut words = line.split(' ');
            Some(Arrival {
                id: words.next()?.to_owned(),
                sent_ns: words.next()?.parse().ok()?,
                at_ns: words.next()?.parse().ok()?,
            })
        };
        let arrivals: Option<Vec<Arrival>> = text.lines().map(arrival).collect();
        arrivals.context("a line of the sink is unreadable")
    }

    async fn read(&mut self, path: &str) -> Result<&[u8]> {
        let reply = self.conn.call(&get(self.server.addr, path, "")).await?;
        if !reply.is_success() {
            bail!("GET {path}: {}", reply.text());
        }
        Ok(reply.body)
    }
}
