//! What is written is read back: by the library's own reader, and by that of another language.

use std::{io::Write as _, path::PathBuf, process::Command};

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use arrow_array::{Array as _, RecordBatch, cast::AsArray as _, types};
use proptest::prelude::*;

use super::*;

/// A row as it was, and as it is read back.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Event {
    texts: [String; 4],
    some: [Option<String>; 3],
    seq: u64,
    pos: u64,
    occurred: Option<i64>,
    created: i64,
}

impl Event {
    fn row(&self) -> Row<'_> {
        let [stream, id, kind, payload] = self.texts.each_ref().map(String::as_str);
        let [subject, dedupe_key, source] = self.some.each_ref().map(Option::as_deref);
        Row {
            stream,
            seq: self.seq,
            pos: self.pos,
            id,
            kind,
            subject,
            payload,
            dedupe_key,
            source,
            occurred_at: self.occurred.map(Time::from_micros),
            created_at: Time::from_micros(self.created),
        }
    }

    fn numbered(n: u64) -> Event {
        let rare = |every: u64, text: String| n.is_multiple_of(every).then_some(text);
        Event {
            texts: [
                "thread:t1".to_owned(),
                format!("01K{n:023}"),
                format!("kind.{}", n % 3),
                format!("{{\"n\":{n},\"text\":\"grün € 🌊\"}}"),
            ],
            some: [
                rare(2, format!("s{n}")),
                rare(5, format!("d{n}")),
                rare(7, "x".to_owned()),
            ],
            seq: n,
            pos: 3 * n,
            occurred: n
                .is_multiple_of(4)
                .then_some(1_800_000_000_123_456 - n.cast_signed()),
            created: 1_800_000_000_000_001 + 1000 * n.cast_signed(),
        }
    }
}

fn written(events: &[Event], most: (usize, usize)) -> Vec<u8> {
    let mut writer = Writer::new().unwrap();
    writer.most = most;
    let mut file = Vec::new();
    for event in events {
        writer.push(&event.row()).unwrap();
        file.extend(writer.take());
    }
    let (rest, rows) = writer.finish().unwrap();
    assert_eq!(rows, events.len() as u64);
    file.extend(rest);
    file
}

fn events_in(batch: &RecordBatch) -> Vec<Event> {
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let text = |name: &str, row: usize| {
        let column = column(name).as_string::<i32>();
        (!column.is_null(row)).then(|| column.value(row).to_owned())
    };
    let number = |name: &str, row: usize| {
        let numbers = column(name).as_primitive::<types::Int64Type>();
        numbers.value(row).cast_unsigned()
    };
    let time = |name: &str, row: usize| {
        let times = column(name).as_primitive::<types::TimestampMicrosecondType>();
        assert_eq!(times.timezone(), Some("UTC"));
        (!times.is_null(row)).then(|| times.value(row))
    };
    let event = |row| Event {
        texts: ["stream", "id", "type", "payload"].map(|name| text(name, row).unwrap()),
        some: ["subject", "dedupe_key", "source"].map(|name| text(name, row)),
        seq: number("seq", row),
        pos: number("pos", row),
        occurred: time("occurred_at", row),
        created: time("created_at", row).unwrap(),
    };
    (0..batch.num_rows()).map(event).collect()
}

fn read(file: Vec<u8>) -> (Vec<Event>, usize) {
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).unwrap();
    let groups = reader.metadata().num_row_groups();
    let batches = reader.build().unwrap().map(std::result::Result::unwrap);
    (
        batches.flat_map(|batch| events_in(&batch)).collect(),
        groups,
    )
}

fn any_event() -> impl Strategy<Value = Event> {
    let texts = [".{0,20}", ".{0,20}", ".{0,20}", ".{0,200}"];
    let some = || proptest::option::of(".{0,20}");
    let time = 0..4_000_000_000_000_000_i64;
    (
        texts,
        [some(), some(), some()],
        0..1_u64 << 48,
        0..1_u64 << 48,
    )
        .prop_flat_map(move |rest| (Just(rest), proptest::option::of(time.clone()), time.clone()))
        .prop_map(|((texts, some, seq, pos), occurred, created)| Event {
            texts,
            some,
            seq,
            pos,
            occurred,
            created,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(
        events in proptest::collection::vec(any_event(), 0..100),
        rows in 1..50_usize,
        bytes in 1..5_000_usize,
    ) {
        prop_assert_eq!(read(written(&events, (rows, bytes))).0, events);
    }
}

#[test]
fn a_file_grows_group_by_group() {
    let events: Vec<_> = (1..=1_000).map(Event::numbered).collect();
    let (found, groups) = read(written(&events, (300, usize::MAX)));
    assert_eq!((found == events, groups), (true, 4));

    let mut writer = Writer::new().unwrap();
    writer.most = (300, usize::MAX);
    let mut sizes = Vec::new();
    for event in &events {
        writer.push(&event.row()).unwrap();
        sizes.push(writer.take().len());
    }
    let given = sizes.iter().filter(|&&size| size > 0).count();
    assert!(given >= 3, "{given}");
    assert_eq!(writer.columns.seqs.len(), 100);
}

/// A Python that has the package pyarrow.
const PYTHON: &str = "TIDEWIRE_TEST_PYARROW";
const REQUIRED: &str = "TIDEWIRE_TEST_REQUIRE_ENGINES";

/// Says of the file what a test can compare.
const READ: &str = r#"
import json, sys
import pyarrow.parquet as parquet
table = parquet.read_table(sys.argv[1])
json.dump({
    "schema": {field.name: str(field.type) for field in table.schema},
    "rows": [[str(value) if hasattr(value, "isoformat") else value for value in row.values()] for row in table.to_pylist()],
}, sys.stdout)
"#;

fn python() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(PYTHON) {
        return Some(named.into());
    }
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let installed = here.join("../../target/tools/pyarrow/bin/python");
    installed.exists().then_some(installed)
}

#[test]
fn the_reader_of_another_language_reads_the_same() {
    let Some(python) = python() else {
        assert!(
            std::env::var_os(REQUIRED).is_none_or(|value| value != "1"),
            "{PYTHON} names no Python with the package pyarrow"
        );
        println!(
            "left out: Parquet as pyarrow reads it: run `cargo xtask test`, or name a Python that has it in {PYTHON}"
        );
        return;
    };
    let events: Vec<_> = (1..=10).map(Event::numbered).collect();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&written(&events, (4, usize::MAX))).unwrap();
    let output = Command::new(&python)
        .args(["-c", READ])
        .arg(file.path())
        .output()
        .unwrap_or_else(|error| panic!("{} does not run: {error}", python.display()));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();

    let (text, number, time) = ("string", "int64", "timestamp[us, tz=UTC]");
    let schema = serde_json::json!({
        "stream": text, "seq": number, "pos": number, "id": text, "type": text, "subject": text, "payload": text,
        "dedupe_key": text, "source": text, "occurred_at": time, "created_at": time,
    });
    assert_eq!(said["schema"], schema);
    let shown = |micros: i64| {
        let time = Time::from_micros(micros).to_string();
        time.replace('T', " ").replace('Z', "+00:00")
    };
    let rows = events.iter().map(|event| {
        let [stream, id, kind, payload] = &event.texts;
        let [subject, dedupe_key, source] = &event.some;
        serde_json::json!([
            stream,
            event.seq,
            event.pos,
            id,
            kind,
            subject,
            payload,
            dedupe_key,
            source,
            event.occurred.map(shown),
            shown(event.created),
        ])
    });
    assert_eq!(said["rows"], rows.collect::<serde_json::Value>());
}
