//! Just enough of NATS to load JetStream: publishing with acknowledgement, consumers, plain subscriptions.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use memchr::memmem;
use serde_json::{Value, json};

use crate::crowd::Crowd;
use crate::line::{Line, Listener};
use crate::load::{Answer, Caller, NextBody};

const HELLO: &str = "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\
                     \"protocol\":1,\"lang\":\"bench\",\"version\":\"0\"}\r\n";
const PONG: &[u8] = b"PONG\r\n";
/// A stream that says nothing has a thousand at most.
const MAX_CONSUMERS: usize = 100_000;
/// How long a consumer stays that nobody hears.
const INACTIVE: Duration = Duration::from_mins(5);
const WRITES: &str = "a vector takes every write";

#[derive(Debug, PartialEq, Eq)]
enum Frame<'a> {
    /// Its payload, without headers.
    Message(&'a [u8]),
    Ping,
    Pong,
    /// What nobody waits for.
    Other,
}

/// The first frame and its length, once it is whole.
fn cut(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>> {
    let Some(end) = memmem::find(bytes, b"\r\n") else {
        return Ok(None);
    };
    let line = std::str::from_utf8(&bytes[..end]).context("a NATS frame is no text")?;
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let body = end + 2;
    let frame = match verb {
        "MSG" | "HMSG" => {
            let mut sizes = rest.rsplit(' ').map(str::parse::<usize>);
            let mut size = || sizes.next().context("a NATS message without a size");
            let total = size()??;
            let headers = if verb == "HMSG" { size()?? } else { 0 };
            let length = body + total + 2;
            if bytes.len() < length {
                return Ok(None);
            }
            let Some(payload) = bytes.get(body + headers..body + total) else {
                bail!("a NATS message with more headers than bytes: {line}");
            };
            return Ok(Some((Frame::Message(payload), length)));
        }
        "PING" => Frame::Ping,
        "PONG" => Frame::Pong,
        "INFO" | "+OK" => Frame::Other,
        _ => bail!("NATS says: {line}"),
    };
    Ok(Some((frame, body)))
}

/// JetStream's answer to a request or a publication.
fn answer(payload: &[u8]) -> Answer {
    if payload.is_empty() || memmem::find(payload, b"\"error\":").is_some() {
        let said = String::from_utf8_lossy(&payload[..payload.len().min(300)]).into_owned();
        Answer::Refused(format!("JetStream refuses: {said}"))
    } else {
        Answer::Taken
    }
}

/// A connection that hears one subject, once it is there.
pub async fn hear(addr: SocketAddr, subject: &str) -> Result<Line> {
    let mut line = Line::open(addr).await?;
    let hello = format!("{HELLO}SUB {subject} 1\r\nPING\r\n");
    line.send(hello.as_bytes()).await?;
    let is_pong =
        |bytes: &[u8]| Ok(cut(bytes)?.map(|(frame, length)| (frame == Frame::Pong, length)));
    while !line.next(is_pong).await? {}
    Ok(line)
}

/// A connection that waits for answers in an inbox of its own.
pub struct Client {
    line: Line,
    inbox: String,
}

impl Client {
    /// `name` tells connections apart.
    pub async fn open(addr: SocketAddr, name: &str) -> Result<Self> {
        let inbox = format!("_INBOX.{name}");
        let line = hear(addr, &inbox).await?;
        Ok(Self { line, inbox })
    }

    /// Sends what asks for an answer in the inbox.
    async fn call(&mut self, request: &[u8]) -> Result<Answer> {
        self.line.send(request).await?;
        loop {
            let next = self.line.next(|bytes| {
                Ok(cut(bytes)?.map(|(frame, length)| {
                    let answer = match frame {
                        Frame::Message(payload) => Some(answer(payload)),
                        _ => None,
                    };
                    ((answer, frame == Frame::Ping), length)
                }))
            });
            match next.await? {
                (Some(answer), _) => return Ok(answer),
                (None, true) => self.line.send(PONG).await?,
                (None, false) => {}
            }
        }
    }

    async fn request(&mut self, subject: &str, body: &Value) -> Result<()> {
        let mut request = Vec::new();
        publication(
            &mut request,
            subject,
            &self.inbox,
            body.to_string().as_bytes(),
        );
        match self.call(&request).await? {
            Answer::Taken => Ok(()),
            Answer::Refused(text) => bail!("{subject}: {text}"),
        }
    }
}

fn publication(out: &mut Vec<u8>, subject: &str, inbox: &str, body: &[u8]) {
    out.clear();
    write!(out, "PUB {subject} {inbox} {}\r\n", body.len()).expect(WRITES);
    out.extend_from_slice(body);
    out.extend_from_slice(b"\r\n");
}

fn subject(thread: &str) -> String {
    format!("threads.{thread}")
}

/// Where messages of a thread come once they are stored, if the stream republishes them.
pub fn live_subject(thread: &str) -> String {
    format!("live.{}", subject(thread))
}

impl Client {
    /// A stream for each thread, in files: one stream syncs one message at a time.
    async fn create_stream(&mut self, thread: &str, republishes: bool) -> Result<()> {
        let mut config = json!({
            "name": thread, "subjects": [subject(thread)], "storage": "file", "retention": "limits", "num_replicas": 1,
            "max_consumers": MAX_CONSUMERS,
        });
        if republishes {
            config["republish"] = json!({"src": ">", "dest": "live.>"});
        }
        let create = format!("$JS.API.STREAM.CREATE.{thread}");
        self.request(&create, &config).await
    }

    /// Makes a consumer that sends a thread from its start to whoever hears this subject: what clients call an ordered
    /// consumer.
    pub async fn create_consumer(&mut self, thread: &str, name: &str, to: &str) -> Result<()> {
        let config = json!({
            "name": name, "deliver_subject": to, "filter_subject": subject(thread), "deliver_policy": "all",
            "ack_policy": "none", "max_deliver": 1, "mem_storage": true, "num_replicas": 1,
            "inactive_threshold": INACTIVE.as_nanos() as u64,
        });
        let body = json!({"stream_name": thread, "config": config});
        let create = format!("$JS.API.CONSUMER.CREATE.{thread}.{name}");
        self.request(&create, &body).await
    }
}

/// Publishes to one thread, which it makes; each message is answered once it is stored.
pub struct Publisher {
    client: Client,
    subject: String,
    body: NextBody,
    text: Vec<u8>,
    request: Vec<u8>,
}

impl Publisher {
    /// What is stored is also republished to who hears [`live_subject`], if that is wanted.
    pub async fn open(
        addr: SocketAddr,
        thread: &str,
        republishes: bool,
        body: NextBody,
    ) -> Result<Self> {
        let mut client = Client::open(addr, thread).await?;
        client.create_stream(thread, republishes).await?;
        Ok(Self {
            client,
            subject: subject(thread),
            body,
            text: Vec::new(),
            request: Vec::new(),
        })
    }
}

impl Caller for Publisher {
    fn prepare(&mut self) {
        self.text.clear();
        (self.body)(&mut self.text);
        publication(
            &mut self.request,
            &self.subject,
            &self.client.inbox,
            &self.text,
        );
    }

    async fn call(&mut self) -> Result<Answer> {
        self.client.call(&self.request).await
    }
}

pub struct Messages;

impl Listener for Messages {
    fn take(&mut self, crowd: &Crowd, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize> {
        let mut used = 0;
        while let Some((frame, length)) = cut(&bytes[used..])? {
            match frame {
                Frame::Message(payload) => drop(crowd.count(payload)),
                Frame::Ping => out.extend_from_slice(PONG),
                Frame::Pong | Frame::Other => {}
            }
            used += length;
        }
        Ok(used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_once_they_are_whole() {
        let wire = b"INFO {\"port\":1}\r\nMSG a.b 2 $JS.ACK.x 5\r\nhe\r\nl\r\nHMSG a.b 2 12 15\r\nNATS/1.0\r\n\r\nyou\r\nPING\r\n";
        for end in 0..=wire.len() {
            let (mut frames, mut used) = (Vec::new(), 0);
            while let Some((frame, length)) = cut(&wire[used..end]).expect("frames") {
                frames.push(frame);
                used += length;
            }
            let all = [
                Frame::Other,
                Frame::Message(b"he\r\nl"),
                Frame::Message(b"you"),
                Frame::Ping,
            ];
            assert!(all.starts_with(&frames), "cut at {end}: {frames:?}");
            assert_eq!(frames.len() == all.len(), end == wire.len());
        }
    }

    #[test]
    fn an_error_of_the_server_ends_it() {
        let error = cut(b"-ERR 'Authorization Violation'\r\n").expect_err("an error");
        assert!(error.to_string().contains("Authorization"));
        assert!(cut(b"HMSG a 1 9 3\r\nabc\r\n").is_err());
    }

    #[test]
    fn only_an_answer_without_an_error_is_taken() {
        assert!(matches!(
            answer(br#"{"stream":"threads","seq":7}"#),
            Answer::Taken
        ));
        for refused in [&b""[..], br#"{"error":{"code":503},"stream":"threads"}"#] {
            assert!(matches!(answer(refused), Answer::Refused(_)));
        }
    }
}
