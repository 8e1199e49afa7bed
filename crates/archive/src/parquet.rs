//! Events as a Parquet file, for people's query engines. What Tidewire itself reads is the gzip object
//! beside it.
//!
//! Rows gather to a row group of bounded size, which is written column by column; so is the memory bounded.
//! Numbers are signed and texts are plain ones, which every engine reads: `payload` is JSON as text, and
//! times are microseconds in UTC.

#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock};

use ::parquet::{
    basic::{Compression, Encoding, ZstdLevel},
    column::writer::ColumnWriter,
    data_type::ByteArray,
    errors::ParquetError,
    file::{
        properties::{EnabledStatistics, WriterProperties},
        writer::SerializedFileWriter,
    },
    schema::{parser::parse_message_type, types::TypePtr},
};
use bytes::Bytes;
use tidewire_core::Time;

/// The columns, in the order in which [`Columns`] has them.
const SCHEMA: &str = "message event {
    required binary stream (STRING);
    required int64 seq;
    required int64 pos;
    required binary id (STRING);
    required binary type (STRING);
    optional binary subject (STRING);
    required binary payload (STRING);
    optional binary dedupe_key (STRING);
    optional binary source (STRING);
    optional int64 occurred_at (TIMESTAMP(MICROS, true));
    required int64 created_at (TIMESTAMP(MICROS, true));
}";

/// A row group has no more rows, nor more bytes of text: some three times as much is in memory.
const ROWS: usize = 100_000;
const BYTES: usize = 16 * 1024 * 1024;

/// An event, a row.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    pub stream: &'a str,
    pub seq: u64,
    pub pos: u64,
    pub id: &'a str,
    pub kind: &'a str,
    pub subject: Option<&'a str>,
    /// JSON.
    pub payload: &'a str,
    pub dedupe_key: Option<&'a str>,
    pub source: Option<&'a str>,
    pub occurred_at: Option<Time>,
    pub created_at: Time,
}

/// Why there is no Parquet file.
#[derive(Debug, thiserror::Error)]
#[error("cannot write events as Parquet: {0}")]
pub struct Error(#[from] ParquetError);

type Result<T> = std::result::Result<T, Error>;

/// Takes rows and gives the bytes of a Parquet file.
pub struct Writer {
    file: SerializedFileWriter<Vec<u8>>,
    columns: Columns,
    rows: u64,
    /// Rows and bytes of a group.
    most: (usize, usize),
}

impl Writer {
    pub fn new() -> Result<Self> {
        let file = SerializedFileWriter::new(Vec::new(), schema(), properties())?;
        Ok(Writer {
            file,
            columns: Columns::default(),
            rows: 0,
            most: (ROWS, BYTES),
        })
    }

    pub fn push(&mut self, row: &Row<'_>) -> Result<()> {
        self.columns.push(row);
        self.rows += 1;
        let (rows, bytes) = self.most;
        if self.columns.seqs.len() >= rows || self.columns.bytes >= bytes {
            self.finish_group()?;
        }
        Ok(())
    }

    fn finish_group(&mut self) -> Result<()> {
        let columns = std::mem::take(&mut self.columns);
        if columns.seqs.is_empty() {
            return Ok(());
        }
        let mut group = self.file.next_row_group()?;
        for values in columns.in_order() {
            let column = group.next_column()?;
            let mut column = column.expect("there is a column of the schema for each of ours");
            values.write(column.untyped())?;
            column.close()?;
        }
        group.close()?;
        Ok(())
    }

    /// What is finished since it was last asked; most often nothing.
    pub fn take(&mut self) -> Bytes {
        std::mem::take(self.file.inner_mut()).into()
    }

    /// Ends the file: its last bytes, and how many rows it has.
    pub fn finish(mut self) -> Result<(Bytes, u64)> {
        self.finish_group()?;
        let rest = self.file.into_inner()?;
        Ok((rest.into(), self.rows))
    }
}

fn schema() -> TypePtr {
    static PARSED: LazyLock<TypePtr> =
        LazyLock::new(|| Arc::new(parse_message_type(SCHEMA).expect("the schema above")));
    Arc::clone(&PARSED)
}

fn properties() -> Arc<WriterProperties> {
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("tidewire ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        // Nobody asks for a payload between two others.
        .set_column_statistics_enabled("payload".into(), EnabledStatistics::None);
    // No two are alike: a dictionary would be made and thrown away.
    for unlike in ["id", "payload", "dedupe_key"] {
        properties = properties.set_column_dictionary_enabled(unlike.into(), false);
    }
    for growing in ["seq", "pos", "occurred_at", "created_at"] {
        properties = properties
            .set_column_dictionary_enabled(growing.into(), false)
            .set_column_encoding(growing.into(), Encoding::DELTA_BINARY_PACKED);
    }
    Arc::new(properties.build())
}

/// The rows of a group, by column.
#[derive(Default)]
struct Columns {
    streams: Vec<ByteArray>,
    seqs: Vec<i64>,
    positions: Vec<i64>,
    ids: Vec<ByteArray>,
    kinds: Vec<ByteArray>,
    subjects: Vec<Option<ByteArray>>,
    payloads: Vec<ByteArray>,
    dedupe_keys: Vec<Option<ByteArray>>,
    sources: Vec<Option<ByteArray>>,
    occurred: Vec<Option<i64>>,
    created: Vec<i64>,
    bytes: usize,
}

impl Columns {
    fn push(&mut self, row: &Row<'_>) {
        let bytes = &mut self.bytes;
        let mut text = |text: &str| {
            *bytes += text.len();
            ByteArray::from(text.as_bytes().to_vec())
        };
        self.streams.push(text(row.stream));
        self.seqs.push(row.seq.cast_signed());
        self.positions.push(row.pos.cast_signed());
        self.ids.push(text(row.id));
        self.kinds.push(text(row.kind));
        self.subjects.push(row.subject.map(&mut text));
        self.payloads.push(text(row.payload));
        self.dedupe_keys.push(row.dedupe_key.map(&mut text));
        self.sources.push(row.source.map(&mut text));
        self.occurred.push(row.occurred_at.map(Time::micros));
        self.created.push(row.created_at.micros());
    }

    /// As the schema has them.
    fn in_order(self) -> [Values; 11] {
        [
            Values::Texts(self.streams),
            Values::Numbers(self.seqs),
            Values::Numbers(self.positions),
            Values::Texts(self.ids),
            Values::Texts(self.kinds),
            Values::SomeTexts(self.subjects),
            Values::Texts(self.payloads),
            Values::SomeTexts(self.dedupe_keys),
            Values::SomeTexts(self.sources),
            Values::SomeNumbers(self.occurred),
            Values::Numbers(self.created),
        ]
    }
}

enum Values {
    Texts(Vec<ByteArray>),
    SomeTexts(Vec<Option<ByteArray>>),
    Numbers(Vec<i64>),
    SomeNumbers(Vec<Option<i64>>),
}

impl Values {
    fn write(self, column: &mut ColumnWriter<'_>) -> Result<()> {
        match (self, column) {
            (Values::Texts(all), ColumnWriter::ByteArrayColumnWriter(column)) => {
                column.write_batch(&all, None, None)?;
            }
            (Values::SomeTexts(some), ColumnWriter::ByteArrayColumnWriter(column)) => {
                let (values, levels) = defined(some);
                column.write_batch(&values, Some(&levels), None)?;
            }
            (Values::Numbers(all), ColumnWriter::Int64ColumnWriter(column)) => {
                column.write_batch(&all, None, None)?;
            }
            (Values::SomeNumbers(some), ColumnWriter::Int64ColumnWriter(column)) => {
                let (values, levels) = defined(some);
                column.write_batch(&values, Some(&levels), None)?;
            }
            _ => unreachable!("the columns are in the schema's order"),
        }
        Ok(())
    }
}

/// The values that there are, and for each row whether there is one.
fn defined<T>(some: Vec<Option<T>>) -> (Vec<T>, Vec<i16>) {
    let levels = some.iter().map(|one| i16::from(one.is_some())).collect();
    (some.into_iter().flatten().collect(), levels)
}
