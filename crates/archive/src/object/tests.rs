//! What is written is read back, by every way there is, and what was changed is found.

use std::{
    io::{Read as _, Write as _},
    ops::Range,
    process::{Command, Stdio},
};

use flate2::read::MultiGzDecoder;
use proptest::prelude::*;
use tidewire_core::Time;

use super::*;

#[derive(Clone, Debug)]
struct Row {
    seq: u64,
    pos: u64,
    at: i64,
    kind: &'static str,
    line: Vec<u8>,
}

impl Row {
    fn mark(&self) -> Mark<'static> {
        Mark {
            seq: self.seq,
            pos: self.pos,
            created_at: Time::from_micros(self.at),
            kind: self.kind,
        }
    }
}

/// More types than a dictionary has room for.
fn kind(n: usize) -> &'static str {
    const NAMES: &str = "k00 k01 k02 k03 k04 k05 k06 k07 k08 k09 k10 k11 k12 k13 k14 k15 k16 k17 k18 k19 k20 k21 k22 k23 \
        k24 k25 k26 k27 k28 k29 k30 k31 k32 k33 k34 k35 k36 k37 k38 k39 k40 k41 k42 k43 k44 k45 k46 k47 k48 k49 k50 \
        k51 k52 k53 k54 k55 k56 k57 k58 k59 k60 k61 k62 k63 k64 k65 k66 k67 k68 k69";
    NAMES.split_whitespace().nth(n).unwrap()
}

/// Any bytes but a line break, of which some shrink and some do not.
fn line(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let noise = (0..length).map(|at| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let byte = if seed.is_multiple_of(3) {
            (state >> 56) as u8
        } else {
            b"{\"seq\":"[at % 7]
        };
        if byte == b'\n' { b' ' } else { byte }
    });
    noise.collect()
}

fn rows(most: usize) -> impl Strategy<Value = Vec<Row>> {
    let length = prop_oneof![
        60 => 0..300_usize,
        10 => 300..9_000_usize,
        2 => 65_000..66_000_usize,
        1 => Just(1024 * 1024),
    ];
    let row = (
        1..4_u64,
        1..40_u64,
        -2_000..5_000_000_i64,
        0..70_usize,
        length,
        any::<u64>(),
    );
    (
        proptest::collection::vec(row, 1..most),
        0..1_u64 << 40,
        1..71_usize,
    )
        .prop_map(|(rows, first, kinds)| {
            let (mut seq, mut pos, mut at) = (first, 2 * first, 1_800_000_000_000_000);
            let row = |(seqs, positions, micros, named, length, seed)| {
                seq += seqs;
                pos += positions;
                at += micros;
                let (kind, line) = (kind(named % kinds), line(length, seed));
                Row {
                    seq,
                    pos,
                    at,
                    kind,
                    line,
                }
            };
            rows.into_iter().map(row).collect()
        })
}

/// Rows as a stream has them, each of some 100 bytes.
fn plain(count: u64) -> Vec<Row> {
    let row = |n: u64| Row {
        seq: n + 1,
        pos: 3 * n + 7,
        at: 1_800_000_000_000_000 + 250_000 * n.cast_signed(),
        kind: kind((n / 100 % 5) as usize),
        line: format!(
            "{{\"seq\":{},\"payload\":\"{:032x}\"}}",
            n + 1,
            n * 0x9e37_79b9
        )
        .into_bytes(),
    };
    (0..count).map(row).collect()
}

fn written_by(mut writer: Writer, rows: &[Row]) -> (Vec<u8>, Summary) {
    let mut object = Vec::new();
    for row in rows {
        writer.push(row.mark(), &row.line).unwrap();
        object.extend(writer.take());
    }
    let (rest, summary) = writer.finish().unwrap();
    object.extend(rest);
    assert_eq!(summary.bytes, object.len() as u64);
    (object, summary)
}

fn written(rows: &[Row]) -> (Vec<u8>, Summary) {
    written_by(Writer::new(6), rows)
}

/// With members of some lines, so that a small object has everything.
fn small(rows: &[Row]) -> (Vec<u8>, Summary) {
    let mut writer = Writer::new(6);
    writer.member = 256;
    written_by(writer, rows)
}

/// As a reader goes about it: some of the end, and more if it must be.
fn index_of(object: &[u8], tail: usize) -> Result<Index, Error> {
    let (mut from, size) = (object.len().saturating_sub(tail), object.len() as u64);
    loop {
        match Index::parse(&object[from..], size)? {
            Tail::Whole(index) => return Ok(index),
            Tail::Needs(range) => {
                assert!(
                    range.end == size && (range.start as usize) < from,
                    "{range:?}"
                );
                from = range.start as usize;
            }
        }
    }
}

fn checked(object: &[u8], rows: &[Row], piece: usize) -> Result<Summary, Error> {
    let mut rows = rows.iter();
    let mut check = Check::new(|line: &[u8]| {
        let row = rows.next().ok_or("there are more lines than events")?;
        // By line too: what a damaged one says must not pass for what was written.
        (row.line == line).then_some(()).ok_or("another line")?;
        Ok(row.mark())
    });
    for piece in object.chunks(piece) {
        check.push(piece)?;
    }
    check.finish()
}

/// The lines of these members, by stretches as one would fetch them.
fn fetched(object: &[u8], index: &Index, wanted: impl IntoIterator<Item = usize>) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for stretch in index.stretches(wanted, 100_000) {
        let bytes = &object[stretch.bytes.start as usize..stretch.bytes.end as usize];
        for member in &index.members()[stretch.members] {
            let start = (member.offset - stretch.bytes.start) as usize;
            let content = unpack(member, &bytes[start..start + member.length as usize]).unwrap();
            found.extend(lines(&content).map(<[u8]>::to_vec));
        }
    }
    found
}

fn lines_of<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Vec<Vec<u8>> {
    rows.into_iter().map(|row| row.line.clone()).collect()
}

/// Whether all of `needed` are among `found`, in their order.
fn holds(found: &[Vec<u8>], needed: &[Vec<u8>]) -> bool {
    let mut found = found.iter();
    needed.iter().all(|line| found.any(|one| one == line))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(
        rows in rows(150),
        tail in 1..200_000_usize,
        piece in 1..100_000_usize,
        picks: (usize, usize),
    ) {
        let (object, summary) = written(&rows);
        let index = index_of(&object, tail).unwrap();
        prop_assert_eq!(index.summary(), &summary);
        prop_assert_eq!(checked(&object, &rows, piece), Ok(summary));
        prop_assert_eq!(summary.events, rows.len() as u64);
        prop_assert_eq!(summary.first_at.millis(), rows.iter().map(|row| row.at.div_euclid(1000)).min().unwrap());
        prop_assert_eq!(fetched(&object, &index, 0..index.members().len()), lines_of(&rows));

        let mut all = Vec::new();
        MultiGzDecoder::new(&object[..]).read_to_end(&mut all).unwrap();
        prop_assert_eq!(all.len() as u64, summary.line_bytes);
        prop_assert_eq!(lines(&all).map(<[u8]>::to_vec).collect::<Vec<_>>(), lines_of(&rows));

        let (one, other) = (picks.0 % rows.len(), picks.1 % rows.len());
        let (from, to) = (&rows[one.min(other)], &rows[one.max(other)]);
        let wanted = &rows[one.min(other)..=one.max(other)];
        let of_seqs = index.of_seqs(from.seq - 1, to.seq);
        let of_positions = index.of_positions(from.pos - 1, to.pos + 1);
        prop_assert_eq!(&of_seqs, &of_positions);
        prop_assert!(holds(&fetched(&object, &index, of_seqs.clone()), &lines_of(wanted)));
        // Nothing is fetched but members with a wanted event at their border.
        let members = &index.members()[of_seqs];
        prop_assert!(members.last().unwrap().first_seq <= to.seq);
        prop_assert!(members.get(1).is_none_or(|second| second.first_seq > from.seq));

        let of_kind = index.wanted(|kind| kind == from.kind);
        let may = (0..index.members().len()).filter(|&at| index.members()[at].may_hold_kinds(of_kind));
        prop_assert!(holds(
            &fetched(&object, &index, may),
            &lines_of(rows.iter().filter(|row| row.kind == from.kind)),
        ));
        let (since, until) = (Time::from_micros(from.at.min(to.at)), Time::from_micros(from.at.max(to.at)));
        let may = (0..index.members().len())
            .filter(|&at| index.members()[at].may_hold_times(Some(since), Some(until)));
        let then = |row: &&Row| (since..=until).contains(&Time::from_micros(row.at));
        prop_assert!(holds(&fetched(&object, &index, may), &lines_of(rows.iter().filter(then))));
    }

    #[test]
    fn a_changed_byte_is_found(rows in rows(40), at: usize, change in 1..=255_u8) {
        let (mut object, _) = written(&rows);
        let at = at % object.len();
        object[at] ^= change;
        prop_assert!(checked(&object, &rows, 10_000).is_err(), "byte {} of {}", at, object.len());
    }

    #[test]
    fn any_bytes_are_told_from_an_archive(mut bytes: Vec<u8>, cut: usize) {
        prop_assert!(index_of(&bytes, 100).is_err());
        // With a real trailer behind them.
        let (object, _) = small(&plain(20));
        bytes.extend(&object[cut % object.len()..]);
        if bytes != object {
            prop_assert!(checked(&bytes, &plain(20), 100).is_err());
            let _ = index_of(&bytes, 100);
        }
    }
}

#[test]
fn a_changed_bit_anywhere_is_found() {
    let rows = plain(24);
    let (object, summary) = small(&rows);
    assert_eq!(checked(&object, &rows, object.len()), Ok(summary));
    assert!(index_of(&object, 100).unwrap().members().len() > 5);
    for bit in 0..8 * object.len() {
        let mut changed = object.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let found = checked(&changed, &rows, changed.len());
        assert!(found.is_err(), "bit {} of byte {}", bit % 8, bit / 8);
    }
}

#[test]
fn an_object_that_was_cut_short_is_told_as_one() {
    let rows = plain(40);
    let (object, _) = small(&rows);
    for length in 0..object.len() {
        let cut = Err(Error::Cut {
            bytes: length as u64,
        });
        assert_eq!(checked(&object[..length], &rows, 100), cut, "{length}");
        assert_eq!(
            index_of(&object[..length], 100).map(|_| ()),
            cut.map(|_: Summary| ()),
            "{length}"
        );
    }
    let mut longer = object.clone();
    longer.push(0);
    let found = checked(&longer, &rows, 100).unwrap_err();
    assert_eq!(
        found.to_string(),
        format!(
            "is damaged at byte {}: there is something behind its trailer",
            object.len()
        )
    );
}

#[test]
fn members_that_went_missing_are_told_by_the_trailer() {
    let (object, _) = small(&plain(40));
    let second = index_of(&object, 100).unwrap().members()[1];
    let mut without = object.clone();
    without.drain(second.offset as usize..(second.offset + second.length) as usize);
    let error = index_of(&without, 100).unwrap_err().to_string();
    assert!(
        error.contains(&format!("for an object of {} bytes", object.len())),
        "{error}"
    );
}

#[test]
fn a_check_compares_the_index_with_what_is_there() {
    let rows = plain(40);
    let (object, _) = small(&rows);
    let complaint = |change: fn(&mut Row)| {
        let mut others = rows.clone();
        change(&mut others[11]);
        checked(&object, &others, 100).unwrap_err().to_string()
    };
    let of_kind = complaint(|row| row.kind = "another");
    assert!(of_kind.contains("its index says of member"), "{of_kind}");
    let of_time = complaint(|row| row.at = 0);
    assert!(of_time.contains("its index says of member"), "{of_time}");
    let of_order = complaint(|row| row.seq = 11);
    assert!(
        of_order.contains("the event 11 at position 40 does not come behind the event 11"),
        "{of_order}"
    );
    let of_line = complaint(|row| row.line.clear());
    assert!(
        of_line.contains("line ") && of_line.contains("another line"),
        "{of_line}"
    );
}

#[test]
fn a_writer_refuses_what_would_be_no_archive_and_goes_on() {
    assert_eq!(Writer::new(6).finish().map(|_| ()), Err(Error::Empty));
    let mut writer = Writer::new(6);
    let rows = plain(2);
    writer.push(rows[1].mark(), &rows[1].line).unwrap();
    let behind = writer.push(rows[0].mark(), &rows[0].line).unwrap_err();
    assert_eq!(
        behind.to_string(),
        "cannot take the event 1 at position 7, which does not come behind the event 2 at position 10"
    );
    let next = Mark {
        seq: 3,
        pos: 11,
        ..rows[1].mark()
    };
    let broken = writer.push(next, b"{\n}").unwrap_err();
    assert_eq!(
        broken.to_string(),
        "cannot take the event 3 as a line: there is a line break in it, at byte 1"
    );
    writer.push(next, b"{}").unwrap();
    let (object, summary) = writer.finish().unwrap();
    assert_eq!(
        (summary.events, summary.first_seq, summary.last_seq),
        (2, 2, 3)
    );
    let index = index_of(&object, 1000).unwrap();
    assert_eq!(
        fetched(&object, &index, 0..1),
        [rows[1].line.clone(), b"{}".to_vec()]
    );
}

#[test]
fn a_member_has_whole_lines_of_64_kib_and_a_longer_line_is_alone() {
    let mut rows = plain(3_000);
    rows[1_500].line = line(300_000, 1);
    let (object, _) = written(&rows);
    let index = index_of(&object, 100).unwrap();
    let alone: Vec<_> = index
        .members()
        .iter()
        .filter(|member| member.content > MEMBER as u64)
        .collect();
    assert_eq!(alone.len(), 1);
    assert_eq!((alone[0].lines, alone[0].first_seq), (1, 1_501));
    // All but the last and the one before the long line are full.
    let full = index
        .members()
        .iter()
        .filter(|member| member.content > MEMBER as u64 - 200);
    assert_eq!(full.count(), index.members().len() - 2);
}

#[test]
fn a_long_index_comes_in_pieces() {
    let rows = plain(20_000);
    let mut writer = Writer::new(1);
    writer.member = 1;
    let (object, summary) = written_by(writer, &rows);
    let index = index_of(&object, TAIL as usize).unwrap();
    assert_eq!(index.members().len(), rows.len());
    assert!(object.len() as u64 - index.members()[19_999].bytes().end > 2 * 65_000);
    assert_eq!(checked(&object, &rows, 1 << 20), Ok(summary));
    assert_eq!(index.of_seqs(10_000, 10_003), 10_000..10_003);
    assert_eq!(index.of_seqs(20_000, 30_000), 0..0);
}

#[test]
fn neighbours_are_fetched_together_up_to_a_limit() {
    let (object, _) = small(&plain(100));
    let index = index_of(&object, 100).unwrap();
    let all = 0..index.members().len();
    let bytes = |members: Range<usize>| {
        index.members()[members.start].offset..index.members()[members.end - 1].bytes().end
    };
    let whole = Stretch {
        members: all.clone(),
        bytes: bytes(all.clone()),
    };
    assert_eq!(index.stretches(all.clone(), u64::MAX), [whole]);
    let some = index.stretches([1, 2, 5], u64::MAX);
    let members: Vec<_> = some.iter().map(|stretch| stretch.members.clone()).collect();
    assert_eq!(members, [1..3, 5..6]);
    assert_eq!(index.stretches(all.clone(), 1).len(), all.len());
}

/// The layout as `docs/archives.md` has it, by hand.
#[test]
fn the_trailer_is_where_the_documentation_says() {
    let rows = plain(24);
    let (object, _) = small(&rows);
    let trailer = &object[object.len() - 92..];
    let number = |at: usize| u64::from_le_bytes(trailer[at..at + 8].try_into().unwrap());
    assert_eq!(trailer[..10], [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255]);
    assert_eq!(trailer[10..18], [70, 0, b'T', b'W', 66, 0, b'E', 1]);
    assert_eq!(number(18) + number(26) + 92, object.len() as u64);
    assert_eq!(
        (number(34), number(42), number(50), number(58), number(66)),
        (24, 1, 24, 7, 76)
    );
    let crc = |bytes: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum().to_le_bytes()
    };
    assert_eq!(trailer[74..78], crc(&object[..object.len() - 92]));
    assert_eq!(trailer[78..82], crc(&trailer[17..78]));
    assert_eq!(trailer[82..], [3, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

    let mut newer = object.clone();
    let version = newer.len() - 92 + 17;
    newer[version] = 2;
    assert_eq!(index_of(&newer, 100).map(|_| ()), Err(Error::Version(2)));
}

#[test]
fn the_gzip_program_reads_the_whole() {
    let mut rows = plain(3_000);
    rows[7].line = line(1024 * 1024, 3);
    let (object, _) = written(&rows);
    let gzip = |option: &str| {
        let mut gzip = Command::new("gzip")
            .arg(option)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program gzip is installed");
        let (mut stdin, object) = (gzip.stdin.take().unwrap(), object.clone());
        let feed = std::thread::spawn(move || stdin.write_all(&object));
        let output = gzip.wait_with_output().unwrap();
        feed.join().unwrap().unwrap();
        assert!(output.status.success(), "gzip {option}: {}", output.status);
        output.stdout
    };
    gzip("-t");
    assert!(lines(&gzip("-dc")).eq(rows.iter().map(|row| &*row.line)));
}
