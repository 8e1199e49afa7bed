//! The client: a connection from the pool or a new one, one exchange on it, everything within one deadline.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderValue, StatusCode, header};
use hyper::body::Incoming;
use rustls::ClientConfig;
use thiserror::Error;
use tokio_rustls::TlsConnector;

use crate::{
    AddressPolicy, Answer, BadAnswer, ConnectProblem, Error, Host, Opened, Phase, Request, Resolve,
    Roots, SystemResolver, Target, Timings, body,
    connection::{Connection, Failure, Fault, body_fault, head_fault},
    dial, metrics,
    pool::{Limits, Pool},
    tls,
};

/// A deadline further away than this is as good as none, and dates cannot hold all of them.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// How a client is made. `..ClientOptions::default()` for what is not said.
#[derive(Clone)]
pub struct ClientOptions {
    pub policy: AddressPolicy,
    pub resolver: Arc<dyn Resolve>,
    pub roots: Roots,
    /// Where a request names none.
    pub user_agent: String,
    /// Idle connections that are kept for one origin (scheme, host and port); HTTP/2 needs one at most.
    pub idle_per_origin: usize,
    /// Idle connections that are kept in all.
    pub idle_in_all: usize,
    /// How long a connection may be idle before it is closed. Zero keeps none.
    pub idle_for: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            policy: AddressPolicy::public(),
            resolver: Arc::new(SystemResolver::default()),
            roots: Roots::default(),
            user_agent: concat!("tidewire/", env!("CARGO_PKG_VERSION")).to_owned(),
            idle_per_origin: 64,
            idle_in_all: 512,
            idle_for: Duration::from_secs(30),
        }
    }
}

/// Why a client cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SetupError {
    #[error("a root certificate cannot be used: {0}")]
    Root(String),
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
    #[error("the user agent `{0}` cannot stand in a header")]
    UserAgent(String),
}

/// Sends requests to other people's addresses. Made once and shared: clones share their connections.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    policy: AddressPolicy,
    resolver: Arc<dyn Resolve>,
    tls: Arc<ClientConfig>,
    user_agent: HeaderValue,
    pool: Arc<Pool>,
}

impl Client {
    pub fn new(options: ClientOptions) -> Result<Self, SetupError> {
        let Ok(user_agent) = HeaderValue::try_from(&options.user_agent) else {
            return Err(SetupError::UserAgent(options.user_agent));
        };
        let pool = Pool::new(Limits {
            per_origin: options.idle_per_origin,
            in_all: options.idle_in_all,
            idle_for: options.idle_for,
        });
        Ok(Self {
            shared: Arc::new(Shared {
                policy: options.policy,
                resolver: options.resolver,
                tls: tls::config(&options.roots)?,
                user_agent,
                pool,
            }),
        })
    }

    /// The policy under which it dials, to judge a URL when it is stored ([`AddressPolicy::check_target`]).
    #[must_use]
    pub fn policy(&self) -> &AddressPolicy {
        &self.shared.policy
    }

    /// Sends a request and reads the answer, whatever its status. Nothing is ever sent twice. A future that is dropped
    /// takes its request with it.
    pub async fn send(&self, request: Request) -> Result<Answer, Error> {
        let started = Instant::now();
        // On the heap, once: the caller's future stays small.
        let outcome = Box::pin(self.shared.send(&request, started)).await;
        tell(&request, &outcome, |answer| answer.status, started);
        outcome
    }

    /// Sends a request, and hands the answer on as it comes: its body has the same deadline, and the same cap, beyond
    /// which it fails. Nothing is unpacked.
    pub async fn open(&self, request: Request) -> Result<Opened, Error> {
        let started = Instant::now();
        let opening = async {
            let asked = self.shared.ask(&request, started).await?;
            Opened::new(&request, asked, Arc::clone(&self.shared.pool))
        };
        let outcome = Box::pin(opening).await;
        tell(&request, &outcome, |opened| opened.status, started);
        outcome
    }
}

fn tell<T>(
    request: &Request,
    outcome: &Result<T, Error>,
    status: impl Fn(&T) -> StatusCode,
    started: Instant,
) {
    let took = started.elapsed();
    metrics::ended(outcome, took);
    let host = request.target().host();
    match outcome {
        Ok(answer) => {
            tracing::debug!(%host, status = status(answer).as_u16(), ?took, "answered");
        }
        Err(Error::Refused { refusal, .. }) => {
            tracing::info!(%host, %refusal, "address refused");
        }
        Err(error) => tracing::debug!(%host, %error, ?took, "no answer"),
    }
}

/// When a request must be over.
#[derive(Clone, Copy)]
pub(crate) struct Deadline {
    pub at: tokio::time::Instant,
    pub after: Duration,
}

impl Deadline {
    async fn hold<T>(
        self,
        phase: Phase,
        step: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let over = |_| Error::Timeout {
            phase,
            after: self.after,
        };
        tokio::time::timeout_at(self.at, step).await.map_err(over)?
    }
}

/// A new connection, and what it took to make it.
struct Fresh {
    connection: Connection,
    cost: Cost,
}

#[derive(Clone, Copy, Default)]
struct Cost {
    resolve: Option<Duration>,
    connect: Option<Duration>,
    tls: Option<Duration>,
}

impl Shared {
    async fn send(&self, request: &Request, started: Instant) -> Result<Answer, Error> {
        let Asked {
            connection,
            head,
            deadline,
        } = self.ask(request, started).await?;
        self.finish(request, connection, head, deadline).await
    }

    /// Sends a request, and waits for the head of its answer.
    async fn ask(&self, request: &Request, started: Instant) -> Result<Asked, Error> {
        let (timeout, ..) = request.wants();
        let after = timeout.min(LONGEST_TIMEOUT);
        let deadline = Deadline {
            at: tokio::time::Instant::from_std(started) + after,
            after,
        };
        let target = request.target();
        // Before anything else, and whatever the pool has: a literal needs no connector to be judged.
        self.policy.check_target(target)?;
        loop {
            let kept = match request.is_fresh() {
                true => None,
                false => self.pool.take(target.origin()),
            };
            let (mut connection, cost, reused) = match kept {
                Some(connection) => (connection, Cost::default(), true),
                None => {
                    // Its size would be every kept connection's price.
                    let connecting = Box::pin(self.connect(target, deadline));
                    let Fresh { connection, cost } = connecting.await?;
                    (connection, cost, false)
                }
            };
            let exchanged = self.exchange(request, &mut connection, reused, deadline);
            let response = match exchanged.await {
                // A kept connection was closed in the moment it was taken; nothing was sent.
                Ok(None) => {
                    self.let_go(target, &connection);
                    continue;
                }
                Ok(Some(response)) => response,
                Err(error) => {
                    self.let_go(target, &connection);
                    return Err(error);
                }
            };
            let head = Head {
                response,
                cost,
                started,
                first_byte: started.elapsed(),
            };
            return Ok(Asked {
                connection,
                head,
                deadline,
            });
        }
    }

    async fn connect(&self, target: &Target, deadline: Deadline) -> Result<Fresh, Error> {
        let mut cost = Cost::default();
        let origin = target.origin();
        let found = match &origin.host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => {
                let since = Instant::now();
                let unresolved = |detail: String| Error::UnresolvedName {
                    name: name.to_string(),
                    detail,
                };
                let look_up = async {
                    let found = self.resolver.resolve(name).await;
                    found.map_err(|why| unresolved(why.0))
                };
                let found = deadline.hold(Phase::Resolve, look_up).await?;
                if found.is_empty() {
                    return Err(unresolved("it has no address".to_owned()));
                }
                cost.resolve = Some(since.elapsed());
                found
            }
        };
        let admitted = self.policy.admit(&origin.host, &found)?;

        let since = Instant::now();
        let dialled = async {
            let connected = dial::connect(&admitted, origin.port).await;
            connected.map_err(|error| Error::Connect {
                origin: origin.host_and_port(),
                problem: ConnectProblem(error.kind()),
            })
        };
        let stream = deadline.hold(Phase::Connect, dialled).await?;
        cost.connect = Some(since.elapsed());
        metrics::connected();

        let connection = if origin.secure {
            let since = Instant::now();
            let name = origin.server_name().map_err(Error::BadUrl)?;
            let shaken = async {
                let connector = TlsConnector::from(Arc::clone(&self.tls));
                let shaken = connector.connect(name, stream).await;
                shaken.map_err(|error| Error::Tls {
                    host: origin.host.to_string(),
                    problem: tls::problem(&error),
                })
            };
            let stream = deadline.hold(Phase::Tls, shaken).await?;
            cost.tls = Some(since.elapsed());
            let (_, session) = stream.get_ref();
            if session.alpn_protocol() == Some(b"h2") {
                self.greet(target, Box::pin(Connection::open_trunk(stream)), deadline)
                    .await?
            } else {
                self.greet(target, Connection::open_line(stream), deadline)
                    .await?
            }
        } else {
            self.greet(target, Connection::open_line(stream), deadline)
                .await?
        };
        self.pool.share(origin, &connection);
        Ok(Fresh { connection, cost })
    }

    async fn greet(
        &self,
        target: &Target,
        opening: impl Future<Output = hyper::Result<Connection>>,
        deadline: Deadline,
    ) -> Result<Connection, Error> {
        let greeting = async {
            opening.await.map_err(|_| Error::BadAnswer {
                host: target.host().to_string(),
                why: BadAnswer::Closed { reused: false },
            })
        };
        deadline.hold(Phase::Answer, greeting).await
    }

    /// None: nothing was sent, and another connection may be tried.
    async fn exchange(
        &self,
        request: &Request,
        connection: &mut Connection,
        reused: bool,
        deadline: Deadline,
    ) -> Result<Option<http::Response<Incoming>>, Error> {
        let host = || request.target().host().to_string();
        let message = request
            .message(&self.user_agent, connection.is_trunk())
            .map_err(Error::BadUrl)?;
        let asked = async {
            let error = match connection.exchange(message).await {
                Ok(response) => return Ok(Some(response)),
                Err(Failure::Unsent(_)) if reused => return Ok(None),
                Err(Failure::Unsent(error) | Failure::Failed(error)) => error,
            };
            Err(match head_fault(&error, connection, reused) {
                Fault::Answer(why) => Error::BadAnswer { host: host(), why },
                Fault::Tls(problem) => Error::Tls {
                    host: host(),
                    problem,
                },
            })
        };
        let response = deadline.hold(Phase::Answer, asked).await?;
        let switched = |response: &http::Response<Incoming>| {
            response.status() == StatusCode::SWITCHING_PROTOCOLS
        };
        if response.as_ref().is_some_and(switched) {
            return Err(Error::BadAnswer {
                host: host(),
                why: BadAnswer::Upgrade,
            });
        }
        Ok(response)
    }

    /// Reads the body, and keeps the connection if it can be used again.
    async fn finish(
        &self,
        request: &Request,
        connection: Connection,
        head: Head,
        deadline: Deadline,
    ) -> Result<Answer, Error> {
        let (_, cap, gunzip) = request.wants();
        let target = request.target();
        let (mut parts, mut incoming) = head.response.into_parts();
        let packed = gunzip && is_gzip(&parts.headers);
        let reading = async {
            let read = body::read(&mut incoming, cap, packed).await;
            read.map_err(|fault| Error::BadAnswer {
                host: target.host().to_string(),
                why: match fault {
                    body::Fault::Transport(error) => body_fault(&error, &connection),
                    body::Fault::NotGzip => BadAnswer::NotGzip,
                },
            })
        };
        let read = match deadline.hold(Phase::Body, reading).await {
            Ok(read) => read,
            Err(error) => {
                self.let_go(target, &connection);
                return Err(error);
            }
        };
        let total = head.started.elapsed();
        drop(incoming);
        if let Connection::Line(mut line) = connection
            && !read.truncated
            && line.is_ready_soon().await
        {
            self.pool.give_back(target.origin(), line);
        }
        if packed {
            parts.headers.remove(header::CONTENT_ENCODING);
            parts.headers.remove(header::CONTENT_LENGTH);
        }
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: read.bytes,
            truncated: read.truncated,
            timings: Timings {
                resolve: head.cost.resolve,
                connect: head.cost.connect,
                tls: head.cost.tls,
                first_byte: head.first_byte,
                total,
            },
        })
    }

    /// A shared connection on which a request failed or ran out of time may be dead, and nobody would notice: the next
    /// request makes a new one. A line goes with its holder.
    fn let_go(&self, target: &Target, connection: &Connection) {
        if let Connection::Trunk(trunk) = connection {
            self.pool.forget(target.origin(), trunk);
        }
    }
}

/// An answer that has begun.
pub(crate) struct Asked {
    pub connection: Connection,
    pub head: Head,
    pub deadline: Deadline,
}

pub(crate) struct Head {
    pub response: http::Response<Incoming>,
    cost: Cost,
    started: Instant,
    first_byte: Duration,
}

fn is_gzip(headers: &http::HeaderMap) -> bool {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    let gzip = |value: &HeaderValue| {
        value.as_bytes().eq_ignore_ascii_case(b"gzip")
            || value.as_bytes().eq_ignore_ascii_case(b"x-gzip")
    };
    encodings.next().is_some_and(gzip) && encodings.next().is_none()
}
