//! Closed-loop load: each connection sends its next request when the last was answered.
//!
//! All connections run on the bench's one thread, so counters need no atomics and the generator never takes more than
//! one core.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;

use crate::process::Server;
use crate::record::{Figure, Figures};
use crate::wire::{Conn, Template};

/// How long after its end a request may still be under way before the run is given up.
const GRACE: Duration = Duration::from_secs(20);
/// A contender that fails more than this share of its requests has no figure.
const FAILED_SHARE: f64 = 0.01;

pub enum Until {
    /// Answers count between the warm-up's end and the measured time's end.
    Elapsed { warmup: Duration, measure: Duration },
    /// All of so many requests count.
    Requests(u64),
}

/// Writes the next body of one connection.
pub type NextBody = Box<dyn FnMut(&mut Vec<u8>)>;

pub struct Outcome {
    pub answered: u64,
    pub elapsed: Duration,
    pub cpu_seconds: f64,
    pub peak_rss_mib: f64,
    micros: Histogram<u64>,
}

impl Outcome {
    /// `each` things a request.
    pub fn figures(&self, each: u64) -> Figures {
        let things = (self.answered * each) as f64;
        let mut figures = Figures::new();
        figures.insert(Figure::Rate, things / self.elapsed.as_secs_f64());
        if self.cpu_seconds > 0.0 {
            figures.insert(Figure::PerCpuSecond, things / self.cpu_seconds);
        }
        figures.insert(Figure::PeakRssMib, self.peak_rss_mib);
        insert_latencies(&mut figures, &self.micros);
        figures
    }
}

pub fn new_micros() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 120_000_000, 3).expect("the bounds are valid")
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
            let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.micros.borrow_mut().saturating_record(micros.max(1));
        }
    }

    fn refuse(&self, text: String) {
        self.failed.set(self.failed.get() + 1);
        self.refusal.borrow_mut().get_or_insert(text);
    }

    /// Takes one of the requests that are still to be sent.
    fn take(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0 && self.phase.get() != Phase::Over
    }
}

pub async fn run(
    server: &Server,
    path: &str,
    connections: usize,
    until: Until,
    bodies: impl Fn(usize) -> NextBody,
) -> Result<Outcome> {
    let (phase, left) = match until {
        Until::Elapsed { .. } => (Phase::Warmup, u64::MAX),
        Until::Requests(count) => (Phase::Counting, count),
    };
    let shared = Rc::new(Shared {
        phase: Cell::new(phase),
        left: Cell::new(left),
        answered: Cell::new(0),
        failed: Cell::new(0),
        refusal: RefCell::new(None),
        micros: RefCell::new(new_micros()),
    });
    let template = Template::post(server.addr, path);
    let mut conns = Vec::with_capacity(connections);
    for _ in 0..connections {
        conns.push(Conn::open(server.addr).await?);
    }
    // Nothing is awaited from here to the first clock reading, so no request leaves before it.
    let mut tasks = tokio::task::JoinSet::new();
    for (index, conn) in conns.into_iter().enumerate() {
        tasks.spawn_local(connection(
            conn,
            template.clone(),
            bodies(index),
            Rc::clone(&shared),
        ));
    }
    let (elapsed, cpu_seconds) = match until {
        Until::Elapsed { warmup, measure } => {
            tokio::time::sleep(warmup).await;
            let cpu = server.usage()?.cpu_seconds;
            shared.phase.set(Phase::Counting);
            let began = Instant::now();
            tokio::time::sleep(measure).await;
            shared.phase.set(Phase::Over);
            let elapsed = began.elapsed();
            let used = server.usage()?.cpu_seconds - cpu;
            tokio::time::timeout(GRACE, drain(tasks))
                .await
                .context("requests hang")??;
            (elapsed, used)
        }
        Until::Requests(_) => {
            let cpu = server.usage()?.cpu_seconds;
            let began = Instant::now();
            drain(tasks).await?;
            (began.elapsed(), server.usage()?.cpu_seconds - cpu)
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
            "{failed} of {} requests failed, the first with: {first}",
            answered + failed
        );
    }
    let micros = shared.micros.replace(new_micros());
    let peak_rss_mib = server.usage()?.peak_rss_mib;
    Ok(Outcome {
        answered,
        elapsed,
        cpu_seconds,
        peak_rss_mib,
        micros,
    })
}

async fn connection(
    mut conn: Conn,
    template: Template,
    mut body: NextBody,
    shared: Rc<Shared>,
) -> Result<()> {
    let (mut text, mut request) = (Vec::new(), Vec::new());
    while shared.take() {
        text.clear();
        body(&mut text);
        template.write(&mut request, &text);
        let began = Instant::now();
        let reply = conn.call(&request).await?;
        if reply.is_success() {
            shared.count(began);
        } else {
            shared.refuse(reply.text());
        }
    }
    Ok(())
}

async fn drain(mut tasks: tokio::task::JoinSet<Result<()>>) -> Result<()> {
    while let Some(task) = tasks.join_next().await {
        task.context("a connection's task ended badly")??;
    }
    Ok(())
}
