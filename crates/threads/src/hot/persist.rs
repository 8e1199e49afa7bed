//! Moving to the store what a hot log that is apart has taken: the log's events at the places that
//! they got there, and what becomes of turns and their jobs, in one transaction.

use std::{collections::BTreeMap, sync::Arc};

use tidewire_db::Tx;
use tidewire_events::Append;

use crate::{
    Error, Turn, TurnStatus,
    append::{ThreadAppend, same},
    ending::Ready,
    event::{NewThreadEvent, ThreadEvent},
    metrics,
    model::ThreadKey,
    service::Core,
    state,
    store::{NewTurnRow, OpenTurn, Started, TurnStep},
};

/// One step that a hot log took: a turn that was accepted, or events that were appended together.
#[derive(Clone, Debug)]
pub struct Entry {
    pub key: ThreadKey,
    /// Of its first event; the others follow without a gap.
    pub first: u64,
    /// Its last event is the first one of a turn that was accepted.
    pub accepts: bool,
    /// Something may be missing before it.
    pub behind_gap: bool,
    /// Complete: each with its id and its time.
    pub events: Vec<NewThreadEvent>,
}

impl Entry {
    #[must_use]
    pub fn last(&self) -> u64 {
        self.first + (self.events.len() as u64).saturating_sub(1)
    }

    /// What it weighs in a statement, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.events.iter().map(NewThreadEvent::bytes).sum()
    }

    /// As those who follow the thread see it.
    #[must_use]
    pub fn told(&self) -> Vec<ThreadEvent> {
        let events = self.events.iter().cloned().zip(self.first..);
        events
            .map(|(event, seq)| ThreadEvent::numbered(&self.key, event, seq))
            .collect()
    }

    fn log(&self) -> Append {
        let events = self.events.iter().zip(self.first..);
        let events = events
            .map(|(event, seq)| {
                let event = event.to_log(&self.key);
                match self.behind_gap && seq == self.first {
                    true => event.behind_gap(seq),
                    false => event.numbered(seq),
                }
            })
            .collect();
        Append::new(Arc::clone(&self.key.tenant), events)
    }
}

/// What a batch makes of one turn.
struct Fate {
    was: Option<Turn>,
    now: TurnStatus,
    first: u64,
    accepted: Option<NewThreadEvent>,
    end: Option<(u64, Option<String>)>,
}

type Fates = BTreeMap<(ThreadKey, String), Fate>;

impl Core {
    pub(crate) async fn persist_in(
        self: &Arc<Self>,
        tx: &mut Tx,
        entries: &[Entry],
    ) -> Result<(), Error> {
        let logs: Vec<_> = entries.iter().map(Entry::log).collect();
        let known = self.events.known_in(tx, &logs).await?;
        let new: Vec<_> = entries
            .iter()
            .zip(&known)
            .filter(|(_, known)| !known.iter().all(|known| *known))
            .map(|(entry, _)| entry)
            .collect();
        let ops: Vec<_> = new
            .iter()
            .map(|entry| ThreadAppend::new(entry.key.clone(), entry.events.clone()))
            .collect();
        let mut named: Vec<_> = ops
            .iter()
            .flat_map(|op| op.turns().into_iter().map(|turn| (&op.key, turn)))
            .collect();
        named.sort_unstable();
        named.dedup();
        let seen = self.store.turns(tx, &named).await?;
        let fates = fates(&new, &seen);
        self.settle_jobs(tx, &fates).await?;
        let mut keys: Vec<_> = entries.iter().map(|entry| &entry.key).collect();
        keys.sort_unstable();
        keys.dedup();
        self.lock_threads(tx, &keys).await?;
        // What they were is what was decided by.
        let locked = self.store.lock_turns(tx, &named).await?;
        if !same(&seen, &locked) {
            return Err(tx.yield_to_others("a turn went on meanwhile").into());
        }
        self.write_fates(tx, &keys, &fates).await?;
        // Last, as everywhere. Also what is known, so that one that stands elsewhere is refused.
        for answer in self.events.append_in(tx, &logs).await? {
            answer?;
        }
        let count: usize = new.iter().map(|entry| entry.events.len()).sum();
        tx.on_commit(move || metrics::stored(count as u64));
        Ok(())
    }

    /// In the order of their ids, before any lock of threads.
    async fn settle_jobs(self: &Arc<Self>, tx: &mut Tx, fates: &Fates) -> Result<(), Error> {
        let ending = fates.iter().filter_map(|((key, _), fate)| {
            let was = fate.was.as_ref()?;
            let (_, error) = fate.end.as_ref()?;
            Some((was.job_id.as_deref()?, key, fate.now, error.as_deref()))
        });
        let mut ending: Vec<_> = ending.collect();
        ending.sort_unstable_by_key(|(job, ..)| *job);
        for (job, key, now, error) in ending {
            self.settle_job(tx, &key.tenant, job, now, error).await?;
        }
        Ok(())
    }

    async fn write_fates(
        self: &Arc<Self>,
        tx: &mut Tx,
        keys: &[&ThreadKey],
        fates: &Fates,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        let mut new: Vec<_> = fates.iter().filter(|(_, f)| f.was.is_none()).collect();
        // Ids are in the order in which turns came.
        new.sort_by_key(|((key, _), fate)| (key, fate.first));
        let told: Vec<_> = new
            .iter()
            .map(|(_, fate)| fate.accepted.as_ref().and_then(asked))
            .collect();
        let rows: Vec<_> = new
            .iter()
            .zip(&told)
            .map(|(((key, turn), fate), told)| NewTurnRow {
                key,
                turn_id: turn,
                id: self.new_id(),
                status: fate.now,
                agent: told.as_ref().and_then(|told| told.agent.as_deref()),
                job_id: None,
                seq: fate.first,
                input: told.as_ref().and_then(|told| told.input.as_deref()),
                waits: told.is_some() && !fate.now.is_terminal(),
            })
            .collect();
        self.store.insert_turns(tx, &rows, now).await?;
        let begun: Vec<_> = fates
            .iter()
            .filter_map(|((key, turn), fate)| {
                let was = fate.was.as_ref()?;
                let starts = was.status == TurnStatus::Accepted && fate.now == TurnStatus::Running;
                starts.then_some(Started {
                    tenant: &key.tenant,
                    thread: &key.thread,
                    turn,
                    worker: was.worker.as_deref(),
                })
            })
            .collect();
        if !begun.is_empty() {
            self.store.start_turns(tx, &begun, now).await?;
        }
        self.write_ended(tx, fates).await?;
        let accepted = fates
            .values()
            .filter(|fate| fate.accepted.is_some())
            .count();
        let ended: Vec<_> = fates.values().filter(|fate| fate.end.is_some()).collect();
        let ended: Vec<_> = ended.iter().map(|fate| fate.now).collect();
        tx.on_commit(move || {
            metrics::accepted(accepted as u64);
            ended.into_iter().for_each(metrics::ended);
        });
        self.queue_firsts(tx, keys).await
    }

    async fn write_ended(self: &Arc<Self>, tx: &mut Tx, fates: &Fates) -> Result<(), Error> {
        let now = self.clock.now();
        let ended: Vec<_> = fates
            .iter()
            .filter_map(|((key, turn), fate)| {
                let (seq, error) = fate.end.as_ref()?;
                let was = match &fate.was {
                    Some(was) => was.clone(),
                    None => Turn::begun(key, turn, fate.first, now),
                };
                Some((key, was, fate.now, *seq, error.as_deref()))
            })
            .collect();
        let steps: Vec<_> = ended
            .iter()
            .map(|(key, turn, status, seq, error)| TurnStep {
                key,
                turn,
                status: *status,
                ended_seq: Some(*seq),
                error: *error,
            })
            .collect();
        self.store.step_turns(tx, &steps, now).await?;
        let keys: Vec<_> = ended.iter().map(|(key, ..)| *key).collect();
        let open = self.store.open(tx, &distinct(keys)).await?;
        let gone: Vec<_> = ended
            .iter()
            .filter_map(|(key, turn, ..)| {
                let open = open.get(*key)?;
                let open = open.iter().find(|open| open.turn_id == turn.turn_id)?;
                Some((*key, open.id.as_str()))
            })
            .collect();
        Ok(self.store.close(tx, &gone).await?)
    }

    /// Queues the first open turn of each of these threads, unless one of the thread has its job.
    async fn queue_firsts(self: &Arc<Self>, tx: &mut Tx, keys: &[&ThreadKey]) -> Result<(), Error> {
        let open = self.store.open(tx, keys).await?;
        let mut firsts: Vec<(&ThreadKey, &OpenTurn)> = open
            .iter()
            .filter(|(_, open)| open.iter().all(|turn| turn.waits))
            .filter_map(|(key, open)| Some((key, open.first()?)))
            .collect();
        firsts.sort_unstable_by_key(|(key, _)| *key);
        if firsts.is_empty() {
            return Ok(());
        }
        let named: Vec<_> = firsts
            .iter()
            .map(|(key, turn)| (*key, turn.turn_id.as_str()))
            .collect();
        let turns = self.store.turns(tx, &named).await?;
        let keys: Vec<_> = firsts.iter().map(|(key, _)| *key).collect();
        let keepers = self.store.keepers(tx, &keys).await?;
        let mut ready = Vec::with_capacity(firsts.len());
        let mut given = Vec::with_capacity(firsts.len());
        for (key, first) in firsts {
            let same = |(k, t): &&(ThreadKey, Turn)| k == key && t.turn_id == first.turn_id;
            if let Some((_, turn)) = turns.iter().find(same) {
                ready.push(Ready {
                    key,
                    turn_id: &turn.turn_id,
                    agent: turn.agent.as_deref(),
                    input: turn.input.as_deref(),
                    seq: turn.seq,
                    keeper: keepers.get(key),
                });
                given.push((key, first));
            }
        }
        let jobs = self.queue(tx, &ready).await?;
        for ((key, turn), job) in given.into_iter().zip(&jobs) {
            self.store.give_job(tx, key, turn, job).await?;
        }
        Ok(())
    }
}

fn distinct(mut keys: Vec<&ThreadKey>) -> Vec<&ThreadKey> {
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn asked(event: &NewThreadEvent) -> Option<crate::event::Told> {
    serde_json::from_str(event.payload.as_ref()?.get()).ok()
}

/// Goes through a batch as the hot log did. What came late there changes nothing here either.
fn fates(entries: &[&Entry], seen: &[(ThreadKey, Turn)]) -> Fates {
    let mut fates = Fates::new();
    for entry in entries {
        let last = entry.last();
        for (event, seq) in entry.events.iter().zip(entry.first..) {
            let Some(turn) = &event.turn_id else {
                continue;
            };
            let fate = fates
                .entry((entry.key.clone(), turn.clone()))
                .or_insert_with(|| {
                    let same = |(k, t): &&(ThreadKey, Turn)| *k == entry.key && t.turn_id == *turn;
                    let was = seen.iter().find(same).map(|(_, turn)| turn.clone());
                    Fate {
                        now: was
                            .as_ref()
                            .map_or(TurnStatus::Accepted, |turn| turn.status),
                        was,
                        first: seq,
                        accepted: None,
                        end: None,
                    }
                });
            if entry.accepts && seq == last && fate.was.is_none() {
                fate.accepted = Some(event.clone());
                continue;
            }
            let Ok(now) = state::after(fate.now, &event.kind) else {
                continue;
            };
            if now.is_terminal() && !fate.now.is_terminal() {
                fate.end = Some((seq, event.reason()));
            }
            fate.now = now;
        }
    }
    fates
}
