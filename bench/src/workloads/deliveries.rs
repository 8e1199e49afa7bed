//! Deliveries to an endpoint on this machine: a backlog of firings that is delivered, beside a load generator that does
//! nothing but post the same requests to the same endpoint; and the time from an event to its answer.

use std::cell::RefCell;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chrono::{DateTime, Utc};
use hdrhistogram::Histogram;
use serde_json::json;

use super::jobs::work_off;
use super::until;
use crate::bodies::{Events, Rng, TYPES, job_payload};
use crate::data::Data;
use crate::limit::{hyper_posts, posts};
use crate::load::{self, NextBody, Until, insert_latencies, new_micros, wall_ns};
use crate::process::own_usage;
use crate::record::{Case, Figure, Figures};
use crate::rounds::{self, Bench, Contender, Measured, Scenario};
use crate::servers::{self, Who};
use crate::sink::{Seen, Sink};
use crate::tidewire::Api;
use crate::triggers::{DELIVERIES, Delivery};

const CALLERS: usize = 64;
/// What Tidewire has under way at once to one endpoint.
const AT_ONCE: usize = 32;
/// Between two events at the easy pace.
const PACE: Duration = Duration::from_millis(5);
/// Before the events that count.
const WARMUP: u64 = 80;
const BYTES: &str = "posting";
const LIBRARY: &str = "posting with hyper";
const STORED: &str = "answer stored";
const RECEIVED: &str = "received by the endpoint";
const POSTED: &str = "posted by the generator itself";
/// A limit whose requests differ in size by more than this from Tidewire's would be another load.
const SAME_SIZE: f64 = 0.03;
const PATIENCE: Duration = Duration::from_secs(30);

pub async fn run(bench: &Bench) -> Result<Vec<Case>> {
    Ok(vec![
        rounds::run(bench, &Backlog::default()).await?,
        rounds::run(bench, &Paced::default()).await?,
    ])
}

/// What Tidewire sent to the endpoint, for the limit to send again.
#[derive(Default)]
struct Sample(RefCell<Option<Sent>>);

#[derive(Clone)]
struct Sent {
    request: String,
    mean_bytes: f64,
}

impl Sample {
    fn keep(&self, seen: &Seen) -> Result<()> {
        let request = seen.sample.clone().context("the endpoint kept nothing")?;
        self.0.replace(Some(Sent {
            request,
            mean_bytes: seen.mean_bytes(),
        }));
        Ok(())
    }

    fn get(&self) -> Result<Sent> {
        let sent = self.0.borrow().clone();
        sent.context("Tidewire delivered nothing that could be posted again")
    }
}

impl Sent {
    fn compare(&self, seen: &Seen) -> Result<()> {
        let (ours, theirs) = (seen.mean_bytes(), self.mean_bytes);
        if (ours / theirs - 1.0).abs() > SAME_SIZE {
            bail!("the limit's requests have {ours:.0} bytes, Tidewire's {theirs:.0}");
        }
        Ok(())
    }
}

#[derive(Default)]
struct Backlog {
    sample: Sample,
}

impl Scenario for Backlog {
    fn id(&self) -> String {
        "deliveries/backlog".to_owned()
    }

    fn title(&self) -> String {
        format!("signed deliveries to one endpoint, {AT_ONCE} at once")
    }

    fn unit(&self) -> &'static str {
        "deliveries"
    }

    fn contenders(&self, _: &Bench) -> Vec<Contender> {
        let limit = |variant| Contender {
            who: Who::Limit,
            variant,
        };
        // The first limit is the one that targets speak of.
        vec![
            Contender::plain(Who::Tidewire),
            limit(BYTES),
            limit(LIBRARY),
        ]
    }

    async fn measure(&self, bench: &Bench, contender: Contender) -> Result<Measured> {
        let mut sink = Sink::start().await?;
        let measured = match contender.who {
            Who::Limit => self.post(bench, &mut sink, contender.variant).await?,
            _ => self.deliver(bench, &mut sink).await?,
        };
        sink.stop().await?;
        Ok(measured)
    }
}

impl Backlog {
    /// Webhooks are called at a server without workers; then one with them starts over the same data.
    async fn deliver(&self, bench: &Bench, sink: &mut Sink) -> Result<Measured> {
        let deliveries = bench.plan.deliveries;
        let data = Data::empty(bench, "data").await?;
        let server = servers::tidewire(bench, data, &["--roles", "api"]).await?;
        let mut api = Api::open(server.addr).await?;
        let trigger = api.deliver("webhook", &sink.url(), json!({})).await?;
        let path = format!("/v1/webhook/{trigger}");
        let calls = Until::Calls(deliveries);
        let called = load::run(&server, &path, CALLERS, calls, payloads).await?;
        if called.answered != deliveries {
            bail!("{} of {deliveries} webhooks were taken", called.answered);
        }
        drop(api);
        let data = server.stop().await?;
        let server = servers::tidewire(bench, data, &[]).await?;
        let mut figures = work_off(&server, deliveries).await?;
        insert_per_thousand(&mut figures);
        sink.each_once(deliveries).await?;
        let seen = sink.seen().await?;
        self.sample.keep(&seen)?;
        let mut api = Api::open(server.addr).await?;
        api.all_delivered(deliveries).await?;
        server.stop().await?;
        Ok(Measured {
            figures,
            note: Some(format!(
                "each delivered once and stored as a success; {} connections, {:.0} bytes a request",
                seen.connections,
                seen.mean_bytes()
            )),
        })
    }

    async fn post(&self, bench: &Bench, sink: &mut Sink, variant: &str) -> Result<Measured> {
        let sent = self.sample.get()?;
        let (addr, until) = (sink.server().addr, until(bench));
        let usage = || own_usage().map(Some);
        let outcome = if variant == LIBRARY {
            let posters = hyper_posts::open(&sent.request, addr, AT_ONCE).await?;
            load::closed(posters, until, usage).await?
        } else {
            let posters = posts::open(&sent.request, addr, AT_ONCE).await?;
            load::closed(posters, until, usage).await?
        };
        let mut figures = outcome.figures(1);
        // The generator's memory says nothing.
        figures.remove(&Figure::PeakRssMib);
        insert_per_thousand(&mut figures);
        let seen = sink.seen().await?;
        sent.compare(&seen)?;
        sink.each_once(seen.posts).await?;
        Ok(Measured {
            figures,
            note: Some(format!(
                "{} connections, {:.0} bytes a request; the CPU time is the generator's",
                seen.connections,
                seen.mean_bytes()
            )),
        })
    }
}

fn insert_per_thousand(figures: &mut Figures) {
    if let Some(per_second) = figures.get(&Figure::PerCpuSecond) {
        figures.insert(Figure::CpuPerThousand, 1_000.0 / per_second);
    }
}

fn payloads(connection: usize) -> NextBody {
    let mut rng = Rng::new(connection as u64);
    Box::new(move |out| {
        let payload = job_payload(&mut rng, wall_ns()).to_string();
        out.extend_from_slice(payload.as_bytes());
    })
}

#[derive(Default)]
struct Paced {
    sample: Sample,
    /// What the run that measured [`STORED`] saw of [`RECEIVED`].
    received: RefCell<Option<Figures>>,
}

impl Scenario for Paced {
    fn id(&self) -> String {
        "deliveries/paced".to_owned()
    }

    fn title(&self) -> String {
        format!(
            "from sending an event to its delivery, at {} events/s",
            1_000 / PACE.as_millis()
        )
    }

    fn unit(&self) -> &'static str {
        "deliveries"
    }

    fn contenders(&self, _: &Bench) -> Vec<Contender> {
        let one = |who, variant| Contender { who, variant };
        vec![
            one(Who::Tidewire, STORED),
            one(Who::Tidewire, RECEIVED),
            one(Who::Limit, POSTED),
        ]
    }

    async fn measure(&self, bench: &Bench, contender: Contender) -> Result<Measured> {
        let events = bench.plan.paced_deliveries;
        if contender.variant == RECEIVED {
            let seen = self.received.take();
            return Ok(seen.context("the events were not delivered")?.into());
        }
        let mut sink = Sink::start().await?;
        let figures = match contender.who {
            Who::Limit => self.post(&mut sink, events).await?,
            _ => self.deliver(bench, &mut sink, events).await?,
        };
        sink.stop().await?;
        Ok(figures.into())
    }
}

impl Paced {
    /// A trigger for each type, because one event trigger fires only so often a second.
    async fn deliver(&self, bench: &Bench, sink: &mut Sink, events: u64) -> Result<Figures> {
        let data = Data::empty(bench, "data").await?;
        let server = servers::tidewire(bench, data, &[]).await?;
        let mut api = Api::open(server.addr).await?;
        for kind in TYPES {
            let of_kind = json!({"event_type": kind});
            api.deliver("event", &sink.url(), of_kind).await?;
        }
        let path = Who::Tidewire.append_path();
        for (events, counts) in [(WARMUP, false), (events, true)] {
            if counts {
                sink.forget().await?;
            }
            let callers = load::open(&server, path, TYPES.len(), events_of_a_type).await?;
            load::paced(callers, PACE, events).await?;
            sink.wait(events).await?;
        }
        api.wait_done(WARMUP + events, PATIENCE).await?;
        let mut received = new_micros();
        let mut first_sent = u64::MAX;
        for arrival in sink.each_once(events).await? {
            if arrival.sent_ns == 0 {
                bail!("what was delivered does not say when it was sent");
            }
            first_sent = first_sent.min(arrival.sent_ns);
            record_since(&mut received, arrival.sent_ns, arrival.at_ns)?;
        }
        self.sample.keep(&sink.seen().await?)?;
        let mut stored = new_micros();
        for delivery in api.jobs::<Delivery>(DELIVERIES, WARMUP + events).await? {
            let sent_ns = delivery.payload.payload.sent_ns;
            let at = delivery.finished_at.context("a delivery has no end")?;
            if sent_ns >= first_sent {
                record_since(&mut stored, sent_ns, nanos(at))?;
            }
        }
        if stored.len() != events {
            bail!("{} of {events} deliveries were stored", stored.len());
        }
        api.all_delivered(WARMUP + events).await?;
        let peak = server.usage()?.peak_rss_mib;
        server.stop().await?;
        let mut figures = Figures::new();
        insert_latencies(&mut figures, &received);
        self.received.replace(Some(figures));
        let mut figures = Figures::from([(Figure::PeakRssMib, peak)]);
        insert_latencies(&mut figures, &stored);
        Ok(figures)
    }

    async fn post(&self, sink: &mut Sink, events: u64) -> Result<Figures> {
        let sent = self.sample.get()?;
        let posters = posts::open(&sent.request, sink.server().addr, TYPES.len()).await?;
        let micros = load::paced(posters, PACE, events).await?;
        sink.each_once(events).await?;
        sent.compare(&sink.seen().await?)?;
        let mut figures = Figures::new();
        insert_latencies(&mut figures, &micros);
        Ok(figures)
    }
}

/// Connections are opened in the order of the types.
fn events_of_a_type(connection: usize) -> NextBody {
    let mut events = Events::new(connection as u64, false);
    let kind = TYPES[connection % TYPES.len()];
    Box::new(move |out| events.one_of(kind, out, wall_ns()))
}

fn nanos(at: DateTime<Utc>) -> u64 {
    let nanos = at.timestamp_nanos_opt();
    nanos
        .and_then(|nanos| u64::try_from(nanos).ok())
        .unwrap_or_default()
}

fn record_since(micros: &mut Histogram<u64>, sent_ns: u64, at_ns: u64) -> Result<()> {
    let took = at_ns
        .checked_sub(sent_ns)
        .context("an event was delivered before it was sent")?;
    load::record(micros, Duration::from_nanos(took));
    Ok(())
}
