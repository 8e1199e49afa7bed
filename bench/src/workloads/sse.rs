//! Many SSE subscribers of one log: a burst for throughput, then events at an easy pace for the time from append to
//! subscriber. The limit commits as durably as everybody else and then hands out the bytes of a whole commit,
//! built once.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::stream_contenders;
use crate::bodies::Events;
use crate::crowd::Subscribers;
use crate::load::insert_latencies;
use crate::process::Server;
use crate::record::{Case, Figure, Figures};
use crate::rounds::{self, Bench, Contender, Measured, Scenario};
use crate::servers::{self, Who};
use crate::sse::{self, Tail};
use crate::wire::{Conn, Template};

const BURST_BATCH: u64 = 100;
const PACE: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(15);

struct Fan {
    subscribers: usize,
}

pub async fn run(bench: &Bench) -> Result<Vec<Case>> {
    let fan = Fan {
        subscribers: bench.plan.sse_subscribers,
    };
    Ok(vec![rounds::run(bench, &fan).await?])
}

impl Scenario for Fan {
    fn id(&self) -> String {
        "sse/burst".to_owned()
    }

    fn title(&self) -> String {
        format!(
            "{} SSE subscribers: deliveries in a burst, append→subscriber at {} events/s",
            self.subscribers,
            1_000 / PACE.as_millis()
        )
    }

    fn unit(&self) -> &'static str {
        "deliveries"
    }

    fn contenders(&self, bench: &Bench) -> Vec<Contender> {
        stream_contenders(bench, false)
    }

    async fn measure(&self, bench: &Bench, contender: Contender) -> Result<Measured> {
        let server = servers::start(bench, contender.who).await?;
        let tail = Tail {
            addr: server.addr,
            path: contender.who.tail_path(),
        };
        let mut subscribers = Subscribers::none();
        sse::subscribe(&mut subscribers, tail, self.subscribers).await?;
        let mut publisher = Publisher::open(&server, contender.who).await?;
        wait_until_heard(&mut subscribers, &mut publisher, self.subscribers).await?;
        let mut figures = Figures::new();
        paced(bench, &mut subscribers, &mut publisher, &mut figures).await?;
        burst(
            bench,
            &server,
            &mut subscribers,
            &mut publisher,
            &mut figures,
        )
        .await?;
        figures.insert(Figure::PeakRssMib, server.usage()?.peak_rss_mib);
        let resumed = subscribers.crowd.resumed();
        let note = (resumed > 0).then(|| format!("{resumed} subscribers were cut off and resumed"));
        drop(subscribers);
        server.stop().await?;
        Ok(Measured { figures, note })
    }
}

struct Publisher {
    conn: Conn,
    template: Template,
    events: Events,
    body: Vec<u8>,
    request: Vec<u8>,
}

impl Publisher {
    async fn open(server: &Server, who: Who) -> Result<Self> {
        Ok(Self {
            conn: Conn::open(server.addr).await?,
            template: Template::post(server.addr, who.append_path()),
            events: Events::new(0, false),
            body: Vec::new(),
            request: Vec::new(),
        })
    }

    async fn publish(&mut self, events: u64, sent_ns: u64) -> Result<()> {
        self.body.clear();
        match events {
            1 => self.events.one(&mut self.body, sent_ns),
            _ => self
                .events
                .batch(&mut self.body, usize::try_from(events)?, sent_ns),
        }
        self.template.write(&mut self.request, &self.body);
        let reply = self.conn.call(&self.request).await?;
        if !reply.is_success() {
            bail!("append: {}", reply.text());
        }
        Ok(())
    }
}

/// A subscription may begin a moment after its answer did: events are sent until everybody has had one.
async fn wait_until_heard(
    subscribers: &mut Subscribers,
    publisher: &mut Publisher,
    count: usize,
) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while subscribers.crowd.heard() < count {
        if Instant::now() > deadline {
            bail!(
                "only {} of {count} subscribers hear anything",
                subscribers.crowd.heard()
            );
        }
        publisher.publish(1, subscribers.crowd.now_ns()).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // What is still under way would be counted as the next load's.
    loop {
        let before = subscribers.crowd.delivered();
        tokio::time::sleep(Duration::from_millis(300)).await;
        if subscribers.crowd.delivered() == before {
            subscribers.crowd.reset();
            return Ok(());
        }
    }
}

async fn paced(
    bench: &Bench,
    subscribers: &mut Subscribers,
    publisher: &mut Publisher,
    figures: &mut Figures,
) -> Result<()> {
    let events = u64::try_from(bench.plan.sse_paced.as_millis() / PACE.as_millis())?.max(1);
    let mut tick = tokio::time::interval(PACE);
    for _ in 0..events {
        tick.tick().await;
        publisher.publish(1, subscribers.crowd.now_ns()).await?;
    }
    subscribers
        .wait(events * bench.plan.sse_subscribers as u64, PATIENCE)
        .await?;
    insert_latencies(figures, &subscribers.crowd.reset());
    Ok(())
}

async fn burst(
    bench: &Bench,
    server: &Server,
    subscribers: &mut Subscribers,
    publisher: &mut Publisher,
    figures: &mut Figures,
) -> Result<()> {
    let events = bench.plan.sse_burst;
    let expected = events * bench.plan.sse_subscribers as u64;
    let cpu = server.usage()?.cpu_seconds;
    let began = Instant::now();
    let mut left = events;
    while left > 0 {
        let batch = left.min(BURST_BATCH);
        publisher.publish(batch, subscribers.crowd.now_ns()).await?;
        left -= batch;
    }
    subscribers.wait(expected, PATIENCE).await?;
    let elapsed = (subscribers.crowd.last() - began).as_secs_f64();
    figures.insert(Figure::Rate, expected as f64 / elapsed);
    let cpu = server.usage()?.cpu_seconds - cpu;
    if cpu > 0.0 {
        figures.insert(Figure::PerCpuSecond, expected as f64 / cpu);
    }
    Ok(())
}
