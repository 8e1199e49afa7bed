//! An endpoint that answers as badly as it is told.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
};

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub(super) struct Got {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    /// Of this sink's requests, from 0.
    pub number: usize,
    /// Of this connection's requests, from 0.
    pub on_connection: usize,
}

impl Got {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value)
    }
}

/// What it does about a request.
#[derive(Clone)]
pub(super) enum Reply {
    /// Says this, and waits for the next request.
    Say(Vec<u8>),
    /// Says this, and closes.
    Bye(Vec<u8>),
    /// Says the first, and then the second again and again for as long as anybody listens.
    Drip(Vec<u8>, Vec<u8>),
    /// Says nothing until the client closes.
    Hang,
    /// Waits for a permit first.
    After(Arc<Semaphore>, Box<Reply>),
}

pub(super) fn status(status: u16) -> Reply {
    with(status, "", "")
}

pub(super) fn with(status: u16, headers: &str, body: &str) -> Reply {
    let length = match status {
        204 | 304 => String::new(),
        _ => format!("content-length: {}\r\n", body.len()),
    };
    Reply::Say(format!("HTTP/1.1 {status} x\r\n{headers}{length}\r\n{body}").into_bytes())
}

#[derive(Default)]
struct Seen {
    got: Mutex<Vec<Got>>,
    connections: AtomicUsize,
    /// Requests that are being answered.
    now: AtomicUsize,
    most: AtomicUsize,
    /// Connections that the client closed while it was being answered.
    left: AtomicUsize,
}

pub(super) struct Sink {
    pub address: SocketAddr,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sink {
    pub async fn start(reply: impl Fn(&Got) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let (sees, reply) = (Arc::clone(&seen), Arc::new(reply));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                sees.connections.fetch_add(1, Ordering::SeqCst);
                let (sees, reply) = (Arc::clone(&sees), Arc::clone(&reply));
                tokio::spawn(async move { serve(stream, &sees, &*reply).await });
            }
        });
        Sink {
            address,
            seen,
            task,
        }
    }

    pub async fn always(reply: Reply) -> Self {
        Self::start(move |_| reply.clone()).await
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn got(&self) -> Vec<Got> {
        self.seen.got.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.seen.got.lock().unwrap().len()
    }

    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// The most requests that it had at once.
    pub fn most(&self) -> usize {
        self.seen.most.load(Ordering::SeqCst)
    }

    pub fn now(&self) -> usize {
        self.seen.now.load(Ordering::SeqCst)
    }

    pub fn left(&self) -> usize {
        self.seen.left.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, seen: &Seen, reply: &(dyn Fn(&Got) -> Reply + Send + Sync)) {
    let mut buffer = Vec::new();
    for on_connection in 0.. {
        let Some(mut got) = read(&mut stream, &mut buffer).await else {
            return;
        };
        got.on_connection = on_connection;
        {
            let mut all = seen.got.lock().unwrap();
            got.number = all.len();
            all.push(got.clone());
        }
        let now = seen.now.fetch_add(1, Ordering::SeqCst) + 1;
        seen.most.fetch_max(now, Ordering::SeqCst);
        let goes_on = answer(&mut stream, seen, reply(&got)).await;
        seen.now.fetch_sub(1, Ordering::SeqCst);
        if !goes_on {
            return;
        }
    }
}

/// Whether another request may come on this connection.
async fn answer(stream: &mut TcpStream, seen: &Seen, mut reply: Reply) -> bool {
    while let Reply::After(permits, then) = reply {
        let permit = tokio::select! {
            permit = permits.acquire() => permit.unwrap(),
            () = gone(stream) => {
                seen.left.fetch_add(1, Ordering::SeqCst);
                return false;
            }
        };
        permit.forget();
        reply = *then;
    }
    match reply {
        Reply::Say(bytes) => return stream.write_all(&bytes).await.is_ok(),
        Reply::Bye(bytes) => {
            let _ = stream.write_all(&bytes).await;
            return false;
        }
        Reply::Drip(head, drop) => {
            let _ = stream.write_all(&head).await;
            while stream.write_all(&drop).await.is_ok() {
                // Slow enough for a deadline, and fast enough to pass any cap; a pace, not a wait.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        Reply::Hang | Reply::After(..) => gone(stream).await,
    }
    seen.left.fetch_add(1, Ordering::SeqCst);
    false
}

/// Until the client closes.
async fn gone(stream: &mut TcpStream) {
    let mut rest = [0; 1024];
    while !matches!(stream.read(&mut rest).await, Ok(0) | Err(_)) {}
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Got> {
    loop {
        if let Some(head) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let mut got = parse(str::from_utf8(&buffer[..head]).unwrap());
            let length = got.headers.get("content-length");
            let length = length.map_or(0, |length| length.parse().unwrap());
            if buffer.len() >= head + 4 + length {
                got.body = buffer[head + 4..head + 4 + length].to_vec();
                buffer.drain(..head + 4 + length);
                return Some(got);
            }
        }
        match stream.read_buf(buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

fn parse(head: &str) -> Got {
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap().split(' ');
    let headers = lines.map(|line| line.split_once(": ").unwrap());
    Got {
        method: first.next().unwrap().to_owned(),
        path: first.next().unwrap().to_owned(),
        headers: headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect(),
        ..Got::default()
    }
}
