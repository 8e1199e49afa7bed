//! Just enough HTTP/1.1 to load a server cheaply: keep-alive requests written by hand, answers read by their length or
//! their chunks. It knows nothing of redirects, trailers or upgrades, and none of the contenders answers with any.

use std::io::Write as _;
use std::net::SocketAddr;
use std::ops::Range;

use anyhow::{Context, Result, bail};
use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// One keep-alive connection.
pub struct Conn {
    stream: TcpStream,
    buf: Vec<u8>,
    filled: usize,
    unchunked: Vec<u8>,
}

/// The head of an answer.
pub struct Head {
    pub status: u16,
    pub chunked: bool,
    length: usize,
    /// Where the body begins in what was read.
    pub body_at: usize,
}

pub struct Reply<'a> {
    pub status: u16,
    pub body: &'a [u8],
}

impl Reply<'_> {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub fn text(&self) -> String {
        let shown = &self.body[..self.body.len().min(300)];
        format!("{} {}", self.status, String::from_utf8_lossy(shown).trim())
    }
}

impl Conn {
    pub async fn open(addr: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(addr)
            .await
            .with_context(|| format!("connect to {addr}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buf: vec![0; 16 * 1024],
            filled: 0,
            unchunked: Vec::new(),
        })
    }

    /// Sends one whole request and reads its whole answer.
    pub async fn call(&mut self, request: &[u8]) -> Result<Reply<'_>> {
        self.stream.write_all(request).await?;
        self.filled = 0;
        let head = loop {
            if let Some(head) = parse_head(&self.buf[..self.filled])? {
                break head;
            }
            self.read_more().await?;
        };
        if head.chunked {
            return self.chunked_body(&head).await;
        }
        let body = head.body_at..head.body_at + head.length;
        while self.filled < body.end {
            self.read_more().await?;
        }
        Ok(Reply {
            status: head.status,
            body: &self.buf[body],
        })
    }

    async fn chunked_body(&mut self, head: &Head) -> Result<Reply<'_>> {
        self.unchunked.clear();
        let mut chunks = Chunks::default();
        let mut from = head.body_at;
        loop {
            let out = &mut self.unchunked;
            chunks.feed(&self.buf[from..self.filled], |bytes| {
                out.extend_from_slice(bytes)
            })?;
            if chunks.ended() {
                return Ok(Reply {
                    status: head.status,
                    body: &self.unchunked,
                });
            }
            from = self.filled;
            self.read_more().await?;
        }
    }

    async fn read_more(&mut self) -> Result<()> {
        if self.filled == self.buf.len() {
            self.buf.resize(self.buf.len() * 2, 0);
        }
        let read = self.stream.read(&mut self.buf[self.filled..]).await?;
        if read == 0 {
            bail!("the server closed the connection");
        }
        self.filled += read;
        Ok(())
    }

    /// Sends a request whose answer does not end, and hands back the stream with what came of the body so far.
    pub async fn stream(mut self, request: &[u8]) -> Result<(TcpStream, Head, Vec<u8>)> {
        self.stream.write_all(request).await?;
        loop {
            if let Some(head) = parse_head(&self.buf[..self.filled])? {
                let rest = self.buf[head.body_at..self.filled].to_vec();
                return Ok((self.stream, head, rest));
            }
            self.read_more().await?;
        }
    }
}

/// `None` until the head is whole.
fn parse_head(bytes: &[u8]) -> Result<Option<Head>> {
    let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
        return Ok(None);
    };
    let mut lines = bytes[..end].split(|byte| *byte == b'\n');
    let status_line = lines.next().unwrap_or_default();
    let status = status_line
        .get(9..12)
        .and_then(|code| std::str::from_utf8(code).ok());
    let status = status
        .and_then(|code| code.parse().ok())
        .context("no status in the answer")?;
    let mut head = Head {
        status,
        chunked: false,
        length: 0,
        body_at: end + 4,
    };
    for line in lines {
        if let Some(value) = header(line, b"content-length") {
            head.length = value
                .parse()
                .with_context(|| format!("content-length {value:?}"))?;
        } else if let Some(value) = header(line, b"transfer-encoding") {
            head.chunked = value.eq_ignore_ascii_case("chunked");
        }
    }
    Ok(Some(head))
}

/// The value of a header's line, if it is this header's.
pub fn header<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a str> {
    let (found, value) = (line.get(..name.len())?, line.get(name.len()..)?);
    if !found.eq_ignore_ascii_case(name) || value.first() != Some(&b':') {
        return None;
    }
    std::str::from_utf8(&value[1..]).ok().map(str::trim)
}

/// The unchanging part of a kind of request; bodies are appended to it.
pub struct Template {
    head: Vec<u8>,
}

impl Template {
    /// `Host` is the loopback address: an open server refuses any other.
    pub fn post(addr: SocketAddr, path: &str) -> Self {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {addr}\r\ncontent-type: application/json\r\ncontent-length: "
        );
        Self {
            head: head.into_bytes(),
        }
    }

    pub fn write(&self, out: &mut Vec<u8>, body: &[u8]) {
        out.clear();
        out.extend_from_slice(&self.head);
        write!(out, "{}\r\n\r\n", body.len()).expect("a vector takes every write");
        out.extend_from_slice(body);
    }
}

pub fn get(addr: SocketAddr, path: &str, extra: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: {addr}\r\naccept: */*\r\n{extra}\r\n").into_bytes()
}

/// Undoes chunked transfer coding, wherever reads happen to cut it.
#[derive(Default)]
pub struct Chunks {
    state: ChunkState,
}

#[derive(Default)]
enum ChunkState {
    #[default]
    Start,
    Size(usize),
    Extension(usize),
    Data(usize),
    DataEnd,
    Ended,
}

impl Chunks {
    pub fn ended(&self) -> bool {
        matches!(self.state, ChunkState::Ended)
    }

    pub fn feed<'a>(&mut self, bytes: &'a [u8], mut take: impl FnMut(&'a [u8])) -> Result<()> {
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            self.state = match self.state {
                ChunkState::Data(left) => {
                    let span: Range<usize> = at..bytes.len().min(at + left);
                    let left = left - span.len();
                    at = span.end;
                    take(&bytes[span]);
                    self.state = if left == 0 {
                        ChunkState::DataEnd
                    } else {
                        ChunkState::Data(left)
                    };
                    continue;
                }
                ChunkState::Start | ChunkState::Size(_) if byte.is_ascii_hexdigit() => {
                    let digit = char::from(byte).to_digit(16).unwrap_or_default() as usize;
                    let before = if let ChunkState::Size(size) = self.state {
                        size
                    } else {
                        0
                    };
                    ChunkState::Size(before * 16 + digit)
                }
                ChunkState::Size(0) | ChunkState::Extension(0) if byte == b'\n' => {
                    ChunkState::Ended
                }
                ChunkState::Size(size) | ChunkState::Extension(size) if byte == b'\n' => {
                    ChunkState::Data(size)
                }
                ChunkState::Size(size) | ChunkState::Extension(size) => ChunkState::Extension(size),
                ChunkState::DataEnd if byte == b'\n' => ChunkState::Start,
                ChunkState::DataEnd if byte == b'\r' => ChunkState::DataEnd,
                // What follows the last chunk is the empty line that ends the body.
                ChunkState::Ended => ChunkState::Ended,
                ChunkState::Start | ChunkState::DataEnd => bail!("broken chunk: byte {byte:#04x}"),
            };
            at += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_come_out_whole_however_reads_cut_them() {
        let wire = b"5\r\nhello\r\n1;x=y\r\n,\r\n6\r\n world\r\n0\r\n\r\n";
        for cut in 0..wire.len() {
            let mut chunks = Chunks::default();
            let mut text = Vec::new();
            for part in [&wire[..cut], &wire[cut..]] {
                chunks
                    .feed(part, |bytes| text.extend_from_slice(bytes))
                    .expect("valid chunks");
            }
            assert_eq!(text, b"hello, world", "cut at {cut}");
            assert!(chunks.ended(), "cut at {cut}");
        }
    }

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let wire = b"HTTP/1.1 201 Created\r\nContent-Length: 12\r\n\r\n";
        assert!(
            parse_head(&wire[..wire.len() - 1])
                .expect("no error")
                .is_none()
        );
        let head = parse_head(wire).expect("no error").expect("whole");
        assert_eq!((head.status, head.length, head.chunked), (201, 12, false));
    }
}
