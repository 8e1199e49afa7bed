//! The limit of deliveries again, through the HTTP library that Tidewire uses too: what is left for the store, the claims
//! and the rest once requests are made, sent and answered as a program would do it that does not count bytes by hand.

use std::net::SocketAddr;
use std::str::FromStr as _;

use anyhow::{Context, Result};
use axum::http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::posts::IDS;
use super::{first_id, sortable_id};
use crate::load::{Answer, Caller};

pub async fn open(sample: &str, addr: SocketAddr, connections: usize) -> Result<Vec<HyperPoster>> {
    let template = parse(sample, addr)?;
    let mut posters = Vec::with_capacity(connections);
    for index in 0..connections {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::task::spawn_local(async move {
            // Whoever waits for an answer on it gets the error too.
            let _ = connection.await;
        });
        posters.push(HyperPoster {
            sender,
            template: template.clone(),
            next: None,
            next_id: first_id() + index as u64 * IDS,
        });
    }
    Ok(posters)
}

pub struct HyperPoster {
    sender: SendRequest<Full<Bytes>>,
    template: Request<Full<Bytes>>,
    next: Option<Request<Full<Bytes>>>,
    next_id: u64,
}

impl Caller for HyperPoster {
    fn prepare(&mut self) {
        self.next_id += 1;
        let id = HeaderValue::from_str(&sortable_id(self.next_id)).expect("digits");
        let mut request = self.template.clone();
        request.headers_mut().insert("webhook-id", id);
        self.next = Some(request);
    }

    async fn call(&mut self) -> Result<Answer> {
        let request = self.next.take().context("a call was not prepared")?;
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status();
        answer.into_body().collect().await?;
        Ok(if status.is_success() {
            Answer::Taken
        } else {
            Answer::Refused(status.to_string())
        })
    }
}

/// What was seen on the wire, as a request that the library sends to this address.
fn parse(sample: &str, addr: SocketAddr) -> Result<Request<Full<Bytes>>> {
    let (head, body) = sample.split_once("\r\n\r\n").context("half a request")?;
    let mut lines = head.split("\r\n");
    let mut line = lines.next().unwrap_or_default().split(' ');
    let (method, path) = line.next().zip(line.next()).context("no request line")?;
    let mut request = Request::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *request.method_mut() = Method::from_str(method)?;
    *request.uri_mut() = Uri::from_str(path)?;
    for line in lines {
        let (name, value) = line.split_once(':').context("no header")?;
        let name = HeaderName::from_str(name)?;
        let value = if name == header::HOST {
            HeaderValue::from_str(&addr.to_string())?
        } else {
            HeaderValue::from_str(value.trim())?
        };
        request.headers_mut().append(name, value);
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_becomes_a_request() {
        let sample =
            "POST /hook HTTP/1.1\r\nhost: old\r\nwebhook-id: 1\r\ncontent-length: 2\r\n\r\n{}";
        let addr = "127.0.0.1:4321".parse().expect("an address");
        let request = parse(sample, addr).expect("a request");
        assert_eq!(
            (request.method().as_str(), request.uri().path()),
            ("POST", "/hook")
        );
        assert_eq!(request.headers()["host"], "127.0.0.1:4321");
        assert_eq!(request.headers().len(), 3);
    }
}
