//! What the tests share: sinks that answer as badly as they are told, and resolvers that say what they are told.

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tidewire_outbound::{
    AddressPolicy, Answer, Client, ClientOptions, Error, Method, Request, Resolve, Resolving,
    Unresolved, subnets,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Longer than any test that passes takes.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A listener, and how its connections are treated.
pub struct Sink {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sink {
    pub async fn start<F, W>(treat: F) -> Self
    where
        F: Fn(Caller) -> W + Send + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        Self::start_at("127.0.0.1:0".parse().unwrap(), treat).await
    }

    pub async fn start_at<F, W>(address: SocketAddr, treat: F) -> Self
    where
        F: Fn(Caller) -> W + Send + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(treat(Caller { stream, number }));
            }
        });
        Self {
            address,
            connections,
            task,
        }
    }

    /// Answers every request on every connection with the same bytes.
    pub async fn always(answer: impl Into<Vec<u8>>) -> Self {
        let answer: Arc<Vec<u8>> = Arc::new(answer.into());
        Self::start(move |mut caller| {
            let answer = Arc::clone(&answer);
            async move {
                while caller.request().await.is_some() {
                    caller.say(answer.as_slice()).await;
                }
            }
        })
        .await
    }

    /// How many connections it has seen.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// One connection of a client under test.
pub struct Caller {
    pub stream: TcpStream,
    /// Of the connections that the sink has seen, from 0.
    pub number: usize,
}

impl Caller {
    /// The next request, head and body; none once the client has closed.
    pub async fn request(&mut self) -> Option<String> {
        let mut seen = Vec::new();
        loop {
            if let Some(head) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
                let text = String::from_utf8_lossy(&seen[..head]).to_ascii_lowercase();
                let length = text
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .map_or(0, |length| length.parse().unwrap());
                if seen.len() >= head + 4 + length {
                    return Some(String::from_utf8(seen).unwrap());
                }
            }
            match self.stream.read_buf(&mut seen).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Whether the client took it.
    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Until the client closes.
    pub async fn closed(&mut self) {
        let mut rest = [0; 1024];
        while !matches!(self.stream.read(&mut rest).await, Ok(0) | Err(_)) {}
    }
}

pub fn with_length(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Names with prepared answers, one after the other; the last one stays.
#[derive(Clone, Default)]
pub struct Names {
    answers: Arc<Mutex<HashMap<String, VecDeque<Vec<IpAddr>>>>>,
    asked: Arc<AtomicUsize>,
}

impl Names {
    pub fn new(names: &[(&str, &[&[&str]])]) -> Self {
        let answers = names.iter().map(|(name, answers)| {
            let answers = answers
                .iter()
                .map(|answer| answer.iter().map(|ip| ip.parse().unwrap()).collect());
            ((*name).to_owned(), answers.collect())
        });
        Self {
            answers: Arc::new(Mutex::new(answers.collect())),
            asked: Arc::default(),
        }
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Resolve for Names {
    fn resolve<'a>(&'a self, name: &'a str) -> Resolving<'a> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        let found = match answers.get_mut(name) {
            Some(answers) if answers.len() > 1 => answers.pop_front(),
            Some(answers) => answers.front().cloned(),
            None => None,
        };
        Box::pin(async move { found.ok_or_else(|| Unresolved("unknown name".to_owned())) })
    }
}

/// A client under a policy that opens these subnets.
pub fn options(allow: &str) -> ClientOptions {
    ClientOptions {
        policy: AddressPolicy::allowing(subnets(allow).unwrap()),
        ..ClientOptions::default()
    }
}

pub fn client(options: ClientOptions) -> Client {
    Client::new(options).unwrap()
}

pub fn local_client() -> Client {
    client(options("127.0.0.1"))
}

pub fn get(url: &str) -> Request {
    Request::new(Method::GET, url).unwrap().timeout(PATIENCE)
}

pub async fn fetch(client: &Client, url: &str) -> Result<Answer, Error> {
    client.send(get(url)).await
}
