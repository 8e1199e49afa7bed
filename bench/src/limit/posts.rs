//! The limit of deliveries: nothing but posting. What Tidewire sent to the sink is sent again from this process, byte for
//! byte, over as many connections that are kept open; only the host, the id and the time of sending are new. No store,
//! no claims, no signing: the signature is the one that Tidewire made; and no HTTP library, only bytes.

use std::io::Write as _;
use std::net::SocketAddr;
use std::ops::Range;

use anyhow::{Context, Result, bail};

use super::{first_id, sortable_id};
use crate::bodies::{SENT_MARK, digits_behind};
use crate::load::{Answer, Caller, wall_ns};
use crate::wire::Conn;

/// Digits of the nanoseconds since 1970, for some centuries.
const SENT_DIGITS: usize = 19;
/// Ids that a connection has to itself.
pub const IDS: u64 = 1_000_000_000;

pub async fn open(sample: &str, addr: SocketAddr, connections: usize) -> Result<Vec<Poster>> {
    let replay = Replay::of(sample, addr)?;
    let mut posters = Vec::with_capacity(connections);
    for index in 0..connections {
        posters.push(Poster {
            conn: Conn::open(addr).await?,
            request: replay.clone(),
            next_id: first_id() + index as u64 * IDS,
        });
    }
    Ok(posters)
}

pub struct Poster {
    conn: Conn,
    request: Replay,
    next_id: u64,
}

impl Caller for Poster {
    fn prepare(&mut self) {
        self.next_id += 1;
        self.request.renew(self.next_id, wall_ns());
    }

    async fn call(&mut self) -> Result<Answer> {
        let reply = self.conn.call(&self.request.bytes).await?;
        Ok(if reply.is_success() {
            Answer::Taken
        } else {
            Answer::Refused(reply.text())
        })
    }
}

/// A request that was seen once, to be sent again and again.
#[derive(Clone)]
struct Replay {
    bytes: Vec<u8>,
    id: Range<usize>,
    sent: Option<Range<usize>>,
}

impl Replay {
    fn of(sample: &str, addr: SocketAddr) -> Result<Self> {
        let (head, body) = sample.split_once("\r\n\r\n").context("half a request")?;
        let (mut text, mut id) = (String::with_capacity(sample.len() + 8), None);
        for (at, line) in head.split("\r\n").enumerate() {
            if at > 0 {
                text.push_str("\r\n");
            }
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            if name.eq_ignore_ascii_case("host") {
                text.push_str(&format!("{name}: {addr}"));
                continue;
            }
            text.push_str(line);
            if name.eq_ignore_ascii_case("webhook-id") {
                let length = value.trim().len();
                id = Some(text.len() - length..text.len());
            }
        }
        text.push_str("\r\n\r\n");
        let body_at = text.len();
        text.push_str(body);
        let sent = body.find(SENT_MARK).and_then(|mark| {
            let digits = digits_behind(mark, body.as_bytes());
            (digits.len() == SENT_DIGITS).then_some(body_at + digits.start..body_at + digits.end)
        });
        let id = id.context("no webhook-id in what was delivered")?;
        if id.len() != sortable_id(0).len() {
            bail!("a webhook-id of {} characters", id.len());
        }
        Ok(Self {
            bytes: text.into_bytes(),
            id,
            sent,
        })
    }

    fn renew(&mut self, id: u64, sent_ns: u64) {
        let (ids, sents) = (self.id.clone(), self.sent.clone());
        let mut place = &mut self.bytes[ids];
        write!(place, "{id:026}").expect("it is as long");
        if let Some(sents) = sents {
            let mut place = &mut self.bytes[sents];
            write!(place, "{sent_ns:019}").expect("it is as long");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_sent_again_with_its_own_id_and_time() {
        let sample = "POST /hook HTTP/1.1\r\nwebhook-id: 01JABCDEFGHJKMNPQRSTVWXYZ0\r\nHost: 127.0.0.1:1\r\n\
                      content-length: 31\r\n\r\n{\"sent_ns\":1234567890123456789}";
        let addr = "127.0.0.1:4321".parse().expect("an address");
        let mut replay = Replay::of(sample, addr).expect("a request");
        replay.renew(77, 5);
        let expected = "POST /hook HTTP/1.1\r\nwebhook-id: 00000000000000000000000077\r\nHost: 127.0.0.1:4321\r\n\
                        content-length: 31\r\n\r\n{\"sent_ns\":0000000000000000005}";
        assert_eq!(String::from_utf8_lossy(&replay.bytes), expected);
    }
}
