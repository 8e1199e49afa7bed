//! Subscribers of server-sent events.

use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::{Result, bail};
use memchr::memmem;
use tokio::net::TcpStream;

use crate::crowd::{Crowd, Subscribers};
use crate::wire::{Chunks, Conn, get};

const CONNECT_AT_ONCE: usize = 50;

/// Where the stream is.
pub struct Tail {
    pub addr: SocketAddr,
    pub path: String,
}

/// So many subscribers join the crowd.
pub async fn subscribe(subscribers: &mut Subscribers, tail: Tail, count: usize) -> Result<()> {
    let tail = Rc::new(tail);
    for started in 1..=count {
        let crowd = Rc::clone(&subscribers.crowd);
        let reader = Reader::connect(&crowd, &tail, None).await?;
        subscribers.add(subscriber(crowd, Rc::clone(&tail), reader));
        if started % CONNECT_AT_ONCE == 0 {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

struct Reader {
    stream: TcpStream,
    text: Text,
}

/// The body of the answer, as it comes.
struct Text {
    chunks: Option<Chunks>,
    /// The end of what was read that is not a whole frame yet.
    carry: Vec<u8>,
    last_id: Option<Vec<u8>>,
    first: bool,
}

impl Reader {
    async fn connect(crowd: &Crowd, tail: &Tail, last_id: Option<Vec<u8>>) -> Result<Self> {
        let mut extra = "accept: text/event-stream\r\n".to_owned();
        if let Some(id) = &last_id {
            extra += &format!("last-event-id: {}\r\n", String::from_utf8_lossy(id));
        }
        let conn = Conn::open(tail.addr).await?;
        let (stream, head, rest) = conn.stream(&get(tail.addr, &tail.path, &extra)).await?;
        if head.status != 200 {
            bail!(
                "GET {}: {} {}",
                tail.path,
                head.status,
                String::from_utf8_lossy(&rest)
            );
        }
        let mut text = Text {
            chunks: head.chunked.then(Chunks::default),
            carry: Vec::new(),
            last_id,
            first: true,
        };
        text.take(crowd, &rest)?;
        Ok(Self { stream, text })
    }
}

impl Text {
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
        if crowd.count(frames) == 0 {
            return;
        }
        if std::mem::take(&mut self.first) {
            crowd.one_heard();
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

async fn subscriber(crowd: Rc<Crowd>, tail: Rc<Tail>, mut reader: Reader) -> Result<()> {
    loop {
        let Reader { stream, text } = &mut reader;
        stream.readable().await?;
        let hung_up = crowd.read_ready(stream, |bytes| text.take(&crowd, bytes))?;
        if hung_up {
            let Some(last_id) = text.last_id.take() else {
                bail!("a subscriber was cut off before it had an id to resume from");
            };
            crowd.one_resumed();
            let first = text.first;
            reader = Reader::connect(&crowd, &tail, Some(last_id)).await?;
            reader.text.first &= first;
        }
    }
}
