//! Connections of the peers that speak no HTTP: what is read is cut into whole messages, as the peer's protocol has them.

use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::crowd::Crowd;

pub struct Line {
    stream: TcpStream,
    /// What was read and is not taken yet.
    unread: Vec<u8>,
}

impl Line {
    pub async fn open(addr: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(addr)
            .await
            .with_context(|| format!("connect to {addr}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            unread: Vec::new(),
        })
    }

    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// The next message. `cut` finds one and its length at the start of what was read, once it is whole.
    pub async fn next<M>(
        &mut self,
        cut: impl Fn(&[u8]) -> Result<Option<(M, usize)>>,
    ) -> Result<M> {
        loop {
            if let Some((message, length)) = cut(&self.unread)? {
                self.unread.drain(..length);
                return Ok(message);
            }
            if self.stream.read_buf(&mut self.unread).await? == 0 {
                bail!("the server closed the connection");
            }
        }
    }
}

/// What a subscriber does with what it is sent.
pub trait Listener {
    /// Counts the whole messages that `bytes` begins with, and says how long they are. What has to be answered goes to
    /// `answer`.
    fn take(&mut self, crowd: &Crowd, bytes: &[u8], answer: &mut Vec<u8>) -> Result<usize>;
}

pub async fn subscriber(crowd: Rc<Crowd>, line: Line, mut listener: impl Listener) -> Result<()> {
    let Line {
        mut stream,
        unread: mut carry,
    } = line;
    let mut answer = Vec::new();
    let used = listener.take(&crowd, &carry, &mut answer)?;
    carry.drain(..used);
    // Thousands of them wait: nobody keeps room for what it once read.
    carry.shrink_to_fit();
    loop {
        if !answer.is_empty() {
            stream.write_all(&answer).await?;
            answer.clear();
        }
        stream.readable().await?;
        let hung_up = crowd.read_ready(&stream, |bytes| {
            if carry.is_empty() {
                let used = listener.take(&crowd, bytes, &mut answer)?;
                carry.extend_from_slice(&bytes[used..]);
            } else {
                carry.extend_from_slice(bytes);
                let used = listener.take(&crowd, &carry, &mut answer)?;
                carry.drain(..used);
            }
            Ok(())
        })?;
        if hung_up {
            bail!("a subscriber was cut off");
        }
    }
}
