use std::ops::RangeInclusive;

use proptest::{collection::vec, prelude::*};
use serde_json::value::RawValue;
use tidewire_core::Time;

use super::*;
use crate::Event;

fn event(pos: u64) -> Event {
    Event {
        id: format!("e{pos}"),
        stream: format!("s{}", pos % 3),
        seq: pos,
        kind: "t".to_owned(),
        subject: None,
        payload: RawValue::NULL.to_owned(),
        dedupe_key: None,
        source: None,
        occurred_at: Time::EPOCH,
        created_at: Time::EPOCH,
        pos,
        depth: 0,
    }
}

fn chunk(positions: RangeInclusive<u64>) -> Chunk {
    let events: Vec<_> = positions.clone().map(event).collect();
    Chunk::read(*positions.start(), *positions.end(), &events)
}

fn feed() -> Feed {
    Feed::new()
}

/// The positions that frames are about.
fn ids(frames: &Bytes) -> Vec<u64> {
    let text = std::str::from_utf8(frames).unwrap();
    let ids = text.lines().filter_map(|line| line.strip_prefix("id: "));
    ids.map(|id| id.parse().unwrap()).collect()
}

fn next(feed: &Feed, pos: u64) -> Next {
    feed.next(pos, &Filter::default())
}

fn live(feed: &Feed, pos: u64) -> Vec<u64> {
    match next(feed, pos) {
        Next::Frames(frames, _) => ids(&frames),
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

/// A follower as [`crate::tail`] has it, over a table that ends where the last commit ended.
struct Reader {
    pos: u64,
    seen: Vec<u64>,
    /// Whether it keeps for others what it read from the table.
    shares: bool,
}

impl Reader {
    fn read(&mut self, feed: &Feed, table_end: u64) {
        loop {
            match next(feed, self.pos) {
                Next::Frames(frames, last) => {
                    self.seen.extend(ids(&frames));
                    self.pos = last;
                }
                Next::Behind(until) => {
                    assert!(until > self.pos && until <= table_end);
                    // A page at a time.
                    let last = until.min(self.pos + 3);
                    let read = Arc::new(chunk(self.pos + 1..=last));
                    self.seen
                        .extend(ids(&read.after(self.pos, &Filter::default())));
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
