//! One archive that is being read.

use std::{ops::Range, sync::Arc};

use tidewire_events::{Between, Event, Filter};

use super::Budget;
use crate::{
    Error,
    cache::Cache,
    line::Lines,
    model::Archive,
    object::{Index, lines},
};

/// An archive with its index.
pub(crate) struct Opened {
    archive: Archive,
    index: Arc<Index>,
    lines: Lines,
    cache: Cache,
}

impl Opened {
    pub(super) async fn open(cache: &Cache, archive: Archive) -> Result<Self, Error> {
        let index = cache.index(&archive.object_key, archive.bytes).await?;
        Ok(Opened {
            lines: Lines::of(&archive.stream),
            archive,
            index,
            cache: cache.clone(),
        })
    }

    pub(crate) fn archive(&self) -> &Archive {
        &self.archive
    }

    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    /// The members that may have events strictly between two places.
    pub(super) fn of_seqs(&self, (after, before): Between) -> Range<usize> {
        self.index.of_seqs(after, before.saturating_sub(1))
    }

    /// The members that may have events between two positions that a filter wants, in their order.
    pub(super) fn of_positions(&self, (after, before): Between, filter: &Filter) -> Vec<usize> {
        let wanted = self
            .index
            .wanted(|kind| filter.kind.as_deref().is_none_or(|it| it == kind));
        let members = self.index.of_positions(after, before);
        members
            .filter(|at| {
                let member = &self.index.members()[*at];
                member.may_hold_times(filter.from, filter.to) && member.may_hold_kinds(wanted)
            })
            .collect()
    }

    /// The first of these members that together have so many lines, with one to spare, as the first
    /// may have few that are wanted; some at most.
    pub(super) fn holding(&self, members: &Range<usize>, lines: u64) -> Range<usize> {
        const SOME: usize = 16;
        let mut held = 0;
        let mut end = members.start;
        while end < members.end && end < members.start + SOME && held < lines {
            // Of the first one the read may begin anywhere.
            if end > members.start {
                held += self.index.members()[end].lines;
            }
            end += 1;
        }
        members.start..end.max(members.start + 1).min(members.end)
    }

    /// The events of members that are neighbours.
    pub(crate) async fn read(
        &self,
        members: Range<usize>,
        budget: &mut Budget,
    ) -> Result<Vec<Event>, Error> {
        let all = &self.index.members()[members.clone()];
        budget.read(all.len(), all.iter().map(|member| member.length).sum());
        let key = &self.archive.object_key;
        let index = &self.index;
        let contents = self.cache.members(key, index, members).await?;
        let mut events = Vec::new();
        for content in contents {
            for line in lines(&content) {
                let event = self.lines.read(line).map_err(|why| Error::Broken {
                    key: key.clone(),
                    why,
                })?;
                events.push(event);
            }
        }
        Ok(events)
    }
}
