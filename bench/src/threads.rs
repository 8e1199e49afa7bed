//! Threads wherever they are kept: how each contender takes what agents say, and gives it to who reads along.

use std::rc::Rc;

use anyhow::{Result, bail};

use crate::crowd::Subscribers;
use crate::data::Data;
use crate::line::{self, Line, Listener};
use crate::load::{Answer, Caller, Connection, NextBody};
use crate::nats::{self, Client, Messages, Publisher};
use crate::peers::Peer;
use crate::process::Server;
use crate::redis::{Adder, Entries};
use crate::rounds::{Bench, Contender};
use crate::servers::{self, Who};
use crate::sse::{self, Tail};

/// JetStream with plain subscribers, to whom the server gives what it has stored: the variant beside its consumers.
pub const REPUBLISHED: &str = "republished";

/// Tidewire with its hot log in Redis: the variant beside its own store.
pub const HOT_IN_REDIS: &str = "hot log in Redis";

/// A server that keeps threads.
pub struct Place {
    pub server: Server,
    /// Where it has its hot log, if that is apart.
    hot_log: Option<Server>,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Tidewire,
    Streams,
    /// A consumer for each reader.
    Consumers,
    Republished,
    Redis,
}

impl Place {
    pub async fn start(bench: &Bench, contender: Contender) -> Result<Self> {
        let mut hot_log = None;
        let (server, kind) = match contender.who {
            Who::Tidewire => {
                let data = Data::empty(bench, "data").await?;
                let mut flags = Vec::new();
                if contender.variant == HOT_IN_REDIS {
                    let redis = servers::of_peer(bench, Peer::Redis).await?;
                    flags = vec!["--hot-log".to_owned(), format!("redis://{}", redis.addr)];
                    hot_log = Some(redis);
                }
                let flags: Vec<_> = flags.iter().map(String::as_str).collect();
                let server = servers::tidewire(bench, data, &flags).await?;
                (server, Kind::Tidewire)
            }
            Who::Peer(peer) => {
                let kind = match peer {
                    Peer::DurableStreams | Peer::DurableStreamsServer => Kind::Streams,
                    Peer::Nats if contender.variant == REPUBLISHED => Kind::Republished,
                    Peer::Nats => Kind::Consumers,
                    Peer::Redis => Kind::Redis,
                    _ => bail!("{} has no streams", peer.name()),
                };
                (servers::of_peer(bench, peer).await?, kind)
            }
            Who::Limit => bail!("threads have no limit"),
        };
        Ok(Self {
            server,
            hot_log,
            kind,
        })
    }

    pub async fn stop(self) -> Result<()> {
        self.server.stop().await?;
        if let Some(redis) = self.hot_log {
            redis.stop().await?;
        }
        Ok(())
    }

    /// Who says these things on a thread. There is one for each thread.
    pub async fn writer(&self, thread: &str, body: NextBody) -> Result<Writer> {
        let addr = self.server.addr;
        let path = match self.kind {
            Kind::Tidewire => format!("/v1/threads/{thread}/events"),
            Kind::Streams => {
                let path = format!("/{thread}");
                servers::create_stream(addr, &path).await?;
                path
            }
            Kind::Consumers | Kind::Republished => {
                let republishes = matches!(self.kind, Kind::Republished);
                let publisher = Publisher::open(addr, thread, republishes, body).await?;
                return Ok(Writer::Nats(publisher));
            }
            Kind::Redis => return Ok(Writer::Redis(Adder::open(addr, thread, body).await?)),
        };
        let connection = Connection::open(addr, &path, body).await?;
        Ok(Writer::Http(connection))
    }

    /// Whether a reader begins with what is there already.
    pub fn replays(&self) -> bool {
        !matches!(self.kind, Kind::Republished)
    }

    /// So many readers of one thread, each over a connection of its own. Nothing that is said from here on escapes them.
    pub async fn subscribe(
        &self,
        subscribers: &mut Subscribers,
        thread: &str,
        count: usize,
    ) -> Result<()> {
        let addr = self.server.addr;
        let path = match self.kind {
            Kind::Tidewire => format!("/v1/threads/{thread}/events/stream"),
            Kind::Streams => format!("/{thread}?offset=-1&live=sse"),
            Kind::Consumers => return self.consume(subscribers, thread, count).await,
            Kind::Republished => {
                for _ in 0..count {
                    let line = nats::hear(addr, &nats::live_subject(thread)).await?;
                    join(subscribers, line, Messages);
                }
                return Ok(());
            }
            Kind::Redis => {
                for _ in 0..count {
                    let (line, entries) = Entries::open(addr, thread).await?;
                    join(subscribers, line, entries);
                }
                return Ok(());
            }
        };
        sse::subscribe(subscribers, Tail { addr, path }, count).await
    }

    async fn consume(
        &self,
        subscribers: &mut Subscribers,
        thread: &str,
        count: usize,
    ) -> Result<()> {
        let mut client = Client::open(self.server.addr, "maker").await?;
        for number in 0..count {
            let (name, deliveries) = (format!("reader-{number}"), format!("deliver.{number}"));
            let line = nats::hear(self.server.addr, &deliveries).await?;
            join(subscribers, line, Messages);
            client.create_consumer(thread, &name, &deliveries).await?;
        }
        Ok(())
    }
}

fn join(subscribers: &mut Subscribers, line: Line, listener: impl Listener + 'static) {
    let crowd = Rc::clone(&subscribers.crowd);
    subscribers.add(line::subscriber(crowd, line, listener));
}

/// Says one thing after the other, each answered once it is durable.
pub enum Writer {
    Http(Connection),
    Nats(Publisher),
    Redis(Adder),
}

impl Caller for Writer {
    fn prepare(&mut self) {
        match self {
            Self::Http(connection) => connection.prepare(),
            Self::Nats(publisher) => publisher.prepare(),
            Self::Redis(adder) => adder.prepare(),
        }
    }

    async fn call(&mut self) -> Result<Answer> {
        match self {
            Self::Http(connection) => connection.call().await,
            Self::Nats(publisher) => publisher.call().await,
            Self::Redis(adder) => adder.call().await,
        }
    }
}
