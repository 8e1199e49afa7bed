//! The group commit: one thread takes whatever waits, writes it in one transaction, answers after the commit, and
//! starts again at once. Jobs are done in the same rounds: what the last one claimed is completed, the next are claimed.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use bytes::Bytes;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::schema::{NewEvent, NewJob, Store, timestamp};

/// Events in a round, as in Tidewire's writer.
const ROUND: usize = 1_000;
const QUEUE: usize = 4_096;
const CLAIM: i64 = 500;
/// Subscribers may fall this far behind before they lose anything.
const FEED: usize = 65_536;

pub enum Write {
    Events(Vec<NewEvent>, oneshot::Sender<Stored>),
    Job(NewJob, oneshot::Sender<Stored>),
}

/// The first position or number that was given, and when.
pub struct Stored {
    pub first: i64,
    pub at: Arc<str>,
}

#[derive(Clone)]
pub struct Writer {
    pub queue: mpsc::Sender<Write>,
    pub feed: broadcast::Sender<Bytes>,
    pub jobs_done: Arc<AtomicU64>,
}

pub fn start(folder: &Path) -> Result<Writer> {
    let store = Store::create(folder)?;
    let (queue, inbox) = mpsc::channel(QUEUE);
    let (feed, _) = broadcast::channel(FEED);
    let jobs_done = Arc::new(AtomicU64::new(0));
    let writer = Writer {
        queue,
        feed: feed.clone(),
        jobs_done: Arc::clone(&jobs_done),
    };
    std::thread::Builder::new()
        .name("writer".to_owned())
        .spawn(move || {
            let mut rounds = Rounds {
                store,
                feed,
                jobs_done,
                claimed: Vec::new(),
                pending: 0,
            };
            if let Err(error) = rounds.run(inbox) {
                eprintln!("limit writer: {error:#}");
                std::process::abort();
            }
        })?;
    Ok(writer)
}

struct Rounds {
    store: Store,
    feed: broadcast::Sender<Bytes>,
    jobs_done: Arc<AtomicU64>,
    claimed: Vec<i64>,
    pending: u64,
}

impl Rounds {
    fn run(&mut self, mut inbox: mpsc::Receiver<Write>) -> Result<()> {
        let mut taken = Vec::with_capacity(ROUND);
        loop {
            let idle = self.pending == 0 && self.claimed.is_empty();
            if idle && inbox.blocking_recv_many(&mut taken, 1) == 0 {
                return Ok(());
            }
            let mut size: usize = taken.iter().map(Write::size).sum();
            while size < ROUND {
                let Ok(write) = inbox.try_recv() else { break };
                size += write.size();
                taken.push(write);
            }
            self.round(&mut taken)?;
        }
    }

    fn round(&mut self, taken: &mut Vec<Write>) -> Result<()> {
        let now: Arc<str> = timestamp().into();
        let (mut answers, mut frames) = (Vec::with_capacity(taken.len()), String::new());
        let followed = self.feed.receiver_count() > 0;
        self.store.begin()?;
        for write in taken.drain(..) {
            match write {
                Write::Events(events, answer) => {
                    let mut first = 0;
                    for event in &events {
                        let pos = self.store.append(event, &now)?;
                        first = if first == 0 { pos } else { first };
                        if followed {
                            write_frame(&mut frames, event, pos, &now);
                        }
                    }
                    answers.push((first, answer));
                }
                Write::Job(job, answer) => {
                    answers.push((self.store.enqueue(&job, &now)?, answer));
                    self.pending += 1;
                }
            }
        }
        let done = std::mem::take(&mut self.claimed);
        self.store.complete(&done, &now)?;
        if self.pending > 0 {
            self.claimed = self.store.claim(CLAIM, &now)?;
            self.pending -= self.claimed.len() as u64;
        }
        self.store.commit()?;
        self.jobs_done
            .fetch_add(done.len() as u64, Ordering::Relaxed);
        for (first, answer) in answers {
            // A client that went away needs no answer.
            let _ = answer.send(Stored {
                first,
                at: Arc::clone(&now),
            });
        }
        if !frames.is_empty() {
            let _ = self.feed.send(Bytes::from(frames));
        }
        Ok(())
    }
}

impl Write {
    fn size(&self) -> usize {
        match self {
            Self::Events(events, _) => events.len(),
            Self::Job(..) => 1,
        }
    }
}

/// Into the bytes of the round, which are built once and shared by all subscribers.
fn write_frame(frames: &mut String, event: &NewEvent, pos: i64, now: &str) {
    let _ = write!(
        frames,
        "id: {pos}\nevent: {}\ndata: {{\"id\":\"{}\",\"stream\":\"{}\",\"seq\":{pos},\"type\":\"{}\",\
         \"payload\":{},\"created_at\":\"{now}\"}}\n\n",
        event.kind, event.id, event.stream, event.kind, event.payload
    );
}
