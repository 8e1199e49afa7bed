//! Following a job of archives to its end, with a bar where a person sees it.

use std::{io::IsTerminal as _, time::Duration};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Deserialize;
use tidewire_client::{Client, Job, Retry};
use tokio::time::{Instant, sleep};

use super::{
    super::{Fault, output},
    left,
};

const LOOK_FIRST: Duration = Duration::from_millis(25);
const LOOK_LAST: Duration = Duration::from_secs(1);
/// Between lines in a log.
const EVERY: Duration = Duration::from_secs(5);

/// As the job tells it.
#[derive(Deserialize)]
struct Progress {
    streams_done: u64,
    streams: u64,
    events_done: u64,
    events: u64,
    bytes: u64,
}

/// Looks after a job until it has ended. Whoever interrupts the command leaves the job to go on.
pub(super) async fn follow(job: Job, client: &Client) -> Result<Job, Fault> {
    let id = job.clone();
    tokio::select! {
        // First, so that it is heard before anybody is told of the job.
        biased;
        signal = tokio::signal::ctrl_c() => match signal {
            Ok(()) => Err(left(&id)),
            Err(error) => Err(Fault::failed(error)),
        },
        ended = watch(job, client) => ended,
    }
}

async fn watch(mut job: Job, client: &Client) -> Result<Job, Fault> {
    // A restart of the server is no reason to lose sight of the job.
    let client = client.with_retry(Retry::patient());
    let mut told = Told::new();
    if !told.is_terminal {
        output::tell(&format!(
            "{} is {}; waiting for its end (Ctrl-C leaves it to go on)",
            job.id, job.status
        ));
    }
    let mut pause = LOOK_FIRST;
    while !job.status.is_final() {
        sleep(pause).await;
        pause = (pause * 3 / 2).min(LOOK_LAST);
        job = client.jobs().get(&job.id).await?;
        told.tell(&job);
    }
    told.bar.finish_and_clear();
    Ok(job)
}

struct Told {
    bar: ProgressBar,
    is_terminal: bool,
    last_line: Instant,
}

impl Told {
    fn new() -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let target = match is_terminal {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let template = "{wide_bar} {percent:>3} %  {msg}  {elapsed}";
        bar.set_style(ProgressStyle::with_template(template).expect("the template is a constant"));
        if is_terminal {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Told {
            bar,
            is_terminal,
            last_line: Instant::now(),
        }
    }

    fn tell(&mut self, job: &Job) {
        let progress = job.progress.as_ref();
        let progress = progress.and_then(|text| serde_json::from_str(text.get()).ok());
        let Some(progress) = progress else {
            self.bar.set_message(job.status.to_string());
            return;
        };
        let Progress {
            streams_done,
            streams,
            events_done,
            events,
            bytes,
        } = progress;
        let bytes = HumanBytes(bytes);
        let text = format!(
            "{events_done} of {events} events, {streams_done} of {streams} streams, {bytes}"
        );
        self.bar.set_length(events);
        self.bar.set_position(events_done.min(events));
        self.bar.set_message(text.clone());
        if !self.is_terminal && self.last_line.elapsed() >= EVERY {
            self.last_line = Instant::now();
            output::tell(&text);
        }
    }
}
