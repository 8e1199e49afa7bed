//! How late firings are. Not a test: nothing is asserted. To be run alone, and optimised:
//!
//! ```sh
//! cargo test --release -p tidewire-triggers --lib measure -- --ignored --nocapture --test-threads 1
//! ```
//!
//! What makes the triggers and what schedules them are two processes, as far as they know: the scheduler
//! reads each config itself.

use std::{
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, Instant},
};

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use serde_json::json;
use tidewire_core::Clock;
use tidewire_testkit::{Engine, Threads, run_on};

use super::TestTriggers;
use crate::{
    TriggerSettings,
    TriggerType::{self, CronScheduled, TimeScheduled},
};

const BURST: usize = 10_000;
const CRONS: usize = 500;
const CRON_SECONDS: usize = 20;

/// Keeps the lateness of every firing.
struct Lateness;

static SEEN: Mutex<Vec<f64>> = Mutex::new(Vec::new());

impl HistogramFn for Lateness {
    fn record(&self, value: f64) {
        SEEN.lock().unwrap().push(value);
    }
}

impl Recorder for Lateness {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        if key.name() == "tidewire_trigger_lateness_seconds" {
            return Histogram::from_arc(Arc::new(Lateness));
        }
        Histogram::noop()
    }
}

/// Listens to the metric until so many firings were recorded.
async fn report(engine: Engine, what: &str, count: usize) {
    let cpu = cpu_millis();
    while SEEN.lock().unwrap().len() < count {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut seen = std::mem::take(&mut *SEEN.lock().unwrap());
    seen.sort_by(f64::total_cmp);
    let millis = |share: usize| seen[(seen.len() - 1) * share / 1000] * 1000.0;
    println!(
        "{engine:?}: {what}: {} firings, late by p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms, most {:.1} ms; \
         {} ms of this process's time",
        seen.len(),
        millis(500),
        millis(950),
        millis(990),
        millis(1000),
        cpu_millis() - cpu
    );
}

/// What this process has used of the processors: on a machine that does other things besides, it says
/// more than the clock does.
fn cpu_millis() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, in hundredths of a second: user time and system time.
    let fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    let times = fields
        .skip(11)
        .take(2)
        .filter_map(|n| n.parse::<u64>().ok());
    times.sum::<u64>() * 10
}

async fn burst(engine: Engine) {
    let here = open(engine).await;
    let there = here.second().await;
    let began = Instant::now();
    // Made with time to spare, as far ahead as that takes at most.
    let at = here.clock.now().plus(Duration::from_secs(25));
    let at = tidewire_core::Time::from_millis(at.millis() / 1000 * 1000);
    let config = |n| {
        json!({"endpoint": format!("https://hooks.example.com/in/{n}"), "run_at": at,
            "payload": {"order": n, "text": "a delivery as they come"}})
    };
    let mut made = 0;
    while made < BURST {
        make(&here, TimeScheduled, (made..made + 500).map(config)).await;
        made += 500;
    }
    println!("{engine:?}: made {made} triggers in {:?}", began.elapsed());
    let _running = there.schedule();
    report(engine, "one-shots of one second", BURST).await;
}

async fn crons(engine: Engine) {
    let here = open(engine).await;
    let there = here.second().await;
    let config =
        |n| json!({"endpoint": format!("https://hooks.example.com/in/{n}"), "cron": "* * * * * *"});
    make(&here, CronScheduled, (0..CRONS).map(config)).await;
    // What was due while they were made is not part of it.
    here.triggers.fire_due().await.unwrap();
    SEEN.lock().unwrap().clear();
    let _running = there.schedule();
    report(engine, "crons at steps of a second", CRONS * CRON_SECONDS).await;
}

async fn open(engine: Engine) -> TestTriggers {
    static RECORDER: OnceLock<()> = OnceLock::new();
    RECORDER.get_or_init(|| {
        let _ = metrics::set_global_recorder(Lateness);
    });
    TestTriggers::with(engine, Clock::system(), TriggerSettings::default()).await
}

async fn make(
    here: &TestTriggers,
    kind: TriggerType,
    configs: impl Iterator<Item = serde_json::Value>,
) {
    here.create_many(&here.tenant, kind, configs.collect())
        .await;
}

#[test]
#[ignore = "measures, asserts nothing, and takes minutes"]
fn measure() {
    let only = std::env::var("MEASURE").unwrap_or_default();
    for engine in [Engine::Sqlite, Engine::Postgres, Engine::MySql] {
        if only.is_empty() || format!("{engine:?}").eq_ignore_ascii_case(&only) {
            run_on(engine, Threads::Many, crons);
            run_on(engine, Threads::Many, burst);
        }
    }
}
