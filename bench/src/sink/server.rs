//! The sink's own process: one thread and no framework, so that it costs whoever posts to it as little as can be.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{ARRIVALS, FORGET, HOOK, SEEN, Seen};
use crate::bodies::{SENT_MARK, digits_behind, number};
use crate::load::wall_ns;
use crate::wire::header;

const EMPTY: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const REFUSED: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
/// As long as every id of Tidewire's.
const ID: usize = 26;
/// Enough for every delivery and every question that the bench asks.
const LARGEST: usize = 1 << 20;

struct Post {
    id: [u8; ID],
    sent_ns: u64,
    at_ns: u64,
}

#[derive(Default)]
struct Memory {
    posts: Vec<Post>,
    connections: u64,
    bytes: u64,
    sample: Option<String>,
    refused: Option<String>,
    /// How often it was told to forget.
    age: u64,
}

pub fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, serve())
}

async fn serve() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on http://{}", listener.local_addr()?);
    let memory = Rc::new(RefCell::new(Memory::default()));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let memory = Rc::clone(&memory);
        tokio::task::spawn_local(async move {
            // Whoever closes a connection is done with it.
            if let Err(error) = connection(stream, &memory).await {
                memory.borrow_mut().refuse(&error.to_string());
            }
        });
    }
}

async fn connection(mut stream: TcpStream, memory: &RefCell<Memory>) -> Result<()> {
    let (mut buf, mut filled) = (vec![0; 16 * 1024], 0);
    let mut out = Vec::new();
    let mut counted = None;
    loop {
        let read = match stream.read(&mut buf[filled..]).await {
            Ok(0) | Err(_) => return Ok(()),
            Ok(read) => read,
        };
        filled += read;
        let mut at = 0;
        while let Some(request) = Request::parse(&buf[at..filled])? {
            at += request.whole.len();
            memory.borrow_mut().answer(&request, &mut counted, &mut out);
        }
        buf.copy_within(at..filled, 0);
        filled -= at;
        if !out.is_empty() {
            if stream.write_all(&out).await.is_err() {
                return Ok(());
            }
            out.clear();
        }
        if filled == buf.len() {
            if filled >= LARGEST {
                bail!("a request of more than {LARGEST} bytes");
            }
            buf.resize(filled * 2, 0);
        }
    }
}

struct Request<'a> {
    /// `POST /hook`
    line: &'a [u8],
    id: Option<&'a str>,
    body: &'a [u8],
    whole: &'a [u8],
}

impl<'a> Request<'a> {
    /// `None` until it is whole.
    fn parse(bytes: &'a [u8]) -> Result<Option<Self>> {
        let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
            return Ok(None);
        };
        let mut lines = bytes[..end].split(|byte| *byte == b'\n');
        let line = lines.next().unwrap_or_default();
        let line = match memmem::find(line, b" HTTP/1.1") {
            Some(end) => &line[..end],
            None => bail!("no request line of HTTP/1.1"),
        };
        let (mut id, mut length) = (None, 0_usize);
        for line in lines {
            if let Some(value) = header(line, b"webhook-id") {
                id = Some(value);
            } else if let Some(value) = header(line, b"content-length") {
                length = value.parse().context("unreadable content-length")?;
            } else if header(line, b"transfer-encoding").is_some() {
                bail!("a body without a length");
            }
        }
        let from = end + 4;
        let Some(body) = bytes.get(from..from.saturating_add(length)) else {
            return Ok(None);
        };
        Ok(Some(Self {
            line,
            id,
            body,
            whole: &bytes[..from + length],
        }))
    }

    fn is(&self, method: &str, path: &str) -> bool {
        let rest = self.line.strip_prefix(method.as_bytes());
        rest.and_then(|rest| rest.strip_prefix(b" ")) == Some(path.as_bytes())
    }

    /// When its body says that it was sent; 0 if it says nothing.
    fn sent_ns(&self) -> u64 {
        let Some(mark) = memmem::find(self.body, SENT_MARK.as_bytes()) else {
            return 0;
        };
        number(&self.body[digits_behind(mark, self.body)])
    }
}

impl Memory {
    /// `counted` is the age in which the connection was counted.
    fn answer(&mut self, request: &Request<'_>, counted: &mut Option<u64>, out: &mut Vec<u8>) {
        if request.is("POST", HOOK) {
            let id = request.id.and_then(|id| id.as_bytes().try_into().ok());
            let Some(id) = id else {
                self.refuse(&format!("webhook-id {:?}", request.id));
                out.extend_from_slice(REFUSED);
                return;
            };
            self.posts.push(Post {
                id,
                sent_ns: request.sent_ns(),
                at_ns: wall_ns(),
            });
            self.bytes += request.whole.len() as u64;
            if self.sample.is_none() {
                self.sample = Some(String::from_utf8_lossy(request.whole).into_owned());
            }
            if *counted != Some(self.age) {
                *counted = Some(self.age);
                self.connections += 1;
            }
            out.extend_from_slice(EMPTY);
        } else if request.is("GET", SEEN) {
            with_body(out, &self.seen());
        } else if request.is("GET", ARRIVALS) {
            with_body(out, &self.arrivals());
        } else if request.is("POST", FORGET) {
            *self = Self {
                age: self.age + 1,
                ..Self::default()
            };
            out.extend_from_slice(EMPTY);
        } else {
            self.refuse(&String::from_utf8_lossy(request.line));
            out.extend_from_slice(REFUSED);
        }
    }

    fn refuse(&mut self, what: &str) {
        self.refused.get_or_insert_with(|| what.to_owned());
    }

    fn seen(&self) -> String {
        let seen = Seen {
            posts: self.posts.len() as u64,
            connections: self.connections,
            bytes: self.bytes,
            sample: self.sample.clone(),
            refused: self.refused.clone(),
        };
        serde_json::to_string(&seen).expect("numbers and text are JSON")
    }

    fn arrivals(&self) -> String {
        let mut text = String::with_capacity(self.posts.len() * 70);
        for post in &self.posts {
            let id = String::from_utf8_lossy(&post.id);
            let _ = writeln!(text, "{id} {} {}", post.sent_ns, post.at_ns);
        }
        text
    }
}

fn with_body(out: &mut Vec<u8>, body: &str) {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(body.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const POST: &str = "POST /hook HTTP/1.1\r\nhost: a\r\nWebhook-Id: 01JABCDEFGHJKMNPQRSTVWXYZ0\r\n\
                        content-length: 22\r\n\r\n{\"sent_ns\":1234567890";

    #[test]
    fn a_request_is_taken_once_its_body_is_whole() {
        assert!(Request::parse(POST.as_bytes()).expect("no error").is_none());
        let whole = format!("{POST}}}GET /seen");
        let request = Request::parse(whole.as_bytes())
            .expect("no error")
            .expect("whole");
        assert!(request.is("POST", HOOK) && !request.is("POST", "/hoo"));
        assert_eq!(request.id, Some("01JABCDEFGHJKMNPQRSTVWXYZ0"));
        assert_eq!(request.sent_ns(), 1_234_567_890);
        assert_eq!(request.whole.len(), POST.len() + 1);
        let spaced = POST.replace("\":1", "\": 1").replace("22", "23") + "}";
        let request = Request::parse(spaced.as_bytes())
            .expect("no error")
            .expect("whole");
        assert_eq!(request.sent_ns(), 1_234_567_890);
    }

    #[test]
    fn what_came_is_counted_until_it_is_forgotten() {
        let whole = format!("{POST}}}");
        let request = Request::parse(whole.as_bytes())
            .expect("no error")
            .expect("whole");
        let (mut memory, mut counted, mut out) = (Memory::default(), None, Vec::new());
        memory.answer(&request, &mut counted, &mut out);
        memory.answer(&request, &mut counted, &mut out);
        assert_eq!((memory.posts.len(), memory.connections), (2, 1));
        let forget = b"POST /forget HTTP/1.1\r\ncontent-length: 0\r\n\r\n";
        let forget = Request::parse(forget).expect("no error").expect("whole");
        memory.answer(&forget, &mut None, &mut out);
        memory.answer(&request, &mut counted, &mut out);
        assert_eq!((memory.posts.len(), memory.connections), (1, 1));
        assert_eq!(out, EMPTY.repeat(4));
    }
}
