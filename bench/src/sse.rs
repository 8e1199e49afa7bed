//! A crowd of SSE subscribers on the bench's one thread. Events are found in the stream by the mark that the generator
//! put into them, so it does not matter how a contender frames or groups them.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use memchr::memmem::{self, Finder};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::bodies::{SENT_MARK, digits_behind, number};
use crate::load::new_micros;
use crate::wire::{Chunks, Conn, get};

const SCRATCH: usize = 256 * 1024;
const CONNECT_AT_ONCE: usize = 50;

/// What the crowd has seen; read and reset by the workload.
pub struct Crowd {
    addr: SocketAddr,
    path: String,
    epoch: Instant,
    heard: Cell<usize>,
    delivered: Cell<u64>,
    last: Cell<Instant>,
    resumed: Cell<u64>,
    micros: RefCell<Histogram<u64>>,
    /// Shared by all, which is safe since nobody keeps it over an await.
    scratch: RefCell<Vec<u8>>,
    mark: Finder<'static>,
}

/// The crowd's tasks; dropping it hangs up.
pub struct Subscribers {
    pub crowd: Rc<Crowd>,
    tasks: JoinSet<Result<()>>,
}

impl Subscribers {
    pub async fn connect(addr: SocketAddr, path: String, count: usize) -> Result<Self> {
        let crowd = Rc::new(Crowd {
            addr,
            path,
            epoch: Instant::now(),
            heard: Cell::new(0),
            delivered: Cell::new(0),
            last: Cell::new(Instant::now()),
            resumed: Cell::new(0),
            micros: RefCell::new(new_micros()),
            scratch: RefCell::new(vec![0; SCRATCH]),
            mark: Finder::new(SENT_MARK),
        });
        let mut tasks = JoinSet::new();
        for started in 1..=count {
            let reader = Reader::connect(&crowd, None).await?;
            tasks.spawn_local(subscriber(Rc::clone(&crowd), reader));
            if started % CONNECT_AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
        }
        Ok(Self { crowd, tasks })
    }

    /// Waits for `expected` deliveries since the last reset; gives up when nothing arrives any more.
    pub async fn wait(&mut self, expected: u64, patience: Duration) -> Result<()> {
        let (mut seen, mut moved) = (self.crowd.delivered(), Instant::now());
        while self.crowd.delivered() < expected {
            if let Some(ended) = self.tasks.try_join_next() {
                ended.context("a subscriber's task ended badly")??;
            }
            if self.crowd.delivered() > seen {
                (seen, moved) = (self.crowd.delivered(), Instant::now());
            }
            if moved.elapsed() > patience {
                bail!("{seen} of {expected} deliveries arrived, then none for {patience:?}");
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }
}

impl Crowd {
    pub fn now_ns(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Subscribers that have had any event at all.
    pub fn heard(&self) -> usize {
        self.heard.get()
    }

    pub fn delivered(&self) -> u64 {
        self.delivered.get()
    }

    pub fn last(&self) -> Instant {
        self.last.get()
    }

    /// Times that a subscriber was cut off and came back with its last id.
    pub fn resumed(&self) -> u64 {
        self.resumed.get()
    }

    pub fn reset(&self) -> Histogram<u64> {
        self.delivered.set(0);
        self.micros.replace(new_micros())
    }
}

struct Reader {
    stream: TcpStream,
    chunks: Option<Chunks>,
    /// The end of what was read that is not a whole frame yet.
    carry: Vec<u8>,
    last_id: Option<Vec<u8>>,
    first: bool,
}

impl Reader {
    async fn connect(crowd: &Crowd, last_id: Option<Vec<u8>>) -> Result<Self> {
        let mut extra = "accept: text/event-stream\r\n".to_owned();
        if let Some(id) = &last_id {
            extra += &format!("last-event-id: {}\r\n", String::from_utf8_lossy(id));
        }
        let conn = Conn::open(crowd.addr).await?;
        let (stream, head, rest) = conn.stream(&get(crowd.addr, &crowd.path, &extra)).await?;
        if head.status != 200 {
            bail!(
                "GET {}: {} {}",
                crowd.path,
                head.status,
                String::from_utf8_lossy(&rest)
            );
        }
        let chunks = head.chunked.then(Chunks::default);
        let mut reader = Self {
            stream,
            chunks,
            carry: Vec::new(),
            last_id,
            first: true,
        };
        reader.take(crowd, &rest)?;
        Ok(reader)
    }

    /// True when the server hung up.
    fn read_ready(&mut self, crowd: &Crowd) -> Result<bool> {
        loop {
            let mut scratch = crowd.scratch.borrow_mut();
            match self.stream.try_read(&mut scratch) {
                Ok(0) => return Ok(true),
                Ok(read) => self.take(crowd, &scratch[..read])?,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    return Ok(true);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn take(&mut self, crowd: &Crowd, bytes: &[u8]) -> Result<()> {
        let Some(mut chunks) = self.chunks.take() else {
            self.take_text(crowd, bytes);
            return Ok(());
        };
        chunks.feed(bytes, |text| self.take_text(crowd, text))?;
        self.chunks = Some(chunks);
        Ok(())
    }

    /// Counts whole frames only, so that the last id is that of an event which was counted.
    fn take_text(&mut self, crowd: &Crowd, text: &[u8]) {
        if self.carry.is_empty() && text.ends_with(b"\n\n") {
            self.take_frames(crowd, text);
            return;
        }
        self.carry.extend_from_slice(text);
        if let Some(end) = memmem::rfind(&self.carry, b"\n\n") {
            let mut carry = std::mem::take(&mut self.carry);
            self.take_frames(crowd, &carry[..end + 2]);
            carry.drain(..end + 2);
            self.carry = carry;
        }
    }

    fn take_frames(&mut self, crowd: &Crowd, frames: &[u8]) {
        let now = crowd.now_ns();
        let mut micros = crowd.micros.borrow_mut();
        let mut events = 0;
        for at in crowd.mark.find_iter(frames) {
            let sent = number(&frames[digits_behind(at, frames)]);
            micros.saturating_record((now.saturating_sub(sent) / 1_000).max(1));
            events += 1;
        }
        if events == 0 {
            return;
        }
        crowd.delivered.set(crowd.delivered.get() + events);
        crowd.last.set(Instant::now());
        if std::mem::take(&mut self.first) {
            crowd.heard.set(crowd.heard.get() + 1);
        }
        let at_id = memmem::rfind(frames, b"\nid:").map(|at| at + 4);
        let at_id = at_id.or_else(|| frames.starts_with(b"id:").then_some(3));
        if let Some(at) = at_id {
            let line = frames[at..]
                .split(|byte| *byte == b'\n')
                .next()
                .unwrap_or_default();
            self.last_id = Some(line.trim_ascii().to_vec());
        }
    }
}

async fn subscriber(crowd: Rc<Crowd>, mut reader: Reader) -> Result<()> {
    loop {
        reader.stream.readable().await?;
        let hung_up = reader.read_ready(&crowd)?;
        if hung_up {
            let Some(last_id) = reader.last_id.take() else {
                bail!("a subscriber was cut off before it had an id to resume from");
            };
            crowd.resumed.set(crowd.resumed.get() + 1);
            let first = reader.first;
            reader = Reader::connect(&crowd, Some(last_id)).await?;
            reader.first &= first;
        }
    }
}
