//! Lines packed into batches that one request can carry.

use std::{
    borrow::Cow,
    io::{self, BufRead},
    ops::Range,
};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tidewire_client::Events;
use tidewire_core::{json, name};

/// A line fits a request by itself, with the brackets of an array.
const MOST_LINE_BYTES: usize = Events::MOST_BYTES - 2;
const MOST_PAYLOAD_BYTES: usize = 256 * 1024;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// A line that is no event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bad {
    pub number: u64,
    pub reason: String,
}

/// Lines of one request, and the bad ones met on the way.
#[derive(Default)]
pub(super) struct Batch {
    pub lines: Vec<Line>,
    text: Vec<u8>,
    pub bad: Vec<Bad>,
    /// Why the input ends behind this batch before its end.
    pub broken: Option<String>,
    /// Bytes of the input up to here.
    pub read_to: u64,
}

pub(super) struct Line {
    pub number: u64,
    span: Range<usize>,
    /// It has a `dedupe_key`.
    keyed: bool,
}

impl Batch {
    /// Whether storing these lines twice stores them once.
    pub fn is_keyed(&self, lines: &[usize]) -> bool {
        lines.iter().all(|index| self.lines[*index].keyed)
    }

    /// These lines as a JSON array.
    pub fn array(&self, lines: &[usize]) -> Bytes {
        let size = lines
            .iter()
            .map(|index| self.lines[*index].span.len() + 1)
            .sum::<usize>()
            + 1;
        let mut array = Vec::with_capacity(size);
        for index in lines {
            array.push(if array.is_empty() { b'[' } else { b',' });
            array.extend_from_slice(&self.text[self.lines[*index].span.clone()]);
        }
        array.push(b']');
        array.into()
    }

    fn has_room(&self, line: &[u8], most_events: usize) -> bool {
        // With a comma behind each line, and two brackets.
        let size = self.text.len() + self.lines.len() + line.len() + 3;
        self.lines.len() < most_events && (self.lines.is_empty() || size <= Events::MOST_BYTES)
    }

    fn add(&mut self, number: u64, line: &[u8], keyed: bool) {
        let start = self.text.len();
        self.text.extend_from_slice(line);
        self.lines.push(Line {
            number,
            span: start..self.text.len(),
            keyed,
        });
    }
}

/// Reads batches; ends behind the first bad line unless it is to keep going.
pub(super) struct Batches<R> {
    input: R,
    most_events: usize,
    keep_going: bool,
    line: Vec<u8>,
    number: u64,
    read_to: u64,
    /// A good line that did not fit the last batch.
    held: Option<(Range<usize>, bool)>,
    ended: bool,
}

impl<R: BufRead> Batches<R> {
    pub fn new(input: R, most_events: usize, keep_going: bool) -> Self {
        Batches {
            input,
            most_events,
            keep_going,
            line: Vec::new(),
            number: 0,
            read_to: 0,
            held: None,
            ended: false,
        }
    }

    fn fill(&mut self, batch: &mut Batch) -> io::Result<()> {
        if let Some((span, keyed)) = self.held.take() {
            batch.add(self.number, &self.line[span], keyed);
        }
        while batch.lines.len() < self.most_events && batch.bad.len() < self.most_events {
            let whole = match self.next_line()? {
                Next::End => {
                    self.ended = true;
                    return Ok(());
                }
                Next::Line { whole } => whole,
            };
            let span = trimmed(&self.line, self.number == 1);
            if whole && span.is_empty() {
                continue;
            }
            let line = &self.line[span.clone()];
            let checked = if whole {
                check(line)
            } else {
                Err(format!("is longer than {MOST_LINE_BYTES} bytes"))
            };
            match checked {
                Ok(keyed) if batch.has_room(line, self.most_events) => {
                    batch.add(self.number, line, keyed)
                }
                Ok(keyed) => {
                    self.held = Some((span, keyed));
                    return Ok(());
                }
                Err(reason) => {
                    batch.bad.push(Bad {
                        number: self.number,
                        reason,
                    });
                    if !self.keep_going {
                        self.ended = true;
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads a line without its end, whatever its length, and keeps no more than can be sent.
    fn next_line(&mut self) -> io::Result<Next> {
        self.line.clear();
        let mut whole = true;
        let mut some = false;
        loop {
            let read = match self.input.fill_buf() {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if read.is_empty() {
                self.number += u64::from(some);
                return Ok(if some {
                    Next::Line { whole }
                } else {
                    Next::End
                });
            }
            some = true;
            let end = read.iter().position(|byte| *byte == b'\n');
            let part = &read[..end.unwrap_or(read.len())];
            // A CR and blanks around the line may go beyond; they are not sent.
            let room = (MOST_LINE_BYTES + 64).saturating_sub(self.line.len());
            whole &= part.len() <= room;
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            let taken = part.len() + usize::from(end.is_some());
            self.input.consume(taken);
            self.read_to += taken as u64;
            if end.is_some() {
                self.number += 1;
                return Ok(Next::Line { whole });
            }
        }
    }
}

enum Next {
    Line { whole: bool },
    End,
}

impl<R: BufRead> Iterator for Batches<R> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        if self.ended && self.held.is_none() {
            return None;
        }
        let mut batch = Batch::default();
        if let Err(error) = self.fill(&mut batch) {
            self.ended = true;
            batch.broken = Some(format!("cannot read behind line {}: {error}", self.number));
        }
        batch.read_to = self.read_to;
        let is_empty = batch.lines.is_empty() && batch.bad.is_empty() && batch.broken.is_none();
        (!is_empty).then_some(batch)
    }
}

fn trimmed(line: &[u8], is_first: bool) -> Range<usize> {
    let start = if is_first && line.starts_with(BOM) {
        BOM.len()
    } else {
        0
    };
    let text = &line[start..];
    let start = start + (text.len() - text.trim_ascii_start().len());
    start..start + line[start..].trim_ascii_end().len()
}

/// Checks what can be checked here, so that a bad line costs no request; the server has the last
/// word. Returns whether the line has a `dedupe_key`.
fn check(line: &[u8]) -> Result<bool, String> {
    #[derive(Deserialize)]
    struct Event<'l> {
        #[serde(rename = "type", borrow)]
        event_type: Cow<'l, str>,
        #[serde(borrow)]
        payload: Option<&'l RawValue>,
        #[serde(borrow)]
        payload_json: Option<&'l RawValue>,
        #[serde(borrow)]
        dedupe_key: Option<Cow<'l, str>>,
    }
    let text = std::str::from_utf8(line)
        .map_err(|error| format!("is not UTF-8: byte {} is wrong", error.valid_up_to() + 1))?;
    if line.len() > MOST_LINE_BYTES {
        return Err(format!("is longer than {MOST_LINE_BYTES} bytes"));
    }
    if !text.starts_with('{') {
        return Err("is not a JSON object".to_owned());
    }
    let event: Event<'_> = serde_json::from_str(text).map_err(|error| explained(&error))?;
    name::check(&event.event_type, name::TYPE_MAX).map_err(|why| format!("/type: {why}"))?;
    for (field, payload) in [
        ("payload", event.payload),
        ("payload_json", event.payload_json),
    ] {
        let Some(payload) = payload.map(RawValue::get) else {
            continue;
        };
        if payload.len() > MOST_PAYLOAD_BYTES {
            let size = payload.len();
            return Err(format!(
                "/{field}: has {size} bytes, and {MOST_PAYLOAD_BYTES} are the most"
            ));
        }
        json::check(payload)
            .map_err(|fault| format!("/{field}{}: {}", fault.pointer, fault.detail))?;
    }
    Ok(event.dedupe_key.is_some())
}

/// The parser's words, without its "line 1": the line is another one here.
fn explained(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(what, _)| what);
    match error.column() {
        0 => what.to_owned(),
        column => format!("{what} (column {column})"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn read(text: &[u8], most: usize, keep_going: bool) -> Vec<Batch> {
        // A small buffer, so that lines are cut.
        let input = io::BufReader::with_capacity(7, Cursor::new(text.to_vec()));
        Batches::new(input, most, keep_going).collect()
    }

    fn arrays(batches: &[Batch]) -> Vec<String> {
        let whole = |batch: &Batch| {
            let all: Vec<_> = (0..batch.lines.len()).collect();
            String::from_utf8(batch.array(&all).to_vec()).unwrap()
        };
        batches.iter().map(whole).collect()
    }

    #[test]
    fn lines_are_packed_as_they_are_written() {
        let text = b"\xef\xbb\xbf{\"type\":\"a\"}\r\n\n  {\"type\":\"b\",\"payload\":1.50}  \n{\"type\":\"c\"}";
        let batches = read(text, 2, false);
        assert_eq!(
            arrays(&batches),
            [
                r#"[{"type":"a"},{"type":"b","payload":1.50}]"#,
                r#"[{"type":"c"}]"#
            ]
        );
        assert_eq!(batches[1].lines[0].number, 4);
        assert_eq!(batches[1].read_to, text.len() as u64);
        assert!(read(b"\n \n", 2, false).is_empty());
    }

    #[test]
    fn the_first_bad_line_ends_the_reading() {
        let text = b"{\"type\":\"a\"}\n{\"type\":\"b\"\n{\"type\":\"c\"}\n";
        let batches = read(text, 1000, false);
        assert_eq!(arrays(&batches), [r#"[{"type":"a"}]"#]);
        let reason = "EOF while parsing an object (column 11)".to_owned();
        assert_eq!(batches[0].bad, [Bad { number: 2, reason }]);
    }

    #[test]
    fn bad_lines_are_skipped_if_it_is_to_keep_going() {
        let text = b"[1]\n{\"type\":\"a\"}\n{}\n{\"type\":\"a b\"}\n{\"type\":\"b\",\"payload\":[\"\\u0000\"]}\n\xff\n{\"type\":1}\n{\"type\":\"c\"}\n";
        let batches = read(text, 1000, true);
        assert_eq!(arrays(&batches), [r#"[{"type":"a"},{"type":"c"}]"#]);
        let bad: Vec<_> = batches[0]
            .bad
            .iter()
            .map(|bad| (bad.number, bad.reason.as_str()))
            .collect();
        assert_eq!(
            bad.iter().map(|(number, _)| *number).collect::<Vec<_>>(),
            [1, 3, 4, 5, 6, 7],
            "{bad:?}"
        );
        assert_eq!(bad[1].1, "missing field `type` (column 2)");
        assert!(bad[3].1.starts_with("/payload/0: "), "{bad:?}");
    }

    #[test]
    fn a_request_is_never_larger_than_the_server_takes() {
        let line = format!(
            "{{\"type\":\"t\",\"payload\":\"{}\"}}\n",
            "x".repeat(200_000)
        );
        let batches = read(line.repeat(60).as_bytes(), 1000, false);
        assert_eq!(
            batches.iter().map(|batch| batch.lines.len()).sum::<usize>(),
            60
        );
        assert!(
            arrays(&batches)
                .iter()
                .all(|array| array.len() <= Events::MOST_BYTES)
        );
        assert_eq!(batches.len(), 2);
    }

    #[test]
    fn an_endless_line_is_bad_and_the_next_one_is_read() {
        let mut text = vec![b'x'; MOST_LINE_BYTES + 1000];
        text.extend_from_slice(b"\n{\"type\":\"a\"}\n");
        let input = io::BufReader::new(Cursor::new(text));
        let batches: Vec<_> = Batches::new(input, 1000, true).collect();
        assert_eq!(arrays(&batches), [r#"[{"type":"a"}]"#]);
        assert_eq!(batches[0].bad[0].number, 1);
        assert_eq!(batches[0].lines[0].number, 2);
    }
}
