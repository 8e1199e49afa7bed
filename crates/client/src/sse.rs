//! Reads server-sent events (WHATWG HTML, 9.2.6) out of chunks of bytes.
//!
//! Our own, and not `eventsource-stream`: that one keeps a line and a frame however long they grow,
//! so a server that never ends a line takes the client's memory with it. Here both are bounded, one
//! frame is held at a time, and what is taken from the connection waits in its own buffer.

use std::{fmt, time::Duration};

use bytes::{Buf, Bytes};

/// An event with a payload of 256 KiB fits several times.
const MOST_BYTES: usize = 2 * 1024 * 1024;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub event: String,
    pub data: String,
    /// The position behind this frame: what to resume from.
    pub last_id: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    TooLong,
    NotUtf8,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::TooLong => write!(f, "a frame is longer than {MOST_BYTES} bytes"),
            Broken::NotUtf8 => f.write_str("a frame is not UTF-8"),
        }
    }
}

#[derive(Default)]
pub(crate) struct Reader {
    chunk: Bytes,
    line: Vec<u8>,
    /// The last line ended with CR: an LF that follows belongs to it.
    after_cr: bool,
    started: bool,
    event: String,
    data: String,
    has_data: bool,
    /// The position that the frame being read will have; it counts only when the frame is whole,
    /// or a connection that breaks inside a frame would lose it.
    id: Option<String>,
    last_id: Option<String>,
    retry: Option<Duration>,
}

impl Reader {
    /// Takes the next chunk. The one before must have been read to its end.
    pub fn push(&mut self, chunk: Bytes) {
        debug_assert!(
            self.chunk.is_empty(),
            "frames of the last chunk were not taken"
        );
        self.chunk = chunk;
    }

    /// The next whole frame; `None` asks for another chunk.
    pub fn next(&mut self) -> Result<Option<Frame>, Broken> {
        while self.take_line()? {
            let line = std::mem::take(&mut self.line);
            let text = std::str::from_utf8(&line).map_err(|_| Broken::NotUtf8)?;
            let text = if self.started {
                text
            } else {
                text.strip_prefix('\u{feff}').unwrap_or(text)
            };
            self.started = true;
            let frame = if text.is_empty() {
                self.dispatch()
            } else {
                self.field(text);
                None
            };
            self.line = line;
            self.line.clear();
            if frame.is_some() {
                return Ok(frame);
            }
        }
        Ok(None)
    }

    /// The position behind the last frame or `id:` that was dispatched.
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// How long the server wants clients to wait before they come back.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Moves bytes into `line` up to the end of a line; `false` if the chunk ends before.
    fn take_line(&mut self) -> Result<bool, Broken> {
        if self.after_cr && !self.chunk.is_empty() {
            self.after_cr = false;
            if self.chunk[0] == b'\n' {
                self.chunk.advance(1);
            }
        }
        let end = self
            .chunk
            .iter()
            .position(|byte| matches!(byte, b'\n' | b'\r'));
        let length = end.unwrap_or(self.chunk.len());
        if self.line.len() + self.data.len() + length > MOST_BYTES {
            return Err(Broken::TooLong);
        }
        self.line.extend_from_slice(&self.chunk[..length]);
        let Some(end) = end else {
            self.chunk.clear();
            return Ok(false);
        };
        self.after_cr = self.chunk[end] == b'\r';
        self.chunk.advance(end + 1);
        Ok(true)
    }

    fn field(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut self.event),
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(value);
                self.has_data = true;
            }
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "retry" => {
                if let Ok(millis) = value.parse() {
                    self.retry = Some(Duration::from_millis(millis));
                }
            }
            // A comment (the name is empty: keepalives) or a field of another age.
            _ => {}
        }
    }

    fn dispatch(&mut self) -> Option<Frame> {
        let event = std::mem::take(&mut self.event);
        let data = std::mem::take(&mut self.data);
        self.last_id.clone_from(&self.id);
        std::mem::take(&mut self.has_data).then(|| Frame {
            event,
            data,
            last_id: self.last_id.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(reader: &mut Reader, text: &[u8], step: usize) -> Vec<Frame> {
        let mut found = Vec::new();
        for chunk in text.chunks(step) {
            reader.push(Bytes::copy_from_slice(chunk));
            while let Some(frame) = reader.next().unwrap() {
                found.push(frame);
            }
        }
        found
    }

    #[test]
    fn frames_come_whole_however_the_bytes_are_cut() {
        let text = "\u{feff}: keepalive\r\n\r\nid: 7\r\nevent: user.signed-up\r\ndata: {\"ü\":1}\r\n\r\n\
                    retry: 250\rid:8\rdata:a\rdata\rdata:  b\r\rdata: last\n\nid: 9\ndata: cut off";
        for step in 1..text.len() {
            let mut reader = Reader::default();
            let found = frames(&mut reader, text.as_bytes(), step);
            assert_eq!(
                found,
                [
                    Frame {
                        event: "user.signed-up".into(),
                        data: "{\"ü\":1}".into(),
                        last_id: Some("7".into())
                    },
                    Frame {
                        event: String::new(),
                        data: "a\n\n b".into(),
                        last_id: Some("8".into())
                    },
                    Frame {
                        event: String::new(),
                        data: "last".into(),
                        last_id: Some("8".into())
                    },
                ],
                "cut every {step} bytes"
            );
            assert_eq!(reader.retry(), Some(Duration::from_millis(250)));
            assert_eq!(
                reader.last_id(),
                Some("8"),
                "a frame that was cut off does not count"
            );
        }
    }

    #[test]
    fn an_id_alone_moves_the_position() {
        let mut reader = Reader::default();
        assert_eq!(frames(&mut reader, b"id: 42\n\n", 3), []);
        assert_eq!(reader.last_id(), Some("42"));
    }

    #[test]
    fn a_frame_without_an_end_is_refused() {
        for line in [
            vec![b'x'; 64 * 1024],
            b"data: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n".to_vec(),
        ] {
            let mut reader = Reader::default();
            let mut pushed = 0;
            let broken = loop {
                reader.push(line.clone().into());
                pushed += line.len();
                match reader.next() {
                    Ok(_) => assert!(pushed <= 2 * MOST_BYTES, "grows without end"),
                    Err(broken) => break broken,
                }
            };
            assert_eq!(broken, Broken::TooLong);
        }
    }
}
