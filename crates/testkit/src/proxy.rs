//! A TCP proxy for faults: what it carries can be cut, held and refused.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tidewire_testservers::free_port;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// A free loopback port that leads to another address. Everything ends when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    ways: Arc<Ways>,
    listening: Option<JoinHandle<()>>,
}

/// What all connections share.
struct Ways {
    target: SocketAddr,
    flowing: watch::Sender<bool>,
    /// Of the connections since the last cut.
    cut: Mutex<CancellationToken>,
}

impl Proxy {
    /// Listens, and leads whoever comes to `target`.
    pub async fn start(target: SocketAddr) -> Self {
        let port = free_port().expect("a free port");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let listener = listen(address).await;
        let ways = Arc::new(Ways {
            target,
            flowing: watch::Sender::new(true),
            cut: Mutex::default(),
        });
        let listening = tokio::spawn(Arc::clone(&ways).accept(listener));
        Proxy {
            address,
            ways,
            listening: Some(listening),
        }
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Resets all connections, on both sides. New ones are taken as before.
    pub fn cut(&self) {
        let mut cut = self.ways.lock_cut();
        std::mem::take(&mut *cut).cancel();
    }

    /// From now on no byte arrives, as in a network that hangs: connections are taken, and what they
    /// send is held.
    pub fn pause(&self) {
        self.ways.flowing.send_replace(false);
    }

    /// What was held goes on.
    pub fn resume(&self) {
        self.ways.flowing.send_replace(true);
    }

    /// Refuses new connections, as a server that is down. Those that stand are left alone.
    pub async fn refuse(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.abort();
            // The port is closed once the task has gone.
            let _ = listening.await;
        }
    }

    /// Takes connections again, on the old port.
    pub async fn accept(&mut self) {
        if self.listening.is_none() {
            let listener = listen(self.address).await;
            self.listening = Some(tokio::spawn(Arc::clone(&self.ways).accept(listener)));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.abort();
        }
        self.cut();
    }
}

async fn listen(address: SocketAddr) -> TcpListener {
    TcpListener::bind(address)
        .await
        .unwrap_or_else(|error| panic!("the proxy cannot listen on {address}: {error}"))
}

impl Ways {
    fn lock_cut(&self) -> std::sync::MutexGuard<'_, CancellationToken> {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            if let Ok((client, _)) = listener.accept().await {
                let cut = self.lock_cut().clone();
                tokio::spawn(Arc::clone(&self).lead(client, cut));
            }
        }
    }

    async fn lead(self: Arc<Self>, mut client: TcpStream, cut: CancellationToken) {
        let server = tokio::select! {
            server = self.reach() => server,
            () = cut.cancelled() => return reset(&client),
        };
        let Ok(mut server) = server else {
            return reset(&client);
        };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let ended = {
            let (from_client, to_client) = client.split();
            let (from_server, to_server) = server.split();
            tokio::select! {
                carried = async { tokio::try_join!(
                    self.carry(from_client, to_server),
                    self.carry(from_server, to_client),
                ) } => carried.is_ok(),
                () = cut.cancelled() => false,
            }
        };
        if !ended {
            reset(&client);
            reset(&server);
        }
    }

    /// A connection to the target, once bytes may flow.
    async fn reach(&self) -> io::Result<TcpStream> {
        self.flow().await;
        TcpStream::connect(self.target).await
    }

    /// Carries one direction up to its end, and passes that on.
    async fn carry(&self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<()> {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let count = from.read(&mut buffer).await?;
            self.flow().await;
            if count == 0 {
                return to.shutdown().await;
            }
            to.write_all(&buffer[..count]).await?;
        }
    }

    async fn flow(&self) {
        // The sender is ours: it cannot be gone.
        let _ = self.flowing.subscribe().wait_for(|flowing| *flowing).await;
    }
}

/// When it is dropped, the other side sees a reset and not an orderly end.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}
