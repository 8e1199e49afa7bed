//! Where the reading of a list is, and where it goes on: pure.
//!
//! A window is one reading of a list from its beginning to its end. What it has found out about how
//! new the records are (`newest`) becomes the list's mark when it has come to its end, and not before:
//! in a list whose newest record is first, the first page would else hide all pages that a crash
//! left unread.
//!
//! Pages that are counted from the front shift while they are read. If records come, some are read
//! twice, which their dedupe keys take care of, and at the end the front is read once more. If records
//! go, others move to pages that were read already: the list's total says so, and reading goes back as
//! many pages as it takes.

use serde::{Deserialize, Serialize};
use tidewire_core::Time;

use crate::source::{Position, Resource};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Window {
    pub started_at: Time,
    /// Records from this cursor on are wanted, up to that one.
    pub from: Option<i64>,
    pub until: Option<i64>,
    /// Everything is read again, as something may have changed unseen.
    pub refresh: bool,
    /// The next page.
    pub position: Position,
    /// The list has grown in front, and its front is read again.
    pub front: bool,
    /// How many records there are in all, as the first page said and the last.
    pub first_total: Option<u64>,
    pub total: Option<u64>,
    /// Of the pages so far.
    pub longest: u64,
    /// The greatest cursor so far.
    pub newest: Option<i64>,
    /// It was left and taken up again.
    #[serde(skip)]
    pub resumed: bool,
}

/// What a page tells of where it stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turned {
    pub next: Option<Position>,
    pub total: Option<u64>,
    pub records: u64,
    /// The greatest cursor of its records, and that of its last one.
    pub newest: Option<i64>,
    pub last: Option<i64>,
}

/// How a window begins.
#[derive(Clone, Debug)]
pub(crate) struct Beginning {
    pub window: Window,
    /// What was known is too old to go on from: other lists have to be read from the start again.
    pub expired: bool,
}

impl Window {
    /// `mark` is how far the list is known, and `known` whether it was ever read to its end.
    pub fn begin(resource: &Resource, mark: Option<i64>, known: bool, now: Time) -> Beginning {
        let incremental = resource.incremental.as_ref();
        let oldest = incremental
            .and_then(|how| how.expires)
            .map(|after| now.minus(after).micros());
        let expired = matches!((mark, oldest), (Some(mark), Some(oldest)) if mark < oldest);
        let from = match (incremental, mark) {
            (Some(_), Some(_)) if expired => oldest,
            (Some(how), Some(mark)) => Some(mark.saturating_sub(how.overlap)),
            _ => None,
        };
        let lag = incremental.map(|how| how.lag).unwrap_or_default();
        let window = Window {
            started_at: now,
            from,
            until: (!lag.is_zero()).then(|| now.minus(lag).micros()),
            refresh: known && mark.is_none(),
            position: resource.pagination.start(),
            front: false,
            first_total: None,
            total: None,
            longest: 0,
            newest: None,
            resumed: false,
        };
        Beginning { window, expired }
    }

    /// Reading goes on behind a page; whether there is one to read.
    pub fn turn(&mut self, resource: &Resource, page: &Turned) -> bool {
        self.newest = self.newest.max(page.newest);
        self.longest = self.longest.max(page.records);
        let before = self.total;
        self.total = page.total.or(before);
        if let (Some(before), Some(now)) = (before, page.total)
            && now < before
        {
            let length = self.longest.max(1);
            let pages = (before - now).div_ceil(length);
            let back = resource.pagination.back(&self.position, pages, length);
            self.position = back;
            return true;
        }
        self.first_total = self.first_total.or(page.total);
        match &page.next {
            Some(next) if !self.is_past(resource, page) => {
                self.position = next.clone();
                true
            }
            _ => false,
        }
    }

    /// Whether all that comes behind a page is older than what is wanted.
    fn is_past(&self, resource: &Resource, page: &Turned) -> bool {
        resource.newest_first
            && matches!((page.last, self.from), (Some(last), Some(from)) if last < from)
    }

    /// At the end: whether the front has to be read once more, which the window is then set to.
    pub fn turn_to_front(&mut self, resource: &Resource) -> bool {
        let grown = match self.total {
            Some(total) => Some(total) > self.first_total,
            // Nobody knows what has come while nobody read.
            None => self.resumed,
        };
        if self.front || !resource.pagination.is_positional() || !grown {
            return false;
        }
        self.front = true;
        self.position = resource.pagination.start();
        true
    }

    /// Begins at the list's first page again.
    pub fn restart(&mut self, resource: &Resource) {
        self.position = resource.pagination.start();
        (self.first_total, self.total) = (None, None);
        self.resumed = false;
    }

    /// How far the list is known when the window has come to its end.
    pub fn mark(&self, resource: &Resource, before: Option<i64>) -> Option<i64> {
        resource.incremental.as_ref()?;
        let newest = match (self.newest, self.until) {
            (Some(newest), Some(until)) => Some(newest.min(until)),
            (newest, _) => newest,
        };
        before.max(newest)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use proptest::prelude::*;

    use super::*;
    use crate::source::Sources;

    fn resource(kind: &str, name: &str) -> std::sync::Arc<Resource> {
        let sources = Sources::shipped();
        std::sync::Arc::clone(sources.get(kind).unwrap().resource(name).unwrap())
    }

    fn at(seconds: i64) -> Time {
        Time::from_millis(seconds * 1000)
    }

    const DAY: i64 = 86_400;
    const MICROS: i64 = 1_000_000;

    #[test]
    fn a_mark_is_published_at_the_end_alone_and_never_goes_back() {
        let customers = resource("stripe", "customers");
        let Beginning {
            mut window,
            expired,
        } = Window::begin(&customers, None, false, at(1_000 * DAY));
        assert_eq!((window.from, window.refresh, expired), (None, false, false));
        let page = |next: Option<&str>, newest: i64, last: i64| Turned {
            next: next.map(|id| Position::After(id.to_owned())),
            records: 100,
            newest: Some(newest),
            last: Some(last),
            ..Turned::default()
        };
        // The newest is on the first page: until the last one is read it is not said.
        assert!(window.turn(&customers, &page(Some("a"), 900, 800)));
        let left = serde_json::to_string(&window).unwrap();
        let mut again: Window = serde_json::from_str(&left).unwrap();
        assert_eq!(again.position, Position::After("a".to_owned()));
        assert!(!again.turn(&customers, &page(None, 700, 600)));
        assert_eq!(again.mark(&customers, None), Some(900));
        assert_eq!(again.mark(&customers, Some(950)), Some(950));
    }

    #[test]
    fn a_list_whose_newest_is_first_ends_at_what_is_known() {
        let customers = resource("stripe", "customers");
        let mark = 500 * DAY * MICROS;
        let mut window = Window::begin(&customers, Some(mark), true, at(501 * DAY)).window;
        let from = mark - 3_600 * MICROS;
        assert_eq!((window.from, window.refresh), (Some(from), false));
        let page = |last: i64| Turned {
            next: Some(Position::After("x".to_owned())),
            last: Some(last),
            ..Turned::default()
        };
        assert!(window.turn(&customers, &page(from)));
        assert!(!window.turn(&customers, &page(from - 1)));
    }

    #[test]
    fn who_stays_away_for_too_long_reads_everything_again() {
        let events = resource("stripe", "events");
        let mark = 100 * DAY * MICROS;
        let fresh = Window::begin(&events, Some(mark), true, at(129 * DAY));
        assert!(!fresh.expired);
        let late = Window::begin(&events, Some(mark), true, at(131 * DAY));
        assert!(late.expired);
        assert_eq!(late.window.from, Some(101 * DAY * MICROS));
        // Its neighbours have lost their marks then.
        let customers = resource("stripe", "customers");
        let again = Window::begin(&customers, None, true, at(131 * DAY)).window;
        assert!(again.refresh && again.from.is_none());
    }

    #[test]
    fn the_newest_minute_is_left_for_the_next_time() {
        let events = resource("stripe", "events");
        let now = at(10 * DAY);
        let mut window = Window::begin(&events, None, false, now).window;
        let minute_ago = now.minus(Duration::from_mins(1)).micros();
        assert_eq!(window.until, Some(minute_ago));
        let page = Turned {
            newest: Some(now.micros()),
            ..Turned::default()
        };
        window.turn(&events, &page);
        assert_eq!(window.mark(&events, None), Some(minute_ago));
    }

    /// A list whose newest record is first, which changes in front between two pages.
    struct List {
        records: Vec<u32>,
        next: u32,
    }

    impl List {
        fn page(&self, number: u64) -> (Vec<u32>, Turned) {
            let from = (usize::try_from(number).unwrap() - 1) * 10;
            let newest_first: Vec<_> = self.records.iter().rev().copied().collect();
            let page: Vec<_> = newest_first.iter().skip(from).take(10).copied().collect();
            let more = from + page.len() < self.records.len();
            let turned = Turned {
                next: more.then_some(Position::Page(number + 1)),
                total: Some(self.records.len() as u64),
                records: page.len() as u64,
                ..Turned::default()
            };
            (page, turned)
        }

        fn change(&mut self, change: u8) {
            match change {
                0 | 1 => {
                    self.records.push(self.next);
                    self.next += 1;
                }
                2 => drop(self.records.pop()),
                _ => {}
            }
        }
    }

    proptest! {
        /// Whatever comes and goes in front while a list is read: what was there when reading began, and
        /// still is when it ends, was read.
        #[test]
        fn nothing_slips_through_shifting_pages(length in 1u32..120, changes in prop::collection::vec(0u8..6, 200), crash in 0usize..20) {
            let users = resource("builder", "users");
            let mut list = List { records: (0..length).collect(), next: length };
            let mut window = Window::begin(&users, None, false, at(0)).window;
            let mut read = BTreeSet::new();
            let mut changes = changes.into_iter().chain(std::iter::repeat(9));
            let mut count = 0;
            loop {
                list.change(changes.next().unwrap());
                count += 1;
                if count == crash {
                    let kept = serde_json::to_string(&window).unwrap();
                    window = serde_json::from_str(&kept).unwrap();
                    window.resumed = true;
                    list.change(changes.next().unwrap());
                }
                let Position::Page(number) = window.position else { unreachable!() };
                let (page, turned) = list.page(number);
                let new = page.iter().filter(|record| read.insert(**record)).count();
                let more = window.turn(&users, &turned);
                let over = !more || window.front && new == 0 && !page.is_empty() && window.position != Position::Page(number);
                if over && !window.turn_to_front(&users) {
                    break;
                }
                prop_assert!(count < 1000, "it ends");
            }
            for record in list.records.iter().filter(|record| **record < length) {
                prop_assert!(read.contains(record), "{record} of {length}");
            }
        }
    }
}
