//! Just enough of Redis to load its streams: XADD, and XREAD that blocks.

use std::io::Write as _;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use memchr::memmem;

use crate::crowd::Crowd;
use crate::line::{Line, Listener};
use crate::load::{Answer, Caller, NextBody};

const WRITES: &str = "a vector takes every write";
/// The one field of an entry.
const FIELD: &[u8] = b"event";

fn command(out: &mut Vec<u8>, words: &[&[u8]]) {
    write!(out, "*{}\r\n", words.len()).expect(WRITES);
    for word in words {
        write!(out, "${}\r\n", word.len()).expect(WRITES);
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// The length of the first reply, once it is whole; its texts are shown as they are found, also of one that is not.
fn cut<'a>(bytes: &'a [u8], mut text: impl FnMut(&'a [u8])) -> Result<Option<usize>> {
    let (mut at, mut left) = (0, 1);
    while left > 0 {
        let Some(end) = memmem::find(&bytes[at..], b"\r\n") else {
            return Ok(None);
        };
        let line = std::str::from_utf8(&bytes[at..at + end]).context("a Redis reply is no text")?;
        let (kind, rest) = line.split_at_checked(1).context("an empty Redis reply")?;
        // A length of -1 is that of nothing.
        let size = || anyhow::Ok(usize::try_from(rest.parse::<i64>()?).ok());
        at += end + 2;
        left -= 1;
        match kind {
            "*" => left += size()?.unwrap_or(0),
            "$" => {
                if let Some(size) = size()? {
                    let Some(found) = bytes.get(at..at + size) else {
                        return Ok(None);
                    };
                    text(found);
                    at += size + 2;
                }
            }
            "+" | ":" => {}
            "-" => bail!("Redis says: {rest}"),
            _ => bail!("no Redis reply: {line}"),
        }
        if at > bytes.len() {
            return Ok(None);
        }
    }
    Ok(Some(at))
}

/// Adds to one thread's stream, an entry a round trip.
pub struct Adder {
    line: Line,
    thread: String,
    body: NextBody,
    text: Vec<u8>,
    request: Vec<u8>,
}

impl Adder {
    pub async fn open(addr: SocketAddr, thread: &str, body: NextBody) -> Result<Self> {
        Ok(Self {
            line: Line::open(addr).await?,
            thread: thread.to_owned(),
            body,
            text: Vec::new(),
            request: Vec::new(),
        })
    }
}

impl Caller for Adder {
    fn prepare(&mut self) {
        self.text.clear();
        (self.body)(&mut self.text);
        self.request.clear();
        let thread = self.thread.as_bytes();
        command(
            &mut self.request,
            &[b"XADD", thread, b"*", FIELD, &self.text],
        );
    }

    async fn call(&mut self) -> Result<Answer> {
        self.line.send(&self.request).await?;
        let id = self
            .line
            .next(|bytes| Ok(cut(bytes, |_| {})?.map(|length| ((), length))));
        id.await?;
        Ok(Answer::Taken)
    }
}

/// Reads a thread from its start: asks for what is behind the last entry, and again once that has come.
pub struct Entries {
    thread: String,
    last: Vec<u8>,
}

impl Entries {
    pub async fn open(addr: SocketAddr, thread: &str) -> Result<(Line, Self)> {
        let mut line = Line::open(addr).await?;
        let entries = Self {
            thread: thread.to_owned(),
            last: b"0-0".to_vec(),
        };
        let mut request = Vec::new();
        entries.ask(&mut request);
        line.send(&request).await?;
        Ok((line, entries))
    }

    fn ask(&self, out: &mut Vec<u8>) {
        let thread = self.thread.as_bytes();
        command(
            out,
            &[b"XREAD", b"BLOCK", b"0", b"STREAMS", thread, &self.last],
        );
    }
}

impl Listener for Entries {
    fn take(&mut self, crowd: &Crowd, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize> {
        let mut used = 0;
        loop {
            // The last three texts of a reply are an id, the field, and what it holds.
            let mut last = [&b""[..]; 3];
            let reply = &bytes[used..];
            let Some(length) = cut(reply, |text| last = [last[1], last[2], text])? else {
                return Ok(used);
            };
            crowd.count(&reply[..length]);
            self.last = last[0].to_vec();
            self.ask(out);
            used += length;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::Subscribers;

    const REPLY: &[u8] = b"*1\r\n*2\r\n$2\r\nt1\r\n*2\r\n\
        *2\r\n$3\r\n7-0\r\n*2\r\n$5\r\nevent\r\n$13\r\n{\"sent_ns\":1}\r\n\
        *2\r\n$3\r\n7-1\r\n*2\r\n$5\r\nevent\r\n$13\r\n{\"sent_ns\":2}\r\n";

    #[test]
    fn a_reply_is_cut_once_it_is_whole() {
        for end in 0..REPLY.len() {
            let length = cut(&REPLY[..end], |_| {}).expect("a reply");
            assert_eq!(length, None, "cut at {end}");
        }
        let more = [REPLY, b"$4\r\n"].concat();
        assert_eq!(cut(&more, |_| {}).expect("a reply"), Some(REPLY.len()));
        assert_eq!(cut(b"*-1\r\n$", |_| {}).expect("nothing"), Some(5));
        assert!(cut(b"-NOAUTH who are you\r\n", |_| {}).is_err());
    }

    #[test]
    fn a_reader_asks_for_what_is_behind_the_last_entry() {
        let subscribers = Subscribers::none();
        let mut entries = Entries {
            thread: "t1".to_owned(),
            last: b"0-0".to_vec(),
        };
        let mut asked = Vec::new();
        let used = entries.take(&subscribers.crowd, REPLY, &mut asked);
        assert_eq!(used.expect("a reply"), REPLY.len());
        assert_eq!(subscribers.crowd.delivered(), 2);
        assert!(asked.ends_with(b"$2\r\nt1\r\n$3\r\n7-1\r\n"), "{asked:?}");
    }
}
