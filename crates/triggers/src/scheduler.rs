//! The scheduler: fires what is due, at its time.
//!
//! Authoritative are the rows: an occurrence has an entry in `trigger_due` exactly as long as it is to
//! come, and whoever fires it takes the entry away in the transaction of the firing ([`batch`]), with
//! the trigger's row locked. So any number of schedulers may run, in one process or in many, and
//! nobody is leader.
//!
//! All that is kept in memory says when to look, and can be lost: the time of the next occurrence
//! ([`Loop::next`]), and a frontier ([`Loop::from`]) before which nothing is to come, so that entries
//! which were taken away long ago and which a transaction that was left open keeps in place are not
//! walked each time. New occurrences announce themselves with their time ([`Due`] in this process, a
//! hint in the others), which moves both back. A look at everything at each poll interval makes up for
//! what was lost, and for a clock that was set.

mod ahead;
mod batch;
mod due;
mod pass;
mod pulse;

use std::{sync::Arc, time::Duration};

use tidewire_core::{Time, backoff::Backoff, clock::random_fraction};
use tidewire_db::{Hint, Reach};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError, error::TryRecvError},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use self::{
    ahead::Ahead,
    pass::{Over, Passed},
};
use crate::{
    Error, GRACE, Triggers,
    service::{DUE, Inner},
};

#[cfg(test)]
pub(crate) use ahead::CROWD;
pub(crate) use ahead::LEAD;
pub(crate) use batch::fire_overdue;
pub(crate) use due::Due;
pub(crate) use pulse::Pulse;
pub use pulse::SchedulerHealth;

/// Transactions for what was missed, before it is seen to again what is on time.
const MISSED_AT_ONCE: usize = 4;
/// The first pause before a look at occurrences that others have in hand, and the longest; they have
/// them for a transaction.
const REST_FIRST: Duration = Duration::from_millis(5);
const REST_MOST: Duration = Duration::from_millis(160);
/// The longest one before occurrences are tried again that could not be fired.
const RETRY_MOST: Duration = Duration::from_secs(2);
/// How often the store is asked where nobody tells of new occurrences: at first, and when nothing has
/// come for a while …
const ASK_FIRST: Duration = Duration::from_millis(20);
const ASK_MOST: Duration = Duration::from_millis(250);
/// … as long as something was, or will be, due within this time.
const SOON: Duration = Duration::from_mins(1);
/// A look at everything has at most this share of the time, however many dead entries it walks.
const LOOK_SHARE: u32 = 20;
/// The least pause between two of them.
const BREATH: Duration = Duration::from_millis(10);
/// Between tries while the store does not answer.
const FAILING: Backoff = Backoff {
    base: Duration::from_millis(100),
    cap: Duration::from_secs(2),
};

impl Triggers {
    /// Fires what is due, until it is stopped. Any number of processes may do so at once.
    pub async fn keep_scheduling(&self, stop: CancellationToken) {
        Loop::new(Arc::clone(&self.inner)).run(&stop).await;
    }

    /// Fires what is due now, in the order of a scheduler that finds it.
    #[cfg(test)]
    pub(crate) async fn fire_due(&self) -> Result<(), Error> {
        let stop = CancellationToken::new();
        loop {
            let passed = pass::pass(&self.inner, Over::Due(Time::EPOCH), usize::MAX, &stop).await?;
            match passed.failure {
                Some(error) => return Err(error),
                None if passed.rows == 0 => return Ok(()),
                None => {}
            }
        }
    }

    /// Fires a crowd that will be due soon, as a scheduler does that finds it; its time.
    #[cfg(test)]
    pub(crate) async fn fire_ahead(&self) -> Result<Option<Time>, Error> {
        let (inner, stop) = (&self.inner, CancellationToken::new());
        let crowd = ahead::first_crowd(inner, inner.fire.clock.now()).await?;
        if let Some(at) = crowd {
            let passed = pass::pass(inner, Over::Ahead(at), usize::MAX, &stop).await?;
            passed.failure.map_or(Ok(()), Err)?;
        }
        Ok(crowd)
    }

    /// How the scheduler of this process does, for health checks.
    #[must_use]
    pub fn scheduler_health(&self) -> SchedulerHealth {
        self.inner.pulse.read()
    }
}

struct Loop {
    inner: Arc<Inner>,
    /// From other processes.
    told: Receiver<Arc<Hint>>,
    /// Nothing is to come that is due before then.
    from: Time,
    /// When the next occurrence is due, as far as is known.
    next: Option<Time>,
    ahead: Ahead,
    /// When everything was looked at, and what that cost.
    looked: Option<(Instant, Duration)>,
    /// Hints were lost.
    lost: bool,
    /// The pause between looks where nobody tells.
    ask: Duration,
    /// When something was due or was announced.
    news: Instant,
    /// Pauses in a row for occurrences that cannot be had.
    rests: u32,
    /// Tries in a row that the store did not answer.
    failures: u32,
    /// Whether it was said that occurrences cannot be fired.
    is_stuck: bool,
}

impl Loop {
    fn new(inner: Arc<Inner>) -> Self {
        Loop {
            told: inner.db.hints().subscribe(),
            inner,
            from: Time::EPOCH,
            next: None,
            ahead: Ahead::default(),
            looked: None,
            lost: false,
            ask: ASK_FIRST,
            news: Instant::now(),
            rests: 0,
            failures: 0,
            is_stuck: false,
        }
    }

    async fn run(mut self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            match self.step(stop).await {
                Ok(until) => {
                    self.note_answer();
                    self.wait(until, stop).await;
                }
                Err(error) => {
                    let pause = tokio::time::sleep(self.note_failure(&error));
                    stop.run_until_cancelled(pause).await;
                }
            }
        }
        self.inner.pulse.stop();
    }

    /// Fires what is due and looks what comes next; until when to wait.
    async fn step(&mut self, stop: &CancellationToken) -> Result<Instant, Error> {
        self.hear();
        let mut passed = None;
        if self.next.is_some_and(|next| next <= self.now()) {
            let pass = self.fire(stop).await?;
            self.news = Instant::now();
            self.note_stuck(pass.failure.as_ref());
            passed = Some(pass);
        }
        if self.full_look_at() <= Instant::now() {
            self.look_at_everything().await?;
        } else if passed.is_some() {
            self.look(self.from).await?;
        }
        self.inner.pulse.looked(self.now(), self.next);
        self.until(passed, stop).await
    }

    /// Fires what is on time and then, of what was missed, a part: a long outage of many triggers that
    /// make everything up must not delay the others for hours.
    async fn fire(&self, stop: &CancellationToken) -> Result<Passed, Error> {
        let on_time = self.now().minus(GRACE);
        if self.from >= on_time {
            return pass::pass(&self.inner, Over::Due(self.from), usize::MAX, stop).await;
        }
        let passed = pass::pass(&self.inner, Over::Due(on_time), usize::MAX, stop).await?;
        let missed = pass::pass(&self.inner, Over::Due(self.from), MISSED_AT_ONCE, stop).await?;
        Ok(Passed {
            rows: passed.rows + missed.rows,
            failure: passed.failure.or(missed.failure),
        })
    }

    async fn until(
        &mut self,
        passed: Option<Passed>,
        stop: &CancellationToken,
    ) -> Result<Instant, Error> {
        let now = self.now();
        if self.next.is_none_or(|next| next > now) {
            self.rests = 0;
            let next = self.next;
            let until = self.ahead.prepare(&self.inner, next).await;
            return match self.ahead.crowd(&self.inner, next).await? {
                Ok(crowd) => self.fire_ahead(crowd, stop).await,
                Err(ask) => Ok(until.min(ask)),
            };
        }
        let (rows, failed) = match &passed {
            Some(passed) => (passed.rows, passed.failure.is_some()),
            None => return Ok(Instant::now()),
        };
        if rows > 0 && !failed {
            self.rests = 0;
            return Ok(Instant::now());
        }
        // Others have it in hand, or it cannot be fired. What comes after it must not wait for it.
        let most = if failed { RETRY_MOST } else { REST_MOST };
        let rest = REST_FIRST * 2u32.saturating_pow(self.rests.min(16));
        self.rests += 1;
        let mut read = self.inner.db.read();
        let after = Time::from_micros(now.micros() + 1);
        let ahead = self.inner.store.next_due(&mut read, after).await?;
        let ahead = ahead.map_or(most, |at| at.since(self.now()));
        Ok(Instant::now() + rest.min(most).min(ahead))
    }

    /// Fires what will be due then. What of it cannot be fired now is tried again at its time.
    async fn fire_ahead(
        &mut self,
        crowd: Time,
        stop: &CancellationToken,
    ) -> Result<Instant, Error> {
        let passed = pass::pass(&self.inner, Over::Ahead(crowd), usize::MAX, stop).await?;
        tracing::debug!(at = %crowd, occurrences = passed.rows, "fired ahead");
        self.look(self.from).await?;
        self.inner.pulse.looked(self.now(), self.next);
        Ok(Instant::now())
    }

    /// What is due first, from a time on.
    async fn look(&mut self, from: Time) -> Result<(), Error> {
        let now = self.now();
        let mut read = self.inner.db.read();
        self.next = self.inner.store.next_due(&mut read, from).await?;
        // What was written since announces itself.
        self.from = self.next.unwrap_or(now.max(from));
        Ok(())
    }

    async fn look_at_everything(&mut self) -> Result<(), Error> {
        let started = Instant::now();
        let known = self.next;
        self.look(Time::EPOCH).await?;
        if self.next.is_some() && self.next != known {
            self.news = Instant::now();
            self.ask = ASK_FIRST;
        } else {
            self.ask = (self.ask * 2).min(ASK_MOST);
        }
        self.looked = Some((started, started.elapsed().min(Duration::from_secs(1))));
        self.lost = false;
        Ok(())
    }

    /// When everything is to be looked at again.
    fn full_look_at(&self) -> Instant {
        let Some((at, cost)) = self.looked else {
            return Instant::now();
        };
        let poll = self.inner.fire.settings.poll_interval;
        let is_near = || {
            let now = self.now();
            self.news.elapsed() < SOON || self.next.is_some_and(|next| next.since(now) < SOON)
        };
        let pause = match self.inner.db.hints().reach() {
            _ if self.lost => Duration::ZERO,
            Reach::Polled if is_near() => self.ask.min(poll),
            _ => poll,
        };
        at + pause.max(cost * LOOK_SHARE).max(BREATH)
    }

    // --- hearing ---

    /// Takes in all that was told.
    fn hear(&mut self) {
        if let Some(at) = self.inner.due.take() {
            self.comes(at);
        }
        loop {
            match self.told.try_recv() {
                Ok(hint) => self.heard(&hint),
                Err(TryRecvError::Lagged(_)) => self.lost = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    fn heard(&mut self, hint: &Hint) {
        match hint {
            Hint::Everything => self.lost = true,
            Hint::One { topic, value, .. } if topic == DUE => {
                self.comes(Time::from_micros(*value));
            }
            Hint::One { .. } => {}
        }
    }

    /// A new occurrence.
    fn comes(&mut self, at: Time) {
        self.from = self.from.min(at);
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
        self.news = Instant::now();
        self.inner.pulse.comes(self.next);
    }

    async fn wait(&mut self, until: Instant, stop: &CancellationToken) {
        let now = Instant::now();
        // Whether hints arrive may change at any time.
        let until = until.min(self.full_look_at()).min(now + ASK_MOST);
        if until <= now {
            // A burst leaves others their turn.
            return tokio::task::yield_now().await;
        }
        tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            () = self.inner.due.told() => {}
            hint = self.told.recv() => match hint {
                Ok(hint) => self.heard(&hint),
                Err(RecvError::Lagged(_)) => self.lost = true,
                // The store is closing.
                Err(RecvError::Closed) => tokio::time::sleep_until(until).await,
            },
            () = stop.cancelled() => {}
        }
    }

    // --- saying ---

    fn note_answer(&mut self) {
        if self.failures > 0 {
            tracing::info!(tries = self.failures, "the scheduler goes on");
            self.failures = 0;
        }
    }

    /// Everything is to be looked at anew, after this pause.
    fn note_failure(&mut self, error: &Error) -> Duration {
        if self.failures == 0 {
            tracing::warn!(%error, "the scheduler cannot fire what is due, it tries again until it can");
        }
        self.failures = self.failures.saturating_add(1);
        self.looked = None;
        let pause = FAILING.delay(self.failures, random_fraction());
        pause.min(self.inner.fire.settings.poll_interval)
    }

    fn note_stuck(&mut self, failure: Option<&Error>) {
        match failure {
            Some(error) if !self.is_stuck => {
                tracing::error!(%error, "occurrences cannot be fired, others are: they are tried again until they can");
            }
            None if self.is_stuck => tracing::info!("all that is due can be fired again"),
            _ => {}
        }
        self.is_stuck = failure.is_some();
    }

    fn now(&self) -> Time {
        self.inner.fire.clock.now()
    }
}
