//! Connections that wait for another request of their origin. Lines (HTTP/1.1) are here while nobody uses them; trunks
//! (HTTP/2) are shared and stay here while they are used.
//!
//! A connection was dialled under the policy of the client that the pool belongs to, which never changes, and only for
//! its own origin. So to use it again asks nothing of the policy and nothing of DNS: it still ends where it ended.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    connection::{Connection, Line, Trunk},
    metrics,
    target::Origin,
};

pub(crate) struct Pool {
    limits: Limits,
    kept: Mutex<Kept>,
}

#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Idle lines of one origin.
    pub per_origin: usize,
    /// Idle connections of all origins.
    pub in_all: usize,
    /// How long a connection may be idle.
    pub idle_for: Duration,
}

#[derive(Default)]
struct Kept {
    /// By age: the numbers only grow.
    lines: BTreeMap<u64, IdleLine>,
    next: u64,
    by_origin: HashMap<Origin, VecDeque<u64>>,
    trunks: HashMap<Origin, SharedTrunk>,
    /// Whether the sweeper runs.
    swept: bool,
}

struct IdleLine {
    origin: Origin,
    line: Line,
    since: Instant,
}

struct SharedTrunk {
    trunk: Arc<Trunk>,
    used: Instant,
}

impl SharedTrunk {
    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.trunk) == 1
    }
}

impl Pool {
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            kept: Mutex::default(),
        })
    }

    /// A connection that is open as far as anybody knows; of several lines the one that was used last.
    pub fn take(&self, origin: &Origin) -> Option<Connection> {
        let mut kept = self.lock();
        let now = Instant::now();
        if let Some(shared) = kept.trunks.get_mut(origin) {
            if shared.trunk.is_open() {
                shared.used = now;
                return Some(Connection::Trunk(Arc::clone(&shared.trunk)));
            }
            kept.trunks.remove(origin);
        }
        while let Some(idle) = kept.pop_newest(origin) {
            let rested = now.duration_since(idle.since);
            if idle.line.is_ready() && rested < self.limits.idle_for {
                return Some(Connection::Line(idle.line));
            }
        }
        None
    }

    /// Shares a new trunk. If the origin has one already (several requests dialled at once), the new one is left to the
    /// request that made it.
    pub fn share(self: &Arc<Self>, origin: &Origin, connection: &Connection) {
        let Connection::Trunk(trunk) = connection else {
            return;
        };
        if self.keeps_nothing() {
            return;
        }
        let mut kept = self.lock();
        let known = kept.trunks.get(origin);
        if known.is_some_and(|shared| shared.trunk.is_open()) {
            return;
        }
        let shared = SharedTrunk {
            trunk: Arc::clone(trunk),
            used: Instant::now(),
        };
        kept.trunks.insert(origin.clone(), shared);
        self.settle(&mut kept);
    }

    /// Takes a line back whose answer has been read to its end.
    pub fn give_back(self: &Arc<Self>, origin: &Origin, line: Line) {
        if self.keeps_nothing() || !line.is_ready() {
            return;
        }
        let mut kept = self.lock();
        let number = kept.next;
        kept.next += 1;
        let idle = IdleLine {
            origin: origin.clone(),
            line,
            since: Instant::now(),
        };
        kept.lines.insert(number, idle);
        let siblings = kept.by_origin.entry(origin.clone()).or_default();
        siblings.push_back(number);
        if siblings.len() > self.limits.per_origin {
            kept.drop_oldest_of(origin);
        }
        self.settle(&mut kept);
    }

    /// Lets go of a trunk that is not to be used again. Requests under way on it go on.
    pub fn forget(&self, origin: &Origin, trunk: &Arc<Trunk>) {
        let mut kept = self.lock();
        let known = kept.trunks.get(origin);
        if known.is_some_and(|shared| Arc::ptr_eq(&shared.trunk, trunk)) {
            kept.trunks.remove(origin);
        }
        metrics::idle(kept.idle());
    }

    fn keeps_nothing(&self) -> bool {
        let Limits {
            per_origin,
            in_all,
            idle_for,
        } = self.limits;
        per_origin == 0 || in_all == 0 || idle_for.is_zero()
    }

    /// Sees to the limit in all, and that what is idle for too long goes even if nobody comes any more.
    fn settle(self: &Arc<Self>, kept: &mut Kept) {
        while kept.idle() > self.limits.in_all {
            kept.drop_oldest();
        }
        metrics::idle(kept.idle());
        if kept.swept {
            return;
        }
        kept.swept = true;
        let pool = Arc::downgrade(self);
        // Somewhere between one and one and a half times the limit is good enough.
        let pause = (self.limits.idle_for / 2).max(Duration::from_millis(1));
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(pause).await;
                match pool.upgrade() {
                    Some(pool) if pool.sweep() => {}
                    _ => return,
                }
            }
        });
    }

    /// Returns whether anything is left to sweep.
    fn sweep(&self) -> bool {
        let mut kept = self.lock();
        let now = Instant::now();
        let rested = |since: Instant| now.duration_since(since) >= self.limits.idle_for;
        let over: Vec<(u64, Origin)> = kept
            .lines
            .iter()
            .filter(|(_, idle)| rested(idle.since) || !idle.line.is_ready())
            .map(|(number, idle)| (*number, idle.origin.clone()))
            .collect();
        for (number, origin) in over {
            kept.drop_line(number, &origin);
        }
        kept.trunks.retain(|_, shared| {
            shared.trunk.is_open() && !(shared.is_idle() && rested(shared.used))
        });
        metrics::idle(kept.idle());
        kept.swept = !(kept.lines.is_empty() && kept.trunks.is_empty());
        kept.swept
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Nothing that is done under it can panic half-way; the worst would be a connection too few.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn idle(&self) -> usize {
        let trunks = self.trunks.values().filter(|shared| shared.is_idle());
        self.lines.len() + trunks.count()
    }

    fn pop_newest(&mut self, origin: &Origin) -> Option<IdleLine> {
        let siblings = self.by_origin.get_mut(origin)?;
        let number = siblings.pop_back();
        if siblings.is_empty() {
            self.by_origin.remove(origin);
        }
        self.lines.remove(&number?)
    }

    fn drop_oldest_of(&mut self, origin: &Origin) {
        let siblings = self.by_origin.get_mut(origin);
        if let Some(number) = siblings.and_then(VecDeque::pop_front) {
            self.lines.remove(&number);
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((number, idle)) = self.lines.pop_first() {
            self.unlist(number, &idle.origin);
            return;
        }
        let idle = self.trunks.iter().filter(|(_, shared)| shared.is_idle());
        let oldest = idle.min_by_key(|(_, shared)| shared.used);
        if let Some(origin) = oldest.map(|(origin, _)| origin.clone()) {
            self.trunks.remove(&origin);
        }
    }

    fn drop_line(&mut self, number: u64, origin: &Origin) {
        self.lines.remove(&number);
        self.unlist(number, origin);
    }

    fn unlist(&mut self, number: u64, origin: &Origin) {
        if let Some(siblings) = self.by_origin.get_mut(origin) {
            siblings.retain(|sibling| *sibling != number);
            if siblings.is_empty() {
                self.by_origin.remove(origin);
            }
        }
    }
}
