//! A read of a log out of many archives, in the log's order or against it.
//!
//! Each archive is a run of events in that order, and all of them are merged. What has the next event is
//! found by a bound: the place of its next event once that is read, else of the member that may have it.
//! Whatever comes first is read on: an archive of the catalogue is opened, a member is read, an
//! event is taken. So nothing is fetched before the read has come to where it begins.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use futures_util::future::try_join_all;
use tidewire_events::{Between, Cold, Event, Filter, Order, Stretch};

use super::{Budget, CATALOGUE_PAGE, ColdReader, Opened, Page};
use crate::{Error, model::Archive};

/// Members of one archive that a read which goes on and on takes at once.
const STRIDE: usize = 16;
/// Archives that are opened at the same time.
const AT_ONCE: usize = 16;

pub(super) struct Merge<'m> {
    reader: &'m ColdReader,
    tenant: &'m str,
    filter: &'m Filter,
    between: Between,
    order: Order,
    /// What the catalogue has named, in the order of the read, and is not open.
    candidates: VecDeque<(Archive, u64)>,
    /// Where the catalogue is to be read on: behind this; none at its end.
    catalogue: Option<Option<u64>>,
    runs: Vec<Run>,
    /// The runs that have more, by where that may come.
    next: BinaryHeap<Reverse<(u64, usize)>>,
    budget: Budget,
}

/// An open archive.
struct Run {
    opened: Opened,
    cold_until: u64,
    /// Members that may have something, the next one last.
    members: Vec<usize>,
    /// How many of them are read next, in one request.
    stride: usize,
    /// Of the last ones that were read, what is wanted.
    events: VecDeque<Event>,
}

impl<'m> Merge<'m> {
    pub(super) fn new(
        reader: &'m ColdReader,
        tenant: &'m str,
        filter: &'m Filter,
        between: Between,
        order: Order,
    ) -> Self {
        Merge {
            reader,
            tenant,
            filter,
            between,
            order,
            candidates: VecDeque::new(),
            catalogue: Some(None),
            runs: Vec::new(),
            next: BinaryHeap::new(),
            budget: Budget::default(),
        }
    }

    pub(super) async fn run(mut self, most: Stretch) -> Result<Cold, Error> {
        let mut page = Page::new(most);
        loop {
            self.name_candidates().await?;
            let of_run = self.next.peek().map(|Reverse((rank, _))| *rank);
            let of_candidate = self
                .candidates
                .front()
                .map(|(archive, _)| self.begin(archive));
            let Some(rank) = of_run.into_iter().chain(of_candidate).min() else {
                return Ok(page.all());
            };
            let is_read = of_run == Some(rank)
                && self
                    .next
                    .peek()
                    .is_some_and(|Reverse((_, at))| !self.runs[*at].events.is_empty());
            // What was read is taken whatever it has cost. And something must come of a request, if it
            // is only that the next one begins further on.
            if !is_read && self.budget.is_spent() && rank > self.start() {
                return Ok(page.until(self.place(rank - 1)));
            }
            if of_candidate == Some(rank) && !is_read {
                self.open(rank).await?;
                continue;
            }
            let Some(Reverse((_, at))) = self.next.pop() else {
                continue;
            };
            match self.runs[at].events.pop_front() {
                Some(event) => {
                    let pos = event.pos;
                    if page.take(event) {
                        return Ok(page.until(pos));
                    }
                }
                None => self.read_on(at).await?,
            }
            self.queue(at);
        }
    }

    /// Asks the catalogue for more once all that it has named is open.
    async fn name_candidates(&mut self) -> Result<(), Error> {
        let Some(behind) = self.catalogue else {
            return Ok(());
        };
        if !self.candidates.is_empty() {
            return Ok(());
        }
        let from = (self.order, behind);
        let named = self
            .reader
            .of_log(self.tenant, self.filter, self.between, from)
            .await?;
        let is_full = named.len() as u64 == u64::from(CATALOGUE_PAGE);
        self.catalogue = named.last().filter(|_| is_full).map(|(last, _)| {
            Some(match self.order {
                Order::Log => last.first_pos,
                Order::NewestFirst => last.last_pos,
            })
        });
        self.candidates.extend(named);
        Ok(())
    }

    /// Opens what begins where the read is. At the start of a span that may be many.
    async fn open(&mut self, rank: u64) -> Result<(), Error> {
        let some = self.candidates.iter().take(AT_ONCE);
        let some = some.take_while(|(archive, _)| self.begin(archive) == rank);
        let count = some.count();
        let some: Vec<_> = self.candidates.drain(..count).collect();
        let opening = some
            .into_iter()
            .map(|(archive, cold_until)| self.begun(archive, cold_until));
        for (run, spent) in try_join_all(opening).await? {
            self.budget.add(&spent);
            self.runs.push(run);
            self.queue(self.runs.len() - 1);
        }
        Ok(())
    }

    /// An archive that is open and, if the span begins within it, read that far: the read cannot go on
    /// without.
    async fn begun(&self, archive: Archive, cold_until: u64) -> Result<(Run, Budget), Error> {
        let mut spent = Budget::default();
        let opened = self.reader.open(archive).await?;
        spent.opened();
        let mut members = opened.of_positions(self.between, self.filter);
        if self.order == Order::Log {
            members.reverse();
        }
        let mut run = Run {
            opened,
            cold_until,
            members,
            stride: 1,
            events: VecDeque::new(),
        };
        let next = run.members.last();
        if next.is_some_and(|member| self.rank(self.bound(&run.opened, *member)) == self.start()) {
            run.events = self
                .next_of(&mut run.members, 1, &run.opened, cold_until, &mut spent)
                .await?;
        }
        Ok((run, spent))
    }

    async fn read_on(&mut self, at: usize) -> Result<(), Error> {
        let mut spent = Budget::default();
        let mut members = std::mem::take(&mut self.runs[at].members);
        let run = &self.runs[at];
        let (stride, cold_until) = (run.stride, run.cold_until);
        let next = self.next_of(&mut members, stride, &run.opened, cold_until, &mut spent);
        let events = next.await?;
        self.budget.add(&spent);
        let run = &mut self.runs[at];
        // Whoever comes back soon wants much, or what is rare: a request for each would take its time.
        run.stride = (run.stride * 2).min(STRIDE);
        (run.members, run.events) = (members, events);
        Ok(())
    }

    /// What is wanted of the next few of these members, in the order of the read: of neighbours.
    async fn next_of(
        &self,
        members: &mut Vec<usize>,
        few: usize,
        opened: &Opened,
        cold_until: u64,
        spent: &mut Budget,
    ) -> Result<VecDeque<Event>, Error> {
        let Some(first) = members.pop() else {
            return Ok(VecDeque::new());
        };
        let mut span = first..first + 1;
        while span.len() < few {
            match (self.order, members.last()) {
                (Order::Log, Some(next)) if *next == span.end => span.end += 1,
                (Order::NewestFirst, Some(next)) if *next + 1 == span.start => span.start -= 1,
                _ => break,
            }
            members.pop();
        }
        let mut events = opened.read(span, spent).await?;
        let (after, before) = self.between;
        events.retain(|event| {
            event.pos > after
                && event.pos < before
                && event.seq <= cold_until
                && self.filter.wants(event)
        });
        if self.order == Order::NewestFirst {
            events.reverse();
        }
        Ok(events.into())
    }

    /// Puts a run where its next event may come, if it has more.
    fn queue(&mut self, at: usize) {
        let run = &self.runs[at];
        let place = match (run.events.front(), run.members.last()) {
            (Some(event), _) => event.pos,
            (None, Some(member)) => self.bound(&run.opened, *member),
            (None, None) => return,
        };
        self.next.push(Reverse((self.rank(place), at)));
    }

    /// Where a member's events may begin, on the way of the read.
    fn bound(&self, opened: &Opened, member: usize) -> u64 {
        let members = opened.index().members();
        match self.order {
            Order::Log => members[member].first_pos,
            Order::NewestFirst => members
                .get(member + 1)
                .map_or(opened.archive().last_pos, |following| {
                    following.first_pos - 1
                }),
        }
    }

    fn begin(&self, archive: &Archive) -> u64 {
        self.rank(match self.order {
            Order::Log => archive.first_pos,
            Order::NewestFirst => archive.last_pos,
        })
    }

    /// The first rank of the span.
    fn start(&self) -> u64 {
        let (after, before) = self.between;
        self.rank(match self.order {
            Order::Log => after + 1,
            Order::NewestFirst => before - 1,
        })
    }

    /// What grows along the way. What begins before the span begins with it.
    fn rank(&self, pos: u64) -> u64 {
        let (after, before) = self.between;
        match self.order {
            Order::Log => pos.max(after + 1),
            Order::NewestFirst => u64::MAX - pos.min(before - 1),
        }
    }

    /// The position of a rank.
    fn place(&self, rank: u64) -> u64 {
        match self.order {
            Order::Log => rank,
            Order::NewestFirst => u64::MAX - rank,
        }
    }
}
