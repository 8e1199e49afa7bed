//! Threads: what many agents say at once, and how long it takes to reach those who read along. What is counted is checked:
//! a figure is given only if every subscriber had every event once.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, bail};

use super::until;
use crate::args::Plan;
use crate::bodies::Deltas;
use crate::crowd::{Crowd, Subscribers};
use crate::load::{self, Answer, Caller as _, NextBody, insert_latencies, wall_ns};
use crate::peers::Peer;
use crate::process::{self, Server};
use crate::record::{Case, Figure, Figures};
use crate::report::grouped;
use crate::rounds::{self, Bench, Contender, Measured, Scenario};
use crate::servers::Who;
use crate::threads::{HOT_IN_REDIS, Place, REPUBLISHED, Writer};

/// Each has a thread of its own.
const AGENTS: usize = 64;
const THREAD: &str = "thread";
/// Events before those that count.
const WARMUP: u64 = 3;
/// How long nothing happens before the memory of those who wait is read.
const IDLE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(15);
/// Files that a process has open besides its subscribers.
const OTHER_FILES: u64 = 200;
/// The system counts CPU time in hundredths of a second: less of it says nothing.
const LEAST_CPU: f64 = 0.1;

pub async fn run(bench: &Bench) -> Result<Vec<Case>> {
    let mut cases = vec![rounds::run(bench, &Appends).await?];
    let crowds = &bench.plan.thread_subscribers;
    for subscribers in crowds {
        let fan = Fan {
            subscribers: *subscribers,
            weighs: Some(subscribers) == crowds.last(),
        };
        cases.push(rounds::run(bench, &fan).await?);
    }
    Ok(cases)
}

fn contenders(nats: &[&'static str]) -> Vec<Contender> {
    let jet_stream = |variant: &&'static str| Contender {
        who: Who::Peer(Peer::Nats),
        variant,
    };
    let mut all = vec![
        Contender::plain(Who::Tidewire),
        Contender {
            who: Who::Tidewire,
            variant: HOT_IN_REDIS,
        },
        Contender::plain(Who::Peer(Peer::DurableStreams)),
    ];
    all.extend(nats.iter().map(jet_stream));
    all.push(Contender::plain(Who::Peer(Peer::Redis)));
    all
}

struct Appends;

impl Scenario for Appends {
    fn id(&self) -> String {
        "threads/appends".to_owned()
    }

    fn title(&self) -> String {
        format!("threads: single appends by {AGENTS} agents, a connection and a thread each")
    }

    fn unit(&self) -> &'static str {
        "events"
    }

    fn contenders(&self, _: &Bench) -> Vec<Contender> {
        contenders(&[""])
    }

    async fn measure(&self, bench: &Bench, contender: Contender) -> Result<Measured> {
        let place = Place::start(bench, contender).await?;
        let mut writers = Vec::with_capacity(AGENTS);
        for agent in 0..AGENTS {
            let body = deltas(agent as u64, wall_ns);
            writers.push(place.writer(&format!("{THREAD}-{agent}"), body).await?);
        }
        let usage = || place.server.usage().map(Some);
        let outcome = load::closed(writers, until(bench), usage).await?;
        place.stop().await?;
        Ok(outcome.figures(1).into())
    }
}

struct Fan {
    subscribers: usize,
    /// The largest crowd: it also says what a subscriber takes of the memory.
    weighs: bool,
}

impl Fan {
    /// Between two events: few readers are given many, so that there is something to take a percentile of; and many
    /// readers few, since one thread reads for them all.
    fn pace(&self) -> Duration {
        Duration::from_millis(match self.subscribers {
            ..=10 => 5,
            11..=100 => 10,
            101..=1_000 => 50,
            _ => 250,
        })
    }

    /// Where one event wakes crowds, the slowest few of them decide: they get the time that there is.
    fn events(&self, plan: &Plan) -> u64 {
        let time = match self.subscribers {
            _ if self.weighs => plan.thread_paced * 2,
            ..=100 => plan.thread_paced / 2,
            _ => plan.thread_paced,
        };
        let events = time.as_millis() / self.pace().as_millis();
        u64::try_from(events).unwrap_or(u64::MAX).max(1)
    }
}

impl Scenario for Fan {
    fn id(&self) -> String {
        format!("threads/subscribers/{}", self.subscribers)
    }

    fn title(&self) -> String {
        let plural = if self.subscribers == 1 { "" } else { "s" };
        format!(
            "threads: append→subscriber, {} subscriber{plural} of one thread, {} events/s{}",
            grouped(self.subscribers as f64),
            1_000 / self.pace().as_millis(),
            if self.is_long() { ", one round" } else { "" }
        )
    }

    /// Gathering thousands takes its time; what they take of the memory is the same in every round.
    fn is_long(&self) -> bool {
        self.weighs
    }

    fn unit(&self) -> &'static str {
        "deliveries"
    }

    fn contenders(&self, _: &Bench) -> Vec<Contender> {
        contenders(&["", REPUBLISHED])
    }

    async fn measure(&self, bench: &Bench, contender: Contender) -> Result<Measured> {
        let files = process::open_files();
        if files < self.subscribers as u64 + OTHER_FILES {
            bail!("only {files} files may be open");
        }
        let place = Place::start(bench, contender).await?;
        let mut audience = Audience::gather(&place, self.subscribers).await?;
        audience.send(WARMUP, Duration::ZERO).await?;
        audience.subscribers.crowd.reset();
        let mut figures = Figures::new();
        if self.weighs {
            audience.weigh(&place.server, &mut figures).await?;
        }
        let cpu = place.server.usage()?.cpu_seconds;
        let events = self.events(&bench.plan);
        audience.send(events, self.pace()).await?;
        let usage = place.server.usage()?;
        let cpu = usage.cpu_seconds - cpu;
        if cpu >= LEAST_CPU {
            let deliveries = events * self.subscribers as u64;
            figures.insert(Figure::PerCpuSecond, deliveries as f64 / cpu);
        }
        figures.insert(Figure::PeakRssMib, usage.peak_rss_mib);
        insert_latencies(&mut figures, &audience.subscribers.crowd.reset());
        drop(audience);
        place.stop().await?;
        Ok(figures.into())
    }
}

/// Who speaks on a thread, and all who listen.
struct Audience {
    writer: Writer,
    subscribers: Subscribers,
    count: u64,
    /// Of the server before anybody listened.
    empty_mib: f64,
}

impl Audience {
    async fn gather(place: &Place, count: usize) -> Result<Self> {
        let subscribers = Subscribers::none();
        let clock = Rc::clone(&subscribers.crowd);
        let writer = place.writer(THREAD, deltas(0, move || clock.now_ns()));
        let mut audience = Self {
            writer: writer.await?,
            subscribers,
            count: count as u64,
            empty_mib: 0.0,
        };
        // A thread is there once something was said.
        say(&mut audience.writer).await?;
        audience.empty_mib = place.server.usage()?.rss_mib;
        let subscribers = &mut audience.subscribers;
        place.subscribe(subscribers, THREAD, count).await?;
        if place.replays() {
            subscribers.wait(audience.count, PATIENCE).await?;
            exactly(&subscribers.crowd, audience.count)?;
        }
        subscribers.crowd.reset();
        Ok(audience)
    }

    /// Says so many things, and waits until everybody has heard them.
    async fn send(&mut self, events: u64, pace: Duration) -> Result<()> {
        let mut tick = (!pace.is_zero()).then(|| tokio::time::interval(pace));
        for _ in 0..events {
            if let Some(tick) = &mut tick {
                tick.tick().await;
            }
            say(&mut self.writer).await?;
        }
        let expected = events * self.count;
        self.subscribers.wait(expected, PATIENCE).await?;
        exactly(&self.subscribers.crowd, expected)
    }

    async fn weigh(&self, server: &Server, figures: &mut Figures) -> Result<()> {
        tokio::time::sleep(IDLE).await;
        let idle = server.usage()?.rss_mib;
        let each = (idle - self.empty_mib) * 1_024.0 / self.count as f64;
        figures.insert(Figure::RssMib, idle);
        figures.insert(Figure::SubscriberKib, each);
        Ok(())
    }
}

async fn say(writer: &mut Writer) -> Result<()> {
    writer.prepare();
    match writer.call().await? {
        Answer::Taken => Ok(()),
        Answer::Refused(text) => bail!("append: {text}"),
    }
}

fn exactly(crowd: &Crowd, expected: u64) -> Result<()> {
    let delivered = crowd.delivered();
    if delivered != expected {
        bail!("{delivered} deliveries instead of {expected}");
    }
    if crowd.resumed() > 0 {
        bail!("{} subscribers were cut off", crowd.resumed());
    }
    Ok(())
}

fn deltas(seed: u64, clock: impl Fn() -> u64 + 'static) -> NextBody {
    let mut deltas = Deltas::new(seed);
    Box::new(move |out| deltas.one(out, clock()))
}
