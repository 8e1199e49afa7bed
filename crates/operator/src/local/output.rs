//! What instances write goes into the log, line by line.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

/// A line that is longer is told in pieces.
const LONGEST: usize = 8 * 1024;
/// Of the last line, where it says why a process has ended.
const SHOWN: usize = 300;

/// The last line that said something.
#[derive(Clone, Debug, Default)]
pub(super) struct LastLine(Arc<Mutex<String>>);

impl LastLine {
    pub fn get(&self) -> String {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, line: &str) {
        let shown: String = line.trim().chars().take(SHOWN).collect();
        if !shown.is_empty() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = shown;
        }
    }
}

/// Until the stream ends.
pub(super) async fn tell(
    stream: impl AsyncRead + Unpin,
    instance: Arc<str>,
    last: Option<LastLine>,
) {
    let mut stream = BufReader::with_capacity(LONGEST, stream);
    let mut line = Vec::new();
    loop {
        let read = match stream.fill_buf().await {
            Ok([]) | Err(_) => break,
            Ok(read) => read,
        };
        let end = read.iter().position(|byte| *byte == b'\n');
        let taken = end.unwrap_or(read.len()).min(LONGEST - line.len());
        line.extend_from_slice(&read[..taken]);
        let is_whole = end == Some(taken);
        stream.consume(taken + usize::from(is_whole));
        if is_whole || line.len() == LONGEST {
            say(&line, &instance, last.as_ref());
            line.clear();
        }
    }
    if !line.is_empty() {
        say(&line, &instance, last.as_ref());
    }
}

fn say(line: &[u8], instance: &str, last: Option<&LastLine>) {
    let line = String::from_utf8_lossy(line);
    let line = line.trim_end();
    if let Some(last) = last {
        last.set(line);
    }
    tracing::info!(target: "tidewire::agents", instance, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_line_is_the_last_that_says_something_however_long_it_is() {
        let long = "x".repeat(3 * LONGEST);
        for (text, expected) in [
            ("", ""),
            ("one\ntwo\n", "two"),
            ("one\r\ntwo\n\n  \n", "two"),
            ("one\ntwo", "two"),
            (&format!("{long}\nlast"), "last"),
            (&format!("one\n{long}"), &long[..SHOWN]),
        ] {
            let last = LastLine::default();
            tell(text.as_bytes(), "i".into(), Some(last.clone())).await;
            assert_eq!(last.get(), expected, "{} bytes", text.len());
        }
    }
}
