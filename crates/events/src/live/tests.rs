use std::ops::RangeInclusive;

use bytes::BufMut as _;
use proptest::{collection::vec, prelude::*};

use super::*;

/// A line of bare positions, of which every third ends what some filters want.
struct Counted;

#[derive(Debug, Default)]
struct Wanted {
    /// Only what leaves this when it is divided by three.
    rest: Option<u64>,
    until: Option<u64>,
}

impl Line for Counted {
    type Key = u8;
    type Mark = u64;
    type Filter = Wanted;

    const TOPIC: &'static str = "counted";
    const FOLLOWERS: &'static str = "counted";

    fn hint(key: &u8) -> String {
        key.to_string()
    }

    fn heard(hint: &str) -> Option<u8> {
        hint.parse().ok()
    }

    fn wants_all(filter: &Wanted) -> bool {
        filter.rest.is_none() && filter.until.is_none()
    }

    fn wants(filter: &Wanted, pos: &u64) -> bool {
        filter.rest.is_none_or(|rest| pos % 3 == rest)
    }

    fn ends(filter: &Wanted, pos: &u64) -> bool {
        filter.until.is_some_and(|until| until <= *pos)
    }

    async fn heads(&self, keys: &[u8]) -> Result<Vec<(u8, u64)>> {
        Ok(keys.iter().map(|key| (*key, END)).collect())
    }

    async fn read(
        &self,
        _: &u8,
        filter: Option<&Wanted>,
        (after, until): (u64, u64),
        limit: u32,
    ) -> Result<Chunk<u64>> {
        let wanted = |pos: &u64| filter.is_none_or(|filter| Counted::wants(filter, pos));
        let all = (after + 1..=until).filter(wanted);
        let found: Vec<_> = all.take(limit as usize).collect();
        let last = match found.last() {
            Some(last) if found.len() == limit as usize => *last,
            _ => until,
        };
        Ok(frames((after + 1, last), found))
    }
}

/// Where the stored line ends.
const END: u64 = 1234;

fn frames(span: (u64, u64), positions: impl IntoIterator<Item = u64>) -> Chunk<u64> {
    let items = positions.into_iter().map(|pos| (pos, pos, ()));
    Chunk::new(span, items, |buffer, pos, ()| {
        buffer.put_slice(format!("id: {pos}\n").as_bytes());
    })
}

fn chunk(positions: RangeInclusive<u64>) -> Chunk<u64> {
    frames((*positions.start(), *positions.end()), positions)
}

fn feed() -> Feed<Counted> {
    Feed::new()
}

/// The positions that frames are about.
fn ids(frames: &Bytes) -> Vec<u64> {
    let text = std::str::from_utf8(frames).unwrap();
    let ids = text.lines().filter_map(|line| line.strip_prefix("id: "));
    ids.map(|id| id.parse().unwrap()).collect()
}

fn next(feed: &Feed<Counted>, pos: u64) -> Next {
    feed.next(pos, &Wanted::default())
}

fn live(feed: &Feed<Counted>, pos: u64) -> Vec<u64> {
    match next(feed, pos) {
        Next::Frames(frames, _) => ids(&frames.bytes),
        other => panic!("{other:?} behind {pos}"),
    }
}

#[test]
fn a_commit_that_is_told_late_takes_its_place_before_the_one_that_overtook_it() {
    let feed = feed();
    feed.publish(chunk(1..=2));
    feed.publish(chunk(5..=6));
    assert_eq!(next(&feed, 2), Next::Behind(4));
    feed.publish(chunk(3..=4));
    assert_eq!(live(&feed, 2), [3, 4]);
    assert_eq!(live(&feed, 4), [5, 6]);
    assert_eq!(next(&feed, 6), Next::Wait);
    feed.publish(chunk(7..=7));
    assert_eq!(live(&feed, 6), [7]);
}

#[test]
fn what_comes_twice_or_without_a_neighbour_is_left_out() {
    let feed = feed();
    feed.publish(chunk(10..=12));
    feed.keep(Arc::new(chunk(8..=11)));
    feed.keep(Arc::new(chunk(1..=3)));
    assert_eq!(next(&feed, 0), Next::Behind(9));
    assert_eq!(live(&feed, 9), [10, 11, 12]);
    feed.committed(20);
    assert_eq!(next(&feed, 12), Next::Behind(20));
}

#[test]
fn a_head_never_goes_back() {
    let feed = feed();
    assert!(feed.committed(7));
    assert!(!feed.committed(7) && !feed.committed(3));
    assert_eq!(feed.head(), 7);
    assert_eq!(next(&feed, 7), Next::Wait);
}

/// All that a follower is sent until its stream ends.
async fn whole(filter: Wanted, after: u64) -> Vec<u64> {
    use futures_util::StreamExt as _;

    let (feeds, from) = (Arc::<Feeds<Counted>>::default(), From::After(after));
    let tail = Tail::start(Arc::new(Counted), &feeds, &1, filter, from);
    let tail = tail.await.unwrap().unwrap();
    let sent: Vec<_> = tail.frames(Bytes::from_static(b"over")).collect().await;
    let sent = Bytes::from(sent.concat());
    assert!(sent.ends_with(b"over"));
    ids(&sent)
}

#[tokio::test]
async fn a_stream_ends_behind_the_last_that_its_filter_wants() {
    let wanted = Wanted {
        rest: Some(1),
        until: Some(1000),
    };
    let sent = whole(wanted, 3).await;
    let expected: Vec<_> = (4..=1000).filter(|pos| pos % 3 == 1).collect();
    assert_eq!(sent, expected);
}

/// One commit of a tenant's log.
#[derive(Clone, Debug)]
struct Commit {
    events: u64,
    /// Whether this process made it, and tells its feed of it by its events and not by a hint.
    ours: bool,
    /// When the feed hears of it, counted in commits from its own; a hint may be lost.
    told_after: Option<usize>,
}

fn commits() -> impl Strategy<Value = Vec<Commit>> {
    let commit = (
        1..5u64,
        any::<bool>(),
        prop::option::weighted(0.9, 0..4usize),
    );
    let commit = commit.prop_map(|(events, ours, told_after)| Commit {
        events,
        ours,
        told_after,
    });
    vec(commit, 1..40)
}

/// A follower as [`Tail`] has it, over a table that ends where the last commit ended.
struct Reader {
    pos: u64,
    seen: Vec<u64>,
    /// Whether it keeps for others what it read from the table.
    shares: bool,
}

impl Reader {
    fn read(&mut self, feed: &Feed<Counted>, table_end: u64) {
        loop {
            match next(feed, self.pos) {
                Next::Frames(frames, last) => {
                    self.seen.extend(ids(&frames.bytes));
                    self.pos = last;
                }
                Next::Behind(until) => {
                    assert!(until > self.pos && until <= table_end);
                    // A page at a time.
                    let last = until.min(self.pos + 3);
                    let read = Arc::new(chunk(self.pos + 1..=last));
                    let frames = read.after::<Counted>(self.pos, &Wanted::default());
                    self.seen.extend(ids(&frames.bytes));
                    self.pos = last;
                    if self.shares {
                        feed.keep(read);
                    }
                }
                Next::Wait => return,
            }
        }
    }
}

proptest! {
    /// The commits of a log come in order, but this process hears of them in any.
    #[test]
    fn a_follower_skips_nothing_and_repeats_nothing_however_it_is_told(
        commits in commits(),
        reads in vec(any::<[bool; 3]>(), 40),
        begins in 0..40usize,
    ) {
        let feed = feed();
        let mut readers = [true, false, false].map(|shares| Reader { pos: 0, seen: Vec::new(), shares });
        let mut end = 0;
        let mut told: Vec<(usize, RangeInclusive<u64>, bool)> = Vec::new();
        for (now, commit) in commits.iter().enumerate() {
            let span = end + 1..=end + commit.events;
            end = *span.end();
            if let Some(after) = commit.told_after {
                told.push((now + after, span, commit.ours));
            }
            let (due, later): (Vec<_>, Vec<_>) = told.into_iter().partition(|(at, ..)| *at <= now);
            told = later;
            // Latest first: the other way round from how they were committed.
            for (_, span, ours) in due.into_iter().rev() {
                if ours {
                    feed.publish(chunk(span));
                } else {
                    feed.committed(*span.end());
                }
            }
            for (reader, reads) in readers.iter_mut().zip(reads[now]) {
                if reads && (now >= begins || reader.shares) {
                    reader.read(&feed, end);
                }
            }
        }
        // The backstop.
        feed.committed(end);
        for reader in &mut readers {
            reader.read(&feed, end);
            prop_assert_eq!(&reader.seen, &(1..=end).collect::<Vec<_>>());
        }
    }
}
