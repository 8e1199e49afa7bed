//! A connection that is closed politely. A request can be answered before its body has been read (a
//! wrong key, a body that is too large), and the connection then ends. Closed at once, with bytes of
//! the client still on their way, the kernel resets it: the client, in the middle of sending, sees a
//! broken pipe and never the answer that says why. So only the sending side is closed first, and
//! what still comes is read and thrown away for a moment.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};
use tokio_util::sync::CancellationToken;

/// A client that has its answer closes at once; one that does not gets no more of our time.
const LINGER: Duration = Duration::from_secs(2);

pub(crate) struct Lingering {
    stream: TcpStream,
    /// When the server stops, nobody is waited for.
    stop: CancellationToken,
    ending: Option<Pin<Box<Sleep>>>,
}

impl Lingering {
    pub(crate) fn new(stream: TcpStream, stop: CancellationToken) -> Self {
        Lingering {
            stream,
            stop,
            ending: None,
        }
    }
}

/// A stream that can be taken out of the hands of whoever has it.
#[derive(Clone)]
pub(crate) struct Lent(Arc<Mutex<Loan>>);

struct Loan {
    stream: Option<Lingering>,
    /// What was to be written has not all been taken by the kernel.
    holds_back: bool,
}

impl Lent {
    pub(crate) fn new(stream: Lingering) -> Self {
        Lent(Arc::new(Mutex::new(Loan {
            stream: Some(stream),
            holds_back: false,
        })))
    }

    pub(crate) fn holds_back(&self) -> bool {
        self.loan().holds_back
    }

    /// Takes the stream back. Whoever had it sees its end.
    pub(crate) fn take(&self) -> Option<TcpStream> {
        self.loan().stream.take().map(|lingering| lingering.stream)
    }

    fn loan(&self) -> MutexGuard<'_, Loan> {
        // One task has it: nobody waits for this.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(
        &self,
        poll: impl FnOnce(Pin<&mut Lingering>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut self.loan().stream {
            Some(stream) => poll(Pin::new(stream)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn written(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.loan().holds_back = written.is_pending();
        written
    }
}

impl AsyncRead for Lent {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_read(cx, buffer))
    }
}

impl AsyncWrite for Lent {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written(self.with(|stream| stream.poll_write(cx, bytes)))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.written(self.with(|stream| stream.poll_write_vectored(cx, slices)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_shutdown(cx))
    }
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Lingering {
            stream,
            stop,
            ending,
        } = &mut *self;
        if ending.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
        }
        let ending = ending.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        loop {
            if stop.is_cancelled() || ending.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut scratch = [MaybeUninit::uninit(); 8192];
            let mut scratch = ReadBuf::uninit(&mut scratch);
            match ready!(Pin::new(&mut *stream).poll_read(cx, &mut scratch)) {
                Ok(()) if !scratch.filled().is_empty() => {}
                // The client has closed its side too, or is gone.
                Ok(()) | Err(_) => return Poll::Ready(Ok(())),
            }
        }
    }
}
