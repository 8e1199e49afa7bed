//! A crowd of subscribers on the bench's one thread. Events are found in what comes by the mark that the generator put
//! into them, so it does not matter how a contender frames or groups them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use memchr::memmem::Finder;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::bodies::{SENT_MARK, digits_behind, number};
use crate::load::new_micros;

const SCRATCH: usize = 256 * 1024;

/// What the crowd has seen; read and reset by the workload.
pub struct Crowd {
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
    pub fn none() -> Self {
        let crowd = Rc::new(Crowd {
            epoch: Instant::now(),
            heard: Cell::new(0),
            delivered: Cell::new(0),
            last: Cell::new(Instant::now()),
            resumed: Cell::new(0),
            micros: RefCell::new(new_micros()),
            scratch: RefCell::new(vec![0; SCRATCH]),
            mark: Finder::new(SENT_MARK),
        });
        Self {
            crowd,
            tasks: JoinSet::new(),
        }
    }

    /// One more, who reads until it is hung up.
    pub fn add(&mut self, reading: impl Future<Output = Result<()>> + 'static) {
        self.tasks.spawn_local(reading);
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

    /// A subscriber had its first event.
    pub fn one_heard(&self) {
        self.heard.set(self.heard.get() + 1);
    }

    pub fn one_resumed(&self) {
        self.resumed.set(self.resumed.get() + 1);
    }

    /// Counts the events in what a subscriber was sent.
    pub fn count(&self, messages: &[u8]) -> u64 {
        let now = self.now_ns();
        let mut micros = self.micros.borrow_mut();
        let mut events = 0;
        for at in self.mark.find_iter(messages) {
            let sent = number(&messages[digits_behind(at, messages)]);
            micros.saturating_record((now.saturating_sub(sent) / 1_000).max(1));
            events += 1;
        }
        if events > 0 {
            self.delivered.set(self.delivered.get() + events);
            self.last.set(Instant::now());
        }
        events
    }

    /// One subscriber has what was sent then, which is all that was sent since everybody had what came before.
    pub fn one_delivered(&self, sent_ns: u64) {
        let took = self.now_ns().saturating_sub(sent_ns) / 1_000;
        self.micros.borrow_mut().saturating_record(took.max(1));
        self.delivered.set(self.delivered.get() + 1);
        self.last.set(Instant::now());
    }

    /// Gives what can be read without waiting to `take`. True when the server hung up.
    pub fn read_ready(
        &self,
        stream: &TcpStream,
        mut take: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<bool> {
        let mut scratch = self.scratch.borrow_mut();
        loop {
            match stream.try_read(&mut scratch) {
                Ok(0) => return Ok(true),
                Ok(read) => take(&scratch[..read])?,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    return Ok(true);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
