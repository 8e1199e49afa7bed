//! The process's metrics: one recorder for all, and the handles of each route. Rooms describe their
//! own metrics where they make them; names of histograms end in `_seconds` or `_size`, which decides
//! the buckets, or in `_recent`: those are shown as quantiles of the last five minutes.

use std::{num::NonZeroU32, sync::OnceLock, thread, time::Duration};

use ::metrics::{
    Counter, Histogram, Unit, counter, describe_counter, describe_histogram, histogram,
};
use axum::extract::MatchedPath;
use http::Method;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

const REQUESTS: &str = "tidewire_http_requests_total";
const DURATION: &str = "tidewire_http_request_duration_seconds";

/// From a cache hit to a long poll.
const SECONDS: [f64; 18] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0,
];
const SIZES: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0];

/// What `_recent` shows, of so many minutes.
const QUANTILES: [f64; 4] = [0.5, 0.95, 0.99, 1.0];
const RECENT_MINUTES: NonZeroU32 = NonZeroU32::new(5).expect("five is not zero");

/// How often recorded values move from their buffers into the histograms; nobody may ever scrape.
const UPKEEP: Duration = Duration::from_secs(5);

/// Installs the process's recorder, the first time; always the same handle. Before this, handles
/// of metrics lead nowhere for ever, so it comes before anything is counted.
pub fn install() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
            .and_then(|builder| {
                builder.set_buckets_for_metric(Matcher::Suffix("_size".to_owned()), &SIZES)
            })
            .and_then(|builder| builder.set_quantiles(&QUANTILES))
            .and_then(|builder| builder.set_bucket_duration(Duration::from_mins(1)))
            .expect("no list is empty, and a minute is not nothing")
            .set_bucket_count(RECENT_MINUTES)
            .build_recorder();
        let handle = recorder.handle();
        if ::metrics::set_global_recorder(recorder).is_err() {
            tracing::error!("another metrics recorder is installed: /metrics stays empty");
        }
        describe();
        keep_up(handle.clone());
        handle
    })
}

fn describe() {
    describe_counter!(
        REQUESTS,
        "HTTP requests answered, by route, method and status (499: the client went away)"
    );
    describe_histogram!(
        DURATION,
        Unit::Seconds,
        "time from a request's head to its answer's head, by route"
    );
}

/// A thread and not a task: it outlives the runtime of the test or the role that came first.
fn keep_up(handle: PrometheusHandle) {
    let run = move || loop {
        thread::sleep(UPKEEP);
        handle.run_upkeep();
    };
    if let Err(error) = thread::Builder::new()
        .name("metrics".to_owned())
        .stack_size(256 << 10)
        .spawn(run)
    {
        tracing::error!(%error, "the metrics' upkeep does not run");
    }
}

/// One (route, method) as the router knows it, or the fallback of all others.
pub(crate) struct Endpoint {
    route: String,
    quiet: bool,
    secret: bool,
    duration: Histogram,
    /// The few (method, status) that a route answers with, in the order of their first time.
    counters: [OnceLock<(&'static str, u16, Counter)>; 16],
}

impl Endpoint {
    pub(crate) fn new(path: Option<&MatchedPath>, secret: &[&str]) -> Self {
        let route = path.map_or("unmatched", MatchedPath::as_str).to_owned();
        Endpoint {
            quiet: matches!(route.as_str(), "/health" | "/ready" | "/metrics"),
            secret: secret.contains(&route.as_str()),
            duration: histogram!(DURATION, "route" => route.clone()),
            counters: Default::default(),
            route,
        }
    }

    pub(crate) fn route(&self) -> &str {
        &self.route
    }

    /// Whether probes ask it all day, so that the access log has it at debug only.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// The request's path as the log may show it.
    pub(crate) fn shown<'s>(&'s self, path: &'s str) -> &'s str {
        if self.secret { &self.route } else { path }
    }

    pub(crate) fn record(&self, method: &Method, status: u16, took: Duration) {
        self.duration.record(took.as_secs_f64());
        let method = label(method);
        let make = || (method, status, self.counter(method, status));
        let known = self.counters.iter().find_map(|slot| {
            let known = slot.get_or_init(make);
            ((known.0, known.1) == (method, status)).then_some(&known.2)
        });
        match known {
            Some(counter) => counter.increment(1),
            None => self.counter(method, status).increment(1),
        }
    }

    fn counter(&self, method: &'static str, status: u16) -> Counter {
        counter!(REQUESTS, "route" => self.route.clone(), "method" => method, "status" => status.to_string())
    }
}

/// Clients may invent methods, and a label must not.
fn label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
