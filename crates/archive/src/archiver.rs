//! Making one archive: a range of a stream becomes an object.
//!
//! Four things run at once, with little between them: pages are read off the log, a thread makes lines
//! of them, another compresses, and what comes out is uploaded. So memory stays the same however much it is.
//! The object is verified in place before anybody is told of it; only then the row is written, in one
//! transaction with the stream's mark, and only if it still joins on to what is archived. Whoever dies
//! in between leaves an object that nobody knows, which `verify` finds.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use tidewire_core::{Time, ids};
use tidewire_events::{Event, Stretch};
use tokio::{sync::mpsc, task::spawn_blocking};

use crate::{
    Archives, Error, Format,
    companion::Companion,
    line::Lines,
    metrics,
    model::{Archive, Parquet, object_key, parquet_key},
    object::{self, Mark, Summary, Writer},
    objects::Put,
    progress::Meter,
};

/// What is read off the log at once …
const PAGE: Stretch = Stretch {
    events: 2_000,
    bytes: 4 << 20,
};
/// … and how many such pages wait to become lines, and to be compressed.
const PAGES_AHEAD: usize = 2;
/// Pieces of an object that wait to be uploaded.
const PIECES_AHEAD: usize = 8;
/// As `gzip` itself does.
const LEVEL: u32 = 6;

/// What an archive is to hold.
#[derive(Clone, Debug)]
pub(crate) struct Range {
    pub tenant: Arc<str>,
    pub stream: String,
    /// The first place, whether an event is there or not.
    pub from: u64,
    /// The last one, if the archive does not get too large.
    pub until: u64,
    pub format: Format,
    pub most_events: u64,
    pub most_bytes: u64,
}

type Pages = mpsc::Receiver<Result<Vec<Event>, Error>>;
type Blocks = mpsc::Receiver<Result<Block, Stop>>;
type Pieces = mpsc::Sender<Result<Bytes, Error>>;

/// What became of a range.
enum Outcome {
    Packed(Packed),
    /// It has no event.
    Empty,
    /// Nobody takes it any more.
    Refused,
}

struct Packed {
    summary: Summary,
    first_at: Time,
    last_at: Time,
}

impl Archives {
    /// Writes and verifies the objects of a range. `None` if it has no event.
    pub(crate) async fn write(
        &self,
        range: &Range,
        meter: &Arc<Meter>,
    ) -> Result<Option<Archive>, Error> {
        let id = ids::new_id(&self.inner.clock);
        self.write_as(id, range, meter).await
    }

    /// The same under a given name.
    pub(crate) async fn write_as(
        &self,
        id: String,
        range: &Range,
        meter: &Arc<Meter>,
    ) -> Result<Option<Archive>, Error> {
        let objects = &self.inner.objects;
        let key = object_key(&range.stream, &id);
        let (pages, read) = mpsc::channel(PAGES_AHEAD);
        let (lines, lined) = mpsc::channel(PIECES_AHEAD);
        let (rows, rowed) = mpsc::channel(PIECES_AHEAD);
        let rows = (range.format == Format::Parquet).then_some(rows);
        let has_rows = rows.is_some();
        let (blocks, made) = mpsc::channel(PAGES_AHEAD);
        let making = {
            let range = range.clone();
            spawn_blocking(move || make_lines(read, &blocks, rows, &range))
        };
        let packing = {
            let meter = Arc::clone(meter);
            spawn_blocking(move || pack(made, lines, &meter))
        };
        let put_lines = objects.put(&key, pieces(lined));
        let companion = parquet_key(&key);
        let put_rows = async {
            match has_rows {
                true => objects.put(&companion, pieces(rowed)).await.map(Some),
                false => Ok(None),
            }
        };
        // Whatever fails, the others end too: their channels close.
        let reading = self.read(range, pages);
        let (_, made, packed, lines, rows) =
            tokio::join!(reading, making, packing, put_lines, put_rows);
        let packed = made.and(packed);
        let packed = packed.map_err(|error| Error::Objects(error.to_string()))?;
        let packed = match packed? {
            Outcome::Packed(packed) => packed,
            Outcome::Empty => return Ok(None),
            // Then it says why below.
            Outcome::Refused => return Err(not_taken(lines.err().or(rows.err()))),
        };
        let (lines, rows) = (lines?, rows?);
        objects.verify(&key, lines.bytes, &lines.sha256).await?;
        if let Some(rows) = &rows {
            objects.verify(&companion, rows.bytes, &rows.sha256).await?;
        }
        Ok(Some(self.archive(id, range, key, &packed, lines, rows)))
    }

    fn archive(
        &self,
        id: String,
        range: &Range,
        object_key: String,
        packed: &Packed,
        lines: Put,
        rows: Option<Put>,
    ) -> Archive {
        let summary = &packed.summary;
        Archive {
            tenant: Arc::clone(&range.tenant),
            id,
            stream: range.stream.clone(),
            from_seq: range.from,
            to_seq: summary.last_seq,
            object_key,
            event_count: summary.events,
            bytes: lines.bytes,
            sha256: lines.sha256,
            line_bytes: summary.line_bytes,
            first_pos: summary.first_pos,
            last_pos: summary.last_pos,
            first_at: packed.first_at,
            last_at: packed.last_at,
            parquet: rows.map(|put| Parquet {
                bytes: put.bytes,
                sha256: put.sha256,
            }),
            created_at: self.inner.clock.now(),
        }
    }

    /// Reads a range, page by page, for as long as somebody takes them.
    async fn read(&self, range: &Range, pages: mpsc::Sender<Result<Vec<Event>, Error>>) {
        let key = (&*range.tenant, range.stream.as_str());
        let mut after = range.from - 1;
        while after < range.until {
            let span = (after, range.until);
            let run = match self.inner.events.of_stream(key, None, span, PAGE).await {
                Ok(run) => run,
                Err(error) => {
                    let _ = pages.send(Err(error.into())).await;
                    return;
                }
            };
            let Some(last) = run.events.last() else {
                return;
            };
            after = last.seq;
            if pages.send(Ok(run.events)).await.is_err() || run.is_all {
                return;
            }
        }
    }

    /// Writes the row of an archive, if it joins on to what is archived; whether it does.
    pub(crate) async fn seal(&self, archive: &Archive) -> Result<bool, Error> {
        let (inner, archive) = (Arc::clone(&self.inner), archive.clone());
        let sealing = self.inner.db.transact("archives.seal", move |tx| {
            let (inner, archive) = (Arc::clone(&inner), archive.clone());
            Box::pin(async move {
                let key = (&*archive.tenant, archive.stream.as_str());
                inner.lock(tx, key).await?;
                let mut marks = inner.store.marks(tx, key).await?;
                if marks.archived_until + 1 != archive.from_seq {
                    return Ok(false);
                }
                inner.store.insert(tx, &archive).await?;
                marks.archived_until = archive.to_seq;
                inner.store.set_marks(tx, key, marks).await?;
                tx.on_commit(move || metrics::sealed(&archive));
                Ok::<_, Error>(true)
            })
        });
        sealing.await
    }

    /// Deletes the objects of an archive that was not sealed.
    pub(crate) async fn discard(&self, archive: &Archive) -> Result<(), Error> {
        let objects = &self.inner.objects;
        if let Some(companion) = archive.parquet_key() {
            objects.delete(&companion).await?;
        }
        Ok(objects.delete(&archive.object_key).await?)
    }
}

fn pieces(
    mut channel: mpsc::Receiver<Result<Bytes, Error>>,
) -> impl futures_util::Stream<Item = Result<Bytes, Error>> {
    stream::poll_fn(move |context| channel.poll_recv(context))
}

fn not_taken(error: Option<Error>) -> Error {
    error.unwrap_or_else(|| Error::Objects("an upload ended before its time".to_owned()))
}

/// Lines that are made, and what the format has to know of each.
#[derive(Default)]
struct Block {
    text: Vec<u8>,
    lines: Vec<Line>,
}

struct Line {
    /// Where its text ends.
    end: usize,
    seq: u64,
    pos: u64,
    created_at: Time,
    kind: String,
}

/// Why there are no more lines.
enum Stop {
    /// The rows are not taken any more.
    Refused,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Failed(error)
    }
}

/// Makes lines of events, and rows if they are wanted, until there is no more or it is enough.
fn make_lines(
    mut pages: Pages,
    blocks: &mpsc::Sender<Result<Block, Stop>>,
    rows: Option<Pieces>,
    range: &Range,
) {
    let made = make_all(&mut pages, blocks, rows.as_ref(), range);
    let Err(stop) = made else {
        return;
    };
    // What was uploaded so far must not look as if it were all.
    if let Some(rows) = rows {
        let why = match &stop {
            Stop::Refused => not_taken(None),
            Stop::Failed(error) => error.clone(),
        };
        let _ = rows.blocking_send(Err(why));
    }
    let _ = blocks.blocking_send(Err(stop));
}

fn make_all(
    pages: &mut Pages,
    blocks: &mpsc::Sender<Result<Block, Stop>>,
    rows: Option<&Pieces>,
    range: &Range,
) -> Result<(), Stop> {
    let form = Lines::of(&range.stream);
    let rows = rows.map(|pieces| Ok::<_, Error>((Companion::new()?, pieces)));
    let mut rows = rows.transpose()?;
    let (mut events, mut bytes) = (0, 0);
    while events < range.most_events
        && bytes < range.most_bytes
        && let Some(page) = pages.blocking_recv()
    {
        let mut page = page?;
        // What is too much is read again for the next archive.
        page.truncate(usize::try_from(range.most_events - events).unwrap_or(usize::MAX));
        if let Some((companion, pieces)) = &mut rows
            && !send(pieces, companion.take(&page)?)
        {
            return Err(Stop::Refused);
        }
        let mut block = Block::default();
        for event in page {
            let (seq, pos, created_at) = (event.seq, event.pos, event.created_at);
            let kind = form.write(&mut block.text, event).map_err(unwritten)?;
            block.lines.push(Line {
                end: block.text.len(),
                seq,
                pos,
                created_at,
                kind,
            });
        }
        events += block.lines.len() as u64;
        bytes += (block.text.len() + block.lines.len()) as u64;
        if blocks.blocking_send(Ok(block)).is_err() {
            return Err(Stop::Refused);
        }
    }
    let Some((companion, pieces)) = rows else {
        return Ok(());
    };
    match events {
        0 => drop(pieces.blocking_send(Err(nothing()))),
        _ if send(pieces, companion.finish()?) => {}
        _ => return Err(Stop::Refused),
    }
    Ok(())
}

/// Compresses lines until there are no more.
fn pack(mut blocks: Blocks, lines: Pieces, meter: &Meter) -> Result<Outcome, Error> {
    let packed = pack_all(&mut blocks, &lines, meter);
    let why = match &packed {
        Ok(Outcome::Packed(_)) => return packed,
        Ok(_) => nothing(),
        Err(error) => error.clone(),
    };
    // What was uploaded so far must not look as if it were all.
    let _ = lines.blocking_send(Err(why));
    packed
}

fn pack_all(blocks: &mut Blocks, lines: &Pieces, meter: &Meter) -> Result<Outcome, Error> {
    let mut writer = Writer::new(LEVEL);
    let mut times: Option<(Time, Time)> = None;
    while let Some(block) = blocks.blocking_recv() {
        let block = match block {
            Ok(block) => block,
            Err(Stop::Refused) => return Ok(Outcome::Refused),
            Err(Stop::Failed(error)) => return Err(error),
        };
        let mut start = 0;
        for line in &block.lines {
            let mark = Mark {
                seq: line.seq,
                pos: line.pos,
                created_at: line.created_at,
                kind: &line.kind,
            };
            let refused = |error: object::Error| unwritten(format!("an archive {error}"));
            let text = &block.text[start..line.end];
            writer.push(mark, text).map_err(refused)?;
            start = line.end;
            let at = line.created_at;
            times = Some((times.map_or(at, |(first, _)| first), at));
        }
        meter.events_done.add(block.lines.len() as u64);
        meter
            .bytes
            .add((block.text.len() + block.lines.len()) as u64);
        if !send(lines, writer.take()) {
            return Ok(Outcome::Refused);
        }
    }
    let Some((first_at, last_at)) = times else {
        return Ok(Outcome::Empty);
    };
    let finished = writer.finish();
    let (rest, summary) =
        finished.map_err(|error| Error::Objects(format!("an archive {error}")))?;
    if !send(lines, rest) {
        return Ok(Outcome::Refused);
    }
    Ok(Outcome::Packed(Packed {
        summary,
        first_at,
        last_at,
    }))
}

fn nothing() -> Error {
    Error::Objects("there is nothing to upload".to_owned())
}

fn unwritten(why: String) -> Error {
    Error::Store(tidewire_db::Error::Broken(why))
}

/// Whether somebody takes it.
fn send(pieces: &Pieces, bytes: Bytes) -> bool {
    bytes.is_empty() || pieces.blocking_send(Ok(bytes)).is_ok()
}
