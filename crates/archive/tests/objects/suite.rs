//! What holds of every place.

use bytes::Bytes;
use futures_util::{
    StreamExt as _, TryStreamExt as _,
    future::{join_all, ready},
    stream,
};
use tidewire_archive::{
    object::{self, Check, Index, Mark, TAIL, Tail, Writer},
    objects::Error,
};
use tidewire_core::Time;
use tidewire_testkit::eventually;

use crate::place::{Place, noise};

const MIB: usize = 1024 * 1024;
/// One part, as the room has it.
const PART: usize = 8 * MIB;

pub async fn what_is_written_is_read_back(place: Place) {
    place.objects.check().await.unwrap();
    for (key, length) in [("one/a.gz", 0), ("one/b.gz", 1), ("two/c.gz", 70_000)] {
        let bytes = noise(length);
        let put = place.put(key, &bytes, 1000).await.unwrap();
        assert_eq!(put.bytes, length as u64);
        assert_eq!(place.read(key).await.unwrap(), bytes, "{key}");
        place
            .objects
            .verify(key, put.bytes, &put.sha256)
            .await
            .unwrap();
    }
    // Of the empty text, as everybody knows it.
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    place.objects.verify("one/a.gz", 0, empty).await.unwrap();
}

pub async fn what_is_larger_than_a_part_goes_in_parts(place: Place) {
    for length in [PART - 1, PART, PART + 1, 2 * PART + 5 * MIB + 7] {
        let (key, bytes) = (format!("large/{length}.gz"), noise(length));
        let put = place.put(&key, &bytes, 700_001).await.unwrap();
        assert_eq!(put.bytes, length as u64);
        place
            .objects
            .verify(&key, put.bytes, &put.sha256)
            .await
            .unwrap();
        assert!(place.read(&key).await.unwrap() == bytes, "{key}");
        place.objects.delete(&key).await.unwrap();
    }
}

pub async fn an_object_that_is_there_is_never_overwritten(place: Place) {
    place.put("a.gz", b"first", 10).await.unwrap();
    let error = place.put("a.gz", b"other", 10).await.unwrap_err();
    assert!(
        matches!(&error, Error::Exists { key, .. } if key == "a.gz"),
        "{error}"
    );
    // Somebody asks again whose answer was lost.
    place.put("a.gz", b"first", 10).await.unwrap();
    let large = place.put("a.gz", &noise(PART + 1), MIB).await.unwrap_err();
    assert!(matches!(large, Error::Exists { .. }), "{large}");
    assert_eq!(place.read("a.gz").await.unwrap(), b"first");
}

pub async fn what_is_not_there_is_told_by_its_name(place: Place) {
    let objects = &place.objects;
    let told = [
        objects.get("no/such.gz").await.map(drop),
        objects.range("no/such.gz", 0..1).await.map(drop),
        objects.suffix("no/such.gz", 10).await.map(drop),
        objects.verify("no/such.gz", 1, "").await,
    ];
    let sentence = format!("there is no object `no/such.gz` in {}", objects.place());
    for error in told {
        assert_eq!(error.unwrap_err().to_string(), sentence);
    }
    objects.delete("no/such.gz").await.unwrap();
}

pub async fn ranges_are_read_whole_or_not_at_all(place: Place) {
    let bytes = noise(100_000);
    place.put("r.gz", &bytes, 9_999).await.unwrap();
    let objects = &place.objects;
    for range in [0..1, 99_999..100_000, 5..70_000, 0..100_000, 7..7] {
        let read = objects.range("r.gz", range.clone()).await.unwrap();
        assert_eq!(
            read,
            bytes[range.start as usize..range.end as usize],
            "{range:?}"
        );
    }
    let several = [9..19, 0..3, 50_000..99_000];
    let read = objects.ranges("r.gz", &several).await.unwrap();
    let wanted: Vec<_> = several
        .iter()
        .map(|range| bytes[range.start as usize..range.end as usize].to_vec())
        .collect();
    assert_eq!(read, wanted);
    for beyond in [99_999..100_001, 100_000..100_001, 200_000..200_010] {
        let error = objects
            .range("r.gz", beyond.clone())
            .await
            .unwrap_err()
            .to_string();
        let named = format!(
            "cannot read the bytes {} to {} of the object `r.gz`",
            beyond.start, beyond.end
        );
        assert!(error.starts_with(&named), "{error}");
    }
    assert_eq!(
        objects.suffix("r.gz", 10).await.unwrap(),
        (bytes[99_990..].to_vec().into(), 100_000)
    );
    assert_eq!(
        objects.suffix("r.gz", 1_000_000).await.unwrap(),
        (bytes.into(), 100_000)
    );
}

/// What a caller's own stream fails with.
#[derive(Debug)]
struct Mine;

impl From<Error> for Mine {
    fn from(error: Error) -> Self {
        panic!("not the stream failed: {error}");
    }
}

pub async fn a_stream_that_fails_leaves_no_object(place: Place) {
    for before in [0, 3, 20] {
        let pieces = stream::iter(0..before).map(|_| Ok(Bytes::from(noise(MIB))));
        let pieces = pieces.chain(stream::once(ready(Err(Mine))));
        let Mine = place.objects.put("f.gz", pieces).await.unwrap_err();
        assert_eq!(place.keys("").await, Vec::<String>::new());
        assert_eq!(place.left_over(), 0);
    }
}

pub async fn a_write_that_nobody_waits_for_leaves_no_object(place: Place) {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let pieces = stream::iter(0..18).map(|_| Ok::<_, Error>(Bytes::from(noise(MIB))));
    let waits = stream::once(async move {
        sender.send(()).unwrap();
        std::future::pending().await
    });
    let objects = place.objects.clone();
    let writing = tokio::spawn(async move { objects.put("w.gz", pieces.chain(waits)).await });
    receiver.await.unwrap();
    writing.abort();
    assert!(writing.await.unwrap_err().is_cancelled());
    eventually("nothing is left of it", async || {
        (place.left_over() == 0).then_some(())
    })
    .await;
    assert_eq!(place.keys("").await, Vec::<String>::new());
}

pub async fn what_differs_from_what_was_written_is_found(place: Place) {
    let put = place.put("d.gz", &noise(100), 100).await.unwrap();
    let shorter = place
        .objects
        .verify("d.gz", 99, &put.sha256)
        .await
        .unwrap_err();
    assert_eq!(
        shorter.to_string(),
        format!(
            "the object `d.gz` in {} has 100 bytes where 99 were written: it was cut short or replaced, write it again",
            place.objects.place()
        )
    );
    let other = place.put("e.gz", &noise(101)[1..], 100).await.unwrap();
    let error = place
        .objects
        .verify("d.gz", 100, &other.sha256)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Checksum { actual, .. } if *actual == put.sha256),
        "{error}"
    );
}

pub async fn a_list_has_what_is_under_its_folder(place: Place) {
    for (key, length) in [
        ("threads/t1/archives/1.gz", 10),
        ("threads/t1/archives/2.gz", 20),
        ("threads/t10/archives/3.gz", 30),
        ("streams/site:a.b_c-1/archives/4.gz", 40),
    ] {
        place.put(key, &noise(length), 100).await.unwrap();
    }
    let keys = async |under| place.keys(under).await;
    assert_eq!(
        keys("threads/t1").await,
        ["threads/t1/archives/1.gz", "threads/t1/archives/2.gz"]
    );
    assert_eq!(keys("threads/t1/").await, keys("threads/t1").await);
    assert_eq!(
        keys("streams/site:a.b_c-1").await,
        ["streams/site:a.b_c-1/archives/4.gz"]
    );
    assert_eq!(keys("").await.len(), 4);
    assert_eq!(keys("nothing").await, Vec::<String>::new());
    let sizes: Vec<_> = place
        .list("threads")
        .await
        .iter()
        .map(|one| one.bytes)
        .collect();
    assert_eq!(sizes, [10, 20, 30]);
    let one = &place.list("streams").await[0];
    assert!(
        one.modified > Time::from_millis(1_600_000_000_000),
        "{one:?}"
    );

    place
        .objects
        .delete("threads/t1/archives/1.gz")
        .await
        .unwrap();
    assert_eq!(keys("threads/t1").await, ["threads/t1/archives/2.gz"]);
}

pub async fn keys_that_no_place_can_have_are_refused(place: Place) {
    for key in ["", "a//b", "../a", "a/../b", "/a", "a/", "a\u{0}b"] {
        let error = place.put(key, b"x", 1).await.unwrap_err();
        assert!(
            matches!(&error, Error::Key { key: named, .. } if named == key),
            "{key:?}: {error}"
        );
    }
    assert_eq!(place.keys("").await, Vec::<String>::new());
}

pub async fn many_write_and_read_at_once(place: Place) {
    let one = async |n: usize| {
        let (key, bytes) = (format!("many/{n}.gz"), noise(300_000 + n));
        let put = place.put(&key, &bytes, 64 * 1024).await.unwrap();
        place
            .objects
            .verify(&key, put.bytes, &put.sha256)
            .await
            .unwrap();
        assert!(place.read(&key).await.unwrap() == bytes);
    };
    join_all((0..16).map(one)).await;
    assert_eq!(place.keys("many").await.len(), 16);
}

pub async fn an_archive_is_written_and_read_from_its_end(place: Place) {
    let line = |seq: u64| {
        format!(
            "{{\"seq\":{seq},\"noise\":\"{:032x}\"}}",
            u128::from(seq).wrapping_pow(9)
        )
    };
    let mark = |seq| Mark {
        seq,
        pos: 2 * seq,
        created_at: Time::from_millis(1_800_000_000_000),
        kind: "note",
    };
    let mut writer = Writer::new(6);
    let mut pieces = Vec::new();
    for seq in 1..=50_000 {
        writer.push(mark(seq), line(seq).as_bytes()).unwrap();
        let piece = writer.take();
        if !piece.is_empty() {
            pieces.push(Ok::<_, Error>(piece));
        }
    }
    let (rest, whole) = writer.finish().unwrap();
    pieces.push(Ok(rest));
    let put = place
        .objects
        .put("archive.gz", stream::iter(pieces))
        .await
        .unwrap();
    assert_eq!(put.bytes, whole.bytes);

    let (tail, size) = place.objects.suffix("archive.gz", TAIL).await.unwrap();
    let Tail::Whole(index) = Index::parse(&tail, size).unwrap() else {
        panic!("the index is within reach");
    };
    assert_eq!(*index.summary(), whole);
    let wanted = index.of_seqs(31_000, 31_100);
    let stretches = index.stretches(wanted, u64::MAX);
    assert_eq!(stretches.len(), 1);
    let bytes = place
        .objects
        .range("archive.gz", stretches[0].bytes.clone())
        .await
        .unwrap();
    let mut found = Vec::new();
    let mut rest = &bytes[..];
    for member in &index.members()[stretches[0].members.clone()] {
        let (packed, more) = rest.split_at(member.length as usize);
        rest = more;
        found.extend(object::unpack(member, packed).unwrap());
    }
    let text = String::from_utf8(found).unwrap();
    assert!((31_001..=31_100).all(|seq| text.contains(&line(seq))));
    assert!(bytes.len() < 64 * 1024);

    let mut seq = 0;
    let mut check = Check::new(|found: &[u8]| {
        seq += 1;
        match found == line(seq).as_bytes() {
            true => Ok(mark(seq)),
            false => Err("another line".to_owned()),
        }
    });
    let (_, mut pieces) = place.objects.get("archive.gz").await.unwrap();
    while let Some(piece) = pieces.try_next().await.unwrap() {
        check.push(&piece).unwrap();
    }
    assert_eq!(check.finish().unwrap(), whole);
}
