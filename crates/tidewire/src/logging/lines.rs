//! Where log lines gather on their way to standard error.
//!
//! A thread of its own writes them, a hundredth of a second after the first has come: a line costs
//! its request a copy, neither a system call nor a switch of threads (which a queue that wakes its
//! reader for each line does, and which was a tenth of a request). When the reader of the log is
//! slow, lines are dropped past a bound and counted; a request never waits for them.

use std::{
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

const GATHER: Duration = Duration::from_millis(10);
/// What may wait for a slow reader.
const MOST_WAITING: usize = 8 << 20;

/// Makes writers for the formatter; all share one buffer.
#[derive(Clone)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    dropped: u64,
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what is left and ends the thread when it is dropped.
pub(super) struct Guard {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<(Lines, Guard)> {
    let shared = Arc::new(Shared::default());
    let writer = Arc::clone(&shared);
    let thread = std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_all(&writer, out))?;
    Ok((
        Lines(Arc::clone(&shared)),
        Guard {
            shared,
            thread: Some(thread),
        },
    ))
}

fn write_all(shared: &Shared, mut out: impl Write) {
    let mut lines = Vec::new();
    loop {
        let (dropped, closed) = {
            let idle =
                |state: &mut State| state.waiting.is_empty() && state.dropped == 0 && !state.closed;
            let state = shared
                .changed
                .wait_while(shared.lock(), idle)
                .unwrap_or_else(PoisonError::into_inner);
            let closed = state.closed;
            drop(state);
            if !closed {
                std::thread::sleep(GATHER);
            }
            let mut state = shared.lock();
            std::mem::swap(&mut state.waiting, &mut lines);
            (std::mem::take(&mut state.dropped), closed)
        };
        // Where standard error is gone there is nobody to tell.
        let _ = out.write_all(&lines);
        lines.clear();
        if dropped > 0 {
            let _ = writeln!(
                out,
                "{dropped} log lines were dropped: their reader is too slow"
            );
        }
        let _ = out.flush();
        if closed {
            return;
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        if state.waiting.len() + line.len() > MOST_WAITING {
            state.dropped += 1;
        } else {
            let first = state.waiting.is_empty();
            state.waiting.extend_from_slice(line);
            drop(state);
            if first {
                self.0.changed.notify_one();
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'l> MakeWriter<'l> for Lines {
    type Writer = &'l Lines;

    fn make_writer(&'l self) -> &'l Lines {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Hands on what is written; the test decides when the next write may go on.
    struct Slow(mpsc::Sender<Vec<u8>>, mpsc::Receiver<()>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.send(bytes.to_vec());
            let _ = self.1.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_is_written_by_the_end() {
        let (written, received) = mpsc::channel();
        let (go, wait) = mpsc::channel();
        drop(go);
        let (lines, guard) = start(Slow(written, wait)).unwrap();
        for n in 0..1000 {
            writeln!(&lines, "line {n}").unwrap();
        }
        drop(guard);
        let all: Vec<u8> = received.iter().flatten().collect();
        assert_eq!(String::from_utf8(all).unwrap().lines().count(), 1000);
    }

    #[test]
    fn a_reader_that_stands_still_costs_lines_and_never_waiting() {
        let (written, received) = mpsc::channel();
        let (go, wait) = mpsc::channel();
        let (lines, guard) = start(Slow(written, wait)).unwrap();
        (&lines).write_all(b"first\n").unwrap();
        assert_eq!(received.recv().unwrap(), b"first\n");
        let line = vec![b'x'; 1 << 20];
        for _ in 0..20 {
            (&lines).write_all(&line).unwrap();
        }
        drop(go);
        drop(guard);
        let all: Vec<u8> = received.iter().flatten().collect();
        assert!(all.len() <= MOST_WAITING + 100, "{}", all.len());
        assert!(
            String::from_utf8(all)
                .unwrap()
                .contains("12 log lines were dropped")
        );
    }
}
