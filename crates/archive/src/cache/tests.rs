//! What is remembered, and that what is not is fetched once.

use futures_util::{future::join_all, stream};
use tempfile::TempDir;
use tidewire_core::Time;

use super::*;
use crate::{
    object::{Mark, Writer, lines},
    objects::ObjectsSettings,
};

const KEY: &str = "threads/t/archives/1.jsonl.gz";
const EVENTS: u64 = 20_000;

struct House {
    folder: TempDir,
    objects: Objects,
    size: u64,
}

fn line(seq: u64) -> String {
    format!(
        "{{\"seq\":{seq},\"noise\":\"{:032x}\"}}",
        u128::from(seq).wrapping_pow(9)
    )
}

impl House {
    /// An archive of some 20 members.
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let settings = ObjectsSettings::new(format!("file://{}", folder.path().display()));
        let objects = Objects::open(&settings).unwrap();
        let mut writer = Writer::new(6);
        for seq in 1..=EVENTS {
            let mark = Mark {
                seq,
                pos: seq,
                created_at: Time::EPOCH,
                kind: "note",
            };
            writer.push(mark, line(seq).as_bytes()).unwrap();
        }
        let (object, summary) = writer.finish().unwrap();
        let whole = stream::iter([Ok::<_, objects::Error>(object)]);
        objects.put(KEY, whole).await.unwrap();
        House {
            folder,
            objects,
            size: summary.bytes,
        }
    }

    fn cache(&self, settings: CacheSettings) -> Cache {
        Cache::new(self.objects.clone(), settings)
    }

    /// What is read from now on was remembered, or fails.
    fn remove(&self) {
        std::fs::remove_file(self.folder.path().join(KEY)).unwrap();
    }

    fn put_back(&self, bytes: &[u8]) {
        std::fs::write(self.folder.path().join(KEY), bytes).unwrap();
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.folder.path().join(KEY)).unwrap()
    }
}

fn first(lines_of: &Bytes) -> &[u8] {
    lines(lines_of).next().unwrap()
}

#[tokio::test]
async fn what_was_read_is_remembered() {
    let house = House::new().await;
    let cache = house.cache(CacheSettings::default());
    let index = cache.index(KEY, house.size).await.unwrap();
    assert_eq!(index.summary().events, EVENTS);
    let fetched = cache.members(KEY, &index, [3, 4, 9]).await.unwrap();
    let starts = [3, 4, 9].map(|at: usize| line(index.members()[at].first_seq));
    assert!(
        fetched
            .iter()
            .map(first)
            .eq(starts.iter().map(String::as_bytes))
    );

    house.remove();
    assert_eq!(
        cache.index(KEY, house.size).await.unwrap().summary(),
        index.summary()
    );
    assert_eq!(
        cache.members(KEY, &index, [3, 4, 9]).await.unwrap(),
        fetched
    );
    assert_eq!(
        cache.members(KEY, &index, [4]).await.unwrap(),
        fetched[1..2]
    );
    let error = cache.members(KEY, &index, [4, 5]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("there is no object `{KEY}` in {}", house.objects.place())
    );
}

#[tokio::test]
async fn what_was_not_used_for_longest_makes_room() {
    let house = House::new().await;
    // Room for four members.
    let cache = house.cache(CacheSettings {
        lines: 4 * 67_000,
        ..CacheSettings::default()
    });
    let index = cache.index(KEY, house.size).await.unwrap();
    for member in [0, 1, 2, 3, 0, 4] {
        cache.members(KEY, &index, [member]).await.unwrap();
        assert!(cache.kept().1 <= 4 * 67_000);
    }
    house.remove();
    for member in [0, 2, 3, 4] {
        cache.members(KEY, &index, [member]).await.unwrap();
    }
    assert!(cache.members(KEY, &index, [1]).await.is_err());
}

#[tokio::test]
async fn more_than_is_kept_is_read_all_the_same() {
    let house = House::new().await;
    let cache = house.cache(CacheSettings {
        indexes: 100,
        lines: 100,
        request: 1,
    });
    let index = cache.index(KEY, house.size).await.unwrap();
    let all = cache
        .members(KEY, &index, 0..index.members().len())
        .await
        .unwrap();
    let seqs = all.iter().flat_map(|member| lines(member));
    assert!(
        seqs.eq((1..=EVENTS)
            .map(line)
            .collect::<Vec<_>>()
            .iter()
            .map(String::as_bytes))
    );
    assert_eq!(cache.kept(), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_the_same_at_the_same_time_fetch_it_once() {
    let house = House::new().await;
    let cache = house.cache(CacheSettings::default());
    let index = cache.index(KEY, house.size).await.unwrap();
    let before = cache.fetched();
    // They meet at a member whose turn is taken.
    let turn = cache.inner.members.turn(&(KEY.into(), 5));
    let held = turn.lock().await;
    let mut readers = Vec::new();
    for from in 2..=5 {
        let (cache, index) = (cache.clone(), Arc::clone(&index));
        readers.push(tokio::spawn(async move {
            cache
                .members(KEY, &index, from..8)
                .await
                .map(|found| found.len())
        }));
    }
    drop(held);
    let counts: Vec<_> = join_all(readers)
        .await
        .into_iter()
        .map(|read| read.unwrap().unwrap())
        .collect();
    assert_eq!(counts, [6, 5, 4, 3]);
    let once: u64 = index.members()[2..8]
        .iter()
        .map(|member| member.length)
        .sum();
    assert_eq!(cache.fetched() - before, once);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_who_leaves_or_fails_is_followed_by_the_next() {
    let house = House::new().await;
    let cache = house.cache(CacheSettings::default());
    let index = cache.index(KEY, house.size).await.unwrap();
    let whole = house.bytes();
    // One that fails.
    house.remove();
    assert!(cache.members(KEY, &index, [1, 2]).await.is_err());
    assert!(cache.index("no/such.gz", 100).await.is_err());
    house.put_back(&whole);
    cache.members(KEY, &index, [1, 2]).await.unwrap();
    // One that leaves while it waits.
    let turn = cache.inner.members.turn(&(KEY.into(), 7));
    let held = turn.lock().await;
    let leaves = tokio::time::timeout(
        std::time::Duration::ZERO,
        cache.members(KEY, &index, [6, 7]),
    );
    assert!(leaves.await.is_err());
    drop(held);
    assert_eq!(cache.members(KEY, &index, [6, 7]).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_damaged_object_is_named_with_its_place() {
    let house = House::new().await;
    let cache = house.cache(CacheSettings::default());
    let index = cache.index(KEY, house.size).await.unwrap();
    let mut damaged = house.bytes();
    let second = index.members()[1];
    damaged[second.offset as usize + 100] ^= 1;
    house.put_back(&damaged);
    cache.members(KEY, &index, [0]).await.unwrap();
    let error = cache
        .members(KEY, &index, [1])
        .await
        .unwrap_err()
        .to_string();
    let named = format!(
        "the object `{KEY}` in {} is damaged at byte {}: ",
        house.objects.place(),
        second.offset
    );
    assert!(error.starts_with(&named), "{error}");

    damaged.truncate(damaged.len() - 1000);
    house.put_back(&damaged);
    let cache = house.cache(CacheSettings::default());
    let error = cache.index(KEY, house.size).await.unwrap_err().to_string();
    assert!(
        error.contains("the object was cut short or replaced"),
        "{error}"
    );
    let error = cache
        .index(KEY, damaged.len() as u64)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("does not end as an archive does"), "{error}");
}
