//! Triggers that fire by the clock: many at one second, and many every second. How late each of them is fired and
//! started, and that each is fired exactly once; on a store that several processes share also while one of two
//! schedulers is killed.
//!
//! What is fired is a no-op job and no delivery, so that it is firing that is measured and not the endpoint.
//!
//! Crowds are fired ahead of their time, and as of it: their lateness of firing is nothing by definition. What tells when
//! the work began is the start of the jobs.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use hdrhistogram::Histogram;

use crate::args::Store;
use crate::bodies::{NOOP, Rng, job_payload};
use crate::data::Data;
use crate::load::{self, NextBody, Until, insert_latencies, new_micros};
use crate::process::Server;
use crate::record::{Case, Figure, Figures};
use crate::report::grouped;
use crate::rounds::{self, Bench, Contender, Measured, Scenario};
use crate::servers::{self, Who};
use crate::tidewire::Api;
use crate::triggers::{Execution, FiredJob, by_trigger, timestamp};

const CONNECTIONS: usize = 64;
const QUEUE: &str = "bench";
const FIRED: &str = "fired";
const STARTED: &str = "its job started";
/// Triggers that are surely made within a second, so that all are there long before they are due.
const MADE_A_SECOND: u64 = 600;
/// Everything is quiet for so long before the first is due.
const QUIET: Duration = Duration::from_secs(2);
/// From the due time to the middle of the burst.
const INTO_THE_BURST: Duration = Duration::from_millis(100);
/// What would be fired twice would be so by then.
const SETTLE: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(20);

pub async fn run(bench: &Bench) -> Result<Vec<Case>> {
    let plan = &bench.plan;
    let shared = bench.store != Store::Sqlite;
    let burst = Load {
        due: Due::AtOnce,
        triggers: plan.due_at_once,
        shared,
        fired: RefCell::default(),
    };
    let steady = Load {
        due: Due::EverySecond(plan.steady_seconds),
        triggers: plan.steady_triggers,
        shared,
        fired: RefCell::default(),
    };
    Ok(vec![
        rounds::run(bench, &burst).await?,
        rounds::run(bench, &steady).await?,
    ])
}

#[derive(Clone, Copy)]
enum Due {
    /// One-shot triggers.
    AtOnce,
    /// Cron triggers, for so many seconds.
    EverySecond(u32),
}

struct Load {
    due: Due,
    triggers: u64,
    /// Several processes share the store, so that one of them can be killed.
    shared: bool,
    /// What the run that measured [`STARTED`] saw of [`FIRED`].
    fired: RefCell<Option<Figures>>,
}

impl Scenario for Load {
    fn id(&self) -> String {
        match self.due {
            Due::AtOnce => "schedules/burst".to_owned(),
            Due::EverySecond(_) => "schedules/steady".to_owned(),
        }
    }

    fn title(&self) -> String {
        let triggers = grouped(self.triggers as f64);
        let what = match self.due {
            Due::AtOnce => format!("lateness of {triggers} triggers due at one second"),
            Due::EverySecond(seconds) => {
                format!("lateness of {triggers} cron triggers, every second for {seconds} s")
            }
        };
        if self.shared {
            what + ", one of two schedulers killed halfway"
        } else {
            what
        }
    }

    fn unit(&self) -> &'static str {
        "firings"
    }

    fn contenders(&self, _: &Bench) -> Vec<Contender> {
        // The first is what targets speak of: a firing is of use once its job has started.
        [STARTED, FIRED]
            .map(|variant| Contender {
                who: Who::Tidewire,
                variant,
            })
            .to_vec()
    }

    fn is_long(&self) -> bool {
        matches!(self.due, Due::EverySecond(_))
    }

    async fn measure(&self, bench: &Bench, contender: Contender) -> Result<Measured> {
        if contender.variant == FIRED {
            let seen = self.fired.take();
            return Ok(seen.context("the starts were not measured")?.into());
        }
        let site = Site::start(bench).await?;
        let outcome = self.fire(site).await?;
        let (fired, started) = outcome.lateness()?;
        let mut of_jobs = Self::figures(&started);
        if let Due::AtOnce = self.due {
            // Firings ahead have no rate.
            let most = started.max() as f64 / 1_000_000.0;
            of_jobs.insert(Figure::Rate, self.triggers as f64 / most);
        }
        self.fired.replace(Some(Self::figures(&fired)));
        Ok(of_jobs.into())
    }
}

/// Whoever works on one store.
struct Site {
    api: Server,
    workers: Vec<Server>,
    schedulers: Vec<Server>,
}

impl Site {
    /// One process where the store allows no more; else two workers, one of them with the API, and two schedulers.
    async fn start(bench: &Bench) -> Result<Self> {
        let data = Data::empty(bench, "data").await?;
        if bench.store == Store::Sqlite {
            return Ok(Self {
                api: servers::tidewire(bench, data, &[]).await?,
                workers: Vec::new(),
                schedulers: Vec::new(),
            });
        }
        let api = servers::tidewire(bench, data, &["--roles", "api,worker,sweeper"]).await?;
        let start = async |roles| {
            let data = api.data.shared("more")?;
            servers::tidewire(bench, data, &["--roles", roles]).await
        };
        let workers = vec![start("worker").await?];
        let schedulers = vec![start("scheduler").await?, start("scheduler").await?];
        Ok(Self {
            api,
            workers,
            schedulers,
        })
    }

    async fn kill_a_scheduler(&mut self) -> Result<()> {
        match self.schedulers.pop() {
            Some(scheduler) => scheduler.kill().await,
            None => Ok(()),
        }
    }

    async fn stop(self) -> Result<()> {
        for server in self.schedulers.into_iter().chain(self.workers) {
            server.stop().await?;
        }
        self.api.stop().await.map(drop)
    }
}

/// Everything that was fired, and when it should have been.
struct Outcome {
    /// By execution.
    due: HashMap<String, DateTime<Utc>>,
    executions: Vec<Execution>,
    jobs: Vec<FiredJob>,
}

impl Load {
    async fn fire(&self, mut site: Site) -> Result<Outcome> {
        let lead = QUIET + Duration::from_secs(1 + self.triggers / MADE_A_SECOND);
        let first = (Utc::now() + lead).trunc_subsecs(0);
        let path = "/v1/triggers";
        let bodies = self.bodies(first);
        let until = Until::Calls(self.triggers);
        let made = load::run(&site.api, path, CONNECTIONS, until, |_| bodies()).await?;
        let late = Utc::now() - first + TimeDelta::from_std(QUIET / 2)?;
        if made.answered != self.triggers || late > TimeDelta::zero() {
            bail!(
                "{} of {} triggers were made {:.1} s before they were due: too few or too late",
                made.answered,
                self.triggers,
                (first - Utc::now()).as_seconds_f64()
            );
        }
        sleep_until(first + self.halfway()).await;
        site.kill_a_scheduler().await?;
        let firings = self.triggers * u64::from(self.occurrences());
        let mut api = Api::open(site.api.addr).await?;
        api.wait_done(firings, PATIENCE).await?;
        tokio::time::sleep(SETTLE).await;
        let outcome = Outcome {
            due: HashMap::new(),
            executions: api.executions().await?,
            jobs: api.jobs(QUEUE, firings).await?,
        };
        let due = self.each_once(&mut api, first, &outcome.executions).await?;
        site.stop().await?;
        Ok(Outcome { due, ..outcome })
    }

    fn occurrences(&self) -> u32 {
        match self.due {
            Due::AtOnce => 1,
            Due::EverySecond(seconds) => seconds,
        }
    }

    /// From the first due time until a scheduler is killed.
    fn halfway(&self) -> Duration {
        match self.due {
            Due::AtOnce => INTO_THE_BURST,
            Due::EverySecond(seconds) => Duration::from_secs(1) * seconds / 2,
        }
    }

    fn bodies(&self, first: DateTime<Utc>) -> impl Fn() -> NextBody {
        let (kind, when) = match self.due {
            Due::AtOnce => (
                "time_scheduled",
                format!("\"run_at\":\"{}\"", timestamp(first)),
            ),
            Due::EverySecond(seconds) => (
                "cron_scheduled",
                format!(
                    "\"cron\":\"* * * * * *\",\"starts_at\":\"{}\",\"ends_at\":\"{}\"",
                    timestamp(first),
                    timestamp(first + TimeDelta::seconds(i64::from(seconds) - 1))
                ),
            ),
        };
        let job = job_payload(&mut Rng::new(0), 0);
        let body = format!(
            "{{\"name\":\"bench\",\"type\":\"{kind}\",\"config\":{{{when},\
             \"job\":{{\"type\":\"{NOOP}\",\"queue\":\"{QUEUE}\",\"payload\":{job}}}}}}}"
        );
        move || {
            let body = body.clone();
            Box::new(move |out| out.extend_from_slice(body.as_bytes()))
        }
    }

    /// When each execution was due; an error unless every trigger was fired for each of its times and for no other.
    async fn each_once(
        &self,
        api: &mut Api,
        first: DateTime<Utc>,
        executions: &[Execution],
    ) -> Result<HashMap<String, DateTime<Utc>>> {
        let times: Vec<DateTime<Utc>> = (0..self.occurrences())
            .map(|second| first + TimeDelta::seconds(i64::from(second)))
            .collect();
        let fired = by_trigger(executions);
        let triggers = api.triggers().await?;
        let mut wrong = BTreeMap::new();
        let mut due = HashMap::with_capacity(executions.len());
        for trigger in &triggers {
            let firings = fired.get(trigger.as_str()).map_or(&[][..], Vec::as_slice);
            if firings.len() != times.len() {
                wrong.insert(trigger, firings.len());
            }
            // The k-th firing is that of the k-th time, as a trigger's times are fired in order.
            let pairs = times.iter().zip(firings);
            due.extend(pairs.map(|(at, (_, execution))| ((*execution).to_owned(), *at)));
        }
        if let Some((trigger, firings)) = wrong.first_key_value() {
            bail!(
                "{} triggers were not fired {} times, such as {trigger}: {firings} times",
                wrong.len(),
                times.len()
            );
        }
        if triggers.len() as u64 != self.triggers || due.len() != executions.len() {
            bail!(
                "{} triggers and {} firings, of which {} were due",
                triggers.len(),
                executions.len(),
                due.len()
            );
        }
        if let Due::EverySecond(_) = self.due {
            let times: BTreeSet<_> = times.into_iter().collect();
            for trigger in &triggers {
                let completed: BTreeSet<_> = api.completed(trigger).await?.into_iter().collect();
                if completed != times {
                    bail!("trigger {trigger} was fired for other times than its own");
                }
            }
        }
        Ok(due)
    }

    fn figures(late: &Histogram<u64>) -> Figures {
        let mut figures = Figures::new();
        insert_latencies(&mut figures, late);
        let most = late.max() as f64 / 1_000.0;
        figures.insert(Figure::MaxMs, most);
        figures
    }
}

impl Outcome {
    /// Of the firings by their own account, and of their jobs' starts: these come after the commit of the firing, and so
    /// bound it from above.
    fn lateness(&self) -> Result<(Histogram<u64>, Histogram<u64>)> {
        let (mut fired, mut started) = (new_micros(), new_micros());
        for one in &self.executions {
            self.count(&mut fired, &one.id, one.fired_at)?;
        }
        for job in &self.jobs {
            let at = job
                .started_at
                .context("a job is done and was not started")?;
            self.count(&mut started, &job.event_id, at)?;
        }
        if fired.len() != started.len() {
            bail!("{} firings and {} jobs", fired.len(), started.len());
        }
        Ok((fired, started))
    }

    fn count(&self, late: &mut Histogram<u64>, execution: &str, at: DateTime<Utc>) -> Result<()> {
        let due = self.due.get(execution).context("a job of no firing")?;
        let micros = (at - due).num_microseconds().unwrap_or(i64::MAX);
        let micros = u64::try_from(micros).context("something was fired before it was due")?;
        late.saturating_record(micros.max(1));
        Ok(())
    }
}

async fn sleep_until(at: DateTime<Utc>) {
    if let Ok(left) = (at - Utc::now()).to_std() {
        tokio::time::sleep(left).await;
    }
}
