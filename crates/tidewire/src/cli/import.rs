//! `tidewire events import`: a file of any size into the log, in bounded memory.
//!
//! A thread reads lines and packs them into batches; a bounded channel hands these over; here they
//! are sent and accounted for. Every line read ends in exactly one count of the [`Tally`], so that
//! nothing is lost silently: what is not stored is named.

mod batches;
mod progress;
mod send;

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::PathBuf,
    pin::pin,
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use serde::Serialize;
use tidewire_client::{Client, Error, Events, Retry};
use tokio::{sync::mpsc, time::Instant};

use super::{Fault, output::Printer};
use batches::{Bad, Batch, Batches};
use progress::Progress;
use send::{Sender, Sent, Trouble};

const READ_BUFFER: usize = 256 * 1024;
/// Bad lines that are told one by one.
const MOST_TOLD: u64 = 20;
const AGAIN: &str = "run the import again (lines with a `dedupe_key` are not stored twice)";

#[derive(clap::Args)]
#[command(after_help = "\
Each line is an event: {\"type\":…, \"payload\":…, \"stream\":…, \"subject\":…, \"dedupe_key\":…,
\"occurred_at\":…, \"source\":…}; only `type` is required. Running an import again stores nothing
twice if its lines have a `dedupe_key`.

Batches go one after the other, so the log has the order of the file. With --concurrency more are
on their way at the same time: faster, and in no order.

A line that is not taken ends the import with exit status 1, after everything before it is stored;
with --keep-going it is skipped, told and counted, and the exit status is 1 at the end.

Examples:
  tidewire events import events.jsonl
  zcat history.jsonl.gz | tidewire events import - --keep-going
  tidewire events import events.jsonl --concurrency 4 -o json")]
pub(super) struct Args {
    /// A file with one JSON object a line, or - for standard input
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
    /// Events of one request; fewer where they are large (8 MiB)
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = batch_size)]
    batch: usize,
    /// Requests at the same time; more than one gives up the order of the lines
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    concurrency: u16,
    /// Skip lines that are not taken
    #[arg(long)]
    keep_going: bool,
}

fn batch_size(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=Events::MOST_EVENTS) => Ok(n),
        _ => Err(format!(
            "`{text}` is not a number from 1 to {}",
            Events::MOST_EVENTS
        )),
    }
}

/// What became of the lines: `read` is the sum of the four below it.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Tally {
    read: u64,
    stored: u64,
    /// Their `dedupe_key` was in the log.
    duplicates: u64,
    /// Not taken: bad lines.
    failed: u64,
    /// The server could not be told, or its answer was lost.
    unsettled: u64,
}

#[derive(Serialize)]
struct Summary {
    #[serde(flatten)]
    tally: Tally,
    seconds: f64,
    /// Lines stored or known, a second.
    rate: f64,
}

pub(super) async fn run(args: Args, client: Client, printer: Printer) -> Result<(), Fault> {
    let (input, size) = open(&args.file)?;
    // Without a server there is no use in being patient with it.
    if let Err(error @ Error::Transport(_)) = client.health().await {
        return Err(error.into());
    }
    let batches = read_aside(Batches::new(
        BufReader::with_capacity(READ_BUFFER, input),
        args.batch,
        args.keep_going,
    ))?;
    let sender = Sender {
        client: client.with_retry(Retry::patient()),
        keep_going: args.keep_going,
    };
    let mut import = Import {
        tally: Tally::default(),
        progress: Progress::new(size),
        trouble: None,
    };
    let started = Instant::now();
    let interrupted = import.work(batches, &sender, args.concurrency.into()).await;
    let elapsed = started.elapsed();
    import.progress.finish();
    import.conclude(elapsed, interrupted, printer)
}

type Input = Box<dyn Read + Send>;

/// The input and its size, if it has one.
fn open(path: &PathBuf) -> Result<(Input, Option<u64>), Fault> {
    if path.as_os_str() == "-" {
        return Ok((Box::new(io::stdin()), None));
    }
    let wrong =
        |error: io::Error| Fault::Failed(format!("cannot read `{}`: {error}", path.display()));
    let file = File::open(path).map_err(wrong)?;
    let about = file.metadata().map_err(wrong)?;
    if about.is_dir() {
        return Err(wrong(io::ErrorKind::IsADirectory.into()));
    }
    Ok((Box::new(file), about.is_file().then_some(about.len())))
}

/// Reads in a thread of its own: a terminal or pipe may keep it waiting for ever, and the process
/// ends without it.
fn read_aside(batches: Batches<BufReader<Input>>) -> Result<mpsc::Receiver<Batch>, Fault> {
    let (hand_over, batches_read) = mpsc::channel(1);
    std::thread::Builder::new()
        .name("import-reader".to_owned())
        .spawn(move || {
            for batch in batches {
                if hand_over.blocking_send(batch).is_err() {
                    // The import has ended.
                    return;
                }
            }
        })
        .map_err(|error| Fault::Failed(format!("cannot start a thread: {error}")))?;
    Ok(batches_read)
}

struct Import {
    tally: Tally,
    progress: Progress,
    /// Why it does not go on.
    trouble: Option<Trouble>,
}

impl Import {
    /// Sends what is read; returns whether it was interrupted.
    async fn work(
        &mut self,
        mut batches: mpsc::Receiver<Batch>,
        sender: &Sender,
        at_once: usize,
    ) -> bool {
        let mut sending = FuturesUnordered::new();
        let mut interrupt = pin!(tokio::signal::ctrl_c());
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let mut ended = false;
        let mut interrupted = false;
        while !(ended && sending.is_empty()) {
            tokio::select! {
                _ = &mut interrupt => {
                    let again = std::mem::replace(&mut interrupted, true);
                    if again {
                        break;
                    }
                    ended = true;
                    interrupt.set(tokio::signal::ctrl_c());
                    self.progress.tell("stopping after what is on its way; Ctrl-C again stops now");
                }
                batch = batches.recv(), if !ended && sending.len() < at_once => match batch {
                    Some(batch) => sending.push(sender.send(batch)),
                    None => ended = true,
                },
                Some(sent) = sending.next(), if !sending.is_empty() => {
                    self.account(sent);
                    ended |= self.trouble.is_some();
                }
                _ = tick.tick() => self.progress.tick(&self.tally, !sending.is_empty()),
            }
        }
        interrupted
    }

    fn account(&mut self, sent: Sent) {
        let Sent {
            stored,
            duplicates,
            bad,
            unsettled,
            read_to,
            trouble,
        } = sent;
        for Bad { number, reason } in &bad {
            self.tally.failed += 1;
            match self.tally.failed {
                n if n <= MOST_TOLD => self.progress.tell(&format!("line {number}: {reason}")),
                n if n == MOST_TOLD + 1 => self
                    .progress
                    .tell("more lines are not taken; they are only counted"),
                _ => {}
            }
        }
        self.tally.stored += stored;
        self.tally.duplicates += duplicates;
        self.tally.unsettled += unsettled;
        self.tally.read += stored + duplicates + unsettled + bad.len() as u64;
        self.progress.sent(&self.tally, read_to);
        // The first trouble is the one to tell; others are its echoes.
        self.trouble = self.trouble.take().or(trouble);
    }

    fn conclude(self, elapsed: Duration, interrupted: bool, printer: Printer) -> Result<(), Fault> {
        let Import { tally, trouble, .. } = self;
        let seconds = elapsed.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = (tally.stored + tally.duplicates) as f64 / seconds.max(0.001);
        if printer.is_json() {
            printer.json(&Summary {
                tally,
                seconds,
                rate,
            })?;
        } else {
            printer.facts(&[
                ("read", Some(tally.read.to_string())),
                ("stored", Some(tally.stored.to_string())),
                ("duplicates", Some(tally.duplicates.to_string())),
                ("failed", Some(tally.failed.to_string())),
                (
                    "unsettled",
                    (tally.unsettled > 0).then(|| tally.unsettled.to_string()),
                ),
                ("seconds", Some(format!("{seconds:.1}"))),
                ("rate", Some(format!("{rate:.0}/s"))),
            ])?;
        }
        match trouble {
            Some(Trouble::BadLine) => Err(Fault::Failed(format!(
                "the import ended at a line that is not taken, and all before it is stored: mend the line or \
                 skip such lines with --keep-going, and {AGAIN}"
            ))),
            Some(Trouble::Failed(text)) => Err(Fault::Failed(format!("{text}; {AGAIN}"))),
            None if interrupted => Err(Fault::Failed(format!("interrupted: {AGAIN}"))),
            None if tally.failed > 0 => Err(Fault::Failed(format!(
                "{} lines were not taken",
                tally.failed
            ))),
            None => Ok(()),
        }
    }
}
