//! The body of an answer, read no further than its cap.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;

/// Packed data may be larger than what comes out of it, but not by much, and it must not be endless without anything
/// coming out.
fn packed_cap(cap: usize) -> usize {
    cap.saturating_add(cap / 8).saturating_add(1024)
}

#[derive(Debug)]
pub(crate) struct Read {
    pub bytes: Bytes,
    /// There was more.
    pub truncated: bool,
}

pub(crate) enum Fault {
    Transport(hyper::Error),
    NotGzip,
}

/// Reads until the end, or until a byte comes that is beyond the cap, or is announced by the answer's length.
pub(crate) async fn read(body: &mut Incoming, cap: usize, packed: bool) -> Result<Read, Fault> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut sink = if packed {
        Sink::packed(cap)
    } else {
        Sink::plain(cap, announced)
    };
    loop {
        let more_is_announced = body.size_hint().lower() > 0;
        if more_is_announced && sink.is_full() {
            return Ok(sink.cut());
        }
        let data = match body.frame().await {
            None => return sink.end(),
            Some(Err(error)) => return Err(Fault::Transport(error)),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => data,
                // Trailers: nobody asked for them.
                Err(_) => continue,
            },
        };
        match sink.take(&data) {
            Taken::All => {}
            Taken::Part => return Ok(sink.cut()),
            Taken::Nonsense => return Err(Fault::NotGzip),
        }
    }
}

enum Sink {
    Plain(Capped),
    Packed {
        decoder: Box<MultiGzDecoder<Capped>>,
        /// How much more packed data is taken.
        left: usize,
        began: bool,
    },
}

enum Taken {
    All,
    Part,
    Nonsense,
}

impl Sink {
    fn plain(cap: usize, announced: usize) -> Self {
        let mut capped = Capped::new(cap);
        capped.bytes.reserve_exact(announced.min(cap));
        Sink::Plain(capped)
    }

    fn packed(cap: usize) -> Self {
        Sink::Packed {
            decoder: Box::new(MultiGzDecoder::new(Capped::new(cap))),
            left: packed_cap(cap),
            began: false,
        }
    }

    /// Whether another byte would be one too many. Of packed data nobody knows.
    fn is_full(&self) -> bool {
        matches!(self, Sink::Plain(capped) if capped.room() == 0)
    }

    fn take(&mut self, data: &[u8]) -> Taken {
        match self {
            Sink::Plain(capped) => match capped.write_all(data) {
                Ok(()) => Taken::All,
                Err(_) => Taken::Part,
            },
            Sink::Packed {
                decoder,
                left,
                began,
            } => {
                *began |= !data.is_empty();
                let taken = &data[..data.len().min(*left)];
                *left -= taken.len();
                match decoder.write_all(taken).and_then(|()| decoder.flush()) {
                    Ok(()) if taken.len() < data.len() => Taken::Part,
                    Ok(()) => Taken::All,
                    Err(_) if decoder.get_ref().overflowed => Taken::Part,
                    Err(_) => Taken::Nonsense,
                }
            }
        }
    }

    fn cut(self) -> Read {
        let capped = match self {
            Sink::Plain(capped) => capped,
            Sink::Packed { mut decoder, .. } => std::mem::take(decoder.get_mut()),
        };
        Read {
            bytes: capped.bytes.into(),
            truncated: true,
        }
    }

    fn end(self) -> Result<Read, Fault> {
        let capped = match self {
            Sink::Plain(capped) => capped,
            // An answer without a body may still say how it would be packed.
            Sink::Packed { began: false, .. } => Capped::default(),
            Sink::Packed { mut decoder, .. } => {
                let ended = decoder.try_finish();
                let capped = std::mem::take(decoder.get_mut());
                if ended.is_err() && !capped.overflowed {
                    return Err(Fault::NotGzip);
                }
                capped
            }
        };
        Ok(Read {
            truncated: capped.overflowed,
            bytes: capped.bytes.into(),
        })
    }
}

/// Bytes up to a cap. What is beyond it is not kept, and the writer hears that there is no room.
#[derive(Default)]
struct Capped {
    bytes: Vec<u8>,
    cap: usize,
    overflowed: bool,
}

impl Capped {
    fn new(cap: usize) -> Self {
        Self {
            cap,
            ..Self::default()
        }
    }

    fn room(&self) -> usize {
        self.cap - self.bytes.len()
    }
}

impl Write for Capped {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let taken = data.len().min(self.room());
        self.bytes.extend_from_slice(&data[..taken]);
        if taken < data.len() {
            self.overflowed = true;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn pack(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn unpack(packed: &[u8], cap: usize) -> Option<Read> {
        let mut sink = Sink::packed(cap);
        for chunk in packed.chunks(7) {
            match sink.take(chunk) {
                Taken::All => {}
                Taken::Part => return Some(sink.cut()),
                Taken::Nonsense => return None,
            }
        }
        sink.end().ok()
    }

    #[test]
    fn what_was_packed_comes_out() {
        let data: Vec<u8> = (0..5000u32).flat_map(u32::to_le_bytes).collect();
        for cap in [data.len(), data.len() + 1] {
            let read = unpack(&pack(&data), cap).unwrap();
            assert_eq!(read.bytes, data);
            assert!(!read.truncated);
        }
        let read = unpack(&pack(&data), data.len() - 1).unwrap();
        assert_eq!(read.bytes, data[..data.len() - 1]);
        assert!(read.truncated);
        // Two members one after the other are one file.
        let twice = [pack(b"one "), pack(b"two")].concat();
        assert_eq!(unpack(&twice, 100).unwrap().bytes, "one two");
        // No body at all.
        assert_eq!(unpack(&[], 100).unwrap().bytes, "");
    }

    #[test]
    fn a_bomb_ends_at_the_cap() {
        let bomb = pack(&vec![0; 1_000_000]).repeat(10);
        let read = unpack(&bomb, 1000).unwrap();
        assert_eq!(read.bytes, vec![0; 1000]);
        assert!(read.truncated);
        // Members that hold nothing, without end.
        let hollow = pack(b"").repeat(1000);
        let read = unpack(&hollow, 1000).unwrap();
        assert!(read.bytes.is_empty() && read.truncated);
    }

    #[test]
    fn nonsense_and_halves_are_no_gzip() {
        assert!(unpack(b"<html>this is no gzip</html>", 1000).is_none());
        let packed = pack(b"some text that is long enough to be cut");
        assert!(unpack(&packed[..packed.len() - 9], 1000).is_none());
    }
}
