//! Closed-loop load: each caller makes its next call when the last was answered.
//!
//! All callers run on the bench's one thread, so counters need no atomics and the generator never takes more than one
//! core.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;

use crate::process::{Server, Usage};
use crate::record::{Figure, Figures};
use crate::wire::{Conn, Template};

/// How long after its end a call may still be under way before the run is given up.
const GRACE: Duration = Duration::from_secs(20);
/// A contender that fails more than this share of its calls has no figure.
const FAILED_SHARE: f64 = 0.01;

#[derive(Clone, Copy)]
pub enum Until {
    /// Answers count between the warm-up's end and the measured time's end.
    Elapsed { warmup: Duration, measure: Duration },
    /// All of so many calls count.
    Calls(u64),
}

/// Whoever calls, waits for the answer, and calls again.
pub trait Caller {
    /// Makes what the next call sends; its time does not count.
    fn prepare(&mut self);
    async fn call(&mut self) -> Result<Answer>;
}

pub enum Answer {
    Taken,
    Refused(String),
}

/// Writes the next body of one connection.
pub type NextBody = Box<dyn FnMut(&mut Vec<u8>)>;

pub struct Outcome {
    pub answered: u64,
    pub elapsed: Duration,
    /// Of the server, if what was called is one.
    cpu_seconds: Option<f64>,
    peak_rss_mib: Option<f64>,
    micros: Histogram<u64>,
}

impl Outcome {
    /// `each` things a call.
    pub fn figures(&self, each: u64) -> Figures {
        let things = (self.answered * each) as f64;
        let mut figures = Figures::new();
        figures.insert(Figure::Rate, things / self.elapsed.as_secs_f64());
        if let Some(cpu) = self.cpu_seconds.filter(|cpu| *cpu > 0.0) {
            figures.insert(Figure::PerCpuSecond, things / cpu);
        }
        if let Some(peak) = self.peak_rss_mib {
            figures.insert(Figure::PeakRssMib, peak);
        }
        insert_latencies(&mut figures, &self.micros);
        figures
    }
}

/// Nanoseconds since 1970: what all processes of a machine agree on.
pub fn wall_ns() -> u64 {
    let now = chrono::Utc::now().timestamp_nanos_opt();
    now.and_then(|now| u64::try_from(now).ok())
        .unwrap_or_default()
}

pub fn new_micros() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 120_000_000, 3).expect("the bounds are valid")
}

pub fn record(micros: &mut Histogram<u64>, took: Duration) {
    let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    micros.saturating_record(took.max(1));
}

pub fn insert_latencies(figures: &mut Figures, micros: &Histogram<u64>) {
    let quantiles = [
        (Figure::P50Ms, 0.5),
        (Figure::P99Ms, 0.99),
        (Figure::P999Ms, 0.999),
    ];
    for (figure, quantile) in quantiles {
        figures.insert(figure, micros.value_at_quantile(quantile) as f64 / 1_000.0);
    }
}

/// Requests over so many connections.
pub async fn run(
    server: &Server,
    path: &str,
    connections: usize,
    until: Until,
    bodies: impl Fn(usize) -> NextBody,
) -> Result<Outcome> {
    let callers = open(server, path, connections, bodies).await?;
    closed(callers, until, || server.usage().map(Some)).await
}

/// So many callers that post.
pub async fn open(
    server: &Server,
    path: &str,
    connections: usize,
    bodies: impl Fn(usize) -> NextBody,
) -> Result<Vec<Connection>> {
    let mut callers = Vec::with_capacity(connections);
    for index in 0..connections {
        callers.push(Connection::open(server.addr, path, bodies(index)).await?);
    }
    Ok(callers)
}

pub struct Connection {
    conn: Conn,
    template: Template,
    body: NextBody,
    text: Vec<u8>,
    request: Vec<u8>,
}

impl Connection {
    pub async fn open(addr: SocketAddr, path: &str, body: NextBody) -> Result<Self> {
        Ok(Self {
            conn: Conn::open(addr).await?,
            template: Template::post(addr, path),
            body,
            text: Vec::new(),
            request: Vec::new(),
        })
    }
}

impl Caller for Connection {
    fn prepare(&mut self) {
        self.text.clear();
        (self.body)(&mut self.text);
        self.template.write(&mut self.request, &self.text);
    }

    async fn call(&mut self) -> Result<Answer> {
        let reply = self.conn.call(&self.request).await?;
        Ok(if reply.is_success() {
            Answer::Taken
        } else {
            Answer::Refused(reply.text())
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Warmup,
    Counting,
    Over,
}

struct Shared {
    phase: Cell<Phase>,
    left: Cell<u64>,
    answered: Cell<u64>,
    failed: Cell<u64>,
    refusal: RefCell<Option<String>>,
    micros: RefCell<Histogram<u64>>,
}

impl Shared {
    fn count(&self, began: Instant) {
        if self.phase.get() == Phase::Counting {
            self.answered.set(self.answered.get() + 1);
            record(&mut self.micros.borrow_mut(), began.elapsed());
        }
    }

    fn refuse(&self, text: String) {
        self.failed.set(self.failed.get() + 1);
        self.refusal.borrow_mut().get_or_insert(text);
    }

    /// Takes one of the calls that are still to be made.
    fn take(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0 && self.phase.get() != Phase::Over
    }
}

/// Lets all of them call until it is over. `usage` is that of the server, if there is one.
pub async fn closed<C: Caller + 'static>(
    callers: Vec<C>,
    until: Until,
    usage: impl Fn() -> Result<Option<Usage>>,
) -> Result<Outcome> {
    let (phase, left) = match until {
        Until::Elapsed { .. } => (Phase::Warmup, u64::MAX),
        Until::Calls(count) => (Phase::Counting, count),
    };
    let shared = Rc::new(Shared {
        phase: Cell::new(phase),
        left: Cell::new(left),
        answered: Cell::new(0),
        failed: Cell::new(0),
        refusal: RefCell::new(None),
        micros: RefCell::new(new_micros()),
    });
    let cpu = || anyhow::Ok(usage()?.map(|usage| usage.cpu_seconds));
    let since = |then: Option<f64>, now: Option<f64>| Some(now? - then?);
    // Nothing is awaited from here to the first clock reading, so no call is made before it.
    let mut tasks = tokio::task::JoinSet::new();
    for caller in callers {
        tasks.spawn_local(keep_calling(caller, Rc::clone(&shared)));
    }
    let (elapsed, cpu_seconds) = match until {
        Until::Elapsed { warmup, measure } => {
            tokio::time::sleep(warmup).await;
            let before = cpu()?;
            shared.phase.set(Phase::Counting);
            let began = Instant::now();
            tokio::time::sleep(measure).await;
            shared.phase.set(Phase::Over);
            let elapsed = began.elapsed();
            let used = since(before, cpu()?);
            tokio::time::timeout(GRACE, drain(tasks))
                .await
                .context("calls hang")??;
            (elapsed, used)
        }
        Until::Calls(_) => {
            let before = cpu()?;
            let began = Instant::now();
            drain(tasks).await?;
            (began.elapsed(), since(before, cpu()?))
        }
    };
    let (answered, failed) = (shared.answered.get(), shared.failed.get());
    if failed as f64 > (answered + failed) as f64 * FAILED_SHARE || answered == 0 {
        let first = shared
            .refusal
            .borrow_mut()
            .take()
            .unwrap_or_else(|| "no answer".to_owned());
        bail!(
            "{failed} of {} calls failed, the first with: {first}",
            answered + failed
        );
    }
    let micros = shared.micros.replace(new_micros());
    Ok(Outcome {
        answered,
        elapsed,
        cpu_seconds,
        peak_rss_mib: usage()?.map(|usage| usage.peak_rss_mib),
        micros,
    })
}

/// At an easy pace: the callers take turns, so that a slow answer does not hold the next call up. Each call's time, from
/// its sending to its answer.
pub async fn paced<C: Caller + 'static>(
    callers: Vec<C>,
    pace: Duration,
    calls: u64,
) -> Result<Histogram<u64>> {
    let count = u32::try_from(callers.len())?;
    let each = calls / u64::from(count);
    let mut tasks = tokio::task::JoinSet::new();
    for (turn, mut caller) in (0..count).zip(callers) {
        tasks.spawn_local(async move {
            let mut micros = new_micros();
            tokio::time::sleep(pace * turn).await;
            let mut tick = tokio::time::interval(pace * count);
            for _ in 0..each {
                tick.tick().await;
                caller.prepare();
                let began = Instant::now();
                if let Answer::Refused(text) = caller.call().await? {
                    bail!("a paced call was refused: {text}");
                }
                record(&mut micros, began.elapsed());
            }
            Ok(micros)
        });
    }
    let mut all = new_micros();
    while let Some(task) = tasks.join_next().await {
        all.add(task.context("a caller's task ended badly")??)?;
    }
    Ok(all)
}

async fn keep_calling(mut caller: impl Caller, shared: Rc<Shared>) -> Result<()> {
    while shared.take() {
        caller.prepare();
        let began = Instant::now();
        match caller.call().await? {
            Answer::Taken => shared.count(began),
            Answer::Refused(text) => shared.refuse(text),
        }
    }
    Ok(())
}

async fn drain(mut tasks: tokio::task::JoinSet<Result<()>>) -> Result<()> {
    while let Some(task) = tasks.join_next().await {
        task.context("a caller's task ended badly")??;
    }
    Ok(())
}
