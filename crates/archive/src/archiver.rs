//! Making one archive: a range of a stream becomes an object.
//!
//! Three things run at once, with little between them: pages are read off the log, a thread makes lines
//! of them and compresses, and what comes out is uploaded. So memory stays the same however much it is.
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
/// … and how many such pages wait to be compressed.
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
        let packing = {
            let (range, meter) = (range.clone(), Arc::clone(meter));
            spawn_blocking(move || pack(read, lines, rows, &range, &meter))
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
        let (_, packed, lines, rows) =
            tokio::join!(self.read(range, pages), packing, put_lines, put_rows);
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

/// Makes lines of events, and compresses them, until there is no more or it is enough.
fn pack(
    mut pages: Pages,
    lines: Pieces,
    rows: Option<Pieces>,
    range: &Range,
    meter: &Meter,
) -> Result<Outcome, Error> {
    let packed = pack_all(&mut pages, &lines, rows.as_ref(), range, meter);
    let why = match &packed {
        Ok(Outcome::Packed(_)) => return packed,
        Ok(_) => Error::Objects("there is nothing to upload".to_owned()),
        Err(error) => error.clone(),
    };
    // What was uploaded so far must not look as if it were all.
    for pieces in [Some(lines), rows].into_iter().flatten() {
        let _ = pieces.blocking_send(Err(why.clone()));
    }
    packed
}

fn pack_all(
    pages: &mut Pages,
    lines: &Pieces,
    rows: Option<&Pieces>,
    range: &Range,
    meter: &Meter,
) -> Result<Outcome, Error> {
    let form = Lines::of(&range.stream);
    let mut writer = Writer::new(LEVEL);
    let rows = rows.map(|pieces| Ok::<_, Error>((Companion::new()?, pieces)));
    let mut rows = rows.transpose()?;
    let mut line = Vec::new();
    let (mut events, mut line_bytes) = (0, 0);
    let mut times: Option<(Time, Time)> = None;
    while let Some(page) = pages.blocking_recv() {
        let mut page = page?;
        // What is too much is read again for the next archive.
        page.truncate(usize::try_from(range.most_events - events).unwrap_or(usize::MAX));
        if let Some((companion, pieces)) = &mut rows
            && !send(pieces, companion.take(&page)?)
        {
            return Ok(Outcome::Refused);
        }
        for event in page {
            let (seq, pos, created_at) = (event.seq, event.pos, event.created_at);
            line.clear();
            let unwritten = |why| Error::Store(tidewire_db::Error::Broken(why));
            let kind = form.write(&mut line, event).map_err(unwritten)?;
            let mark = Mark {
                seq,
                pos,
                created_at,
                kind: &kind,
            };
            let refused = |error: object::Error| unwritten(format!("an archive {error}"));
            writer.push(mark, &line).map_err(refused)?;
            times = Some((times.map_or(created_at, |(first, _)| first), created_at));
            events += 1;
            line_bytes += line.len() as u64 + 1;
            meter.events_done.add(1);
            meter.bytes.add(line.len() as u64 + 1);
        }
        if !send(lines, writer.take()) {
            return Ok(Outcome::Refused);
        }
        if events >= range.most_events || line_bytes >= range.most_bytes {
            break;
        }
    }
    let Some((first_at, last_at)) = times else {
        return Ok(Outcome::Empty);
    };
    let finished = writer.finish();
    let (rest, summary) =
        finished.map_err(|error| Error::Objects(format!("an archive {error}")))?;
    let rows_taken = match rows {
        Some((companion, pieces)) => send(pieces, companion.finish()?),
        None => true,
    };
    if !send(lines, rest) || !rows_taken {
        return Ok(Outcome::Refused);
    }
    Ok(Outcome::Packed(Packed {
        summary,
        first_at,
        last_at,
    }))
}

/// Whether somebody takes it.
fn send(pieces: &Pieces, bytes: Bytes) -> bool {
    bytes.is_empty() || pieces.blocking_send(Ok(bytes)).is_ok()
}
