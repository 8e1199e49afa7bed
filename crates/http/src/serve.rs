//! The server loop: accepts, bounds what is open at once, and drains. hyper is used directly because
//! the ready-made loops have none of the limits below.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use axum::body::Body;
use http::{Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::{
    endless::{self, Handover, may_be_taken},
    linger::{Lent, Lingering},
};

/// What one listener allows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections; more wait in the kernel's backlog.
    pub connections: u32,
    /// For a request's head to arrive, and for a connection without a request.
    pub head: Duration,
    /// For what is in flight when the server stops; then connections are cut.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 10_000,
            head: Duration::from_secs(30),
            drain: Duration::from_secs(30),
        }
    }
}

/// After how long a peer that acknowledges nothing counts as dead: behind proxies and NAT nobody
/// says goodbye, and an endless stream would keep its place for ever.
const PEER_DEAD: Duration = Duration::from_secs(60);

/// Serves until `shutdown` is cancelled and everything in flight is answered or `limits.drain` is
/// over. Returns how many connections had to be cut.
pub async fn serve<S>(
    listener: TcpListener,
    app: S,
    shutdown: CancellationToken,
    limits: Limits,
) -> usize
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let slots = Arc::new(Semaphore::new(limits.connections as usize));
    let server = Server {
        app,
        limits,
        shutdown: shutdown.clone(),
        cut: CancellationToken::new(),
        cut_count: Arc::default(),
        protocol: Arc::new(protocol(limits)),
    };
    let mut stopped = pin!(shutdown.cancelled());
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stopped => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        match accepted {
            Ok((stream, slot)) => {
                tokio::spawn(server.clone().connection(stream, slot));
            }
            Err(error) => {
                // Out of descriptors or memory: trying again at once would only burn the CPU.
                tracing::warn!(%error, "cannot accept connections");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    // All slots back means no connection left.
    let all = slots.acquire_many(limits.connections);
    if timeout(limits.drain, all).await.is_err() {
        server.cut.cancel();
        let _all = slots.acquire_many(limits.connections).await;
    }
    server.cut_count.load(Ordering::Acquire)
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Ok((stream, slot)),
            // The peer's fault, and over: the next one is a new case.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted
                        | io::ErrorKind::ConnectionReset
                        | io::ErrorKind::ConnectionRefused
                        | io::ErrorKind::Interrupted
                ) => {}
            Err(error) => return Err(error),
        }
    }
}

fn protocol(limits: Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PEER_DEAD / 2)
        .keep_alive_timeout(PEER_DEAD / 2);
    builder
}

#[derive(Clone)]
struct Server<S> {
    app: S,
    limits: Limits,
    shutdown: CancellationToken,
    cut: CancellationToken,
    cut_count: Arc<AtomicUsize>,
    protocol: Arc<Builder<TokioExecutor>>,
}

impl<S> Server<S>
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    async fn connection(self, stream: TcpStream, slot: OwnedSemaphorePermit) {
        if let Err(error) = tune(&stream) {
            tracing::debug!(%error, "socket options");
        }
        let spoken = AtomicBool::new(false);
        let handover = Arc::new(Handover::default());
        let (app, speaks, keeps) = (self.app.clone(), &spoken, &handover);
        let service = service_fn(move |request| {
            speaks.store(true, Ordering::Relaxed);
            let handover = may_be_taken(&request).then(|| Arc::clone(keeps));
            let answering = app.clone().call(request);
            async move {
                let response = answering.await?;
                Ok::<_, Infallible>(match handover {
                    Some(handover) => handover.keep(response),
                    None => response,
                })
            }
        });
        let stream = Lent::new(Lingering::new(stream, self.shutdown.clone()));
        let mut connection = pin!(
            self.protocol
                .serve_connection(TokioIo::new(stream.clone()), service)
        );
        // A child has a lock of its own: the connection's every poll would take the parent's.
        let stop = self.shutdown.child_token();
        let mut stopped = pin!(stop.cancelled());
        let mut silence = pin!(sleep(self.limits.head));
        let mut silent = true;
        let driven = loop {
            tokio::select! {
                biased;
                driven = drive(connection.as_mut(), &stream, &handover) => break driven,
                () = &mut stopped => {
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        biased;
                        driven = drive(connection.as_mut(), &stream, &handover) => break driven,
                        () = self.cut.cancelled() => {
                            self.cut_count.fetch_add(1, Ordering::AcqRel);
                            return;
                        }
                    }
                }
                // hyper's own limit begins only once it knows which protocol is spoken.
                () = &mut silence, if silent => {
                    if !spoken.load(Ordering::Relaxed) {
                        return;
                    }
                    silent = false;
                }
            }
        };
        match driven {
            Driven::Ended(Ok(())) => {}
            Driven::Ended(Err(error)) => tracing::debug!(error = %error, "connection ended"),
            Driven::Endless(body) => {
                if let Some(stream) = stream.take() {
                    // A task of its own: this one's memory holds a whole connection's state.
                    tokio::spawn(self.endless(stream, body, slot));
                }
            }
        }
    }

    async fn endless(self, stream: TcpStream, body: Body, _slot: OwnedSemaphorePermit) {
        let cut = self.cut.clone();
        let sent = endless::send(stream, body, self.shutdown.clone());
        if cut.run_until_cancelled(sent).await.is_none() {
            self.cut_count.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// How a connection comes to its end here.
enum Driven<E> {
    Ended(E),
    /// Nothing more is to be done for it but to send this.
    Endless(Body),
}

/// Drives a connection to its end, or to where it is taken over.
async fn drive<C: Future>(
    mut connection: Pin<&mut C>,
    stream: &Lent,
    handover: &Handover,
) -> Driven<C::Output> {
    poll_fn(|cx| match connection.as_mut().poll(cx) {
        Poll::Ready(ended) => Poll::Ready(Driven::Ended(ended)),
        Poll::Pending if stream.holds_back() => Poll::Pending,
        Poll::Pending => match handover.take_due() {
            Some(body) => Poll::Ready(Driven::Endless(body)),
            None => Poll::Pending,
        },
    })
    .await
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(PEER_DEAD)
        .with_interval(PEER_DEAD / 4);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(PEER_DEAD))?;
    Ok(())
}
